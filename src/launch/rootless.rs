//! What a runtime without root's rights does without: its cgroup, and groups.
//!
//! As runc and crun have it: a container that asks for no limits and names no cgroup
//! stays in the caller's when the runtime may not make one. Whoever asks gets an error.

use rustix::process::geteuid;

use super::{LaunchError, Request};
use crate::cgroup::{self, CgroupError, Cgroupfs, DELEGATION, Record};
use crate::config::{self, ConfigError, Spec};
use crate::plan::cgroup::{CgroupPlan, Manager, Phase};
use crate::sys::Errno;

/// `PROC_USER_INIT_INO` of linux/proc_ns.h: the first user namespace. What uid_map says
/// is no sign, a map of a further one may look the same.
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// What a launch goes on with.
pub struct Without {
    /// Says that nothing is to be made.
    pub plan: CgroupPlan,
    /// The file systems, where the container's cgroup mount is looked for.
    pub cgroupfs: Cgroupfs,
    /// Names no directory.
    pub record: Record,
}

/// The cgroup could not be made: the launch goes on without it, if that is what
/// `--rootless` says and nothing in config.json needs one.
///
/// # Errors
/// The same error, with a hint, if it may not.
pub fn without_cgroup(
    request: &Request,
    spec: &Spec<'_>,
    error: CgroupError,
    plan: &CgroupPlan,
) -> Result<Without, LaunchError> {
    if !is_denied(error.errno()) || !may_go_without(request) {
        return Err(error.into());
    }
    let linux = spec.linux.as_ref();
    if let Some(pointer) = limit_of(plan) {
        return Err(error.at(&pointer).hint(DELEGATION).into());
    }
    if linux.is_some_and(|linux| linux.cgroups_path.as_deref().is_some_and(|p| !p.is_empty())) {
        return Err(error.at("/linux/cgroupsPath").hint(DELEGATION).into());
    }
    log::debug!("{error}: the container stays in the runtime's cgroup");
    warn_of_strays(linux);
    let cgroupfs = Cgroupfs::open().or_else(|_| Cgroupfs::absent())?;
    let plan = CgroupPlan::none(plan.path.clone());
    let record = cgroupfs.intend(&plan)?;
    Ok(Without {
        plan,
        cgroupfs,
        record,
    })
}

/// Says what it means to have no cgroup, where there is no pid namespace either.
pub fn warn_of_strays(linux: Option<&config::spec::Linux<'_>>) {
    let pid_namespace = |linux: &config::spec::Linux<'_>| {
        let mut namespaces = linux.namespaces.iter();
        namespaces.any(|n| n.kind == "pid" && n.path.as_deref().is_none_or(str::is_empty))
    };
    if !linux.is_some_and(pid_namespace) {
        log::warn!(
            "the container has neither a cgroup nor a pid namespace of its own: \
             kill and delete end its first process only"
        );
    }
}

/// There are no cgroup file systems to be seen: no reason to fail for who may go without.
///
/// # Errors
/// The same error, if he may not.
pub fn no_cgroupfs(request: &Request, error: CgroupError) -> Result<Cgroupfs, LaunchError> {
    if request.manager == Manager::Disabled || may_go_without(request) {
        log::debug!("{error}: taken as a host without cgroups");
        return Ok(Cgroupfs::absent()?);
    }
    Err(error
        .hint("--cgroup-manager=disabled runs containers without cgroups")
        .into())
}

/// The device rules could not be set: with the rights of a user there are hardly any, and
/// a user namespace opens no device that its owner could not open.
///
/// # Errors
/// The same error, if it counts.
pub fn without_device_rules(request: &Request, error: CgroupError) -> Result<(), LaunchError> {
    if is_denied(error.errno()) && may_go_without(request) {
        log::debug!("{error}: the container goes without device rules");
        return Ok(());
    }
    Err(error.into())
}

/// Groups were asked for in a user namespace that denies setgroups(2).
pub fn no_groups() -> LaunchError {
    LaunchError::Config(
        ConfigError::new(
            "/process/user/additionalGids",
            "cannot set any additional groups in a rootless container that maps the user's own group alone",
        )
        .with_hint(
            "leave them out, or map a range of /etc/subgid in /linux/gidMappings, which needs newgidmap",
        ),
    )
}

fn is_denied(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::ACCESS | Errno::PERM | Errno::ROFS))
}

/// `--rootless`, or what it is without: no root, or the root of a user namespace.
fn may_go_without(request: &Request) -> bool {
    request
        .rootless
        .unwrap_or_else(|| !geteuid().is_root() || in_user_namespace())
}

fn in_user_namespace() -> bool {
    rustix::fs::stat("/proc/self/ns/user")
        .is_ok_and(|namespace| namespace.st_ino != FIRST_USER_NAMESPACE)
}

/// Whose systemd makes the cgroup: the user's, or the system's. The root of a user namespace may
/// be root to a systemd in it, or a user who is root there only.
pub fn of_users_systemd(rootless: Option<bool>) -> bool {
    rootless.unwrap_or_else(|| {
        !geteuid().is_root() || in_user_namespace() && !cgroup::systemd::serves_root()
    })
}

/// The pointer of the first limit. Device rules are none: they restrict root.
fn limit_of(plan: &CgroupPlan) -> Option<String> {
    let write = plan.writes.iter().find(|w| w.phase != Phase::Devices);
    let mut controllers = plan.directories.iter().flat_map(|d| &d.controllers);
    write
        .map(|write| write.pointer.to_string())
        .or_else(|| controllers.find_map(|c| c.needed_by.clone()))
}
