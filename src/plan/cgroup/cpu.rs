//! `linux.resources.cpu`: time and cpuset.

use super::builder::{Builder, Place};
use super::{Missing, Phase, ResourceError, Version};
use crate::config::spec::{Cpu, Text};

const SHARES: &str = "/linux/resources/cpu/shares";
const QUOTA: &str = "/linux/resources/cpu/quota";
const PERIOD: &str = "/linux/resources/cpu/period";
const BURST: &str = "/linux/resources/cpu/burst";
const IDLE: &str = "/linux/resources/cpu/idle";
const RT_RUNTIME: &str = "/linux/resources/cpu/realtimeRuntime";
const RT_PERIOD: &str = "/linux/resources/cpu/realtimePeriod";
const CPUS: &str = "/linux/resources/cpu/cpus";
const MEMS: &str = "/linux/resources/cpu/mems";

/// The least and the greatest `cpu.shares` (kernel/sched/sched.h: MIN_SHARES, MAX_SHARES).
const SHARES_RANGE: std::ops::RangeInclusive<u64> = 2..=262_144;
/// The period that the kernel starts with, in microseconds (cgroup-v2.rst, `cpu.max`).
const DEFAULT_PERIOD: u64 = 100_000;

pub(super) fn plan(b: &mut Builder, cpu: Option<&Cpu>) -> Result<(), ResourceError> {
    let Some(cpu) = cpu else { return Ok(()) };
    plan_time(b, cpu)?;
    plan_set(b, cpu.cpus.as_ref(), "cpuset.cpus", CPUS)?;
    plan_set(b, cpu.mems.as_ref(), "cpuset.mems", MEMS)
}

/// CPUs or memory nodes. On v1 a task cannot join before both are there.
fn plan_set(
    b: &mut Builder,
    list: Option<&Text>,
    file: &'static str,
    at: &'static str,
) -> Result<(), ResourceError> {
    let Some(list) = list.filter(|list| !list.is_empty()) else {
        return Ok(());
    };
    let place = b.place("cpuset", "cpuset", at)?;
    let write = b.write(place, file, list, at);
    if place.version == Version::V1 {
        write.phase = Phase::BeforeJoin;
    }
    Ok(())
}

fn plan_time(b: &mut Builder, cpu: &Cpu) -> Result<(), ResourceError> {
    // 0 is "not set" to runc, except for burst and idle.
    let time = Time {
        shares: cpu.shares.filter(|value| *value != 0),
        quota: cpu.quota.filter(|value| *value != 0),
        period: cpu.period.filter(|value| *value != 0),
        burst: cpu.burst,
        idle: cpu.idle,
        rt_runtime: cpu.realtime_runtime.filter(|value| *value != 0),
        rt_period: cpu.realtime_period.filter(|value| *value != 0),
    };
    let Some(first) = time.first() else {
        return Ok(());
    };
    let place = b.place("cpu", "cpu", first)?;
    match place.version {
        Version::V1 => time.plan_v1(b, place),
        Version::V2 => {
            time.plan_v2(b, place);
            Ok(())
        }
    }
}

struct Time {
    shares: Option<u64>,
    quota: Option<i64>,
    period: Option<u64>,
    burst: Option<u64>,
    idle: Option<i64>,
    rt_runtime: Option<i64>,
    rt_period: Option<u64>,
}

