//! update that is refused, and what then is as it was; update by users.

use crate::bundle::Bundle;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::tests::pause::without_a_cgroup;
use crate::tests::update::{
    UNLIMITED, file, of_json, on_v2, pids_max, set, set_json, sleeping, update, v2_file,
};
use crate::user::ID;
use crate::{check, check_eq, tests};
use serde_json::json;
use std::os::unix::fs::chown;

tests!("update_refusals":
    a_refused_limit_leaves_all_as_it_was,
    a_usage_above_the_limit_is_refused_if_asked_for_on_v2,
    obsolete_flags_are_warned_of,
    nothing_to_change_is_no_error,
    a_stopped_container_is_refused,
    bad_values_are_refused_in_one_line,
    bad_files_are_refused_with_their_place,
    bad_command_lines_are_refused,
    without_a_cgroup_limits_are_refused_with_a_hint,
    a_user_updates_his_delegated_cgroup,
    a_user_without_the_right_gets_a_hint,
);

fn a_refused_limit_leaves_all_as_it_was(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    set(
        &c,
        "--memory 64m --memory-swap 128m --cpu-share 512 --cpu-quota 50000",
    )?;
    let files = [
        ("memory", "memory.limit_in_bytes", "memory.max"),
        ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
        ("cpu", "cpu.shares", "cpu.weight"),
        ("cpu", "cpu.cfs_quota_us", "cpu.max"),
        ("cpu", "cpu.cfs_period_us", "cpu.max"),
    ];
    let look = || -> Outcome<Vec<String>> {
        let one = |(controller, v1, v2): &(&str, &str, &str)| file(ctx, &c, controller, v1, v2);
        files.iter().map(one).collect()
    };
    let before = look()?;
    let record = ctx.state_root().join(&c.id).join("state.json");
    let state = std::fs::read(&record)?;
    // The cpuset comes after the rest, and is the one that cannot be.
    let flags = "--memory 256m --memory-swap 512m --cpu-share 300 --cpu-quota 900000 \
                 --cpu-period 1000000 --cpuset-cpus 4000";
    let flags: Vec<&str> = flags.split_whitespace().collect();
    update(&c, &flags)
        .run()?
        .refused()?
        .says(&["--cpuset-cpus: "])?
        // As glibc, Go and so runc say it, not as musl does.
        .says(&["numerical result out of range"])?;
    check_eq!(look()?, before, "limits");
    check!(std::fs::read(&record)? == state, "the record has changed");
    Ok(())
}

fn a_usage_above_the_limit_is_refused_if_asked_for_on_v2(ctx: &Ctx) -> Outcome {
    let c = on_v2(ctx, "memory")?;
    let memory = json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}});
    let refused = of_json(ctx, &c, &memory)?.run()?.refused()?;
    refused
        .says(&["/memory/limit: "])?
        .says(&["more memory than this is in use already"])?;
    check_eq!(v2_file(ctx, &c, "memory.max")?, "max", "limit");
    c.status_is("running")
}

fn obsolete_flags_are_warned_of(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    for flag in ["--kernel-memory", "--kernel-memory-tcp"] {
        let output = update(&c, &[flag, "-1", "--pids-limit", "9"]).run()?.ok()?;
        output.says(&[&format!("Setting {flag} is ignored and will be removed")])?;
    }
    check_eq!(pids_max(ctx, &c)?, "9", "pids.max");
    let memory = json!({"memory": {"kernel": 5}});
    let output = of_json(ctx, &c, &memory)?.run()?.ok()?;
    output.says(&["/memory/kernel: ignored"]).map(drop)
}

fn nothing_to_change_is_no_error(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    update::<&str>(&c, &[]).run()?.ok()?;
    set_json(ctx, &c, json!({}))
}

