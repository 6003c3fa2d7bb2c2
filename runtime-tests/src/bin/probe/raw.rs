//! The only file of this crate with `unsafe`: system calls by number, in both
//! ABIs of the machine, and signals taken without a handler.

use std::io;

/// Makes a system call; returns its result, or -1 and errno.
///
/// What the call does to this process is the caller's business: the probe makes
/// calls that are expected to be refused.
pub fn syscall(number: i64, args: [usize; 6]) -> (i64, i32) {
    // SAFETY: pointers among the arguments come from live strings of the caller; a
    // call that changed this process's memory behind Rust's back is never asked for.
    let result = unsafe {
        libc::syscall(
            number as libc::c_long,
            args[0],
            args[1],
            args[2],
            args[3],
            args[4],
            args[5],
        )
    };
    let errno = if result == -1 {
        io::Error::last_os_error().raw_os_error().unwrap_or(0)
    } else {
        0
    };
    (result as i64, errno)
}

/// Makes an i386 system call from this 64-bit process (`int 0x80`).
/// Arguments are cut to 32 bits, as that ABI does.
#[cfg(target_arch = "x86_64")]
pub fn syscall32(number: i64, args: [usize; 6]) -> (i64, i32) {
    let result: i32;
    // SAFETY: as above; rbx cannot be named as an operand and is saved by hand, r8 to
    // r11 may be lost by the 32-bit entry code and are declared so.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) args[0] => _,
            inout("eax") number as i32 => result,
            in("ecx") args[1] as u32,
            in("edx") args[2] as u32,
            in("esi") args[3] as u32,
            in("edi") args[4] as u32,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if (-4095..0).contains(&result) {
        return (-1, -result);
    }
    (i64::from(result), 0)
}

/// There is no second ABI to try here.
#[cfg(not(target_arch = "x86_64"))]
pub fn syscall32(_number: i64, _args: [usize; 6]) -> (i64, i32) {
    (-1, libc::ENOSYS)
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set that the rest then uses.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

/// Blocks these signals, so that they wait for `next_signal`.
pub fn block(signals: &[i32]) {
    let set = set_of(signals);
    // SAFETY: `set` is a valid set and the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
}

/// Waits for one of these blocked signals.
pub fn next_signal(signals: &[i32]) -> i32 {
    let set = set_of(signals);
    let mut signal = 0;
    // SAFETY: both point to live values of this frame.
    unsafe { libc::sigwait(&set, &mut signal) };
    signal
}

/// Ignores a signal, here and in whatever this process executes.
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN is a valid disposition and needs no handler code.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Restores the default of a signal; Rust's start-up ignores SIGPIPE.
pub fn default(signal: i32) {
    // SAFETY: SIG_DFL is a valid disposition and needs no handler code.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Forks; 0 in the child. The child may only call what is async-signal-safe.
pub fn fork() -> i32 {
    // SAFETY: the probe is single-threaded where it forks.
    unsafe { libc::fork() }
}

/// Waits for a signal, for ever.
pub fn pause() -> ! {
    loop {
        // SAFETY: pause has no arguments.
        unsafe { libc::pause() };
    }
}

/// A mount namespace of its own for this (single-threaded) process, whose mounts nobody else gets.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: CLONE_NEWNS has no bearing on memory or descriptors.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    use rustix::mount::{MountPropagationFlags, mount_change};
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(mount_change("/", private)?)
}

/// Puts a seccomp filter on this process and on all that it becomes or starts.
pub fn filter(program: &mut [libc::sock_filter]) -> io::Result<()> {
    const SET_MODE_FILTER: libc::c_long = 1;
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program lives through the call, which copies it.
    if unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const program) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Takes a descriptor that this process was started with.
pub fn own(fd: i32) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd as _;
    // SAFETY: F_GETFD only looks.
    if fd < 3 || unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is open, above the standard streams, and nothing else here knows of it.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
}

/// Forks a child of this process's parent, with new namespaces; 0 in the child.
pub fn sibling(namespaces: u64) -> i32 {
    let flags = namespaces | libc::CLONE_PARENT as u64 | libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM and a stack this is fork, of a process with one thread.
    unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) as i32 }
}
