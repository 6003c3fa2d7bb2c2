//! checkpoint, with a criu that shows what it was asked.

use crate::context::Ctx;
use crate::fake_criu::{Fake, counting, may_do_all, restorable, sleeping};
use crate::outcome::{Outcome, skip};
use crate::{check, check_eq, tests};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

tests!("checkpoint":
    a_checkpointed_container_is_deleted,
    left_running_or_pre_dumped_it_stays,
    each_flag_of_checkpoint_reaches_criu,
    binds_have_names_that_are_no_paths,
    a_mount_whose_place_criu_would_misread_is_refused,
    only_running_containers_are_checkpointed,
    a_container_that_has_ended_meanwhile_is_not_given_to_criu,
    nobody_else_reads_what_criu_writes,
    failures_show_criu_s_first_error_and_the_log,
    without_criu_or_with_an_old_one_it_says_so,
    what_criu_cannot_do_here_is_said,
    wrong_values_of_flags_are_refused,
);

fn a_checkpointed_container_is_deleted(ctx: &Ctx) -> Outcome {
    let fake = Fake::new(ctx, "")?;
    let log = ctx.dir.join("hooks").display().to_string();
    let hook = serde_json::json!({"path": ctx.probe.display().to_string(),
        "args": ["probe", "hook", log, "poststop"]});
    let c = sleeping(ctx)?.push("/hooks/poststop", hook).detach()?;
    fake.checkpoint(&c, &[])?.ok()?;
    check!(Path::new(&log).exists(), "the poststop hook did not run");
    let text = std::fs::read_to_string(fake.images().join("descriptors.json"))?;
    let streams: Vec<String> = serde_json::from_str(&text)?;
    check_eq!(streams.len(), 3, "standard streams in descriptors.json");
    ctx.nothing_left()
}

fn left_running_or_pre_dumped_it_stays(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    for flag in ["--leave-running", "--pre-dump"] {
        let fake = Fake::new(ctx, "")?;
        fake.checkpoint(&c, &[flag])?.ok()?;
        c.status_is("running")?;
        let kind = if flag == "--pre-dump" {
            "kind=4"
        } else {
            "kind=1"
        };
        fake.asked_for(&[kind])?;
    }
    Ok(())
}

fn each_flag_of_checkpoint_reaches_criu(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let fake = Fake::new(ctx, "")?;
    let pid = format!("2={}", c.pid()?);
    fake.checkpoint(&c, &["--leave-running"])?.ok()?;
    // Everything off, the network empty, cgroups as criu likes it, runc's file of settings.
    fake.asked_for(&[
        &pid,
        "3=1",
        "4=0",
        "5=0",
        "7=0",
        "8=0",
        "10=dump.log",
        "12=1",
        "16=0",
        "18=0",
        "24=1",
        "34=6",
        "38=1073741824",
        "46=0",
        "48=0",
        "50=1",
        "51=/etc/criu/runc.conf",
    ])?;
    let work = ctx.dir.join("work").display().to_string();
    std::fs::create_dir_all(fake.dir.join("before"))?;
    for (flags, lines) in [
        (&["--tcp-established"][..], &["5=1"][..]),
        (&["--tcp-skip-in-flight"], &["46=1"]),
        (&["--link-remap"], &["18=1"]),
        (&["--ext-unix-sk"], &["4=1"]),
        (&["--shell-job"], &["7=1"]),
        (&["--file-locks"], &["8=1"]),
        (&["--auto-dedup"], &["16=1"]),
        (&["--lazy-pages"], &["48=1"]),
        (&["--empty-ns", "network"], &["38=1073741824"]),
        (&["--manage-cgroups-mode", "soft"], &["34=3"]),
        (&["--manage-cgroups-mode", "full"], &["34=4"]),
        (&["--manage-cgroups-mode", "strict"], &["34=5"]),
        (&["--manage-cgroups-mode", "ignore"], &["34=0"]),
        (&["--network-lock", "nftables"], &["64=2"]),
        (&["--network-lock", "skip"], &["64=3"]),
        (
            &["--page-server", "[::1]:27"],
            &["11=\\n\\x03::1\\x10\\x1b"],
        ),
        (&["--parent-path", "../before"], &["14=../before", "15=1"]),
        (&["--work-path", &work], &["10=dump.log"]),
    ] {
        let mut all = vec!["--leave-running"];
        all.extend(flags);
        fake.checkpoint(&c, &all)?.ok()?;
        fake.asked_for(lines)?;
    }
    check!(
        Path::new(&work).join("dump.log").exists(),
        "no log in --work-path"
    );
    // A byte for whoever waits for the pages.
    let status = ctx.dir.join("status");
    let line = format!(
        "exec 7>{}; exec \"$@\" --status-fd 7 --leave-running --lazy-pages --image-path {} {}",
        status.display(),
        fake.images().display(),
        c.id
    );
    let cmd = ctx.rt(&["checkpoint"]).within(&["sh", "-c", &line, "sh"]);
    fake.on(cmd).run()?.ok()?;
    check_eq!(
        std::fs::read(&status)?,
        vec![0],
        "what --status-fd was told"
    );
    Ok(())
}

