//! The systemd cgroup driver with the systemd of this machine. `hack/vm` boots one; elsewhere these are
//! skipped. What systemd may answer besides is in `systemd_answers`.

use crate::bundle::Bundle;
use crate::container::Container;
use crate::context::Ctx;
use crate::fake_criu::{Fake, may_do_all};
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

tests!("systemd":
    limits_are_properties_of_the_scope_and_in_its_files,
    controllers_that_systemd_does_not_know_are_enabled,
    the_scope_goes_with_delete,
    the_scope_goes_with_run,
    a_scope_whose_container_was_killed_for_memory_goes_too,
    exec_pause_and_kill_work_in_the_scope,
    device_rules_survive_a_daemon_reload as Serial,
    update_changes_properties_and_files,
    limits_survive_a_daemon_reload as Serial,
    annotations_set_properties,
    an_unknown_property_is_named,
    slices_are_made_one_in_another,
    a_slice_can_be_the_containers_own,
    a_unit_that_exists_is_left_alone,
    a_cgroup_namespace_begins_at_the_scope,
    a_writable_scope_or_slice_is_handed_over as Serial,
    a_joined_pid_or_user_namespace_is_in_the_scope,
    a_limit_of_one_process_does_not_keep_out_of_a_joined_pid_namespace,
    a_restored_container_is_in_its_scope,
    a_restore_that_fails_leaves_no_scope,
    a_killed_create_leaves_nothing_that_delete_force_does_not_remove as Long,
    a_hundred_starts_at_once as Long,
);

/// A bundle whose unit is `xN-ID.scope` in `slice`.
pub(super) fn scope<'a>(ctx: &'a Ctx, slice: &str) -> Outcome<(Bundle<'a>, String)> {
    if !Path::new("/run/systemd/private").exists() {
        return skip("systemd is not process 1 here (try hack/vm)");
    }
    let bundle = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
    let prefix = prefix(ctx);
    let unit = format!("{prefix}-{}.scope", bundle.id);
    let path = format!("{slice}:{prefix}:{}", bundle.id);
    Ok((bundle.set("/linux/cgroupsPath", path), unit))
}

pub(super) fn prefix(ctx: &Ctx) -> String {
    ctx.prefix.replace(|c: char| !c.is_ascii_digit(), "x")
}

fn create<'a>(ctx: &'a Ctx, bundle: &Bundle<'a>) -> Outcome<Container<'a>> {
    ctx.created(&bundle.id);
    let output = ctx.dir.join(format!("{}-output", bundle.id));
    let cmd = bundle
        .verb::<&str>("create", &[])?
        .global(&["--systemd-cgroup"]);
    cmd.output(output.clone()).run()?.ok()?;
    Ok(Container::new(ctx, &bundle.id, &bundle.dir, output))
}

fn systemctl(ctx: &Ctx, args: &[&str]) -> Outcome<String> {
    let argv: Vec<&str> = [&["systemctl"], args].concat();
    Ok(ctx.host(&argv).run()?.ok()?.stdout.trim().to_owned())
}

fn property(ctx: &Ctx, unit: &str, name: &str) -> Outcome<String> {
    systemctl(ctx, &["show", "--value", "-p", name, unit])
}

fn is_loaded(ctx: &Ctx, unit: &str) -> Outcome<bool> {
    Ok(property(ctx, unit, "LoadState")? == "loaded")
}

/// Where the unit's cgroup is, which holds `pid`.
pub(super) fn cgroup(pid: i32) -> Outcome<PathBuf> {
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = membership
        .lines()
        .find_map(|line| line.strip_prefix("0::/"));
    Ok(Path::new("/sys/fs/cgroup").join(path.because("a cgroup v2")?))
}

pub(super) fn file(dir: &Path, name: &str) -> Outcome<String> {
    let path = dir.join(name);
    Ok(std::fs::read_to_string(&path)
        .because(path.display())?
        .trim()
        .to_owned())
}

