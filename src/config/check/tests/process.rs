//! Rules of `process`.

use serde_json::json;

use super::{accepts, outcome, refuses, warns};

#[test]
fn there_is_something_to_run_somewhere() {
    refuses(&[
        (
            "/process/args",
            json!([]),
            "/process/args",
            "must not be empty",
        ),
        (
            "/process/args",
            json!(null),
            "/process/args",
            "must not be empty",
        ),
        (
            "/process/args/0",
            json!(""),
            "/process/args/0",
            "executable file not found in $PATH",
        ),
        ("/process/cwd", json!(null), "/process/cwd", "missing"),
        ("/process/cwd", json!("tmp"), "/process/cwd", "not absolute"),
    ]);
}

#[test]
fn environment_variables_have_a_name_and_their_text_is_not_repeated() {
    accepts(&[
        ("/process/env", json!(null)),
        ("/process/env", json!(["A=", "B=c=d"])),
    ]);
    refuses(&[
        (
            "/process/env/1",
            json!("hush"),
            "/process/env/1",
            "no \"=\"",
        ),
        (
            "/process/env/1",
            json!("=hush"),
            "/process/env/1",
            "name is empty",
        ),
    ]);
    let error = outcome(&[("/process/env/1", json!("hush"))]).unwrap_err();
    assert!(!error.to_string().contains("hush"), "{error}");
}

#[test]
fn numbers_of_the_process_are_in_range() {
    accepts(&[
        ("/process/oomScoreAdj", json!(-1000)),
        ("/process/oomScoreAdj", json!(1000)),
        ("/process/user/umask", json!(0o777)),
    ]);
    refuses(&[
        (
            "/process/oomScoreAdj",
            json!(1001),
            "/process/oomScoreAdj",
            "-1000 to 1000",
        ),
        (
            "/process/oomScoreAdj",
            json!(-1001),
            "/process/oomScoreAdj",
            "-1000 to 1000",
        ),
        (
            "/process/user/umask",
            json!(0o1000),
            "/process/user/umask",
            "octal 1000",
        ),
    ]);
    let groups = json!(vec![7; 65537]);
    refuses(&[(
        "/process/user/additionalGids",
        groups,
        "/process/user/additionalGids",
        "at most 65536",
    )]);
}

#[test]
fn unknown_capabilities_are_ignored_with_a_warning() {
    warns(&[
        (
            "/process/capabilities/bounding/-",
            json!("CAP_CHWON"),
            "/process/capabilities/bounding/14",
            "did you mean \"CAP_CHOWN\"?",
        ),
        (
            "/process/capabilities/bounding/-",
            json!("cap_bpf"),
            "/process/capabilities/bounding/14",
            "did you mean \"CAP_BPF\"?",
        ),
        (
            "/process/capabilities/bounding/-",
            json!("NET_ADMIN"),
            "/process/capabilities/bounding/14",
            "did you mean \"CAP_NET_ADMIN\"?",
        ),
        (
            "/process/capabilities/bounding/-",
            json!("everything"),
            "/process/capabilities/bounding/14",
            "unknown capability \"everything\" is ignored",
        ),
    ]);
}

#[test]
fn capability_sets_are_ones_that_the_kernel_takes() {
    accepts(&[
        ("/process/capabilities", json!({})),
        ("/process/capabilities", json!(null)),
        (
            "/process/capabilities",
            json!({"permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}),
        ),
    ]);
    refuses(&[(
        "/process/capabilities/effective/-",
        json!("CAP_SYS_ADMIN"),
        "/process/capabilities/effective",
        "CAP_SYS_ADMIN is effective but not permitted",
    )]);
    warns(&[(
        "/process/capabilities/ambient",
        json!(["CAP_KILL"]),
        "/process/capabilities/ambient",
        "CAP_KILL cannot be ambient",
    )]);
}

#[test]
fn resource_limits_are_known_single_and_in_order() {
    accepts(&[(
        "/process/rlimits",
        json!([{"type": "RLIMIT_RTTIME", "soft": 0, "hard": u64::MAX}]),
    )]);
    refuses(&[
        (
            "/process/rlimits/0/type",
            json!("RLIMIT_NOFILES"),
            "/process/rlimits/0/type",
            "did you mean \"RLIMIT_NOFILE\"?",
        ),
        (
            "/process/rlimits/0/type",
            json!(null),
            "/process/rlimits/0/type",
            "the resource limit is missing",
        ),
        (
            "/process/rlimits/-",
            json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}),
            "/process/rlimits/1/type",
            "twice",
        ),
        (
            "/process/rlimits/0/soft",
            json!(1_048_577),
            "/process/rlimits/0",
            "above the hard limit",
        ),
    ]);
}

#[test]
fn the_scheduler_is_one_that_sched_setattr_takes() {
    let at = "/process/scheduler";
    accepts(&[
        (at, json!({"policy": "SCHED_OTHER", "nice": -20})),
        (
            at,
            json!({"policy": "SCHED_FIFO", "priority": 99, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
        ),
        (
            at,
            json!({"policy": "SCHED_DEADLINE", "runtime": 42000, "deadline": 1000000, "period": 1000000}),
        ),
        (
            at,
            json!({"policy": "SCHED_DEADLINE", "runtime": 42000, "deadline": 1000000}),
        ),
        (
            at,
            json!({"policy": "SCHED_FIFO", "flags": ["SCHED_FLAG_KEEP_PARAMS"]}),
        ),
    ]);
    refuses(&[
        (at, json!({}), "/process/scheduler/policy", "missing"),
        (
            at,
            json!({"policy": "FIFO"}),
            "/process/scheduler/policy",
            "did you mean \"SCHED_FIFO\"?",
        ),
        (
            at,
            json!({"policy": "SCHED_OTHER", "nice": 20}),
            "/process/scheduler/nice",
            "-20 to 19",
        ),
        (
            at,
            json!({"policy": "SCHED_OTHER", "priority": 1}),
            "/process/scheduler/priority",
            "SCHED_FIFO or SCHED_RR",
        ),
        (
            at,
            json!({"policy": "SCHED_RR"}),
            "/process/scheduler/priority",
            "1 to 99",
        ),
        (
            at,
            json!({"policy": "SCHED_RR", "priority": 1, "period": 9}),
            "/process/scheduler/period",
            "SCHED_DEADLINE",
        ),
        (
            at,
            json!({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 4000}),
            "/process/scheduler",
            "runtime <= deadline",
        ),
        (
            at,
            json!({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_X"]}),
            "/process/scheduler/flags/0",
            "unknown scheduling flag",
        ),
    ]);
}

#[test]
fn io_priority_and_affinity_are_in_range() {
    accepts(&[
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE"})),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 7}),
        ),
        (
            "/process/execCPUAffinity",
            json!({"initial": "0-3, 7", "final": ""}),
        ),
    ]);
    refuses(&[
        (
            "/process/ioPriority",
            json!({"class": "BE"}),
            "/process/ioPriority/class",
            "did you mean \"IOPRIO_CLASS_BE\"?",
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
            "/process/ioPriority/priority",
            "0 to 7",
        ),
        (
            "/process/execCPUAffinity",
            json!({"final": "3-1"}),
            "/process/execCPUAffinity/final",
            "ends before it starts",
        ),
        (
            "/process/execCPUAffinity",
            json!({"initial": "9999"}),
            "/process/execCPUAffinity/initial",
            "no CPU 9999",
        ),
        (
            "/process/execCPUAffinity",
            json!({"initial": " , "}),
            "/process/execCPUAffinity/initial",
            "names no CPU",
        ),
    ]);
}
