//! Real cgroups, made and removed. These tests need root and a writable cgroup file system; where
//! they have none, they say that they were skipped.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::*;
use crate::config::spec::Linux;
use crate::plan::cgroup::{CgroupPlan, Manager, plan};

const PATIENCE: Duration = Duration::from_secs(5);

/// A file system to test on, and a path that no other test uses.
struct Ground {
    root: PathBuf,
    path: String,
}

impl Ground {
    fn find(wanted: impl Fn(&Cgroupfs) -> bool, roots: &[&str]) -> Option<Ground> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            println!("skipped: not root");
            return None;
        }
        let resources = Default::default();
        let fits = |root: &&&str| {
            Cgroupfs::open_at(PathBuf::from(root), &resources).is_ok_and(|fs| wanted(&fs))
        };
        let Some(root) = roots.iter().find(fits) else {
            println!("skipped: no such cgroup file system in {roots:?}");
            return None;
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = format!("corten-test-{}-{number}", std::process::id());
        Some(Ground {
            root: root.into(),
            path,
        })
    }

    /// Hierarchies of cgroup v1 with all that Docker sets.
    fn v1() -> Option<Ground> {
        let wanted = ["cpu", "cpuset", "memory", "devices", "freezer", "pids"];
        let has_all = |fs: &Cgroupfs| {
            wanted
                .iter()
                .all(|name| fs.host().hierarchy_of(name).is_some())
        };
        Self::find(has_all, &["/sys/fs/cgroup"])
    }

    /// A hierarchy of cgroup v2; beside v1 it has few controllers, but all the rest.
    fn v2() -> Option<Ground> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        Self::find(|fs| fs.host().is_unified(), &roots)
    }

    fn both() -> impl Iterator<Item = Ground> {
        [Self::v1(), Self::v2()].into_iter().flatten()
    }

    fn plan(&self, resources: &str) -> (Cgroupfs, CgroupPlan) {
        let text = format!(
            r#"{{"cgroupsPath": "/{}", "resources": {resources}}}"#,
            self.path
        );
        let linux: Linux = serde_json::from_str(&text).unwrap();
        let fs = Cgroupfs::open_at(self.root.clone(), &linux.resources).unwrap();
        let plan = plan(Manager::Cgroupfs, &linux, "id", fs.host()).unwrap();
        (fs, plan)
    }

    fn create(&self, resources: &str) -> Result<(Cgroup, CgroupPlan), CgroupError> {
        let (fs, plan) = self.plan(resources);
        let record = fs.intend(&plan)?;
        let cgroup = fs.create(&plan, record.clone())?;
        assert_eq!(*cgroup.record(), record, "the intent was exact");
        Ok((cgroup, plan))
    }

    /// Beneath a directory that the test makes first, and that has to survive.
    fn beneath(mut self, rest: &str) -> Ground {
        self.path = format!("{}/{rest}", self.path);
        self
    }
}

impl Drop for Ground {
    /// Tidies up after a test that failed; after others there is nothing.
    fn drop(&mut self) {
        for directory in left(self) {
            let _ = remove::rmdir_tree(&directory.display().to_string());
        }
    }
}

/// Keeps the tests apart that enable hugetlb for the whole host, and disables it again.
struct Hugetlb {
    control: PathBuf,
    was_enabled: bool,
    _alone: MutexGuard<'static, ()>,
}

impl Hugetlb {
    /// For the hierarchy of cgroup v2 at `root`, if it has the controller.
    fn at(root: PathBuf) -> Option<Hugetlb> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let list = |file: &str| std::fs::read_to_string(root.join(file)).unwrap_or_default();
        if !list("cgroup.controllers").contains("hugetlb") {
            println!("skipped: no controller hugetlb in {}", root.display());
            return None;
        }
        let was_enabled = list("cgroup.subtree_control").contains("hugetlb");
        let control = root.join("cgroup.subtree_control");
        Some(Hugetlb {
            control,
            was_enabled,
            _alone: alone,
        })
    }
}

impl Drop for Hugetlb {
    fn drop(&mut self) {
        if !self.was_enabled {
            let _ = std::fs::write(&self.control, "-hugetlb");
        }
    }
}

