//! The mappings of a new user namespace (user_namespaces(7)), and the user namespace
//! that an ordinary user's container gets though config.json asks for none.

use std::process::Command;

use rustix::process::{Pid, getegid, geteuid};

use super::LaunchError;
use crate::config::ConfigError;
use crate::plan::Plan;
use crate::plan::namespaces::{NamespacePlan, default_map};
use crate::sys::signals::keep_mask;
use crate::sys::{Errno, errno_text, io_errno};

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;

/// Adds a user namespace to the plan of a user other than root who asks for none:
/// without one the kernel lets him make nothing of a container. As crun does it, the
/// user himself becomes the process's user, and /etc/subuid and /etc/subgid give the rest.
pub fn add_user_namespace(plan: &mut Plan) {
    let ranges = plan_user_namespace(plan);
    log::info!(
        "/linux/namespaces: a user other than root needs a user namespace: one is added, \
         with user {} as {} and {ranges} range(s) of /etc/subuid",
        geteuid().as_raw(),
        plan.process.uid,
    );
}

/// The same without a word; gives the number of ranges of /etc/subuid.
pub fn plan_user_namespace(plan: &mut Plan) -> usize {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let (uids, gids) = (
        ranges_of("/etc/subuid", uid),
        // Both files name the user.
        ranges_of("/etc/subgid", uid),
    );
    let process = (plan.process.uid, plan.process.gid);
    let namespaces = &mut plan.namespaces;
    namespaces.new |= NEWUSER;
    namespaces.uid_map = default_map(process.0, uid, &uids);
    namespaces.gid_map = default_map(process.1, gid, &gids);
    namespaces.single_maps = Some((
        default_map(process.0, uid, &[]),
        default_map(process.1, gid, &[]),
    ));
    uids.len()
}

/// The ranges that a file such as /etc/subuid (subuid(5)) gives to a user: first id and count.
pub fn ranges_of(file: &str, uid: u32) -> Vec<(u32, u32)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    parse_ranges(&text, uid, name_of(&passwd, uid))
}

/// The login name of a user in the text of /etc/passwd.
fn name_of(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

fn parse_ranges(text: &str, uid: u32, name: Option<&str>) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    let range = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        if owner != number && Some(owner) != name {
            return None;
        }
        let first = fields.next()?.trim().parse().ok()?;
        let count = fields.next()?.trim().parse().ok()?;
        Some((first, count))
    };
    text.lines().filter_map(range).collect()
}

/// Writes the mappings of the init's user namespace. Says whether setgroups(2) is denied
/// in it: who maps only a group of his own may not drop groups there.
///
/// # Errors
/// The kernel or newuidmap(1) refuses them.
pub fn map(pid: Pid, plan: &NamespacePlan) -> Result<bool, LaunchError> {
    let pid = pid.as_raw_nonzero().get();
    if geteuid().is_root() {
        write(pid, UID, &plan.uid_map)?;
        write(pid, GID, &plan.gid_map)?;
        return Ok(false);
    }
    let (single_uid, single_gid) = plan.single_maps.as_ref().map_or((None, None), |maps| {
        (Some(maps.0.as_str()), Some(maps.1.as_str()))
    });
    let denied = map_as_user(pid, GID, &plan.gid_map, single_gid)?;
    map_as_user(pid, UID, &plan.uid_map, single_uid)?;
    Ok(denied)
}

/// A user's own id he may map himself, and says so; others are only given out by the
/// set-uid helpers. Where those fail, `single` is written instead if there is one.
fn map_as_user(
    pid: i32,
    file: MapFile,
    map: &str,
    single: Option<&str>,
) -> Result<bool, LaunchError> {
    let own = match file.name {
        "gid_map" => getegid().as_raw(),
        _ => geteuid().as_raw(),
    };
    let mut map = map;
    if !is_own_id(map, own) {
        match (run(file, pid, map), single) {
            (Err(error), Some(single)) => {
                log::warn!("{error}: the container gets the caller's own id only");
                map = single;
            }
            (result, _) => return result.map(|()| false),
        }
    }
    if file.name == "gid_map" {
        write(pid, SETGROUPS, "deny")?;
    }
    write(pid, file, map).map(|()| true)
}

