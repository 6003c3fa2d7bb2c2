//! Sources that the parent has to clone, for the init to attach: in a user
//! namespace the init is not root on the host any more and cannot open them; and
//! once its mount namespace is cut off from the host, no clone of its own would
//! give mounts back to the host, as `rshared` promises.

use std::os::fd::OwnedFd;

use super::LaunchError;
use crate::config::ConfigError;
use crate::plan::Plan;
use crate::plan::mounts::{MountPlan, What};
use crate::rootfs::mounts::{open_tree, set_propagation};
use crate::sys::{Errno, errno_text};

/// The root file system's tree and those of the bind mounts, by index.
pub type Trees = (Option<OwnedFd>, Vec<Option<OwnedFd>>);

/// Opens them: all if root makes or joins a user namespace, else the binds that are to be shared
/// with the host, which takes the word of the mount and that of the root file system.
///
/// # Errors
/// A source that cannot be opened, with its pointer.
pub fn open(plan: &Plan) -> Result<Trees, LaunchError> {
    if !plan.namespaces.makes(libc::CLONE_NEWNS as u64) {
        return Ok((None, Vec::new()));
    }
    let user = plan.namespaces.has(libc::CLONE_NEWUSER as u64);
    let all = user && rustix::process::geteuid().is_root();
    let shared = !user && plan.root.final_propagation.is_some_and(is_shared);
    if !all && !shared {
        return Ok((None, Vec::new()));
    }
    let root = match all {
        true => Some(
            open_tree(&plan.root.path, true)
                .map_err(|errno| error("/root/path".to_owned(), &plan.root.path, errno))?,
        ),
        false => None,
    };
    let mut trees = Vec::with_capacity(plan.mounts.len());
    for (index, mount) in plan.mounts.iter().enumerate() {
        let What::Bind {
            source, recursive, ..
        } = &mount.what
        else {
            trees.push(None);
            continue;
        };
        if !all && !asks_for_shared(mount) {
            trees.push(None);
            continue;
        }
        let failed = |errno| error(format!("/mounts/{index}/source"), source, errno);
        let tree = open_tree(source, *recursive).map_err(failed)?;
        if all {
            // Made here, it is a peer of the host's mount: what the container mounts in it
            // would appear on the host.
            set_propagation(&tree, plan.root.propagation).map_err(failed)?;
        }
        trees.push(Some(tree));
    }
    Ok((root, trees))
}

fn asks_for_shared(mount: &MountPlan) -> bool {
    mount.propagation.last().copied().is_some_and(is_shared)
}

fn is_shared(flags: u64) -> bool {
    flags & libc::MS_SHARED != 0
}

fn error(pointer: String, path: &std::ffi::CStr, errno: Errno) -> LaunchError {
    let why = errno_text(errno.raw_os_error());
    LaunchError::Config(ConfigError::new(
        pointer,
        format!("cannot open {}: {why}", path.to_string_lossy()),
    ))
}
