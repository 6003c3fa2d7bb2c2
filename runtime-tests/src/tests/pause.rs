//! pause and resume, on cgroup v1 and where there is nothing but v2.

use crate::bundle::Bundle;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::tests::exec;
use crate::{cgroups, check, check_eq, procs, tests};
use std::path::PathBuf;
use std::time::Duration;

tests!("pause":
    nothing_runs_until_resume_on_v1,
    nothing_runs_until_resume_on_v2,
    what_exec_has_added_stands_still_too,
    cgroups_beneath_stand_still_on_v2,
    a_created_container_can_be_paused_and_starts_later,
    only_created_and_running_containers_are_paused,
    only_paused_containers_are_resumed,
    an_unknown_id_does_not_exist,
    a_paused_container_is_entered_only_when_asked,
    kill_9_ends_a_paused_container_on_v1,
    kill_9_ends_a_paused_container_on_v2,
    kill_9_ends_a_paused_container_without_a_pid_namespace,
    kill_9_reaches_what_the_container_froze_itself_on_v1,
    other_signals_arrive_after_resume,
    delete_wants_force_for_a_paused_container_on_v1,
    delete_wants_force_for_a_paused_container_on_v2,
    without_a_cgroup_pause_is_refused_in_one_line,
    pause_resume_and_delete_at_once_leave_nothing,
);

/// Writes a line into /count a hundred times a second.
const COUNTS: &str = "while :; do echo x >> /count; sleep 0.01; done";

fn counting(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.shell(COUNTS))
}

fn sleeping(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]))
}

fn run(c: &Container, verb: &str) -> Outcome {
    c.verb::<&str>(&[verb], &[]).run()?.ok().map(drop)
}

fn refused(c: &Container, verb: &str, words: &str) -> Outcome {
    let output = c.verb::<&str>(&[verb], &[]).run()?.refused()?;
    output.says(&[words]).map(drop)
}

fn count(c: &Container) -> u64 {
    let path = c.bundle.join("rootfs/count");
    std::fs::metadata(path).map_or(0, |file| file.len())
}

/// Fails unless the container counts on.
fn counts(ctx: &Ctx, c: &Container) -> Outcome {
    let before = count(c);
    ctx.until("the container counts", || count(c) > before + 2)
}

/// Fails if the container counts: what is paused when `pause` returns writes nothing more.
fn stands(c: &Container) -> Outcome {
    let before = count(c);
    std::thread::sleep(Duration::from_millis(150));
    check_eq!(count(c), before, "what a paused container has written");
    c.status_is("paused")
}

fn stands_until_resume(ctx: &Ctx) -> Outcome {
    let c = counting(ctx)?.detach()?;
    // Twice: what is left of the first time must not be in the way.
    for _ in 0..2 {
        counts(ctx, &c)?;
        run(&c, "pause")?;
        stands(&c)?;
        run(&c, "resume")?;
        c.status_is("running")?;
        counts(ctx, &c)?;
    }
    Ok(())
}

fn nothing_runs_until_resume_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("freezer")?;
    stands_until_resume(ctx)
}

fn nothing_runs_until_resume_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    stands_until_resume(ctx)
}

fn what_exec_has_added_stands_still_too(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let pid_file = ctx.dir.join("pid");
    let options = ["--detach", "--pid-file", &pid_file.to_string_lossy()];
    c.exec(&options, &["/bin/sh", "-c", COUNTS]).run()?.ok()?;
    counts(ctx, &c)?;
    run(&c, "pause")?;
    stands(&c)?;
    run(&c, "resume")?;
    counts(ctx, &c)?;
    exec::end(std::fs::read_to_string(&pid_file)?.trim().parse()?)
}

fn cgroups_beneath_stand_still_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let c = counting(ctx)?.detach()?;
    let beneath = ctx.cgroup_dir(ctx.v2("")?, &c.id).join("beneath");
    ctx.make_cgroup(&beneath)?;
    std::fs::write(beneath.join("cgroup.procs"), c.pid()?.to_string())?;
    check!(
        cgroups::pids(&beneath).contains(&c.pid()?),
        "the init is not in the cgroup beneath"
    );
    counts(ctx, &c)?;
    run(&c, "pause")?;
    stands(&c)?;
    run(&c, "resume")?;
    counts(ctx, &c)
}

fn a_created_container_can_be_paused_and_starts_later(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.create()?;
    run(&c, "pause")?;
    c.status_is("paused")?;
    refused(&c, "start", "cannot start a container in the paused state")?;
    run(&c, "resume")?;
    c.status_is("created")?;
    c.start()?;
    c.status_is("running")
}

