//! The cgroup hierarchies of this machine and what lies under a test's prefix.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The cgroup above all tests of one run, named as its folder is; no other run
/// makes or removes anything in it.
pub fn run_prefix(run_dir: &Path) -> String {
    format!(
        "/{}",
        run_dir.file_name().unwrap_or_default().to_string_lossy()
    )
}

/// One mounted hierarchy.
#[derive(Clone)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The v1 controllers it carries (`name=systemd` included); empty on v2.
    pub controllers: Vec<String>,
}

impl Hierarchy {
    /// Whether this is the unified hierarchy.
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }
}

/// Every hierarchy that this mount namespace shows.
pub fn hierarchies() -> Vec<Hierarchy> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let mut right = right.split(' ');
        let kind = right.next().unwrap_or_default();
        let Some(mount) = left.split(' ').nth(4).map(PathBuf::from) else {
            continue;
        };
        let controllers = match kind {
            "cgroup2" => Vec::new(),
            "cgroup" => right
                .nth(1)
                .unwrap_or_default()
                .split(',')
                .filter(|option| !["rw", "ro", "xattr"].contains(option))
                .map(str::to_string)
                .collect(),
            _ => continue,
        };
        if !found.iter().any(|h| h.controllers == controllers) {
            found.push(Hierarchy { mount, controllers });
        }
    }
    found
}

/// The lines of a /proc/PID/cgroup that are about these hierarchies: a test of another run may
/// have made one of its own for a moment, in which everybody is at the root.
pub fn known(membership: &str, hierarchies: &[Hierarchy]) -> String {
    let is_known = |line: &&str| {
        let controllers = line.split(':').nth(1).unwrap_or_default();
        let of = |h: &Hierarchy| h.controllers.join(",") == controllers;
        hierarchies.iter().any(of)
    };
    let lines: Vec<&str> = membership.lines().filter(is_known).collect();
    lines.join("\n")
}

/// `dir` and all cgroups under it, deepest first.
pub fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(tree(&entry.path()));
        }
    }
    if dir.is_dir() {
        all.push(dir.to_path_buf());
    }
    all
}

/// The processes of one cgroup, or of its threads where it is threaded.
pub fn pids(dir: &Path) -> Vec<i32> {
    std::fs::read_to_string(dir.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect()
}

/// Thaws, kills and removes everything under `prefix` in every hierarchy.
pub fn destroy(hierarchies: &[Hierarchy], prefix: &str, limit: Duration) {
    let end = Instant::now() + limit;
    loop {
        let all: Vec<PathBuf> = hierarchies
            .iter()
            .flat_map(|h| tree(&h.mount.join(prefix.trim_start_matches('/'))))
            .collect();
        if all.is_empty() || Instant::now() > end {
            return;
        }
        for dir in &all {
            // Absent files and dead processes are what we are after: errors say nothing.
            let _ = std::fs::write(dir.join("freezer.state"), "THAWED");
            let _ = std::fs::write(dir.join("cgroup.freeze"), "0");
            for pid in pids(dir) {
                crate::procs::signal(pid, rustix::process::Signal::KILL);
            }
        }
        crate::procs::reap_all();
        for dir in &all {
            let _ = std::fs::remove_dir(dir);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
