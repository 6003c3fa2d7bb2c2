//! The flags before the verb: peeled off by hand, because they stand in front
//! of every command that an engine gives; clap knows them for help only.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::slice::Iter;

use clap::{Arg, ArgAction, Command};
use log::LevelFilter;

use super::flag;

/// The flags before the verb.
#[derive(Debug, Clone, PartialEq)]
pub struct Global {
    /// `--root`: the state directory; the default depends on the user.
    pub root: Option<PathBuf>,
    /// `--log`: a path or `file:PATH`, `journald:ID`, `syslog:ID`; standard error where absent.
    pub log: Option<OsString>,
    /// `--log-format`.
    pub log_format: LogFormat,
    /// `--log-level`, and `Debug` with `--debug`; `Info` by default, as in runc.
    pub log_level: LevelFilter,
    /// `--cgroup-manager`; `--systemd-cgroup` sets `Systemd`. The last one counts.
    pub cgroup_manager: CgroupManager,
    /// `--rootless`: whether cgroup permission errors are ignored.
    pub rootless: Rootless,
}

impl Default for Global {
    fn default() -> Self {
        Global {
            root: None,
            log: None,
            log_format: LogFormat::default(),
            log_level: LevelFilter::Info,
            cgroup_manager: CgroupManager::default(),
            rootless: Rootless::default(),
        }
    }
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `time="…" level=error msg="…"`.
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`.
    Json,
}

/// Who makes the cgroup and sets its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// Corten writes the cgroup file system.
    #[default]
    Cgroupfs,
    /// systemd makes a scope or slice.
    Systemd,
    /// The container stays in the caller's cgroup.
    Disabled,
}

/// `--rootless`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rootless {
    /// By the effective user id and the user namespace.
    #[default]
    Auto,
    /// Ignore cgroup permission errors.
    True,
    /// Report them.
    False,
}

/// What stands after the global flags.
pub enum Peeled<'a> {
    /// A verb and what follows it.
    Verb(&'a OsStr, &'a [OsString]),
    /// Help was asked for, or nothing was given.
    Help,
    /// `--version`.
    Version,
}

/// Reads the flags up to the verb into `global`; `Err` is a line for the user.
pub fn peel<'a>(global: &mut Global, argv: &'a [OsString]) -> Result<Peeled<'a>, String> {
    let mut args = argv.iter();
    while let Some(arg) = args.next() {
        let bytes = arg.as_bytes();
        if !bytes.starts_with(b"-") || bytes == b"-" {
            return Ok(Peeled::Verb(arg, args.as_slice()));
        }
        if bytes == b"--" {
            break;
        }
        let name = bytes.strip_prefix(b"--").unwrap_or(&bytes[1..]);
        let equals = name.iter().position(|byte| *byte == b'=');
        let (name, inline) = match equals {
            Some(at) => (&name[..at], Some(OsStr::from_bytes(&name[at + 1..]))),
            None => (name, None),
        };
        match name {
            b"help" | b"h" => return Ok(Peeled::Help),
            b"version" | b"v" | b"V" => return Ok(Peeled::Version),
            _ => set(global, name, inline, &mut args)?,
        }
    }
    match args.next() {
        Some(verb) => Ok(Peeled::Verb(verb, args.as_slice())),
        None => Ok(Peeled::Help),
    }
}

/// Sets one flag; the value is `inline` or the next of `args`.
fn set(
    global: &mut Global,
    name: &[u8],
    inline: Option<&OsStr>,
    args: &mut Iter<'_, OsString>,
) -> Result<(), String> {
    let shown = String::from_utf8_lossy(name);
    let mut value = || {
        let next = || args.next().map(OsString::as_os_str);
        inline
            .or_else(next)
            .ok_or_else(|| format!("missing value of --{shown}"))
    };
    let invalid =
        |value: &OsStr, allowed: &str| format!("invalid value {value:?} for --{shown}: {allowed}");
    let switch = || match inline {
        None => Ok(true),
        Some(value) => value
            .to_str()
            .ok_or("use true or false")
            .and_then(flag::parse_bool)
            .map_err(|allowed| invalid(value, allowed)),
    };
    match name {
        b"root" => global.root = Some(PathBuf::from(value()?)),
        b"log" => global.log = Some(value()?.to_owned()).filter(|log| !log.is_empty()),
        b"log-format" => {
            let value = value()?;
            global.log_format = match value.as_bytes() {
                b"text" | b"" => LogFormat::Text,
                b"json" => LogFormat::Json,
                _ => return Err(invalid(value, "use text or json")),
            }
        }
        b"log-level" => {
            let value = value()?;
            global.log_level = match value.as_bytes() {
                b"error" => LevelFilter::Error,
                b"warning" | b"warn" => LevelFilter::Warn,
                b"info" => LevelFilter::Info,
                b"debug" => LevelFilter::Debug,
                _ => return Err(invalid(value, "use error, warning, info or debug")),
            }
        }
        b"debug" => {
            if switch()? {
                global.log_level = LevelFilter::Debug;
            }
        }
        b"systemd-cgroup" => {
            if switch()? {
                global.cgroup_manager = CgroupManager::Systemd;
            }
        }
        b"cgroup-manager" => {
            let value = value()?;
            global.cgroup_manager = match value.as_bytes() {
                b"cgroupfs" => CgroupManager::Cgroupfs,
                b"systemd" => CgroupManager::Systemd,
                b"disabled" => CgroupManager::Disabled,
                _ => return Err(invalid(value, "use cgroupfs, systemd or disabled")),
            }
        }
        b"rootless" => {
            let value = value()?;
            global.rootless = match value.to_str().map(|text| (text, flag::parse_bool(text))) {
                Some(("auto" | "", _)) => Rootless::Auto,
                Some((_, Ok(true))) => Rootless::True,
                Some((_, Ok(false))) => Rootless::False,
                _ => return Err(invalid(value, "use true, false or auto")),
            }
        }
        _ => return Err(format!("unknown flag --{shown}")),
    }
    Ok(())
}

/// The same flags for clap: the text of `corten --help`.
pub fn define(command: Command) -> Command {
    let valued =
        |name: &'static str, value: &'static str, help: &'static str| flag::path(name, value, help);
    command
        .about("Corten runs containers as the Open Container Initiative specifies them")
        .override_usage("corten [OPTIONS] <COMMAND> [ARGUMENTS]")
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .args_override_self(true)
        .arg(valued("root", "DIR", "State directory [default: /run/corten, or $XDG_RUNTIME_DIR/corten]"))
        .arg(valued("log", "FILE", "Append the log to FILE, or send it to journald:ID or syslog:ID [default: standard error]"))
        .arg(valued("log-format", "FORMAT", "text or json [default: text]"))
        .arg(valued("log-level", "LEVEL", "error, warning, info or debug [default: info]"))
        .arg(flag::switch("debug", "Same as --log-level debug"))
        .arg(valued("cgroup-manager", "MANAGER", "cgroupfs, systemd or disabled [default: cgroupfs]"))
        .arg(flag::switch("systemd-cgroup", "Same as --cgroup-manager systemd"))
        .arg(valued(
            "rootless",
            "WHEN",
            "Ignore cgroup permission errors: true, false or auto [default: auto]",
        ))
        .arg(
            Arg::new("version")
                .long("version")
                .short('v')
                .help("Print version")
                .action(ArgAction::SetTrue),
        )
        .after_help(
            "Run 'corten COMMAND --help' for the flags of one command.\n\n\
             Example:\n  corten spec --bundle /srv/hello      # /srv/hello/rootfs holds the files\n  \
             corten run --bundle /srv/hello hello",
        )
}
