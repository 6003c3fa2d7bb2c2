//! Id-mapped mounts: which ids a file system's files have as the mount shows them.
//!
//! A mapping has the form of a user namespace's: the first id is that of the file system,
//! the second is what the host sees in its place (mount_setattr(2), MOUNT_ATTR_IDMAP).

use super::namespaces::{NamespacePlan, map_lines};
use super::options::IdMapWord;
use crate::config::ConfigError;
use crate::config::spec::{IdMapping, Linux, Mount};

/// The mapping of one mount.
#[derive(Debug, PartialEq, Eq)]
pub struct IdMap {
    /// For the mounts below it too.
    pub recursive: bool,
    /// What is mapped to what.
    pub map: Map,
}

/// Where a mapping comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Map {
    /// The user namespace that the container joins.
    Joined,
    /// The lines of a uid_map and a gid_map.
    Lines {
        /// Content of uid_map.
        uids: String,
        /// Content of gid_map.
        gids: String,
    },
}

/// The mapping of a mount, if it has one: its own, that of its `idmap` option (crun), or the
/// container's.
///
/// # Errors
/// A mapping that cannot be read, or one that would be the container's where it has none.
pub fn plan(
    index: usize,
    mount: &Mount<'_>,
    word: Option<&IdMapWord>,
    linux: &Linux<'_>,
    namespaces: &NamespacePlan,
) -> Result<Option<IdMap>, ConfigError> {
    let own = !mount.uid_mappings.is_empty() && !mount.gid_mappings.is_empty();
    if !own && word.is_none() {
        return Ok(None);
    }
    let map = match word.and_then(|word| word.text.as_deref()) {
        _ if own => Map::Lines {
            uids: map_lines(&mount.uid_mappings),
            gids: map_lines(&mount.gid_mappings),
        },
        Some(text) => parse(text, linux)
            .map_err(|e| ConfigError::new(format!("/mounts/{index}/options"), e))?,
        None if namespaces.makes(libc::CLONE_NEWUSER as u64) => Map::Lines {
            uids: namespaces.uid_map.clone(),
            gids: namespaces.gid_map.clone(),
        },
        None if namespaces.has(libc::CLONE_NEWUSER as u64) => Map::Joined,
        None => {
            return Err(ConfigError::new(
                format!("/mounts/{index}/options"),
                "an id-mapped mount without mappings takes those of the container's user \
                 namespace, and there is none",
            )
            .with_hint(
                "give the mount uidMappings and gidMappings, or add {\"type\": \"user\"} to \
                 /linux/namespaces",
            ));
        }
    };
    Ok(Some(IdMap {
        recursive: word.is_some_and(|word| word.recursive),
        map,
    }))
}

/// crun's form: `uids=0-1000-10#10-2000-1;gids=@0-0-10`. Each triple is an id of the file
/// system, what it is shown as, and how many; with `@` the second is one of the container.
fn parse(text: &str, linux: &Linux<'_>) -> Result<Map, String> {
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (map, triples, container) = match part.split_once('=') {
            Some(("uids", triples)) => (&mut uids, triples, &linux.uid_mappings),
            Some(("gids", triples)) => (&mut gids, triples, &linux.gid_mappings),
            _ => return Err(format!("idmap takes uids= and gids=, found \"{part}\"")),
        };
        for triple in triples.split('#') {
            map.push(parse_triple(triple, container)?);
        }
    }
    if uids.is_empty() || gids.is_empty() {
        return Err(format!(
            "idmap needs both uids= and gids=, found \"{text}\""
        ));
    }
    Ok(Map::Lines {
        uids: map_lines(&uids),
        gids: map_lines(&gids),
    })
}

fn parse_triple(text: &str, container: &[IdMapping]) -> Result<IdMapping, String> {
    let (triple, relative) = match text.strip_prefix('@') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let mut numbers = triple.split('-').map(str::parse::<u32>);
    let (Some(Ok(first)), Some(Ok(second)), Some(Ok(size)), None) = (
        numbers.next(),
        numbers.next(),
        numbers.next(),
        numbers.next(),
    ) else {
        return Err(format!(
            "\"{text}\" is no id mapping (three numbers, such as 0-1000-10)"
        ));
    };
    let host_id = if relative {
        host_id(second, size, container).ok_or_else(|| {
            format!(
                "the {size} ids from {second} of \"{text}\" are not in one mapping of the \
                 container's user namespace"
            )
        })?
    } else {
        second
    };
    Ok(IdMapping {
        container_id: first,
        host_id,
        size,
    })
}

