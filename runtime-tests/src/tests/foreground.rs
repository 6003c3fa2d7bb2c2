//! `run` in the foreground: exit codes, signals, stdio without loss, no hang.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, Stop};
use crate::procs;
use crate::{check, check_eq, tests};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

tests!("foreground":
    every_exit_code_is_passed_on as Long,
    death_by_a_signal_is_128_plus_its_number,
    kill_of_a_foreground_container_is_137,
    signals_to_the_runtime_reach_the_container,
    every_real_time_signal_reaches_the_container,
    nothing_is_left_after_run,
    keep_leaves_the_stopped_container,
    no_subreaper_is_accepted,
    detach_returns_while_the_container_runs,
    stdout_and_stderr_stay_apart,
    megabytes_of_output_arrive_without_loss,
    megabytes_go_through_stdin_and_stdout_without_loss,
    stdin_at_its_end_is_seen_as_end,
    closed_stdio_is_survived,
    a_reader_that_goes_away_does_not_hang_run,
    run_ends_with_the_init_though_a_child_holds_stdout,
    run_ends_with_the_init_though_a_child_outside_a_pid_namespace_holds_stdout,
    a_hundred_short_runs_never_hang as Long,
    short_runs_at_the_same_time_never_hang as Long,
    sigkill_of_the_runtime_leaves_what_delete_force_removes,
);

fn every_exit_code_is_passed_on(ctx: &Ctx) -> Outcome {
    let mut b = Bundle::new(ctx)?;
    for code in 0..=255 {
        b = b.args(&["/bin/probe", "exit", &code.to_string()]);
        b.run()?.code_is(code)?;
    }
    ctx.nothing_left()
}

fn death_by_a_signal_is_128_plus_its_number(ctx: &Ctx) -> Outcome {
    // Without a pid namespace, because the first process of one is immune to its own signals.
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("SEGV", 139), ("USR1", 138)] {
        let b = Bundle::new(ctx)?
            .without_namespace("pid")
            .shell(&format!("kill -{signal} $$"));
        b.run()?.code_is(code)?;
    }
    ctx.nothing_left()
}

fn kill_of_a_foreground_container_is_137(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.shell("echo up; exec sleep 1000");
    let mut run = b.verb::<&str>("run", &[])?.spawn()?;
    let mut out = lines(run.child.stdout.take())?;
    next_line(&mut out, "up")?;
    ctx.rt(&["kill", &b.id, "KILL"]).run()?.ok()?;
    check_eq!(run.wait()?, 137, "exit code");
    ctx.nothing_left()
}

fn lines(stdout: Option<ChildStdout>) -> Outcome<BufReader<ChildStdout>> {
    stdout.map(BufReader::new).because("stdout")
}

fn next_line(out: &mut impl BufRead, wanted: &str) -> Outcome {
    let mut line = String::new();
    out.read_line(&mut line)?;
    check_eq!(line.trim(), wanted, "line from the container");
    Ok(())
}

fn signals_to_the_runtime_reach_the_container(ctx: &Ctx) -> Outcome {
    let signals = [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::USR1,
        Signal::USR2,
        Signal::QUIT,
        Signal::CONT,
        Signal::ALARM,
        Signal::PIPE,
    ];
    let mut words = vec!["/bin/probe".to_string(), "catch".to_string()];
    words.push(signals.len().to_string());
    words.extend(signals.iter().map(|signal| signal.as_raw().to_string()));
    let b = Bundle::new(ctx)?.args(&words);
    let mut run = b.verb::<&str>("run", &[])?.spawn()?;
    let mut out = lines(run.child.stdout.take())?;
    next_line(&mut out, "ready")?;
    for signal in signals {
        procs::signal(run.pid(), signal);
        next_line(&mut out, &signal.as_raw().to_string())?;
    }
    check_eq!(run.wait()?, 7, "exit code");
    ctx.nothing_left()
}

