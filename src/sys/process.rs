//! System calls that change the calling process or look at another.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::fd::ShortLived;
use super::{Errno, Result, check};

/// setns(2): joins the namespaces of `fd` (a namespace file or a pidfd).
///
/// # Errors
/// setns(2).
pub fn setns(fd: BorrowedFd<'_>, flags: u64) -> Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), flags) }).map(drop)
}

/// The user namespace that owns a namespace (ioctl_ns(2)).
///
/// # Errors
/// ioctl(2). `EPERM` if it lies outside the caller's own.
pub fn owner_of_namespace(namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
    const NS_GET_USERNS: u64 = 0xb701;
    // SAFETY: the call takes no argument and returns a new descriptor.
    let fd =
        check(unsafe { libc::syscall(libc::SYS_ioctl, namespace.as_raw_fd(), NS_GET_USERNS, 0) })?;
    // SAFETY: the kernel just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// unshare(2) of namespaces (`CLONE_NEW*`). Never of descriptors or memory,
/// which is what makes rustix's wrapper unsafe.
///
/// # Errors
/// unshare(2).
pub fn unshare_namespaces(flags: u64) -> Result<()> {
    debug_assert_eq!(
        flags & (libc::CLONE_FILES | libc::CLONE_VM | libc::CLONE_FS) as u64,
        0
    );
    // SAFETY: only namespaces are unshared: no Rust value changes its meaning.
    check(unsafe { libc::syscall(libc::SYS_unshare, flags) }).map(drop)
}

/// execveat(2) of the file behind `fd`. Returns only on failure.
///
/// `argv` and `envp` are null-terminated arrays of pointers, which is what the
/// launch prepares before the clone.
pub fn execveat(fd: BorrowedFd<'_>, argv: &PointerArray, envp: &PointerArray) -> Errno {
    // SAFETY: both arrays end with a null pointer and point at C strings that
    // they keep alive (see PointerArray).
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            argv.0.as_ptr(),
            envp.0.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    check(result).err().unwrap_or(Errno::INVAL)
}

/// A null-terminated array of C string pointers for execve, made before the
/// clone. Slots can be kept free at the front for strings that are known later.
pub struct PointerArray(Vec<*const libc::c_char>);

impl PointerArray {
    /// `reserved` free slots, then `strings`, then null.
    ///
    /// The strings are leaked: the process either becomes another program or
    /// ends, and the array must not outlive them.
    pub fn new(reserved: usize, strings: Vec<std::ffi::CString>) -> PointerArray {
        let mut pointers = vec![std::ptr::null(); reserved];
        pointers.extend(strings.into_iter().map(|s| s.into_raw().cast_const()));
        pointers.push(std::ptr::null());
        PointerArray(pointers)
    }

    /// The array as execve takes it.
    pub(super) fn as_ptr(&self) -> *const *const libc::c_char {
        self.0.as_ptr()
    }

    /// Replaces the string of a slot, or fills a reserved one.
    pub fn set(&mut self, slot: usize, string: &'static CStr) {
        self.0[slot] = string.as_ptr();
    }

    /// Replaces the string of a slot by one that is already in the array.
    pub fn copy_slot(&mut self, from: usize, to: usize) {
        self.0[to] = self.0[from];
    }
}

/// keyctl(KEYCTL_JOIN_SESSION_KEYRING): a new session keyring, searchable by
/// the user's processes (as runc makes it, so that children with another uid
/// find it).
///
/// # Errors
/// keyctl(2). `ENOSYS` where the kernel has no keyrings.
pub fn join_session_keyring(name: &CStr) -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
    const KEYCTL_SETPERM: usize = 5;
    // KEY_POS_ALL | KEY_USR_VIEW | READ | SEARCH | LINK of linux/keyctl.h.
    const PERMISSIONS: usize = 0x3f1b_0000;
    // SAFETY: the name is a C string.
    let key = check(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr())
    })?;
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, key, PERMISSIONS) }).map(drop)
}

/// Whether the kernel takes these flags of seccomp(2) with a filter. It is asked without one:
/// flags are looked at first, and what it takes is answered with `EFAULT`.
pub fn takes_filter_flags(flags: u32) -> bool {
    const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
    let no_filter = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the kernel checks the address, and no filter lies there that it could load.
    let asked = check(unsafe {
        libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, no_filter)
    });
    matches!(asked, Err(Errno::FAULT))
}

/// Brings the loopback interface of the current network namespace up.
///
/// # Errors
/// socket(2), ioctl(2).
pub fn loopback_up() -> Result<()> {
    // SAFETY: plain integers; the descriptor is owned below.
    let socket = check(unsafe {
        libc::syscall(
            libc::SYS_socket,
            libc::AF_INET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
            0,
        )
    })
    .or_else(|_| {
        // A kernel without IPv4: any family's socket takes the call.
        // SAFETY: as above.
        check(unsafe {
            libc::syscall(
                libc::SYS_socket,
                libc::AF_UNIX,
                libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
                0,
            )
        })
    })?;
    // SAFETY: the kernel just made it for us.
    let socket = ShortLived::from(unsafe { OwnedFd::from_raw_fd(socket as i32) });
    // SAFETY: ifreq is plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads an ifreq.
    check(unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            socket.as_fd().as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        )
    })
    .map(drop)
}

