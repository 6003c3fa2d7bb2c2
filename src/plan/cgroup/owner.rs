//! Who gets the container's cgroup (runtime-spec, config-linux.md, "Cgroup ownership").

use super::Host;
use crate::config::spec::{Linux, Spec};
use crate::plan::idmap::host_id;
use crate::plan::path::clean;

/// The uid on the host of the user that the container's process runs as, if the cgroup is to be
/// his: on cgroup v2, where the container has a new cgroup namespace and mounts its cgroup on
/// /sys/fs/cgroup without `ro`. Whose ids are those of a user namespace that is joined gets
/// nothing: its mappings are not in config.json.
pub fn owner(spec: &Spec, host: &Host) -> Option<u32> {
    let linux = spec.linux.as_ref()?;
    if !host.is_unified() || made(linux, "cgroup") != Some(true) {
        return None;
    }
    let is_writable = |mount: &crate::config::spec::Mount| {
        mount.source.as_deref() == Some("cgroup")
            && clean(&mount.destination) == "sys/fs/cgroup"
            && !mount.options.iter().any(|o| o == "ro" || o == "rro")
    };
    if !spec.mounts.iter().any(is_writable) {
        return None;
    }
    let uid = spec.process.as_ref().map_or(0, |process| process.user.uid);
    match made(linux, "user") {
        None => Some(uid),
        Some(true) => host_id(uid, 1, &linux.uid_mappings),
        Some(false) => None,
    }
}

/// Whether the container's namespace of this kind is made (or joined); `None` for the caller's.
fn made(linux: &Linux, kind: &str) -> Option<bool> {
    let namespace = linux.namespaces.iter().find(|n| n.kind == kind)?;
    Some(namespace.path.as_deref().is_none_or(str::is_empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With members of `linux` after the cgroup namespace, and options of the mount.
    fn of(host: &Host, namespaces: &str, options: &str, uid: u32) -> Option<u32> {
        let text = format!(
            r#"{{"ociVersion": "1.3.0", "process": {{"user": {{"uid": {uid}}}}},
            "mounts": [{{"destination": "/sys/fs/cgroup/", "type": "cgroup", "source": "cgroup",
                         "options": [{options}]}}],
            "linux": {{"uidMappings": [{{"containerID": 0, "hostID": 100000, "size": 1000}}],
                       "namespaces": [{namespaces}]}}}}"#
        );
        owner(&serde_json::from_str(&text).unwrap(), host)
    }

    const CGROUP: &str = r#"{"type": "cgroup"}"#;
    const BOTH: &str = r#"{"type": "cgroup"}, {"type": "user"}"#;

    #[test]
    fn the_processs_user_gets_the_cgroup_that_is_mounted_writable() {
        let v2 = Host::v2("/cg", &[]);
        assert_eq!(of(&v2, CGROUP, "", 0), Some(0));
        assert_eq!(of(&v2, CGROUP, r#""rw""#, 7), Some(7));
        assert_eq!(of(&v2, BOTH, r#""nosuid""#, 0), Some(100_000));
        assert_eq!(of(&v2, BOTH, "", 999), Some(100_999));
    }

    #[test]
    fn nobody_gets_a_cgroup_that_he_does_not_see_as_his_own() {
        let v2 = Host::v2("/cg", &[]);
        // Read-only, without a new cgroup namespace, an id that is not mapped or not known, v1.
        assert_eq!(of(&v2, BOTH, r#""nosuid", "ro""#, 0), None);
        assert_eq!(of(&v2, r#"{"type": "user"}"#, "", 0), None);
        let joined = r#"{"type": "cgroup", "path": "/proc/1/ns/cgroup"}"#;
        assert_eq!(of(&v2, joined, "", 0), None);
        assert_eq!(of(&v2, BOTH, "", 1000), None);
        let joined = r#"{"type": "cgroup"}, {"type": "user", "path": "/proc/1/ns/user"}"#;
        assert_eq!(of(&v2, joined, "", 0), None);
        let hybrid = Host::v1("/cg", &["memory"]).with_unified(&[]);
        assert_eq!(of(&hybrid, BOTH, "", 0), None);
    }
}
