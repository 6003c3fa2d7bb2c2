//! The state directory: `<root>/<id>/` with `state.json` and, until `start`,
//! `exec.fifo`.
//!
//! Making the directory claims the id. A lock on it (flock(2)) orders verbs on one
//! container; the kernel drops it with its holder, so nobody is ever locked out by
//! the dead. Files are replaced atomically: no verb sees half a state.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{
    Access, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, accessat,
    mknodat, renameat_with,
};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use super::id::Id;
use super::kill::wait_end;
use super::state::State;
use crate::network;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::fd::{ShortLived, write_all};
use crate::sys::process::exit_now;
use crate::sys::{Errno, errno_text, io_errno};

/// The fifo that `start` opens.
pub const FIFO: &CStr = c"exec.fifo";
/// Its name until the container is created.
pub const NEW_FIFO: &CStr = c"exec.fifo.new";
/// The same name, where it only says that the launch is not complete.
const INCOMPLETE: &str = "exec.fifo.new";
/// The directory of the notify socket, which the container sees.
pub const NOTIFY: &CStr = c"notify";
/// The record's name.
pub const STATE_NAME: &CStr = c"state.json";
const STATE: &str = "state.json";
const NEW_STATE: &str = "state.json.new";

/// What can go wrong with the state directory.
#[derive(Debug)]
pub enum StoreError {
    /// The id is taken.
    Exists(String),
    /// There is no such container.
    Missing(String),
    /// The record cannot be read.
    Broken(String, serde_json::Error),
    /// A system call failed on a path.
    Io(&'static str, PathBuf, Errno),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Exists(id) => write!(f, "container with given ID already exists: {id}"),
            StoreError::Missing(id) => write!(
                f,
                "container \"{id}\" does not exist: container does not exist"
            ),
            StoreError::Broken(id, error) => {
                write!(
                    f,
                    "the state of container \"{id}\" cannot be read: {error} (corten delete --force {id} removes it)"
                )
            }
            StoreError::Io(what, path, errno) => {
                write!(
                    f,
                    "cannot {what} {}: {}",
                    path.display(),
                    errno_text(errno.raw_os_error())
                )?;
                match *errno {
                    Errno::ACCESS | Errno::PERM | Errno::ROFS if *what == "make" => f.write_str(
                        ": the state directory has to be one that the caller may write to: \
                         set XDG_RUNTIME_DIR or --root",
                    ),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for StoreError {}

/// The directory of all containers.
pub struct Store {
    root: PathBuf,
}

/// One container's directory.
pub struct Entry {
    dir: OwnedFd,
    path: PathBuf,
    id: Id,
}

impl Store {
    /// The store at a directory, which is made when the first container is.
    pub fn new(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into() }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the directory, if it is not there.
    ///
    /// # Errors
    /// mkdir(2).
    pub fn make_root(&self) -> Result<(), StoreError> {
        make_all(&self.root)
    }

    /// Claims an id: makes its directory and locks it.
    ///
    /// # Errors
    /// [`StoreError::Exists`], or a path that cannot be made.
    pub fn create(&self, id: &Id) -> Result<Entry, StoreError> {
        let path = self.root.join(id.as_str());
        // Others may look up names here (an init in a user namespace opens its fifo).
        let mode = Mode::from_raw_mode(0o711);
        match rustix::fs::mkdirat(CWD, &path, mode) {
            Err(Errno::NOENT) => {
                make_all(&self.root)?;
                rustix::fs::mkdirat(CWD, &path, mode)
            }
            result => result,
        }
        .map_err(|errno| match errno {
            Errno::EXIST => StoreError::Exists(id.to_string()),
            errno => StoreError::Io("make", path.clone(), errno),
        })?;
        let entry = self.open(id).and_then(|entry| {
            entry.lock(false)?;
            Ok(entry)
        });
        if entry.is_err() {
            let _ = rustix::fs::unlinkat(CWD, &path, AtFlags::REMOVEDIR);
        }
        entry
    }

    /// Opens a container's directory without locking it.
    ///
    /// # Errors
    /// [`StoreError::Missing`] or a path that cannot be opened.
    pub fn open(&self, id: &Id) -> Result<Entry, StoreError> {
        let path = self.root.join(id.as_str());
        // What is no directory of its own is no container (as LXC's CVE-2015-1331).
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
            Ok(dir) => Ok(Entry {
                dir,
                path,
                id: id.clone(),
            }),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(StoreError::Missing(id.to_string())),
            Err(errno) => Err(StoreError::Io("open", path, errno)),
        }
    }

    /// The ids of all containers, sorted.
    ///
    /// # Errors
    /// A directory that cannot be read; one that is not there holds no containers.
    pub fn ids(&self) -> Result<Vec<Id>, StoreError> {
        let io = |errno| StoreError::Io("read", self.root.clone(), errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = match rustix::fs::openat(CWD, &self.root, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            result => result.map_err(io)?,
        };
        let mut ids = Vec::new();
        for entry in Dir::read_from(&dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            // Only containers have names that are ids; `.cache` and the like are not looked at.
            if let Ok(Ok(id)) = entry.file_name().to_str().map(Id::new) {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }
}

impl Entry {
    /// The directory.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The container's id.
    pub fn id(&self) -> &Id {
        &self.id
    }

    fn io(&self, what: &'static str, name: &str) -> impl Fn(Errno) -> StoreError {
        let path = self.path.join(name);
        move |errno| StoreError::Io(what, path.clone(), errno)
    }

    /// Takes the lock; `false` if another verb holds it and `wait` is not asked for.
    ///
    /// # Errors
    /// flock(2); [`StoreError::Missing`] if the container went away while waiting.
    pub fn lock(&self, wait: bool) -> Result<bool, StoreError> {
        let operation = if wait {
            FlockOperation::LockExclusive
        } else {
            FlockOperation::NonBlockingLockExclusive
        };
        loop {
            match rustix::fs::flock(&self.dir, operation) {
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(false),
                result => {
                    result.map_err(self.io("lock", ""))?;
                    break;
                }
            }
        }
        // Whoever held the lock may have removed the container.
        if wait && !self.is_there()? {
            return Err(StoreError::Missing(self.id.to_string()));
        }
        Ok(true)
    }

    /// Takes the lock, which another verb holds; `false` if it still does after `patience`.
    ///
    /// # Errors
    /// flock(2), clone3(2); [`StoreError::Missing`] if the container went away while waiting.
    pub fn lock_within(&self, patience: Duration) -> Result<bool, StoreError> {
        // flock(2) knows no time limit. The lock belongs to the open directory, which a child has
        // too, and a child can be ended.
        let own = rustix::process::getpid();
        match clone3(0, None).map_err(self.io("lock", ""))? {
            Cloned::Child => {
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                if rustix::process::getppid() == Some(own) {
                    let exclusive = FlockOperation::LockExclusive;
                    while rustix::fs::flock(&self.dir, exclusive) == Err(Errno::INTR) {}
                }
                exit_now(0)
            }
            Cloned::Parent { pidfd, .. } => {
                wait_end(&pidfd, patience);
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                let child = WaitId::PidFd(pidfd.as_fd());
                while waitid(child.clone(), WaitIdOptions::EXITED).err() == Some(Errno::INTR) {}
            }
        }
        let taken = self.lock(false)?;
        if taken && !self.is_there()? {
            return Err(StoreError::Missing(self.id.to_string()));
        }
        Ok(taken)
    }

    /// Whether the directory has not been removed.
    ///
    /// # Errors
    /// fstat(2).
    pub fn is_there(&self) -> Result<bool, StoreError> {
        let stat = rustix::fs::fstat(&self.dir).map_err(self.io("inspect", ""))?;
        Ok(stat.st_nlink != 0)
    }

    /// Gives the lock back while the directory stays open (`run`, which waits long).
    ///
    /// # Errors
    /// flock(2).
    pub fn unlock(&self) -> Result<(), StoreError> {
        rustix::fs::flock(&self.dir, FlockOperation::Unlock).map_err(self.io("unlock", ""))
    }

    /// Reads the record.
    ///
    /// # Errors
    /// [`StoreError::Broken`], or [`StoreError::Missing`] if there is none yet.
    pub fn read_state(&self) -> Result<State, StoreError> {
        let mut text = Vec::with_capacity(16 * 1024);
        self.read_text(&mut text, false)?;
        let (record, template) = split_template(&text);
        let mut state = self.parse(record)?;
        if let Some(template) = template {
            state.template = String::from_utf8_lossy(template).into_owned();
        }
        Ok(state)
    }

    /// The record without its template, for who only looks: many of them can share one buffer.
    ///
    /// # Errors
    /// As of [`Entry::read_state`].
    pub fn read_summary(&self, buffer: &mut Vec<u8>) -> Result<State, StoreError> {
        buffer.clear();
        buffer.reserve(2048);
        self.read_text(buffer, true)?;
        self.parse(split_template(buffer).0)
    }

    fn parse(&self, record: &[u8]) -> Result<State, StoreError> {
        serde_json::from_slice(record).map_err(|e| StoreError::Broken(self.id.to_string(), e))
    }

    /// Reads the record's file, or its first line alone.
    fn read_text(&self, text: &mut Vec<u8>, first_line: bool) -> Result<(), StoreError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, STATE, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(StoreError::Missing(self.id.to_string())),
            result => result.map_err(self.io("open", STATE))?,
        };
        let file = ShortLived::from(file);
        loop {
            rustix::io::read(&file, rustix::buffer::spare_capacity(text))
                .map_err(self.io("read", STATE))?;
            if text.len() < text.capacity() || first_line && text.contains(&b'\n') {
                // A short read of a regular file is its end.
                return Ok(());
            }
            text.reserve(text.len());
        }
    }

    /// Writes or replaces the record atomically.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write_state(&self, state: &State) -> Result<(), StoreError> {
        self.write_file(NEW_STATE, state)?;
        rustix::fs::renameat(&self.dir, NEW_STATE, &self.dir, STATE)
            .map_err(self.io("replace", STATE))
    }

    fn write_file(&self, name: &str, state: &State) -> Result<(), StoreError> {
        let mut text =
            serde_json::to_vec(state).map_err(|e| StoreError::Broken(self.id.to_string(), e))?;
        if !state.template.is_empty() {
            text.push(b'\n');
            text.extend_from_slice(state.template.as_bytes());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::from_raw_mode(0o600))
            .map_err(self.io("make", name))?;
        let file = ShortLived::from(file);
        write_all(&file, &text).map_err(self.io("write", name))
    }

    /// Whether the launch of the container has not come to its end.
    pub fn is_incomplete(&self, state: &State) -> bool {
        state.pid == 0 || accessat(&self.dir, NEW_FIFO, Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// Marks a launch that makes no fifo (`run`, `restore`) as incomplete: the container is
    /// `creating`, also with an init, until [`Entry::complete`]. Who took it for running could
    /// enter namespaces whose root is the host's still.
    ///
    /// A fifo stands for a program that runs once the init executes it, a file for one that is
    /// brought back.
    ///
    /// # Errors
    /// The mark cannot be made.
    pub fn begin(&self, mark: FileType) -> Result<(), StoreError> {
        let mode = Mode::from_raw_mode(0o600);
        mknodat(&self.dir, INCOMPLETE, mark, mode, 0).map_err(self.io("make", INCOMPLETE))
    }

    /// Takes the mark away: the container runs.
    ///
    /// # Errors
    /// The mark cannot be removed.
    pub fn complete(&self) -> Result<(), StoreError> {
        rustix::fs::unlinkat(&self.dir, INCOMPLETE, AtFlags::empty())
            .map_err(self.io("remove", INCOMPLETE))
    }

    /// Brings network devices back that an incomplete launch has moved, and lets their
    /// namespace go. Once a launch is complete they belong to the container's namespace.
    pub fn undo_devices(&self, state: &State) {
        if state.net_devices.is_empty() {
            return;
        }
        if self.is_incomplete(state) {
            network::restore(self.dir(), &state.net_devices);
        }
        self.release_devices(state);
    }

    /// Lets the namespace go that was held while devices were moved into it.
    pub fn release_devices(&self, state: &State) {
        if !state.net_devices.is_empty() {
            network::release(self.dir(), &self.path);
        }
    }

    /// Removes the directory and all in it.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn remove(&self) -> Result<(), StoreError> {
        // The record goes last but one, so that a removal that is cut short can be repeated.
        for name in [FIFO.to_str(), NEW_FIFO.to_str(), Ok(NEW_STATE), Ok(STATE)]
            .into_iter()
            .flatten()
        {
            match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.io("remove", name)(errno)),
            }
        }
        let remove = || rustix::fs::unlinkat(CWD, &self.path, AtFlags::REMOVEDIR);
        let removed = match remove() {
            // Few containers have it.
            Err(Errno::NOTEMPTY) => remove_tree(self.dir.as_fd(), NOTIFY).and_then(|()| remove()),
            result => result,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.io("remove", "")(errno)),
        }
    }
}

/// The record and, on a line of its own, the template.
fn split_template(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&b| b == b'\n') {
        Some(end) => (&text[..end], text.get(end + 1..)),
        None => (text, None),
    }
}

