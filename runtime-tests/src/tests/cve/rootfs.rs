//! Links in the image in place of what the runtime makes, opens or mounts on.

use super::{proc_only, removed, replace_by_link, trap, tried, untouched, with_terminal};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::Outcome;
use crate::{check, check_eq, tests};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

tests!("cve":
    cve_2015_3629_mount_destinations_that_are_links_stay_in_the_rootfs,
    cve_2019_18837_chains_of_links_do_not_lead_out_of_the_rootfs,
    cve_2026_41579_a_dev_that_is_a_link_does_not_reach_the_host,
    cve_2026_47766_devices_are_not_made_behind_a_dev_that_is_a_link,
    cve_2026_88264_a_console_that_is_a_link_makes_no_file_on_the_host,
    cve_2026_115521_a_read_only_root_needs_no_proc_of_the_image,
    crun_1_31_no_kind_of_mount_follows_a_link_from_the_hosts_root,
);

/// Makes each kind of mount on `destination`, which must do nothing outside.
fn every_kind_on(ctx: &Ctx, destination: &str, links: &dyn Fn(&Path) -> Outcome) -> Outcome {
    let (dir, file) = (ctx.dir.join("a-source"), ctx.dir.join("a-file"));
    fs::create_dir_all(&dir)?;
    fs::write(&file, "")?;
    let (dir, file) = (dir.to_string_lossy(), file.to_string_lossy());
    let kinds: [(&str, &str, &[&str]); 8] = [
        ("bind", &dir, &["bind"]),
        ("bind", &file, &["bind"]),
        ("tmpfs", "tmpfs", &[]),
        ("tmpfs", "tmpfs", &["tmpcopyup"]),
        ("devpts", "devpts", &["newinstance"]),
        ("mqueue", "mqueue", &[]),
        ("sysfs", "sysfs", &[]),
        ("cgroup", "cgroup", &[]),
    ];
    for (kind, source, options) in kinds {
        let b = Bundle::new(ctx)?.mount(destination, kind, source, options);
        links(&b.rootfs())?;
        tried(ctx, &b)?;
    }
    Ok(())
}

/// Seen to fail: without RESOLVE_IN_ROOT in `rootfs/resolve.rs:open_resolved`:
/// `made on the host through a link: ["deep"]`.
fn cve_2015_3629_mount_destinations_that_are_links_stay_in_the_rootfs(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let up = format!("{}{}", "../".repeat(20), trap.display());
    for text in [trap.to_string_lossy().as_ref(), &up] {
        let links = |rootfs: &Path| Ok(symlink(text, rootfs.join("link"))?);
        every_kind_on(ctx, "/link/deep/place", &links)?;
        untouched(&trap)?;
    }
    ctx.nothing_left()
}

/// Seen to fail: with the file made by open with O_CREAT, which follows links, in
/// `rootfs/resolve.rs:make_missing`, and without RESOLVE_IN_ROOT in
/// `rootfs/resolve.rs:open_resolved`: `made on the host through a link: ["made"]`.
fn cve_2019_18837_chains_of_links_do_not_lead_out_of_the_rootfs(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let (dir, file) = (ctx.dir.join("source"), ctx.dir.join("file"));
    fs::create_dir(&dir)?;
    fs::write(&file, "")?;
    // The last of them leads to what is not there, so that it has to be made, or to where it is
    // to be made.
    for (source, destination, last) in [
        (&dir, "/one", trap.join("made")),
        (&file, "/one", trap.join("made")),
        (&dir, "/one/made", trap.clone()),
        (&file, "/one/made", trap.clone()),
    ] {
        let b = Bundle::new(ctx)?.mount(destination, "bind", &source.to_string_lossy(), &["bind"]);
        symlink("etc/two", b.rootfs().join("one"))?;
        symlink("../three", b.rootfs().join("etc/two"))?;
        symlink(last, b.rootfs().join("three"))?;
        tried(ctx, &b)?;
        untouched(&trap)?;
    }
    ctx.nothing_left()
}

/// Seen to fail: with `resolve::handle` in place of `handle_without_links` in
/// `rootfs/mounts.rs:own_directory`, and without RESOLVE_IN_ROOT: `ptmx on the host: found "",
/// wanted "of the host"`.
fn cve_2026_41579_a_dev_that_is_a_link_does_not_reach_the_host(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    // runc removed the ptmx that it found behind the link and made its own links there.
    fs::write(trap.join("ptmx"), "of the host")?;
    let b = proc_only(Bundle::new(ctx)?);
    replace_by_link(&b, "dev", &trap)?;
    tried(ctx, &b)?;
    let text = fs::read_to_string(trap.join("ptmx")).unwrap_or_default();
    check_eq!(text, "of the host", "ptmx on the host");
    fs::remove_file(trap.join("ptmx"))?;
    untouched(&trap)?;
    ctx.nothing_left()
}