impl Time {
    /// Pointer of the first property that is set.
    fn first(&self) -> Option<&'static str> {
        [
            (self.shares.is_some(), SHARES),
            (self.quota.is_some(), QUOTA),
            (self.period.is_some(), PERIOD),
            (self.burst.is_some(), BURST),
            (self.idle.is_some(), IDLE),
            (self.rt_runtime.is_some(), RT_RUNTIME),
            (self.rt_period.is_some(), RT_PERIOD),
        ]
        .into_iter()
        .find_map(|(set, pointer)| set.then_some(pointer))
    }

    fn plan_v1(&self, b: &mut Builder, place: Place) -> Result<(), ResourceError> {
        self.write_idle(b, place, 0);
        // A real-time task cannot join a cgroup without real-time bandwidth.
        if let Some(period) = self.rt_period {
            let write = b.write(place, "cpu.rt_period_us", period, RT_PERIOD);
            write.phase = Phase::BeforeJoin;
            write.retry = true;
        }
        if let Some(runtime) = self.rt_runtime {
            b.write(place, "cpu.rt_runtime_us", runtime, RT_RUNTIME)
                .phase = Phase::BeforeJoin;
        }
        if let Some(shares) = self.shares {
            // The kernel would clamp it without a word.
            if !SHARES_RANGE.contains(&shares) {
                let (least, greatest) = (SHARES_RANGE.start(), SHARES_RANGE.end());
                let message = format!("{shares} is out of range: {least} to {greatest}");
                return Err(ResourceError::new(SHARES, message));
            }
            b.write(place, "cpu.shares", shares, SHARES);
        }
        if let Some(period) = self.period {
            b.write(place, "cpu.cfs_period_us", period, PERIOD).retry = true;
        }
        if let Some(quota) = self.quota {
            b.write(place, "cpu.cfs_quota_us", quota, QUOTA).retry = true;
        }
        if let Some(burst) = self.burst {
            // Linux 5.14; runc leaves it out where the kernel does not know it.
            b.write(place, "cpu.cfs_burst_us", burst, BURST).missing = Missing::Skip;
        }
        self.write_idle(b, place, 1);
        Ok(())
    }

    /// Writes `cpu.idle` if it is to be `value`: a cgroup that is idle takes no shares or weight,
    /// so 0 comes before them and 1 after.
    fn write_idle(&self, b: &mut Builder, place: Place, value: i64) {
        if self.idle == Some(value) {
            b.write(place, "cpu.idle", value, IDLE);
        }
    }

    fn plan_v2(&self, b: &mut Builder, place: Place) {
        self.write_idle(b, place, 0);
        match (self.shares, self.idle) {
            // The kernel takes no weight for a cgroup that is idle.
            (Some(_), Some(1)) => b.warn(SHARES, "ignored: cpu.idle is 1"),
            (Some(shares), _) => {
                b.write(place, "cpu.weight", weight_of_shares(shares), SHARES);
            }
            (None, _) => {}
        }
        if self.quota.is_some() || self.period.is_some() {
            let now = b.now().and_then(|now| now.cpu_max);
            let quota = match self.quota.or(now.and_then(|now| now.quota)) {
                Some(quota) if quota > 0 => quota.to_string(),
                _ => "max".to_owned(),
            };
            let period = now.map_or(DEFAULT_PERIOD, |now| now.period);
            let period = self.period.unwrap_or(period);
            let pointer = if self.quota.is_some() { QUOTA } else { PERIOD };
            b.write(place, "cpu.max", format!("{quota} {period}"), pointer)
                .retry = true;
        }
        if let Some(burst) = self.burst {
            b.write(place, "cpu.max.burst", burst, BURST);
        }
        self.write_idle(b, place, 1);
        for (set, pointer) in [
            (self.rt_runtime.is_some(), RT_RUNTIME),
            (self.rt_period.is_some(), RT_PERIOD),
        ] {
            if set {
                b.warn(pointer, "ignored: cgroup v2 has no real-time limits");
            }
        }
    }
}

/// Turns v1's `cpu.shares` (2 to 262144, 1024 by default) into v2's `cpu.weight` (1 to 10000, 100
/// by default) by the quadratic curve through the three pairs, as runc since 1.3.2 and crun since
/// 1.23 do.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    if shares <= *SHARES_RANGE.start() {
        return 1;
    }
    if shares >= *SHARES_RANGE.end() {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10f64.powf(exponent).ceil() as u64
}
