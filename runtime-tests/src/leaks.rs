//! What a test may not leave behind: processes, cgroups, mounts, state files.

use crate::context::Ctx;
use crate::{cgroups, procs};
use std::time::{Duration, Instant};

/// How long the kernel may take to finish what a runtime has already ended
/// (the tail of an exiting pid namespace), as a part of a test's usual time limit: 0.4 s unless
/// told. A true leak stays longer.
const GRACE: u32 = 75;

/// Everything that is there now, one line each; empty when clean.
pub fn look(ctx: &Ctx) -> Vec<String> {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let mut left = Vec::new();
    for pid in procs::descendants(me) {
        left.push(format!("process {}", procs::describe(pid)));
    }
    for hierarchy in &ctx.hierarchies {
        let prefix = ctx.cgroup_dir(hierarchy, "");
        for dir in cgroups::tree(&prefix) {
            for pid in cgroups::pids(&dir) {
                left.push(format!(
                    "process {} in {}",
                    procs::describe(pid),
                    dir.display()
                ));
            }
            if dir != prefix {
                left.push(format!("cgroup {}", dir.display()));
            }
        }
    }
    for mount in mounts_under(&ctx.dir.to_string_lossy()) {
        left.push(format!("mount {mount}"));
    }
    for entry in std::fs::read_dir(ctx.state_root())
        .into_iter()
        .flatten()
        .flatten()
    {
        left.push(format!("state file {}", entry.path().display()));
    }
    left
}

/// Mount points of this thread's mount namespace under `dir`.
pub fn mounts_under(dir: &str) -> Vec<String> {
    std::fs::read_to_string("/proc/thread-self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| point.starts_with(dir))
        .map(str::to_string)
        .collect()
}

/// Detaches every mount under `dir`; false when some stay. A folder with a mount
/// in it must not be removed recursively: that would reach what is mounted.
pub fn unmount_under(dir: &std::path::Path) -> bool {
    let dir = dir.to_string_lossy();
    for _ in 0..100 {
        let Some(point) = mounts_under(&dir).pop() else {
            return true;
        };
        if rustix::mount::unmount(point.as_str(), rustix::mount::UnmountFlags::DETACH).is_err() {
            return false;
        }
    }
    false
}

/// Looks until nothing is left or the grace has passed; returns what stayed.
pub fn find(ctx: &Ctx) -> Vec<String> {
    let end = Instant::now() + ctx.timeout / GRACE;
    loop {
        let mut left = look(ctx);
        left.retain(|line| !ctx.is_scenery(line));
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
