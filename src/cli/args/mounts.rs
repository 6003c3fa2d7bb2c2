//! `corten mounts`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Arg;
use clap::builder::ValueParser;

use super::{Definition, Verb, flag};

/// Arguments of `corten mounts`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mounts {
    /// What is done.
    pub action: MountsAction,
    /// The container.
    pub id: String,
    /// The file with the mounts; `-` is standard input.
    pub file: PathBuf,
}

/// The first word after `corten mounts`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MountsAction {
    /// Mount what the file lists.
    #[default]
    Add,
    /// Unmount what is mounted on the destinations that it lists.
    Remove,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "mounts",
    define: |command| {
        command
            .about("Add mounts to a container that runs, or remove them")
            .arg(
                Arg::new("action")
                    .value_name("ACTION")
                    .help("add or remove")
                    .required(true)
                    .value_parser(parse_action),
            )
            .arg(flag::id())
            .arg(
                Arg::new("file")
                    .value_name("FILE")
                    .help("JSON with \"mounts\" as in config.json, '-' for stdin; remove: destinations")
                    .required(true)
                    .value_parser(ValueParser::os_string()),
            )
            .after_help("Example:\n  corten mounts add web data.json")
    },
    read: |mut matches| {
        Verb::Mounts(Mounts {
            action: matches.remove_one("action").unwrap_or_default(),
            id: flag::take_id(&mut matches),
            file: matches
                .remove_one::<OsString>("file")
                .map(PathBuf::from)
                .unwrap_or_default(),
        })
    },
};

fn parse_action(word: &str) -> Result<MountsAction, &'static str> {
    match word {
        "add" => Ok(MountsAction::Add),
        "remove" => Ok(MountsAction::Remove),
        _ => Err("use add or remove"),
    }
}
