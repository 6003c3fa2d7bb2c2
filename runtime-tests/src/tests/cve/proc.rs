//! /proc: what may not be there, may not be mounted over it, may not be written by the container.

use super::{bait, proc_mount, replace_by_link, trap, tried, unchanged, untouched};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::tests::engines;
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

tests!("cve":
    cve_2015_3630_what_the_engine_masks_in_proc_cannot_be_read_or_written,
    cve_2015_3631_mounts_inside_proc_are_refused,
    cve_2019_16884_a_volume_over_proc_is_refused,
    cve_2019_19921_a_proc_that_is_a_link_into_a_volume_is_refused,
    cve_2023_27561_a_proc_behind_a_link_is_refused_in_any_order_of_mounts,
    cve_2023_28642_a_linked_proc_does_not_lose_the_label,
    cve_2025_54867_a_linked_proc_or_sys_is_refused,
    cve_2025_52881_labels_are_not_written_into_a_volume_over_proc,
    cve_2025_62596_sysctls_are_not_redirected_by_a_volume_over_proc,
);

/// Seen to fail: without the call of `masks::make_readonly` in `launch/init.rs:file_system`:
/// `/proc/bus of the read-only paths can be written`; without that of `masks::mask`:
/// `/proc/interrupts of the masked paths is no mask: …`.
fn cve_2015_3630_what_the_engine_masks_in_proc_cannot_be_read_or_written(ctx: &Ctx) -> Outcome {
    let linux = engines::config("docker")?["linux"].clone();
    let b = Bundle::new(ctx)?
        .set("/linux/maskedPaths", linux["maskedPaths"].clone())
        .set("/linux/readonlyPaths", linux["readonlyPaths"].clone())
        .args(&super::SLEEP);
    let c = b.create()?;
    let root = format!("/proc/{}/root", c.pid()?);
    let paths = |list: &str| -> Vec<String> {
        let list = linux[list].as_array().cloned().unwrap_or_default();
        let texts = list.iter().filter_map(Value::as_str).map(str::to_string);
        texts.filter(|path| Path::new(path).exists()).collect()
    };
    let (masked, read_only) = (paths("maskedPaths"), paths("readonlyPaths"));
    check!(!masked.is_empty() && !read_only.is_empty(), "no paths");
    for path in masked {
        let seen = format!("{root}{path}");
        let stat = rustix::fs::stat(&seen).because(&seen)?;
        let empty = match fs::metadata(&seen)?.is_dir() {
            true => fs::read_dir(&seen)?.count() == 0,
            false => stat.st_rdev == rustix::fs::makedev(1, 3),
        };
        check!(empty, "{path} of the masked paths is no mask: {stat:?}");
    }
    for path in read_only {
        let seen = format!("{root}{path}");
        let flags = rustix::fs::statvfs(&seen).because(&seen)?.f_flag;
        check!(
            flags.contains(rustix::fs::StatVfsMountFlags::RDONLY),
            "{path} of the read-only paths can be written"
        );
    }
    Ok(())
}

/// Seen to fail: with every file allowed in `config/check/mounts.rs:check_proc`: `exit code 0
/// instead of 1`; through links, with `handle` alone in `rootfs/resolve.rs:place`: the same.
fn cve_2015_3631_mounts_inside_proc_are_refused(ctx: &Ctx) -> Outcome {
    let volume = ctx.dir.join("volume");
    fs::create_dir(&volume)?;
    let volume = volume.to_string_lossy();
    for inside in ["/proc/sys", "/proc/self/attr", "/proc/irq", "/proc/1/fd"] {
        for (kind, options) in [("bind", &["bind"] as &[&str]), ("tmpfs", &[])] {
            let named = Bundle::new(ctx)?.mount(inside, kind, &volume, options);
            named.create_refused()?.says(&["proc"])?;
            let linked = Bundle::new(ctx)?.mount("/srv", kind, &volume, options);
            replace_by_link(&linked, "srv", inside)?;
            linked.create_refused()?.says(&["/srv"])?;
            let deep = Bundle::new(ctx)?.mount("/srv/deep", kind, &volume, options);
            replace_by_link(&deep, "srv", inside)?;
            deep.create_refused()?.says(&["/srv"])?;
        }
    }
    ctx.nothing_left()
}

