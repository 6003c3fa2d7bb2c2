//! Holes that `exec` of runtimes had.

use crate::bundle::{Bundle, DOCKER_CAPS};
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, procs, tests};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};

tests!("exec_security":
    cve_2016_9962_neighbours_see_neither_the_runtime_nor_its_descriptors as Long,
    neighbours_in_a_user_namespace_see_neither as Long,
    cve_2024_21626_a_cwd_that_is_a_descriptor_is_refused,
    a_command_that_is_the_runtime_itself_cannot_write_it,
    a_terminal_behind_a_link_is_refused,
    a_passwd_that_is_a_fifo_does_not_hang,
    the_session_keyring_is_the_containers,
    nobody_enters_before_the_root_is_the_containers,
    a_program_that_runs_is_entered_before_run_says_so,
);

/// A process with CAP_SYS_PTRACE looks at all it can while others enter (CVE-2016-9962,
/// CVE-2019-5736).
fn spied(ctx: &Ctx, b: Bundle) -> Outcome {
    let mut caps = DOCKER_CAPS.to_vec();
    caps.extend(["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
    let c = b
        .capabilities(&caps)
        .args(&["/bin/probe", "watch", "/tmp/stop"])
        .detach()?;
    c.wait_stdout("ready")?;
    let all: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(c.bundle.join("rootfs/tmp"), all)?;
    let runtime = std::fs::canonicalize(&ctx.runtime)?;
    // A descriptor of the host that the caller forgot to close.
    let open = "exec 7</etc 8</; exec \"$0\" \"$@\"";
    let mut caught = false;
    let mut seen = Vec::new();
    for round in 0..40 {
        for _ in 0..50 {
            let run = c.exec(&[], &["/bin/true"]).within(&["/bin/sh", "-c", open]);
            run.run()?.ok()?;
        }
        let stop = c.bundle.join("rootfs/tmp/stop");
        std::fs::write(&stop, "")?;
        ctx.until("the spy reports", || {
            c.stdout()
                .is_ok_and(|text| text.lines().count() >= 2 + round)
        })?;
        let text = c.stdout()?;
        let report: Value = serde_json::from_str(text.lines().last().because("a report")?)?;
        seen = report
            .as_array()
            .because("a list")?
            .iter()
            .filter_map(|line| line.as_str().map(str::to_string))
            .collect();
        caught = seen
            .iter()
            .any(|line| line.starts_with("exe /memfd:corten-init"));
        if caught {
            break;
        }
    }
    check!(
        caught,
        "the spy was never quick enough to see the stub: {seen:?}"
    );
    for line in &seen {
        let fine = match line.split_once(' ') {
            Some(("exe", target)) => {
                target.starts_with("/memfd:corten-init") || target.starts_with("/bin/")
            }
            Some(("fd", target)) => {
                target.starts_with("/memfd:corten-init") || target.starts_with("socket:")
            }
            Some(("root" | "cwd", target)) => target == "/",
            _ => false,
        };
        check!(
            fine,
            "a neighbour saw `{line}` (the runtime is {})",
            runtime.display()
        );
    }
    Ok(())
}

/// Seen to fail without `hide_callers_descriptors`: `a neighbour saw `fd /``.
fn cve_2016_9962_neighbours_see_neither_the_runtime_nor_its_descriptors(ctx: &Ctx) -> Outcome {
    spied(ctx, Bundle::new(ctx)?)
}

fn neighbours_in_a_user_namespace_see_neither(ctx: &Ctx) -> Outcome {
    spied(ctx, Bundle::new(ctx)?.user_namespace())
}

/// Seen to fail with a plain open of the directory and no getcwd after it: `exit code 0 instead of 255`.
fn cve_2024_21626_a_cwd_that_is_a_descriptor_is_refused(ctx: &Ctx) -> Outcome {
    // CVE-2024-21626.
    let b = Bundle::new(ctx)?;
    std::os::unix::fs::symlink("/proc/self/fd/7", b.rootfs().join("trap"))?;
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    let open = "exec 7</ 8</; exec \"$0\" \"$@\"";
    let mut paths: Vec<String> = (3..20).map(|n| format!("/proc/self/fd/{n}")).collect();
    paths.extend([
        "/trap".into(),
        "/proc/self/fd/7/etc".into(),
        "/proc/1/cwd".into(),
    ]);
    for path in &paths {
        let run = c
            .exec(&["--cwd", path], &["/bin/pwd"])
            .within(&["/bin/sh", "-c", open]);
        run.run()?.refused_with(255)?.says(&["/process/cwd"])?;
    }
    Ok(())
}

fn a_command_that_is_the_runtime_itself_cannot_write_it(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    std::fs::write(b.rootfs().join("bin/self"), "#!/proc/self/exe\n")?;
    let script = b.rootfs().join("bin/self");
    std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    let before = std::fs::metadata(&ctx.runtime)?;
    for command in ["/proc/self/exe", "/bin/self"] {
        let run = c.exec(&[], &[command, "--version"]).run()?;
        check!(
            !run.stdout.contains("version"),
            "{command} ran the runtime: {}",
            run.stdout
        );
    }
    let after = std::fs::metadata(&ctx.runtime)?;
    check_eq!(after.modified()?, before.modified()?, "the runtime's file");
    Ok(())
}

fn a_terminal_behind_a_link_is_refused(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set(
        "/mounts",
        serde_json::json!([{"destination": "/proc", "type": "proc", "source": "proc"}]),
    );
    std::fs::create_dir_all(b.rootfs().join("dev/pts"))?;
    std::os::unix::fs::symlink("/dev/null", b.rootfs().join("dev/pts/ptmx"))?;
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    let run = c.exec(&["-t"], &["/bin/true"]).run()?.refused_with(255)?;
    run.says(&["/process/terminal"]).map(drop)
}

fn a_passwd_that_is_a_fifo_does_not_hang(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let passwd = c.bundle.join("rootfs/etc/passwd");
    std::fs::remove_file(&passwd)?;
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &passwd,
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )?;
    check_eq!(c.exec_says(&[], "echo $HOME")?, "/", "HOME");
    Ok(())
}

fn the_session_keyring_is_the_containers(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?
        .shell("/bin/probe facts; exec sleep 1000")
        .detach()?;
    c.wait_stdout("}\n")?;
    let own: Value = serde_json::from_str(&c.stdout()?)?;
    let probe = ctx.probe.to_string_lossy().into_owned();
    let mine = ctx.host(&[probe.as_str(), "facts"]).run()?.ok()?.stdout;
    let mine: Value = serde_json::from_str(&mine)?;
    let found = c.exec_facts(&[])?.0;
    check_eq!(found["keyring"], own["keyring"], "keyring");
    check!(
        found["keyring"]["serial"] != mine["keyring"]["serial"],
        "it is the caller's"
    );
    Ok(())
}

/// `run` has recorded its init while hooks run, whose root is the host's still: `exec` and
/// `mounts` would work there. Seen to fail without the mark of `run`: `status: found "running"`.
fn nobody_enters_before_the_root_is_the_containers(ctx: &Ctx) -> Outcome {
    for kind in ["createRuntime", "createContainer", "startContainer"] {
        let b = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
        let fifo = match kind {
            "startContainer" => b.rootfs().join("go"),
            _ => ctx.dir.join("go").with_extension(kind),
        };
        ctx.host(&["mkfifo", &fifo.display().to_string()])
            .run()?
            .ok()?;
        let path = match kind {
            "startContainer" => "/go".to_string(),
            _ => fifo.display().to_string(),
        };
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", format!("read x <{path}")]});
        let b = b.push(&format!("/hooks/{kind}"), hook);
        let mut running = b.verb::<&str>("run", &[])?.spawn()?;
        // It opens when the hook waits.
        let mut go = std::fs::File::options().write(true).open(&fifo)?;
        let c = Container::new(ctx, &b.id, &b.dir, ctx.dir.join("out"));
        check_eq!(c.status()?, "creating", "status");
        let refused = c.exec(&[], &["/bin/true"]).run()?.refused_with(255)?;
        refused.says(&["being created"])?;
        let mounts = ctx.dir.join("mounts");
        std::fs::write(&mounts, r#"[{"destination": "/tmp", "type": "tmpfs"}]"#)?;
        let mounts = mounts.display().to_string();
        let refused = ctx
            .rt(&["mounts", "add", &b.id, &mounts])
            .run()?
            .refused()?;
        refused.says(&["being created"])?;
        go.write_all(b"\n")?;
        c.wait_status("running")?;
        c.exec(&[], &["/bin/true"]).run()?.ok()?;
        c.kill("KILL")?;
        check_eq!(running.wait()?, 137, "exit code");
    }
    ctx.nothing_left()
}

/// Who hears from the program may enter: that `run` itself comes to know of it a moment later
/// is nobody's business. Seen to fail without the look at the program: `found "creating"`.
fn a_program_that_runs_is_entered_before_run_says_so(ctx: &Ctx) -> Outcome {
    for _ in 0..20 {
        let b = Bundle::new(ctx)?.shell("echo up; exec sleep 1000");
        let mut running = b.verb::<&str>("run", &[])?.spawn()?;
        let mut out = BufReader::new(running.child.stdout.take().because("stdout")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        procs::signal(running.pid(), Signal::STOP);
        check_eq!(line.trim(), "up", "line");
        let c = Container::new(ctx, &b.id, &b.dir, ctx.dir.join("out"));
        check_eq!(c.status()?, "running", "status");
        c.exec(&[], &["/bin/true"]).run()?.ok()?;
        procs::signal(running.pid(), Signal::CONT);
        c.kill("KILL")?;
        check_eq!(running.wait()?, 137, "exit code");
    }
    ctx.nothing_left()
}
