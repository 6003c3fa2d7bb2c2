//! The systemd cgroup driver against a systemd that the harness plays: what is asked for. Bad answers
//! are in `systemd_answers`, the real one in `systemd`.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::fake_systemd::scene::{Scene, always, on};
use crate::fake_systemd::{Answer, FakeSystemd, cgroup_of};
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use serde_json::json;

tests!("systemd_bus":
    a_scope_is_asked_for_with_the_init_and_the_limits,
    a_scope_is_asked_for_on_v2,
    only_create_and_delete_speak_to_systemd,
    systemds_own_socket_is_spoken_to_without_a_broker,
    annotations_are_properties,
    what_is_no_unit_is_refused_before_systemd_is_asked,
    update_tells_systemd_what_the_files_say,
    an_update_that_systemd_refuses_is_taken_back,
    delete_force_stops_a_unit_whose_create_was_killed,
    thirty_starts_at_once,
);

fn asked_for_a_scope(ctx: &Ctx, v2: bool) -> Outcome {
    let mut resources = json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 33}, "cpu": {"shares": 1024, "cpus": "0"}});
    if v2 {
        ctx.v2("")?;
        ctx.use_pure_v2()?;
        resources = json!({});
    } else {
        ctx.v1("pids")?;
        ctx.v1("memory")?;
        ctx.v1("cpuset")?;
    }
    let scene = Scene::new(ctx, "252", always)?.set("/linux/resources", resources);
    let c = scene.create()?;
    let asked = scene.systemd.asked();
    let start = asked.first().because("a call")?;
    check_eq!(start.member, "StartTransientUnit", "the only call");
    check_eq!(asked.len(), 1, "calls of create");
    check_eq!(start.arguments[0], scene.unit(), "unit");
    check_eq!(start.arguments[1], "replace", "mode");
    check_eq!(start.arguments[3], json!([]), "auxiliary units");
    let pid = c.state()?["pid"].as_i64().because("pid")?;
    let io = if v2 {
        "IOAccounting"
    } else {
        "BlockIOAccounting"
    };
    let mut wanted = vec![
        ("Slice", json!(scene.slice)),
        ("PIDs", json!([pid])),
        ("Delegate", json!(true)),
        ("DefaultDependencies", json!(false)),
        ("MemoryAccounting", json!(true)),
        (io, json!(true)),
        ("CollectMode", json!("inactive-or-failed")),
    ];
    if !v2 {
        wanted.push(("MemoryLimit", json!(67_108_864)));
        wanted.push(("CPUShares", json!(1024)));
        wanted.push(("TasksMax", json!(33)));
        wanted.push(("AllowedCPUs", json!([1])));
        wanted.push(("DevicePolicy", json!("strict")));
    }
    for (name, value) in wanted {
        check_eq!(start.property(name), Some(&value), "{name}");
    }
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = cgroup_of(&scene.slice, &scene.unit());
    let ours = membership
        .lines()
        .filter(|line| line.ends_with(&*path.to_string_lossy()))
        .count();
    check!(
        ours > 0,
        "the init is in none of its cgroups:\n{membership}"
    );
    c.start()?;
    c.kill("KILL")?;
    c.wait_status("stopped")?;
    scene.delete(false)?;
    ctx.nothing_left()
}

fn a_scope_is_asked_for_with_the_init_and_the_limits(ctx: &Ctx) -> Outcome {
    asked_for_a_scope(ctx, false)
}

fn a_scope_is_asked_for_on_v2(ctx: &Ctx) -> Outcome {
    asked_for_a_scope(ctx, true)
}

fn only_create_and_delete_speak_to_systemd(ctx: &Ctx) -> Outcome {
    let scene = Scene::new(ctx, "252", always)?;
    let c = scene.create()?;
    let quiet: [&[&str]; 6] = [
        &["start"],
        &["state"],
        &["pause"],
        &["resume"],
        &["exec"],
        &["kill"],
    ];
    for verb in quiet {
        let after: &[&str] = match verb {
            ["exec"] => &["/bin/true"],
            ["kill"] => &["KILL"],
            _ => &[],
        };
        scene.with(c.verb(verb, after)).run()?.ok()?;
    }
    check_eq!(
        scene.systemd.methods(),
        ["StartTransientUnit"],
        "before delete"
    );
    c.wait_status("stopped")?;
    scene.delete(false)?;
    check_eq!(
        scene.systemd.methods(),
        ["StartTransientUnit", "StopUnit", "ResetFailedUnit"],
        "after delete"
    );
    let stop = &scene.systemd.asked()[1];
    check_eq!(
        stop.arguments,
        [json!(scene.unit()), json!("replace")],
        "StopUnit"
    );
    ctx.nothing_left()
}

fn systemds_own_socket_is_spoken_to_without_a_broker(ctx: &Ctx) -> Outcome {
    // The harness answers Hello too; what it does not do is count it.
    let mut scene = Scene::new(ctx, "252", always)?;
    scene.systemd = FakeSystemd::play(ctx, "systemd/private", "252", always)?;
    scene.create()?;
    scene.delete(true)?;
    ctx.nothing_left()
}

