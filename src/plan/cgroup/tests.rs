//! What every property of `linux.resources` turns into, on both interfaces.

mod details;
mod update;

use super::host::{V1, V2};
use super::*;

fn planned(host: &Host, resources: &str) -> Result<CgroupPlan, ResourceError> {
    let text = format!(r#"{{"resources": {resources}}}"#);
    let linux: Linux = serde_json::from_str(&text).unwrap();
    plan(Manager::Cgroupfs, &linux, "id", host)
}

/// The writes as `file=value`, without those of the devices; `!` marks those before the join.
fn writes(host: &Host, resources: &str) -> Vec<String> {
    let plan = planned(host, resources).unwrap();
    let shown = |write: &Write| {
        let mark = if write.phase == Phase::BeforeJoin {
            "!"
        } else {
            ""
        };
        format!("{mark}{}={}", write.file, write.value)
    };
    plan.writes
        .iter()
        .filter(|w| !w.file.starts_with("devices."))
        .map(shown)
        .collect()
}

#[test]
fn every_limit_becomes_the_writes_of_both_interfaces() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("{}", &[], &[]),
        (
            r#"{"memory": {"limit": 4096, "reservation": 2048, "swap": 8192}}"#,
            &[
                "memory.limit_in_bytes=4096",
                "memory.memsw.limit_in_bytes=8192",
                "memory.soft_limit_in_bytes=2048",
            ],
            &["memory.swap.max=4096", "memory.max=4096", "memory.low=2048"],
        ),
        (
            r#"{"memory": {"limit": -1}}"#,
            &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
            &["memory.swap.max=max", "memory.max=max"],
        ),
        (
            r#"{"memory": {"limit": 4096, "swap": 4096}}"#,
            &[
                "memory.limit_in_bytes=4096",
                "memory.memsw.limit_in_bytes=4096",
            ],
            &["memory.swap.max=0", "memory.max=4096"],
        ),
        (
            r#"{"memory": {"limit": 4096, "swap": -1}}"#,
            &[
                "memory.limit_in_bytes=4096",
                "memory.memsw.limit_in_bytes=-1",
            ],
            &["memory.swap.max=max", "memory.max=4096"],
        ),
        (
            r#"{"memory": {"limit": 0, "swap": 0, "reservation": 0}}"#,
            &[],
            &[],
        ),
        (
            r#"{"memory": {"swappiness": 60, "disableOOMKiller": true}}"#,
            &["memory.oom_control=1", "memory.swappiness=60"],
            &[],
        ),
        (
            r#"{"memory": {"swappiness": 18446744073709551615}}"#,
            &[],
            &[],
        ),
        (
            r#"{"cpu": {"shares": 1024}}"#,
            &["cpu.shares=1024"],
            &["cpu.weight=100"],
        ),
        (
            r#"{"cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": ""}}"#,
            &[],
            &[],
        ),
        (
            r#"{"cpu": {"quota": 50000, "period": 100000, "burst": 1000, "idle": 0}}"#,
            &[
                "cpu.idle=0",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "cpu.cfs_burst_us=1000",
            ],
            &["cpu.idle=0", "cpu.max=50000 100000", "cpu.max.burst=1000"],
        ),
        (
            r#"{"cpu": {"quota": -1}}"#,
            &["cpu.cfs_quota_us=-1"],
            &["cpu.max=max 100000"],
        ),
        (
            r#"{"cpu": {"period": 20000}}"#,
            &["cpu.cfs_period_us=20000"],
            &["cpu.max=max 20000"],
        ),
        (
            r#"{"cpu": {"realtimeRuntime": 950, "realtimePeriod": 1000}}"#,
            &["!cpu.rt_period_us=1000", "!cpu.rt_runtime_us=950"],
            &[],
        ),
        (
            r#"{"cpu": {"cpus": "0-1", "mems": "0"}}"#,
            &["!cpuset.cpus=0-1", "!cpuset.mems=0"],
            &["cpuset.cpus=0-1", "cpuset.mems=0"],
        ),
        (
            // The old value may be 1, and then neither is taken.
            r#"{"cpu": {"shares": 1024, "idle": 0}}"#,
            &["cpu.idle=0", "cpu.shares=1024"],
            &["cpu.idle=0", "cpu.weight=100"],
        ),
        (
            r#"{"memory": {"limit": 4096, "useHierarchy": true, "kernel": 1, "kernelTCP": 1}}"#,
            &[
                "memory.limit_in_bytes=4096",
                "memory.kmem.tcp.limit_in_bytes=1",
            ],
            &["memory.max=4096"],
        ),
        (
            r#"{"hugepageLimits": [{"pageSize": "1GB", "limit": 9223372036854771712}]}"#,
            &[
                "hugetlb.1GB.limit_in_bytes=9223372036854771712",
                "hugetlb.1GB.rsvd.limit_in_bytes=9223372036854771712",
            ],
            &[
                "hugetlb.1GB.max=9223372036854771712",
                "hugetlb.1GB.rsvd.max=9223372036854771712",
            ],
        ),
        (
            r#"{"rdma": {"a": {"hcaHandles": 0}, "b": {"hcaObjects": 4294967295}}}"#,
            &[
                "rdma.max=a hca_handle=0",
                "rdma.max=b hca_object=4294967295",
            ],
            &[
                "rdma.max=a hca_handle=0",
                "rdma.max=b hca_object=4294967295",
            ],
        ),
        (
            r#"{"cpu": {"shares": 100, "idle": 1}}"#,
            &["cpu.shares=100", "cpu.idle=1"],
            &["cpu.idle=1"],
        ),
        (
            r#"{"pids": {"limit": 10}}"#,
            &["pids.max=10"],
            &["pids.max=10"],
        ),
        (
            r#"{"pids": {"limit": 0}}"#,
            &["pids.max=0"],
            &["pids.max=0"],
        ),
        (
            r#"{"pids": {"limit": -1}}"#,
            &["pids.max=max"],
            &["pids.max=max"],
        ),
        (r#"{"pids": {}}"#, &[], &[]),
        (
            r#"{"blockIO": {"weight": 500, "leafWeight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 1000, "leafWeight": 300}]}}"#,
            &[
                "blkio.weight=500",
                "blkio.leaf_weight=10",
                "blkio.weight_device=8:0 1000",
                "blkio.leaf_weight_device=8:0 300",
            ],
            &["io.bfq.weight=500", "io.bfq.weight=8:0 1000"],
        ),
        (
            r#"{"blockIO": {"weight": 0, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 1, "rate": 0}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 2, "rate": 602}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 3, "rate": 603}]}}"#,
            &[
                "blkio.throttle.read_bps_device=8:0 600",
                "blkio.throttle.write_bps_device=8:1 0",
                "blkio.throttle.read_iops_device=8:2 602",
                "blkio.throttle.write_iops_device=8:3 603",
            ],
            &[
                "io.max=8:0 rbps=600",
                "io.max=8:1 wbps=max",
                "io.max=8:2 riops=602",
                "io.max=8:3 wiops=603",
            ],
        ),
        (
            r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}"#,
            &[
                "hugetlb.2MB.limit_in_bytes=0",
                "hugetlb.2MB.rsvd.limit_in_bytes=0",
            ],
            &["hugetlb.2MB.max=0", "hugetlb.2MB.rsvd.max=0"],
        ),
        (
            r#"{"network": {"classID": 1048577, "priorities": [{"name": "lo", "priority": 3}]}}"#,
            &["net_cls.classid=1048577", "net_prio.ifpriomap=lo 3"],
            &[],
        ),
        (
            r#"{"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "none": {}}}"#,
            &["rdma.max=mlx5_1 hca_handle=3 hca_object=10000"],
            &["rdma.max=mlx5_1 hca_handle=3 hca_object=10000"],
        ),
    ];
    let (v1, v2) = (Host::v1("/cg", &V1), Host::v2("/cg", &V2));
    for (resources, on_v1, on_v2) in table {
        assert_eq!(writes(&v1, resources), *on_v1, "v1 {resources}");
        assert_eq!(writes(&v2, resources), *on_v2, "v2 {resources}");
    }
}

