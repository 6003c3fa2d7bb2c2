//! `corten delete`.

use super::{Definition, Verb, flag};

/// Arguments of `corten delete`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delete {
    /// The containers, at least one.
    pub ids: Vec<String>,
    /// `--force`: kill what still runs, and take an unknown id for deleted.
    pub force: bool,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "delete",
    define: |command| {
        command
            .about("Remove what is left of a container")
            .arg(flag::switch("force", "Kill it first if it still runs").short('f'))
            .arg(flag::ids())
            .after_help("Example:\n  corten delete --force web")
    },
    read: |mut matches| {
        Verb::Delete(Delete {
            ids: flag::take_ids(&mut matches),
            force: flag::is_on(&matches, "force"),
        })
    },
};