/// Whether a map has one line, for the id `own` alone.
fn is_own_id(map: &str, own: u32) -> bool {
    let mut fields = map.split_ascii_whitespace().skip(1);
    let host = fields.next().and_then(|id| id.parse().ok());
    map.lines().count() == 1 && host == Some(own) && fields.next() == Some("1")
}

/// A file of /proc/PID that a map is written to.
#[derive(Clone, Copy)]
struct MapFile {
    name: &'static str,
    pointer: &'static str,
    helper: &'static str,
    ranges: &'static str,
}

const UID: MapFile = MapFile {
    name: "uid_map",
    pointer: "/linux/uidMappings",
    helper: "newuidmap",
    ranges: "/etc/subuid",
};
const GID: MapFile = MapFile {
    name: "gid_map",
    pointer: "/linux/gidMappings",
    helper: "newgidmap",
    ranges: "/etc/subgid",
};
const SETGROUPS: MapFile = MapFile {
    name: "setgroups",
    ..GID
};

fn write(pid: i32, file: MapFile, text: &str) -> Result<(), LaunchError> {
    let path = format!("/proc/{pid}/{}", file.name);
    std::fs::write(&path, text).map_err(|error| {
        let errno = io_errno(error);
        let why = errno_text(errno.raw_os_error());
        let error = ConfigError::new(
            file.pointer,
            format!("cannot write the mappings to {path}: {why}"),
        );
        LaunchError::Config(if errno == Errno::PERM {
            error.with_hint(
                "does the user namespace that the runtime itself is in have all of these ids?",
            )
        } else {
            error
        })
    })
}

fn run(file: MapFile, pid: i32, map: &str) -> Result<(), LaunchError> {
    let helper = file.helper;
    let failed = |what: String, hint: String| {
        Err(LaunchError::Config(
            ConfigError::new(file.pointer, what).with_hint(hint),
        ))
    };
    let output = keep_mask(|| {
        Command::new(helper)
            .arg(pid.to_string())
            .args(map.split_ascii_whitespace())
            .output()
    });
    match output {
        Err(error) => failed(
            format!(
                "cannot run {helper}, which a user other than root needs for ids that are not his own: {error}"
            ),
            "install it (Debian: package uidmap; Fedora: shadow-utils), or map the user's own id alone"
                .to_owned(),
        ),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => failed(
            format!(
                "{helper} refuses the mappings: {}",
                super::hooks::one_line(&String::from_utf8_lossy(&output.stderr))
            ),
            super::denied::helper(helper).unwrap_or_else(|| {
                format!(
                    "is there a line for user {} in {} that holds the range?",
                    geteuid().as_raw(),
                    file.ranges
                )
            }),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_given_by_name_and_by_number() {
        let text = "a:100000:65536\nb:1:2\n1000:300000:10\n# a:1:1\na:400000\na:x:1\n";
        let passwd = "root:x:0:0::/:/bin/sh\na:x:1000:1000::/:/bin/sh\n";
        let name = name_of(passwd, 1000);
        assert_eq!(
            parse_ranges(text, 1000, name),
            [(100_000, 65_536), (300_000, 10)]
        );
        assert_eq!(parse_ranges(text, 7, name_of(passwd, 7)), []);
    }

    #[test]
    fn only_ones_own_id_alone_is_mapped_without_a_helper() {
        assert!(is_own_id("0 1000 1\n", 1000));
        assert!(is_own_id("5 1000 1\n", 1000));
        assert!(!is_own_id("0 1001 1\n", 1000));
        assert!(!is_own_id("0 1000 2\n", 1000));
        assert!(!is_own_id("0 1000 1\n1 5 1\n", 1000));
    }
}
