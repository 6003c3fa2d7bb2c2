//! `probe facts`: what this process sees of itself, as one JSON object.

use crate::raw;
use serde_json::{Map, Value, json};
use std::fs::{read_dir, read_link, read_to_string};
use std::io;

/// Prints the facts.
pub fn print() -> io::Result<()> {
    println!("{}", collect());
    Ok(())
}

fn collect() -> Value {
    let file = |path: &str| {
        json!(
            read_to_string(path)
                .ok()
                .map(|text| text.trim().to_string())
        )
    };
    let env: Vec<String> = std::env::vars_os()
        .map(|(key, value)| format!("{}={}", key.to_string_lossy(), value.to_string_lossy()))
        .collect();
    json!({
        "pid": std::process::id(),
        "ppid": rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()).unwrap_or(0),
        "sid": rustix::process::getsid(None).map(|pid| pid.as_raw_nonzero().get()).unwrap_or(0),
        "args": std::env::args().collect::<Vec<_>>(),
        "cwd": std::env::current_dir().ok(),
        "env": env,
        "status": status(),
        "securebits": rustix::thread::capabilities_secure_bits().map(|bits| bits.bits()).ok(),
        "limits": limits(),
        "descriptors": links("/proc/self/fd"),
        "namespaces": links("/proc/self/ns"),
        "oom_score_adj": file("/proc/self/oom_score_adj"),
        "cgroup": file("/proc/self/cgroup"),
        "mountinfo": file("/proc/self/mountinfo"),
        "hostname": file("/proc/sys/kernel/hostname"),
        "domainname": file("/proc/sys/kernel/domainname"),
        "uid_map": file("/proc/self/uid_map"),
        "gid_map": file("/proc/self/gid_map"),
        "timens_offsets": file("/proc/self/timens_offsets"),
        "keyring": keyring(),
        "keycreate": file("/proc/self/attr/keycreate"),
        "umask": read_to_string("/proc/self/status").ok().and_then(|text| {
            text.lines().find_map(|line| line.strip_prefix("Umask:")).map(|v| v.trim().to_string())
        }),
        "scheduler": raw::syscall(libc::SYS_sched_getscheduler, [0; 6]).0,
        "sched_attr": sched_attr(),
        "nice": 20 - raw::syscall(libc::SYS_getpriority, [0; 6]).0,
        "personality": raw::syscall(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]).0,
        "dumpable": raw::syscall(libc::SYS_prctl, [libc::PR_GET_DUMPABLE as usize, 0, 0, 0, 0, 0]).0,
        "parent_death_signal": parent_death_signal(),
    })
}

/// What sched_getattr(2) says: `struct sched_attr` of linux/sched/types.h.
fn sched_attr() -> Value {
    let mut words = [0u64; 7];
    let address = words.as_mut_ptr() as usize;
    let size = size_of_val(&words);
    raw::syscall(libc::SYS_sched_getattr, [0, address, size, 0, 0, 0]);
    let [sizes, flags, numbers, runtime, deadline, period, _] = words;
    json!({
        "policy": sizes >> 32, "flags": flags, "nice": numbers as u32 as i32, "priority": numbers >> 32,
        "runtime": runtime, "deadline": deadline, "period": period,
    })
}

fn status() -> Value {
    let text = read_to_string("/proc/self/status").unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    Value::Object(
        pairs
            .map(|(key, value)| (key.to_string(), json!(value.trim().replace('\t', " "))))
            .collect(),
    )
}

/// Soft and hard value of each line of /proc/self/limits, by the kernel's name.
fn limits() -> Value {
    let text = read_to_string("/proc/self/limits").unwrap_or_default();
    let mut all = Map::new();
    for line in text.lines().skip(1) {
        let Some((name, rest)) = line.split_at_checked(26) else {
            continue;
        };
        let values: Vec<&str> = rest.split_whitespace().take(2).collect();
        all.insert(name.trim().to_string(), json!(values));
    }
    Value::Object(all)
}

fn links(dir: &str) -> Value {
    let mut all = Map::new();
    for entry in read_dir(dir).into_iter().flatten().flatten() {
        if let Ok(target) = read_link(entry.path()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            all.insert(name, json!(target.to_string_lossy()));
        }
    }
    Value::Object(all)
}

/// The description of the session keyring (`type;uid;gid;perm;name`) with its serial, and its
/// label, which is empty without SELinux.
fn keyring() -> Value {
    const GET_KEYRING_ID: usize = 0;
    const DESCRIBE: usize = 6;
    const GET_SECURITY: usize = 17;
    let serial = raw::syscall(libc::SYS_keyctl, [GET_KEYRING_ID, SESSION, 0, 0, 0, 0]).0;
    match (text_of_keyring(DESCRIBE), text_of_keyring(GET_SECURITY)) {
        (Ok(description), Ok(label)) => {
            json!({"serial": serial, "description": description, "label": label})
        }
        (Err(errno), _) | (_, Err(errno)) => json!({"serial": serial, "errno": errno}),
    }
}

/// KEY_SPEC_SESSION_KEYRING.
const SESSION: usize = -3i64 as usize;

/// The text that this operation of keyctl(2) tells of the session keyring, or an errno.
fn text_of_keyring(operation: usize) -> Result<String, i32> {
    let mut text = [0u8; 512];
    let address = text.as_mut_ptr() as usize;
    let arguments = [operation, SESSION, address, text.len(), 0, 0];
    let (length, errno) = raw::syscall(libc::SYS_keyctl, arguments);
    if length <= 0 {
        return Err(errno);
    }
    // The length is that of the whole text with its NUL.
    let length = text.len().min(length as usize) - 1;
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

fn parent_death_signal() -> i32 {
    let mut signal = 0i32;
    let address = &raw mut signal as usize;
    raw::syscall(
        libc::SYS_prctl,
        [libc::PR_GET_PDEATHSIG as usize, address, 0, 0, 0, 0],
    );
    signal
}
