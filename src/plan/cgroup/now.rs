//! What holds for a container already, as far as new limits depend on it.

/// The present values that a new limit has to be seen together with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Now {
    /// `memory.max` of cgroup v2 in bytes; `None` for no limit.
    pub memory_max: Option<i64>,
    /// What was last asked for memory and swap together, in bytes; -1 for no limit.
    pub memory_swap: Option<i64>,
    /// `cpu.max` of cgroup v2.
    pub cpu_max: Option<CpuMax>,
}

/// `cpu.max`: microseconds of CPU time in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuMax {
    /// Microseconds; `None` for no limit.
    pub quota: Option<i64>,
    /// Microseconds.
    pub period: u64,
}

impl CpuMax {
    /// Reads the file's text, such as `max 100000`.
    pub fn parse(text: &str) -> Option<CpuMax> {
        let (quota, period) = text.trim_end().split_once(' ')?;
        Some(CpuMax {
            quota: quota.parse().ok(),
            period: period.parse().ok()?,
        })
    }
}
