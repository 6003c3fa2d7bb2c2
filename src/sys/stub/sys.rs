//! The stub's system calls. Results are the kernel's: a negative one is `-errno`.

use crate::arch::*;

pub const PR_SET_DUMPABLE: usize = 4;
pub const PR_SET_KEEPCAPS: usize = 8;
pub const PR_CAPBSET_READ: usize = 23;
pub const PR_CAPBSET_DROP: usize = 24;
pub const PR_SET_NO_NEW_PRIVS: usize = 38;
pub const PR_CAP_AMBIENT: usize = 47;
pub const PR_CAP_AMBIENT_RAISE: usize = 2;

pub const CAP_DAC_OVERRIDE: u64 = 1 << 1;
pub const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
pub const CAP_SYS_ADMIN: u64 = 1 << 21;

pub const O_WRONLY: usize = 1;
pub const O_CLOEXEC: usize = 0o2000000;
pub const O_NONBLOCK: usize = 0o4000;
pub const AT_FDCWD: isize = -100;
pub const AT_EACCESS: usize = 0x200;
pub const X_OK: usize = 1;
pub const EINTR: isize = 4;
/// Operation not permitted.
pub const EPERM: isize = 1;
pub const EACCES: isize = 13;
pub const EINVAL: isize = 22;
pub const ETIMEDOUT: i32 = 110;
pub const RESOLVE_NO_XDEV: u64 = 1;
pub const RESOLVE_NO_MAGICLINKS: u64 = 2;
pub const RESOLVE_BENEATH: u64 = 8;
pub const CLOSE_RANGE_CLOEXEC: usize = 4;
const F_SETFD: usize = 2;
const FD_CLOEXEC: usize = 1;
const PROT_READ_WRITE: usize = 3;
const MAP_PRIVATE: usize = 2;
const SECCOMP_SET_MODE_FILTER: usize = 1;
const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const SIGCHLD: usize = 17;
pub const SIGKILL: usize = 9;
const CLONE_PIDFD: usize = 0x1000;
const CLONE_PARENT: usize = 0x8000;
const CLONE_NEWPID: usize = 0x2000_0000;
const TIOCSCTTY: usize = 0x540e;
const WEXITED: usize = 4;
const P_PIDFD: usize = 3;
pub const POLLIN: i16 = 1;

/// `struct sock_fprog` of linux/filter.h.
#[repr(C)]
pub struct SockFprog {
    pub len: u16,
    pub filter: *const u8,
}

/// `struct pollfd`.
#[repr(C)]
pub struct PollFd {
    pub fd: i32,
    pub events: i16,
    pub revents: i16,
}

/// Default action for each signal of a mask (bit 0 is signal 1).
pub fn reset_signals(mask: u64) {
    // struct sigaction of the kernel: handler (SIG_DFL is 0), flags, restorer, mask.
    let action = [0u64; 4];
    for signal in 1..=64 {
        if mask & (1 << (signal - 1)) != 0 {
            syscall(
                NR_RT_SIGACTION,
                [signal, action.as_ptr() as usize, 0, 8, 0, 0],
            );
        }
    }
}

/// Ends the process. Where the seccomp filter refuses even that, by a fault: to ask again
/// and again would hang whoever waits.
pub fn exit(code: usize) -> ! {
    syscall(NR_EXIT_GROUP, [code, 0, 0, 0, 0, 0]);
    fault()
}

/// How often a call is made again after EINTR. No signal is handled here, so once would do;
/// but a seccomp filter can answer it always.
const INTERRUPTIONS_MAX: u32 = 1000;

/// Whether a call with this result is to be made again; `tries` counts them.
pub fn interrupted(result: isize, tries: &mut u32) -> bool {
    *tries += 1;
    result == -EINTR && *tries <= INTERRUPTIONS_MAX
}

pub fn read(fd: i32, buffer: *mut u8, length: usize) -> isize {
    syscall(NR_READ, [fd as usize, buffer as usize, length, 0, 0, 0])
}

pub fn write(fd: i32, buffer: *const u8, length: usize) -> isize {
    syscall(NR_WRITE, [fd as usize, buffer as usize, length, 0, 0, 0])
}

