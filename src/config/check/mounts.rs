//! `mounts`, but for their options, which `plan` reads.

use crate::config::error::{ConfigError, Warning};
use crate::config::names::is_ignored_on_bind;
use crate::config::place::Place;
use crate::config::spec::Mount;

use super::mappings;
use super::paths;

/// The files below /proc that may be mounted over: what lxcfs emulates and
/// what CRIU and FIPS mode need (runc 1.5, checkProcMount).
const PROC_FILES: [&str; 11] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "net/dev",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// Checks all mounts.
pub(super) fn check(
    at: &Place<'_>,
    mounts: &[Mount<'_>],
    warnings: &mut Vec<Warning>,
) -> Result<(), ConfigError> {
    for (index, mount) in mounts.iter().enumerate() {
        check_mount(&at.element(index), mount, warnings)?;
    }
    Ok(())
}

fn check_mount(
    at: &Place<'_>,
    mount: &Mount<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<(), ConfigError> {
    let place = at.member("destination");
    let destination = mount.destination.as_str();
    paths::require_given(&place, "the destination", destination)?;
    if !destination.starts_with('/') {
        // Old configurations have these; runc 1.5 still takes them.
        warnings.push(place.warning(format_args!(
            "relative destination {destination:?} is deprecated; taken as relative to /"
        )));
    }
    let remounts = mount.options.iter().any(|option| *option == "remount");
    if !remounts && (mount.fstype.as_deref() == Some("bind") || has_bind_option(mount)) {
        let options = at.member("options");
        for (index, option) in mount.options.iter().enumerate() {
            if is_ignored_on_bind(option) {
                warnings.push(options.element(index).warning(format_args!(
                    "a bind mount has no {option:?}: what is bound stays as it is; ignored"
                )));
            }
        }
    }
    check_proc(&place, mount)?;
    if let Some(source) = &mount.source {
        // Not always a path: it may be the address of a server.
        paths::require_text(&at.member("source"), "the source", source)?;
    }
    check_mappings(at, mount)
}

fn has_bind_option(mount: &Mount<'_>) -> bool {
    let mut options = mount.options.iter();
    options.any(|option| *option == "bind" || *option == "rbind")
}

/// Refuses to cover parts of /proc: LSM labels and the like are written there
/// and a container must not be able to catch them (CVE-2019-16884,
/// CVE-2019-19921). A link in the image can still lead a mount there, which is
/// why the mounting code checks where it has arrived as well.
fn check_proc(place: &Place<'_>, mount: &Mount<'_>) -> Result<(), ConfigError> {
    let mut names = normalized(&mount.destination);
    if names.next() != Some("proc") {
        return Ok(());
    }
    let destination = &mount.destination;
    if names.clone().next().is_none() {
        // Whether a bind mount's source is a procfs shows when it is opened.
        if has_bind_option(mount) || mount.fstype.as_deref() == Some("proc") {
            return Ok(());
        }
        return Err(place
            .error(format_args!(
                "{destination:?} cannot be mounted because it is not of type proc"
            ))
            .with_hint("set the mount's type to \"proc\""));
    }
    if PROC_FILES
        .iter()
        .any(|file| names.clone().eq(file.split('/')))
    {
        return Ok(());
    }
    Err(place
        .error(format_args!(
            "{destination:?} cannot be mounted because it is inside /proc"
        ))
        .with_hint(format!(
            "only these files of /proc can be mounted over: {}",
            PROC_FILES.join(", ")
        )))
}

/// The names in `path` after `.` and `..` are resolved lexically; a `..` at
/// the top stays there. Paths with `..` are so rare that they may cost the
/// square of their depth.
fn normalized(path: &str) -> impl Iterator<Item = &str> + Clone {
    let names = path
        .split('/')
        .filter(|name| !name.is_empty() && *name != ".");
    names.clone().enumerate().filter_map(move |(index, name)| {
        let mut depth = 0_usize;
        let is_cancelled = names.clone().skip(index + 1).any(|later| {
            if later != ".." {
                depth += 1;
                return false;
            }
            match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return true,
            }
            false
        });
        (name != ".." && !is_cancelled).then_some(name)
    })
}

/// The mappings of an id-mapped mount come in pairs and by the rules of a user
/// namespace's, since the kernel takes them from one.
fn check_mappings(at: &Place<'_>, mount: &Mount<'_>) -> Result<(), ConfigError> {
    let uids = at.member("uidMappings");
    let gids = at.member("gidMappings");
    mappings::check_map(&uids, &mount.uid_mappings)?;
    mappings::check_map(&gids, &mount.gid_mappings)?;
    match (mount.uid_mappings.is_empty(), mount.gid_mappings.is_empty()) {
        (true, false) => Err(uids.error("an id-mapped mount needs uidMappings with gidMappings")),
        (false, true) => Err(gids.error("an id-mapped mount needs gidMappings with uidMappings")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_normalized_without_leaving_the_root() {
        for (path, expected) in [
            ("/proc", "proc"),
            ("//proc/./", "proc"),
            ("/../proc/x", "proc/x"),
            ("/a/../proc", "proc"),
            ("/a/b/../../proc", "proc"),
            ("/proc/..", ""),
            ("/proc/../../..", ""),
            ("/proc/a/../b", "proc/b"),
            ("proc/a/../..", ""),
        ] {
            let names: Vec<_> = normalized(path).collect();
            assert_eq!(names.join("/"), expected, "{path}");
        }
    }
}
