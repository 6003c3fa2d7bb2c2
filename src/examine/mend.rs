//! Finds every error of a text with checks that stop at the first one: what is found is mended
//! in a copy, as harmlessly as can be, and the copy is checked again.

use serde_json::Value;

use super::Finding;
use super::show::object;
use crate::config::{ConfigError, Warning};

/// How many errors are looked for: a text that has more is no configuration.
const MOST: usize = 200;

/// Lists whose elements are dropped whole: half of one would make errors of its own.
const WHOLE: [&str; 4] = [
    "/mounts/",
    "/linux/namespaces/",
    "/linux/devices/",
    "/linux/resources/devices/",
];

/// What came of it.
pub struct Mended {
    /// Errors, and the warnings about what is left.
    pub findings: Vec<Finding>,
    /// The text without what is wrong in it; absent if it could not be mended.
    pub text: Option<Vec<u8>>,
    /// How the elements of its lists are counted.
    pub numbers: Numbers,
}

/// Checks `text`, mends it and checks it again until `judge` finds nothing more.
pub fn problems(text: &[u8], judge: impl Fn(&[u8]) -> Result<Vec<Warning>, ConfigError>) -> Mended {
    let mut mended = Mended {
        findings: Vec::new(),
        text: None,
        numbers: Numbers::default(),
    };
    let original: Value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(_) => {
            // It is no JSON: there is nothing to go on with.
            let error = judge(text).err();
            mended.findings.extend(error.map(Finding::from));
            return mended;
        }
    };
    let mut config = original.clone();
    let mut tried: Vec<String> = Vec::new();
    let mut current = text.to_vec();
    for round in 0..MOST {
        let error = match judge(&current) {
            Ok(warnings) => {
                let warnings = warnings.into_iter().map(|warning| Warning {
                    pointer: mended.numbers.original(&warning.pointer),
                    ..warning
                });
                mended.findings.extend(warnings.map(Finding::from));
                mended.text = Some(current);
                return mended;
            }
            Err(error) => error,
        };
        let place = mended.numbers.original(&error.pointer);
        if !is_consequence(&mended.findings, &mended.numbers, &place, &error) {
            let message = match round {
                0 => error.message.clone(),
                // The position is one in the copy.
                _ => without_position(&error.message).to_owned(),
            };
            mended.findings.push(Finding::from(ConfigError {
                pointer: place.clone(),
                message,
                ..error.clone()
            }));
        }
        // The text as such may be at fault (a member given twice), and the copy is not.
        let first_text = round == 0 && error.message.contains("is given twice");
        let times = tried.iter().filter(|known| **known == place).count();
        tried.push(place);
        if !(mend(&mut config, &mut mended.numbers, &error, times) || first_text) {
            return mended;
        }
        current = config.to_string().into_bytes();
    }
    mended
}

/// Whether an error comes of the mending alone.
fn is_consequence(found: &[Finding], numbers: &Numbers, at: &str, error: &ConfigError) -> bool {
    let below = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let lacks = ["missing", "empty", "neither", "needs"]
        .iter()
        .any(|word| error.message.contains(word));
    let known = found.iter().any(|finding| {
        let known = finding.pointer.as_str();
        known == at || below(at, known) || (lacks && below(known, at))
    });
    // One that was dropped may be what is missed now.
    let dropped = numbers
        .0
        .iter()
        .any(|(list, _)| list == "/linux/namespaces");
    let hint = error.hint.as_deref().unwrap_or_default();
    let elsewhere = !at.starts_with("/linux/namespaces");
    known
        || dropped
            && elsewhere
            && (error.message.contains("namespace") || hint.contains("namespace"))
}

fn without_position(message: &str) -> &str {
    match message.rfind(" (line ") {
        Some(at) if message.ends_with(')') => &message[..at],
        _ => message,
    }
}

