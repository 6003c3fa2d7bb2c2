//! Thin, safe wrappers of the system calls that rustix and nix lack.
//!
//! The only room with `unsafe`. Nothing here decides anything: a wrapper turns
//! types into registers and a negative result into an [`Errno`].
#![allow(unsafe_code)]

pub mod alloc;
pub mod bpf;
pub mod clone;
pub mod entry;
pub mod fd;
pub mod mount;
pub mod pidfd;
pub mod probe;
pub mod process;
pub mod regex;
pub mod signals;
pub mod spawn;
pub mod stub;

pub use rustix::io::Errno;

/// The result of a bare system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// What glibc, and so Go and runc, says of errors that musl has words of its own for.
const USUAL_WORDS: [(i32, &str); 13] = [
    (libc::EADDRINUSE, "address already in use"),
    (libc::EBUSY, "device or resource busy"),
    (libc::ECHILD, "no child processes"),
    (libc::EDQUOT, "disk quota exceeded"),
    (libc::ELOOP, "too many levels of symbolic links"),
    (libc::ENAMETOOLONG, "file name too long"),
    (libc::ENOMEM, "cannot allocate memory"),
    (libc::ENOTTY, "inappropriate ioctl for device"),
    (libc::EOPNOTSUPP, "operation not supported"),
    (libc::EOVERFLOW, "value too large for defined data type"),
    (libc::ERANGE, "numerical result out of range"),
    (libc::ETIMEDOUT, "connection timed out"),
    (libc::EXDEV, "invalid cross-device link"),
];

/// The usual words for an errno, in the lower case that engines match.
pub fn errno_text(errno: i32) -> String {
    match errno {
        libc::EFBIG => return "file too large (is RLIMIT_FSIZE too low?)".to_owned(),
        libc::EMFILE => return "too many open files (is RLIMIT_NOFILE too low?)".to_owned(),
        _ => {}
    }
    if let Some((_, words)) = USUAL_WORDS.iter().find(|(of, _)| *of == errno) {
        return (*words).to_owned();
    }
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars
        .next()
        .map(|c| c.to_lowercase().chain(chars).collect())
        .unwrap_or_default()
}

/// The errno of an error of the standard library; EIO for one that has none.
pub fn io_errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Turns what libc's `syscall` returned into a result.
fn check(result: libc::c_long) -> Result<usize> {
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(result as usize)
    }
}

/// The errno of the libc call that just failed.
fn last_errno() -> Errno {
    io_errno(std::io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_words_that_runc_has() {
        for (errno, words) in [
            (libc::ENOENT, "no such file or directory"),
            (libc::EACCES, "permission denied"),
            (libc::EPERM, "operation not permitted"),
            (libc::ENOEXEC, "exec format error"),
            (libc::EROFS, "read-only file system"),
        ]
        .into_iter()
        .chain(USUAL_WORDS)
        {
            assert_eq!(errno_text(errno), words);
        }
    }
}
