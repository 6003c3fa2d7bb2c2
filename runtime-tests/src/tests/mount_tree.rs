//! The mount tree is made where nobody sees it, and of detached mounts.

use super::mounts::volume;
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::facts::kernel;
use crate::outcome::{Outcome, skip};
use crate::{check, check_eq, tests};
use serde_json::json;
use std::fs;
use std::sync::atomic::Ordering;

tests!("mount_tree":
    it_is_attached_once_and_whole,
    it_is_attached_once_and_whole_in_a_user_namespace,
    no_new_file_system_is_mounted_by_mount,
    hooks_before_the_pivot_see_it,
    a_shared_mount_and_a_remount_need_it_attached,
    where_the_kernel_refuses_it_is_attached_first,
    on_a_kernel_like_5_10_it_is_the_same,
    nothing_of_the_host_is_left_over_it,
    options_are_those_of_mount,
    a_wrong_option_is_named,
    values_that_fsconfig_does_not_take_are_mounted,
    names_in_proc_are_masked_under_what_covers_proc,
    what_covers_dev_gets_the_devices,
);

/// The calls of a `run` with these names, with their results, oldest first.
fn calls(ctx: &Ctx, b: &Bundle, names: &str) -> Outcome<Vec<String>> {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return skip("strace is not installed");
    }
    let file = ctx.dir.join("calls");
    let file = file.to_string_lossy();
    let trace = format!("trace={names}");
    b.write()?;
    let strace = ["strace", "-qq", "-f", "-o", &file, "-e", &trace, "--"];
    b.verb::<&str>("run", &[])?.within(&strace).run()?.ok()?;
    let text = fs::read_to_string(&*file)?;
    let calls = text.lines().filter_map(|line| line.split_once(' '));
    let calls = calls.map(|(_, call)| call.trim_start().to_owned());
    Ok(calls.filter(|call| !call.starts_with(['-', '+'])).collect())
}

fn only_since_6_15() -> Outcome {
    match kernel()? >= (6, 15) {
        true => Ok(()),
        false => skip("before Linux 6.15 nothing is attached to a detached mount"),
    }
}

/// Mounts of every kind that stay below the tree's root.
fn of_every_kind(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    let dir = volume(ctx)?;
    let file = format!("{dir}/file");
    let b = Bundle::new(ctx)?
        .mount("/t", "tmpfs", "tmpfs", &["size=64k"])
        .mount("/t/inner", "tmpfs", "inner", &["rprivate", "ro"])
        .mount("/v", "bind", &dir, &["rbind", "rro", "rprivate"])
        .mount("/etc/hosts", "bind", &file, &["bind", "ro", "rslave"])
        .mount("/up", "tmpfs", "up", &["tmpcopyup"])
        .set(
            "/linux/maskedPaths",
            json!(["/proc/keys", "/proc/acpi", "/v/sub", "/etc/hosts"]),
        )
        .set("/linux/readonlyPaths", json!(["/proc/sys", "/t"]))
        .folder("/up")?
        .folder("/v")?
        .folder("/t")?;
    fs::write(b.rootfs().join("etc/hosts"), "")?;
    Ok(b.args(&["/bin/true"]))
}

/// Which of these calls attach a mount to something that is visible: by a path, but for the
/// names in the runtime's own mounts, which have a descriptor before them.
fn attaches_by_path(call: &str) -> bool {
    call.starts_with("move_mount(") && call.contains(", AT_FDCWD, \"/")
}

fn it_is_attached_once_and_whole(ctx: &Ctx) -> Outcome {
    only_since_6_15()?;
    let calls = calls(ctx, &of_every_kind(ctx)?, "move_mount,pivot_root,umount2")?;
    let place = calls.iter().position(|call| attaches_by_path(call));
    // All others are attached before the tree is, and nothing comes between it and the pivot.
    let (end, place) = (calls.len(), place.unwrap_or_default());
    check!(
        place > 10 && calls[place + 1].starts_with("pivot_root(") && end == place + 3,
        "the calls: {calls:#?}"
    );
    check_eq!(
        calls.iter().filter(|call| attaches_by_path(call)).count(),
        1,
        "attached by path"
    );
    ctx.nothing_left()
}

