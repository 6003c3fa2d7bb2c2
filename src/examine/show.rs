//! What would be done, for people and programs: the plan's parts in the order in which they
//! come about.

use std::ffi::{CStr, CString};

use serde_json::{Map, Value};

use super::Planned;
use crate::config::names::RLIMITS;
use crate::config::spec::{Mount, Spec};
use crate::plan::cgroup::{Missing, Phase, Version};
use crate::plan::devices::DevicePlan;
use crate::plan::namespaces::KINDS;
use crate::plan::process::{ProcessPlan, capability_names};

/// The parts, each with its name.
pub(super) fn sections(spec: &Spec<'_>, planned: &Planned) -> Vec<(&'static str, Value)> {
    let plan = &planned.plan;
    let text = |text: &CStr| Value::from(text.to_string_lossy().into_owned());
    let slashed = |list: &[CString]| -> Value {
        let path = |path: &CString| Value::from(format!("/{}", path.to_string_lossy()));
        list.iter().map(path).collect()
    };
    let name = |name: &Option<String>| name.as_deref().map_or(Value::Null, Value::from);
    let ids = vec![
        ("user", lines(&plan.namespaces.uid_map)),
        ("group", lines(&plan.namespaces.gid_map)),
    ];
    let root = vec![
        ("path", text(&plan.root.path)),
        ("readonly", plan.root.readonly.into()),
    ];
    let devices = plan.devices.iter().filter(|_| plan.setup_dev);
    let sysctl = |(path, value): &(CString, Vec<u8>)| {
        let value = String::from_utf8_lossy(value).into_owned();
        let file = format!("/proc/{}", path.to_string_lossy());
        object(vec![("file", file.into()), ("value", value.into())])
    };
    let moved = plan.net_devices.iter().map(|device| {
        object(vec![
            ("host", device.host.as_str().into()),
            ("inside", device.inside.as_str().into()),
        ])
    });
    let mut sections = vec![
        ("root", object(root)),
        ("namespaces", namespaces(planned)),
        ("ids", object(ids)),
        ("clocks", lines(&plan.namespaces.time_offsets)),
        ("cgroup", cgroup(planned)),
        ("mounts", spec.mounts.iter().map(mount).collect()),
        ("devices", devices.map(device).collect()),
        ("maskedPaths", slashed(&plan.masked_paths)),
        ("readonlyPaths", slashed(&plan.readonly_paths)),
        ("sysctls", plan.sysctls.iter().map(sysctl).collect()),
        ("hostname", name(&plan.hostname)),
        ("domainname", name(&plan.domainname)),
        ("networkDevices", moved.collect()),
        ("hooks", hooks(spec)),
        ("process", process(&plan.process)),
        ("seccomp", seccomp(spec, planned)),
    ];
    sections.retain(|(_, value)| !is_empty(value));
    sections
}

/// An object of these members.
#[inline(never)]
pub fn object(members: Vec<(&str, Value)>) -> Value {
    let mut object = Map::new();
    for (name, value) in members {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

#[inline(never)]
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.values().all(is_empty),
        _ => false,
    }
}

#[inline(never)]
fn lines(text: &str) -> Value {
    text.lines().collect()
}

fn namespaces(planned: &Planned) -> Value {
    let plan = &planned.plan.namespaces;
    let one = |(kind, _, flag): &(&str, &str, u64)| {
        let join = plan.join.iter().find(|join| join.flag == *flag);
        let how = match join {
            Some(join) => ("join", join.path.to_string_lossy().into_owned().into()),
            None if plan.makes(*flag) => ("new", true.into()),
            None => return None,
        };
        Some(object(vec![("type", (*kind).into()), how]))
    };
    KINDS.iter().filter_map(one).collect()
}

fn mount(mount: &Mount<'_>) -> Value {
    let options: Vec<&str> = mount.options.iter().map(|option| option.as_str()).collect();
    object(vec![
        ("destination", mount.destination.as_str().into()),
        ("type", mount.fstype.as_deref().unwrap_or("bind").into()),
        ("source", mount.source.as_deref().unwrap_or_default().into()),
        ("options", options.join(",").into()),
    ])
}

fn device(device: &DevicePlan) -> Value {
    let kind = match device.mode & libc::S_IFMT {
        libc::S_IFBLK => "b",
        libc::S_IFIFO => "p",
        _ => "c",
    };
    let number = format!("{}:{}", libc::major(device.rdev), libc::minor(device.rdev));
    object(vec![
        ("path", format!("/{}", device.path.to_string_lossy()).into()),
        ("type", kind.into()),
        ("number", number.into()),
        ("mode", format!("{:o}", device.mode & 0o7777).into()),
        ("owner", format!("{}:{}", device.uid, device.gid).into()),
    ])
}

