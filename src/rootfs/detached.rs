//! New file systems as detached mounts (fsopen, fsmount; Linux 5.2).
//!
//! Where something is to be done inside a new file system, its descriptor has to
//! be that of the mount: finding it again by name, another container that shares a
//! volume could have put something else there.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::mounts::set_attr;
use crate::sys::Result;
use crate::sys::fd::ShortLived;
use crate::sys::mount::MountAttr;

/// One option of a file system: a key and, for most, a value.
pub type Setting<'s> = (&'s CStr, Option<&'s CStr>);

/// Makes a file system with its options and `MOUNT_ATTR_*` flags; it is nowhere yet.
///
/// # Errors
/// fsopen(2), fsconfig(2), fsmount(2).
pub fn new_mount<'s>(
    fstype: &CStr,
    settings: impl Iterator<Item = Setting<'s>>,
    attr: u64,
) -> Result<ShortLived> {
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    finish(&ShortLived::from(context), settings, attr).map(ShortLived::from)
}

/// The same for a process that lives on: nothing of it stays open but the mount.
///
/// # Errors
/// As [`new_mount`].
pub fn configure<'s>(
    fstype: &CStr,
    settings: impl Iterator<Item = Setting<'s>>,
    attr: u64,
) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    finish(&context, settings, attr)
}

fn finish<'s>(
    context: &impl AsFd,
    settings: impl Iterator<Item = Setting<'s>>,
    attr: u64,
) -> Result<OwnedFd> {
    let context = context.as_fd();
    for (key, value) in settings {
        set(context, key, value)?;
    }
    create(context, attr)
}

/// Sets one option of a file system to be.
///
/// # Errors
/// fsconfig(2).
pub fn set(context: impl AsFd, key: &CStr, value: Option<&CStr>) -> Result<()> {
    match value {
        Some(value) => rustix::mount::fsconfig_set_string(context.as_fd(), key, value),
        None => rustix::mount::fsconfig_set_flag(context.as_fd(), key),
    }
}

/// The mount of a file system whose options are set.
///
/// # Errors
/// fsconfig(2), fsmount(2), mount_setattr(2).
pub fn mount_of(context: impl AsFd, attr: u64) -> Result<ShortLived> {
    create(context.as_fd(), attr).map(ShortLived::from)
}

fn create(context: BorrowedFd<'_>, attr: u64) -> Result<OwnedFd> {
    rustix::mount::fsconfig_create(context)?;
    // fsmount takes it since Linux 5.14 only; old kernels know it in another form.
    let late = attr & libc::MOUNT_ATTR_NOSYMFOLLOW;
    let early = MountAttrFlags::from_bits_retain((attr & !late) as u32);
    let mount = rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, early)?;
    let late = MountAttr {
        set: late,
        ..MountAttr::default()
    };
    set_attr(&mount, false, &late)?;
    Ok(mount)
}
