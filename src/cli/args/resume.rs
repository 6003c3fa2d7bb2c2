//! `corten resume`.

use super::{Definition, Verb, flag};

/// Arguments of `corten resume`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resume {
    /// The container.
    pub id: String,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "resume",
    define: |command| {
        command
            .about("Let the processes of a paused container go on")
            .arg(flag::id())
            .after_help("Example:\n  corten resume web")
    },
    read: |mut matches| {
        Verb::Resume(Resume {
            id: flag::take_id(&mut matches),
        })
    },
};
