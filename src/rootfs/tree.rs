//! The mount tree while it is built: on a detached clone of the root file system, where nobody sees it, until it is
//! attached whole.
//!
//! Since Linux 6.15 mounts can be attached to a detached tree of the caller's own mount namespace. What can only be done
//! to attached mounts attaches the tree first ([`show`]): hooks that are to see it, mounts that are shared with the host,
//! `remount`, and whatever an older kernel needs. From then on everything goes to the attached tree, which is the same
//! mount by the same descriptor.
//!
//! There is one tree a process, the init's, so it is not handed through all that attaches a mount.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, move_mount};

use crate::sys::fd::ShortLived;
use crate::sys::{Errno, Result};

/// The tree of this process.
static TREE: OnceLock<Tree> = OnceLock::new();

struct Tree {
    root: ShortLived,
    place: CString,
    attached: AtomicBool,
    /// A mount was attached while it was detached.
    grows: AtomicBool,
    /// One could not be until it was attached: Linux before 6.15.
    old: AtomicBool,
}

/// Begins the tree with its root, a detached mount, which will be attached at `place`. Gives the root.
///
/// # Errors
/// `EEXIST` if there is one already.
pub fn begin(root: ShortLived, place: CString) -> Result<BorrowedFd<'static>> {
    let tree = Tree {
        root,
        place,
        attached: AtomicBool::new(false),
        grows: AtomicBool::new(false),
        old: AtomicBool::new(false),
    };
    TREE.set(tree).map_err(|_| Errno::EXIST)?;
    TREE.get().map(|tree| tree.root.as_fd()).ok_or(Errno::BADF)
}

/// Whether mounts are attached where nobody sees them.
pub fn is_hidden() -> bool {
    TREE.get().is_some_and(|tree| !is(&tree.attached))
}

/// Whether the kernel is known to attach nothing to a detached tree.
pub fn is_old() -> bool {
    TREE.get().is_some_and(|tree| is(&tree.old))
}

/// Attaches the tree, if that was not done yet.
///
/// # Errors
/// move_mount(2).
pub fn show() -> Result<()> {
    let Some(tree) = TREE.get().filter(|tree| !is(&tree.attached)) else {
        return Ok(());
    };
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&tree.root, c"", CWD, tree.place.as_c_str(), flags)?;
    set(&tree.attached);
    Ok(())
}

/// Attaches a detached mount to what `name` is in the directory `target`; to `target` itself if it is empty. The name is
/// not followed if it is a link.
///
/// # Errors
/// move_mount(2).
pub fn attach(mount: impl AsFd, target: impl AsFd, name: &CStr) -> Result<()> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if name.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    let mount = mount.as_fd();
    let attach = || move_mount(mount, c"", target.as_fd(), name, flags);
    let Some(tree) = TREE.get().filter(|tree| !is(&tree.attached)) else {
        return attach();
    };
    match attach() {
        // An older kernel, or a mount that does not fit its place: then the second answer is the same.
        Err(Errno::INVAL) if !is(&tree.grows) => {
            show()?;
            attach().inspect(|()| set(&tree.old))
        }
        result => result.inspect(|()| set(&tree.grows)),
    }
}

/// Attaches a detached mount to a name in another one, which stays detached.
///
/// # Errors
/// move_mount(2). `EINVAL` before Linux 6.15.
pub fn attach_to_detached(mount: impl AsFd, dir: impl AsFd, name: &CStr) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount, c"", dir, name, flags)
}

/// It was found that the kernel attaches nothing to what is detached.
///
/// # Errors
/// As [`show`].
pub fn turns_out_old() -> Result<()> {
    show()?;
    TREE.get().inspect(|tree| set(&tree.old));
    Ok(())
}

fn is(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed)
}

fn set(flag: &AtomicBool) {
    flag.store(true, Ordering::Relaxed);
}
