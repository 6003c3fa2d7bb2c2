//! The system calls that mounts are made of, by descriptor.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::mount::OpenTreeFlags;

use super::{old_kernel, tree};
use crate::plan::mounts::SourceLink;
use crate::sys::Result;
use crate::sys::mount::{MountAttr, mount_here, mount_setattr};

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

/// A detached clone of the source of a bind.
///
/// # Errors
/// open_tree(2).
pub fn open_source(path: &CStr, recursive: bool, link: SourceLink) -> Result<OwnedFd> {
    let flags = match link {
        SourceLink::Follow => OpenTreeFlags::empty(),
        SourceLink::Bind | SourceLink::Copy => OpenTreeFlags::AT_SYMLINK_NOFOLLOW,
    };
    rustix::mount::open_tree(CWD, path, clone_flags(recursive) | flags)
}

/// A detached clone of what has this name in a directory, with all below it; not of what a link
/// leads to.
///
/// # Errors
/// open_tree(2).
pub fn open_tree_in(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = clone_flags(true) | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    rustix::mount::open_tree(dir, name, flags)
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
    tree::attach(mount, target, c"")
}

/// mount_setattr, unless it would change nothing; what does the same on kernels without it.
///
/// # Errors
/// mount_setattr(2), mount(2).
pub fn set_attr(mount: impl AsFd, recursive: bool, attr: &MountAttr) -> Result<()> {
    if attr.is_empty() {
        Ok(())
    } else {
        match mount_setattr(mount.as_fd(), recursive, attr) {
            Err(errno) if old_kernel::is_old(errno, attr) => {
                old_kernel::set_attr(mount.as_fd(), recursive, attr)
            }
            result => result,
        }
    }
}

/// Changes propagation (`MS_SHARED` and so on, with `MS_REC`).
///
/// # Errors
/// As [`set_attr`].
pub fn set_propagation(mount: impl AsFd, flags: u64) -> Result<()> {
    let attr = MountAttr {
        propagation: flags & !libc::MS_REC,
        ..MountAttr::default()
    };
    set_attr(mount, flags & libc::MS_REC != 0, &attr)
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
