//! The words of the probe that do something: system calls, devices, signals,
//! output, memory, processes.

use crate::raw;
use serde_json::json;
use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::exit as leave;

fn usage(what: &str) -> io::Error {
    io::Error::other(format!("usage: {what}"))
}

fn number(text: &str) -> io::Result<i64> {
    let (digits, base) = match text.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    i64::from_str_radix(digits, base).map_err(|error| io::Error::other(format!("{text}: {error}")))
}

fn first<'a>(args: &[&'a str], what: &str) -> io::Result<&'a str> {
    args.first().copied().ok_or_else(|| usage(what))
}

/// `syscall NUMBER [ARG...]`: an argument is a number, or `s:TEXT` for a string.
/// Prints `{"result":N,"errno":N}`.
pub fn syscall(args: &[&str], compat: bool) -> io::Result<()> {
    let nr = number(first(args, "syscall NUMBER [ARG...]")?)?;
    let mut texts = Vec::new();
    let mut values = [0usize; 6];
    for (value, arg) in values.iter_mut().zip(&args[1..]) {
        *value = match arg.strip_prefix("s:") {
            Some(text) => {
                texts.push(CString::new(text)?);
                texts[texts.len() - 1].as_ptr() as usize
            }
            None => number(arg)? as usize,
        };
    }
    let (result, errno) = if compat {
        raw::syscall32(nr, values)
    } else {
        raw::syscall(nr, values)
    };
    println!("{}", json!({"result": result, "errno": errno}));
    Ok(())
}

/// `thread-syscall NUMBER`: makes the call in a thread of its own, and prints `lives on` if the
/// process outlives that.
pub fn thread_syscall(args: &[&str]) -> io::Result<()> {
    let nr = number(first(args, "thread-syscall NUMBER")?)?;
    std::thread::spawn(move || raw::syscall(nr, [0; 6]));
    // A thread that is killed is never joined.
    std::thread::sleep(std::time::Duration::from_millis(200));
    println!("lives on");
    Ok(())
}

fn outcome<T>(result: io::Result<T>) {
    let errno = match result {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    };
    println!("{}", json!({"errno": errno}));
}

/// `open PATH r|w|rw`: prints the errno, 0 for success.
pub fn open(args: &[&str]) -> io::Result<()> {
    let [path, mode] = args else {
        return Err(usage("open PATH r|w|rw"));
    };
    let (read, write) = (mode.contains('r'), mode.contains('w'));
    outcome(
        std::fs::OpenOptions::new()
            .read(read)
            .write(write)
            .open(path),
    );
    Ok(())
}

/// `mknod PATH c|b MAJOR MINOR`: prints the errno, 0 for success.
pub fn mknod(args: &[&str]) -> io::Result<()> {
    let [path, kind, major, minor] = args else {
        return Err(usage("mknod PATH c|b MAJOR MINOR"));
    };
    let kind = match *kind {
        "b" => rustix::fs::FileType::BlockDevice,
        _ => rustix::fs::FileType::CharacterDevice,
    };
    let device = rustix::fs::makedev(number(major)? as u32, number(minor)? as u32);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let made = rustix::fs::mknodat(rustix::fs::CWD, *path, kind, mode, device);
    outcome(made.map_err(io::Error::from));
    Ok(())
}

/// `exit CODE`.
pub fn exit(args: &[&str]) -> io::Result<()> {
    leave(number(first(args, "exit CODE")?)? as i32)
}

/// `catch COUNT SIGNAL...`: prints `ready`, then the number of each signal that
/// arrives, one a line; exits 7 after COUNT of them.
pub fn catch(args: &[&str]) -> io::Result<()> {
    let count = number(first(args, "catch COUNT SIGNAL...")?)?;
    let signals: Vec<i32> = args[1..]
        .iter()
        .map(|arg| number(arg).map(|n| n as i32))
        .collect::<io::Result<_>>()?;
    raw::block(&signals);
    println!("ready");
    for _ in 0..count {
        println!("{}", raw::next_signal(&signals));
    }
    leave(7)
}

/// `ignore SIGNAL...`: ignores these, prints `ready`, waits to be killed.
pub fn ignore(args: &[&str]) -> io::Result<()> {
    for arg in args {
        raw::ignore(number(arg)? as i32);
    }
    println!("ready");
    raw::pause()
}

/// `leave-keyring PROGRAM [ARG...]`: joins a session keyring without a name and becomes the program:
/// the file that this process runs from would keep the old one.
pub fn leave_keyring(args: &[&str]) -> io::Result<()> {
    const JOIN_SESSION_KEYRING: usize = 1;
    let program = first(args, "leave-keyring PROGRAM [ARG...]")?;
    let (serial, errno) = raw::syscall(libc::SYS_keyctl, [JOIN_SESSION_KEYRING, 0, 0, 0, 0, 0]);
    if serial < 0 {
        return Err(io::Error::from_raw_os_error(errno));
    }
    Err(std::process::Command::new(program).args(&args[1..]).exec())
}

/// `write MEGABYTES`: writes that much of a known pattern (each byte is its
/// offset modulo 251, so that no power-of-two cut goes unseen).
pub fn write(args: &[&str]) -> io::Result<()> {
    let total = number(first(args, "write MEGABYTES")?)? as usize * 1024 * 1024;
    let pattern: Vec<u8> = (0..251 * 512).map(|i| (i % 251) as u8).collect();
    let mut out = io::stdout().lock();
    let mut left = total;
    while left > 0 {
        let part = left.min(pattern.len());
        out.write_all(&pattern[..part])?;
        left -= part;
    }
    out.flush()
}