fn gone(ctx: &Ctx, unit: &str, dir: &Path) -> Outcome {
    check!(!dir.exists(), "{} is left", dir.display());
    // Every slice counts as loaded, whether there is one or not.
    let state = property(ctx, unit, "ActiveState")?;
    check_eq!(state, "inactive", "the unit {unit}");
    check!(
        unit.ends_with(".slice") || !is_loaded(ctx, unit)?,
        "the unit {unit} is left"
    );
    ctx.nothing_left()
}

fn resources() -> Value {
    json!({
        "memory": {"limit": 134_217_728, "reservation": 67_108_864},
        "cpu": {"shares": 2048, "quota": 24_690, "period": 50_000, "cpus": "0"},
        "pids": {"limit": 77},
        "unified": {"memory.high": "100663296"}
    })
}

fn has_limits(ctx: &Ctx, unit: &str, dir: &Path) -> Outcome {
    let weight = file(dir, "cpu.weight")?;
    for (name, value) in [
        ("MemoryMax", "134217728"),
        ("MemoryLow", "67108864"),
        ("MemoryHigh", "100663296"),
        ("CPUQuotaPerSecUSec", "500ms"),
        ("CPUQuotaPeriodUSec", "50ms"),
        ("CPUWeight", weight.as_str()),
        ("AllowedCPUs", "0"),
        ("TasksMax", "77"),
        ("Delegate", "yes"),
    ] {
        check_eq!(property(ctx, unit, name)?, value, "{name}");
    }
    for (name, value) in [
        ("memory.max", "134217728"),
        ("memory.low", "67108864"),
        ("memory.high", "100663296"),
        ("cpu.max", "24690 50000"),
        ("cpuset.cpus", "0"),
        ("pids.max", "77"),
    ] {
        check_eq!(file(dir, name)?, value, "{name}");
    }
    Ok(())
}

fn limits_are_properties_of_the_scope_and_in_its_files(ctx: &Ctx) -> Outcome {
    let (bundle, unit) = scope(ctx, "")?;
    let bundle = bundle.set("/linux/resources", resources());
    let c = create(ctx, &bundle)?;
    let dir = cgroup(c.pid()?)?;
    check!(
        dir.ends_with(format!("system.slice/{unit}")),
        "{}",
        dir.display()
    );
    has_limits(ctx, &unit, &dir)?;
    c.delete_force()?.ok()?;
    gone(ctx, &unit, &dir)
}

fn controllers_that_systemd_does_not_know_are_enabled(ctx: &Ctx) -> Outcome {
    ctx.v2("hugetlb")?;
    let (bundle, unit) = scope(ctx, "")?;
    let limits = json!([{"pageSize": "2MB", "limit": 4_194_304}]);
    let bundle = bundle.set("/linux/resources/hugepageLimits", limits);
    let c = create(ctx, &bundle)?;
    let dir = cgroup(c.pid()?)?;
    check_eq!(file(&dir, "hugetlb.2MB.max")?, "4194304", "hugetlb.2MB.max");
    c.delete_force()?.ok()?;
    gone(ctx, &unit, &dir)
}

fn the_scope_goes_with_delete(ctx: &Ctx) -> Outcome {
    let (bundle, unit) = scope(ctx, "")?;
    let c = create(
        ctx,
        &bundle.shell("trap 'exit 3' TERM; while :; do sleep 0.1; done"),
    )?;
    let pid = c.pid()?;
    let dir = cgroup(pid)?;
    check_eq!(property(ctx, &unit, "ActiveState")?, "active", "the unit");
    c.start()?;
    c.kill("KILL")?;
    c.wait_pid(pid)?;
    c.wait_status("stopped")?;
    c.delete()?.ok()?;
    gone(ctx, &unit, &dir)
}

