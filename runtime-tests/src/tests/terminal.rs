//! Terminals: the pty that is handed out, /dev/console, size, the foreground; the pidfd socket.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, Stop};
use crate::procs;
use crate::sockets::FdSocket;
use crate::{check, check_eq, tests};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

tests!("terminal":
    the_console_socket_receives_the_pty,
    the_socket_message_names_the_pty,
    the_pty_carries_input_and_output,
    console_size_is_applied,
    the_console_is_the_controlling_terminal,
    the_console_is_the_controlling_terminal_in_a_joined_pid_namespace,
    dev_console_is_the_pty,
    the_pty_belongs_to_the_containers_user,
    a_terminal_works_in_a_user_namespace,
    a_terminal_works_with_a_read_only_root,
    a_terminal_in_the_foreground_carries_input_and_output,
    a_terminal_in_the_foreground_takes_the_size_of_the_callers,
    a_terminal_in_the_foreground_follows_resizes,
    the_callers_terminal_is_restored,
    exit_codes_pass_through_a_foreground_terminal,
    all_output_of_a_short_container_arrives,
    a_detached_run_hands_the_pty_out,
    the_pidfd_socket_receives_the_pidfd_of_the_process,
);

/// What arrives at a pty's master, collected by a thread.
pub(super) struct Screen {
    master: OwnedFd,
    bytes: Receiver<Vec<u8>>,
    pub(super) text: String,
}

impl Screen {
    pub(super) fn new(master: OwnedFd) -> Outcome<Screen> {
        let (sender, bytes) = channel();
        let mut reader = File::from(master.try_clone()?);
        std::thread::spawn(move || {
            let mut buffer = [0u8; 4096];
            // EIO is how a master says that the last slave was closed.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Screen {
            master,
            bytes,
            text: String::new(),
        })
    }

    /// Waits until the text has appeared on the screen.
    pub(super) fn wait(&mut self, wanted: &str) -> Outcome {
        let end = Instant::now() + Duration::from_secs(10);
        while !self.text.contains(wanted) {
            let left = end.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => {
                    let text = format!(
                        "`{wanted}` does not appear on the terminal: {:?}",
                        self.text
                    );
                    return Err(Stop::Fail(text));
                }
            }
        }
        Ok(())
    }

    pub(super) fn write(&self, text: &str) -> Outcome {
        File::from(self.master.try_clone()?).write_all(text.as_bytes())?;
        Ok(())
    }
}

fn with_terminal(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.set("/process/terminal", true))
}

/// Creates and starts it with a console socket; the message's text and the screen.
fn start<'a>(
    ctx: &'a Ctx,
    b: &Bundle<'a>,
) -> Outcome<(crate::container::Container<'a>, String, Screen)> {
    let socket = FdSocket::bind(&ctx.dir.join("console"))?;
    let c = b.create_with(&["--console-socket", &socket.path.to_string_lossy()])?;
    let (text, master) = socket.receive()?;
    let screen = Screen::new(master)?;
    c.start()?;
    Ok((c, text, screen))
}

fn the_console_socket_receives_the_pty(ctx: &Ctx) -> Outcome {
    let b = with_terminal(ctx)?.shell("test -t 0 && test -t 1 && test -t 2 && echo all three");
    let (_, _, mut screen) = start(ctx, &b)?;
    check!(
        tcgetattr(&screen.master).is_ok(),
        "what the socket received is no terminal"
    );
    screen.wait("all three")
}

fn the_socket_message_names_the_pty(ctx: &Ctx) -> Outcome {
    let b = with_terminal(ctx)?.args(&["/bin/sleep", "1000"]);
    let (_, text, _) = start(ctx, &b)?;
    check!(
        text.trim_end_matches('\0').starts_with('/'),
        "message: {text:?}"
    );
    Ok(())
}

fn the_pty_carries_input_and_output(ctx: &Ctx) -> Outcome {
    let b = with_terminal(ctx)?.shell("read line; echo \"got <$line>\"");
    let (_, _, mut screen) = start(ctx, &b)?;
    screen.write("hello there\n")?;
    screen.wait("got <hello there>\r\n")
}

