//! Removing what is left of a container.

use std::fmt;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::kill::{open_init, wait_end};
use super::{Entry, State, Status, StoreError, holder, status};
use crate::cgroup::{self, CgroupError};
use crate::network;

/// How long killed processes and the cgroup may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// What each step gets when those before it have used up the time.
const MOMENT: Duration = Duration::from_secs(1);

/// Why a container was not removed.
#[derive(Debug)]
pub enum DeleteError {
    /// The state directory.
    Store(StoreError),
    /// It is in a state in which only force removes it.
    Status(String, Status),
    /// Another command is at work on it and does not end: the id, and who it is.
    Locked(String, Option<String>),
    /// It does not die: the id, and its init with what that waits for.
    Unkillable(String, String),
    /// The cgroup.
    Cgroup(CgroupError),
}

impl fmt::Display for DeleteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeleteError::Store(error) => error.fmt(f),
            DeleteError::Status(id, status) => {
                write!(
                    f,
                    "cannot delete container {id} that is not stopped: {status}"
                )
            }
            DeleteError::Locked(id, who) => {
                write!(f, "container {id}: another command holds its lock")?;
                match who {
                    Some(who) => write!(f, ": {who}"),
                    None => Ok(()),
                }
            }
            DeleteError::Unkillable(id, init) => {
                write!(
                    f,
                    "container {id}: its init was killed and does not end: {init}"
                )
            }
            DeleteError::Cgroup(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DeleteError {}

impl From<StoreError> for DeleteError {
    fn from(error: StoreError) -> Self {
        DeleteError::Store(error)
    }
}

/// What is left of the time, for something that gets a moment in any case.
fn rest(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .max(MOMENT)
}

/// Removes a container: cgroup, then record. Gives the record for the poststop
/// hooks, which are the caller's to run; there is none if nothing had been made.
///
/// # Errors
/// It runs and `force` is not given, or it cannot be removed within some ten seconds. Its record
/// stays then, so that it can be tried again.
pub fn delete(entry: &Entry, force: bool) -> Result<Option<State>, DeleteError> {
    let deadline = Instant::now() + PATIENCE;
    if !entry.lock(false)? {
        if force {
            stop_holder(entry, deadline);
        } else if let Ok(state) = entry.read_state() {
            // What holds the lock may wait for a hook or for the init: not here too.
            let status = status::of(&state, entry.dir());
            if !matches!(status, Status::Created | Status::Stopped) {
                return Err(DeleteError::Status(entry.id().to_string(), status));
            }
        }
        if !entry.lock_within(rest(deadline))? {
            let holder = holder::of(entry.dir());
            let who = holder.and_then(|pid| cgroup::Record::default().why_stuck(pid));
            return Err(DeleteError::Locked(entry.id().to_string(), who));
        }
    }
    let state = match entry.read_state() {
        Ok(state) => state,
        // Killed before the first record: nothing else had been made.
        Err(StoreError::Broken(..) | StoreError::Missing(_)) if force => {
            if network::release(entry.dir(), entry.path()) {
                log::warn!(
                    "network devices had been moved, and the record cannot say which: \
                     they stay in their namespace or end with it"
                );
            }
            entry.remove()?;
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    end_init(entry, &state, force, deadline)?;
    entry.undo_devices(&state);
    state
        .cgroup
        .remove(rest(deadline))
        .map_err(DeleteError::Cgroup)?;
    match &state.rdt {
        Some(record) if entry.is_incomplete(&state) => record.undo(),
        Some(record) => record.remove(),
        None => {}
    }
    entry.remove()?;
    Ok(Some(state))
}

/// Makes sure that the init has ended, or ends it where that is allowed: with
/// force, and for a container that was only created.
fn end_init(
    entry: &Entry,
    state: &State,
    force: bool,
    deadline: Instant,
) -> Result<(), DeleteError> {
    let status = status::of(state, entry.dir());
    match status {
        Status::Stopped => return Ok(()),
        Status::Created => {}
        _ if force => {}
        _ => return Err(DeleteError::Status(entry.id().to_string(), status)),
    }
    let Some(pidfd) = open_init(state) else {
        return Ok(());
    };
    if status == Status::Paused || !state.own_pid_namespace {
        // All members, thawed so that the signal arrives.
        state
            .cgroup
            .kill_all(libc::SIGKILL)
            .map_err(DeleteError::Cgroup)?;
    }
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    if wait_end(&pidfd, rest(deadline)) {
        return Ok(());
    }
    match state.cgroup.why_stuck(state.pid) {
        Some(init) => Err(DeleteError::Unkillable(entry.id().to_string(), init)),
        None => Ok(()),
    }
}

/// Makes sure that the lock is given back: its holder may wait for ever, `create`
/// for a hook, `start` for an init that is stopped or runs a hook. Another `delete`
/// ends by itself.
fn stop_holder(entry: &Entry, deadline: Instant) {
    let Ok(state) = entry.read_state() else {
        return;
    };
    if let Some(pid) = Pid::from_raw(state.creator)
        // The descriptor first, the check after: what it stands for is then the holder.
        && let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
        && holder::holds(state.creator, entry.dir())
    {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        wait_end(&pidfd, rest(deadline));
    }
    // Read again: the creator may have recorded its init meanwhile. Such an init shares
    // the creator's lock while it runs a hook.
    if let Ok(state) = entry.read_state() {
        let _ = end_init(entry, &state, true, deadline);
    }
}