fn the_scope_goes_with_run(ctx: &Ctx) -> Outcome {
    let (bundle, unit) = scope(ctx, "")?;
    let bundle = bundle.shell("cat /proc/self/cgroup");
    let output = bundle
        .verb::<&str>("run", &[])?
        .global(&["--cgroup-manager=systemd"])
        .run()?
        .ok()?;
    check!(
        output.stdout.contains(&unit),
        "not in its scope: {}",
        output.stdout
    );
    gone(
        ctx,
        &unit,
        &Path::new("/sys/fs/cgroup/system.slice").join(&unit),
    )
}

fn a_scope_whose_container_was_killed_for_memory_goes_too(ctx: &Ctx) -> Outcome {
    let (bundle, unit) = scope(ctx, "")?;
    let bundle = bundle
        .set(
            "/linux/resources/memory",
            json!({"limit": 16_777_216, "swap": 16_777_216}),
        )
        .shell("x=0123456789; while :; do x=$x$x; done");
    let output = bundle
        .verb::<&str>("run", &[])?
        .global(&["--systemd-cgroup"])
        .run()?;
    check_eq!(output.code, 137, "exit code");
    gone(
        ctx,
        &unit,
        &Path::new("/sys/fs/cgroup/system.slice").join(&unit),
    )
}

fn exec_pause_and_kill_work_in_the_scope(ctx: &Ctx) -> Outcome {
    let (bundle, unit) = scope(ctx, "")?;
    let c = create(ctx, &bundle)?;
    c.start()?;
    let said = c.exec_says(&[], "cat /proc/self/cgroup")?;
    check!(said.contains(&unit), "exec is elsewhere: {said}");
    c.verb::<&str>(&["pause"], &[]).run()?.ok()?;
    c.status_is("paused")?;
    let dir = cgroup(c.pid()?)?;
    check_eq!(file(&dir, "cgroup.freeze")?, "1", "cgroup.freeze");
    c.verb::<&str>(&["resume"], &[]).run()?.ok()?;
    c.status_is("running")?;
    c.delete_force()?.ok()?;
    gone(ctx, &unit, &dir)
}

