//! checkpoint and restore. Where criu works (`hack/vm --kernel 6.1`) with criu itself;
//! everywhere with a fake that speaks its RPC and shows what it was asked
//! (`probe fake-criu`).

use crate::bundle::Bundle;
use crate::command::{Cmd, Output};
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, fail, skip};
use crate::{check, check_eq, procs, tests};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

tests!("checkpoint":
    criu_brings_a_container_back as Long,
    criu_leaves_a_container_running as Long,
    criu_brings_a_user_namespace_back_under_another_id as Long,
    a_checkpointed_container_is_deleted,
    left_running_or_pre_dumped_it_stays,
    each_flag_of_checkpoint_reaches_criu,
    each_flag_of_restore_reaches_criu,
    binds_have_names_that_are_no_paths,
    a_mount_whose_place_criu_would_misread_is_refused,
    only_running_containers_are_checkpointed,
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
    a_log_that_is_a_link_is_not_written_through,
    descriptors_that_are_no_list_of_three_are_refused,
    images_that_are_not_there_are_refused,
    nobody_else_reads_what_criu_writes,
    failures_show_criu_s_first_error_and_the_log,
    without_criu_or_with_an_old_one_it_says_so,
    what_criu_cannot_do_here_is_said,
    an_answer_that_is_none_and_a_sudden_end_are_reported,
    wrong_values_of_flags_are_refused,
    what_cannot_be_restored_is_refused,
);

/// A criu that does what it is told.
struct Fake<'a> {
    ctx: &'a Ctx,
    dir: PathBuf,
}

const CAPS: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

impl<'a> Fake<'a> {
    fn new(ctx: &'a Ctx, acts: &str) -> Outcome<Fake<'a>> {
        let dir = ctx.dir.join(format!("fake{}", ctx.next()));
        std::fs::create_dir_all(&dir)?;
        let (probe, shown) = (ctx.probe.display(), dir.display());
        let script = format!("#!/bin/sh\nexec {probe} fake-criu {shown} \"$@\"\n");
        std::fs::write(dir.join("criu"), script)?;
        std::fs::set_permissions(dir.join("criu"), PermissionsExt::from_mode(0o755))?;
        std::fs::write(dir.join("acts"), acts)?;
        Ok(Fake { ctx, dir })
    }

    fn on<'c>(&self, cmd: Cmd<'c>) -> Cmd<'c> {
        cmd.env(
            "PATH",
            &format!("{}:/usr/sbin:/usr/bin:/bin", self.dir.display()),
        )
    }

    fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    fn checkpoint(&self, c: &Container<'a>, flags: &[&str]) -> Outcome<Output> {
        let images = self.images().display().to_string();
        let mut words = vec!["checkpoint", "--image-path", &images];
        words.extend(flags);
        self.on(c.verb::<&str>(&words, &[])).run()
    }

    /// `restore`, with images that are there.
    fn restore(&self, b: &Bundle<'a>, flags: &[&str]) -> Outcome<Cmd<'a>> {
        self.some_images(r#"["/dev/null","pipe:[1]","/x"]"#)?;
        self.restore_as_is(b, flags)
    }

    fn restore_as_is(&self, b: &Bundle<'a>, flags: &[&str]) -> Outcome<Cmd<'a>> {
        let images = self.images().display().to_string();
        let mut words = vec!["--image-path", &images];
        words.extend(flags);
        self.ctx.created(&b.id);
        Ok(self.on(b.verb("restore", &words)?))
    }

    fn some_images(&self, descriptors: &str) -> Outcome {
        std::fs::create_dir_all(self.images())?;
        std::fs::write(self.images().join("inventory.img"), "x")?;
        std::fs::write(self.images().join("descriptors.json"), descriptors)?;
        Ok(())
    }

    /// What criu was asked, a line for each option.
    fn asked(&self) -> Outcome<Vec<String>> {
        let text = std::fs::read_to_string(self.dir.join("requests")).because("requests")?;
        Ok(text.lines().map(str::to_string).collect())
    }

    fn asked_for(&self, lines: &[&str]) -> Outcome {
        let asked = self.asked()?;
        for line in lines {
            check!(
                asked.iter().any(|l| l == line),
                "{line} is not among {asked:?}"
            );
        }
        Ok(())
    }
}

fn sleeping(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]))
}

/// What the fake "restores" has all that this process has.
fn restorable(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(sleeping(ctx)?.capabilities(&CAPS))
}

/// Skips where criu is not there or does not get along with the kernel.
fn need_criu(ctx: &Ctx) -> Outcome {
    if crate::facts::kernel()? < (5, 13) {
        return skip("before Linux 5.13 CRIU cannot dump programs with rseq, as glibc's are");
    }
    match ctx.host(&["criu", "check"]).run() {
        Ok(output) if output.code == 0 => Ok(()),
        Ok(output) => {
            let why = output.stderr.lines().next().unwrap_or_default().to_string();
            skip(format!("criu check fails here: {why}"))
        }
        Err(_) => skip("no criu on this machine"),
    }
}

/// Counts into a bind, has another one that is read-only, a filter and a mask.
fn counting(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    let (data, safe) = (ctx.dir.join("data"), ctx.dir.join("safe"));
    std::fs::create_dir_all(&data)?;
    std::fs::create_dir_all(&safe)?;
    let line = "i=0; while :; do i=$((i+1)); echo $i > /data/count; sleep 0.1; done";
    Ok(Bundle::new(ctx)?
        .shell(line)
        .mount("/data", "bind", &data.to_string_lossy(), &["rbind", "rw"])
        .mount("/safe", "bind", &safe.to_string_lossy(), &["rbind", "ro"])
        .namespace("cgroup", None)
        .set("/linux/maskedPaths", vec!["/proc/kcore", "/sys/firmware"])
        .set("/linux/readonlyPaths", vec!["/proc/sys"]))
}

