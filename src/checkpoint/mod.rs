//! Checkpoints of containers, written and restored by CRIU (`criu swrk`, by its RPC).
//!
//! ```text
//! checkpoint                                  restore
//! open images, look what lies there           read, check, plan as create does
//! find the mounts that are the host's         claim the id, record the intent
//! criu: DUMP                                  cgroup as create makes it
//! the container is deleted                    clone3 into it, with a mount namespace:
//!                                               mounts of the host staged there, then criu
//!                                             criu: RESTORE, with stages
//!                                               setup-namespaces: hooks
//!                                               post-restore:     the init is recorded
//!                                               pre-resume:       what was restored is judged
//! ```
//! The images are taken as hostile: [`images`] looks before CRIU opens anything, [`mounts`]
//! gives it names that are indexes, and [`verify`] judges the processes before they run.

mod criu;
pub mod dump;
mod images;
mod mounts;
pub mod restore;
mod rpc;
mod staging;
mod verify;
mod wire;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::cgroup::CgroupError;
use crate::config::ConfigError;
use crate::container::delete::DeleteError;
use crate::container::{Status, StoreError};
use crate::launch::LaunchError;
use crate::sys::{Errno, errno_text, io_errno};

/// What both verbs are told.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where the images lie; runc's default is `checkpoint` in the current directory.
    pub image_path: PathBuf,
    /// Where CRIU writes its log and other files; the images' by default.
    pub work_path: Option<PathBuf>,
    /// Connections of TCP are kept.
    pub tcp_established: bool,
    /// Sockets of AF_UNIX whose other end is outside are kept.
    pub ext_unix_sk: bool,
    /// The session may have its leader outside.
    pub shell_job: bool,
    /// Locks of files are kept.
    pub file_locks: bool,
    /// Memory is loaded when it is needed.
    pub lazy_pages: bool,
    /// What is in several images is kept in one.
    pub auto_dedup: bool,
    /// What is done about cgroups.
    pub cgroups_mode: CgroupsMode,
    /// How the network is kept quiet meanwhile.
    pub network_lock: Option<NetworkLock>,
}

/// `--manage-cgroups-mode` (`criu_cg_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupsMode {
    /// Not at all.
    Ignore = 0,
    /// Limits of cgroups that are new.
    Soft = 3,
    /// Limits of all.
    Full = 4,
    /// All as it was, or an error.
    Strict = 5,
    /// As CRIU likes it, which is soft.
    #[default]
    Default = 6,
}

/// `--network-lock` (`criu_network_lock_method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkLock {
    /// Rules of iptables.
    Iptables = 1,
    /// Rules of nftables.
    Nftables = 2,
    /// Nothing.
    Skip = 3,
}

/// Why there is no checkpoint, or no container from one.
#[derive(Debug)]
pub enum CheckpointError {
    /// As a launch fails.
    Launch(LaunchError),
    /// The container is in no state to be checkpointed.
    Status(Status),
    /// The images, or the directory for work files.
    Images(PathBuf, String),
    /// CRIU: not there, too old, or it failed.
    Criu(String),
    /// What was restored is not what config.json says.
    Refused(String),
    /// The container was checkpointed, but cannot be removed.
    Delete(DeleteError),
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::Launch(error) => error.fmt(f),
            // runc's words.
            CheckpointError::Status(status) => {
                write!(f, "Container cannot be checkpointed in {status} state")
            }
            CheckpointError::Images(path, why) => write!(f, "{}: {why}", path.display()),
            CheckpointError::Criu(why) => f.write_str(why),
            CheckpointError::Refused(why) => {
                write!(f, "the checkpoint does not fit config.json: {why}")
            }
            CheckpointError::Delete(error) => write!(f, "checkpointed, but {error}"),
        }
    }
}

impl std::error::Error for CheckpointError {}

/// From what launches fail with, too.
macro_rules! from_launch {
    ($($error:ty),*) => {
        $(impl From<$error> for CheckpointError {
            fn from(error: $error) -> Self {
                CheckpointError::Launch(error.into())
            }
        })*
    };
}
from_launch!(ConfigError, StoreError, CgroupError);

impl From<LaunchError> for CheckpointError {
    fn from(error: LaunchError) -> Self {
        CheckpointError::Launch(error)
    }
}

/// A system call of the runtime that failed.
fn system(what: &'static str, on: impl fmt::Display) -> impl FnOnce(Errno) -> CheckpointError {
    let on = on.to_string();
    move |errno| LaunchError::System(what, on, errno).into()
}

/// A file of procfs.
fn read(path: &str) -> Result<Vec<u8>, CheckpointError> {
    std::fs::read(path)
        .map_err(io_errno)
        .map_err(system("read", path))
}

fn images_error(path: &Path, what: &str, errno: Errno) -> CheckpointError {
    let why = format!("{what}: {}", errno_text(errno.raw_os_error()));
    CheckpointError::Images(path.to_owned(), why)
}
