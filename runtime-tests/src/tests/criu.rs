//! checkpoint and restore with criu itself, where it works (`hack/vm --kernel 6.1`).

use crate::context::Ctx;
use crate::fake_criu::counting;
use crate::outcome::{Outcome, skip};
use crate::{check, check_eq, tests};
use std::os::unix::fs::PermissionsExt;

tests!("criu":
    brings_a_container_back as Long,
    leaves_a_container_running as Long,
    brings_a_user_namespace_back_under_another_id as Long,
);

/// Skips where criu is not there or does not get along with the kernel.
fn need_criu(ctx: &Ctx) -> Outcome {
    if crate::facts::kernel()? < (5, 13) {
        return skip("before Linux 5.13 CRIU cannot dump programs with rseq, as glibc's are");
    }
    match ctx.host(&["criu", "check"]).run() {
        Ok(output) if output.code == 0 => Ok(()),
        Ok(output) => {
            let why = output.stderr.lines().next().unwrap_or_default().to_string();
            skip(format!("criu check fails here: {why}"))
        }
        Err(_) => skip("no criu on this machine"),
    }
}

fn count(ctx: &Ctx) -> u64 {
    let text = std::fs::read_to_string(ctx.dir.join("data/count")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn brings_a_container_back(ctx: &Ctx) -> Outcome {
    need_criu(ctx)?;
    let images = ctx.dir.join("images").display().to_string();
    let b = counting(ctx)?.set("/root/readonly", true);
    let c = b.detach()?;
    ctx.until("it counts", || count(ctx) > 2)?;
    c.verb::<&str>(&["checkpoint", "--image-path", &images], &[])
        .run()?
        .ok()?;
    check!(
        !ctx.state_root().join(&c.id).exists(),
        "the container is still there"
    );
    let before = count(ctx);
    let c = b.launch("restore", &["--detach", "--image-path", &images])?;
    c.status_is("running")?;
    // It goes on from where it was, and not from the beginning.
    ctx.until("it counts on", || count(ctx) > before + 2)?;
    let facts = c.exec_says(
        &[],
        "echo x > /safe/x; echo x > /x; cat /proc/kcore | wc -c; ls -A /safe; [ ! -e /x ] || ls /x",
    )?;
    check_eq!(
        facts,
        "0",
        "what can be written and read of what is protected"
    );
    // Once more: what was restored can be checkpointed too.
    let again = ctx.dir.join("again").display().to_string();
    c.verb::<&str>(&["checkpoint", "--image-path", &again], &[])
        .run()?
        .ok()?;
    ctx.nothing_left()
}

fn leaves_a_container_running(ctx: &Ctx) -> Outcome {
    need_criu(ctx)?;
    let images = ctx.dir.join("images").display().to_string();
    let c = counting(ctx)?.detach()?;
    let words = ["checkpoint", "--leave-running", "--image-path", &images];
    c.verb::<&str>(&words, &[]).run()?.ok()?;
    c.status_is("running")?;
    let before = count(ctx);
    ctx.until("it counts on", || count(ctx) > before + 2)
}

fn brings_a_user_namespace_back_under_another_id(ctx: &Ctx) -> Outcome {
    need_criu(ctx)?;
    let images = ctx.dir.join("images").display().to_string();
    let mut b = counting(ctx)?.user_namespace();
    for place in ["data", "safe"] {
        std::fs::create_dir_all(b.rootfs().join(place))?;
    }
    std::fs::set_permissions(ctx.dir.join("data"), PermissionsExt::from_mode(0o777))?;
    let other = format!("{}-other", b.id);
    // Streams that are files CRIU opens again, as the namespace's root; it wants the same mode.
    for id in [&b.id, &other] {
        for stream in ["out", "err"] {
            let file = ctx.dir.join(format!("{id}-output.{stream}"));
            std::fs::write(&file, "")?;
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666))?;
        }
    }
    let c = b.detach()?;
    ctx.until("it counts", || count(ctx) > 2)?;
    let line = "cat /proc/1/uid_map; cut -d' ' -f4-6 /proc/1/mountinfo | sort";
    let had = c.exec_says(&[], line)?;
    c.verb::<&str>(&["checkpoint", "--image-path", &images], &[])
        .run()?
        .ok()?;
    let before = count(ctx);
    b.id = other;
    let c = b.launch("restore", &["--detach", "--image-path", &images])?;
    c.status_is("running")?;
    ctx.until("it counts on", || count(ctx) > before + 2)?;
    check_eq!(c.exec_says(&[], line)?, had, "mappings and mounts");
    let mode = std::fs::metadata(&images)?.permissions().mode() & 0o777;
    check_eq!(mode, 0o700, "mode of the images' directory");
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}
