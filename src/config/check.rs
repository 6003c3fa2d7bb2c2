//! Checks everything that can be wrong in the text of config.json, before the
//! first side effect.
//!
//! Pure: no file is looked at, so that what only the host can tell (whether a
//! path exists, whether the kernel has a feature) is left to `launch`. Two
//! sections have checks of their own where they are planned: mount options and
//! seccomp. Where runc accepts what the specification forbids and an engine
//! may lean on that, it is accepted here too, if need be with a warning.

mod devices;
mod hooks;
mod mappings;
mod memory_policy;
mod mounts;
mod namespaces;
mod network;
mod paths;
mod process;
mod rdt;
mod resources;
mod scheduling;
mod sysctl;

#[cfg(test)]
mod tests;

use super::error::{ConfigError, Warning};
use super::names;
use super::place::Place;
use super::spec::{IntelRdt, Linux, Mount, Process, Resources, Spec};
use namespaces::{Kind, Namespaces};

/// The longest host or domain name, in bytes (`__NEW_UTS_LEN`, uname(2)).
const UTS_NAME_MAX: usize = 64;

/// Checks a whole configuration.
///
/// # Errors
/// The first thing found that makes it unusable.
pub fn check(spec: &Spec<'_>) -> Result<Vec<Warning>, ConfigError> {
    let mut warnings = Vec::new();
    let root = Place::ROOT;
    check_version(&root, spec, &mut warnings);
    check_root(&root, spec)?;
    check_annotations(&root, spec)?;
    mounts::check(&root.member("mounts"), &spec.mounts, &mut warnings)?;
    hooks::check(&root.member("hooks"), &spec.hooks, &mut warnings)?;

    let no_linux = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&no_linux);
    let at_linux = root.member("linux");
    let namespaces = Namespaces::read(&at_linux.member("namespaces"), &linux.namespaces)?;
    check_uts_names(&root, spec, &namespaces)?;
    check_linux(&at_linux, linux, &namespaces, &mut warnings)?;

    let at_process = root.member("process");
    let Some(process) = &spec.process else {
        return Err(at_process
            .error("the process is missing, so there is nothing to run")
            .with_hint("give at least its \"args\" and \"cwd\""));
    };
    process::check(&at_process, process, &mut warnings)?;
    scheduling::check_hooks(&at_process, process, &spec.hooks)?;
    if namespaces.is_new(Kind::User) {
        mappings::check_user(&at_process.member("user"), &process.user, linux)?;
    }
    Ok(warnings)
}

/// Checks the process that `exec --process` adds to a container; the pointers
/// start at the process.
///
/// # Errors
/// The first thing found that makes it unusable.
pub fn check_process(process: &Process<'_>) -> Result<Vec<Warning>, ConfigError> {
    let mut warnings = Vec::new();
    process::check(&Place::ROOT, process, &mut warnings)?;
    Ok(warnings)
}

/// Checks the limits that `update` sets; the pointers start where `update` has them in
/// config.json.
///
/// # Errors
/// The first thing found that makes them unusable.
pub fn check_update(
    resources: &Resources<'_>,
    rdt: Option<&IntelRdt<'_>>,
) -> Result<(), ConfigError> {
    let linux = Place::ROOT.member("linux");
    resources::check(&linux.member("resources"), resources)?;
    match rdt {
        Some(rdt) => rdt::check(&linux.member("intelRdt"), rdt),
        None => Ok(()),
    }
}

