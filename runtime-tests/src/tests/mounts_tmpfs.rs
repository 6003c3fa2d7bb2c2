//! tmpfs: whose mode it has, and what it is filled with.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::Outcome;
use crate::{check, check_eq, tests};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

tests!("mounts_tmpfs":
    a_tmpfs_inherits_the_mode_of_the_directory_that_it_covers,
    a_tmpfs_on_a_missing_directory_is_open_to_all,
    tmpcopyup_copies_files_links_modes_and_owners,
    tmpcopyup_keeps_the_mode_and_owner_that_options_give,
    tmpcopyup_of_a_missing_directory_is_empty,
);

fn dir_with(b: &Bundle, name: &str, mode: u32) -> Outcome {
    let dir = b.rootfs().join(name);
    fs::create_dir_all(&dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn a_tmpfs_inherits_the_mode_of_the_directory_that_it_covers(ctx: &Ctx) -> Outcome {
    for user in [false, true] {
        // In one call, detached, filled.
        for words in [
            &[] as &[&str],
            &["private"],
            &["tmpcopyup"],
            &["ro", "size=1m"],
        ] {
            let mut b = Bundle::new(ctx)?;
            for (name, mode) in [("m/a", 0o700), ("m/b", 0o1777), ("m/c", 0o2751)] {
                dir_with(&b, name, mode)?;
                chown(b.rootfs().join(name), Some(100_000), Some(100_000))?;
                b = b.mount(&format!("/{name}"), "tmpfs", "tmpfs", words);
            }
            dir_with(&b, "m/given", 0o700)?;
            chown(b.rootfs().join("m/given"), Some(100_000), Some(100_000))?;
            let given: Vec<&str> = words.iter().copied().chain(["mode=0711"]).collect();
            b = b.mount("/m/given", "tmpfs", "tmpfs", &given);
            if user {
                b = b.user_namespace();
            }
            check_eq!(
                b.says("stat -c %a /m/a /m/b /m/c /m/given")?,
                "700\n1777\n2751\n711",
                "modes with {words:?}, with a user namespace: {user}"
            );
        }
    }
    Ok(())
}

fn a_tmpfs_on_a_missing_directory_is_open_to_all(ctx: &Ctx) -> Outcome {
    // As runc and crun have it: there is no mode to inherit, and the kernel's is 1777.
    for words in [&[] as &[&str], &["private"]] {
        let b = Bundle::new(ctx)?.mount("/not/there", "tmpfs", "tmpfs", words);
        check_eq!(
            b.says("stat -c %a /not /not/there")?,
            "755\n1777",
            "modes with {words:?}"
        );
    }
    Ok(())
}

fn tmpcopyup_copies_files_links_modes_and_owners(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.mount(
        "/held",
        "tmpfs",
        "tmpfs",
        &["tmpcopyup", "nosuid", "size=1m"],
    );
    dir_with(&b, "held", 0o2750)?;
    dir_with(&b, "held/sub", 0o1701)?;
    let held = b.rootfs().join("held");
    fs::write(held.join("file"), "x".repeat(70_000))?;
    fs::write(held.join("sub/deep"), "deep\n")?;
    symlink("/etc/passwd", held.join("link"))?;
    fs::set_permissions(held.join("file"), fs::Permissions::from_mode(0o640))?;
    chown(held.join("file"), Some(12), Some(34))?;
    chown(&held, Some(56), Some(78))?;
    let rootfs = b.rootfs();
    let said = b.says(
        "cd /held; stat -c '%n %a %u:%g %s' file; stat -c '%a %u:%g' . ; stat -c %a sub; cat sub/deep; \
         readlink link; echo changed >file; rm -r sub; grep ' /held ' /proc/self/mountinfo",
    )?;
    check!(
        said.starts_with("file 640 12:34 70000\n2750 56:78\n1701\ndeep\n/etc/passwd\n"),
        "the copy: {said}"
    );
    check!(
        said.contains("nosuid") && said.contains("size=1024k"),
        "options: {said}"
    );
    check_eq!(
        fs::metadata(rootfs.join("held/file"))?.len(),
        70_000,
        "size of the original"
    );
    check!(
        rootfs.join("held/sub/deep").exists(),
        "the original was changed"
    );
    ctx.nothing_left()
}

fn tmpcopyup_keeps_the_mode_and_owner_that_options_give(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .mount("/a", "tmpfs", "tmpfs", &["tmpcopyup", "mode=1777", "uid=5"])
        .mount("/b", "tmpfs", "tmpfs", &["tmpcopyup", "gid=6"]);
    for name in ["a", "b"] {
        dir_with(&b, name, 0o700)?;
        chown(b.rootfs().join(name), Some(1), Some(2))?;
    }
    check_eq!(
        b.says("stat -c '%a %u:%g' /a /b")?,
        "1777 5:2\n700 1:6",
        "roots"
    );
    Ok(())
}

fn tmpcopyup_of_a_missing_directory_is_empty(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.mount("/not/there", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]);
    check_eq!(b.says("ls -A /not/there | wc -l")?, "0", "entries");
    Ok(())
}
