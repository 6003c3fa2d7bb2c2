//! What the runtime does before the first effect: reading, checking, planning.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Uid;

use super::attempt::Attempt;
use super::{
    Doing, LaunchError, Launched, Mode as LaunchMode, Request, ids, notify, own_copy, rootless,
};
use crate::cgroup::{Cgroupfs, Record};
use crate::config::{self, ConfigError, Spec};
use crate::container::state::{annotations, hook_records};
use crate::container::template::{Filter, Template};
use crate::container::{State, Store, StoreError};
use crate::network;
use crate::plan::cgroup::{CgroupPlan, Host, Manager, ResourceError};
use crate::plan::process::{ProcessPlan, capability_names};
use crate::plan::{self, CgroupMounts, Plan, V1Mount, seccomp};
use crate::rdt;
use crate::sys::fd::ShortLived;
use crate::sys::process::close_on_exec_from;
use crate::sys::{Errno, io_errno};

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const NEWCGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
const NEWPID: u64 = libc::CLONE_NEWPID as u64;

/// Launches a container.
///
/// # Errors
/// Why not. Nothing is left behind: no process, cgroup, file or mount.
pub fn launch(request: &Request) -> Result<Launched, LaunchError> {
    let (bundle_text, dir) = open_bundle(&request.bundle)?;
    let bundle_text = bundle_text.as_str();
    let file = config_file(request)?;
    let name = file.as_deref().unwrap_or("config.json");
    let text = config::read(dir.as_fd(), name)
        .map_err(|error| LaunchError::Read(bundle_text.to_owned(), error))?;
    let named = |error: config::ConfigError| match &file {
        Some(file) => error.in_file(file),
        None => error,
    };
    let mut notifies = false;
    let mut spec = config::parse(&text).map_err(named)?;
    if may_show_itself(&spec) {
        own_copy::ensure()?;
    }
    for warning in config::check(&spec).map_err(named)? {
        log::warn!("{warning}");
    }
    log::debug!("read {name} of {bundle_text}, {} bytes", text.len());
    if request.notify && plan::makes_mounts(&spec)? {
        let dir = std::path::absolute(request.root.join(request.id.as_str()));
        notify::add_to(&mut spec, &dir.unwrap_or_default().to_string_lossy());
        notifies = true;
    }
    let mut plan = plan::plan(&spec, bundle_text)?;
    let owner = rustix::process::geteuid();
    if !owner.is_root() && !plan.namespaces.has(NEWUSER) {
        if plan.apart {
            return Err(config::ConfigError::new(
                "/linux/namespaces",
                "without root's rights a container with mounts needs a mount namespace of its own",
            )
            .into());
        }
        ids::add_user_namespace(&mut plan);
    }
    let listen_env = request
        .listen_env
        .iter()
        .map(|e| plan::path::c_string(e.as_str()));
    plan.process.env.extend(listen_env);
    if let Some(section) = seccomp_section(&spec) {
        seccomp::check(section).map_err(seccomp_error)?;
    }
    check_options(request, &plan)?;
    if !plan.namespaces.has(NEWUSER) {
        limit_capabilities(&mut plan.process);
    }

    let absent = config::spec::Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&absent);
    check_mount_label(linux)?;
    let (cgroupfs, cgroup_plan) = plan_cgroup(request, &spec)?;
    if cgroup_plan.directories.is_empty() {
        rootless::warn_of_strays(spec.linux.as_ref());
    }
    let store = Store::new(&request.root);
    // A container of this id may have what is asked for: then the id says more.
    let or_taken = |error: LaunchError| match store.open(&request.id) {
        Ok(_) => StoreError::Exists(request.id.to_string()).into(),
        Err(_) => error,
    };
    let record = cgroupfs.intend(&cgroup_plan);
    let record = record.map_err(|error| or_taken(error.into()))?;
    let net_devices = network::find(&plan.net_devices);
    let net_devices = net_devices.map_err(|error| or_taken(error.into()))?;
    let rdt_plan = match &linux.intel_rdt {
        Some(rdt) => Some(plan::rdt::plan(rdt, request.id.as_str())?),
        None => None,
    };
    let rdt = rdt_plan.as_ref().map(rdt::intend).transpose()?;

    let entry = store.create(&request.id)?;
    let mut attempt = Attempt {
        state: State {
            net_devices,
            rdt,
            ..first_state(request, &spec, &plan, bundle_text, (owner, record))
        },
        request,
        notifies,
        proxy: None,
        spec: &spec,
        plan: &plan,
        rdt_plan,
        entry,
        child: None,
        cgroup_made: false,
        inherited: Default::default(),
        hooks_ran: false,
        pid_file: false,
        second_to_come: false,
        groups_denied: false,
    };
    match attempt.go(cgroupfs, cgroup_plan) {
        Ok(console) => attempt.finish(console),
        Err(error) => {
            attempt.undo();
            Err(error)
        }
    }
}

