//! `start`: lets a created container run its program.
//!
//! The init waits for a byte in the exec fifo, which it holds open for reading and
//! writing. Its execve closes the fifo, which is the proof that the program runs.
//! When it cannot be run, the stub writes why before it ends.

use std::fmt;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::hooks::{self, HookError};
use super::{LaunchError, describe, notify};
use crate::container::store::FIFO;
use crate::container::{Entry, State, Status, StoreError, status};
use crate::sys::fd::ShortLived;
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
    /// A poststart hook failed.
    Poststart(HookError),
    /// The way to the service manager.
    Notify(LaunchError),
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
            StartError::Poststart(error) => error.fmt(f),
            StartError::Notify(error) => error.fmt(f),
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

impl From<LaunchError> for StartError {
    fn from(error: LaunchError) -> Self {
        StartError::Notify(error)
    }
}

/// Starts the container and runs its poststart hooks.
///
/// # Errors
/// Why the program does not run.
pub fn start(entry: &Entry) -> Result<(), StartError> {
    if !entry.lock(false)? {
        // `create` may wait long for a hook: not here too.
        let status = status::of(&entry.read_state()?, entry.dir());
        if status == Status::Creating {
            return Err(StartError::Status(status));
        }
        entry.lock(true)?;
    }
    let state = entry.read_state()?;
    let system = |what| move |errno| StartError::System(what, errno);
    // The descriptor first, the check after: what it stands for is then the init.
    let pidfd = match Pid::from_raw(state.pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
        Some(Ok(pidfd)) => ShortLived::from(pidfd),
        Some(Err(Errno::SRCH)) | None => {
            return Err(StartError::Status(status::of(&state, entry.dir())));
        }
        Some(Err(errno)) => return Err(StartError::System("open the container's init", errno)),
    };
    match status::of(&state, entry.dir()) {
        Status::Created => {}
        status => return Err(StartError::Status(status)),
    }
    let open = |flags| {
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(entry.dir(), FIFO, flags, Mode::empty())
    };
    // Before the program can say anything.
    let proxy = notify::Proxy::new(entry)?;
    // Without a reader there is no init any more.
    let go = match open(OFlags::WRONLY) {
        Err(Errno::NXIO) => return Err(StartError::Died),
        result => result.map_err(system("open the exec fifo"))?,
    };
    let answer = ShortLived::from(open(OFlags::RDONLY).map_err(system("open the exec fifo"))?);
    rustix::fs::unlinkat(entry.dir(), FIFO, AtFlags::empty())
        .map_err(system("remove the exec fifo"))?;
    rustix::io::write(&go, &[0]).map_err(system("write to the exec fifo"))?;
    // The init is the only writer now: the hang-up is its execve or its end.
    drop(go);
    while let Err(errno) = poll(&mut [PollFd::new(&answer, PollFlags::empty())], None) {
        if errno != Errno::INTR {
            return Err(StartError::System("wait for the program", errno));
        }
    }
    match read_answer(&answer).map_err(system("read the exec fifo"))? {
        Answer::Runs => {}
        Answer::Failed(message) => {
            return Err(StartError::Init(describe::late_failure(&message)));
        }
        Answer::Died => return Err(StartError::Died),
    }
    // A hook may take long: `delete --force` must not wait for it.
    entry.unlock()?;
    if let Err(error) = poststart(&state) {
        // runtime-spec, "Lifecycle", step 9: the container is stopped.
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        return Err(StartError::Poststart(error));
    }
    if let (Some(proxy), Some(pid)) = (proxy, Pid::from_raw(state.pid)) {
        proxy.wait(pidfd.as_fd(), pid)?;
    }
    Ok(())
}

/// What the fifo holds after the init has closed it.
enum Answer {
    Runs,
    Failed(Box<abi::Message>),
    Died,
}

fn read_answer(fifo: impl AsFd) -> Result<Answer, Errno> {
    let mut bytes = [0u8; abi::MESSAGE_HEAD + abi::DETAIL_MAX];
    match rustix::io::read(fifo, &mut bytes) {
        Ok(0) | Err(Errno::AGAIN) => Ok(Answer::Runs),
        // The byte that the init should have taken.
        Ok(1) => Ok(Answer::Died),
        Ok(length) => stub::decode(&bytes[..length]).map(|m| Answer::Failed(Box::new(m))),
        Err(errno) => Err(errno),
    }
}

/// Runs the poststart hooks.
///
/// # Errors
/// The first that fails; the caller stops the container.
pub fn poststart(state: &State) -> Result<(), HookError> {
    let now = (Status::Running, Some(state.pid));
    hooks::run_in_bundle("poststart", &state.poststart, state, now)
}
