//! Joining namespaces from the parent, where the init cannot.
//!
//! A pid namespace holds for children, so the parent joins it around the clone.
//! With a new user namespace the init has no rights over the host's other
//! namespaces any more, so those too are joined by the parent. It goes back
//! afterwards: hooks belong to the runtime's own namespaces.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};

use super::{Doing, LaunchError};
use crate::plan::namespaces::{Join, KINDS, NamespacePlan};
use crate::sys::process::setns;

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const NEWPID: u64 = libc::CLONE_NEWPID as u64;
/// What a process can leave and come back to without further rights.
const RETURNABLE: u64 =
    (libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP) as u64;

/// The namespaces that the parent has to go back to.
pub struct Entered(Vec<(u64, OwnedFd)>);

impl Entered {
    /// Joins what the parent has to, and opens the rest for the init: pairs of
    /// the place in `plan.join` and the file.
    ///
    /// # Errors
    /// A namespace file that cannot be opened or joined, with its pointer.
    pub fn enter(plan: &NamespacePlan) -> Result<(Entered, Vec<(usize, OwnedFd)>), LaunchError> {
        let mut entered = Entered(Vec::new());
        let mut left = Vec::new();
        let of_parent = NEWPID | if plan.makes(NEWUSER) { RETURNABLE } else { 0 };
        for (index, join) in plan.join.iter().enumerate() {
            let file = open(&join.path).map_err(|errno| error(join, "open", errno))?;
            if join.flag & of_parent == 0 {
                left.push((index, file));
                continue;
            }
            let own = KINDS
                .iter()
                .find(|(_, _, flag)| *flag == join.flag)
                .map_or("", |(_, name, _)| name);
            let path = format!("/proc/self/ns/{own}");
            let back = open(&crate::plan::path::c_string(path.as_str())).doing("open", path)?;
            entered.0.push((join.flag, back));
            if let Err(errno) = setns(file.as_fd(), join.flag) {
                let failed = error(join, "join", errno);
                entered.leave()?;
                return Err(failed);
            }
        }
        Ok((entered, left))
    }

    /// Goes back to the runtime's own namespaces.
    ///
    /// # Errors
    /// setns(2).
    pub fn leave(self) -> Result<(), LaunchError> {
        for (flag, file) in self.0 {
            setns(file.as_fd(), flag).doing("go back to the runtime's own namespace", "")?;
        }
        Ok(())
    }
}

fn open(path: &CString) -> crate::sys::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::openat(CWD, path.as_c_str(), flags, Mode::empty())
}

fn error(join: &Join, what: &str, errno: crate::sys::Errno) -> LaunchError {
    LaunchError::Config(crate::config::ConfigError::new(
        format!("/linux/namespaces/{}/path", join.index),
        format!(
            "cannot {what} the namespace {}: {}",
            join.path.to_string_lossy(),
            crate::sys::errno_text(errno.raw_os_error())
        ),
    ))
}
