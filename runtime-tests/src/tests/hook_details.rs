//! Hooks: environment, directory, standard streams, time limits and failures, kind by kind.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

tests!("hook_details":
    hooks_without_an_environment_get_the_runtimes,
    a_start_container_hook_without_an_environment_gets_the_process_environment,
    an_empty_environment_is_empty,
    hooks_of_the_runtime_start_in_the_bundle,
    a_create_container_hook_starts_in_the_containers_root,
    a_start_container_hook_starts_in_the_process_directory,
    each_kind_sees_the_status_of_its_moment,
    a_create_container_hook_sees_the_mounts_and_the_host,
    what_a_hook_says_does_not_reach_the_containers_output,
    the_error_holds_what_a_hook_said_on_stderr,
    a_hook_killed_by_a_signal_is_named,
    a_start_container_hook_that_takes_too_long_is_killed,
    a_poststart_hook_that_takes_too_long_is_killed,
    a_poststop_hook_that_takes_too_long_is_killed,
    a_time_limit_past_all_counting_is_none,
    a_time_limit_ends_the_children_of_a_hook_too,
    a_start_container_hook_lives_under_the_filter,
    poststop_runs_when_a_hook_of_create_fails,
    a_hook_leaves_the_runtimes_group_and_signals_alone,
);

/// The kinds whose programs are the host's.
const OF_THE_HOST: [&str; 5] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "poststart",
    "poststop",
];

/// A hook that runs this line of shell; startContainer's shell is that of the rootfs.
fn shell(line: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", line]})
}

/// The file for what a hook of this kind has to say, as the hook names it.
fn log(b: &Bundle, kind: &str) -> String {
    if kind == "startContainer" {
        return format!("/tmp/{kind}");
    }
    b.rootfs().join("tmp").join(kind).display().to_string()
}

/// Adds hooks of these kinds that write what the line prints; `$KIND` is the kind.
fn saying<'a>(b: Bundle<'a>, kinds: &[&str], line: &str) -> Bundle<'a> {
    kinds.iter().fold(b, |b, kind| {
        let line = format!("KIND={kind}; ({line}) > {}", log(&b, kind));
        b.push(&format!("/hooks/{kind}"), shell(&line))
    })
}

fn said(rootfs: &std::path::Path, kind: &str) -> Outcome<String> {
    let path = rootfs.join("tmp").join(kind);
    let text = std::fs::read_to_string(&path).because(path.display())?;
    Ok(text.trim().to_string())
}

/// A whole life, with `MARK=outside` in the runtime's environment.
fn live(ctx: &Ctx, b: &Bundle) -> Outcome {
    ctx.created(&b.id);
    b.verb::<&str>("create", &[])?
        .env("MARK", "outside")
        .run()?
        .ok()?;
    for verb in [&["start"][..], &["delete", "--force"]] {
        let mut args = verb.to_vec();
        args.push(&b.id);
        ctx.rt(&args).env("MARK", "outside").run()?.ok()?;
    }
    ctx.nothing_left()
}

fn sleeper(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]))
}

fn hooks_without_an_environment_get_the_runtimes(ctx: &Ctx) -> Outcome {
    // As runc and crun do: hooks look for PATH and XDG_RUNTIME_DIR.
    let b = saying(sleeper(ctx)?, &OF_THE_HOST, "echo $MARK");
    live(ctx, &b)?;
    for kind in OF_THE_HOST {
        check_eq!(said(&b.rootfs(), kind)?, "outside", "MARK of {kind}");
    }
    Ok(())
}

fn a_start_container_hook_without_an_environment_gets_the_process_environment(
    ctx: &Ctx,
) -> Outcome {
    let b = saying(sleeper(ctx)?, &["startContainer"], "echo $ONE $MARK $HOME");
    let b = b.set("/process/env", json!(["ONE=two", "PATH=/bin"]));
    live(ctx, &b)?;
    check_eq!(
        said(&b.rootfs(), "startContainer")?,
        "two /root",
        "ONE, no MARK, HOME"
    );
    Ok(())
}

