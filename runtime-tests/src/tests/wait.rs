//! `wait`: the end of a container, and how it ended.

use crate::bundle::Bundle;
use crate::command::Running;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, facts, procs, tests};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::Read;
use std::process::Stdio;

tests!("wait":
    it_returns_and_prints_the_exit_code,
    death_by_a_signal_is_128_plus_its_number,
    an_end_that_nobody_has_reaped_is_known_later,
    an_init_that_was_reaped_while_it_waited_tells_its_code,
    what_was_learnt_is_kept,
    keep_of_run_keeps_the_code,
    what_nobody_knows_is_said_and_never_guessed,
    a_created_container_is_waited_for_to_its_end,
    several_are_waited_for_and_the_last_one_counts,
    one_unknown_of_several_is_a_line_and_125,
    a_container_that_is_deleted_meanwhile_has_told_its_code,
    json_is_a_line_for_each,
    a_user_waits_for_a_container_of_another_mapped_user,
    a_status_can_be_waited_for,
    a_status_that_never_comes_is_no_hang,
    the_memory_of_a_wait_is_small,
    wrong_use_is_one_line,
);

/// Runs until /go is there, then ends with 7.
fn waiting(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.shell("while [ ! -e /go ]; do sleep 0.01; done; exit 7"))
}

fn go(c: &Container) -> Outcome {
    std::fs::write(c.bundle.join("rootfs/go"), "")?;
    Ok(())
}

/// Starts `wait` with these arguments; it waits then.
fn wait(ctx: &Ctx, args: &[&str]) -> Outcome<Running> {
    let mut all = vec!["wait"];
    all.extend(args);
    let mut running = ctx
        .rt(&all)
        .spawn_with(Stdio::null(), Stdio::piped(), Stdio::piped())?;
    ctx.until("it waits", || {
        procs::polls(running.pid()) || !matches!(running.child.try_wait(), Ok(None))
    })?;
    check!(running.child.try_wait()?.is_none(), "wait did not wait");
    Ok(running)
}

fn printed(running: &mut Running) -> Outcome<String> {
    let mut text = String::new();
    let out = running.child.stdout.as_mut().because("stdout")?;
    out.read_to_string(&mut text)?;
    Ok(text)
}

/// It ends with this code, after it has printed this.
fn ends(mut running: Running, code: i32, text: &str) -> Outcome {
    check_eq!(printed(&mut running)?, text, "output");
    check_eq!(running.wait()?, code, "exit code");
    Ok(())
}

/// Ends a container's init and reaps it, so that nobody else learns how it ended.
fn end_and_reap(c: &Container) -> Outcome {
    let pid = c.pid()?;
    go(c)?;
    check_eq!(c.wait_pid(pid)?, 7, "exit code");
    Ok(())
}

fn it_returns_and_prints_the_exit_code(ctx: &Ctx) -> Outcome {
    let c = waiting(ctx)?.detach()?;
    let waits = wait(ctx, &[&c.id])?;
    go(&c)?;
    ends(waits, 7, "7\n")?;
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn death_by_a_signal_is_128_plus_its_number(ctx: &Ctx) -> Outcome {
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("RTMIN+1", 163)] {
        // Without a pid namespace of its own, the first process is not immune.
        let b = Bundle::new(ctx)?.without_namespace("pid");
        let c = b.args(&["/bin/sleep", "1000"]).detach()?;
        let waits = wait(ctx, &[&c.id])?;
        c.kill(signal)?;
        ends(waits, code, &format!("{code}\n"))?;
    }
    Ok(())
}

fn an_end_that_nobody_has_reaped_is_known_later(ctx: &Ctx) -> Outcome {
    // This process is the parent and does not wait for it.
    let c = waiting(ctx)?.detach()?;
    go(&c)?;
    c.wait_status("stopped")?;
    ctx.rt(&["wait", &c.id]).run()?.code_is(7).map(drop)
}

/// Seen to fail without the question to the pidfd: it ends with 125.
fn an_init_that_was_reaped_while_it_waited_tells_its_code(ctx: &Ctx) -> Outcome {
    if facts::kernel()? < (6, 15) {
        return skip("before Linux 6.15 a pidfd does not tell the exit code of the reaped");
    }
    let c = waiting(ctx)?.detach()?;
    let waits = wait(ctx, &[&c.id])?;
    procs::signal(waits.pid(), Signal::STOP);
    end_and_reap(&c)?;
    procs::signal(waits.pid(), Signal::CONT);
    ends(waits, 7, "7\n")
}

