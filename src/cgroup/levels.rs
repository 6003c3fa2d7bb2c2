//! The levels above a cgroup: making them, and enabling the controllers of v2 on them.

use std::os::fd::BorrowedFd;

use rustix::fs::Mode;
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
        Err(errno) => {
            let error = CgroupError::kernel("create", format!("{shown}/{level}"), errno);
            Err(error.at("/linux/cgroupsPath"))
        }
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
        if file::write(self.root, &self.file, &all.join(" ")).is_ok() {
            return Ok(());
        }
        // One that cannot be had spoils the whole write: each gets its own chance.
        for (controller, value) in missing.iter().zip(&all) {
            let (Err(errno), Some(pointer)) = (
                file::write(self.root, &self.file, value),
                &controller.needed_by,
            ) else {
                continue;
            };
            let error = CgroupError::write(self.shown(), value, errno).at(pointer);
            return Err(match errno {
                Errno::BUSY => error.hint(
                    "there are processes in this cgroup itself, and cgroup v2 wants them in its leaves",
                ),
                Errno::NOENT => error.hint("the controller is not enabled in the level above"),
                _ => error,
            });
        }
        Ok(())
    }
}