/// How many directories in one another are held open. The runtime makes one.
const DEEPEST: u32 = 32;

/// Removes a directory and all in it, without following a link: a container may have had it
/// writable.
fn remove_tree(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let top = open_own(parent, name)?;
    let mut lifted = 0;
    loop {
        let before = lifted;
        empty(top.as_fd(), top.as_fd(), DEEPEST, &mut lifted)?;
        if lifted == before {
            break;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Empties a directory. What is too deep in it is lifted into `top` by a new name, a number.
fn empty(
    dir: BorrowedFd<'_>,
    top: BorrowedFd<'_>,
    depth: u32,
    lifted: &mut u64,
) -> Result<(), Errno> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR) if depth > 0 => {
                empty(open_own(dir, name)?.as_fd(), top, depth - 1, lifted)?;
                rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?;
            }
            Err(Errno::ISDIR) => lift(dir, name, top, lifted)?,
            result => result?,
        }
    }
    Ok(())
}

fn lift(
    dir: BorrowedFd<'_>,
    name: &CStr,
    top: BorrowedFd<'_>,
    lifted: &mut u64,
) -> Result<(), Errno> {
    loop {
        *lifted += 1;
        match renameat_with(dir, name, top, lifted.to_string(), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            result => return result,
        }
    }
}

