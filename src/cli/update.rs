//! `update`.

use std::path::Path;

use anyhow::Result;

use super::args::{Global, Update};
use super::{context, read_file};
use crate::config;
use crate::config::spec::{BlockIo, Cpu, IntelRdt, Memory, Pids, Resources, Text};
use crate::container::update::{Change, update as change_limits};

/// Which member of config.json each flag stands for.
const FLAGS: [(&str, &str); 16] = [
    ("/linux/resources/blockIO/weight", "--blkio-weight"),
    ("/linux/resources/cpu/period", "--cpu-period"),
    ("/linux/resources/cpu/quota", "--cpu-quota"),
    ("/linux/resources/cpu/burst", "--cpu-burst"),
    ("/linux/resources/cpu/shares", "--cpu-share"),
    ("/linux/resources/cpu/realtimePeriod", "--cpu-rt-period"),
    ("/linux/resources/cpu/realtimeRuntime", "--cpu-rt-runtime"),
    ("/linux/resources/cpu/idle", "--cpu-idle"),
    ("/linux/resources/cpu/cpus", "--cpuset-cpus"),
    ("/linux/resources/cpu/mems", "--cpuset-mems"),
    ("/linux/resources/memory/limit", "--memory"),
    (
        "/linux/resources/memory/reservation",
        "--memory-reservation",
    ),
    ("/linux/resources/memory/swap", "--memory-swap"),
    ("/linux/resources/pids/limit", "--pids-limit"),
    ("/linux/intelRdt/l3CacheSchema", "--l3-cache-schema"),
    ("/linux/intelRdt/memBwSchema", "--mem-bw-schema"),
];

/// Changes the limits of a container.
///
/// # Errors
/// What is wrong or refused; its limits are the former ones then.
pub fn update(global: &Global, args: &Update) -> Result<()> {
    let entry = context::entry(global, &args.id)?;
    for flag in &args.ignored {
        log::warn!("Setting --{flag} is ignored and will be removed");
    }
    let file = args.resources.as_deref();
    let text = match file {
        Some(path) => read_file::read(path, "resources")?,
        None => Vec::new(),
    };
    let resources = match file {
        Some(path) => config::parse_resources(&text)
            .map_err(|error| error.in_file(path.display().to_string()))?,
        None => of_flags(args),
    };
    let change = Change {
        resources,
        devices: args.devices,
        rdt: rdt_of(args),
    };
    let name = |pointer: &str| named(file, pointer);
    for warning in change_limits(&entry, &change).map_err(|error| error.renamed(name))? {
        match warning.split_once(": ") {
            Some((pointer, rest)) => log::warn!("{}: {rest}", name(pointer)),
            None => log::warn!("{warning}"),
        }
    }
    Ok(())
}

/// What the user knows a member of config.json by: his flag, or its place in his file.
fn named(file: Option<&Path>, pointer: &str) -> String {
    let flag = FLAGS.iter().find(|(known, _)| *known == pointer);
    match (file, pointer.strip_prefix("/linux/resources"), flag) {
        (Some(file), Some(pointer), _) => format!("{}: {pointer}", file.display()),
        (_, _, Some((_, flag))) => (*flag).to_owned(),
        _ => pointer.to_owned(),
    }
}

fn of_flags(args: &Update) -> Resources<'static> {
    let text = |text: &Option<String>| text.clone().map(Text::from);
    let cpu = Cpu {
        shares: unsigned(args.cpu_share),
        quota: args.cpu_quota,
        burst: unsigned(args.cpu_burst),
        period: unsigned(args.cpu_period),
        realtime_runtime: args.cpu_rt_runtime,
        realtime_period: unsigned(args.cpu_rt_period),
        cpus: text(&args.cpuset_cpus),
        mems: text(&args.cpuset_mems),
        idle: args.cpu_idle,
    };
    let memory = Memory {
        limit: args.memory,
        reservation: args.memory_reservation,
        swap: args.memory_swap,
        ..Memory::default()
    };
    let block_io = BlockIo {
        weight: args
            .blkio_weight
            .and_then(|weight| u16::try_from(weight).ok()),
        ..BlockIo::default()
    };
    let pids = Pids {
        limit: args.pids_limit,
    };
    Resources {
        cpu: given(cpu),
        memory: given(memory),
        block_io: given(block_io),
        pids: given(pids),
        ..Resources::default()
    }
}

/// The flag takes no negative number.
fn unsigned(number: Option<i64>) -> Option<u64> {
    number.map(i64::unsigned_abs)
}

/// A section in which something stands.
fn given<T: Default + PartialEq>(section: T) -> Option<T> {
    (section != T::default()).then_some(section)
}

fn rdt_of(args: &Update) -> Option<IntelRdt<'static>> {
    let text = |text: &Option<String>| text.clone().map(Text::from);
    given(IntelRdt {
        l3_cache_schema: text(&args.l3_cache_schema),
        mem_bw_schema: text(&args.mem_bw_schema),
        ..IntelRdt::default()
    })
}
