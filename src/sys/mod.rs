//! System calls that rustix lacks; the only room with `unsafe`.
pub mod bpf;
pub mod pidfd;

/// The errno of the libc call that just failed.
fn last_errno() -> rustix::io::Errno {
    let error = std::io::Error::last_os_error();
    rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
}
