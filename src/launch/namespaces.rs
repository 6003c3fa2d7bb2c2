//! Joining namespaces from the parent, where the init cannot.
//!
//! With a new user namespace the init has no rights over the host's other namespaces
//! any more, so those are joined by the parent around the clone. It goes back
//! afterwards: hooks belong to the runtime's own namespaces.
//!
//! A pid namespace is entered last, by the stub: until then neighbours would see the
//! host's files through the init (SECURITY-RULES 5). Only if it belongs to another user
//! namespace than the init does, the parent has to join it around the clone too.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};

use super::{Doing, LaunchError};
use crate::plan::namespaces::{Join, KINDS, NamespacePlan};
use crate::sys::process::{owner_of_namespace, setns};

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const NEWPID: u64 = libc::CLONE_NEWPID as u64;
/// What a process can leave and come back to without further rights.
const RETURNABLE: u64 =
    (libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP) as u64;

/// The namespaces that the parent has to go back to.
pub struct Entered(Vec<(u64, OwnedFd)>);

/// What the init has to join.
pub struct ToJoin {
    /// Pairs of the place in `plan.join` and the file.
    pub namespaces: Vec<(usize, OwnedFd)>,
    /// The pid namespace, which is left to the stub.
    pub pid: Option<OwnedFd>,
}

impl Entered {
    /// Joins what the parent has to, and opens the rest for the init.
    ///
    /// # Errors
    /// A namespace file that cannot be opened or joined, with its pointer.
    pub fn enter(plan: &NamespacePlan) -> Result<(Entered, ToJoin), LaunchError> {
        let mut entered = Entered(Vec::new());
        let mut left = ToJoin {
            namespaces: Vec::new(),
            pid: None,
        };
        let of_parent = if plan.makes(NEWUSER) {
            NEWPID | RETURNABLE
        } else {
            0
        };
        for (index, join) in plan.join.iter().enumerate() {
            let file = open(&join.path).map_err(|errno| error(join, "open", errno))?;
            let by_init = join.flag & of_parent == 0;
            if by_init && join.flag == NEWPID {
                // The user namespace comes first in the plan.
                let user = left.namespaces.first().map(|(_, file)| file);
                if user_can_join(plan, user, &file) {
                    left.pid = Some(file);
                    continue;
                }
            } else if by_init {
                left.namespaces.push((index, file));
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

/// Whether the init can join the pid namespace from the user namespace that it joins.
fn user_can_join(plan: &NamespacePlan, user: Option<&OwnedFd>, pid: &OwnedFd) -> bool {
    if !plan.has(NEWUSER) {
        return true;
    }
    let same = |user: &OwnedFd| -> crate::sys::Result<bool> {
        let owner = rustix::fs::fstat(owner_of_namespace(pid.as_fd())?)?;
        let user = rustix::fs::fstat(user)?;
        Ok((owner.st_dev, owner.st_ino) == (user.st_dev, user.st_ino))
    };
    user.is_some_and(|user| same(user).unwrap_or(false))
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