fn binds_have_names_that_are_no_paths(ctx: &Ctx) -> Outcome {
    if crate::facts::kernel()? < (5, 12) {
        return skip("a restored bind with flags needs mount_setattr of Linux 5.12");
    }
    let b = may_do_all(ctx, counting(ctx)?)?;
    let c = b.detach()?;
    let fake = Fake::new(ctx, "")?;
    fake.checkpoint(&c, &[])?.ok()?;
    fake.asked_for(&[
        "37=mnt[/data]:corten-mount-6",
        "37=mnt[/safe]:corten-mount-7",
    ])?;
    let fake = Fake::new(ctx, "")?;
    // The fake mounts nothing, so what is to be masked and protected is not.
    let bare = b
        .remove("/linux/maskedPaths")
        .remove("/linux/readonlyPaths");
    fake.restore(&bare, &["--detach"])?.run()?.refused()?;
    let asked = fake.asked()?;
    for name in ["corten-mount-6", "corten-mount-7"] {
        let begins = format!("37=mnt[{name}]:{}/", ctx.state_root().display());
        check!(
            asked.iter().any(|line| line.starts_with(&begins)),
            "no {begins} in {asked:?}"
        );
    }
    let leaks = asked
        .iter()
        .any(|line| line.contains(&ctx.dir.join("data").display().to_string()));
    check!(!leaks, "a name holds a path of the host: {asked:?}");
    ctx.nothing_left()
}

fn a_mount_whose_place_criu_would_misread_is_refused(ctx: &Ctx) -> Outcome {
    // What is behind the link is not the caller's word but the image's.
    let b = sleeping(ctx)?.mount("/data", "bind", "/etc", &["bind"]);
    std::fs::create_dir_all(b.rootfs().join("x]:corten-mount-0"))?;
    symlink("x]:corten-mount-0", b.rootfs().join("data"))?;
    let c = b.detach()?;
    let fake = Fake::new(ctx, "")?;
    fake.checkpoint(&c, &[])?
        .refused()?
        .says(&["misunderstand"])?;
    c.status_is("running")
}

fn only_running_containers_are_checkpointed(ctx: &Ctx) -> Outcome {
    let fake = Fake::new(ctx, "")?;
    let c = sleeping(ctx)?.create()?;
    let words = "cannot be checkpointed in created state";
    fake.checkpoint(&c, &[])?.refused()?.says(&[words])?;
    c.start()?;
    c.kill("KILL")?;
    c.wait_status("stopped")?;
    let words = "cannot be checkpointed in stopped state";
    fake.checkpoint(&c, &[])?.refused()?.says(&[words])?;
    let missing = fake.on(ctx.rt(&["checkpoint", "nobody"])).run()?;
    missing.refused()?.says(&["does not exist"])?;
    Ok(())
}