/// Makes the terminal `fd` the controlling terminal of this session.
///
/// # Errors
/// ioctl_tty(2).
pub fn set_controlling_terminal(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    check(unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// personality(2).
///
/// # Errors
/// personality(2).
pub fn set_personality(domain: u64) -> Result<()> {
    // SAFETY: a plain integer.
    check(unsafe { libc::syscall(libc::SYS_personality, domain) }).map(drop)
}

/// Ends the process at once: no destructors, no buffers (`_exit`).
pub fn exit_now(code: i32) -> ! {
    // SAFETY: does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Whether a descriptor is open and survives execve: all that the caller passed do, and
/// none that this process opened itself.
pub fn is_inherited(fd: i32) -> bool {
    // SAFETY: F_GETFD only looks.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Marks all descriptors from this number on to be closed by execve (Linux 5.11).
///
/// # Errors
/// close_range(2).
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: it changes flags of descriptors and closes none.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    check(result).map(drop)
}

/// The kernel's `struct sigaction`, which is not libc's.
#[repr(C)]
struct KernelSigaction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

// What a handler returns to: rt_sigreturn(2). aarch64 has it in the vDSO.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl corten_sigreturn",
    "corten_sigreturn:",
    "mov eax, 15",
    "syscall"
);

/// Makes a write beyond RLIMIT_FSIZE an error (`EFBIG`) instead of the end of this process. A
/// handler and no disposition that children would inherit. By the system call: musl's sigaction
/// unblocks two real-time signals.
pub fn survive_file_limit() {
    extern "C" fn nothing(_: libc::c_int) {}
    #[cfg(target_arch = "x86_64")]
    let (restorer, restores) = {
        unsafe extern "C" {
            fn corten_sigreturn();
        }
        const SA_RESTORER: u64 = 0x0400_0000;
        (corten_sigreturn as *const () as usize, SA_RESTORER)
    };
    #[cfg(not(target_arch = "x86_64"))]
    let (restorer, restores) = (0, 0);
    let action = KernelSigaction {
        handler: nothing as *const () as usize,
        flags: libc::SA_RESTART as u64 | restores,
        restorer,
        mask: 0,
    };
    // SAFETY: the handler does nothing, which is safe at any moment; the set has the size that
    // is passed, and the old action is not asked for.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            libc::SIGXFSZ,
            &raw const action,
            std::ptr::null_mut::<KernelSigaction>(),
            size_of::<u64>(),
        );
    }
}

/// Lets every signal through.
pub fn unblock_signals() {
    // SAFETY: an empty set made by sigemptyset; the old one is not asked for.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// `struct sched_attr` of linux/sched/types.h without the utilisation clamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedAttr {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Priority of the real-time policies.
    pub priority: u32,
    /// Nanoseconds, SCHED_DEADLINE.
    pub runtime: u64,
    /// Nanoseconds, SCHED_DEADLINE.
    pub deadline: u64,
    /// Nanoseconds, SCHED_DEADLINE.
    pub period: u64,
}

impl SchedAttr {
    /// The structure itself, in its second version: the flags `SCHED_FLAG_UTIL_CLAMP_*` need its
    /// clamps, for which config.json has no members. Zeros are fine for older kernels.
    pub fn words(&self) -> [u64; 7] {
        [
            56 | u64::from(self.policy) << 32,
            self.flags,
            u64::from(self.nice.cast_unsigned()) | u64::from(self.priority) << 32,
            self.runtime,
            self.deadline,
            self.period,
            0,
        ]
    }
}

/// sched_setaffinity(2) on the calling process: one bit a CPU.
///
/// # Errors
/// sched_setaffinity(2). `EINVAL` if none of the CPUs may be used.
pub fn set_affinity(mask: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads as many bytes as are passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            size_of_val(mask),
            mask.as_ptr(),
        )
    })
    .map(drop)
}

/// ioprio_set(2) on the calling process; class and priority in one number.
///
/// # Errors
/// ioprio_set(2).
pub fn set_io_priority(value: u32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: plain integers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) }).map(drop)
}

/// set_mempolicy(2) on the calling thread; `mode` with its flags, `nodes` one bit a node.
///
/// # Errors
/// set_mempolicy(2).
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel looks at one bit less than it is told.
    let (mask, bits) = match nodes {
        [] => (std::ptr::null(), 0),
        nodes => (nodes.as_ptr(), nodes.len() * 64 + 1),
    };
    // SAFETY: the mask has the bits that the kernel reads, which are those before the last.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

/// Ignores SIGPIPE, so that a reader who went away is an error of write(2) and not
/// the end of a verb half-way. The program gets it back (see the stub).
pub fn ignore_sigpipe() {
    // SAFETY: SIG_IGN is a valid action for SIGPIPE.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
