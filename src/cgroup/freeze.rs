//! Freezing and thawing a container.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::record::parent;
use super::{CgroupError, Record, file};

/// How long freezing and thawing may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl Record {
    /// Whether the container is frozen (`paused`). One without a freezer is not.
    pub fn frozen(&self) -> bool {
        let directory = self.freezer();
        directory.is_some_and(|directory| is_frozen(&self.absolute(directory), directory.v2))
    }

    /// Whether there is a freezer.
    pub fn can_freeze(&self) -> bool {
        self.freezer().is_some()
    }

    /// The file that changes when the container is frozen or thawed, so that inotify(7) tells of
    /// it. On v1 it is the one that is written to: only what is done to this very cgroup is seen.
    pub fn freezer_file(&self) -> Option<String> {
        let directory = self.freezer()?;
        let name = if directory.v2 {
            "cgroup.events"
        } else {
            "freezer.state"
        };
        Some(format!("{}/{name}", self.absolute(directory)))
    }

    /// Freezes every process of the container, and returns once all stand still.
    ///
    /// # Errors
    /// There is no freezer, or a process did not stop within five seconds; then all run on.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let (path, v2) = self.freezer_path("freeze")?;
        let frozen = set_frozen(&path, v2, true);
        if frozen.is_err() {
            // What stands still half-way would stay so for ever.
            let _ = set_frozen(&path, v2, false);
        }
        frozen
    }

    /// Lets every process of the container run again.
    ///
    /// # Errors
    /// There is no freezer, or the kernel refuses. A cgroup that is gone is no error.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        let (path, v2) = self.freezer_path("thaw")?;
        thaw(&path, v2)
    }

    /// The frozen cgroup above, if one holds the container frozen in which no signal arrives: of
    /// v1, where it keeps even the killed from dying.
    pub fn frozen_from_above(&self) -> Option<String> {
        let directory = self.freezer().filter(|directory| !directory.v2)?;
        frozen_at(parent(&self.absolute(directory)), false)
    }

    fn freezer_path(&self, action: &'static str) -> Result<(String, bool), CgroupError> {
        match self.freezer() {
            Some(directory) => Ok((self.absolute(directory), directory.v2)),
            None => {
                let state = "the container has no cgroup with a freezer";
                Err(CgroupError::state(action, self.path(), state))
            }
        }
    }
}

/// Whether the cgroup at `path` is frozen.
pub(super) fn is_frozen(path: &str, v2: bool) -> bool {
    if v2 {
        let events = file::read(CWD, &format!("{path}/cgroup.events"));
        events.is_ok_and(|text| file::flag(&text, "frozen") == Some(true))
    } else {
        file::read(CWD, &format!("{path}/freezer.state")).is_ok_and(|state| stands_still_v1(&state))
    }
}

/// What v1's `freezer.state` says. A cgroup that is only on its way (`FREEZING`) counts as
/// frozen: what stands still there already gets no signal before it is thawed, and a process
/// that cannot be stopped may keep it on its way for ever.
fn stands_still_v1(state: &str) -> bool {
    state != "THAWED"
}

/// Asks for a cgroup to be frozen or thawed, and does not wait.
pub(super) fn ask(directory: BorrowedFd, v2: bool, frozen: bool) -> Result<(), Errno> {
    let (name, value) = request(v2, frozen);
    file::write(directory, name, value)
}

/// The file and what is written to it.
pub(super) fn request(v2: bool, frozen: bool) -> (&'static str, &'static str) {
    match (v2, frozen) {
        (true, true) => ("cgroup.freeze", "1"),
        (true, false) => ("cgroup.freeze", "0"),
        (false, true) => ("freezer.state", "FROZEN"),
        (false, false) => ("freezer.state", "THAWED"),
    }
}

/// Freezes or thaws the cgroup at `path` and waits until it is so.
pub(super) fn set_frozen(path: &str, v2: bool, frozen: bool) -> Result<(), CgroupError> {
    if !v2 {
        return set_frozen_v1(path, frozen);
    }
    let (name, value) = request(v2, frozen);
    let freeze = format!("{path}/{name}");
    file::write(CWD, &freeze, value).map_err(|errno| CgroupError::write(freeze, value, errno))?;
    if !frozen && is_frozen(path, v2) {
        refuse_frozen_above(path, v2)?;
    }
    match wait_for(path, "frozen", frozen, Instant::now() + PATIENCE)? {
        true => Ok(()),
        false => Err(took_too_long(path, frozen)),
    }
}