/// What the container's ids from `id` on are on the host, if one range has them all.
pub(super) fn host_id(id: u32, size: u32, container: &[IdMapping]) -> Option<u32> {
    container.iter().find_map(|range| {
        let offset = id.checked_sub(range.container_id)?;
        let fits = offset.checked_add(size)? <= range.size;
        fits.then(|| range.host_id.checked_add(offset)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{namespaces, options};

    /// `linux` and one mount, as JSON.
    fn plan_json(linux: &str, mount: &str) -> Result<Option<IdMap>, ConfigError> {
        let linux: Linux<'_> = serde_json::from_str(linux).unwrap();
        let mount: Mount<'_> = serde_json::from_str(mount).unwrap();
        let options = options::parse(mount.options.iter().map(|o| o.as_str()));
        let namespaces = namespaces::plan(&linux).unwrap();
        plan(5, &mount, options.idmap.as_ref(), &linux, &namespaces)
    }

    fn lines(uids: &str, gids: &str) -> Map {
        Map::Lines {
            uids: uids.to_owned(),
            gids: gids.to_owned(),
        }
    }

    const OWN: &str = r#""uidMappings":[{"containerID":0,"hostID":7,"size":2}],
        "gidMappings":[{"containerID":1,"hostID":8,"size":3}]"#;
    const USER: &str = r#"{"namespaces":[{"type":"user"}],
        "uidMappings":[{"containerID":0,"hostID":0,"size":1},{"containerID":1,"hostID":2,"size":1000}],
        "gidMappings":[{"containerID":0,"hostID":100000,"size":65536}]}"#;

    #[test]
    fn own_mappings_win_with_and_without_a_word() {
        for (options, recursive) in [
            (r#""rbind""#, false),
            (r#""rbind","idmap""#, false),
            (r#""rbind","ridmap""#, true),
            (r#""rbind","idmap=uids=9-9-9;gids=9-9-9""#, false),
        ] {
            let mount = format!(r#"{{"destination":"/a","options":[{options}],{OWN}}}"#);
            for linux in ["{}", USER] {
                let found = plan_json(linux, &mount).unwrap().unwrap();
                assert_eq!(found.recursive, recursive, "{options}");
                assert_eq!(found.map, lines("0 7 2\n", "1 8 3\n"), "{options}");
            }
        }
    }

    #[test]
    fn without_own_mappings_the_containers_are_taken() {
        let mount = r#"{"destination":"/a","options":["bind","idmap"]}"#;
        let found = plan_json(USER, mount).unwrap().unwrap();
        assert_eq!(found.map, lines("0 0 1\n1 2 1000\n", "0 100000 65536\n"));
        let joined = r#"{"namespaces":[{"type":"user","path":"/proc/1/ns/user"}]}"#;
        assert_eq!(plan_json(joined, mount).unwrap().unwrap().map, Map::Joined);
        let error = plan_json("{}", mount).unwrap_err();
        assert_eq!(error.pointer, "/mounts/5/options");
    }

    #[test]
    fn a_mount_without_word_and_mappings_is_not_mapped() {
        let mount = r#"{"destination":"/a","options":["bind"]}"#;
        assert_eq!(plan_json(USER, mount).unwrap(), None);
    }

    #[test]
    fn the_form_of_crun_is_read() {
        let with = |text: &str| {
            let mount = format!(r#"{{"destination":"/a","options":["idmap={text}"]}}"#);
            plan_json(USER, &mount).map(|found| found.unwrap().map)
        };
        assert_eq!(
            with("uids=0-1-10#10-11-10;gids=0-100-10").unwrap(),
            lines("0 1 10\n10 11 10\n", "0 100 10\n")
        );
        // The example of crun's manual.
        assert_eq!(
            with("uids=@1-3-10;gids=@0-5-2").unwrap(),
            lines("1 4 10\n", "0 100005 2\n")
        );
        for wrong in [
            "uids=0-1-10",
            "gids=0-1-10",
            "uids=0-1;gids=0-1-1",
            "uids=0-1-2-3;gids=0-1-1",
            "uids=a-1-2;gids=0-1-1",
            "users=0-1-2",
            "uids=@0-0-2;gids=0-1-1",
            "uids=@0-2000-1;gids=0-1-1",
        ] {
            let error = with(wrong).unwrap_err();
            assert_eq!(error.pointer, "/mounts/5/options", "{wrong}");
        }
    }
}
