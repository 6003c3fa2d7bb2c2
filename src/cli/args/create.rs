//! `corten create`, and the flags that `run` has in common with it.

use std::path::PathBuf;

use clap::{Arg, ArgMatches};

use super::{Definition, Verb, flag};

/// Arguments of `corten create`.
#[derive(Debug, Clone, PartialEq)]
pub struct Create {
    /// Name of the new container, not yet checked.
    pub id: String,
    /// `--bundle`: directory with config.json; the current one by default.
    pub bundle: PathBuf,
    /// `--config`: the file to read in place of the bundle's config.json.
    pub config: Option<PathBuf>,
    /// `--console-socket`: AF_UNIX socket that gets the master of the terminal.
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`: AF_UNIX socket that gets a pidfd of the init.
    pub pidfd_socket: Option<PathBuf>,
    /// `--pid-file`: file that gets the init's pid.
    pub pid_file: Option<PathBuf>,
    /// `--no-pivot`: change the root without pivot_root(2).
    pub no_pivot: bool,
    /// `--no-new-keyring`: keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// `--preserve-fds`: descriptors passed on after stdio and `$LISTEN_FDS`.
    pub preserve_fds: u32,
}

impl Default for Create {
    fn default() -> Self {
        Create {
            id: String::new(),
            bundle: PathBuf::from("."),
            config: None,
            console_socket: None,
            pidfd_socket: None,
            pid_file: None,
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
        }
    }
}

impl Create {
    /// Sets `--bundle`; an empty path means the current directory, as in runc.
    pub(super) fn set_bundle(&mut self, bundle: PathBuf) {
        self.bundle = if bundle.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            bundle
        };
    }
}

pub(super) const DEFINITION: Definition = Definition {
    name: "create",
    define: |command| {
        command
            .about("Create a container that waits for 'corten start'")
            .args(flags())
            // crun takes it, and it means nothing there either.
            .arg(flag::switch("no-subreaper", "Has no effect: create waits for nothing").hide(true))
            .arg(flag::id())
            .after_help("Example:\n  corten create --bundle /srv/web --pid-file /run/web.pid web")
    },
    read: |mut matches| Verb::Create(read(&mut matches)),
};

/// The flags of `create`, all of which `run` has too.
pub(super) fn flags() -> [Arg; 8] {
    [
        flag::path(
            "bundle",
            "DIR",
            "Directory with config.json [default: the current one]",
        )
        .short('b'),
        flag::path(
            "config",
            "FILE",
            "Configuration to read [default: the bundle's config.json]",
        )
        .short('f'),
        flag::console_socket(),
        flag::path(
            "pidfd-socket",
            "PATH",
            "AF_UNIX socket that gets a pidfd of the container",
        ),
        flag::path(
            "pid-file",
            "FILE",
            "Write the container's process id to this file",
        ),
        flag::switch(
            "no-pivot",
            "Do without pivot_root (root file system on a ramdisk; less safe)",
        ),
        flag::switch("no-new-keyring", "Keep the caller's session keyring"),
        flag::preserve_fds(),
    ]
}

/// Reads [`flags`] and the id.
pub(super) fn read(matches: &mut ArgMatches) -> Create {
    let mut create = Create {
        id: flag::take_id(matches),
        config: flag::take_path(matches, "config"),
        console_socket: flag::take_path(matches, "console-socket"),
        pidfd_socket: flag::take_path(matches, "pidfd-socket"),
        pid_file: flag::take_path(matches, "pid-file"),
        no_pivot: flag::is_on(matches, "no-pivot"),
        no_new_keyring: flag::is_on(matches, "no-new-keyring"),
        preserve_fds: matches.remove_one("preserve-fds").unwrap_or_default(),
        ..Create::default()
    };
    if let Some(bundle) = flag::take_path(matches, "bundle") {
        create.set_bundle(bundle);
    }
    create
}
