//! The counters with runc's names (types/events.go of runc 1.5). What runc leaves out when it is
//! 0 is left out here.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// What a cgroup counts.
#[derive(Debug, Default, PartialEq)]
pub struct Stats {
    /// CPU time.
    pub cpu: Cpu,
    /// The CPUs and memory nodes (cgroup v1).
    pub cpuset: Cpuset,
    /// Memory.
    pub memory: Memory,
    /// Tasks.
    pub pids: Pids,
    /// Block I/O.
    pub blkio: Blkio,
    /// Huge pages, by their size.
    pub hugetlb: BTreeMap<String, Hugetlb>,
}

/// Whether runc would leave it out.
fn zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// CPU time.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// What was used.
    pub usage: CpuUsage,
    /// What was withheld.
    pub throttling: Throttling,
    /// Pressure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// CPU time in nanoseconds.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    /// All.
    #[serde(skip_serializing_if = "zero")]
    pub total: u64,
    /// On each CPU (cgroup v1, and so the next two).
    #[serde(skip_serializing_if = "zero")]
    pub percpu: Vec<u64>,
    /// On each CPU in the kernel.
    #[serde(skip_serializing_if = "zero")]
    pub percpu_kernel: Vec<u64>,
    /// On each CPU in programs.
    #[serde(skip_serializing_if = "zero")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// How the CPU quota was felt.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which something ran.
    #[serde(skip_serializing_if = "zero")]
    pub periods: u64,
    /// Periods in which the quota was used up.
    #[serde(skip_serializing_if = "zero")]
    pub throttled_periods: u64,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "zero")]
    pub throttled_time: u64,
}

/// The cpuset of cgroup v1 (cpuset(7)).
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Cpuset {
    /// CPUs that may be used.
    #[serde(skip_serializing_if = "zero")]
    pub cpus: Vec<u16>,
    /// Flag.
    pub cpu_exclusive: u64,
    /// Memory nodes that may be used.
    #[serde(skip_serializing_if = "zero")]
    pub mems: Vec<u16>,
    /// Flag.
    pub mem_hardwall: u64,
    /// Flag.
    pub mem_exclusive: u64,
    /// Flag.
    pub memory_migrate: u64,
    /// Flag.
    pub memory_spread_page: u64,
    /// Flag.
    pub memory_spread_slab: u64,
    /// Attempts to reclaim a second, times 1000.
    pub memory_pressure: u64,
    /// Flag.
    pub sched_load_balance: u64,
    /// -1 to 5.
    pub sched_relax_domain_level: i64,
}

/// One counter of memory, in bytes.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct MemoryEntry {
    /// The limit; the largest number of 64 bits on cgroup v2 for none.
    pub limit: u64,
    /// In use.
    #[serde(skip_serializing_if = "zero")]
    pub usage: u64,
    /// The most that was in use.
    #[serde(skip_serializing_if = "zero")]
    pub max: u64,
    /// How often the limit was hit (cgroup v1).
    pub failcnt: u64,
}

/// Memory.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Page cache in bytes.
    #[serde(skip_serializing_if = "zero")]
    pub cache: u64,
    /// Memory.
    pub usage: MemoryEntry,
    /// Memory and swap together.
    pub swap: MemoryEntry,
    /// Memory of the kernel (cgroup v1).
    pub kernel: MemoryEntry,
    /// TCP buffers (cgroup v1).
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat`.
    #[serde(skip_serializing_if = "zero")]
    pub raw: BTreeMap<String, u64>,
    /// Pressure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Tasks.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Pids {
    /// How many there are.
    #[serde(skip_serializing_if = "zero")]
    pub current: u64,
    /// The limit; 0 for none.
    #[serde(skip_serializing_if = "zero")]
    pub limit: u64,
}

/// One counter of block I/O.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct BlkioEntry {
    /// The device.
    #[serde(skip_serializing_if = "zero")]
    pub major: u64,
    /// The device.
    #[serde(skip_serializing_if = "zero")]
    pub minor: u64,
    /// `Read`, `Write` and so on.
    #[serde(skip_serializing_if = "zero")]
    pub op: String,
    /// Bytes, operations, sectors or nanoseconds.
    #[serde(skip_serializing_if = "zero")]
    pub value: u64,
}

/// Block I/O, cgroups beneath included.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes.
    #[serde(skip_serializing_if = "zero")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Operations.
    #[serde(skip_serializing_if = "zero")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Requests that wait.
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "zero")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    /// Nanoseconds of service.
    #[serde(skip_serializing_if = "zero")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    /// Nanoseconds of waiting.
    #[serde(skip_serializing_if = "zero")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    /// Requests that were merged.
    #[serde(skip_serializing_if = "zero")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    /// Nanoseconds of the disk.
    #[serde(skip_serializing_if = "zero")]
    pub io_time_recursive: Vec<BlkioEntry>,
    /// Sectors.
    #[serde(skip_serializing_if = "zero")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// Pressure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Hugetlb {
    /// In use, or reserved where reservations are counted.
    #[serde(skip_serializing_if = "zero")]
    pub usage: u64,
    /// The most that was (cgroup v1).
    #[serde(skip_serializing_if = "zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Psi {
    /// Some tasks waited.
    pub some: PsiData,
    /// All tasks waited.
    pub full: PsiData,
}

/// Shares of time in percent.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct PsiData {
    /// Over ten seconds.
    pub avg10: Percent,
    /// Over a minute.
    pub avg60: Percent,
    /// Over five minutes.
    pub avg300: Percent,
    /// Microseconds in all.
    pub total: u64,
}

/// A percentage in hundredths, as the kernel prints it. It is written without needless digits,
/// as Go writes floats.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Percent(pub u32);

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 100 {
            0 => serializer.serialize_u32(self.0 / 100),
            _ => serializer.serialize_f64(f64::from(self.0) / 100.0),
        }
    }
}
