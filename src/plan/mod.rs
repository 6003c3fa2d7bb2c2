//! From config.json to what is done: pure, without any system call.
//!
//! A [`Plan`] is everything that the launch needs, in the kernel's own terms:
//! C strings, flags, numbers. It depends only on the spec, the options of the
//! command line and facts about the host that were probed before.

pub mod cgroup;
pub mod devices;
pub mod idmap;
#[cfg(test)]
mod long_lists;
pub mod mounts;
pub mod namespaces;
pub mod network;
pub mod options;
pub mod path;
pub mod process;
pub mod rdt;
pub mod scheduling;
pub mod seccomp;

use std::ffi::CString;

use crate::config::ConfigError;
use crate::config::spec::{Linux, Spec};
use devices::DevicePlan;
use mounts::{MountPlan, What};
use namespaces::NamespacePlan;
use network::NetDevice;
use path::{c_string, clean};
use process::ProcessPlan;
use scheduling::SchedulingPlan;

/// What a mount of type `cgroup` consists of on this host.
#[derive(Debug, PartialEq, Eq)]
pub enum CgroupMounts {
    /// One cgroup2 file system.
    Unified {
        /// What is bound where the kernel does not let it be mounted.
        bind: Option<CString>,
        /// Whether that is the host's whole tree, which is then read-only.
        whole: bool,
    },
    /// An empty directory: the container has no cgroup that it could be shown.
    Hidden,
    /// A tmpfs with a directory for each hierarchy.
    V1(Vec<V1Mount>),
}

/// One hierarchy of cgroup v1 inside the container.
#[derive(Debug, PartialEq, Eq)]
pub struct V1Mount {
    /// Its directory, `cpu,cpuacct` or `systemd`.
    pub name: CString,
    /// Options of mount(2), `cpu,cpuacct` or `none,name=systemd`.
    pub data: CString,
    /// The container's directory on the host, which is bound. In a cgroup namespace that shows
    /// what a new mount would; there is none for a container that could change the options of the
    /// file system itself.
    pub directory: Option<CString>,
    /// The container has a cgroup namespace.
    pub has_namespace: bool,
    /// Links to it, one a controller, where several share it.
    pub links: Vec<CString>,
}

/// The root file system.
#[derive(Debug, PartialEq, Eq)]
pub struct RootPlan {
    /// Absolute path on the host.
    pub path: CString,
    /// Read-only inside.
    pub readonly: bool,
    /// Propagation of the namespace's mounts while it is set up (`MS_SLAVE | MS_REC`).
    pub propagation: u64,
    /// Propagation of the container's root at the end, if one was asked for.
    pub final_propagation: Option<u64>,
}

/// Everything that the launch does.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// Namespaces.
    pub namespaces: NamespacePlan,
    /// Root file system.
    pub root: RootPlan,
    /// Mounts, in order.
    pub mounts: Vec<MountPlan>,
    /// Whether the tree is made apart: the mount namespace is not the container's own, and stays as it is.
    pub apart: bool,
    /// Whether /dev is filled; not when the host's is bound there.
    pub setup_dev: bool,
    /// Device nodes.
    pub devices: Vec<DevicePlan>,
    /// Masked paths below the root.
    pub masked_paths: Vec<CString>,
    /// Read-only paths below the root.
    pub readonly_paths: Vec<CString>,
    /// Files below procfs and their values.
    pub sysctls: Vec<(CString, Vec<u8>)>,
    /// Hostname.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// What is run.
    pub process: ProcessPlan,
    /// How it is scheduled.
    pub scheduling: SchedulingPlan,
    /// Network devices that are moved in.
    pub net_devices: Vec<NetDevice>,
}

