//! `exec`: signals, streams, descriptors, terminals.

use super::exec::{end, only_the_init, process_file, sleeping};
use crate::bundle::Bundle;
use crate::command::Running;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::sockets::FdSocket;
use crate::tests::terminal::{Screen, own_pty, winsize};
use crate::{check, check_eq, procs, tests};
use rustix::process::Signal;
use rustix::termios::{tcgetattr, tcsetwinsize};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;

tests!("exec_streams":
    signals_reach_the_program,
    megabytes_go_through_stdin_and_stdout_without_loss,
    stdout_and_stderr_stay_apart,
    exec_ends_with_its_program_though_a_child_holds_stdout,
    the_pidfd_socket_receives_the_pidfd_of_the_process,
    preserve_fds_passes_that_many_on,
    listen_fds_are_passed_on,
    a_terminal_goes_to_the_console_socket,
    a_terminal_in_the_foreground_carries_input_output_and_resizes,
    a_terminal_without_a_pid_namespace_is_the_sessions,
    a_terminal_belongs_to_the_user,
    console_size_of_a_process_file_is_applied,
);

fn next_line(run: &mut BufReader<std::process::ChildStdout>, wanted: &str) -> Outcome {
    let mut line = String::new();
    run.read_line(&mut line)?;
    check_eq!(line.trim(), wanted, "line from the program");
    Ok(())
}

fn signals_reach_the_program(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let signals = [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::USR1,
        Signal::QUIT,
        Signal::CONT,
    ];
    let mut words = vec![
        "/bin/probe".to_string(),
        "catch".into(),
        signals.len().to_string(),
    ];
    words.extend(signals.iter().map(|signal| signal.as_raw().to_string()));
    let mut run = c.exec(&[], &words).spawn()?;
    let mut out = BufReader::new(run.child.stdout.take().because("stdout")?);
    next_line(&mut out, "ready")?;
    for signal in signals {
        procs::signal(run.pid(), signal);
        next_line(&mut out, &signal.as_raw().to_string())?;
    }
    check_eq!(run.wait()?, 7, "exit code");
    c.status_is("running")
}

fn megabytes_go_through_stdin_and_stdout_without_loss(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let mut run = c.exec(&[], &["/bin/probe", "echo"]).spawn()?;
    let mut stdin = run.child.stdin.take().because("stdin")?;
    let sent: Vec<u8> = (0..8 << 20).map(|i: u32| (i % 251) as u8).collect();
    let copy = sent.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&copy));
    let mut got = Vec::new();
    run.child
        .stdout
        .take()
        .because("stdout")?
        .read_to_end(&mut got)?;
    check!(
        writer.join().is_ok_and(|r| r.is_ok()),
        "stdin was closed early"
    );
    check!(
        got == sent,
        "{} of {} bytes came back, or others",
        got.len(),
        sent.len()
    );
    check_eq!(run.wait()?, 0, "exit code");
    Ok(())
}

fn stdout_and_stderr_stay_apart(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let output = c
        .exec(&[], &["/bin/sh", "-c", "echo out; echo err >&2"])
        .run()?
        .ok()?;
    check_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("out\n", "err\n"),
        "streams"
    );
    Ok(())
}

fn exec_ends_with_its_program_though_a_child_holds_stdout(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let mut run = c
        .exec(&[], &["/bin/sh", "-c", "sleep 1000 & exit 3"])
        .spawn()?;
    check_eq!(run.wait()?, 3, "exit code");
    Ok(())
}

fn the_pidfd_socket_receives_the_pidfd_of_the_process(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let socket = FdSocket::bind(&ctx.dir.join("pidfd"))?;
    let file = ctx.dir.join("pid");
    let options = [
        "-d",
        "--pidfd-socket",
        &socket.path.to_string_lossy(),
        "--pid-file",
        &file.to_string_lossy(),
    ];
    c.exec(&options, &["/bin/sleep", "1000"]).run()?.ok()?;
    let (_, fd) = socket.receive()?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&fd);
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    let pid = info
        .lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .because("a pidfd")?;
    check_eq!(
        pid.trim(),
        std::fs::read_to_string(&file)?,
        "pid of the pidfd"
    );
    end(pid.trim().parse()?)
}

fn preserve_fds_passes_that_many_on(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    std::fs::write(ctx.dir.join("passed"), "through 4")?;
    let line = format!(
        "exec 3</dev/null 4<{} 5</; exec \"$0\" \"$@\"",
        ctx.dir.join("passed").display()
    );
    let run = c
        .exec(
            &["--preserve-fds", "2"],
            &["/bin/sh", "-c", "cat <&4; ls /proc/self/fd"],
        )
        .within(&["/bin/sh", "-c", &line]);
    // 5 is the listing's own.
    check_eq!(
        run.run()?.ok()?.stdout,
        "through 40\n1\n2\n3\n4\n5\n",
        "descriptors"
    );
    // Descriptors of the runtime itself are none that the caller has passed.
    for n in ["1", "2", "3", "20"] {
        let log = ctx.dir.join("log");
        let closed = "exec 3<&- 4<&- 5<&- 6<&-; exec \"$0\" \"$@\"";
        let run = c
            .exec(&["--preserve-fds", n], &["/bin/true"])
            .within(&["/bin/sh", "-c", closed]);
        run.global(&["--log", &log.to_string_lossy()])
            .run()?
            .code_is(255)?;
    }
    Ok(())
}