fn count(ctx: &Ctx) -> u64 {
    let text = std::fs::read_to_string(ctx.dir.join("data/count")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn criu_brings_a_container_back(ctx: &Ctx) -> Outcome {
    need_criu(ctx)?;
    let images = ctx.dir.join("images").display().to_string();
    let b = counting(ctx)?.set("/root/readonly", true);
    let c = b.detach()?;
    ctx.until("it counts", || count(ctx) > 2)?;
    c.verb::<&str>(&["checkpoint", "--image-path", &images], &[])
        .run()?
        .ok()?;
    check!(
        !ctx.state_root().join(&c.id).exists(),
        "the container is still there"
    );
    let before = count(ctx);
    let c = b.launch("restore", &["--detach", "--image-path", &images])?;
    c.status_is("running")?;
    // It goes on from where it was, and not from the beginning.
    ctx.until("it counts on", || count(ctx) > before + 2)?;
    let facts = c.exec_says(
        &[],
        "echo x > /safe/x; echo x > /x; cat /proc/kcore | wc -c; ls -A /safe; [ ! -e /x ] || ls /x",
    )?;
    check_eq!(
        facts,
        "0",
        "what can be written and read of what is protected"
    );
    // Once more: what was restored can be checkpointed too.
    let again = ctx.dir.join("again").display().to_string();
    c.verb::<&str>(&["checkpoint", "--image-path", &again], &[])
        .run()?
        .ok()?;
    ctx.nothing_left()
}

fn criu_leaves_a_container_running(ctx: &Ctx) -> Outcome {
    need_criu(ctx)?;
    let images = ctx.dir.join("images").display().to_string();
    let c = counting(ctx)?.detach()?;
    let words = ["checkpoint", "--leave-running", "--image-path", &images];
    c.verb::<&str>(&words, &[]).run()?.ok()?;
    c.status_is("running")?;
    let before = count(ctx);
    ctx.until("it counts on", || count(ctx) > before + 2)
}

fn criu_brings_a_user_namespace_back_under_another_id(ctx: &Ctx) -> Outcome {
    need_criu(ctx)?;
    let images = ctx.dir.join("images").display().to_string();
    let mut b = counting(ctx)?.user_namespace();
    for place in ["data", "safe"] {
        std::fs::create_dir_all(b.rootfs().join(place))?;
    }
    std::fs::set_permissions(ctx.dir.join("data"), PermissionsExt::from_mode(0o777))?;
    let other = format!("{}-other", b.id);
    // Streams that are files CRIU opens again, as the namespace's root; it wants the same mode.
    for id in [&b.id, &other] {
        for stream in ["out", "err"] {
            let file = ctx.dir.join(format!("{id}-output.{stream}"));
            std::fs::write(&file, "")?;
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666))?;
        }
    }
    let c = b.detach()?;
    ctx.until("it counts", || count(ctx) > 2)?;
    let line = "cat /proc/1/uid_map; cut -d' ' -f4-6 /proc/1/mountinfo | sort";
    let had = c.exec_says(&[], line)?;
    c.verb::<&str>(&["checkpoint", "--image-path", &images], &[])
        .run()?
        .ok()?;
    let before = count(ctx);
    b.id = other;
    let c = b.launch("restore", &["--detach", "--image-path", &images])?;
    c.status_is("running")?;
    ctx.until("it counts on", || count(ctx) > before + 2)?;
    check_eq!(c.exec_says(&[], line)?, had, "mappings and mounts");
    let mode = std::fs::metadata(&images)?.permissions().mode() & 0o777;
    check_eq!(mode, 0o700, "mode of the images' directory");
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

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

fn binds_have_names_that_are_no_paths(ctx: &Ctx) -> Outcome {
    if crate::facts::kernel()? < (5, 12) {
        return skip("a restored bind with flags needs mount_setattr of Linux 5.12");
    }
    let b = counting(ctx)?.capabilities(&CAPS);
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
    let go = fake.dir.join("go");
    ctx.host(&["mkfifo", &go.display().to_string()])
        .run()?
        .ok()?;
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

/// A restore that is refused, with nothing left of it.
fn refused(ctx: &Ctx, b: &Bundle<'_>, acts: &str, words: &str) -> Outcome {
    let fake = Fake::new(ctx, acts)?;
    let output = fake.restore_for(b)?.run()?;
    output.refused()?.says(&[words])?;
    ctx.nothing_left()
}

impl Fake<'_> {
    fn restore_for(&self, b: &Bundle<'_>) -> Outcome<Cmd<'_>> {
        self.some_images("[]")?;
        b.write()?;
        let (images, dir) = (
            self.images().display().to_string(),
            b.dir.display().to_string(),
        );
        let words = ["restore", "-d", "-b", &dir, "--image-path", &images, &b.id];
        Ok(self.on(self.ctx.rt(&words)))
    }
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

fn an_answer_that_is_none_and_a_sudden_end_are_reported(ctx: &Ctx) -> Outcome {
    let b = restorable(ctx)?;
    refused(ctx, &b, "garbage", "no answer")?;
    refused(ctx, &b, "die", "ended without a word")
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
