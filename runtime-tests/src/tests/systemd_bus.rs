//! The systemd cgroup driver against a systemd that the harness plays: what is asked for, and what
//! comes of every answer. The real one is in `systemd`.

use crate::bundle::Bundle;
use crate::command::Cmd;
use crate::container::Container;
use crate::context::Ctx;
use crate::fake_systemd::{Answer, FakeSystemd, cgroup_of, job_removed, message};
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

tests!("systemd_bus":
    a_scope_is_asked_for_with_the_init_and_the_limits,
    a_scope_is_asked_for_on_v2,
    only_create_and_delete_speak_to_systemd,
    systemds_own_socket_is_spoken_to_without_a_broker,
    annotations_are_properties,
    a_property_that_systemd_refuses_names_its_annotation,
    what_is_no_unit_is_refused_before_systemd_is_asked,
    an_older_systemd_gets_the_properties_that_it_knows,
    a_name_that_a_failed_unit_holds_is_freed_once,
    a_unit_of_somebody_else_is_left_alone,
    every_result_of_a_job_is_explained,
    without_systemd_there_is_one_clear_line,
    a_peer_that_is_no_systemd_is_refused_in_one_line,
    update_tells_systemd_what_the_files_say,
    an_update_that_systemd_refuses_is_taken_back,
    messages_of_others_are_passed_over,
    a_systemd_that_is_started_anew_is_waited_for,
    a_scope_that_was_made_before_systemd_was_lost_is_taken,
    a_silent_systemd_is_waited_for_thirty_seconds as Long,
    a_peer_that_never_stops_speaking_ends_too as Long,
    delete_works_without_systemd,
    delete_force_stops_a_unit_whose_create_was_killed,
    thirty_starts_at_once,
);

struct Scene<'a> {
    ctx: &'a Ctx,
    systemd: FakeSystemd,
    bundle: Bundle<'a>,
    slice: String,
}

impl<'a> Scene<'a> {
    fn new(
        ctx: &'a Ctx,
        version: &'static str,
        script: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
    ) -> Outcome<Scene<'a>> {
        let systemd = FakeSystemd::play(ctx, "bus", version, script)?;
        let stem = ctx.prefix.replace(|c: char| !c.is_ascii_digit(), "x");
        let slice = format!("t{stem}-a.slice");
        let bundle = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
        let path = format!("{slice}:p:{}", bundle.id);
        Ok(Scene {
            ctx,
            systemd,
            bundle: bundle.set("/linux/cgroupsPath", path),
            slice,
        })
    }

    fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.bundle = self.bundle.set(pointer, value);
        self
    }

    fn unit(&self) -> String {
        format!("p-{}.scope", self.bundle.id)
    }

    fn with<'c>(&self, cmd: Cmd<'c>) -> Cmd<'c> {
        cmd.env("DBUS_SYSTEM_BUS_ADDRESS", &self.systemd.address)
    }

    fn create_cmd(&self) -> Outcome<Cmd<'a>> {
        self.ctx.created(&self.bundle.id);
        self.bundle.write()?;
        let cmd = self
            .bundle
            .verb::<&str>("create", &[])?
            .global(&["--systemd-cgroup"]);
        Ok(self.with(cmd))
    }

    fn container(&self) -> Container<'a> {
        let output = self.ctx.dir.join("container");
        Container::new(self.ctx, &self.bundle.id, &self.bundle.dir, output)
    }

    fn create(&self) -> Outcome<Container<'a>> {
        self.create_cmd()?
            .output(self.ctx.dir.join("container"))
            .run()?
            .ok()?;
        Ok(self.container())
    }

    /// `create` fails with these words, and nothing stays.
    fn refused(&self, words: &[&str]) -> Outcome {
        let output = self.create_cmd()?.run()?.refused()?;
        for word in words {
            output.clone().says(&[word])?;
        }
        self.no_cgroup()?;
        self.ctx.nothing_left()
    }

    fn delete(&self, force: bool) -> Outcome {
        let args: &[&str] = if force {
            &["delete", "--force"]
        } else {
            &["delete"]
        };
        self.with(self.container().verb::<&str>(args, &[]))
            .run()?
            .ok()?;
        self.no_cgroup()
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let unit = cgroup_of(&self.slice, &self.unit());
        let dirs = self.ctx.hierarchies.iter().map(|h| h.mount.join(&unit));
        dirs.filter(|dir| dir.exists()).collect()
    }

    fn no_cgroup(&self) -> Outcome {
        check_eq!(self.cgroups(), Vec::<PathBuf>::new(), "cgroups left");
        Ok(())
    }
}

fn always(_: &str, _: usize) -> Answer {
    Answer::Do
}

fn on(member: &'static str, answer: Answer) -> impl Fn(&str, usize) -> Answer + Send + Sync {
    move |asked, _| {
        if asked == member {
            answer.clone()
        } else {
            Answer::Do
        }
    }
}

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

