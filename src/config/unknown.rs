//! Members of config.json that the specification does not know: slips of the pen, which a
//! runtime has to ignore in silence and `check` may speak of.

use serde_json::Value;

use super::error::Warning;
use super::names::nearest;
use super::place::Place;

/// Every property that Linux has, one a line: `[]` stands for the elements of an array, `*` for
/// any member. A test keeps it in step with the schema (`coverage`).
const PROPERTIES: &str = include_str!("properties.txt");

/// Members that are for other systems.
const OTHER_SYSTEMS: [&str; 5] = ["vm", "windows", "solaris", "zos", "freebsd"];

/// Properties that only Windows has a use for.
const WINDOWS_ONLY: [&str; 2] = ["process.commandLine", "process.user.username"];

/// Finds them, at most `most`.
pub fn unknown_members(config: &Value, most: usize) -> Vec<Warning> {
    let mut walk = Walk {
        found: Vec::new(),
        most,
    };
    walk.value(&Place::ROOT, "", config);
    walk.found
}

struct Walk {
    found: Vec<Warning>,
    most: usize,
}

impl Walk {
    /// `path` is how the properties are called below this value.
    fn value(&mut self, at: &Place<'_>, path: &str, value: &Value) {
        match value {
            Value::Array(elements) => {
                let path = format!("{path}[]");
                for (index, element) in elements.iter().enumerate() {
                    self.value(&at.element(index), &path, element);
                }
            }
            Value::Object(members) => {
                let known = children(path);
                // Free text as a whole: annotations, sysctls.
                if known.is_empty() {
                    return;
                }
                for (name, member) in members {
                    if self.found.len() >= self.most {
                        return;
                    }
                    let place = at.member(name);
                    let child = if known.contains(&"*") { "*" } else { name };
                    let below = match path {
                        "" => child.to_owned(),
                        path => format!("{path}.{child}"),
                    };
                    if known.contains(&child) {
                        if WINDOWS_ONLY.contains(&below.as_str()) {
                            let text = "is ignored: it is for Windows";
                            self.found.push(place.warning(text));
                        }
                        self.value(&place, &below, member);
                    } else {
                        self.found.push(place.warning(unknown(path, name, &known)));
                    }
                }
            }
            _ => {}
        }
    }
}

fn unknown(path: &str, name: &str, known: &[&str]) -> String {
    if path.is_empty() && OTHER_SYSTEMS.contains(&name) {
        return "is ignored: it is for other systems than Linux".to_owned();
    }
    match nearest(known, name) {
        Some(word) => format!("unknown member is ignored; did you mean {word:?}?"),
        None => format!(
            "unknown member is ignored (known here: {})",
            known.join(", ")
        ),
    }
}

/// The names of the members that an object at `path` may have.
fn children(path: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for line in PROPERTIES.lines() {
        let rest = match path {
            "" => Some(line),
            path => line
                .strip_prefix(path)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let name = rest.and_then(|rest| rest.split(['.', '[']).next());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Vec<String> {
        let config: Value = serde_json::from_str(json).unwrap();
        let line = |warning: &Warning| format!("{}: {}", warning.pointer, warning.message);
        unknown_members(&config, 100).iter().map(line).collect()
    }

    #[test]
    fn a_slip_is_named_with_the_word_that_was_meant() {
        assert_eq!(
            found(r#"{"linux":{"resources":{"memory":{"limt":1}}},"mounts":[{"optoins":[]}]}"#),
            [
                r#"/linux/resources/memory/limt: unknown member is ignored; did you mean "limit"?"#,
                r#"/mounts/0/optoins: unknown member is ignored; did you mean "options"?"#,
            ]
        );
        let lines = found(r#"{"root":{"xyzzy":1}}"#);
        assert_eq!(
            lines,
            ["/root/xyzzy: unknown member is ignored (known here: path, readonly)"]
        );
    }

    #[test]
    fn maps_with_free_names_are_left_alone() {
        assert!(
            found(
                r#"{"annotations":{"a":"b"},"linux":{"sysctl":{"net.x":"1"},
                "netDevices":{"eth9":{"name":"a"}},"resources":{"unified":{"a.b":"1"},
                "rdma":{"x":{"hcaHandles":1}}}}}"#
            )
            .is_empty()
        );
        assert_eq!(
            found(r#"{"linux":{"netDevices":{"eth9":{"nam":"a"}}}}"#).len(),
            1
        );
    }

    #[test]
    fn what_is_for_other_systems_is_said_to_be() {
        let lines = found(r#"{"windows":{},"process":{"commandLine":"x"}}"#);
        assert!(lines.iter().any(|l| l.starts_with("/windows: is ignored")));
        assert!(
            lines
                .iter()
                .any(|l| l == "/process/commandLine: is ignored: it is for Windows")
        );
    }

    #[test]
    fn real_configurations_hold_nothing_unknown() {
        for text in [
            include_str!("fixtures/good/docker.json"),
            include_str!("fixtures/good/kubernetes.json"),
            include_str!("fixtures/good/podman.json"),
        ] {
            assert_eq!(found(text), Vec::<String>::new());
        }
    }

    #[test]
    fn not_more_are_found_than_asked_for() {
        let config: Value = serde_json::from_str(r#"{"a":1,"b":1,"c":1}"#).unwrap();
        assert_eq!(unknown_members(&config, 2).len(), 2);
    }
}