fn cgroup(planned: &Planned) -> Value {
    let plan = &planned.cgroup;
    if plan.directories.is_empty() {
        return Value::Null;
    }
    let path = |index: usize| {
        let directory = plan.directories.get(index);
        let hierarchy = directory.map_or("", |directory| directory.hierarchy.as_str());
        let path = format!("{hierarchy}/{}", plan.path);
        path.trim_start_matches('/').to_owned()
    };
    let directories = plan.directories.iter().enumerate().map(|(index, of)| {
        let controllers: Vec<&str> = of.controllers.iter().map(|c| c.name.as_str()).collect();
        let version: u64 = match of.version {
            Version::V1 => 1,
            Version::V2 => 2,
        };
        object(vec![
            ("path", path(index).into()),
            ("version", version.into()),
            ("enable", controllers.join(",").into()),
        ])
    });
    let writes = plan.writes.iter().map(|write| {
        let when = match write.phase {
            Phase::BeforeJoin => "before the join",
            Phase::AfterJoin => "after the join",
            Phase::Devices => "after the device nodes",
        };
        let file = format!("{}/{}", path(write.directory), write.file);
        object(vec![
            ("file", file.into()),
            ("value", write.value.as_str().into()),
            ("when", when.into()),
            ("for", (&*write.pointer).into()),
            ("optional", (write.missing == Missing::Skip).into()),
        ])
    });
    let program = plan.device_program.as_ref();
    object(vec![
        ("directories", directories.collect()),
        ("writes", writes.collect()),
        ("owner", plan.owner.map_or(Value::Null, Value::from)),
        (
            "deviceProgram",
            program.map_or(Value::Null, |program| program.instructions.len().into()),
        ),
    ])
}

fn hooks(spec: &Spec<'_>) -> Value {
    let mut all = Vec::new();
    for (kind, list) in spec.hooks.kinds() {
        for hook in list {
            all.push(object(vec![
                ("kind", kind.into()),
                ("path", hook.path.as_str().into()),
                ("timeout", hook.timeout.map_or(Value::Null, Value::from)),
            ]));
        }
    }
    all.into()
}

fn seccomp(spec: &Spec<'_>, planned: &Planned) -> Value {
    let section = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    match (&planned.seccomp, section) {
        (Some(program), Some(section)) => object(vec![
            ("instructions", program.insns.len().into()),
            ("listener", program.notify.into()),
            ("defaultAction", section.default_action.as_str().into()),
        ]),
        _ => Value::Null,
    }
}

fn process(plan: &ProcessPlan) -> Value {
    let text = |text: &CStr| Value::from(text.to_string_lossy().into_owned());
    // The values may be secrets.
    let names = plan.env.iter().map(|variable| {
        let variable = variable.to_string_lossy();
        let name = variable.split('=').next().unwrap_or_default();
        Value::from(name)
    });
    let sets = plan.capabilities;
    let sets = [
        ("bounding", sets.bounding),
        ("effective", sets.effective),
        ("permitted", sets.permitted),
        ("inheritable", sets.inheritable),
        ("ambient", sets.ambient),
    ];
    let sets = sets.map(|(name, set)| (name, Value::from(capability_names(set))));
    let limits = plan.rlimits.iter().map(|limit| {
        let name = RLIMITS.get(limit.resource as usize).copied();
        object(vec![
            ("type", name.unwrap_or_default().into()),
            ("soft", limit.soft.into()),
            ("hard", limit.hard.into()),
        ])
    });
    object(vec![
        ("args", plan.args.iter().map(|arg| text(arg)).collect()),
        ("cwd", text(&plan.cwd)),
        ("environment", names.collect()),
        ("uid", plan.uid.into()),
        ("gid", plan.gid.into()),
        ("groups", plan.groups.iter().copied().collect()),
        ("umask", format!("{:04o}", plan.umask).into()),
        ("noNewPrivileges", plan.no_new_privileges.into()),
        ("terminal", plan.terminal.into()),
        (
            "oomScoreAdj",
            plan.oom_score_adj.map_or(Value::Null, Value::from),
        ),
        ("capabilities", object(sets.into())),
        ("rlimits", limits.collect()),
    ])
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
    let first = FIRST.iter().filter_map(|name| members.get_key_value(*name));
    let rest = members
        .iter()
        .filter(|(name, _)| !FIRST.contains(&name.as_str()));
    let mut text = String::new();
    for (name, value) in first.chain(rest) {
        if is_empty(value) || *value == Value::Bool(false) {
            continue;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text += name;
        if *value != Value::Bool(true) {
            text.push('=');
            text += &word(value);
        }
    }
    text
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => crate::config::printable(text).into_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
