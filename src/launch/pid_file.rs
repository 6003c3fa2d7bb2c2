//! The pid file: whole or not there.

use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat, renameat};

use super::{Doing, LaunchError};
use crate::sys::fd::ShortLived;

/// Writes the pid to a file beside the wanted one and renames it.
///
/// # Errors
/// A file that cannot be made there.
pub fn write(path: &Path, pid: i32) -> Result<(), LaunchError> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{pid}"));
    let new = path.with_file_name(name);
    let write = || {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = ShortLived::from(openat(CWD, &new, flags, Mode::from_raw_mode(0o666))?);
        rustix::io::write(&file, pid.to_string().as_bytes())?;
        renameat(CWD, &new, CWD, path)
    };
    write()
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&new);
        })
        .doing("write the pid file", path.display())
}