/// The directories that `path` has in the hierarchies.
fn left(ground: &Ground) -> Vec<PathBuf> {
    let top = ground.path.split('/').next().unwrap();
    let mut roots = vec![ground.root.clone()];
    roots.extend(
        std::fs::read_dir(&ground.root)
            .unwrap()
            .map(|entry| entry.unwrap().path()),
    );
    roots
        .into_iter()
        .map(|root| root.join(top))
        .filter(|path| path.exists())
        .collect()
}

/// A process that is killed at the end of the test.
struct Process(Child);

impl Process {
    fn shell(script: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped());
        Process(command.spawn().unwrap())
    }

    /// One that does nothing, in every directory of the cgroup.
    fn idle_in(record: &Record) -> Process {
        let process = Self::shell("exec sleep 1000");
        process.join(record);
        process
    }

    fn join(&self, record: &Record) {
        for (_, path) in record.paths() {
            std::fs::write(format!("{path}/cgroup.procs"), self.0.id().to_string()).unwrap();
        }
    }

    fn send_line(&self) {
        self.0.stdin.as_ref().unwrap().write_all(b"\n").unwrap();
    }

    /// Lets a script that waits for a line go on, and says whether it succeeded.
    fn go(mut self) -> bool {
        self.send_line();
        self.0.wait().unwrap().success()
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn nothing() -> Vec<PathBuf> {
    Vec::new()
}

fn value(record: &Record, hierarchy: &str, file: &str) -> String {
    let (_, path) = record.paths().find(|(name, _)| *name == hierarchy).unwrap();
    std::fs::read_to_string(format!("{path}/{file}"))
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn v1_limits_are_in_the_files_and_nothing_is_left_after_removal() {
    let Some(ground) = Ground::v1() else { return };
    let resources = r#"{"memory": {"limit": 67108864, "swap": 134217728, "reservation": 33554432, "swappiness": 10},
        "cpu": {"shares": 512, "quota": 20000, "period": 40000, "cpus": "0"}, "pids": {"limit": 9},
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}"#;
    let (cgroup, plan) = ground.create(resources).unwrap();
    cgroup.apply(&plan).unwrap();
    let record = cgroup.record();
    for (hierarchy, file, expected) in [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "134217728"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("memory", "memory.swappiness", "10"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "20000"),
        ("cpu", "cpu.cfs_period_us", "40000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("pids", "pids.max", "9"),
    ] {
        assert_eq!(value(record, hierarchy, file), expected, "{file}");
    }
    assert!(!value(record, "cpuset", "cpuset.mems").is_empty());
    let devices = value(record, "devices", "devices.list");
    assert!(devices.lines().any(|line| line == "c 1:11 r"), "{devices}");
    assert!(!devices.contains("a *:*"), "{devices}");
    record.remove(PATIENCE).unwrap();
    assert_eq!(left(&ground), nothing());
    record.remove(PATIENCE).unwrap();
}

#[test]
fn a_task_joins_every_v1_hierarchy() {
    let Some(ground) = Ground::v1() else { return };
    let (cgroup, _) = ground.create("{}").unwrap();
    let membership = std::thread::scope(|scope| {
        let joined = scope.spawn(|| {
            cgroup.join().unwrap();
            std::fs::read_to_string("/proc/thread-self/cgroup").unwrap()
        });
        joined.join().unwrap()
    });
    let in_cgroup = membership
        .lines()
        .filter(|line| line.ends_with(&ground.path))
        .count();
    assert_eq!(in_cgroup, cgroup.tasks_fds().count(), "{membership}");
    assert!(in_cgroup >= 6);
    cgroup.record().remove(PATIENCE).unwrap();
    assert_eq!(left(&ground), nothing());
}

#[test]
fn a_refused_cpuset_is_explained_and_leaves_nothing() {
    let Some(ground) = Ground::v1() else { return };
    let error = ground.create(r#"{"cpu": {"cpus": "4000"}}"#).unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/resources/cpu/cpus"));
    let text = error.to_string();
    assert!(
        text.contains("\"4000\"") && text.contains("available"),
        "{text}"
    );
    assert!(!text.contains('\n'));
    assert_eq!(left(&ground), nothing());
}

#[test]
fn a_memory_limit_below_the_usage_is_explained() {
    let Some(ground) = Ground::v1() else { return };
    let (cgroup, plan) = ground.create(r#"{"memory": {"limit": 4096}}"#).unwrap();
    // The shell touches memory inside, which nothing can take back.
    let process =
        Process::shell("read line; x=$(head -c 300000 /dev/zero | tr '\\0' x); echo ok; read line");
    process.join(cgroup.record());
    process.send_line();
    let deadline = Instant::now() + PATIENCE;
    while value(cgroup.record(), "memory", "memory.usage_in_bytes")
        .parse::<u64>()
        .unwrap()
        < 300_000
    {
        assert!(
            Instant::now() < deadline,
            "the shell does not use its memory"
        );
        std::thread::yield_now();
    }
    let error = cgroup.apply(&plan).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "/linux/resources/memory/limit: cannot write \"4096\" to /sys/fs/cgroup/memory/{}/memory.limit_in_bytes: Device or resource busy (os error 16): more memory than this is in use already",
            ground.path
        )
    );
    drop(process);
    cgroup.record().remove(PATIENCE).unwrap();
}

#[test]
fn a_used_or_frozen_cgroup_is_refused_and_an_empty_one_is_taken() {
    for ground in Ground::both() {
        let (cgroup, _) = ground.create("{}").unwrap();
        let record = cgroup.record().clone();
        let process = Process::idle_in(&record);
        let text = ground.create("{}").unwrap_err().to_string();
        assert!(
            text.contains("container's cgroup is not empty: 1 process(es) found"),
            "{text}"
        );
        drop(process);
        record.freeze().unwrap();
        let text = ground.create("{}").unwrap_err().to_string();
        assert!(
            text.contains("container's cgroup unexpectedly frozen"),
            "{text}"
        );
        record.thaw().unwrap();
        let (again, plan) = ground.create("{}").unwrap();
        again.apply(&plan).unwrap();
        record.remove(PATIENCE).unwrap();
        assert_eq!(left(&ground), nothing());
    }
}

#[test]
fn levels_above_are_removed_if_and_only_if_they_were_made_for_it() {
    for ground in Ground::both() {
        let top = ground.path.clone();
        let ground = ground.beneath("a/b");
        let (cgroup, _) = ground.create("{}").unwrap();
        cgroup.record().remove(PATIENCE).unwrap();
        assert_eq!(left(&ground), nothing());

        let (first, _) = ground.create("{}").unwrap();
        let ground = Ground {
            path: format!("{top}/a/c"),
            root: ground.root.clone(),
        };
        let (second, _) = ground.create("{}").unwrap();
        first.record().remove(PATIENCE).unwrap();
        assert!(
            second
                .record()
                .paths()
                .all(|(_, path)| Path::new(&path).exists())
        );
        second.record().remove(PATIENCE).unwrap();
        // The first made them, and could not remove them while the second was there.
        assert!(!left(&ground).is_empty());
        first.record().remove(PATIENCE).unwrap();
        assert_eq!(left(&ground), nothing());
    }
}

#[test]
fn the_intent_is_enough_to_remove_what_a_killed_create_left() {
    for ground in Ground::both() {
        let ground = ground.beneath("a/b");
        let (fs, plan) = ground.plan("{}");
        let record = fs.intend(&plan).unwrap();
        assert_eq!(left(&ground), nothing(), "intending makes nothing");
        let text = serde_json::to_string(&record).unwrap();
        let (_, path) = record.paths().last().unwrap();
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        serde_json::from_str::<Record>(&text)
            .unwrap()
            .remove(PATIENCE)
            .unwrap();
        assert_eq!(left(&ground), nothing());
    }
}

#[test]
fn freezing_stops_and_thawing_lets_run() {
    for ground in Ground::both() {
        let (cgroup, _) = ground.create("{}").unwrap();
        let record = cgroup.record();
        let process = Process::idle_in(record);
        assert!(!record.frozen());
        record.freeze().unwrap();
        assert!(record.frozen());
        assert_eq!(record.processes().unwrap(), [process.0.id()]);
        record.thaw().unwrap();
        assert!(!record.frozen());
        drop(process);
        record.remove(PATIENCE).unwrap();
    }
}

#[test]
fn a_signal_reaches_every_process_even_a_frozen_one() {
    for ground in Ground::both() {
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            let (cgroup, _) = ground.create("{}").unwrap();
            let record = cgroup.record();
            let mut processes = [Process::idle_in(record), Process::idle_in(record)];
            record.freeze().unwrap();
            record.kill_all(signal).unwrap();
            for process in &mut processes {
                process.0.wait().unwrap();
                assert!(!process.is_running());
            }
            assert!(!record.frozen());
            record.remove(PATIENCE).unwrap();
            record.kill_all(signal).unwrap();
        }
    }
}

#[test]
fn removal_kills_what_forks_inside_and_removes_cgroups_beneath() {
    for ground in Ground::both() {
        let (cgroup, _) = ground.create("{}").unwrap();
        let record = cgroup.record();
        let (_, reference) = record
            .paths()
            .find(|(name, _)| name.is_empty() || *name == "freezer")
            .unwrap();
        std::fs::create_dir_all(format!("{reference}/inner/most")).unwrap();
        let nested = Process::shell("exec sleep 1000");
        std::fs::write(
            format!("{reference}/inner/most/cgroup.procs"),
            nested.0.id().to_string(),
        )
        .unwrap();
        let forking = Process::shell("read line; while :; do sleep 1000 & done");
        forking.join(record);
        forking.send_line();
        assert!(record.processes().unwrap().contains(&nested.0.id()));
        record.remove(PATIENCE).unwrap();
        assert_eq!(left(&ground), nothing());
    }
}

#[test]
fn devices_that_no_rule_allows_cannot_be_opened() {
    for ground in Ground::both() {
        let (cgroup, plan) = ground.create("{}").unwrap();
        let probe = |device: &str| {
            let process = Process::shell(&format!("read line; exec head -c 0 {device}"));
            process.join(cgroup.record());
            process
        };
        let (before, allowed, denied) =
            (probe("/dev/kmsg"), probe("/dev/zero"), probe("/dev/kmsg"));
        assert!(before.go());
        cgroup.apply(&plan).unwrap();
        assert!(allowed.go());
        assert!(!denied.go());
        // Applying again replaces the rules, it does not pile them up.
        cgroup.apply(&plan).unwrap();
        cgroup.record().remove(PATIENCE).unwrap();
    }
}

#[test]
fn v2_limits_are_in_the_files() {
    let Some(ground) = Ground::v2() else { return };
    let Some(_hugetlb) = Hugetlb::at(ground.root.clone()) else {
        return;
    };
    let resources = r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}], "unified": {"cgroup.max.depth": "3"}}"#;
    let ground = ground.beneath("inner");
    let (cgroup, plan) = ground.create(resources).unwrap();
    cgroup.apply(&plan).unwrap();
    assert!(cgroup.clone_into_fd().is_some());
    assert_eq!(cgroup.tasks_fds().count(), 0);
    let record = cgroup.record();
    assert_eq!(value(record, "", "hugetlb.2MB.max"), "4194304");
    assert_eq!(value(record, "", "hugetlb.2MB.rsvd.max"), "4194304");
    assert_eq!(value(record, "", "cgroup.max.depth"), "3");
    record.remove(PATIENCE).unwrap();
    assert_eq!(left(&ground), nothing());
}

