//! The types of config.json (runtime-spec 1.3.0), as far as Linux is concerned.
//!
//! They borrow from the file's text, take `null` (and for an optional string
//! `""`) for "absent" as Go's encoder writes it, and ignore what they do not
//! know. They hold what was written; what it means is decided in `plan`, what
//! is wrong with it in `check`.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer};

use super::member::{self, Member, spec_struct};
pub use super::text::Text;

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
    /// `process`, also the content of `exec --process FILE`.
    Process<'a> {
        /// Whether a terminal is made for it.
        terminal: bool,
        /// The terminal's size.
        console_size: Option<ConsoleSize>,
        /// User, groups and umask.
        user: User<'a>,
        /// Program and arguments.
        args: Vec<Text<'a>>,
        /// Environment, `KEY=value`.
        env: Vec<Text<'a>>,
        /// Working directory.
        cwd: Text<'a>,
        /// The five capability sets; absent means none were given.
        capabilities: Option<Capabilities<'a>>,
        /// Resource limits.
        rlimits: Vec<Rlimit<'a>>,
        /// Sets the no_new_privs attribute.
        no_new_privileges: bool,
        /// AppArmor profile.
        apparmor_profile: Option<Text<'a>>,
        /// oom_score_adj, -1000 to 1000.
        oom_score_adj: Option<i64>,
        /// Scheduling policy and its numbers.
        scheduler: Option<Scheduler<'a>>,
        /// SELinux label of the process.
        selinux_label: Option<Text<'a>>,
        /// I/O scheduling class and priority.
        io_priority: Option<IoPriority<'a>>,
        /// CPU affinity of processes that `exec` adds.
        #[serde(rename = "execCPUAffinity")]
        exec_cpu_affinity: Option<CpuAffinity<'a>>,
    }
}

spec_struct! {
    /// `process.consoleSize`, in characters.
    ConsoleSize {
        /// Rows.
        height: u16,
        /// Columns.
        width: u16,
    }
}

spec_struct! {
    /// `process.user`.
    User<'a> {
        /// User id inside the container.
        uid: u32,
        /// Group id inside the container.
        gid: u32,
        /// File mode creation mask; 0022 where absent.
        umask: Option<u32>,
        /// Supplementary groups; none where absent.
        additional_gids: Vec<u32>,
        /// Only for Windows; ignored.
        username: Option<Text<'a>>,
    }
}

spec_struct! {
    /// `process.capabilities`: names such as `CAP_CHOWN`.
    Capabilities<'a> {
        /// Limit of what execve can give.
        bounding: Vec<Text<'a>>,
        /// In force.
        effective: Vec<Text<'a>>,
        /// Kept over execve by files that say so.
        inheritable: Vec<Text<'a>>,
        /// May be put in force.
        permitted: Vec<Text<'a>>,
        /// Kept over execve of ordinary programs.
        ambient: Vec<Text<'a>>,
    }
}

spec_struct! {
    /// One element of `process.rlimits`.
    Rlimit<'a> {
        /// `RLIMIT_NOFILE` and so on.
        #[serde(rename = "type")]
        kind: Text<'a>,
        /// The ceiling.
        hard: u64,
        /// The value in force.
        soft: u64,
    }
}

spec_struct! {
    /// `process.scheduler` (sched_setattr(2)).
    Scheduler<'a> {
        /// `SCHED_OTHER` and so on.
        policy: Text<'a>,
        /// Nice value.
        nice: i32,
        /// Priority of the real-time policies.
        priority: i32,
        /// `SCHED_FLAG_*`.
        flags: Vec<Text<'a>>,
        /// Nanoseconds, SCHED_DEADLINE.
        runtime: u64,
        /// Nanoseconds, SCHED_DEADLINE.
        deadline: u64,
        /// Nanoseconds, SCHED_DEADLINE.
        period: u64,
    }
}

spec_struct! {
    /// `process.ioPriority` (ioprio_set(2)).
    IoPriority<'a> {
        /// `IOPRIO_CLASS_BE` and so on.
        class: Text<'a>,
        /// 0 to 7.
        priority: i32,
    }
}

