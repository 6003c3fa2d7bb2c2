//! Mounts and symbolic links: crun's words for them, and where links may not lead.

use super::mounts::volume;
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::Outcome;
use crate::{check_eq, tests};
use std::fs;
use std::os::unix::fs::symlink;

tests!("mounts_links":
    copy_symlink_makes_the_same_link,
    copy_symlink_of_what_is_no_link_is_a_bind,
    copy_symlink_never_replaces_what_is_there,
    src_nofollow_binds_the_link_itself,
    dest_nofollow_covers_the_link_and_not_its_target,
    words_for_links_work_in_a_user_namespace,
    words_for_links_that_contradict_are_refused,
    a_destination_behind_a_link_into_proc_is_refused,
    a_destination_that_is_a_link_to_the_root_is_refused,
    only_a_procfs_is_bound_on_proc,
    files_of_lxcfs_are_bound_in_proc,
);

/// A volume with a link of a text that leads nowhere but by chance.
fn with_link(ctx: &Ctx, text: &str) -> Outcome<String> {
    let dir = volume(ctx)?;
    symlink(text, format!("{dir}/link"))?;
    Ok(dir)
}

fn copy_symlink_makes_the_same_link(ctx: &Ctx) -> Outcome {
    let dir = with_link(ctx, "../some/where")?;
    let source = format!("{dir}/link");
    let b = Bundle::new(ctx)?
        .mount("/new/dir/link", "bind", &source, &["bind", "copy-symlink"])
        .mount("/top", "bind", &source, &["rbind", "copy-symlink", "ro"])
        .mount("/etc/there", "bind", &source, &["bind", "copy-symlink"]);
    symlink("../some/where", b.rootfs().join("etc/there"))?;
    let said = b.says(
        "readlink /new/dir/link; readlink /top; readlink /etc/there; \
         grep -cE ' (/new/dir/link|/top|/etc/there) ' /proc/self/mountinfo; true",
    )?;
    let text = "../some/where\n";
    check_eq!(
        said,
        format!("{text}{text}{text}0"),
        "links, and mounts on them"
    );
    ctx.nothing_left()
}

fn copy_symlink_of_what_is_no_link_is_a_bind(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?
        .mount("/d", "bind", &dir, &["bind", "copy-symlink"])
        .mount(
            "/f",
            "bind",
            &format!("{dir}/file"),
            &["bind", "copy-symlink"],
        );
    check_eq!(b.says("cat /d/file /f")?, "content\ncontent", "files");
    Ok(())
}

fn copy_symlink_never_replaces_what_is_there(ctx: &Ctx) -> Outcome {
    let dir = with_link(ctx, "text")?;
    let source = format!("{dir}/link");
    let links = [Some("other"), None];
    for other in links {
        let b = Bundle::new(ctx)?.mount("/etc/x", "bind", &source, &["bind", "copy-symlink"]);
        match other {
            Some(text) => symlink(text, b.rootfs().join("etc/x"))?,
            None => fs::write(b.rootfs().join("etc/x"), "kept")?,
        }
        b.create_refused()?
            .says(&["/mounts/6/destination"])?
            .says(&["/etc/x"])?;
    }
    Ok(())
}

fn src_nofollow_binds_the_link_itself(ctx: &Ctx) -> Outcome {
    let dir = with_link(ctx, "file")?;
    let source = format!("{dir}/link");
    let place = |b: Bundle<'_>| -> Outcome<String> {
        symlink("nowhere", b.rootfs().join("etc/place"))?;
        b.says("readlink /etc/place; cat /etc/place; true")
    };
    let b = Bundle::new(ctx)?;
    let both = b.mount(
        "/etc/place",
        "bind",
        &source,
        &["bind", "src-nofollow", "dest-nofollow"],
    );
    check_eq!(
        place(both)?,
        "file",
        "the link of the volume on the link of the image"
    );
    let b = Bundle::new(ctx)?;
    let dest = b.mount("/etc/place", "bind", &source, &["bind", "dest-nofollow"]);
    symlink("nowhere", dest.rootfs().join("etc/place"))?;
    check_eq!(
        dest.says("cat /etc/place")?,
        "content",
        "what the source leads to"
    );
    Ok(())
}

fn dest_nofollow_covers_the_link_and_not_its_target(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let file = format!("{dir}/file");
    for (options, target) in [
        (&["bind", "dest-nofollow"] as &[_], "old"),
        (&["bind"], "content"),
    ] {
        let b = Bundle::new(ctx)?.mount("/etc/a", "bind", &file, options);
        fs::write(b.rootfs().join("etc/target"), "old\n")?;
        symlink("target", b.rootfs().join("etc/a"))?;
        check_eq!(
            b.says("cat /etc/a; cat /etc/target")?,
            format!("content\n{target}"),
            "files with {options:?}"
        );
    }
    // Without a link there is nothing to say; what is missing is made.
    let b = Bundle::new(ctx)?.mount("/new/file", "bind", &file, &["bind", "dest-nofollow"]);
    check_eq!(
        b.says("cat /new/file")?,
        "content",
        "a file that was missing"
    );
    Ok(())
}

