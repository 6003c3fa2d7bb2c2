//! The process as config.json describes it, and nothing of the caller in it.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{check_eq, tests};
use serde_json::json;

tests!("process":
    args_arrive_as_they_are,
    the_command_is_looked_up_in_the_containers_path,
    the_command_may_be_relative_to_cwd,
    a_script_with_an_interpreter_runs,
    the_environment_is_exactly_the_configured_one,
    home_that_is_found_comes_last,
    of_two_variables_with_one_name_the_last_counts,
    home_comes_from_passwd_when_unset,
    home_is_found_from_another_cwd,
    home_of_an_unknown_user_is_the_root,
    home_that_is_set_stays,
    cwd_is_entered,
    cwd_is_made_when_missing,
    cwd_is_made_below_a_root_that_becomes_read_only,
    cwd_may_be_reached_through_a_link_inside,
    cwd_may_be_closed_to_root_but_open_to_the_user,
    user_and_groups_are_set,
    umask_is_0022_unless_given,
    rlimits_are_set,
    no_new_privileges_is_set_only_when_asked,
    oom_score_adj_is_set_and_otherwise_the_callers,
    sysctls_are_set,
    scheduler_is_set,
    io_priority_is_set,
    personality_is_set,
    a_user_without_rights_can_use_the_stdio_it_is_given,
);

fn args_arrive_as_they_are(ctx: &Ctx) -> Outcome {
    let odd = [
        "",
        "two words",
        "$HOME *",
        "quote\"s'",
        "tab\tnew\nline",
        "ümläut",
        "--",
        "-x",
    ];
    let mut args = vec!["/bin/probe", "facts"];
    args.extend(odd);
    let output = Bundle::new(ctx)?.args(&args).run()?.ok()?;
    let facts: serde_json::Value = serde_json::from_str(&output.stdout)?;
    check_eq!(facts["args"], json!(args), "arguments");
    Ok(())
}

fn the_command_is_looked_up_in_the_containers_path(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/process/env", json!(["PATH=/nosuch:/bin"]));
    check_eq!(
        b.args(&["echo", "found"]).run()?.ok()?.stdout,
        "found\n",
        "output"
    );
    Ok(())
}

fn the_command_may_be_relative_to_cwd(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .set("/process/cwd", "/bin")
        .args(&["./echo", "found"]);
    check_eq!(b.run()?.ok()?.stdout, "found\n", "output");
    Ok(())
}

fn a_script_with_an_interpreter_runs(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/script", "argument"]);
    let path = b.rootfs().join("bin/script");
    std::fs::write(&path, "#!/bin/sh\necho \"$0 $1\"\n")?;
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, all)?;
    check_eq!(b.run()?.ok()?.stdout, "/bin/script argument\n", "output");
    Ok(())
}

fn the_environment_is_exactly_the_configured_one(ctx: &Ctx) -> Outcome {
    let env = json!([
        "PATH=/bin",
        "A=1",
        "EMPTY=",
        "WITH=equals=and spaces",
        "HOME=/x"
    ]);
    let b = Bundle::new(ctx)?
        .set("/process/env", env.clone())
        .args(&["/bin/probe", "facts"]);
    let cmd = b.verb::<&str>("run", &[])?.env("LEAKED", "1");
    let facts: serde_json::Value = serde_json::from_str(&cmd.run()?.ok()?.stdout)?;
    check_eq!(facts["env"], env, "environment");
    Ok(())
}

fn home(ctx: &Ctx, uid: u32) -> Outcome<Option<String>> {
    let facts = Bundle::new(ctx)?
        .set("/process/user", json!({"uid": uid, "gid": 0}))
        .facts()?;
    Ok(facts.env("HOME"))
}

fn home_comes_from_passwd_when_unset(ctx: &Ctx) -> Outcome {
    check_eq!(home(ctx, 0)?.as_deref(), Some("/root"), "HOME of uid 0");
    check_eq!(
        home(ctx, 1000)?.as_deref(),
        Some("/home"),
        "HOME of uid 1000"
    );
    Ok(())
}

fn home_is_found_from_another_cwd(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?.set("/process/cwd", "/tmp").facts()?;
    check_eq!(facts.env("HOME").as_deref(), Some("/root"), "HOME of uid 0");
    Ok(())
}

/// Where runc puts it: whoever prints the environment sees no difference.
fn home_that_is_found_comes_last(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/process/env", json!(["PATH=/bin", "A=1"]));
    check_eq!(
        b.facts()?.0["env"],
        json!(["PATH=/bin", "A=1", "HOME=/root"]),
        "environment"
    );
    Ok(())
}

