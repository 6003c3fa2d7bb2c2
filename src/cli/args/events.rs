//! `corten events`.

use std::time::Duration;

use clap::Arg;
use clap::builder::ValueParser;

use super::duration::parse_duration;
use super::size::Parse;
use super::{Definition, Verb, flag};

/// Arguments of `corten events`.
#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    /// The container.
    pub id: String,
    /// `--interval`.
    pub interval: Duration,
    /// `--stats`.
    pub stats: bool,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "events",
    define: |command| {
        command
            .about("Print what a container uses and when it runs out of memory, one JSON object a line")
            .arg(
                Arg::new("interval")
                    .long("interval")
                    .value_name("DURATION")
                    .help("Time between two lines, such as 100ms or 1m30s")
                    .default_value("5s")
                    .allow_hyphen_values(true)
                    .value_parser(ValueParser::new(parse_interval as Parse)),
            )
            .arg(flag::switch("stats", "Print the statistics once and end"))
            .arg(flag::id())
            .after_help("Example:\n  corten events --interval 1s web")
    },
    read: |mut matches| {
        Verb::Events(Events {
            id: flag::take_id(&mut matches),
            interval: matches
                .remove_one("interval")
                .map_or(Duration::ZERO, |nanoseconds: i64| {
                    Duration::from_nanos(nanoseconds.unsigned_abs())
                }),
            stats: flag::is_on(&matches, "stats"),
        })
    },
};

/// Nanoseconds: the type that the numbers of `update` have.
fn parse_interval(text: &str) -> Result<i64, &'static str> {
    match parse_duration(text)? {
        nanoseconds if nanoseconds > 0 => Ok(nanoseconds),
        // runc's words.
        _ => Err("duration interval must be greater than 0"),
    }
}
