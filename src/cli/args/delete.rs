//! `corten delete`.

use super::{Definition, Verb, flag};

/// Arguments of `corten delete`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delete {
    /// The containers, at least one; with `--regex` what their names match.
    pub ids: Vec<String>,
    /// `--regex`: the names are regular expressions.
    pub regex: bool,
    /// `--force`: kill what still runs, and take an unknown id for deleted.
    pub force: bool,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "delete",
    define: |command| {
        command
            .about("Remove what is left of containers")
            .arg(flag::switch("force", "Kill it first if it still runs").short('f'))
            .arg(flag::regex())
            .arg(flag::ids())
            .after_help("Example:\n  corten delete --force web")
    },
    read: |mut matches| {
        Verb::Delete(Delete {
            ids: flag::take_ids(&mut matches),
            regex: flag::is_on(&matches, "regex"),
            force: flag::is_on(&matches, "force"),
        })
    },
};
