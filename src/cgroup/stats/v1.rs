//! The counters of cgroup v1.

use super::types::{Blkio, BlkioEntry, Hugetlb, MemoryEntry, Stats};
use super::{Files, huge_pages, parse};
use crate::cgroup::CgroupError;

/// Nanoseconds in a tick of cpuacct.stat: USER_HZ is 100 on all of Linux's architectures that
/// Corten runs on.
const TICK: u64 = 10_000_000;

/// Reads what the controllers of a hierarchy count, `hierarchy` being its directory's name.
pub(super) fn read(files: &Files, hierarchy: &str, stats: &mut Stats) -> Result<(), CgroupError> {
    for controller in hierarchy.split(',') {
        match controller {
            "cpu" => cpu(files, stats)?,
            "cpuacct" => cpuacct(files, stats)?,
            "cpuset" => cpuset(files, stats)?,
            "memory" => memory(files, stats)?,
            "pids" => pids(files, stats)?,
            "blkio" => blkio(files, &mut stats.blkio)?,
            "hugetlb" => hugetlb(files, stats)?,
            _ => {}
        }
    }
    Ok(())
}

fn cpu(files: &Files, stats: &mut Stats) -> Result<(), CgroupError> {
    let Some(text) = files.text("cpu.stat")? else {
        return Ok(());
    };
    let throttling = &mut stats.cpu.throttling;
    throttling.periods = parse::value_of(&text, "nr_periods");
    throttling.throttled_periods = parse::value_of(&text, "nr_throttled");
    throttling.throttled_time = parse::value_of(&text, "throttled_time");
    Ok(())
}

fn cpuacct(files: &Files, stats: &mut Stats) -> Result<(), CgroupError> {
    let usage = &mut stats.cpu.usage;
    usage.total = files.count("cpuacct.usage")?;
    if let Some(text) = files.text("cpuacct.stat")? {
        usage.user = parse::value_of(&text, "user").saturating_mul(TICK);
        usage.kernel = parse::value_of(&text, "system").saturating_mul(TICK);
    }
    if let Some(text) = files.text("cpuacct.usage_percpu")? {
        usage.percpu = parse::numbers(&text);
    }
    if let Some(text) = files.text("cpuacct.usage_all")? {
        (usage.percpu_kernel, usage.percpu_user) = parse::usage_all(&text);
    }
    Ok(())
}

fn cpuset(files: &Files, stats: &mut Stats) -> Result<(), CgroupError> {
    let list = |name| -> Result<Vec<u16>, CgroupError> {
        Ok(files
            .text(name)?
            .map_or_else(Vec::new, |text| parse::list(&text)))
    };
    let set = &mut stats.cpuset;
    set.cpus = list("cpuset.cpus")?;
    set.mems = list("cpuset.mems")?;
    for (name, value) in [
        ("cpuset.cpu_exclusive", &mut set.cpu_exclusive),
        ("cpuset.mem_hardwall", &mut set.mem_hardwall),
        ("cpuset.mem_exclusive", &mut set.mem_exclusive),
        ("cpuset.memory_migrate", &mut set.memory_migrate),
        ("cpuset.memory_spread_page", &mut set.memory_spread_page),
        ("cpuset.memory_spread_slab", &mut set.memory_spread_slab),
        ("cpuset.memory_pressure", &mut set.memory_pressure),
        ("cpuset.sched_load_balance", &mut set.sched_load_balance),
    ] {
        *value = files.count(name)?;
    }
    let level = files.text("cpuset.sched_relax_domain_level")?;
    set.sched_relax_domain_level = level
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or_default();
    Ok(())
}

fn memory(files: &Files, stats: &mut Stats) -> Result<(), CgroupError> {
    let Some(text) = files.text("memory.stat")? else {
        return Ok(());
    };
    let memory = &mut stats.memory;
    memory.cache = parse::value_of(&text, "cache");
    memory.raw = parse::keyed(&text)
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    memory.usage = entry(files, "memory")?;
    memory.swap = entry(files, "memory.memsw")?;
    memory.kernel = entry(files, "memory.kmem")?;
    memory.kernel_tcp = entry(files, "memory.kmem.tcp")?;
    Ok(())
}

/// Swap and the kernel's memory are counted by kernels that are built so.
fn entry(files: &Files, name: &str) -> Result<MemoryEntry, CgroupError> {
    let Some(usage) = files.number(&format!("{name}.usage_in_bytes"))? else {
        return Ok(MemoryEntry::default());
    };
    Ok(MemoryEntry {
        limit: files.count(&format!("{name}.limit_in_bytes"))?,
        usage,
        max: files.count(&format!("{name}.max_usage_in_bytes"))?,
        failcnt: files.count(&format!("{name}.failcnt"))?,
    })
}

fn pids(files: &Files, stats: &mut Stats) -> Result<(), CgroupError> {
    stats.pids.current = files.count("pids.current")?;
    stats.pids.limit = files
        .number("pids.max")?
        .filter(|n| *n != u64::MAX)
        .unwrap_or_default();
    Ok(())
}

/// The names of each kind of counters, the best first: those of the BFQ scheduler, of CFQ before
/// Linux 5.0, of the throttle. The first that counts a device is taken.
const OPERATIONS: [&str; 4] = [
    "blkio.bfq.io_serviced_recursive",
    "blkio.io_serviced_recursive",
    "blkio.throttle.io_serviced_recursive",
    "blkio.throttle.io_serviced",
];
const BYTES: [&str; 4] = [
    "blkio.bfq.io_service_bytes_recursive",
    "blkio.io_service_bytes_recursive",
    "blkio.throttle.io_service_bytes_recursive",
    "blkio.throttle.io_service_bytes",
];

fn blkio(files: &Files, blkio: &mut Blkio) -> Result<(), CgroupError> {
    blkio.io_serviced_recursive = first_of(files, &OPERATIONS)?;
    blkio.io_service_bytes_recursive = first_of(files, &BYTES)?;
    for (name, table) in [
        ("sectors", &mut blkio.sectors_recursive),
        ("io_service_time", &mut blkio.io_service_time_recursive),
        ("io_wait_time", &mut blkio.io_wait_time_recursive),
        ("io_merged", &mut blkio.io_merged_recursive),
        ("io_queued", &mut blkio.io_queued_recursive),
        ("time", &mut blkio.io_time_recursive),
    ] {
        let bfq = format!("blkio.bfq.{name}_recursive");
        let cfq = format!("blkio.{name}_recursive");
        *table = first_of(files, &[&bfq, &cfq])?;
    }
    Ok(())
}

fn first_of(files: &Files, names: &[&str]) -> Result<Vec<BlkioEntry>, CgroupError> {
    for name in names {
        let entries = files.text(name)?.map(|text| parse::blkio(&text));
        if let Some(entries) = entries.filter(|entries| !entries.is_empty()) {
            return Ok(entries);
        }
    }
    Ok(Vec::new())
}

fn hugetlb(files: &Files, stats: &mut Stats) -> Result<(), CgroupError> {
    for size in huge_pages() {
        // Reservations are counted apart since Linux 5.7.
        for prefix in [format!("hugetlb.{size}.rsvd"), format!("hugetlb.{size}")] {
            let Some(usage) = files.number(&format!("{prefix}.usage_in_bytes"))? else {
                continue;
            };
            let pages = Hugetlb {
                usage,
                max: files.count(&format!("{prefix}.max_usage_in_bytes"))?,
                failcnt: files.count(&format!("{prefix}.failcnt"))?,
            };
            stats.hugetlb.insert(size, pages);
            break;
        }
    }
    Ok(())
}
