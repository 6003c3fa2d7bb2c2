//! The levels above a cgroup: making them, and enabling the controllers of v2 on them.

use std::os::fd::BorrowedFd;

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;

use super::CgroupError;
use super::file;
use super::record::parent;
use crate::plan::cgroup::Controller;

/// Makes the levels above the directory `path` where they are missing, and enables `controllers`
/// on each of them; `made` learns of those that were made.
///
/// `hierarchy` is the directory of the hierarchy's root, both are relative to `root`, whose name
/// for messages is `shown`.
pub(super) fn prepare(
    root: BorrowedFd,
    shown: &str,
    hierarchy: &str,
    path: &str,
    controllers: &[Controller],
    made: &mut Vec<String>,
) -> Result<(), CgroupError> {
    let mut levels = Vec::new();
    let mut level = path;
    while level != hierarchy {
        level = parent(level);
        levels.push(level);
    }
    for level in levels.into_iter().rev() {
        if controllers.is_empty() {
            if level != hierarchy {
                make(root, shown, level, made)?;
            }
            continue;
        }
        let file = join(level, "cgroup.subtree_control");
        let enabled = match file::read(root, &file) {
            Err(Errno::NOENT) if level != hierarchy => {
                make(root, shown, level, made)?;
                file::read(root, &file)
            }
            other => other,
        };
        let file = Level { root, shown, file };
        let enabled = enabled.map_err(|errno| CgroupError::kernel("read", file.shown(), errno))?;
        file.enable(&enabled, controllers)?;
    }
    Ok(())
}

fn make(
    root: BorrowedFd,
    shown: &str,
    level: &str,
    made: &mut Vec<String>,
) -> Result<(), CgroupError> {
    match mkdir(root, level, made) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(not_made(format!("{shown}/{level}"), errno)),
    }
}

/// Says that a directory could not be made.
pub(super) fn not_made(path: String, errno: Errno) -> CgroupError {
    let error = CgroupError::kernel("create", path, errno).at("/linux/cgroupsPath");
    match errno {
        Errno::ROFS => error.hint(
            "cgroups are mounted read-only here, as in a container that may make none: \
             --cgroup-manager=disabled runs containers without cgroups",
        ),
        _ => error,
    }
}

/// Makes a directory and notes that it was made.
pub(super) fn mkdir(root: BorrowedFd, path: &str, made: &mut Vec<String>) -> Result<(), Errno> {
    rustix::fs::mkdirat(root, path, Mode::from_raw_mode(0o755))?;
    // A level that somebody else's delete took away is made a second time.
    if !made.iter().any(|known| known == path) {
        made.push(path.to_owned());
    }
    Ok(())
}

fn join(directory: &str, name: &str) -> String {
    match directory {
        "" => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}

/// The `cgroup.subtree_control` of one level.
struct Level<'r> {
    root: BorrowedFd<'r>,
    shown: &'r str,
    file: String,
}

impl Level<'_> {
    fn shown(&self) -> String {
        format!("{}/{}", self.shown, self.file)
    }

    fn enable(&self, enabled: &str, controllers: &[Controller]) -> Result<(), CgroupError> {
        let is_missing = |c: &&Controller| enabled.split(' ').all(|name| name != c.name);
        let missing: Vec<&Controller> = controllers.iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let all: Vec<String> = missing.iter().map(|c| format!("+{}", c.name)).collect();
        let unfit = self.unfit();
        if unfit.is_none() && file::write(self.root, &self.file, &all.join(" ")).is_ok() {
            return Ok(());
        }
        // One that cannot be had spoils the whole write: each gets its own chance.
        for (controller, value) in missing.iter().zip(&all) {
            let written = match &unfit {
                Some((errno, _)) => Err(*errno),
                None => file::write(self.root, &self.file, value),
            };
            let (Err(errno), Some(pointer)) = (written, &controller.needed_by) else {
                continue;
            };
            let error = CgroupError::write(self.shown(), value, errno).at(pointer);
            return Err(match (errno, &unfit) {
                (_, Some((_, reason))) => error.hint(reason.clone()),
                (Errno::NOENT, _) => error.hint("the controller is not enabled in the level above"),
                _ => error,
            });
        }
        Ok(())
    }

    /// Why no controllers should be enabled here (cgroup-v2.rst, "No Internal Process Constraint"
    /// and "Threads"). The kernel itself refuses only those that do not know threads; one of the
    /// others would turn this cgroup into one of threads, and no process could be
    /// started beneath it any more.
    fn unfit(&self) -> Option<(Errno, String)> {
        let level = parent(&self.file);
        // The root of the whole hierarchy has no type: nothing is forbidden there.
        let kind = file::read(self.root, &join(level, "cgroup.type")).ok()?;
        if kind != "domain" {
            return Some((Errno::OPNOTSUPP, threaded(&kind)));
        }
        match file::read(self.root, &join(level, "cgroup.procs")) {
            Ok(members) if !members.is_empty() => Some((Errno::BUSY, POPULATED.to_owned())),
            _ => None,
        }
    }
}

const POPULATED: &str = "there are processes in this cgroup itself, and cgroup v2 wants them in its leaves: \
    move them to a cgroup beneath it first, or choose another linux.cgroupsPath";

fn threaded(kind: &str) -> String {
    format!(
        "what is beneath it is for threads, not for processes (its cgroup.type is {kind}): \
         choose another linux.cgroupsPath"
    )
}

/// Why no process can be started in the v2 cgroup `path`, if it is because of the threads of one
/// that it is beneath: from `top` down, where the hierarchy is mounted.
pub(super) fn why_invalid(top: &str, path: &str) -> Option<String> {
    let mut level = top.to_owned();
    for name in path.split('/') {
        if let Ok(kind) = file::read(CWD, &join(&level, "cgroup.type"))
            && kind != "domain"
        {
            return Some(format!("{level} is above it, and {}", threaded(&kind)));
        }
        level = join(&level, name);
    }
    None
}

/// Which limit of tasks keeps a process from being started in the v2 cgroup `path`: its own, or of
/// a level above.
pub(super) fn why_full(top: &str, path: &str) -> Option<String> {
    let mut level = top.to_owned();
    for name in path.split('/') {
        level = join(&level, name);
        let number = |file| {
            file::read(CWD, &join(&level, file))
                .ok()?
                .parse::<u64>()
                .ok()
        };
        if let (Some(max), Some(current)) = (number("pids.max"), number("pids.current"))
            && current >= max
        {
            return Some(format!(
                "pids.max of {level} is {max}, and {current} tasks are in it and beneath it"
            ));
        }
    }
    None
}
