//! The container's mount tree, made by the init in its own mount namespace.
//!
//! Story: make the namespace's mounts leak nothing to the host, clone the root
//! file system and keep a descriptor of it, make the mounts, devices and links
//! on the detached clone, set sysctls, protect and mask paths, attach the tree
//! whole ([`tree`]), pivot. Everything goes by descriptor (DESIGN §4).

pub mod calls;
pub mod cgroupfs;
mod copy_up;
pub mod detached;
pub mod dev;
pub mod fallback;
pub mod filesystem;
mod inside;
pub mod masks;
pub mod mounts;
mod old_kernel;
mod own;
mod pivot;
mod procfs;
pub mod resolve;
pub mod tree;

pub use old_kernel::namespace_is_private;
pub use pivot::{change_root, enter, move_root, pivot};
pub use procfs::Procfs;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::mount::UnmountFlags;

use crate::plan::path::c_string;
use crate::sys::fd::ShortLived;
use crate::sys::mount::change_root_propagation;
use crate::sys::stub::{At, Failure, Stage};
use calls::{clone_tree, open_tree, set_propagation};

/// Cuts the new mount namespace off from the host's and begins the tree with a clone of the
/// root file system, a mount that can be pivoted into. `tree` is a clone that the parent made,
/// where the init may not open the path. Gives the root.
///
/// # Errors
/// The stage that failed.
pub fn open_root(
    path: &CStr,
    propagation: u64,
    tree: Option<OwnedFd>,
) -> Result<BorrowedFd<'static>, Failure> {
    change_root_propagation(propagation).at(Stage::Propagation)?;
    old_kernel::namespace_is_private();
    let (root, place) = match tree {
        Some(tree) => {
            // The path itself may be closed to us; any directory serves to attach it.
            let place = c"/".to_owned();
            let tree = ShortLived::from(tree);
            tree::attach(&tree, CWD, &place).at(Stage::Rootfs)?;
            // A clone made outside this namespace still belongs to the host's peer groups.
            set_propagation(&tree, propagation).at(Stage::Propagation)?;
            // Nor would the kernel attach anything to it while it is detached: a clone's clone
            // is of this namespace. The first goes, else it would lie over the old root, and
            // be what is detached in the place of that after the pivot.
            let root = clone_tree(&tree, true).at(Stage::Rootfs)?;
            rustix::process::fchdir(&tree).at(Stage::Rootfs)?;
            rustix::mount::unmount(c".", UnmountFlags::DETACH).at(Stage::Rootfs)?;
            (root, place)
        }
        None => {
            // Links are followed, and it has to be a directory.
            let place = c_string([path.to_bytes(), b"/."].concat());
            (open_tree(&place, true).at(Stage::Rootfs)?, place)
        }
    };
    tree::begin(root.into(), place).at(Stage::Rootfs)
}

/// Sets the sysctls through the runtime's own procfs.
///
/// # Errors
/// The first that fails, by index.
pub fn set_sysctls(
    procfs: &mut Procfs,
    sysctls: &[(std::ffi::CString, Vec<u8>)],
) -> Result<(), Failure> {
    for (index, (path, value)) in sysctls.iter().enumerate() {
        let dir = procfs.dir_or_hosts().at(Stage::Procfs)?;
        let file = resolve::open_own(dir, path).at_index(Stage::Sysctl, index)?;
        rustix::io::write(ShortLived::from(file).as_fd(), value).at_index(Stage::Sysctl, index)?;
    }
    Ok(())
}
