//! Reading and writing the small files of a cgroup file system.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::sys::fd::ShortLived;

/// More than any line that is read here: pids are read by [`read_all`].
const LINE: usize = 4096;

/// Opens a file for one value.
pub(super) fn open(at: BorrowedFd, path: &str, flags: OFlags) -> Result<ShortLived, Errno> {
    let file = rustix::fs::openat(at, path, flags | OFlags::CLOEXEC, Mode::empty())?;
    Ok(ShortLived::from(file))
}

/// Writes `value` in one write(2), as cgroup files want it.
pub(super) fn write(at: BorrowedFd, path: &str, value: &str) -> Result<(), Errno> {
    let file = open(at, path, OFlags::WRONLY)?;
    write_to(file.as_fd(), value)
}

/// Writes `value` to an open file.
pub(super) fn write_to(file: BorrowedFd, value: &str) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::io::write(file, value.as_bytes())).map(|_| ())
}

/// Reads a file of less than 4096 bytes, without the white space at its end.
pub(super) fn read(at: BorrowedFd, path: &str) -> Result<String, Errno> {
    let file = open(at, path, OFlags::RDONLY)?;
    read_from(file.as_fd())
}

/// Reads an open file of less than 4096 bytes from its beginning.
pub(super) fn read_from(file: BorrowedFd) -> Result<String, Errno> {
    let mut buffer = [0; LINE];
    let length = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut buffer, 0))?;
    Ok(String::from_utf8_lossy(&buffer[..length])
        .trim_end()
        .to_owned())
}

/// Reads a file of any length.
pub(super) fn read_all(at: BorrowedFd, path: &str) -> Result<String, Errno> {
    let file = rustix::fs::openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    let mut buffer = [0; LINE];
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer))? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
}

/// The value of `key` in a file of lines such as `populated 1`.
pub(super) fn flag(text: &str, key: &str) -> Option<bool> {
    text.lines()
        .find_map(|line| Some(line.strip_prefix(key)?.trim() == "1"))
}