/// Denies all devices but /dev/null, and looks whether that holds; /dev/full is a default.
fn device_rules_survive_a_daemon_reload(ctx: &Ctx) -> Outcome {
    let (bundle, _) = scope(ctx, "")?;
    let node = json!({"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 438});
    let bundle = bundle
        .set(
            "/linux/resources/devices",
            json!([{"allow": false, "access": "rwm"}]),
        )
        .set("/linux/devices", json!([node]));
    let c = create(ctx, &bundle)?;
    c.start()?;
    let look =
        "cat /dev/null && echo null; head -c 1 /dev/kmsg >/dev/null 2>&1 && echo kmsg; echo end";
    check_eq!(c.exec_says(&[], look)?, "null\nend", "before");
    systemctl(ctx, &["daemon-reload"])?;
    check_eq!(c.exec_says(&[], look)?, "null\nend", "after a reload");
    systemctl(ctx, &["daemon-reexec"])?;
    check_eq!(
        c.exec_says(&[], look)?,
        "null\nend",
        "after systemd started anew"
    );
    c.delete_force()?.ok().map(drop)
}

fn limits_survive_a_daemon_reload(ctx: &Ctx) -> Outcome {
    let (bundle, unit) = scope(ctx, "")?;
    let c = create(ctx, &bundle.set("/linux/resources", resources()))?;
    let dir = cgroup(c.pid()?)?;
    systemctl(ctx, &["daemon-reload"])?;
    // Makes systemd write the files again.
    systemctl(ctx, &["set-property", "--runtime", &unit, "CPUWeight=50"])?;
    check_eq!(file(&dir, "memory.max")?, "134217728", "memory.max");
    // What systemd has of it: the next percent, and never less than was asked for.
    check_eq!(file(&dir, "cpu.max")?, "25000 50000", "cpu.max");
    check_eq!(file(&dir, "pids.max")?, "77", "pids.max");
    check_eq!(file(&dir, "cpuset.cpus")?, "0", "cpuset.cpus");
    c.delete_force()?.ok()?;
    gone(ctx, &unit, &dir)
}

fn update_changes_properties_and_files(ctx: &Ctx) -> Outcome {
    let (bundle, unit) = scope(ctx, "")?;
    let c = create(ctx, &bundle.set("/linux/resources", resources()))?;
    let dir = cgroup(c.pid()?)?;
    let flags = [
        "update",
        "--memory",
        "150994944",
        "--pids-limit",
        "66",
        "--cpu-quota",
        "12345",
    ];
    c.verb::<&str>(&flags, &[]).run()?.ok()?;
    for (name, value) in [
        ("MemoryMax", "150994944"),
        ("TasksMax", "66"),
        ("CPUQuotaPerSecUSec", "250ms"),
    ] {
        check_eq!(property(ctx, &unit, name)?, value, "{name}");
    }
    for (name, value) in [
        ("memory.max", "150994944"),
        ("pids.max", "66"),
        ("cpu.max", "12345 50000"),
    ] {
        check_eq!(file(&dir, name)?, value, "{name}");
    }
    c.delete_force()?.ok()?;
    gone(ctx, &unit, &dir)
}

fn annotations_set_properties(ctx: &Ctx) -> Outcome {
    let (bundle, unit) = scope(ctx, "")?;
    let bundle = bundle.set(
        "/annotations",
        json!({
            "org.systemd.property.TimeoutStopSec": "uint64 7",
            "org.systemd.property.CollectMode": "'inactive'",
            "org.systemd.property.After": "['basic.target']",
            "org.systemd.property.ManagedOOMPreference": "\"avoid\"",
        }),
    );
    let c = create(ctx, &bundle)?;
    for (name, value) in [
        ("TimeoutStopUSec", "7s"),
        ("CollectMode", "inactive"),
        ("ManagedOOMPreference", "avoid"),
    ] {
        check_eq!(property(ctx, &unit, name)?, value, "{name}");
    }
    let after = property(ctx, &unit, "After")?;
    check!(after.contains("basic.target"), "After: {after}");
    c.delete_force()?.ok().map(drop)
}

fn an_unknown_property_is_named(ctx: &Ctx) -> Outcome {
    let (bundle, unit) = scope(ctx, "")?;
    let bundle = bundle.set("/annotations/org.systemd.property.Nonsense", "true");
    let cmd = bundle
        .verb::<&str>("create", &[])?
        .global(&["--systemd-cgroup"]);
    let output = cmd.run()?.refused()?;
    output.says(&["/annotations/org.systemd.property.Nonsense: cannot start the systemd unit"])?;
    gone(
        ctx,
        &unit,
        &Path::new("/sys/fs/cgroup/system.slice").join(&unit),
    )
}

fn slices_are_made_one_in_another(ctx: &Ctx) -> Outcome {
    let top = format!("c{}", prefix(ctx));
    let (bundle, unit) = scope(ctx, &format!("{top}-a-b.slice"))?;
    let c = create(ctx, &bundle)?;
    let dir = cgroup(c.pid()?)?;
    let wanted = format!("/sys/fs/cgroup/{top}.slice/{top}-a.slice/{top}-a-b.slice/{unit}");
    check_eq!(dir, Path::new(&wanted), "cgroup");
    c.delete_force()?.ok()?;
    gone(ctx, &unit, &dir)?;
    systemctl(ctx, &["stop", &format!("{top}.slice")]).map(drop)
}

fn a_slice_can_be_the_containers_own(ctx: &Ctx) -> Outcome {
    let (bundle, _) = scope(ctx, "")?;
    let unit = format!("c{}-own.slice", prefix(ctx));
    let bundle = bundle
        .set("/linux/cgroupsPath", format!("system.slice:x:{unit}"))
        .set("/linux/resources/pids/limit", 9);
    let c = create(ctx, &bundle)?;
    let dir = cgroup(c.pid()?)?;
    check!(dir.ends_with(&unit), "{}", dir.display());
    check_eq!(property(ctx, &unit, "TasksMax")?, "9", "TasksMax");
    check_eq!(file(&dir, "pids.max")?, "9", "pids.max");
    c.start()?;
    c.delete_force()?.ok()?;
    gone(ctx, &unit, &dir)?;
    systemctl(ctx, &["stop", &format!("c{}.slice", prefix(ctx))]).map(drop)
}

fn a_unit_that_exists_is_left_alone(ctx: &Ctx) -> Outcome {
    let (bundle, unit) = scope(ctx, "")?;
    let mut sleep = ctx
        .host(&[
            "systemd-run",
            "--scope",
            "--quiet",
            "--unit",
            &unit,
            "sleep",
            "1000",
        ])
        .spawn()?;
    ctx.until("the other unit runs", || {
        property(ctx, &unit, "ActiveState").is_ok_and(|state| state == "active")
    })?;
    let cmd = bundle
        .verb::<&str>("create", &[])?
        .global(&["--systemd-cgroup"]);
    let refused = cmd.run()?.refused();
    let state = property(ctx, &unit, "ActiveState")?;
    sleep.child.kill()?;
    sleep.child.wait()?;
    refused?.says(&["container's cgroup is not empty", "already"])?;
    check_eq!(state, "active", "the other unit");
    Ok(())
}

fn a_writable_scope_or_slice_is_handed_over(ctx: &Ctx) -> Outcome {
    let slice = format!("{}own.slice", prefix(ctx));
    for path in [None, Some(format!("::{slice}"))] {
        let (mut b, unit) = scope(ctx, "")?;
        let unit = match path {
            Some(path) => {
                b = b.set("/linux/cgroupsPath", path);
                slice.clone()
            }
            None => unit,
        };
        b = b.user_namespace().namespace("cgroup", None).mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["rw"],
        );
        let b = b.shell("mkdir /sys/fs/cgroup/own && echo made; sleep 1000");
        let c = create(ctx, &b)?;
        let dir = cgroup(c.pid()?)?;
        super::cgroup_v2_tree::owner_is(&dir, 100_000)?;
        // Nor does systemd take it back.
        systemctl(ctx, &["daemon-reload"])?;
        super::cgroup_v2_tree::owner_is(&dir, 100_000)?;
        c.start()?;
        c.wait_stdout("made")?;
        c.delete_force()?.ok()?;
        gone(ctx, &unit, &dir)?;
    }
    Ok(())
}

fn a_cgroup_namespace_begins_at_the_scope(ctx: &Ctx) -> Outcome {
    let (bundle, _) = scope(ctx, "")?;
    let bundle = bundle
        .namespace("cgroup", None)
        .mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["ro", "nosuid", "noexec", "nodev"],
        )
        .shell("cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs");
    let output = bundle
        .verb::<&str>("run", &[])?
        .global(&["--systemd-cgroup"])
        .run()?
        .ok()?;
    let mut lines = output.stdout.lines();
    check_eq!(lines.next(), Some("0::/"), "cgroup");
    check_eq!(lines.next(), Some("1"), "first process of the mount's root");
    ctx.nothing_left()
}

