//! Writes into the files of a cgroup, as properties of its unit (systemd.resource-control(5)).

use super::{Property, Value};
use crate::plan::cgroup::Write;

/// `cpu.idle` is set by a weight of 0 since this version.
const IDLE: u32 = 252;
/// The period of the quota can be set since this version.
const PERIOD: u32 = 242;
/// The cpuset can be set since this version.
const CPUSET: u32 = 244;
/// CPUs and memory nodes that a list may name: more than the kernel has.
const MOST_CPUS: usize = 1 << 16;

/// Microseconds in a second, and in a hundredth of one: systemd counts a quota in percents.
const SECOND: u128 = 1_000_000;
const PERCENT: u128 = 10_000;

/// The properties of what is written. Of what systemd does not know or does not take there is
/// none: the file has it. Of two for the same file the later one counts.
pub(super) fn properties(writes: &[Write]) -> Vec<Property> {
    let mut all: Vec<Property> = Vec::new();
    let mut idle = false;
    let mut v1 = (None, None);
    for write in writes {
        let value = write.value.trim();
        idle |= write.file == "cpu.idle" && value == "1";
        let mut set = |name: &'static str, value: Value, since: u32| {
            all.retain(|known| known.name != name);
            all.push(Property {
                name: name.into(),
                value,
                since,
                pointer: write.pointer.clone(),
            });
        };
        match (write.file.as_ref(), number(value)) {
            // systemd takes no weight of its own for a cgroup that is idle.
            ("cpu.weight", Some(weight)) if !idle => {
                set("CPUWeight", Value::Uint64(weight), 0);
            }
            ("cpu.idle", _) if value == "1" => set("CPUWeight", Value::Uint64(0), IDLE),
            ("cpu.max", _) => {
                if let Some((quota, period)) = quota(value) {
                    set("CPUQuotaPeriodUSec", Value::Uint64(period), PERIOD);
                    set("CPUQuotaPerSecUSec", Value::Uint64(quota), 0);
                }
            }
            ("cpu.cfs_period_us", Some(period)) => {
                set("CPUQuotaPeriodUSec", Value::Uint64(period), PERIOD);
                v1.0 = Some(period);
            }
            ("cpu.cfs_quota_us", Some(quota)) => v1.1 = Some((quota, write)),
            ("cpu.shares", Some(shares)) => set("CPUShares", Value::Uint64(shares), 0),
            ("cpuset.cpus" | "cpuset.mems", _) => {
                let name = match write.file.as_ref() {
                    "cpuset.cpus" => "AllowedCPUs",
                    _ => "AllowedMemoryNodes",
                };
                if let Some(bits) = bits(value) {
                    set(name, Value::bytes(bits), CPUSET);
                }
            }
            ("io.bfq.weight" | "io.weight", Some(weight)) if !value.contains(':') => {
                set("IOWeight", Value::Uint64(io_weight(write, weight)), 0);
            }
            ("blkio.weight", Some(weight)) => set("BlockIOWeight", Value::Uint64(weight), 0),
            ("memory.low", Some(bytes)) => set("MemoryLow", Value::Uint64(bytes), 0),
            ("memory.min", Some(bytes)) => set("MemoryMin", Value::Uint64(bytes), 0),
            ("memory.swap.max", Some(bytes)) => set("MemorySwapMax", Value::Uint64(bytes), 0),
            // For these systemd takes no 0; the file does.
            (_, Some(0)) => {}
            ("memory.high", Some(bytes)) => set("MemoryHigh", Value::Uint64(bytes), 0),
            ("memory.max", Some(bytes)) => set("MemoryMax", Value::Uint64(bytes), 0),
            ("memory.limit_in_bytes", Some(bytes)) => set("MemoryLimit", Value::Uint64(bytes), 0),
            ("pids.max", Some(tasks)) => set("TasksMax", Value::Uint64(tasks), 0),
            _ => {}
        }
    }
    if let (period, Some((quota, write))) = v1 {
        let quota = per_second(Some(quota), period.unwrap_or(100_000));
        all.push(Property {
            pointer: write.pointer.clone(),
            ..Property::new("CPUQuotaPerSecUSec", Value::Uint64(quota))
        });
    }
    all
}

/// A number; the greatest there is for none, which both write for "no limit".
fn number(value: &str) -> Option<u64> {
    match value {
        "max" | "-1" => Some(u64::MAX),
        value => value.parse().ok(),
    }
}

/// The microseconds of CPU a second, and the period, of `cpu.max`.
fn quota(value: &str) -> Option<(u64, u64)> {
    let mut fields = value.split_ascii_whitespace();
    let quota = number(fields.next()?)?;
    let period = match fields.next() {
        Some(period) => period.parse().ok().filter(|period| *period != 0)?,
        None => 100_000,
    };
    Some((per_second(Some(quota), period), period))
}

/// The quota in a second, rounded up to the next percent, as runc does.
fn per_second(quota: Option<u64>, period: u64) -> u64 {
    match quota {
        None | Some(u64::MAX) => u64::MAX,
        Some(quota) => {
            let percents =
                (u128::from(quota) * SECOND).div_ceil(u128::from(period.max(1)) * PERCENT);
            let rounded = percents * PERCENT;
            u64::try_from(rounded).unwrap_or(u64::MAX)
        }
    }
}

/// The weight from which systemd works out the one that is written: it has the range of
/// `io.weight` and turns it into that of BFQ, 100 being 100 in both.
fn io_weight(write: &Write, weight: u64) -> u64 {
    match write.file.as_ref() {
        "io.bfq.weight" if weight > 100 => 100 + (weight - 100) * 11,
        _ => weight,
    }
}

/// A list such as `0-3,7` as bits, the first of them in the first byte.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|r| !r.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST_CPUS {
            return None;
        }
        if bytes.len() <= last / 8 {
            bytes.resize(last / 8 + 1, 0);
        }
        for number in first..=last {
            bytes[number / 8] |= 1 << (number % 8);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}
