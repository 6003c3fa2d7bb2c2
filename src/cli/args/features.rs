//! `corten features`.

use super::{Definition, Verb};

pub(super) const DEFINITION: Definition = Definition {
    name: "features",
    define: |command| {
        command
            .about("Print what this runtime implements as JSON")
            .after_help("Example:\n  corten features | jq .linux.namespaces")
    },
    read: |_| Verb::Features,
};