#[test]
fn unified_values_are_written_line_by_line_on_v2() {
    let resources = r#"{"unified": {"memory.high": "5000", "io.max": "8:0 rbps=1\n8:16 rbps=2\n", "cgroup.max.depth": "1"}}"#;
    let expected = [
        "cgroup.max.depth=1",
        "io.max=8:0 rbps=1",
        "io.max=8:16 rbps=2",
        "memory.high=5000",
    ];
    assert_eq!(writes(&Host::v2("/cg", &V2), resources), expected);
}

#[test]
fn what_cannot_be_had_is_refused_with_its_place() {
    let v1 = Host::v1("/cg", &V1);
    let v2 = Host::v2("/cg", &V2);
    let bare_v1 = Host::v1("/cg", &["devices"]);
    let bare_v2 = Host::v2("/cg", &[]);
    for (host, resources, pointer) in [
        (
            &bare_v1,
            r#"{"memory": {"limit": 1}}"#,
            "/linux/resources/memory/limit",
        ),
        (
            &bare_v2,
            r#"{"memory": {"reservation": 1}}"#,
            "/linux/resources/memory/reservation",
        ),
        (
            &bare_v1,
            r#"{"cpu": {"quota": 1}}"#,
            "/linux/resources/cpu/quota",
        ),
        (
            &bare_v2,
            r#"{"cpu": {"cpus": "0"}}"#,
            "/linux/resources/cpu/cpus",
        ),
        (
            &bare_v2,
            r#"{"pids": {"limit": 5}}"#,
            "/linux/resources/pids/limit",
        ),
        (
            &bare_v2,
            r#"{"blockIO": {"weight": 50}}"#,
            "/linux/resources/blockIO/weight",
        ),
        (
            &bare_v1,
            r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}"#,
            "/linux/resources/hugepageLimits/0/limit",
        ),
        (
            &bare_v1,
            r#"{"network": {"classID": 1}}"#,
            "/linux/resources/network/classID",
        ),
        (
            &bare_v1,
            r#"{"rdma": {"a/b": {"hcaHandles": 1}}}"#,
            "/linux/resources/rdma/a~1b",
        ),
        (
            &bare_v2,
            r#"{"unified": {"memory.max": "1"}}"#,
            "/linux/resources/unified/memory.max",
        ),
        (
            &v1,
            r#"{"unified": {"memory.max": "1"}}"#,
            "/linux/resources/unified",
        ),
        (
            &v2,
            r#"{"unified": {"../x.y": "1"}}"#,
            "/linux/resources/unified/..~1x.y",
        ),
        (
            &v2,
            r#"{"unified": {"memory": "1"}}"#,
            "/linux/resources/unified/memory",
        ),
        (
            &v2,
            r#"{"memory": {"swap": 5}}"#,
            "/linux/resources/memory/swap",
        ),
        (
            &v2,
            r#"{"memory": {"limit": -2, "swap": 9223372036854775807}}"#,
            "/linux/resources/memory/limit",
        ),
        (
            &v1,
            r#"{"memory": {"limit": 6, "swap": 5}}"#,
            "/linux/resources/memory/swap",
        ),
        (
            &v1,
            r#"{"memory": {"swappiness": 101}}"#,
            "/linux/resources/memory/swappiness",
        ),
        (
            &v1,
            r#"{"cpu": {"shares": 1}}"#,
            "/linux/resources/cpu/shares",
        ),
        (
            &v1,
            r#"{"blockIO": {"weight": 9}}"#,
            "/linux/resources/blockIO/weight",
        ),
        (
            &v2,
            r#"{"blockIO": {"weightDevice": [{"major": 1, "minor": 1, "weight": 1001}]}}"#,
            "/linux/resources/blockIO/weightDevice/0/weight",
        ),
        (
            &v1,
            r#"{"hugepageLimits": [{"pageSize": "2M/", "limit": 1}]}"#,
            "/linux/resources/hugepageLimits/0/pageSize",
        ),
    ] {
        assert_eq!(
            planned(host, resources).unwrap_err().pointer,
            pointer,
            "{resources}"
        );
    }
    let error = planned(&bare_v1, r#"{"memory": {"limit": 1}}"#)
        .unwrap_err()
        .to_string();
    assert!(error.contains("\"memory\""), "{error}");
}

