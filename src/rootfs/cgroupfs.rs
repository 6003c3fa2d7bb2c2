//! The cgroup file systems inside the container.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};

use super::calls::{READ_ONLY, attach, open_tree, set_attr};
use super::detached::new_mount;
use super::fallback::{self, Instead};
use super::masks::hide;
use super::tree;
use crate::plan::mounts::key_values;
use crate::plan::options::{attr_of_flags, superblock_words};
use crate::plan::{CgroupMounts, V1Mount};
use crate::sys::fd::ShortLived;
use crate::sys::mount::{MountAttr, mount_at_name};
use crate::sys::{Errno, Result};

/// What became of a cgroup mount.
pub enum Made {
    /// It is to be attached.
    Detached(ShortLived),
    /// It is there.
    Attached(ShortLived),
    /// Something else is to be attached.
    DetachedInstead(ShortLived, Instead),
    /// Something else is there.
    Instead(Instead),
}

/// Makes what `plan` says for `target`, or mounts there what has to do instead where the kernel
/// does not let it be mounted: the runtime's user has no rights over the cgroup
/// namespace, or the host has mounted it with other options.
///
/// # Errors
/// The system calls that it consists of.
pub fn make(
    target: impl AsFd,
    flags: u64,
    label: Option<&CStr>,
    plan: &CgroupMounts,
) -> Result<Made> {
    let target = target.as_fd();
    let made = match plan {
        CgroupMounts::Unified { .. } => {
            let source = std::iter::once((c"source", Some(c"cgroup")));
            let settings = source.chain(superblock_words(flags).map(|word| (word, None)));
            new_mount(c"cgroup2", settings, attr_of_flags(flags))
                .map(|mount| Made::Detached(mount.into()))
        }
        CgroupMounts::V1(hierarchies) => v1(target, flags, label, hierarchies),
        CgroupMounts::Hidden => Err(Errno::PERM),
    };
    match (made, plan) {
        (
            Err(errno @ (Errno::PERM | Errno::BUSY)),
            CgroupMounts::Unified {
                bind: Some(source),
                whole,
            },
        ) => {
            // The host's whole tree could hold cgroups that are the user's to change
            // (CVE-2023-25809).
            let more = if *whole { libc::MS_RDONLY } else { 0 };
            fallback::bound(source, flags | more, errno)
                .map(|tree| Made::DetachedInstead(tree, Instead::BoundCgroup))
        }
        // Busy: the very same view is mounted there already, with /sys.
        (Err(Errno::PERM | Errno::BUSY), CgroupMounts::Unified { .. }) => {
            hide(target)?;
            Ok(Made::Instead(Instead::HiddenCgroup))
        }
        (Err(Errno::PERM | Errno::BUSY), _) => {
            hidden_v1(target, flags)?;
            Ok(Made::Instead(Instead::HiddenCgroup))
        }
        (made, _) => made,
    }
}

/// Nothing but the mount point of what Podman binds there itself, for systemd in a container.
fn hidden_v1(target: BorrowedFd<'_>, flags: u64) -> Result<()> {
    let mode = std::iter::once((c"mode", Some(c"755")));
    let attr = attr_of_flags(flags & !libc::MS_RDONLY);
    let tmpfs = ShortLived::from(new_mount(c"tmpfs", mode, attr)?);
    rustix::fs::mkdirat(&tmpfs, c"systemd", Mode::from_raw_mode(0o755))?;
    // In a tree that is attached later it has to be before, without mount_setattr after.
    let early = set_attr(&tmpfs, false, &READ_ONLY);
    attach(&tmpfs, target)?;
    early.or_else(|_| set_attr(&tmpfs, false, &READ_ONLY))
}

/// A tmpfs with a directory for each hierarchy.
fn v1(
    target: BorrowedFd<'_>,
    flags: u64,
    label: Option<&CStr>,
    hierarchies: &[V1Mount],
) -> Result<Made> {
    let attr = attr_of_flags(flags & !libc::MS_RDONLY);
    let settings = std::iter::once((c"mode", Some(c"755")))
        .chain(label.map(|label| (c"context", Some(label))));
    let tmpfs = ShortLived::from(new_mount(c"tmpfs", settings, attr)?);
    // The tmpfs is ours and empty, so its names can be used as they are.
    for (index, hierarchy) in hierarchies.iter().enumerate() {
        let name = hierarchy.name.as_c_str();
        rustix::fs::mkdirat(&tmpfs, name, Mode::from_raw_mode(0o755))?;
        // "cpu" and "cpuacct" beside "cpu,cpuacct", as every host has them.
        for link in &hierarchy.links {
            rustix::fs::symlinkat(name, &tmpfs, link.as_c_str())?;
        }
        if tree::is_old() {
            continue;
        }
        match tree::attach_to_detached(detached(hierarchy, flags)?, &tmpfs, name) {
            Err(Errno::INVAL) if index == 0 => tree::turns_out_old()?,
            result => result?,
        }
    }
    if tree::is_old() {
        return v1_attached(target, flags, tmpfs, hierarchies).map(Made::Attached);
    }
    let set = attr_of_flags(flags);
    let mut attr = MountAttr {
        set,
        ..MountAttr::default()
    };
    if hierarchies.iter().all(|plan| plan.has_namespace) {
        // In the place of new ones: without the host's flags and propagation.
        attr.clear = attr_of_flags(!0) & !set | libc::MOUNT_ATTR__ATIME;
        attr.propagation = libc::MS_PRIVATE;
    }
    set_attr(&tmpfs, true, &attr)?;
    Ok(Made::Detached(tmpfs))
}

/// One hierarchy as a detached mount.
fn detached(plan: &V1Mount, flags: u64) -> Result<ShortLived> {
    if let Some(directory) = &plan.directory {
        return open_tree(directory, false).map(ShortLived::from);
    }
    // In a cgroup namespace the file system's root is the container's own cgroup.
    let data = key_values(&plan.data.to_string_lossy());
    let settings = std::iter::once((c"source", Some(c"cgroup")))
        .chain(superblock_words(flags).map(|word| (word, None)))
        .chain(
            data.iter()
                .map(|(key, value)| (key.as_c_str(), value.as_deref())),
        );
    new_mount(c"cgroup", settings, attr_of_flags(flags)).map(ShortLived::from)
}

/// The same where the kernel attaches nothing to a detached tmpfs: before Linux 6.15.
fn v1_attached(
    target: BorrowedFd<'_>,
    flags: u64,
    tmpfs: ShortLived,
    hierarchies: &[V1Mount],
) -> Result<ShortLived> {
    attach(&tmpfs, target)?;
    rustix::process::fchdir(&tmpfs)?;
    for plan in hierarchies {
        let name = plan.name.as_c_str();
        match &plan.directory {
            Some(source) if !plan.has_namespace => {
                let tree = ShortLived::from(open_tree(source, false)?);
                let set = attr_of_flags(flags);
                set_attr(
                    &tree,
                    false,
                    &MountAttr {
                        set,
                        ..MountAttr::default()
                    },
                )?;
                let place = rustix::fs::openat(&tmpfs, name, OFlags::PATH, Mode::empty())?;
                attach(&tree, &place)?;
            }
            _ => mount_at_name(c"cgroup", c"cgroup", name, flags, &plan.data)?,
        }
    }
    if flags & libc::MS_RDONLY != 0 {
        set_attr(&tmpfs, false, &READ_ONLY)?;
    }
    Ok(tmpfs)
}
