//! `corten kill`.

use clap::Arg;

use super::{Definition, Signal, Verb, flag};

/// Arguments of `corten kill`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kill {
    /// The container; with `--regex` what the names of several match.
    pub id: String,
    /// `--regex`: the name is a regular expression.
    pub regex: bool,
    /// The signal; SIGTERM by default.
    pub signal: Signal,
    /// `--all`: send it to every process of the container.
    pub all: bool,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "kill",
    define: |command| {
        command
            .about("Send a signal to a container")
            .arg(flag::switch("all", "Send it to all processes of the container").short('a'))
            .arg(flag::regex())
            .arg(flag::id())
            .arg(
                Arg::new("signal")
                    .value_name("SIGNAL")
                    .help("Name with or without SIG (also RTMIN+N, RTMAX-N), or number [default: TERM]")
                    .allow_negative_numbers(true)
                    .value_parser(str::parse::<Signal>),
            )
            .after_help("Example:\n  corten kill web HUP")
    },
    read: |mut matches| {
        Verb::Kill(Kill {
            id: flag::take_id(&mut matches),
            regex: flag::is_on(&matches, "regex"),
            signal: matches.remove_one("signal").unwrap_or_default(),
            all: flag::is_on(&matches, "all"),
        })
    },
};
