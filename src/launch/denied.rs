//! Why a user may make no namespaces or map no ids. Asked once the kernel or a helper has
//! refused, so it may cost.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::fs::StatVfsMountFlags;
use rustix::process::geteuid;

use super::LaunchError;
use crate::config::ConfigError;
use crate::plan::namespaces::KINDS;
use crate::sys::{Errno, errno_text};

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;

/// The kernel does not make a process with these new namespaces (`CLONE_NEW*`).
pub(super) fn namespaces(new: u64, errno: Errno) -> LaunchError {
    let kinds = || KINDS.iter().filter(|(_, _, flag)| new & flag != 0);
    let words: Vec<&str> = kinds().map(|(word, _, _)| *word).collect();
    let number = |path: &str| number(path);
    let hint = match errno {
        Errno::NOSPC | Errno::USERS => {
            let none = kinds().find_map(|(_, file, _)| {
                let name = format!("max_{file}_namespaces");
                (number(&format!("/proc/sys/user/{name}")) == Some(0)).then_some(name)
            });
            Some(match none {
                Some(name) => format!("user.{name} is 0: raise it with sysctl"),
                None => "a limit of user.max_*_namespaces is reached, or 32 namespaces are in \
                         one another already"
                    .to_owned(),
            })
        }
        Errno::PERM if new & NEWUSER != 0 => {
            Some(match number("/proc/sys/kernel/unprivileged_userns_clone") {
                Some(0) if !geteuid().is_root() => "only root may make user namespaces here: \
                    set kernel.unprivileged_userns_clone to 1 with sysctl, or run as root"
                    .to_owned(),
                _ => "a user namespace cannot be made in a chroot, by a user whose id is not \
                      mapped, or where a seccomp filter or a security module forbids it"
                    .to_owned(),
            })
        }
        Errno::PERM => {
            Some("it takes CAP_SYS_ADMIN, or a user namespace of the container's own".to_owned())
        }
        Errno::INVAL => kinds()
            .find(|(_, file, _)| rustix::fs::stat(format!("/proc/self/ns/{file}")).is_err())
            .map(|(word, _, _)| format!("this kernel has no {word} namespaces")),
        _ => None,
    };
    let why = errno_text(errno.raw_os_error());
    let what = format!(
        "cannot make a process with the namespaces {}: {why}",
        words.join(", ")
    );
    let error = ConfigError::new("/linux/namespaces", what);
    LaunchError::Config(match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    })
}

/// What to add to an error of a container with a new user namespace, if AppArmor lets users make
/// one and takes their rights in it away (Ubuntu 23.10 and later).
pub(super) fn by_apparmor(new: u64, errno: i32) -> &'static str {
    let restricted = new & NEWUSER != 0
        && matches!(errno, libc::EACCES | libc::EPERM)
        && !geteuid().is_root()
        && number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1);
    match restricted {
        true => {
            "; kernel.apparmor_restrict_unprivileged_userns is 1: AppArmor takes users' rights in \
             user namespaces away unless corten has a profile with `userns,`"
        }
        false => "",
    }
}

/// What keeps a helper such as newuidmap(1) from giving out ids, if it is the helper itself.
pub(super) fn helper(name: &str) -> Option<String> {
    let path = in_path(name)?;
    if !may_give_ids(&path) {
        return Some(format!(
            "{} is neither set-uid root nor has it a file capability: reinstall the package uidmap",
            path.display()
        ));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.contains("\nNoNewPrivs:\t1") {
        return Some(format!(
            "the runtime was started with no_new_privs, which takes {name} its rights"
        ));
    }
    let nosuid =
        rustix::fs::statvfs(&path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOSUID));
    nosuid.then(|| format!("{} lies on a nosuid mount", path.display()))
}

/// The program of this name in $PATH.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&path).map(|dir| dir.join(name));
    found.find(|file| file.is_file())
}

/// Whether the program in $PATH may give out ids: set-uid root, or with file capabilities.
pub fn is_set_uid(name: &str) -> bool {
    in_path(name).is_some_and(|path| may_give_ids(&path))
}

fn may_give_ids(path: &PathBuf) -> bool {
    let set_uid = std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o4000 != 0);
    let mut buffer = [0; 64];
    set_uid || rustix::fs::getxattr(path, c"security.capability", &mut buffer).is_ok()
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