fn only_created_and_running_containers_are_paused(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    run(&c, "pause")?;
    refused(&c, "pause", "container not running: it is paused")?;
    c.status_is("paused")?;
    run(&c, "resume")?;
    let pid = c.pid()?;
    c.kill("KILL")?;
    c.wait_pid(pid)?;
    refused(&c, "pause", "container not running")?;
    c.status_is("stopped")?;
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn only_paused_containers_are_resumed(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.create()?;
    refused(&c, "resume", "container not paused: it is created")?;
    c.start()?;
    refused(&c, "resume", "container not paused: it is running")?;
    let pid = c.pid()?;
    c.kill("KILL")?;
    c.wait_pid(pid)?;
    refused(&c, "resume", "container not paused: it is stopped")
}

fn an_unknown_id_does_not_exist(ctx: &Ctx) -> Outcome {
    for verb in ["pause", "resume"] {
        let output = ctx.rt(&[verb, "nosuch"]).run()?.refused()?;
        output.says(&["container does not exist"])?;
        let output = ctx.rt(&[verb]).run()?.refused()?;
        output.says(&["missing argument"])?;
        let output = ctx.rt(&[verb, "a", "b"]).run()?.refused()?;
        output.says(&["one argument too many"])?;
    }
    ctx.nothing_left()
}

fn a_paused_container_is_entered_only_when_asked(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    run(&c, "pause")?;
    let refused = c.exec(&[], &["/bin/true"]).run()?.refused_with(255)?;
    refused.says(&["cannot exec in a paused container"])?;
    let command = ["/bin/probe", "exit", "4"];
    let mut entered = c.exec(&["--ignore-paused"], &command).spawn()?;
    std::thread::sleep(Duration::from_millis(150));
    check!(
        entered.child.try_wait()?.is_none(),
        "it ran in a paused container"
    );
    run(&c, "resume")?;
    check_eq!(entered.wait()?, 4, "exit code");
    Ok(())
}

fn killed_while_paused(ctx: &Ctx, c: &Container) -> Outcome {
    let pid = c.pid()?;
    run(c, "pause")?;
    c.kill("KILL")?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code");
    c.status_is("stopped")?;
    procs::reap_all();
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn kill_9_ends_a_paused_container_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("freezer")?;
    killed_while_paused(ctx, &sleeping(ctx)?.detach()?)
}

fn kill_9_ends_a_paused_container_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    killed_while_paused(ctx, &sleeping(ctx)?.detach()?)
}

fn kill_9_ends_a_paused_container_without_a_pid_namespace(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.without_namespace("pid");
    let c = b.shell("sleep 1000 & echo up; wait").detach()?;
    c.wait_stdout("up")?;
    killed_while_paused(ctx, &c)
}

fn kill_9_reaches_what_the_container_froze_itself_on_v1(ctx: &Ctx) -> Outcome {
    let freezer = ctx.v1("freezer")?;
    let b = Bundle::new(ctx)?.without_namespace("pid");
    let c = b.shell("sleep 1000 & echo up; wait").detach()?;
    c.wait_stdout("up")?;
    let (dir, init) = (ctx.cgroup_dir(freezer, &c.id), c.pid()?);
    let beneath = dir.join("beneath");
    std::fs::create_dir(&beneath).because(beneath.display())?;
    let child = cgroups::pids(&dir).into_iter().find(|pid| *pid != init);
    let child = child.because("the container's second process")?;
    std::fs::write(beneath.join("cgroup.procs"), child.to_string())?;
    std::fs::write(beneath.join("freezer.state"), "FROZEN")?;
    c.verb(&["kill", "--all"], &["KILL"]).run()?.ok()?;
    ctx.until("the frozen process has ended", || {
        procs::reap_all();
        cgroups::pids(&beneath).is_empty()
    })
}

fn other_signals_arrive_after_resume(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    let c = b
        .shell("trap 'echo caught; exit 3' TERM; echo up; while :; do sleep 0.01; done")
        .detach()?;
    c.wait_stdout("up")?;
    let pid = c.pid()?;
    run(&c, "pause")?;
    c.kill("TERM")?;
    std::thread::sleep(Duration::from_millis(100));
    check_eq!(c.stdout()?, "up\n", "what a paused container has printed");
    c.status_is("paused")?;
    run(&c, "resume")?;
    check_eq!(c.wait_pid(pid)?, 3, "exit code");
    check_eq!(c.stdout()?, "up\ncaught\n", "output");
    Ok(())
}

fn force_is_wanted(ctx: &Ctx) -> Outcome {
    for created in [false, true] {
        let b = sleeping(ctx)?;
        let c = if created { b.create()? } else { b.detach()? };
        run(&c, "pause")?;
        c.delete()?.refused()?.says(&["paused"])?;
        c.delete_force()?.ok()?;
        ctx.nothing_left()?;
    }
    Ok(())
}

fn delete_wants_force_for_a_paused_container_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("freezer")?;
    force_is_wanted(ctx)
}

fn delete_wants_force_for_a_paused_container_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    force_is_wanted(ctx)
}

/// A container that was made with the cgroup manager `disabled`.
pub(super) fn without_a_cgroup(ctx: &Ctx) -> Outcome<Container<'_>> {
    let b = sleeping(ctx)?.remove("/linux/cgroupsPath");
    let output: PathBuf = ctx.dir.join("without");
    ctx.created(&b.id);
    b.verb("run", &["--detach"])?
        .global(&["--cgroup-manager=disabled"])
        .output(output.clone())
        .run()?
        .ok()?;
    Ok(Container::new(ctx, &b.id, &b.dir, output))
}

fn without_a_cgroup_pause_is_refused_in_one_line(ctx: &Ctx) -> Outcome {
    let c = without_a_cgroup(ctx)?;
    refused(&c, "pause", "has no cgroup of its own with a freezer")?;
    refused(&c, "resume", "container not paused")?;
    c.status_is("running")
}

fn pause_resume_and_delete_at_once_leave_nothing(ctx: &Ctx) -> Outcome {
    for round in 0..8 {
        let c = sleeping(ctx)?.detach()?;
        let mut others = Vec::new();
        for verb in ["pause", "resume", "pause"] {
            others.push(c.verb::<&str>(&[verb], &[]).spawn()?);
        }
        // Not always at the same moment.
        std::thread::sleep(Duration::from_millis(round));
        c.delete_force()?.ok()?;
        for other in &mut others {
            let code = other.wait()?;
            check!(code == 0 || code == 1, "exit code {code}");
        }
    }
    ctx.nothing_left()
}
