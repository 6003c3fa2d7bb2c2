//! Mappings of user and group ids: those of the user namespace and those of
//! id-mapped mounts (user_namespaces(7)).

use crate::config::error::{ConfigError, Warning};
use crate::config::place::Place;
use crate::config::spec::{IdMapping, Linux, User};

use super::namespaces::{Kind, Namespaces};

/// How many lines the kernel takes for one map (`UID_GID_MAP_MAX_EXTENTS`).
const LINES_MAX: usize = 340;

/// Checks `linux.uidMappings` and `linux.gidMappings` against each other and
/// the user namespace.
pub(super) fn check_linux(
    at: &Place<'_>,
    linux: &Linux<'_>,
    namespaces: &Namespaces<'_, '_>,
    warnings: &mut Vec<Warning>,
) -> Result<(), ConfigError> {
    let maps = [
        (at.member("uidMappings"), &linux.uid_mappings),
        (at.member("gidMappings"), &linux.gid_mappings),
    ];
    for (place, map) in &maps {
        check_map(place, map)?;
        if namespaces.is_new(Kind::User) {
            if map.is_empty() {
                return Err(place
                    .error("a new user namespace needs mappings")
                    .with_hint(
                        "for instance [{\"containerID\": 0, \"hostID\": 100000, \"size\": 65536}]",
                    ));
            }
        } else if !map.is_empty() {
            // containerd and CRI-O give the mappings of the namespace that is
            // joined along with its path: runc accepts that if they agree.
            if namespaces.has(Kind::User) {
                warnings.push(place.warning(
                    "mappings given for a user namespace that is joined: they must be its own",
                ));
            } else {
                return Err(place
                    .error("mappings are given, but there is no user namespace")
                    .with_hint("add {\"type\": \"user\"} to /linux/namespaces"));
            }
        }
    }
    Ok(())
}

/// Checks one map by the rules by which the kernel takes it.
pub(super) fn check_map(at: &Place<'_>, map: &[IdMapping]) -> Result<(), ConfigError> {
    if map.len() > LINES_MAX {
        return Err(at.error(format_args!(
            "{} mappings are too many (at most {LINES_MAX})",
            map.len()
        )));
    }
    for (index, mapping) in map.iter().enumerate() {
        let place = at.element(index);
        if mapping.size == 0 {
            return Err(place
                .member("size")
                .error("the size is 0 or missing (at least 1)"));
        }
        for (name, start) in [
            ("containerID", mapping.container_id),
            ("hostID", mapping.host_id),
        ] {
            // The last id, 4294967295, stands for "none" and is not mappable.
            if start.checked_add(mapping.size).is_none() {
                return Err(place.error(format_args!(
                    "{name} {start} and size {} reach beyond the last id, 4294967294",
                    mapping.size
                )));
            }
        }
        for (earlier_index, earlier) in map.iter().enumerate().take(index) {
            for (what, start, earlier_start) in [
                ("inside", mapping.container_id, earlier.container_id),
                ("on the host", mapping.host_id, earlier.host_id),
            ] {
                if overlap(start, mapping.size, earlier_start, earlier.size) {
                    return Err(place.error(format_args!(
                        "the ids {what} overlap those of mapping {earlier_index}"
                    )));
                }
            }
        }
    }
    Ok(())
}

fn overlap(a: u32, a_size: u32, b: u32, b_size: u32) -> bool {
    let (a, b) = (u64::from(a), u64::from(b));
    a < b + u64::from(b_size) && b < a + u64::from(a_size)
}

/// Requires that the ids of the process exist in the new user namespace.
pub(super) fn check_user(
    at: &Place<'_>,
    user: &User<'_>,
    linux: &Linux<'_>,
) -> Result<(), ConfigError> {
    let require = |place: Place<'_>, what, id, map: &[IdMapping], name| {
        if map.iter().any(|mapping| contains(mapping, id)) {
            return Ok(());
        }
        Err(place
            .error(format_args!(
                "the {what} {id} is not mapped in the user namespace"
            ))
            .with_hint(format!("add it to /linux/{name}")))
    };
    let uids = &linux.uid_mappings;
    let gids = &linux.gid_mappings;
    // Without a user, and perhaps without its object, it is root.
    let absent = *user == User::default();
    let place = |name| if absent { *at } else { at.member(name) };
    require(place("uid"), "user", user.uid, uids, "uidMappings")?;
    require(place("gid"), "group", user.gid, gids, "gidMappings")?;
    let groups = at.member("additionalGids");
    for (index, gid) in user.additional_gids.iter().enumerate() {
        require(groups.element(index), "group", *gid, gids, "gidMappings")?;
    }
    Ok(())
}

fn contains(mapping: &IdMapping, id: u32) -> bool {
    id.checked_sub(mapping.container_id)
        .is_some_and(|offset| offset < mapping.size)
}