fn an_empty_environment_is_empty(ctx: &Ctx) -> Outcome {
    let mut b = sleeper(ctx)?.set("/process/env", json!(["ONE=two", "PATH=/bin"]));
    let kinds = ["startContainer"].iter().chain(&OF_THE_HOST);
    for kind in kinds.clone() {
        let mut hook = shell(&format!("echo .$MARK$ONE > {}", log(&b, kind)));
        hook["env"] = json!([]);
        b = b.push(&format!("/hooks/{kind}"), hook);
    }
    live(ctx, &b)?;
    for kind in kinds {
        check_eq!(said(&b.rootfs(), kind)?, ".", "MARK and ONE of {kind}");
    }
    Ok(())
}

fn hooks_of_the_runtime_start_in_the_bundle(ctx: &Ctx) -> Outcome {
    let kinds = ["prestart", "createRuntime", "poststart", "poststop"];
    let b = saying(sleeper(ctx)?, &kinds, "pwd -P");
    live(ctx, &b)?;
    let bundle = b.dir.canonicalize()?;
    for kind in kinds {
        check_eq!(
            said(&b.rootfs(), kind)?,
            bundle.to_string_lossy(),
            "directory of {kind}"
        );
    }
    Ok(())
}

fn a_create_container_hook_starts_in_the_containers_root(ctx: &Ctx) -> Outcome {
    let b = sleeper(ctx)?.push(
        "/hooks/createContainer",
        shell("echo here > tmp/createContainer"),
    );
    live(ctx, &b)?;
    check_eq!(said(&b.rootfs(), "createContainer")?, "here", "file");
    Ok(())
}

fn a_start_container_hook_starts_in_the_process_directory(ctx: &Ctx) -> Outcome {
    let b = saying(sleeper(ctx)?, &["startContainer"], "pwd -P").set("/process/cwd", "/var/tmp");
    live(ctx, &b)?;
    check_eq!(
        said(&b.rootfs(), "startContainer")?,
        "/var/tmp",
        "directory"
    );
    Ok(())
}