/// Plans a container; `bundle` is the bundle's absolute path.
///
/// # Errors
/// What cannot be done as written, with its place in config.json.
pub fn plan(spec: &Spec<'_>, bundle: &str) -> Result<Plan, ConfigError> {
    let absent = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&absent);
    let namespaces = namespaces::plan(linux)?;
    let mounts = mounts::plan(&spec.mounts, bundle, linux, &namespaces)?;
    let bound_dev =
        |m: &MountPlan| m.destination.as_c_str() == c"dev" && matches!(m.what, What::Bind { .. });
    let (process, scheduling) = match &spec.process {
        Some(process) => (process::plan(process)?, scheduling::plan(process, linux)),
        None => return Err(ConfigError::new("/process", "there is no process to run")),
    };
    let new_mounts = namespaces.makes(libc::CLONE_NEWNS as u64);
    let apart = !new_mounts && needs_tree(spec, linux, &mounts).is_some();
    if !new_mounts {
        refuse_apart(spec, linux, &mounts, &namespaces)?;
    }
    Ok(Plan {
        namespaces,
        root: root(spec, linux, bundle)?,
        apart,
        setup_dev: (new_mounts || apart) && !mounts.iter().any(bound_dev),
        mounts,
        devices: devices::plan(&linux.devices)?,
        masked_paths: linux
            .masked_paths
            .iter()
            .map(|p| c_string(clean(p)))
            .collect(),
        readonly_paths: linux
            .readonly_paths
            .iter()
            .map(|p| c_string(clean(p)))
            .collect(),
        sysctls: linux
            .sysctl
            .iter()
            .map(|(key, value)| (sysctl_path(key), value.as_bytes().to_vec()))
            .collect(),
        hostname: spec
            .hostname
            .as_ref()
            .filter(|h| !h.is_empty())
            .map(|h| h.to_string()),
        domainname: spec
            .domainname
            .as_ref()
            .filter(|d| !d.is_empty())
            .map(|d| d.to_string()),
        process,
        scheduling,
        net_devices: network::plan(linux),
    })
}

/// What asks for a tree of the container's own, if anything does.
fn needs_tree(spec: &Spec<'_>, linux: &Linux<'_>, mounts: &[MountPlan]) -> Option<&'static str> {
    let readonly = spec.root.as_ref().is_some_and(|root| root.readonly);
    let terminal = spec.process.as_ref().is_some_and(|p| p.terminal);
    let asking = [
        ("/mounts", !mounts.is_empty()),
        ("/linux/maskedPaths", !linux.masked_paths.is_empty()),
        ("/linux/readonlyPaths", !linux.readonly_paths.is_empty()),
        ("/root/readonly", readonly),
        ("/process/terminal", terminal),
    ];
    let mut asking = asking.iter().filter(|(_, there)| *there);
    asking.next().map(|(pointer, _)| *pointer)
}

/// Refuses what a container cannot have whose mount namespace is the host's or another's: nothing is mounted in that,
/// and a tree made apart is left with nobody to receive or to pass on mounts.
fn refuse_apart(
    spec: &Spec<'_>,
    linux: &Linux<'_>,
    mounts: &[MountPlan],
    namespaces: &NamespacePlan,
) -> Result<(), ConfigError> {
    let joins = namespaces.joins(libc::CLONE_NEWNS as u64);
    let user = namespaces.has(libc::CLONE_NEWUSER as u64);
    let unbindable = |flags: &u64| flags & libc::MS_UNBINDABLE != 0;
    let refused = if user && let Some(pointer) = needs_tree(spec, linux, mounts) {
        pointer.to_owned()
    } else if let Some(index) = mounts
        .iter()
        .position(|mount| mount.propagation.iter().any(unbindable))
    {
        format!("/mounts/{index}/options")
    } else if joins && !spec.hooks.create_container.is_empty() {
        // Its program would be found among the files of another container.
        "/hooks/createContainer".to_owned()
    } else {
        return Ok(());
    };
    Err(match joins {
        true => ConfigError::new(refused, "needs a mount namespace of the container's own")
            .with_hint(
                "the one in /linux/namespaces is joined: its mounts are others' too, and stay as they are",
            ),
        false => ConfigError::new(refused, "needs a mount namespace in /linux/namespaces"),
    })
}

