//! The runtime run inside a container, by its root.

use super::rootless_mounts::sysfs;
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::Outcome;
use crate::user::ID;
use crate::{check, check_eq, tests};
use serde_json::json;

tests!("nested":
    a_container_runs_in_a_container,
    a_container_runs_in_a_container_with_a_user_namespace,
    a_covered_proc_around_the_container_is_explained,
    a_container_runs_in_a_rootless_container,
    cgroups_are_made_in_the_containers_own_on_v1,
    cgroups_are_made_in_the_containers_own_on_v2,
    a_cgroup_that_is_handed_over_is_enough_on_v2,
    read_only_cgroups_around_the_container_are_explained,
);

/// Runs a bundle inside a container of another, and gives what it printed.
fn nested(ctx: &Ctx, outer: Bundle<'_>, inner: Bundle<'_>) -> Outcome<String> {
    let script =
        "echo inner $(hostname) $$; echo x > /dev/null && test -c /dev/zero && echo devices";
    nested_with(ctx, outer, inner.shell(script), "")
}

/// The same for an inner container that has its command, with options for the inner runtime.
fn nested_with(ctx: &Ctx, outer: Bundle<'_>, inner: Bundle<'_>, options: &str) -> Outcome<String> {
    // The inner runtime knows no hierarchy to ask for: its host is the outer container.
    let inner = inner.remove("/linux/cgroupsPath");
    inner.write()?;
    let runtime = ctx.dir.join("runtime");
    std::fs::copy(&ctx.runtime, &runtime)?;
    std::fs::write(outer.rootfs().join("corten"), "")?;
    for dir in ["inner", "state"] {
        std::fs::create_dir(outer.rootfs().join(dir))?;
    }
    let name = inner.id.clone();
    outer
        .mount(
            "/corten",
            "bind",
            &runtime.to_string_lossy(),
            &["bind", "ro"],
        )
        .mount("/inner", "bind", &inner.dir.to_string_lossy(), &["rbind"])
        .mount("/state", "tmpfs", "tmpfs", &["mode=0755"])
        .says(&format!(
            "/corten --root /state {options} run --bundle /inner {name} 2>&1; ls /state | wc -l"
        ))
}

fn every_capability() -> Vec<String> {
    // Those of linux/capability.h that a runtime needs, and more than it uses.
    [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "NET_ADMIN",
        "NET_RAW",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_ADMIN",
        "MKNOD",
        "AUDIT_WRITE",
        "SETFCAP",
        "NET_BIND_SERVICE",
    ]
    .map(|name| format!("CAP_{name}"))
    .to_vec()
}

fn a_container_runs_in_a_container(ctx: &Ctx) -> Outcome {
    let all = every_capability();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let outer = Bundle::new(ctx)?.capabilities(&all);
    let said = nested(ctx, outer, Bundle::new(ctx)?)?;
    check!(
        said.contains("inner c1 1") && said.contains("devices") && said.ends_with("\n0"),
        "the inner container said: {said}"
    );
    ctx.nothing_left()
}

/// Bundles for a user namespace in which the outer container's user is root.
fn nested_in_user_namespace(ctx: &Ctx) -> Outcome<(Bundle<'_>, Bundle<'_>)> {
    let all = every_capability();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let outer = Bundle::new(ctx)?.user_namespace().capabilities(&all);
    crate::user::own(&outer.dir, 100_000)?;
    let inner = Bundle::new(ctx)?;
    crate::user::own(&inner.dir, 100_000)?;
    Ok((outer, inner))
}

fn a_container_runs_in_a_container_with_a_user_namespace(ctx: &Ctx) -> Outcome {
    let (outer, inner) = nested_in_user_namespace(ctx)?;
    let said = nested(ctx, outer, inner)?;
    check!(
        said.contains("inner c1 1") && said.contains("devices") && said.ends_with("\n0"),
        "the inner container said: {said}"
    );
    ctx.nothing_left()
}

