//! Removing a container's cgroup.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::freeze::give_way;
use super::kill::{kill_tree, wait_empty};
use super::record::{Directory, parent};
use super::{CgroupError, Record, members, tree};

/// How long v1 may take to let go of a cgroup in which nobody is seen.
const MOMENT: Duration = Duration::from_secs(3);

impl Record {
    /// Removes the cgroup with everything in it: processes are killed, cgroups that the container
    /// made beneath its own are removed, and so are levels above that were made for it, once
    /// nobody else uses them. The unit is stopped, if systemd made it. What is gone already is no
    /// error.
    ///
    /// # Errors
    /// A directory still cannot be removed after `patience`; the error names it, the processes in
    /// it and what they wait for. systemd does not let go of its unit. What is left can be removed
    /// later.
    pub fn remove(&self, patience: Duration) -> Result<(), CgroupError> {
        let began = Instant::now();
        let deadline = began + patience;
        for directory in &self.directories {
            let path = self.absolute(directory);
            match rmdir(&path) {
                Ok(()) => {}
                Err(Errno::BUSY | Errno::NOTEMPTY) => {
                    self.empty(directory, &path, began, deadline)?;
                }
                Err(errno) => return Err(CgroupError::kernel("remove", path, errno)),
            }
            let mut level = parent(&path);
            for _ in 0..directory.levels {
                if rmdir(level).is_err() {
                    break;
                }
                level = parent(level);
            }
        }
        match &self.unit {
            // A systemd that is busy takes longer than an `rmdir`, as at the start.
            Some(unit) => unit.remove(),
            None => Ok(()),
        }
    }

    /// Kills what is in a directory, removes what is beneath it, and then the directory itself.
    fn empty(
        &self,
        directory: &Directory,
        path: &str,
        began: Instant,
        deadline: Instant,
    ) -> Result<(), CgroupError> {
        let mut tries = 0;
        let mut alone_since = None;
        loop {
            let found = members::find(path)?;
            if found.is_any() {
                alone_since = None;
                let freezer = self.freezer() == Some(directory);
                kill_tree(path, directory.v2, freezer, libc::SIGKILL)?;
                // Who is frozen here may be so by the freezer's hierarchy.
                if !freezer {
                    self.kill_all(libc::SIGKILL)?;
                }
                if !wait_empty(path, directory.v2, deadline)? {
                    return Err(self.in_use(path, began));
                }
            }
            if rmdir_tree(path, deadline)? {
                return Ok(());
            }
            // The last process is dead and still on its way out of the kernel's list, for
            // microseconds; no event of v1 tells when it is off. Whoever stays longer is out of
            // sight: v1 leaves out of the list whom this pid namespace does not have.
            let since = *alone_since.get_or_insert_with(Instant::now);
            if Instant::now() >= deadline || !directory.v2 && since.elapsed() >= MOMENT {
                return Err(self.in_use(path, began));
            }
            give_way(tries);
            tries += 1;
        }
    }

    fn in_use(&self, path: &str, began: Instant) -> CgroupError {
        let found = members::find(path).unwrap_or_default();
        let mut who = self.why_all_stuck(&found.pids);
        if who.is_empty() {
            who = "a process that this pid namespace does not show".to_owned();
        }
        let state = format!("still busy after {} s: {who}", began.elapsed().as_secs());
        let busy = found.first.unwrap_or_else(|| path.to_owned());
        CgroupError::state("remove", busy, state)
    }
}

/// Removes `path` and all beneath it; `false` if some of it is in use. Past the deadline no more
/// is removed.
///
/// # Errors
/// The time is up, or the kernel refuses.
pub(super) fn rmdir_tree(path: &str, deadline: Instant) -> Result<bool, CgroupError> {
    let mut removal = Removal {
        deadline,
        busy: false,
    };
    tree::walk(path, &mut removal)?;
    removal.remove(CWD, path, path)?;
    Ok(!removal.busy)
}

struct Removal {
    deadline: Instant,
    /// Whether one could not be removed.
    busy: bool,
}

impl Removal {
    fn remove(
        &mut self,
        above: BorrowedFd,
        name: impl rustix::path::Arg,
        shown: &str,
    ) -> Result<(), CgroupError> {
        match rmdir_at(above, name) {
            Ok(()) => {}
            Err(Errno::BUSY | Errno::NOTEMPTY) => self.busy = true,
            Err(errno) => return Err(CgroupError::kernel("remove", shown, errno)),
        }
        Ok(())
    }
}

impl tree::Visitor for Removal {
    fn leave(&mut self, above: BorrowedFd, name: &CStr, shown: &str) -> Result<(), CgroupError> {
        if Instant::now() >= self.deadline {
            let state = "there is more beneath it than can be removed in the time";
            return Err(CgroupError::state("remove", shown, state).hint("repeat it to go on"));
        }
        self.remove(above, name, shown)
    }
}

/// Removes a directory; one that is not there counts as removed.
fn rmdir(path: &str) -> Result<(), Errno> {
    match rmdir_at(CWD, path) {
        // A read-only mount says so before it looks whether there is anything.
        Err(Errno::ROFS) if rustix::fs::stat(path).err() == Some(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn rmdir_at(above: BorrowedFd, name: impl rustix::path::Arg) -> Result<(), Errno> {
    match rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
