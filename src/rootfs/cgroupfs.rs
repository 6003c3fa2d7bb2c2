//! The cgroup file systems inside the container.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};

use super::detached::new_mount;
use super::mounts::{READ_ONLY, attach, mount_on, open_tree, set_attr};
use crate::plan::options::attr_of_flags;
use crate::plan::{CgroupMounts, V1Mount};
use crate::sys::Result;
use crate::sys::mount::{MountAttr, mount_at_name};

/// Mounts what `plan` says on `target`.
///
/// # Errors
/// The system calls that it consists of.
pub fn mount(target: impl AsFd, flags: u64, plan: &CgroupMounts) -> Result<()> {
    match plan {
        CgroupMounts::Unified => mount_on(target, c"cgroup2", c"cgroup", flags, c""),
        CgroupMounts::V1(hierarchies) => {
            let attr = attr_of_flags(flags & !libc::MS_RDONLY);
            let mode = std::iter::once((c"mode", Some(c"755")));
            let tmpfs = new_mount(c"tmpfs", mode, attr)?;
            attach(&tmpfs, target)?;
            // The tmpfs is ours and empty, so its names can be used as they are.
            rustix::process::fchdir(&tmpfs)?;
            for hierarchy in hierarchies {
                mount_hierarchy(tmpfs.as_fd(), flags, hierarchy)?;
            }
            if flags & libc::MS_RDONLY != 0 {
                set_attr(&tmpfs, false, &READ_ONLY)?;
            }
            Ok(())
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
