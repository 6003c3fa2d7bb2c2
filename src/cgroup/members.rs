//! Which processes are in a cgroup and in those beneath it.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::record::Directory;
use super::{CgroupError, Record, file, freeze, tree};

impl Record {
    /// The processes in the cgroup and in all beneath it, as pids of the caller's namespace.
    ///
    /// # Errors
    /// A directory exists and cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>, CgroupError> {
        match self.reference() {
            Some(directory) => of_tree(&self.absolute(directory)),
            None => Ok(Vec::new()),
        }
    }
}

/// The processes in `directory` and all directories beneath it. One that vanishes has none.
pub(super) fn of_tree(directory: &str) -> Result<Vec<u32>, CgroupError> {
    find(directory).map(|members| members.pids)
}

/// The same with what else there is to know.
pub(super) fn find(directory: &str) -> Result<Members, CgroupError> {
    let mut members = Members::default();
    tree::walk(directory, &mut members)?;
    Ok(members)
}

/// Who is in a cgroup and beneath it.
#[derive(Default)]
pub(super) struct Members {
    /// Those that the caller's pid namespace shows.
    pub(super) pids: Vec<u32>,
    /// A directory that is not empty, if there is one.
    pub(super) first: Option<String>,
}

impl Members {
    /// Whether there is any process, shown or not.
    pub(super) fn is_any(&self) -> bool {
        self.first.is_some()
    }
}

impl tree::Visitor for Members {
    fn enter(&mut self, directory: BorrowedFd, shown: &str) -> Result<(), CgroupError> {
        let text = match file::read_all(directory, "cgroup.procs") {
            // A threaded cgroup has no processes to show (cgroup-v2.rst, "Threads").
            Err(Errno::OPNOTSUPP) => file::read_all(directory, "cgroup.threads"),
            other => other,
        };
        match text {
            Ok(text) => {
                if !text.is_empty() && self.first.is_none() {
                    self.first = Some(shown.to_owned());
                }
                // 0 stands for a process that this pid namespace cannot see.
                self.pids.extend(
                    text.lines()
                        .filter_map(|line| line.parse::<u32>().ok())
                        .filter(|pid| *pid != 0),
                );
                Ok(())
            }
            Err(errno) if tree::is_gone(errno) => Ok(()),
            Err(errno) => Err(CgroupError::kernel("read the processes of", shown, errno)),
        }
    }
}

/// Refuses a directory that was there before and has processes in it or is frozen: the container
/// would share its limits with strangers, or never start.
pub(super) fn refuse_used(record: &Record, directory: &Directory) -> Result<(), CgroupError> {
    let path = record.absolute(directory);
    let count = of_tree(&path)?.len();
    if count != 0 {
        let state = format!("container's cgroup is not empty: {count} process(es) found");
        return Err(CgroupError::state("use", path, state).at("/linux/cgroupsPath"));
    }
    if freeze::is_frozen(&path, directory.v2) {
        let state = "container's cgroup unexpectedly frozen";
        return Err(CgroupError::state("use", path, state).at("/linux/cgroupsPath"));
    }
    Ok(())
}
