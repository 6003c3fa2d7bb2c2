//! What is done with cgroups for one container, worked out without touching them.
//!
//! [`plan`] turns `linux.cgroupsPath` and `linux.resources` into the
//! directories that are made, the values that are written into their files and
//! the device program, for cgroup v1, v2 or both side by side. It makes no
//! system call; the room `cgroup` carries the plan out.

use std::borrow::Cow;
use std::fmt;

use crate::config::spec::{Linux, Resources};

mod builder;
mod cpu;
pub mod devices;
mod host;
mod io;
mod memory;
mod now;
mod other;
mod owner;
mod path;
pub mod systemd;
#[cfg(test)]
mod tests;

use builder::Builder;
pub use devices::exchanged;
pub use host::{Hierarchy, Host, Unified};
#[cfg(fuzzing)]
pub use host::{V1, V2};
pub use now::{CpuMax, Now};
pub use owner::owner;

/// Who makes the container's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Corten itself, through the cgroup file systems.
    Cgroupfs,
    /// systemd, as a transient unit; Corten writes what systemd does not know of.
    Systemd {
        /// The user's systemd, not the system's.
        user: bool,
    },
    /// Nobody: the container stays in the caller's cgroup and `linux.resources` is not applied.
    Disabled,
}

/// What is done with cgroups for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPlan {
    /// Path of the cgroup from the root of every hierarchy, without a slash at either end.
    pub path: String,
    /// One directory for each hierarchy that is used; none if cgroups are not managed.
    pub directories: Vec<Directory>,
    /// What is written, in this order.
    pub writes: Vec<Write>,
    /// The device rules as a program, where they are not writes of cgroup v1.
    pub device_program: Option<DeviceProgram>,
    /// The uid that the directory of cgroup v2 is handed over to, once it is made ([`owner`]).
    pub owner: Option<u32>,
    /// The unit that systemd makes, with the directories.
    pub unit: Option<systemd::Unit>,
    /// What was asked for and cannot be had on this host, for the log: one sentence each.
    pub warnings: Vec<String>,
}

impl CgroupPlan {
    /// The plan of a container that stays in the runtime's cgroup.
    pub fn none(path: String) -> CgroupPlan {
        CgroupPlan {
            path,
            directories: Vec::new(),
            writes: Vec::new(),
            device_program: None,
            owner: None,
            unit: None,
            warnings: Vec::new(),
        }
    }
}

/// The container's directory in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The hierarchy's directory under the root of the cgroup file systems; empty for the root itself.
    pub hierarchy: String,
    /// Which interface its files have.
    pub version: Version,
    /// Whether its cpuset must be filled before a task can join (cgroup v1).
    pub cpuset: bool,
    /// Controllers that have to be enabled for it (cgroup v2).
    pub controllers: Vec<Controller>,
}

/// The two interfaces of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// cgroups(7), "CGROUPS VERSION 1".
    V1,
    /// cgroups(7), "CGROUPS VERSION 2".
    V2,
}

/// A controller to be enabled in `cgroup.subtree_control` of every level above the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// `memory`, `pids` and so on.
    pub name: String,
    /// Pointer of the limit that needs it; without one it is only wanted for statistics.
    pub needed_by: Option<String>,
}

/// One value that is written into one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Index into [`CgroupPlan::directories`].
    pub directory: usize,
    /// The file in that directory.
    pub file: Cow<'static, str>,
    /// What is written, in one write(2).
    pub value: String,
    /// When.
    pub phase: Phase,
    /// JSON pointer of the property that asked for it.
    pub pointer: Cow<'static, str>,
    /// What a missing file means.
    pub missing: Missing,
    /// Whether a refusal with `EINVAL` leads to a second try after the writes that follow in this
    /// directory: values that limit each other (period and quota, memory and swap) have no order
    /// that is right for every old value.
    pub retry: bool,
    /// A file with the present usage, which the value has to exceed (`checkBeforeUpdate`).
    pub above: Option<&'static str>,
}

/// When a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before a task joins: without it, it could not join.
    BeforeJoin,
    /// After the init has joined, while it sets itself up.
    AfterJoin,
    /// After the init has made its device nodes: between two writes of the v1
    /// rules, mknod is not allowed.
    Devices,
}

/// What it means that the file is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The limit cannot be had: an error.
    Fail,
    /// The kernel has no such limit, and the value asks for what holds without it.
    Skip,
    /// An older or newer kernel has it under this name, with this value.
    Instead(&'static str, String),
}

/// A program of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceProgram {
    /// Index into [`CgroupPlan::directories`].
    pub directory: usize,
    /// Instructions, each as the eight bytes of `struct bpf_insn` in this machine's byte order.
    pub instructions: Vec<u64>,
    /// Whether it allows every access to every device, so that doing without it is the same.
    pub allows_everything: bool,
}

/// A limit that cannot be had as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceError {
    /// JSON pointer of the property in config.json.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

impl ResourceError {
    fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        ResourceError {
            pointer: pointer.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.message)
    }
}

impl std::error::Error for ResourceError {}

/// Plans the cgroup of the container `id`.
///
/// # Errors
/// The first property that is malformed, or whose controller this host lacks.
pub fn plan(
    manager: Manager,
    linux: &Linux,
    id: &str,
    host: &Host,
) -> Result<CgroupPlan, ResourceError> {
    let given = linux.cgroups_path.as_deref();
    let (unit, path) = match manager {
        Manager::Systemd { user } => {
            if user && !host.is_unified() {
                let message = "a user's systemd manages cgroups on cgroup v2 alone, and this host has cgroup v1";
                return Err(ResourceError::new("/linux/cgroupsPath", message));
            }
            let (unit, path) = systemd::resolve(given, id, user, &host.base)?;
            (Some(unit), path)
        }
        Manager::Cgroupfs | Manager::Disabled => (None, path::resolve(given, id, &host.base)?),
    };
    let mut builder = Builder::new(path, host);
    if manager != Manager::Disabled {
        builder.add_hierarchies();
        plan_limits(&mut builder, &linux.resources)?;
        devices::plan(&mut builder, &linux.resources.devices, &linux.devices)?;
    }
    let mut plan = builder.finish();
    if let Some(mut unit) = unit {
        systemd::finish(&mut plan, &mut unit, id);
        plan.unit = Some(unit);
    }
    Ok(plan)
}

/// Plans new limits for a container that has some: what `resources` does not name stays as it
/// is, the device rules too unless `devices` says that they are replaced.
///
/// The directories of the plan are those that the host has; the plan has no path.
///
/// # Errors
/// As [`plan`]; a limit that contradicts one that stays.
pub fn plan_update(
    resources: &Resources,
    devices: bool,
    host: &Host,
    now: &Now,
) -> Result<CgroupPlan, ResourceError> {
    let mut builder = Builder::of_now(host, now);
    builder.add_hierarchies();
    plan_limits(&mut builder, resources)?;
    if devices {
        devices::plan(&mut builder, &resources.devices, &[])?;
    }
    Ok(builder.finish())
}

fn plan_limits(b: &mut Builder, resources: &Resources) -> Result<(), ResourceError> {
    memory::plan(b, resources.memory.as_ref())?;
    cpu::plan(b, resources.cpu.as_ref())?;
    io::plan(b, resources.block_io.as_ref())?;
    other::plan(b, resources)
}
