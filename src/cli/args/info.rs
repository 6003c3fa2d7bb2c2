//! `corten info`, also called `doctor`.

use super::{Definition, Verb, flag};

/// Arguments of `corten info`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Info {
    /// `--json`.
    pub json: bool,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "info",
    define: |command| {
        command
            .about("Say what the host has of what Corten uses, and what is in the way")
            .visible_alias("doctor")
            .arg(flag::switch("json", "Print JSON"))
            .after_help("Example:\n  corten info | grep -v ' ok '")
    },
    read: |matches| {
        Verb::Info(Info {
            json: flag::is_on(&matches, "json"),
        })
    },
};
