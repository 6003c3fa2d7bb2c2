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

/// `struct pidfd_info` of linux/pidfd.h in its first version (Linux 6.13).
#[derive(Default)]
#[repr(C)]
struct Info {
    mask: u64,
    cgroup: u64,
    pids: [u32; 3],
    ids: [u32; 8],
    exit_code: i32,
}

/// How a process ended that has been reaped already, in the form of wait(2): Linux 6.15 keeps
/// it for the descriptors that were there before. `None` if the kernel does not tell.
pub fn exit_info(process: impl AsFd) -> Option<i32> {
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    // _IOWR(0xff, 11, struct pidfd_info) where numbers are made the common way.
    const PIDFD_GET_INFO: u64 = 3 << 30 | (size_of::<Info>() as u64) << 16 | 0xff << 8 | 11;
    let mut info = Info {
        mask: PIDFD_INFO_EXIT,
        ..Info::default()
    };
    // SAFETY: the kernel writes no more than the size that is part of the number.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            process.as_fd().as_raw_fd(),
            PIDFD_GET_INFO,
            &raw mut info,
        )
    };
    (result == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
}
