//! `corten start`.

use super::{Definition, Verb, flag};

/// Arguments of `corten start`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Start {
    /// The created containers, at least one, started in this order.
    pub ids: Vec<String>,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "start",
    define: |command| {
        command
            .about("Run the program of a created container")
            .arg(flag::ids())
            .after_help("Example:\n  corten start web")
    },
    read: |mut matches| {
        Verb::Start(Start {
            ids: flag::take_ids(&mut matches),
        })
    },
};