fn it_is_attached_once_and_whole_in_a_user_namespace(ctx: &Ctx) -> Outcome {
    only_since_6_15()?;
    let b = of_every_kind(ctx)?.user_namespace();
    let calls = calls(ctx, &b, "move_mount,pivot_root,umount2")?;
    // The root comes from the runtime's mount namespace: it is attached alone, cloned, and gone again.
    let end = calls.len();
    check!(
        attaches_by_path(&calls[0]) && calls[1].starts_with("umount2("),
        "the root: {calls:#?}"
    );
    check!(
        end > 14 && attaches_by_path(&calls[end - 3]) && calls[end - 2].starts_with("pivot_root("),
        "the tree: {calls:#?}"
    );
    check_eq!(
        calls.iter().filter(|call| attaches_by_path(call)).count(),
        2,
        "attached by path"
    );
    ctx.nothing_left()
}

fn no_new_file_system_is_mounted_by_mount(ctx: &Ctx) -> Outcome {
    only_since_6_15()?;
    for capabilities in [&["CAP_CHOWN"][..], &["CAP_CHOWN", "CAP_SYS_ADMIN"]] {
        let b = of_every_kind(ctx)?
            .mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["ro", "nosuid", "nodev", "noexec"],
            )
            .capabilities(capabilities);
        let calls = calls(ctx, &b, "mount,fsmount")?;
        let by_mount: Vec<&String> = calls.iter().filter(|c| c.starts_with("mount(")).collect();
        check!(
            by_mount.len() == 1 && by_mount[0].starts_with("mount(\"none\", \"/\", NULL, "),
            "mount(2): {by_mount:#?}"
        );
        check!(calls.len() > 8, "fsmount: {calls:#?}");
    }
    ctx.nothing_left()
}

fn hooks_before_the_pivot_see_it(ctx: &Ctx) -> Outcome {
    // The first is told the init's pid and looks from outside.
    let of_pid = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); f=/proc/$pid/mountinfo";
    for (kind, file) in [
        ("createRuntime", of_pid),
        ("createContainer", "f=/proc/self/mountinfo"),
    ] {
        let said = ctx.dir.join(kind);
        let b = Bundle::new(ctx)?.mount("/t", "tmpfs", "seen", &["mode=700"]);
        let root = b.rootfs();
        let line = format!(
            "{file}; grep -c ' {}/t ' $f > {}",
            root.display(),
            said.display()
        );
        let b = b
            .set(
                &format!("/hooks/{kind}"),
                json!([{"path": "/bin/sh", "args": ["sh", "-c", line]}]),
            )
            .args(&["/bin/true"]);
        b.run()?.ok()?;
        check_eq!(fs::read_to_string(&said)?, "1\n", "mounts seen by {kind}");
    }
    ctx.nothing_left()
}

fn a_shared_mount_and_a_remount_need_it_attached(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .mount("/a", "tmpfs", "a", &["shared"])
        .mount("/a/b", "tmpfs", "b", &["size=64k", "private"])
        .mount("/c", "tmpfs", "c", &["size=64k"])
        .mount("/c", "tmpfs", "c", &["remount", "ro", "size=128k"])
        .mount("/d", "tmpfs", "d", &["rshared", "rslave"]);
    let facts = b.facts()?;
    for (point, wanted) in [("/a", "shared:"), ("/a/b", "-"), ("/c", "-"), ("/d", "-")] {
        let fields = facts.mount(point)?;
        check!(fields[6].starts_with(wanted), "{point}: {fields:?}");
    }
    let c = facts.mount("/c")?;
    check!(c[5].starts_with("ro"), "/c: {c:?}");
    ctx.nothing_left()
}

/// What a mountinfo tells of mounts, but for numbers and the names of sources.
fn seen(text: &str) -> Outcome<Vec<String>> {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let words = line.split(' ').enumerate();
            let kept = words.filter(|(at, word)| *at > 3 && !word.contains(':'));
            kept.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
        })
        .collect();
    lines.sort();
    check!(lines.len() > 5, "mounts: {lines:?}");
    Ok(lines)
}

