//! `exec` that fails: one line, 255, and nothing left; the container is unharmed.

use super::exec::{only_the_init, sleeping};
use crate::bundle::Bundle;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Outcome, fail, skip};
use crate::{check, check_eq, tests};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

tests!("exec_failures":
    a_program_that_is_not_there,
    a_program_that_may_not_be_run,
    a_container_that_does_not_exist,
    a_container_that_is_stopped,
    a_container_that_is_being_created,
    a_process_file_that_is_broken,
    a_process_file_that_is_not_there,
    flags_that_contradict,
    labels_without_a_security_module,
    no_command,
    values_that_mean_nothing,
    a_cwd_that_is_not_there,
    a_user_that_is_not_mapped,
    sockets_that_are_not_there,
    a_pid_file_that_cannot_be_made,
    a_seccomp_agent_that_is_not_there,
    a_full_container,
    the_container_is_deleted_while_exec_runs,
    the_container_ends_while_many_enter as Long,
    killed_at_each_system_call as Long,
    killed_at_each_system_call_of_all_its_processes as Long,
    killed_at_each_system_call_without_a_pid_namespace as Long,
);

/// Refused with these words, and nothing is left.
fn refused(ctx: &Ctx, c: &Container, options: &[&str], command: &[&str], words: &str) -> Outcome {
    let output = c.exec(options, command).run()?;
    output.refused_with(255)?.says(&[words])?;
    only_the_init(ctx, c)
}

fn a_program_that_is_not_there(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    refused(
        ctx,
        &c,
        &[],
        &["nosuch"],
        "executable file not found in $PATH",
    )?;
    refused(ctx, &c, &[], &["/no/such"], "no such file or directory")?;
    refused(
        ctx,
        &c,
        &["-d"],
        &["nosuch"],
        "executable file not found in $PATH",
    )?;
    let pid_file = ctx.dir.join("pid");
    refused(
        ctx,
        &c,
        &["--pid-file", &pid_file.to_string_lossy()],
        &["nosuch"],
        "not found",
    )?;
    check!(!pid_file.exists(), "the pid file is there");
    Ok(())
}

fn a_program_that_may_not_be_run(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    refused(ctx, &c, &[], &["/etc/passwd"], "permission denied")?;
    refused(ctx, &c, &[], &["/tmp"], "permission denied")?;
    let own = c.bundle.join("rootfs/bin/own");
    std::fs::copy(c.bundle.join("rootfs/bin/busybox"), &own)?;
    std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let b = Bundle::new(ctx)?
        .capabilities(&[])
        .args(&["/bin/sleep", "1000"]);
    std::fs::copy(&own, b.rootfs().join("bin/own"))?;
    refused(
        ctx,
        &b.detach()?,
        &["-u", "1000"],
        &["/bin/own", "true"],
        "permission denied",
    )?;
    std::fs::write(&own, "\x7fELF and no more")?;
    refused(ctx, &c, &[], &["/bin/own"], "exec format error")
}

fn a_container_that_does_not_exist(ctx: &Ctx) -> Outcome {
    let output = ctx.rt(&["exec", "nosuch", "true"]).run()?;
    output
        .refused_with(255)?
        .says(&["does not exist"])
        .map(drop)
}

fn a_container_that_is_stopped(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&["/bin/true"]).detach()?;
    c.wait_status("stopped")?;
    let output = c.exec(&[], &["/bin/true"]).run()?.refused_with(255)?;
    output
        .says(&["cannot exec in a stopped container"])
        .map(drop)
}

fn a_container_that_is_being_created(ctx: &Ctx) -> Outcome {
    let go = ctx.dir.join("go");
    let line = format!("until test -e {}; do sleep 0.05; done", go.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", line],
        "env": ["PATH=/usr/bin:/bin"]}]);
    let b = Bundle::new(ctx)?.set("/hooks/createRuntime", hook);
    ctx.created(&b.id);
    let mut create = b.verb::<&str>("create", &[])?.spawn()?;
    ctx.until("it is being created", || {
        let state = ctx.rt(&["state", &b.id]).run();
        state.is_ok_and(|output| output.stdout.contains("\"creating\""))
    })?;
    let output = ctx.rt(&["exec", &b.id, "true"]).run()?.refused_with(255)?;
    output.says(&["being created"])?;
    std::fs::write(go, "")?;
    check_eq!(create.wait()?, 0, "exit code of create");
    Ok(())
}