/// criu knows it by its number, which may be another's by then.
fn a_container_that_has_ended_meanwhile_is_not_given_to_criu(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let fake = Fake::new(ctx, "wait-first")?;
    let go = fake.stop()?;
    let err = ctx.dir.join("err");
    let cmd = fake.checkpoint_cmd(&c, &[]);
    let mut running = cmd.spawn_with(
        Stdio::null(),
        Stdio::null(),
        std::fs::File::create(&err)?.into(),
    )?;
    let go = std::fs::File::options().write(true).open(&go)?;
    c.kill("KILL")?;
    c.wait_status("stopped")?;
    drop(go);
    check_eq!(running.wait()?, 1, "exit code");
    let said = std::fs::read_to_string(&err)?;
    check!(said.contains("in stopped state"), "{said}");
    check!(
        !fake.dir.join("requests").exists(),
        "criu was asked all the same"
    );
    Ok(())
}

fn nobody_else_reads_what_criu_writes(ctx: &Ctx) -> Outcome {
    let fake = Fake::new(ctx, "")?;
    let c = sleeping(ctx)?.detach()?;
    fake.checkpoint(&c, &[])?.ok()?;
    for (name, mode) in [
        ("", 0o700),
        ("dump.log", 0o600),
        ("descriptors.json", 0o600),
    ] {
        let path = fake.images().join(name);
        let found = std::fs::metadata(&path)?.permissions().mode() & 0o777;
        check_eq!(found, mode, "mode of {}", path.display());
    }
    Ok(())
}

fn failures_show_criu_s_first_error_and_the_log(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let fake = Fake::new(ctx, "fail=no-such-thing")?;
    let output = fake.checkpoint(&c, &[])?.refused()?;
    let output = output.says(&["Error (b.c:2): no-such-thing"])?;
    output.says(&[&fake.images().join("dump.log").display().to_string()])?;
    c.status_is("running")?;
    let b = restorable(ctx)?;
    let output = fake.restore(&b, &["--detach"])?.run()?.refused()?;
    let output = output.says(&["Error (b.c:2): no-such-thing"])?;
    output.says(&["images/restore.log"])?;
    check!(
        !ctx.state_root().join(&b.id).exists(),
        "a container is left"
    );
    Ok(())
}

fn without_criu_or_with_an_old_one_it_says_so(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let nothing = ctx.dir.join("empty");
    std::fs::create_dir_all(&nothing)?;
    let cmd = c.verb::<&str>(&["checkpoint"], &[]).cwd(ctx.dir.clone());
    let output = cmd.env("PATH", &nothing.display().to_string()).run()?;
    output.refused()?.says(&["install the package criu"])?;
    let fake = Fake::new(ctx, "version=3.14.2")?;
    let words = "criu 3.14.2 is too old: version 3.15 or later is needed";
    fake.checkpoint(&c, &[])?.refused()?.says(&[words])?;
    fake.restore(&restorable(ctx)?, &["-d"])?
        .run()?
        .refused()?
        .says(&[words])?;
    c.status_is("running")
}

fn what_criu_cannot_do_here_is_said(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let fake = Fake::new(ctx, "no-features")?;
    fake.checkpoint(&c, &["--pre-dump"])?
        .refused()?
        .says(&["--pre-dump"])?;
    fake.checkpoint(&c, &["--lazy-pages"])?
        .refused()?
        .says(&["--lazy-pages"])?;
    c.status_is("running")
}

fn wrong_values_of_flags_are_refused(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let fake = Fake::new(ctx, "")?;
    for (flags, words) in [
        (
            &["--manage-cgroups-mode", "hard"][..],
            "soft, full, strict or ignore",
        ),
        (&["--page-server", "localhost"], "ADDRESS:PORT"),
        (&["--page-server", "a:99999"], "65535"),
        (&["--empty-ns", "pid"], "network"),
        (
            &["--network-lock", "ebtables"],
            "iptables, nftables or skip",
        ),
        (&["--status-fd", "x"], "--status-fd"),
        (&["--status-fd", "99", "--lazy-pages"], "--status-fd 99"),
        (&["--unknown"], "unknown flag"),
    ] {
        fake.checkpoint(&c, flags)?.refused()?.says(&[words])?;
    }
    fake.on(ctx.rt(&["checkpoint"]))
        .run()?
        .refused()?
        .says(&["missing"])?;
    fake.on(ctx.rt(&["restore", "a", "b"]))
        .run()?
        .refused()?
        .says(&["too many"])?;
    c.status_is("running")
}