fn annotations_are_properties(ctx: &Ctx) -> Outcome {
    let scene = Scene::new(ctx, "252", always)?.set(
        "/annotations",
        json!({
            "org.systemd.property.TimeoutStopSec": "uint64 7",
            "org.systemd.property.CollectMode": "'inactive'",
            "org.systemd.property.After": "['a.service', \"b.service\"]",
            "other": "'x'",
        }),
    );
    scene.create()?;
    let asked = scene.systemd.asked();
    for (name, value) in [
        ("TimeoutStopUSec", json!(7_000_000)),
        ("CollectMode", json!("inactive")),
        ("After", json!(["a.service", "b.service"])),
    ] {
        check_eq!(asked[0].property(name), Some(&value), "{name}");
    }
    scene.delete(true)
}

fn what_is_no_unit_is_refused_before_systemd_is_asked(ctx: &Ctx) -> Outcome {
    for (pointer, value, words) in [
        ("/linux/cgroupsPath", "/a/b", "for systemd cgroups, got"),
        (
            "/linux/cgroupsPath",
            "a/b.slice:p:n",
            "is not the name of a",
        ),
        (
            "/linux/cgroupsPath",
            "x.slice:p:a/y",
            "is not the name of a unit",
        ),
        (
            "/annotations/org.systemd.property.A-b",
            "1",
            "is not the name of a property",
        ),
        ("/annotations/org.systemd.property.Abc", "'", "GVariant"),
    ] {
        let scene = Scene::new(ctx, "252", always)?.set(pointer, value);
        scene.refused(&[&format!("{pointer}: "), words])?;
        check!(
            scene.systemd.asked().is_empty(),
            "asked: {:?}",
            scene.systemd.asked()
        );
        std::fs::remove_file(ctx.dir.join("bus"))?;
    }
    Ok(())
}

/// `update --pids-limit 44` of a container that has 33; the limit that is in the file then.
fn updated(ctx: &Ctx, scene: &Scene, refused: bool) -> Outcome<String> {
    let pids = ctx
        .v1("pids")?
        .mount
        .join(cgroup_of(&scene.slice, &scene.unit()));
    let c = scene.create()?;
    let update = c.verb::<&str>(&["update", "--pids-limit", "44"], &[]);
    let output = scene.with(update).run()?;
    match refused {
        true => drop(
            output
                .refused()?
                .says(&["cannot change the systemd unit"])?,
        ),
        false => drop(output.ok()?),
    }
    let text = std::fs::read_to_string(pids.join("pids.max"))?;
    scene.delete(true)?;
    Ok(text.trim().to_owned())
}

fn update_tells_systemd_what_the_files_say(ctx: &Ctx) -> Outcome {
    let scene = Scene::new(ctx, "252", always)?.set("/linux/resources/pids/limit", 33);
    check_eq!(updated(ctx, &scene, false)?, "44", "pids.max");
    let asked = scene.systemd.asked();
    let set = asked
        .iter()
        .find(|a| a.member == "SetUnitProperties")
        .because("the call")?;
    check_eq!(
        set.arguments[..2],
        [json!(scene.unit()), json!(true)],
        "unit, for this boot"
    );
    check_eq!(set.arguments[2], json!([["TasksMax", 44]]), "properties");
    Ok(())
}

fn an_update_that_systemd_refuses_is_taken_back(ctx: &Ctx) -> Outcome {
    let refuse = Answer::Refuse("DBus.Error.InvalidArgs", "no".to_owned());
    let scene = Scene::new(ctx, "252", on("SetUnitProperties", refuse))?
        .set("/linux/resources/pids/limit", 33);
    check_eq!(updated(ctx, &scene, true)?, "33", "pids.max");
    Ok(())
}

fn delete_force_stops_a_unit_whose_create_was_killed(ctx: &Ctx) -> Outcome {
    // systemd has made the scope, and the runtime hears nothing of it.
    let scene = Scene::new(ctx, "252", on("StartTransientUnit", Answer::Silence))?;
    let mut running = scene.create_cmd()?.spawn()?;
    ctx.until("systemd is asked", || !scene.systemd.asked().is_empty())?;
    running.child.kill()?;
    running.child.wait()?;
    scene.delete(true)?;
    check!(
        scene.systemd.methods().contains(&"StopUnit".to_owned()),
        "not stopped: {:?}",
        scene.systemd.methods()
    );
    ctx.nothing_left()
}

fn thirty_starts_at_once(ctx: &Ctx) -> Outcome {
    let scene = Scene::new(ctx, "252", always)?;
    let mut running = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..30 {
        let bundle = Bundle::new(ctx)?.args(&["/bin/true"]);
        let bundle = bundle.set(
            "/linux/cgroupsPath",
            format!("{}:q:{}", scene.slice, ctx.next()),
        );
        bundle.write()?;
        ctx.created(&bundle.id);
        let cmd = bundle
            .verb::<&str>("run", &[])?
            .global(&["--systemd-cgroup"]);
        running.push(scene.with(cmd).spawn()?);
        ids.push(bundle);
    }
    for mut running in running {
        check_eq!(running.wait()?, 0, "exit code");
    }
    let starts = scene
        .systemd
        .methods()
        .iter()
        .filter(|m| *m == "StartTransientUnit")
        .count();
    check_eq!(starts, 30, "starts");
    ctx.nothing_left()
}