#[test]
fn what_asks_for_nothing_needs_no_controller() {
    for host in [Host::v1("/cg", &["devices"]), Host::v2("/cg", &[])] {
        let resources = r#"{"memory": {"limit": 0, "checkBeforeUpdate": true, "kernel": 5}, "cpu": {"shares": 0}, "pids": {},
            "blockIO": {"weight": 0}, "network": {"classID": 0}, "rdma": {}, "unified": {}}"#;
        assert_eq!(writes(&host, resources), [""; 0]);
    }
}

#[test]
fn what_is_ignored_is_said() {
    let resources = r#"{"memory": {"kernel": 1, "kernelTCP": 1, "swappiness": 1}, "network": {"classID": 1}, "cpu": {"realtimeRuntime": 1}}"#;
    let warnings = planned(&Host::v2("/cg", &V2), resources)
        .unwrap()
        .warnings
        .join("\n");
    for name in [
        "memory/kernel:",
        "memory/kernelTCP:",
        "memory/swappiness:",
        "network:",
        "cpu/realtimeRuntime:",
    ] {
        assert!(
            warnings.contains(&format!("/linux/resources/{name}")),
            "{warnings}"
        );
    }
}

#[test]
fn cpu_weight_meets_the_three_fixed_points_and_never_falls() {
    for (shares, weight) in [
        (0, 1),
        (2, 1),
        (1024, 100),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(cpu::weight_of_shares(shares), weight);
    }
    let weights: Vec<u64> = (2..262_145)
        .step_by(61)
        .map(cpu::weight_of_shares)
        .collect();
    assert!(weights.is_sorted());
    assert!(weights.iter().all(|weight| (1..=10_000).contains(weight)));
}

