//! `corten spec`.

use std::path::PathBuf;

use super::{Definition, Verb, flag};

/// Arguments of `corten spec`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spec {
    /// `--bundle`: where config.json is written; the current directory if absent.
    pub bundle: Option<PathBuf>,
    /// `--rootless`: a configuration that an ordinary user can run.
    pub rootless: bool,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "spec",
    define: |command| {
        command
            .about("Write a config.json to begin with")
            .arg(
                flag::path(
                    "bundle",
                    "DIR",
                    "Directory to write to [default: the current one]",
                )
                .short('b'),
            )
            .arg(flag::switch(
                "rootless",
                "Write one that an ordinary user can run",
            ))
            .after_help("Example:\n  corten spec --bundle /srv/hello")
    },
    read: |mut matches| {
        Verb::Spec(Spec {
            bundle: flag::take_path(&mut matches, "bundle"),
            rootless: flag::is_on(&matches, "rootless"),
        })
    },
};