fn a_property_that_systemd_refuses_names_its_annotation(ctx: &Ctx) -> Outcome {
    let why = "Cannot set property Nonsense, or unknown property.".to_owned();
    let refuse = on(
        "StartTransientUnit",
        Answer::Refuse("DBus.Error.PropertyReadOnly", why),
    );
    let scene = Scene::new(ctx, "252", refuse)?.set(
        "/annotations",
        json!({"org.systemd.property.Nonsense": "true"}),
    );
    scene.refused(&[
        "/annotations/org.systemd.property.Nonsense: cannot start the systemd unit",
        "Cannot set property Nonsense",
    ])
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

fn an_older_systemd_gets_the_properties_that_it_knows(ctx: &Ctx) -> Outcome {
    ctx.v1("cpu")?;
    let why = "Cannot set property CPUQuotaPeriodUSec, or unknown property.".to_owned();
    let scene = Scene::new(ctx, "v239-1.el8", move |member, before| {
        match (member, before) {
            ("StartTransientUnit", 0) => Answer::Refuse("DBus.Error.PropertyReadOnly", why.clone()),
            _ => Answer::Do,
        }
    })?
    .set(
        "/linux/resources",
        json!({"cpu": {"quota": 20_000, "period": 40_000}}),
    );
    scene.create()?;
    check_eq!(
        scene.systemd.methods(),
        ["StartTransientUnit", "Get", "StartTransientUnit"],
        "calls"
    );
    let last = &scene.systemd.asked()[2];
    check_eq!(
        last.property("CPUQuotaPeriodUSec"),
        None,
        "one that is too new"
    );
    check_eq!(
        last.property("CPUQuotaPerSecUSec"),
        Some(&json!(500_000)),
        "one that is not"
    );
    check!(
        last.property("CollectMode").is_some(),
        "CollectMode is as old as 236"
    );
    scene.delete(true)
}

fn a_name_that_a_failed_unit_holds_is_freed_once(ctx: &Ctx) -> Outcome {
    let taken = || {
        Answer::Refuse(
            "systemd1.UnitExists",
            "Unit p.scope already exists.".to_owned(),
        )
    };
    let scene = Scene::new(ctx, "252", move |member, before| match (member, before) {
        ("StartTransientUnit", 0) => taken(),
        _ => Answer::Do,
    })?;
    scene.create()?;
    let methods = scene.systemd.methods();
    check_eq!(
        methods,
        [
            "StartTransientUnit",
            "ResetFailedUnit",
            "StartTransientUnit"
        ],
        "calls"
    );
    check_eq!(
        scene.systemd.asked()[1].arguments,
        [json!(scene.unit())],
        "ResetFailedUnit"
    );
    scene.delete(true)
}

fn a_unit_of_somebody_else_is_left_alone(ctx: &Ctx) -> Outcome {
    let taken = Answer::Refuse(
        "systemd1.UnitExists",
        "Unit p.scope already exists.".to_owned(),
    );
    let scene = Scene::new(ctx, "252", on("StartTransientUnit", taken))?;
    scene.refused(&[
        "/linux/cgroupsPath: ",
        &scene.unit(),
        "already exists",
        "another name",
    ])?;
    let stopped = scene
        .systemd
        .methods()
        .iter()
        .any(|method| method == "StopUnit");
    check!(!stopped, "the other's unit was stopped");
    Ok(())
}

fn every_result_of_a_job_is_explained(ctx: &Ctx) -> Outcome {
    for (result, words) in [
        ("failed", "the journal has the reason: journalctl -u"),
        ("timeout", "longer than systemd allows"),
        ("canceled", "another job"),
        ("dependency", "its slice"),
        ("skipped", "nothing to do"),
        ("something\nelse", "else"),
    ] {
        let scene = Scene::new(ctx, "252", on("StartTransientUnit", Answer::Job(result)))?;
        scene.refused(&[
            "/linux/cgroupsPath: cannot start the systemd unit",
            &scene.unit(),
            "ended with result",
            words,
        ])?;
        check!(
            scene
                .systemd
                .methods()
                .contains(&"ResetFailedUnit".to_owned()),
            "the failed unit stays: {:?}",
            scene.systemd.methods()
        );
        std::fs::remove_file(ctx.dir.join("bus"))?;
    }
    Ok(())
}

fn without_systemd_there_is_one_clear_line(ctx: &Ctx) -> Outcome {
    if std::path::Path::new("/run/systemd/private").exists() {
        return crate::outcome::skip("this machine has a systemd");
    }
    let mut scene = Scene::new(ctx, "252", always)?;
    scene.systemd.address = "unix:path=/nowhere".to_owned();
    scene.refused(&[
        "cannot speak to systemd: /nowhere: no such file",
        "/run/systemd/private",
        "--cgroup-manager=cgroupfs",
    ])
}

fn a_peer_that_is_no_systemd_is_refused_in_one_line(ctx: &Ctx) -> Outcome {
    let mut too_long = b"l\x02\x01\x01".to_vec();
    too_long.extend([0xff; 12]);
    let broken = message(2, &[(5, 'u', "2"), (5, 'y', "")], &[]);
    let no_path = message(2, &[(5, 'u', "3"), (8, 'g', "u")], &[0; 4]);
    for (bytes, words) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "is not D-Bus"),
        (vec![0; 64], "is not D-Bus"),
        (too_long, "is not D-Bus"),
        (broken, "is not D-Bus"),
        (no_path, "is not D-Bus"),
    ] {
        let script = move |member: &str, _: usize| match member {
            "StartTransientUnit" => Answer::First(bytes.clone()),
            _ => Answer::Do,
        };
        let scene = Scene::new(ctx, "252", script)?;
        scene.refused(&["cannot start the systemd unit", words])?;
        std::fs::remove_file(ctx.dir.join("bus"))?;
    }
    let scene = Scene::new(ctx, "252", on("StartTransientUnit", Answer::Close))?;
    scene.refused(&["cannot start the systemd unit", "closed the connection"])?;
    check_eq!(
        scene
            .systemd
            .methods()
            .iter()
            .filter(|m| *m == "StartTransientUnit")
            .count(),
        4,
        "tries"
    );
    Ok(())
}

