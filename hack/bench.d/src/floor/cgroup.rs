//! The container's cgroups: made, limited, joined, removed, on v1 hierarchies or on v2.

use crate::Shape;
use crate::sys::{
    attach_device_program, exists, mkdir, open, read_file, rmdir, try_open, write, write_file,
};
use std::ffi::c_int;

const ROOT: &str = "/sys/fs/cgroup";
/// The v1 hierarchies of the machine that the figures are from.
pub const HIERARCHIES: [&str; 9] = [
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd",
];
/// The parent of all containers under measurement; the bench makes it.
pub const PARENT: &str = "corten-bench";

const V1_LIMITS: [(&str, &str); 7] = [
    ("memory", "memory.limit_in_bytes"),
    ("memory", "memory.memsw.limit_in_bytes"),
    ("memory", "memory.soft_limit_in_bytes"),
    ("cpu", "cpu.shares"),
    ("cpu", "cpu.cfs_period_us"),
    ("cpu", "cpu.cfs_quota_us"),
    ("pids", "pids.max"),
];
const V1_VALUES: [&str; 7] = [
    "536870912",
    "1073741824",
    "268435456",
    "512",
    "100000",
    "150000",
    "512",
];
const V2_LIMITS: [(&str, &str); 6] = [
    ("memory.max", "536870912"),
    ("memory.swap.max", "536870912"),
    ("memory.low", "268435456"),
    ("cpu.weight", "20"),
    ("cpu.max", "150000 100000"),
    ("pids.max", "512"),
];

/// What a runtime allows to every container, and mknod of anything: type, major, minor (-1: any), access.
const DEVICES: [(char, i32, i32, &str); 11] = [
    ('c', -1, -1, "m"),
    ('b', -1, -1, "m"),
    ('c', 1, 3, "rwm"),
    ('c', 1, 5, "rwm"),
    ('c', 1, 7, "rwm"),
    ('c', 1, 8, "rwm"),
    ('c', 1, 9, "rwm"),
    ('c', 5, 0, "rwm"),
    ('c', 5, 1, "rwm"),
    ('c', 5, 2, "rwm"),
    ('c', 136, -1, "rwm"),
];

/// Makes the container's cgroups with their limits; on v2 the descriptor for clone3, on v1 `None`.
pub fn make(id: &str, shape: Shape) -> Option<c_int> {
    if exists("/sys/fs/cgroup/cgroup.controllers") {
        return Some(make_v2(id, shape));
    }
    for hierarchy in HIERARCHIES {
        mkdir(&format!("{ROOT}/{hierarchy}/{PARENT}/{id}"));
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut value = [0; 256];
        let length = read_file(&format!("{ROOT}/cpuset/{PARENT}/{file}"), &mut value);
        let value = str::from_utf8(&value[..length]).unwrap_or_default();
        write_file(&format!("{ROOT}/cpuset/{PARENT}/{id}/{file}"), value, 0);
    }
    if shape == Shape::Docker {
        for ((hierarchy, file), value) in V1_LIMITS.iter().zip(V1_VALUES) {
            write_file(
                &format!("{ROOT}/{hierarchy}/{PARENT}/{id}/{file}"),
                value,
                0,
            );
        }
    }
    let devices = format!("{ROOT}/devices/{PARENT}/{id}/devices");
    write_file(&format!("{devices}.deny"), "a", 0);
    let allow = open(&format!("{devices}.allow"), libc::O_WRONLY);
    for (kind, major, minor, access) in DEVICES {
        let number = |n: i32| if n < 0 { "*".to_owned() } else { n.to_string() };
        let rule = format!("{kind} {}:{} {access}", number(major), number(minor));
        write(allow, rule.as_bytes());
    }
    None
}

fn make_v2(id: &str, shape: Shape) -> c_int {
    let path = format!("{ROOT}/{PARENT}/{id}");
    mkdir(&path);
    let cgroup = open(&path, libc::O_RDONLY | libc::O_DIRECTORY);
    if shape == Shape::Docker {
        for (file, value) in V2_LIMITS {
            // A controller that v1 holds is not here: the bench drops its limits from the bundle, too.
            if let Some(fd) = try_open(&format!("{path}/{file}"), libc::O_WRONLY) {
                write(fd, value.as_bytes());
            }
        }
    }
    attach_device_program(&device_program(), cgroup);
    cgroup
}

/// BPF that allows what `DEVICES` lists. One instruction a word: opcode, registers, offset, immediate.
fn device_program() -> Vec<u64> {
    let word = |code: u64, registers: u64, offset: u64, immediate: u64| {
        code | registers << 8 | offset << 16 | immediate << 32
    };
    // r2 = type, r3 = access, r4 = major, r5 = minor (struct bpf_cgroup_dev_ctx).
    let mut program = vec![
        word(0x61, 0x12, 0, 0),
        word(0xbc, 0x23, 0, 0),
        word(0x54, 0x02, 0, 0xffff),
        word(0x74, 0x03, 0, 16),
        word(0x61, 0x14, 4, 0),
        word(0x61, 0x15, 8, 0),
        word(0xb7, 0x00, 0, 1),
    ];
    for (kind, major, minor, access) in DEVICES {
        let mut tests = vec![(0x02, if kind == 'b' { 1 } else { 2 })];
        if access == "m" {
            // BPF_DEVCG_ACC_MKNOD
            tests.push((0x03, 1));
        }
        tests.extend(
            [(0x04, major), (0x05, minor)]
                .iter()
                .filter(|(_, n)| *n >= 0),
        );
        for (index, (register, value)) in tests.iter().enumerate() {
            // Unequal: on to the next device.
            let skip = tests.len() - index;
            program.push(word(0x55, *register, skip as u64, *value as u64));
        }
        program.push(word(0x95, 0, 0, 0));
    }
    program.extend([word(0xb7, 0, 0, 0), word(0x95, 0, 0, 0)]);
    program
}

/// Puts the caller into the container's v1 cgroups. One thread writing `0` to `tasks` does not wait for RCU.
pub fn join(id: &str) {
    for hierarchy in HIERARCHIES {
        write_file(&format!("{ROOT}/{hierarchy}/{PARENT}/{id}/tasks"), "0", 0);
    }
}

/// Removes the container's cgroups.
pub fn remove(id: &str) {
    if exists("/sys/fs/cgroup/cgroup.controllers") {
        rmdir(&format!("{ROOT}/{PARENT}/{id}"));
        return;
    }
    for hierarchy in HIERARCHIES {
        rmdir(&format!("{ROOT}/{hierarchy}/{PARENT}/{id}"));
    }
}
