//! Waiting for the end of a container, and how it ended.
//!
//! The init is seldom the child of whoever waits, so wait(2) does not tell its exit status.
//! While it is a zombie, /proc/PID/stat does, to those who may look at the process; once it
//! has been reaped, Linux 6.15 and later tell it to whoever held a pidfd before. What was
//! learnt is put into the record. Otherwise nobody knows it, and that is what is said.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, readlinkat};

use super::kill::open_recorded;
use super::status::process_start;
use super::{Entry, State, Status, StoreError, status};
use crate::sys::pidfd::exit_info;
use crate::sys::{Errno, errno_text};

/// Why the end of a container was not waited for.
#[derive(Debug)]
pub enum WaitError {
    /// The state directory.
    Store(StoreError),
    /// It has ended, and how is not known.
    Unknown(String),
    /// A system call of the wait itself.
    System(Errno),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitError::Store(error) => error.fmt(f),
            WaitError::Unknown(id) => write!(
                f,
                "container {id} has stopped and its exit status is not known: it was reaped \
                 by its parent before anybody asked (wait for it while it runs; before Linux \
                 6.15 only its parent learns more)"
            ),
            WaitError::System(errno) => {
                write!(f, "cannot wait: {}", errno_text(errno.raw_os_error()))
            }
        }
    }
}

impl std::error::Error for WaitError {}

impl From<StoreError> for WaitError {
    fn from(error: StoreError) -> Self {
        WaitError::Store(error)
    }
}

/// A container whose end is waited for.
pub struct Waiter {
    entry: Entry,
    state: State,
    init: Option<OwnedFd>,
}

impl Waiter {
    /// Takes hold of the container's init; from now on its end is not missed.
    ///
    /// # Errors
    /// There is no record.
    pub fn new(entry: Entry) -> Result<Waiter, StoreError> {
        let state = entry.read_state()?;
        Ok(Waiter {
            init: open_recorded(&state),
            state,
            entry,
        })
    }

    /// Whether its init is not made yet, so that there is nothing to wait for so far.
    pub fn is_early(&self) -> bool {
        self.state.pid == 0 && status::of(&self.state, self.entry.dir()) == Status::Creating
    }

    /// Waits until the init has ended; gives its exit code, 128 and the signal's number if one
    /// killed it, and writes that down for later.
    ///
    /// # Errors
    /// How it ended cannot be known.
    pub fn wait(mut self) -> Result<i32, WaitError> {
        if let Some(status) = self.state.exit_status {
            return Ok(status);
        }
        let unknown = WaitError::Unknown(self.state.id.clone());
        let init = self.init.take().ok_or(unknown)?;
        while let Err(errno) = poll(&mut [PollFd::new(&init, PollFlags::IN)], None) {
            if errno != Errno::INTR {
                return Err(WaitError::System(errno));
            }
        }
        let code = exit_code(&self.state, init.as_fd());
        // `run --keep`, or another `wait`, may have been quicker.
        let code = code.or_else(|| self.entry.read_state().ok()?.exit_status);
        let code = code.ok_or_else(|| WaitError::Unknown(self.state.id.clone()))?;
        // Whoever holds the lock is about to remove it.
        if let Ok(true) = self.entry.lock(false) {
            let _ = record(&self.entry, code);
        }
        Ok(code)
    }
}

/// Writes down how the init ended. The caller holds the lock.
///
/// # Errors
/// The container was removed meanwhile.
pub fn record(entry: &Entry, code: i32) -> Result<(), StoreError> {
    if !entry.is_there()? {
        return Err(StoreError::Missing(entry.id().to_string()));
    }
    let mut state = entry.read_state()?;
    if state.exit_status == Some(code) {
        return Ok(());
    }
    state.exit_status = Some(code);
    entry.write_state(&state)
}

/// How the init that has ended did so: its exit code, or 128 and the signal's number. `init`
/// was opened while it was there. `None` if that cannot be known any more.
pub fn exit_code(state: &State, init: BorrowedFd<'_>) -> Option<i32> {
    // What may not be looked at reads as 0, which is no answer. This asks for the same right.
    let exe = readlinkat(CWD, format!("/proc/{}/exe", state.pid), Vec::new());
    let permitted = exe != Err(Errno::ACCESS);
    match process_start(state.pid) {
        Ok(process) if process.start_time == state.start_time => {
            let is_known = process.ended && permitted;
            // It may have been reaped since.
            is_known
                .then_some(process.exit_code)
                .or_else(|| exit_info(init))
        }
        _ => exit_info(init),
    }
    .map(code_of)
}

/// The exit code of a status in the form of wait(2), as shells print it.
fn code_of(status: i32) -> i32 {
    match status & 0x7f {
        0 => status >> 8 & 0xff,
        signal => 128 + signal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_code_or_a_signal() {
        for (status, code) in [
            (0, 0),
            (7 << 8, 7),
            (255 << 8, 255),
            (9, 137),
            (11 | 0x80, 139),
        ] {
            assert_eq!(code_of(status), code, "{status}");
        }
    }
}
