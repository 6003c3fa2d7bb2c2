//! Rules of `linux`, but for its resources.

use serde_json::{Value, json};

use super::{accepts, outcome, refuses, warns};

/// Changes that give the container a new user namespace.
fn user_namespace(map: Value) -> Vec<(&'static str, Value)> {
    vec![
        ("/linux/namespaces/-", json!({"type": "user"})),
        ("/linux/uidMappings", map.clone()),
        ("/linux/gidMappings", map),
    ]
}

fn map(lines: &[(u32, u32, u32)]) -> Value {
    lines
        .iter()
        .map(|(inside, host, size)| json!({"containerID": inside, "hostID": host, "size": size}))
        .collect()
}

#[test]
fn namespaces_are_known_single_and_joined_by_absolute_path() {
    accepts(&[
        ("/linux/namespaces/-", json!({"type": "time"})),
        ("/linux/namespaces/3/path", json!("/proc/7/ns/pid")),
        ("/linux/namespaces/3/path", json!("")),
    ]);
    refuses(&[
        (
            "/linux/namespaces/3/type",
            json!("pidd"),
            "/linux/namespaces/3/type",
            "unknown namespace \"pidd\" (allowed: pid, network,",
        ),
        (
            "/linux/namespaces/3/type",
            json!("pidd"),
            "/linux/namespaces/3/type",
            "did you mean \"pid\"?",
        ),
        (
            "/linux/namespaces/3/type",
            json!(null),
            "/linux/namespaces/3/type",
            "namespace is missing",
        ),
        (
            "/linux/namespaces/3/type",
            json!("uts"),
            "/linux/namespaces/3/type",
            "twice",
        ),
        (
            "/linux/namespaces/3/path",
            json!("ns/pid"),
            "/linux/namespaces/3/path",
            "not absolute",
        ),
    ]);
}

#[test]
fn mappings_and_user_namespaces_go_together() {
    assert_eq!(
        outcome(&user_namespace(map(&[(0, 100_000, 65536)]))),
        Ok(vec![])
    );
    refuses(&[
        (
            "/linux/namespaces/-",
            json!({"type": "user"}),
            "/linux/uidMappings",
            "needs mappings",
        ),
        (
            "/linux/gidMappings",
            map(&[(0, 0, 1)]),
            "/linux/gidMappings",
            "no user namespace",
        ),
    ]);
    let mut joined = user_namespace(map(&[(0, 100_000, 65536)]));
    joined[0].1 = json!({"type": "user", "path": "/proc/7/ns/user"});
    assert_eq!(outcome(&joined).map(|warnings| warnings.len()), Ok(2));
}

