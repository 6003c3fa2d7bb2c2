//! A sealed copy of the runtime's binary, for launches into a pid namespace that
//! exists.
//!
//! From the clone to the exec stub the init's /proc/PID/exe is the runtime. In a new
//! pid namespace nobody is there to look, but in a joined one a process with
//! CAP_SYS_PTRACE can open it, undumpable or not, and write to the host's binary once
//! nothing runs it any more (CVE-2019-5736, SECURITY-RULES 6). So the runtime runs
//! itself once more from a memfd that cannot be written, before it has done anything.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{CWD, Mode, OFlags, SealFlags};

use super::{Doing, LaunchError};
use crate::sys::process::{PointerArray, execveat};
use crate::sys::stub::{memfd_to_run, seal};
use crate::sys::{Result, io_errno};

const EXE: &str = "/proc/self/exe";

/// Returns when this process runs from a sealed copy; otherwise becomes one.
///
/// # Errors
/// The copy cannot be made or run.
pub fn ensure() -> std::result::Result<(), LaunchError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::openat(CWD, EXE, flags, Mode::empty()).doing("open", EXE)?;
    // Files that cannot be sealed say EINVAL.
    if rustix::fs::fcntl_get_seals(&own).is_ok_and(|seals| seals.contains(SealFlags::WRITE)) {
        return Ok(());
    }
    let copy = sealed_copy(&own).doing("copy to memory", EXE)?;
    let cmdline = std::fs::read("/proc/self/cmdline")
        .map_err(io_errno)
        .doing("read", "/proc/self/cmdline")?;
    let argv = cmdline.split_inclusive(|&byte| byte == 0).map(|argument| {
        let text = argument.strip_suffix(b"\0").unwrap_or(argument);
        CString::new(text).unwrap_or_default()
    });
    let envp = std::env::vars_os().map(|(name, value)| {
        let text = [name.into_vec(), value.into_vec()].join(&b'=');
        CString::new(text).unwrap_or_default()
    });
    let (argv, envp) = (
        PointerArray::new(0, argv.collect()),
        PointerArray::new(0, envp.collect()),
    );
    Err(execveat(copy.as_fd(), &argv, &envp)).doing("run the copy in memory of", EXE)
}

fn sealed_copy(file: &OwnedFd) -> Result<OwnedFd> {
    let copy = memfd_to_run(c"corten")?;
    while rustix::fs::sendfile(&copy, file, None, 1 << 30)? > 0 {}
    seal(&copy)?;
    Ok(copy)
}