fn on_a_kernel_like_5_10_it_is_the_same(ctx: &Ctx) -> Outcome {
    let of = |b: Bundle| seen(&b.facts()?.text("mountinfo")?);
    let new = of(of_every_kind(ctx)?)?;
    ctx.old_kernel.store(true, Ordering::Relaxed);
    let old = of(of_every_kind(ctx)?)?;
    check_eq!(old, new, "the mounts as on Linux 5.10");
    ctx.nothing_left()
}

/// strace gives the first that is attached to the detached tree the answer of Linux 6.14 and before.
fn where_the_kernel_refuses_it_is_attached_first(ctx: &Ctx) -> Outcome {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return skip("strace is not installed");
    }
    let refusing = |b: Bundle| {
        let inject = "inject=move_mount:error=EINVAL:when=1";
        let null = [
            "strace",
            "-qq",
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "trace=move_mount",
            "-e",
            inject,
            "--",
        ];
        let text = b.facts_within(&null)?.text("mountinfo")?;
        seen(&text)
    };
    let usual = |b: Bundle| seen(&b.facts()?.text("mountinfo")?);
    check_eq!(
        refusing(of_every_kind(ctx)?)?,
        usual(of_every_kind(ctx)?)?,
        "mounts"
    );
    // A cgroup mount finds out in its own tmpfs.
    let cgroup_first = || -> Outcome<Bundle> {
        let cgroup =
            json!({"destination": "/first", "type": "cgroup", "options": ["ro", "nosuid"]});
        Ok(Bundle::new(ctx)?
            .push("/mounts", cgroup)
            .namespace("cgroup", None))
    };
    check_eq!(
        refusing(cgroup_first()?)?,
        usual(cgroup_first()?)?,
        "cgroup mounts"
    );
    ctx.nothing_left()
}

fn nothing_of_the_host_is_left_over_it(ctx: &Ctx) -> Outcome {
    for old in [false, true] {
        ctx.old_kernel.store(old, Ordering::Relaxed);
        for user in [false, true] {
            let b = of_every_kind(ctx)?;
            let b = if user { b.user_namespace() } else { b };
            let said = b.says("cut -d' ' -f5 /proc/self/mountinfo | grep -cx /; ls /bin/probe")?;
            check_eq!(
                said,
                "1\n/bin/probe",
                "mounts on /, user namespace {user}, old {old}"
            );
        }
    }
    ctx.nothing_left()
}

fn options_are_those_of_mount(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .mount(
            "/a",
            "tmpfs",
            "named",
            &["size=64k", "mode=1777", "uid=5", "huge=never"],
        )
        .mount(
            "/b",
            "tmpfs",
            "b",
            &["sync", "dirsync", "lazytime", "iversion", "acl", "silent"],
        )
        .mount(
            "/c",
            "tmpfs",
            "c",
            &["ro", "noexec", "nodiratime", "nr_inodes=7"],
        )
        .mount("/d", "ramfs", "d", &["mode=750", "strictatime"])
        .mount(
            "/p",
            "devpts",
            "p",
            &["newinstance", "mode=0620", "ptmxmode=0666"],
        );
    let facts = b.facts()?;
    for (point, source, wanted) in [
        ("/a", "named", &["rw", "size=64k", "uid=5"][..]),
        ("/b", "b", &["rw", "sync", "dirsync", "lazytime"]),
        ("/c", "c", &["ro", "noexec", "nodiratime", "nr_inodes=7"]),
        ("/d", "d", &["rw", "mode=750"]),
        ("/p", "p", &["rw", "mode=620", "ptmxmode=666"]),
    ] {
        let fields = facts.mount(point)?;
        let at = fields.iter().position(|field| field == "-").unwrap_or(0);
        // ramfs took whatever it was told before Linux 5.14, its source too, and forgot it.
        if point != "/d" || kernel()? >= (5, 14) {
            check_eq!(fields[at + 2], source, "source of {point}");
        }
        let options: Vec<&str> = fields[5]
            .split(',')
            .chain(fields[at + 3].split(','))
            .collect();
        for option in wanted {
            check!(
                options.contains(option),
                "{point} lacks {option}: {fields:?}"
            );
        }
    }
    ctx.nothing_left()
}

