//! The root file system: read-only, propagation, masked and read-only paths, nothing of the host.

use super::mounts::volume;
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::Outcome;
use crate::{check, check_eq, tests};
use serde_json::json;
use std::fs;

tests!("rootfs":
    rootfs_propagation_is_set,
    rootfs_propagation_slave_hears_the_host,
    mounts_of_a_container_never_reach_a_shared_host,
    mounts_of_a_user_namespace_never_reach_a_shared_host,
    a_shared_bind_in_a_shared_root_gives_its_mounts_to_the_host,
    a_read_only_root_refuses_writes_and_mounts_stay_writable,
    masked_paths_are_empty_and_read_only_paths_refuse_writes,
    absent_masked_and_read_only_paths_are_ignored,
    the_host_root_is_gone,
    no_pivot_is_accepted,
    no_pivot_works_in_a_user_namespace,
);

fn rootfs_propagation_is_set(ctx: &Ctx) -> Outcome {
    for (machine, slave) in [(&PRIVATE[..], ""), (&SHARED, "master:")] {
        for (mode, wanted) in [
            ("shared", "shared:"),
            ("rshared", "shared:"),
            ("private", ""),
            ("rprivate", ""),
            ("slave", slave),
            ("rslave", slave),
            ("unbindable", "unbindable"),
            ("runbindable", "unbindable"),
        ] {
            let facts = Bundle::new(ctx)?
                .set("/linux/rootfsPropagation", mode)
                .facts_within(machine)?;
            let fields = facts.mount("/")?;
            let tag = if fields[6] == "-" {
                ""
            } else {
                fields[6].as_str()
            };
            let fits = tag.starts_with(wanted) && (tag.is_empty() == wanted.is_empty());
            check!(fits, "propagation of / with {mode}: {fields:?}");
        }
    }
    Ok(())
}

/// Starts a command where no mount is shared, so that a slave is one of nothing.
pub(super) const PRIVATE: [&str; 4] = ["unshare", "-m", "--propagation", "private"];

/// Starts a command where all mounts are shared, as systemd makes them, but not with the machine
/// itself, whose mounts may be shared too.
pub(super) const SHARED: [&str; 8] = [
    "unshare",
    "-m",
    "--propagation",
    "private",
    "sh",
    "-c",
    "mount --make-rshared / && exec \"$@\"",
    "sh",
];

fn rootfs_propagation_slave_hears_the_host(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .set("/linux/rootfsPropagation", "rslave")
        .shell("grep ' / / ' /proc/self/mountinfo; cat /proc/self/mountinfo");
    let said = b
        .verb::<&str>("run", &[])?
        .within(&SHARED)
        .run()?
        .ok()?
        .stdout;
    let root = said
        .lines()
        .find(|line| line.split(' ').nth(4) == Some("/"))
        .unwrap_or_default();
    check!(root.contains("master:"), "the root is no slave: {root}");
    ctx.nothing_left()
}

fn mounts_of_a_container_never_reach_a_shared_host(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let modes = [
        "",
        "private",
        "rprivate",
        "slave",
        "rslave",
        "shared",
        "unbindable",
        "runbindable",
    ];
    for mode in modes {
        let mut b = mounter(ctx, &dir, &["rbind"])?;
        if !mode.is_empty() {
            b = b.set("/linux/rootfsPropagation", mode);
        }
        check_eq!(
            mounts_added(ctx, &b)?,
            0,
            "mounts that a run with propagation `{mode}` left on the host"
        );
    }
    ctx.nothing_left()
}

fn mounts_of_a_user_namespace_never_reach_a_shared_host(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    for options in [&["rbind"] as &[_], &["rbind", "rshared"]] {
        for mode in ["", "rslave", "rshared"] {
            let mut b = mounter(ctx, &dir, options)?.user_namespace();
            if !mode.is_empty() {
                b = b.set("/linux/rootfsPropagation", mode);
            }
            check_eq!(
                mounts_added(ctx, &b)?,
                0,
                "mounts left on the host by `{mode}` with {options:?}"
            );
        }
    }
    ctx.nothing_left()
}

fn a_shared_bind_in_a_shared_root_gives_its_mounts_to_the_host(ctx: &Ctx) -> Outcome {
    // What Kubernetes calls bidirectional: storage drivers live by it.
    let dir = volume(ctx)?;
    for mode in ["shared", "rshared"] {
        let b = mounter(ctx, &dir, &["rbind", "rshared"])?.set("/linux/rootfsPropagation", mode);
        check_eq!(mounts_added(ctx, &b)?, 1, "mounts on the host with {mode}");
    }
    ctx.nothing_left()
}