pub fn close(fd: i32) {
    syscall(NR_CLOSE, [fd as usize, 0, 0, 0, 0, 0]);
}

pub fn openat2(dir: i32, path: *const u8, flags: usize, resolve: u64) -> isize {
    // struct open_how: flags, mode, resolve.
    let how = [flags as u64, 0, resolve];
    let address = how.as_ptr() as usize;
    syscall(
        NR_OPENAT2,
        [
            dir as usize,
            path as usize,
            address,
            size_of_val(&how),
            0,
            0,
        ],
    )
}

pub fn mmap_private(fd: i32, length: usize, offset: usize) -> *const u8 {
    syscall(
        NR_MMAP,
        [0, length, PROT_READ_WRITE, MAP_PRIVATE, fd as usize, offset],
    ) as *const u8
}

pub fn prctl(option: usize, a: usize, b: usize) -> isize {
    syscall(NR_PRCTL, [option, a, b, 0, 0, 0])
}

pub fn close_range(from: u32, to: u32, flags: usize) -> isize {
    syscall(NR_CLOSE_RANGE, [from as usize, to as usize, flags, 0, 0, 0])
}

pub fn set_cloexec(fd: i32) -> isize {
    syscall(NR_FCNTL, [fd as usize, F_SETFD, FD_CLOEXEC, 0, 0, 0])
}

pub fn sched_setattr(attr: &[u64; 7]) -> isize {
    syscall(NR_SCHED_SETATTR, [0, attr.as_ptr() as usize, 0, 0, 0, 0])
}

/// Sets one of this process's limits: soft and hard value.
pub fn set_rlimit(resource: u64, limit: &[u64; 2]) -> isize {
    let limit = (&raw const *limit) as usize;
    syscall(NR_PRLIMIT64, [0, resource as usize, limit, 0, 0, 0])
}

pub fn setgroups(count: usize, groups: *const u8) -> isize {
    syscall(NR_SETGROUPS, [count, groups as usize, 0, 0, 0, 0])
}

pub fn setresgid(gid: u32) -> isize {
    let gid = gid as usize;
    syscall(NR_SETRESGID, [gid, gid, gid, 0, 0, 0])
}

pub fn setresuid(uid: u32) -> isize {
    let uid = uid as usize;
    syscall(NR_SETRESUID, [uid, uid, uid, 0, 0, 0])
}

pub fn umask(mask: u32) {
    syscall(NR_UMASK, [mask as usize, 0, 0, 0, 0, 0]);
}

pub fn faccessat2(path: *const u8, mode: usize, flags: usize) -> isize {
    syscall(
        NR_FACCESSAT2,
        [AT_FDCWD as usize, path as usize, mode, flags, 0, 0],
    )
}

pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> isize {
    let header: [u32; 2] = [LINUX_CAPABILITY_VERSION_3, 0];
    let data: [u32; 6] = [
        effective as u32,
        permitted as u32,
        inheritable as u32,
        (effective >> 32) as u32,
        (permitted >> 32) as u32,
        (inheritable >> 32) as u32,
    ];
    syscall(
        NR_CAPSET,
        [header.as_ptr() as usize, data.as_ptr() as usize, 0, 0, 0, 0],
    )
}

pub fn seccomp_filter(flags: u32, program: &SockFprog) -> isize {
    let program = (&raw const *program) as usize;
    syscall(
        NR_SECCOMP,
        [SECCOMP_SET_MODE_FILTER, flags as usize, program, 0, 0, 0],
    )
}

pub fn execve(path: *const u8, argv: *const *const u8, envp: *const *const u8) -> isize {
    syscall(
        NR_EXECVE,
        [path as usize, argv as usize, envp as usize, 0, 0, 0],
    )
}

pub fn memfd_create(name: *const u8) -> isize {
    syscall(NR_MEMFD_CREATE, [name as usize, 1, 0, 0, 0, 0])
}

pub fn rewind(fd: i32) {
    syscall(NR_LSEEK, [fd as usize, 0, 0, 0, 0, 0]);
}

pub fn pipe(fds: &mut [i32; 2]) -> isize {
    syscall(
        NR_PIPE2,
        [
            fds.as_mut_ptr() as usize,
            O_CLOEXEC | O_NONBLOCK,
            0,
            0,
            0,
            0,
        ],
    )
}

