//! Races: another container that shares a volume exchanges a directory for a link as fast as it
//! can, while containers are made.
//!
//! A process of the host does it here, on the same files. The time is bounded; each test
//! requires that enough attempts went through to have shown something.

use super::{
    SLEEP, bait, mount_points, proc_only, removed, trap, unchanged, untouched, with_terminal,
};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::sockets::FdSocket;
use crate::{check, check_eq, tests};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with, stat};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

tests!("cve":
    cve_2021_30465_a_destination_that_is_swapped_stays_in_the_rootfs as Long,
    cve_2015_1335_a_file_that_is_swapped_is_not_mounted_on_outside as Long,
    cve_2024_45310_directories_are_not_made_behind_a_swapped_parent as Long,
    cve_2025_31133_a_dev_null_that_is_swapped_does_not_unmask as Long,
    cve_2025_52565_a_console_that_is_swapped_mounts_nothing_outside as Long,
    cve_2025_52881_a_swapped_destination_does_not_catch_labels_or_sysctls as Long,
);

/// How long the attempts of one test may take, and how many they may be.
const TIME: Duration = Duration::from_secs(6);
const MOST: usize = 120;
/// How many containers have to be made, and how long that may take where all is slow.
const ENOUGH: usize = 6;
const SLOWLY: Duration = Duration::from_secs(120);

/// Exchanges two names of one directory until it is dropped.
struct Swap {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Swap {
    fn new(one: PathBuf, other: PathBuf) -> Swap {
        let (stop, count) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (stopped, counted) = (stop.clone(), count.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Swap {
            stop,
            count,
            thread: Some(thread),
        }
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has no way to panic.
            let _ = thread.join();
        }
    }
}

/// Creates and removes the container again and again beside the exchange. `before` may change
/// the bundle, `after` judges each that was made, by its init's pid. Returns how many were made.
fn raced<'a>(
    ctx: &'a Ctx,
    mut b: Bundle<'a>,
    options: &[&str],
    swap: (PathBuf, PathBuf),
    before: &mut dyn FnMut(Bundle<'a>, usize) -> Bundle<'a>,
    after: &mut dyn FnMut(i32) -> Outcome,
) -> Outcome<usize> {
    let pid_file = ctx.dir.join("pid").to_string_lossy().into_owned();
    let mut words = vec!["--pid-file", pid_file.as_str()];
    words.extend(options);
    let swap = Swap::new(swap.0, swap.1);
    let begin = Instant::now();
    let (mut tries, mut made) = (0, 0);
    let goes_on = |made| begin.elapsed() < if made < ENOUGH { SLOWLY } else { TIME };
    while tries < MOST && goes_on(made) {
        b = before(b, tries);
        tries += 1;
        if b.verb("create", &words)?.run()?.code == 0 {
            made += 1;
            after(fs::read_to_string(&pid_file)?.trim().parse()?)?;
        }
        removed(ctx, &b)?;
    }
    let swaps = swap.count.load(Ordering::Relaxed);
    ctx.note(format!("({made} of {tries} made, {swaps} exchanges)"));
    check!(
        swaps > tries * 10,
        "only {swaps} exchanges beside {tries} attempts"
    );
    Ok(made)
}

/// A shared volume with a folder, and a link beside it.
fn shared_volume(ctx: &Ctx, target: &Path) -> Outcome<(PathBuf, (PathBuf, PathBuf))> {
    let volume = ctx.dir.join(format!("volume{}", ctx.next()));
    fs::create_dir_all(volume.join("place"))?;
    symlink(target, volume.join("link"))?;
    let pair = (volume.join("place"), volume.join("link"));
    Ok((volume, pair))
}

fn nothing<'a>(b: Bundle<'a>, _: usize) -> Bundle<'a> {
    b
}