spec_struct! {
    /// `process.execCPUAffinity`: lists such as `0-3,7`.
    CpuAffinity<'a> {
        /// Before the process joins the container's cgroup.
        initial: Option<Text<'a>>,
        /// After it.
        #[serde(rename = "final")]
        last: Option<Text<'a>>,
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

spec_struct! {
    /// One hook.
    Hook<'a> {
        /// Absolute path of the program.
        path: Text<'a>,
        /// argv, with the program's name first.
        args: Vec<Text<'a>>,
        /// Environment, `KEY=value`.
        env: Vec<Text<'a>>,
        /// Seconds after which it is killed.
        timeout: Option<i64>,
    }
}

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
    /// `linux.resources`.
    Resources<'a> {
        /// Device rules, in order; the last that matches decides.
        devices: Vec<DeviceRule<'a>>,
        /// Memory limits.
        memory: Option<Memory>,
        /// CPU limits.
        cpu: Option<Cpu<'a>>,
        /// Limit of the number of tasks.
        pids: Option<Pids>,
        /// Block I/O limits.
        #[serde(rename = "blockIO")]
        block_io: Option<BlockIo>,
        /// Limits of huge pages.
        hugepage_limits: Vec<HugepageLimit<'a>>,
        /// Class and priorities of network traffic (cgroup v1).
        network: Option<Network<'a>>,
        /// RDMA limits by device.
        rdma: Map<'a, Rdma>,
        /// cgroup v2 files and what is written to them.
        unified: Map<'a, Text<'a>>,
    }
}

spec_struct! {
    /// One element of `linux.resources.devices`.
    DeviceRule<'a> {
        /// Allow or deny.
        allow: bool,
        /// `a`, `b` or `c`; absent means all.
        #[serde(rename = "type")]
        kind: Option<Text<'a>>,
        /// Major number; absent or -1 means any.
        major: Option<i64>,
        /// Minor number; absent or -1 means any.
        minor: Option<i64>,
        /// Some of `rwm`.
        access: Option<Text<'a>>,
    }
}

spec_struct! {
    /// `linux.resources.memory`, in bytes; -1 means no limit.
    Memory {
        /// Hard limit.
        limit: Option<i64>,
        /// Soft limit.
        reservation: Option<i64>,
        /// Memory and swap together.
        swap: Option<i64>,
        /// Kernel memory; the kernel dropped it.
        kernel: Option<i64>,
        /// TCP buffers; the kernel dropped it.
        #[serde(rename = "kernelTCP")]
        kernel_tcp: Option<i64>,
        /// 0 to 100, cgroup v1.
        swappiness: Option<u64>,
        /// cgroup v1.
        #[serde(rename = "disableOOMKiller")]
        disable_oom_killer: Option<bool>,
        /// cgroup v1.
        use_hierarchy: Option<bool>,
        /// Refuse a limit below the present usage.
        check_before_update: Option<bool>,
    }
}

spec_struct! {
    /// `linux.resources.cpu`.
    Cpu<'a> {
        /// Relative weight in v1's numbers, 2 to 262144.
        shares: Option<u64>,
        /// Microseconds of CPU time in each period; negative means no limit.
        quota: Option<i64>,
        /// Microseconds that may be saved up.
        burst: Option<u64>,
        /// Microseconds.
        period: Option<u64>,
        /// Microseconds, real-time scheduling.
        realtime_runtime: Option<i64>,
        /// Microseconds, real-time scheduling.
        realtime_period: Option<u64>,
        /// CPUs, a list such as `0-3`.
        cpus: Option<Text<'a>>,
        /// Memory nodes, a list.
        mems: Option<Text<'a>>,
        /// 1 makes the cgroup's tasks SCHED_IDLE.
        idle: Option<i64>,
    }
}

spec_struct! {
    /// `linux.resources.pids`.
    Pids {
        /// Number of tasks; -1 means no limit.
        limit: Option<i64>,
    }
}