fn each_kind_sees_the_status_of_its_moment(ctx: &Ctx) -> Outcome {
    let kinds = ["startContainer"]
        .iter()
        .chain(&OF_THE_HOST)
        .copied()
        .collect::<Vec<_>>();
    let b = saying(sleeper(ctx)?, &kinds, "cat");
    live(ctx, &b)?;
    for (kind, status) in [
        ("prestart", "created"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("startContainer", "created"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ] {
        let state: Value = serde_json::from_str(&said(&b.rootfs(), kind)?)?;
        check_eq!(state["status"], json!(status), "status for {kind}");
        let inside = ["createContainer", "startContainer"].contains(&kind);
        if inside {
            check_eq!(state["pid"], json!(1), "pid for {kind}");
        }
        check_eq!(
            state.get("pid").is_some(),
            kind != "poststop",
            "pid for {kind}"
        );
    }
    Ok(())
}

fn a_create_container_hook_sees_the_mounts_and_the_host(ctx: &Ctx) -> Outcome {
    let file = ctx.dir.join("of-the-host");
    std::fs::write(&file, "host")?;
    let line = format!("cat {}; grep -c /dev/shm /proc/self/mounts", file.display());
    let b = saying(sleeper(ctx)?, &["createContainer"], &line);
    live(ctx, &b)?;
    let text = said(&b.rootfs(), "createContainer")?;
    check!(
        text.starts_with("host") && !text.ends_with("host0"),
        "a file of the host, and the container's mount: {text}"
    );
    Ok(())
}

fn what_a_hook_says_does_not_reach_the_containers_output(ctx: &Ctx) -> Outcome {
    let kinds = ["startContainer"].iter().chain(&OF_THE_HOST);
    let b = kinds.fold(Bundle::new(ctx)?, |b, kind| {
        let hook = shell("echo of the hook; echo of the hook >&2");
        b.push(&format!("/hooks/{kind}"), hook)
    });
    let output = b.args(&["/bin/echo", "mine"]).run()?.ok()?;
    check_eq!(output.stdout, "mine\n", "standard output");
    check_eq!(output.stderr, "", "standard error");
    Ok(())
}

fn the_error_holds_what_a_hook_said_on_stderr(ctx: &Ctx) -> Outcome {
    let hook = shell("echo 'the reason' >&2; exit 9");
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let b = Bundle::new(ctx)?.push(&format!("/hooks/{kind}"), hook.clone());
        let output = b.create_refused()?;
        for text in ["the reason", "9", &format!("/hooks/{kind}/0")] {
            check!(output.stderr.contains(text), "{kind}: {}", output.stderr);
        }
    }
    for kind in ["startContainer", "poststart"] {
        let c = sleeper(ctx)?
            .push(&format!("/hooks/{kind}"), hook.clone())
            .create()?;
        let output = c.verb::<&str>(&["start"], &[]).run()?.refused()?;
        for text in ["the reason", "9", &format!("/hooks/{kind}/0")] {
            check!(output.stderr.contains(text), "{kind}: {}", output.stderr);
        }
        c.delete_force()?.ok()?;
    }
    let c = sleeper(ctx)?.push("/hooks/poststop", hook).create()?;
    let output = c.delete_force()?.ok()?;
    for text in ["the reason", "9", "/hooks/poststop/0", "warn"] {
        check!(output.stderr.contains(text), "poststop: {}", output.stderr);
    }
    ctx.nothing_left()
}

fn a_hook_killed_by_a_signal_is_named(ctx: &Ctx) -> Outcome {
    let hook = shell("kill -SEGV $$");
    let b = Bundle::new(ctx)?.push("/hooks/createRuntime", hook.clone());
    b.create_refused()?.says(&["signal 11"])?;
    let c = sleeper(ctx)?.push("/hooks/startContainer", hook).create()?;
    let output = c.verb::<&str>(&["start"], &[]).run()?.refused()?;
    output.says(&["signal 11"])?;
    Ok(())
}

fn slow() -> Value {
    json!({"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1})
}

fn took_a_second(begin: Instant) -> Outcome {
    let seconds = begin.elapsed().as_secs_f32();
    check!((0.9..8.0).contains(&seconds), "it took {seconds} s");
    Ok(())
}

fn a_start_container_hook_that_takes_too_long_is_killed(ctx: &Ctx) -> Outcome {
    let c = sleeper(ctx)?
        .push("/hooks/startContainer", slow())
        .create()?;
    let (pid, begin) = (c.pid()?, Instant::now());
    let output = c.verb::<&str>(&["start"], &[]).run()?.refused()?;
    took_a_second(begin)?;
    output.says(&["timeout"])?;
    check_eq!(c.wait_pid(pid)?, 255, "exit code of the container");
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn a_poststart_hook_that_takes_too_long_is_killed(ctx: &Ctx) -> Outcome {
    let c = sleeper(ctx)?.push("/hooks/poststart", slow()).create()?;
    let (pid, begin) = (c.pid()?, Instant::now());
    let output = c.verb::<&str>(&["start"], &[]).run()?.refused()?;
    took_a_second(begin)?;
    output.says(&["timeout"])?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code of the container");
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn a_poststop_hook_that_takes_too_long_is_killed(ctx: &Ctx) -> Outcome {
    let c = sleeper(ctx)?.push("/hooks/poststop", slow()).create()?;
    let begin = Instant::now();
    let output = c.delete_force()?.ok()?;
    took_a_second(begin)?;
    output.says(&["timeout"])?;
    ctx.nothing_left()
}

/// Seen to fail where the limit is added to the clock unchecked: the runtime panicked, and left all
/// it had made.
fn a_time_limit_past_all_counting_is_none(ctx: &Ctx) -> Outcome {
    for kind in OF_THE_HOST.iter().chain(&["startContainer"]) {
        // Its standard error is closed, which is another way to wait for its end.
        for line in ["true", "exec 2>&-; sleep 0.1"] {
            let mut hook = shell(line);
            hook["timeout"] = json!(i64::MAX);
            let c = sleeper(ctx)?.push(&format!("/hooks/{kind}"), hook);
            let c = c.create()?;
            c.start()?;
            c.delete_force()?.ok()?;
        }
    }
    ctx.nothing_left()
}

fn a_time_limit_ends_the_children_of_a_hook_too(ctx: &Ctx) -> Outcome {
    // Each child would write a second after the limit; none may live that long.
    for kind in ["createRuntime", "createContainer", "startContainer"] {
        let b = sleeper(ctx)?;
        let line = format!("(sleep 2; echo late > {}) & sleep 100", log(&b, kind));
        let mut hook = shell(&line);
        hook["timeout"] = json!(1);
        // Without it the end of the init would end the children in its place.
        let b = b
            .push(&format!("/hooks/{kind}"), hook)
            .without_namespace("pid");
        if kind == "startContainer" {
            let c = b.create()?;
            c.verb::<&str>(&["start"], &[]).run()?.refused()?;
            if let Ok(dir) = c.v1_dir("pids") {
                let alive = |pid: &i32| {
                    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
                    stat.is_ok_and(|stat| !stat.contains(") Z"))
                };
                // They were killed before start returned; dying takes them a moment.
                ctx.until("the hook's processes have ended", || {
                    !crate::cgroups::pids(&dir).iter().any(alive)
                })?;
            }
            c.delete_force()?.ok()?;
        } else {
            b.create_refused()?;
        }
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let late: PathBuf = b.rootfs().join("tmp").join(kind);
        check!(!late.exists(), "a child of the {kind} hook lived on");
    }
    Ok(())
}

fn a_start_container_hook_lives_under_the_filter(ctx: &Ctx) -> Outcome {
    // As with runc, crun and youki: the profile has to allow what the hook needs.
    let b = saying(
        sleeper(ctx)?,
        &["startContainer"],
        "grep Seccomp: /proc/self/status; mkdir /tmp/made 2>&1",
    );
    let rules =
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]);
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    let c = b.set("/linux/seccomp", profile).create()?;
    // The hook's last command fails, and with it the hook.
    c.verb::<&str>(&["start"], &[]).run()?.refused()?;
    let text = said(&c.bundle.join("rootfs"), "startContainer")?;
    check!(
        text.contains('2') && text.contains("Permission denied"),
        "{text}"
    );
    Ok(())
}

fn poststop_runs_when_a_hook_of_create_fails(ctx: &Ctx) -> Outcome {
    // runtime-spec 1.3.0, lifecycle steps 4 to 6: the error leads on to the end.
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let b = saying(Bundle::new(ctx)?, &["poststop"], "echo ran");
        let b = b.push(&format!("/hooks/{kind}"), shell("exit 1"));
        b.create_refused()?;
        check_eq!(said(&b.rootfs(), "poststop")?, "ran", "after {kind}");
    }
    Ok(())
}

fn a_hook_leaves_the_runtimes_group_and_signals_alone(ctx: &Ctx) -> Outcome {
    let b = saying(
        sleeper(ctx)?,
        &["createRuntime", "createContainer", "poststart"],
        "echo $$ $(cut -d' ' -f5,6 /proc/$$/stat); grep -E '^Sig(Blk|Ign)' /proc/self/status",
    );
    live(ctx, &b)?;
    for kind in ["createRuntime", "createContainer", "poststart"] {
        let text = said(&b.rootfs(), kind)?;
        let first = text.lines().next().because("a line")?;
        let numbers: Vec<&str> = first.split(' ').collect();
        // createContainer's pid is that of the container, its /proc the host's.
        if kind != "createContainer" {
            check!(
                numbers.len() == 3 && numbers.iter().all(|n| *n == numbers[0]),
                "{kind}: pid, group and session: {first}"
            );
        }
        for line in text.lines().skip(1) {
            check!(line.ends_with("0000000000000000"), "{kind}: {line}");
        }
    }
    Ok(())
}
