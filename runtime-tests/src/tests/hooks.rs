//! The six kinds of hooks: order, surroundings, time limits, failures.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::path::PathBuf;

tests!("hooks":
    all_six_kinds_run_in_order,
    each_hook_gets_the_state_on_stdin,
    hooks_of_one_kind_run_in_the_order_of_the_list,
    each_kind_runs_in_its_namespaces,
    create_runs_the_first_three_and_start_the_next_two,
    poststart_runs_after_start,
    hooks_get_their_own_environment_only,
    hooks_get_their_arguments,
    a_failing_hook_before_start_ends_create_and_leaves_nothing,
    a_failing_start_container_hook_ends_the_container,
    a_failing_poststart_hook_is_an_error_and_stops_the_container,
    a_failing_poststop_hook_is_only_logged,
    a_hook_that_takes_too_long_is_killed,
    a_missing_hook_program_ends_create_and_leaves_nothing,
    poststop_runs_once_after_delete,
    hooks_have_no_foreign_descriptors,
    a_hook_ends_with_the_runtime_that_waits_for_it,
);

const BEFORE_START: [&str; 3] = ["prestart", "createRuntime", "createContainer"];
const ALL: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

/// The file that hooks write to: in the rootfs, which both sides of pivot_root reach.
fn log_path(b: &Bundle, kind: &str) -> String {
    let inside = "/tmp/hooks";
    if kind == "startContainer" {
        return inside.to_string();
    }
    format!("{}{inside}", b.rootfs().display())
}

fn with_hook<'a>(ctx: &Ctx, b: Bundle<'a>, kind: &str, name: &str, more: &[&str]) -> Bundle<'a> {
    let inside = kind == "startContainer";
    let path = if inside {
        "/bin/probe".into()
    } else {
        ctx.probe.to_string_lossy().into_owned()
    };
    let mut args = vec![
        "probe".to_string(),
        "hook".to_string(),
        log_path(&b, kind),
        name.into(),
    ];
    args.extend(more.iter().map(|option| option.to_string()));
    b.push(
        &format!("/hooks/{kind}"),
        json!({"path": path, "args": args, "env": ["HOOK=1"]}),
    )
}

fn with_all<'a>(ctx: &'a Ctx) -> Outcome<Bundle<'a>> {
    let b = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
    Ok(ALL
        .iter()
        .fold(b, |b, kind| with_hook(ctx, b, kind, kind, &[])))
}

/// What the hooks have written so far.
fn written(path: &PathBuf) -> Outcome<Vec<Value>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).because(line))
        .collect()
}

fn names(path: &PathBuf) -> Outcome<Vec<String>> {
    Ok(written(path)?
        .iter()
        .map(|w| w["hook"].as_str().unwrap_or_default().to_string())
        .collect())
}

fn log_of(b: &Bundle) -> PathBuf {
    b.rootfs().join("tmp/hooks")
}

fn all_six_kinds_run_in_order(ctx: &Ctx) -> Outcome {
    let b = with_all(ctx)?;
    let log = log_of(&b);
    let c = b.create()?;
    c.start()?;
    c.delete_force()?.ok()?;
    check_eq!(names(&log)?, ALL, "hooks");
    ctx.nothing_left()
}

fn each_hook_gets_the_state_on_stdin(ctx: &Ctx) -> Outcome {
    let b = with_all(ctx)?.set("/annotations/com.example.key", "a value");
    let log = log_of(&b);
    let c = b.create()?;
    let pid = c.pid()?;
    c.start()?;
    c.delete_force()?.ok()?;
    for line in written(&log)? {
        let (kind, state) = (line["hook"].as_str().unwrap_or_default(), &line["state"]);
        check_eq!(state["id"], json!(c.id), "id for {kind}");
        check_eq!(state["bundle"], json!(c.bundle), "bundle for {kind}");
        check_eq!(
            state["annotations"]["com.example.key"],
            json!("a value"),
            "annotation for {kind}"
        );
        check!(
            state["ociVersion"].is_string(),
            "no ociVersion for {kind}: {state}"
        );
        let status: &[&str] = match kind {
            "startContainer" => &["creating", "created"],
            "poststart" => &["running"],
            "poststop" => &["stopped"],
            _ => &["creating", "created"],
        };
        check!(
            status.iter().any(|s| state["status"] == *s),
            "status for {kind}: {state}"
        );
        if kind != "poststop" && kind != "startContainer" && kind != "createContainer" {
            check_eq!(state["pid"], json!(pid), "pid for {kind}");
        }
    }
    Ok(())
}

