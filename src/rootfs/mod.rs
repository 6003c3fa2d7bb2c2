//! The container's mount tree, made by the init in its own mount namespace.
//!
//! Story: make the namespace's mounts leak nothing to the host, bind the root
//! file system and keep a descriptor of it, make the mounts, devices and links,
//! set sysctls, protect and mask paths, pivot. Everything goes by descriptor
//! (DESIGN §4).

pub mod cgroupfs;
mod copy_up;
mod detached;
pub mod dev;
pub mod fallback;
pub mod filesystem;
mod inside;
pub mod masks;
pub mod mounts;
mod old_kernel;
mod pivot;
mod procfs;
pub mod resolve;

pub use pivot::{change_root, move_root, pivot};
pub use procfs::Procfs;

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};

use crate::sys::fd::ShortLived;
use crate::sys::mount::change_root_propagation;
use crate::sys::stub::{At, Failure, Stage};
use mounts::{attach, clone_tree, set_propagation};

/// Cuts the new mount namespace off from the host's and binds the root file
/// system onto itself, so that it is a mount that can be pivoted into. `tree`
/// is a clone that the parent made, where the init may not open the path.
///
/// # Errors
/// The stage that failed.
pub fn open_root(
    path: &CStr,
    propagation: u64,
    tree: Option<OwnedFd>,
) -> Result<ShortLived, Failure> {
    change_root_propagation(propagation).at(Stage::Propagation)?;
    old_kernel::namespace_is_private();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let foreign = tree.is_some();
    let (tree, target) = match tree {
        Some(tree) => {
            // The path itself may be closed to us; any directory serves to attach it.
            let target = rustix::fs::openat(CWD, c"/", flags, Mode::empty()).at(Stage::Rootfs)?;
            (tree, target)
        }
        None => {
            let target = rustix::fs::openat(CWD, path, flags, Mode::empty()).at(Stage::Rootfs)?;
            (clone_tree(&target, true).at(Stage::Rootfs)?, target)
        }
    };
    let (tree, target) = (ShortLived::from(tree), ShortLived::from(target));
    attach(&tree, &target).at(Stage::Rootfs)?;
    if foreign {
        // A clone made outside this namespace still belongs to the host's peer groups.
        set_propagation(&tree, propagation).at(Stage::Propagation)?;
    }
    Ok(tree)
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
