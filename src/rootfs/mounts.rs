//! Making the configured mounts.
//!
//! New file systems are mounted by mount(2) on the current directory, which is
//! set by descriptor (fchdir): one call, and no path is followed. Binds are
//! detached clones (open_tree) that get their flags before they are attached, so
//! a read-only bind is never writable for a moment.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType};
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use super::detached::new_mount;
use super::resolve::{self, Make};
use super::{Procfs, cgroupfs, copy_up};
use crate::plan::CgroupMounts;
use crate::plan::mounts::{MountPlan, What, key_values};
use crate::plan::options::attr_of_flags;
use crate::sys::fd::ShortLived;
use crate::sys::mount::{MountAttr, mount_here, mount_setattr, remount_here};
use crate::sys::stub::{At, Failure, Stage};
use crate::sys::{Errno, Result};

/// What the mounts need besides their plan.
pub struct Context<'a> {
    /// The container's root.
    pub root: BorrowedFd<'a>,
    /// Sources that the parent opened, by index, where the init may not.
    pub trees: &'a mut [Option<OwnedFd>],
    /// What a cgroup mount consists of.
    pub cgroup: &'a CgroupMounts,
}

/// Makes all mounts in order.
///
/// # Errors
/// The first that fails, by index.
pub fn make(
    plans: &[MountPlan],
    c: &mut Context<'_>,
    procfs: &mut Procfs,
) -> std::result::Result<(), Failure> {
    for (index, plan) in plans.iter().enumerate() {
        make_one(index, plan, c, procfs)?;
    }
    Ok(())
}

fn make_one(
    index: usize,
    plan: &MountPlan,
    c: &mut Context<'_>,
    procfs: &mut Procfs,
) -> std::result::Result<(), Failure> {
    let destination = plan.destination.as_c_str();
    let target = |make| {
        resolve::place_or_make(c.root, destination, make).at_index(Stage::MountTarget, index)
    };
    match &plan.what {
        What::Filesystem {
            fstype,
            source,
            flags,
            data,
            copy_up: copy,
        } => {
            let target = if fstype.as_c_str() == c"sysfs" {
                own_directory(c.root, destination).at_index(Stage::MountTarget, index)?
            } else {
                target(Make::Directory)?
            };
            if *copy {
                tmpfs_copying_up(&target, *flags, data, index)?;
            } else {
                mount_on(&target, fstype, source, *flags, data).at_index(Stage::Mount, index)?;
            }
        }
        What::Proc { attr, data } => {
            let target = own_directory(c.root, destination).at_index(Stage::MountTarget, index)?;
            let mount = procfs.mount(*attr, data).at_index(Stage::Mount, index)?;
            attach(mount, &target).at_index(Stage::Mount, index)?;
        }
        What::Bind {
            source,
            recursive,
            attr,
            recursive_attr,
        } => {
            let tree: ShortLived = match c.trees.get_mut(index).and_then(Option::take) {
                Some(tree) => tree.into(),
                None => open_tree(source, *recursive)
                    .at_index(Stage::MountSource, index)?
                    .into(),
            };
            if destination == c"proc" && !resolve::is_procfs(&tree).at_index(Stage::Mount, index)? {
                // Masks and read-only paths would protect what is none (CVE-2019-16884).
                return Err(Errno::PERM).at_index(Stage::Mount, index);
            }
            // The destination is only made to fit when there is none.
            let target = match resolve::place(c.root, destination) {
                Err(Errno::NOENT) => target(kind_of(&tree).at_index(Stage::MountSource, index)?)?,
                result => result.at_index(Stage::MountTarget, index)?,
            };
            set_attr(&tree, false, attr).at_index(Stage::MountFlags, index)?;
            set_attr(&tree, true, recursive_attr).at_index(Stage::MountFlags, index)?;
            attach(tree.as_fd(), &target).at_index(Stage::Mount, index)?;
            // The descriptor stands for the mount, wherever it is now. Not earlier: a
            // shared mount above would have made it shared again.
            for flags in &plan.propagation {
                set_propagation(&tree, *flags).at_index(Stage::MountFlags, index)?;
            }
            return Ok(());
        }
        What::Cgroup { flags } => {
            let target = target(Make::Directory)?;
            cgroupfs::mount(&target, *flags, c.cgroup).at_index(Stage::Mount, index)?;
        }
        What::Remount { flags, data } => {
            let target = resolve::place(c.root, destination).at_index(Stage::MountTarget, index)?;
            rustix::process::fchdir(&target).at_index(Stage::MountTarget, index)?;
            remount_here(*flags, data).at_index(Stage::Mount, index)?;
        }
    }
    if !plan.propagation.is_empty() {
        let mount = resolve::place(c.root, destination).at_index(Stage::MountFlags, index)?;
        for flags in &plan.propagation {
            set_propagation(&mount, *flags).at_index(Stage::MountFlags, index)?;
        }
    }
    Ok(())
}

