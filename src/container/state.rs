//! What is kept of a container: `<root>/<id>/state.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::status::Status;
use crate::cgroup;
use crate::config::spec::{Hook, Spec};
use crate::network;
use crate::rdt;

/// The record of a container. It is written before anything is made (with `pid`
/// 0) and again when the init runs; what changes by itself (the status) is asked
/// of the kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// `ociVersion` of config.json.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// The init as the host numbers it; 0 until it is made.
    pub pid: i32,
    /// The init's start time (field 22 of /proc/PID/stat): with the pid it names one process.
    pub start_time: u64,
    /// The process that makes the container, or made it.
    pub creator: i32,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the configuration, if it is not the bundle's config.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// When it was made (RFC 3339).
    pub created: String,
    /// Who made it.
    pub owner: u32,
    /// Annotations of config.json.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its cgroup.
    pub cgroup: cgroup::Record,
    /// What was last asked for memory and swap together, in bytes, -1 for no limit: cgroup v2
    /// keeps swap alone, and a new limit of memory leaves the sum as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<i64>,
    /// Whether it has a pid namespace of its own, so that the end of its init ends all.
    pub own_pid_namespace: bool,
    /// How its init ended, if somebody saw it: the exit code, 128 and the signal's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// Network devices that are moved in, as they were on the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub net_devices: Vec<network::Device>,
    /// Its group of the resctrl file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdt: Option<rdt::Record>,
    /// Hooks of `start` and `delete`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<HookRecord>,
    /// The same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<HookRecord>,
    /// What `exec` needs besides ([`super::template::Template`] as JSON); empty until the
    /// container is set up. It is a line of its own in the file, which only `exec` reads.
    #[serde(skip)]
    pub template: String,
}

/// A hook that runs later than config.json is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HookRecord {
    /// Path of the program.
    pub path: String,
    /// argv.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// envp; without one it is that of the runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

impl From<&Hook<'_>> for HookRecord {
    fn from(hook: &Hook<'_>) -> HookRecord {
        let strings =
            |texts: &[crate::config::spec::Text<'_>]| texts.iter().map(|t| t.to_string()).collect();
        HookRecord {
            path: hook.path.to_string(),
            args: strings(&hook.args),
            env: hook.env.as_deref().map(strings),
            timeout: hook.timeout,
        }
    }
}

/// The hooks of one kind as records.
pub fn hook_records(hooks: &[Hook<'_>]) -> Vec<HookRecord> {
    hooks.iter().map(HookRecord::from).collect()
}

/// The annotations of a spec as plain strings.
pub fn annotations(spec: &Spec<'_>) -> BTreeMap<String, String> {
    spec.annotations
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect()
}

/// The container as `state` and hooks show it (runtime-spec, "State").
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OciState<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl State {
    /// The state that hooks get on standard input.
    pub fn for_hooks(&self, status: Status, pid: Option<i32>) -> OciState<'_> {
        OciState {
            oci_version: &self.oci_version,
            id: &self.id,
            status,
            pid,
            bundle: &self.bundle,
            annotations: &self.annotations,
        }
    }

    /// The same as text, split where the pid goes: before and after it. The pid of
    /// the container's own namespace is known only to the init.
    pub fn for_hooks_around_pid(&self, status: Status) -> (String, String) {
        const MARK: &str = "\"pid\":-1,";
        let text = serde_json::to_string(&self.for_hooks(status, Some(-1))).unwrap_or_default();
        // Inside a string the quotes would be escaped, so the first match is the key.
        let (head, tail) = text.split_once(MARK).unwrap_or((&text, ""));
        (format!("{head}\"pid\":"), format!(",{tail}"))
    }
}

/// What `state` and `list` print, with runc's keys and order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrintedState<'a> {
    /// `ociVersion`.
    pub oci_version: &'a str,
    /// The id.
    pub id: &'a str,
    /// The init; 0 when it has ended.
    pub pid: i32,
    /// The status.
    pub status: Status,
    /// The bundle.
    pub bundle: &'a str,
    /// The root file system.
    pub rootfs: &'a str,
    /// When it was made.
    pub created: &'a str,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
    /// Name of the user who made it.
    pub owner: &'a str,
}

impl State {
    /// The state as it is printed.
    pub fn printed<'a>(&'a self, status: Status, owner: &'a str) -> PrintedState<'a> {
        PrintedState {
            oci_version: &self.oci_version,
            id: &self.id,
            pid: if status == Status::Stopped {
                0
            } else {
                self.pid
            },
            status,
            bundle: &self.bundle,
            rootfs: &self.rootfs,
            created: &self.created,
            annotations: &self.annotations,
            owner,
        }
    }
}
