//! What cannot be restored.

use super::{NEWNS, NEWUSER};
use crate::checkpoint::CheckpointError;
use crate::config::{ConfigError, Spec};
use crate::plan::Plan;
use crate::plan::cgroup::Manager;

/// What CRIU cannot bring back, and Corten would have to leave out silently.
pub(super) fn refuse_unrestorable(
    spec: &Spec<'_>,
    plan: &Plan,
    manager: Manager,
) -> Result<(), CheckpointError> {
    let refuse = |pointer: String, why: &str| Err(ConfigError::new(pointer, why).into());
    let linux = spec.linux.as_ref();
    if !plan.net_devices.is_empty() {
        return refuse(
            "/linux/netDevices".to_owned(),
            "a restored container gets no network devices",
        );
    }
    if linux.is_some_and(|linux| linux.intel_rdt.is_some()) {
        return refuse(
            "/linux/intelRdt".to_owned(),
            "a restored container gets no RDT group",
        );
    }
    if let Some(index) = plan.mounts.iter().position(|mount| mount.idmap.is_some()) {
        return refuse(
            format!("/mounts/{index}"),
            "a mount with mapped ids cannot be restored",
        );
    }
    if !plan.namespaces.makes(NEWNS) {
        return refuse(
            "/linux/namespaces".to_owned(),
            "a container without a mount namespace of its own cannot be restored",
        );
    }
    if manager == Manager::Disabled && !plan.namespaces.makes(libc::CLONE_NEWPID as u64) {
        // Nothing would tell which processes are its.
        return refuse(
            "/linux/namespaces".to_owned(),
            "a container without a cgroup needs a pid namespace of its own to be restored",
        );
    }
    let joins = &plan.namespaces.join;
    let unknown = |flag: u64| flag == libc::CLONE_NEWCGROUP as u64 || flag == NEWUSER;
    match joins.iter().find(|join| unknown(join.flag)) {
        Some(join) => refuse(
            format!("/linux/namespaces/{}", join.index),
            "CRIU cannot join a namespace of this kind",
        ),
        None => Ok(()),
    }
}