fn hooks_of_one_kind_run_in_the_order_of_the_list(ctx: &Ctx) -> Outcome {
    let mut b = Bundle::new(ctx)?;
    let log = log_of(&b);
    for kind in BEFORE_START {
        for number in 1..=3 {
            b = with_hook(ctx, b, kind, &format!("{kind}{number}"), &["sleep=5"]);
        }
    }
    b.run()?.ok()?;
    let wanted: Vec<String> = BEFORE_START
        .iter()
        .flat_map(|kind| (1..=3).map(move |n| format!("{kind}{n}")))
        .collect();
    check_eq!(names(&log)?, wanted, "hooks");
    Ok(())
}

fn each_kind_runs_in_its_namespaces(ctx: &Ctx) -> Outcome {
    let b = with_all(ctx)?;
    let log = log_of(&b);
    let c = b.create()?;
    let container = std::fs::read_link(format!("/proc/{}/ns/mnt", c.pid()?))?;
    let host = std::fs::read_link("/proc/thread-self/ns/mnt")?;
    c.start()?;
    c.delete_force()?.ok()?;
    for line in written(&log)? {
        let kind = line["hook"].as_str().unwrap_or_default();
        let inside = ["createContainer", "startContainer"].contains(&kind);
        let wanted = if inside { &container } else { &host };
        check_eq!(line["mnt"], json!(wanted), "mount namespace of {kind}");
    }
    Ok(())
}

fn create_runs_the_first_three_and_start_the_next_two(ctx: &Ctx) -> Outcome {
    let b = with_all(ctx)?;
    let log = log_of(&b);
    let c = b.create()?;
    check_eq!(names(&log)?, ALL[..3], "hooks after create");
    c.start()?;
    check_eq!(names(&log)?, ALL[..5], "hooks after start");
    c.kill("KILL")?;
    c.wait_status("stopped")?;
    check_eq!(names(&log)?, ALL[..5], "hooks after the end");
    c.delete()?.ok()?;
    check_eq!(names(&log)?, ALL, "hooks after delete");
    Ok(())
}

fn poststart_runs_after_start(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
    let log = log_of(&b);
    let b = with_hook(ctx, b, "poststart", "poststart", &[]);
    let c = b.create()?;
    check_eq!(names(&log)?.len(), 0, "poststart hooks before start");
    c.start()?;
    let all = written(&log)?;
    check_eq!(all.len(), 1, "poststart hooks after start");
    // The user's program, or what is about to become it, never something that waits for start.
    check_eq!(all[0]["state"]["status"], json!("running"), "status");
    Ok(())
}

fn hooks_get_their_own_environment_only(ctx: &Ctx) -> Outcome {
    let b = with_all(ctx)?;
    let log = log_of(&b);
    ctx.created(&b.id);
    let start = ctx.rt(&["start", &b.id]).env("LEAKED", "1");
    b.verb::<&str>("create", &[])?
        .env("LEAKED", "1")
        .run()?
        .ok()?;
    start.run()?.ok()?;
    ctx.rt(&["delete", "-f", &b.id])
        .env("LEAKED", "1")
        .run()?
        .ok()?;
    for line in written(&log)? {
        check_eq!(
            line["env"],
            json!(["HOOK=1"]),
            "environment of {}",
            line["hook"]
        );
    }
    Ok(())
}

fn hooks_get_their_arguments(ctx: &Ctx) -> Outcome {
    let b = with_hook(
        ctx,
        Bundle::new(ctx)?,
        "createRuntime",
        "two words",
        &["sleep=1"],
    );
    let log = log_of(&b);
    let path = log_path(&b, "createRuntime");
    b.run()?.ok()?;
    let all = written(&log)?;
    check_eq!(
        all[0]["args"],
        json!(["probe", "hook", path, "two words", "sleep=1"]),
        "arguments"
    );
    Ok(())
}

fn a_failing_hook_before_start_ends_create_and_leaves_nothing(ctx: &Ctx) -> Outcome {
    for kind in BEFORE_START {
        let b = with_hook(ctx, Bundle::new(ctx)?, kind, "breaks", &["exit=3"]);
        let log = log_of(&b);
        let b = with_hook(ctx, b, kind, "never", &[]);
        let output = b.create_refused()?;
        check!(
            output.stderr.contains(kind) || output.stderr.contains("hook"),
            "{}",
            output.stderr
        );
        output.says(&["3"])?;
        check_eq!(names(&log)?, ["breaks"], "hooks that ran");
    }
    Ok(())
}

