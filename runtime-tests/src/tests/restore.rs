//! restore, with a criu that shows what it was asked, and whose images are made up.

use crate::bundle::Bundle;
use crate::container::Container;
use crate::context::Ctx;
use crate::fake_criu::{Fake, restorable, sleeping};
use crate::outcome::{Because, Outcome, fail};
use crate::{check, check_eq, procs, tests};
use std::os::unix::fs::symlink;

tests!("restore":
    each_flag_of_restore_reaches_criu,
    a_pipe_does_not_take_the_place_of_a_file,
    a_restored_container_runs_and_can_be_deleted,
    a_foreground_restore_waits_and_deletes,
    it_is_creating_until_criu_is_done,
    hooks_of_creation_run_at_restore,
    the_pid_file_names_the_restored_init,
    restore_wants_an_id_that_is_free,
    processes_in_the_hosts_namespaces_are_refused,
    more_capabilities_than_configured_are_refused,
    a_process_that_is_no_child_is_not_taken_for_the_init,
    a_restore_that_is_killed_is_removed_by_force,
    links_and_fifos_among_the_images_are_refused,
    a_work_directory_may_be_a_link_and_have_an_engines_fifos,
    a_log_that_is_a_link_is_not_written_through,
    descriptors_that_are_no_list_of_three_are_refused,
    images_that_are_not_there_are_refused,
    an_answer_that_is_none_and_a_sudden_end_are_reported,
    what_cannot_be_restored_is_refused,
);

/// A restore that is refused, with nothing left of it.
fn refused<'a>(ctx: &'a Ctx, b: &Bundle<'a>, acts: &str, words: &str) -> Outcome {
    let fake = Fake::new(ctx, acts)?;
    fake.some_images("[]")?;
    let output = fake.restore_as_is(b, &["--detach"])?.run()?;
    output.refused()?.says(&[words])?;
    ctx.nothing_left()
}

fn each_flag_of_restore_reaches_criu(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    let work = ctx.dir.join("work").display().to_string();
    for (flags, lines) in [
        // Only what was a pipe or a file of the host is given the caller's streams.
        (
            &[][..],
            &[
                "kind=2",
                "26=1",
                "6=1",
                "50=1",
                "27=\\n\\x08pipe:[1]\\x10\\x01",
            ][..],
        ),
        (&["--tcp-established", "--tcp-close"], &["5=1", "52=1"]),
        (
            &["--ext-unix-sk", "--shell-job", "--file-locks"],
            &["4=1", "7=1", "8=1"],
        ),
        (
            &["--auto-dedup", "--lazy-pages", "--no-pivot"],
            &["16=1", "48=1"],
        ),
        (
            &["--manage-cgroups-mode=ignore", "--network-lock=skip"],
            &["34=0", "64=3"],
        ),
        (&["--lsm-profile", "apparmor:x"], &["53=apparmor:x"]),
        (&["--lsm-mount-context", "a:b:c"], &["63=a:b:c"]),
        (&["--work-path", &work], &["10=restore.log"]),
    ] {
        let fake = Fake::new(ctx, "")?;
        let mut all = vec!["--detach"];
        all.extend(flags);
        fake.restore(&b, &all)?.run()?.ok()?;
        fake.asked_for(lines)?;
        let asked = fake.asked()?;
        let given = asked.iter().filter(|line| line.starts_with("27=")).count();
        check_eq!(given, 1, "streams that are given");
        ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    }
    Ok(())
}

