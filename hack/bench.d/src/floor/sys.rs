//! The floor's system calls: safe, thin, and without mercy: the first error ends the program with one line.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uint, c_ulong};
use std::io;
use std::ptr;

/// clone3 alone has it (Linux 5.7).
pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A path or an argument; the floor's own strings hold no NUL.
pub fn c(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// Ends the program with the last error.
pub fn fail(what: &str) -> ! {
    let line = format!("floor: {what}: {}\n", io::Error::last_os_error());
    // SAFETY: the buffer lives over the call; _exit does not return.
    unsafe {
        libc::write(2, line.as_ptr().cast(), line.len());
        libc::_exit(1)
    }
}

/// Ends the program well.
pub fn exit() -> ! {
    // SAFETY: takes a number and does not return.
    unsafe { libc::_exit(0) }
}

fn check(result: impl Into<c_long>, what: &str) -> c_long {
    match result.into() {
        -1 => fail(what),
        result => result,
    }
}

/// A raw system call with numbers and pointers to live data.
macro_rules! call {
    ($what:expr, $number:expr $(, $arg:expr)*) => {{
        // SAFETY: every pointer among the arguments is of data that outlives the call and is as long as is said.
        let result = unsafe { libc::syscall($number $(, $arg)*) };
        check(result, $what)
    }};
}

pub fn mkdir(path: &str) {
    call!(
        path,
        libc::SYS_mkdirat,
        libc::AT_FDCWD,
        c(path).as_ptr(),
        0o755
    );
}

pub fn rmdir(path: &str) -> bool {
    // SAFETY: a C string that outlives the call.
    unsafe { libc::rmdir(c(path).as_ptr()) == 0 }
}

pub fn unlink(path: &str) {
    call!(
        path,
        libc::SYS_unlinkat,
        libc::AT_FDCWD,
        c(path).as_ptr(),
        0
    );
}

pub fn rename(from: &str, to: &str) {
    call!(
        to,
        libc::SYS_renameat2,
        libc::AT_FDCWD,
        c(from).as_ptr(),
        libc::AT_FDCWD,
        c(to).as_ptr(),
        0
    );
}

pub fn mknod(path: &str, mode: c_uint, device: u64) {
    call!(
        path,
        libc::SYS_mknodat,
        libc::AT_FDCWD,
        c(path).as_ptr(),
        mode,
        device
    );
}

pub fn symlink(to: &str, path: &str) {
    call!(
        path,
        libc::SYS_symlinkat,
        c(to).as_ptr(),
        libc::AT_FDCWD,
        c(path).as_ptr()
    );
}

pub fn chdir(path: &str) {
    call!(path, libc::SYS_chdir, c(path).as_ptr());
}

pub fn open(path: &str, flags: c_int) -> c_int {
    call!(
        path,
        libc::SYS_openat,
        libc::AT_FDCWD,
        c(path).as_ptr(),
        flags | libc::O_CLOEXEC,
        0o600
    ) as c_int
}

/// Opens a file that may be missing.
pub fn try_open(path: &str, flags: c_int) -> Option<c_int> {
    // SAFETY: a C string that outlives the call.
    let fd = unsafe { libc::open(c(path).as_ptr(), flags | libc::O_CLOEXEC) };
    (fd >= 0).then_some(fd)
}

pub fn exists(path: &str) -> bool {
    // SAFETY: a C string that outlives the call.
    unsafe { libc::access(c(path).as_ptr(), libc::F_OK) == 0 }
}

pub fn close(fd: c_int) {
    call!("close", libc::SYS_close, fd);
}

pub fn read(fd: c_int, into: &mut [u8]) -> usize {
    call!("read", libc::SYS_read, fd, into.as_mut_ptr(), into.len()) as usize
}

pub fn write(fd: c_int, bytes: &[u8]) {
    call!("write", libc::SYS_write, fd, bytes.as_ptr(), bytes.len());
}

/// Opens, writes, closes.
pub fn write_file(path: &str, bytes: &str, flags: c_int) {
    let fd = open(path, libc::O_WRONLY | flags);
    if call!(path, libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) != bytes.len() as c_long {
        fail(path);
    }
    close(fd);
}

/// Opens, reads up to `into.len()` bytes, closes.
pub fn read_file(path: &str, into: &mut [u8]) -> usize {
    let fd = open(path, libc::O_RDONLY);
    let length = read(fd, into);
    close(fd);
    length
}

/// mount(2); an empty source, kind or data is none.
pub fn mount(source: &str, target: &str, kind: &str, flags: c_ulong, data: &str) {
    if !try_mount(source, target, kind, flags, data) {
        fail(target);
    }
}

/// mount(2) on what may be missing.
pub fn try_mount(source: &str, target: &str, kind: &str, flags: c_ulong, data: &str) -> bool {
    let [source, target, kind, data] = [source, target, kind, data].map(c);
    let or_null = |text: &CStr| match text.is_empty() {
        true => ptr::null::<c_char>(),
        false => text.as_ptr(),
    };
    // SAFETY: four C strings (or none) that outlive the call.
    unsafe {
        libc::mount(
            or_null(&source),
            target.as_ptr(),
            or_null(&kind),
            flags,
            or_null(&data).cast(),
        ) == 0
    }
}

/// Makes the current directory the root and lets go of the old one.
pub fn pivot_here() {
    let dot = c(".");
    call!(
        "pivot_root",
        libc::SYS_pivot_root,
        dot.as_ptr(),
        dot.as_ptr()
    );
    call!("umount", libc::SYS_umount2, dot.as_ptr(), libc::MNT_DETACH);
    chdir("/");
}

/// clone3 without an exit of its own: (pid or 0 in the child, pidfd in the parent).
pub fn clone3(flags: u64, cgroup: c_int) -> (i32, c_int) {
    let mut pidfd: c_int = -1;
    // struct clone_args up to `cgroup` (Linux 5.7).
    let mut args = [0u64; 11];
    args[0] = flags | libc::CLONE_PIDFD as u64;
    args[1] = &raw mut pidfd as u64;
    args[4] = libc::SIGCHLD as u64;
    args[10] = cgroup.max(0) as u64;
    let pid = call!(
        "clone3",
        libc::SYS_clone3,
        args.as_ptr(),
        size_of_val(&args)
    );
    (pid as i32, pidfd)
}

pub fn unshare(flags: c_int) {
    call!("unshare", libc::SYS_unshare, flags);
}

pub fn wait(pid: i32) {
    call!("wait4", libc::SYS_wait4, pid, ptr::null::<c_int>(), 0, 0);
}

/// A connected pair of SOCK_SEQPACKET sockets.
pub fn socketpair() -> [c_int; 2] {
    let mut pair = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    call!(
        "socketpair",
        libc::SYS_socketpair,
        libc::AF_UNIX,
        kind,
        0,
        pair.as_mut_ptr()
    );
    pair
}

/// setsid, a session keyring of its own, the hostname.
pub fn new_session(hostname: &str) {
    call!("setsid", libc::SYS_setsid);
    call!(
        "keyctl",
        libc::SYS_keyctl,
        libc::KEYCTL_JOIN_SESSION_KEYRING,
        0
    );
    call!(
        "sethostname",
        libc::SYS_sethostname,
        hostname.as_ptr(),
        hostname.len()
    );
}

/// Brings the loopback device of a new network namespace up.
pub fn loopback_up() {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    let socket = call!("socket", libc::SYS_socket, libc::AF_INET, kind, 0) as c_int;
    // struct ifreq: the name, then the flags.
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as u16;
    request[libc::IFNAMSIZ..][..2].copy_from_slice(&flags.to_ne_bytes());
    call!(
        "lo",
        libc::SYS_ioctl,
        socket,
        libc::SIOCSIFFLAGS,
        request.as_ptr()
    );
    close(socket);
}

pub fn umask(mask: c_uint) {
    call!("umask", libc::SYS_umask, mask);
}

pub fn limit_files(count: u64) {
    let limit = [count, count];
    call!(
        "setrlimit",
        libc::SYS_setrlimit,
        libc::RLIMIT_NOFILE,
        limit.as_ptr()
    );
}

pub fn set_groups(groups: &[libc::gid_t]) {
    call!(
        "setgroups",
        libc::SYS_setgroups,
        groups.len(),
        groups.as_ptr()
    );
}

pub fn no_new_privileges() {
    call!(
        "no_new_privs",
        libc::SYS_prctl,
        libc::PR_SET_NO_NEW_PRIVS,
        1,
        0,
        0,
        0
    );
}

/// Takes everything that is not in `keep` out of the bounding set; 40 is the last capability since Linux 5.9.
pub fn drop_bounding(keep: u64) {
    for capability in (0..=40).filter(|bit| keep & 1 << bit == 0) {
        call!(
            "bounding set",
            libc::SYS_prctl,
            libc::PR_CAPBSET_DROP,
            capability,
            0,
            0,
            0
        );
    }
}

/// Makes `keep` the effective and permitted set, and the inheritable one empty.
pub fn set_capabilities(keep: u64) {
    let header = [0x2008_0522u32, 0];
    let (low, high) = (keep as u32, (keep >> 32) as u32);
    let data = [low, low, 0, high, high, 0];
    call!("capset", libc::SYS_capset, header.as_ptr(), data.as_ptr());
}

/// Loads a program of `struct sock_filter`s.
pub fn load_seccomp(program: &[u8]) {
    let filter = libc::sock_fprog {
        len: (program.len() / 8) as u16,
        filter: program.as_ptr().cast_mut().cast(),
    };
    call!(
        "seccomp",
        libc::SYS_seccomp,
        libc::SECCOMP_SET_MODE_FILTER,
        0,
        &raw const filter
    );
}

/// Loads a BPF_PROG_TYPE_CGROUP_DEVICE program and attaches it to the cgroup.
pub fn attach_device_program(instructions: &[u64], cgroup: c_int) {
    const PROG_LOAD: c_int = 5;
    const PROG_ATTACH: c_int = 8;
    let licence = c("Apache-2.0");
    // The whole union, zeroed: some kernels write past a short one.
    let mut attr = [0u64; 21];
    attr[0] = 15 | (instructions.len() as u64) << 32;
    attr[1] = instructions.as_ptr() as u64;
    attr[2] = licence.as_ptr() as u64;
    let size = size_of_val(&attr);
    let program = call!("bpf load", libc::SYS_bpf, PROG_LOAD, attr.as_ptr(), size);
    let mut attr = [0u64; 21];
    attr[0] = cgroup as u64 | (program as u64) << 32;
    // BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI.
    attr[1] = 6 | 2 << 32;
    call!(
        "bpf attach",
        libc::SYS_bpf,
        PROG_ATTACH,
        attr.as_ptr(),
        size
    );
    close(program as c_int);
}

/// Marks every descriptor above standard error to be closed by execve.
pub fn close_on_exec() {
    call!(
        "close_range",
        libc::SYS_close_range,
        3,
        c_uint::MAX,
        libc::CLOSE_RANGE_CLOEXEC
    );
}

pub fn execute(path: &str, environment: &[&CStr]) -> ! {
    let path_c = c(path);
    let argv = [path_c.as_ptr(), ptr::null()];
    let mut envp: Vec<_> = environment.iter().map(|entry| entry.as_ptr()).collect();
    envp.push(ptr::null());
    // SAFETY: NULL-terminated arrays of C strings that outlive the call.
    unsafe { libc::execve(path_c.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    fail(path)
}

/// The arguments of `main`.
///
/// # Safety
/// `argv` holds `argc` C strings that live as long as the process.
pub unsafe fn arguments(argc: c_int, argv: *const *const c_char) -> Vec<&'static str> {
    (0..argc as usize)
        .map(|i| {
            // SAFETY: the caller's promise.
            let arg = unsafe { CStr::from_ptr(*argv.add(i)) };
            arg.to_str().unwrap_or_default()
        })
        .collect()
}