fn a_failing_start_container_hook_ends_the_container(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.shell("echo ran");
    let b = with_hook(ctx, b, "startContainer", "breaks", &["exit=3"]);
    let c = b.create()?;
    // `start` may have returned before the hook failed, so its exit code says nothing.
    c.verb::<&str>(&["start"], &[]).run()?;
    ctx.until("the container has stopped or is gone", || {
        c.status().map_or(true, |status| status == "stopped")
    })?;
    check_eq!(c.stdout()?, "", "output of a command that must not run");
    Ok(())
}

fn a_failing_poststart_hook_is_an_error_and_stops_the_container(ctx: &Ctx) -> Outcome {
    // runtime-spec 1.3.0, lifecycle steps 9, 12 and 13.
    let b = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
    let log = log_of(&b);
    let b = with_hook(ctx, b, "poststart", "breaks", &["exit=3"]);
    let b = with_hook(ctx, b, "poststop", "poststop", &[]);
    let c = b.create()?;
    let pid = c.pid()?;
    c.verb::<&str>(&["start"], &[])
        .run()?
        .refused()?
        .says(&["poststart", "hook"])?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code of the container");
    c.delete_force()?.ok()?;
    check_eq!(names(&log)?, ["breaks", "poststop"], "hooks that ran");
    ctx.nothing_left()
}

fn a_failing_poststop_hook_is_only_logged(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
    let log = log_of(&b);
    let b = with_hook(ctx, b, "poststop", "breaks", &["exit=3"]);
    let b = with_hook(ctx, b, "poststop", "goes-on", &[]);
    let c = b.detach()?;
    c.delete_force()?.ok()?;
    check_eq!(names(&log)?, ["breaks", "goes-on"], "hooks that ran");
    ctx.nothing_left()
}

fn a_hook_that_takes_too_long_is_killed(ctx: &Ctx) -> Outcome {
    let sleep = json!({"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1});
    for kind in BEFORE_START {
        let b = Bundle::new(ctx)?.push(&format!("/hooks/{kind}"), sleep.clone());
        // createContainer runs with the container's root not yet in place: the host's sleep too.
        let begin = std::time::Instant::now();
        let output = b.create_refused()?;
        let seconds = begin.elapsed().as_secs_f32();
        check!(
            (0.9..8.0).contains(&seconds),
            "{kind} ended after {seconds} s"
        );
        output.says(&["timeout", "timed out", "deadline", "killed"])?;
    }
    Ok(())
}

fn a_missing_hook_program_ends_create_and_leaves_nothing(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.push("/hooks/createRuntime", json!({"path": "/nosuch/hook"}));
    b.create_refused()?.says(&["/nosuch/hook"])?;
    Ok(())
}

fn poststop_runs_once_after_delete(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    let log = log_of(&b);
    with_hook(ctx, b, "poststop", "poststop", &[]).run()?.ok()?;
    check_eq!(
        names(&log)?,
        ["poststop"],
        "hooks after a run in the foreground"
    );
    ctx.nothing_left()
}

fn hooks_have_no_foreign_descriptors(ctx: &Ctx) -> Outcome {
    let b = with_all(ctx)?;
    let log = log_of(&b);
    let c = b.create()?;
    c.start()?;
    c.delete_force()?.ok()?;
    for line in written(&log)? {
        let open = line["descriptors"].as_array().because("descriptors")?;
        let foreign: Vec<&Value> = open
            .iter()
            .skip(3)
            .filter(|fd| !fd.as_str().is_some_and(|fd| fd.starts_with("/proc/")))
            .collect();
        check!(foreign.is_empty(), "{} has {foreign:?} open", line["hook"]);
    }
    Ok(())
}

fn a_hook_ends_with_the_runtime_that_waits_for_it(ctx: &Ctx) -> Outcome {
    for kind in BEFORE_START {
        let hook = json!({"path": "/bin/sleep", "args": ["sleep", "1000"]});
        let b = Bundle::new(ctx)?.push(&format!("/hooks/{kind}"), hook);
        let null = std::process::Stdio::null;
        let mut create = b
            .verb::<&str>("create", &[])?
            .spawn_with(null(), null(), null())?;
        ctx.until("the hook runs", || {
            let children = format!("/proc/{0}/task/{0}/children", create.pid());
            let text = std::fs::read_to_string(children).unwrap_or_default();
            let sleeps = |pid: &str| {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
                name.is_ok_and(|name| name.trim() == "sleep")
            };
            kind == "createContainer" && !text.is_empty()
                || text.split_ascii_whitespace().any(sleeps)
        })?;
        create.child.kill()?;
        create.wait()?;
        ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
        ctx.nothing_left()?;
    }
    Ok(())
}
