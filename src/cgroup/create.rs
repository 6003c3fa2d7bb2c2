//! Making a container's cgroup.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::record::{Record, parent};
use super::systemd::Systemd;
use super::{CgroupError, Cgroupfs, file, levels, members};
use crate::plan::cgroup::{CgroupPlan, Directory, Phase, Version};
use crate::sys::fd::ShortLived;

/// How often a level above is made again after somebody else's delete took it away.
const RACES: u32 = 10;

/// A container's cgroup, opened, with what a process needs to join it.
#[derive(Debug)]
pub struct Cgroup {
    pub(super) root: ShortLived,
    pub(super) record: Record,
    /// Each directory of the plan, from `root`.
    pub(super) directories: Vec<String>,
    /// Whether all of them are new.
    pub(super) fresh: bool,
    tasks: Vec<ShortLived>,
    /// The directory of each of `tasks`.
    joined: Vec<usize>,
    pub(super) v2: Option<ShortLived>,
    /// The systemd that is still to make its part.
    pub(super) systemd: Mutex<Option<Systemd>>,
}

impl Cgroupfs {
    /// Makes the directories of `plan`, writes what has to be there before a process joins, and
    /// opens what it takes to join. `record` is what [`Cgroupfs::intend`] said.
    ///
    /// # Errors
    /// The kernel refuses, or a directory exists that is in use. What was made is removed again.
    pub fn create(self, plan: &CgroupPlan, record: Record) -> Result<Cgroup, CgroupError> {
        let mut cgroup = Cgroup::new(self.root, record, true);
        cgroup.systemd = Mutex::new(self.systemd);
        let mut made = Vec::with_capacity(plan.directories.len());
        match cgroup.make(plan, &mut made) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                for path in made.iter().rev() {
                    // The error that is on its way says more than one of tidying up.
                    let _ = rustix::fs::unlinkat(&cgroup.root, path.as_str(), AtFlags::REMOVEDIR);
                }
                Err(error)
            }
        }
    }
}

/// Whether a level vanished on the way: the name is gone (`ENOENT`), or the file was opened just
/// before its cgroup was removed (`ENODEV`, kernfs).
fn is_gone(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::NOENT | Errno::NODEV))
}

impl Cgroup {
    pub(super) fn new(root: ShortLived, record: Record, fresh: bool) -> Cgroup {
        let directories: Vec<String> = record
            .directories
            .iter()
            .map(|directory| record.relative(directory))
            .collect();
        let tasks = Vec::with_capacity(directories.len());
        Cgroup {
            root,
            record,
            fresh,
            tasks,
            joined: Vec::with_capacity(directories.len()),
            directories,
            v2: None,
            systemd: Mutex::new(None),
        }
    }

