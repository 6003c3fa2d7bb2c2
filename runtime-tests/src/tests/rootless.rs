//! The runtime run by an ordinary user, in user namespaces, and inside a container: what
//! works without root's rights, what takes the place of what does not, what is refused.

use crate::bundle::Bundle;
use crate::cgroups::Hierarchy;
use crate::command::Output;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::user::{ID, NAME, RANGES};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::os::unix::fs::chown;
use std::path::Path;

tests!("rootless":
    a_generated_rootless_config_runs,
    a_container_goes_through_its_life,
    the_state_is_kept_below_xdg_runtime_dir,
    root_of_a_user_namespace_alone_keeps_it_there_too,
    a_container_is_killed_and_deleted_without_a_cgroup,
    several_ranges_are_mapped_by_the_helpers,
    a_missing_helper_is_named,
    a_range_of_somebody_else_is_refused_in_the_helpers_words,
    groups_are_refused_where_only_ones_own_is_mapped,
    groups_of_a_mapped_range_are_set,
    a_config_without_a_user_namespace_gets_one,
    a_config_without_a_user_namespace_keeps_the_process_user,
    a_user_without_ranges_gets_his_own_id_alone,
    the_oom_score_is_set,
    the_oom_score_is_set_where_a_user_namespace_is_joined,
    a_seccomp_profile_holds,
    limits_without_a_cgroup_are_refused_with_a_hint,
    a_cgroup_path_without_rights_is_refused_with_a_hint,
    permission_errors_of_cgroups_are_errors_if_asked_for,
    device_rules_are_no_reason_to_fail,
    a_delegated_cgroup_is_used,
    without_a_path_the_cgroup_is_beside_the_users_own,
    cve_2023_25809_a_users_own_cgroups_are_not_writable_through_a_bound_sys,
    pure_v2_works_without_a_cgroup,
    sysfs_of_the_hosts_network_is_the_hosts_read_only,
    sysfs_for_root_in_a_user_namespace_is_the_hosts_read_only,
    a_cgroup_mount_without_a_cgroup_shows_nothing,
    a_cgroup_mount_without_a_cgroup_is_the_read_only_tree_on_v2,
    proc_of_the_hosts_pid_namespace_is_bound,
    queues_of_the_hosts_ipc_namespace_are_bound,
    queues_of_a_foreign_ipc_namespace_are_refused,
    terminals_have_no_group_where_none_is_mapped,
    a_mount_point_that_cannot_be_made_is_explained,
    what_is_done_instead_is_logged,
    a_user_joins_the_namespaces_of_his_container,
    groups_denied_by_a_joined_user_namespace_are_refused,
    exec_by_root_brings_no_groups_along,
    exec_sets_the_oom_score,
    exec_writes_labels_without_a_procfs_of_its_own,
    a_container_runs_in_a_container,
    a_container_runs_in_a_container_with_a_user_namespace,
    a_covered_proc_around_the_container_is_explained,
);

/// A bundle for the user, who has no ranges.
fn plain(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    ctx.use_user(false)?;
    Bundle::new(ctx)?.rootless(ID)
}

fn refusal(b: &Bundle<'_>, says: &[&str]) -> Outcome<Output> {
    let output = b.create_refused()?;
    for text in says {
        check!(
            output.stderr.contains(text),
            "the error lacks {text:?}: {}",
            output.stderr
        );
    }
    Ok(output)
}

fn words(text: &str) -> Vec<Vec<u32>> {
    let numbers = |line: &str| {
        line.split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect()
    };
    text.lines().map(numbers).collect()
}

fn a_generated_rootless_config_runs(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?;
    let dir = b.dir.to_string_lossy().into_owned();
    ctx.rt(&["spec", "--rootless", "--bundle", &dir])
        .run()?
        .ok()?;
    let path = b.dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/probe", "facts"]);
    let mut b = b;
    b.config = config;
    let output = b.run()?.ok()?;
    let facts = crate::facts::Facts(serde_json::from_str(&output.stdout)?);
    check_eq!(words(&facts.text("uid_map")?), [[0, ID, 1]], "uid_map");
    check_eq!(words(&facts.text("gid_map")?), [[0, ID, 1]], "gid_map");
    check_eq!(facts.status("Uid")?, "0 0 0 0", "user inside");
    check_eq!(facts.mount_type("/proc")?, "proc", "/proc");
    check_eq!(facts.text("hostname")?, "corten", "hostname");
    ctx.nothing_left()
}