#[test]
fn a_hybrid_host_gives_a_huge_page_limit_a_v2_directory() {
    let Some(ground) = Ground::v1() else { return };
    let Some(_hugetlb) = Hugetlb::at(ground.root.join("unified")) else {
        return;
    };
    let resources =
        r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 2097152}], "pids": {"limit": 4}}"#;
    let (cgroup, plan) = ground.create(resources).unwrap();
    cgroup.apply(&plan).unwrap();
    assert!(cgroup.clone_into_fd().is_some() && cgroup.tasks_fds().count() >= 6);
    assert_eq!(value(cgroup.record(), "", "hugetlb.2MB.max"), "2097152");
    assert_eq!(value(cgroup.record(), "pids", "pids.max"), "4");
    let mut process = Process::idle_in(cgroup.record());
    cgroup.record().kill_all(libc::SIGKILL).unwrap();
    process.0.wait().unwrap();
    cgroup.record().remove(PATIENCE).unwrap();
    assert_eq!(left(&ground), nothing());
}

#[test]
fn containers_that_come_and_go_do_not_disturb_each_other() {
    for ground in Ground::both() {
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let path = format!("{}/pod/{name}", ground.path);
                let ground = Ground {
                    root: ground.root.clone(),
                    path,
                };
                scope.spawn(move || {
                    for _ in 0..60 {
                        let (fs, plan) = ground.plan("{}");
                        let record = fs.intend(&plan).unwrap();
                        let cgroup = fs.create(&plan, record).unwrap();
                        cgroup.record().remove(PATIENCE).unwrap();
                    }
                    // The other threads are still at it.
                    std::mem::forget(ground);
                });
            }
        });
    }
}
