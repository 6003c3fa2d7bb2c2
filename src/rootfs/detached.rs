//! New file systems as detached mounts (fsopen, fsmount; Linux 5.2).
//!
//! Where something is to be done inside a new file system, its descriptor has to
//! be that of the mount: finding it again by name, another container that shares a
//! volume could have put something else there.

use std::ffi::CStr;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::sys::Result;
use crate::sys::fd::ShortLived;

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
    let context = ShortLived::from(context);
    for (key, value) in settings {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, key, value)?,
            None => rustix::mount::fsconfig_set_flag(&context, key)?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    let attr = MountAttrFlags::from_bits_retain(attr as u32);
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attr).map(ShortLived::from)
}