/// Whether the container has a mount namespace of its own, which can be mounted in.
///
/// # Errors
/// Namespaces that cannot be as written.
pub fn makes_mounts(spec: &Spec<'_>) -> Result<bool, ConfigError> {
    let absent = Linux::default();
    let namespaces = namespaces::plan(spec.linux.as_ref().unwrap_or(&absent))?;
    Ok(namespaces.makes(libc::CLONE_NEWNS as u64))
}

fn root(spec: &Spec<'_>, linux: &Linux<'_>, bundle: &str) -> Result<RootPlan, ConfigError> {
    let Some(root) = &spec.root else {
        return Err(ConfigError::new("/root", "there is no root file system"));
    };
    let path = if root.path.starts_with('/') {
        root.path.to_string()
    } else {
        format!("{bundle}/{}", root.path)
    };
    let wanted = linux
        .rootfs_propagation
        .as_deref()
        .filter(|p| !p.is_empty());
    let final_propagation = match wanted {
        None => None,
        Some(word) => {
            let flags = options::parse(std::iter::once(word)).propagation;
            let [flags] = flags.as_slice() else {
                return Err(ConfigError::new(
                    "/linux/rootfsPropagation",
                    format!("unknown propagation \"{word}\""),
                ));
            };
            Some(*flags)
        }
    };
    Ok(RootPlan {
        path: c_string(path),
        readonly: root.readonly,
        // Slaves get the host's mounts and give nothing back. What cannot be cloned
        // (unbindable) or would reach the host (shared) is only made so at the end, and so is
        // what leaves the mounts below the root as they are on the host (private without
        // `MS_REC`): to detach the old root would unmount them there.
        propagation: match final_propagation {
            Some(RPRIVATE) => RPRIVATE,
            _ => libc::MS_SLAVE | libc::MS_REC,
        },
        final_propagation,
    })
}

/// `rprivate`.
const RPRIVATE: u64 = libc::MS_PRIVATE | libc::MS_REC;

