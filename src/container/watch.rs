//! The changes of containers' states as they happen: nothing is asked again and again.
//!
//! The state root is watched for containers that come and go, each container's directory for
//! what `create`, `start` and `run` change there, its freezer for `pause` and `resume`, all by
//! inotify(7); the end of an init by its pidfd. Whatever stirs, the kernel is asked for the
//! status anew (see [`super::status`]), so what is reported is true when it is; a state that
//! lasted for less than a look takes may be left out.
//!
//! Not seen: a freezer of cgroup v1 that is frozen through a cgroup above the container's.

use std::collections::VecDeque;
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, getrlimit, pidfd_open, setrlimit};

use super::kill::{open_recorded, wait_end};
use super::{Id, State, Status, Store, StoreError, status, wait};
use crate::sys::{Errno, errno_text};

/// One change of a container's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The container.
    pub id: String,
    /// What it is now; `None` once it has been deleted.
    pub status: Option<Status>,
    /// The init as the host numbers it; 0 while there is none.
    pub pid: i32,
    /// How the init of a stopped container ended, if that is known.
    pub exit_status: Option<i32>,
}

impl Change {
    fn deleted(id: &Id) -> Change {
        Change {
            id: id.to_string(),
            status: None,
            pid: 0,
            exit_status: None,
        }
    }

    /// The word for what it is now: the status, or `deleted`.
    pub fn word(&self) -> &'static str {
        self.status.map_or("deleted", Status::as_str)
    }
}

/// Why nothing can be watched.
#[derive(Debug)]
pub enum WatchError {
    /// The state directory.
    Store(StoreError),
    /// The state directory was removed.
    Gone(PathBuf),
    /// A system call: what was being done, on what, why not.
    System(&'static str, String, Errno),
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WatchError::Store(error) => error.fmt(f),
            WatchError::Gone(path) => {
                write!(f, "the state directory {} was removed", path.display())
            }
            WatchError::System(what, on, errno) => {
                let hint = match *errno {
                    Errno::NOSPC => " (sysctl fs.inotify.max_user_watches)",
                    Errno::MFILE => " (ulimit -n, sysctl fs.inotify.max_user_instances)",
                    _ => "",
                };
                let why = errno_text(errno.raw_os_error());
                write!(f, "cannot {what} {on}: {why}{hint}")
            }
        }
    }
}

impl std::error::Error for WatchError {}

impl From<StoreError> for WatchError {
    fn from(error: StoreError) -> Self {
        WatchError::Store(error)
    }
}

type Result<T> = std::result::Result<T, WatchError>;

/// The containers that are watched.
pub struct Watch {
    store: Store,
    inotify: OwnedFd,
    root: i32,
    /// Only these; all if there are none.
    wanted: Vec<Id>,
    watched: Vec<Watched>,
    changes: VecDeque<Change>,
}

/// One container.
struct Watched {
    id: Id,
    /// Watch descriptors of its directory and of its freezer.
    dir: i32,
    freezer: Option<i32>,
    /// Its record, without the template.
    state: Option<State>,
    /// The process whose end is waited for: the init, before it is there its creator.
    process: Option<(i32, OwnedFd)>,
    /// What was reported last.
    last: Option<Change>,
}