/// Seen to fail: with `resolve::handle` in place of `handle_without_links` in
/// `rootfs/mounts.rs:own_directory`, and without RESOLVE_IN_ROOT: `made on the host through a
/// link: ["stdin", "stderr", "full", …]`.
fn cve_2026_47766_devices_are_not_made_behind_a_dev_that_is_a_link(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    // Also behind a folder of it, where devices of the configuration go.
    for name in ["dev", "dev/sub"] {
        let fuse = json!({"path": "/dev/sub/fuse", "type": "c", "major": 10, "minor": 229});
        let b = proc_only(Bundle::new(ctx)?).push("/linux/devices", fuse);
        replace_by_link(&b, name, &trap)?;
        tried(ctx, &b)?;
        untouched(&trap)?;
        // In a user namespace the nodes are binds, whose places are made.
        let b = b.user_namespace();
        tried(ctx, &b)?;
        untouched(&trap)?;
    }
    ctx.nothing_left()
}

/// Seen to fail: with the file made by open with O_CREAT, which follows links, in
/// `rootfs/resolve.rs:make_missing`: `made on the host through a link: ["made"]`.
fn cve_2026_88264_a_console_that_is_a_link_makes_no_file_on_the_host(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let b = with_terminal(Bundle::new(ctx)?);
    replace_by_link(&b, "dev/console", trap.join("made"))?;
    let socket = crate::sockets::FdSocket::bind(&ctx.dir.join("console"))?;
    let path = socket.path.to_string_lossy().into_owned();
    b.verb("create", &["--console-socket", &path])?.run()?;
    removed(ctx, &b)?;
    untouched(&trap)?;
    ctx.nothing_left()
}

/// crun made it read-only at the end through /proc/self/fd, which was the image's by then.
///
/// Seen to fail: without `set_attr(root, …, READ_ONLY)` in `launch/init.rs:file_system`:
/// `the root file system can be written: made`.
fn cve_2026_115521_a_read_only_root_needs_no_proc_of_the_image(ctx: &Ctx) -> Outcome {
    for fake_proc in [false, true] {
        let volume = ctx.dir.join(format!("volume{fake_proc}"));
        fs::create_dir(&volume)?;
        let mut b = Bundle::new(ctx)?
            .set("/root/readonly", true)
            .set("/mounts", json!([]))
            .mount("/srv", "bind", &volume.to_string_lossy(), &["bind", "ro"])
            .shell("touch /made /srv/made 2>/dev/null; ls / /srv");
        if fake_proc {
            // An image's /proc that shows other places than the descriptors.
            fs::create_dir_all(b.rootfs().join("proc/self/fd"))?;
            fs::create_dir_all(b.rootfs().join("proc/thread-self"))?;
            symlink("../self/fd", b.rootfs().join("proc/thread-self/fd"))?;
            for number in 0..64 {
                symlink("/tmp", b.rootfs().join(format!("proc/self/fd/{number}")))?;
            }
        }
        b = b.set("/linux/maskedPaths", json!([]));
        let said = b.run()?.ok()?.stdout;
        let made: Vec<_> = said.lines().filter(|line| *line == "made").collect();
        check!(
            made.is_empty(),
            "the root file system can be written: {}",
            made.join(" ")
        );
    }
    ctx.nothing_left()
}

/// Seen to fail: without RESOLVE_IN_ROOT in `rootfs/resolve.rs:open_resolved`: `the tmpfs is not
/// inside the root: …`.
fn crun_1_31_no_kind_of_mount_follows_a_link_from_the_hosts_root(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    // The link's last component is there: nothing has to be made, only mounted on. A volume
    // binds the very folder into the container, where a mount on it would be seen.
    let links = |rootfs: &Path| Ok(symlink(&trap, rootfs.join("link"))?);
    every_kind_on(ctx, "/link", &links)?;
    untouched(&trap)?;
    for (kind, options) in [("tmpfs", &[] as &[&str]), ("sysfs", &[]), ("mqueue", &[])] {
        let b = Bundle::new(ctx)?
            .mount("/link", kind, "from-the-config", options)
            .mount("/srv", "bind", &trap.to_string_lossy(), &["rbind"])
            .args(&super::SLEEP);
        links(&b.rootfs())?;
        if b.verb::<&str>("create", &[])?.run()?.code != 0 {
            continue;
        }
        let state = ctx.rt(&["state", &b.id]).run()?.ok()?;
        let state: serde_json::Value = serde_json::from_str(&state.stdout)?;
        let points = super::mount_points(state["pid"].as_i64().unwrap_or(0) as i32)?;
        let at_srv = points.iter().filter(|(point, ..)| point == "/srv").count();
        check_eq!(at_srv, 1, "mounts at the host's folder with a {kind}");
        let inside = trap.to_string_lossy();
        check!(
            points.iter().any(|(point, ..)| *point == *inside),
            "the {kind} is not inside the root: {points:?}"
        );
        removed(ctx, &b)?;
    }
    ctx.nothing_left()
}