/// `net.ipv4.ip_forward` is `sys/net/ipv4/ip_forward`; a key with slashes may
/// hold dots (`net/ipv4/conf/eth0.100/forwarding`), as sysctl(8) has it.
fn sysctl_path(key: &str) -> CString {
    let slash_first = match (key.find('/'), key.find('.')) {
        (Some(slash), Some(dot)) => slash < dot,
        (slash, _) => slash.is_some(),
    };
    let path: String = if slash_first {
        key.to_owned()
    } else {
        key.chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect()
    };
    c_string(format!("sys/{}", clean(&path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctl_keys_become_paths_in_both_spellings() {
        assert_eq!(
            sysctl_path("net.ipv4.ip_forward"),
            c"sys/net/ipv4/ip_forward".to_owned()
        );
        assert_eq!(
            sysctl_path("net/ipv4/conf/eth0.100/forwarding"),
            c"sys/net/ipv4/conf/eth0.100/forwarding".to_owned()
        );
        assert_eq!(
            sysctl_path("net.ipv4.conf.eth0/100.forwarding"),
            c"sys/net/ipv4/conf/eth0.100/forwarding".to_owned()
        );
        assert_eq!(sysctl_path("net/../../etc/x"), c"sys/etc/x".to_owned());
    }

    fn plan_json(json: &str) -> Result<Plan, ConfigError> {
        let spec: Spec<'_> = serde_json::from_str(json).unwrap();
        plan(&spec, "/b")
    }

    #[test]
    fn a_bound_dev_is_left_as_it_is() {
        let base = r#"{"root":{"path":"r"},"process":{"args":["x"]},"mounts":[MOUNT],
            "linux":{"namespaces":[{"type":"mount"}]}}"#;
        let with = |m: &str| plan_json(&base.replace("MOUNT", m)).unwrap();
        assert!(with(r#"{"destination":"/dev","type":"tmpfs"}"#).setup_dev);
        assert!(!with(r#"{"destination":"/dev/","source":"/dev","options":["rbind"]}"#).setup_dev);
    }

    #[test]
    fn the_root_is_relative_to_the_bundle_and_mounts_are_slaves_by_default() {
        let p = plan_json(r#"{"root":{"path":"r"},"process":{"args":["x"]}}"#).unwrap();
        assert_eq!(p.root.path, c"/b/r".to_owned());
        assert_eq!(p.root.propagation, libc::MS_SLAVE | libc::MS_REC);
        assert_eq!(p.root.final_propagation, None);
    }

    #[test]
    fn no_propagation_leaves_a_mount_of_the_namespace_tied_to_the_host() {
        for word in [
            "private",
            "rprivate",
            "slave",
            "rslave",
            "shared",
            "rshared",
            "unbindable",
        ] {
            let json = format!(
                r#"{{"root":{{"path":"r"}},"process":{{"args":["x"]}},"linux":{{"rootfsPropagation":"{word}"}}}}"#
            );
            let propagation = plan_json(&json).unwrap().root.propagation;
            assert_ne!(propagation & libc::MS_REC, 0, "{word}");
            assert_ne!(
                propagation & (libc::MS_SLAVE | libc::MS_PRIVATE),
                0,
                "{word}"
            );
        }
    }

    #[test]
    fn a_tree_is_made_apart_from_a_mount_namespace_that_is_not_the_containers_own() {
        let base = r#"{"root":{"path":"/"},"process":{"args":["x"]MORE},
            "linux":{"namespaces":[NAMESPACE]LINUX}}"#;
        for namespace in ["", r#"{"type":"mount","path":"/n"}"#] {
            let with = |more: &str, linux: &str| {
                let text = base.replace("NAMESPACE", namespace);
                plan_json(&text.replace("MORE", more).replace("LINUX", linux)).unwrap()
            };
            let plain = with("", "");
            assert!(!plain.apart && !plain.setup_dev);
            let tmpfs = with(
                r#"},"mounts":[{"destination":"/t","type":"tmpfs"}],"a":{"#,
                "",
            );
            assert!(tmpfs.apart && tmpfs.setup_dev);
            assert!(with(r#","terminal":true"#, "").apart);
            assert!(with("", r#","maskedPaths":["/a"]"#).apart);
            assert!(with("", r#","readonlyPaths":["/a"]"#).apart);
        }
        let own = base.replace("NAMESPACE", r#"{"type":"mount"}"#);
        let own = own
            .replace("MORE", "")
            .replace("LINUX", r#","maskedPaths":["/a"]"#);
        assert!(!plan_json(&own).unwrap().apart);
    }

    #[test]
    fn what_a_tree_made_apart_cannot_have_is_refused() {
        let base = r#"{"root":{"path":"/"},"process":{"args":["x"]},MORE
            "linux":{"namespaces":[NAMESPACE]}}"#;
        let mounts = r#""mounts":[{"destination":"/t","type":"tmpfs"OPTIONS}],"#;
        let hook = r#""hooks":{"createContainer":[{"path":"/h"}]},"#;
        let mount = r#"{"type":"mount","path":"/n"}"#;
        let user = r#"{"type":"user","path":"/u"}"#;
        for (more, options, namespace, pointer) in [
            (mounts, "", user, "/mounts"),
            (
                mounts,
                r#","options":["unbindable"]"#,
                "",
                "/mounts/0/options",
            ),
            (hook, "", mount, "/hooks/createContainer"),
        ] {
            let text = base.replace("MORE", more).replace("NAMESPACE", namespace);
            let e = plan_json(&text.replace("OPTIONS", options)).unwrap_err();
            assert_eq!(e.pointer, pointer, "{more}");
        }
    }

    #[test]
    fn no_process_or_root_is_an_error_with_its_pointer() {
        assert_eq!(
            plan_json(r#"{"root":{"path":"r"}}"#).unwrap_err().pointer,
            "/process"
        );
        assert_eq!(
            plan_json(r#"{"process":{"args":["x"]}}"#)
                .unwrap_err()
                .pointer,
            "/root"
        );
    }
}