fn of_two_variables_with_one_name_the_last_counts(ctx: &Ctx) -> Outcome {
    let env = json!(["PATH=/bin", "A=1", "AB=3", "A=2"]);
    let said = Bundle::new(ctx)?
        .set("/process/env", env)
        .args(&["/bin/env"])
        .run()?
        .ok()?
        .stdout;
    let found: Vec<&str> = said.lines().filter(|l| l.starts_with('A')).collect();
    check_eq!(found, ["AB=3", "A=2"], "variables");
    Ok(())
}

fn cwd_is_made_below_a_root_that_becomes_read_only(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .set("/root/readonly", true)
        .set("/process/cwd", "/not/there");
    check_eq!(b.says("pwd")?, "/not/there", "working directory");
    Ok(())
}

fn home_of_an_unknown_user_is_the_root(ctx: &Ctx) -> Outcome {
    check_eq!(
        home(ctx, 4711)?.as_deref(),
        Some("/"),
        "HOME of a user without passwd line"
    );
    let b = Bundle::new(ctx)?;
    std::fs::remove_file(b.rootfs().join("etc/passwd"))?;
    check_eq!(
        b.facts()?.env("HOME").as_deref(),
        Some("/"),
        "HOME without passwd"
    );
    Ok(())
}

fn home_that_is_set_stays(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?
        .push("/process/env", "HOME=/elsewhere")
        .facts()?;
    check_eq!(facts.env("HOME").as_deref(), Some("/elsewhere"), "HOME");
    Ok(())
}

fn cwd_is_entered(ctx: &Ctx) -> Outcome {
    check_eq!(
        Bundle::new(ctx)?
            .set("/process/cwd", "/var/tmp")
            .facts()?
            .text("cwd")?,
        "/var/tmp",
        "cwd"
    );
    Ok(())
}

fn cwd_is_made_when_missing(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?
        .set("/process/cwd", "/not/there/yet")
        .facts()?;
    check_eq!(facts.text("cwd")?, "/not/there/yet", "cwd");
    Ok(())
}

fn cwd_may_be_reached_through_a_link_inside(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/process/cwd", "/link/tmp");
    std::os::unix::fs::symlink("/var", b.rootfs().join("link"))?;
    check_eq!(b.facts()?.text("cwd")?, "/var/tmp", "cwd");
    Ok(())
}

fn cwd_may_be_closed_to_root_but_open_to_the_user(ctx: &Ctx) -> Outcome {
    // Without CAP_DAC_OVERRIDE root cannot enter a folder of mode 0700 of another user.
    let b = Bundle::new(ctx)?
        .capabilities(&[])
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/cwd", "/srv/private");
    let dir = b.rootfs().join("srv/private");
    std::fs::create_dir(&dir)?;
    std::os::unix::fs::chown(&dir, Some(1000), Some(1000))?;
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    check_eq!(b.facts()?.text("cwd")?, "/srv/private", "cwd");
    Ok(())
}

fn user_and_groups_are_set(ctx: &Ctx) -> Outcome {
    let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6, 70000]});
    let facts = Bundle::new(ctx)?.set("/process/user", user).facts()?;
    check_eq!(facts.status("Uid")?, "1000 1000 1000 1000", "user");
    check_eq!(facts.status("Gid")?, "1001 1001 1001 1001", "group");
    check_eq!(facts.status("Groups")?, "5 6 70000", "supplementary groups");
    Ok(())
}

fn umask_is_0022_unless_given(ctx: &Ctx) -> Outcome {
    check_eq!(
        Bundle::new(ctx)?.facts()?.text("umask")?,
        "0022",
        "umask by default"
    );
    for (given, wanted) in [(0, "0000"), (0o77, "0077"), (0o27, "0027")] {
        let facts = Bundle::new(ctx)?
            .set("/process/user/umask", given)
            .facts()?;
        check_eq!(facts.text("umask")?, wanted, "umask");
    }
    Ok(())
}

