//! `corten pause`.

use super::{Definition, Verb, flag};

/// Arguments of `corten pause`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pause {
    /// The container.
    pub id: String,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "pause",
    define: |command| {
        command
            .about("Stop all processes of a container where they stand")
            .arg(flag::id())
            .after_help("Example:\n  corten pause web")
    },
    read: |mut matches| {
        Verb::Pause(Pause {
            id: flag::take_id(&mut matches),
        })
    },
};
