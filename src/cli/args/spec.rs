//! `corten spec`.

use std::path::PathBuf;

use super::{Definition, Verb, flag};

/// Arguments of `corten spec`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spec {
    /// `--bundle`: where config.json is written; the current directory if absent.
    pub bundle: Option<PathBuf>,
    /// `--file`: the file's name, if not config.json.
    pub file: Option<PathBuf>,
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
            .arg(flag::path("file", "FILE", "File to write [default: config.json]").short('f'))
            .arg(flag::switch(
                "rootless",
                "Write one that an ordinary user can run",
            ))
            .after_help("Example:\n  corten spec --bundle /srv/hello")
    },
    read: |mut matches| {
        Verb::Spec(Spec {
            bundle: flag::take_path(&mut matches, "bundle"),
            file: flag::take_path(&mut matches, "file"),
            rootless: flag::is_on(&matches, "rootless"),
        })
    },
};
