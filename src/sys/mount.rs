//! mount_setattr(2) and mount(2) with flags and data as the kernel takes them.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Result, check};

/// `struct mount_attr` of linux/mount.h.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MountAttr {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear first.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE` or 0.
    pub propagation: u64,
    /// User namespace of `MOUNT_ATTR_IDMAP`.
    pub userns_fd: u64,
}

impl MountAttr {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == MountAttr::default()
    }
}

/// Changes the mount whose root `mount` is, with all below it if `recursive`.
///
/// # Errors
/// mount_setattr(2). `ENOSYS` before Linux 5.12, `EINVAL` for `nosymfollow` before 5.14.
pub fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string and `attr` has the size that is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const *attr,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// mount(2) of a file system on the current directory, which the caller has
/// set by descriptor: the one form of it that follows no path.
///
/// # Errors
/// mount(2).
pub fn mount_here(fstype: &CStr, source: &CStr, flags: u64, data: &CStr) -> Result<()> {
    mount_at_name(fstype, source, c".", flags, data)
}

/// mount(2) on `name` in the current directory. Only for directories that the
/// caller has just made itself in a file system that no one else can change, and for
/// `.` and `/proc/self/fd/N`.
///
/// # Errors
/// mount(2).
pub fn mount_at_name(
    fstype: &CStr,
    source: &CStr,
    name: &CStr,
    flags: u64,
    data: &CStr,
) -> Result<()> {
    let data = if data.is_empty() {
        std::ptr::null()
    } else {
        data.as_ptr()
    };
    // SAFETY: C strings that live through the call; `data` may be null.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount,
            source.as_ptr(),
            name.as_ptr(),
            fstype.as_ptr(),
            flags,
            data,
        )
    })
    .map(drop)
}

/// Changes propagation of the mount at `/` and all below it.
///
/// # Errors
/// mount(2).
pub fn change_root_propagation(flags: u64) -> Result<()> {
    // SAFETY: mount(2) ignores source, type and data for a change of propagation.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount,
            c"none".as_ptr(),
            c"/".as_ptr(),
            std::ptr::null::<u8>(),
            flags,
            std::ptr::null::<u8>(),
        )
    })
    .map(drop)
}

/// Remounts the current directory's mount.
///
/// # Errors
/// mount(2).
pub fn remount_here(flags: u64, data: &CStr) -> Result<()> {
    mount_here(c"none", c"none", flags | libc::MS_REMOUNT, data)
}

/// Moves the mount at the current directory onto `/` (for `--no-pivot`).
///
/// # Errors
/// mount(2).
pub fn move_here_to_root() -> Result<()> {
    // SAFETY: C strings; type and data are ignored for MS_MOVE.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount,
            c".".as_ptr(),
            c"/".as_ptr(),
            std::ptr::null::<u8>(),
            libc::MS_MOVE,
            std::ptr::null::<u8>(),
        )
    })
    .map(drop)
}
