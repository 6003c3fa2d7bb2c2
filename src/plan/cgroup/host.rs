//! What a host offers of cgroups. Only the facts; `cgroup` finds them out.

use std::path::PathBuf;

/// The hierarchies of a v1 host that has all, one name each: for tests and fuzzing.
#[cfg(any(test, fuzzing))]
pub const V1: [&str; 12] = [
    "name=systemd",
    "cpu",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "rdma",
];

/// The same for the controllers of v2.
#[cfg(any(test, fuzzing))]
pub const V2: [&str; 7] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];

/// The cgroup hierarchies of a host; by default it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Where the cgroup file systems are mounted, `/sys/fs/cgroup`.
    pub root: PathBuf,
    /// Hierarchies of cgroup v1.
    pub hierarchies: Vec<Hierarchy>,
    /// The hierarchy of cgroup v2, if it is mounted.
    pub unified: Option<Unified>,
    /// Where a path that does not begin with a slash starts: for root at the top, for others
    /// beside the runtime's own cgroup, which holds processes and so can have none below it.
    pub base: String,
}

/// A hierarchy of cgroup v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its directory under [`Host::root`].
    pub directory: String,
    /// Its controllers as /proc/self/cgroup names them; `name=systemd` for one that has none.
    pub controllers: Vec<String>,
}

/// The hierarchy of cgroup v2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unified {
    /// Its directory under [`Host::root`]; empty where it is the root itself.
    pub directory: String,
    /// `cgroup.controllers` of its root.
    pub controllers: Vec<String>,
}

impl Host {
    /// A host with cgroup v2 alone, mounted on `root`.
    pub fn v2(root: impl Into<PathBuf>, controllers: &[&str]) -> Host {
        Host {
            root: root.into(),
            hierarchies: Vec::new(),
            unified: Some(Unified {
                directory: String::new(),
                controllers: owned(controllers),
            }),
            base: String::new(),
        }
    }

    /// A host with one cgroup v1 hierarchy for each of `controllers`.
    pub fn v1(root: impl Into<PathBuf>, controllers: &[&str]) -> Host {
        let hierarchies = controllers
            .iter()
            .map(|name| Hierarchy {
                directory: name.trim_start_matches("name=").to_owned(),
                controllers: vec![(*name).to_owned()],
            })
            .collect();
        Host {
            root: root.into(),
            hierarchies,
            unified: None,
            base: String::new(),
        }
    }

    /// The same host with a cgroup v2 hierarchy beside those of v1, in `unified/`.
    pub fn with_unified(mut self, controllers: &[&str]) -> Host {
        self.unified = Some(Unified {
            directory: "unified".to_owned(),
            controllers: owned(controllers),
        });
        self
    }

    /// Whether all controllers are on cgroup v2.
    pub fn is_unified(&self) -> bool {
        self.hierarchies.is_empty() && self.unified.is_some()
    }

    /// The number of the v1 hierarchy that has `controller`.
    pub fn hierarchy_of(&self, controller: &str) -> Option<usize> {
        self.hierarchies
            .iter()
            .position(|h| h.controllers.iter().any(|c| c == controller))
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
