//! `corten watch`.

use super::{Definition, ListFormat, Verb, flag, list};

/// Arguments of `corten watch`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watch {
    /// The containers; none stands for all.
    pub ids: Vec<String>,
    /// `--format`.
    pub format: ListFormat,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "watch",
    define: |command| {
        command
            .about("Print the state of containers, and each change of it as it happens")
            .arg(list::format().help("table or json, a line for each change [default: table]"))
            .arg(
                flag::ids()
                    .required(false)
                    .help("Names of the containers [default: all]"),
            )
            .after_help("Example:\n  corten watch --format json web")
    },
    read: |mut matches| {
        Verb::Watch(Watch {
            ids: flag::take_ids(&mut matches),
            format: matches.remove_one("format").unwrap_or_default(),
        })
    },
};
