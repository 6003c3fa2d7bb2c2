//! /dev of the image: links and other things in place of null, console and the standard streams.

use super::{SLEEP, bait, proc_only, removed, replace_by_link, unchanged, with_terminal};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::sockets::FdSocket;
use crate::{check, check_eq, tests};
use rustix::fs::{FileType, Mode, makedev, mknodat, stat};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

tests!("cve":
    cve_2025_31133_a_dev_null_that_is_a_link_does_not_unmask,
    cve_2025_62161_the_masks_source_is_the_hosts_null_and_nothing_else,
    cve_2025_52565_the_console_is_the_pty_and_not_what_a_link_says,
    cve_2026_88265_a_dev_null_that_is_a_link_gives_no_file_of_the_host_away,
);

/// Where a mask can be seen: a file of procfs that is not secret here.
const MASKED: &str = "/proc/version";

/// Number of the device that a created container has in place of the masked file; none if it
/// was refused.
fn mask_of(ctx: &Ctx, b: &Bundle) -> Outcome<Option<u64>> {
    if b.verb::<&str>("create", &[])?.run()?.code != 0 {
        return Ok(None);
    }
    let state = ctx.rt(&["state", &b.id]).run()?.ok()?;
    let state: serde_json::Value = serde_json::from_str(&state.stdout)?;
    let seen = format!("/proc/{}/root{MASKED}", state["pid"]);
    let found = stat(&seen).because(&seen)?;
    removed(ctx, b)?;
    let device = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
    Ok(Some(if device { found.st_rdev } else { 0 }))
}

/// Seen to fail: with the image's `dev/null` as source, unverified, in `rootfs/masks.rs:mask_one`
/// (and the check of nodes that are there already, which refuses such an image before, taken out
/// of `rootfs/dev.rs:check_node`): `device behind the mask: found 0, wanted 259`.
fn cve_2025_31133_a_dev_null_that_is_a_link_does_not_unmask(ctx: &Ctx) -> Outcome {
    for target in [
        "/etc/secret",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
    ] {
        let b = proc_only(Bundle::new(ctx)?)
            .set("/linux/maskedPaths", json!([MASKED]))
            .args(&SLEEP);
        fs::write(b.rootfs().join("etc/secret"), "secret")?;
        replace_by_link(&b, "dev/null", target)?;
        if let Some(device) = mask_of(ctx, &b)? {
            check_eq!(device, makedev(1, 3), "device behind the mask");
        }
        let secret = fs::read_to_string(b.rootfs().join("etc/secret"))?;
        check_eq!(secret, "secret", "the file that /dev/null leads to");
    }
    ctx.nothing_left()
}

/// The same for what an image may have there that is no link. /dev is mounted from a volume,
/// where the nodes are not the runtime's to make.
///
/// Seen to fail: with the image's `dev/null` as source, unverified, in
/// `rootfs/masks.rs:mask_one`, and `rootfs/dev.rs:check_node` always content: `the mask is device
/// 1:5`.
fn cve_2025_62161_the_masks_source_is_the_hosts_null_and_nothing_else(ctx: &Ctx) -> Outcome {
    let makers: [&dyn Fn(&Path) -> Outcome; 4] = [
        &|path| {
            Ok(mknodat(
                rustix::fs::CWD,
                path,
                FileType::CharacterDevice,
                Mode::RUSR,
                makedev(1, 5),
            )?)
        },
        &|path| Ok(fs::write(path, "a file")?),
        &|path| {
            Ok(mknodat(
                rustix::fs::CWD,
                path,
                FileType::Fifo,
                Mode::RUSR,
                0,
            )?)
        },
        &|_| Ok(()),
    ];
    for make in makers {
        let volume = ctx.dir.join(format!("dev{}", ctx.next()));
        fs::create_dir(&volume)?;
        make(&volume.join("null"))?;
        let b = proc_only(Bundle::new(ctx)?)
            .mount("/dev", "bind", &volume.to_string_lossy(), &["bind"])
            .set("/linux/maskedPaths", json!([MASKED]))
            .args(&SLEEP);
        if let Some(device) = mask_of(ctx, &b)? {
            check!(
                device == makedev(1, 3),
                "the mask is device {}:{}",
                rustix::fs::major(device),
                rustix::fs::minor(device)
            );
        }
    }
    ctx.nothing_left()
}

