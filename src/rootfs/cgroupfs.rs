//! The cgroup file systems inside the container.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};

use super::detached::new_mount;
use super::fallback::{self, Instead};
use super::masks::hide;
use super::mounts::{READ_ONLY, attach, mount_on, open_tree, set_attr};
use crate::plan::options::attr_of_flags;
use crate::plan::{CgroupMounts, V1Mount};
use crate::sys::fd::ShortLived;
use crate::sys::mount::{MountAttr, mount_at_name};
use crate::sys::{Errno, Result};

/// Mounts what `plan` says on `target`, or what has to do instead where the kernel
/// does not let it be mounted: the runtime's user has no rights over the cgroup
/// namespace, or the host has mounted it with other options. Gives the mount, where it is
/// known by descriptor: always, if it is `wanted` and nothing else was done instead.
///
/// # Errors
/// The system calls that it consists of.
pub fn mount(
    target: impl AsFd,
    flags: u64,
    label: Option<&CStr>,
    plan: &CgroupMounts,
    wanted: bool,
) -> Result<(Option<ShortLived>, Option<Instead>)> {
    let target = target.as_fd();
    let mounted = match plan {
        CgroupMounts::Unified { .. } => mount_v2(target, flags, wanted),
        CgroupMounts::V1(hierarchies) => mount_v1(target, flags, label, hierarchies).map(Some),
        CgroupMounts::Hidden => Err(Errno::PERM),
    };
    match (mounted, plan) {
        (Ok(mount), _) => Ok((mount, None)),
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
            fallback::bind(source, target, flags | more, errno)?;
            Ok((None, Some(Instead::BoundCgroup)))
        }
        // Busy: the very same view is mounted there already, with /sys.
        (Err(Errno::PERM | Errno::BUSY), _) => {
            hide(target)?;
            Ok((None, Some(Instead::HiddenCgroup)))
        }
        (Err(errno), _) => Err(errno),
    }
}

fn mount_v2(target: BorrowedFd<'_>, flags: u64, wanted: bool) -> Result<Option<ShortLived>> {
    if !wanted {
        return mount_on(target, c"cgroup2", c"cgroup", flags, c"").map(|()| None);
    }
    let source = std::iter::once((c"source", Some(c"cgroup")));
    let mount = new_mount(c"cgroup2", source, attr_of_flags(flags))?;
    attach(&mount, target)?;
    Ok(Some(mount))
}

fn mount_v1(
    target: BorrowedFd<'_>,
    flags: u64,
    label: Option<&CStr>,
    hierarchies: &[V1Mount],
) -> Result<ShortLived> {
    let attr = attr_of_flags(flags & !libc::MS_RDONLY);
    let settings = std::iter::once((c"mode", Some(c"755")))
        .chain(label.map(|label| (c"context", Some(label))));
    let tmpfs = new_mount(c"tmpfs", settings, attr)?;
    attach(&tmpfs, target)?;
    // The tmpfs is ours and empty, so its names can be used as they are.
    rustix::process::fchdir(&tmpfs)?;
    for hierarchy in hierarchies {
        mount_hierarchy(tmpfs.as_fd(), flags, hierarchy)?;
    }
    if flags & libc::MS_RDONLY != 0 {
        set_attr(&tmpfs, false, &READ_ONLY)?;
    }
    Ok(tmpfs)
}

fn mount_hierarchy(tmpfs: BorrowedFd<'_>, flags: u64, plan: &V1Mount) -> Result<()> {
    rustix::fs::mkdirat(tmpfs, plan.name.as_c_str(), Mode::from_raw_mode(0o755))?;
    match &plan.bind {
        // In a cgroup namespace the file system's root is the container's own cgroup.
        None => mount_at_name(c"cgroup", c"cgroup", &plan.name, flags, &plan.data)?,
        Some(source) => {
            let tree = open_tree(source, false)?;
            let set = attr_of_flags(flags);
            set_attr(
                &tree,
                false,
                &MountAttr {
                    set,
                    ..MountAttr::default()
                },
            )?;
            let place =
                rustix::fs::openat(tmpfs, plan.name.as_c_str(), OFlags::PATH, Mode::empty())?;
            attach(&tree, &place)?;
        }
    }
    // "cpu" and "cpuacct" beside "cpu,cpuacct", as every host has them.
    for link in &plan.links {
        rustix::fs::symlinkat(plan.name.as_c_str(), tmpfs, link.as_c_str())?;
    }
    Ok(())
}
