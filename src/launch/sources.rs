//! Sources that the init cannot open: in a user namespace it is not root on
//! the host any more, so the parent clones the trees and the init attaches them.

use std::os::fd::OwnedFd;

use super::LaunchError;
use crate::config::ConfigError;
use crate::plan::Plan;
use crate::plan::mounts::What;
use crate::rootfs::mounts::open_tree;
use crate::sys::{Errno, errno_text};

/// The root file system's tree and those of the bind mounts, by index.
pub type Trees = (Option<OwnedFd>, Vec<Option<OwnedFd>>);

/// Opens them if root makes or joins a user namespace.
///
/// # Errors
/// A source that cannot be opened, with its pointer.
pub fn open(plan: &Plan) -> Result<Trees, LaunchError> {
    let needed =
        plan.namespaces.has(libc::CLONE_NEWUSER as u64) && rustix::process::geteuid().is_root();
    if !needed {
        return Ok((None, Vec::new()));
    }
    let root = open_tree(&plan.root.path, true)
        .map_err(|errno| error("/root/path".to_owned(), &plan.root.path, errno))?;
    let mut trees = Vec::with_capacity(plan.mounts.len());
    for (index, mount) in plan.mounts.iter().enumerate() {
        trees.push(match &mount.what {
            What::Bind {
                source, recursive, ..
            } => Some(
                open_tree(source, *recursive)
                    .map_err(|errno| error(format!("/mounts/{index}/source"), source, errno))?,
            ),
            _ => None,
        });
    }
    Ok((Some(root), trees))
}

fn error(pointer: String, path: &std::ffi::CStr, errno: Errno) -> LaunchError {
    let why = errno_text(errno.raw_os_error());
    LaunchError::Config(ConfigError::new(
        pointer,
        format!("cannot open {}: {why}", path.to_string_lossy()),
    ))
}
