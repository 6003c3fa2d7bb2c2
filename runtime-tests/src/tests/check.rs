//! `check`: every problem of a bundle at once, the plan, and no effect at all.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, fail, skip};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::fs;

tests!("check":
    a_good_bundle_can_be_run,
    all_problems_are_named_at_once,
    what_check_refuses_create_refuses_at_the_same_place,
    what_check_takes_runs,
    a_program_behind_links_and_binds_is_found,
    a_missing_interpreter_is_explained,
    unknown_members_and_words_are_warnings,
    the_plan_is_printed,
    the_plan_as_json_has_all_parts,
    values_of_the_environment_are_not_printed,
    nothing_is_touched,
    the_bundle_is_the_current_directory_unless_told,
    a_systemd_that_cannot_be_reached_is_an_error,
    without_a_config_there_is_one_line,
    a_user_is_told_about_missing_ids,
    a_user_without_a_cgroup_is_told_so,
    hostile_bundles_do_not_hang_it,
);

/// The report on a bundle.
fn report(b: &Bundle<'_>, ctx: &Ctx, code: i32) -> Outcome<Value> {
    b.write()?;
    let dir = b.dir.to_string_lossy();
    let output = ctx.rt(&["check", "--bundle", &dir, "--json"]).run()?;
    let output = output.code_is(code)?;
    check_eq!(output.stderr.as_str(), "", "stderr");
    let report: Value = serde_json::from_str(&output.stdout).because(&output.stdout)?;
    check_eq!(report["ok"], json!(code == 0), "ok");
    for (kind, severity) in [("errors", "error"), ("warnings", "warning")] {
        let count = of(&report, severity).len();
        check_eq!(report[kind], json!(count), "the number of {kind}");
    }
    Ok(report)
}

/// The pointers of the findings of a severity.
fn of(report: &Value, severity: &str) -> Vec<String> {
    let all = report["findings"].as_array().cloned().unwrap_or_default();
    all.iter()
        .filter(|finding| finding["severity"] == severity)
        .filter_map(|finding| finding["pointer"].as_str().map(str::to_string))
        .collect()
}

fn a_good_bundle_can_be_run(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    let found = report(&b, ctx, 0)?;
    check_eq!(of(&found, "error"), Vec::<String>::new(), "errors");
    let dir = b.dir.to_string_lossy();
    let output = ctx.rt(&["check", "-b", &dir]).run()?.ok()?;
    check!(
        output
            .stdout
            .ends_with("this bundle can be run: 0 errors, 0 warnings\n"),
        "{}",
        output.stdout
    );
    b.run()?.ok()?;
    ctx.nothing_left()
}

fn all_problems_are_named_at_once(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .args(&["/bin/nosuch"])
        .set("/process/oomScoreAdj", 5000)
        .set("/process/terminal", "yes")
        .push("/process/env", "NOVALUE")
        .push(
            "/process/rlimits",
            json!({"type": "RLIMIT_NOPE", "soft": 1, "hard": 1}),
        )
        .mount("/proc/x", "tmpfs", "tmpfs", &[])
        .mount("/data", "", "/nosuch/source", &["bind"])
        .set("/hooks/createRuntime", json!([{"path": "/nosuch/hook"}]))
        .set("/linux/maskedPaths", json!(["relative"]))
        .set("/linux/resources/memory", json!({"limit": -9}))
        .set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_MAYBE"}))
        .push(
            "/linux/namespaces",
            json!({"type": "user", "path": "/nosuch/ns"}),
        )
        .set("/linux/sysctl", json!({"kernel.hostname": "x"}));
    let found = report(&b, ctx, 1)?;
    let errors = of(&found, "error");
    for pointer in [
        "/process/args/0",
        "/process/oomScoreAdj",
        "/process/terminal",
        "/process/env/1",
        "/process/rlimits/0/type",
        "/mounts/6/destination",
        "/mounts/7/source",
        "/hooks/createRuntime/0/path",
        "/linux/maskedPaths/0",
        "/linux/resources/memory/limit",
        "/linux/seccomp/defaultAction",
        "/linux/namespaces/5/path",
        "/linux/sysctl/kernel.hostname",
    ] {
        check!(
            errors.iter().any(|p| p == pointer),
            "no {pointer} in {errors:?}"
        );
    }
    check_eq!(errors.len(), 13, "errors: {errors:?}");
    for finding in found["findings"].as_array().because("a list")? {
        check!(finding["message"].is_string(), "{finding}");
    }
    // People get the same, with what stands there and how to mend it.
    let dir = b.dir.to_string_lossy();
    let text = ctx.rt(&["check", "-b", &dir]).run()?.code_is(1)?.stdout;
    for line in [
        "error: /linux/resources/memory/limit: ",
        "  found: -9",
        "  mend: make it on the host first",
        "this bundle cannot be run: 13 errors, 0 warnings",
    ] {
        check!(text.contains(line), "no {line:?} in {text}");
    }
    ctx.nothing_left()
}

