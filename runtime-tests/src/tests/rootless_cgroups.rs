//! Cgroups without root's rights: gone without, delegated, refused with a hint.

use super::rootless::{plain, refusal};
use super::rootless_mounts::sysfs;
use crate::bundle::Bundle;
use crate::cgroups::Hierarchy;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::user::ID;
use crate::{check, check_eq, tests};
use serde_json::json;
use std::os::unix::fs::chown;
use std::path::Path;

tests!("rootless_cgroups":
    limits_without_a_cgroup_are_refused_with_a_hint,
    a_cgroup_path_without_rights_is_refused_with_a_hint,
    permission_errors_of_cgroups_are_errors_if_asked_for,
    device_rules_are_no_reason_to_fail,
    a_delegated_cgroup_is_used,
    without_a_path_the_cgroup_is_beside_the_users_own,
    cve_2023_25809_a_users_own_cgroups_are_not_writable_through_a_bound_sys,
    pure_v2_works_without_a_cgroup,
    a_cgroup_mount_without_a_cgroup_shows_nothing,
    a_cgroup_mount_without_a_cgroup_is_the_read_only_tree_on_v2,
);

fn limits_without_a_cgroup_are_refused_with_a_hint(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?.set("/linux/resources/pids/limit", 100);
    refusal(
        &b,
        &["/linux/resources/pids/limit: cannot create", "Delegate=yes"],
    )?;
    Ok(())
}

fn a_cgroup_path_without_rights_is_refused_with_a_hint(ctx: &Ctx) -> Outcome {
    let path = format!("{}/x", ctx.prefix);
    let b = plain(ctx)?.set("/linux/cgroupsPath", path);
    refusal(&b, &["/linux/cgroupsPath: cannot create", "Delegate=yes"])?;
    Ok(())
}

fn permission_errors_of_cgroups_are_errors_if_asked_for(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?;
    b.verb::<&str>("run", &[])?
        .global(&["--rootless=false"])
        .run()?
        .refused()?
        .says(&["permission denied"])?;
    ctx.nothing_left()?;
    b.verb::<&str>("run", &[])?
        .global(&["--rootless=true"])
        .run()?
        .ok()?;
    ctx.nothing_left()
}

fn device_rules_are_no_reason_to_fail(ctx: &Ctx) -> Outcome {
    plain(ctx)?
        .set(
            "/linux/resources/devices",
            json!([{"allow": false, "access": "rwm"}]),
        )
        .run()?
        .ok()?;
    ctx.nothing_left()
}

/// A cgroup of v2 that belongs to the user, as a service manager gives it.
pub(super) fn delegated(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let dir = ctx.cgroup_dir(ctx.v2("")?, "");
    // What is removed with the test is below the prefix; the user's own processes are in a leaf.
    for level in [dir.clone(), dir.join("user")] {
        std::fs::create_dir_all(&level)?;
        for file in [
            "",
            "cgroup.procs",
            "cgroup.subtree_control",
            "cgroup.threads",
        ] {
            chown(level.join(file), Some(ID), Some(ID))?;
        }
    }
    let inside = Path::new("/sys/fs/cgroup")
        .join(ctx.prefix.trim_start_matches('/'))
        .join("user");
    ctx.join_first(&inside);
    Ok(())
}

fn a_delegated_cgroup_is_used(ctx: &Ctx) -> Outcome {
    ctx.use_user(false)?;
    delegated(ctx)?;
    let b = Bundle::new(ctx)?;
    let path = format!("{}/{}", ctx.prefix, b.id);
    let b = b
        .rootless(ID)?
        .set("/linux/cgroupsPath", path.clone())
        .namespace("cgroup", None)
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"])
        .set(
            "/linux/resources/devices",
            json!([{"allow": false, "access": "rwm"}]),
        )
        .shell(
            "cat /proc/self/cgroup; test -e /sys/fs/cgroup/cgroup.procs && echo shown; sleep 1000",
        );
    let c = b.detach()?;
    c.wait_stdout("shown")?;
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", c.pid()?))?;
    check!(
        cgroup.contains(&format!("::{path}\n")),
        "the container is not in {path}: {cgroup}"
    );
    c.delete_force()?.ok()?;
    let user = ctx.cgroup_dir(ctx.v2("")?, "user");
    std::fs::remove_dir(&user).because(user.display())?;
    ctx.nothing_left()
}

