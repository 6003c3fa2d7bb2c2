//! Opening the cgroup of a container that runs: for a further process, or for new limits.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use super::{Cgroup, CgroupError, Record, file};
use crate::plan::cgroup::Version;

impl Record {
    /// Opens the cgroup of a container that runs, for a further process to join it or for new
    /// limits; the plan of those has to have the directories of the one that made it.
    ///
    /// # Errors
    /// A directory is gone or cannot be opened.
    pub fn open(&self) -> Result<Cgroup, CgroupError> {
        self.open_beneath(&[])
    }

    /// The same for cgroups beneath it (`exec --cgroup`), which exist already.
    ///
    /// # Errors
    /// As [`Record::open`]; a path that leaves the container's cgroup, a controller that is
    /// not there.
    pub fn open_beneath(&self, beneath: &[Beneath]) -> Result<Cgroup, CgroupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, self.root.as_str(), flags, Mode::empty())
            .map_err(|errno| CgroupError::kernel("open", self.root.as_str(), errno))?;
        let mut cgroup = Cgroup::new(root.into(), self.clone(), false);
        for (index, directory) in self.directories.iter().enumerate() {
            let version = if directory.v2 {
                Version::V2
            } else {
                Version::V1
            };
            let path = cgroup.directories[index].clone() + &path_of(beneath, &directory.hierarchy);
            cgroup.open(index, &path, version)?;
        }
        Ok(cgroup)
    }

    /// Opens the cgroup v2 directory that a process of the container is in: a container
    /// that has made cgroups of its own may have left none to join in the one it got.
    ///
    /// # Errors
    /// The process has ended or left the container's cgroup, or there is no cgroup v2.
    pub fn open_where(&self, pid: i32) -> Result<OwnedFd, CgroupError> {
        let beneath = self.place_beneath(pid)?;
        let path = match self.on_v2() {
            Some(v2) => self.absolute(v2) + &beneath,
            None => beneath,
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path.as_str(), flags, Mode::empty())
            .map_err(|errno| CgroupError::kernel("open", path, errno))
    }

    /// Has systemd put a process where [`Record::open_beneath`] leads to; without a place
    /// beneath it into the container's cgroup or, where that takes none, to the process `first`.
    ///
    /// # Errors
    /// systemd cannot be reached, or refuses it.
    pub fn attach_by_systemd(
        &self,
        beneath: &[Beneath],
        first: i32,
        pid: Pid,
    ) -> Result<(), CgroupError> {
        let place = path_of(beneath, "");
        let refused = match self.ask_to_attach(&place, pid) {
            Err(refused) if beneath.is_empty() => refused,
            result => return result,
        };
        match self.place_beneath(first) {
            Ok(place) if !place.is_empty() => self.ask_to_attach(&place, pid),
            _ => Err(refused),
        }
    }

    /// Where beneath the container's cgroup v2 one of its processes is: empty, or with a slash at
    /// its beginning.
    fn place_beneath(&self, pid: i32) -> Result<String, CgroupError> {
        let list = format!("/proc/{pid}/cgroup");
        let text = file::read_all(CWD, &list)
            .map_err(|errno| CgroupError::kernel("read", list.clone(), errno))?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"));
        let (Some(_), Some(path)) = (self.on_v2(), path) else {
            return Err(CgroupError::kernel(
                "find the cgroup in",
                list,
                Errno::NOENT,
            ));
        };
        let beneath = path.strip_prefix(&self.path());
        match beneath.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            Some(beneath) => Ok(beneath.to_owned()),
            None => Err(CgroupError::state(
                "join the container's processes in",
                path,
                format!("it is not beneath the container's cgroup {}", self.path()),
            )
            .hint("the container has moved its first process out of its limits")),
        }
    }
}

/// The path from the container's cgroup in a hierarchy, in that of cgroup v2 if it has no name:
/// empty, or with a slash at its beginning.
fn path_of(beneath: &[Beneath], hierarchy: &str) -> String {
    let concerned = beneath.iter().filter(|one| one.concerns(hierarchy));
    concerned.map(|one| format!("/{}", one.path)).collect()
}

/// A cgroup beneath a container's own, for `exec --cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beneath {
    /// Controllers of cgroup v1 whose hierarchies are meant; empty means all.
    controllers: Vec<String>,
    /// Path from the container's cgroup, without `.` and `..`.
    path: String,
}

impl Beneath {
    /// Reads `[CONTROLLER[,CONTROLLER…]:]PATH`, runc's form.
    ///
    /// # Errors
    /// Why it is none: it leads out of the container's cgroup.
    pub fn parse(text: &str) -> Result<Beneath, String> {
        let (controllers, path) = text.split_once(':').unwrap_or(("", text));
        let names = || path.split('/').filter(|name| !matches!(*name, "" | "."));
        if names().any(|name| name == "..") {
            return Err(format!(
                "{text:?} leads out of the container's cgroup (a path without \"..\" is wanted)"
            ));
        }
        let names: Vec<&str> = names().collect();
        let controllers = controllers.split(',').filter(|name| !name.is_empty());
        Ok(Beneath {
            controllers: controllers.map(str::to_owned).collect(),
            path: names.join("/"),
        })
    }

    fn concerns(&self, hierarchy: &str) -> bool {
        let has = |name: &String| hierarchy.split(',').any(|controller| controller == name);
        self.controllers.is_empty() || self.controllers.iter().any(has)
    }

    /// The first controller that no hierarchy has.
    pub fn missing<'b>(&'b self, record: &Record) -> Option<&'b str> {
        let has = |name: &String| {
            let mut hierarchies = record.directories.iter().map(|d| d.hierarchy.split(','));
            hierarchies.any(|mut hierarchy| hierarchy.any(|controller| controller == name))
        };
        self.controllers
            .iter()
            .find(|name| !has(name))
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::Beneath;

    #[test]
    fn a_cgroup_beneath_has_a_path_and_perhaps_controllers() {
        let beneath = Beneath::parse("cpu,memory:/a/./b/").unwrap();
        assert_eq!(beneath.path, "a/b");
        assert!(beneath.concerns("cpu,cpuacct") && beneath.concerns("memory"));
        assert!(!beneath.concerns("pids"));
        assert!(Beneath::parse("x").unwrap().concerns("pids"));
    }

    #[test]
    fn no_path_leads_out_of_the_containers_cgroup() {
        for text in ["..", "a/../..", "cpu:../x", "/../x"] {
            assert!(Beneath::parse(text).is_err(), "{text}");
        }
    }
}
