//! How long lists are planned: in time that grows with their length, so that a hostile or
//! generated configuration cannot hold the runtime up. (Linear work takes a tenth of a second here,
//! work that grows with the square many seconds.)

use std::time::Duration;

use serde_json::{Value, json};

use super::cgroup::{self, Host, Manager};
use super::seccomp::{self, Arch};
use crate::config::{check, parse};

const BASES: [&str; 3] = [
    include_str!("../config/fixtures/good/docker.json"),
    include_str!("../config/fixtures/good/spec-example.json"),
    r#"{
        "root": {"path": "rootfs"},
        "process": {"args": ["/bin/true"], "cwd": "/"},
        "linux": {
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                "syscalls": [
                    {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [
                        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
                    {"names": ["read", "nosuch/1"], "action": "SCMP_ACT_LOG", "args": []}
                ]
            }
        }
    }"#,
];
/// Items of each list. Real ones have some hundred.
const COUNT: usize = 10_000;
/// Of processor time: other work on the machine does not count.
const LIMIT: Duration = Duration::from_secs(3);

/// What this thread has used so far.
fn used() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap()
}

/// Everything before the first effect; whether it is taken does not matter here.
fn work_out(text: &str) {
    let Ok(spec) = parse(text.as_bytes()) else {
        return;
    };
    if check(&spec).is_err() {
        return;
    }
    // What one step refuses is no reason to leave out the next.
    let _ = super::plan(&spec, "/bundle");
    let Some(linux) = &spec.linux else { return };
    for host in [
        Host::v1(
            "/sys/fs/cgroup",
            &[
                "memory", "cpu", "devices", "pids", "blkio", "hugetlb", "rdma", "net_prio",
                "net_cls", "cpuset",
            ],
        ),
        Host::v2(
            "/sys/fs/cgroup",
            &["memory", "cpu", "pids", "io", "hugetlb", "rdma", "cpuset"],
        ),
    ] {
        let _ = cgroup::plan(Manager::Cgroupfs, linux, "id", &host);
    }
    if let Some(section) = &linux.seccomp {
        let _ = seccomp::compile(section, Arch::X86_64);
    }
}

fn lists(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            found.push(at.clone());
            for (index, item) in items.iter().enumerate().take(2) {
                lists(item, format!("{at}/{index}"), found);
            }
        }
        Value::Object(members) => {
            if members.len() > 1 && members.values().all(Value::is_string) {
                found.push(at.clone());
            }
            for (key, value) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                lists(value, format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
}

/// The item, different for each number where a text or a number in it can differ.
fn numbered(item: &Value, number: usize) -> Value {
    match item {
        Value::String(text) if text.starts_with('/') || text.contains('=') => {
            json!(format!("{text}{number}"))
        }
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| match (key.as_str(), value) {
                ("minor" | "containerID" | "hostID" | "value" | "limit", Value::Number(_)) => {
                    (key.clone(), json!(number * 2))
                }
                ("size", Value::Number(_)) => (key.clone(), json!(1)),
                ("destination" | "path", value) => (key.clone(), numbered(value, number)),
                ("args", Value::Array(args)) => {
                    let args = args.iter().map(|arg| numbered(arg, number)).collect();
                    (key.clone(), Value::Array(args))
                }
                ("pageSize", _) => (key.clone(), json!(format!("{number}MB"))),
                ("name", Value::String(name)) => (key.clone(), json!(format!("{name}{number}"))),
                _ => (key.clone(), value.clone()),
            })
            .collect(),
        other => other.clone(),
    }
}

#[test]
fn long_lists_are_worked_out_in_time_that_grows_with_their_length() {
    for base in BASES {
        let config: Value = serde_json::from_str(base).unwrap();
        let mut found = Vec::new();
        lists(&config, String::new(), &mut found);
        assert!(found.len() > 4, "{found:?}");
        for pointer in found {
            for differ in [false, true] {
                let mut config = config.clone();
                match config.pointer_mut(&pointer) {
                    Some(Value::Array(items)) => {
                        let kinds = items.clone();
                        let all = (0..COUNT).zip(kinds.iter().cycle());
                        items.extend(all.map(|(number, item)| match differ {
                            true => numbered(item, number),
                            false => item.clone(),
                        }));
                    }
                    Some(Value::Object(members)) => {
                        members.extend((0..COUNT).map(|n| (format!("x.y{n}"), json!("1"))));
                    }
                    _ => unreachable!("lists gives arrays and objects"),
                }
                let text = config.to_string();
                let begin = used();
                work_out(&text);
                let took = used() - begin;
                assert!(took < LIMIT, "{pointer}, {COUNT} items: {took:?}");
            }
        }
    }
}
