//! The pid file: whole or not there.

use std::path::Path;

use super::{Doing, LaunchError};
use crate::sys::Errno;

/// Writes the pid to a file beside the wanted one and renames it.
///
/// # Errors
/// A file that cannot be made there.
pub fn write(path: &Path, pid: i32) -> Result<(), LaunchError> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{pid}"));
    let new = path.with_file_name(name);
    std::fs::write(&new, pid.to_string())
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|error| {
            let _ = std::fs::remove_file(&new);
            Errno::from_io_error(&error).unwrap_or(Errno::IO)
        })
        .doing("write the pid file", path.display())
}