impl Watch {
    /// Watches the containers with these ids, or all there are and will be. What they are now
    /// are the first changes.
    ///
    /// # Errors
    /// One of the ids does not exist, or the state directory cannot be watched.
    pub fn new(store: Store, ids: &[Id]) -> Result<Watch> {
        // A descriptor for each init. All this process runs is its own.
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        let _ = setrlimit(Resource::Nofile, raised);
        let failed = |errno| WatchError::System("make an", "inotify descriptor".into(), errno);
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).map_err(failed)?;
        store.make_root()?;
        let flags =
            WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR;
        let root = inotify::add_watch(&inotify, store.root(), flags);
        let path = || store.root().display().to_string();
        let root = root.map_err(|errno| WatchError::System("watch", path(), errno))?;
        let mut watch = Watch {
            store,
            inotify,
            root,
            wanted: ids.to_vec(),
            watched: Vec::new(),
            changes: VecDeque::new(),
        };
        for id in ids {
            drop(watch.store.open(id)?);
        }
        watch.look_for_all()?;
        Ok(watch)
    }

    /// The next change; waits for it. `None` when all of the ids that were given are deleted.
    ///
    /// # Errors
    /// Something cannot be watched any more.
    pub fn next_change(&mut self) -> Result<Option<Change>> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Ok(Some(change));
            }
            if !self.wanted.is_empty() && self.watched.is_empty() {
                return Ok(None);
            }
            self.wait()?;
        }
    }

    fn wait(&mut self) -> Result<()> {
        let mut fds = vec![PollFd::new(&self.inotify, PollFlags::IN)];
        let processes = self.watched.iter().filter_map(|one| one.process.as_ref());
        fds.extend(processes.map(|(_, fd)| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut fds, None) {
            Err(Errno::INTR) => return Ok(()),
            result => result.map_err(|errno| WatchError::System("poll", "".into(), errno))?,
        };
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let stirred = ready.next().unwrap_or(false);
        let ended: Vec<bool> = ready.collect();
        let mut ended = ended.into_iter();
        let ended = self.watched.iter().map(|one| match one.process {
            Some(_) => ended.next().unwrap_or(false),
            None => false,
        });
        let ended: Vec<bool> = ended.collect();
        // What happened before an end is told before it.
        if stirred {
            self.read_events()?;
        }
        for (at, _) in ended.iter().enumerate().filter(|(_, ended)| **ended) {
            if let Some(one) = self.watched.get_mut(at).filter(|one| one.process_ended()) {
                one.look(&self.store, &self.inotify, true, &mut self.changes);
            }
        }
        self.watched.retain(|one| one.dir >= 0);
        Ok(())
    }

    /// Reads what inotify tells. Nothing of `watched` is removed here, so that places stay.
    fn read_events(&mut self) -> Result<()> {
        let failed = |errno| WatchError::System("read", "inotify events".into(), errno);
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut stirred: Vec<(i32, bool)> = Vec::new();
        let mut names: Vec<(Id, ReadFlags)> = Vec::new();
        let mut overflow = false;
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                result => result.map_err(failed)?,
            };
            let kind = event.events();
            if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
                overflow = true;
            } else if event.wd() == self.root {
                if kind.intersects(ReadFlags::DELETE_SELF | ReadFlags::IGNORED) {
                    return Err(WatchError::Gone(self.store.root().to_owned()));
                }
                let name = event.file_name().and_then(|name| name.to_str().ok());
                if let Some(Ok(id)) = name.map(Id::new) {
                    names.push((id, kind));
                }
            } else if !kind.contains(ReadFlags::IGNORED) {
                let is_record = event
                    .file_name()
                    .is_some_and(|name| name == super::store::STATE_NAME);
                stirred.push((event.wd(), is_record));
            }
        }
        for (wd, is_record) in stirred {
            let one = self.watched.iter_mut();
            let mut one = one.filter(|one| one.dir == wd || one.freezer == Some(wd));
            if let Some(one) = one.next() {
                one.look(&self.store, &self.inotify, is_record, &mut self.changes);
            }
        }
        if overflow {
            // Nobody knows what was missed: all are looked at again.
            return self.look_for_all();
        }
        for (id, kind) in names {
            let known = self.forget(&id);
            if !self.wants(&id) {
                continue;
            }
            if kind.contains(ReadFlags::CREATE) {
                self.add(id)?;
            } else if !known && kind.contains(ReadFlags::ISDIR) {
                // It came and went before anybody looked.
                self.changes.push_back(Change::deleted(&id));
            }
        }
        Ok(())
    }

    fn wants(&self, id: &Id) -> bool {
        self.wanted.is_empty() || self.wanted.contains(id)
    }

    fn look_for_all(&mut self) -> Result<()> {
        let there = self.store.ids()?;
        let known: Vec<Id> = self.watched.iter().map(|one| one.id.clone()).collect();
        for id in known.iter().filter(|id| !there.contains(id)) {
            self.forget(id);
        }
        for id in there {
            if known.contains(&id) {
                // Another may have its name by now.
                self.forget_silently(&id);
            }
            if self.wants(&id) {
                self.add(id)?;
            }
        }
        Ok(())
    }

    /// The container was deleted. `false` if it was not known.
    fn forget(&mut self, id: &Id) -> bool {
        let watched = self.watched.iter();
        let mut watched = watched.filter(|one| one.dir >= 0 && one.id == *id);
        if let Some(end) = watched.next().and_then(Watched::unseen_end) {
            self.changes.push_back(end);
        }
        let known = self.forget_silently(id);
        if known {
            self.changes.push_back(Change::deleted(id));
        }
        known
    }

    fn forget_silently(&mut self, id: &Id) -> bool {
        let mut watched = self.watched.iter_mut();
        let Some(one) = watched.find(|one| one.dir >= 0 && one.id == *id) else {
            return false;
        };
        for wd in [Some(one.dir), one.freezer].into_iter().flatten() {
            // Gone with what was watched, most often.
            let _ = inotify::remove_watch(&self.inotify, wd);
        }
        (one.dir, one.freezer, one.process) = (-1, None, None);
        true
    }

    fn add(&mut self, id: Id) -> Result<()> {
        let path = self.store.root().join(id.as_str());
        let flags = WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        // First the watch, then the look: nothing is missed in between.
        let dir = match inotify::add_watch(&self.inotify, &path, flags) {
            Ok(dir) => dir,
            // It went away, or is no container.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => {
                return Err(WatchError::System(
                    "watch",
                    path.display().to_string(),
                    errno,
                ));
            }
        };
        let mut one = Watched {
            id,
            dir,
            freezer: None,
            state: None,
            process: None,
            last: None,
        };
        one.look(&self.store, &self.inotify, true, &mut self.changes);
        self.watched.push(one);
        Ok(())
    }
}

