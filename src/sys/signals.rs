//! All signals, as the kernel counts them. libc leaves out those that it keeps to itself, and musl
//! keeps one that is everybody else's SIGRTMIN.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Result, check};

/// A set with every signal, as large as the kernel has it.
static ALL: u64 = !0;

/// Every signal of this process, as a descriptor.
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks all signals and opens the descriptor; reading it does not wait.
    ///
    /// # Errors
    /// rt_sigprocmask(2), signalfd4(2).
    pub fn block() -> Result<Signals> {
        // SAFETY: the set has the size that is passed, and the old one is not asked for.
        check(unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                &raw const ALL,
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        })?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: as above.
        let fd = check(unsafe {
            libc::syscall(
                libc::SYS_signalfd4,
                -1,
                &raw const ALL,
                size_of::<u64>(),
                flags,
            )
        })?;
        // SAFETY: the kernel just made it for us.
        Ok(Signals(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// The next signal and who sent it, if there is one.
    pub fn read(&self) -> Option<(i32, u32)> {
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut info)).ok()?;
        let number = |at: usize| Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
        let signal = number(std::mem::offset_of!(libc::signalfd_siginfo, ssi_signo))?;
        let sender = number(std::mem::offset_of!(libc::signalfd_siginfo, ssi_pid))?;
        (length == info.len()).then_some((i32::try_from(signal).ok()?, sender))
    }
}

/// Runs `act`, which starts a process with `std::process::Command`, and puts the signal mask back. That does so
/// itself, but with musl's idea of a mask, in which 32 to 34 are never blocked: they would end
/// this process instead of being passed on.
pub fn keep_mask<T>(act: impl FnOnce() -> T) -> T {
    let mut kept = 0u64;
    let none = std::ptr::null::<u64>();
    set_mask(none, &raw mut kept);
    let done = act();
    set_mask(&raw const kept, std::ptr::null_mut());
    done
}

/// rt_sigprocmask(2), which fails only for pointers and sizes that are wrong.
fn set_mask(new: *const u64, old: *mut u64) {
    // SAFETY: each is null or a set of the size that is passed, and lives in the caller's frame.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            new,
            old,
            size_of::<u64>(),
        );
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
