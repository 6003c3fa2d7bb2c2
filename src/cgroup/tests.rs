//! Real cgroups, made and removed. These tests need root and a writable cgroup file system; where
//! they have none, they say that they were skipped.

mod ground;
mod update;

use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use ground::{Ground, Hugetlb, Process, left, nothing, value};

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn v1_limits_are_in_the_files_and_nothing_is_left_after_removal() {
    let Some(ground) = Ground::v1() else { return };
    let resources = r#"{"memory": {"limit": 67108864, "swap": 134217728, "reservation": 33554432, "swappiness": 10},
        "cpu": {"shares": 512, "quota": 20000, "period": 40000, "cpus": "0"}, "pids": {"limit": 9},
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}"#;
    let (cgroup, plan) = ground.create(resources).unwrap();
    cgroup.apply(&plan).unwrap();
    cgroup.apply_devices(&plan).unwrap();
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
    // What it used on the way there goes with the processes that helped.
    let holds_it = || {
        let of = |file| value(cgroup.record(), "memory", file);
        of("cgroup.procs").lines().count() == 1
            && of("memory.usage_in_bytes").parse::<u64>().unwrap() >= 300_000
    };
    while !holds_it() {
        assert!(
            Instant::now() < deadline,
            "the shell does not use its memory"
        );
        std::thread::yield_now();
    }
    let error = cgroup.apply(&plan).unwrap_err();
    let text = error.to_string();
    let beginning = format!(
        "/linux/resources/memory/limit: cannot write \"4096\" to /sys/fs/cgroup/memory/{}/memory.limit_in_bytes: device or resource busy: more memory than this is in use already (",
        ground.path
    );
    let usage = text
        .strip_prefix(&beginning)
        .and_then(|rest| rest.strip_suffix(')')?.parse::<u64>().ok());
    assert!(usage > Some(300_000), "{text}");
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
        again.apply_devices(&plan).unwrap();
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
        cgroup.apply_devices(&plan).unwrap();
        assert!(allowed.go());
        assert!(!denied.go());
        // Applying again replaces the rules, it does not pile them up.
        cgroup.apply(&plan).unwrap();
        cgroup.apply_devices(&plan).unwrap();
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
    cgroup.apply_devices(&plan).unwrap();
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
    cgroup.apply_devices(&plan).unwrap();
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

#[test]
fn v2_limits_of_every_controller_that_is_there_are_in_the_files() {
    let Some(ground) = Ground::v2() else { return };
    let (fs, _) = ground.plan("{}");
    let controllers = fs.host().unified.as_ref().unwrap().controllers.clone();
    for (controller, resources, files) in [
        (
            "pids",
            r#"{"pids": {"limit": 7}}"#,
            &[("pids.max", "7")] as &[_],
        ),
        (
            "memory",
            r#"{"memory": {"limit": 67108864, "swap": 134217728, "reservation": 33554432}}"#,
            &[("memory.max", "67108864"), ("memory.low", "33554432")],
        ),
        (
            "cpu",
            r#"{"cpu": {"shares": 2048, "quota": 20000, "period": 40000, "burst": 1000}}"#,
            &[
                ("cpu.weight", "174"),
                ("cpu.max", "20000 40000"),
                ("cpu.max.burst", "1000"),
            ],
        ),
        (
            "cpuset",
            r#"{"cpu": {"cpus": "0", "mems": "0"}}"#,
            &[("cpuset.cpus", "0"), ("cpuset.mems", "0")],
        ),
    ] {
        if !controllers.iter().any(|name| name == controller) {
            println!("skipped: no controller {controller} on cgroup v2");
            continue;
        }
        let (cgroup, plan) = ground.create(resources).unwrap();
        cgroup.apply(&plan).unwrap();
        cgroup.apply_devices(&plan).unwrap();
        for (file, expected) in files {
            assert_eq!(value(cgroup.record(), "", file), *expected, "{file}");
        }
        cgroup.record().remove(PATIENCE).unwrap();
    }
}
