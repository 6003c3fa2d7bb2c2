//! Properties of parsing and checking as a whole, tried on random input.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::{check, parse};

/// Configurations that are changed at random.
const BASES: [&str; 4] = [
    include_str!("fixtures/good/docker.json"),
    include_str!("fixtures/good/kubernetes.json"),
    include_str!("fixtures/good/podman.json"),
    include_str!("fixtures/good/spec-example.json"),
];

fn base() -> impl Strategy<Value = Value> {
    any::<Index>().prop_map(|index| {
        let text = index.get(&BASES);
        serde_json::from_str(text).unwrap()
    })
}

/// The pointers to all values below the whole.
fn pointers(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, found: &mut Vec<String>) {
        let mut add = |key: &str, value| {
            let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            walk(value, &at, found);
            found.push(at);
        };
        match value {
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    add(&index.to_string(), value);
                }
            }
            Value::Object(members) => members.iter().for_each(|(key, value)| add(key, value)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

fn parent(pointer: &str) -> &str {
    pointer.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn remove(config: &mut Value, pointer: &str) {
    let key = pointer.rsplit_once('/').map_or("", |(_, key)| key);
    let key = key.replace("~1", "/").replace("~0", "~");
    match config.pointer_mut(parent(pointer)) {
        Some(Value::Object(members)) => {
            members.remove(&key);
        }
        Some(Value::Array(list)) => {
            list.remove(key.parse().unwrap());
        }
        _ => unreachable!("the parent of a value is an object or an array"),
    }
}

fn is_at_or_below(pointer: &str, other: &str) -> bool {
    pointer
        .strip_prefix(other)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A value of any JSON type.
fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1000..1000_i64).prop_map(Value::from),
        (-1e3..1e3).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[a-z/.]{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([1])),
        Just(json!(["x"])),
        Just(json!({"type": 1, "": ""})),
    ]
}

/// A value that can stand where `old` stands.
fn similar(old: &Value, text: &str, number: u16) -> Value {
    match old {
        Value::Bool(old) => json!(!old),
        Value::Number(_) => json!(number),
        // Words are left alone: another one would not be known to oci-spec.
        Value::String(old) if old.chars().any(|c| c == '/' || c.is_ascii_digit()) => json!(text),
        other => other.clone(),
    }
}

/// Takes away what oci-spec reads in its own way: it keeps capability sets
/// unordered, and a limit of tasks that is absent becomes 0.
fn level_out(config: &mut Value) {
    for set in [
        "bounding",
        "effective",
        "inheritable",
        "permitted",
        "ambient",
    ] {
        let pointer = format!("/process/capabilities/{set}");
        if let Some(Value::Array(names)) = config.pointer_mut(&pointer) {
            names.sort_by_key(ToString::to_string);
            names.dedup();
        }
    }
    if config.pointer("/linux/resources/pids").is_some()
        && config.pointer("/linux/resources/pids/limit").is_none()
    {
        remove(config, "/linux/resources/pids");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_oci_spec_accepts_has_the_same_meaning_here(
        mut config in base(),
        changes in vec((any::<Index>(), "[a-z0-9/._ -]{0,10}", any::<u16>(), any::<bool>()), 0..12),
    ) {
        for (index, text, number, is_removed) in changes {
            let all = pointers(&config);
            let pointer = index.get(&all);
            if is_removed {
                remove(&mut config, pointer);
            } else if let Some(value) = config.pointer_mut(pointer) {
                *value = similar(value, &text, number);
            }
        }
        level_out(&mut config);
        let text = config.to_string();
        let theirs: oci_spec::runtime::Spec = match serde_json::from_str(&text) {
            Ok(theirs) => theirs,
            Err(_) => return Ok(()),
        };
        let mut theirs = serde_json::to_value(&theirs).unwrap();
        level_out(&mut theirs);
        let theirs = theirs.to_string();
        let ours = parse(text.as_bytes()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let through_theirs =
            parse(theirs.as_bytes()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert!(ours == through_theirs, "{}\n{}", text, theirs);
    }

    #[test]
    fn an_error_points_to_the_value_that_was_broken(
        mut config in base(), index in any::<Index>(), value in any_json(),
    ) {
        let all = pointers(&config);
        let broken = index.get(&all).as_str();
        *config.pointer_mut(broken).unwrap() = value;
        let text = config.to_string();
        match parse(text.as_bytes()) {
            Err(error) => prop_assert!(
                is_at_or_below(broken, &error.pointer) || is_at_or_below(&error.pointer, broken),
                "{} was broken: {}", broken, error
            ),
            Ok(spec) => if let Err(error) = check(&spec) {
                prop_assert!(
                    config.pointer(&error.pointer).is_some()
                        || config.pointer(parent(&error.pointer)).is_some(),
                    "{} was broken: {}", broken, error
                );
            }
        }
    }

    #[test]
    fn an_error_points_into_the_file_when_something_is_left_out(
        mut config in base(), index in any::<Index>(),
    ) {
        let all = pointers(&config);
        let broken = index.get(&all).as_str();
        remove(&mut config, broken);
        let text = config.to_string();
        // Nothing is required by the types, so what is missing is found by check.
        let spec = parse(text.as_bytes()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        if let Err(error) = check(&spec) {
            prop_assert!(
                config.pointer(&error.pointer).is_some()
                    || config.pointer(parent(&error.pointer)).is_some(),
                "{} was removed: {}", broken, error
            );
        }
    }

    #[test]
    fn a_file_that_ends_too_early_is_refused_with_a_position(base in 0..BASES.len(), at in any::<Index>()) {
        let text = BASES[base].trim_end().as_bytes();
        let end = at.index(text.len());
        let error = parse(&text[..end]).unwrap_err();
        prop_assert_eq!(&error.pointer, "");
        prop_assert!(error.message.contains("line") || error.message.contains("empty"), "{}", error);
    }

    #[test]
    fn changed_bytes_never_panic(
        base in 0..BASES.len(), changes in vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        let mut text = BASES[base].as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let line = match parse(&text).and_then(|spec| check(&spec)) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(text in vec(any::<u8>(), 0..200)) {
        let _ = parse(&text);
    }
}

#[test]
fn the_configurations_that_oci_spec_makes_pass() {
    let default = oci_spec::runtime::Spec::default();
    let rootless = oci_spec::runtime::Spec::rootless(1000, 1000);
    for spec in [default, rootless] {
        let text = serde_json::to_string(&spec).unwrap();
        let spec = parse(text.as_bytes()).unwrap();
        if let Err(error) = check(&spec) {
            panic!("{error}\n{text}");
        }
    }
}