fn a_process_file_that_is_broken(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let file = ctx.dir.join("process.json");
    for (text, pointer) in [
        ("", ""),
        ("[]", ""),
        ("{\"args\": [\"/bin/true\"", ""),
        ("{\"cwd\": \"/\"}", "/args"),
        ("{\"args\": [], \"cwd\": \"/\"}", "/args"),
        ("{\"args\": \"/bin/true\", \"cwd\": \"/\"}", "/args"),
        ("{\"args\": [\"/bin/true\", 5], \"cwd\": \"/\"}", "/args/1"),
        (
            "{\"args\": [\"/bin/tr\\u0000ue\"], \"cwd\": \"/\"}",
            "/args/0",
        ),
        ("{\"args\": [\"/bin/true\"], \"cwd\": \"tmp\"}", "/cwd"),
        (
            "{\"args\": [\"/bin/true\"], \"cwd\": \"/\", \"user\": {\"uid\": -1}}",
            "/user/uid",
        ),
        (
            "{\"args\": [\"/bin/true\"], \"cwd\": \"/\", \"rlimits\": [{\"type\": \"RLIMIT_X\", \"soft\": 1, \"hard\": 1}]}",
            "/rlimits/0/type",
        ),
        (
            "{\"args\": [\"/bin/true\"], \"cwd\": \"/\", \"env\": [7]}",
            "/env/0",
        ),
        (
            "{\"args\": [\"/bin/true\"], \"cwd\": \"/\", \"oomScoreAdj\": 1001}",
            "/oomScoreAdj",
        ),
        (
            "{\"args\": [\"/bin/true\"], \"cwd\": \"/\", \"execCPUAffinity\": {\"initial\": \"x\"}}",
            "/execCPUAffinity/initial",
        ),
    ] {
        std::fs::write(&file, text)?;
        let path = file.to_string_lossy();
        let output = c.verb::<&str>(&["exec", "--process", &path], &[]).run()?;
        let output = output.refused_with(255)?.says(&[&path])?;
        output.says(&[pointer])?;
        only_the_init(ctx, &c)?;
    }
    Ok(())
}

fn a_process_file_that_is_not_there(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    for path in ["/no/such.json", "/tmp", "/dev/zero"] {
        let output = c
            .verb::<&str>(&["exec", "-p", path], &[])
            .run()?
            .refused_with(255)?;
        output.says(&[path])?;
    }
    Ok(())
}

fn flags_that_contradict(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    refused(ctx, &c, &["-t", "-d"], &["/bin/true"], "console socket")?;
    refused(
        ctx,
        &c,
        &["--console-socket", "/tmp/x"],
        &["/bin/true"],
        "console socket",
    )?;
    refused(
        ctx,
        &c,
        &["-t", "--console-socket", "/tmp/x"],
        &["/bin/true"],
        "console socket",
    )
}

fn labels_without_a_security_module(ctx: &Ctx) -> Outcome {
    let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let c = sleeping(ctx)?;
    if !modules.contains("selinux") {
        refused(
            ctx,
            &c,
            &["--process-label", "a:b:c"],
            &["/bin/true"],
            "selinuxLabel",
        )?;
    }
    if !modules.contains("apparmor") {
        refused(
            ctx,
            &c,
            &["--apparmor", "nosuch"],
            &["/bin/true"],
            "apparmorProfile",
        )?;
    }
    Ok(())
}

