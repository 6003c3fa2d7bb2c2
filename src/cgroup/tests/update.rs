//! New limits in real cgroups.

use super::*;
use crate::config::spec::Resources;
use crate::plan::cgroup::{CgroupPlan, plan_update};

fn planned(ground: &Ground, record: &Record, resources: &str, devices: bool) -> CgroupPlan {
    let resources: Resources = serde_json::from_str(resources).unwrap();
    let fs = Cgroupfs::open_at(ground.root.clone()).unwrap();
    plan_update(&resources, devices, fs.host(), &record.now(None)).unwrap()
}

fn update(ground: &Ground, record: &Record, resources: &str) -> Result<Former, CgroupError> {
    record.update(&planned(ground, record, resources, false))
}

const MEGA: i64 = 1 << 20;

#[test]
fn v1_limits_that_belong_together_are_raised_and_lowered() {
    let Some(ground) = Ground::v1() else { return };
    let (cgroup, _) = ground.create("{}").unwrap();
    let record = cgroup.record();
    let memory = |limit: i64, swap: i64| {
        let resources = format!(r#"{{"memory": {{"limit": {limit}, "swap": {swap}}}}}"#);
        update(&ground, record, &resources).unwrap();
        let value = |file| value(record, "memory", file);
        let found = (
            value("memory.limit_in_bytes"),
            value("memory.memsw.limit_in_bytes"),
        );
        let shown = |bytes: i64| match bytes {
            -1 => "9223372036854771712".to_owned(),
            bytes => bytes.to_string(),
        };
        assert_eq!(found, (shown(limit), shown(swap)));
    };
    for (limit, swap) in [
        (64, 128),
        (256, 512),
        (32, 32),
        (40, 40),
        (16, 500),
        (500, 500),
        (8, 9),
    ] {
        memory(limit * MEGA, swap * MEGA);
    }
    memory(64 * MEGA, -1);
    memory(-1, -1);
    let cpu = |quota: u64, period: u64, burst: u64| {
        let resources =
            format!(r#"{{"cpu": {{"quota": {quota}, "period": {period}, "burst": {burst}}}}}"#);
        update(&ground, record, &resources).unwrap();
        let names = ["cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us"];
        let found = names.map(|file| value(record, "cpu", file));
        assert_eq!(
            found,
            [quota, period, burst].map(|number| number.to_string())
        );
    };
    for (quota, period, burst) in [
        (50_000, 100_000, 50_000),
        (5_000, 10_000, 1_000),
        (900_000, 1_000_000, 900_000),
        (1_000, 100_000, 0),
        (1_000, 1_000, 1_000),
    ] {
        cpu(quota, period, burst);
    }
    record.remove(PATIENCE).unwrap();
}

#[test]
fn a_refused_limit_brings_the_former_ones_back() {
    let Some(ground) = Ground::v1() else { return };
    let former = r#"{"memory": {"limit": 67108864, "swap": 134217728}, "cpu": {"shares": 512,
        "quota": 20000, "period": 40000}}"#;
    let (cgroup, plan) = ground.create(former).unwrap();
    cgroup.apply(&plan).unwrap();
    let record = cgroup.record();
    let files = [
        ("memory", "memory.limit_in_bytes"),
        ("memory", "memory.memsw.limit_in_bytes"),
        ("memory", "memory.oom_control"),
        ("cpu", "cpu.shares"),
        ("cpu", "cpu.cfs_quota_us"),
        ("cpu", "cpu.cfs_period_us"),
    ];
    let now = || files.map(|(hierarchy, file)| value(record, hierarchy, file));
    let before = now();
    let wanted = r#"{"memory": {"limit": 268435456, "swap": 536870912, "disableOOMKiller": true},
        "cpu": {"shares": 300, "quota": 900000, "period": 1000000},
        "blockIO": {"throttleReadBpsDevice": [{"major": 77777, "minor": 3, "rate": 5}]}}"#;
    // The last of the writes is the one that the kernel refuses.
    let error = update(&ground, record, wanted).unwrap_err();
    assert_eq!(
        error.pointer(),
        Some("/linux/resources/blockIO/throttleReadBpsDevice/0")
    );
    assert_eq!(now(), before);
    record.remove(PATIENCE).unwrap();
}

#[test]
fn what_was_updated_can_be_taken_back() {
    let Some(ground) = Ground::v1() else { return };
    let (cgroup, plan) = ground.create("{}").unwrap();
    cgroup.apply_devices(&plan).unwrap();
    let record = cgroup.record();
    let list = || {
        let text = value(record, "devices", "devices.list");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = list();
    for rules in [
        r#"{"devices": [{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}], "pids": {"limit": 9}}"#,
        r#"{"devices": [{"allow": true, "access": "rwm"}], "pids": {"limit": 9}}"#,
    ] {
        let former = record
            .update(&planned(&ground, record, rules, true))
            .unwrap();
        assert_ne!(list(), before);
        assert_eq!(value(record, "pids", "pids.max"), "9");
        former.restore();
        assert_eq!(list(), before);
        assert_eq!(value(record, "pids", "pids.max"), "max");
    }
    record.remove(PATIENCE).unwrap();
}

#[test]
fn a_controller_that_no_limit_needed_before_is_enabled() {
    let Some(ground) = Ground::v2() else { return };
    let Some(hugetlb) = Hugetlb::at(ground.root.clone()) else {
        return;
    };
    let (cgroup, _) = ground.create("{}").unwrap();
    let record = cgroup.record();
    let limit = r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 8388608}]}"#;
    let former = update(&ground, record, limit).unwrap();
    assert_eq!(value(record, "", "hugetlb.2MB.max"), "8388608");
    former.restore();
    assert_eq!(value(record, "", "hugetlb.2MB.max"), "max");
    record.remove(PATIENCE).unwrap();
    drop(hugetlb);
}

#[test]
fn a_cgroup_that_is_gone_or_lacks_a_hierarchy_is_an_error() {
    let Some(ground) = Ground::v1() else { return };
    let (cgroup, _) = ground.create("{}").unwrap();
    let mut record = cgroup.record().clone();
    record.remove(PATIENCE).unwrap();
    let error = update(&ground, &record, r#"{"pids": {"limit": 9}}"#).unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/resources/pids/limit"));
    record
        .directories
        .retain(|directory| directory.hierarchy != "pids");
    let text = update(&ground, &record, r#"{"pids": {"limit": 9}}"#)
        .unwrap_err()
        .to_string();
    assert!(text.contains("no cgroup in this hierarchy"), "{text}");
}
