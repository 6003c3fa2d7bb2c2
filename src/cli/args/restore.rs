//! `corten restore`.

use clap::{Arg, ArgMatches};

use super::{Create, Definition, Verb, checkpoint, create, flag};
use crate::checkpoint::Options;

/// Arguments of `corten restore`.
#[derive(Debug, PartialEq)]
pub struct Restore {
    /// What it has in common with `create`.
    pub create: Create,
    /// What it has in common with `checkpoint`.
    pub options: Options,
    /// `--detach`: return when the container runs.
    pub detach: bool,
    /// `--no-subreaper`: do not adopt orphans of the container.
    pub no_subreaper: bool,
    /// `--tcp-close`: close TCP connections.
    pub tcp_close: bool,
    /// `--lsm-profile`: label of the processes in place of theirs.
    pub lsm_profile: Option<String>,
    /// `--lsm-mount-context`: SELinux context of the mounts in place of theirs.
    pub lsm_mount_context: Option<String>,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "restore",
    define: |command| {
        command
            .about("Run a container from a checkpoint on disk (needs CRIU)")
            .args(checkpoint::images())
            .args(own())
            .arg(flag::id())
            .after_help(
                "Example:\n  corten restore --bundle /srv/web --image-path /srv/checkpoint --detach web",
            )
    },
    read: |mut matches| Verb::Restore(read(&mut matches)),
};

fn own() -> Vec<Arg> {
    let shared = ["bundle", "console-socket", "pid-file"];
    let mut args: Vec<Arg> = create::flags()
        .into_iter()
        .filter(|arg| shared.contains(&arg.get_id().as_str()))
        .collect();
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    args.extend([
        flag::switch("detach", "Return as soon as the container runs").short('d'),
        flag::switch(
            "no-subreaper",
            "Do not adopt processes orphaned by the container",
        ),
        flag::switch(
            "no-pivot",
            "Taken for runc's sake: CRIU changes the root itself",
        )
        .hide(true),
        flag::switch("tcp-close", "Close the TCP connections of the checkpoint"),
        text(
            "lsm-profile",
            "TYPE:LABEL",
            "Label of the processes: apparmor:PROFILE or selinux:CONTEXT",
        ),
        text(
            "lsm-mount-context",
            "CONTEXT",
            "SELinux context of the mounts, in place of the checkpoint's",
        ),
    ]);
    args
}

fn read(matches: &mut ArgMatches) -> Restore {
    let mut create = Create {
        id: flag::take_id(matches),
        console_socket: flag::take_path(matches, "console-socket"),
        pid_file: flag::take_path(matches, "pid-file"),
        ..Create::default()
    };
    if let Some(bundle) = flag::take_path(matches, "bundle") {
        create.set_bundle(bundle);
    }
    let mut text = |name| {
        matches
            .remove_one(name)
            .filter(|text: &String| !text.is_empty())
    };
    let lsm_profile = text("lsm-profile");
    let lsm_mount_context = text("lsm-mount-context");
    Restore {
        create,
        options: checkpoint::read_images(matches),
        detach: flag::is_on(matches, "detach"),
        no_subreaper: flag::is_on(matches, "no-subreaper"),
        tcp_close: flag::is_on(matches, "tcp-close"),
        lsm_profile,
        lsm_mount_context,
    }
}