fn a_covered_proc_around_the_container_is_explained(ctx: &Ctx) -> Outcome {
    let masked = json!(["/proc/kcore", "/proc/keys"]);
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    // What covers /proc is out of the reach of a further user namespace.
    let further = || {
        let (outer, inner) = nested_in_user_namespace(ctx)?;
        let inner = inner
            .namespace("user", None)
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map.clone());
        Ok::<_, crate::outcome::Stop>((outer.set("/linux/maskedPaths", masked.clone()), inner))
    };
    let (outer, inner) = further()?;
    let said = nested(ctx, outer, inner)?;
    check!(
        said.contains("/mounts/0: cannot mount proc on /proc") && said.contains("unmasked /proc"),
        "the inner runtime said: {said}"
    );
    // In the pid namespace around, the procfs around shows nothing more.
    let (outer, inner) = further()?;
    let said = nested(ctx, outer, inner.without_namespace("pid"))?;
    check!(
        said.contains("inner c4 ") && said.ends_with("\n0"),
        "the inner container said: {said}"
    );
    ctx.nothing_left()
}

fn a_container_runs_in_a_rootless_container(ctx: &Ctx) -> Outcome {
    let all = every_capability();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    ctx.use_user(false)?;
    // As an engine has it: parts of /proc are covered, /sys is the host's, read-only.
    for masked in [false, true] {
        let outer = sysfs(Bundle::new(ctx)?.rootless(ID)?).capabilities(&all);
        let inner = sysfs(Bundle::new(ctx)?.remove("/linux/resources"));
        crate::user::own(&inner.dir, ID)?;
        let (outer, inner) = match masked {
            true => (
                outer.set("/linux/maskedPaths", json!(["/proc/kcore", "/proc/keys"])),
                // Its own would need a procfs, which shows more.
                inner.without_namespace("pid"),
            ),
            false => (outer, inner),
        };
        let name = inner.id.clone();
        let said = nested(ctx, outer, inner)?;
        check!(
            said.contains(&format!("inner {name} ")) && said.contains("devices"),
            "the inner container said: {said}"
        );
        check!(said.ends_with("\n0"), "state is left: {said}");
        ctx.nothing_left()?;
    }
    Ok(())
}

/// With its own cgroup, mounted with this option, as the inner runtime's hierarchy.
fn with_cgroups<'a>(outer: Bundle<'a>, option: &str) -> Bundle<'a> {
    let all = every_capability();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    outer.capabilities(&all).namespace("cgroup", None).mount(
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &[option],
    )
}

/// The inner container's cgroup is beneath the outer one's, and is gone with it.
fn made_inside(ctx: &Ctx, line: &str) -> Outcome {
    // Its own limit is beneath those around it, if the controller is there.
    let inner = Bundle::new(ctx)?.shell("cat /proc/self/cgroup");
    let name = inner.id.clone();
    let outer = with_cgroups(Bundle::new(ctx)?, "rw");
    let said = nested_with(ctx, outer, inner, "")?;
    let wanted = line.replace("ID", &name);
    check!(
        said.lines().any(|found| found.ends_with(&wanted)) && said.ends_with("\n0"),
        "{wanted} is not in what the inner container said: {said}"
    );
    ctx.nothing_left()
}

fn cgroups_are_made_in_the_containers_own_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("pids")?;
    made_inside(ctx, "pids:/ID")
}

fn cgroups_are_made_in_the_containers_own_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    // The outer container's shell is in the cgroup that the inner runtime sees as the root.
    made_inside(ctx, "0::/ID")
}

fn a_cgroup_that_is_handed_over_is_enough_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let (outer, inner) = nested_in_user_namespace(ctx)?;
    let inner = inner.shell("cat /proc/self/cgroup");
    let name = inner.id.clone();
    let said = nested_with(ctx, with_cgroups(outer, "rw"), inner, "")?;
    check!(
        said.contains(&format!("0::/{name}\n")) && said.ends_with("\n0"),
        "the inner container said: {said}"
    );
    ctx.nothing_left()
}

fn read_only_cgroups_around_the_container_are_explained(ctx: &Ctx) -> Outcome {
    let inner = || Ok::<_, crate::outcome::Stop>(Bundle::new(ctx)?.shell("echo inner"));
    let outer = || Ok::<_, crate::outcome::Stop>(with_cgroups(Bundle::new(ctx)?, "ro"));
    let said = nested_with(ctx, outer()?, inner()?, "")?;
    check!(
        said.contains("read-only file system") && said.contains("--cgroup-manager=disabled"),
        "the inner runtime said: {said}"
    );
    let said = nested_with(ctx, outer()?, inner()?, "--cgroup-manager=disabled")?;
    check_eq!(said, "inner\n0", "without a cgroup");
    ctx.nothing_left()
}
