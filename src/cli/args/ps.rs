//! `corten ps`.

use std::ffi::OsString;

use clap::Arg;
use clap::builder::ValueParser;

use super::{Definition, ListFormat, Verb, flag, list};

/// Arguments of `corten ps`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ps {
    /// The container.
    pub id: String,
    /// `--format`.
    pub format: ListFormat,
    /// What the host's ps(1) gets; nothing stands for `-ef`.
    pub options: Vec<OsString>,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "ps",
    define: |command| {
        command
            .about("Print the processes of a container, as the host numbers them")
            .arg(list::format())
            .arg(flag::id())
            .arg(
                Arg::new("options")
                    .value_name("PS-OPTION")
                    .help("Options of the host's ps, whose output must have a column PID [default: -ef]")
                    .num_args(0..)
                    .trailing_var_arg(true)
                    .allow_hyphen_values(true)
                    .value_parser(ValueParser::os_string()),
            )
            .after_help("Example:\n  corten ps web -eo pid,stat,args")
    },
    read: |mut matches| {
        Verb::Ps(Ps {
            id: flag::take_id(&mut matches),
            format: matches.remove_one("format").unwrap_or_default(),
            options: matches
                .remove_many("options")
                .map(Iterator::collect)
                .unwrap_or_default(),
        })
    },
};
