//! `info`, also called `doctor`: facts about the host, each with a verdict.

use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use serde_json::Value;

tests!("info":
    each_fact_has_a_verdict_and_each_problem_its_advice,
    people_get_the_same_as_programs,
    doctor_is_another_name,
    what_is_in_the_way_is_seen,
    a_user_sees_the_own_ids,
    pure_v2_is_seen,
);

fn facts(ctx: &Ctx, within: &[&str]) -> Outcome<Value> {
    let output = ctx.rt(&["info", "--json"]).within(within).run()?.ok()?;
    check_eq!(output.stderr.as_str(), "", "stderr");
    serde_json::from_str(&output.stdout).because(&output.stdout)
}

/// One fact: what was found, and the verdict.
fn fact(facts: &Value, name: &str) -> Outcome<(String, String)> {
    let list = facts["facts"].as_array().because("facts")?;
    let found = list
        .iter()
        .find(|fact| fact["name"] == name)
        .because(name)?;
    let text = |key: &str| found[key].as_str().map(str::to_string).because(key);
    Ok((text("value")?, text("verdict")?))
}

fn each_fact_has_a_verdict_and_each_problem_its_advice(ctx: &Ctx) -> Outcome {
    let facts = facts(ctx, &[])?;
    let list = facts["facts"].as_array().because("facts")?;
    check!(list.len() > 40, "{} facts", list.len());
    for fact in list {
        let verdict = fact["verdict"].as_str().because("verdict")?;
        check!(["ok", "warn", "missing"].contains(&verdict), "{fact}");
        let advice = fact["advice"].as_str().because("advice")?;
        check_eq!(advice.is_empty(), verdict == "ok", "advice of {fact}");
        check!(!advice.contains('\n'), "{fact}");
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    check_eq!(fact(&facts, "release")?.0, release.trim(), "release");
    for name in [
        "openat2",
        "pidfd",
        "mount_setattr",
        "seccomp actions",
        "layout",
        "subuid",
    ] {
        fact(&facts, name)?;
    }
    check!(
        facts["version"].is_string() && facts["spec"] == "1.3.0",
        "{facts}"
    );
    Ok(())
}

fn people_get_the_same_as_programs(ctx: &Ctx) -> Outcome {
    let facts = facts(ctx, &[])?;
    let text = ctx.rt(&["info"]).run()?.ok()?.stdout;
    for fact in facts["facts"].as_array().because("facts")? {
        let name = fact["name"].as_str().because("name")?;
        let verdict = fact["verdict"].as_str().because("verdict")?;
        let line = format!("  {verdict:<8}{name}: ");
        check!(text.contains(&line), "no {line:?} in {text}");
    }
    Ok(())
}

fn doctor_is_another_name(ctx: &Ctx) -> Outcome {
    let info = ctx.rt(&["info"]).run()?.ok()?.stdout;
    let doctor = ctx.rt(&["doctor"]).run()?.ok()?.stdout;
    check_eq!(info, doctor, "what they print");
    let help = ctx.rt(&["doctor", "--help"]).run()?.ok()?.stdout;
    check!(help.contains("corten info"), "{help}");
    Ok(())
}

fn what_is_in_the_way_is_seen(ctx: &Ctx) -> Outcome {
    let found = facts(ctx, &["prlimit", "--nofile=1024:2048"])?;
    let expected = ("1024 of 2048".to_string(), "warn".to_string());
    check_eq!(fact(&found, "RLIMIT_NOFILE")?, expected, "RLIMIT_NOFILE");
    let found = facts(ctx, &["env", "PATH=/nosuch"])?;
    check_eq!(fact(&found, "criu")?.1, "warn", "criu");
    // A kernel that knows less.
    ctx.old_kernel
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let found = facts(ctx, &[])?;
    check_eq!(fact(&found, "mount_setattr")?.1, "warn", "mount_setattr");
    check_eq!(
        fact(&found, "id-mapped mounts")?.0,
        "no",
        "id-mapped mounts"
    );
    Ok(())
}

fn a_user_sees_the_own_ids(ctx: &Ctx) -> Outcome {
    ctx.use_user(false)?;
    let found = facts(ctx, &[])?;
    check_eq!(
        fact(&found, "subuid")?,
        ("none".into(), "warn".into()),
        "subuid"
    );
    check!(fact(&found, "may be made")?.0.starts_with("no"), "{found}");
    Ok(())
}

fn pure_v2_is_seen(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let found = facts(ctx, &[])?;
    let expected = ("v2 (unified)".to_string(), "ok".to_string());
    check_eq!(fact(&found, "layout")?, expected, "layout");
    Ok(())
}