fn console_size_is_applied(ctx: &Ctx) -> Outcome {
    let b = with_terminal(ctx)?
        .set("/process/consoleSize", json!({"height": 31, "width": 97}))
        .args(&["/bin/stty", "size"]);
    let (_, _, mut screen) = start(ctx, &b)?;
    screen.wait("31 97")
}

fn the_console_is_the_controlling_terminal(ctx: &Ctx) -> Outcome {
    let b = with_terminal(ctx)?.shell("tty; echo into-tty > /dev/tty");
    let (_, _, mut screen) = start(ctx, &b)?;
    screen.wait("into-tty")?;
    check!(
        screen.text.contains("/dev/pts/0") || screen.text.contains("/dev/console"),
        "tty says {}",
        screen.text
    );
    Ok(())
}

fn the_console_is_the_controlling_terminal_in_a_joined_pid_namespace(ctx: &Ctx) -> Outcome {
    let pause = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let path = format!("/proc/{}/ns/pid", pause.pid()?);
    let b = with_terminal(ctx)?
        .namespace("pid", Some(&path))
        .shell("echo into-tty > /dev/tty; sleep 1; echo still-there");
    let (_, _, mut screen) = start(ctx, &b)?;
    screen.wait("into-tty")?;
    screen.wait("still-there")
}

fn dev_console_is_the_pty(ctx: &Ctx) -> Outcome {
    let b =
        with_terminal(ctx)?.shell("echo into-console > /dev/console; stat -c '%F' /dev/console");
    let (_, _, mut screen) = start(ctx, &b)?;
    screen.wait("into-console")?;
    screen.wait("character special file")
}

fn the_pty_belongs_to_the_containers_user(ctx: &Ctx) -> Outcome {
    let b = with_terminal(ctx)?
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .shell("echo owner $(stat -L -c %u /proc/self/fd/2); echo fine >/dev/tty");
    let (_, _, mut screen) = start(ctx, &b)?;
    screen.wait("fine")?;
    screen.wait("owner 1000")
}

fn a_terminal_works_in_a_user_namespace(ctx: &Ctx) -> Outcome {
    let b = with_terminal(ctx)?
        .user_namespace()
        .shell("tty; echo fine > /dev/tty");
    let (_, _, mut screen) = start(ctx, &b)?;
    screen.wait("fine")
}

fn a_terminal_works_with_a_read_only_root(ctx: &Ctx) -> Outcome {
    let b = with_terminal(ctx)?
        .set("/root/readonly", true)
        .shell("echo fine > /dev/console");
    let (_, _, mut screen) = start(ctx, &b)?;
    screen.wait("fine")
}

/// The caller's own pty: its screen and its slave end.
pub(super) fn own_pty() -> Outcome<(Screen, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty())?;
    Ok((Screen::new(master)?, slave))
}

