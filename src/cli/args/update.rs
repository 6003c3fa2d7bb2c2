//! `corten update`.

use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use super::size::{Parse, parse_signed, parse_size, parse_unsigned, parse_weight};
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
    pub blkio_weight: Option<i64>,
    /// `--cpu-period`, microseconds.
    pub cpu_period: Option<i64>,
    /// `--cpu-quota`, microseconds.
    pub cpu_quota: Option<i64>,
    /// `--cpu-burst`, microseconds.
    pub cpu_burst: Option<i64>,
    /// `--cpu-share`.
    pub cpu_share: Option<i64>,
    /// `--cpu-rt-period`, microseconds.
    pub cpu_rt_period: Option<i64>,
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

/// How the value of a flag is read. All numbers have one type: clap's code for each type is
/// large.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number(Parse),
}

const SIZE: Kind = Kind::Number(parse_size);
const SIGNED: Kind = Kind::Number(parse_signed);
const UNSIGNED: Kind = Kind::Number(parse_unsigned);
const WEIGHT: Kind = Kind::Number(parse_weight);

/// Name, name of the value, help.
type Row = (&'static str, &'static str, &'static str, Kind);

const VALUES: [Row; 16] = [
    (
        "blkio-weight",
        "WEIGHT",
        "Share of block I/O, 10 to 1000",
        WEIGHT,
    ),
    (
        "cpu-period",
        "MICROSECONDS",
        "Period that the quota is for",
        UNSIGNED,
    ),
    (
        "cpu-quota",
        "MICROSECONDS",
        "CPU time in each period; negative: no limit",
        SIGNED,
    ),
    (
        "cpu-burst",
        "MICROSECONDS",
        "CPU time that may be saved up",
        UNSIGNED,
    ),
    (
        "cpu-share",
        "SHARES",
        "Share of CPU time, 2 to 262144",
        UNSIGNED,
    ),
    (
        "cpu-rt-period",
        "MICROSECONDS",
        "Period of the real-time limit (cgroup v1)",
        UNSIGNED,
    ),
    (
        "cpu-rt-runtime",
        "MICROSECONDS",
        "Real-time CPU time in each period (cgroup v1)",
        SIGNED,
    ),
    (
        "cpu-idle",
        "0|1",
        "1: runs only when nobody else wants the CPU",
        SIGNED,
    ),
    (
        "cpuset-cpus",
        "LIST",
        "CPUs that may be used, such as 0-3,7",
        Kind::Text,
    ),
    (
        "cpuset-mems",
        "LIST",
        "Memory nodes that may be used",
        Kind::Text,
    ),
    (
        "memory",
        "BYTES",
        "Limit of memory; suffix k, m, g or t; -1: no limit",
        SIZE,
    ),
    ("memory-reservation", "BYTES", "Soft limit of memory", SIZE),
    (
        "memory-swap",
        "BYTES",
        "Limit of memory and swap together",
        SIZE,
    ),
    (
        "pids-limit",
        "COUNT",
        "Limit of processes and threads; -1: no limit",
        SIGNED,
    ),
    (
        "l3-cache-schema",
        "LINES",
        "Lines for the L3 cache of its Intel RDT group",
        Kind::Text,
    ),
    (
        "mem-bw-schema",
        "LINE",
        "The line for memory bandwidth of that group",
        Kind::Text,
    ),
];

fn value((name, value, help, kind): Row) -> Arg {
    let parser = match kind {
        Kind::Text => ValueParser::string(),
        Kind::Number(parse) => ValueParser::new(parse),
    };
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .allow_hyphen_values(true)
        .value_parser(parser)
}

fn define(command: Command) -> Command {
    let file = flag::path(
        "resources",
        "FILE",
        "linux.resources as JSON (-: stdin), instead of the flags",
    );
    let ignored = |name| {
        (
            name,
            "BYTES",
            "Ignored: the kernel has no such limit",
            Kind::Text,
        )
    };
    command
        .about("Change the limits of a container")
        .arg(file.short('r').allow_hyphen_values(true))
        .arg(flag::switch(
            "devices",
            "Replace the device rules, too, by those in FILE",
        ))
        .args(VALUES.into_iter().map(value))
        .args(
            IGNORED
                .into_iter()
                .map(|name| value(ignored(name)).hide(true)),
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