/// One place that is wrong, with the value that makes it so.
fn wrong() -> Vec<(&'static str, Value)> {
    vec![
        ("/process/args", json!([])),
        ("/process/args/0", json!("nosuch")),
        ("/process/args/0", json!("/etc")),
        ("/process/args/0", json!("/etc/passwd")),
        ("/process/cwd", json!("relative")),
        ("/process/cwd", json!("/etc/passwd")),
        ("/process/user/umask", json!(4096)),
        ("/process/apparmorProfile", json!("nosuch-profile")),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 9_000_000_000_u64}]),
        ),
        ("/root/path", json!("nosuch")),
        ("/linux/namespaces/0/type", json!("pidd")),
        ("/linux/namespaces/0/path", json!("/etc/passwd")),
        ("/linux/rootfsPropagation", json!("sharedd")),
        ("/linux/netDevices", json!({"nosuch0": {}})),
        ("/linux/resources/unified", json!({"a/b": "1"})),
        ("/linux/timeOffsets", json!({"monotonic": {"secs": 1}})),
        ("/linux/mountLabel", json!("system_u:object_r:x_t:s0")),
        ("/mounts/0/destination", json!("")),
        ("/mounts/1/type", json!("")),
        ("/hooks/prestart", json!([{"path": "/nosuch"}])),
        ("/hooks/startContainer", json!([{"path": "relative"}])),
    ]
}

fn what_check_refuses_create_refuses_at_the_same_place(ctx: &Ctx) -> Outcome {
    let labels = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok()
        || std::path::Path::new("/sys/fs/selinux/enforce").exists();
    let mut amiss = Vec::new();
    for (pointer, value) in wrong() {
        if labels && (pointer.contains("apparmor") || pointer.contains("mountLabel")) {
            continue;
        }
        let b = Bundle::new(ctx)?.set(pointer, value.clone());
        let tried = report(&b, ctx, 1).and_then(|found| {
            let errors = of(&found, "error");
            check!(
                errors
                    .iter()
                    .any(|e| e.starts_with(pointer) || pointer.starts_with(e.as_str())),
                "{errors:?}"
            );
            b.create_refused()
        });
        if let Err(stop) = tried {
            amiss.push(format!("{pointer} = {value}: {stop}"));
            ctx.rt(&["delete", "--force", &b.id]).run()?;
        }
    }
    check!(amiss.is_empty(), "{}", amiss.join("\n"));
    ctx.nothing_left()
}

fn what_check_takes_runs(ctx: &Ctx) -> Outcome {
    for (pointer, value) in [
        ("/process/args", json!(["true"])),
        ("/process/cwd", json!("/made/on/the/way")),
        (
            "/linux/namespaces/2",
            json!({"type": "uts", "path": "/proc/self/ns/uts"}),
        ),
        ("/unknown", json!({"x": 1})),
        ("/annotations", json!({"a.b/c": "d"})),
        ("/hooks/poststop", json!([{"path": "/bin/true"}])),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
            [{"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"}]}),
        ),
    ] {
        let b = Bundle::new(ctx)?.set(pointer, value.clone());
        report(&b, ctx, 0)?;
        let output = b.run()?;
        check_eq!(output.code, 0, "{pointer} = {value}: {}", output.stderr);
    }
    ctx.nothing_left()
}