fn rlimits_are_set(ctx: &Ctx) -> Outcome {
    let cases: [(&str, &str, u64, u64); 16] = [
        ("RLIMIT_NOFILE", "Max open files", 200, 1000),
        ("RLIMIT_CORE", "Max core file size", 0, 4096),
        ("RLIMIT_NPROC", "Max processes", 300, 400),
        ("RLIMIT_STACK", "Max stack size", 4 << 20, 8 << 20),
        ("RLIMIT_FSIZE", "Max file size", 1 << 30, 1 << 31),
        ("RLIMIT_CPU", "Max cpu time", 100, 200),
        ("RLIMIT_MEMLOCK", "Max locked memory", 4096, 8192),
        ("RLIMIT_AS", "Max address space", 1 << 32, 1 << 33),
        ("RLIMIT_DATA", "Max data size", 1 << 32, 1 << 33),
        ("RLIMIT_RSS", "Max resident set", 1 << 31, 1 << 32),
        ("RLIMIT_LOCKS", "Max file locks", 10, 20),
        ("RLIMIT_SIGPENDING", "Max pending signals", 30, 40),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size", 50, 60),
        ("RLIMIT_NICE", "Max nice priority", 0, 0),
        ("RLIMIT_RTPRIO", "Max realtime priority", 0, 0),
        ("RLIMIT_RTTIME", "Max realtime timeout", 70_000, 80_000),
    ];
    let mut b = Bundle::new(ctx)?;
    for (kind, _, soft, hard) in cases {
        b = b.push(
            "/process/rlimits",
            json!({"type": kind, "soft": soft, "hard": hard}),
        );
    }
    let facts = b.facts()?;
    for (kind, name, soft, hard) in cases {
        let wanted = json!([soft.to_string(), hard.to_string()]);
        check_eq!(facts.0["limits"][name], wanted, "{kind}");
    }
    Ok(())
}

fn no_new_privileges_is_set_only_when_asked(ctx: &Ctx) -> Outcome {
    check_eq!(
        Bundle::new(ctx)?.facts()?.status("NoNewPrivs")?,
        "0",
        "without"
    );
    let facts = Bundle::new(ctx)?
        .set("/process/noNewPrivileges", true)
        .facts()?;
    check_eq!(facts.status("NoNewPrivs")?, "1", "with");
    Ok(())
}

fn oom_score_adj_is_set_and_otherwise_the_callers(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?.set("/process/oomScoreAdj", 321).facts()?;
    check_eq!(facts.text("oom_score_adj")?, "321", "as configured");
    let b = Bundle::new(ctx)?.args(&["/bin/cat", "/proc/self/oom_score_adj"]);
    let set = "echo 77 > /proc/self/oom_score_adj; exec \"$0\" \"$@\"";
    let said = b
        .verb::<&str>("run", &[])?
        .within(&["/bin/sh", "-c", set])
        .run()?
        .ok()?
        .stdout;
    check_eq!(said, "77\n", "the caller's");
    Ok(())
}

fn sysctls_are_set(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_forward": "1", "kernel.shmmni": "1234", "fs.mqueue.msg_max": "20",
               "net.ipv4.ping_group_range": "0 100", "net/ipv4/conf/lo/forwarding": "1"}),
    );
    let said = b.says(
        "cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmni fs/mqueue/msg_max net/ipv4/ping_group_range",
    )?;
    check_eq!(said.replace('\t', " "), "1\n1234\n20\n0 100", "values");
    Ok(())
}

fn scheduler_is_set(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?
        .set(
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "nice": 5}),
        )
        .facts()?;
    check_eq!(
        (&facts.0["scheduler"], &facts.0["nice"]),
        (&json!(3), &json!(5)),
        "policy and nice"
    );
    Ok(())
}

fn io_priority_is_set(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set(
        "/process/ioPriority",
        json!({"class": "IOPRIO_CLASS_BE", "priority": 6}),
    );
    // ioprio_get(IOPRIO_WHO_PROCESS, self): class 2 in the top bits.
    let number = libc::SYS_ioprio_get.to_string();
    let found = b.probe(&["syscall", &number, "1", "0"])?;
    check_eq!(found["result"], json!((2 << 13) | 6), "I/O priority");
    Ok(())
}

fn personality_is_set(ctx: &Ctx) -> Outcome {
    if cfg!(not(target_arch = "x86_64")) {
        return skip("LINUX32 is tried on x86_64 only");
    }
    let b = Bundle::new(ctx)?.set("/linux/personality", json!({"domain": "LINUX32"}));
    check_eq!(b.says("uname -m")?, "i686", "machine");
    Ok(())
}

fn a_user_without_rights_can_use_the_stdio_it_is_given(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .args(&["/bin/echo", "mine"]);
    let mut run = b.verb::<&str>("run", &[])?.spawn()?;
    let mut said = String::new();
    std::io::Read::read_to_string(&mut run.child.stdout.take().because("stdout")?, &mut said)?;
    check_eq!(said, "mine\n", "output");
    check_eq!(run.wait()?, 0, "exit code");
    Ok(())
}
