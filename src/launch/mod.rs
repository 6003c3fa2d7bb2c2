//! The only part with effects: from a plan to a running container.
//!
//! ```text
//! runtime (parent, attempt, talk)           init (init.rs), then stub (sys/stub)
//! read, check, plan
//! claim the id, record the intent
//! cgroup: directories, what joining needs
//! open what the init needs
//! clone3 ─────────────────────────────────▶ join cgroup v1, namespaces
//!                      ◀── (user namespace, network devices: waits for MAPPED)
//! limits, filter compiled,                  mounts, device nodes, sysctls
//! stub's data, pid recorded
//! device rules                   ◀─ DEVICES
//!                                ◀─ HOOKS   (only with hooks)
//! prestart, createRuntime hooks  ── GO ─▶   createContainer hooks
//!                                           masks, pivot
//!                                ◀─ CONSOLE (only with a terminal)
//!                                ── GO ─▶   becomes the stub: credentials, filter
//!                                ◀─ READY   waits on the exec fifo
//! ```
//! `run` has no fifo: the channel's close by execve says that the program runs.

mod attempt;
mod begin;
pub mod denied;
mod describe;
mod describe_process;
mod devices;
pub mod exec;
pub mod foreground;
mod guard;
pub mod hooks;
pub mod hotplug;
mod idmaps;
pub mod ids;
mod init;
mod joiner;
mod namespaces;
pub mod notify;
mod oom;
mod own_copy;
mod parent;
mod pid_file;
mod program;
mod rdt;
mod rootless;
mod send;
mod sources;
pub mod start;
mod stub_data;
mod talk;
mod tty;

pub use idmaps::make as user_namespace;
pub use parent::launch;
pub(crate) use parent::{cgroup_mounts, check_terminal, first_state, hide_callers_descriptors};
pub(crate) use parent::{open_bundle, plan_cgroup, seccomp_error, seccomp_section, template};
pub(crate) use pid_file::write as write_pid_file;
pub use rootless::of_users_systemd;
pub(crate) use send::{channel as seqpacket_pair, connect};
pub(crate) use tty::deliver;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::process::Pid;

use crate::cgroup::CgroupError;
use crate::config::{ConfigError, ReadError};
use crate::container::{Entry, Id, State, StoreError};
use crate::plan::cgroup::Manager;
use crate::sys::{Errno, errno_text};

/// What is to be launched, and how.
#[derive(Debug)]
pub struct Request {
    /// The state directory.
    pub root: PathBuf,
    /// The container's id.
    pub id: Id,
    /// The bundle.
    pub bundle: PathBuf,
    /// The configuration, if it is not the bundle's config.json.
    pub config: Option<PathBuf>,
    /// Socket that gets the terminal's master side.
    pub console_socket: Option<PathBuf>,
    /// Socket that gets a pidfd of the init.
    pub pidfd_socket: Option<PathBuf>,
    /// File that gets the init's pid.
    pub pid_file: Option<PathBuf>,
    /// Change the root directory instead of pivoting.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Descriptors from 3 on that the program gets.
    pub preserve_fds: u32,
    /// Environment of socket activation (`LISTEN_FDS=1`), which goes with the descriptors.
    pub listen_env: Vec<String>,
    /// Whether the program is to have a way to the service manager ([`notify`]).
    pub notify: bool,
    /// Who manages cgroups.
    pub manager: Manager,
    /// Whether a container may go without a cgroup that the runtime has no right to
    /// make; unless it is said, for users other than root and in user namespaces.
    pub rootless: Option<bool>,
    /// Create, or run at once.
    pub mode: Mode,
    /// When it is made (RFC 3339).
    pub created: String,
}

/// What happens once the container is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It waits for `start`.
    Create,
    /// It runs at once; the caller does not stay.
    Detached,
    /// It runs at once; the caller waits and relays a terminal.
    Foreground,
}

/// A container that was launched.
pub struct Launched {
    /// Its state directory, locked.
    pub entry: Entry,
    /// Its record.
    pub state: State,
    /// Its init.
    pub init: Running,
    /// Its way to the service manager, if it runs already.
    pub proxy: Option<notify::Proxy>,
}

/// A process of a container that was started.
pub struct Running {
    /// Its pid as the host numbers it.
    pub pid: Pid,
    /// A descriptor of it.
    pub pidfd: OwnedFd,
    /// The master side of its terminal, in the foreground.
    pub console: Option<OwnedFd>,
}

/// Why a container could not be launched.
#[derive(Debug)]
pub enum LaunchError {
    /// config.json of this bundle cannot be read.
    Read(String, ReadError),
    /// It is wrong.
    Config(ConfigError),
    /// The state directory.
    Store(StoreError),
    /// The cgroup.
    Cgroup(CgroupError),
    /// A system call of the runtime: what was being done, on what, why not.
    System(&'static str, String, Errno),
    /// The options contradict the config or one another.
    Usage(String),
    /// The init failed; the sentence names stage, subject and reason.
    Init(String),
    /// A hook failed.
    Hook(hooks::HookError),
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LaunchError::Read(bundle, error) => write!(f, "{bundle}: {error}"),
            LaunchError::Config(error) => error.fmt(f),
            LaunchError::Store(error) => error.fmt(f),
            LaunchError::Cgroup(error) => error.fmt(f),
            LaunchError::System(what, on, errno) => {
                write!(f, "cannot {what}")?;
                if !on.is_empty() {
                    write!(f, " {on}")?;
                }
                write!(f, ": {}", errno_text(errno.raw_os_error()))
            }
            LaunchError::Usage(text) | LaunchError::Init(text) => f.write_str(text),
            LaunchError::Hook(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LaunchError {}

impl From<ConfigError> for LaunchError {
    fn from(error: ConfigError) -> Self {
        LaunchError::Config(error)
    }
}

impl From<StoreError> for LaunchError {
    fn from(error: StoreError) -> Self {
        LaunchError::Store(error)
    }
}

impl From<CgroupError> for LaunchError {
    fn from(error: CgroupError) -> Self {
        LaunchError::Cgroup(error)
    }
}

/// Names a failing system call of the runtime.
trait Doing<T> {
    /// With what was being done, and on what.
    fn doing(self, what: &'static str, on: impl fmt::Display) -> Result<T, LaunchError>;
}

impl<T> Doing<T> for crate::sys::Result<T> {
    fn doing(self, what: &'static str, on: impl fmt::Display) -> Result<T, LaunchError> {
        self.map_err(|errno| LaunchError::System(what, on.to_string(), errno))
    }
}
