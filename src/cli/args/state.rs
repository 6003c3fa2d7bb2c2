//! `corten state`.

use super::{Definition, Verb, flag};

/// Arguments of `corten state`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The container.
    pub id: String,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "state",
    define: |command| {
        command
            .about("Print the state of a container as JSON")
            .arg(flag::id())
            .after_help("Example:\n  corten state web | jq -r .status")
    },
    read: |mut matches| {
        Verb::State(State {
            id: flag::take_id(&mut matches),
        })
    },
};
