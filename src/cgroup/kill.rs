//! Signals to every process of a container.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::freeze::{self, set_frozen, thaw};
use super::{CgroupError, Record, file, members, tree};
use crate::sys;

/// How often new processes are looked for where nothing stops them from being born.
const PASSES: u32 = 100;

impl Record {
    /// Sends `signal` to every process in the cgroup and beneath it, also to those that are being
    /// born meanwhile. A frozen container is thawed, so that the signal arrives.
    ///
    /// # Errors
    /// The kernel refuses a signal or the cgroup cannot be read. A cgroup above that is frozen is
    /// one too, but not with SIGKILL ([`Record::frozen_from_above`]). Processes that are gone and a
    /// cgroup that is gone are no errors.
    pub fn kill_all(&self, signal: i32) -> Result<(), CgroupError> {
        let Some(directory) = self.reference() else {
            return Ok(());
        };
        let path = self.absolute(directory);
        match self.freezer() {
            Some(directory) => kill_tree(&path, directory.v2, true, signal),
            None => kill_tree(&path, directory.v2, false, signal),
        }
    }
}

impl Record {
    /// Thaws the container and what it froze beneath itself, so that SIGKILL arrives. Nobody is
    /// waited for.
    ///
    /// # Errors
    /// The kernel refuses. A cgroup that is gone is no error.
    pub fn thaw_killed(&self) -> Result<(), CgroupError> {
        match self.freezer() {
            Some(directory) => thaw_tree(&self.absolute(directory), directory.v2),
            None => Ok(()),
        }
    }
}

/// Sends `signal` to every process in `path` and beneath it.
pub(super) fn kill_tree(
    path: &str,
    v2: bool,
    freezer: bool,
    signal: i32,
) -> Result<(), CgroupError> {
    if v2 && signal == libc::SIGKILL {
        // Linux 5.14: the whole tree at once, forks and frozen processes included.
        match file::write(CWD, &format!("{path}/cgroup.kill"), "1") {
            // The dead need no thawing, but the cgroup would go on calling itself frozen.
            Ok(()) => return thaw_tree(path, v2),
            Err(Errno::NODEV) => return Ok(()),
            Err(_) => {}
        }
    }
    // What stands still cannot fork away. If it will not stand still, the passes have to do.
    let still = freezer && set_frozen(path, v2, true).is_ok();
    let sent = send_to_tree(path, signal, if still { 1 } else { PASSES });
    match (freezer, signal) {
        (false, _) => {}
        (true, libc::SIGKILL) => thaw_tree(path, v2)?,
        (true, _) => thaw(path, v2)?,
    }
    sent
}

/// Thaws `path` and what the container itself froze beneath it: a frozen process of v1 does not
/// die. Nobody is waited for. What is gone is no error.
fn thaw_tree(path: &str, v2: bool) -> Result<(), CgroupError> {
    tree::walk(path, &mut Thaw { v2 })
}

struct Thaw {
    v2: bool,
}

impl tree::Visitor for Thaw {
    fn enter(&mut self, directory: BorrowedFd, shown: &str) -> Result<(), CgroupError> {
        match freeze::ask(directory, self.v2, false) {
            Err(errno) if !tree::is_gone(errno) => {
                let (name, value) = freeze::request(self.v2, false);
                Err(CgroupError::write(format!("{shown}/{name}"), value, errno))
            }
            _ => Ok(()),
        }
    }
}

/// Signals what is found, again and again until nothing new is found.
fn send_to_tree(path: &str, signal: i32, passes: u32) -> Result<(), CgroupError> {
    let mut done: Vec<u32> = Vec::new();
    for _ in 0..passes {
        let mut found = members::of_tree(path)?;
        found.retain(|pid| !done.contains(pid));
        if found.is_empty() {
            return Ok(());
        }
        let processes = open(&found)?;
        // A pid whose process died between the listing and the opening may be a stranger's by now.
        let still_there = members::of_tree(path)?;
        for (pid, process) in &processes {
            if !still_there.contains(pid) {
                continue;
            }
            match sys::pidfd::send_signal(process, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => {
                    let process = format!("process {pid} in {path}");
                    return Err(CgroupError::kernel("signal", process, errno));
                }
            }
        }
        done.extend(found);
    }
    Ok(())
}

/// Opens the processes that still exist.
fn open(pids: &[u32]) -> Result<Vec<(u32, OwnedFd)>, CgroupError> {
    let mut processes = Vec::with_capacity(pids.len());
    for &pid in pids {
        let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            continue;
        };
        match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
            Ok(process) => processes.push((pid, process)),
            // A thread of a threaded cgroup (EINVAL, in later kernels ENOENT); its leader is found
            // by its own pid.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => {}
            Err(errno) => {
                return Err(CgroupError::kernel("open", format!("process {pid}"), errno));
            }
        }
    }
    Ok(processes)
}

/// Waits until every process in `path` and beneath it has ended; whether they have by `deadline`.
pub(super) fn wait_empty(path: &str, v2: bool, deadline: Instant) -> Result<bool, CgroupError> {
    if v2 {
        return freeze::wait_for(path, "populated", false, deadline);
    }
    for (pid, process) in open(&members::of_tree(path)?)? {
        let Some(rest) = freeze::timeout(deadline) else {
            return Ok(false);
        };
        loop {
            match rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&rest)) {
                Ok(0) => return Ok(false),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let process = format!("process {pid} in {path}");
                    return Err(CgroupError::kernel("wait for", process, errno));
                }
            }
        }
    }
    Ok(true)
}