/// Fails unless a mount of this source is in the container's tree: mounted outside, it would
/// have gone with the host's root.
fn inside(pid: i32, wanted: usize) -> Outcome {
    let points = mount_points(pid)?;
    let found = points
        .iter()
        .filter(|(_, _, source)| source == "the-raced")
        .count();
    check_eq!(
        found,
        wanted,
        "mounts that are inside the root, of {points:?}"
    );
    Ok(())
}

/// Seen to fail: with the destination opened a second time by its path, without RESOLVE_IN_ROOT,
/// once it was found good (`rootfs/resolve.rs:place`): `mounts that are inside the root …: found
/// 1, wanted 2`.
fn cve_2021_30465_a_destination_that_is_swapped_stays_in_the_rootfs(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let (volume, pair) = shared_volume(ctx, &trap)?;
    let b = Bundle::new(ctx)?
        .mount("/srv", "bind", &volume.to_string_lossy(), &["rbind"])
        .mount("/srv/place", "tmpfs", "the-raced", &[])
        .mount("/srv/place/deep", "tmpfs", "the-raced", &[])
        .args(&SLEEP);
    let made = raced(ctx, b, &[], pair, &mut nothing, &mut |pid| inside(pid, 2))?;
    check!(made >= ENOUGH, "only {made} containers could be made");
    untouched(&trap)?;
    ctx.nothing_left()
}

/// LXC's ancestor of it, with a file in place of a folder: a bind of a file onto a file of the
/// host would be seen by nobody, so it is the making of the file that tells.
///
/// Seen to fail: with the missing file made by open with O_CREAT and its whole path in
/// `rootfs/resolve.rs:make_missing`: `made on the host through a link: ["file-14", "file-26",
/// …]`.
fn cve_2015_1335_a_file_that_is_swapped_is_not_mounted_on_outside(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let (volume, pair) = shared_volume(ctx, &trap)?;
    let source = bait(ctx)?;
    let b = Bundle::new(ctx)?
        .mount("/srv", "bind", &volume.to_string_lossy(), &["rbind"])
        .mount(
            "/srv/place/file",
            "bind",
            &source.to_string_lossy(),
            &["bind"],
        )
        .args(&SLEEP);
    let number = b.config["mounts"].as_array().map_or(0, Vec::len) - 1;
    let pointer = format!("/mounts/{number}/destination");
    let mut after = |pid: i32| {
        let points = mount_points(pid)?;
        let found = points
            .iter()
            .filter(|(point, ..)| point.contains("/file-"))
            .count();
        check_eq!(found, 1, "binds that are inside the root");
        Ok(())
    };
    let made = raced(
        ctx,
        b,
        &[],
        pair,
        &mut |b, n| b.set(&pointer, format!("/srv/place/file-{n}")),
        &mut after,
    )?;
    check!(made >= ENOUGH, "only {made} containers could be made");
    untouched(&trap)?;
    unchanged(&source)?;
    ctx.nothing_left()
}

/// Seen to fail: with the missing directories made by their whole path from the root
/// (`mkdirat(root, path)` in `rootfs/resolve.rs:make_missing`): `made on the host through a link:
/// ["deep-4", "deep-10", …]`.
fn cve_2024_45310_directories_are_not_made_behind_a_swapped_parent(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let (volume, pair) = shared_volume(ctx, &trap)?;
    let b = Bundle::new(ctx)?
        .mount("/srv", "bind", &volume.to_string_lossy(), &["rbind"])
        .mount("/srv/place", "tmpfs", "the-raced", &[])
        .args(&SLEEP);
    let number = b.config["mounts"].as_array().map_or(0, Vec::len) - 1;
    let pointer = format!("/mounts/{number}/destination");
    let made = raced(
        ctx,
        b,
        &[],
        pair,
        &mut |b, n| b.set(&pointer, format!("/srv/place/deep-{n}/er/and/deeper")),
        &mut |pid| inside(pid, 1),
    )?;
    check!(made >= ENOUGH, "only {made} containers could be made");
    untouched(&trap)?;
    ctx.nothing_left()
}

