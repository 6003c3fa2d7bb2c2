//! The system calls that the bench needs, as safe functions: spawn and wait with a precise clock, process ends by
//! pidfd, the peak of a program's memory, mounts. The only file of the bench (beside the floor's) with `unsafe`.

use std::ffi::{CString, c_char, c_int, c_uint, c_ulong};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// A command line with every allocation done, so that nothing but the spawn is timed.
pub struct Prepared {
    strings: Vec<CString>,
    argv: Vec<*const c_char>,
}

impl Prepared {
    /// `argv[0]` is the program's path. Fails when an argument holds a NUL.
    pub fn new(argv: &[String]) -> io::Result<Self> {
        let strings = argv
            .iter()
            .map(|arg| CString::new(arg.as_str()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut argv: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        argv.push(ptr::null());
        Ok(Self { strings, argv })
    }

    /// The same command line as the arguments of another program.
    pub fn prefixed(&self, program: &[&str]) -> io::Result<Self> {
        let own = self.strings.iter().map(|s| s.to_string_lossy());
        let argv: Vec<_> = program.iter().map(|&s| s.into()).chain(own).collect();
        Self::new(
            &argv
                .iter()
                .map(|s: &std::borrow::Cow<str>| s.to_string())
                .collect::<Vec<_>>(),
        )
    }
}

/// The environment of every measured program: engines hand their runtime little more.
const ENVIRONMENT: [&std::ffi::CStr; 1] =
    [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];

fn environment() -> [*const c_char; 2] {
    [ENVIRONMENT[0].as_ptr(), ptr::null()]
}

/// Standard input and output (`/dev/null`) and standard error (a log) of every measured program.
pub struct Stdio {
    pub null: OwnedFd,
    pub log: OwnedFd,
}

/// What a child that ended has used, its own waited-for children included (`wait4`).
pub struct Usage {
    /// As `waitpid` gives it.
    pub status: c_int,
    /// User and system time, ns.
    pub cpu: u64,
}

/// The child that is being waited for, or 0.
static CURRENT: AtomicI32 = AtomicI32::new(0);
/// Whether a signal asked the bench to end.
static STOPPED: AtomicBool = AtomicBool::new(false);
/// How long a spawned program may take, s.
const PATIENCE: c_uint = 60;

/// Ends a child that hangs or that the user no longer wants; all the rest is done where signals are no matter.
extern "C" fn on_signal(signal: c_int) {
    if signal != libc::SIGALRM {
        STOPPED.store(true, Ordering::Relaxed);
    }
    let pid = CURRENT.load(Ordering::Relaxed);
    if pid > 0 {
        kill(pid, libc::SIGKILL);
    }
}

/// From now on SIGINT and SIGTERM lead to an orderly end, and a program that hangs is killed.
pub fn catch_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGALRM] {
        // SAFETY: the handler touches atomics and calls kill(2), which is async-signal-safe.
        unsafe { libc::signal(signal, on_signal as *const () as libc::sighandler_t) };
    }
}

/// Whether SIGINT or SIGTERM has come.
pub fn stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}

/// CLOCK_MONOTONIC in ns.
pub fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: time is a valid timespec to write to; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Starts a program with `posix_spawn` (in musl a vfork: the price does not depend on our own size) and returns its pid.
pub fn spawn(command: &Prepared, stdio: &Stdio) -> io::Result<i32> {
    let mut pid = 0;
    // SAFETY: alarm takes a number.
    unsafe { libc::alarm(PATIENCE) };
    // SAFETY: attributes and actions are initialised before use and destroyed after it; argv and environment are
    // NULL-terminated arrays of C strings that outlive the call, in which the child has already executed.
    let error = unsafe {
        let mut actions = std::mem::zeroed();
        libc::posix_spawn_file_actions_init(&mut actions);
        libc::posix_spawn_file_actions_adddup2(&mut actions, stdio.null.as_raw_fd(), 0);
        libc::posix_spawn_file_actions_adddup2(&mut actions, stdio.null.as_raw_fd(), 1);
        libc::posix_spawn_file_actions_adddup2(&mut actions, stdio.log.as_raw_fd(), 2);
        let mut attributes = std::mem::zeroed();
        libc::posix_spawnattr_init(&mut attributes);
        let mut default = std::mem::zeroed();
        libc::sigemptyset(&mut default);
        // std ignores SIGPIPE and that would survive the exec.
        libc::sigaddset(&mut default, libc::SIGPIPE);
        libc::posix_spawnattr_setsigdefault(&mut attributes, &default);
        libc::posix_spawnattr_setflags(&mut attributes, libc::POSIX_SPAWN_SETSIGDEF as _);
        let error = libc::posix_spawn(
            &mut pid,
            command.argv[0],
            &actions,
            &attributes,
            command.argv.as_ptr().cast(),
            environment().as_ptr().cast(),
        );
        libc::posix_spawn_file_actions_destroy(&mut actions);
        libc::posix_spawnattr_destroy(&mut attributes);
        error
    };
    if error == 0 {
        CURRENT.store(pid, Ordering::Relaxed);
        Ok(pid)
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}

/// Waits for one child (pid -1: any) and says what it used. With `WNOHANG` in `flags` the answer may be `None`.
pub fn wait(pid: i32, flags: c_int) -> io::Result<Option<Usage>> {
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid one, and both pointers are valid for the call.
    let (result, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid, &mut status, flags, &mut usage), usage)
    };
    if result == CURRENT.load(Ordering::Relaxed) && !libc::WIFSTOPPED(status) {
        CURRENT.store(0, Ordering::Relaxed);
    }
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    match result {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(Some(Usage {
            status,
            cpu: ns(usage.ru_utime) + ns(usage.ru_stime),
        })),
    }
}