fn a_container_goes_through_its_life(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?.shell("echo here; sleep 1000");
    let c = b.create()?;
    let state = c.state()?;
    check_eq!(state["status"], "created", "status");
    let list = ctx.rt(&["list", "--format", "json"]).run()?.ok()?.stdout;
    let list: Value = serde_json::from_str(&list)?;
    check_eq!(list[0]["owner"], NAME, "owner");
    c.start()?;
    c.wait_stdout("here")?;
    c.status_is("running")?;
    let pid = c.pid()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    check!(
        status.contains(&format!("Uid:\t{ID}\t{ID}")),
        "it does not run as the user: {status}"
    );
    c.kill("KILL")?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code");
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn the_state_is_kept_below_xdg_runtime_dir(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?.args(&["/bin/sleep", "1000"]);
    b.write()?;
    let run = ctx.dir.join("run");
    std::fs::create_dir(&run)?;
    chown(&run, Some(ID), Some(ID))?;
    let dir = b.dir.to_string_lossy().into_owned();
    let user = |args: &[&str]| {
        let mut all = vec![crate::user::runtime(ctx).to_string_lossy().into_owned()];
        all.extend(args.iter().map(|a| a.to_string()));
        let launch = ctx
            .as_user
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut wrapper = vec![ctx.probe.to_string_lossy().into_owned(), "as".to_string()];
        wrapper.extend(launch.iter().cloned());
        ctx.host(&all)
            .within(&wrapper)
            .env("XDG_RUNTIME_DIR", &run.to_string_lossy())
            .run()?
            .ok()
    };
    user(&["create", "--bundle", &dir, &b.id])?;
    check!(
        run.join("corten").join(&b.id).join("state.json").exists(),
        "no state below XDG_RUNTIME_DIR"
    );
    user(&["start", &b.id])?;
    user(&["delete", "--force", &b.id])?;
    check!(!run.join("corten").join(&b.id).exists(), "state is left");
    Ok(())
}

/// The directory in which the runtime keeps its state, when it is started like this.
fn state_dir_of(ctx: &Ctx, wrapper: &[&str], user: &str) -> Outcome<bool> {
    let runtime_dir = ctx.dir.join(format!("xdg{}", ctx.next()));
    std::fs::create_dir(&runtime_dir)?;
    let runtime = ctx.runtime.to_string_lossy();
    let argv: Vec<&str> = wrapper
        .iter()
        .copied()
        .chain([runtime.as_ref(), "watch"])
        .collect();
    let watch = ctx.host(&argv).env("USER", user);
    let mut watch = watch
        .env("XDG_RUNTIME_DIR", &runtime_dir.to_string_lossy())
        .spawn()?;
    let state = runtime_dir.join("corten");
    let found = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        state.exists()
    });
    let _ = watch.child.kill();
    watch.wait()?;
    Ok(found)
}

fn root_of_a_user_namespace_alone_keeps_it_there_too(ctx: &Ctx) -> Outcome {
    let unshare = ["unshare", "--user", "--map-root-user"];
    if ctx
        .host(&["unshare", "--user", "--map-root-user", "true"])
        .run()?
        .code
        != 0
    {
        return skip("unshare makes no user namespace here");
    }
    let hosts = Path::new("/run/corten");
    let was_there = hosts.exists();
    check!(
        state_dir_of(ctx, &unshare, "somebody")?,
        "root of a user namespace alone"
    );
    check!(
        !state_dir_of(ctx, &unshare, "root")?,
        "one that is root to itself"
    );
    check!(!state_dir_of(ctx, &[], "somebody")?, "the host's root");
    if !was_there {
        // Empty, or somebody else's by now.
        let _ = std::fs::remove_dir(hosts);
    }
    Ok(())
}

