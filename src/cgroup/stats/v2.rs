//! The counters of cgroup v2 (cgroup-v2.rst).

use super::types::{Hugetlb, MemoryEntry, Psi, Stats};
use super::{Files, huge_pages, parse};
use crate::cgroup::CgroupError;

/// Nanoseconds in the microseconds of cpu.stat.
const MICRO: u64 = 1000;

/// Reads what the directory counts. Beside v1 only the controllers are meant that v1 has not
/// (`has` tells): every directory of v2 has the others' basic files too.
pub(super) fn read(
    files: &Files,
    has: impl Fn(&str) -> bool,
    stats: &mut Stats,
) -> Result<(), CgroupError> {
    hugetlb(files, stats)?;
    if has("cpu") && has("cpuacct") {
        cpu(files, stats)?;
        stats.cpu.psi = pressure(files, "cpu.pressure")?;
    }
    if has("memory") {
        memory(files, stats)?;
        stats.memory.psi = pressure(files, "memory.pressure")?;
    }
    if has("pids") {
        pids(files, stats)?;
    }
    if !has("blkio") {
        return Ok(());
    }
    if let Some(text) = files.text("io.stat")? {
        let blkio = &mut stats.blkio;
        (
            blkio.io_service_bytes_recursive,
            blkio.io_serviced_recursive,
        ) = parse::io_stat(&text);
    }
    stats.blkio.psi = pressure(files, "io.pressure")?;
    Ok(())
}

/// Linux 4.20, unless it is switched off.
fn pressure(files: &Files, name: &str) -> Result<Option<Psi>, CgroupError> {
    Ok(files.text(name)?.map(|text| parse::psi(&text)))
}

fn cpu(files: &Files, stats: &mut Stats) -> Result<(), CgroupError> {
    let Some(text) = files.text("cpu.stat")? else {
        return Ok(());
    };
    let nanoseconds = |key| parse::value_of(&text, key).saturating_mul(MICRO);
    let cpu = &mut stats.cpu;
    cpu.usage.total = nanoseconds("usage_usec");
    cpu.usage.user = nanoseconds("user_usec");
    cpu.usage.kernel = nanoseconds("system_usec");
    cpu.throttling.periods = parse::value_of(&text, "nr_periods");
    cpu.throttling.throttled_periods = parse::value_of(&text, "nr_throttled");
    cpu.throttling.throttled_time = nanoseconds("throttled_usec");
    Ok(())
}

fn memory(files: &Files, stats: &mut Stats) -> Result<(), CgroupError> {
    let Some(text) = files.text("memory.stat")? else {
        return Ok(());
    };
    let memory = &mut stats.memory;
    memory.cache = parse::value_of(&text, "file");
    memory.raw = parse::keyed(&text)
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    memory.usage = entry(files, "memory")?;
    let swap = entry(files, "memory.swap")?;
    // v1 counts memory and swap together, and so does runc. The highest points of the two are
    // not of the same moment.
    memory.swap = MemoryEntry {
        limit: swap.limit.saturating_add(memory.usage.limit),
        usage: swap.usage.saturating_add(memory.usage.usage),
        max: 0,
        failcnt: 0,
    };
    if swap.limit == u64::MAX {
        memory.swap.limit = u64::MAX;
    }
    Ok(())
}

/// The peak is there since Linux 5.19.
fn entry(files: &Files, name: &str) -> Result<MemoryEntry, CgroupError> {
    let Some(usage) = files.number(&format!("{name}.current"))? else {
        return Ok(MemoryEntry::default());
    };
    Ok(MemoryEntry {
        limit: files.count(&format!("{name}.max"))?,
        usage,
        max: files.count(&format!("{name}.peak"))?,
        failcnt: 0,
    })
}

fn pids(files: &Files, stats: &mut Stats) -> Result<(), CgroupError> {
    if let Some(current) = files.number("pids.current")? {
        stats.pids.current = current;
        stats.pids.limit = files
            .number("pids.max")?
            .filter(|n| *n != u64::MAX)
            .unwrap_or_default();
        return Ok(());
    }
    // Without the controller they are counted here. A threaded cgroup has threads alone.
    let members = match files.text("cgroup.procs")? {
        Some(members) => Some(members),
        None => files.text("cgroup.threads")?,
    };
    stats.pids.current = members.map_or(0, |text| text.lines().count() as u64);
    Ok(())
}

fn hugetlb(files: &Files, stats: &mut Stats) -> Result<(), CgroupError> {
    for size in huge_pages() {
        for prefix in [format!("hugetlb.{size}.rsvd"), format!("hugetlb.{size}")] {
            let Some(usage) = files.number(&format!("{prefix}.current"))? else {
                continue;
            };
            let events = files.text(&format!("hugetlb.{size}.events"))?;
            let pages = Hugetlb {
                usage,
                max: 0,
                failcnt: events.map_or(0, |text| parse::value_of(&text, "max")),
            };
            stats.hugetlb.insert(size, pages);
            break;
        }
    }
    Ok(())
}
