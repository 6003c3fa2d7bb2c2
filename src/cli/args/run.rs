//! `corten run`.

use super::{Create, Definition, Verb, create, flag};

/// Arguments of `corten run`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// What it has in common with `create`.
    pub create: Create,
    /// `--detach`: return when the program has started.
    pub detach: bool,
    /// `--keep`: do not delete the container when it has ended.
    pub keep: bool,
    /// `--no-subreaper`: do not adopt orphans of the container.
    pub no_subreaper: bool,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "run",
    define: |command| {
        command
            .about("Create and start a container, wait for its end and delete it")
            .args(create::flags())
            .arg(flag::switch("detach", "Return as soon as the program runs").short('d'))
            .arg(flag::switch(
                "keep",
                "Do not delete the container when it has ended",
            ))
            .arg(flag::switch(
                "no-subreaper",
                "Do not adopt processes orphaned by the container",
            ))
            .arg(flag::id())
            .after_help("Example:\n  corten run --bundle /srv/hello hello")
    },
    read: |mut matches| {
        Verb::Run(Run {
            detach: flag::is_on(&matches, "detach"),
            keep: flag::is_on(&matches, "keep"),
            no_subreaper: flag::is_on(&matches, "no-subreaper"),
            create: create::read(&mut matches),
        })
    },
};