pub fn dup3(from: i32, to: i32) -> isize {
    syscall(NR_DUP3, [from as usize, to as usize, 0, 0, 0, 0])
}

pub fn setsid() {
    syscall(NR_SETSID, [0; 6]);
}

/// Makes the terminal `fd` the session's.
pub fn set_controlling_terminal(fd: i32) -> isize {
    syscall(NR_IOCTL, [fd as usize, TIOCSCTTY, 0, 0, 0, 0])
}

pub fn getpid() -> isize {
    syscall(NR_GETPID, [0; 6])
}

/// fork(2) with a pidfd: 0 in the child.
pub fn fork(pidfd: &mut i32) -> isize {
    syscall(
        NR_CLONE,
        [
            CLONE_PIDFD | SIGCHLD,
            0,
            (&raw mut *pidfd) as usize,
            0,
            0,
            0,
        ],
    )
}

/// Forks a sibling: its parent is the caller's, which keeps it and gets its SIGCHLD.
pub fn fork_sibling() -> isize {
    syscall(NR_CLONE, [CLONE_PARENT | SIGCHLD, 0, 0, 0, 0, 0])
}

/// Joins a pid namespace, for the children to come.
pub fn join_pid_namespace(fd: i32) -> isize {
    syscall(NR_SETNS, [fd as usize, CLONE_NEWPID, 0, 0, 0, 0])
}

/// Waits for the child and gives its wait status: (code, status) of siginfo.
pub fn wait_for(pidfd: i32) -> (i32, i32) {
    let mut info = [0i32; 32];
    let mut tries = 0;
    loop {
        let result = syscall(
            NR_WAITID,
            [
                P_PIDFD,
                pidfd as usize,
                info.as_mut_ptr() as usize,
                WEXITED,
                0,
                0,
            ],
        );
        if !interrupted(result, &mut tries) {
            // si_code is the third int, si_status the sixth after the padding of the union.
            return (info[2], info[6]);
        }
    }
}

pub fn kill_group(pid: isize) {
    syscall(NR_KILL, [(-pid) as usize, SIGKILL, 0, 0, 0, 0]);
}

/// fsopen(2).
pub fn fsopen(fstype: *const u8) -> isize {
    const FSOPEN_CLOEXEC: usize = 1;
    syscall(NR_FSOPEN, [fstype as usize, FSOPEN_CLOEXEC, 0, 0, 0, 0])
}

/// Sends a descriptor and one byte.
pub fn send_descriptor(channel: i32, fd: i32) -> isize {
    const SOL_SOCKET_AND_SCM_RIGHTS: u64 = 1 | 1 << 32;
    let byte = 0u8;
    // struct iovec; struct cmsghdr with an int, padded; struct msghdr, whose last two members
    // are the control data's length and flags.
    let part = [(&raw const byte) as usize, 1];
    let control = [16 + 4, SOL_SOCKET_AND_SCM_RIGHTS, fd as u32 as u64];
    let (parts, control_at) = (part.as_ptr() as usize, control.as_ptr() as usize);
    let header = [0, 0, parts, 1, control_at, size_of_val(&control), 0];
    syscall(
        NR_SENDMSG,
        [channel as usize, header.as_ptr() as usize, 0, 0, 0, 0],
    )
}

/// poll(2) by ppoll; `timeout_ms` negative waits for ever.
pub fn poll(fds: &mut [PollFd], timeout_ms: i64) -> isize {
    let time = [timeout_ms / 1000, timeout_ms % 1000 * 1_000_000];
    let time = if timeout_ms < 0 {
        0
    } else {
        time.as_ptr() as usize
    };
    syscall(
        NR_PPOLL,
        [fds.as_mut_ptr() as usize, fds.len(), time, 0, 0, 0],
    )
}

/// Milliseconds of the monotonic clock.
pub fn now_ms() -> i64 {
    let mut time = [0i64; 2];
    syscall(
        NR_CLOCK_GETTIME,
        [1, time.as_mut_ptr() as usize, 0, 0, 0, 0],
    );
    time[0] * 1000 + time[1] / 1_000_000
}