#[test]
fn io_weight_covers_its_range() {
    assert_eq!([10, 100, 1000].map(io::io_weight), [1, 910, 10_000]);
}

#[test]
fn hybrid_hosts_keep_the_process_in_v2_too_and_enable_there_only_what_v1_lacks() {
    let host = Host::v1("/cg", &["memory", "devices", "freezer"]).with_unified(&["hugetlb"]);
    let plan = planned(&host, r#"{"memory": {"limit": 4096}}"#).unwrap();
    assert_eq!(plan.directories.len(), 4);
    assert!(plan.directories[3].controllers.is_empty());
    let resources =
        r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 4096}], "memory": {"limit": 4096}}"#;
    let plan = planned(&host, resources).unwrap();
    let unified = &plan.directories[3];
    assert_eq!(
        (unified.hierarchy.as_str(), unified.version),
        ("unified", Version::V2)
    );
    let names: Vec<&str> = unified
        .controllers
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(names, ["hugetlb"]);
    let huge: Vec<usize> = plan
        .writes
        .iter()
        .filter(|w| w.file.starts_with("hugetlb"))
        .map(|w| w.directory)
        .collect();
    assert_eq!(huge, [3, 3]);
    assert!(plan.device_program.is_none());
}

#[test]
fn v2_enables_what_limits_need_and_what_statistics_want() {
    let host = Host::v2("/cg", &V2);
    let plan = planned(
        &host,
        r#"{"pids": {"limit": 1}, "hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}"#,
    )
    .unwrap();
    let needed =
        |controller: &Controller| (controller.name.clone(), controller.needed_by.is_some());
    let controllers: Vec<(String, bool)> =
        plan.directories[0].controllers.iter().map(needed).collect();
    let expected = [
        ("cpu", false),
        ("cpuset", false),
        ("io", false),
        ("memory", false),
        ("pids", true),
        ("hugetlb", true),
    ];
    assert_eq!(
        controllers,
        expected.map(|(name, needed)| (name.to_owned(), needed))
    );
}

#[test]
fn a_disabled_manager_touches_nothing() {
    let linux: Linux = serde_json::from_str(r#"{"resources": {"memory": {"limit": 1}}}"#).unwrap();
    let plan = plan(Manager::Disabled, &linux, "id", &Host::default()).unwrap();
    assert_eq!(
        (
            plan.directories.len(),
            plan.writes.len(),
            plan.device_program
        ),
        (0, 0, None)
    );
}

#[test]
fn the_path_is_taken_from_the_roots_and_stays_beneath_them() {
    let at = |path| path::resolve(path, "id", "");
    for (given, path) in [
        (None, "id"),
        (Some(""), "id"),
        (Some("/docker/abc"), "docker/abc"),
        (Some("a//b/"), "a/b"),
        (Some("system.slice:docker:1"), "system.slice:docker:1"),
    ] {
        assert_eq!(at(given).unwrap(), path, "{given:?}");
    }
    let beside = |path| path::resolve(path, "id", "user.slice/x");
    for (given, path) in [
        (None, "user.slice/x/id"),
        (Some("a/b"), "user.slice/x/a/b"),
        (Some("/a/b"), "a/b"),
    ] {
        assert_eq!(beside(given).unwrap(), path, "{given:?}");
    }
    assert!(beside(Some("/")).is_err());
    for given in ["..", "/a/../b", "./a", "a/..", "/", "//"] {
        assert_eq!(
            at(Some(given)).unwrap_err().pointer,
            "/linux/cgroupsPath",
            "{given}"
        );
    }
}
