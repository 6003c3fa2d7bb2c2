//! `remount` in `mounts[].options`, and binds of sources that have flags.

use super::mounts::volume;
use super::mounts_options::{facts_within, flagged};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::Outcome;
use crate::{check, check_eq, tests};

tests!("mounts_remount":
    remount_changes_a_file_system,
    a_remount_of_a_bind_keeps_what_is_not_named,
    a_remount_in_a_user_namespace_keeps_the_flags_of_the_source,
    a_plain_remount_in_a_user_namespace_is_refused_with_a_hint,
    a_bind_in_a_user_namespace_of_a_source_with_flags_keeps_them,
    a_remount_of_what_is_no_mount_is_refused,
);

fn remount_changes_a_file_system(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .mount("/t", "tmpfs", "tmpfs", &["size=1m"])
        .mount("/t/sub", "tmpfs", "tmpfs", &[])
        .mount(
            "/t",
            "tmpfs",
            "tmpfs",
            &["remount", "ro", "size=2m", "nosuid"],
        );
    let said =
        b.says("grep ' /t ' /proc/self/mountinfo; touch /t/x 2>&1; touch /t/sub/x && echo fine")?;
    check!(
        said.contains("ro,nosuid") && said.contains("size=2048k"),
        "remounted: {said}"
    );
    check!(
        said.contains("Read-only") && said.ends_with("fine"),
        "writes: {said}"
    );
    Ok(())
}

fn a_remount_of_a_bind_keeps_what_is_not_named(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let facts = Bundle::new(ctx)?
        .mount(
            "/v",
            "bind",
            &dir,
            &["bind", "nosuid", "nodev", "noexec", "noatime"],
        )
        .mount("/v", "bind", &dir, &["remount", "bind", "ro", "exec"])
        .facts()?;
    let found = &facts.mount("/v")?[5];
    check_eq!(found, "ro,nosuid,nodev,noatime", "flags after the remount");
    Ok(())
}

fn a_remount_in_a_user_namespace_keeps_the_flags_of_the_source(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let bind = ["bind"];
    let b = Bundle::new(ctx)?
        .folder("/v")?
        .user_namespace()
        .mount("/v", "bind", &dir, &bind)
        .mount("/v", "", "", &["remount", "bind", "noatime"]);
    let facts = facts_within(b, &flagged(&dir))?;
    check_eq!(
        facts.mount("/v")?[5],
        "ro,nosuid,nodev,noexec,noatime",
        "flags"
    );
    ctx.nothing_left()
}

fn a_plain_remount_in_a_user_namespace_is_refused_with_a_hint(ctx: &Ctx) -> Outcome {
    // The superblock of sysfs is the host's: no remount but that of the mount is allowed.
    let b = Bundle::new(ctx)?
        .user_namespace()
        .mount("/sys", "sysfs", "sysfs", &["remount", "ro"]);
    let output = b.create_refused()?;
    check!(
        output.stderr.contains("/mounts/6/options") && output.stderr.contains("remount,bind"),
        "{}",
        output.stderr
    );
    let bind = |word| -> Outcome<Bundle> {
        let words = ["remount", "bind", word];
        let b = Bundle::new(ctx)?.user_namespace();
        Ok(b.mount("/sys", "sysfs", "sysfs", &words))
    };
    let facts = bind("nosymfollow")?.facts()?;
    let found = &facts.mount("/sys")?[5];
    check!(
        found.contains("nosymfollow") && found.contains("ro,nosuid,nodev,noexec"),
        "{found}"
    );
    // How its access times are kept is locked: it is as on the host.
    let output = bind("strictatime")?.create_refused()?;
    check!(
        output.stderr.contains("/mounts/6/options") && output.stderr.contains("taken away"),
        "{}",
        output.stderr
    );
    ctx.nothing_left()
}

fn a_bind_in_a_user_namespace_of_a_source_with_flags_keeps_them(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?
        .folder("/v")?
        .user_namespace()
        .mount("/v", "bind", &dir, &["rbind", "rprivate"])
        .folder("/w")?
        .mount("/w", "bind", &dir, &["bind", "noatime", "ro"]);
    let facts = facts_within(b, &flagged(&dir))?;
    check_eq!(
        facts.mount("/v")?[5],
        "ro,nosuid,nodev,noexec,relatime",
        "flags"
    );
    check_eq!(
        facts.mount("/w")?[5],
        "ro,nosuid,nodev,noexec,noatime",
        "flags"
    );
    Ok(())
}

fn a_remount_of_what_is_no_mount_is_refused(ctx: &Ctx) -> Outcome {
    for (destination, words, pointer) in [
        (
            "/etc",
            &["remount", "bind", "ro"] as &[_],
            "/mounts/6/options",
        ),
        ("/etc", &["remount", "ro"], "/mounts/6/options"),
        (
            "/nosuch",
            &["remount", "bind", "ro"],
            "/mounts/6/destination",
        ),
    ] {
        let output = Bundle::new(ctx)?
            .mount(destination, "", "", words)
            .create_refused()?;
        check!(output.stderr.contains(pointer), "{}", output.stderr);
    }
    Ok(())
}
