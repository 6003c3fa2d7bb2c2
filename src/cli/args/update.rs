//! `corten update`.

use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command, value_parser};

use super::size::parse_size;
use super::{Definition, Verb, flag};

/// Arguments of `corten update`. What is not given stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Update {
    /// The container.
    pub id: String,
    /// `--resources`.
    pub resources: Option<PathBuf>,
    /// `--devices`.
    pub devices: bool,
    /// `--blkio-weight`.
    pub blkio_weight: Option<u16>,
    /// `--cpu-period`, microseconds.
    pub cpu_period: Option<u64>,
    /// `--cpu-quota`, microseconds.
    pub cpu_quota: Option<i64>,
    /// `--cpu-burst`, microseconds.
    pub cpu_burst: Option<u64>,
    /// `--cpu-share`.
    pub cpu_share: Option<u64>,
    /// `--cpu-rt-period`, microseconds.
    pub cpu_rt_period: Option<u64>,
    /// `--cpu-rt-runtime`, microseconds.
    pub cpu_rt_runtime: Option<i64>,
    /// `--cpu-idle`.
    pub cpu_idle: Option<i64>,
    /// `--cpuset-cpus`.
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`.
    pub cpuset_mems: Option<String>,
    /// `--memory`, bytes.
    pub memory: Option<i64>,
    /// `--memory-reservation`, bytes.
    pub memory_reservation: Option<i64>,
    /// `--memory-swap`, bytes.
    pub memory_swap: Option<i64>,
    /// `--pids-limit`.
    pub pids_limit: Option<i64>,
    /// `--l3-cache-schema`.
    pub l3_cache_schema: Option<String>,
    /// `--mem-bw-schema`.
    pub mem_bw_schema: Option<String>,
    /// Which of the two flags were given that mean nothing any more.
    pub ignored: Vec<&'static str>,
}

/// runc takes them and warns.
const IGNORED: [&str; 2] = ["kernel-memory", "kernel-memory-tcp"];

pub(super) const DEFINITION: Definition = Definition {
    name: "update",
    define,
    read: |mut matches| Verb::Update(Box::new(read(&mut matches))),
};

fn value(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .allow_hyphen_values(true)
}

fn number(name: &'static str, what: &'static str, help: &'static str, parser: ValueParser) -> Arg {
    value(name, what, help).value_parser(parser)
}

fn size(name: &'static str, help: &'static str) -> Arg {
    value(name, "BYTES", help).value_parser(ValueParser::new(parse_size))
}

fn define(command: Command) -> Command {
    let unsigned = || ValueParser::from(value_parser!(u64));
    let signed = || ValueParser::from(value_parser!(i64));
    command
        .about("Change the limits of a container")
        .arg(
            flag::path(
                "resources",
                "FILE",
                "linux.resources as JSON (-: stdin), instead of the flags",
            )
            .short('r')
            .allow_hyphen_values(true),
        )
        .arg(flag::switch(
            "devices",
            "Replace the device rules, too, by those in FILE",
        ))
        .arg(number(
            "blkio-weight",
            "WEIGHT",
            "Share of block I/O, 10 to 1000",
            value_parser!(u16).into(),
        ))
        .arg(number(
            "cpu-period",
            "MICROSECONDS",
            "Period that the quota is for",
            unsigned(),
        ))
        .arg(number(
            "cpu-quota",
            "MICROSECONDS",
            "CPU time in each period; negative: no limit",
            signed(),
        ))
        .arg(number(
            "cpu-burst",
            "MICROSECONDS",
            "CPU time that may be saved up",
            unsigned(),
        ))
        .arg(number(
            "cpu-share",
            "SHARES",
            "Share of CPU time, 2 to 262144",
            unsigned(),
        ))
        .arg(number(
            "cpu-rt-period",
            "MICROSECONDS",
            "Period of the real-time limit (cgroup v1)",
            unsigned(),
        ))
        .arg(number(
            "cpu-rt-runtime",
            "MICROSECONDS",
            "Real-time CPU time in each period (cgroup v1)",
            signed(),
        ))
        .arg(number(
            "cpu-idle",
            "0|1",
            "1: runs only when nobody else wants the CPU",
            signed(),
        ))
        .arg(value(
            "cpuset-cpus",
            "LIST",
            "CPUs that may be used, such as 0-3,7",
        ))
        .arg(value(
            "cpuset-mems",
            "LIST",
            "Memory nodes that may be used",
        ))
        .arg(size(
            "memory",
            "Limit of memory; suffix k, m, g or t; -1: no limit",
        ))
        .arg(size("memory-reservation", "Soft limit of memory"))
        .arg(size("memory-swap", "Limit of memory and swap together"))
        .arg(number(
            "pids-limit",
            "COUNT",
            "Limit of processes and threads; -1: no limit",
            signed(),
        ))
        .arg(value(
            "l3-cache-schema",
            "LINES",
            "Lines for the L3 cache of its Intel RDT group",
        ))
        .arg(value(
            "mem-bw-schema",
            "LINE",
            "The line for memory bandwidth of that group",
        ))
        .args(
            IGNORED.map(|name| {
                value(name, "BYTES", "Ignored: the kernel has no such limit").hide(true)
            }),
        )
        .arg(flag::id())
        .after_help(
            "Example:\n  corten update --memory 512m --memory-swap 1g --cpu-quota 50000 web",
        )
}

fn read(matches: &mut ArgMatches) -> Update {
    let given = |name: &&&str| matches.contains_id(name);
    let ignored = IGNORED.iter().filter(given).copied().collect();
    // An empty text is none, as in runc.
    let mut text = |name: &str| {
        let text: Option<String> = matches.remove_one(name);
        text.filter(|text| !text.is_empty())
    };
    let (cpuset_cpus, cpuset_mems) = (text("cpuset-cpus"), text("cpuset-mems"));
    let (l3_cache_schema, mem_bw_schema) = (text("l3-cache-schema"), text("mem-bw-schema"));
    Update {
        id: flag::take_id(matches),
        resources: flag::take_path(matches, "resources")
            .filter(|path| !path.as_os_str().is_empty()),
        devices: flag::is_on(matches, "devices"),
        blkio_weight: matches.remove_one("blkio-weight"),
        cpu_period: matches.remove_one("cpu-period"),
        cpu_quota: matches.remove_one("cpu-quota"),
        cpu_burst: matches.remove_one("cpu-burst"),
        cpu_share: matches.remove_one("cpu-share"),
        cpu_rt_period: matches.remove_one("cpu-rt-period"),
        cpu_rt_runtime: matches.remove_one("cpu-rt-runtime"),
        cpu_idle: matches.remove_one("cpu-idle"),
        cpuset_cpus,
        cpuset_mems,
        memory: matches.remove_one("memory"),
        memory_reservation: matches.remove_one("memory-reservation"),
        memory_swap: matches.remove_one("memory-swap"),
        pids_limit: matches.remove_one("pids-limit"),
        l3_cache_schema,
        mem_bw_schema,
        ignored,
    }
}
