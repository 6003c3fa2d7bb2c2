//! The exec stub: the program that a container's init is while it waits for
//! `start`, and that becomes the container's program.
//!
//! It is a few kilobytes without libc or heap. The runtime runs it from a
//! sealed memfd of the container's own, so that nothing inside ever has a
//! handle on the host's `corten` binary (CVE-2019-5736), and so that the
//! runtime's memory is given back before the wait. Its data ([`abi::Block`])
//! follows its image in the same memfd.
//!
//! Story: map the data, hide every descriptor from the program, set labels, join, set
//! limits, credentials and the filter, say READY, wait on the fifo, run the
//! startContainer hooks, execve. It is built by build.rs.
//!
//! A pid namespace that exists is joined here and not before: what is seen in it has
//! the container's root, no foreign descriptor and this image.
//!
//! It opens procfs for others too, as `corten-proc:CHANNEL` ([`procfs`]).
//!
//! argv: `corten-init:DATA:OFFSET:CHANNEL:FIFO:PROC:PIDNS:SIZE`, the program's path, the
//! program's argv. DATA, CHANNEL, FIFO, PROC and PIDNS are descriptors; OFFSET and SIZE
//! say where the block lies in DATA.
#![no_std]
#![no_main]

#[allow(dead_code, missing_docs)]
mod abi;
mod arch;
mod hooks;
mod mem;
mod procfs;
mod sys;

use abi::*;
use sys::*;

/// Pointers and numbers that every step needs.
pub struct Context {
    base: *const u8,
    block: Block,
    channel: i32,
    fifo: i32,
    proc_dir: i32,
    pid_namespace: i32,
    /// Where a failure is told: the channel, and the fifo once it is open.
    report_to: i32,
}

impl Context {
    /// Address of a position in the block.
    fn at(&self, span: Span) -> *const u8 {
        // SAFETY: the runtime made every span inside the block it mapped.
        unsafe { self.base.add(span.offset as usize) }
    }

    /// Tells what failed and ends.
    fn fail(&self, stage: Stage, index: u32, errno: i32) -> ! {
        self.fail_with(&mut Message::new(TAG_FAILED, stage as u32, index, errno))
    }

    fn fail_with(&self, message: &mut Message) -> ! {
        write(
            self.report_to,
            (&raw const *message).cast(),
            MESSAGE_HEAD + message.len as usize,
        );
        exit(255)
    }

    fn check(&self, result: isize, stage: Stage) -> isize {
        if result < 0 {
            self.fail(stage, 0, -result as i32)
        } else {
            result
        }
    }
}

/// Reads the next number of `corten-init:1:2:3`; `None` at the end.
fn number(text: &mut *const u8) -> i32 {
    let mut value: i32 = 0;
    // SAFETY: argv[0] ends with a NUL, at which the loops stop.
    unsafe {
        while **text != 0 && **text != b':' {
            *text = text.add(1);
        }
        if **text == b':' {
            *text = text.add(1);
        }
        let negative = **text == b'-';
        if negative {
            *text = text.add(1);
        }
        while (**text).is_ascii_digit() {
            value = value
                .wrapping_mul(10)
                .wrapping_add(i32::from(**text - b'0'));
            *text = text.add(1);
        }
        if negative { -value } else { value }
    }
}

/// Whether a string has this beginning.
fn begins(text: *const u8, beginning: &[u8]) -> bool {
    let mut same = beginning.iter().enumerate();
    // SAFETY: the text ends with a NUL, which is different from what stands there in the beginning.
    same.all(|(at, byte)| unsafe { *text.add(at) } == *byte)
}

/// Entered from `_start` with the stack as the kernel laid it out.
///
/// # Safety
/// `stack` points at argc.
#[unsafe(no_mangle)]
unsafe extern "C" fn stub_main(stack: *const usize) -> ! {
    // SAFETY: the kernel puts argc, argv, NULL, envp, NULL there.
    let (argc, argv) = unsafe { (*stack, stack.add(1).cast::<*const u8>()) };
    if argc < 3 {
        exit(255);
    }
    // SAFETY: as above; argc is at least 3.
    let (mut text, path, program, envp) =
        unsafe { (*argv, *argv.add(1), argv.add(2), argv.add(argc + 1)) };
    prctl(PR_SET_DUMPABLE, 0, 0);
    let opens_procfs = begins(text, b"corten-proc:");
    let data = number(&mut text);
    if opens_procfs {
        procfs::open_inside(data);
    }
    let offset = number(&mut text);
    let channel = number(&mut text);
    let fifo = number(&mut text);
    let proc_dir = number(&mut text);
    let pid_namespace = number(&mut text);
    let size = number(&mut text);

    let base = mmap_private(data, size as usize, offset as usize);
    if (base as isize) < 0 && (base as isize) > -4096 {
        let mut m = Message::new(
            TAG_FAILED,
            Stage::StubData as u32,
            0,
            -(base as isize) as i32,
        );
        write(channel, (&raw mut m).cast(), MESSAGE_HEAD);
        exit(255);
    }
    // SAFETY: the runtime put a Block at the start of the data.
    let block = unsafe { *base.cast::<Block>() };
    let context = Context {
        base,
        block,
        channel,
        fifo,
        proc_dir,
        pid_namespace,
        report_to: channel,
    };
    run(context, path, program, envp)
}

