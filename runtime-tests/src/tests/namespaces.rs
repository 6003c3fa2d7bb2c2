//! Namespaces that are made or left alone; user and time with their mappings.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use serde_json::json;
use std::os::unix::fs::MetadataExt;

tests!("namespaces":
    listed_namespaces_are_new_and_the_others_the_callers,
    the_process_is_the_first_of_its_pid_namespace,
    the_loopback_of_a_new_network_is_up,
    all_eight_namespaces_are_new_at_once,
    time_offsets_are_set_in_a_new_user_namespace,
    a_new_cgroup_namespace_shows_the_container_as_root,
    hostname_is_set,
    domainname_is_set,
    hostname_of_the_host_stays,
    user_mappings_are_written,
    root_of_a_user_namespace_owns_what_it_makes_as_the_mapped_user,
    a_user_namespace_with_several_mappings_works,
    a_user_namespace_gives_the_user_the_spec_names,
    time_offsets_are_set,
    a_new_time_namespace_without_offsets_works,
    ipc_objects_of_the_host_are_not_seen,
);

pub(super) const ALL: [&str; 7] = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"];

pub(super) fn kernel_name(kind: &str) -> &str {
    match kind {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    }
}

pub(super) fn own(kind: &str) -> Outcome<String> {
    let link = format!("/proc/thread-self/ns/{}", kernel_name(kind));
    Ok(std::fs::read_link(&link)
        .because(&link)?
        .to_string_lossy()
        .into_owned())
}

fn listed_namespaces_are_new_and_the_others_the_callers(ctx: &Ctx) -> Outcome {
    let few = Bundle::new(ctx)?
        .set(
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "pid"}]),
        )
        .remove("/hostname")
        // sysfs wants the network namespace's owner, mqueue the ipc namespace's: both are fine for root.
        .facts()?;
    for kind in ALL {
        let found = few.namespace(kernel_name(kind))?;
        let new = ["mount", "pid"].contains(&kind);
        check_eq!(found != own(kind)?, new, "{kind} namespace {found} is new");
    }
    let all = Bundle::new(ctx)?
        .namespace("cgroup", None)
        .user_namespace()
        .facts()?;
    for kind in ALL {
        check!(
            all.namespace(kernel_name(kind))? != own(kind)?,
            "the {kind} namespace is the host's"
        );
    }
    ctx.nothing_left()
}

fn the_process_is_the_first_of_its_pid_namespace(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?.facts()?;
    check_eq!(facts.0["pid"], json!(1), "pid");
    check_eq!(facts.0["ppid"], json!(0), "parent");
    Ok(())
}

fn the_loopback_of_a_new_network_is_up(ctx: &Ctx) -> Outcome {
    let said = Bundle::new(ctx)?.says("ls /sys/class/net; ip addr show lo")?;
    check_eq!(said.lines().next(), Some("lo"), "the only interface");
    check!(
        said.contains("UP") && said.contains("127.0.0.1/8"),
        "loopback is not up: {said}"
    );
    Ok(())
}

pub(super) fn with_all_eight(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?
        .user_namespace()
        .namespace("cgroup", None)
        .namespace("time", None)
        .args(&["/bin/sleep", "1000"]))
}

fn all_eight_namespaces_are_new_at_once(ctx: &Ctx) -> Outcome {
    let facts = with_all_eight(ctx)?.facts()?;
    for kind in ALL.into_iter().chain(["time"]) {
        check!(
            facts.namespace(kernel_name(kind))? != own(kind)?,
            "the {kind} namespace is the host's"
        );
    }
    ctx.nothing_left()
}

/// Seconds and nanoseconds of both clocks, as timens_offsets shows them again.
fn offsets_are_set(b: Bundle<'_>, monotonic: [u64; 2], boottime: [u64; 2]) -> Outcome {
    let offset = |[secs, nanosecs]: [u64; 2]| json!({"secs": secs, "nanosecs": nanosecs});
    let facts = b
        .namespace("time", None)
        .set("/linux/timeOffsets/monotonic", offset(monotonic))
        .set("/linux/timeOffsets/boottime", offset(boottime))
        .facts()?;
    check!(
        facts.namespace("time")? != own("time")?,
        "the time namespace is the host's"
    );
    let text = facts.text("timens_offsets")?;
    let fields: Vec<String> = text.split_whitespace().map(str::to_string).collect();
    let line = |clock: &str, [secs, nanosecs]: [u64; 2]| {
        [clock.to_string(), secs.to_string(), nanosecs.to_string()]
    };
    let wanted = [line("monotonic", monotonic), line("boottime", boottime)].concat();
    check_eq!(fields, wanted, "offsets");
    Ok(())
}

