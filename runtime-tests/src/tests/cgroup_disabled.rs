//! Every verb for a container without a cgroup (`--cgroup-manager=disabled`): it does its work,
//! or says in one line what is missing.

use super::pause::without_a_cgroup;
use crate::bundle::Bundle;
use crate::container::Container;
use crate::context::Ctx;
use crate::fake_criu::{Fake, restorable};
use crate::outcome::{Because, Outcome, Stop};
use crate::{cgroups, check, check_eq, procs, tests};
use serde_json::json;
use std::io::{BufRead, BufReader};

tests!("cgroup_disabled":
    a_container_is_created_started_entered_killed_and_deleted,
    it_stays_in_the_callers_cgroup,
    limits_and_device_rules_are_not_applied,
    all_processes_are_killed_with_a_pid_namespace,
    without_a_pid_namespace_it_is_said_what_is_not_reached,
    verbs_that_need_a_cgroup_say_so,
    verbs_that_need_none_work,
    checkpoint_and_restore_work,
);

const DISABLED: [&str; 1] = ["--cgroup-manager=disabled"];

fn sleeping(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    let b = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
    Ok(b.remove("/linux/cgroupsPath"))
}

fn a_container_is_created_started_entered_killed_and_deleted(ctx: &Ctx) -> Outcome {
    let b = sleeping(ctx)?;
    ctx.created(&b.id);
    let output = ctx.dir.join("output");
    let create = b.verb::<&str>("create", &[])?.global(&DISABLED);
    create.output(output.clone()).run()?.ok()?;
    let c = Container::new(ctx, &b.id, &b.dir, output);
    c.status_is("created")?;
    // No later verb needs to be told.
    c.start()?;
    c.status_is("running")?;
    check_eq!(c.exec_says(&[], "echo entered")?, "entered", "exec");
    c.kill("KILL")?;
    c.wait_status("stopped")?;
    c.delete()?.ok()?;
    ctx.nothing_left()
}

/// The cgroups of a process.
fn of(ctx: &Ctx, pid: i32) -> Outcome<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    Ok(cgroups::known(&text, &ctx.hierarchies))
}

fn it_stays_in_the_callers_cgroup(ctx: &Ctx) -> Outcome {
    let c = without_a_cgroup(ctx)?;
    let own = of(ctx, std::process::id() as i32)?;
    check_eq!(of(ctx, c.pid()?)?, own, "cgroups of the container");
    // A path that config.json has is nothing that could be made.
    let b = Bundle::new(ctx)?.shell("cat /proc/self/cgroup");
    let run = b.verb::<&str>("run", &[])?.global(&DISABLED);
    let said = run.run()?.ok()?.stdout;
    let found = cgroups::known(&said, &ctx.hierarchies);
    check_eq!(found, own, "with linux.cgroupsPath");
    Ok(())
}

fn limits_and_device_rules_are_not_applied(ctx: &Ctx) -> Outcome {
    let limits = json!({"pids": {"limit": 1}, "memory": {"limit": 4096},
                        "devices": [{"allow": false, "access": "rwm"}]});
    let b = Bundle::new(ctx)?
        .set("/linux/resources", limits)
        .shell("true | true; head -c 1 /dev/zero | wc -c");
    let run = b.verb::<&str>("run", &[])?.global(&DISABLED);
    check_eq!(run.run()?.ok()?.stdout.trim(), "1", "output");
    ctx.nothing_left()
}

