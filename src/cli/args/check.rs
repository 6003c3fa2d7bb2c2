//! `corten check`.

use std::path::PathBuf;

use super::{Definition, Verb, flag};

/// Arguments of `corten check`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Check {
    /// `--bundle`: the current directory if absent.
    pub bundle: Option<PathBuf>,
    /// `--plan`: print what would be done too.
    pub plan: bool,
    /// `--json`.
    pub json: bool,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "check",
    define: |command| {
        command
            .about("Say what is wrong with a bundle, on this host; nothing is made")
            .arg(
                flag::path(
                    "bundle",
                    "DIR",
                    "Directory with config.json [default: the current one]",
                )
                .short('b'),
            )
            .arg(flag::switch("plan", "Print what would be done too"))
            .arg(flag::switch("json", "Print JSON"))
            .after_help("Example:\n  corten check --bundle /srv/hello --plan")
    },
    read: |mut matches| {
        Verb::Check(Check {
            bundle: flag::take_path(&mut matches, "bundle"),
            plan: flag::is_on(&matches, "plan"),
            json: flag::is_on(&matches, "json"),
        })
    },
};
