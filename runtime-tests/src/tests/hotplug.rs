//! `mounts add` and `mounts remove` in containers that run.

use crate::bundle::Bundle;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::user;
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::path::PathBuf;

tests!("hotplug":
    a_directory_comes_and_goes,
    a_file_is_bound_on_a_file,
    a_read_only_bind_refuses_writes,
    a_tmpfs_is_mounted_with_its_options,
    several_mounts_are_made_in_order,
    the_list_alone_is_understood_too,
    the_list_comes_from_standard_input,
    a_user_namespace_has_its_own_root_in_a_tmpfs,
    a_user_namespace_gets_binds,
    an_id_mapped_bind_shows_other_ids,
    an_ordinary_user_adds_and_removes_mounts,
    created_and_paused_containers_take_mounts,
    a_remount_changes_flags,
    the_hosts_mounts_come_in_and_the_containers_do_not_go_out,
    all_are_mounted_or_none,
    a_source_is_the_hosts_and_not_the_containers,
    links_of_the_container_are_refused,
    links_on_the_way_make_nothing_elsewhere,
    crun_1_31_a_link_swapped_in_never_leads_a_mount_elsewhere as Long,
    what_is_not_mounted_cannot_be_removed,
    what_only_create_can_do_is_refused,
    stopped_and_unknown_containers_are_refused,
    without_a_mount_namespace_it_is_refused,
    wrong_files_are_one_line_with_the_place,
    wrong_use_is_one_line,
);

/// A container that waits, with an empty directory /data.
fn sleeping(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?
        .folder("data")?
        .args(&["/bin/sleep", "1000"]))
}

/// A directory of the host with the file `f`.
fn source(ctx: &Ctx) -> Outcome<PathBuf> {
    let dir = ctx.dir.join(format!("source{}", ctx.next()));
    std::fs::create_dir(&dir)?;
    std::fs::write(dir.join("f"), "of the host\n")?;
    std::os::unix::fs::chown(dir.join("f"), ctx.driver.user, ctx.driver.user)?;
    Ok(dir)
}