fn words_for_links_work_in_a_user_namespace(ctx: &Ctx) -> Outcome {
    let dir = with_link(ctx, "file")?;
    let source = format!("{dir}/link");
    // The init could not enter it.
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let b = Bundle::new(ctx)?
        .user_namespace()
        .mount("/tmp/t", "tmpfs", "tmpfs", &[])
        .mount("/tmp/t/copy", "bind", &source, &["bind", "copy-symlink"])
        .mount(
            "/etc/a",
            "bind",
            &source,
            &["bind", "src-nofollow", "dest-nofollow"],
        );
    fs::set_permissions(
        b.rootfs().join("tmp"),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )?;
    symlink("nowhere", b.rootfs().join("etc/a"))?;
    check_eq!(
        b.says("readlink /tmp/t/copy; readlink /etc/a")?,
        "file\nfile",
        "links"
    );
    Ok(())
}

fn words_for_links_that_contradict_are_refused(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    for (kind, options) in [
        ("bind", &["bind", "copy-symlink", "src-nofollow"] as &[_]),
        ("bind", &["bind", "copy-symlink", "dest-nofollow"]),
        ("tmpfs", &["copy-symlink"]),
        ("tmpfs", &["src-nofollow"]),
        ("mqueue", &["tmpcopyup"]),
    ] {
        Bundle::new(ctx)?
            .mount("/v", kind, &dir, options)
            .create_refused()?
            .says(&["/mounts/6/options"])?;
    }
    Ok(())
}

fn a_destination_behind_a_link_into_proc_is_refused(ctx: &Ctx) -> Outcome {
    // CVE-2019-16884 by way of a link, which the text of config.json does not show.
    let dir = volume(ctx)?;
    for (link, text, destination) in [
        ("etc/p", "/proc", "/etc/p/sys"),
        ("etc/p", "../proc/self", "/etc/p/attr"),
        ("etc/p", "/proc/sys", "/etc/p"),
        ("etc/p", "/proc", "/etc/p"),
    ] {
        let mut b = Bundle::new(ctx)?.mount(destination, "bind", &dir, &["bind"]);
        symlink(text, b.rootfs().join(link))?;
        b.create_refused()?.says(&["/mounts/6/destination"])?;
        b = Bundle::new(ctx)?.mount(destination, "tmpfs", "tmpfs", &[]);
        symlink(text, b.rootfs().join(link))?;
        b.create_refused()?;
    }
    // The link itself lies in a procfs.
    let b = Bundle::new(ctx)?.mount(
        "/etc/p/self",
        "bind",
        &format!("{dir}/file"),
        &["bind", "dest-nofollow"],
    );
    symlink("/proc", b.rootfs().join("etc/p"))?;
    b.create_refused()?.says(&["/mounts/6/destination"])?;
    Ok(())
}

fn a_destination_that_is_a_link_to_the_root_is_refused(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    for text in ["/", "..", "../../.."] {
        let b = Bundle::new(ctx)?.mount("/etc/r", "bind", &dir, &["bind"]);
        symlink(text, b.rootfs().join("etc/r"))?;
        b.create_refused()?.says(&["/mounts/6/destination"])?;
    }
    Ok(())
}

fn only_a_procfs_is_bound_on_proc(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    for source in [dir.as_str(), "/proc/sys", "/sys"] {
        let b = Bundle::new(ctx)?.mount("/proc", "bind", source, &["rbind"]);
        b.create_refused()?
            .says(&["/mounts/6"])?
            .says(&["procfs"])?;
    }
    let b = Bundle::new(ctx)?.mount("/proc", "bind", "/proc", &["rbind"]);
    check_eq!(b.says("cat /proc/1/comm | wc -l")?, "1", "the host's /proc");
    Ok(())
}

fn files_of_lxcfs_are_bound_in_proc(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let file = format!("{dir}/file");
    let names = [
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
    ];
    let mut b = Bundle::new(ctx)?;
    for name in names {
        b = b.mount(&format!("/proc/{name}"), "bind", &file, &["bind", "ro"]);
    }
    let said = b.says("cd /proc; cat cpuinfo diskstats meminfo stat swaps uptime loadavg")?;
    check_eq!(
        said.matches("content").count(),
        names.len(),
        "files bound in /proc"
    );
    Ok(())
}
