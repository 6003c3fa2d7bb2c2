//! Which processes are in a cgroup and in those beneath it.

use rustix::fs::CWD;
use rustix::io::Errno;

use super::file;
use super::freeze;
use super::record::Directory;
use super::{CgroupError, Record};

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
    let mut pids = Vec::new();
    for directory in tree(directory)? {
        add(&directory, &mut pids)
            .map_err(|errno| CgroupError::kernel("read the processes of", directory, errno))?;
    }
    Ok(pids)
}

/// `directory` and all beneath it: a directory stands before those that are in it.
pub(super) fn tree(directory: &str) -> Result<Vec<String>, CgroupError> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while next < found.len() {
        let children = children(&found[next])
            .map_err(|errno| CgroupError::kernel("list", found[next].clone(), errno))?;
        found.extend(children);
        next += 1;
    }
    Ok(found)
}

fn children(directory: &str) -> Result<Vec<String>, Errno> {
    let is_gone = |errno: &Errno| *errno == Errno::NOENT || *errno == Errno::NODEV;
    match rustix::fs::stat(directory) {
        // kernfs counts subdirectories as links, beside "." and the entry above.
        Ok(stat) if stat.st_nlink <= 2 => return Ok(Vec::new()),
        Ok(_) => {}
        Err(errno) if is_gone(&errno) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    }
    let as_errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let entries = match std::fs::read_dir(directory).map_err(as_errno) {
        Ok(entries) => entries,
        Err(errno) if is_gone(&errno) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let mut children = Vec::new();
    for entry in entries {
        let entry = entry.map_err(as_errno)?;
        if entry.file_type().map_err(as_errno)?.is_dir() {
            children.push(format!(
                "{directory}/{}",
                entry.file_name().to_string_lossy()
            ));
        }
    }
    Ok(children)
}

fn add(directory: &str, pids: &mut Vec<u32>) -> Result<(), Errno> {
    let text = match file::read_all(CWD, &format!("{directory}/cgroup.procs")) {
        // A threaded cgroup has no processes to show (cgroup-v2.rst, "Threads").
        Err(Errno::OPNOTSUPP) => file::read_all(CWD, &format!("{directory}/cgroup.threads")),
        other => other,
    };
    match text {
        Ok(text) => {
            // 0 stands for a process that this pid namespace cannot see.
            pids.extend(
                text.lines()
                    .filter_map(|line| line.parse::<u32>().ok())
                    .filter(|pid| *pid != 0),
            );
            Ok(())
        }
        Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        Err(errno) => Err(errno),
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
