//! Signals to containers.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Entry, State, Status, StoreError, status};
use crate::cgroup::CgroupError;
use crate::sys::pidfd::send_signal;
use crate::sys::{Errno, errno_text};

/// Why a signal was not sent.
#[derive(Debug)]
pub enum KillError {
    /// The state directory.
    Store(StoreError),
    /// Its init has ended, or is not there yet.
    NotRunning,
    /// The kernel refused it.
    Signal(Errno),
    /// The members of the cgroup.
    Cgroup(CgroupError),
    /// It was sent, and this cgroup above keeps the container frozen.
    Frozen(String),
}

impl fmt::Display for KillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KillError::Store(error) => error.fmt(f),
            KillError::NotRunning => f.write_str("container not running"),
            KillError::Signal(errno) => {
                write!(
                    f,
                    "cannot signal the container's init: {}",
                    errno_text(errno.raw_os_error())
                )
            }
            KillError::Cgroup(error) => error.fmt(f),
            KillError::Frozen(above) => write!(
                f,
                "SIGKILL was sent and does not arrive before {above}, which is frozen, is thawed"
            ),
        }
    }
}

impl std::error::Error for KillError {}

impl From<StoreError> for KillError {
    fn from(error: StoreError) -> Self {
        KillError::Store(error)
    }
}

/// Sends a signal to the init, or to every process of the container: if `all` is
/// set, and for SIGKILL where the end of the init would not end the rest.
///
/// # Errors
/// The container does not run.
pub fn kill(entry: &Entry, signal: i32, all: bool) -> Result<(), KillError> {
    let state = entry.read_state()?;
    // Without a cgroup only the init is known; its end is that of its pid namespace.
    let known = state.cgroup.lists_processes();
    if known && (all || signal == libc::SIGKILL && !state.own_pid_namespace) {
        // The init may have ended before the others.
        if status::of(&state, entry.dir()) == Status::Stopped
            && state
                .cgroup
                .processes()
                .map_err(KillError::Cgroup)?
                .is_empty()
        {
            return Err(KillError::NotRunning);
        }
        state.cgroup.kill_all(signal).map_err(KillError::Cgroup)?;
        return arrives(&state, signal);
    }
    let pidfd = open_init(&state).ok_or(KillError::NotRunning)?;
    match send_signal(&pidfd, signal) {
        Err(Errno::SRCH) => return Err(KillError::NotRunning),
        result => result.map_err(KillError::Signal)?,
    }
    // A frozen process of cgroup v1 dies when it is thawed.
    if signal == libc::SIGKILL && state.cgroup.frozen() {
        state.cgroup.thaw_killed().map_err(KillError::Cgroup)?;
        return arrives(&state, signal);
    }
    Ok(())
}

/// Says so if SIGKILL was sent and nobody dies of it yet.
fn arrives(state: &State, signal: i32) -> Result<(), KillError> {
    let above = match signal {
        libc::SIGKILL => state.cgroup.frozen_from_above(),
        _ => None,
    };
    above.map_or(Ok(()), |above| Err(KillError::Frozen(above)))
}

/// A descriptor of the container's init, if it runs. It is opened before the start
/// time is compared, so it cannot stand for a later process with the same pid.
pub fn open_init(state: &State) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(state.pid)?, PidfdFlags::empty()).ok()?;
    status::is_alive(state).then_some(pidfd)
}

/// The same, also when it has ended and its parent has not reaped it yet.
pub fn open_recorded(state: &State) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(state.pid)?, PidfdFlags::empty()).ok()?;
    let process = status::process_start(state.pid).ok()?;
    (process.start_time == state.start_time).then_some(pidfd)
}

/// Waits until a process has ended, zombie or not; `false` if the time is up first.
pub fn wait_end(pidfd: impl AsFd, patience: Duration) -> bool {
    let deadline = std::time::Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let Ok(left) = Timespec::try_from(left) else {
            return false;
        };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            result => return result.is_ok_and(|ready| ready > 0),
        }
    }
}
