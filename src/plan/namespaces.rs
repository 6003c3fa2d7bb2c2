//! `linux.namespaces`, the mappings and the clock offsets.

use std::ffi::CString;
use std::fmt::Write;

use super::path::c_string;
use crate::config::ConfigError;
use crate::config::spec::{IdMapping, Linux};

/// The eight kinds: the word of config.json, the file in /proc/PID/ns, the flag.
pub const KINDS: [(&str, &str, u64); 8] = [
    ("user", "user", libc::CLONE_NEWUSER as u64),
    ("mount", "mnt", libc::CLONE_NEWNS as u64),
    ("pid", "pid", libc::CLONE_NEWPID as u64),
    ("network", "net", libc::CLONE_NEWNET as u64),
    ("ipc", "ipc", libc::CLONE_NEWIPC as u64),
    ("uts", "uts", libc::CLONE_NEWUTS as u64),
    ("cgroup", "cgroup", libc::CLONE_NEWCGROUP as u64),
    ("time", "time", CLONE_NEWTIME),
];

/// CLONE_NEWTIME of linux/sched.h (Linux 5.6).
pub const CLONE_NEWTIME: u64 = 0x80;

/// A namespace that exists and is joined.
#[derive(Debug, PartialEq, Eq)]
pub struct Join {
    /// `CLONE_NEW*` of its kind.
    pub flag: u64,
    /// Its file.
    pub path: CString,
    /// Its place in `linux.namespaces`.
    pub index: usize,
}

/// Which namespaces the container gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NamespacePlan {
    /// `CLONE_NEW*` of those that are made.
    pub new: u64,
    /// Those that are joined, a user namespace first.
    pub join: Vec<Join>,
    /// Content of uid_map.
    pub uid_map: String,
    /// Content of gid_map.
    pub gid_map: String,
    /// Content of timens_offsets; empty if none are set.
    pub time_offsets: String,
}

impl NamespacePlan {
    /// Whether a namespace of this kind is made.
    pub fn makes(&self, flag: u64) -> bool {
        self.new & flag != 0
    }

    /// `CLONE_NEW*` of all that are not the host's.
    pub fn all(&self) -> u64 {
        self.join.iter().fold(self.new, |all, join| all | join.flag)
    }

    /// Whether the container has a namespace of this kind that is not the host's.
    pub fn has(&self, flag: u64) -> bool {
        self.makes(flag) || self.join.iter().any(|j| j.flag == flag)
    }
}

/// Plans the namespaces.
///
/// # Errors
/// An unknown kind (checked before, but a plan never guesses).
pub fn plan(linux: &Linux<'_>) -> Result<NamespacePlan, ConfigError> {
    let mut plan = NamespacePlan::default();
    for (index, namespace) in linux.namespaces.iter().enumerate() {
        let Some(&(_, _, flag)) = KINDS.iter().find(|(word, _, _)| namespace.kind == *word) else {
            return Err(ConfigError::new(
                format!("/linux/namespaces/{index}/type"),
                format!("unknown namespace \"{}\"", namespace.kind),
            ));
        };
        match namespace.path.as_deref().filter(|p| !p.is_empty()) {
            None => plan.new |= flag,
            Some(path) => plan.join.push(Join {
                flag,
                path: c_string(path),
                index,
            }),
        }
    }
    // The user namespace comes first: it gives the right to join the others.
    plan.join
        .sort_by_key(|join| join.flag != libc::CLONE_NEWUSER as u64);
    if plan.makes(libc::CLONE_NEWUSER as u64) {
        plan.uid_map = map_lines(&linux.uid_mappings);
        plan.gid_map = map_lines(&linux.gid_mappings);
    }
    for (clock, offset) in &linux.time_offsets {
        // Writing to a String does not fail.
        let _ = writeln!(
            plan.time_offsets,
            "{clock} {} {}",
            offset.secs, offset.nanosecs
        );
    }
    Ok(plan)
}

/// The lines of uid_map (user_namespaces(7)).
pub fn map_lines(mappings: &[IdMapping]) -> String {
    let mut lines = String::new();
    for m in mappings {
        // Writing to a String does not fail.
        let _ = writeln!(lines, "{} {} {}", m.container_id, m.host_id, m.size);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_json(json: &str) -> Result<NamespacePlan, ConfigError> {
        let linux: Linux<'_> = serde_json::from_str(json).unwrap();
        plan(&linux)
    }

    #[test]
    fn namespaces_are_made_or_joined_and_user_comes_first() {
        let p = plan_json(
            r#"{"namespaces":[{"type":"pid"},{"type":"network","path":"/n"},{"type":"user","path":"/u"},{"type":"mount","path":""}]}"#,
        )
        .unwrap();
        assert_eq!(p.new, (libc::CLONE_NEWPID | libc::CLONE_NEWNS) as u64);
        assert_eq!(p.join[0].path, c"/u".to_owned());
        assert_eq!(
            (p.join[1].flag, p.join[1].index),
            (libc::CLONE_NEWNET as u64, 1)
        );
        assert!(p.has(libc::CLONE_NEWNET as u64) && !p.makes(libc::CLONE_NEWNET as u64));
    }

    #[test]
    fn mappings_are_written_only_for_a_new_user_namespace() {
        let mapped = r#""uidMappings":[{"containerID":0,"hostID":100000,"size":65536}]"#;
        let p = plan_json(&format!(r#"{{"namespaces":[{{"type":"user"}}],{mapped}}}"#)).unwrap();
        assert_eq!(p.uid_map, "0 100000 65536\n");
        let p = plan_json(&format!(r#"{{"namespaces":[],{mapped}}}"#)).unwrap();
        assert_eq!(p.uid_map, "");
    }

    #[test]
    fn clock_offsets_are_lines_of_timens_offsets() {
        let p = plan_json(
            r#"{"namespaces":[{"type":"time"}],"timeOffsets":{"monotonic":{"secs":-5,"nanosecs":7},"boottime":{"secs":9}}}"#,
        )
        .unwrap();
        assert_eq!(p.time_offsets, "boottime 9 0\nmonotonic -5 7\n");
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let e = plan_json(r#"{"namespaces":[{"type":"pidd"}]}"#).unwrap_err();
        assert_eq!(e.pointer, "/linux/namespaces/0/type");
    }
}