fn without_a_path_the_cgroup_is_beside_the_users_own(ctx: &Ctx) -> Outcome {
    ctx.use_user(false)?;
    delegated(ctx)?;
    let c = Bundle::new(ctx)?
        .rootless(ID)?
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", c.pid()?))?;
    check!(
        cgroup.contains(&format!("::{}/{}\n", ctx.prefix, c.id)),
        "the container is in {cgroup}"
    );
    c.delete_force()?.ok()?;
    std::fs::remove_dir(ctx.cgroup_dir(ctx.v2("")?, "user"))?;
    ctx.nothing_left()
}

/// Seen to fail with the bind of the whole tree left as writable as the mount asks, with the
/// fall-back of sysfs read-only at its top alone, and with its cgroups left in sight.
fn cve_2023_25809_a_users_own_cgroups_are_not_writable_through_a_bound_sys(ctx: &Ctx) -> Outcome {
    ctx.use_user(false)?;
    delegated(ctx)?;
    let target = format!("/sys/fs/cgroup{}/user/made", ctx.prefix);
    let script = format!("mkdir {target} 2>&1 || true");
    // Outside what is delegated, so that there is no cgroup of the container's own.
    let outside = |b: Bundle<'_>, global: &[&str]| -> Outcome<String> {
        let b = b.shell(&script);
        Ok(b.verb::<&str>("run", &[])?
            .global(global)
            .run()?
            .ok()?
            .stdout)
    };
    let disabled = ["--cgroup-manager=disabled"];
    let mounted = || {
        Ok::<_, crate::outcome::Stop>(Bundle::new(ctx)?.rootless(ID)?.mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["rw"],
        ))
    };
    for (what, b) in [
        ("bound", mounted()?),
        ("bound with sysfs", sysfs(mounted()?)),
        ("sysfs", sysfs(Bundle::new(ctx)?.rootless(ID)?)),
    ] {
        let said = outside(b, &disabled)?;
        check!(
            said.contains("Read-only file system") || said.contains("No such file"),
            "{what}: {said:?}"
        );
    }
    let user = ctx.cgroup_dir(ctx.v2("")?, "user");
    check!(!user.join("made").exists(), "a cgroup of the user was made");
    std::fs::remove_dir(&user).because(user.display())?;
    ctx.nothing_left()
}

fn pure_v2_works_without_a_cgroup(ctx: &Ctx) -> Outcome {
    ctx.use_user(false)?;
    ctx.use_pure_v2()?;
    for own_namespace in [false, true] {
        let mut b = Bundle::new(ctx)?.rootless(ID)?.mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "rw"],
        );
        if own_namespace {
            b = b.namespace("cgroup", None);
        }
        let said =
            b.says("mkdir /sys/fs/cgroup/x 2>&1; ls /sys/fs/cgroup | grep -c procs; true")?;
        check!(
            said.contains("Read-only") || said.contains("denied"),
            "a cgroup can be made (own namespace: {own_namespace}): {said}"
        );
    }
    ctx.nothing_left()
}

fn a_cgroup_mount_without_a_cgroup_shows_nothing(ctx: &Ctx) -> Outcome {
    if ctx.hierarchies.iter().all(Hierarchy::is_v2) {
        return skip("cgroup v2 alone on this machine");
    }
    let said = plain(ctx)?
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"])
        .says("cd /sys/fs/cgroup; ls . systemd; touch x 2>/dev/null || echo refused")?;
    check_eq!(
        said,
        ".:\nsystemd\n\nsystemd:\nrefused",
        "entries, attempt to write"
    );
    // Podman mounts that hierarchy itself, for systemd in the container.
    let said = plain(ctx)?
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"])
        .mount("/sys/fs/cgroup/systemd", "tmpfs", "tmpfs", &[])
        .says("touch /sys/fs/cgroup/systemd/x && echo made")?;
    check_eq!(said, "made", "a mount beneath it");
    Ok(())
}

fn a_cgroup_mount_without_a_cgroup_is_the_read_only_tree_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let said = plain(ctx)?
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"])
        .says("ls /sys/fs/cgroup/cgroup.procs; touch /sys/fs/cgroup/x 2>&1; true")?;
    check!(
        said.starts_with("/sys/fs/cgroup/cgroup.procs\n")
            && said.ends_with("Read-only file system"),
        "{said}"
    );
    ctx.nothing_left()
}