/// Mends what `error` names; says whether anything was changed.
fn mend(config: &mut Value, numbers: &mut Numbers, error: &ConfigError, times: usize) -> bool {
    let pointer = error.pointer.as_str();
    if times == 0 {
        let meant = error.hint.as_deref().and_then(meant);
        if let (Some(word), Some(Value::String(text))) = (meant, config.pointer_mut(pointer))
            && text != word
        {
            *text = word.to_owned();
            return true;
        }
        if let Some((place, value)) = stand_in(config, error) {
            return put(config, place, value);
        }
    }
    let whole = WHOLE.iter().find_map(|list| {
        let index = pointer.strip_prefix(list)?.split('/').next()?;
        Some(pointer.get(..list.len() + index.len())?.to_owned())
    });
    let mut target = whole.unwrap_or_else(|| pointer.to_owned());
    for _ in 0..times {
        target = parent(&target).to_owned();
    }
    while !target.is_empty() && config.pointer(&target).is_none() {
        target = parent(&target).to_owned();
    }
    !target.is_empty() && remove(config, numbers, &target)
}

/// The word of a hint such as `did you mean "pid"?`.
fn meant(hint: &str) -> Option<&str> {
    hint.strip_prefix("did you mean \"")?.strip_suffix("\"?")
}

/// What stands in for a value that nothing goes on without.
fn stand_in<'p>(config: &Value, error: &'p ConfigError) -> Option<(&'p str, Value)> {
    let pointer = error.pointer.as_str();
    let absent = config
        .pointer(pointer)
        .is_none_or(|value| value.as_array().is_some_and(Vec::is_empty));
    Some(match pointer {
        "/root" => (pointer, object(vec![("path", "rootfs".into())])),
        "/root/path" => (pointer, "rootfs".into()),
        "/process" => (
            pointer,
            object(vec![("args", vec!["sh"].into()), ("cwd", "/".into())]),
        ),
        "/process/cwd" => (pointer, "/".into()),
        "/linux/uidMappings" | "/linux/gidMappings" if absent => (
            pointer,
            vec![object(vec![
                ("containerID", 0.into()),
                ("hostID", 0.into()),
                ("size", u32::MAX.into()),
            ])]
            .into(),
        ),
        _ if pointer.starts_with("/process/args") => ("/process/args", vec!["sh"].into()),
        _ if pointer.starts_with("/linux/namespaces/") && pointer.ends_with("/path") => {
            (pointer, "/".into())
        }
        _ => return None,
    })
}

fn put(config: &mut Value, pointer: &str, value: Value) -> bool {
    let name = pointer.rsplit('/').next().unwrap_or_default();
    match config.pointer_mut(parent(pointer)) {
        Some(Value::Object(members)) => {
            members.insert(name.to_owned(), value.clone()) != Some(value)
        }
        _ => false,
    }
}

