//! `corten wait`.

use clap::Arg;

use super::{Definition, ListFormat, Verb, flag};

/// Arguments of `corten wait`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wait {
    /// The containers, at least one.
    pub ids: Vec<String>,
    /// `--status`: wait for this status instead of the end.
    pub status: Option<Awaited>,
    /// `--format`: exit codes as they are, or as JSON.
    pub format: ListFormat,
}

/// What `--status` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// It waits for `start`.
    Created,
    /// Its program runs.
    Running,
    /// It is frozen.
    Paused,
    /// Its init has ended.
    Stopped,
    /// It is no more.
    Deleted,
}

const STATUSES: [(&str, Awaited); 5] = [
    ("created", Awaited::Created),
    ("running", Awaited::Running),
    ("paused", Awaited::Paused),
    ("stopped", Awaited::Stopped),
    ("deleted", Awaited::Deleted),
];

impl Awaited {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        STATUSES
            .iter()
            .find(|(_, awaited)| *awaited == self)
            .map_or("", |(word, _)| word)
    }
}

pub(super) const DEFINITION: Definition = Definition {
    name: "wait",
    define: |command| {
        command
            .about("Wait until containers have ended; print and return their exit codes")
            .arg(
                Arg::new("status")
                    .long("status")
                    .value_name("STATUS")
                    .help("Wait until they are created, running, paused, stopped or deleted")
                    .value_parser(parse_status),
            )
            .arg(
                Arg::new("format")
                    .long("format")
                    .short('f')
                    .value_name("FORMAT")
                    .help("table (a line with the exit code for each) or json [default: table]")
                    .value_parser(super::list::parse_format),
            )
            .arg(flag::ids())
            .after_help(
                "Returns the exit code of the last one; 125 if an exit code cannot be known.\n\n\
                 Example:\n  corten wait web",
            )
    },
    read: |mut matches| {
        Verb::Wait(Wait {
            ids: flag::take_ids(&mut matches),
            status: matches.remove_one("status"),
            format: matches.remove_one("format").unwrap_or_default(),
        })
    },
};

fn parse_status(word: &str) -> Result<Awaited, &'static str> {
    let known = STATUSES.iter().find(|(known, _)| *known == word);
    known
        .map(|(_, awaited)| *awaited)
        .ok_or("use created, running, paused, stopped or deleted")
}
