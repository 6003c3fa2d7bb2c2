//! The runtime killed half-way: `delete --force` succeeds and nothing is left.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Outcome, fail, skip};
use crate::{check, tests};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

tests!("killed":
    at_random_moments_of_create as Long,
    at_random_moments_of_run as Long,
    at_each_system_call_of_create as Long,
    at_each_system_call_of_start as Long,
    at_each_system_call_of_kill as Long,
    at_each_system_call_of_delete as Long,
    at_each_system_call_of_a_process_that_create_starts as Long,
    at_each_system_call_of_create_in_a_joined_pid_namespace as Long,
    at_system_calls_of_create_around_a_hook as Long,
    the_waiting_init_can_be_killed_and_deleted,
);

const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

/// How many of the moments in a verb are tried at most, spread evenly.
const MOMENTS: usize = 400;

/// `delete --force` must succeed and leave nothing.
fn cleared(ctx: &Ctx, id: &str, moment: &str) -> Outcome {
    let output = ctx.rt(&["delete", "--force", id]).run()?;
    check!(
        output.code == 0,
        "delete --force after a kill {moment}: {}",
        output.stderr.trim()
    );
    match ctx.nothing_left() {
        Ok(()) => Ok(()),
        Err(stop) => fail(format!("after a kill {moment}: {stop}")),
    }
}

/// Kills `verb` after delays that spread over its usual duration.
fn at_random_moments(ctx: &Ctx, verb: &str) -> Outcome {
    const ROUNDS: u32 = 30;
    let null = Stdio::null;
    let b = Bundle::new(ctx)?.args(&["/bin/true"]);
    let begin = Instant::now();
    b.verb::<&str>(verb, &[])?
        .spawn_with(null(), null(), null())?
        .wait()?;
    let usual = begin.elapsed();
    cleared(ctx, &b.id, "that did not happen")?;
    for round in 0..ROUNDS {
        let delay = usual * round / ROUNDS;
        let mut run = b
            .verb::<&str>(verb, &[])?
            .spawn_with(null(), null(), null())?;
        std::thread::sleep(delay);
        run.child.kill()?;
        run.wait()?;
        cleared(
            ctx,
            &b.id,
            &format!("after {} µs of {verb}", delay.as_micros()),
        )?;
    }
    Ok(())
}

fn at_random_moments_of_create(ctx: &Ctx) -> Outcome {
    at_random_moments(ctx, "create")
}

fn at_random_moments_of_run(ctx: &Ctx) -> Outcome {
    at_random_moments(ctx, "run")
}

/// strace with its report in a file; with `-f` it follows what the runtime starts.
fn strace(ctx: &Ctx, follow: bool, options: &[String]) -> Outcome<Vec<String>> {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return skip("strace is not installed");
    }
    let mut words = vec!["strace".to_string(), "-qq".into()];
    if follow {
        // -D: the tracer stays behind with the container's init, out of the caller's way.
        words.extend(["-f".to_string(), "-D".into()]);
    }
    words.push("-o".into());
    words.push(ctx.dir.join("strace").to_string_lossy().into_owned());
    words.extend_from_slice(options);
    words.push("--".into());
    Ok(words)
}

/// What a verb needs before it, and its command line.
struct Stage<'a> {
    verb: &'a [&'a str],
    prepare: &'a dyn Fn(&Bundle) -> Outcome,
    /// What the container has besides.
    shape: &'a dyn for<'b> Fn(Bundle<'b>) -> Bundle<'b>,
    /// The system calls that are tried; all if there are none.
    only: &'a [&'a str],
}

impl<'a> Stage<'a> {
    fn new(verb: &'a [&'a str], prepare: &'a dyn Fn(&Bundle) -> Outcome) -> Stage<'a> {
        Stage {
            verb,
            prepare,
            shape: &|b| b,
            only: &[],
        }
    }

    fn bundle<'c>(&self, ctx: &'c Ctx) -> Outcome<Bundle<'c>> {
        Ok((self.shape)(Bundle::new(ctx)?.args(&SLEEP)))
    }
}

