//! What is special about single writes.

use super::*;

#[test]
fn files_that_a_kernel_may_lack_have_another_way() {
    let (v1, v2) = (Host::v1("/cg", &V1), Host::v2("/cg", &V2));
    let instead = |file, value: &str| Missing::Instead(file, value.to_owned());
    for (host, resources, expected) in [
        (
            &v1,
            r#"{"blockIO": {"weight": 500}}"#,
            vec![instead("blkio.bfq.weight", "500")],
        ),
        (
            &v1,
            r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 1, "weight": 300, "leafWeight": 20}]}}"#,
            vec![
                instead("blkio.bfq.weight_device", "8:1 300"),
                // No kernel that is still looked after has leaf weights.
                Missing::Fail,
            ],
        ),
        (
            &v2,
            r#"{"blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 1, "weight": 1000}]}}"#,
            vec![
                instead("io.weight", "4950"),
                instead("io.weight", "8:1 10000"),
            ],
        ),
        (
            &v2,
            r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}"#,
            vec![Missing::Fail, Missing::Skip],
        ),
        (&v1, r#"{"cpu": {"burst": 5}}"#, vec![Missing::Skip]),
        (
            &v2,
            r#"{"memory": {"limit": 8, "swap": 8}}"#,
            vec![Missing::Skip, Missing::Fail],
        ),
        (
            &v2,
            r#"{"memory": {"limit": 8, "swap": 9}}"#,
            vec![Missing::Fail, Missing::Fail],
        ),
        (
            &v1,
            r#"{"memory": {"limit": -1}}"#,
            vec![Missing::Fail, Missing::Skip],
        ),
    ] {
        let plan = planned(host, resources).unwrap();
        let found: Vec<Missing> = plan
            .writes
            .into_iter()
            .filter(|w| w.phase != Phase::Devices)
            .map(|w| w.missing)
            .collect();
        assert_eq!(found, expected, "{resources}");
    }
}

#[test]
fn a_limit_is_compared_with_the_usage_where_that_is_asked_for() {
    let (v1, v2) = (Host::v1("/cg", &V1), Host::v2("/cg", &V2));
    for (host, check, limit, above) in [
        (&v2, true, 4096, Some("memory.current")),
        (&v2, false, 4096, None),
        // Nothing is above no limit.
        (&v2, true, -1, None),
        // The kernel itself refuses it on v1.
        (&v1, true, 4096, None),
    ] {
        let resources =
            format!(r#"{{"memory": {{"limit": {limit}, "checkBeforeUpdate": {check}}}}}"#);
        let plan = planned(host, &resources).unwrap();
        let write = plan
            .writes
            .iter()
            .find(|w| w.pointer.ends_with("limit") && !w.file.contains("sw"));
        assert_eq!(write.unwrap().above, above, "{resources}");
    }
}

#[test]
fn values_that_limit_each_other_are_tried_twice() {
    let (v1, v2) = (Host::v1("/cg", &V1), Host::v2("/cg", &V2));
    let resources = r#"{"memory": {"limit": 4096, "swap": 8192},
        "cpu": {"quota": 5, "period": 10, "burst": 1, "realtimeRuntime": 5, "realtimePeriod": 10}}"#;
    let twice = |host| -> Vec<String> {
        let writes = planned(host, resources).unwrap().writes.into_iter();
        writes
            .filter(|w| w.retry)
            .map(|w| w.file.into_owned())
            .collect()
    };
    let expected = [
        "memory.limit_in_bytes",
        "cpu.rt_period_us",
        "cpu.cfs_period_us",
        "cpu.cfs_quota_us",
    ];
    assert_eq!(twice(&v1), expected);
    assert_eq!(twice(&v2), ["cpu.max"]);
}
