//! The mappings of a new user namespace (user_namespaces(7)).

use std::process::Command;

use rustix::process::{Pid, geteuid};

use super::{Doing, LaunchError};
use crate::plan::namespaces::NamespacePlan;
use crate::sys::Errno;

/// Whether setgroups(2) has to be denied in the namespace: an unprivileged user
/// who maps only a group of its own may not drop groups there.
pub fn setgroups_denied(plan: &NamespacePlan) -> bool {
    plan.makes(libc::CLONE_NEWUSER as u64) && !geteuid().is_root() && is_single(&plan.gid_map)
}

fn is_single(map: &str) -> bool {
    map.lines().count() == 1 && map.trim_end().ends_with(" 1")
}

/// Writes the mappings of the init's user namespace.
///
/// # Errors
/// The kernel or newuidmap(1) refuses them.
pub fn map(pid: Pid, plan: &NamespacePlan) -> Result<(), LaunchError> {
    let pid = pid.as_raw_nonzero().get();
    if setgroups_denied(plan) {
        write(pid, "setgroups", "deny")?;
    }
    map_one(pid, "uid_map", "newuidmap", &plan.uid_map)?;
    map_one(pid, "gid_map", "newgidmap", &plan.gid_map)
}

fn map_one(
    pid: i32,
    file: &'static str,
    helper: &'static str,
    map: &str,
) -> Result<(), LaunchError> {
    // Ranges of /etc/subuid are only given out by the set-uid helpers.
    if geteuid().is_root() || is_single(map) {
        write(pid, file, map)
    } else {
        run(helper, pid, map)
    }
}

fn write(pid: i32, file: &str, text: &str) -> Result<(), LaunchError> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::write(&path, text)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        .doing("write the id mappings to", path)
}

fn run(helper: &'static str, pid: i32, map: &str) -> Result<(), LaunchError> {
    let output = Command::new(helper)
        .arg(pid.to_string())
        .args(map.split_ascii_whitespace())
        .output();
    match output {
        Err(error) => Err(LaunchError::Init(format!(
            "/linux/uidMappings: cannot run {helper}, which a user other than root needs for ranges: {error} \
             (install the package uidmap and give the user a range in /etc/subuid and /etc/subgid)"
        ))),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(LaunchError::Init(format!(
            "/linux/uidMappings: {helper} refuses the mappings: {}",
            super::hooks::one_line(&String::from_utf8_lossy(&output.stderr))
        ))),
    }
}
