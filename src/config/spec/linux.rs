//! `linux` of config.json, but for its resources and seccomp.

use super::{IdMapping, Map, Resources, Seccomp, Text};
use crate::config::member::spec_struct;

spec_struct! {
    /// `linux`.
    Linux<'a> {
        /// Namespaces to make or to join.
        namespaces: Vec<Namespace<'a>>,
        /// User mappings of a new user namespace.
        uid_mappings: Vec<IdMapping>,
        /// Group mappings of a new user namespace.
        gid_mappings: Vec<IdMapping>,
        /// Offsets of a new time namespace, by clock (`boottime`, `monotonic`).
        time_offsets: Map<'a, TimeOffset>,
        /// Device nodes to make.
        devices: Vec<Device<'a>>,
        /// Network devices to move in, by their name on the host.
        net_devices: Map<'a, NetDevice<'a>>,
        /// Where the cgroup is.
        cgroups_path: Option<Text<'a>>,
        /// Limits.
        resources: Resources<'a>,
        /// Propagation of the root mount.
        rootfs_propagation: Option<Text<'a>>,
        /// System call filter.
        seccomp: Option<Seccomp<'a>>,
        /// Kernel parameters, `net.ipv4.ip_forward` and so on.
        sysctl: Map<'a, Text<'a>>,
        /// Paths that cannot be read inside.
        masked_paths: Vec<Text<'a>>,
        /// Paths that cannot be written inside.
        readonly_paths: Vec<Text<'a>>,
        /// SELinux context of the mounts.
        mount_label: Option<Text<'a>>,
        /// Intel Resource Director Technology.
        intel_rdt: Option<IntelRdt<'a>>,
        /// NUMA memory policy.
        memory_policy: Option<MemoryPolicy<'a>>,
        /// Execution domain.
        personality: Option<Personality<'a>>,
    }
}

spec_struct! {
    /// One element of `linux.namespaces`.
    Namespace<'a> {
        /// `pid`, `network`, `mount`, `ipc`, `uts`, `user`, `cgroup` or `time`.
        #[serde(rename = "type")]
        kind: Text<'a>,
        /// A namespace file to join; absent makes a new one.
        path: Option<Text<'a>>,
    }
}

spec_struct! {
    /// Offset of one clock.
    TimeOffset {
        /// Seconds.
        secs: i64,
        /// Nanoseconds.
        nanosecs: u32,
    }
}

spec_struct! {
    /// One element of `linux.devices`.
    Device<'a> {
        /// `c`, `b`, `u` or `p`.
        #[serde(rename = "type")]
        kind: Text<'a>,
        /// Path inside the container.
        path: Text<'a>,
        /// Major number.
        major: i64,
        /// Minor number.
        minor: i64,
        /// Permission bits; 0666 where absent.
        file_mode: Option<u32>,
        /// Owner inside the container.
        uid: Option<u32>,
        /// Group inside the container.
        gid: Option<u32>,
    }
}

spec_struct! {
    /// One value of `linux.netDevices`.
    NetDevice<'a> {
        /// Its name inside; absent keeps the host's.
        name: Option<Text<'a>>,
    }
}

spec_struct! {
    /// `linux.intelRdt`.
    IntelRdt<'a> {
        /// Name of the group; the container's id where absent.
        #[serde(rename = "closID")]
        clos_id: Option<Text<'a>>,
        /// Lines for the schemata file.
        schemata: Vec<Text<'a>>,
        /// L3 cache lines.
        l3_cache_schema: Option<Text<'a>>,
        /// Memory bandwidth line.
        mem_bw_schema: Option<Text<'a>>,
        /// Whether a monitoring group is made.
        enable_monitoring: bool,
    }
}

spec_struct! {
    /// `linux.memoryPolicy` (set_mempolicy(2)).
    MemoryPolicy<'a> {
        /// `MPOL_DEFAULT` and so on.
        mode: Text<'a>,
        /// Nodes, a list.
        nodes: Option<Text<'a>>,
        /// `MPOL_F_*`.
        flags: Vec<Text<'a>>,
    }
}

spec_struct! {
    /// `linux.personality` (personality(2)).
    Personality<'a> {
        /// `LINUX` or `LINUX32`.
        domain: Text<'a>,
        /// None are defined.
        flags: Vec<Text<'a>>,
    }
}