fn remove(config: &mut Value, numbers: &mut Numbers, pointer: &str) -> bool {
    let name = pointer.rsplit('/').next().unwrap_or_default();
    match config.pointer_mut(parent(pointer)) {
        Some(Value::Object(members)) => members
            .remove(&name.replace("~1", "/").replace("~0", "~"))
            .is_some(),
        Some(Value::Array(list)) => match name.parse::<usize>() {
            Ok(index) if index < list.len() => {
                list.remove(index);
                numbers.dropped(pointer);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

fn parent(pointer: &str) -> &str {
    pointer.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Which elements of which lists were dropped, as they are counted in the text: the list's
/// pointer and the element's index.
#[derive(Default)]
pub struct Numbers(Vec<(String, usize)>);

impl Numbers {
    /// The pointer in the text for one in the mended copy.
    pub fn original(&self, pointer: &str) -> String {
        let mut original = String::with_capacity(pointer.len());
        for step in pointer.split('/').skip(1) {
            let index = step.parse::<usize>().ok().map(|mut index| {
                // They are in order.
                for (list, gone) in &self.0 {
                    index += usize::from(*list == original && *gone <= index);
                }
                index.to_string()
            });
            original.push('/');
            original += index.as_deref().unwrap_or(step);
        }
        original
    }

    fn dropped(&mut self, pointer: &str) {
        let original = self.original(pointer);
        if let Some((list, index)) = original.rsplit_once('/')
            && let Ok(index) = index.parse()
        {
            let later = self.0.iter().position(|(_, known)| *known > index);
            let place = later.unwrap_or(self.0.len());
            self.0.insert(place, (list.to_owned(), index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{check, parse};

    fn found(json: &str) -> Vec<String> {
        let mended = problems(json.as_bytes(), |text| check(&parse(text)?));
        let line = |finding: &Finding| format!("{}: {}", finding.pointer, finding.message);
        mended.findings.iter().map(line).collect()
    }

    #[test]
    fn each_error_is_found_with_its_own_place() {
        let lines = found(
            r#"{"ociVersion":"1.3.0","root":{"path":""},
                "process":{"args":[],"cwd":"x","env":["A=1","B","C=1","D"],
                           "rlimits":[{"type":"RLIMIT_NOFIL","soft":1,"hard":1},{"type":"RLIMIT_CPU","soft":2,"hard":1}],
                           "oomScoreAdj":5000},
                "mounts":[{"destination":"/proc/x"},{"destination":"/a"},{"destination":"/proc/y"}],
                "linux":{"resources":{"memory":{"swappiness":1000,"limit":-7},"cpu":{"idle":9}}}}"#,
        );
        let places: Vec<&str> = lines.iter().filter_map(|l| l.split(": ").next()).collect();
        let expected = [
            "/root/path",
            "/mounts/0/destination",
            "/mounts/2/destination",
            "/linux/resources/memory/limit",
            "/linux/resources/memory/swappiness",
            "/linux/resources/cpu/idle",
            "/process/args",
            "/process/cwd",
            "/process/env/1",
            "/process/env/3",
            "/process/rlimits/0/type",
            "/process/rlimits/1",
            "/process/oomScoreAdj",
        ];
        assert_eq!(places, expected, "{lines:#?}");
    }

    #[test]
    fn values_of_the_wrong_type_do_not_hide_the_rest() {
        let lines = found(
            r#"{"ociVersion":"1.3.0","root":{"path":7,"readonly":"yes"},
                "process":{"args":"sh","cwd":"/","terminal":1,"user":{"uid":-1}},"mounts":{}}"#,
        );
        let places: Vec<&str> = lines.iter().filter_map(|l| l.split(": ").next()).collect();
        let expected = [
            "/root/path",
            "/root/readonly",
            "/process/args",
            "/process/terminal",
            "/process/user/uid",
            "/mounts",
        ];
        let (mut sorted, mut wanted) = (places.clone(), expected.to_vec());
        sorted.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(sorted, wanted, "{lines:#?}");
        // A position in the mended copy would mislead.
        assert_eq!(
            lines.iter().filter(|line| line.contains("(line ")).count(),
            1,
            "{lines:#?}"
        );
    }

    #[test]
    fn what_only_the_mending_brings_about_is_not_reported() {
        // Without the mistyped one there is no UTS namespace: that is no second error.
        let with = |kind: &str| {
            found(&format!(
                r#"{{"ociVersion":"1.3.0","root":{{"path":"r"}},"hostname":"h","process":{{"args":["a"],"cwd":"/"}},
                "linux":{{"namespaces":[{{"type":"{kind}"}},{{"type":"pid"}},{{"type":"pid"}}]}}}}"#
            ))
        };
        for kind in ["ut", "xyzzy"] {
            let lines = with(kind);
            assert_eq!(lines.len(), 2, "{lines:#?}");
            assert!(lines[0].starts_with("/linux/namespaces/0/type: unknown"));
            assert!(lines[1].starts_with("/linux/namespaces/2/type: the namespace"));
        }
        assert_eq!(with("uts").len(), 1);
    }

    #[test]
    fn an_empty_object_lacks_its_root_and_its_process() {
        let lines = found("{}");
        assert!(lines[0].starts_with("/root: "), "{lines:#?}");
        assert!(lines[1].starts_with("/process: "), "{lines:#?}");
        assert!(lines[2].starts_with("/ociVersion: "), "{lines:#?}");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn what_is_no_json_is_one_error_with_its_position() {
        let lines = found("{\"root\": }");
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("line 1 column 10"), "{lines:?}");
    }

    #[test]
    fn a_user_namespace_without_mappings_is_told_once_for_each_kind_of_id() {
        let lines = found(
            r#"{"ociVersion":"1.3.0","root":{"path":"r"},"process":{"args":["a"],"cwd":"/","user":{"uid":5}},
            "linux":{"namespaces":[{"type":"user"}]}}"#,
        );
        let places: Vec<&str> = lines.iter().filter_map(|l| l.split(": ").next()).collect();
        assert_eq!(places, ["/linux/uidMappings", "/linux/gidMappings"]);
    }
}