fn values_that_mean_nothing(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    for (options, words) in [
        (
            ["--env", "NAME"],
            "invalid environment variable: there is no",
        ),
        (["--env", "=value"], "its name is empty"),
        (["--cwd", "tmp"], "is not absolute"),
        (["--user", "nobody"], "no user or group number"),
        (["--additional-gids", "x"], "additional-gids"),
        (["--cgroup", "../x"], "leads out of the container's cgroup"),
        (["--cgroup", "nosuch:x"], "nosuch"),
        (["--preserve-fds", "-1"], "preserve-fds"),
        (["--preserve-fds", "3"], "is not open"),
    ] {
        let output = c.exec(&options, &["/bin/true"]).run()?;
        check!(
            output.code == 255 || output.code == 1,
            "{options:?}: {output:?}"
        );
        let code = output.code;
        output.refused_with(code)?.says(&[words])?;
        only_the_init(ctx, &c)?;
    }
    // What the spec wants ignored is a warning.
    let unknown = ["--cap", "CAP_NOSUCH"];
    let output = c.exec(&unknown, &["/bin/true"]).run()?.ok()?;
    output.says(&["CAP_NOSUCH"])?;
    Ok(())
}

fn no_command(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let output = c.exec::<&str>(&[], &[]).run()?;
    check!(
        output.code != 0 && output.stderr.lines().count() == 1,
        "{output:?}"
    );
    Ok(())
}

fn a_cwd_that_is_not_there(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    for (cwd, words) in [
        ("/no/such", "/process/cwd"),
        ("/etc/passwd", "/process/cwd"),
        ("relative", "process: /cwd"),
    ] {
        refused(ctx, &c, &["--cwd", cwd], &["/bin/true"], words)?;
    }
    check!(!c.bundle.join("rootfs/no").exists(), "a folder was made");
    Ok(())
}

fn a_user_that_is_not_mapped(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.user_namespace();
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    for (option, id, words) in [
        ("-u", "70000", "/process/user/uid"),
        ("-u", "0:70000", "/process/user/gid"),
        ("-g", "70000", "/process/user/additionalGids"),
    ] {
        refused(ctx, &c, &[option, id], &["/bin/true"], words)?;
    }
    Ok(())
}

fn sockets_that_are_not_there(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    refused(
        ctx,
        &c,
        &["--pidfd-socket", "/no/such"],
        &["/bin/true"],
        "/no/such",
    )?;
    let options = ["-t", "-d", "--console-socket", "/no/such"];
    refused(ctx, &c, &options, &["/bin/true"], "/no/such")
}

fn a_pid_file_that_cannot_be_made(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    refused(
        ctx,
        &c,
        &["--pid-file", "/no/such/pid"],
        &["/bin/sleep", "1000"],
        "/no/such/pid",
    )
}

fn a_seccomp_agent_that_is_not_there(ctx: &Ctx) -> Outcome {
    let socket = crate::sockets::FdSocket::bind(&ctx.dir.join("agent"))?;
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": socket.path.to_string_lossy(), "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]});
    let b = Bundle::new(ctx)?.set("/linux/seccomp", profile);
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    let listener = socket.receive()?;
    std::fs::remove_file(&socket.path)?;
    refused(ctx, &c, &[], &["/bin/true"], "seccomp agent")?;
    drop(listener);
    Ok(())
}

fn a_full_container(ctx: &Ctx) -> Outcome {
    ctx.v1("pids")?;
    let b = Bundle::new(ctx)?.set("/linux/resources/pids/limit", 1);
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    refused(ctx, &c, &[], &["/bin/true"], "pids limit")
}

fn the_container_is_deleted_while_exec_runs(ctx: &Ctx) -> Outcome {
    for b in [
        Bundle::new(ctx)?,
        Bundle::new(ctx)?.without_namespace("pid"),
    ] {
        let c = b.args(&["/bin/sleep", "1000"]).detach()?;
        let mut run = c.exec(&[], &["/bin/sleep", "1000"]).spawn()?;
        // The stub has the program's arguments too, behind its own.
        ctx.until("the program runs", || {
            crate::procs::descendants(run.pid())
                .iter()
                .any(|pid| crate::procs::describe(*pid).contains("(/bin/sleep 1000)"))
        })?;
        c.delete_force()?.ok()?;
        check_eq!(run.wait()?, 137, "exit code");
        ctx.nothing_left()?;
    }
    Ok(())
}

