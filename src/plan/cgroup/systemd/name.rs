//! Which unit: `linux.cgroupsPath` in the form `slice:prefix:name`.

use super::{POINTER, Unit};
use crate::plan::cgroup::ResourceError;

/// The longest name of a unit (systemd.unit(5)).
const LONGEST: usize = 255;

/// The unit that `path` names, and its cgroup's path from the root of every hierarchy (without a
/// slash at either end) below `base`, the cgroup of the systemd that makes it.
///
/// As in runc: the slice is `system.slice`, or `user.slice` for a user's, unless it is given; a
/// name that ends in `.slice` is one, all others become scopes; without a path it is
/// `:corten:ID`.
pub(in crate::plan::cgroup) fn resolve(
    path: Option<&str>,
    id: &str,
    user: bool,
    base: &str,
) -> Result<(Unit, String), ResourceError> {
    let error = |message: String| ResourceError::new(POINTER, message);
    let default = format!(":corten:{}", escape(id));
    let path = match path {
        None | Some("") => &default,
        Some(path) => path,
    };
    let parts: Vec<&str> = path.split(':').collect();
    let [slice, prefix, name] = parts[..] else {
        return Err(error(format!(
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \
             {path:?} instead: give it so, or let cgroups be managed by cgroupfs"
        )));
    };
    let slice = match slice {
        "" if user => "user.slice",
        "" => "system.slice",
        "-" => "-.slice",
        slice => slice,
    };
    let slices = expand(slice).map_err(error)?;
    if name.is_empty() {
        return Err(error(format!(
            "{path:?} has no name after the second \":\""
        )));
    }
    let (name, cgroup) = if name.ends_with(".slice") {
        // Its own name says where it is.
        (name.to_owned(), expand(name).map_err(error)?)
    } else {
        let name = format!("{prefix}-{name}.scope");
        let cgroup = join(&slices, &name);
        (name, cgroup)
    };
    check(&name).map_err(error)?;
    if cgroup.is_empty() {
        return Err(error(format!("{name:?} is the root of all slices")));
    }
    let unit = Unit {
        name,
        slice: slice.to_owned(),
        user,
        properties: Vec::new(),
        limits: Vec::new(),
    };
    Ok((unit, join(base, &cgroup)))
}

fn join(above: &str, name: &str) -> String {
    match above {
        "" => name.to_owned(),
        above => format!("{above}/{name}"),
    }
}

/// The cgroup of a slice: `a-b.slice` is in `a.slice`, `-.slice` is the root.
fn expand(slice: &str) -> Result<String, String> {
    let invalid = |why: &str| format!("{slice:?} is not the name of a slice: {why}");
    let Some(stem) = slice.strip_suffix(".slice") else {
        return Err(invalid("it does not end in \".slice\""));
    };
    check(slice)?;
    if stem == "-" {
        return Ok(String::new());
    }
    if stem.split('-').any(str::is_empty) {
        return Err(invalid("there is nothing beside one of its \"-\""));
    }
    let ends = stem
        .match_indices('-')
        .map(|(index, _)| index)
        .chain([stem.len()]);
    let levels: Vec<String> = ends.map(|end| format!("{}.slice", &stem[..end])).collect();
    Ok(levels.join("/"))
}

/// Refuses what systemd would refuse, and what would be more than one name.
fn check(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-\\@".contains(c);
    if let Some(c) = name.chars().find(|c| !allowed(*c)) {
        return Err(format!(
            "{name:?} is not the name of a unit: {c:?} is not allowed in it"
        ));
    }
    if name.len() > LONGEST {
        return Err(format!(
            "{name:?} is not the name of a unit: it is longer than {LONGEST} bytes"
        ));
    }
    Ok(())
}

/// Ids may have a `+`, which no unit's name has.
fn escape(id: &str) -> String {
    id.replace('+', "\\x2b")
}
