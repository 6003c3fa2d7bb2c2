//! `remount`: new flags and options for a file system that is mounted.

use std::ffi::CStr;
use std::os::fd::AsFd;

use crate::plan::options::lockable_flags;
use crate::sys::mount::remount_here;
use crate::sys::{Errno, Result};

/// Remounts the file system whose root `target` is. mount(2) takes the flags that are not
/// given away; in a user namespace some are locked, and those stay, if they were not cleared
/// by name (mount_namespaces(7)).
///
/// # Errors
/// fchdir(2), mount(2), fstatfs(2). `EPERM`: a flag was cleared by name that is locked.
pub fn filesystem(target: impl AsFd, flags: u64, cleared: u64, data: &CStr) -> Result<()> {
    rustix::process::fchdir(&target)?;
    match remount_here(flags, data) {
        Err(Errno::PERM) => {
            let there = lockable_flags(rustix::fs::fstatvfs(target)?.f_flag.bits());
            if there & cleared != 0 || there & !flags == 0 {
                return Err(Errno::PERM);
            }
            remount_here(flags | there, data)
        }
        result => result,
    }
}
