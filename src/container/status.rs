//! What a container is doing: asked of the kernel, never stored.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use serde::Serialize;

use super::state::State;
use super::store::{Entry, FIFO, NEW_FIFO, StoreError};
use crate::sys::fd::ShortLived;
use crate::sys::{Errno, Result};

/// The states of runtime-spec's "State", and `paused` as runc has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being made.
    Creating,
    /// It waits for `start`.
    Created,
    /// Its program runs.
    Running,
    /// Its cgroup is frozen.
    Paused,
    /// Its init has ended.
    Stopped,
}

impl Status {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the record of a container and finds its status, without the lock: while another verb is at
/// work, the record may be older than what it is compared with. The record comes without its
/// template, through a buffer that many can share.
///
/// # Errors
/// The record cannot be read.
pub fn read(
    entry: &Entry,
    buffer: &mut Vec<u8>,
) -> std::result::Result<(State, Status), StoreError> {
    let state = entry.read_summary(buffer)?;
    let status = of(&state, entry.dir());
    // What has moved has done so once, so that a second look is right.
    match status {
        // Its creator has ended since the record was read, but perhaps with a container made.
        Status::Stopped if state.pid == 0 => {
            let state = entry.read_summary(buffer)?;
            let status = of(&state, entry.dir());
            Ok((state, status))
        }
        // Neither fifo was there: perhaps it got its last name between the two looks.
        Status::Running | Status::Paused if exists(entry.dir(), FIFO) => {
            let status = of(&state, entry.dir());
            Ok((state, status))
        }
        status => Ok((state, status)),
    }
}

/// Finds the status of a container. `dir` is its state directory.
pub fn of(state: &State, dir: BorrowedFd<'_>) -> Status {
    if state.pid == 0 {
        // Nothing runs yet; if whoever makes it has died, nothing ever will.
        let alive = state.creator != 0 && process_start(state.creator).is_ok_and(|p| !p.ended);
        return if alive {
            Status::Creating
        } else {
            Status::Stopped
        };
    }
    if !is_alive(state) {
        return Status::Stopped;
    }
    if exists(dir, FIFO) {
        return if state.cgroup.frozen() {
            Status::Paused
        } else {
            Status::Created
        };
    }
    if exists(dir, NEW_FIFO) && !is_run_and_executes(state, dir) {
        return Status::Creating;
    }
    if state.cgroup.frozen() {
        Status::Paused
    } else {
        Status::Running
    }
}

/// Of a launch that is marked as incomplete: whether it is one by `run` whose program runs
/// already, though the runtime has not taken the mark away. The program may have told somebody.
/// What may not be looked at has not come that far.
fn is_run_and_executes(state: &State, dir: BorrowedFd<'_>) -> bool {
    let mark = rustix::fs::statat(dir, NEW_FIFO, AtFlags::SYMLINK_NOFOLLOW);
    // `restore` has another mark: what it brings back is its program from the start.
    if !mark.is_ok_and(|mark| FileType::from_raw_mode(mark.st_mode) == FileType::Fifo) {
        return false;
    }
    let exe = |pid| rustix::fs::statat(CWD, format!("/proc/{pid}/exe"), AtFlags::empty());
    let name = rustix::fs::readlinkat(CWD, format!("/proc/{}/exe", state.pid), Vec::new());
    // First the runtime's copy, then the stub.
    match (name, exe(state.pid), exe(state.creator)) {
        (Ok(name), Ok(init), Ok(creator)) => {
            (init.st_dev, init.st_ino) != (creator.st_dev, creator.st_ino)
                && !name.to_bytes().starts_with(b"/memfd:corten")
        }
        _ => false,
    }
}

fn exists(dir: BorrowedFd<'_>, name: &std::ffi::CStr) -> bool {
    rustix::fs::accessat(dir, name, Access::EXISTS, AtFlags::empty()).is_ok()
}

/// Whether the container's init runs: its pid is there, started when the init
/// did, and is no zombie.
pub fn is_alive(state: &State) -> bool {
    state.pid != 0
        && process_start(state.pid).is_ok_and(|p| !p.ended && p.start_time == state.start_time)
}

/// What /proc/PID/stat tells.
#[derive(Debug, PartialEq, Eq)]
pub struct ProcessStart {
    /// Clock ticks since boot.
    pub start_time: u64,
    /// It is a zombie or dead.
    pub ended: bool,
    /// How a zombie ended, in the form of wait(2). Who may not look at the process (ptrace(2))
    /// reads 0 here.
    pub exit_code: i32,
}

/// Reads /proc/PID/stat of the host.
///
/// # Errors
/// `ENOENT` if there is no such process.
pub fn process_start(pid: i32) -> Result<ProcessStart> {
    let file = rustix::fs::openat(
        CWD,
        format!("/proc/{pid}/stat"),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    read_start(ShortLived::from(file).as_fd())
}

/// Reads an open stat file.
///
/// # Errors
/// `ESRCH` if the process has gone meanwhile.
pub fn read_start(stat: BorrowedFd<'_>) -> Result<ProcessStart> {
    let mut buffer = [0u8; 1024];
    let length = rustix::io::read(stat, &mut buffer)?;
    parse_stat(&buffer[..length]).ok_or(Errno::SRCH)
}

/// The fields after the command's name, which may itself hold spaces and brackets
/// (proc_pid_stat(5)).
fn parse_stat(text: &[u8]) -> Option<ProcessStart> {
    let end = text.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    // The state is field 3, the start time 22.
    let start_time = fields.nth(18)?.parse().ok()?;
    let ended = matches!(state, "Z" | "X" | "x");
    // The exit code is field 52.
    let exit_code = if ended { fields.nth(29) } else { None };
    Some(ProcessStart {
        start_time,
        ended,
        exit_code: exit_code.and_then(|code| code.parse().ok()).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_brackets_does_not_confuse_the_fields() {
        let text = b"12 (a) R (b) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3\n";
        let expected = ProcessStart {
            start_time: 987_654,
            ended: false,
            exit_code: 0,
        };
        assert_eq!(parse_stat(text), Some(expected));
    }

    #[test]
    fn a_zombie_has_ended_and_a_cut_text_tells_nothing() {
        let text = b"12 (x) Z 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 5 1 2 3 4 5 6 7 8 9 \
            10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 1792\n";
        assert!(parse_stat(text).is_some_and(|p| p.ended && p.exit_code == 1792));
        assert_eq!(parse_stat(b"12 (x) Z 1 1"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn this_process_is_alive_and_has_a_start_time() {
        let pid = std::process::id() as i32;
        assert!(process_start(pid).is_ok_and(|p| !p.ended && p.start_time > 0));
    }
}