/// Thaws the cgroup at `path`; one that is gone holds nobody.
pub(super) fn thaw(path: &str, v2: bool) -> Result<(), CgroupError> {
    match set_frozen(path, v2, false) {
        Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NODEV)) => Ok(()),
        result => result,
    }
}

/// The cgroup that holds the one at `path` frozen: itself or one above it.
pub(super) fn frozen_at(path: &str, v2: bool) -> Option<String> {
    let file = if v2 {
        "cgroup.freeze"
    } else {
        "freezer.self_freezing"
    };
    let mut level = path;
    // The root of a hierarchy has no such file.
    while let Ok(value) = file::read(CWD, &format!("{level}/{file}")) {
        if value == "1" {
            return Some(level.to_owned());
        }
        level = parent(level);
    }
    None
}

/// What is frozen from above stays so, whatever is written to its own file.
fn refuse_frozen_above(path: &str, v2: bool) -> Result<(), CgroupError> {
    match frozen_at(parent(path), v2) {
        Some(above) => {
            let state = format!("{above} above it is frozen");
            Err(CgroupError::state("thaw", path, state).hint("thaw that first"))
        }
        None => Ok(()),
    }
}

fn took_too_long(path: &str, frozen: bool) -> CgroupError {
    let (action, left) = if frozen {
        ("freeze", "still runs")
    } else {
        ("thaw", "is still frozen")
    };
    let state = format!("after {} s a process {left}", PATIENCE.as_secs());
    CgroupError::state(action, path, state)
}

/// v1 sends no event: reading the state is what moves FREEZING on to FROZEN
/// (freezer-subsystem.rst), so it is read again until then.
fn set_frozen_v1(path: &str, frozen: bool) -> Result<(), CgroupError> {
    let (name, value) = request(false, frozen);
    let file = format!("{path}/{name}");
    let failed = |errno| CgroupError::write(file.clone(), value, errno);
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let state = rustix::fs::openat(CWD, &file, flags, Mode::empty()).map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    let mut tries = 0;
    loop {
        // A task that was forked meanwhile is only caught by asking again.
        file::write_to(state.as_fd(), value).map_err(failed)?;
        if file::read_from(state.as_fd()).map_err(failed)? == value {
            return Ok(());
        }
        if !frozen {
            refuse_frozen_above(path, false)?;
        }
        if Instant::now() >= deadline {
            return Err(took_too_long(path, frozen));
        }
        give_way(tries);
        tries += 1;
    }
}

/// Lets the processes that are waited for run: at first without losing the processor for long.
pub(super) fn give_way(tries: u32) {
    if tries < 20 {
        rustix::thread::sched_yield();
    } else {
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Waits until `key` in `cgroup.events` of the v2 cgroup at `path` has the value `want`; whether
/// it has. A cgroup that is gone is neither populated nor frozen.
pub(super) fn wait_for(
    path: &str,
    key: &str,
    want: bool,
    deadline: Instant,
) -> Result<bool, CgroupError> {
    let path = format!("{path}/cgroup.events");
    let failed = |errno| CgroupError::kernel("watch", path.clone(), errno);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let events = match rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
        Ok(events) => events,
        Err(Errno::NOENT | Errno::NODEV) => return Ok(!want),
        Err(errno) => return Err(failed(errno)),
    };
    loop {
        let is = match file::read_from(events.as_fd()) {
            Ok(text) => file::flag(&text, key).unwrap_or(false),
            Err(Errno::NODEV) => false,
            Err(errno) => return Err(failed(errno)),
        };
        if is == want {
            return Ok(true);
        }
        let Some(rest) = timeout(deadline) else {
            return Ok(false);
        };
        match rustix::event::poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&rest)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// The time until `deadline`; nothing once it is over.
pub(super) fn timeout(deadline: Instant) -> Option<Timespec> {
    let rest = deadline.saturating_duration_since(Instant::now());
    if rest.is_zero() {
        None
    } else {
        Timespec::try_from(rest).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::stands_still_v1;

    #[test]
    fn a_v1_cgroup_that_is_being_frozen_counts_as_frozen() {
        assert!(!stands_still_v1("THAWED"));
        assert!(stands_still_v1("FREEZING"));
        assert!(stands_still_v1("FROZEN"));
    }
}
