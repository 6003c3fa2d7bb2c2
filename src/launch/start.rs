//! `start`: lets a created container run its program.
//!
//! The init waits in open(2) of the exec fifo for writing. Opening it for reading
//! lets it go on; its execve closes the fifo, which is the proof that the program
//! runs. When it cannot be run, the stub writes why before it ends.

use std::fmt;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{describe, hooks};
use crate::container::store::FIFO;
use crate::container::{Entry, State, Status, StoreError, status};
use crate::sys::stub::abi;
use crate::sys::{Errno, errno_text, stub};

/// Why a container did not start.
#[derive(Debug)]
pub enum StartError {
    /// The state directory.
    Store(StoreError),
    /// It is in another state.
    Status(Status),
    /// A system call failed.
    System(&'static str, Errno),
    /// The init told why.
    Init(String),
    /// The init died without a word.
    Died,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Store(error) => error.fmt(f),
            StartError::Status(Status::Stopped) => {
                f.write_str("cannot start a container that has stopped")
            }
            StartError::Status(Status::Running) => {
                f.write_str("cannot start an already running container")
            }
            StartError::Status(status) => {
                write!(f, "cannot start a container in the {status} state")
            }
            StartError::System(what, errno) => {
                write!(f, "cannot {what}: {}", errno_text(errno.raw_os_error()))
            }
            StartError::Init(text) => f.write_str(text),
            StartError::Died => f.write_str("the container's init died before it ran the program"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        StartError::Store(error)
    }
}

/// Starts the container and runs its poststart hooks.
///
/// # Errors
/// Why the program does not run.
pub fn start(entry: &Entry) -> Result<(), StartError> {
    entry.lock(true)?;
    let state = entry.read_state()?;
    let system = |what| move |errno| StartError::System(what, errno);
    // The descriptor first, the check after: what it stands for is then the init.
    let pidfd = match Pid::from_raw(state.pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
        Some(Ok(pidfd)) => pidfd,
        Some(Err(Errno::SRCH)) | None => {
            return Err(StartError::Status(status::of(&state, entry.dir())));
        }
        Some(Err(errno)) => return Err(StartError::System("open the container's init", errno)),
    };
    match status::of(&state, entry.dir()) {
        Status::Created => {}
        status => return Err(StartError::Status(status)),
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fifo = rustix::fs::openat(entry.dir(), FIFO, flags, Mode::empty())
        .map_err(system("open the exec fifo"))?;
    rustix::fs::unlinkat(entry.dir(), FIFO, AtFlags::empty())
        .map_err(system("remove the exec fifo"))?;

    let mut fds = [
        PollFd::new(&fifo, PollFlags::IN),
        PollFd::new(&pidfd, PollFlags::IN),
    ];
    while let Err(errno) = poll(&mut fds, None) {
        if errno != Errno::INTR {
            return Err(StartError::System("wait for the program", errno));
        }
    }
    let died = fds[0].revents().is_empty();
    match read_record(&fifo).map_err(system("read the exec fifo"))? {
        Some(message) => return Err(StartError::Init(describe::late_failure(&message))),
        None if died => return Err(StartError::Died),
        None => {}
    }
    poststart(&state);
    Ok(())
}

/// The record of a failing stub, if there is one.
fn read_record(fifo: impl AsFd) -> Result<Option<abi::Message>, Errno> {
    let mut bytes = [0u8; abi::MESSAGE_HEAD + abi::DETAIL_MAX];
    match rustix::io::read(fifo, &mut bytes) {
        Ok(0) | Err(Errno::AGAIN) => Ok(None),
        Ok(length) => stub::decode(&bytes[..length]).map(Some),
        Err(errno) => Err(errno),
    }
}

/// Runs the poststart hooks. The spec: a failing one is a warning.
pub fn poststart(state: &State) {
    if state.poststart.is_empty() {
        return;
    }
    let text =
        serde_json::to_vec(&state.for_hooks(Status::Running, Some(state.pid))).unwrap_or_default();
    for error in hooks::run_all("poststart", &state.poststart, &text) {
        log::warn!("{error}");
    }
}
