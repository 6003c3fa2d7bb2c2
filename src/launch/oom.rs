//! `process.oomScoreAdj`.

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior};

use super::{Doing, LaunchError};
use crate::config::ConfigError;
use crate::sys::fd::ShortLived;
use crate::sys::{Errno, errno_text};

/// Sets how willingly the kernel ends a process when memory is short
/// (proc_pid_oom_score_adj(5)).
///
/// # Errors
/// The process has ended, or the kernel refuses the value.
pub fn adjust(pid: Pid, adjustment: i64) -> Result<(), LaunchError> {
    let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, &path, flags, Mode::empty()).doing("open", path)?;
    match rustix::io::write(ShortLived::from(file), adjustment.to_string().as_bytes()) {
        Ok(_) => Ok(()),
        Err(errno) => {
            let why = errno_text(errno.raw_os_error());
            let error = ConfigError::new(
                "/process/oomScoreAdj",
                format!("cannot set {adjustment}: {why}"),
            );
            Err(LaunchError::Config(error.with_hint(HINT)))
        }
    }
}

/// What to know about a value that is refused.
pub const HINT: &str = "a value below the runtime's own needs CAP_SYS_RESOURCE";

/// The same for the calling process, which still has the host's /proc and has joined nothing.
///
/// # Errors
/// As [`adjust`].
pub fn adjust_own(adjustment: i64) -> Result<(), Errno> {
    match write_own(adjustment) {
        // While a process is not dumpable, its file is root's: an ordinary user's is dumpable
        // for the moment of the write.
        Err(Errno::ACCESS) => {
            set_dumpable_behavior(DumpableBehavior::Dumpable)?;
            let again = write_own(adjustment);
            set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
            again
        }
        result => result,
    }
}

fn write_own(adjustment: i64) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, c"/proc/self/oom_score_adj", flags, Mode::empty())?;
    rustix::io::write(ShortLived::from(file), adjustment.to_string().as_bytes()).map(drop)
}