/// Checks mounts that are added to a container, as those of config.json.
///
/// # Errors
/// The first thing found that makes one unusable.
pub fn check_mounts(list: &[Mount<'_>]) -> Result<Vec<Warning>, ConfigError> {
    let mut warnings = Vec::new();
    mounts::check(&Place::ROOT.member("mounts"), list, &mut warnings)?;
    Ok(warnings)
}

/// The specification wants a semantic version. runc 1.1 to 1.5 do not look at
/// it, so a strange one is no reason to refuse a container that they run.
fn check_version(root: &Place<'_>, spec: &Spec<'_>, warnings: &mut Vec<Warning>) {
    let place = root.member("ociVersion");
    let version = spec.oci_version.as_str();
    if version.is_empty() {
        warnings.push(place.warning("the version is missing; taken as 1.3.0"));
    } else if !is_semantic_version(version) {
        warnings.push(place.warning(format_args!(
            "{version:?} is not a semantic version such as 1.3.0; taken as 1.3.0"
        )));
    } else if !(version.starts_with("1.") || version.starts_with("0.")) {
        warnings.push(place.warning(format_args!(
            "version {version:?} is newer than what is known; taken as 1.3.0"
        )));
    }
}

/// Whether `version` starts with three numbers as SemVer 2.0.0 has them.
fn is_semantic_version(version: &str) -> bool {
    let core = version.split(['-', '+']).next().unwrap_or(version);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    core.split('.').count() == 3 && core.split('.').all(is_number)
}

fn check_root(at: &Place<'_>, spec: &Spec<'_>) -> Result<(), ConfigError> {
    let place = at.member("root");
    let Some(root) = &spec.root else {
        return Err(place
            .error("the root file system is missing")
            .with_hint("add {\"path\": \"rootfs\"}"));
    };
    paths::require_given(
        &place.member("path"),
        "the root file system's path",
        &root.path,
    )
}

fn check_annotations(root: &Place<'_>, spec: &Spec<'_>) -> Result<(), ConfigError> {
    match spec.annotations.keys().next() {
        // The keys are sorted: an empty one is the first.
        Some(key) if key.is_empty() => Err(root
            .member("annotations")
            .error("the key of an annotation is empty")),
        _ => Ok(()),
    }
}

/// A joined UTS namespace takes a name as well as a new one, as in runc.
fn check_uts_names(
    root: &Place<'_>,
    spec: &Spec<'_>,
    namespaces: &Namespaces<'_, '_>,
) -> Result<(), ConfigError> {
    for (name, value) in [
        ("hostname", &spec.hostname),
        ("domainname", &spec.domainname),
    ] {
        let Some(value) = value else { continue };
        let place = root.member(name);
        if !namespaces.has(Kind::Uts) {
            return Err(place
                .error(format_args!(
                    "unable to set {name} without a private UTS namespace"
                ))
                .with_hint("add {\"type\": \"uts\"} to /linux/namespaces"));
        }
        if value.len() > UTS_NAME_MAX {
            return Err(place.error(format_args!(
                "the {name} has {} bytes (at most {UTS_NAME_MAX})",
                value.len()
            )));
        }
    }
    Ok(())
}

fn check_linux(
    at: &Place<'_>,
    linux: &Linux<'_>,
    namespaces: &Namespaces<'_, '_>,
    warnings: &mut Vec<Warning>,
) -> Result<(), ConfigError> {
    mappings::check_linux(at, linux, namespaces, warnings)?;
    namespaces::check_time_offsets(&at.member("timeOffsets"), &linux.time_offsets, namespaces)?;
    devices::check(&at.member("devices"), &linux.devices)?;
    network::check(&at.member("netDevices"), &linux.net_devices, namespaces)?;
    sysctl::check(&at.member("sysctl"), &linux.sysctl, namespaces)?;
    resources::check(&at.member("resources"), &linux.resources)?;
    if let Some(path) = &linux.cgroups_path {
        let place = at.member("cgroupsPath");
        paths::refuse_parent(&place, "the cgroup's path", path)?;
        // The kernel's cgroup_mkdir: such names could not be told apart in /proc/PID/cgroup.
        if path.contains('\n') {
            return Err(place.error("the cgroup's path has a line break in it"));
        }
    }
    if let Some(word) = &linux.rootfs_propagation {
        let place = at.member("rootfsPropagation");
        names::require_known(&place, "propagation", &names::ROOTFS_PROPAGATIONS, word)?;
    }
    for (name, list) in [
        ("maskedPaths", &linux.masked_paths),
        ("readonlyPaths", &linux.readonly_paths),
    ] {
        let place = at.member(name);
        for (index, path) in list.iter().enumerate() {
            paths::require_absolute(&place.element(index), "the path", path)?;
        }
        if !list.is_empty() && !namespaces.has(Kind::Mount) {
            return Err(place
                .error("paths can only be masked or made read-only in a private mount namespace")
                .with_hint("add {\"type\": \"mount\"} to /linux/namespaces"));
        }
    }
    if let Some(rdt) = &linux.intel_rdt {
        rdt::check(&at.member("intelRdt"), rdt)?;
    }
    if let Some(policy) = &linux.memory_policy {
        memory_policy::check(&at.member("memoryPolicy"), policy)?;
    }
    if let Some(personality) = &linux.personality {
        let place = at.member("personality");
        names::require_known(
            &place.member("domain"),
            "execution domain",
            &names::PERSONALITY_DOMAINS,
            &personality.domain,
        )?;
        if !personality.flags.is_empty() {
            let flags = place.member("flags");
            warnings.push(flags.warning("flags are ignored: the specification defines none"));
        }
    }
    Ok(())
}