fn a_systemd_that_is_started_anew_is_waited_for(ctx: &Ctx) -> Outcome {
    let lost = || {
        Answer::Refuse(
            "DBus.Error.NoReply",
            "disconnected without replying".to_owned(),
        )
    };
    let scene = Scene::new(ctx, "252", move |member, before| match (member, before) {
        ("StartTransientUnit" | "StopUnit", 0) => lost(),
        ("StartTransientUnit" | "StopUnit", 1) => Answer::Close,
        _ => Answer::Do,
    })?;
    scene.create()?;
    scene.delete(true)?;
    let methods = scene.systemd.methods();
    check_eq!(methods[..3], ["StartTransientUnit"; 3], "create");
    check_eq!(methods[3..6], ["StopUnit"; 3], "delete");
    ctx.nothing_left()
}

fn a_scope_that_was_made_before_systemd_was_lost_is_taken(ctx: &Ctx) -> Outcome {
    let scene = Scene::new(ctx, "252", move |member, before| match (member, before) {
        ("StartTransientUnit", 0) => Answer::DoAndClose,
        ("StartTransientUnit", _) => Answer::Refuse("systemd1.UnitExists", "exists".to_owned()),
        _ => Answer::Do,
    })?;
    scene.create()?;
    check_eq!(scene.systemd.methods(), ["StartTransientUnit"; 2], "create");
    scene.delete(true)?;
    ctx.nothing_left()
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

fn messages_of_others_are_passed_over(ctx: &Ctx) -> Outcome {
    // A long message, one of another unit's job, one that answers nobody, and one that is cut into
    // two by what follows later.
    let long = message(
        4,
        &[(3, 's', "PropertiesChanged"), (8, 'g', "s")],
        &vec![b'x'; 3_000_000],
    );
    let error = message(
        3,
        &[(4, 's', "org.x"), (5, 'u', "999"), (8, 'g', "s")],
        b"\x01\0\0\0a\0",
    );
    let all = [long, job_removed("/job/7", "other.scope", "failed"), error].concat();
    let scene = Scene::new(ctx, "252", on("StartTransientUnit", Answer::First(all)))?;
    scene.create()?;
    scene.delete(true)?;
    ctx.nothing_left()
}

fn ends_in_time(ctx: &Ctx, answer: Answer) -> Outcome {
    let scene = Scene::new(ctx, "252", on("StartTransientUnit", answer))?;
    let begin = Instant::now();
    scene.refused(&[
        "cannot start the systemd unit",
        &scene.unit(),
        "did not answer in time",
        "systemctl list-jobs",
    ])?;
    let taken = begin.elapsed();
    let wanted = Duration::from_secs(29)..Duration::from_secs(45);
    check!(wanted.contains(&taken), "it took {taken:?}");
    Ok(())
}

fn a_silent_systemd_is_waited_for_thirty_seconds(ctx: &Ctx) -> Outcome {
    ends_in_time(ctx, Answer::Silence)
}

fn a_peer_that_never_stops_speaking_ends_too(ctx: &Ctx) -> Outcome {
    ends_in_time(
        ctx,
        Answer::Endless(job_removed("/job/7", "other.scope", "failed").repeat(50)),
    )
}

fn delete_works_without_systemd(ctx: &Ctx) -> Outcome {
    let mut scene = Scene::new(ctx, "252", always)?;
    scene.create()?;
    scene.systemd.address = "unix:path=/nowhere".to_owned();
    let scope = cgroup_of(&scene.slice, &scene.unit());
    let output = scene
        .with(scene.container().verb::<&str>(&["delete", "--force"], &[]))
        .run()?
        .ok()?;
    if !std::path::Path::new("/run/systemd/private").exists() {
        output.says(&["level=warning", "cannot speak to systemd"])?;
    }
    scene.no_cgroup()?;
    for hierarchy in &ctx.hierarchies {
        for level in scope
            .ancestors()
            .skip(1)
            .filter(|l| l.components().next().is_some())
        {
            let _ = std::fs::remove_dir(hierarchy.mount.join(level));
        }
    }
    ctx.nothing_left()
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