/// Plans the container's cgroup for this host, and connects to the systemd that is to make it.
///
/// # Errors
/// There are no cgroups or no systemd; a limit or a property that cannot be.
pub fn plan_cgroup(
    request: &Request,
    spec: &Spec<'_>,
) -> Result<(Cgroupfs, CgroupPlan), LaunchError> {
    let error = |e: ResourceError| LaunchError::Config(ConfigError::new(e.pointer, e.message));
    let mut cgroupfs = match Cgroupfs::open() {
        Ok(cgroupfs) => cgroupfs,
        Err(error) => rootless::no_cgroupfs(request, error)?,
    };
    if let Manager::Systemd { user } = request.manager {
        cgroupfs.connect_systemd(user)?;
    }
    let absent = config::spec::Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&absent);
    let host = cgroupfs.host();
    let mut plan =
        plan::cgroup::plan(request.manager, linux, request.id.as_str(), host).map_err(error)?;
    plan.owner = plan::cgroup::owner(spec, host);
    if let Some(unit) = &mut plan.unit {
        let all = spec.annotations.iter();
        let all = all.map(|(name, value)| (name.as_ref(), value.as_ref()));
        let properties = plan::cgroup::systemd::annotations(all).map_err(error)?;
        unit.properties.extend(properties);
    }
    for warning in &plan.warnings {
        log::warn!("{warning}");
    }
    Ok((cgroupfs, plan))
}

/// Opens a bundle; gives its absolute path with it.
///
/// # Errors
/// It is not there, or its path is not UTF-8.
pub(crate) fn open_bundle(bundle: &Path) -> Result<(String, ShortLived), LaunchError> {
    let path = std::path::absolute(bundle).map_err(|error| {
        let errno = io_errno(error);
        LaunchError::System("open the bundle", bundle.display().to_string(), errno)
    })?;
    let text = path.to_str().ok_or_else(|| {
        LaunchError::Usage(format!("the bundle's path {} is not UTF-8", path.display()))
    })?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, &path, flags, Mode::empty())
        .map(ShortLived::from)
        .doing("open the bundle", path.display())?;
    Ok((text.to_owned(), dir))
}

/// Whether processes of a container may see the init before it is the stub: with a user
/// namespace, a pid namespace that is joined may have to be joined before the clone.
fn may_show_itself(spec: &Spec<'_>) -> bool {
    let namespaces = || spec.linux.iter().flat_map(|linux| &linux.namespaces);
    let joined = |path: &Option<config::spec::Text<'_>>| {
        path.as_deref().is_some_and(|path| !path.is_empty())
    };
    namespaces().any(|n| n.kind == "pid" && joined(&n.path))
        && namespaces().any(|n| n.kind == "user")
}

/// `linux.seccomp`.
pub(crate) fn seccomp_section<'s, 'a>(spec: &'s Spec<'a>) -> Option<&'s config::spec::Seccomp<'a>> {
    spec.linux.as_ref()?.seccomp.as_ref()
}

/// A seccomp section that cannot be compiled, as an error of config.json.
pub(crate) fn seccomp_error(error: seccomp::SeccompError) -> LaunchError {
    LaunchError::Config(ConfigError::new(error.pointer, error.message))
}