spec_struct! {
    /// `linux.resources.blockIO`.
    BlockIo {
        /// 10 to 1000.
        weight: Option<u16>,
        /// 10 to 1000.
        leaf_weight: Option<u16>,
        /// Weights by device.
        weight_device: Vec<WeightDevice>,
        /// Bytes a second.
        throttle_read_bps_device: Vec<ThrottleDevice>,
        /// Bytes a second.
        throttle_write_bps_device: Vec<ThrottleDevice>,
        /// Operations a second.
        #[serde(rename = "throttleReadIOPSDevice")]
        throttle_read_iops_device: Vec<ThrottleDevice>,
        /// Operations a second.
        #[serde(rename = "throttleWriteIOPSDevice")]
        throttle_write_iops_device: Vec<ThrottleDevice>,
    }
}

spec_struct! {
    /// Weight of one block device.
    WeightDevice {
        /// Major number.
        major: i64,
        /// Minor number.
        minor: i64,
        /// 10 to 1000.
        weight: Option<u16>,
        /// 10 to 1000.
        leaf_weight: Option<u16>,
    }
}

spec_struct! {
    /// Throttle of one block device.
    ThrottleDevice {
        /// Major number.
        major: i64,
        /// Minor number.
        minor: i64,
        /// Bytes or operations a second.
        rate: u64,
    }
}

spec_struct! {
    /// One element of `linux.resources.hugepageLimits`.
    HugepageLimit<'a> {
        /// `2MB` and so on.
        page_size: Text<'a>,
        /// Bytes.
        limit: u64,
    }
}

spec_struct! {
    /// `linux.resources.network`.
    Network<'a> {
        /// net_cls.classid.
        #[serde(rename = "classID")]
        class_id: Option<u32>,
        /// net_prio.ifpriomap.
        priorities: Vec<InterfacePriority<'a>>,
    }
}

spec_struct! {
    /// Priority of one network interface.
    InterfacePriority<'a> {
        /// The interface.
        name: Text<'a>,
        /// Its priority.
        priority: u32,
    }
}

spec_struct! {
    /// One value of `linux.resources.rdma`.
    Rdma {
        /// Limit of handles.
        hca_handles: Option<u32>,
        /// Limit of objects.
        hca_objects: Option<u32>,
    }
}

spec_struct! {
    /// `linux.seccomp`.
    Seccomp<'a> {
        /// What happens to a call that no rule names.
        default_action: Text<'a>,
        /// errno of `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE` as default; EPERM where absent.
        default_errno_ret: Option<u32>,
        /// `SCMP_ARCH_X86_64` and so on; empty means the native one.
        architectures: Vec<Text<'a>>,
        /// `SECCOMP_FILTER_FLAG_*`.
        flags: Vec<Text<'a>>,
        /// Socket that gets the listener of `SCMP_ACT_NOTIFY`.
        listener_path: Option<Text<'a>>,
        /// Passed on to it.
        listener_metadata: Option<Text<'a>>,
        /// The rules.
        syscalls: Vec<SeccompSyscall<'a>>,
    }
}

spec_struct! {
    /// One element of `linux.seccomp.syscalls`.
    SeccompSyscall<'a> {
        /// System calls by name.
        names: Vec<Text<'a>>,
        /// `SCMP_ACT_ALLOW` and so on.
        action: Text<'a>,
        /// errno of `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE`; EPERM where absent.
        errno_ret: Option<u32>,
        /// Conditions, all of which must hold.
        args: Vec<SeccompArg<'a>>,
    }
}

spec_struct! {
    /// Condition on one argument.
    SeccompArg<'a> {
        /// Which argument, 0 to 5.
        index: u32,
        /// What it is compared with; the mask of `SCMP_CMP_MASKED_EQ`.
        value: u64,
        /// The value of `SCMP_CMP_MASKED_EQ`.
        value_two: u64,
        /// `SCMP_CMP_EQ` and so on.
        op: Text<'a>,
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