/// Seen to fail: with `handle` alone in `rootfs/resolve.rs:place`: `a mount at
/// /proc/sys/kernel/core_pattern: devpts`.
fn cve_2025_52565_the_console_is_the_pty_and_not_what_a_link_says(ctx: &Ctx) -> Outcome {
    for (name, target) in [
        ("dev/console", "/proc/sys/kernel/core_pattern"),
        ("dev/console", "/proc/sysrq-trigger"),
        ("dev/console", "/etc/secret"),
        ("dev/ptmx", "/proc/sysrq-trigger"),
    ] {
        let b = with_terminal(Bundle::new(ctx)?)
            .set(
                "/linux/readonlyPaths",
                json!(["/proc/sys", "/proc/sysrq-trigger"]),
            )
            .args(&SLEEP);
        fs::write(b.rootfs().join("etc/secret"), "secret")?;
        replace_by_link(&b, name, target)?;
        let socket = FdSocket::bind(&b.dir.join("console"))?;
        let path = socket.path.to_string_lossy().into_owned();
        let output = b.verb("create", &["--console-socket", &path])?.run()?;
        if output.code != 0 {
            continue;
        }
        socket.receive()?;
        let state = ctx.rt(&["state", &b.id]).run()?.ok()?;
        let state: serde_json::Value = serde_json::from_str(&state.stdout)?;
        let pid = state["pid"].as_i64().unwrap_or(0) as i32;
        for (point, kind, _) in super::mount_points(pid)? {
            let inside = point.starts_with("/proc/");
            check!(!inside || kind == "proc", "a mount at {point}: {kind}");
        }
        // Wherever the link leads to inside: what is there is the pty, number 136 and up.
        let console = format!("/proc/{pid}/root/dev/console");
        if let Ok(meta) = fs::metadata(&console) {
            let major = rustix::fs::major(meta.rdev());
            check!(
                (136..144).contains(&major),
                "device of /dev/console: {major}"
            );
        }
        removed(ctx, &b)?;
    }
    ctx.nothing_left()
}

/// crun opened the image's /dev/null anew for the streams and gave it to the user.
///
/// Seen to fail: with every kind of file given away in `launch/tty.rs:give`: `owner of the
/// caller's file: found 1000, wanted 0`.
fn cve_2026_88265_a_dev_null_that_is_a_link_gives_no_file_of_the_host_away(ctx: &Ctx) -> Outcome {
    let bait = bait(ctx)?;
    let owner = fs::metadata("/dev/null")?.uid();
    let b = proc_only(Bundle::new(ctx)?)
        .mount("/srv/file", "bind", &bait.to_string_lossy(), &["bind"])
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .shell("echo out; echo err >&2");
    for name in ["dev/null", "dev/stdout", "dev/stderr", "dev/stdin"] {
        replace_by_link(&b, name, "/srv/file")?;
    }
    // Pipes, as engines give them, with and without the link of /dev/null itself, for which the
    // image may be refused; then files.
    for keep_null in [true, false] {
        if !keep_null {
            fs::remove_file(b.rootfs().join("dev/null"))?;
        }
        let mut run = b.verb::<&str>("run", &[])?.spawn()?;
        run.child.stdin.take();
        let output = run.child.wait_with_output()?;
        check!(
            keep_null || String::from_utf8_lossy(&output.stdout) == "out\n",
            "the stream is not the caller's pipe: {output:?}"
        );
        unchanged(&bait)?;
        check_eq!(fs::metadata(&bait)?.uid(), 0, "owner of the host's file");
    }
    let kept = ctx.dir.join("kept");
    b.verb::<&str>("run", &[])?
        .output(kept.clone())
        .run()?
        .ok()?;
    for end in ["out", "err"] {
        let meta = fs::metadata(kept.with_extension(end))?;
        check_eq!(meta.uid(), 0, "owner of the caller's file");
    }
    check_eq!(
        fs::metadata("/dev/null")?.uid(),
        owner,
        "owner of /dev/null"
    );
    ctx.nothing_left()
}
