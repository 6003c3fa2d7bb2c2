//! The few shapes of flags and positionals that the verbs are made of, and
//! how their values are read back from clap.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

/// A flag that is on or off.
pub fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::SetTrue)
}

/// A flag with a path for value.
pub fn path(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .value_parser(ValueParser::os_string())
}

/// `--console-socket`.
pub fn console_socket() -> Arg {
    path(
        "console-socket",
        "PATH",
        "AF_UNIX socket that gets the master of the terminal",
    )
}

/// `--preserve-fds`.
pub fn preserve_fds() -> Arg {
    Arg::new("preserve-fds")
        .long("preserve-fds")
        .value_name("N")
        .help("Pass N descriptors more than stdio and $LISTEN_FDS")
        .allow_negative_numbers(true)
        .value_parser(value_parser!(u32))
}

/// The positional container id; what an id may look like is checked elsewhere.
pub fn id() -> Arg {
    Arg::new("id")
        .value_name("CONTAINER-ID")
        .help("Name of the container")
        .required(true)
}

/// One or more container ids.
pub fn ids() -> Arg {
    id().num_args(1..).help("Names of the containers")
}

/// `--regex`.
pub fn regex() -> Arg {
    let help = "The name is a regular expression (POSIX, extended): all whose name matches";
    switch("regex", help).short('r')
}

/// Whether a [`switch`] is on.
pub fn is_on(matches: &ArgMatches, name: &str) -> bool {
    matches.get_one::<bool>(name).copied().unwrap_or(false)
}

/// The value of a [`path`], if it was given.
pub fn take_path(matches: &mut ArgMatches, name: &str) -> Option<PathBuf> {
    matches.remove_one::<OsString>(name).map(PathBuf::from)
}

/// The value of [`id`]; clap does not return without it.
pub fn take_id(matches: &mut ArgMatches) -> String {
    matches.remove_one("id").unwrap_or_default()
}

/// The values of [`ids`].
pub fn take_ids(matches: &mut ArgMatches) -> Vec<String> {
    matches
        .remove_many("id")
        .map(Iterator::collect)
        .unwrap_or_default()
}

/// A boolean in the words that Go's `strconv.ParseBool` takes.
pub fn parse_bool(word: &str) -> Result<bool, &'static str> {
    match word {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("use true or false"),
    }
}
