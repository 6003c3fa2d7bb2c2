//! What is done where the kernel does not let a file system be mounted or a device be
//! made: in a user namespace, and in a container in a container. crun and runc have the
//! same ways out (docs/rootless.md); what none of them can do is an error with a hint.
//!
//! What is bound here is the host's own, by names of the host, before the pivot.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags};

use super::calls::{attach, open_tree, set_attr};
use super::filesystem::{Maker, detached};
use super::masks::hide;
use super::mounts::Context;
use super::resolve;
use crate::plan::mounts::Filesystem;
use crate::plan::namespaces::NamespacePlan;
use crate::plan::options::attr_of_flags;
use crate::sys::fd::ShortLived;
use crate::sys::mount::MountAttr;
use crate::sys::{Errno, Result};

/// What was done instead of what was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Instead {
    /// The host's /sys is bound, read-only.
    HostSys = 1,
    /// The procfs that the runtime sees is bound.
    HostProc,
    /// The runtime's /dev/mqueue is bound.
    HostQueues,
    /// The terminals belong to the group of whoever opens them.
    NoTerminalGroup,
    /// The container's cgroup is bound.
    BoundCgroup,
    /// There is an empty directory.
    HiddenCgroup,
    /// The host's device is bound.
    HostDevice,
}

impl Instead {
    /// The variant with this number, and the sentence about it.
    pub fn from_number(number: i32) -> Option<(Instead, &'static str)> {
        let all = [
            (Instead::HostSys, "the host's /sys is bound read-only"),
            (
                Instead::HostProc,
                "the procfs that the runtime itself sees is bound",
            ),
            (
                Instead::HostQueues,
                "the runtime's own /dev/mqueue is bound",
            ),
            (Instead::NoTerminalGroup, "it is mounted without gid="),
            (Instead::BoundCgroup, "the cgroup is bound"),
            (Instead::HiddenCgroup, "there is an empty directory"),
            (Instead::HostDevice, "the host's device nodes are bound"),
        ];
        all.into_iter().find(|(one, _)| *one as i32 == number)
    }
}

/// The magic number of procfs (linux/magic.h).
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Mounts on `target` what has to do for a file system that could not be mounted there.
///
/// # Errors
/// `failed`, why not, if there is no way out; what the way out consists of.
pub fn filesystem(
    c: &Context<'_>,
    target: &ShortLived,
    fs: &Filesystem,
    failed: Errno,
) -> Result<Instead> {
    match (fs.fstype.to_bytes(), failed) {
        (b"sysfs", Errno::PERM) => host_sys(c, target).map(|()| Instead::HostSys),
        (b"mqueue", Errno::PERM) if shares(c.namespaces, libc::CLONE_NEWIPC) => {
            attach(bound(c"/dev/mqueue", fs.flags, failed)?, target).map(|()| Instead::HostQueues)
        }
        // A group that the user namespace does not have.
        (b"devpts", Errno::INVAL) => {
            let data = without_group(&fs.data).ok_or(failed)?;
            let fs = Filesystem { data, ..fs.clone() };
            attach(detached(&fs, None, false, Maker::Init)?, target)
                .map(|()| Instead::NoTerminalGroup)
        }
        _ => Err(failed),
    }
}

/// sysfs shows a network namespace and is for those who have rights over that. The
/// host's is read-only here with all below it: the user may own cgroups there, and the
/// container is not to have them (CVE-2023-25809).
fn host_sys(c: &Context<'_>, target: &ShortLived) -> Result<()> {
    let tree = ShortLived::from(open_tree(c"/sys", true)?);
    let attr = MountAttr {
        set: libc::MOUNT_ATTR_RDONLY
            | libc::MOUNT_ATTR_NOSUID
            | libc::MOUNT_ATTR_NODEV
            | libc::MOUNT_ATTR_NOEXEC,
        propagation: libc::MS_SLAVE,
        ..MountAttr::default()
    };
    set_attr(&tree, true, &attr)?;
    // First, as on kernels that attach nothing to what is detached.
    attach(&tree, target)?;
    if !c.mounts_cgroups {
        match resolve::handle_without_links(tree.as_fd(), c"fs/cgroup") {
            Ok(cgroups) => drop(hide(&cgroups)?),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// procfs shows a pid namespace. Where the one around has covered parts, the kernel lets
/// nobody in a user namespace mount another. What the runtime sees may stand in its place
/// only if it is the same pid namespace: else the container would see its neighbours. It is to be
/// attached.
///
/// # Errors
/// `failed` if it may not; open_tree(2), mount_setattr(2).
pub fn host_proc(c: &Context<'_>, attr: u64, failed: Errno) -> Result<ShortLived> {
    if failed != Errno::PERM || !shares(c.namespaces, libc::CLONE_NEWPID) {
        return Err(failed);
    }
    let tree = ShortLived::from(open_tree(c"/proc", true)?);
    if rustix::fs::fstatfs(&tree)?.f_type as u64 != PROC_SUPER_MAGIC {
        return Err(failed);
    }
    let attr = MountAttr {
        set: attr,
        propagation: libc::MS_SLAVE,
        ..MountAttr::default()
    };
    set_attr(&tree, true, &attr)?;
    Ok(tree)
}

/// The runtime's own /proc, where no procfs can be mounted: before the pivot it is the host's.
///
/// # Errors
/// openat(2); `EPERM` if there is another file system.
pub fn own_proc() -> Result<ShortLived> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let proc = ShortLived::from(rustix::fs::openat(CWD, c"/proc", flags, Mode::empty())?);
    match rustix::fs::fstatfs(&proc)?.f_type as u64 {
        PROC_SUPER_MAGIC => Ok(proc),
        _ => Err(Errno::PERM),
    }
}

/// A directory of the host with what is below it, to be attached in the place of a new mount, whose
/// propagation it has.
pub(super) fn bound(path: &CStr, flags: u64, failed: Errno) -> Result<ShortLived> {
    // What is not there says less than why it is needed.
    let tree = ShortLived::from(open_tree(path, true).map_err(|_| failed)?);
    let attr = MountAttr {
        set: attr_of_flags(flags),
        propagation: libc::MS_PRIVATE,
        ..MountAttr::default()
    };
    set_attr(&tree, true, &attr)?;
    Ok(tree)
}

/// Whether the container has the runtime's namespace of this kind.
fn shares(namespaces: &NamespacePlan, flag: libc::c_int) -> bool {
    !namespaces.has(flag as u64)
}

/// The options without `gid=`; nothing if they have none.
fn without_group(data: &CStr) -> Option<std::ffi::CString> {
    let text = data.to_string_lossy();
    let is_group = |option: &&str| option.starts_with("gid=");
    if !text.split(',').any(|option| is_group(&option)) {
        return None;
    }
    let rest: Vec<&str> = text.split(',').filter(|option| !is_group(option)).collect();
    Some(crate::plan::path::c_string(rest.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_group_is_left_out() {
        let without = |data: &CStr| without_group(data);
        assert_eq!(
            without(c"newinstance,gid=5,mode=0620"),
            Some(c"newinstance,mode=0620".to_owned())
        );
        assert_eq!(without(c"gid=5"), Some(c"".to_owned()));
        assert_eq!(without(c"newinstance"), None);
    }

    #[test]
    fn every_way_out_has_its_sentence() {
        for number in 1..=Instead::HostDevice as i32 {
            assert_eq!(
                Instead::from_number(number).map(|(one, _)| one as i32),
                Some(number)
            );
        }
        assert!(Instead::from_number(0).is_none());
    }
}