/// Seen to fail (it times out) with the set of all signals that musl makes: 34, everybody's SIGRTMIN, kills the
/// runtime, and the container lives on.
fn every_real_time_signal_reaches_the_container(ctx: &Ctx) -> Outcome {
    let traps = "for s in 34 35 37 63 64; do trap \"echo got $s\" $s; done";
    let line = format!("{traps}; trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let b = Bundle::new(ctx)?.shell(&line);
    let runs = [
        b.verb::<&str>("run", &[])?.spawn()?,
        c.exec(&[], &["/bin/sh", "-c", &line]).spawn()?,
    ];
    for mut run in runs {
        let mut out = lines(run.child.stdout.take())?;
        next_line(&mut out, "ready")?;
        for signal in ["34", "35", "37", "63", "64"] {
            let kill = format!("kill -{signal} {}", run.pid());
            ctx.host(&["/bin/sh", "-c", &kill]).run()?.ok()?;
            next_line(&mut out, &format!("got {signal}"))?;
        }
        procs::signal(run.pid(), Signal::TERM);
        check_eq!(run.wait()?, 7, "exit code");
    }
    Ok(())
}

fn nothing_is_left_after_run(ctx: &Ctx) -> Outcome {
    Bundle::new(ctx)?.run()?.ok()?;
    ctx.nothing_left()
}

fn keep_leaves_the_stopped_container(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/probe", "exit", "3"]);
    ctx.created(&b.id);
    b.verb("run", &["--keep"])?.run()?.code_is(3)?;
    let state = ctx.rt(&["state", &b.id]).run()?.ok()?;
    check!(
        state.stdout.contains("\"stopped\""),
        "status after run --keep: {}",
        state.stdout
    );
    ctx.rt(&["delete", &b.id]).run()?.ok()?;
    ctx.nothing_left()
}

fn no_subreaper_is_accepted(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/probe", "exit", "5"]);
    b.verb("run", &["--no-subreaper"])?.run()?.code_is(5)?;
    ctx.nothing_left()
}

fn detach_returns_while_the_container_runs(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    c.status_is("running")?;
    let me = rustix::process::getpid().as_raw_nonzero().get();
    check_eq!(
        procs::stat(c.pid()?).map(|(_, parent)| parent),
        Some(me),
        "the init's parent"
    );
    Ok(())
}

fn stdout_and_stderr_stay_apart(ctx: &Ctx) -> Outcome {
    let output = Bundle::new(ctx)?
        .shell("echo to-out; echo to-err >&2")
        .run()?
        .ok()?;
    check_eq!(output.stdout, "to-out\n", "stdout");
    check_eq!(output.stderr, "to-err\n", "stderr");
    Ok(())
}

/// Checks the pattern of `probe write` and returns how much there was.
fn pattern_length(mut input: impl Read) -> Outcome<usize> {
    let (mut offset, mut buffer) = (0usize, vec![0u8; 70_000]);
    loop {
        let length = input.read(&mut buffer)?;
        if length == 0 {
            return Ok(offset);
        }
        for byte in &buffer[..length] {
            check_eq!(*byte, (offset % (251 * 512) % 251) as u8, "byte {offset}");
            offset += 1;
        }
    }
}

fn megabytes_of_output_arrive_without_loss(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/probe", "write", "16"]);
    let mut run = b.verb::<&str>("run", &[])?.spawn()?;
    let length = pattern_length(run.child.stdout.take().because("stdout")?)?;
    check_eq!(length, 16 << 20, "bytes received");
    check_eq!(run.wait()?, 0, "exit code");
    ctx.nothing_left()
}

fn megabytes_go_through_stdin_and_stdout_without_loss(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/probe", "echo"]);
    let mut run = b.verb::<&str>("run", &[])?.spawn()?;
    let mut input = run.child.stdin.take().because("stdin")?;
    let writer = std::thread::spawn(move || -> std::io::Result<()> {
        let pattern: Vec<u8> = (0..251 * 512).map(|i| (i % 251) as u8).collect();
        for _ in 0..64 {
            input.write_all(&pattern)?;
        }
        Ok(())
    });
    let length = pattern_length(run.child.stdout.take().because("stdout")?)?;
    check_eq!(length, 64 * 251 * 512, "bytes that came back");
    writer
        .join()
        .map_err(|_| Stop::Fail("the writer panicked".to_string()))??;
    check_eq!(run.wait()?, 0, "exit code");
    ctx.nothing_left()
}

fn stdin_at_its_end_is_seen_as_end(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/cat"]);
    let mut run = b.verb::<&str>("run", &[])?.spawn()?;
    drop(run.child.stdin.take());
    check_eq!(run.wait()?, 0, "exit code");
    ctx.nothing_left()
}

fn closed_stdio_is_survived(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/probe", "exit", "9"]);
    let cmd = b.verb::<&str>("run", &[])?;
    cmd.within(&["/bin/sh", "-c", "exec \"$0\" \"$@\" <&- >&-"])
        .run()?
        .code_is(9)?;
    let cmd = b.verb::<&str>("run", &[])?;
    cmd.within(&["/bin/sh", "-c", "exec \"$0\" \"$@\" <&- >&- 2>&-"])
        .run()?
        .code_is(9)?;
    ctx.nothing_left()
}

fn a_reader_that_goes_away_does_not_hang_run(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/yes"]);
    let mut run = b.verb::<&str>("run", &[])?.spawn()?;
    let mut out = lines(run.child.stdout.take())?;
    next_line(&mut out, "y")?;
    drop(out);
    let ended = rustix::process::Pid::from_raw(run.pid())
        .is_some_and(|pid| procs::wait_ended(pid, ctx.timeout / 3));
    check!(
        ended,
        "run still there long after its reader closed the pipe"
    );
    check!(
        run.wait()? != 0,
        "a container whose output broke ended with 0"
    );
    ctx.nothing_left()
}

fn run_ends_with_the_init_though_a_child_holds_stdout(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/probe", "orphan", "4"]);
    let mut run = b.verb::<&str>("run", &[])?.spawn()?;
    check_eq!(run.wait()?, 4, "exit code");
    ctx.nothing_left()
}

fn run_ends_with_the_init_though_a_child_outside_a_pid_namespace_holds_stdout(
    ctx: &Ctx,
) -> Outcome {
    let b = Bundle::new(ctx)?
        .without_namespace("pid")
        .args(&["/bin/probe", "orphan", "4"]);
    let mut run = b.verb::<&str>("run", &[])?.spawn()?;
    check_eq!(run.wait()?, 4, "exit code");
    ctx.nothing_left()
}

fn a_hundred_short_runs_never_hang(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/probe", "exit", "6"]);
    for round in 0..100 {
        let mut run = b.verb::<&str>("run", &[])?.spawn()?;
        let pid = rustix::process::Pid::from_child(&run.child);
        let ended = procs::wait_ended(pid, ctx.timeout / 3);
        check!(ended, "run number {round} hangs");
        let code = run.wait()?;
        let mut said = String::new();
        run.child
            .stderr
            .take()
            .because("stderr")?
            .read_to_string(&mut said)?;
        check_eq!(
            code,
            6,
            "exit code of run number {round}, which said `{}`",
            said.trim()
        );
    }
    ctx.nothing_left()
}

fn short_runs_at_the_same_time_never_hang(ctx: &Ctx) -> Outcome {
    let bundles: Vec<Bundle> = (0..20)
        .map(|_| Ok(Bundle::new(ctx)?.args(&["/bin/probe", "exit", "6"])))
        .collect::<Outcome<_>>()?;
    for _ in 0..3 {
        let mut runs = Vec::new();
        for b in &bundles {
            let null = Stdio::null;
            runs.push(
                b.verb::<&str>("run", &[])?
                    .spawn_with(null(), null(), null())?,
            );
        }
        for run in &mut runs {
            let pid = rustix::process::Pid::from_child(&run.child);
            check!(
                procs::wait_ended(pid, Duration::from_secs(60)),
                "a run hangs"
            );
            check_eq!(run.wait()?, 6, "exit code");
        }
    }
    ctx.nothing_left()
}

fn sigkill_of_the_runtime_leaves_what_delete_force_removes(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.shell("echo up; exec sleep 1000");
    let mut run = b.verb::<&str>("run", &[])?.spawn()?;
    let mut out = lines(run.child.stdout.take())?;
    next_line(&mut out, "up")?;
    run.child.kill()?;
    run.wait()?;
    ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    ctx.nothing_left()
}
