//! Users and groups of containers whose runtime is run by an ordinary user.

use super::rootless::{plain, refusal, words};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::user::{ID, RANGES};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};

tests!("rootless_ids":
    several_ranges_are_mapped_by_the_helpers,
    a_missing_helper_is_named,
    a_range_of_somebody_else_is_refused_in_the_helpers_words,
    real_time_signals_are_passed_on_after_the_helpers,
    groups_are_refused_where_only_ones_own_is_mapped,
    groups_of_a_mapped_range_are_set,
    a_config_without_a_user_namespace_gets_one,
    a_config_without_a_user_namespace_keeps_the_process_user,
    a_user_without_ranges_gets_his_own_id_alone,
    groups_denied_by_a_joined_user_namespace_are_refused,
    exec_by_root_brings_no_groups_along,
);

pub(super) fn six_lines() -> Value {
    let (first, second) = (RANGES[0].0, RANGES[1].0);
    json!([
        {"containerID": 0, "hostID": ID, "size": 1},
        {"containerID": 1, "hostID": first, "size": 99},
        {"containerID": 100, "hostID": second, "size": 100},
        {"containerID": 200, "hostID": first + 1000, "size": 100},
        {"containerID": 1000, "hostID": first + 2000, "size": 1},
        {"containerID": 2000, "hostID": second + 500, "size": 10}
    ])
}

/// A bundle of the user with several ranges of ids, which need the helpers.
pub(super) fn ranged(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    ctx.use_user_with_ranges()?;
    Ok(Bundle::new(ctx)?
        .rootless(ID)?
        .set("/linux/uidMappings", six_lines())
        .set("/linux/gidMappings", six_lines()))
}

fn several_ranges_are_mapped_by_the_helpers(ctx: &Ctx) -> Outcome {
    let facts = ranged(ctx)?
        .set("/process/user", json!({"uid": 1000, "gid": 2009}))
        .facts()?;
    let (first, second) = (RANGES[0].0, RANGES[1].0);
    let wanted = [
        [0, ID, 1],
        [1, first, 99],
        [100, second, 100],
        [200, first + 1000, 100],
        [1000, first + 2000, 1],
        [2000, second + 500, 10],
    ];
    for map in ["uid_map", "gid_map"] {
        check_eq!(words(&facts.text(map)?), wanted, "{map}");
    }
    check_eq!(facts.status("Uid")?, "1000 1000 1000 1000", "user");
    check_eq!(facts.status("Gid")?, "2009 2009 2009 2009", "group");
    check_eq!(facts.status("Groups")?, "", "groups");
    ctx.nothing_left()
}

/// Seen to fail without `keep_mask`: the library unblocks 34 when it has run a helper, and the runtime
/// dies of it.
fn real_time_signals_are_passed_on_after_the_helpers(ctx: &Ctx) -> Outcome {
    let b =
        ranged(ctx)?.shell("trap 'echo got; exit 7' 34; echo ready; while :; do sleep 0.01; done");
    let mut run = b.verb::<&str>("run", &[])?.spawn()?;
    let mut out = BufReader::new(run.child.stdout.take().because("stdout")?);
    let mut line = String::new();
    out.read_line(&mut line)?;
    check_eq!(line, "ready\n", "first line");
    let kill = format!("kill -34 {}", run.pid());
    ctx.host(&["/bin/sh", "-c", &kill]).run()?.ok()?;
    check_eq!(run.wait()?, 7, "exit code");
    ctx.nothing_left()
}

fn a_missing_helper_is_named(ctx: &Ctx) -> Outcome {
    ctx.use_user(true)?;
    let b = Bundle::new(ctx)?
        .rootless(ID)?
        .set("/linux/uidMappings", six_lines())
        .set("/linux/gidMappings", six_lines());
    b.verb::<&str>("create", &[])?
        .env("PATH", "/nonexistent")
        .run()?
        .refused()?
        .says(&["/linux/gidMappings: cannot run newgidmap"])?
        .says(&["uidmap"])?;
    ctx.nothing_left()
}

fn a_range_of_somebody_else_is_refused_in_the_helpers_words(ctx: &Ctx) -> Outcome {
    ctx.use_user_with_ranges()?;
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let b = Bundle::new(ctx)?
        .rootless(ID)?
        .set("/linux/uidMappings", map);
    refusal(
        &b,
        &[
            "/linux/uidMappings: newuidmap refuses",
            "[100000-165536) not allowed",
            "/etc/subuid",
        ],
    )?;
    Ok(())
}