/// What of the options and the terminal contradicts.
fn check_options(request: &Request, plan: &Plan) -> Result<(), LaunchError> {
    let detached = request.mode != LaunchMode::Foreground;
    let console_socket = request.console_socket.is_some();
    check_terminal(plan.process.terminal, detached, console_socket)?;
    check_preserved(request.preserve_fds)
}

/// A terminal is relayed in the foreground, and else handed to a socket.
pub(crate) fn check_terminal(
    terminal: bool,
    detached: bool,
    console_socket: bool,
) -> Result<(), LaunchError> {
    let usage = |text: &str| Err(LaunchError::Usage(text.to_owned()));
    if terminal && detached && !console_socket {
        return usage(
            "cannot allocate tty if corten will detach without setting console socket \
             (/process/terminal is true: give --console-socket, or run it in the foreground)",
        );
    }
    if console_socket && !(terminal && detached) {
        return usage("cannot use console socket if corten will not detach or allocate tty");
    }
    Ok(())
}

/// Refuses to preserve descriptors that are not there.
pub(super) fn check_preserved(count: u32) -> Result<(), LaunchError> {
    // One that is not there comes long before the numbers end.
    for fd in 3..count.saturating_add(3) {
        let fd = i32::try_from(fd).unwrap_or(i32::MAX);
        if !crate::sys::process::is_inherited(fd) {
            return Err(LaunchError::Usage(format!(
                "--preserve-fds {count}: descriptor {fd} is not open",
            )));
        }
    }
    Ok(())
}

/// A kernel without SELinux takes no label, so it would be refused at the first mount that has
/// one, and be ignored where there is none.
fn check_mount_label(linux: &config::spec::Linux<'_>) -> Result<(), LaunchError> {
    /// SELINUX_MAGIC of linux/magic.h.
    const SELINUX: u32 = 0xf97c_ff8c;
    if linux.mount_label.as_deref().is_none_or(str::is_empty) {
        return Ok(());
    }
    match rustix::fs::statfs("/sys/fs/selinux") {
        Ok(stat) if stat.f_type as u32 == SELINUX => Ok(()),
        _ => Err(LaunchError::Config(
            config::ConfigError::new(
                "/linux/mountLabel",
                "cannot label mounts: SELinux is not enabled on this host",
            )
            .with_hint("leave mountLabel out, or boot with SELinux"),
        )),
    }
}

/// Closes what the caller left open, from this number on, before the stub runs: it is no more
/// the container's than what is opened here, and the program's path would be looked up
/// through it before its execve closes it (CVE-2016-9962, CVE-2024-21626).
pub(crate) fn hide_callers_descriptors(from: u32) -> Result<(), LaunchError> {
    match close_on_exec_from(from) {
        // Before Linux 5.11; there the stub closes them, or refuses to go on.
        Err(Errno::INVAL | Errno::NOSYS) => Ok(()),
        result => result.doing("hide the caller's descriptors", ""),
    }
}

/// The spec: what cannot be granted is a warning, not an error. To be asked without a
/// user namespace, where the process has every capability.
pub(super) fn limit_capabilities(process: &mut ProcessPlan) {
    let Ok(own) = rustix::thread::capabilities(None) else {
        return;
    };
    let (limited, missing) = process.capabilities.limited_to(own.permitted.bits());
    if missing != 0 {
        let names = capability_names(missing);
        log::warn!(
            "/process/capabilities: {names} cannot be granted: the runtime does not have them"
        );
        process.capabilities = limited;
    }
}

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// What a mount of type `cgroup` is made of here.
pub(crate) fn cgroup_mounts(plan: &Plan, cgroup: &CgroupPlan, host: &Host) -> CgroupMounts {
    let c_string = |text: String| plan::path::c_string(text);
    let own_namespace = plan.namespaces.has(NEWCGROUP);
    let own_cgroup = !cgroup.directories.is_empty();
    let root = host.root.display();
    if host.is_unified() {
        return CgroupMounts::Unified {
            bind: match (own_namespace, own_cgroup) {
                // As the namespace would show it.
                (true, true) => Some(c_string(format!("{root}/{}", cgroup.path))),
                (true, false) => None,
                (false, _) => Some(c_string(root.to_string())),
            },
            whole: !own_namespace,
        };
    }
    if !own_namespace && !own_cgroup {
        return CgroupMounts::Hidden;
    }
    let sets = &plan.process.capabilities;
    let may_remount = (sets.bounding | sets.permitted) & CAP_SYS_ADMIN != 0
        || plan.namespaces.has(libc::CLONE_NEWUSER as u64);
    let binds = !own_namespace || own_cgroup && !may_remount;
    let mount = |hierarchy: &plan::cgroup::Hierarchy| {
        let name = &hierarchy.directory;
        V1Mount {
            data: c_string(mount_data(&hierarchy.controllers)),
            directory: binds.then(|| c_string(format!("{root}/{name}/{}", cgroup.path))),
            has_namespace: own_namespace,
            links: if name.contains(',') {
                name.split(',').map(plan::path::c_string).collect()
            } else {
                Vec::new()
            },
            name: plan::path::c_string(name.as_str()),
        }
    };
    CgroupMounts::V1(host.hierarchies.iter().map(mount).collect())
}

