//! Hostile root file systems. Holes that runtimes had are in `cve`.

use super::cve::{trap, untouched};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check_eq, tests};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

tests!("security":
    a_cwd_that_is_a_link_makes_no_folder_on_the_host,
    a_mask_behind_a_link_masks_nothing_of_the_host,
    a_passwd_that_is_a_link_is_read_inside,
    a_passwd_that_is_a_fifo_does_not_hang,
);

fn a_cwd_that_is_a_link_makes_no_folder_on_the_host(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let b = Bundle::new(ctx)?.set("/process/cwd", "/link/made/deep");
    symlink(&trap, b.rootfs().join("link"))?;
    b.run()?;
    untouched(&trap)?;
    ctx.nothing_left()
}

fn a_mask_behind_a_link_masks_nothing_of_the_host(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let b = Bundle::new(ctx)?
        .set("/linux/maskedPaths", json!(["/link"]))
        .set("/linux/readonlyPaths", json!(["/link"]))
        .args(&["/bin/sleep", "1000"]);
    symlink(&trap, b.rootfs().join("link"))?;
    let output = b.verb::<&str>("create", &[])?.run()?;
    fs::write(trap.join("written-by-the-host"), "").because("writing on the host")?;
    fs::remove_file(trap.join("written-by-the-host"))?;
    untouched(&trap)?;
    if output.code == 0 {
        ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    }
    ctx.nothing_left()
}

fn a_passwd_that_is_a_link_is_read_inside(ctx: &Ctx) -> Outcome {
    let outside = ctx.dir.join("passwd");
    fs::write(&outside, "root:x:0:0::/from-the-host:/bin/sh\n")?;
    let b = Bundle::new(ctx)?;
    fs::remove_file(b.rootfs().join("etc/passwd"))?;
    symlink(&outside, b.rootfs().join("etc/passwd"))?;
    check_eq!(b.facts()?.env("HOME").as_deref(), Some("/"), "HOME");
    Ok(())
}

fn a_passwd_that_is_a_fifo_does_not_hang(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    let path = b.rootfs().join("etc/passwd");
    fs::remove_file(&path)?;
    ctx.host(&["mkfifo", &path.to_string_lossy()]).run()?.ok()?;
    // With or without a HOME: what counts is that it ends.
    b.run()?;
    ctx.nothing_left()
}