/// The boot clock alone is moved.
pub(super) fn offset(b: Bundle<'_>) -> Outcome {
    offsets_are_set(b, [0, 0], [604_800, 0])
}

fn time_offsets_are_set_in_a_new_user_namespace(ctx: &Ctx) -> Outcome {
    offset(Bundle::new(ctx)?.user_namespace())?;
    offset(Bundle::new(ctx)?.user_namespace().namespace("cgroup", None))?;
    ctx.nothing_left()
}

fn a_new_cgroup_namespace_shows_the_container_as_root(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?.namespace("cgroup", None).facts()?;
    for line in facts.text("cgroup")?.lines() {
        let path = line.rsplit(':').next().unwrap_or_default();
        check!(path == "/", "/proc/self/cgroup shows {line}");
    }
    Ok(())
}

fn hostname_is_set(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?
        .set("/hostname", "a-name.example")
        .facts()?;
    check_eq!(facts.text("hostname")?, "a-name.example", "hostname");
    Ok(())
}

fn domainname_is_set(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?
        .set("/domainname", "example.test")
        .facts()?;
    check_eq!(facts.text("domainname")?, "example.test", "domainname");
    Ok(())
}

fn hostname_of_the_host_stays(ctx: &Ctx) -> Outcome {
    let path = "/proc/sys/kernel/hostname";
    let before = std::fs::read_to_string(path)?;
    Bundle::new(ctx)?
        .set("/hostname", "not-of-the-host")
        .run()?
        .ok()?;
    check_eq!(
        std::fs::read_to_string(path)?,
        before,
        "hostname of the host"
    );
    Ok(())
}

fn user_mappings_are_written(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?.user_namespace().facts()?;
    for map in ["uid_map", "gid_map"] {
        let found = facts.text(map)?;
        let fields: Vec<&str> = found.split_whitespace().collect();
        check_eq!(fields, ["0", "100000", "65536"], "{map}");
    }
    check_eq!(facts.status("Uid")?, "0 0 0 0", "user inside");
    check_eq!(facts.status("Gid")?, "0 0 0 0", "group inside");
    Ok(())
}

fn root_of_a_user_namespace_owns_what_it_makes_as_the_mapped_user(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .user_namespace()
        .shell("echo hello > /tmp/made");
    std::os::unix::fs::chown(b.rootfs().join("tmp"), Some(100_000), Some(100_000))?;
    b.run()?.ok()?;
    let made = std::fs::metadata(b.rootfs().join("tmp/made"))?;
    check_eq!(
        (made.uid(), made.gid()),
        (100_000, 100_000),
        "owner on the host"
    );
    Ok(())
}

fn a_user_namespace_with_several_mappings_works(ctx: &Ctx) -> Outcome {
    let map = json!([
        {"containerID": 0, "hostID": 200_000, "size": 1},
        {"containerID": 1, "hostID": 1, "size": 999},
        {"containerID": 1000, "hostID": 300_000, "size": 500}
    ]);
    let facts = Bundle::new(ctx)?
        .user_namespace()
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .facts()?;
    check_eq!(
        facts.text("uid_map")?.lines().count(),
        3,
        "lines of uid_map"
    );
    Ok(())
}

fn a_user_namespace_gives_the_user_the_spec_names(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?
        .user_namespace()
        .set(
            "/process/user",
            json!({"uid": 1000, "gid": 1001, "additionalGids": [7, 8]}),
        )
        .facts()?;
    check_eq!(facts.status("Uid")?, "1000 1000 1000 1000", "user");
    check_eq!(facts.status("Gid")?, "1001 1001 1001 1001", "group");
    check_eq!(facts.status("Groups")?, "7 8", "supplementary groups");
    Ok(())
}

fn time_offsets_are_set(ctx: &Ctx) -> Outcome {
    offsets_are_set(Bundle::new(ctx)?, [172_800, 500], [604_800, 0])
}

fn a_new_time_namespace_without_offsets_works(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?.namespace("time", None).facts()?;
    check!(
        facts.namespace("time")? != own("time")?,
        "the time namespace is the host's"
    );
    Ok(())
}

fn ipc_objects_of_the_host_are_not_seen(ctx: &Ctx) -> Outcome {
    let said = Bundle::new(ctx)?.says("cat /proc/sysvipc/shm | wc -l; ls /dev/mqueue | wc -l")?;
    check_eq!(
        said,
        "1\n0",
        "shared memory lines (with the heading) and queues"
    );
    Ok(())
}