fn run(mut c: Context, path: *const u8, argv: *const *const u8, envp: *const *const u8) -> ! {
    c.check(hide_descriptors(&c), Stage::Descriptors);
    write_labels(&c);
    if c.proc_dir >= 0 {
        // No directory stays open while this waits among the container's processes.
        close(c.proc_dir);
    }
    if c.pid_namespace != -1 {
        enter_pid_namespace(&c);
    }
    set_rlimits(&c);
    if c.block.flags & FLAG_SCHEDULER != 0 {
        c.check(sched_setattr(&c.block.scheduler), Stage::Scheduling);
    }
    reset_signals(c.block.ignored_signals);
    let loaded = credentials(&c, path);
    if !loaded {
        load_filter(&c);
    }

    if c.block.flags & FLAG_WAIT != 0 {
        let mut ready = Message::new(TAG_READY, 0, 0, 0);
        if write(c.channel, (&raw mut ready).cast(), MESSAGE_HEAD) < 0 {
            // The runtime was killed: nobody will ever start this.
            exit(255);
        }
        // The runtime's create has ended; only the fifo's reader listens now.
        c.report_to = wait_for_start(&c);
    }
    hooks::run(&c, envp);
    let errno = -execve(path, argv, envp) as i32;
    let mut message = Message::new(TAG_FAILED, Stage::Exec as u32, 0, errno);
    let mut length = 0;
    // SAFETY: the path ends with a NUL.
    while length < DETAIL_MAX && unsafe { *path.add(length) } != 0 {
        // SAFETY: as above.
        message.detail[length] = unsafe { *path.add(length) };
        length += 1;
    }
    message.len = length as u32;
    c.fail_with(&mut message)
}

/// Marks every descriptor that the program does not get to be closed by execve.
fn hide_descriptors(c: &Context) -> isize {
    let mut from = c.block.close_from;
    let marked = close_range(from, u32::MAX, CLOSE_RANGE_CLOEXEC);
    if marked != -EINVAL {
        return marked;
    }
    // Linux 5.9 and 5.10 can close, but not mark: all but those needed here, which are marked.
    let needed = [c.channel, c.fifo, c.proc_dir, c.pid_namespace];
    loop {
        let next = needed.into_iter().filter(|&fd| fd >= from as i32).min();
        let Some(fd) = next else {
            return close_range(from, u32::MAX, 0);
        };
        let mut result = set_cloexec(fd);
        if result == 0 && fd as u32 > from {
            result = close_range(from, fd as u32 - 1, 0);
        }
        if result < 0 {
            return result;
        }
        from = fd as u32 + 1;
    }
}

/// Goes on as a sibling in the pid namespace; the process that was here ends.
fn enter_pid_namespace(c: &Context) {
    let stage = Stage::JoinPidNamespace;
    if c.pid_namespace != PID_NAMESPACE_JOINED {
        c.check(join_pid_namespace(c.pid_namespace), stage);
        close(c.pid_namespace);
    }
    let pid = c.check(fork_sibling(), stage);
    if pid > 0 {
        let mut message = Message::new(TAG_INIT, 0, 0, pid as i32);
        write(c.channel, (&raw mut message).cast(), MESSAGE_HEAD);
        exit(0);
    }
    // Not before the runtime knows this process. Its death ends it too.
    // A session has to begin in here too, and its terminal with it.
    setsid();
    if c.block.flags & FLAG_TERMINAL != 0 {
        c.check(set_controlling_terminal(0), Stage::Console);
    }
    let mut message = Message::new(0, 0, 0, 0);
    if read(c.channel, (&raw mut message).cast(), MESSAGE_HEAD) <= 0 {
        exit(255);
    }
}

/// Waits for the byte that `start` writes. The descriptor is open for writing too:
/// its close by execve tells `start` that the program runs; a record in it tells
/// why not.
fn wait_for_start(c: &Context) -> i32 {
    let mut byte = 0u8;
    let mut tries = 0;
    loop {
        match read(c.fifo, &raw mut byte, 1) {
            1 => return c.fifo,
            result if interrupted(result, &mut tries) => {}
            result => c.fail(Stage::Fifo, 0, -result as i32),
        }
    }
}