/// Seen to fail: with the image's `dev/null` as source, unverified, in
/// `rootfs/masks.rs:mask_one`: `device behind the mask: found 0, wanted 259`.
fn cve_2025_31133_a_dev_null_that_is_swapped_does_not_unmask(ctx: &Ctx) -> Outcome {
    let b = proc_only(Bundle::new(ctx)?)
        .set("/linux/maskedPaths", json!(["/proc/version"]))
        .args(&SLEEP);
    let dev = b.rootfs().join("dev");
    mknodat(
        CWD,
        dev.join("null"),
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        makedev(1, 3),
    )?;
    fs::write(b.rootfs().join("etc/secret"), "secret")?;
    symlink("/etc/secret", dev.join("link"))?;
    let pair = (dev.join("null"), dev.join("link"));
    let mut after = |pid: i32| {
        let seen = format!("/proc/{pid}/root/proc/version");
        let found = stat(&seen).because(&seen)?;
        check_eq!(found.st_rdev, makedev(1, 3), "device behind the mask");
        Ok(())
    };
    let made = raced(ctx, b, &[], pair, &mut nothing, &mut after)?;
    check!(made >= ENOUGH, "only {made} containers could be made");
    ctx.nothing_left()
}

/// Seen to fail: with the destination opened a second time by its path, without RESOLVE_IN_ROOT,
/// once it was found good (`rootfs/resolve.rs:place`): `mounts of a pty inside the root: found 0,
/// wanted 1`.
fn cve_2025_52565_a_console_that_is_swapped_mounts_nothing_outside(ctx: &Ctx) -> Outcome {
    let bait = bait(ctx)?;
    let b = with_terminal(Bundle::new(ctx)?).args(&SLEEP);
    let dev = b.rootfs().join("dev");
    fs::write(dev.join("console"), "")?;
    symlink(&bait, dev.join("link"))?;
    let pair = (dev.join("console"), dev.join("link"));
    let path = ctx.dir.join("console");
    let socket = FdSocket::bind(&path)?;
    let options = ["--console-socket", &path.to_string_lossy()];
    let mut after = |pid| {
        let points = mount_points(pid)?;
        let ptys = points
            .iter()
            .filter(|(point, kind, _)| kind == "devpts" && point != "/dev/pts");
        check_eq!(ptys.count(), 1, "mounts of a pty inside the root");
        Ok(())
    };
    let made = raced(ctx, b, &options, pair, &mut nothing, &mut after)?;
    drop(socket);
    check!(made >= ENOUGH, "only {made} containers could be made");
    unchanged(&bait)?;
    ctx.nothing_left()
}

/// Seen to fail: with `handle` alone in `rootfs/resolve.rs:place`: `a mount over procfs:
/// /proc/sys/net/ipv4`.
fn cve_2025_52881_a_swapped_destination_does_not_catch_labels_or_sysctls(ctx: &Ctx) -> Outcome {
    let bait = bait(ctx)?;
    let fake = ctx.dir.join("fake");
    fs::create_dir(&fake)?;
    symlink(&bait, fake.join("ip_forward"))?;
    let (volume, pair) = shared_volume(ctx, Path::new("/proc/sys/net/ipv4"))?;
    let b = Bundle::new(ctx)?
        .mount("/srv", "bind", &volume.to_string_lossy(), &["rbind"])
        .mount("/srv/place", "bind", &fake.to_string_lossy(), &["bind"])
        .args(&SLEEP);
    let mut after = |pid: i32| {
        for (point, ..) in mount_points(pid)? {
            check!(!point.starts_with("/proc/"), "a mount over procfs: {point}");
        }
        unchanged(&bait)
    };
    let made = raced(
        ctx,
        b,
        &[],
        pair,
        &mut |b, n| match n % 2 {
            // Without a sysctl nothing stands in the way of the mount itself.
            0 => b.remove("/linux/sysctl"),
            _ => b.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"})),
        },
        &mut after,
    )?;
    check!(made >= ENOUGH, "only {made} containers could be made");
    unchanged(&bait)?;
    ctx.nothing_left()
}