fn listen_fds_are_passed_on(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let line = "exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let inside = "echo $LISTEN_FDS; ls /proc/self/fd";
    let run = c
        .exec(&[], &["/bin/sh", "-c", inside])
        .within(&["/bin/sh", "-c", line]);
    check_eq!(
        run.run()?.ok()?.stdout,
        "1\n0\n1\n2\n3\n4\n",
        "LISTEN_FDS and descriptors"
    );
    Ok(())
}

fn a_terminal_goes_to_the_console_socket(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let socket = FdSocket::bind(&ctx.dir.join("console"))?;
    let options = [
        "-t",
        "-d",
        "--console-socket",
        &socket.path.to_string_lossy(),
    ];
    let line =
        "test -t 0 && test -t 1 && test -t 2 && echo up >/dev/tty; read x; echo \"got <$x>\"";
    c.exec(&options, &["/bin/sh", "-c", line]).run()?.ok()?;
    let (_, master) = socket.receive()?;
    check!(
        tcgetattr(&master).is_ok(),
        "what the socket received is no terminal"
    );
    let mut screen = Screen::new(master)?;
    screen.wait("up")?;
    screen.write("hello\n")?;
    screen.wait("got <hello>")?;
    only_the_init(ctx, &c)
}

/// `exec` in the foreground of a pty.
fn foreground(
    c: &Container,
    options: &[&str],
    words: &[&str],
) -> Outcome<(Screen, OwnedFd, Running)> {
    let (screen, slave) = own_pty()?;
    tcsetwinsize(&slave, winsize(40, 111))?;
    let [stdin, stdout, stderr] = [slave.try_clone()?, slave.try_clone()?, slave.try_clone()?];
    let run = c
        .exec(options, words)
        .spawn_with(stdin.into(), stdout.into(), stderr.into())?;
    Ok((screen, slave, run))
}

fn a_terminal_in_the_foreground_carries_input_output_and_resizes(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let (mut screen, _slave, mut run) = foreground(
        &c,
        &["--tty"],
        &["/bin/sh", "-c", "tty; read x; echo \"got <$x>\"; exit 5"],
    )?;
    screen.wait("/dev/pts/")?;
    screen.write("hello\n")?;
    screen.wait("got <hello>")?;
    check_eq!(run.wait()?, 5, "exit code");
    let (mut screen, slave, mut run) = foreground(&c, &["-t"], &["/bin/probe", "winsize", "2"])?;
    screen.wait("size ")?;
    screen.wait("\n")?;
    check!(
        screen.text.starts_with("size 40 111"),
        "the first size: {}",
        screen.text
    );
    for (rows, columns) in [(50, 132), (24, 80)] {
        tcsetwinsize(&slave, winsize(rows, columns))?;
        procs::signal(run.pid(), Signal::WINCH);
        screen.wait(&format!("size {rows} {columns}"))?;
    }
    check_eq!(run.wait()?, 0, "exit code");
    Ok(())
}

fn a_terminal_without_a_pid_namespace_is_the_sessions(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.without_namespace("pid");
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    let (mut screen, _slave, mut run) =
        foreground(&c, &["-t"], &["/bin/sh", "-c", "echo into-tty > /dev/tty"])?;
    screen.wait("into-tty")?;
    check_eq!(run.wait()?, 0, "exit code");
    Ok(())
}

fn a_terminal_belongs_to_the_user(ctx: &Ctx) -> Outcome {
    for b in [Bundle::new(ctx)?, Bundle::new(ctx)?.user_namespace()] {
        let c = b.args(&["/bin/sleep", "1000"]).detach()?;
        let line = "stat -L -c owner-%u /proc/self/fd/2; echo fine > $(tty)";
        let (mut screen, _slave, mut run) =
            foreground(&c, &["-t", "-u", "1000:1000"], &["/bin/sh", "-c", line])?;
        screen.wait("owner-1000")?;
        screen.wait("fine")?;
        check_eq!(run.wait()?, 0, "exit code");
    }
    Ok(())
}

fn console_size_of_a_process_file_is_applied(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let socket = FdSocket::bind(&ctx.dir.join("console"))?;
    let process = json!({"args": ["/bin/stty", "size"], "cwd": "/", "terminal": true,
        "consoleSize": {"height": 31, "width": 97}});
    let file = process_file(ctx, &process)?;
    let socket_path = socket.path.to_string_lossy().into_owned();
    let words = [
        "exec",
        "-d",
        "-p",
        &file.to_string_lossy(),
        "--console-socket",
        &socket_path,
    ];
    c.verb::<&str>(&words, &[]).run()?.ok()?;
    Screen::new(socket.receive()?.1)?.wait("31 97")?;
    only_the_init(ctx, &c)
}