fn a_joined_pid_or_user_namespace_is_in_the_scope(ctx: &Ctx) -> Outcome {
    let (neighbour, _) = scope(ctx, "")?;
    let first = create(ctx, &neighbour.user_namespace())?;
    first.start()?;
    let pid = first.pid()?;
    for kinds in [&["pid"][..], &["user"], &["user", "pid"]] {
        let (mut bundle, unit) = scope(ctx, "")?;
        for kind in kinds {
            bundle = bundle.namespace(kind, Some(&format!("/proc/{pid}/ns/{kind}")));
        }
        let c = create(ctx, &bundle)?;
        let dir = cgroup(c.pid()?)?;
        check!(dir.ends_with(&unit), "{kinds:?}: {}", dir.display());
        c.delete_force()?.ok()?;
        check!(!is_loaded(ctx, &unit)?, "{kinds:?}: {unit} is left");
    }
    // The harness deletes the first, once it has reaped who was in its namespaces.
    Ok(())
}

/// Seen to fail without `with_room_to_start`: systemd sets the limit before the other processes are made.
fn a_limit_of_one_process_does_not_keep_out_of_a_joined_pid_namespace(ctx: &Ctx) -> Outcome {
    let (neighbour, _) = scope(ctx, "")?;
    let first = create(ctx, &neighbour)?;
    let (bundle, unit) = scope(ctx, "")?;
    let bundle = bundle
        .namespace("pid", Some(&format!("/proc/{}/ns/pid", first.pid()?)))
        .set("/linux/resources/pids/limit", 1);
    let c = create(ctx, &bundle)?;
    let dir = cgroup(c.pid()?)?;
    check!(dir.ends_with(&unit), "{}", dir.display());
    check_eq!(file(&dir, "pids.max")?, "1", "pids.max");
    c.delete_force()?.ok().map(drop)
}

