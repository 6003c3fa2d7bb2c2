//! What systemd is asked for where it makes the cgroup: the unit's name and its properties.
//!
//! The limits of a unit are those that are written into the cgroup's files anyway, told to systemd
//! as well: what it does not know of, it takes back when it next writes these files itself. The
//! files are exact, the properties are rounded as systemd wants them.

mod annotations;
mod devices;
mod gvariant;
mod limits;
mod name;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;

pub use annotations::annotations;
pub(super) use name::resolve;
pub use value::Value;

use super::{CgroupPlan, Missing, Phase, Version, Write};

/// What a property is for config.json if no member of it asked for it.
const POINTER: &str = "/linux/cgroupsPath";

/// The transient unit of a container: a scope, or a slice if the name says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// `prefix-name.scope`, or `name.slice`.
    pub name: String,
    /// The slice that it is in.
    pub slice: String,
    /// Whether the user's systemd makes it, not the system's.
    pub user: bool,
    /// What the unit is started with, the processes and [`Unit::limits`] apart.
    pub properties: Vec<Property>,
    /// `linux.resources`, for the start and for later updates.
    pub limits: Vec<Property>,
}

/// A property of a unit, as `StartTransientUnit` takes it (org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name on the bus.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
    /// The first version of systemd that has it; 0 for those that all have.
    pub since: u32,
    /// What in config.json asked for it.
    pub pointer: Cow<'static, str>,
}

impl Property {
    fn new(name: &'static str, value: Value) -> Property {
        Property {
            name: name.into(),
            value,
            since: 0,
            pointer: POINTER.into(),
        }
    }
}

impl Unit {
    /// Whether the unit is a slice, which takes no processes from systemd.
    pub fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }

    /// The unit with a limit that lets processes be made while the container starts: an init that
    /// joins a pid namespace has a helper for procfs, which has a child, and makes a second, which
    /// is the container's. The file has the right limit once that is there.
    pub fn with_room_to_start(&self) -> Cow<'_, Unit> {
        let is_small = |limit: &Property| {
            limit.name == "TasksMax" && matches!(limit.value, Value::Uint64(..=2))
        };
        let Some(index) = self.limits.iter().position(is_small) else {
            return Cow::Borrowed(self);
        };
        let mut unit = self.clone();
        unit.limits[index].value = Value::Uint64(3);
        Cow::Owned(unit)
    }
}

/// Adds what the unit is and what its limits are to a plan that is complete but for it.
pub(super) fn finish(plan: &mut CgroupPlan, unit: &mut Unit, id: &str) {
    let v1 = plan.directories.iter().any(|d| d.version == Version::V1);
    let text = |text: &str| Value::Text(text.to_owned());
    let mut properties = vec![Property::new(
        "Description",
        Value::Text(format!("corten container {id}")),
    )];
    if unit.is_slice() {
        let slice = Value::texts([unit.slice.as_str()]);
        properties.push(Property::new("Wants", slice));
    } else {
        properties.push(Property::new("Slice", text(&unit.slice)));
        // systemd keeps its hands off what the container makes beneath.
        properties.push(Property::new("Delegate", Value::Bool(true)));
    }
    // What is not counted cannot be limited later, and `events` has to report it.
    let io = if v1 {
        "BlockIOAccounting"
    } else {
        "IOAccounting"
    };
    for name in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        properties.push(Property::new(name, Value::Bool(true)));
    }
    // It does not go down with the targets of the host before what uses it.
    properties.push(Property::new("DefaultDependencies", Value::Bool(false)));
    // A scope that failed (the OOM killer was there) is not kept for somebody to look at it: its
    // name could not be used again.
    properties.push(Property {
        since: 236,
        ..Property::new("CollectMode", text("inactive-or-failed"))
    });
    for write in plan.writes.iter().filter(|w| w.file == "memory.oom.group") {
        let policy = match write.value.trim() {
            "0" => "continue",
            "1" => "kill",
            _ => continue,
        };
        properties.push(Property {
            since: 253,
            pointer: write.pointer.clone(),
            ..Property::new("OOMPolicy", text(policy))
        });
    }
    unit.properties = properties;
    let (limits, warnings) = limits(plan);
    unit.limits = limits;
    plan.warnings.extend(warnings);
}

/// What a plan writes into the files, as properties; and what systemd has no words for.
pub fn limits(plan: &CgroupPlan) -> (Vec<Property>, Vec<String>) {
    let mut properties = limits::properties(&plan.writes);
    let (devices, warnings) = devices::properties(plan);
    properties.extend(devices);
    (properties, warnings)
}

/// The property of what one file of the cgroup says, if it is one.
pub fn limit(file: &str, value: &str) -> Vec<Property> {
    limits::properties(&[Write {
        directory: 0,
        file: file.to_owned().into(),
        value: value.to_owned(),
        phase: Phase::AfterJoin,
        pointer: POINTER.into(),
        missing: Missing::Skip,
        retry: false,
        above: None,
    }])
}
