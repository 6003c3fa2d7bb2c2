//! Removing a container's cgroup.

use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::freeze::give_way;
use super::kill::{kill_tree, wait_empty};
use super::record::{Directory, parent};
use super::{CgroupError, Record, members};

/// Members that an error names.
const NAMED_PIDS: usize = 8;

impl Record {
    /// Removes the cgroup with everything in it: processes are killed, cgroups that the container
    /// made beneath its own are removed, and so are levels above that were made for it, once
    /// nobody else uses them. The unit is stopped, if systemd made it. What is gone already is no
    /// error.
    ///
    /// # Errors
    /// A directory still cannot be removed after `patience`; the error names it and the processes
    /// in it.
    pub fn remove(&self, patience: Duration) -> Result<(), CgroupError> {
        let deadline = Instant::now() + patience;
        for directory in &self.directories {
            let path = self.absolute(directory);
            match rmdir(&path) {
                Ok(()) => {}
                Err(Errno::BUSY | Errno::NOTEMPTY) => self.empty(directory, &path, deadline)?,
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
            Some(unit) => unit.remove(deadline),
            None => Ok(()),
        }
    }

    /// Kills what is in a directory, removes what is beneath it, and then the directory itself.
    fn empty(
        &self,
        directory: &Directory,
        path: &str,
        deadline: Instant,
    ) -> Result<(), CgroupError> {
        let mut tries = 0;
        loop {
            if !members::of_tree(path)?.is_empty() {
                let freezer = self.freezer() == Some(directory);
                kill_tree(path, directory.v2, freezer, libc::SIGKILL)?;
                // Who is frozen here may be so by the freezer's hierarchy.
                if !freezer {
                    self.kill_all(libc::SIGKILL)?;
                }
                wait_empty(path, directory.v2, deadline)?;
            }
            let busy = match rmdir_tree(path)? {
                None => return Ok(()),
                Some(busy) => busy,
            };
            if Instant::now() >= deadline {
                return Err(in_use(busy));
            }
            // The last process is dead and still on its way out of the kernel's list; no event
            // tells when it is off. This lasts for microseconds.
            give_way(tries);
            tries += 1;
        }
    }
}

/// Removes `path` and all beneath it, or gives the first directory that is busy.
pub(super) fn rmdir_tree(path: &str) -> Result<Option<String>, CgroupError> {
    for directory in members::tree(path)?.into_iter().rev() {
        match rmdir(&directory) {
            Ok(()) => {}
            Err(Errno::BUSY | Errno::NOTEMPTY) => return Ok(Some(directory)),
            Err(errno) => return Err(CgroupError::kernel("remove", directory, errno)),
        }
    }
    Ok(None)
}

/// Removes a directory; one that is not there counts as removed.
fn rmdir(path: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        // A read-only mount says so before it looks whether there is anything.
        Err(Errno::ROFS) if rustix::fs::stat(path).err() == Some(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn in_use(directory: String) -> CgroupError {
    let pids = members::of_tree(&directory).unwrap_or_default();
    let mut named: Vec<String> = pids.iter().take(NAMED_PIDS).map(u32::to_string).collect();
    if pids.len() > NAMED_PIDS {
        named.push(format!("and {} more", pids.len() - NAMED_PIDS));
    }
    let error = CgroupError::kernel("remove", directory, Errno::BUSY);
    match named.is_empty() {
        true => error,
        false => error.hint(format!(
            "these processes in it do not end: {}",
            named.join(", ")
        )),
    }
}
