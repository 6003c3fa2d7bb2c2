//! Reads config.json and turns it into a [`Spec`].
//!
//! The good case reads once and parses once; what is wrong with a text that
//! does not parse is found out by `diagnose`, at leisure.

use std::os::fd::BorrowedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::diagnose::diagnose;
use super::error::{ConfigError, ReadError, ReadErrorKind};
use super::spec::{Mount, Process, Resources, Spec};
use crate::sys::fd::ShortLived;

/// The largest configuration that is read, in bytes. The largest real ones
/// (thousands of mounts) stay below a tenth of it.
pub const MAX_SIZE: u64 = 16 << 20;

/// Reads the file `name` in the directory `bundle_fd`, whole. An absolute
/// `name` is taken as it is.
///
/// # Errors
/// [`ReadError`] if it is missing, not a regular file, larger than
/// [`MAX_SIZE`], or cannot be read.
pub fn read(bundle_fd: BorrowedFd<'_>, name: &str) -> Result<Vec<u8>, ReadError> {
    read_file(bundle_fd, name).map_err(|kind| ReadError {
        name: name.to_owned(),
        kind,
    })
}

fn read_file(bundle_fd: BorrowedFd<'_>, name: &str) -> Result<Vec<u8>, ReadErrorKind> {
    // Without O_NONBLOCK a named pipe in the file's place would hang the open.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = rustix::fs::openat(bundle_fd, name, flags, Mode::empty()).map_err(from_errno)?;
    let file = ShortLived::from(file);
    let stat = rustix::fs::fstat(&file).map_err(from_errno)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(ReadErrorKind::Directory),
        _ => return Err(ReadErrorKind::NotAFile),
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let expected = match usize::try_from(size) {
        Ok(expected) if size <= MAX_SIZE => expected,
        _ => return Err(ReadErrorKind::TooLarge(size)),
    };

    // One byte more than the file has: the read that comes back short has
    // reached the end, and no second one is needed to learn that.
    let mut text = Vec::with_capacity(expected + 1);
    loop {
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&file, spare_capacity(&mut text)))
            .map_err(from_errno)?;
        let at_end = expected > 0 && text.len() >= expected && text.len() < text.capacity();
        if read == 0 || at_end {
            return Ok(text);
        }
        if text.len() as u64 > MAX_SIZE {
            return Err(ReadErrorKind::TooLarge(text.len() as u64));
        }
        if text.len() == text.capacity() {
            text.reserve(text.len());
        }
    }
}

fn from_errno(errno: Errno) -> ReadErrorKind {
    match errno {
        Errno::NOENT => ReadErrorKind::Missing,
        errno => ReadErrorKind::Unreadable(errno),
    }
}

/// Parses config.json. The result borrows from `text`.
///
/// # Errors
/// A [`ConfigError`] with the JSON pointer of a value of the wrong type, or
/// with line and column of what is not JSON.
pub fn parse(text: &[u8]) -> Result<Spec<'_>, ConfigError> {
    serde_json::from_slice(text).map_err(|error| diagnose(text, &error))
}

/// Parses the file of `exec --process`, which holds what is the member
/// `process` in config.json.
///
/// # Errors
/// As [`parse`]; the pointers start at the process.
pub fn parse_process(text: &[u8]) -> Result<Process<'_>, ConfigError> {
    serde_json::from_slice(text).map_err(|error| diagnose(text, &error))
}

/// Parses the file of `update --resources`, which holds what is `linux.resources` in
/// config.json.
///
/// # Errors
/// As [`parse`]; the pointers start at the resources.
pub fn parse_resources(text: &[u8]) -> Result<Resources<'_>, ConfigError> {
    serde_json::from_slice(text).map_err(|error| diagnose(text, &error))
}

/// Parses the file of `mounts add`: what is the member `mounts` in config.json, alone or in
/// an object of that member. The second is whether it is alone: then pointers begin at it.
///
/// # Errors
/// As [`parse`].
pub fn parse_mounts(text: &[u8]) -> Result<(Vec<Mount<'_>>, bool), ConfigError> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        let list: Result<Vec<Mount<'_>>, _> = serde_json::from_slice(text);
        return Ok((list.map_err(|error| diagnose(text, &error))?, true));
    }
    Ok((parse(text)?.mounts, false))
}

#[cfg(test)]
mod tests;