fn groups_are_refused_where_only_ones_own_is_mapped(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?.set(
        "/process/user",
        json!({"uid": 0, "gid": 0, "additionalGids": [0]}),
    );
    refusal(
        &b,
        &[
            "/process/user/additionalGids: cannot set any additional groups",
            "newgidmap",
        ],
    )?;
    Ok(())
}

fn groups_of_a_mapped_range_are_set(ctx: &Ctx) -> Outcome {
    let facts = ranged(ctx)?
        .set(
            "/process/user",
            json!({"uid": 0, "gid": 0, "additionalGids": [5, 150]}),
        )
        .facts()?;
    check_eq!(facts.status("Groups")?, "5 150", "groups");
    Ok(())
}

/// As an engine gives it to root, but for the cgroup.
pub(super) fn of_root(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    let b = Bundle::new(ctx)?;
    crate::user::own(&b.dir, ID)?;
    Ok(b.remove("/linux/cgroupsPath"))
}

fn a_config_without_a_user_namespace_gets_one(ctx: &Ctx) -> Outcome {
    ctx.use_user_with_ranges()?;
    let facts = of_root(ctx)?.facts()?;
    let mut map = words(&facts.text("uid_map")?);
    map.sort();
    let [first, second] = RANGES;
    let wanted = [
        [0, ID, 1],
        [1, first.0, first.1],
        [1 + first.1, second.0, second.1],
    ];
    check_eq!(map, wanted, "uid_map");
    check_eq!(facts.status("Uid")?, "0 0 0 0", "user inside");
    check_eq!(facts.mount_type("/sys")?, "sysfs", "/sys");
    ctx.nothing_left()
}

fn a_config_without_a_user_namespace_keeps_the_process_user(ctx: &Ctx) -> Outcome {
    ctx.use_user_with_ranges()?;
    let b = of_root(ctx)?.set(
        "/process/user",
        json!({"uid": 1000, "gid": 1001, "additionalGids": [7]}),
    );
    let facts = b.facts()?;
    check!(
        words(&facts.text("uid_map")?).contains(&vec![1000, ID, 1]),
        "the caller is not the process's user: {}",
        facts.text("uid_map")?
    );
    check_eq!(facts.status("Uid")?, "1000 1000 1000 1000", "user inside");
    check_eq!(facts.status("Groups")?, "7", "groups inside");
    Ok(())
}

fn a_user_without_ranges_gets_his_own_id_alone(ctx: &Ctx) -> Outcome {
    ctx.use_user(false)?;
    let facts = of_root(ctx)?
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .facts()?;
    check_eq!(words(&facts.text("uid_map")?), [[1000, ID, 1]], "uid_map");
    check_eq!(words(&facts.text("gid_map")?), [[1000, ID, 1]], "gid_map");
    check_eq!(facts.status("Uid")?, "1000 1000 1000 1000", "user inside");
    ctx.nothing_left()
}

fn groups_denied_by_a_joined_user_namespace_are_refused(ctx: &Ctx) -> Outcome {
    let first = plain(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let path = format!("/proc/{}/ns/user", first.pid()?);
    let b = Bundle::new(ctx)?
        .rootless(ID)?
        .namespace("user", Some(&path))
        .set(
            "/process/user",
            json!({"uid": 0, "gid": 0, "additionalGids": [0]}),
        );
    b.verb::<&str>("create", &[])?
        .run()?
        .code_is(1)?
        .says(&["/process/user/additionalGids"])?
        .says(&["denies setgroups"])?;
    Ok(())
}

/// Where setgroups(2) is denied, what the caller brings along would stay.
fn exec_by_root_brings_no_groups_along(ctx: &Ctx) -> Outcome {
    let c = plain(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    ctx.as_user
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .clear();
    let groups = c
        .exec(&[], &["/bin/grep", "Groups", "/proc/self/status"])
        .within(&["setpriv", "--groups", "4711,4712"])
        .run()?
        .ok()?;
    check_eq!(groups.stdout.trim(), "Groups:", "groups inside");
    Ok(())
}
