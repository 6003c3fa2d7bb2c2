//! `corten features`: what is implemented, as features.md of the runtime-spec
//! has it. The lists are the caller's: they come from the code that acts on
//! them, so that nothing is claimed that is not there.

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::SPEC_VERSION;
use crate::config::names;
use crate::plan::{options, seccomp};
use crate::sys::process::takes_filter_flags;

/// The oldest runtime-spec whose config.json is accepted.
const SPEC_VERSION_MIN: &str = "1.0.0";

/// The annotations by which runc and crun change what they do: engines keep untrusted users
/// from setting these, whether a version of Corten acts on all of them or not.
const UNSAFE_ANNOTATIONS: [&str; 3] = ["org.criu.config", "org.systemd.property.", "run.oci."];

/// What the runtime knows and does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Kinds of hooks.
    pub hooks: &'a [&'a str],
    /// Mount options, without those of particular file systems.
    pub mount_options: &'a [&'a str],
    /// Kinds of namespaces.
    pub namespaces: &'a [&'a str],
    /// Capabilities, `CAP_CHOWN` and so on, known to the runtime; the kernel
    /// may know fewer.
    pub capabilities: &'a [&'a str],
    /// Cgroup versions and managers.
    pub cgroup: Cgroup,
    /// The words of the seccomp section; `None` where there is no seccomp.
    pub seccomp: Option<Seccomp<'a>>,
    /// `process.apparmorProfile`.
    pub apparmor: bool,
    /// `process.selinuxLabel` and `linux.mountLabel`.
    pub selinux: bool,
    /// `linux.intelRdt`.
    pub intel_rdt: IntelRdt,
    /// `mounts[].uidMappings` and `gidMappings`.
    pub idmap: bool,
    /// `linux.netDevices`.
    pub net_devices: bool,
    /// `linux.memoryPolicy`.
    pub memory_policy: MemoryPolicy<'a>,
    /// `checkpoint` and `restore`.
    pub checkpoint: bool,
    /// The commit that was built.
    pub commit: Option<&'a str>,
    /// Annotations, or prefixes ending in a dot, that change what the runtime
    /// does: engines keep untrusted users from setting them.
    pub unsafe_annotations: &'a [&'a str],
}

/// What is implemented of cgroups.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cgroup {
    /// cgroup v1.
    pub v1: bool,
    /// cgroup v2.
    pub v2: bool,
    /// The system's systemd as manager.
    pub systemd: bool,
    /// A user's systemd as manager.
    pub systemd_user: bool,
    /// `linux.resources.rdma`.
    pub rdma: bool,
}

/// What is implemented of seccomp.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp<'a> {
    /// `SCMP_ACT_*`.
    pub actions: &'a [&'a str],
    /// `SCMP_CMP_*`.
    pub operators: &'a [&'a str],
    /// `SCMP_ARCH_*`.
    pub archs: &'a [&'a str],
    /// `SECCOMP_FILTER_FLAG_*` that are recognised.
    pub known_flags: &'a [&'a str],
    /// Those of them that have an effect on this host.
    pub supported_flags: &'a [&'a str],
}

/// What is implemented of Intel RDT.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IntelRdt {
    /// `linux.intelRdt` at all.
    pub enabled: bool,
    /// Its `schemata`.
    pub schemata: bool,
    /// Its `enableMonitoring`.
    pub monitoring: bool,
}

/// What is implemented of NUMA memory policies.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryPolicy<'a> {
    /// `MPOL_*`.
    pub modes: &'a [&'a str],
    /// `MPOL_F_*`.
    pub flags: &'a [&'a str],
}

/// Prints what this build knows and does.
///
/// # Errors
/// write(2).
pub fn print() -> anyhow::Result<()> {
    let mount_options: Vec<&str> = options::known().collect();
    let supported_flags = seccomp::supported_flags(takes_filter_flags);
    let known = Known {
        hooks: &[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        mount_options: &mount_options,
        namespaces: &names::NAMESPACES,
        capabilities: &names::CAPABILITIES,
        cgroup: Cgroup {
            v1: true,
            v2: true,
            systemd: true,
            systemd_user: true,
            rdma: true,
        },
        seccomp: Some(Seccomp {
            actions: seccomp::known_actions(),
            operators: seccomp::known_operators(),
            archs: seccomp::known_archs(),
            known_flags: seccomp::known_flags(),
            supported_flags: &supported_flags,
        }),
        apparmor: true,
        intel_rdt: IntelRdt {
            enabled: true,
            schemata: true,
            monitoring: true,
        },
        net_devices: true,
        selinux: true,
        idmap: true,
        memory_policy: MemoryPolicy {
            modes: &names::MEMORY_POLICIES,
            flags: &names::MEMORY_POLICY_FLAGS,
        },
        checkpoint: true,
        commit: option_env!("CORTEN_COMMIT"),
        unsafe_annotations: &UNSAFE_ANNOTATIONS,
    };
    super::print::line(&serde_json::to_string_pretty(&features(&known))?)
}

/// The JSON object of `corten features`.
pub fn features<'a>(known: &Known<'a>) -> impl Serialize + use<'a> {
    let known = *known;
    let mut annotations = BTreeMap::from([
        // Engines ask for runc's name of it, whatever the runtime.
        (
            "org.opencontainers.runc.checkpoint.enabled",
            bool_text(known.checkpoint),
        ),
        ("run.oci.corten.version", env!("CARGO_PKG_VERSION")),
    ]);
    if let Some(commit) = known.commit {
        annotations.insert("run.oci.corten.commit", commit);
    }
    Features {
        oci_version_min: SPEC_VERSION_MIN,
        oci_version_max: SPEC_VERSION,
        hooks: known.hooks,
        mount_options: known.mount_options,
        linux: Linux {
            namespaces: known.namespaces,
            capabilities: known.capabilities,
            cgroup: known.cgroup,
            seccomp: EnabledSeccomp {
                enabled: known.seccomp.is_some(),
                words: known.seccomp,
            },
            apparmor: Enabled {
                enabled: known.apparmor,
            },
            selinux: Enabled {
                enabled: known.selinux,
            },
            intel_rdt: known.intel_rdt,
            mount_extensions: MountExtensions {
                idmap: Enabled {
                    enabled: known.idmap,
                },
            },
            net_devices: Enabled {
                enabled: known.net_devices,
            },
            memory_policy: known.memory_policy,
        },
        annotations,
        potentially_unsafe_config_annotations: known.unsafe_annotations,
    }
}

fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features<'a> {
    oci_version_min: &'a str,
    oci_version_max: &'a str,
    hooks: &'a [&'a str],
    mount_options: &'a [&'a str],
    linux: Linux<'a>,
    annotations: BTreeMap<&'a str, &'a str>,
    potentially_unsafe_config_annotations: &'a [&'a str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux<'a> {
    namespaces: &'a [&'a str],
    capabilities: &'a [&'a str],
    cgroup: Cgroup,
    seccomp: EnabledSeccomp<'a>,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
    memory_policy: MemoryPolicy<'a>,
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
struct EnabledSeccomp<'a> {
    enabled: bool,
    #[serde(flatten)]
    words: Option<Seccomp<'a>>,
}

#[derive(Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const KNOWN: Known<'_> = Known {
        hooks: &["prestart", "poststop"],
        mount_options: &["bind", "ro"],
        namespaces: &["pid", "time"],
        capabilities: &["CAP_CHOWN"],
        cgroup: Cgroup {
            v1: true,
            v2: true,
            systemd: false,
            systemd_user: false,
            rdma: true,
        },
        seccomp: Some(Seccomp {
            actions: &["SCMP_ACT_ERRNO"],
            operators: &["SCMP_CMP_EQ"],
            archs: &["SCMP_ARCH_X86_64"],
            known_flags: &["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
            supported_flags: &["SECCOMP_FILTER_FLAG_LOG"],
        }),
        apparmor: true,
        selinux: false,
        intel_rdt: IntelRdt {
            enabled: true,
            schemata: true,
            monitoring: false,
        },
        idmap: true,
        net_devices: false,
        memory_policy: MemoryPolicy {
            modes: &["MPOL_BIND"],
            flags: &["MPOL_F_STATIC_NODES"],
        },
        checkpoint: false,
        commit: Some("abc"),
        unsafe_annotations: &["org.systemd.property."],
    };

    fn value(known: &Known<'_>) -> Value {
        serde_json::to_value(features(known)).unwrap()
    }

    #[test]
    fn it_has_every_member_of_features_md() {
        let value = value(&KNOWN);
        let keys = |pointer: &str| -> Vec<String> {
            value
                .pointer(pointer)
                .unwrap()
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect()
        };
        assert_eq!(
            keys(""),
            [
                "annotations",
                "hooks",
                "linux",
                "mountOptions",
                "ociVersionMax",
                "ociVersionMin",
                "potentiallyUnsafeConfigAnnotations"
            ]
        );
        assert_eq!(
            keys("/linux"),
            [
                "apparmor",
                "capabilities",
                "cgroup",
                "intelRdt",
                "memoryPolicy",
                "mountExtensions",
                "namespaces",
                "netDevices",
                "seccomp",
                "selinux"
            ]
        );
        assert_eq!(
            keys("/linux/cgroup"),
            ["rdma", "systemd", "systemdUser", "v1", "v2"]
        );
        assert_eq!(
            keys("/linux/seccomp"),
            [
                "actions",
                "archs",
                "enabled",
                "knownFlags",
                "operators",
                "supportedFlags"
            ]
        );
        assert_eq!(value["ociVersionMin"], "1.0.0");
        assert_eq!(value["ociVersionMax"], "1.3.0");
    }

    #[test]
    fn oci_spec_reads_what_was_said() {
        let text = serde_json::to_string(&features(&KNOWN)).unwrap();
        let oracle: oci_spec::runtime::Features = serde_json::from_str(&text).unwrap();
        // What it writes again is what it understood.
        let again = serde_json::to_value(&oracle).unwrap();
        for pointer in [
            "/hooks",
            "/mountOptions",
            "/linux/namespaces",
            "/linux/capabilities",
            "/linux/cgroup",
            "/linux/seccomp",
            "/linux/apparmor",
            "/linux/selinux",
            "/linux/intelRdt/enabled",
            "/linux/mountExtensions",
            "/linux/netDevices",
            "/annotations",
            "/potentiallyUnsafeConfigAnnotations",
        ] {
            assert_eq!(
                again.pointer(pointer),
                value(&KNOWN).pointer(pointer),
                "{pointer}"
            );
        }
    }

    #[test]
    fn what_is_not_implemented_is_said_to_be_absent() {
        let value = value(&Known::default());
        for what in ["apparmor", "selinux", "seccomp", "intelRdt", "netDevices"] {
            assert_eq!(value["linux"][what]["enabled"], false, "{what}");
        }
        assert_eq!(value["linux"]["mountExtensions"]["idmap"]["enabled"], false);
        assert_eq!(
            value["annotations"]["org.opencontainers.runc.checkpoint.enabled"],
            "false"
        );
    }
}