fn a_program_behind_links_and_binds_is_found(ctx: &Ctx) -> Outcome {
    use std::os::unix::fs::symlink;
    let b = Bundle::new(ctx)?;
    // usr/local -> ../opt/here, and /opt is a bind of a directory of the host.
    let tools = ctx.dir.join("tools");
    fs::create_dir_all(tools.join("here"))?;
    fs::create_dir_all(b.rootfs().join("usr"))?;
    fs::create_dir_all(b.rootfs().join("opt"))?;
    symlink("../opt/here", b.rootfs().join("usr/local"))?;
    symlink("/bin/busybox", tools.join("here/true"))?;
    let b = b
        .mount("/opt", "", &tools.to_string_lossy(), &["bind"])
        .args(&["/usr/local/true"]);
    report(&b, ctx, 0)?;
    b.run()?.ok()?;
    // The same link to nowhere.
    fs::remove_file(tools.join("here/true"))?;
    symlink("/bin/nosuch", tools.join("here/true"))?;
    let found = report(&b, ctx, 1)?;
    check_eq!(
        of(&found, "error"),
        vec!["/process/args/0".to_string()],
        "errors"
    );
    // A circle is an error, no hang.
    fs::remove_file(tools.join("here/true"))?;
    symlink("true", tools.join("here/true"))?;
    report(&b, ctx, 1)?;
    ctx.nothing_left()
}

fn a_missing_interpreter_is_explained(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/script"]);
    let script = b.rootfs().join("script");
    fs::write(&script, "#!/usr/bin/nosuch -x\n")?;
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let found = report(&b, ctx, 1)?;
    let message = found["findings"][0]["message"].to_string();
    check!(message.contains("/usr/bin/nosuch"), "{message}");
    fs::write(&script, "neither ELF nor script")?;
    if fs::read_dir("/proc/sys/fs/binfmt_misc").map_or(0, Iterator::count) <= 2 {
        let found = report(&b, ctx, 1)?;
        let message = found["findings"][0]["message"].to_string();
        check!(message.contains("exec format error"), "{message}");
    }
    fs::write(&script, "#!/bin/sh\n")?;
    report(&b, ctx, 0)?;
    ctx.nothing_left()
}

fn unknown_members_and_words_are_warnings(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .set("/process/capabilites", json!({}))
        .set("/windows", json!({}))
        .set("/linux/resources/memory/limt", 1)
        .set("/linux/sysctl", json!({"net.nosuch.key": "1"}))
        .push("/process/capabilities/bounding", "CAP_NOSUCH")
        .set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
            [{"names": ["read", "no_such_call"], "action": "SCMP_ACT_LOG"}]}),
        );
    let found = report(&b, ctx, 0)?;
    let warnings = of(&found, "warning");
    for pointer in [
        "/process/capabilites",
        "/windows",
        "/linux/resources/memory/limt",
        "/linux/sysctl/net.nosuch.key",
        "/process/capabilities/bounding/14",
        "/linux/seccomp/syscalls/0/names/1",
    ] {
        check!(
            warnings.iter().any(|p| p == pointer),
            "no {pointer} in {warnings:?}"
        );
    }
    let text = found["findings"].to_string();
    check!(
        text.contains("did you mean \\\"capabilities\\\"?"),
        "{text}"
    );
    ctx.nothing_left()
}

fn the_plan_is_printed(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .set("/linux/resources/pids", json!({"limit": 17}))
        .args(&["/bin/true", "a b"]);
    b.write()?;
    let dir = b.dir.to_string_lossy();
    let plain = ctx.rt(&["check", "-b", &dir]).run()?.ok()?.stdout;
    let text = ctx.rt(&["check", "-b", &dir, "--plan"]).run()?.ok()?.stdout;
    for line in [
        "namespaces:\n",
        "  - type=pid new\n",
        "  - type=tmpfs destination=/dev ",
        "pids.max value=17 for=/linux/resources/pids/limit",
        "  args: [\"/bin/true\",\"a b\"]\n",
        "path=/dev/null ",
        "  cwd: /\n",
    ] {
        check!(text.contains(line), "no {line:?} in {text}");
        check!(!plain.contains(line), "{line:?} without --plan");
    }
    ctx.nothing_left()
}

