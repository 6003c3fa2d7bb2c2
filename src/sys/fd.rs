//! Descriptors that end with the process, and writing to files.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::Result;

/// Descriptors below this number are left open; far below any soft limit.
const FEW: i32 = 256;

/// Writes all of it, in as many calls as it takes: a disk that fills up takes a part first.
///
/// # Errors
/// write(2).
pub fn write_all(file: impl AsFd, bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = &rest[written..];
    }
    Ok(())
}

/// A close-on-exec descriptor that is left to execve or to the end of the process,
/// which close all at once: one by one each costs a system call. Only while there
/// are few, so that thousands of mounts stay within the limit.
#[derive(Debug)]
pub struct ShortLived(ManuallyDrop<OwnedFd>);

impl From<OwnedFd> for ShortLived {
    fn from(fd: OwnedFd) -> ShortLived {
        ShortLived(ManuallyDrop::new(fd))
    }
}

impl AsFd for ShortLived {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for ShortLived {
    fn drop(&mut self) {
        if self.0.as_raw_fd() >= FEW {
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}