pub(super) fn winsize(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// `run` in the foreground of a pty.
fn foreground(b: &Bundle) -> Outcome<(Screen, OwnedFd, crate::command::Running)> {
    let (screen, slave) = own_pty()?;
    tcsetwinsize(&slave, winsize(40, 111))?;
    let [stdin, stdout, stderr] = [slave.try_clone()?, slave.try_clone()?, slave.try_clone()?];
    let run = b
        .verb::<&str>("run", &[])?
        .spawn_with(stdin.into(), stdout.into(), stderr.into())?;
    Ok((screen, slave, run))
}

fn a_terminal_in_the_foreground_carries_input_and_output(ctx: &Ctx) -> Outcome {
    let b = with_terminal(ctx)?.shell("tty && read line; echo \"got <$line>\"");
    let (mut screen, _slave, mut run) = foreground(&b)?;
    screen.wait("/dev/")?;
    screen.write("hello\n")?;
    screen.wait("got <hello>")?;
    check_eq!(run.wait()?, 0, "exit code");
    ctx.nothing_left()
}

fn a_terminal_in_the_foreground_takes_the_size_of_the_callers(ctx: &Ctx) -> Outcome {
    let b = with_terminal(ctx)?.shell("sleep 0.2; stty size");
    let (mut screen, _slave, mut run) = foreground(&b)?;
    screen.wait("40 111")?;
    check_eq!(run.wait()?, 0, "exit code");
    Ok(())
}

fn a_terminal_in_the_foreground_follows_resizes(ctx: &Ctx) -> Outcome {
    let b = with_terminal(ctx)?.args(&["/bin/probe", "winsize", "1000"]);
    let (mut screen, slave, mut run) = foreground(&b)?;
    screen.wait("size 40 111")?;
    for (rows, columns) in [(50, 132), (24, 80)] {
        tcsetwinsize(&slave, winsize(rows, columns))?;
        // The pty has no foreground process group here, so the kernel signals nobody.
        procs::signal(run.pid(), Signal::WINCH);
        screen.wait(&format!("size {rows} {columns}"))?;
    }
    ctx.rt(&["kill", &b.id, "KILL"]).run()?.ok()?;
    check_eq!(run.wait()?, 137, "exit code");
    ctx.nothing_left()
}

fn the_callers_terminal_is_restored(ctx: &Ctx) -> Outcome {
    let b = with_terminal(ctx)?.shell("echo up; read x");
    let (mut screen, slave, mut run) = foreground(&b)?;
    let before = {
        let (_other, fresh) = own_pty()?;
        tcgetattr(&fresh)?
    };
    screen.wait("up")?;
    let during = tcgetattr(&slave)?;
    screen.write("\n")?;
    run.wait()?;
    let after = tcgetattr(&slave)?;
    check!(
        during.local_modes != before.local_modes,
        "the caller's terminal is not raw during run"
    );
    check_eq!(
        after.local_modes,
        before.local_modes,
        "local modes after run"
    );
    check_eq!(
        after.output_modes,
        before.output_modes,
        "output modes after run"
    );
    check_eq!(
        after.input_modes,
        before.input_modes,
        "input modes after run"
    );
    Ok(())
}

fn exit_codes_pass_through_a_foreground_terminal(ctx: &Ctx) -> Outcome {
    for code in [0, 5, 255] {
        let b = with_terminal(ctx)?.args(&["/bin/probe", "exit", &code.to_string()]);
        let (_screen, _slave, mut run) = foreground(&b)?;
        check_eq!(run.wait()?, code, "exit code");
    }
    ctx.nothing_left()
}

fn all_output_of_a_short_container_arrives(ctx: &Ctx) -> Outcome {
    for _ in 0..5 {
        let b = with_terminal(ctx)?
            .shell("i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; echo THE-END");
        let (mut screen, _slave, mut run) = foreground(&b)?;
        check_eq!(run.wait()?, 0, "exit code");
        screen.wait("THE-END")?;
        check_eq!(
            screen.text.matches("line ").count(),
            500,
            "lines on the terminal"
        );
    }
    Ok(())
}

fn a_detached_run_hands_the_pty_out(ctx: &Ctx) -> Outcome {
    let socket = FdSocket::bind(&ctx.dir.join("console"))?;
    let b = with_terminal(ctx)?.shell("echo on the terminal; sleep 1000");
    let path = socket.path.to_string_lossy().into_owned();
    let c = b.launch("run", &["--detach", "--console-socket", &path])?;
    let (_, master) = socket.receive()?;
    Screen::new(master)?.wait("on the terminal")?;
    c.status_is("running")
}

fn the_pidfd_socket_receives_the_pidfd_of_the_process(ctx: &Ctx) -> Outcome {
    for verb in [&["create"][..], &["run", "--detach"]] {
        let socket = FdSocket::bind(&ctx.dir.join(format!("pidfd-{}", verb[0])))?;
        let b = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
        let path = socket.path.to_string_lossy().into_owned();
        let mut options = verb[1..].to_vec();
        options.extend(["--pidfd-socket", &path]);
        let c = b.launch(verb[0], &options)?;
        let (_, fd) = socket.receive()?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&fd);
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
        let pid = info
            .lines()
            .find_map(|line| line.strip_prefix("Pid:"))
            .because("a pidfd")?;
        check_eq!(pid.trim(), c.pid()?.to_string(), "pid of the pidfd");
    }
    let b = Bundle::new(ctx)?;
    b.verb("create", &["--pidfd-socket", "/nosuch/socket"])?
        .run()?
        .refused()?;
    Ok(())
}