fn all_processes_are_killed_with_a_pid_namespace(ctx: &Ctx) -> Outcome {
    let c = without_a_cgroup(ctx)?;
    c.exec(&["--detach"], &["/bin/sleep", "2000"]).run()?.ok()?;
    c.verb(&["kill"], &["--all", "KILL"]).run()?.ok()?;
    // The pid namespace ends when all in it are reaped, by this process.
    ctx.until("both processes have ended", || {
        procs::reap_all();
        c.status().is_ok_and(|status| status == "stopped")
    })?;
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn without_a_pid_namespace_it_is_said_what_is_not_reached(ctx: &Ctx) -> Outcome {
    let b = sleeping(ctx)?
        .without_namespace("pid")
        .shell("sleep 2000 & echo made; exec sleep 1000");
    ctx.created(&b.id);
    let output = ctx.dir.join("output");
    let run = b.verb("run", &["--detach"])?.global(&DISABLED);
    let warned = run.output(output.clone()).run()?.ok()?;
    let log = std::fs::read_to_string(&output).unwrap_or_default() + &warned.stderr;
    check!(
        log.contains("neither a cgroup nor a pid namespace"),
        "no warning: {log:?}"
    );
    let c = Container::new(ctx, &b.id, &b.dir, output);
    c.wait_stdout("made")?;
    c.delete_force()?.ok()?;
    // What the warning is about.
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let left = procs::descendants(me);
    for pid in &left {
        procs::signal(*pid, rustix::process::Signal::KILL);
    }
    procs::reap_all();
    check_eq!(left.len(), 1, "processes that delete did not reach");
    ctx.nothing_left()
}

fn verbs_that_need_a_cgroup_say_so(ctx: &Ctx) -> Outcome {
    let c = without_a_cgroup(ctx)?;
    for verb in [
        &["pause"] as &[&str],
        &["ps"],
        &["update", "--memory", "64m"],
        &["events"],
        &["events", "--stats"],
    ] {
        c.verb::<&str>(verb, &[])
            .run()?
            .refused()?
            .says(&["has no cgroup of its own"])?
            .says(&["--cgroup-manager=disabled"])?;
    }
    c.verb::<&str>(&["resume"], &[])
        .run()?
        .refused()?
        .says(&["container not paused"])?;
    c.exec(&["--cgroup", "beneath"], &["/bin/true"])
        .run()?
        .refused_with(255)?
        .says(&["has no cgroup of its own"])?;
    c.status_is("running")
}

fn verbs_that_need_none_work(ctx: &Ctx) -> Outcome {
    let c = without_a_cgroup(ctx)?;
    let list = ctx.rt(&["list", "--quiet"]).run()?.ok()?.stdout;
    check!(list.lines().any(|line| line == c.id), "list: {list}");
    check_eq!(c.state()?["status"], json!("running"), "state");
    let mut wait = c.verb::<&str>(&["wait"], &[]).spawn()?;
    std::fs::write(ctx.dir.join("file"), "there")?;
    let mount = json!({"destination": "/mnt/file", "type": "none",
        "source": ctx.dir.join("file"), "options": ["bind"]});
    let list = ctx.dir.join("mounts.json");
    std::fs::write(&list, json!({"mounts": [mount]}).to_string())?;
    let add = c.verb(&["mounts", "add"], &[&*list.to_string_lossy()]);
    add.run()?.ok()?;
    check_eq!(c.exec_says(&[], "cat /mnt/file")?, "there", "mounts add");
    let remove = c.verb(&["mounts", "remove"], &[&*list.to_string_lossy()]);
    remove.run()?.ok()?;
    let mut watch = ctx.rt(&["watch", "--format", "json", &c.id]).spawn()?;
    let stdout = watch.child.stdout.take().because("its output")?;
    let mut told = BufReader::new(stdout).lines();
    let mut next = || Ok::<_, Stop>(told.next().because("a line")??);
    check!(next()?.contains("running"), "the first line of watch");
    c.kill("KILL")?;
    check_eq!(wait.wait()?, 137, "wait");
    c.delete()?.ok()?;
    check!(next()?.contains("stopped"), "the second line of watch");
    check!(next()?.contains("deleted"), "the third line of watch");
    procs::signal(watch.pid(), rustix::process::Signal::TERM);
    watch.wait()?;
    ctx.nothing_left()
}

/// With a criu that is played: what is asked of it and what becomes of the container is ours.
fn checkpoint_and_restore_work(ctx: &Ctx) -> Outcome {
    let c = without_a_cgroup(ctx)?;
    Fake::new(ctx, "")?.checkpoint(&c, &[])?.ok()?;
    ctx.nothing_left()?;
    let b = restorable(ctx)?.remove("/linux/cgroupsPath");
    let restore = Fake::new(ctx, "")?.restore(&b, &["--detach"])?;
    restore.global(&DISABLED).run()?.ok()?;
    let c = Container::new(ctx, &b.id, &b.dir, ctx.dir.join("out"));
    check_eq!(
        of(ctx, c.pid()?)?,
        of(ctx, std::process::id() as i32)?,
        "cgroups of the restored container"
    );
    c.delete_force()?.ok()?;
    let b = restorable(ctx)?.without_namespace("pid");
    let restore = Fake::new(ctx, "")?.restore(&b, &["--detach"])?;
    restore
        .global(&DISABLED)
        .run()?
        .refused()?
        .says(&["without a cgroup needs a pid namespace"])?;
    ctx.nothing_left()
}