/// The system calls of a verb with how often each is made.
fn calls(ctx: &Ctx, follow: bool, stage: &Stage) -> Outcome<BTreeMap<String, usize>> {
    let b = stage.bundle(ctx)?;
    (stage.prepare)(&b)?;
    verb(ctx, &b, stage)?
        .within(&strace(ctx, follow, &[])?)
        .run()?
        .ok()?;
    // The report is complete when all that is followed has ended.
    cleared(ctx, &b.id, "that did not happen")?;
    let report = std::fs::read_to_string(ctx.dir.join("strace"))?;
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    let mut per_process: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in report.lines() {
        let (pid, rest) = match (follow, line.split_once(' ')) {
            (true, Some((pid, rest))) => (pid.to_string(), rest.trim_start()),
            _ => (String::new(), line),
        };
        let Some((name, _)) = rest.split_once('(') else {
            continue;
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        // strace counts each call of each process by itself.
        let count = per_process.entry((pid, name.to_string())).or_default();
        *count += 1;
        let most = calls.entry(name.to_string()).or_default();
        *most = (*most).max(*count);
    }
    Ok(calls)
}

fn verb<'a>(ctx: &'a Ctx, b: &Bundle<'a>, stage: &Stage) -> Outcome<crate::command::Cmd<'a>> {
    if stage.verb == ["create"] {
        return b.verb::<&str>("create", &[]);
    }
    let mut words = stage.verb.to_vec();
    words.push(&b.id);
    Ok(ctx.rt(&words))
}

/// Kills the verb at each of its system calls in turn.
fn at_each_system_call(ctx: &Ctx, follow: bool, stage: &Stage) -> Outcome {
    let calls = calls(ctx, follow, stage)?;
    let moments: Vec<(String, usize)> = calls
        .into_iter()
        // A kill while it is being started is a kill before it did anything.
        .filter(|(name, _)| name != "execve" || follow)
        .filter(|(name, _)| stage.only.is_empty() || stage.only.contains(&name.as_str()))
        .flat_map(|(name, count)| (1..=count).map(move |n| (name.clone(), n)))
        .collect();
    let step = moments.len().div_ceil(MOMENTS).max(1);
    let end = Instant::now() + Duration::from_secs(100);
    let mut tried = 0;
    for (name, number) in moments.iter().step_by(step) {
        let b = stage.bundle(ctx)?;
        (stage.prepare)(&b)?;
        let inject = format!("inject={name}:signal=KILL:when={number}");
        let wrapper = strace(
            ctx,
            follow,
            // What is not traced is not tampered with either (strace 6.1).
            &["-e".into(), format!("trace={name}"), "-e".into(), inject],
        )?;
        verb(ctx, &b, stage)?.within(&wrapper).run()?;
        cleared(
            ctx,
            &b.id,
            &format!("at {name} number {number} of {:?}", stage.verb),
        )?;
        std::fs::remove_dir_all(&b.dir)?;
        tried += 1;
        if Instant::now() > end {
            break;
        }
    }
    ctx.note(format!("({tried} of {} moments tried)", moments.len()));
    check!(tried > 0, "no system call was seen");
    Ok(())
}

fn nothing(_: &Bundle) -> Outcome {
    Ok(())
}

fn created(b: &Bundle) -> Outcome {
    b.verb::<&str>("create", &[])?.run()?.ok().map(drop)
}

fn running(b: &Bundle) -> Outcome {
    b.verb("run", &["--detach"])?.run()?.ok().map(drop)
}

fn at_each_system_call_of_create(ctx: &Ctx) -> Outcome {
    at_each_system_call(ctx, false, &Stage::new(&["create"], &nothing))
}

fn at_each_system_call_of_start(ctx: &Ctx) -> Outcome {
    at_each_system_call(ctx, false, &Stage::new(&["start"], &created))
}

fn at_each_system_call_of_kill(ctx: &Ctx) -> Outcome {
    at_each_system_call(ctx, false, &Stage::new(&["kill"], &running))
}

fn at_each_system_call_of_delete(ctx: &Ctx) -> Outcome {
    at_each_system_call(ctx, false, &Stage::new(&["delete", "--force"], &running))
}

fn at_each_system_call_of_a_process_that_create_starts(ctx: &Ctx) -> Outcome {
    at_each_system_call(ctx, true, &Stage::new(&["create"], &nothing))
}

fn at_each_system_call_of_create_in_a_joined_pid_namespace(ctx: &Ctx) -> Outcome {
    let pause = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    let path = format!("/proc/{}/ns/pid", pause.pid()?);
    ctx.stays();
    let stage = Stage {
        shape: &|b| b.namespace("pid", Some(&path)),
        ..Stage::new(&["create"], &nothing)
    };
    at_each_system_call(ctx, true, &stage)
}

fn at_system_calls_of_create_around_a_hook(ctx: &Ctx) -> Outcome {
    // Its child lives on if the hook is killed alone.
    let script = "sleep 30 & child=$!; sleep 0.05; kill $child";
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    let stage = Stage {
        shape: &|b| b.push("/hooks/createRuntime", hook.clone()),
        only: &[
            "clone3",
            "close",
            "pidfd_send_signal",
            "pipe2",
            "poll",
            "read",
            "waitid",
            "write",
        ],
        ..Stage::new(&["create"], &nothing)
    };
    at_each_system_call(ctx, false, &stage)
}

fn the_waiting_init_can_be_killed_and_deleted(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&SLEEP).create()?;
    let pid = c.pid()?;
    crate::procs::signal(pid, rustix::process::Signal::KILL);
    c.wait_pid(pid)?;
    c.status_is("stopped")?;
    let begin = Instant::now();
    c.verb::<&str>(&["start"], &[]).run()?.refused()?;
    check!(
        begin.elapsed() < Duration::from_secs(5),
        "start of a dead init takes its time"
    );
    c.delete()?.ok()?;
    ctx.nothing_left()
}
