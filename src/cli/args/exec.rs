//! `corten exec`.

use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::{Definition, Verb, flag};

/// Arguments of `corten exec`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exec {
    /// The container.
    pub id: String,
    /// The program and its arguments; none with `--process`.
    pub args: Vec<String>,
    /// `--process`: file with the process as in config.json; `-` is standard input.
    pub process: Option<PathBuf>,
    /// `--cwd`: working directory.
    pub cwd: Option<String>,
    /// `--env`: further variables.
    pub env: Vec<String>,
    /// `--tty`: whether it gets a terminal; the container's own setting if not given.
    pub tty: Option<bool>,
    /// `--user`: user id and perhaps group id.
    pub user: Option<(u32, Option<u32>)>,
    /// `--additional-gids`: further groups.
    pub additional_gids: Vec<u32>,
    /// `--detach`: return when the program has started.
    pub detach: bool,
    /// `--console-socket`: AF_UNIX socket that gets the master of the terminal.
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`: AF_UNIX socket that gets a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// `--pid-file`: file that gets the pid.
    pub pid_file: Option<PathBuf>,
    /// `--process-label`: SELinux label.
    pub process_label: Option<String>,
    /// `--apparmor`: AppArmor profile.
    pub apparmor: Option<String>,
    /// `--no-new-privs`: the attribute; the container's own setting if not given.
    pub no_new_privs: Option<bool>,
    /// `--cap`: further capabilities.
    pub caps: Vec<String>,
    /// `--preserve-fds`: descriptors passed on after stdio and `$LISTEN_FDS`.
    pub preserve_fds: u32,
    /// `--cgroup`: cgroups beneath the container's.
    pub cgroups: Vec<String>,
    /// `--ignore-paused`: also in a paused container.
    pub ignore_paused: bool,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "exec",
    define: |command| {
        command
            .about("Run a further program in a container that runs")
            .args(streams())
            .args(identity())
            .arg(flag::id())
            .arg(
                Arg::new("args")
                    .value_name("COMMAND")
                    .help("The program and its arguments")
                    .num_args(0..)
                    .trailing_var_arg(true)
                    .allow_hyphen_values(true),
            )
            .after_help("Example:\n  corten exec --tty --env TERM=xterm web sh")
    },
    read: |mut matches| Verb::Exec(read(&mut matches)),
};

/// The flags about how it is run.
fn streams() -> Vec<Arg> {
    vec![
        flag::path(
            "process",
            "FILE",
            "Take the process from this file, '-' for stdin",
        )
        .short('p'),
        flag::switch("tty", "Give it a terminal").short('t'),
        flag::switch("detach", "Return as soon as the program runs").short('d'),
        flag::console_socket(),
        flag::path(
            "pidfd-socket",
            "PATH",
            "AF_UNIX socket that gets a pidfd of the process",
        ),
        flag::path("pid-file", "FILE", "Write the process id to this file"),
        flag::preserve_fds(),
        flag::switch(
            "ignore-paused",
            "Run it in a paused container too, where it waits",
        ),
        flag::switch(
            "no-subreaper",
            "Taken for runc's sake: exec adopts no orphans",
        )
        .hide(true),
    ]
}

/// The flags about who runs and where.
fn identity() -> Vec<Arg> {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    vec![
        text("cwd", "DIR", "Working directory inside the container"),
        text("env", "KEY=VALUE", "Set a variable (repeat)")
            .short('e')
            .action(ArgAction::Append),
        text("user", "UID[:GID]", "User and group, as numbers")
            .short('u')
            .value_parser(ValueParser::new(parse_user)),
        text(
            "additional-gids",
            "GID",
            "Add a supplementary group (repeat)",
        )
        .short('g')
        .action(ArgAction::Append)
        .value_delimiter(',')
        .value_parser(value_parser!(u32)),
        text(
            "cap",
            "CAP",
            "Add a capability to those the container has (repeat)",
        )
        .short('c')
        .action(ArgAction::Append),
        flag::switch("no-new-privs", "Set the no_new_privs attribute"),
        text("process-label", "LABEL", "SELinux label of the process"),
        text("apparmor", "PROFILE", "AppArmor profile of the process"),
        text(
            "cgroup",
            "[CTRL:]PATH",
            "Join a cgroup beneath the container's (repeat)",
        )
        .action(ArgAction::Append),
    ]
}

/// Reads `UID[:GID]`.
pub(super) fn parse_user(text: &str) -> Result<(u32, Option<u32>), String> {
    let number = |text: &str| {
        // `parse` would take a sign too.
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        number.ok_or_else(|| format!("{text:?} is no user or group number (UID or UID:GID)"))
    };
    Ok(match text.split_once(':') {
        None => (number(text)?, None),
        Some((uid, gid)) => (number(uid)?, Some(number(gid)?)),
    })
}

fn read(matches: &mut ArgMatches) -> Exec {
    let given = |matches: &ArgMatches, name: &str| {
        let by_user = clap::parser::ValueSource::CommandLine;
        (matches.value_source(name) == Some(by_user)).then(|| flag::is_on(matches, name))
    };
    let tty = given(matches, "tty");
    let no_new_privs = given(matches, "no-new-privs");
    fn many<T: Clone + Send + Sync + 'static>(matches: &mut ArgMatches, name: &str) -> Vec<T> {
        matches
            .remove_many(name)
            .map(Iterator::collect)
            .unwrap_or_default()
    }
    Exec {
        id: flag::take_id(matches),
        args: many(matches, "args"),
        process: flag::take_path(matches, "process"),
        cwd: matches.remove_one("cwd"),
        env: many(matches, "env"),
        tty,
        user: matches.remove_one("user"),
        additional_gids: many(matches, "additional-gids"),
        detach: flag::is_on(matches, "detach"),
        console_socket: flag::take_path(matches, "console-socket"),
        pidfd_socket: flag::take_path(matches, "pidfd-socket"),
        pid_file: flag::take_path(matches, "pid-file"),
        process_label: matches.remove_one("process-label"),
        apparmor: matches.remove_one("apparmor"),
        no_new_privs,
        caps: many(matches, "cap"),
        preserve_fds: matches.remove_one("preserve-fds").unwrap_or_default(),
        cgroups: many(matches, "cgroup"),
        ignore_paused: flag::is_on(matches, "ignore-paused"),
    }
}