fn a_pipe_does_not_take_the_place_of_a_file(ctx: &Ctx) -> Outcome {
    // As containerd, whose containers have its /dev/null, restores them with fifos.
    let b = restorable(ctx)?;
    for (line, own) in [("true | \"$@\"", false), ("\"$@\" </dev/null", true)] {
        let fake = Fake::new(ctx, "")?;
        fake.some_images(r#"["file[1a:2]","/x","/x"]"#)?;
        let restore = fake.restore_as_is(&b, &["--detach"])?;
        restore.within(&["sh", "-c", line, "sh"]).run()?.ok()?;
        let asked = fake.asked()?;
        let given = asked.iter().find(|line| line.contains("file[1a:2]"));
        let given = given.because("what takes the stream's place")?;
        check_eq!(
            given.ends_with("\\x10\\x00"),
            own,
            "the caller's own: {given}"
        );
        ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    }
    Ok(())
}

fn a_restored_container_runs_and_can_be_deleted(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    let fake = Fake::new(ctx, "")?;
    fake.restore(&b, &["--detach"])?.run()?.ok()?;
    let c = Container::new(ctx, &b.id, &b.dir, ctx.dir.join("out"));
    c.status_is("running")?;
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", c.pid()?))?;
    check!(cgroup.contains(&ctx.cgroup(&b.id)), "its cgroup: {cgroup}");
    check_eq!(c.exec_says(&[], "echo in")?, "in", "what exec prints");
    c.verb::<&str>(&["delete"], &[]).run()?.refused()?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn a_foreground_restore_waits_and_deletes(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    let fake = Fake::new(ctx, "")?;
    let mut running = fake.restore(&b, &[])?.spawn()?;
    let c = Container::new(ctx, &b.id, &b.dir, ctx.dir.join("out"));
    c.wait_status("running")?;
    c.kill("KILL")?;
    check_eq!(running.wait()?, 137, "exit code");
    ctx.nothing_left()
}

/// The init is recorded in the middle of a restore. Guards against an engine that sees it run,
/// kills it, and gets criu's failure for its exit code.
fn it_is_creating_until_criu_is_done(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    let fake = Fake::new(ctx, "wait")?;
    let go = fake.stop()?;
    let mut running = fake.restore(&b, &[])?.spawn()?;
    // It opens when criu has named the init, and waits.
    let go = std::fs::File::options().write(true).open(&go)?;
    let c = Container::new(ctx, &b.id, &b.dir, ctx.dir.join("out"));
    check_eq!(c.status()?, "creating", "status while criu is at work");
    check!(c.pid()? > 0, "the init is not recorded");
    c.exec(&[], &["probe", "true"])
        .run()?
        .refused_with(255)?
        .says(&["being created"])?;
    drop(go);
    c.wait_status("running")?;
    c.kill("KILL")?;
    check_eq!(running.wait()?, 137, "exit code");
    ctx.nothing_left()
}

fn hooks_of_creation_run_at_restore(ctx: &Ctx) -> Outcome {
    let log = ctx.dir.join("hooks").display().to_string();
    let mut b = restorable(ctx)?;
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ] {
        let hook = serde_json::json!({"path": ctx.probe.display().to_string(),
            "args": ["probe", "hook", log, kind]});
        b = b.push(&format!("/hooks/{kind}"), hook);
    }
    let fake = Fake::new(ctx, "")?;
    fake.restore(&b, &["--detach"])?.run()?.ok()?;
    ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    let text = std::fs::read_to_string(&log)?;
    let mut kinds = Vec::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        kinds.push(line["hook"].as_str().unwrap_or_default().to_string());
    }
    // As runc: the container is not created a second time, and does not start.
    check_eq!(
        kinds,
        ["prestart", "createRuntime", "poststop"],
        "hooks that ran"
    );
    Ok(())
}

fn the_pid_file_names_the_restored_init(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    let file = ctx.dir.join("pid").display().to_string();
    let fake = Fake::new(ctx, "")?;
    fake.restore(&b, &["--detach", "--pid-file", &file])?
        .run()?
        .ok()?;
    let c = Container::new(ctx, &b.id, &b.dir, ctx.dir.join("out"));
    check_eq!(
        std::fs::read_to_string(&file)?,
        c.pid()?.to_string(),
        "the pid file"
    );
    Ok(())
}

fn restore_wants_an_id_that_is_free(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    let c = b.create()?;
    let fake = Fake::new(ctx, "")?;
    // Its cgroup is in use, too.
    let again = fake.restore(&b, &["--detach"])?.run()?;
    again
        .refused()?
        .says(&["container with given ID already exists"])?;
    c.status_is("created")
}