/// `echo`: copies stdin to stdout until the end.
pub fn echo() -> io::Result<()> {
    let mut buffer = vec![0u8; 60_000];
    let (mut input, mut out) = (io::stdin().lock(), io::stdout().lock());
    loop {
        let length = input.read(&mut buffer)?;
        if length == 0 {
            return out.flush();
        }
        out.write_all(&buffer[..length])?;
        out.flush()?;
    }
}

/// `eat MEGABYTES`: touches that much memory, prints `ate`.
pub fn eat(args: &[&str]) -> io::Result<()> {
    let total = number(first(args, "eat MEGABYTES")?)? as usize * 1024 * 1024;
    let mut memory = vec![0u8; total];
    for page in memory.iter_mut().step_by(4096) {
        *page = 1;
    }
    // Keeps the optimiser from dropping writes that nobody reads.
    std::hint::black_box(&memory);
    println!("ate");
    Ok(())
}

/// `fork COUNT`: starts up to COUNT children that wait; prints how many could be
/// started and the errno that ended it (0 when all could).
pub fn fork(args: &[&str]) -> io::Result<()> {
    let wanted = number(first(args, "fork COUNT")?)?;
    let mut children = Vec::new();
    let mut errno = 0;
    for _ in 0..wanted {
        match raw::fork() {
            0 => raw::pause(),
            -1 => {
                errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
                break;
            }
            child => children.push(child),
        }
    }
    println!("{}", json!({"started": children.len(), "errno": errno}));
    for child in children
        .iter()
        .filter_map(|child| rustix::process::Pid::from_raw(*child))
    {
        rustix::process::kill_process(child, rustix::process::Signal::KILL)?;
    }
    Ok(())
}

/// `orphan CODE`: leaves a child behind that waits for ever, then exits with CODE.
pub fn orphan(args: &[&str]) -> io::Result<()> {
    let code = number(first(args, "orphan CODE")?)? as i32;
    if raw::fork() == 0 {
        raw::pause()
    }
    leave(code)
}

/// `winsize COUNT`: prints rows and columns of stdin's terminal, then again after
/// each SIGWINCH, COUNT times.
pub fn winsize(args: &[&str]) -> io::Result<()> {
    let count = number(first(args, "winsize COUNT")?)?;
    raw::block(&[libc::SIGWINCH]);
    let show = || -> io::Result<()> {
        let size = rustix::termios::tcgetwinsize(io::stdin())?;
        println!("size {} {}", size.ws_row, size.ws_col);
        Ok(())
    };
    show()?;
    for _ in 0..count {
        raw::next_signal(&[libc::SIGWINCH]);
        show()?;
    }
    Ok(())
}

/// `agent ERRNO`: the seccomp agent of the listener on standard input; answers every call that
/// it is asked about with this errno, until there is nobody left to ask.
pub fn agent(args: &[&str]) -> io::Result<()> {
    // ioctls of linux/seccomp.h, with the sizes of seccomp_notif and seccomp_notif_resp.
    const RECEIVE: usize = 0xc050_2100;
    const SEND: usize = 0xc018_2101;
    let errno = number(first(args, "agent ERRNO")?)?;
    loop {
        let mut question = [0u64; 10];
        let address = question.as_mut_ptr() as usize;
        match raw::syscall(libc::SYS_ioctl, [0, RECEIVE, address, 0, 0, 0]) {
            (0, _) => {}
            (_, libc::EINTR) => continue,
            (_, libc::ENOENT) => return Ok(()),
            (_, errno) => return Err(io::Error::from_raw_os_error(errno)),
        }
        // id, value, error (the low half of the last).
        let answer = [question[0], 0, u64::from((-errno) as i32 as u32)];
        let address = answer.as_ptr() as usize;
        raw::syscall(libc::SYS_ioctl, [0, SEND, address, 0, 0, 0]);
    }
}

/// `threads`: prints how many threads this process has, for pid limits.
pub fn threads() -> io::Result<()> {
    let count = std::fs::read_dir("/proc/self/task")?.count();
    println!("{}", json!({"threads": count}));
    Ok(())
}

/// `sleeping-threads`: a process of four threads that wait to be killed.
pub fn sleeping_threads() -> io::Result<()> {
    let sleep = || std::thread::sleep(std::time::Duration::from_secs(1000));
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(sleep))));
    Ok(())
}

/// `notify TEXT...`: sends each text to the socket in $NOTIFY_SOCKET, as sd_notify(3) does, with
/// `\\n` for a line's end and `xN` for N kilobytes; prints `sent` or the errno for each, then waits
/// to be killed.
pub fn notify(args: &[&str]) -> io::Result<()> {
    let path = std::env::var("NOTIFY_SOCKET").map_err(io::Error::other)?;
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    for text in args {
        let kilobytes = text.strip_prefix('x').and_then(|n| n.parse::<usize>().ok());
        let message = match kilobytes {
            Some(count) => "x".repeat(count * 1024) + "\nREADY=1",
            None => text.replace("\\n", "\n"),
        };
        match socket.send_to(message.as_bytes(), &path) {
            Ok(_) => println!("sent"),
            Err(error) => println!("errno {}", error.raw_os_error().unwrap_or(0)),
        }
    }
    io::stdout().flush()?;
    raw::pause()
}
