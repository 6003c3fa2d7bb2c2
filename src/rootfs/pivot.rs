//! Entering the root file system.

use std::os::fd::BorrowedFd;

use rustix::mount::UnmountFlags;

use crate::sys::Errno;
use crate::sys::mount::move_here_to_root;
use crate::sys::stub::{At, Failure, Stage};

/// pivot_root(2) of `root` over `/` and detaches the old root.
///
/// `pivot_root(".", ".")` stacks the old root on the new one, so no directory
/// for it is needed (pivot_root(2), NOTES).
///
/// # Errors
/// The system call that failed.
pub fn pivot(root: BorrowedFd<'_>) -> Result<(), Failure> {
    rustix::process::fchdir(root).at(Stage::Pivot)?;
    rustix::process::pivot_root(c".", c".").at(Stage::Pivot)?;
    // The namespace's mounts are slaves or private since its start, so this does
    // not reach the host.
    // The current directory is the new root since fchdir.
    rustix::mount::unmount(c".", UnmountFlags::DETACH).at(Stage::Pivot)
}

/// For `--no-pivot` (a root file system on a ramdisk): moves the mount over `/`
/// and changes the root directory.
///
/// # Errors
/// The system call that failed.
pub fn move_root(root: BorrowedFd<'_>) -> Result<(), Failure> {
    rustix::process::fchdir(root).at(Stage::Pivot)?;
    match move_here_to_root() {
        // It lies over `/` already (in a user namespace the tree is attached there).
        Err(Errno::LOOP) => {}
        result => result.at(Stage::Pivot)?,
    }
    rustix::process::chroot(c".").at(Stage::Pivot)?;
    rustix::process::chdir(c"/").at(Stage::Pivot)
}

/// For a tree that no namespace has: it is there for as long as a process has its root directory in it.
///
/// # Errors
/// The system call that failed.
pub fn enter(tree: BorrowedFd<'_>) -> Result<(), Failure> {
    rustix::process::fchdir(tree).at(Stage::Pivot)?;
    rustix::process::chroot(c".").at(Stage::Pivot)
}

/// For a container without a mount namespace: only the root directory changes.
///
/// # Errors
/// The system call that failed.
pub fn change_root(path: &std::ffi::CStr) -> Result<(), Failure> {
    rustix::process::chroot(path).at(Stage::Rootfs)?;
    rustix::process::chdir(c"/").at(Stage::Rootfs)
}