#[test]
fn mappings_are_ones_that_the_kernel_takes() {
    for (lines, pointer, words) in [
        (vec![(0, 0, 0)], "/linux/uidMappings/0/size", "at least 1"),
        (vec![(0, u32::MAX, 1)], "/linux/uidMappings/0", "hostID"),
        (
            vec![(u32::MAX, 0, 1)],
            "/linux/uidMappings/0",
            "containerID",
        ),
        (
            vec![(0, 1000, 10), (9, 2000, 10)],
            "/linux/uidMappings/1",
            "inside overlap",
        ),
        (
            vec![(0, 1000, 10), (10, 1005, 1)],
            "/linux/uidMappings/1",
            "on the host overlap",
        ),
        (
            (0..341).map(|i| (i, i, 1)).collect(),
            "/linux/uidMappings",
            "too many",
        ),
    ] {
        let error = outcome(&user_namespace(map(&lines))).unwrap_err();
        assert_eq!(error.pointer, pointer, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    let adjacent = map(&[(0, 1000, 10), (10, 1010, 1), (4_294_967_294, 5, 1)]);
    assert_eq!(outcome(&user_namespace(adjacent)), Ok(vec![]));
}

#[test]
fn the_ids_of_the_process_exist_in_its_user_namespace() {
    for (pointer, value, at) in [
        ("/process/user/uid", json!(11), "/process/user/uid"),
        ("/process/user/gid", json!(11), "/process/user/gid"),
        (
            "/process/user/additionalGids",
            json!([0, 11]),
            "/process/user/additionalGids/1",
        ),
    ] {
        let mut changes = user_namespace(map(&[(0, 1000, 11)]));
        assert_eq!(outcome(&changes), Ok(vec![]));
        changes.push((pointer, value));
        let error = outcome(&changes).unwrap_err();
        assert_eq!(error.pointer, at, "{error}");
        assert!(error.message.contains("11 is not mapped"), "{error}");
    }
}

#[test]
fn clocks_are_set_off_in_a_new_time_namespace_only() {
    let with_time = |namespace: Value, offsets: Value| {
        outcome(&[
            ("/linux/namespaces/-", namespace),
            ("/linux/timeOffsets", offsets),
        ])
        .map_err(|error| (error.pointer, error.message))
    };
    let new = json!({"type": "time"});
    let day = json!({"monotonic": {"secs": -86400}, "boottime": {"nanosecs": 999_999_999}});
    assert_eq!(with_time(new.clone(), day.clone()), Ok(vec![]));
    let joined = json!({"type": "time", "path": "/proc/7/ns/time"});
    assert_eq!(with_time(joined, day).unwrap_err().0, "/linux/timeOffsets");
    for (offsets, pointer) in [
        (json!({"realtime": {}}), "/linux/timeOffsets/realtime"),
        (
            json!({"boottime": {"nanosecs": 1_000_000_000}}),
            "/linux/timeOffsets/boottime/nanosecs",
        ),
        (
            json!({"boottime": {"secs": i64::MIN}}),
            "/linux/timeOffsets/boottime/secs",
        ),
    ] {
        assert_eq!(with_time(new.clone(), offsets).unwrap_err().0, pointer);
    }
}

#[test]
fn devices_are_ones_that_mknod_makes() {
    let device = |kind: &str, path: &str, major: i64, minor: i64| json!({"type": kind, "path": path, "major": major, "minor": minor});
    let first = device("c", "/dev/x", 1, 3);
    accepts(&[
        ("/linux/devices", json!([first, first])),
        (
            "/linux/devices",
            json!([device("c", "/dev/y", 1, 5), first, first]),
        ),
        (
            "/linux/devices",
            json!([first, device("u", "/dev/x", 1, 3)]),
        ),
        (
            "/linux/devices",
            json!([{"type": "p", "path": "/run/pipe"}]),
        ),
        // All of st_mode, as some engines write it.
        (
            "/linux/devices",
            json!([{"type": "c", "path": "/dev/x", "fileMode": 0o20666}]),
        ),
    ]);
    refuses(&[
        (
            "/linux/devices",
            json!([device("x", "/dev/x", 1, 3)]),
            "/linux/devices/0/type",
            "allowed: c, b, u, p",
        ),
        (
            "/linux/devices",
            json!([device("c", "dev/x", 1, 3)]),
            "/linux/devices/0/path",
            "not absolute",
        ),
        (
            "/linux/devices",
            json!([device("b", "/dev/x", 4096, 3)]),
            "/linux/devices/0/major",
            "0 to 4095",
        ),
        (
            "/linux/devices",
            json!([device("b", "/dev/x", 1, -1)]),
            "/linux/devices/0/minor",
            "0 to 1048575",
        ),
        (
            "/linux/devices",
            json!([first, device("b", "/dev/x", 1, 3)]),
            "/linux/devices/1/path",
            "another one",
        ),
        (
            "/linux/devices",
            json!([{"type": "c", "path": "/dev/x", "fileMode": 0o200666}]),
            "/linux/devices/0/fileMode",
            "octal 200666",
        ),
    ]);
}

#[test]
fn network_devices_have_names_that_the_kernel_takes() {
    accepts(&[(
        "/linux/netDevices",
        json!({"eth0": {"name": "a"}, "eth1": {}}),
    )]);
    refuses(&[
        (
            "/linux/netDevices",
            json!({"": {}}),
            "/linux/netDevices/",
            "not the name",
        ),
        (
            "/linux/netDevices",
            json!({"a/b": {}}),
            "/linux/netDevices/a~1b",
            "not the name",
        ),
        (
            "/linux/netDevices",
            json!({"abcdefghijklmnop": {}}),
            "/linux/netDevices/abcdefghijklmnop",
            "1 to 15",
        ),
        (
            "/linux/netDevices",
            json!({"e": {"name": ".."}}),
            "/linux/netDevices/e/name",
            "not the name",
        ),
        (
            "/linux/netDevices",
            json!({"e": {"name": "f"}, "f": {}}),
            "/linux/netDevices/e",
            "both be called \"f\"",
        ),
    ]);
}

#[test]
fn kernel_parameters_belong_to_a_namespace_of_the_container() {
    accepts(&[
        (
            "/linux/sysctl",
            json!({"kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "1"}),
        ),
        (
            "/linux/sysctl",
            json!({"net/ipv4/conf/eth0.100/rp_filter": "1"}),
        ),
        ("/linux/sysctl", json!({"kernel.domainname": "x"})),
    ]);
    for (key, words) in [
        ("vm.max_map_count", "not in a separate kernel namespace"),
        (
            "kernel.hostname",
            "conflicts with the OCI \"hostname\" field",
        ),
        ("kernel.msgmax.x", "not in a separate"),
        ("netx.ipv4", "not in a separate"),
        ("fs.mqueue", "not in a separate"),
        ("user.max_user_namespaces", "host's user namespace"),
        ("net/../kernel/core_pattern", "is not a name"),
    ] {
        let pointer = format!("/linux/sysctl/{}", key.replace('/', "~1"));
        refuses(&[("/linux/sysctl", json!({key: "1"}), &pointer, words)]);
    }
    let without = |index: &str, key: &str| {
        outcome(&[
            (&format!("/linux/namespaces/{index}/type"), json!("time")),
            ("/linux/sysctl", json!({key: "1"})),
        ])
        .unwrap_err()
        .message
    };
    assert!(without("4", "kernel.sem").contains("host's ipc namespace"));
    assert!(without("1", "net.core.somaxconn").contains("host's network namespace"));
}

#[test]
fn paths_of_linux_are_absolute_or_below() {
    accepts(&[
        ("/linux/cgroupsPath", json!("system.slice:docker:4f0b9a")),
        ("/linux/cgroupsPath", json!("a/..b")),
        ("/linux/rootfsPropagation", json!("rslave")),
    ]);
    refuses(&[
        (
            "/linux/cgroupsPath",
            json!("/a/../../b"),
            "/linux/cgroupsPath",
            "must not contain",
        ),
        (
            "/linux/maskedPaths/0",
            json!("proc/asound"),
            "/linux/maskedPaths/0",
            "not absolute",
        ),
        (
            "/linux/readonlyPaths/1",
            json!(""),
            "/linux/readonlyPaths/1",
            "missing",
        ),
        (
            "/linux/namespaces/0/type",
            json!("time"),
            "/linux/maskedPaths",
            "mount namespace",
        ),
        (
            "/linux/rootfsPropagation",
            json!("slaves"),
            "/linux/rootfsPropagation",
            "did you mean \"slave\"?",
        ),
    ]);
}

#[test]
fn personality_has_a_known_domain_and_its_flags_are_ignored() {
    accepts(&[("/linux/personality", json!({"domain": "LINUX32"}))]);
    refuses(&[
        (
            "/linux/personality",
            json!({}),
            "/linux/personality/domain",
            "missing",
        ),
        (
            "/linux/personality",
            json!({"domain": "linux"}),
            "/linux/personality/domain",
            "did you mean \"LINUX\"?",
        ),
    ]);
    warns(&[(
        "/linux/personality",
        json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}),
        "/linux/personality/flags",
        "ignored",
    )]);
}

#[test]
fn memory_policies_are_ones_that_set_mempolicy_takes() {
    let at = "/linux/memoryPolicy";
    accepts(&[
        (at, json!({"mode": "MPOL_DEFAULT"})),
        (at, json!({"mode": "MPOL_PREFERRED"})),
        (
            at,
            json!({"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"]}),
        ),
    ]);
    refuses(&[
        (at, json!({}), "/linux/memoryPolicy/mode", "missing"),
        (
            at,
            json!({"mode": "BIND"}),
            "/linux/memoryPolicy/mode",
            "did you mean \"MPOL_BIND\"?",
        ),
        (
            at,
            json!({"mode": "MPOL_BIND"}),
            "/linux/memoryPolicy/nodes",
            "at least one node",
        ),
        (
            at,
            json!({"mode": "MPOL_LOCAL", "nodes": "0"}),
            "/linux/memoryPolicy/nodes",
            "takes no nodes",
        ),
        (
            at,
            json!({"mode": "MPOL_BIND", "nodes": "1024"}),
            "/linux/memoryPolicy/nodes",
            "no memory node 1024",
        ),
        (
            at,
            json!({"mode": "MPOL_BIND", "nodes": "a"}),
            "/linux/memoryPolicy/nodes",
            "neither a number",
        ),
        (
            at,
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]}),
            "/linux/memoryPolicy/flags/0",
            "unknown",
        ),
        (
            at,
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}),
            "/linux/memoryPolicy/flags",
            "exclude each other",
        ),
        (
            at,
            json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}),
            "/linux/memoryPolicy/flags",
            "MPOL_PREFERRED_MANY",
        ),
        (
            at,
            json!({"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"]}),
            "/linux/memoryPolicy/flags",
            "need nodes",
        ),
    ]);
}

