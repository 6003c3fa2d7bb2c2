//! The rules of `check`, as tables of what is accepted, what is refused and
//! what is warned of. Each case is one change to a Docker-shaped configuration.

mod linux;
mod mounts;
mod process;
mod resources;

use serde_json::{Value, json};

use crate::config::{ConfigError, Warning, check, check_process, parse, parse_process};

/// The configuration that is changed.
const DOCKER: &str = include_str!("../fixtures/good/docker.json");

/// The Docker-shaped configuration with `value` at `pointer`; missing objects
/// on the way are made, and `-` appends to an array.
fn with(changes: &[(&str, Value)]) -> String {
    let mut config: Value = serde_json::from_str(DOCKER).unwrap();
    for (pointer, value) in changes {
        *slot(&mut config, pointer) = value.clone();
    }
    config.to_string()
}

fn slot<'v>(config: &'v mut Value, pointer: &str) -> &'v mut Value {
    let mut place = config;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if !place.is_array() && !place.is_object() {
            *place = json!({});
        }
        if step == "-" {
            place.as_array_mut().unwrap().push(Value::Null);
        }
        place = match place {
            Value::Array(list) => match step.parse::<usize>() {
                Ok(index) => &mut list[index],
                Err(_) => list.last_mut().unwrap(),
            },
            object => &mut object[step],
        };
    }
    place
}

fn outcome(changes: &[(&str, Value)]) -> Result<Vec<Warning>, ConfigError> {
    let text = with(changes);
    check(&parse(text.as_bytes())?)
}

/// Requires that each change alone is accepted without a warning.
fn accepts(cases: &[(&str, Value)]) {
    for case in cases {
        let found = outcome(std::slice::from_ref(case));
        assert_eq!(found, Ok(Vec::new()), "{} = {}", case.0, case.1);
    }
}