fn processes_in_the_hosts_namespaces_are_refused(ctx: &Ctx) -> Outcome {
    refused(ctx, &restorable(ctx)?, "host", "is in the host's")
}

fn more_capabilities_than_configured_are_refused(ctx: &Ctx) -> Outcome {
    let b = sleeping(ctx)?.capabilities(&["CAP_KILL"]);
    refused(ctx, &b, "", "which /process/capabilities does not give")
}

fn a_process_that_is_no_child_is_not_taken_for_the_init(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    for pid in ["1", "0", "-5", "999999999"] {
        refused(ctx, &b, &format!("pid={pid}"), "init")?;
    }
    check!(procs::stat(1).is_some(), "process 1 is gone");
    Ok(())
}

fn a_restore_that_is_killed_is_removed_by_force(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    let fake = Fake::new(ctx, "hang")?;
    let mut running = fake.restore(&b, &["--detach"])?.spawn()?;
    ctx.until("criu is at work", || fake.dir.join("hangs").exists())?;
    procs::signal(running.pid(), rustix::process::Signal::KILL);
    running.wait()?;
    ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    ctx.nothing_left()
}

fn links_and_fifos_among_the_images_are_refused(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    let secret = ctx.dir.join("secret");
    std::fs::write(&secret, "secret")?;
    let c = sleeping(ctx)?.detach()?;
    for (name, words) in [("pages-1.img", "is a link"), ("core-1.img", "is a fifo")] {
        let fake = Fake::new(ctx, "")?;
        fake.some_images("[]")?;
        let path = fake.images().join(name);
        match name {
            "pages-1.img" => symlink(&secret, &path)?,
            _ => drop(
                ctx.host(&["mkfifo", &path.display().to_string()])
                    .run()?
                    .ok()?,
            ),
        }
        fake.restore_as_is(&b, &["--detach"])?
            .run()?
            .refused()?
            .says(&[words])?;
        // criu would write through it, too.
        fake.checkpoint(&c, &[])?.refused()?.says(&[words])?;
        check!(
            !fake.dir.join("requests").exists(),
            "criu was asked all the same"
        );
    }
    // The checkpoint behind it is looked at as well.
    let fake = Fake::new(ctx, "")?;
    fake.some_images("[]")?;
    std::fs::create_dir_all(fake.dir.join("before"))?;
    symlink("../before", fake.images().join("parent"))?;
    symlink(&secret, fake.dir.join("before/pages-1.img"))?;
    let output = fake.restore_as_is(&b, &["--detach"])?.run()?;
    output.refused()?.says(&["parent/pages-1.img: is a link"])?;
    // The directory itself.
    symlink(fake.images(), fake.dir.join("link"))?;
    let link = fake.dir.join("link").display().to_string();
    let output = fake.restore_as_is(&b, &["--image-path", &link])?.run()?;
    output.refused()?;
    c.status_is("running")
}

fn a_work_directory_may_be_a_link_and_have_an_engines_fifos(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    let c = sleeping(ctx)?.detach()?;
    // containerd names a link, Podman the directory where conmon listens.
    let (place, link) = (ctx.dir.join("place"), ctx.dir.join("work"));
    std::fs::create_dir(&place)?;
    symlink(&place, &link)?;
    let fifo = |name: &str| {
        let path = place.join(name).display().to_string();
        ctx.host(&["mkfifo", &path]).run()?.ok()
    };
    fifo("ctl")?;
    let work = ["--work-path", &*link.to_string_lossy()];
    let fake = Fake::new(ctx, "")?;
    fake.checkpoint(&c, &[&work[..], &["--leave-running"]].concat())?
        .ok()?;
    fake.restore(&b, &[&work[..], &["--detach"]].concat())?
        .run()?
        .ok()?;
    for log in ["dump.log", "restore.log"] {
        check!(
            place.join(log).exists(),
            "{log} is not in the work directory"
        );
    }
    ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    // What criu would open by name, and links, are refused there too.
    fifo("stats-dump")?;
    let refused = |words: &str| -> Outcome {
        let fake = Fake::new(ctx, "")?;
        fake.checkpoint(&c, &work)?.refused()?.says(&[words])?;
        fake.restore(&b, &work)?.run()?.refused()?.says(&[words])?;
        check!(
            !fake.dir.join("requests").exists(),
            "criu was asked all the same"
        );
        Ok(())
    };
    refused("stats-dump: is a fifo")?;
    std::fs::remove_file(place.join("stats-dump"))?;
    symlink("/dev/null", place.join("stats-restore"))?;
    refused("stats-restore: is a link")?;
    c.status_is("running")
}

