//! What `events` tells: what a container uses, and that it ran out of memory.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::kill::open_init;
use super::{Entry, State, Status, StoreError, status};
use crate::cgroup::CgroupError;
use crate::cgroup::stats::{Blkio, Cpu, Cpuset, Hugetlb, Memory, Pids};
use crate::rdt;
use crate::sys::{Errno, errno_text};

/// Why there are no events.
#[derive(Debug)]
pub enum EventsError {
    /// The state directory.
    Store(StoreError),
    /// It has ended, or is not there yet.
    NotRunning(String, Status),
    /// It has no cgroup of its own.
    NoCgroup(String),
    /// The cgroup.
    Cgroup(CgroupError),
    /// poll(2).
    Poll(Errno),
}

impl fmt::Display for EventsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventsError::Store(error) => error.fmt(f),
            // runc's words come first.
            EventsError::NotRunning(id, Status::Stopped) => {
                write!(f, "container with id {id} is not running")
            }
            EventsError::NotRunning(id, status) => {
                write!(f, "container with id {id} is not running: it is {status}")
            }
            EventsError::NoCgroup(id) => write!(
                f,
                "nobody counts what container {id} uses: it has no cgroup of its own \
                 (it was made with --cgroup-manager=disabled or without the right to make one)"
            ),
            EventsError::Cgroup(error) => error.fmt(f),
            EventsError::Poll(errno) => {
                let why = errno_text(errno.raw_os_error());
                write!(f, "cannot wait for events: {why}")
            }
        }
    }
}

impl std::error::Error for EventsError {}

impl From<StoreError> for EventsError {
    fn from(error: StoreError) -> Self {
        EventsError::Store(error)
    }
}

impl From<CgroupError> for EventsError {
    fn from(error: CgroupError) -> Self {
        EventsError::Cgroup(error)
    }
}

/// One line of `events`, with runc's names and order.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

#[derive(Serialize)]
struct Data<'a> {
    cpu: &'a Cpu,
    cpuset: &'a Cpuset,
    memory: &'a Memory,
    pids: &'a Pids,
    blkio: &'a Blkio,
    hugetlb: &'a BTreeMap<String, Hugetlb>,
    intel_rdt: rdt::Stats,
    /// runc counts interfaces that no config.json can ask for, so it has none.
    network_interfaces: Option<()>,
}

/// A container whose events can be asked for.
pub struct Watched {
    state: State,
    init: OwnedFd,
}

/// Finds a container that has not ended.
///
/// # Errors
/// It has ended, it is not there yet, or nobody counts what it uses.
pub fn watch(entry: &Entry) -> Result<Watched, EventsError> {
    let state = entry.read_state()?;
    // The descriptor first: what it stands for is then the init.
    let init = open_init(&state);
    let status = status::of(&state, entry.dir());
    match init {
        Some(_) if !state.cgroup.lists_processes() => Err(EventsError::NoCgroup(state.id)),
        Some(init) if !matches!(status, Status::Creating | Status::Stopped) => {
            Ok(Watched { state, init })
        }
        _ => Err(EventsError::NotRunning(state.id, status)),
    }
}

impl Watched {
    /// What it uses, as one line of JSON.
    ///
    /// # Errors
    /// A counter that cannot be read.
    pub fn stats(&self) -> Result<String, CgroupError> {
        let stats = self.state.cgroup.stats()?;
        let data = Data {
            cpu: &stats.cpu,
            cpuset: &stats.cpuset,
            memory: &stats.memory,
            pids: &stats.pids,
            blkio: &stats.blkio,
            hugetlb: &stats.hugetlb,
            intel_rdt: self
                .state
                .rdt
                .as_ref()
                .map(rdt::Record::stats)
                .unwrap_or_default(),
            network_interfaces: None,
        };
        Ok(self.line("stats", Some(data)))
    }

    fn line(&self, kind: &str, data: Option<Data<'_>>) -> String {
        let id = &self.state.id;
        // Strings and numbers always become JSON.
        serde_json::to_string(&Event { kind, id, data }).unwrap_or_default()
    }

    /// Hands out a line of stats at every interval and one whenever the container runs out of
    /// memory, until it has ended.
    ///
    /// # Errors
    /// The kernel refuses to tell of memory; `print` failed.
    pub fn follow<E: From<EventsError>>(
        &self,
        interval: Duration,
        mut print: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut oom = self.state.cgroup.watch_oom().map_err(EventsError::Cgroup)?;
        if oom.is_none() {
            log::warn!("there will be no \"oom\" events: nobody counts the container's memory");
        }
        let mut next = Instant::now().checked_add(interval);
        loop {
            let mut fds = vec![PollFd::new(&self.init, PollFlags::IN)];
            fds.extend(
                oom.iter()
                    .map(|oom| PollFd::from_borrowed_fd(oom.as_fd(), PollFlags::IN)),
            );
            match poll(&mut fds, rest_until(next).as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(EventsError::Poll(errno).into()),
            }
            let ended = !fds[0].revents().is_empty();
            // Before the end is: it may be what has ended the container.
            if oom.as_mut().is_some_and(crate::cgroup::OomWatch::happened) {
                print(&self.line("oom", None))?;
            }
            if ended {
                return Ok(());
            }
            if next.is_some_and(|next| next <= Instant::now()) {
                match self.stats() {
                    Ok(line) => print(&line)?,
                    Err(error) => log::error!("{error}"),
                }
                next = after(next, interval);
            }
        }
    }
}

/// The time until then; without a limit if that is never.
fn rest_until(next: Option<Instant>) -> Option<Timespec> {
    let rest = next?.saturating_duration_since(Instant::now());
    Timespec::try_from(rest).ok()
}

/// The next moment of the same beat that is not over yet: a reader that was slow gets no heap of
/// lines afterwards.
fn after(last: Option<Instant>, interval: Duration) -> Option<Instant> {
    let next = last?.checked_add(interval)?;
    let now = Instant::now();
    match next > now {
        true => Some(next),
        false => now.checked_add(interval),
    }
}