/// A container that mounts something in a volume and something elsewhere.
pub fn mounter<'a>(ctx: &'a Ctx, dir: &str, options: &[&str]) -> Outcome<Bundle<'a>> {
    Ok(Bundle::new(ctx)?
        .mount("/srv", "bind", dir, options)
        .shell("mount -t tmpfs x /mnt && mount -t tmpfs x /srv")
        .capabilities(&["CAP_SYS_ADMIN"]))
}

/// How many mounts a host whose mounts are all shared has after the container has run that it
/// did not have before. (Some may go meanwhile: those of other tests, when their folders do.)
pub fn mounts_added(ctx: &Ctx, b: &Bundle) -> Outcome<i64> {
    let list =
        "cp /proc/self/mountinfo \"$0\"; \"$@\" || exit; cp /proc/self/mountinfo \"$0.after\"";
    let before = ctx.dir.join("mounts");
    let file = before.to_string_lossy().into_owned();
    let cmd = b.verb::<&str>("run", &[])?;
    let cmd = cmd.within(&["sh", "-c", list, file.as_str()]);
    cmd.within(&SHARED).run()?.ok()?;
    let before = fs::read_to_string(&before)?;
    let after = fs::read_to_string(format!("{file}.after"))?;
    let id = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let known: Vec<String> = before.lines().map(id).collect();
    check!(!known.is_empty(), "no mounts were seen");
    let new = after.lines().filter(|line| !known.contains(&id(line)));
    Ok(new.count() as i64)
}

fn a_read_only_root_refuses_writes_and_mounts_stay_writable(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .set("/root/readonly", true)
        .mount("/tmp", "tmpfs", "tmpfs", &[]);
    let said = b.says("touch /made 2>&1; touch /tmp/ok /dev/shm/ok && echo fine")?;
    check!(
        said.contains("Read-only file system") && said.ends_with("fine"),
        "{said}"
    );
    Ok(())
}

fn masked_paths_are_empty_and_read_only_paths_refuse_writes(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .set(
            "/linux/maskedPaths",
            json!(["/proc/kcore", "/proc/keys", "/sys/firmware", "/srv"]),
        )
        .set(
            "/linux/readonlyPaths",
            json!(["/proc/sys", "/proc/irq", "/mnt"]),
        );
    fs::write(b.rootfs().join("srv/secret"), "secret")?;
    let said = b.says(
        "cat /proc/keys | wc -c; ls -A /sys/firmware | wc -l; ls -A /srv | wc -l; \
         touch /srv/x 2>&1; touch /mnt/x 2>&1; echo 1 2>&1 >/proc/sys/vm/swappiness; true",
    )?;
    let mut lines = said.lines();
    for what in [
        "bytes of a masked file",
        "entries of a masked sysfs folder",
        "entries of a masked folder",
    ] {
        check_eq!(lines.next(), Some("0"), "{what}");
    }
    check!(
        said.matches("Read-only file system").count() >= 2,
        "writes under masked and read-only paths: {said}"
    );
    Ok(())
}

fn absent_masked_and_read_only_paths_are_ignored(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .set(
            "/linux/maskedPaths",
            json!(["/nosuch/file", "/proc/nosuch"]),
        )
        .set(
            "/linux/readonlyPaths",
            json!(["/nosuch/dir", "/proc/nosuch"]),
        );
    let rootfs = b.rootfs();
    b.run()?.ok()?;
    check!(!rootfs.join("nosuch").exists(), "/nosuch was made");
    Ok(())
}

fn the_host_root_is_gone(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?.facts()?;
    let text = facts.text("mountinfo")?;
    let first = text.lines().next().unwrap_or_default();
    check_eq!(first.split(' ').nth(4), Some("/"), "first mount");
    let dev = first.split(' ').nth(2).unwrap_or_default();
    let same = text
        .lines()
        .filter(|line| line.split(' ').nth(2) == Some(dev))
        .count();
    check_eq!(same, 1, "mounts of the host's file system");
    Ok(())
}

fn no_pivot_works_in_a_user_namespace(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .user_namespace()
        .shell("ls /bin/probe; ls -d /proc/1/root/bin/probe; ls /../bin/probe");
    let told = b.verb("run", &["--no-pivot"])?.run()?.ok()?.stdout;
    check_eq!(told.lines().count(), 3, "lines of {told}");
    ctx.nothing_left()
}

fn no_pivot_is_accepted(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.shell("ls /bin/probe");
    check_eq!(
        b.verb("run", &["--no-pivot"])?.run()?.ok()?.stdout,
        "/bin/probe\n",
        "output"
    );
    ctx.nothing_left()
}