impl Watched {
    fn process_ended(&self) -> bool {
        self.dir >= 0 && self.process.is_some()
    }

    /// The end of an init whose container was deleted before the look.
    fn unseen_end(&self) -> Option<Change> {
        let state = self.state.as_ref()?;
        let (pid, init) = self.process.as_ref()?;
        if *pid != state.pid || !wait_end(init, Duration::ZERO) {
            return None;
        }
        Some(Change {
            id: self.id.to_string(),
            status: Some(Status::Stopped),
            pid: 0,
            exit_status: wait::exit_code(state, init.as_fd()),
        })
    }

    /// Asks what the container is, and notes a change. With `again` the record is read anew.
    fn look(
        &mut self,
        store: &Store,
        inotify: &OwnedFd,
        again: bool,
        changes: &mut VecDeque<Change>,
    ) {
        // What cannot be opened or read is being made or removed: there is more to come.
        let Ok(entry) = store.open(&self.id) else {
            return;
        };
        if again || self.state.is_none() {
            let Ok(mut state) = entry.read_state() else {
                return;
            };
            state.template = String::new();
            self.state = Some(state);
        }
        let Some(state) = &self.state else { return };
        if state.pid != 0
            && self.freezer.is_none()
            && let Some(file) = state.cgroup.freezer_file()
        {
            self.freezer = inotify::add_watch(inotify, file, WatchFlags::MODIFY).ok();
        }
        let pid = if state.pid == 0 {
            state.creator
        } else {
            state.pid
        };
        if self.process.as_ref().is_none_or(|(old, _)| *old != pid) {
            let opened = match state.pid {
                0 => Pid::from_raw(pid).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok()),
                _ => open_recorded(state),
            };
            self.process = opened.map(|fd| (pid, fd));
        }
        // The descriptors first, the look after.
        let status = status::of(state, entry.dir());
        let stopped = status == Status::Stopped;
        let init = self.process.as_ref().filter(|(pid, _)| *pid == state.pid);
        let change = Change {
            id: self.id.to_string(),
            status: Some(status),
            pid: if stopped { 0 } else { state.pid },
            exit_status: match stopped {
                true => state
                    .exit_status
                    .or_else(|| wait::exit_code(state, init?.1.as_fd())),
                false => None,
            },
        };
        if stopped {
            // It stays readable for ever.
            self.process = None;
        }
        let is_news = match &self.last {
            Some(last) => last.status != change.status,
            None => true,
        };
        if is_news {
            changes.push_back(change.clone());
            self.last = Some(change);
        }
    }
}