fn the_container_ends_while_many_enter(ctx: &Ctx) -> Outcome {
    for round in 0..8 {
        let mut b = Bundle::new(ctx)?;
        if round % 2 == 1 {
            b = b.without_namespace("pid");
        }
        let c = b.args(&["/bin/sleep", "1000"]).detach()?;
        let mut all = Vec::new();
        for _ in 0..12 {
            all.push(c.exec(&[], &["/bin/sleep", "1000"]).spawn()?);
        }
        std::thread::sleep(Duration::from_millis(round * 4));
        c.delete_force()?.ok()?;
        for mut run in all {
            let code = run.wait()?;
            let mut said = String::new();
            if let Some(mut stderr) = run.child.stderr.take() {
                std::io::Read::read_to_string(&mut stderr, &mut said)?;
            }
            check!(
                code == 137 || (code == 255 && said.lines().count() == 1),
                "exit code {code}: {said}"
            );
        }
        ctx.nothing_left()?;
    }
    Ok(())
}

fn strace(ctx: &Ctx, follow: bool, options: &[String]) -> Outcome<Vec<String>> {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return skip("strace is not installed");
    }
    let mut words = vec!["strace".to_string(), "-qq".into()];
    if follow {
        words.push("-f".to_string());
    }
    words.push("-o".into());
    words.push(ctx.dir.join("strace").to_string_lossy().into_owned());
    words.extend_from_slice(options);
    words.push("--".into());
    Ok(words)
}

/// The system calls of `exec` with how often a process makes each.
fn calls(ctx: &Ctx, c: &Container, follow: bool) -> Outcome<BTreeMap<String, usize>> {
    c.exec(&[], &["/bin/true"])
        .within(&strace(ctx, follow, &[])?)
        .run()?
        .ok()?;
    let report = std::fs::read_to_string(ctx.dir.join("strace"))?;
    let mut each: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    for line in report.lines() {
        let (pid, rest) = match line.split_once(' ') {
            Some((pid, rest)) if follow => (pid, rest.trim_start()),
            _ => ("", line),
        };
        let Some((name, _)) = rest.split_once('(') else {
            continue;
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let count = each.entry((pid.to_string(), name.to_string())).or_default();
        *count += 1;
        let max = most.entry(name.to_string()).or_default();
        *max = (*max).max(*count);
    }
    Ok(most)
}

fn at_each_system_call(ctx: &Ctx, b: Bundle, follow: bool) -> Outcome {
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    let end = Instant::now() + Duration::from_secs(100);
    let (mut tried, mut killed) = (0, 0);
    let moments: Vec<(String, usize)> = calls(ctx, &c, follow)?
        .into_iter()
        .flat_map(|(name, count)| (1..=count).map(move |n| (name.clone(), n)))
        .collect();
    // 37 of one process on cgroup v2, more where there are hierarchies of v1 to join.
    check!(moments.len() > 30, "{} system calls seen", moments.len());
    for (name, number) in moments
        .iter()
        .filter(|(name, _)| name != "execve" || follow)
    {
        let inject = format!("inject={name}:signal=KILL:when={number}");
        // What is not traced is not tampered with either (strace 6.1).
        let options = ["-e".into(), format!("trace={name}"), "-e".into(), inject];
        let output = c
            .exec(&[], &["/bin/true"])
            .within(&strace(ctx, follow, &options)?)
            .run()?;
        if let Err(stop) = only_the_init(ctx, &c) {
            return fail(format!("after a kill at {name} number {number}: {stop}"));
        }
        tried += 1;
        killed += usize::from(output.code != 0);
        if Instant::now() > end {
            ctx.note(format!("(time is over at {name} number {number})"));
            break;
        }
    }
    // How often a call is made is not the same each time.
    check!(killed * 10 > tried * 9, "{killed} of {tried} were killed");
    c.status_is("running")?;
    c.exec(&[], &["/bin/true"]).run()?.ok().map(drop)
}

fn killed_at_each_system_call(ctx: &Ctx) -> Outcome {
    at_each_system_call(ctx, Bundle::new(ctx)?, false)
}

fn killed_at_each_system_call_of_all_its_processes(ctx: &Ctx) -> Outcome {
    at_each_system_call(ctx, Bundle::new(ctx)?, true)
}

fn killed_at_each_system_call_without_a_pid_namespace(ctx: &Ctx) -> Outcome {
    at_each_system_call(ctx, Bundle::new(ctx)?.without_namespace("pid"), false)
}
