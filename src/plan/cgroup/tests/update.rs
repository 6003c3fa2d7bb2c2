//! New limits for a container that has some.

use super::*;

fn now() -> Now {
    Now {
        memory_max: Some(4096),
        memory_swap: Some(8192),
        cpu_max: CpuMax::parse("50000 200000\n"),
    }
}

fn updated(host: &Host, resources: &str, now: &Now) -> Result<Vec<String>, ResourceError> {
    let resources: Resources = serde_json::from_str(resources).unwrap();
    let plan = plan_update(&resources, false, host, now)?;
    assert_eq!(plan.device_program, None);
    let writes = plan.writes.iter();
    Ok(writes
        .map(|write| format!("{}={}", write.file, write.value))
        .collect())
}

#[test]
fn what_is_not_named_stays_and_what_belongs_together_is_kept_so() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("{}", &[], &[]),
        // The sum of memory and swap stays what was asked for.
        (
            r#"{"memory": {"limit": 6000}}"#,
            &["memory.limit_in_bytes=6000"],
            &["memory.swap.max=2192", "memory.max=6000"],
        ),
        (
            r#"{"memory": {"swap": 5000}}"#,
            &["memory.memsw.limit_in_bytes=5000"],
            &["memory.swap.max=904"],
        ),
        (
            r#"{"memory": {"swap": -1}}"#,
            &["memory.memsw.limit_in_bytes=-1"],
            &["memory.swap.max=max"],
        ),
        (
            r#"{"memory": {"limit": -1}}"#,
            &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
            &["memory.swap.max=max", "memory.max=max"],
        ),
        (
            r#"{"memory": {"disableOOMKiller": false}}"#,
            &["memory.oom_control=0"],
            &[],
        ),
        // v2 has quota and period in one file.
        (
            r#"{"cpu": {"period": 100000}}"#,
            &["cpu.cfs_period_us=100000"],
            &["cpu.max=50000 100000"],
        ),
        (
            r#"{"cpu": {"quota": 70000}}"#,
            &["cpu.cfs_quota_us=70000"],
            &["cpu.max=70000 200000"],
        ),
        (
            r#"{"cpu": {"quota": -1}}"#,
            &["cpu.cfs_quota_us=-1"],
            &["cpu.max=max 200000"],
        ),
        // Rules of devices are another matter.
        (
            r#"{"pids": {"limit": 0}, "devices": [{"allow": true, "access": "rwm"}]}"#,
            &["pids.max=0"],
            &["pids.max=0"],
        ),
    ];
    let (v1, v2) = (Host::v1("/cg", &V1), Host::v2("/cg", &V2));
    for (resources, on_v1, on_v2) in table {
        assert_eq!(
            updated(&v1, resources, &now()).unwrap(),
            *on_v1,
            "{resources}"
        );
        assert_eq!(
            updated(&v2, resources, &now()).unwrap(),
            *on_v2,
            "{resources}"
        );
    }
}

#[test]
fn limits_that_contradict_those_that_stay_are_refused() {
    let (v1, v2) = (Host::v1("/cg", &V1), Host::v2("/cg", &V2));
    let limit = r#"{"memory": {"limit": 9000}}"#;
    for host in [&v1, &v2] {
        let error = updated(host, limit, &now()).unwrap_err();
        assert_eq!(error.pointer, "/linux/resources/memory/limit");
        assert!(error.message.contains("8192"), "{error}");
    }
    let swap = r#"{"memory": {"swap": 4000}}"#;
    let error = updated(&v2, swap, &now()).unwrap_err();
    assert_eq!(error.pointer, "/linux/resources/memory/swap");
    let unlimited = Now {
        memory_max: None,
        ..now()
    };
    assert!(updated(&v2, swap, &unlimited).is_err());
    // v1 knows it itself.
    assert!(updated(&v1, swap, &now()).is_ok());
}

#[test]
fn swap_that_nobody_asked_for_is_left_alone() {
    let v2 = Host::v2("/cg", &V2);
    for memory_swap in [None, Some(-1)] {
        let now = Now {
            memory_swap,
            ..now()
        };
        let writes = updated(&v2, r#"{"memory": {"limit": 9000}}"#, &now).unwrap();
        assert_eq!(writes, ["memory.max=9000"]);
    }
}

#[test]
fn device_rules_are_replaced_when_that_is_said() {
    let resources: Resources =
        serde_json::from_str(r#"{"devices": [{"allow": true, "access": "rwm"}]}"#).unwrap();
    let plan = |host: &Host| plan_update(&resources, true, host, &Now::default()).unwrap();
    let v1 = plan(&Host::v1("/cg", &V1));
    assert_eq!(v1.writes[0].file, "devices.allow");
    assert!(plan(&Host::v2("/cg", &V2)).device_program.is_some());
}
