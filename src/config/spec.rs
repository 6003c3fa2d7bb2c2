//! The types of config.json (runtime-spec 1.3.0), as far as Linux is concerned.
//!
//! They borrow from the file's text, take `null` (and for an optional string
//! `""`) for "absent" as Go's encoder writes it, and ignore what they do not
//! know. They hold what was written; what it means is decided in `plan`, what
//! is wrong with it in `check`.

mod linux;
mod process;
mod resources;
mod seccomp;

use std::collections::BTreeMap;

use super::member::spec_struct;
pub use super::text::Text;
pub use linux::{
    Device, IntelRdt, Linux, MemoryPolicy, Namespace, NetDevice, Personality, TimeOffset,
};
pub use process::{
    Capabilities, ConsoleSize, CpuAffinity, IoPriority, Process, Rlimit, Scheduler, User,
};
pub use resources::{
    BlockIo, Cpu, DeviceRule, HugepageLimit, InterfacePriority, Memory, Network, Pids, Rdma,
    Resources, ThrottleDevice, WeightDevice,
};
pub use seccomp::{Seccomp, SeccompArg, SeccompSyscall};

/// A map with the order of its keys, so that what is done with it is the same each time.
pub type Map<'a, V> = BTreeMap<Text<'a>, V>;

spec_struct! {
    /// The whole of config.json.
    Spec<'a> {
        /// `ociVersion`: the version of the specification it was written for.
        oci_version: Text<'a>,
        /// `root`: the container's root file system.
        root: Option<Root<'a>>,
        /// `hostname` in the UTS namespace.
        hostname: Option<Text<'a>>,
        /// `domainname` in the UTS namespace.
        domainname: Option<Text<'a>>,
        /// `mounts`, in the order in which they are made.
        mounts: Vec<Mount<'a>>,
        /// `process`: what is run.
        process: Option<Process<'a>>,
        /// `hooks` of the six kinds.
        hooks: Hooks<'a>,
        /// `annotations`: free text for engines.
        annotations: Map<'a, Text<'a>>,
        /// `linux`: what only Linux has.
        linux: Option<Linux<'a>>,
    }
}

spec_struct! {
    /// `root`.
    Root<'a> {
        /// Path of the root file system, relative to the bundle or absolute.
        path: Text<'a>,
        /// Whether the root file system is read-only inside.
        readonly: bool,
    }
}

spec_struct! {
    /// One element of `mounts`.
    Mount<'a> {
        /// Where it appears, from the container's root.
        destination: Text<'a>,
        /// The file system type; absent or `bind` for a bind mount.
        #[serde(rename = "type")]
        fstype: Option<Text<'a>>,
        /// Device, path or name that is mounted.
        source: Option<Text<'a>>,
        /// Mount options in fstab's words.
        options: Vec<Text<'a>>,
        /// User mappings of an id-mapped mount.
        uid_mappings: Vec<IdMapping>,
        /// Group mappings of an id-mapped mount.
        gid_mappings: Vec<IdMapping>,
    }
}

spec_struct! {
    /// `hooks`.
    Hooks<'a> {
        /// Deprecated; runtime's namespaces, during create.
        prestart: Vec<Hook<'a>>,
        /// Runtime's namespaces, during create.
        create_runtime: Vec<Hook<'a>>,
        /// Container's namespaces, before pivot_root.
        create_container: Vec<Hook<'a>>,
        /// Container's namespaces, before the program, during start.
        start_container: Vec<Hook<'a>>,
        /// Runtime's namespaces, after the program has started.
        poststart: Vec<Hook<'a>>,
        /// Runtime's namespaces, after delete.
        poststop: Vec<Hook<'a>>,
    }
}

impl<'a> Hooks<'a> {
    /// The six kinds with their names, in the order in which they run.
    pub fn kinds(&self) -> [(&'static str, &[Hook<'a>]); 6] {
        [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ]
    }
}

spec_struct! {
    /// One hook.
    Hook<'a> {
        /// Absolute path of the program.
        path: Text<'a>,
        /// argv, with the program's name first.
        args: Vec<Text<'a>>,
        /// Environment, `KEY=value`. Absent, it is inherited, as runc and crun have it.
        env: Option<Vec<Text<'a>>>,
        /// Seconds after which it is killed.
        timeout: Option<i64>,
    }
}

spec_struct! {
    /// A range of ids and where it lies on the host.
    #[derive(Eq, Copy)]
    IdMapping {
        /// First id inside.
        #[serde(rename = "containerID")]
        container_id: u32,
        /// First id outside.
        #[serde(rename = "hostID")]
        host_id: u32,
        /// How many.
        size: u32,
    }
}
