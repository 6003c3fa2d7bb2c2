//! pidfd_send_signal(2) for any signal: rustix knows only those with a name, not the real-time ones.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// Sends `signal` to the process behind `process`.
///
/// # Errors
/// `SRCH` if it has ended, `INVAL` for a number that is no signal, `PERM`.
pub fn send_signal(process: impl AsFd, signal: i32) -> Result<(), Errno> {
    let process = process.as_fd().as_raw_fd();
    // SAFETY: no memory is handed over: the siginfo pointer is null, which pidfd_send_signal(2)
    // takes for the siginfo of kill(2), and the descriptor is borrowed for the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process,
            signal,
            std::ptr::null_mut::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(super::last_errno())
    }
}
