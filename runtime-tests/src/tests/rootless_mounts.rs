//! Mounts that need root's rights over the host: what takes their place, what is refused.

use super::rootless::{plain, refusal};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Outcome, skip};
use crate::{check, check_eq, tests};
use serde_json::json;
use std::path::Path;

tests!("rootless_mounts":
    sysfs_of_the_hosts_network_is_the_hosts_read_only,
    sysfs_for_root_in_a_user_namespace_is_the_hosts_read_only,
    proc_of_the_hosts_pid_namespace_is_bound,
    queues_of_the_hosts_ipc_namespace_are_bound,
    queues_of_a_foreign_ipc_namespace_are_refused,
    terminals_have_no_group_where_none_is_mapped,
    a_mount_point_that_cannot_be_made_is_explained,
    what_is_done_instead_is_logged,
);

pub(super) fn sysfs(b: Bundle<'_>) -> Bundle<'_> {
    let mut b = b;
    for mount in b.config["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"] == "/sys" {
            mount["type"] = json!("sysfs");
            mount["source"] = json!("sysfs");
            mount["options"] = json!(["nosuid", "noexec", "nodev"]);
        }
    }
    b
}

/// Every mount below /sys is read-only, and the cgroups are not there.
fn is_hosts_read_only(b: Bundle<'_>) -> Outcome {
    let facts = b.facts()?;
    let mut below = 0;
    for line in facts.text("mountinfo")?.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let point = fields.get(4).copied().unwrap_or_default();
        if point == "/sys" || point.starts_with("/sys/") {
            below += 1;
            check!(
                fields[5].split(',').any(|option| option == "ro"),
                "writable: {line}"
            );
        }
    }
    check!(below > 0, "no mount on /sys");
    check_eq!(facts.mount_type("/sys")?, "sysfs", "/sys");
    check_eq!(
        facts.mount_type("/sys/fs/cgroup")?,
        "tmpfs",
        "/sys/fs/cgroup"
    );
    Ok(())
}

fn sysfs_of_the_hosts_network_is_the_hosts_read_only(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?;
    is_hosts_read_only(sysfs(b))?;
    let said =
        sysfs(plain(ctx)?).says("ls /sys/fs/cgroup | wc -l; test -d /sys/kernel && echo there")?;
    check_eq!(said, "0\nthere", "entries of /sys/fs/cgroup, /sys/kernel");
    ctx.nothing_left()
}

fn sysfs_for_root_in_a_user_namespace_is_the_hosts_read_only(ctx: &Ctx) -> Outcome {
    is_hosts_read_only(sysfs(
        Bundle::new(ctx)?
            .user_namespace()
            .without_namespace("network"),
    ))?;
    ctx.nothing_left()
}

fn proc_of_the_hosts_pid_namespace_is_bound(ctx: &Ctx) -> Outcome {
    let facts = plain(ctx)?.without_namespace("pid").facts()?;
    check_eq!(facts.mount_type("/proc")?, "proc", "/proc");
    check!(facts.0["pid"] != json!(1), "it has a pid namespace");
    ctx.nothing_left()
}

fn queues_of_the_hosts_ipc_namespace_are_bound(ctx: &Ctx) -> Outcome {
    let is_there = std::fs::read_to_string("/proc/mounts")?.contains(" /dev/mqueue mqueue ");
    let b = plain(ctx)?.without_namespace("ipc");
    if is_there {
        check_eq!(b.facts()?.mount_type("/dev/mqueue")?, "mqueue", "type");
    } else if Path::new("/dev/mqueue").exists() {
        b.run()?.ok()?;
    } else {
        refusal(&b, &["/mounts/4: cannot mount mqueue"])?;
        return skip("no /dev/mqueue on this machine: only the refusal was seen");
    }
    Ok(())
}

fn queues_of_a_foreign_ipc_namespace_are_refused(ctx: &Ctx) -> Outcome {
    // Root's container: the user namespace of another has no rights over its ipc namespace.
    let other = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let path = format!("/proc/{}/ns/ipc", other.pid()?);
    let b = Bundle::new(ctx)?
        .user_namespace()
        .namespace("ipc", Some(&path));
    b.verb::<&str>("create", &[])?
        .run()?
        .refused()?
        .says(&["/mounts/4: cannot mount mqueue on /dev/mqueue"])?
        .says(&["ipc namespace"])?;
    Ok(())
}

fn terminals_have_no_group_where_none_is_mapped(ctx: &Ctx) -> Outcome {
    let mut b = plain(ctx)?;
    for mount in b.config["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"] == "/dev/pts" {
            mount["options"] = json!(["newinstance", "gid=5", "mode=0620", "ptmxmode=0666"]);
        }
    }
    let facts = b.facts()?;
    check_eq!(facts.mount_type("/dev/pts")?, "devpts", "type");
    let options = facts.mount_options("/dev/pts")?;
    check!(
        options.contains(&"mode=620".to_string()),
        "the mode is lost: {options:?}"
    );
    Ok(())
}

fn a_mount_point_that_cannot_be_made_is_explained(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .user_namespace()
        .mount("/absent/deep", "tmpfs", "tmpfs", &[]);
    refusal(
        &b,
        &[
            "/mounts/6/destination: cannot open or make",
            "chown the root file system",
        ],
    )?;
    Ok(())
}

fn what_is_done_instead_is_logged(ctx: &Ctx) -> Outcome {
    let b = sysfs(plain(ctx)?).mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]);
    let quiet = b.run()?.ok()?;
    check_eq!(quiet.stderr, "", "stderr without --debug");
    let loud = b
        .verb::<&str>("run", &[])?
        .global(&["--debug"])
        .run()?
        .ok()?;
    for text in [
        "stays in the runtime's cgroup",
        "/mounts/5: /sys cannot be mounted here: the host's /sys is bound",
        "/mounts/6: /sys/fs/cgroup cannot be mounted here",
    ] {
        check_eq!(loud.stderr.matches(text).count(), 1, "{text:?} in the log");
    }
    Ok(())
}