/// Seen to fail: without the look at the source of a bind on /proc in
/// `rootfs/mounts.rs:make_one`: `exit code 0 instead of 1`.
fn cve_2019_16884_a_volume_over_proc_is_refused(ctx: &Ctx) -> Outcome {
    let volume = ctx.dir.join("volume");
    fs::create_dir_all(volume.join("self/attr/apparmor"))?;
    let source = volume.to_string_lossy();
    let over: [(&str, &[&str]); 3] = [("bind", &["rbind"]), ("none", &["bind"]), ("tmpfs", &[])];
    for (kind, options) in over {
        for destination in ["/proc", "/proc/", "//proc", "/mnt/../proc"] {
            let mount = json!({"destination": destination, "type": kind, "source": source,
                               "options": options});
            // In place of the procfs, and over it.
            let instead = Bundle::new(ctx)?.set("/mounts", json!([mount]));
            instead.create_refused()?.says(&["proc"])?;
            let over = Bundle::new(ctx)?.push("/mounts", mount);
            over.create_refused()?.says(&["proc"])?;
        }
    }
    // A procfs may be bound, as containers without a pid namespace of their own have it.
    let b = Bundle::new(ctx)?.without_namespace("pid").set(
        "/mounts",
        json!([{"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}]),
    );
    b.run()?.ok()?;
    ctx.nothing_left()
}

/// Seen to fail: with `resolve::handle` in place of `handle_without_links` in
/// `rootfs/mounts.rs:own_directory`: `exit code 0 instead of 1`.
fn cve_2019_19921_a_proc_that_is_a_link_into_a_volume_is_refused(ctx: &Ctx) -> Outcome {
    let volume = ctx.dir.join("volume");
    fs::create_dir_all(volume.join("proc"))?;
    let b = Bundle::new(ctx)?;
    let mut mounts = b.config["mounts"].as_array().cloned().unwrap_or_default();
    mounts.insert(
        0,
        json!({"destination": "/srv", "type": "bind", "source": volume, "options": ["bind"]}),
    );
    let b = b.set("/mounts", json!(mounts));
    replace_by_link(&b, "proc", "/srv/proc")?;
    b.create_refused()?
        .says(&["/destination: cannot open or make /proc"])?;
    untouched(&volume.join("proc"))
}

/// Seen to fail: with `resolve::handle` in place of `handle_without_links` in
/// `rootfs/mounts.rs:own_directory`: `exit code 0 instead of 1`.
fn cve_2023_27561_a_proc_behind_a_link_is_refused_in_any_order_of_mounts(ctx: &Ctx) -> Outcome {
    let tmpfs = json!({"destination": "/x", "type": "tmpfs", "source": "tmpfs"});
    for mounts in [
        json!([proc_mount()]),
        json!([tmpfs, proc_mount()]),
        json!([proc_mount(), tmpfs]),
    ] {
        for text in ["/x", "x", "/x/deep", "./x/../x"] {
            let b = Bundle::new(ctx)?.set("/mounts", mounts.clone());
            fs::create_dir_all(b.rootfs().join("x/deep"))?;
            replace_by_link(&b, "proc", text)?;
            b.create_refused()?
                .says(&["/destination: cannot open or make /proc"])?;
        }
    }
    ctx.nothing_left()
}

/// Seen to fail: with `resolve::handle` in place of `handle_without_links` in
/// `rootfs/mounts.rs:own_directory`: `stderr lacks …: /process/apparmorProfile: cannot set the
/// security label`, that is, the container came as far as the label.
fn cve_2023_28642_a_linked_proc_does_not_lose_the_label(ctx: &Ctx) -> Outcome {
    // The label would go to a file that the image has prepared.
    let b = Bundle::new(ctx)?.set("/process/apparmorProfile", "corten-test");
    for dir in ["self", "thread-self"] {
        let dir = b.rootfs().join("fake").join(dir).join("attr/apparmor");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("exec"), "")?;
        fs::write(dir.with_file_name("exec"), "")?;
    }
    replace_by_link(&b, "proc", "/fake")?;
    b.create_refused()?
        .says(&["/destination: cannot open or make /proc"])?;
    let written = fs::read(b.rootfs().join("fake/self/attr/apparmor/exec"))?;
    check!(written.is_empty(), "the label is in the image's file");
    Ok(())
}

/// Seen to fail: with `resolve::handle` in place of `handle_without_links` in
/// `rootfs/mounts.rs:own_directory`: `exit code 0 instead of 1`.
fn cve_2025_54867_a_linked_proc_or_sys_is_refused(ctx: &Ctx) -> Outcome {
    for name in ["proc", "sys"] {
        let trap = trap(ctx)?;
        for target in [trap.to_string_lossy().as_ref(), "/mnt"] {
            let b = Bundle::new(ctx)?;
            replace_by_link(&b, name, target)?;
            b.create_refused()?
                .says(&[&format!("/destination: cannot open or make /{name}")])?;
            untouched(&trap)?;
        }
    }
    Ok(())
}

/// A volume with files for labels, each of them as `make` makes it.
fn fake_attr(ctx: &Ctx, make: &dyn Fn(&Path) -> Outcome) -> Outcome<std::path::PathBuf> {
    let volume = ctx.dir.join(format!("attr{}", ctx.next()));
    fs::create_dir_all(volume.join("apparmor"))?;
    for name in ["exec", "apparmor/exec", "current", "keycreate"] {
        make(&volume.join(name))?;
    }
    Ok(volume)
}

/// Seen to fail: with `handle` alone in `rootfs/resolve.rs:place`, and without NO_XDEV in
/// `sys/stub/main.rs:write_labels`: `a file of the host was written to: "exec corten-test"`.
/// Either guard alone holds.
fn cve_2025_52881_labels_are_not_written_into_a_volume_over_proc(ctx: &Ctx) -> Outcome {
    let bait = bait(ctx)?;
    for linked in [false, true] {
        let volume = fake_attr(ctx, &|file| match linked {
            false => Ok(fs::copy(&bait, file).map(drop)?),
            true => Ok(symlink(&bait, file)?),
        })?;
        for inside in ["/proc/self/attr", "/proc/thread-self/attr", "/proc/1/attr"] {
            let b = Bundle::new(ctx)?
                .mount("/srv", "bind", &volume.to_string_lossy(), &["bind"])
                .set("/process/apparmorProfile", "corten-test");
            replace_by_link(&b, "srv", inside)?;
            tried(ctx, &b)?;
            unchanged(&bait)?;
            unchanged(&volume.join("apparmor/exec"))?;
            unchanged(&volume.join("exec"))?;
        }
    }
    ctx.nothing_left()
}

/// Seen to fail: with `handle` alone in `rootfs/resolve.rs:place`, and with plain openat in
/// `rootfs/resolve.rs:open_own`: `a file of the host was written to: "1f the host\n"`. Either
/// guard alone holds.
fn cve_2025_62596_sysctls_are_not_redirected_by_a_volume_over_proc(ctx: &Ctx) -> Outcome {
    // The value of a sysctl in any file of the host: what runc's and youki's allowed.
    let bait = bait(ctx)?;
    for linked in [false, true] {
        let volume = ctx.dir.join(format!("volume{linked}"));
        fs::create_dir(&volume)?;
        let file = volume.join("ip_forward");
        match linked {
            false => fs::copy(&bait, &file).map(drop)?,
            true => symlink(&bait, &file)?,
        }
        let b = Bundle::new(ctx)?
            .mount("/srv", "bind", &volume.to_string_lossy(), &["bind"])
            .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
        replace_by_link(&b, "srv", "/proc/sys/net/ipv4")?;
        tried(ctx, &b)?;
        unchanged(&bait)?;
        unchanged(&file)?;
    }
    // And where it belongs it is written.
    let b = Bundle::new(ctx)?.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    check_eq!(
        b.says("cat /proc/sys/net/ipv4/ip_forward")?,
        "1",
        "net.ipv4.ip_forward"
    );
    ctx.nothing_left()
}