fn a_log_that_is_a_link_is_not_written_through(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    let precious = ctx.dir.join("precious");
    std::fs::write(&precious, "precious")?;
    let fake = Fake::new(ctx, "fail=why")?;
    fake.some_images("[]")?;
    symlink(&precious, fake.images().join("restore.log"))?;
    fake.restore_as_is(&b, &["--detach"])?.run()?.refused()?;
    check_eq!(
        std::fs::read_to_string(&precious)?,
        "precious",
        "the file behind the link"
    );
    Ok(())
}

fn descriptors_that_are_no_list_of_three_are_refused(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    let long = format!("[\"{}\"]", "x".repeat(20_000));
    for text in ["", "{}", "[1,2,3]", r#"["a","b","c","pipe:[1]"]"#, &long] {
        let fake = Fake::new(ctx, "")?;
        fake.some_images(text)?;
        let output = fake.restore_as_is(&b, &["--detach"])?.run()?;
        output.refused()?.says(&["descriptors.json"])?;
    }
    let fake = Fake::new(ctx, "")?;
    fake.some_images("[]")?;
    let path = fake.images().join("descriptors.json");
    std::fs::remove_file(&path)?;
    fake.restore_as_is(&b, &["--detach"])?
        .run()?
        .refused()?
        .says(&["descriptors.json"])?;
    ctx.nothing_left()
}

fn images_that_are_not_there_are_refused(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    let fake = Fake::new(ctx, "")?;
    let output = fake.restore_as_is(&b, &["--detach"])?.run()?;
    output.refused()?.says(&["images"])?;
    std::fs::write(fake.images(), "a file")?;
    let output = fake.restore_as_is(&b, &["--detach"])?.run()?;
    output.refused()?.says(&["not a directory"])?;
    let c = sleeping(ctx)?.detach()?;
    fake.checkpoint(&c, &[])?.refused()?.says(&["images"])?;
    std::fs::remove_file(fake.images())?;
    fake.checkpoint(&c, &["--parent-path", "nowhere"])?
        .refused()?
        .says(&["--parent-path"])?;
    fake.checkpoint(&c, &["--parent-path", "/tmp"])?
        .refused()?
        .says(&["must be relative"])?;
    c.status_is("running")
}

fn an_answer_that_is_none_and_a_sudden_end_are_reported(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    refused(ctx, &b, "garbage", "no answer")?;
    refused(ctx, &b, "die", "ended without a word")
}

fn what_cannot_be_restored_is_refused(ctx: &Ctx) -> Outcome {
    let fake = Fake::new(ctx, "")?;
    let bundles = [
        (
            restorable(ctx)?
                .without_namespace("mount")
                .remove("/mounts"),
            "mount namespace",
        ),
        (
            restorable(ctx)?.namespace("cgroup", Some("/proc/1/ns/cgroup")),
            "cannot join",
        ),
        (
            restorable(ctx)?.set("/process/terminal", true),
            "console socket",
        ),
    ];
    for (b, words) in bundles {
        let output = fake.restore(&b, &["--detach"])?.run()?;
        output.refused()?.says(&[words])?;
    }
    match fake.dir.join("requests").exists() {
        true => fail("criu was asked"),
        false => ctx.nothing_left(),
    }
}
