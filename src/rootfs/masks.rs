//! Read-only and masked paths.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FileType;

use super::detached::new_mount;
use super::dev::open_verified;
use super::mounts::{READ_ONLY, attach, clone_tree, set_attr};
use super::resolve;
use crate::sys::fd::ShortLived;
use crate::sys::stub::{At, Failure, Stage};
use crate::sys::{Errno, Result};

/// A path that is not there needs neither mask nor protection.
fn existing<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Binds each path onto itself, read-only.
///
/// # Errors
/// The first that fails, by index.
pub fn make_readonly(root: BorrowedFd<'_>, paths: &[CString]) -> std::result::Result<(), Failure> {
    for (index, path) in paths.iter().enumerate() {
        make_one_readonly(root, path).at_index(Stage::ReadonlyPath, index)?;
    }
    Ok(())
}

fn make_one_readonly(root: BorrowedFd<'_>, path: &CString) -> Result<()> {
    let Some(target) = existing(resolve::handle(root, path))? else {
        return Ok(());
    };
    let tree = ShortLived::from(clone_tree(&target, true)?);
    set_attr(&tree, false, &READ_ONLY)?;
    attach(&tree, &target)
}

/// Hides each path: a file behind /dev/null, a directory behind an empty,
/// read-only tmpfs that all of them share (runc#5275: one super block however
/// many paths).
///
/// # Errors
/// The first that fails, by index.
pub fn mask(root: BorrowedFd<'_>, paths: &[CString]) -> std::result::Result<(), Failure> {
    let mut empty: Option<ShortLived> = None;
    let mut null: Option<ShortLived> = None;
    for (index, path) in paths.iter().enumerate() {
        mask_one(root, path, &mut empty, &mut null).at_index(Stage::MaskedPath, index)?;
    }
    Ok(())
}

fn mask_one(
    root: BorrowedFd<'_>,
    path: &CString,
    empty: &mut Option<ShortLived>,
    null: &mut Option<ShortLived>,
) -> Result<()> {
    let Some(target) = existing(resolve::handle(root, path))? else {
        return Ok(());
    };
    let stat = rustix::fs::fstat(&target)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        // The host's /dev/null, verified on the descriptor that is then used (CVE-2025-31133).
        let null = match null {
            Some(null) => null,
            None => null.insert(open_verified(c"/dev/null", libc::makedev(1, 3))?.into()),
        };
        return attach(ShortLived::from(clone_tree(null.as_fd(), false)?), &target);
    }
    match empty {
        Some(empty) => attach(ShortLived::from(clone_tree(empty.as_fd(), false)?), &target),
        None => {
            *empty = Some(hide(&target)?);
            Ok(())
        }
    }
}

/// Hides a directory behind an empty, read-only tmpfs, and gives that.
///
/// # Errors
/// The system calls that it consists of.
pub fn hide(directory: impl AsFd) -> Result<ShortLived> {
    let tmpfs = new_mount(c"tmpfs", std::iter::empty(), libc::MOUNT_ATTR_RDONLY)?;
    attach(&tmpfs, directory)?;
    Ok(tmpfs)
}
