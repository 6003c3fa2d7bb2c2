//! `corten list`.

use clap::Arg;

use super::{Definition, Verb, flag};

/// Arguments of `corten list`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct List {
    /// `--format`.
    pub format: ListFormat,
    /// `--quiet`: only the ids, one a line.
    pub quiet: bool,
}

/// How `corten list` and `corten ps` print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListFormat {
    /// Columns for people.
    #[default]
    Table,
    /// One JSON array.
    Json,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "list",
    define: |command| {
        command
            .about("List the containers of the state directory")
            .arg(format())
            .arg(flag::switch("quiet", "Print only the ids").short('q'))
            .after_help("Example:\n  corten --root /run/corten list --format json")
    },
    read: |mut matches| {
        Verb::List(List {
            format: matches.remove_one("format").unwrap_or_default(),
            quiet: flag::is_on(&matches, "quiet"),
        })
    },
};

/// `--format`; [`super::Ps`] has it too.
pub(super) fn format() -> Arg {
    Arg::new("format")
        .long("format")
        .short('f')
        .value_name("FORMAT")
        .help("table or json [default: table]")
        .value_parser(parse_format)
}

pub(super) fn parse_format(word: &str) -> Result<ListFormat, &'static str> {
    match word {
        "table" => Ok(ListFormat::Table),
        "json" => Ok(ListFormat::Json),
        _ => Err("use table or json"),
    }
}