fn a_stopped_container_is_refused(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let pid = c.pid()?;
    c.kill("KILL")?;
    c.wait_pid(pid)?;
    let refused = update(&c, &["--pids-limit", "5"]).run()?.refused()?;
    refused.says(&["container not running"])?;
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn bad_values_are_refused_in_one_line(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    for (flag, value, says) in [
        ("--memory", "10x", "invalid size"),
        ("--memory", "", "invalid size"),
        ("--memory", "-2", "invalid size"),
        ("--memory", "1..5g", "invalid size"),
        ("--memory", "9223372036854775808", "too large"),
        ("--memory", "8388608t", "too large"),
        (
            "--memory-swap",
            "99999999999999999999999999999999999999999999",
            "too large",
        ),
        ("--memory-reservation", "five", "invalid size"),
        ("--cpu-share", "x", "invalid value"),
        ("--cpu-share", "-1", "invalid value"),
        ("--cpu-share", "18446744073709551616", "invalid value"),
        ("--cpu-share", "1", "--cpu-share: 1 is out of range"),
        ("--cpu-quota", "1.5", "invalid value"),
        ("--cpu-quota", "5", "--cpu-quota: cannot write"),
        ("--cpu-period", "999999999", "--cpu-period: cannot write"),
        ("--cpu-period", "-5", "invalid value"),
        ("--cpu-burst", "18446744073709551616", "invalid value"),
        ("--cpu-idle", "2", "--cpu-idle: 2 is out of range"),
        ("--cpu-rt-period", "x", "invalid value"),
        ("--cpu-rt-runtime", "x", "invalid value"),
        ("--cpuset-cpus", "3-1", "--cpuset-cpus: "),
        ("--cpuset-mems", "4000", "--cpuset-mems: "),
        ("--blkio-weight", "7", "--blkio-weight: 7 is out of range"),
        ("--blkio-weight", "70000", "invalid value"),
        ("--pids-limit", "x", "invalid value"),
        ("--pids-limit", "9223372036854775808", "invalid value"),
        ("--mem-bw-schema", "L3:0=f", "--mem-bw-schema: "),
    ] {
        // On v2 the least weight stands for it.
        if (flag, value) == ("--cpu-share", "1") && ctx.v1("cpu").is_err() {
            continue;
        }
        update(&c, &[flag, value]).run()?.refused()?.says(&[says])?;
    }
    let both = update(&c, &["--memory", "64m", "--memory-swap", "32m"])
        .run()?
        .refused()?;
    both.says(&["--memory-swap: "])?;
    let limit = file(ctx, &c, "memory", "memory.limit_in_bytes", "memory.max")?;
    check!(limit == UNLIMITED || limit == "max", "limit: {limit}");
    c.status_is("running")
}

fn bad_files_are_refused_with_their_place(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    for (text, says) in [
        (
            r#"{"memory":{"limit":"x"}}"#,
            "/memory/limit: expected a whole number",
        ),
        (
            r#"{"memory":{"limit":1.5}}"#,
            "/memory/limit: expected a whole number",
        ),
        (
            r#"{"memory":{"limit":-7}}"#,
            "/memory/limit: -7 is out of range",
        ),
        (
            r#"{"memory":{"limit":99999999999999999999}}"#,
            "/memory/limit: ",
        ),
        (r#"{"memory":[]}"#, "/memory: expected an object"),
        (r#"{"cpu":{"cpus":"9-1"}}"#, "/cpu/cpus: "),
        (r#"{"cpu":{"idle":7}}"#, "/cpu/idle: 7 is out of range"),
        (
            r#"{"blockIO":{"weight":9}}"#,
            "/blockIO/weight: 9 is out of range",
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":77777,"minor":1,"rate":1}]}}"#,
            "/blockIO/throttleReadBpsDevice/0: ",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"x","limit":1}]}"#,
            "/hugepageLimits/0/pageSize: ",
        ),
        (r#"{"memory":{"limit":5},"#, "the file ends too early"),
        ("{memory}", "not valid JSON"),
        ("", "the file is empty"),
        ("[]", "expected an object"),
    ] {
        let path = ctx.dir.join("bad.json");
        std::fs::write(&path, text)?;
        let path = path.to_string_lossy();
        let refused = update(&c, &["-r", &path]).run()?.refused()?;
        refused.says(&[says])?.says(&["bad.json: "])?;
    }
    let refused = update(&c, &["-r", "/nonexistent"]).run()?.refused()?;
    refused.says(&["cannot read the resources from /nonexistent: no such file"])?;
    let refused = update(&c, &["-r", "/tmp"]).run()?.refused()?;
    refused.says(&["is a directory"])?;
    c.status_is("running")
}

fn bad_command_lines_are_refused(ctx: &Ctx) -> Outcome {
    for (args, says) in [
        (&["update"] as &[&str], "missing argument"),
        (&["update", "a", "b"], "one argument too many"),
        (&["update", "--nosuch", "a"], "unknown flag --nosuch"),
        (
            &["update", "--cpu-shares", "5", "a"],
            "did you mean --cpu-share?",
        ),
        (&["update", "a", "--memory"], "missing value of --memory"),
        (
            &["update", "--pids-limit", "5", "nosuch"],
            "container does not exist",
        ),
        (&["update", "--pids-limit", "5", "../x"], "id"),
    ] {
        ctx.rt(args).run()?.refused()?.says(&[says])?;
    }
    let help = ctx.rt(&["update", "--help"]).run()?.ok()?.stdout;
    check!(
        help.contains("Example:") && help.contains("--cpu-burst"),
        "{help}"
    );
    ctx.nothing_left()
}

fn without_a_cgroup_limits_are_refused_with_a_hint(ctx: &Ctx) -> Outcome {
    let c = without_a_cgroup(ctx)?;
    let refused = update(&c, &["--pids-limit", "5"]).run()?.refused()?;
    refused
        .says(&["it has no cgroup of its own"])?
        .says(&["systemd-run --user --scope -p Delegate=yes"])?;
    update::<&str>(&c, &[]).run()?.ok()?;
    c.status_is("running")
}

fn a_users_container<'a>(ctx: &'a Ctx) -> Outcome<Container<'a>> {
    ctx.use_user(false)?;
    crate::tests::rootless_cgroups::delegated(ctx)?;
    let b = Bundle::new(ctx)?.rootless(ID)?;
    b.args(&["/bin/sleep", "1000"]).detach()
}

fn a_user_updates_his_delegated_cgroup(ctx: &Ctx) -> Outcome {
    let c = a_users_container(ctx)?;
    set_json(ctx, &c, json!({"unified": {"cgroup.max.depth": "3"}}))?;
    check_eq!(v2_file(ctx, &c, "cgroup.max.depth")?, "3", "depth");
    c.delete_force()?.ok()?;
    std::fs::remove_dir(ctx.cgroup_dir(ctx.v2("")?, "user"))?;
    ctx.nothing_left()
}

fn a_user_without_the_right_gets_a_hint(ctx: &Ctx) -> Outcome {
    let c = a_users_container(ctx)?;
    let file = ctx.cgroup_dir(ctx.v2("")?, &c.id).join("cgroup.max.depth");
    chown(&file, Some(0), Some(0)).because(file.display())?;
    let unified = json!({"unified": {"cgroup.max.depth": "3"}});
    let refused = of_json(ctx, &c, &unified)?.run()?.refused()?;
    refused
        .says(&["permission denied"])?
        .says(&["a cgroup that was delegated to him"])?;
    c.delete_force()?.ok()?;
    std::fs::remove_dir(ctx.cgroup_dir(ctx.v2("")?, "user"))?;
    ctx.nothing_left()
}