fn the_plan_as_json_has_all_parts(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
            [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}),
        )
        .set("/hooks/poststop", json!([{"path": "/bin/true"}]))
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    b.write()?;
    let dir = b.dir.to_string_lossy();
    let args = ["check", "--bundle", &dir, "--json", "--plan"];
    let output = ctx.rt(&args).run()?.ok()?;
    let plan = &serde_json::from_str::<Value>(&output.stdout)?["plan"];
    for part in [
        "root",
        "namespaces",
        "mounts",
        "devices",
        "cgroup",
        "process",
        "seccomp",
        "hooks",
        "sysctls",
        "hostname",
    ] {
        check!(!plan[part].is_null(), "no {part} in {plan}");
    }
    // In the order in which they are made.
    let places: Vec<&Value> = plan["mounts"]
        .as_array()
        .because("mounts")?
        .iter()
        .map(|mount| &mount["destination"])
        .collect();
    check_eq!(
        places[..2],
        [&json!("/proc"), &json!("/dev")],
        "the first mounts"
    );
    check!(plan["seccomp"]["instructions"].as_u64() > Some(5), "{plan}");
    check_eq!(plan["process"]["args"], json!(["/bin/true"]), "args");
    let without = ctx.rt(&args[..4]).run()?.ok()?.stdout;
    check!(
        !without.contains("\"plan\""),
        "a plan that nobody asked for"
    );
    ctx.nothing_left()
}

fn values_of_the_environment_are_not_printed(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.push("/process/env", "TOKEN=hush");
    b.write()?;
    let dir = b.dir.to_string_lossy();
    for args in [&["--plan"][..], &["--plan", "--json"]] {
        let mut all = vec!["check", "-b", &dir];
        all.extend(args);
        let output = ctx.rt(&all).run()?.ok()?;
        check!(output.stdout.contains("TOKEN"), "{}", output.stdout);
        check!(!output.stdout.contains("hush"), "{}", output.stdout);
    }
    // Nor one that is wrong.
    let b = b.push("/process/env", "hush-hush");
    let found = report(&b, ctx, 1)?;
    check!(!found.to_string().contains("hush"), "{found}");
    ctx.nothing_left()
}

fn nothing_is_touched(ctx: &Ctx) -> Outcome {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return skip("strace is not installed");
    }
    let b = Bundle::new(ctx)?
        .set("/linux/resources/pids", json!({"limit": 17}))
        .set("/hooks/prestart", json!([{"path": "/bin/true"}]));
    b.write()?;
    let log = ctx.dir.join("strace");
    let log = log.to_string_lossy();
    let dir = b.dir.to_string_lossy();
    for verb in [&["check", "-b", &*dir, "--plan"][..], &["info"]] {
        let strace = ["strace", "-f", "-qq", "-o", &log];
        let output = ctx.rt(verb).within(&strace).run()?.ok()?;
        check!(!output.stdout.is_empty(), "{verb:?} says nothing");
        let calls = fs::read_to_string(&*log)?;
        check!(calls.lines().count() > 30, "strace saw {calls}");
        for line in calls.lines() {
            let call = line
                .split_once(' ')
                .map_or(line, |(_, call)| call.trim_start());
            let name = call.split('(').next().unwrap_or_default();
            let refused = line.contains("= -1 ");
            let writes = ["O_CREAT", "O_WRONLY", "O_RDWR", "O_TRUNC"];
            let effect = match name {
                "open" | "openat" | "openat2" => writes.iter().any(|flag| line.contains(flag)),
                "write" => !call.starts_with("write(1,"),
                "mkdir" | "mkdirat" | "mknod" | "mknodat" | "unlink" | "unlinkat" | "rename"
                | "renameat" | "renameat2" | "symlink" | "symlinkat" | "mount" | "umount2"
                | "clone" | "clone3" | "fork" | "vfork" | "unshare" | "setns" | "chmod"
                | "fchmod" | "fchmodat" | "chown" | "fchown" | "fchownat" | "bpf" | "seccomp"
                | "fsopen" | "move_mount" | "open_tree" | "mount_setattr" | "prctl" | "keyctl"
                | "setrlimit" | "memfd_create" | "set_mempolicy" => !refused,
                _ => false,
            };
            check!(!effect, "{verb:?}: {line}");
        }
    }
    ctx.nothing_left()
}

fn the_bundle_is_the_current_directory_unless_told(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    b.write()?;
    ctx.rt(&["check"]).cwd(&b.dir).run()?.ok()?;
    ctx.rt(&["check", "--bundle", "."])
        .cwd(&b.dir)
        .run()?
        .ok()?;
    ctx.nothing_left()
}