fn write_labels(c: &Context) {
    let writes = c.at(c.block.proc_writes).cast::<ProcWrite>();
    for i in 0..c.block.proc_writes.count {
        // SAFETY: the runtime wrote `count` entries there.
        let entry = unsafe { *writes.add(i as usize) };
        // Nothing that the configuration had mounted on the way is entered (CVE-2025-52881).
        let fd = openat2(
            c.proc_dir,
            c.at(entry.path),
            O_WRONLY | O_CLOEXEC,
            RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS,
        );
        if fd < 0 {
            c.fail(Stage::Label, i, -fd as i32);
        }
        let written = write(fd as i32, c.at(entry.value), entry.value.count as usize);
        if written < 0 {
            c.fail(Stage::Label, i, -written as i32);
        }
        close(fd as i32);
    }
}

fn set_rlimits(c: &Context) {
    let limits = c.at(c.block.rlimits).cast::<RlimitEntry>();
    for i in 0..c.block.rlimits.count {
        // SAFETY: the runtime wrote `count` entries there.
        let entry = unsafe { *limits.add(i as usize) };
        let result = set_rlimit(entry.resource, &entry.limit);
        if result < 0 {
            c.fail(Stage::Rlimit, i, -result as i32);
        }
    }
}

/// Groups, ids and capabilities. Says whether it has loaded the filter: without
/// no_new_privs that needs CAP_SYS_ADMIN, so it comes before the last capset.
fn credentials(c: &Context, path: *const u8) -> bool {
    let b = &c.block;
    for capability in 0..64 {
        if b.bounding & (1 << capability) == 0 {
            let result = prctl(PR_CAPBSET_DROP, capability as usize, 0);
            if result == -EINVAL {
                // The kernel knows no capability from here on.
                break;
            }
            // Dropping needs CAP_SETPCAP; a capability that is not there needs no dropping.
            if result < 0 && prctl(PR_CAPBSET_READ, capability as usize, 0) == 1 {
                c.fail(Stage::Bounding, capability, -result as i32);
            }
        }
    }
    if b.uid != 0 {
        prctl(PR_SET_KEEPCAPS, 1, 0);
    }
    if b.flags & FLAG_KEEP_GROUPS == 0 {
        let result = setgroups(b.groups.count as usize, c.at(b.groups));
        // There are none to lose, so it does not matter what denies it.
        let denied = result == -EPERM && b.flags & FLAG_GROUPS_MAY_BE_DENIED != 0;
        if !denied || b.groups.count != 0 {
            c.check(result, Stage::Groups);
        }
    }
    c.check(setresgid(b.gid), Stage::Gid);
    c.check(setresuid(b.uid), Stage::Uid);
    umask(b.umask);

    // As the program's user, before the filter could forbid asking: the errors
    // that execve would give at `start` belong to `create`.
    if b.uid != 0 && b.effective & (CAP_DAC_OVERRIDE | CAP_DAC_READ_SEARCH) == 0 {
        let denied = faccessat2(path, X_OK, AT_EACCESS);
        if denied == -EACCES {
            c.fail(Stage::Exec, 0, EACCES as i32);
        }
    }

    let no_new_privs = b.flags & FLAG_NO_NEW_PRIVS != 0;
    let filter = b.seccomp.count != 0;
    let early = filter && !no_new_privs;
    let for_filter = if early { CAP_SYS_ADMIN } else { 0 };
    let last_comes = early && b.permitted & b.effective & CAP_SYS_ADMIN == 0;
    // Root has all capabilities still, and nothing but the filter comes before the last capset.
    let is_last_enough = last_comes && b.uid == 0 && b.ambient == 0 && b.flags & FLAG_LISTENER == 0;
    if !is_last_enough {
        let first = b.permitted | for_filter;
        let mut result = capset(b.effective | for_filter, first, b.inheritable);
        if result < 0 && early {
            // Without CAP_SYS_ADMIN to keep: seccomp(2) says itself what is missing.
            result = capset(b.effective, b.permitted, b.inheritable);
        }
        c.check(result, Stage::Capabilities);
    }
    for capability in 0..64 {
        if b.ambient & (1 << capability) != 0 {
            let result = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability as usize);
            if result < 0 {
                c.fail(Stage::Ambient, capability, -result as i32);
            }
        }
    }
    if early {
        load_filter(c);
        if last_comes {
            c.check(
                capset(b.effective, b.permitted, b.inheritable),
                Stage::Capabilities,
            );
        }
    }
    if no_new_privs {
        c.check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0), Stage::NoNewPrivileges);
    }
    early
}

fn load_filter(c: &Context) {
    let b = &c.block;
    if b.seccomp.count == 0 {
        return;
    }
    let program = SockFprog {
        len: b.seccomp.count as u16,
        filter: c.at(b.seccomp),
    };
    let result = c.check(seccomp_filter(b.seccomp_flags, &program), Stage::Seccomp);
    if b.flags & FLAG_LISTENER != 0 {
        // The parent takes the descriptor out of this process and answers.
        let mut message = Message::new(TAG_LISTENER, 0, 0, result as i32);
        write(c.channel, (&raw mut message).cast(), MESSAGE_HEAD);
        let got = read(c.channel, (&raw mut message).cast(), MESSAGE_HEAD);
        if got <= 0 {
            exit(255);
        }
        close(result as i32);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(255)
}