/// A directory of the image itself, not a link to another place: labels, masks and
/// device nodes rely on where /proc, /sys and /dev are (CVE-2019-19921, CVE-2023-27561,
/// CVE-2026-41579).
///
/// # Errors
/// `ELOOP` for a link.
pub fn own_directory(root: BorrowedFd<'_>, path: &CStr) -> Result<ShortLived> {
    match resolve::handle_without_links(root, path) {
        Err(Errno::NOENT) => resolve::place_or_make(root, path, Make::Directory),
        result => result,
    }
}

/// A tmpfs that is filled with what its directory held.
fn tmpfs_copying_up(
    target: &ShortLived,
    flags: u64,
    data: &CStr,
    index: usize,
) -> std::result::Result<(), Failure> {
    let words: Vec<(CString, Option<CString>)> = key_values(&data.to_string_lossy());
    let settings = words
        .iter()
        .map(|(key, value)| (key.as_c_str(), value.as_deref()));
    let attr = attr_of_flags(flags & !libc::MS_RDONLY);
    let tmpfs = new_mount(c"tmpfs", settings, attr).at_index(Stage::Mount, index)?;
    copy_up::copy(target, &tmpfs).at_index(Stage::MountCopyUp, index)?;
    if flags & libc::MS_RDONLY != 0 {
        set_attr(&tmpfs, false, &READ_ONLY).at_index(Stage::MountFlags, index)?;
    }
    attach(&tmpfs, target).at_index(Stage::Mount, index)
}

/// `MOUNT_ATTR_RDONLY`.
pub const READ_ONLY: MountAttr = MountAttr {
    set: libc::MOUNT_ATTR_RDONLY,
    clear: 0,
    propagation: 0,
    userns_fd: 0,
};

/// A detached clone of what is at a path of the host.
///
/// # Errors
/// open_tree(2).
pub fn open_tree(path: &CStr, recursive: bool) -> Result<OwnedFd> {
    rustix::mount::open_tree(CWD, path, clone_flags(recursive))
}

/// A detached clone of what a descriptor stands for.
///
/// # Errors
/// open_tree(2).
pub fn clone_tree(fd: impl AsFd, recursive: bool) -> Result<OwnedFd> {
    let flags = clone_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(fd, c"", flags)
}

fn clone_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags | OpenTreeFlags::AT_RECURSIVE
    } else {
        flags
    }
}

/// Attaches a detached mount to the very place that `target` stands for.
///
/// # Errors
/// move_mount(2).
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
}

/// mount_setattr, unless it would change nothing.
///
/// # Errors
/// mount_setattr(2).
pub fn set_attr(mount: impl AsFd, recursive: bool, attr: &MountAttr) -> Result<()> {
    if attr.is_empty() {
        Ok(())
    } else {
        mount_setattr(mount.as_fd(), recursive, attr)
    }
}

/// Changes propagation (`MS_SHARED` and so on, with `MS_REC`).
///
/// # Errors
/// mount_setattr(2).
pub fn set_propagation(mount: impl AsFd, flags: u64) -> Result<()> {
    let attr = MountAttr {
        propagation: flags & !libc::MS_REC,
        ..MountAttr::default()
    };
    mount_setattr(mount.as_fd(), flags & libc::MS_REC != 0, &attr)
}

/// Mounts a new file system on the directory that `target` stands for.
///
/// # Errors
/// fchdir(2), mount(2).
pub fn mount_on(
    target: impl AsFd,
    fstype: &CStr,
    source: &CStr,
    flags: u64,
    data: &CStr,
) -> Result<()> {
    rustix::process::fchdir(target)?;
    mount_here(fstype, source, flags, data)
}

fn kind_of(tree: impl AsFd) -> Result<Make> {
    let stat = rustix::fs::fstat(tree)?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok(if directory {
        Make::Directory
    } else {
        Make::File
    })
}