fn what_was_learnt_is_kept(ctx: &Ctx) -> Outcome {
    let c = waiting(ctx)?.detach()?;
    let waits = wait(ctx, &[&c.id])?;
    let pid = c.pid()?;
    go(&c)?;
    ends(waits, 7, "7\n")?;
    c.wait_pid(pid)?;
    ctx.rt(&["wait", &c.id]).run()?.code_is(7)?;
    c.status_is("stopped")?;
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn keep_of_run_keeps_the_code(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/probe", "exit", "9"]);
    ctx.created(&b.id);
    b.verb("run", &["--keep"])?.run()?.code_is(9)?;
    let output = ctx.rt(&["wait", &b.id]).run()?.code_is(9)?;
    check_eq!(output.stdout, "9\n", "output");
    ctx.rt(&["delete", &b.id]).run()?.ok()?;
    ctx.nothing_left()
}

/// Seen to fail where a container without a known code counts as ended with 0.
fn what_nobody_knows_is_said_and_never_guessed(ctx: &Ctx) -> Outcome {
    let c = waiting(ctx)?.detach()?;
    end_and_reap(&c)?;
    let output = ctx.rt(&["wait", &c.id]).run()?.refused_with(125)?;
    check_eq!(output.stdout, "", "output");
    output.says(&["its exit status is not known"])?;
    Ok(())
}

fn a_created_container_is_waited_for_to_its_end(ctx: &Ctx) -> Outcome {
    let c = waiting(ctx)?.create()?;
    let waits = wait(ctx, &[&c.id])?;
    c.start()?;
    go(&c)?;
    ends(waits, 7, "7\n")
}

fn several_are_waited_for_and_the_last_one_counts(ctx: &Ctx) -> Outcome {
    let first = waiting(ctx)?.detach()?;
    let second = Bundle::new(ctx)?.args(&["/bin/probe", "exit", "3"]);
    let second = second.create()?;
    let waits = wait(ctx, &[&first.id, &second.id])?;
    // The last one ends first.
    second.start()?;
    second.wait_status("stopped")?;
    go(&first)?;
    ends(waits, 3, "7\n3\n")
}

fn one_unknown_of_several_is_a_line_and_125(ctx: &Ctx) -> Outcome {
    let first = waiting(ctx)?.detach()?;
    let second = waiting(ctx)?.detach()?;
    end_and_reap(&first)?;
    go(&second)?;
    let output = ctx.rt(&["wait", &first.id, &second.id]).run()?;
    let output = output.refused_with(125)?;
    check_eq!(output.stdout, "7\n", "output");
    Ok(())
}

fn a_container_that_is_deleted_meanwhile_has_told_its_code(ctx: &Ctx) -> Outcome {
    let c = waiting(ctx)?.detach()?;
    let waits = wait(ctx, &[&c.id])?;
    c.delete_force()?.ok()?;
    ends(waits, 137, "137\n")?;
    ctx.nothing_left()
}

fn json_is_a_line_for_each(ctx: &Ctx) -> Outcome {
    let c = waiting(ctx)?.detach()?;
    go(&c)?;
    let output = ctx.rt(&["wait", "--format", "json", &c.id]).run()?;
    let line: Value = serde_json::from_str(&output.code_is(7)?.stdout).because("JSON")?;
    check_eq!(line, json!({"id": c.id, "exitStatus": 7}), "line");
    Ok(())
}

fn a_user_waits_for_a_container_of_another_mapped_user(ctx: &Ctx) -> Outcome {
    // Its init is nobody of the host, and its end is the more to be asked for the right to look.
    let b = waiting(ctx)?.user_namespace();
    std::fs::set_permissions(
        b.rootfs(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )?;
    let c = b.detach()?;
    let waits = wait(ctx, &[&c.id])?;
    go(&c)?;
    ends(waits, 7, "7\n")
}

fn a_status_can_be_waited_for(ctx: &Ctx) -> Outcome {
    let c = waiting(ctx)?.create()?;
    ctx.rt(&["wait", "--status", "created", &c.id])
        .run()?
        .ok()?;
    let waits = wait(ctx, &["--status=running", &c.id])?;
    c.start()?;
    ends(waits, 0, "")?;
    let waits = wait(ctx, &["--status", "paused", &c.id])?;
    c.verb::<&str>(&["pause"], &[]).run()?.ok()?;
    ends(waits, 0, "")?;
    let waits = wait(ctx, &["--status", "running", &c.id])?;
    c.verb::<&str>(&["resume"], &[]).run()?.ok()?;
    ends(waits, 0, "")?;
    let waits = wait(ctx, &["--status", "stopped", &c.id])?;
    let deleted = wait(ctx, &["--status", "deleted", &c.id])?;
    let pid = c.pid()?;
    go(&c)?;
    ends(waits, 0, "")?;
    c.wait_pid(pid)?;
    c.delete()?.ok()?;
    ends(deleted, 0, "")
}

fn a_status_that_never_comes_is_no_hang(ctx: &Ctx) -> Outcome {
    let c = waiting(ctx)?.detach()?;
    let mut waits = wait(ctx, &["--status", "created", &c.id])?;
    go(&c)?;
    check_eq!(waits.wait()?, 1, "exit code");
    let mut text = String::new();
    let errors = waits.child.stderr.as_mut().because("stderr")?;
    errors.read_to_string(&mut text)?;
    check!(text.contains("will never be created"), "found {text:?}");
    Ok(())
}

fn the_memory_of_a_wait_is_small(ctx: &Ctx) -> Outcome {
    let c = waiting(ctx)?.detach()?;
    let waits = wait(ctx, &[&c.id])?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", waits.pid()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let anonymous: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
        .because("RssAnon")?;
    check!(anonymous < 1024, "{anonymous} KB of anonymous memory");
    go(&c)?;
    ends(waits, 7, "7\n")
}

fn wrong_use_is_one_line(ctx: &Ctx) -> Outcome {
    let c = waiting(ctx)?.detach()?;
    for (args, words) in [
        (&["wait"][..], "missing argument"),
        (&["wait", "nosuch"], "container does not exist"),
        (&["wait", &c.id, "nosuch"], "container does not exist"),
        (&["wait", "../x"], "invalid container id"),
        (&["wait", "--nosuch", "a"], "unknown flag --nosuch"),
        (&["wait", "--status", "asleep", "a"], "use created, running"),
        (
            &["wait", "--status", "running", "nosuch"],
            "container does not exist",
        ),
        (&["wait", "-f", "xml", "a"], "use table or json"),
    ] {
        ctx.rt(args).run()?.refused()?.says(&[words])?;
    }
    let help = ctx.rt(&["wait", "--help"]).run()?.ok()?;
    check!(help.stdout.contains("Example:"), "no example in the help");
    Ok(())
}
