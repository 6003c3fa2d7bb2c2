//! Pausing a container and letting it go on.

use std::fmt;

use super::{Entry, State, Status, StoreError, status};
use crate::cgroup::CgroupError;

/// Why a container was not paused or resumed.
#[derive(Debug)]
pub enum PauseError {
    /// The state directory.
    Store(StoreError),
    /// There is nothing to pause: what it is instead.
    NotRunning(Status),
    /// There is nothing to resume: what it is instead.
    NotPaused(Status),
    /// It has no freezer.
    NoFreezer(String),
    /// The cgroup.
    Cgroup(CgroupError),
}

impl fmt::Display for PauseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PauseError::Store(error) => error.fmt(f),
            // runc's words come first.
            PauseError::NotRunning(Status::Stopped) => f.write_str("container not running"),
            PauseError::NotRunning(status) => write!(f, "container not running: it is {status}"),
            PauseError::NotPaused(status) => write!(f, "container not paused: it is {status}"),
            PauseError::NoFreezer(id) => write!(
                f,
                "cannot pause container {id}: it has no cgroup of its own with a freezer \
                 (it was made with --cgroup-manager=disabled or without the right to make one)"
            ),
            PauseError::Cgroup(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PauseError {}

impl From<StoreError> for PauseError {
    fn from(error: StoreError) -> Self {
        PauseError::Store(error)
    }
}

/// Stops every process of a created or running container where it stands. When this
/// returns, all do.
///
/// # Errors
/// It is in another state, it has no freezer, or a process does not stop; then all run on.
pub fn pause(entry: &Entry) -> Result<(), PauseError> {
    let (state, status) = lock(entry)?;
    if !matches!(status, Status::Created | Status::Running) {
        return Err(PauseError::NotRunning(status));
    }
    if !state.cgroup.can_freeze() {
        return Err(PauseError::NoFreezer(state.id));
    }
    state.cgroup.freeze().map_err(PauseError::Cgroup)?;
    if status::is_alive(&state) {
        return Ok(());
    }
    // The init ended meanwhile. What it left behind in a shared pid namespace is not to be
    // stuck in a container that calls itself stopped.
    let _ = state.cgroup.thaw();
    Err(PauseError::NotRunning(Status::Stopped))
}

/// Lets the processes of a paused container run again.
///
/// # Errors
/// It is in another state, or the kernel refuses.
pub fn resume(entry: &Entry) -> Result<(), PauseError> {
    let (state, status) = lock(entry)?;
    if status != Status::Paused {
        return Err(PauseError::NotPaused(status));
    }
    state.cgroup.thaw().map_err(PauseError::Cgroup)
}

/// Waits for a verb that is at work: a `delete` must not find that what it has killed was
/// frozen before it died. `create` may wait long for a hook, and there is nothing to pause.
pub(super) fn lock(entry: &Entry) -> Result<(State, Status), StoreError> {
    if !entry.lock(false)? {
        let state = entry.read_state()?;
        let status = status::of(&state, entry.dir());
        if status == Status::Creating {
            return Ok((state, status));
        }
        entry.lock(true)?;
    }
    let state = entry.read_state()?;
    let status = status::of(&state, entry.dir());
    Ok((state, status))
}
