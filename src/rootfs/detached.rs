//! New file systems as detached mounts (fsopen, fsmount; Linux 5.2).
//!
//! Where something is to be done inside a new file system, its descriptor has to
//! be that of the mount: finding it again by name, another container that shares a
//! volume could have put something else there.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::calls::set_attr;
use crate::sys::fd::ShortLived;
use crate::sys::mount::MountAttr;
use crate::sys::{Errno, Result};

/// One option of a file system: a key and, for most, a value.
pub type Setting<'s> = (&'s CStr, Option<&'s CStr>);

/// What the kernel said of the last file system that it refused.
static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Makes a file system with its options and `MOUNT_ATTR_*` flags; it is nowhere yet.
///
/// # Errors
/// fsopen(2), fsconfig(2), fsmount(2). [`said`] tells more.
pub fn new_mount<'s>(
    fstype: &CStr,
    settings: impl Iterator<Item = Setting<'s>>,
    attr: u64,
) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    finish(&ShortLived::from(context), settings, attr)
}

/// The same for a process that lives on: nothing of it stays open but the mount.
///
/// # Errors
/// As [`new_mount`].
pub fn new_mount_alone<'s>(
    fstype: &CStr,
    settings: impl Iterator<Item = Setting<'s>>,
    attr: u64,
) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    finish(&context, settings, attr)
}

/// Gives a file system to be its options, makes it, and gives its mount.
///
/// # Errors
/// fsconfig(2), fsmount(2), mount_setattr(2).
pub fn finish<'s>(
    context: &impl AsFd,
    mut settings: impl Iterator<Item = Setting<'s>>,
    attr: u64,
) -> Result<OwnedFd> {
    let context = context.as_fd();
    settings
        .try_for_each(|(key, value)| match set(context, key, value) {
            // mount(2) has a flag for each, and no file system refuses a flag.
            Err(Errno::INVAL)
                if value.is_none() && matches!(key.to_bytes(), b"acl" | b"iversion") =>
            {
                Ok(())
            }
            result => result,
        })
        .and_then(|()| create(context, attr))
        .inspect_err(|_| listen(context))
}

fn set(context: BorrowedFd<'_>, key: &CStr, value: Option<&CStr>) -> Result<()> {
    match value {
        Some(value) => rustix::mount::fsconfig_set_string(context, key, value),
        None => rustix::mount::fsconfig_set_flag(context, key),
    }
}

/// Keeps the last error that the kernel tells in its own words.
fn listen(context: BorrowedFd<'_>) {
    let mut buffer = [0; 512];
    let mut last = Vec::new();
    // One message a read, then ENODATA.
    while let Ok(length) = rustix::io::read(context, &mut buffer) {
        match buffer[..length].strip_prefix(b"e ") {
            Some(text) => last = text.trim_ascii_end().to_vec(),
            None if length == 0 => break,
            None => {}
        }
    }
    keep(last);
}

/// Forgets what was kept.
pub fn forget() {
    keep(Vec::new());
}

fn keep(text: Vec<u8>) {
    if let Ok(mut said) = SAID.lock() {
        *said = text;
    }
}

/// What the kernel said of the last file system that it refused, if it said anything.
pub fn said() -> Vec<u8> {
    SAID.lock().map(|said| said.clone()).unwrap_or_default()
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
