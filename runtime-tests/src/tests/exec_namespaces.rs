//! `exec` is in every namespace that the container is in, and in no other.

use super::exec_confinement::{deny_mkdir, same, same_with};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::Outcome;
use crate::{check, check_eq, tests};
use serde_json::json;

tests!("exec_namespaces":
    a_user_namespace,
    a_time_namespace,
    a_cgroup_namespace,
    no_pid_namespace,
    no_mount_namespace,
    no_namespace_at_all,
    joined_namespaces,
    a_joined_user_namespace,
    without_pivot_root,
    on_cgroup_v2,
);

fn a_user_namespace(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .user_namespace()
        .set("/linux/seccomp", deny_mkdir())
        .set(
            "/process/user",
            json!({"uid": 5, "gid": 6, "additionalGids": [9]}),
        );
    let (c, facts) = same(b)?;
    check_eq!(facts.status("Uid")?, "5 5 5 5", "Uid");
    check_eq!(facts.status("Groups")?, "9", "Groups");
    c.exec_says(
        &["--user", "0"],
        "test $(id -u) = 0 && touch /dev/shm/root-was-here",
    )?;
    Ok(())
}

fn a_time_namespace(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.namespace("time", None).set(
        "/linux/timeOffsets",
        json!({"boottime": {"secs": 4000, "nanosecs": 0}}),
    );
    let (_, facts) = same(b)?;
    check!(
        facts.text("timens_offsets")?.contains("4000"),
        "the offsets are {:?}",
        facts.0["timens_offsets"]
    );
    Ok(())
}

fn a_cgroup_namespace(ctx: &Ctx) -> Outcome {
    let (_, facts) = same(Bundle::new(ctx)?.namespace("cgroup", None))?;
    for line in facts.text("cgroup")?.lines() {
        // A hierarchy that the runtime makes no cgroup in keeps the caller's.
        check!(!line.contains("corten-tests"), "seen from inside: {line}");
    }
    Ok(())
}

fn no_pid_namespace(ctx: &Ctx) -> Outcome {
    same(Bundle::new(ctx)?.without_namespace("pid")).map(drop)
}

/// Without a mount namespace the root is changed: what there is lies below it.
fn below_the_root(b: Bundle) -> Outcome {
    let b = b
        .set("/mounts", json!([]))
        .set("/process/cwd", "/srv")
        .args(&["/bin/busybox", "sleep", "1000"]);
    std::fs::write(b.rootfs().join("only-here"), "yes")?;
    let c = b.detach()?;
    let said = c.exec_says(&[], "cat ../only-here ../../../only-here; pwd; id -u")?;
    check_eq!(said, "yesyes/srv\n0", "what is seen below the root");
    Ok(())
}

fn no_mount_namespace(ctx: &Ctx) -> Outcome {
    below_the_root(Bundle::new(ctx)?.without_namespace("mount"))
}

fn no_namespace_at_all(ctx: &Ctx) -> Outcome {
    below_the_root(
        Bundle::new(ctx)?
            .set("/linux/namespaces", json!([]))
            .remove("/hostname"),
    )
}

fn path_of(pid: i32, kind: &str) -> String {
    format!("/proc/{pid}/ns/{kind}")
}

fn joined_namespaces(ctx: &Ctx) -> Outcome {
    let first = Bundle::new(ctx)?
        .namespace("time", None)
        .namespace("cgroup", None)
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    let pid = first.pid()?;
    let mut b = Bundle::new(ctx)?.remove("/hostname");
    for (kind, name) in [
        ("pid", "pid"),
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("cgroup", "cgroup"),
        ("time", "time"),
    ] {
        b = b.namespace(kind, Some(&path_of(pid, name)));
    }
    let (_, facts) = same(b)?;
    let others = first.exec_facts(&[])?;
    for kind in ["pid", "net", "ipc", "uts", "cgroup", "time"] {
        check_eq!(
            facts.namespace(kind)?,
            others.namespace(kind)?,
            "{kind} namespace"
        );
    }
    check!(
        facts.namespace("mnt")? != others.namespace("mnt")?,
        "the mounts are the same"
    );
    Ok(())
}

fn a_joined_user_namespace(ctx: &Ctx) -> Outcome {
    let first = Bundle::new(ctx)?
        .user_namespace()
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    let pid = first.pid()?;
    let b = Bundle::new(ctx)?
        .namespace("user", Some(&path_of(pid, "user")))
        .namespace("pid", Some(&path_of(pid, "pid")));
    let (_, facts) = same(b)?;
    check!(facts.text("uid_map")?.contains("100000"), "no mapping");
    Ok(())
}

fn without_pivot_root(ctx: &Ctx) -> Outcome {
    let (c, _) = same_with(Bundle::new(ctx)?, &["--no-pivot"])?;
    check_eq!(
        c.exec_says(&["--cwd", "/bin"], "ls probe")?,
        "probe",
        "the root"
    );
    Ok(())
}

fn on_cgroup_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let (c, facts) = same(Bundle::new(ctx)?)?;
    let wanted = format!("0::{}", ctx.cgroup(&c.id));
    let cgroup = facts.text("cgroup")?;
    check!(
        cgroup.lines().any(|line| line == wanted),
        "{wanted} is not in {cgroup}"
    );
    Ok(())
}
