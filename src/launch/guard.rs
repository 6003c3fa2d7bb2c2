//! Ends a hook together with its children when the runtime is killed while it runs.
//!
//! The hook itself would end by PR_SET_PDEATHSIG, but its children would not, and nothing
//! tells a later `delete --force` which they were. So a process of its own waits for the
//! runtime's end. The hook does not begin before it is there. It holds the lock on the
//! container's directory, as every copy of the runtime does: a `delete --force` that finds the
//! runtime dead waits for it.
//!
//! Hooks that run inside the container need none: they end with its cgroup or pid namespace.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group, pidfd_send_signal, setsid};

use super::attempt::waitid_exited;
use crate::sys::Errno;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::process::exit_now;
use crate::sys::spawn::Gate;

/// The process that waits. If this is dropped it ends the hook, as if the runtime had died.
pub struct Guard {
    pidfd: OwnedFd,
    /// Open in the runtime alone: its end is the end of this.
    _lifeline: OwnedFd,
}

impl Guard {
    /// Starts it for a hook that waits at `gate` and leads a group of its own.
    ///
    /// # Errors
    /// pipe2(2), clone3(2). The hook does not begin then.
    pub fn start(hook: Pid, pidfd: BorrowedFd<'_>, gate: Gate) -> Result<Guard, Errno> {
        let (end, lifeline) = pipe_with(PipeFlags::CLOEXEC)?;
        match clone3(0, None)? {
            Cloned::Parent { pidfd, .. } => Ok(Guard {
                pidfd,
                _lifeline: lifeline,
            }),
            Cloned::Child => {
                drop(lifeline);
                // What is sent to the runtime's group is not meant for this.
                let _ = setsid();
                gate.open();
                while rustix::io::read(&end, &mut [0]) == Err(Errno::INTR) {}
                // One that does not lead its group yet has no children either.
                let _ = pidfd_send_signal(pidfd, Signal::KILL);
                let _ = kill_process_group(hook, Signal::KILL);
                exit_now(0)
            }
        }
    }

    /// The hook has ended: what it has left running may stay.
    pub fn dismiss(self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = waitid_exited(&self.pidfd);
    }
}
