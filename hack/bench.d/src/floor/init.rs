//! The child of the clone, up to the payload: what config.json of the two bundles asks of it.

use crate::sys::{self, chdir, mkdir, mknod, mount, open, symlink, try_mount, write_file};
use crate::{Shape, cgroup};
use libc::{
    MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SLAVE,
};
use libc::{MS_RELATIME, MS_STRICTATIME};
use std::ffi::{c_int, c_ulong};

/// What the parent prepared.
pub struct Init<'a> {
    pub shape: Shape,
    pub id: &'a str,
    pub bundle: &'a str,
    /// The descriptor by which `start` is waited for.
    pub fifo: Option<c_int>,
    /// Where to say that the container is made.
    pub ready: c_int,
    pub seccomp: &'a [u8],
    pub v1: bool,
}

const NONE: c_ulong = MS_NOSUID | MS_NOEXEC | MS_NODEV;
const DOCKER_CAPABILITIES: u64 = 0xa804_25fb;
const PLAIN_CAPABILITIES: u64 = 0x2000_0420;

/// Becomes the payload.
pub fn run(init: &Init) -> ! {
    let docker = init.shape == Shape::Docker;
    if init.v1 {
        cgroup::join(init.id);
        if docker {
            sys::unshare(libc::CLONE_NEWCGROUP);
        }
    }
    sys::new_session(if docker { "5d1f8b0e7a2c" } else { "runc" });
    sys::loopback_up();
    if docker {
        write_file("/proc/self/oom_score_adj", "0", 0);
    }
    file_systems(init);
    if docker {
        bind_files(init.bundle);
    }
    devices();
    if !docker {
        mount(
            "",
            ".",
            "",
            MS_REMOUNT | MS_BIND | MS_RDONLY | MS_RELATIME,
            "",
        );
    }
    sys::pivot_here();
    if docker {
        write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0", 0);
        write_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647", 0);
    }
    hide(docker);
    privileges(init, docker);

    if let Some(fifo) = init.fifo {
        sys::write(init.ready, b"ready");
        let fifo = open(&format!("/proc/self/fd/{fifo}"), libc::O_RDONLY);
        sys::read(fifo, &mut [0; 1]);
    } else {
        sys::write(init.ready, b"ready");
    }
    let path = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    sys::execute("/bin/true", &[path, c"HOME=/root"])
}

/// All mounts of file systems; the current directory becomes the root of the container-to-be.
fn file_systems(init: &Init) {
    let docker = init.shape == Shape::Docker;
    mount("", "/", "", MS_SLAVE | MS_REC, "");
    mount("rootfs", "rootfs", "", MS_BIND | MS_REC, "");
    chdir("rootfs");
    mount("proc", "proc", "proc", if docker { NONE } else { 0 }, "");
    mount(
        "tmpfs",
        "dev",
        "tmpfs",
        MS_NOSUID | MS_STRICTATIME,
        "mode=755,size=65536k",
    );
    for directory in ["dev/pts", "dev/mqueue", "dev/shm"] {
        mkdir(directory);
    }
    let pts = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, pts);
    mount("sysfs", "sys", "sysfs", NONE | MS_RDONLY, "");
    mount("mqueue", "dev/mqueue", "mqueue", NONE, "");
    mount("shm", "dev/shm", "tmpfs", NONE, "mode=1777,size=67108864");

    let target = "sys/fs/cgroup";
    if !init.v1 {
        mount("cgroup", target, "cgroup2", NONE | MS_RDONLY, "");
        return;
    }
    mount("tmpfs", target, "tmpfs", NONE, "mode=755");
    for hierarchy in cgroup::HIERARCHIES {
        let target = format!("{target}/{hierarchy}");
        mkdir(&target);
        if docker {
            let data = if hierarchy == "systemd" {
                "none,name=systemd"
            } else {
                hierarchy
            };
            mount("cgroup", &target, "cgroup", NONE | MS_RDONLY, data);
        } else {
            // Without a cgroup namespace: the container's own part of the host's hierarchy.
            let source = format!("/sys/fs/cgroup/{hierarchy}/{}/{}", cgroup::PARENT, init.id);
            mount(&source, &target, "", MS_BIND, "");
            mount("", &target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | NONE, "");
        }
    }
    mount("", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | NONE, "");
}

fn bind_files(bundle: &str) {
    for name in ["resolv.conf", "hostname", "hosts"] {
        let target = format!("etc/{name}");
        mount(
            &format!("{bundle}/{name}"),
            &target,
            "",
            MS_BIND | MS_REC,
            "",
        );
        mount("", &target, "", MS_PRIVATE | MS_REC, "");
    }
}

fn devices() {
    chdir("dev");
    sys::umask(0);
    for (name, major, minor) in [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ] {
        mknod(name, libc::S_IFCHR | 0o666, libc::makedev(major, minor));
    }
    for (to, name) in [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("/proc/kcore", "core"),
        ("pts/ptmx", "ptmx"),
    ] {
        symlink(to, name);
    }
    sys::umask(0o022);
    chdir("..");
}

/// The read-only and the masked paths; those that this kernel lacks are skipped, as runtimes do.
fn hide(docker: bool) {
    let flags = if docker { NONE } else { 0 } | MS_RELATIME;
    for path in [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ] {
        if try_mount(path, path, "", MS_BIND | MS_REC, "") {
            mount("", path, "", MS_REMOUNT | MS_BIND | MS_RDONLY | flags, "");
        }
    }
    for directory in ["/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/firmware"] {
        try_mount("tmpfs", directory, "tmpfs", MS_RDONLY, "");
    }
    for file in [
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
    ] {
        try_mount("/dev/null", file, "", MS_BIND, "");
    }
    if docker {
        try_mount("/dev/null", "/proc/interrupts", "", MS_BIND, "");
        try_mount(
            "tmpfs",
            "/sys/devices/virtual/powercap",
            "tmpfs",
            MS_RDONLY,
            "",
        );
    }
}

/// Everything after which the init could not have made the container any more.
fn privileges(init: &Init, docker: bool) {
    let capabilities = if docker {
        DOCKER_CAPABILITIES
    } else {
        PLAIN_CAPABILITIES
    };
    if docker {
        sys::set_groups(&[0, 10]);
    } else {
        sys::limit_files(1024);
        sys::set_groups(&[]);
        sys::no_new_privileges();
    }
    sys::drop_bounding(capabilities);
    if docker {
        sys::load_seccomp(init.seccomp);
    }
    sys::set_capabilities(capabilities);
    sys::close_on_exec();
}
