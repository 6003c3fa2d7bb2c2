//! clone3(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Pid;

use super::{Result, check};

/// What clone3 returned: the two sides of the fork.
pub enum Cloned {
    /// In the new process.
    Child,
    /// In the caller.
    Parent {
        /// The new process as the caller's pid namespace numbers it.
        pid: Pid,
        /// A descriptor of it, close-on-exec.
        pidfd: OwnedFd,
    },
}

/// Resets every caught signal in the child; ignored ones stay (Linux 5.5).
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// Starts the child in the cgroup `cgroup` (Linux 5.7).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks with new namespaces (`CLONE_NEW*` in `namespaces`), optionally into a
/// cgroup v2 directory. The child has no signal handlers; signals that are ignored stay so.
///
/// The child gets a copy of the caller's memory, as with fork(2); the caller
/// has to be single-threaded, or locks held by other threads stay held there.
///
/// # Errors
/// clone3(2). `ENOSYS` before Linux 5.3.
pub fn clone3(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    clone(namespaces, cgroup, libc::SIGCHLD as u64)
}

/// The same, with the caller's parent as the child's (CLONE_PARENT): the caller can
/// end and leave no orphan.
///
/// # Errors
/// As [`clone3`].
pub fn clone3_sibling(namespaces: u64) -> Result<Cloned> {
    clone(namespaces | libc::CLONE_PARENT as u64, None, 0)
}

fn clone(flags: u64, cgroup: Option<BorrowedFd<'_>>, exit_signal: u64) -> Result<Cloned> {
    let mut pidfd: i32 = -1;
    // SAFETY: clone_args is plain integers, for which zero is "not given".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = exit_signal;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child runs on a copy of this memory and
    // stack, as after fork; `args` lives through the call and `pidfd` is written
    // in the parent only.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const args,
            size_of::<libc::clone_args>(),
        )
    })?;
    match Pid::from_raw(result as i32) {
        None => Ok(Cloned::Child),
        Some(pid) => {
            // SAFETY: the kernel just made this descriptor for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}
