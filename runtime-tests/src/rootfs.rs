//! The rootfs that containers run in: busybox, the probe, a few files of /etc.
//!
//! The base is made once per run; each bundle gets a tree of its own whose big
//! files are hard links into the base, which costs about a millisecond: they are
//! everybody's and must not be opened for writing (who runs one meets ETXTBSY).

use crate::outcome::{Because, Outcome, fail};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The applets that tests call by name.
const APPLETS: &[&str] = &[
    "awk", "cat", "chmod", "dd", "df", "echo", "env", "false", "grep", "head", "hostname", "id",
    "ifconfig", "ip", "kill", "ln", "ls", "mkdir", "mknod", "mount", "nproc", "ps", "pwd",
    "readlink", "rm", "sh", "sleep", "sort", "stat", "stty", "sysctl", "tail", "test", "touch",
    "true", "tty", "umount", "uname", "wc", "yes",
];

/// The folders of the tree.
const DIRS: &[&str] = &[
    "bin", "dev", "etc", "home", "mnt", "proc", "root", "run", "srv", "sys", "tmp", "usr/bin",
    "var/tmp",
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n";
const GROUP: &str = "root:x:0:\nuser:x:1000:\n";

/// The probe: `$PROBE`, or the file of that name beside this program.
pub fn find_probe() -> Outcome<PathBuf> {
    let path = match std::env::var_os("PROBE") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?.with_file_name("probe"),
    };
    path.canonicalize().because(format!(
        "the helper program {} (built beside the harness, or named by PROBE)",
        path.display()
    ))
}

/// Makes the base once per run.
pub fn make_base(base: &Path) -> Outcome {
    std::fs::create_dir_all(base)?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let Some(busybox) = busybox else {
        return fail("no /bin/busybox: install the package busybox-static");
    };
    std::fs::copy(busybox, base.join("busybox")).because(busybox)?;
    let probe = find_probe()?;
    std::fs::copy(&probe, base.join("probe")).because(probe.display())?;
    Ok(())
}

/// Makes one rootfs out of the base.
pub fn make(base: &Path, rootfs: &Path) -> Outcome {
    for dir in DIRS {
        std::fs::create_dir_all(rootfs.join(dir)).because(rootfs.join(dir).display())?;
    }
    for program in ["busybox", "probe"] {
        let target = rootfs.join("bin").join(program);
        std::fs::hard_link(base.join(program), &target).because(target.display())?;
    }
    for applet in APPLETS {
        symlink("busybox", rootfs.join("bin").join(applet))?;
    }
    std::fs::write(rootfs.join("etc/passwd"), PASSWD)?;
    std::fs::write(rootfs.join("etc/group"), GROUP)?;
    Ok(())
}
