//! Device rules of cgroup v1 for systemd, which writes them anew when it reloads its units.
//!
//! On cgroup v2 systemd is told nothing of devices: what it attaches besides is a program of its
//! own, and the container's, which is attached to the cgroup, it leaves alone. Rules that others
//! put there later stay too.

use super::{Property, Value};
use crate::plan::cgroup::{CgroupPlan, Phase, Write};

const POINTER: &str = "/linux/resources/devices";

/// `DevicePolicy` and `DeviceAllow`, and what they cannot say.
pub(super) fn properties(plan: &CgroupPlan) -> (Vec<Property>, Vec<String>) {
    let mut writes = plan.writes.iter().filter(|w| w.phase == Phase::Devices);
    let mut warnings = Vec::new();
    let (policy, allowed) = match writes.next() {
        Some(first) if first.file == "devices.deny" => {
            let entries = writes.filter_map(|write| {
                let entry = entry(&write.value);
                if entry.is_none() {
                    warnings.push(unknown(write));
                }
                entry
            });
            ("strict", entries.collect())
        }
        Some(_) => {
            warnings.extend(writes.map(unknown));
            ("auto", Vec::new())
        }
        None => return (Vec::new(), Vec::new()),
    };
    let property = |name: &'static str, value: Value| Property {
        pointer: POINTER.into(),
        ..Property::new(name, value)
    };
    let properties = vec![
        property("DevicePolicy", Value::Text(policy.to_owned())),
        property("DeviceAllow", Value::Array("(ss)".to_owned(), allowed)),
    ];
    (properties, warnings)
}

fn unknown(write: &Write) -> String {
    format!(
        "{}: systemd has no words for the rule \"{}\" of cgroup v1: it is lost when systemd reloads its units",
        write.pointer, write.value
    )
}

/// `c 1:3 rwm` as a name of systemd.resource-control(5), "DeviceAllow", and the accesses.
fn entry(rule: &str) -> Option<Value> {
    let mut fields = rule.split(' ');
    let (kind, numbers, access) = (fields.next()?, fields.next()?, fields.next()?);
    let kind = match kind {
        "b" => "block",
        "c" => "char",
        _ => return None,
    };
    let name = match numbers.split_once(':')? {
        ("*", "*") => format!("{kind}-*"),
        // The names of groups are those of /proc/devices; this one every kernel has.
        ("136", "*") if kind == "char" => "char-pts".to_owned(),
        ("*", _) | (_, "*") => return None,
        _ => format!("/dev/{kind}/{numbers}"),
    };
    let texts = [Value::Text(name), Value::Text(access.to_owned())];
    Some(Value::Struct(texts.into()))
}