    /// What later verbs need to know: the record given to `create`, corrected if the hierarchies
    /// turned out to differ in which levels above exist.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The `tasks` files of cgroup v1: the init joins by writing `0` into each. It writes itself
    /// because a write of a pid by somebody else waits for an RCU grace period.
    pub fn tasks_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.tasks.iter().map(AsFd::as_fd)
    }

    /// The directory of cgroup v2, for `CLONE_INTO_CGROUP`, if the container has one.
    pub fn clone_into_fd(&self) -> Option<BorrowedFd<'_>> {
        self.v2.as_ref().map(AsFd::as_fd)
    }

    /// Joins the v1 hierarchies; to be called by the init. Allocates nothing.
    ///
    /// # Errors
    /// The index of the hierarchy that refused, for [`Cgroup::join_error`] on the parent's side,
    /// and why.
    pub fn join(&self) -> Result<(), (usize, Errno)> {
        for (index, tasks) in self.tasks.iter().enumerate() {
            file::write_to(tasks.as_fd(), "0").map_err(|errno| (index, errno))?;
        }
        Ok(())
    }

    /// Says what it means that [`Cgroup::join`] failed.
    pub fn join_error(&self, index: usize, errno: Errno) -> CgroupError {
        let directory = self
            .joined
            .get(index)
            .map(|index| self.record.absolute(&self.record.directories[*index]));
        let error = CgroupError::write(directory.unwrap_or_default() + "/tasks", "0", errno);
        match errno {
            Errno::NOSPC => error.hint("the cpuset has no CPU or no memory node"),
            Errno::INVAL => error.hint("a real-time process cannot join without real-time runtime"),
            _ => error,
        }
    }

    /// Says what it means that the init could not be made, if the reason is the v2 cgroup that it
    /// starts in (clone(2), `CLONE_INTO_CGROUP`).
    pub fn clone_error(&self, errno: Errno) -> Option<CgroupError> {
        let directory = self.record.on_v2()?;
        let top = match directory.hierarchy.as_str() {
            "" => self.record.root.clone(),
            hierarchy => format!("{}/{hierarchy}", self.record.root),
        };
        let (pointer, hint) = match errno {
            Errno::BUSY => (
                "/linux/cgroupsPath",
                "cgroups beneath it have controllers, and cgroup v2 wants processes in the leaves"
                    .to_owned(),
            ),
            Errno::OPNOTSUPP => (
                "/linux/cgroupsPath",
                levels::why_invalid(&top, &self.record.path)?,
            ),
            Errno::AGAIN => (
                "/linux/resources/pids/limit",
                levels::why_full(&top, &self.record.path)?,
            ),
            _ => return None,
        };
        let directory = self.record.absolute(directory);
        let error = CgroupError::kernel("start a process in", directory, errno);
        Some(error.at(pointer).hint(hint))
    }

    /// A path from the root, for messages.
    pub(super) fn shown(&self, path: &str) -> String {
        format!("{}/{path}", self.record.root)
    }

    fn make(&mut self, plan: &CgroupPlan, made: &mut Vec<String>) -> Result<(), CgroupError> {
        for (index, directory) in plan.directories.iter().enumerate() {
            if self.record.is_systemds(&self.record.directories[index]) {
                continue;
            }
            let before = made.len();
            let path = self.directories[index].clone();
            let exists = !self.make_directory(directory, &path, made)?;
            let levels = made.len() - before - usize::from(!exists);
            let record = &mut self.record.directories[index];
            record.levels = record.levels.max(levels);
            if exists {
                self.fresh = false;
                members::refuse_used(&self.record, &self.record.directories[index])?;
            }
            if directory.cpuset {
                self.fill_cpuset(index, plan)?;
            }
            self.open(index, &path, directory.version)?;
        }
        self.hand_over(plan)?;
        self.write_all(plan, Phase::BeforeJoin)?;
        self.start_slice(plan)
    }

    /// Makes a directory, and the levels above it where they are missing; whether it is new.
    pub(super) fn make_directory(
        &self,
        directory: &Directory,
        path: &str,
        made: &mut Vec<String>,
    ) -> Result<bool, CgroupError> {
        let mut attempt = 0;
        loop {
            match self.try_make_directory(directory, path, attempt, made) {
                Err(error) if is_gone(error.errno()) && attempt < RACES => attempt += 1,
                result => return result,
            }
        }
    }

    fn try_make_directory(
        &self,
        directory: &Directory,
        path: &str,
        attempt: u32,
        made: &mut Vec<String>,
    ) -> Result<bool, CgroupError> {
        let root = self.root.as_fd();
        // Most often the levels are there; only v2 has something to do with them then.
        if directory.version == Version::V2 || attempt > 0 {
            let Directory {
                hierarchy,
                controllers,
                ..
            } = directory;
            levels::prepare(root, &self.record.root, hierarchy, path, controllers, made)?;
        }
        match levels::mkdir(root, path, made) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(levels::not_made(self.shown(path), errno)),
        }
    }

    pub(super) fn open(
        &mut self,
        index: usize,
        path: &str,
        version: Version,
    ) -> Result<(), CgroupError> {
        let open = |path: &str, flags: OFlags| {
            rustix::fs::openat(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| CgroupError::kernel("open", self.shown(path), errno))
        };
        match version {
            Version::V1 => {
                let tasks = open(&format!("{path}/tasks"), OFlags::WRONLY)?;
                self.tasks.push(tasks.into());
                self.joined.push(index);
            }
            Version::V2 => self.v2 = Some(open(path, OFlags::PATH | OFlags::DIRECTORY)?.into()),
        }
        Ok(())
    }

    /// Gives a v1 cpuset the CPUs and memory nodes of the level above: a new one has none, and no
    /// task can join it.
    fn fill_cpuset(&self, index: usize, plan: &CgroupPlan) -> Result<(), CgroupError> {
        let hierarchy = &plan.directories[index].hierarchy;
        let path = &self.directories[index];
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let given = plan
                .writes
                .iter()
                .any(|w| w.directory == index && w.file == file);
            if given && parent(path) == hierarchy {
                continue;
            }
            if !self.fresh && !self.read(path, file)?.is_empty() {
                continue;
            }
            let value = self.inherited(parent(path), hierarchy, file)?;
            if !given {
                self.write_plain(path, file, &value)?;
            }
        }
        Ok(())
    }

    /// The value of a cpuset file of a level, which gets it from the level above if it has none.
    fn inherited(&self, level: &str, hierarchy: &str, file: &str) -> Result<String, CgroupError> {
        let value = self.read(level, file)?;
        if !value.is_empty() || level == hierarchy {
            return Ok(value);
        }
        let value = self.inherited(parent(level), hierarchy, file)?;
        self.write_plain(level, file, &value)?;
        Ok(value)
    }

    fn read(&self, directory: &str, file: &str) -> Result<String, CgroupError> {
        let path = format!("{directory}/{file}");
        file::read(self.root.as_fd(), &path)
            .map_err(|errno| CgroupError::kernel("read", self.shown(&path), errno))
    }

    fn write_plain(&self, directory: &str, file: &str, value: &str) -> Result<(), CgroupError> {
        let path = format!("{directory}/{file}");
        file::write(self.root.as_fd(), &path, value)
            .map_err(|errno| CgroupError::write(self.shown(&path), value, errno))
    }
}