fn open_own(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn make_all(path: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(path).map_err(|error| {
        let errno = io_errno(error);
        StoreError::Io("make", path.to_owned(), errno)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (Store, PathBuf) {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("corten-store-{}-{n}", std::process::id()));
        (Store::new(path.join("deep/root")), path)
    }

    #[test]
    fn an_id_can_be_claimed_once() {
        let (store, path) = store();
        let id = Id::new("a").unwrap();
        let entry = store.create(&id).unwrap();
        assert!(matches!(store.create(&id), Err(StoreError::Exists(_))));
        assert_eq!(store.ids().unwrap(), std::slice::from_ref(&id));
        entry.remove().unwrap();
        assert!(matches!(store.open(&id), Err(StoreError::Missing(_))));
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn the_lock_excludes_and_ends_with_its_holder() {
        let (store, path) = store();
        let id = Id::new("a").unwrap();
        let first = store.create(&id).unwrap();
        let second = store.open(&id).unwrap();
        assert!(!second.lock(false).unwrap());
        drop(first);
        assert!(second.lock(false).unwrap());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_store_that_is_not_there_holds_nothing() {
        let (store, _) = store();
        assert_eq!(store.ids().unwrap(), []);
    }

    #[test]
    fn a_summary_is_the_record_without_the_template_however_long_both_are() {
        let (store, path) = store();
        let entry = store.create(&Id::new("a").unwrap()).unwrap();
        let mut buffer = Vec::new();
        for (note, template) in [(0, 0), (10, 9000), (1800, 0), (5000, 7), (70_000, 70_000)] {
            let mut state: State = serde_json::from_value(serde_json::json!({
                "ociVersion": "1.3.0", "id": "a", "pid": 1, "startTime": 2, "creator": 3,
                "bundle": "/b", "rootfs": "/r", "created": "c", "owner": 0,
                "annotations": {"note": "n".repeat(note)},
                "cgroup": {"root": "", "path": "", "directories": []}, "ownPidNamespace": true,
            }))
            .unwrap();
            state.template = "t".repeat(template);
            entry.write_state(&state).unwrap();
            assert_eq!(entry.read_state().unwrap(), state);
            state.template.clear();
            assert_eq!(entry.read_summary(&mut buffer).unwrap(), state);
        }
        std::fs::remove_dir_all(path).unwrap();
    }
}
