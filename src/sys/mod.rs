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

/// The kernel's words for an errno, in the lower case that engines match.
pub fn errno_text(errno: i32) -> String {
    match errno {
        libc::EFBIG => return "file too large (is RLIMIT_FSIZE too low?)".to_owned(),
        libc::EMFILE => return "too many open files (is RLIMIT_NOFILE too low?)".to_owned(),
        _ => {}
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
