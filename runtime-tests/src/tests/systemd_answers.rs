//! The systemd cgroup driver against a systemd that the harness plays: what comes of answers that are
//! refusals, late, broken or none.

use crate::context::Ctx;
use crate::fake_systemd::scene::{Scene, always, on};
use crate::fake_systemd::{Answer, cgroup_of, job_removed, message};
use crate::outcome::Outcome;
use crate::{check, check_eq, tests};
use serde_json::json;
use std::time::{Duration, Instant};

tests!("systemd_answers":
    a_property_that_systemd_refuses_names_its_annotation,
    an_older_systemd_gets_the_properties_that_it_knows,
    a_name_that_a_failed_unit_holds_is_freed_once,
    a_unit_of_somebody_else_is_left_alone,
    every_result_of_a_job_is_explained,
    without_systemd_there_is_one_clear_line,
    a_peer_that_is_no_systemd_is_refused_in_one_line,
    messages_of_others_are_passed_over,
    a_systemd_that_is_started_anew_is_waited_for,
    a_scope_that_was_made_before_systemd_was_lost_is_taken,
    a_silent_systemd_is_waited_for_thirty_seconds as Long,
    a_peer_that_never_stops_speaking_ends_too as Long,
    delete_works_without_systemd,
);

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