/// Options of mount(2) for a hierarchy; one without controllers says so.
fn mount_data(controllers: &[String]) -> String {
    match controllers {
        [name] if name.starts_with("name=") => format!("none,{name}"),
        names => names.join(","),
    }
}

/// The absolute path of `--config`, if that was given.
fn config_file(request: &Request) -> Result<Option<String>, LaunchError> {
    let Some(path) = &request.config else {
        return Ok(None);
    };
    let unusable = || LaunchError::Usage(format!("--config {}: no such path", path.display()));
    let path = std::path::absolute(path).map_err(|_| unusable())?;
    let text = path
        .to_str()
        .ok_or_else(|| LaunchError::Usage(format!("the path {} is not UTF-8", path.display())))?;
    Ok(Some(text.to_owned()))
}

/// `linux.resources.memory.swap`; 0 is "not set".
fn memory_swap(spec: &Spec<'_>) -> Option<i64> {
    let memory = spec.linux.as_ref()?.resources.memory.as_ref()?;
    memory.swap.filter(|swap| *swap != 0)
}

pub(crate) fn first_state(
    request: &Request,
    spec: &Spec<'_>,
    plan: &Plan,
    bundle: &str,
    (owner, cgroup): (Uid, Record),
) -> State {
    State {
        oci_version: spec.oci_version.to_string(),
        id: request.id.to_string(),
        pid: 0,
        start_time: 0,
        creator: rustix::process::getpid().as_raw_nonzero().get(),
        bundle: bundle.to_owned(),
        config: config_file(request).unwrap_or_default(),
        rootfs: plan.root.path.to_string_lossy().into_owned(),
        created: request.created.clone(),
        owner: owner.as_raw(),
        annotations: annotations(spec),
        cgroup,
        memory_swap: memory_swap(spec),
        own_pid_namespace: plan.namespaces.makes(NEWPID),
        exit_status: None,
        net_devices: Vec::new(),
        rdt: None,
        poststart: hook_records(&spec.hooks.poststart),
        poststop: hook_records(&spec.hooks.poststop),
        template: String::new(),
    }
}

/// What `exec` will need, as text. With the filter: whether setgroups(2) is denied.
pub(crate) fn template(
    request: &Request,
    spec: &Spec<'_>,
    plan: &Plan,
    (seccomp, keep_groups): (Option<Filter<'_>>, bool),
) -> String {
    let linux = spec.linux.as_ref();
    let template = Template {
        process: spec.process.clone().unwrap_or_default(),
        linux: config::spec::Linux {
            personality: linux.and_then(|linux| linux.personality.clone()),
            memory_policy: linux.and_then(|linux| linux.memory_policy.clone()),
            mount_label: linux.and_then(|linux| linux.mount_label.clone()),
            ..config::spec::Linux::default()
        },
        namespaces: plan.namespaces.all(),
        shares_mounts: plan.namespaces.joins(libc::CLONE_NEWNS as u64),
        keyring: !request.no_new_keyring,
        keep_groups,
        seccomp,
    };
    // Strings and numbers: nothing of it cannot be written.
    serde_json::to_string(&template).unwrap_or_default()
}