#[test]
fn classes_of_service_are_directory_names() {
    let at = "/linux/intelRdt";
    accepts(&[
        (
            at,
            json!({"closID": "gold", "schemata": ["L3:0=f"], "memBwSchema": "MB:0=20"}),
        ),
        (at, json!({"closID": "/"})),
        (at, json!({})),
    ]);
    refuses(&[
        (
            at,
            json!({"closID": ".."}),
            "/linux/intelRdt/closID",
            "class of service",
        ),
        (
            at,
            json!({"closID": "a/b"}),
            "/linux/intelRdt/closID",
            "class of service",
        ),
        (
            at,
            json!({"schemata": ["a\nb"]}),
            "/linux/intelRdt/schemata/0",
            "line break",
        ),
        (
            at,
            json!({"memBwSchema": "L3:0=f"}),
            "/linux/intelRdt/memBwSchema",
            "MB:",
        ),
    ]);
}

#[test]
fn a_user_that_is_absent_and_not_mapped_is_named_where_it_is_missing() {
    let mut changes = user_namespace(map(&[(1, 1000, 10)]));
    changes.push(("/process/user", json!(null)));
    let error = outcome(&changes).unwrap_err();
    assert_eq!(error.pointer, "/process/user", "{error}");
    assert!(error.message.contains("user 0 is not mapped"), "{error}");
}

#[test]
fn a_cgroups_path_with_a_line_break_is_refused_before_the_kernel_does() {
    let error = outcome(&[("/linux/cgroupsPath", json!("/two\nlines"))]).unwrap_err();
    assert_eq!(error.pointer, "/linux/cgroupsPath", "{error}");
}