/// Runs a program to its end under ptrace and returns (wait status, the peak of its resident memory in KiB).
///
/// `ru_maxrss` does not do: across an exec the kernel keeps the peak of the image before it, which is this bench's own.
/// Here the program stops at its exit while its memory is still there and `peak` reads VmHWM. Its children run free.
pub fn run_to_peak(
    command: &Prepared,
    stdio: &Stdio,
    peak: impl Fn(i32) -> Option<u64>,
) -> io::Result<(c_int, u64)> {
    // SAFETY: the bench has one thread; the child makes only async-signal-safe calls on prepared memory, then executes.
    let pid = unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            libc::dup2(stdio.null.as_raw_fd(), 0);
            libc::dup2(stdio.null.as_raw_fd(), 1);
            libc::dup2(stdio.log.as_raw_fd(), 2);
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::execve(
                command.argv[0],
                command.argv.as_ptr(),
                environment().as_ptr(),
            );
            libc::_exit(127);
        }
        pid
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    CURRENT.store(pid, Ordering::Relaxed);
    // SAFETY: alarm takes a number.
    unsafe { libc::alarm(PATIENCE) };
    let mut highest = 0;
    let mut first = true;
    loop {
        let Some(usage) = wait(pid, 0)? else { continue };
        if !libc::WIFSTOPPED(usage.status) {
            return Ok((usage.status, highest));
        }
        if first {
            first = false;
            // SAFETY: the child is stopped and ours; the option is a plain number.
            unsafe {
                libc::ptrace(
                    libc::PTRACE_SETOPTIONS,
                    pid,
                    0,
                    libc::PTRACE_O_TRACEEXIT as c_ulong,
                )
            };
        }
        let mut signal = libc::WSTOPSIG(usage.status);
        if signal == libc::SIGTRAP {
            signal = 0;
            if usage.status >> 16 == libc::PTRACE_EVENT_EXIT {
                highest = peak(pid).unwrap_or(0);
            }
        }
        // SAFETY: the child is stopped and ours; the signal goes by value.
        unsafe { libc::ptrace(libc::PTRACE_CONT, pid, 0, signal as c_ulong) };
    }
}

/// A pidfd, by which the end of a process is waited for without a race.
pub fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers; what it returns is a descriptor that nobody else owns.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd as c_int)),
        }
    }
}

/// Whether the process behind a pidfd has ended within so many ms.
pub fn ended(pidfd: &OwnedFd, timeout: c_int) -> bool {
    let mut poll = libc::pollfd {
        fd: pidfd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut poll, 1, timeout) == 1 }
}

/// Sends a signal to a process that the caller knows to be its own child or the child of what it started.
pub fn kill(pid: i32, signal: c_int) {
    // SAFETY: kill takes two numbers.
    unsafe { libc::kill(pid, signal) };
}

/// Makes this process the one that inherits orphans, and the most urgent one if that is allowed.
pub fn become_reaper() -> io::Result<()> {
    // SAFETY: both calls take numbers only.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS as _, 0, -20);
        if libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A mount namespace of our own from which nothing reaches the host's.
pub fn private_mounts() -> io::Result<()> {
    // SAFETY: unshare takes a number.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } == -1 {
        return Err(io::Error::last_os_error());
    }
    mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE, "")
}

/// mount(2).
pub fn mount(source: &str, target: &str, kind: &str, flags: c_ulong, data: &str) -> io::Result<()> {
    let [source, target, kind, data] = [source, target, kind, data].map(CString::new);
    let (source, target, kind, data) = (source?, target?, kind?, data?);
    // SAFETY: four C strings that outlive the call.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// umount2(2) with MNT_DETACH.
pub fn detach(target: &str) -> io::Result<()> {
    let target = CString::new(target)?;
    // SAFETY: a C string that outlives the call.
    if unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// What `uname -rm` says, for the report's head.
pub fn kernel() -> String {
    // SAFETY: an all-zero utsname is valid to write to, and uname ends every field with a NUL.
    let name = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&mut name);
        name
    };
    let text = |field: &[c_char]| {
        field
            .iter()
            .take_while(|&&c| c != 0)
            .map(|&c| c as u8 as char)
            .collect::<String>()
    };
    format!("{} {}", text(&name.release), text(&name.machine))
}

/// The number of processors that this process may use.
pub fn processors() -> c_uint {
    std::thread::available_parallelism().map_or(1, |n| n.get() as c_uint)
}
