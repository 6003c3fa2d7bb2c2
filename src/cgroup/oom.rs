//! News from the kernel that a container ran out of memory.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::fs::{CWD, Mode, OFlags, inotify};
use rustix::io::Errno;

use super::record::parent;
use super::{CgroupError, Record, file};

/// A watch on a container's memory; its descriptor can be read when there is news.
#[derive(Debug)]
pub enum OomWatch {
    /// An eventfd of the v1 controller (memory.rst, "OOM Control").
    V1 {
        /// Counts.
        events: OwnedFd,
        /// A file that is there as long as the cgroup is.
        control: String,
    },
    /// An inotify(7) descriptor on `memory.events` of cgroup v2.
    V2 {
        /// Says that the file has changed.
        changes: OwnedFd,
        /// The file.
        path: String,
        /// How many processes had been killed at the last look.
        killed: u64,
        /// The same file of the cgroup above, whose count holds these kills too, if it has one.
        above: Option<(String, u64)>,
    },
}

impl Record {
    /// Watches for processes that are killed for want of memory; `None` where nobody counts the
    /// container's memory.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>, CgroupError> {
        let watch = match (self.on_v1("memory"), self.on_v2()) {
            (Some(directory), _) => watch_v1(&self.absolute(directory)),
            (None, Some(directory)) => watch_v2(&self.absolute(directory)),
            (None, None) => return Ok(None),
        };
        match watch {
            Ok(watch) => Ok(Some(watch)),
            Err((_, Errno::NOENT)) => Ok(None),
            Err((path, errno)) => Err(CgroupError::kernel("watch", path, errno)),
        }
    }
}

fn watch_v1(directory: &str) -> Result<OomWatch, (String, Errno)> {
    let name = format!("{directory}/memory.oom_control");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let oom =
        rustix::fs::openat(CWD, &name, flags, Mode::empty()).map_err(|errno| (name, errno))?;
    let control = format!("{directory}/cgroup.event_control");
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let made = rustix::event::eventfd(0, flags).and_then(|events| {
        let line = format!("{} {}", events.as_raw_fd(), oom.as_raw_fd());
        file::write(CWD, &control, &line).map(|()| events)
    });
    match made {
        Ok(events) => Ok(OomWatch::V1 { events, control }),
        Err(errno) => Err((control, errno)),
    }
}

fn watch_v2(directory: &str) -> Result<OomWatch, (String, Errno)> {
    let path = format!("{directory}/memory.events");
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let made = inotify::init(flags).and_then(|changes| {
        inotify::add_watch(&changes, path.as_str(), inotify::WatchFlags::MODIFY)?;
        // After the watch, so that no kill falls between the two.
        Ok((changes, killed(&path)?))
    });
    let above = format!("{}/memory.events", parent(directory));
    match made {
        Ok((changes, count)) => Ok(OomWatch::V2 {
            changes,
            path,
            killed: count,
            above: killed(&above).ok().map(|count| (above, count)),
        }),
        Err(errno) => Err((path, errno)),
    }
}

/// `oom_kill` of `memory.events`: unlike `oom` it counts in the cgroup of the process that was
/// killed, whosever limit it was.
fn killed(path: &str) -> Result<u64, Errno> {
    Ok(oom_kills(&file::read_all(CWD, path)?))
}

fn oom_kills(text: &str) -> u64 {
    let count = |line: &str| line.strip_prefix("oom_kill ")?.parse().ok();
    text.lines().find_map(count).unwrap_or_default()
}

impl OomWatch {
    /// Whether the container ran out of memory since the last time that this was asked. Never
    /// waits.
    pub fn happened(&mut self) -> bool {
        match self {
            OomWatch::V1 { events, control } => {
                let mut count = [0; 8];
                match rustix::io::read(&*events, &mut count) {
                    Ok(8) => {}
                    _ => return false,
                }
                // The removal of the cgroup is told the same way, once.
                let gone =
                    rustix::fs::access(control.as_str(), rustix::fs::Access::EXISTS).is_err();
                u64::from_ne_bytes(count) > u64::from(gone)
            }
            OomWatch::V2 {
                changes,
                path,
                killed: before,
                above,
            } => {
                let changed = drain(changes);
                let grown_above = above.as_mut().is_some_and(|(path, before)| {
                    let now = killed(path).unwrap_or(*before);
                    std::mem::replace(before, now) < now
                });
                match killed(path) {
                    Ok(now) => std::mem::replace(before, now) < now,
                    // systemd removes a scope with its last process, which may be the one that
                    // was killed: something was counted here, and above it is known what.
                    Err(_) => changed && grown_above,
                }
            }
        }
    }
}

/// Takes all events that are there; whether the file was changed, and not just removed.
fn drain(changes: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(changes, &mut buffer);
    let mut changed = false;
    while let Ok(event) = events.next() {
        changed |= event.events().contains(inotify::ReadFlags::MODIFY);
    }
    changed
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            OomWatch::V1 { events, .. } => events.as_fd(),
            OomWatch::V2 { changes, .. } => changes.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::oom_kills;

    #[test]
    fn kills_are_counted_and_not_the_attempts() {
        let text = "low 0\nhigh 9\nmax 7\noom 5\noom_kill 3\noom_group_kill 0\n";
        assert_eq!(oom_kills(text), 3);
        assert_eq!(oom_kills("low 0\noom 5\n"), 0);
    }
}