fn a_container_is_killed_and_deleted_without_a_cgroup(ctx: &Ctx) -> Outcome {
    let c = plain(ctx)?
        .shell("sleep 1000 & sleep 1000 & echo here; wait")
        .detach()?;
    c.wait_stdout("here")?;
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", c.pid()?))?;
    let own = std::fs::read_to_string("/proc/self/cgroup")?;
    check_eq!(cgroup, own, "cgroup, which should be the caller's");
    let pid = c.pid()?;
    c.verb(&["kill", "--all"], &["KILL"]).run()?.ok()?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code");
    c.wait_status("stopped")?;
    c.delete()?.ok()?;
    ctx.nothing_left()?;
    let c = plain(ctx)?.shell("sleep 1000 & echo here; wait").detach()?;
    c.wait_stdout("here")?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn six_lines() -> Value {
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

fn ranged(ctx: &Ctx) -> Outcome<Bundle<'_>> {
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
fn of_root(ctx: &Ctx) -> Outcome<Bundle<'_>> {
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

fn the_oom_score_is_set(ctx: &Ctx) -> Outcome {
    let facts = plain(ctx)?.set("/process/oomScoreAdj", 500).facts()?;
    check_eq!(facts.text("oom_score_adj")?, "500", "oom_score_adj");
    Ok(())
}

fn the_oom_score_is_set_where_a_user_namespace_is_joined(ctx: &Ctx) -> Outcome {
    let first = plain(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let path = format!("/proc/{}/ns/user", first.pid()?);
    let facts = Bundle::new(ctx)?
        .rootless(ID)?
        .namespace("user", Some(&path))
        .set("/process/oomScoreAdj", 501)
        .facts()?;
    check_eq!(facts.text("oom_score_adj")?, "501", "oom_score_adj");
    Ok(())
}

fn a_seccomp_profile_holds(ctx: &Ctx) -> Outcome {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]
    });
    for no_new_privileges in [false, true] {
        let output = plain(ctx)?
            .set("/linux/seccomp", profile.clone())
            .set("/process/noNewPrivileges", no_new_privileges)
            .shell("mkdir /tmp/x; echo $?")
            .run()?
            .ok()?;
        check!(
            output.stderr.contains("No space left"),
            "the filter does not hold: {}",
            output.stderr
        );
    }
    Ok(())
}

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

fn sysfs(b: Bundle<'_>) -> Bundle<'_> {
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

fn a_cgroup_mount_without_a_cgroup_shows_nothing(ctx: &Ctx) -> Outcome {
    if ctx.hierarchies.iter().all(Hierarchy::is_v2) {
        return skip("cgroup v2 alone on this machine");
    }
    let said = plain(ctx)?
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"])
        .says("ls /sys/fs/cgroup | wc -l; touch /sys/fs/cgroup/x 2>/dev/null || echo refused")?;
    check_eq!(said, "0\nrefused", "entries, attempt to write");
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

fn exec_sets_the_oom_score(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?.set("/process/oomScoreAdj", 500);
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    check_eq!(
        c.exec_says(&[], "cat /proc/self/oom_score_adj")?,
        "500",
        "oom_score_adj"
    );
    Ok(())
}

fn exec_writes_labels_without_a_procfs_of_its_own(ctx: &Ctx) -> Outcome {
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return skip("SELinux is enabled: the label would have to be one of its policy");
    }
    let refused = |c: &crate::container::Container, by: &str| {
        let label = ["--process-label", "corten_u:corten_r:no_such_t:s0"];
        let output = c.exec(&label, &["/bin/true"]).run()?;
        check!(
            output.code != 0 && output.stderr.contains("/process/selinuxLabel"),
            "exec by {by} did not come as far as the label: {}",
            output.stderr
        );
        Ok(())
    };
    let by_root = Bundle::new(ctx)?
        .user_namespace()
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    refused(&by_root, "root")?;
    // A user could not.
    by_root.delete_force()?.ok()?;
    let c = plain(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    refused(&c, "a user")
}

fn a_user_joins_the_namespaces_of_his_container(ctx: &Ctx) -> Outcome {
    let first = plain(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let pid = first.pid()?;
    let mut b = Bundle::new(ctx)?.rootless(ID)?.remove("/hostname");
    for (kind, name) in [("user", "user"), ("ipc", "ipc"), ("uts", "uts")] {
        b = b.namespace(kind, Some(&format!("/proc/{pid}/ns/{name}")));
    }
    let facts = b.facts()?;
    for name in ["user", "ipc", "uts"] {
        let wanted = std::fs::read_link(format!("/proc/{pid}/ns/{name}"))?;
        check_eq!(facts.namespace(name)?, wanted.to_string_lossy(), "{name}");
    }
    check_eq!(facts.text("hostname")?, first.id, "hostname");
    check_eq!(facts.status("Uid")?, "0 0 0 0", "user");
    Ok(())
}

/// Runs a bundle inside a container of another, and gives what it printed.
fn nested(ctx: &Ctx, outer: Bundle<'_>, inner: Bundle<'_>) -> Outcome<String> {
    // The inner runtime knows no hierarchy to ask for: its host is the outer container.
    let inner = inner.remove("/linux/cgroupsPath").shell(
        "echo inner $(hostname) $$; echo x > /dev/null && test -c /dev/zero && echo devices",
    );
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
            "/corten --root /state run --bundle /inner {name} 2>&1; ls /state | wc -l"
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
