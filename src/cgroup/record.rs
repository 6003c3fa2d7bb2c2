//! What is written down of a cgroup, so that later verbs find it without asking the host again.

use std::os::fd::AsFd;

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::members;
use super::{CgroupError, Cgroupfs};
use crate::plan::cgroup::{CgroupPlan, Manager, Version};

/// Where the hierarchy of systemd's own is, on hosts with cgroup v1.
const SYSTEMD: &str = "systemd";

/// A container's cgroup, for those who come later.
///
/// It is made and written down before the cgroup is, so that it names at least what a create that
/// was killed half-way has left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Where the cgroup file systems are mounted.
    pub(super) root: String,
    /// The cgroup's path from the root of every hierarchy, without a slash at either end.
    pub(super) path: String,
    /// Its directories, one in each hierarchy.
    pub(super) directories: Vec<Directory>,
    /// The unit of systemd that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<Unit>,
}

/// A unit of systemd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unit {
    pub(super) name: String,
    /// Whether the user's systemd has it, not the system's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) user: bool,
}

/// The cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Directory {
    /// The hierarchy's directory under the root; empty for the root itself.
    pub(super) hierarchy: String,
    /// Whether its interface is that of cgroup v2.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) v2: bool,
    /// How many of the levels right above the cgroup are the container's too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) levels: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Cgroupfs {
    /// What [`Cgroupfs::create`] is going to make. Nothing is changed yet.
    ///
    /// # Errors
    /// The cgroup exists already and has processes in it or is frozen.
    pub fn intend(&self, plan: &CgroupPlan) -> Result<Record, CgroupError> {
        let directories = plan.directories.iter().map(|directory| Directory {
            hierarchy: directory.hierarchy.clone(),
            v2: directory.version == Version::V2,
            levels: 0,
        });
        let mut record = Record {
            root: self.host().root.display().to_string(),
            path: plan.path.clone(),
            directories: directories.collect(),
            unit: plan.unit.as_ref().map(|unit| Unit {
                name: unit.name.clone(),
                user: unit.user,
            }),
        };
        // One hierarchy stands for all: asking each of them would cost every container. Should
        // they differ, `create` finds out and corrects the record.
        let Some(reference) = record.reference() else {
            return Ok(record);
        };
        let own = record.relative(reference);
        if self.exists(&own)? {
            members::refuse_used(&record, reference)?;
            return Ok(record);
        }
        let missing = plan.path.contains('/') && !self.exists(parent(&own))?;
        for index in 0..record.directories.len() {
            if record.is_systemds(&record.directories[index]) {
                continue;
            }
            // v2 beside v1 is used by few containers, so it is no surprise if it lacks levels.
            if missing || (record.directories[index].v2 && record.directories.len() > 1) {
                record.directories[index].levels = self.missing_levels(&record, index)?;
            }
        }
        Ok(record)
    }

    fn missing_levels(&self, record: &Record, index: usize) -> Result<usize, CgroupError> {
        let path = record.relative(&record.directories[index]);
        let mut level = parent(&path);
        for missing in 0..record.path.matches('/').count() {
            if self.exists(level)? {
                return Ok(missing);
            }
            level = parent(level);
        }
        Ok(record.path.matches('/').count())
    }

    fn exists(&self, path: &str) -> Result<bool, CgroupError> {
        match rustix::fs::accessat(self.root.as_fd(), path, Access::EXISTS, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => {
                let path = format!("{}/{path}", self.host().root.display());
                Err(CgroupError::kernel("inspect", path, errno))
            }
        }
    }
}

impl Record {
    /// Whether the container has a cgroup of its own, which says what belongs to it.
    pub fn lists_processes(&self) -> bool {
        !self.directories.is_empty()
    }

    /// The directory that answers for all: of v2 if it is alone, else of the freezer.
    pub(super) fn reference(&self) -> Option<&Directory> {
        self.freezer().or_else(|| self.directories.first())
    }

    /// The directory with the freezer's files. All of v2 have them, but v1's takes precedence:
    /// only it is seen by those who know of v1 alone.
    pub(super) fn freezer(&self) -> Option<&Directory> {
        self.on_v1("freezer").or_else(|| self.on_v2())
    }

    /// The directory that a controller of v1 is in.
    pub(super) fn on_v1(&self, controller: &str) -> Option<&Directory> {
        let has = |d: &&Directory| !d.v2 && d.hierarchy.split(',').any(|name| name == controller);
        self.directories.iter().find(has)
    }

    /// The directory of v2.
    pub(super) fn on_v2(&self) -> Option<&Directory> {
        self.directories.iter().find(|directory| directory.v2)
    }

    /// The whole path of the directory that freezes the container, if it has one.
    pub fn freezes_at(&self) -> Option<String> {
        self.freezer().map(|directory| self.absolute(directory))
    }

    /// The v2 directory if there are none of v1.
    pub(super) fn pure_v2(&self) -> Option<&Directory> {
        match self.directories.as_slice() {
            [only] if only.v2 => Some(only),
            _ => None,
        }
    }

    /// Whether systemd makes and removes the directory, with the levels above it.
    pub(super) fn is_systemds(&self, directory: &Directory) -> bool {
        self.unit.is_some() && (directory.v2 || directory.hierarchy == SYSTEMD)
    }

    /// Leaves systemd's part out: it was not made, so what has its name is somebody else's.
    pub fn forget_unit(&mut self) {
        let mut directories = std::mem::take(&mut self.directories);
        directories.retain(|directory| !self.is_systemds(directory));
        self.directories = directories;
        self.unit = None;
    }

    /// Who made the cgroup.
    pub fn manager(&self) -> Manager {
        match &self.unit {
            Some(unit) => Manager::Systemd { user: unit.user },
            None if self.directories.is_empty() => Manager::Disabled,
            None => Manager::Cgroupfs,
        }
    }

    /// A directory's path from the root of the cgroup file systems.
    pub(super) fn relative(&self, directory: &Directory) -> String {
        match directory.hierarchy.as_str() {
            "" => self.path.clone(),
            hierarchy => format!("{hierarchy}/{}", self.path),
        }
    }

    /// A directory's whole path.
    pub(super) fn absolute(&self, directory: &Directory) -> String {
        format!("{}/{}", self.root, self.relative(directory))
    }

    /// Path of the cgroup from the root of every hierarchy, with a slash before it.
    pub fn path(&self) -> String {
        format!("/{}", self.path)
    }

    /// The whole path of every directory of the cgroup, each with its hierarchy's name
    /// (empty for cgroup v2).
    pub fn paths(&self) -> impl Iterator<Item = (&str, String)> {
        self.directories.iter().map(|directory| {
            let name = if directory.v2 {
                ""
            } else {
                directory.hierarchy.as_str()
            };
            (name, self.absolute(directory))
        })
    }
}

/// The path of the directory that `path` is in.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