/// Where there is one, `check::` with `--cgroup-manager systemd` shows that it is none.
fn a_systemd_that_cannot_be_reached_is_an_error(ctx: &Ctx) -> Outcome {
    if std::path::Path::new("/run/systemd/private").exists() {
        return skip("this machine has a systemd");
    }
    let b = Bundle::new(ctx)?.set("/linux/cgroupsPath", "system.slice:x:y");
    b.write()?;
    let output = ctx
        .rt(&["check"])
        .global(&["--systemd-cgroup"])
        .cwd(&b.dir)
        .run()?
        .code_is(1)?;
    check!(
        output
            .stdout
            .contains("/linux/cgroupsPath: cannot speak to systemd"),
        "{}",
        output.stdout
    );
    ctx.nothing_left()
}

fn without_a_config_there_is_one_line(ctx: &Ctx) -> Outcome {
    let empty = ctx.dir.join("empty");
    fs::create_dir(&empty)?;
    let empty = empty.to_string_lossy();
    let output = ctx.rt(&["check", "-b", &empty]).run()?.refused()?;
    output.says(&["config.json not found"])?;
    let output = ctx
        .rt(&["check", "-b", "/nosuch/bundle"])
        .run()?
        .refused()?;
    output.says(&["/nosuch/bundle"])?;
    // What is no JSON is a finding with its position.
    let b = Bundle::new(ctx)?;
    fs::write(b.dir.join("config.json"), "{\"root\": }")?;
    let dir = b.dir.to_string_lossy();
    let output = ctx.rt(&["check", "-b", &dir]).run()?.code_is(1)?;
    check!(
        output
            .stdout
            .starts_with("error: config.json: line 1 column 10: not valid JSON"),
        "{}",
        output.stdout
    );
    Ok(())
}

fn a_user_is_told_about_missing_ids(ctx: &Ctx) -> Outcome {
    ctx.use_user(false)?;
    let map = json!([{"containerID": 0, "hostID": 300_000, "size": 65536}]);
    let b = Bundle::new(ctx)?
        .user_namespace()
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    let found = report(&b, ctx, 1)?;
    let errors = of(&found, "error");
    for pointer in ["/linux/uidMappings/0", "/linux/gidMappings/0"] {
        check!(
            errors.iter().any(|p| p == pointer),
            "no {pointer} in {errors:?}"
        );
    }
    check!(found.to_string().contains("/etc/subuid"), "{found}");
    ctx.nothing_left()
}

fn a_user_without_a_cgroup_is_told_so(ctx: &Ctx) -> Outcome {
    ctx.use_user(false)?;
    let plain = Bundle::new(ctx)?.remove("/linux/cgroupsPath");
    let found = report(&plain, ctx, 0)?;
    check!(
        of(&found, "warning")
            .iter()
            .any(|p| p == "/linux/resources"),
        "{found}"
    );
    let limited = plain.set("/linux/resources/memory/limit", 1 << 30);
    let found = report(&limited, ctx, 1)?;
    check!(
        of(&found, "error")
            .iter()
            .any(|p| p == "/linux/resources/memory/limit"),
        "{found}"
    );
    ctx.nothing_left()
}

fn hostile_bundles_do_not_hang_it(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/pipe"]);
    b.write()?;
    let fifo = |path: &std::path::Path| {
        ctx.host(&["mkfifo", "-m", "755", &path.to_string_lossy()])
            .run()?
            .ok()
    };
    fifo(&b.rootfs().join("pipe"))?;
    report(&b, ctx, 1)?;
    // A whole configuration of errors ends too.
    let entry = json!({"destination": "/proc/x", "type": "tmpfs"});
    let b = Bundle::new(ctx)?.set("/mounts", vec![entry; 1000]);
    let found = report(&b, ctx, 1)?;
    let errors = of(&found, "error").len();
    if errors < 100 {
        return fail(format!("{errors} errors of 1000"));
    }
    let b = Bundle::new(ctx)?;
    fs::remove_file(b.dir.join("config.json")).ok();
    fifo(&b.dir.join("config.json"))?;
    let dir = b.dir.to_string_lossy();
    ctx.rt(&["check", "-b", &dir]).run()?.refused()?;
    ctx.nothing_left()
}
