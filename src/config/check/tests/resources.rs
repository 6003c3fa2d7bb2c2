//! Rules of `linux.resources`.

use serde_json::json;

use super::{accepts, refuses};

#[test]
fn device_rules_are_complete() {
    let at = "/linux/resources/devices/1";
    accepts(&[
        (at, json!({"allow": true, "access": "rw"})),
        (
            at,
            json!({"allow": true, "type": "b", "major": -1, "minor": 7, "access": "m"}),
        ),
        (at, json!({"allow": true, "type": "", "access": "rwm"})),
    ]);
    refuses(&[
        (
            at,
            json!({"allow": true}),
            "/linux/resources/devices/1/access",
            "access is missing",
        ),
        (
            at,
            json!({"access": "rx"}),
            "/linux/resources/devices/1/access",
            "unknown access \"rx\"",
        ),
        (
            at,
            json!({"type": "u", "access": "r"}),
            "/linux/resources/devices/1/type",
            "allowed: a, b, c",
        ),
        (
            at,
            json!({"major": -2, "access": "r"}),
            "/linux/resources/devices/1/major",
            "-1 for any",
        ),
    ]);
}

#[test]
fn memory_limits_are_bytes_or_unlimited() {
    accepts(&[
        (
            "/linux/resources/memory",
            json!({"limit": -1, "swap": -1, "reservation": 0}),
        ),
        (
            "/linux/resources/memory",
            json!({"limit": 1000, "swap": 1000, "swappiness": 100}),
        ),
        ("/linux/resources/memory", json!({"swappiness": u64::MAX})),
    ]);
    refuses(&[
        (
            "/linux/resources/memory/limit",
            json!(-2),
            "/linux/resources/memory/limit",
            "-1 for no limit",
        ),
        (
            "/linux/resources/memory/swap",
            json!(1),
            "/linux/resources/memory/swap",
            "less than memory alone",
        ),
        (
            "/linux/resources/memory/swappiness",
            json!(101),
            "/linux/resources/memory/swappiness",
            "0 to 100",
        ),
    ]);
}

#[test]
fn cpu_limits_name_cpus_and_nodes() {
    accepts(&[(
        "/linux/resources/cpu",
        json!({"cpus": "0-3,7", "mems": "", "quota": -1, "idle": 1}),
    )]);
    refuses(&[
        (
            "/linux/resources/cpu/cpus",
            json!("0-"),
            "/linux/resources/cpu/cpus",
            "neither a number",
        ),
        (
            "/linux/resources/cpu/mems",
            json!("2-1"),
            "/linux/resources/cpu/mems",
            "ends before",
        ),
        (
            "/linux/resources/cpu/idle",
            json!(2),
            "/linux/resources/cpu/idle",
            "0 or 1",
        ),
        (
            "/linux/resources/cpu/shares",
            json!(-1),
            "/linux/resources/cpu/shares",
            "a whole number from 0",
        ),
    ]);
}

#[test]
fn block_io_weights_and_devices_are_in_range() {
    let at = "/linux/resources/blockIO";
    accepts(&[
        (at, json!({"weight": 10, "leafWeight": 1000})),
        (
            at,
            json!({"weightDevice": [{"major": 8, "minor": 0, "weight": 500}]}),
        ),
        (
            at,
            json!({"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}]}),
        ),
    ]);
    refuses(&[
        (
            at,
            json!({"weight": 9}),
            "/linux/resources/blockIO/weight",
            "10 to 1000",
        ),
        (
            at,
            json!({"leafWeight": 1001}),
            "/linux/resources/blockIO/leafWeight",
            "10 to 1000",
        ),
        (
            at,
            json!({"weightDevice": [{"major": -8, "minor": 0, "weight": 500}]}),
            "/linux/resources/blockIO/weightDevice/0/major",
            "out of range",
        ),
        (
            at,
            json!({"throttleWriteIOPSDevice": [{"major": 8, "minor": -1, "rate": 600}]}),
            "/linux/resources/blockIO/throttleWriteIOPSDevice/0/minor",
            "out of range",
        ),
    ]);
}

#[test]
fn other_limits_have_names_that_are_names() {
    let resources = "/linux/resources";
    accepts(&[
        (
            "/linux/resources/hugepageLimits",
            json!([{"pageSize": "64KB", "limit": 1}]),
        ),
        ("/linux/resources/unified", json!({"memory.high": "max"})),
        (
            "/linux/resources/network",
            json!({"classID": 1, "priorities": [{"name": "eth0", "priority": 1}]}),
        ),
        (resources, json!(null)),
        (
            "/linux/resources/rdma",
            json!({"mlx5_1": {"hcaHandles": 3}}),
        ),
    ]);
    for size in ["64kB", "0MB", "MB", "2M", "2 MB", ""] {
        refuses(&[(
            "/linux/resources/hugepageLimits",
            json!([{"pageSize": size, "limit": 1}]),
            "/linux/resources/hugepageLimits/0/pageSize",
            "size of a page",
        )]);
    }
    refuses(&[
        (
            "/linux/resources/rdma",
            json!({"mlx5 1": {}}),
            "/linux/resources/rdma/mlx5 1",
            "RDMA device",
        ),
        (
            "/linux/resources/unified",
            json!({"a/b": "1"}),
            "/linux/resources/unified/a~1b",
            "cgroup file",
        ),
        (
            "/linux/resources/unified",
            json!({"..": "1"}),
            "/linux/resources/unified/..",
            "cgroup file",
        ),
        (
            "/linux/resources/network",
            json!({"priorities": [{"name": "a:b", "priority": 1}]}),
            "/linux/resources/network/priorities/0/name",
            "not the name",
        ),
    ]);
}
