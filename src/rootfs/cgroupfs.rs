//! The cgroup file systems inside the container.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};

use super::detached::new_mount;
use super::mounts::{READ_ONLY, attach, mount_on, open_tree, set_attr};
use crate::plan::options::attr_of_flags;
use crate::plan::{CgroupMounts, V1Mount};
use crate::sys::fd::ShortLived;
use crate::sys::mount::{MountAttr, mount_at_name};
use crate::sys::{Errno, Result};

/// Mounts what `plan` says on `target`. Gives the mount, where it is known by descriptor:
/// always, if it is `wanted`.
///
/// # Errors
/// The system calls that it consists of.
pub fn mount(
    target: impl AsFd,
    flags: u64,
    label: Option<&CStr>,
    plan: &CgroupMounts,
    wanted: bool,
) -> Result<Option<ShortLived>> {
    match plan {
        CgroupMounts::Unified { instead } => {
            let mounted = if wanted {
                let source = std::iter::once((c"source", Some(c"cgroup")));
                new_mount(c"cgroup2", source, attr_of_flags(flags)).map(Some)
            } else {
                mount_on(&target, c"cgroup2", c"cgroup", flags, c"").map(|()| None)
            };
            let mount = match mounted {
                // A user namespace may only mount it along with a cgroup namespace of its own.
                Err(Errno::PERM | Errno::BUSY) => {
                    let tree = open_tree(instead, true)?;
                    let set = attr_of_flags(flags);
                    let attr = MountAttr {
                        set,
                        ..MountAttr::default()
                    };
                    set_attr(&tree, false, &attr)?;
                    Some(ShortLived::from(tree))
                }
                mounted => mounted?,
            };
            if let Some(mount) = &mount {
                attach(mount, target)?;
            }
            Ok(mount)
        }
        CgroupMounts::V1(hierarchies) => {
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
            Ok(Some(tmpfs))
        }
    }
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