fn a_restored_container_is_in_its_scope(ctx: &Ctx) -> Outcome {
    let (b, unit) = scope(ctx, "system.slice")?;
    let b = may_do_all(ctx, b)?.set("/linux/resources", resources());
    let fake = Fake::new(ctx, "")?;
    let restore = fake.restore(&b, &["--detach"])?;
    restore.global(&["--systemd-cgroup"]).run()?.ok()?;
    let c = Container::new(ctx, &b.id, &b.dir, ctx.dir.join("out"));
    let dir = cgroup(c.pid()?)?;
    check!(dir.ends_with(&unit), "it is in {}", dir.display());
    check_eq!(property(ctx, &unit, "MemoryMax")?, "134217728", "MemoryMax");
    check_eq!(file(&dir, "pids.max")?, "77", "pids.max");
    check_eq!(c.exec_says(&[], "echo in")?, "in", "what exec prints");
    c.delete_force()?.ok()?;
    gone(ctx, &unit, &dir)
}

fn a_restore_that_fails_leaves_no_scope(ctx: &Ctx) -> Outcome {
    let (b, unit) = scope(ctx, "system.slice")?;
    let b = may_do_all(ctx, b)?;
    let fake = Fake::new(ctx, "fail=why")?;
    let restore = fake.restore(&b, &["--detach"])?;
    let output = restore.global(&["--systemd-cgroup"]).run()?;
    output.refused()?.says(&["why"])?;
    gone(
        ctx,
        &unit,
        &Path::new("/sys/fs/cgroup/system.slice").join(&unit),
    )
}

fn a_killed_create_leaves_nothing_that_delete_force_does_not_remove(ctx: &Ctx) -> Outcome {
    for milliseconds in (0..400u64).step_by(16) {
        let (bundle, unit) = scope(ctx, "")?;
        let cmd = bundle
            .verb::<&str>("create", &[])?
            .global(&["--systemd-cgroup"]);
        let mut running = cmd.spawn()?;
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        running.child.kill()?;
        running.child.wait()?;
        let output = ctx.rt(&["delete", "--force", &bundle.id]).run()?;
        check_eq!(
            output.code,
            0,
            "delete --force after {milliseconds} ms: {}",
            output.stderr
        );
        check!(
            !is_loaded(ctx, &unit)?,
            "{unit} is left after {milliseconds} ms"
        );
        ctx.nothing_left()?;
    }
    Ok(())
}

fn a_hundred_starts_at_once(ctx: &Ctx) -> Outcome {
    let mut running = Vec::new();
    let mut bundles = Vec::new();
    for _ in 0..100 {
        let (bundle, _) = scope(ctx, "")?;
        let bundle = bundle
            .args(&["/bin/true"])
            .set("/linux/resources/pids/limit", 50);
        let cmd = bundle
            .verb::<&str>("run", &[])?
            .global(&["--systemd-cgroup"]);
        running.push(cmd.spawn()?);
        bundles.push(bundle);
    }
    for mut running in running {
        let mut text = String::new();
        let code = running.wait()?;
        if let Some(mut stderr) = running.child.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut text)?;
        }
        check_eq!(code, 0, "exit code: {text}");
    }
    ctx.nothing_left()
}