/// Writes the file with the mounts.
fn file(ctx: &Ctx, content: &Value) -> Outcome<String> {
    let path = ctx.dir.join(format!("mounts{}.json", ctx.next()));
    std::fs::write(&path, content.to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

fn bind(source: impl Into<PathBuf>, destination: &str, options: &[&str]) -> Value {
    let mut all = vec!["bind"];
    all.extend(options);
    json!({"destination": destination, "source": source.into(), "type": "none", "options": all})
}

fn run(
    ctx: &Ctx,
    c: &Container<'_>,
    action: &str,
    mounts: &[Value],
) -> Outcome<crate::command::Output> {
    let file = file(ctx, &json!({"mounts": mounts}))?;
    ctx.rt(&["mounts", action, &c.id, &file]).run()
}

fn add(ctx: &Ctx, c: &Container<'_>, mounts: &[Value]) -> Outcome {
    run(ctx, c, "add", mounts)?.ok().map(drop)
}

fn remove(ctx: &Ctx, c: &Container<'_>, destination: &str) -> Outcome {
    let mounts = [json!({"destination": destination})];
    run(ctx, c, "remove", &mounts)?.ok().map(drop)
}

fn refused(ctx: &Ctx, c: &Container<'_>, mount: Value, words: &str) -> Outcome {
    run(ctx, c, "add", &[mount])?
        .refused()?
        .says(&[words])
        .map(drop)
}

fn says(c: &Container<'_>, line: &str, wanted: &str) -> Outcome {
    check_eq!(c.exec_says(&[], line)?, wanted, "`{line}`");
    Ok(())
}

fn a_directory_comes_and_goes(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let dir = source(ctx)?;
    let before = std::fs::read_to_string("/proc/self/mountinfo")?;
    add(
        ctx,
        &c,
        &[bind(&dir, "/data", &[]), bind(&dir, "/made/for/it", &[])],
    )?;
    says(&c, "cat /data/f /made/for/it/f", "of the host\nof the host")?;
    check_eq!(
        std::fs::read_to_string("/proc/self/mountinfo")?,
        before,
        "mounts of the host"
    );
    remove(ctx, &c, "/data")?;
    says(&c, "ls /data; cat /made/for/it/f", "of the host")?;
    remove(ctx, &c, "/made/for/it/")?;
    says(&c, "ls /made/for/it", "")?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn a_file_is_bound_on_a_file(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let file = source(ctx)?.join("f");
    add(
        ctx,
        &c,
        &[
            bind(&file, "/etc/new", &[]),
            bind(&file, "/etc/passwd", &["ro"]),
        ],
    )?;
    says(&c, "cat /etc/new /etc/passwd", "of the host\nof the host")?;
    remove(ctx, &c, "/etc/passwd")?;
    says(&c, "grep -c '^root:' /etc/passwd", "1")?;
    let directory = bind(ctx.dir.clone(), "/etc/passwd", &[]);
    refused(ctx, &c, directory, "/mounts/0: cannot mount")
}

fn a_read_only_bind_refuses_writes(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let dir = source(ctx)?;
    add(ctx, &c, &[bind(&dir, "/data", &["ro", "noexec"])])?;
    says(&c, "touch /data/g 2>&1 | grep -c 'Read-only'", "1")?;
    check!(!dir.join("g").exists(), "it was written");
    says(
        &c,
        "grep ' /data ' /proc/self/mountinfo | grep -c 'ro,.*noexec'",
        "1",
    )
}

fn a_tmpfs_is_mounted_with_its_options(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let tmpfs = json!({"destination": "/data", "type": "tmpfs", "source": "x",
        "options": ["nosuid", "size=64k", "mode=700"]});
    add(ctx, &c, &[tmpfs])?;
    says(&c, "stat -c %a /data", "700")?;
    says(
        &c,
        "grep ' /data ' /proc/self/mountinfo | grep -c 'nosuid.*tmpfs x .*size=64k'",
        "1",
    )?;
    remove(ctx, &c, "/data")?;
    // Without a mode it takes that of its directory; and it can take what is in there.
    let copied = json!({"destination": "/data", "type": "tmpfs", "options": ["tmpcopyup"]});
    says(&c, "chmod 750 /data; echo old > /data/old; ls /data", "old")?;
    add(ctx, &c, &[copied])?;
    says(
        &c,
        "stat -c %a /data; cat /data/old; rm /data/old",
        "750\nold",
    )?;
    remove(ctx, &c, "/data")?;
    says(&c, "cat /data/old", "old")
}

fn several_mounts_are_made_in_order(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let dir = source(ctx)?;
    let tmpfs = json!({"destination": "/data", "type": "tmpfs"});
    add(ctx, &c, &[tmpfs, bind(&dir, "/data/in/it", &[])])?;
    says(&c, "cat /data/in/it/f", "of the host")?;
    // With what is mounted in it.
    remove(ctx, &c, "/data")?;
    says(&c, "ls /data", "")
}

fn the_list_alone_is_understood_too(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let good = file(ctx, &json!([bind(source(ctx)?, "/data", &[])]))?;
    ctx.rt(&["mounts", "add", &c.id, &good]).run()?.ok()?;
    says(&c, "cat /data/f", "of the host")?;
    let bad = file(
        ctx,
        &json!([
            bind(source(ctx)?, "/data", &[]),
            bind("/no/such", "/x", &[])
        ]),
    )?;
    let output = ctx.rt(&["mounts", "add", &c.id, &bad]).run()?.refused()?;
    output.says(&[&format!("{bad}: /1/source: cannot open /no/such")])?;
    Ok(())
}

fn the_list_comes_from_standard_input(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let path = file(ctx, &json!({"mounts": [bind(source(ctx)?, "/data", &[])]}))?;
    let input = std::fs::File::open(path)?;
    ctx.rt(&["mounts", "add", &c.id, "-"])
        .stdin(input)
        .run()?
        .ok()?;
    says(&c, "cat /data/f", "of the host")
}

fn a_user_namespace_has_its_own_root_in_a_tmpfs(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.user_namespace().detach()?;
    add(
        ctx,
        &c,
        &[json!({"destination": "/data", "type": "tmpfs", "options": ["mode=755"]})],
    )?;
    says(
        &c,
        "stat -c %u:%g /data; touch /data/x && echo written",
        "0:0\nwritten",
    )?;
    remove(ctx, &c, "/data")
}

fn a_user_namespace_gets_binds(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.user_namespace().detach()?;
    let dir = source(ctx)?;
    add(ctx, &c, &[bind(&dir, "/data", &["ro"])])?;
    // The owner is nobody that the container knows.
    says(&c, "cat /data/f; stat -c %u /data/f", "of the host\n65534")?;
    remove(ctx, &c, "/data")?;
    says(&c, "ls /data", "")
}

fn an_id_mapped_bind_shows_other_ids(ctx: &Ctx) -> Outcome {
    if crate::facts::kernel()? < (5, 12) {
        return skip("id-mapped mounts came with Linux 5.12");
    }
    let dir = source(ctx)?;
    let c = sleeping(ctx)?.detach()?;
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let mut mount = bind(&dir, "/data", &[]);
    mount["uidMappings"] = map.clone();
    mount["gidMappings"] = map;
    add(ctx, &c, &[mount])?;
    says(&c, "stat -c %u:%g /data/f", "1000:1000")?;
    // The container's own mapping, where none is given.
    let c = sleeping(ctx)?.user_namespace().detach()?;
    add(ctx, &c, &[bind(&dir, "/data", &["idmap"])])?;
    says(&c, "stat -c %u:%g /data/f", "0:0")
}

fn an_ordinary_user_adds_and_removes_mounts(ctx: &Ctx) -> Outcome {
    ctx.use_user(false)?;
    let b = sleeping(ctx)?.rootless(user::ID)?;
    let dir = source(ctx)?;
    for path in [dir.clone(), dir.join("f")] {
        std::os::unix::fs::chown(path, Some(user::ID), Some(user::ID))?;
    }
    let c = b.detach()?;
    let tmpfs = json!({"destination": "/data/t", "type": "tmpfs"});
    add(ctx, &c, &[bind(&dir, "/data", &["rbind"]), tmpfs])?;
    says(
        &c,
        "cat /data/f; stat -c %u /data/f /data/t",
        "of the host\n0\n0",
    )?;
    remove(ctx, &c, "/data")?;
    says(&c, "ls /data", "")
}

fn created_and_paused_containers_take_mounts(ctx: &Ctx) -> Outcome {
    let dir = source(ctx)?;
    let b = Bundle::new(ctx)?.folder("data")?;
    let c = b.shell("cat /data/f; sleep 1000").create()?;
    add(ctx, &c, &[bind(&dir, "/data", &[])])?;
    c.start()?;
    c.wait_stdout("of the host")?;
    c.verb::<&str>(&["pause"], &[]).run()?.ok()?;
    add(ctx, &c, &[bind(&dir, "/other", &[])])?;
    c.status_is("paused")?;
    c.verb::<&str>(&["resume"], &[]).run()?.ok()?;
    says(&c, "cat /other/f", "of the host")
}

fn a_remount_changes_flags(ctx: &Ctx) -> Outcome {
    if crate::facts::kernel()? < (5, 12) {
        return skip("a remount by `mounts add` needs mount_setattr of Linux 5.12");
    }
    let c = sleeping(ctx)?.detach()?;
    let dir = source(ctx)?;
    add(ctx, &c, &[bind(&dir, "/data", &[])])?;
    says(&c, "echo x > /data/g && echo written", "written")?;
    let remount = json!({"destination": "/data", "options": ["remount", "bind", "ro"]});
    add(ctx, &c, &[remount])?;
    says(&c, "touch /data/h 2>&1 | grep -c 'Read-only'", "1")
}

fn the_hosts_mounts_come_in_and_the_containers_do_not_go_out(ctx: &Ctx) -> Outcome {
    let dir = source(ctx)?;
    let path = dir.to_string_lossy().into_owned();
    std::fs::create_dir(dir.join("in"))?;
    std::fs::create_dir(dir.join("out"))?;
    let host = |line: &str| ctx.host(&["/bin/sh", "-c", line]).run()?.ok().map(drop);
    host(&format!(
        "mount --bind {path} {path} && mount --make-shared {path}"
    ))?;
    let b = sleeping(ctx)?.capabilities(&["CAP_SYS_ADMIN"]);
    let c = b.detach()?;
    let added = add(ctx, &c, &[bind(&dir, "/data", &["rbind"])]);
    let inside = added.and_then(|()| c.exec_says(&[], "mount -t tmpfs x /data/out; echo $?"));
    let leaked = crate::leaks::mounts_under(&path).len() > 1;
    host(&format!("mount -t tmpfs y {path}/in"))?;
    let seen = c.exec_says(&[], "grep -c ' /data/in ' /proc/self/mountinfo");
    host(&format!("umount {path}/in; umount {path}"))?;
    check_eq!(inside?, "0", "the container's own mount");
    check!(!leaked, "a mount of the container appeared on the host");
    check_eq!(seen?, "1", "the host's mount in the container");
    Ok(())
}

fn all_are_mounted_or_none(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let dir = source(ctx)?;
    let before = c.exec_says(&[], "cat /proc/self/mountinfo | wc -l")?;
    let file = dir.join("f");
    for last in [
        bind(&file, "/data/sub", &[]),
        bind(&dir, "/etc/passwd", &[]),
    ] {
        let mounts = [bind(&dir, "/data", &["ro"]), bind(&dir, "/b", &[]), last];
        run(ctx, &c, "add", &mounts)?
            .refused()?
            .says(&["/mounts/2"])?;
        says(&c, "cat /proc/self/mountinfo | wc -l", &before)?;
    }
    Ok(())
}

fn a_source_is_the_hosts_and_not_the_containers(ctx: &Ctx) -> Outcome {
    let b = sleeping(ctx)?.folder("b")?;
    // By the same path another directory on the host.
    let dir = source(ctx)?;
    let mut path = b.rootfs();
    for part in dir.components().skip(1) {
        path = path.join(part);
        std::fs::create_dir_all(&path)?;
    }
    std::fs::write(path.join("f"), "of the container\n")?;
    let c = b.user_namespace().detach()?;
    let overlay = format!("lowerdir={0}:{0}", dir.display());
    let overlay = json!({"destination": "/data", "type": "overlay", "options": [overlay]});
    add(ctx, &c, &[bind(&dir, "/b", &[])])?;
    says(&c, "cat /b/f", "of the host")?;
    // Where the kernel has it.
    if run(ctx, &c, "add", &[overlay])?.code == 0 {
        says(&c, "cat /data/f", "of the host")?;
    }
    Ok(())
}

/// Seen to fail where links are followed inside the root: `exit code 0 instead of 1`.
fn links_of_the_container_are_refused(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let dir = source(ctx)?;
    c.exec_says(
        &[],
        "mkdir /real; ln -s /etc /link; ln -s nowhere /dangling; ln -s /proc/1/root/tmp /magic",
    )?;
    for place in [
        "/link",
        "/link/sub",
        "/dangling",
        "/dangling/sub",
        "/magic",
        "/magic/x",
        "/proc/../link",
    ] {
        refused(ctx, &c, bind(&dir, place, &[]), "symbolic link")?;
        let tmpfs = json!({"destination": place, "type": "tmpfs"});
        refused(ctx, &c, tmpfs, "symbolic link")?;
    }
    says(
        &c,
        "ls /etc/f /etc/sub /nowhere 2>/dev/null; readlink /link",
        "/etc",
    )?;
    // Nor are mounts removed through them.
    add(ctx, &c, &[bind(&dir, "/real/m", &[])])?;
    c.exec_says(&[], "ln -s /real /way; ln -s /real/m /end")?;
    for place in ["/way/m", "/end"] {
        let output = run(ctx, &c, "remove", &[json!({"destination": place})])?.refused()?;
        output.says(&["symbolic link", "nothing is mounted there"])?;
    }
    says(&c, "cat /real/m/f", "of the host")
}

fn links_on_the_way_make_nothing_elsewhere(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let outside = ctx.dir.join("outside");
    std::fs::create_dir(&outside)?;
    let up = "../".repeat(20);
    c.exec_says(&[], &format!("ln -s {up}{} /out", outside.display()))?;
    refused(
        ctx,
        &c,
        bind(source(ctx)?, "/out/new/dir", &[]),
        "symbolic link",
    )?;
    check_eq!(std::fs::read_dir(&outside)?.count(), 0, "files outside");
    Ok(())
}

/// Seen to fail where links are followed inside the root: `directories that were made in /etc:
/// found 33, wanted 0`.
fn crun_1_31_a_link_swapped_in_never_leads_a_mount_elsewhere(ctx: &Ctx) -> Outcome {
    let swap = "while :; do mv /d /e; ln -s /etc /d; rm /d; mv /e /d; done";
    let b = Bundle::new(ctx)?.folder("d")?.shell(swap);
    let c = b.detach()?;
    let dir = source(ctx)?;
    let mut landed = 0;
    for round in 0..80 {
        let place = format!("/d/x{round}");
        landed += i32::from(run(ctx, &c, "add", &[bind(&dir, &place, &[])])?.code == 0);
    }
    let strays = std::fs::read_dir(c.bundle.join("rootfs/etc"))?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with('x'))
        .count();
    check_eq!(strays, 0, "directories that were made in /etc");
    let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", c.pid()?))?;
    check!(!mounts.contains(" /etc/x"), "a mount in /etc:\n{mounts}");
    ctx.note(format!("{landed} of 80 were mounted"));
    Ok(())
}

fn what_is_not_mounted_cannot_be_removed(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    for (place, words) in [
        ("/data", "cannot unmount /data: nothing is mounted there"),
        ("/etc/passwd", "nothing is mounted there"),
        ("/no/such", "no such file or directory"),
        ("/", "it is the root of the container"),
        ("/proc/kcore", "/mounts/0/destination"),
    ] {
        let output = run(ctx, &c, "remove", &[json!({"destination": place})])?;
        output.refused()?.says(&[words])?;
    }
    Ok(())
}

fn what_only_create_can_do_is_refused(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    for (mount, words) in [
        (
            json!({"destination": "/proc", "type": "proc"}),
            "when the container is created",
        ),
        (
            json!({"destination": "/x", "type": "proc"}),
            "when the container is created",
        ),
        (
            json!({"destination": "/x", "type": "cgroup"}),
            "when the container is created",
        ),
        (bind("/etc", "/proc/sys", &[]), "/mounts/0/destination"),
        (bind("/etc", "/", &[]), "/mounts/0/destination"),
        (bind("/etc", "/data", &["copy-symlink"]), "copy-symlink"),
        (
            bind("/no/such", "/data", &[]),
            "/mounts/0/source: cannot open /no/such",
        ),
        (bind("/etc", "/data", &["huge=always"]), "/mounts/0/options"),
        (
            json!({"destination": "/data", "type": "nosuchfs"}),
            "the kernel knows no such file system",
        ),
    ] {
        refused(ctx, &c, mount, words)?;
    }
    Ok(())
}

fn stopped_and_unknown_containers_are_refused(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let pid = c.pid()?;
    c.kill("KILL")?;
    c.wait_pid(pid)?;
    refused(ctx, &c, bind("/etc", "/data", &[]), "stopped container")?;
    let path = file(ctx, &json!({"mounts": []}))?;
    let output = ctx
        .rt(&["mounts", "add", "nosuch", &path])
        .run()?
        .refused()?;
    output.says(&["container does not exist"])?;
    Ok(())
}

fn without_a_mount_namespace_it_is_refused(ctx: &Ctx) -> Outcome {
    let b = sleeping(ctx)?
        .without_namespace("mount")
        .set("/mounts", json!([]));
    let c = b.detach()?;
    refused(
        ctx,
        &c,
        bind("/etc", "/data", &[]),
        "no mount namespace of its own",
    )?;
    let output = run(ctx, &c, "remove", &[json!({"destination": "/data"})])?;
    output.refused()?.says(&["no mount namespace of its own"])?;
    Ok(())
}

fn wrong_files_are_one_line_with_the_place(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let path = ctx.dir.join("wrong.json");
    let name = path.to_string_lossy().into_owned();
    for (text, words) in [
        ("{", "wrong.json"),
        ("", "wrong.json"),
        ("{}", "there are no mounts in it"),
        ("[]", "there are no mounts in it"),
        (r#"{"mounts": 7}"#, "/mounts"),
        (
            r#"{"mounts": [{"destination": 7}]}"#,
            "/mounts/0/destination",
        ),
        (r#"[{}, {"destination": "/x", "type": 7}]"#, "/1/type"),
        (
            r#"{"mounts": [{"source": "/etc"}]}"#,
            "/mounts/0/destination",
        ),
        (r#"[{"destination": "/x"}]"#, "/0/type"),
    ] {
        std::fs::write(&path, text)?;
        let output = ctx.rt(&["mounts", "add", &c.id, &name]).run()?.refused()?;
        output.says(&[words])?;
    }
    let output = ctx.rt(&["mounts", "add", &c.id, "/no/such"]).run()?;
    output
        .refused()?
        .says(&["cannot read the mounts from /no/such"])?;
    Ok(())
}

fn wrong_use_is_one_line(ctx: &Ctx) -> Outcome {
    for (args, words) in [
        (&["mounts"][..], "missing argument"),
        (&["mounts", "add", "x"], "missing argument"),
        (&["mounts", "move", "x", "y"], "use add or remove"),
        (&["mounts", "add", "x", "y", "z"], "one argument too many"),
        (&["mounts", "--nosuch"], "unknown flag --nosuch"),
    ] {
        ctx.rt(args).run()?.refused()?.says(&[words])?;
    }
    let help = ctx.rt(&["mounts", "--help"]).run()?.ok()?;
    check!(help.stdout.contains("Example:"), "no example in the help");
    help.stdout.lines().next().because("a heading").map(drop)
}
