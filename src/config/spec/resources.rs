//! `linux.resources` of config.json, also what `update --resources` reads.

use super::{Map, Text};
use crate::config::member::spec_struct;

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