fn a_wrong_option_is_named(ctx: &Ctx) -> Outcome {
    for (option, named) in [
        ("nosuchoption", "nosuchoption"),
        ("size=much", "size"),
        ("nosuch=5", "nosuch"),
    ] {
        let b = Bundle::new(ctx)?.mount("/t", "tmpfs", "tmpfs", &["mode=755", option]);
        let refused = b.create_refused()?;
        let line = refused.stderr.clone();
        check!(
            line.contains("cannot mount tmpfs on /t: invalid argument"),
            "{line}"
        );
        check!(line.contains(named), "the option is not named: {line}");
    }
    ctx.nothing_left()
}

fn values_that_fsconfig_does_not_take_are_mounted(ctx: &Ctx) -> Outcome {
    let (dir, other) = (volume(ctx)?, volume(ctx)?);
    // One value of more than 255 bytes, and a comma that is a part of a name.
    let deep = format!("{dir}/{}", "d".repeat(250));
    let comma = format!("{other}/a,b");
    for dir in [&deep, &comma] {
        fs::create_dir_all(dir)?;
        fs::write(format!("{dir}/seen"), dir)?;
    }
    for (lower, wanted) in [
        (format!("lowerdir={deep}:{other}"), &deep),
        (format!("lowerdir={other}/a\\,b:{dir}"), &comma),
    ] {
        let b = Bundle::new(ctx)?
            .mount("/before", "tmpfs", "before", &["size=64k"])
            .mount("/o", "overlay", "overlay", &[&lower])
            .mount("/o/sub", "tmpfs", "after", &["size=64k"]);
        let said = b.says("cat /o/seen; grep -cE ' /(before|o/sub) ' /proc/self/mountinfo")?;
        check_eq!(said, format!("{wanted}2"), "{lower}");
    }
    ctx.nothing_left()
}

/// Names in /proc are not looked up from the root where that is the runtime's own procfs. Where
/// something lies over it, they are.
fn names_in_proc_are_masked_under_what_covers_proc(ctx: &Ctx) -> Outcome {
    let masked = json!(["/proc/keys", "/proc/version", "/proc/acpi"]);
    for cover in [false, true] {
        let b = Bundle::new(ctx)?
            .set("/linux/maskedPaths", masked.clone())
            .set("/linux/readonlyPaths", json!(["/proc/sys"]));
        let b = match cover {
            true => b.mount("/proc", "bind", "/proc", &["rbind"]),
            false => b,
        };
        let said = b.says(
            "wc -c < /proc/version; (echo x > /proc/sys/kernel/hostname) 2>&1 | grep -c Read-only",
        )?;
        check_eq!(said.trim(), "0\n1", "covered: {cover}");
    }
    ctx.nothing_left()
}

/// Devices go into /dev, and not into a tmpfs that something lies over.
fn what_covers_dev_gets_the_devices(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    fs::create_dir_all(format!("{dir}/pts"))?;
    let b = Bundle::new(ctx)?;
    let config = b.mount("/dev", "tmpfs", "second", &["mode=755"]);
    let said = config.says("grep ' /dev ' /proc/self/mountinfo | tail -n1 | grep -c second; test -c /dev/zero && echo there")?;
    check_eq!(said.trim(), "1\nthere", "devices in the upper of two");
    let b = Bundle::new(ctx)?;
    std::os::unix::fs::symlink("/dev", b.rootfs().join("alias"))?;
    let b = b.mount("/alias", "tmpfs", "third", &["mode=755"]).mount(
        "/dev/under",
        "tmpfs",
        "under",
        &["mode=711"],
    );
    let said = b.says("test -c /dev/zero && test -d /alias/under && stat -c %a /dev/under")?;
    check_eq!(said.trim(), "711", "devices behind a link to /dev");
    ctx.nothing_left()
}