/// Requires that each change is refused where the third member says, with the
/// words of the fourth.
fn refuses(cases: &[(&str, Value, &str, &str)]) {
    for (pointer, value, at, words) in cases {
        let error = outcome(&[(pointer, value.clone())])
            .expect_err(&format!("{pointer} = {value} must be refused"));
        assert_eq!(error.pointer, *at, "{error}");
        assert!(error.to_string().contains(words), "{error}, not {words}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

/// Requires that each change is accepted with exactly one warning.
fn warns(cases: &[(&str, Value, &str, &str)]) {
    for (pointer, value, at, words) in cases {
        let warnings = outcome(&[(pointer, value.clone())]).unwrap();
        let [warning] = warnings.as_slice() else {
            panic!("{pointer} = {value}: {warnings:?}");
        };
        assert_eq!(warning.pointer, *at, "{warning}");
        assert!(warning.message.contains(words), "{warning}, not {words}");
    }
}

#[test]
fn a_docker_shaped_configuration_passes_without_warnings() {
    assert_eq!(outcome(&[]), Ok(Vec::new()));
}

#[test]
fn configurations_shaped_like_those_of_the_engines_pass_without_warnings() {
    for (engine, text) in [
        (
            "containerd",
            include_str!("../fixtures/good/kubernetes.json"),
        ),
        ("podman", include_str!("../fixtures/good/podman.json")),
    ] {
        let spec = parse(text.as_bytes()).unwrap();
        assert_eq!(check(&spec), Ok(Vec::new()), "{engine}");
    }
}

#[test]
fn the_schemas_good_examples_pass() {
    for (name, text) in [
        (
            "minimal-for-start",
            include_str!("../fixtures/good/minimal-for-start.json"),
        ),
        (
            "spec-example",
            include_str!("../fixtures/good/spec-example.json"),
        ),
    ] {
        let spec = parse(text.as_bytes()).unwrap();
        if let Err(error) = check(&spec) {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn examples_without_a_process_parse_and_say_what_is_missing() {
    for text in [
        include_str!("../fixtures/good/minimal.json"),
        include_str!("../fixtures/good/linux-rdma.json"),
    ] {
        let error = check(&parse(text.as_bytes()).unwrap()).unwrap_err();
        assert_eq!(error.pointer, "/process");
    }
}

#[test]
fn moved_network_devices_need_a_network_namespace() {
    let text = include_str!("../fixtures/good/linux-netdevice.json");
    let error = check(&parse(text.as_bytes()).unwrap()).unwrap_err();
    assert_eq!(error.pointer, "/linux/netDevices");
}

#[test]
fn the_schemas_bad_examples_are_refused_where_they_are_bad() {
    for (text, pointer) in [
        (include_str!("../fixtures/bad/invalid-json.json"), ""),
        (
            include_str!("../fixtures/bad/linux-hugepage.json"),
            "/linux/resources/hugepageLimits/0/pageSize",
        ),
        (
            include_str!("../fixtures/bad/linux-netdevice.json"),
            "/linux/netDevices/eth0/name",
        ),
        (
            include_str!("../fixtures/bad/linux-rdma.json"),
            "/linux/resources/rdma/mlx5_1/hcaHandles",
        ),
    ] {
        let error = parse(text.as_bytes())
            .and_then(|spec| check(&spec))
            .unwrap_err();
        assert_eq!(error.pointer, pointer, "{error}");
    }
}

#[test]
fn a_strange_version_is_no_reason_to_refuse() {
    accepts(&[
        ("/ociVersion", json!("1.0.2-dev")),
        ("/ociVersion", json!("0.5.0")),
        ("/ociVersion", json!("1.3.0+corten.1")),
    ]);
    warns(&[
        ("/ociVersion", json!(null), "/ociVersion", "missing"),
        ("/ociVersion", json!("one"), "/ociVersion", "\"one\""),
        ("/ociVersion", json!("1.0"), "/ociVersion", "\"1.0\""),
        ("/ociVersion", json!("2.0.0"), "/ociVersion", "newer"),
    ]);
}

#[test]
fn what_every_container_needs_is_required() {
    refuses(&[
        ("/root", json!(null), "/root", "root file system is missing"),
        ("/root", json!({}), "/root/path", "missing"),
        ("/root/path", json!("a".repeat(5000)), "/root/path", "4095"),
        ("/root/path", json!("a".repeat(256)), "/root/path", "255"),
        ("/process", json!(null), "/process", "process is missing"),
        ("/annotations", json!({"": "x"}), "/annotations", "empty"),
    ]);
}

#[test]
fn names_of_the_host_need_a_uts_namespace_and_fit_into_it() {
    accepts(&[
        ("/hostname", json!("")),
        ("/domainname", json!("a".repeat(64))),
        ("/linux/namespaces/2/path", json!("/proc/1/ns/uts")),
    ]);
    refuses(&[
        (
            "/hostname",
            json!("a".repeat(65)),
            "/hostname",
            "at most 64",
        ),
        (
            "/linux/namespaces/2/type",
            json!("time"),
            "/hostname",
            "UTS",
        ),
        ("/domainname", json!("a".repeat(65)), "/domainname", "64"),
    ]);
}

#[test]
fn hooks_have_absolute_paths_and_real_timeouts() {
    accepts(&[
        ("/hooks/poststop", json!([{"path": "/bin/true"}])),
        (
            "/hooks/poststop",
            json!([{"path": "/bin/true", "timeout": 1}]),
        ),
        ("/hooks", json!(null)),
    ]);
    let at = "/hooks/startContainer";
    refuses(&[
        (at, json!([{}]), "/hooks/startContainer/0/path", "missing"),
        (
            at,
            json!([{"path": "/a"}, {"path": "sh"}]),
            "/hooks/startContainer/1/path",
            "not absolute",
        ),
        (
            at,
            json!([{"path": "/a", "timeout": 0}]),
            "/hooks/startContainer/0/timeout",
            "out of range",
        ),
        (
            at,
            json!([{"path": "/a", "timeout": -1}]),
            "/hooks/startContainer/0/timeout",
            "out of range",
        ),
    ]);
    warns(&[(
        at,
        json!([{"path": "/a", "env": ["A=1", "secret"]}]),
        "/hooks/startContainer/0/env/1",
        "no \"=\"",
    )]);
}

#[test]
fn the_process_of_exec_has_pointers_of_its_own() {
    let process = parse_process(br#"{"args": ["sh"], "cwd": "tmp"}"#).unwrap();
    let error = check_process(&process).unwrap_err().in_file("p.json");
    assert_eq!(
        error.to_string(),
        "p.json: /cwd: the working directory \"tmp\" is not absolute; start it with \"/\""
    );
    let process = parse_process(br#"{"args": ["sh"], "cwd": "/tmp"}"#).unwrap();
    assert_eq!(check_process(&process), Ok(Vec::new()));
}
