//! Thousands of mounts: time that grows as they do, and limits of open files.

use super::mounts::volume;
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::Outcome;
use crate::{check, check_eq, tests};
use std::time::{Duration, Instant};

tests!("mounts_many":
    thousands_of_mounts_take_linear_time as Long,
    thousands_of_nested_and_stacked_mounts_work as Long,
    many_binds_of_a_user_namespace_fit_a_low_limit_of_open_files,
);

/// `count` mounts, a third of them a tmpfs.
fn many<'a>(ctx: &'a Ctx, count: usize) -> Outcome<Bundle<'a>> {
    let dir = volume(ctx)?;
    let mut b = Bundle::new(ctx)?
        .folder("/m")?
        .mount("/m", "tmpfs", "tmpfs", &[]);
    for index in 1..count {
        let place = format!("/m/{index}");
        b = if index % 3 == 0 {
            b.mount(&place, "tmpfs", "tmpfs", &["nosuid", "size=64k"])
        } else {
            b.mount(&place, "bind", &dir, &["rbind", "ro"])
        };
    }
    Ok(b)
}

fn thousands_of_mounts_take_linear_time(ctx: &Ctx) -> Outcome {
    // The best of three: others use the machine too.
    let best = |count: usize| -> Outcome<Duration> {
        let b = many(ctx, count)?.shell("grep -c ' /m' /proc/self/mountinfo");
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let cmd = b.verb::<&str>("run", &[])?;
            let begin = Instant::now();
            let output = cmd.run()?.ok()?;
            best = best.min(begin.elapsed());
            check_eq!(output.stdout.trim(), count.to_string(), "mounts");
        }
        ctx.note(format!("{count} mounts: {best:?}"));
        Ok(best)
    };
    let few = best(500)?;
    let lots = best(4000)?;
    // Eight times as many: linear is 8 times the time, quadratic 64.
    check!(
        lots < few * 24,
        "500 mounts take {few:?}, 4000 take {lots:?}"
    );
    ctx.nothing_left()
}

fn thousands_of_nested_and_stacked_mounts_work(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let mut b = Bundle::new(ctx)?;
    let mut place = String::from("/n");
    for _ in 0..300 {
        b = b.mount(&place, "tmpfs", "tmpfs", &["size=16k"]);
        place.push_str("/d");
    }
    for index in 0..500 {
        // Each hides the one before.
        let source = if index % 2 == 0 {
            dir.clone()
        } else {
            format!("{dir}/sub")
        };
        b = b.mount("/s", "bind", &source, &["bind"]);
    }
    let said =
        b.says("grep -c ' /n' /proc/self/mountinfo; grep -c ' /s ' /proc/self/mountinfo; ls /s")?;
    check_eq!(said, "300\n500", "mounts, and what the last shows");
    ctx.nothing_left()
}

fn many_binds_of_a_user_namespace_fit_a_low_limit_of_open_files(ctx: &Ctx) -> Outcome {
    // The runtime opens all sources before the clone: its soft limit is raised meanwhile.
    let b = many(ctx, 700)?
        .user_namespace()
        .shell("grep -c ' /m' /proc/self/mountinfo; ulimit -Sn");
    let cmd = b.verb::<&str>("run", &[])?;
    let cmd = cmd.within(&["sh", "-c", "ulimit -Sn 300; exec \"$@\"", "sh"]);
    check_eq!(
        cmd.run()?.ok()?.stdout,
        "700\n300\n",
        "mounts, and the program's limit"
    );
    ctx.nothing_left()
}
