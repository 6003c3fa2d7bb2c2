//! What would be done, for people and programs: the plan's parts in the order in which they
//! come about.

use serde_json::{Map, Value, json};

use super::Planned;
use crate::config::names::RLIMITS;
use crate::config::spec::{Hook, Mount, Spec};
use crate::plan::cgroup::{Missing, Phase, Version};
use crate::plan::devices::DevicePlan;
use crate::plan::namespaces::KINDS;
use crate::plan::process::{ProcessPlan, capability_names};

/// The parts, each with its name.
pub(super) fn sections(spec: &Spec<'_>, planned: &Planned) -> Vec<(&'static str, Value)> {
    let plan = &planned.plan;
    let linux = spec.linux.as_ref();
    let text = |text: &std::ffi::CString| text.to_string_lossy().into_owned();
    let slashed = |list: &[std::ffi::CString]| -> Value {
        list.iter().map(|path| format!("/{}", text(path))).collect()
    };
    let mut sections = vec![
        (
            "root",
            json!({"path": text(&plan.root.path), "readonly": plan.root.readonly}),
        ),
        ("namespaces", namespaces(planned)),
        (
            "ids",
            json!({
                "user": lines(&plan.namespaces.uid_map),
                "group": lines(&plan.namespaces.gid_map),
            }),
        ),
        ("clocks", lines(&plan.namespaces.time_offsets)),
        ("cgroup", cgroup(planned)),
        ("mounts", spec.mounts.iter().map(mount).collect()),
        (
            "devices",
            match plan.setup_dev {
                true => plan.devices.iter().map(device).collect(),
                false => json!([]),
            },
        ),
        ("maskedPaths", slashed(&plan.masked_paths)),
        ("readonlyPaths", slashed(&plan.readonly_paths)),
        (
            "sysctls",
            plan.sysctls
                .iter()
                .map(|(path, value)| {
                    let value = String::from_utf8_lossy(value).into_owned();
                    json!({"file": format!("/proc/{}", text(path)), "value": value})
                })
                .collect(),
        ),
        ("hostname", json!(plan.hostname)),
        ("domainname", json!(plan.domainname)),
        (
            "networkDevices",
            plan.net_devices
                .iter()
                .map(|device| json!({"host": device.host, "inside": device.inside}))
                .collect(),
        ),
        ("hooks", hooks(spec)),
        ("process", process(&plan.process)),
        (
            "seccomp",
            match &planned.seccomp {
                Some(program) => json!({
                    "instructions": program.insns.len(),
                    "listener": program.notify,
                    "defaultAction": linux
                        .and_then(|linux| linux.seccomp.as_ref())
                        .map(|section| section.default_action.as_str()),
                }),
                None => Value::Null,
            },
        ),
    ];
    sections.retain(|(_, value)| !is_empty(value));
    sections
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.values().all(is_empty),
        _ => false,
    }
}

fn lines(text: &str) -> Value {
    text.lines().collect()
}

fn namespaces(planned: &Planned) -> Value {
    let plan = &planned.plan.namespaces;
    let one = |(kind, _, flag): &(&str, &str, u64)| {
        let join = plan.join.iter().find(|join| join.flag == *flag);
        match join {
            Some(join) => Some(json!({"type": kind, "join": join.path.to_string_lossy()})),
            None if plan.makes(*flag) => Some(json!({"type": kind, "new": true})),
            None => None,
        }
    };
    KINDS.iter().filter_map(one).collect()
}

fn mount(mount: &Mount<'_>) -> Value {
    let options: Vec<&str> = mount.options.iter().map(|option| option.as_str()).collect();
    json!({
        "destination": mount.destination.as_str(),
        "type": mount.fstype.as_deref().unwrap_or("bind"),
        "source": mount.source.as_deref(),
        "options": options.join(","),
    })
}

fn device(device: &DevicePlan) -> Value {
    let kind = match device.mode & libc::S_IFMT {
        libc::S_IFBLK => "b",
        libc::S_IFIFO => "p",
        _ => "c",
    };
    json!({
        "path": format!("/{}", device.path.to_string_lossy()),
        "type": kind,
        "number": format!("{}:{}", libc::major(device.rdev), libc::minor(device.rdev)),
        "mode": format!("{:o}", device.mode & 0o7777),
        "owner": format!("{}:{}", device.uid, device.gid),
    })
}

fn cgroup(planned: &Planned) -> Value {
    let plan = &planned.cgroup;
    if plan.directories.is_empty() {
        return Value::Null;
    }
    let directory = |index: usize| {
        let directory = plan.directories.get(index);
        let hierarchy = directory.map_or("", |directory| directory.hierarchy.as_str());
        format!("{hierarchy}/{}", plan.path)
            .trim_start_matches('/')
            .to_owned()
    };
    let directories: Vec<Value> = plan
        .directories
        .iter()
        .enumerate()
        .map(|(index, of)| {
            let controllers: Vec<&str> = of.controllers.iter().map(|c| c.name.as_str()).collect();
            json!({
                "path": directory(index),
                "version": match of.version { Version::V1 => 1, Version::V2 => 2 },
                "enable": controllers.join(","),
            })
        })
        .collect();
    let writes: Vec<Value> = plan
        .writes
        .iter()
        .map(|write| {
            json!({
                "file": format!("{}/{}", directory(write.directory), write.file),
                "value": write.value,
                "when": match write.phase {
                    Phase::BeforeJoin => "before the join",
                    Phase::AfterJoin => "after the join",
                    Phase::Devices => "after the device nodes",
                },
                "for": write.pointer,
                "optional": write.missing == Missing::Skip,
            })
        })
        .collect();
    json!({
        "directories": directories,
        "writes": writes,
        "deviceProgram": plan.device_program.as_ref().map(|p| p.instructions.len()),
    })
}

fn hooks(spec: &Spec<'_>) -> Value {
    let hooks = &spec.hooks;
    let kinds: [(&str, &[Hook<'_>]); 6] = [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ];
    kinds
        .iter()
        .flat_map(|(kind, list)| {
            list.iter()
                .map(move |hook| json!({"kind": kind, "path": hook.path.as_str(), "timeout": hook.timeout}))
        })
        .collect()
}

fn process(plan: &ProcessPlan) -> Value {
    let text = |text: &std::ffi::CString| text.to_string_lossy().into_owned();
    // The values may be secrets.
    let names = plan.env.iter().filter_map(|variable| {
        let variable = variable.to_string_lossy();
        Some(variable.split_once('=')?.0.to_owned())
    });
    let sets = plan.capabilities;
    let mut capabilities = Map::new();
    for (name, set) in [
        ("bounding", sets.bounding),
        ("effective", sets.effective),
        ("permitted", sets.permitted),
        ("inheritable", sets.inheritable),
        ("ambient", sets.ambient),
    ] {
        capabilities.insert(name.to_owned(), capability_names(set).into());
    }
    let limits: Vec<Value> = plan
        .rlimits
        .iter()
        .map(|limit| {
            let name = RLIMITS.get(limit.resource as usize);
            json!({"type": name, "soft": limit.soft, "hard": limit.hard})
        })
        .collect();
    json!({
        "args": plan.args.iter().map(text).collect::<Vec<_>>(),
        "cwd": text(&plan.cwd),
        "environment": names.collect::<Vec<_>>(),
        "uid": plan.uid,
        "gid": plan.gid,
        "groups": plan.groups,
        "umask": format!("{:04o}", plan.umask),
        "noNewPrivileges": plan.no_new_privileges,
        "terminal": plan.terminal,
        "oomScoreAdj": plan.oom_score_adj,
        "capabilities": capabilities,
        "rlimits": limits,
    })
}

/// The parts as text, two blanks for each level.
pub fn outline(sections: &[(&str, Value)]) -> String {
    let mut text = String::new();
    for (name, value) in sections {
        write(&mut text, 0, name, value);
    }
    text
}

fn write(text: &mut String, depth: usize, name: &str, value: &Value) {
    if is_empty(value) {
        return;
    }
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            *text += &format!("{indent}{name}:\n");
            for (name, value) in members {
                write(text, depth + 1, name, value);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            *text += &format!("{indent}{name}:\n");
            for element in list {
                *text += &format!("{indent}  - {}\n", row(element));
            }
        }
        Value::Array(list) if name == "args" => {
            *text += &format!("{indent}{name}: {}\n", Value::from(list.clone()));
        }
        Value::Array(list) => {
            let words: Vec<String> = list.iter().map(word).collect();
            *text += &format!("{indent}{name}: {}\n", words.join(", "));
        }
        value => *text += &format!("{indent}{name}: {}\n", word(value)),
    }
}

/// What comes first in a line.
const FIRST: [&str; 6] = ["kind", "type", "destination", "path", "file", "value"];

/// An object in one line.
fn row(value: &Value) -> String {
    let Value::Object(members) = value else {
        return word(value);
    };
    // The map is in the order of the alphabet.
    let rank = |name: &str| FIRST.iter().position(|first| *first == name);
    let mut shown: Vec<(&String, &Value)> = members
        .iter()
        .filter(|(_, value)| !is_empty(value) && **value != Value::Bool(false))
        .collect();
    shown.sort_by_key(|(name, _)| rank(name).unwrap_or(FIRST.len()));
    let words: Vec<String> = shown
        .into_iter()
        .map(|(name, value)| match value {
            Value::Bool(true) => name.clone(),
            value => format!("{name}={}", word(value)),
        })
        .collect();
    words.join(" ")
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => crate::config::printable(text).into_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outline_leaves_out_what_is_empty_and_puts_rows_in_one_line() {
        let sections = [
            (
                "mounts",
                json!([{"destination": "/a", "type": "tmpfs", "source": null, "options": ""}]),
            ),
            (
                "process",
                json!({"args": ["a b", "c"], "groups": [], "uid": 0, "terminal": false, "set": {"x": ""}}),
            ),
        ];
        assert_eq!(
            outline(&sections),
            "mounts:\n  - type=tmpfs destination=/a\nprocess:\n  args: [\"a b\",\"c\"]\n  \
             terminal: false\n  uid: 0\n"
        );
    }
}
