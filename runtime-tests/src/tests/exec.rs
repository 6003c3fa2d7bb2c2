//! `exec`: its flags, its streams and terminals, its exit codes.

use crate::bundle::Bundle;
use crate::cgroups::Hierarchy;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, procs, tests};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::Read;
use std::path::PathBuf;

tests!("exec":
    exit_codes_are_passed_on,
    death_by_a_signal_is_128_plus_its_number,
    cve_2026_30892_user_is_a_user_and_perhaps_a_group,
    additional_gids_are_added,
    cwd_is_entered,
    env_is_added_and_the_last_counts,
    cve_2022_29162_cap_is_added_and_never_inheritable,
    cap_is_ambient_if_the_container_inherits_it,
    no_new_privs_is_set,
    a_flag_can_be_switched_off,
    the_command_is_left_alone,
    the_command_is_looked_up_in_the_containers_path,
    a_process_file_says_all,
    a_process_comes_from_standard_input,
    a_detached_program_goes_on_and_its_pid_is_written,
    no_subreaper_is_accepted,
    a_created_container_can_be_entered,
    a_paused_container_is_entered_only_when_asked,
    crun_1_28_a_cgroup_beneath_the_containers_is_joined_and_no_other,
    a_cgroup_beneath_on_cgroup_v2_is_joined,
    a_container_that_moved_to_cgroups_of_its_own_is_entered_on_v2,
    a_container_that_moved_does_not_lead_exec_out_of_its_limits_on_v2,
    cpu_affinity_is_set_before_and_after_the_cgroup,
    fifty_at_once,
    nothing_is_left_of_it,
);

/// A container that waits to be entered.
pub(super) fn sleeping(ctx: &Ctx) -> Outcome<Container<'_>> {
    Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()
}

/// Ends what `exec --detach` has left to this process. A pid namespace does not end before all
/// of its processes have been waited for.
pub(super) fn end(pid: i32) -> Outcome {
    procs::signal(pid, Signal::KILL);
    procs::reap(pid, std::time::Duration::from_secs(10))
        .because("the end of a detached program")?;
    Ok(())
}

fn exit_codes_are_passed_on(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    for code in [0, 1, 2, 126, 127, 128, 254, 255] {
        let text = code.to_string();
        c.exec(&[], &["/bin/probe", "exit", &text])
            .run()?
            .code_is(code)?;
    }
    Ok(())
}

fn death_by_a_signal_is_128_plus_its_number(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("SEGV", 139), ("USR1", 138)] {
        let line = format!("kill -{signal} $$");
        c.exec(&[], &["/bin/sh", "-c", &line])
            .run()?
            .code_is(code)?;
    }
    Ok(())
}

/// Seen to fail with the user taken only along with a group: `--user 1: found "0:1001"`.
fn cve_2026_30892_user_is_a_user_and_perhaps_a_group(ctx: &Ctx) -> Outcome {
    let user = json!({"uid": 1000, "gid": 1001});
    let b = Bundle::new(ctx)?.set("/process/user", user);
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    // CVE-2026-30892: `-u 1` was root to crun.
    for (option, wanted) in [
        ("1", "1:1001"),
        ("0", "0:1001"),
        ("7:8", "7:8"),
        ("0:0", "0:0"),
    ] {
        for flag in ["--user", "-u"] {
            let line = "echo $(id -u):$(id -g)";
            check_eq!(
                c.exec_says(&[flag, option], line)?,
                wanted,
                "{flag} {option}"
            );
        }
    }
    let facts = c.exec_facts(&["-u", "1"])?;
    check_eq!(facts.status("Uid")?, "1 1 1 1", "all four user ids");
    check_eq!(
        facts.caps("CapEff")?,
        0,
        "CapEff of a user that is not root"
    );
    for option in ["nobody", "", "-1", "+1", "1:", ":1", "4294967296", "1:2:3"] {
        let run = c.exec(&["--user", option], &["/bin/true"]).run()?;
        check!(run.code != 0, "--user {option:?} is taken");
    }
    Ok(())
}

fn additional_gids_are_added(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/process/user/additionalGids", json!([5]));
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    let facts = c.exec_facts(&["-g", "7", "--additional-gids", "4000"])?;
    check_eq!(facts.status("Groups")?, "5 7 4000", "groups");
    Ok(())
}

fn cwd_is_entered(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/process/cwd", "/srv");
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    check_eq!(c.exec_says(&[], "pwd")?, "/srv", "the container's");
    check_eq!(c.exec_says(&["--cwd", "/tmp"], "pwd")?, "/tmp", "--cwd");
    Ok(())
}

fn env_is_added_and_the_last_counts(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.push("/process/env", "A=config");
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    let options = ["-e", "A=1", "--env", "B=x=y", "-e", "A=2", "-e", "EMPTY="];
    let facts = c.exec_facts(&options)?;
    let env = facts.0["env"].to_string();
    check_eq!(env.matches("\"A=").count(), 1, "variables named A in {env}");
    for (key, wanted) in [("A", "2"), ("B", "x=y"), ("EMPTY", ""), ("HOME", "/root")] {
        check_eq!(facts.env(key).because(key)?, wanted, "{key}");
    }
    let facts = c.exec_facts(&["-e", "HOME=/elsewhere"])?;
    check_eq!(facts.env("HOME").because("HOME")?, "/elsewhere", "HOME");
    let facts = c.exec_facts(&["-u", "1000"])?;
    check_eq!(
        facts.env("HOME").because("HOME")?,
        "/home",
        "HOME of another user"
    );
    Ok(())
}

/// Seen to fail with `--cap` added to the inheritable set too: `CapInh: found 8193, wanted 0`.
fn cve_2022_29162_cap_is_added_and_never_inheritable(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.capabilities(&["CAP_KILL"]);
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    let facts = c.exec_facts(&["--cap", "CAP_CHOWN", "-c", "CAP_NET_RAW"])?;
    for (set, wanted) in [
        ("CapBnd", 1 | 1 << 5 | 1 << 13),
        ("CapEff", 1 | 1 << 5 | 1 << 13),
        ("CapPrm", 1 | 1 << 5 | 1 << 13),
        ("CapInh", 0),
        ("CapAmb", 0),
    ] {
        check_eq!(facts.caps(set)?, wanted, "{set}");
    }
    check_eq!(
        c.exec_facts(&[])?.caps("CapBnd")?,
        1 << 5,
        "CapBnd of the next exec"
    );
    Ok(())
}

fn cap_is_ambient_if_the_container_inherits_it(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .capabilities(&["CAP_KILL"])
        .set("/process/capabilities/inheritable", json!(["CAP_KILL"]))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    check_eq!(c.exec_facts(&[])?.caps("CapEff")?, 0, "CapEff");
    let facts = c.exec_facts(&["--cap", "CAP_KILL", "--cap", "CAP_CHOWN"])?;
    check_eq!(facts.caps("CapEff")?, 1 << 5, "CapEff with --cap");
    check_eq!(facts.caps("CapInh")?, 1 << 5, "CapInh with --cap");
    Ok(())
}

fn no_new_privs_is_set(ctx: &Ctx) -> Outcome {
    let facts = sleeping(ctx)?.exec_facts(&["--no-new-privs"])?;
    check_eq!(facts.status("NoNewPrivs")?, "1", "NoNewPrivs");
    Ok(())
}

fn a_flag_can_be_switched_off(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/process/noNewPrivileges", true);
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    check_eq!(c.exec_facts(&[])?.status("NoNewPrivs")?, "1", "NoNewPrivs");
    let facts = c.exec_facts(&["--no-new-privs=false"])?;
    check_eq!(facts.status("NoNewPrivs")?, "0", "NoNewPrivs switched off");
    Ok(())
}

fn the_command_is_left_alone(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let words = [
        "/bin/echo",
        "-tty",
        "--cwd",
        "--",
        "-d",
        "",
        "a b",
        "--help",
    ];
    let said = c.exec(&[], &words).run()?.ok()?.stdout;
    check_eq!(
        said,
        "-tty --cwd -- -d  a b --help\n",
        "what the command got"
    );
    let said = c.exec(&["--"], &["/bin/echo", "-t"]).run()?.ok()?.stdout;
    check_eq!(said, "-t\n", "after two dashes");
    Ok(())
}

fn the_command_is_looked_up_in_the_containers_path(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    check_eq!(
        c.exec(&[], &["echo", "x"]).run()?.ok()?.stdout,
        "x\n",
        "by PATH"
    );
    c.exec(&["-e", "PATH=/nowhere"], &["echo"])
        .run()?
        .refused_with(255)?;
    c.exec(&["--cwd", "/bin"], &["./echo"])
        .run()?
        .ok()
        .map(drop)
}

/// A file for `--process`.
pub(super) fn process_file(ctx: &Ctx, process: &Value) -> Outcome<PathBuf> {
    let path = ctx.dir.join(format!("process{}.json", ctx.next()));
    std::fs::write(&path, process.to_string())?;
    Ok(path)
}

fn a_process_file_says_all(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let caps = json!(["CAP_KILL"]);
    let process = json!({"args": ["/bin/probe", "facts"], "cwd": "/tmp", "env": ["A=1"],
        "user": {"uid": 4, "gid": 5, "additionalGids": [6], "umask": 0o77},
        "noNewPrivileges": true, "oomScoreAdj": 99,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 11, "hard": 12}],
        "capabilities": {"bounding": caps, "permitted": caps, "effective": caps}});
    let file = process_file(ctx, &process)?;
    let facts = c
        .verb::<&str>(&["exec", "-p", &file.to_string_lossy()], &[])
        .run()?
        .ok()?
        .stdout;
    let facts = crate::facts::Facts(serde_json::from_str(&facts)?);
    check_eq!(facts.0["env"], json!(["A=1", "HOME=/"]), "environment");
    for (key, wanted) in [
        ("Uid", "4 4 4 4"),
        ("Groups", "6"),
        ("NoNewPrivs", "1"),
        ("Umask", "0077"),
    ] {
        check_eq!(facts.status(key)?, wanted, "{key}");
    }
    check_eq!(facts.caps("CapBnd")?, 1 << 5, "CapBnd");
    check_eq!(facts.text("cwd")?, "/tmp", "cwd");
    check_eq!(facts.text("oom_score_adj")?, "99", "oom_score_adj");
    check_eq!(
        facts.0["limits"]["Max open files"],
        json!(["11", "12"]),
        "NOFILE"
    );
    Ok(())
}

fn a_process_comes_from_standard_input(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let process = json!({"args": ["/bin/echo", "from stdin"], "cwd": "/"});
    let file = std::fs::File::open(process_file(ctx, &process)?)?;
    let said = c
        .verb::<&str>(&["exec", "--process", "-"], &[])
        .stdin(file)
        .run()?
        .ok()?;
    check_eq!(said.stdout, "from stdin\n", "output");
    Ok(())
}

fn a_detached_program_goes_on_and_its_pid_is_written(ctx: &Ctx) -> Outcome {
    for b in [
        Bundle::new(ctx)?,
        Bundle::new(ctx)?.without_namespace("pid"),
    ] {
        let c = b.args(&["/bin/sleep", "1000"]).detach()?;
        let file = ctx.dir.join(format!("pid{}", ctx.next()));
        let options = ["-d", "--pid-file", &file.to_string_lossy()];
        c.exec(&options, &["/bin/sleep", "2000"]).run()?.ok()?;
        let pid: i32 = std::fs::read_to_string(&file)?.parse()?;
        check_eq!(
            procs::describe(pid),
            format!("{pid} (/bin/sleep 2000)"),
            "the process"
        );
        let pids = crate::cgroups::pids(&ctx.cgroup_dir(&ctx.hierarchies[0], &c.id));
        check!(
            pids.contains(&pid),
            "{pid} is not among {pids:?} in the container's cgroup"
        );
        end(pid)?;
    }
    Ok(())
}

fn no_subreaper_is_accepted(ctx: &Ctx) -> Outcome {
    sleeping(ctx)?
        .exec(&["--no-subreaper"], &["/bin/true"])
        .run()?
        .ok()
        .map(drop)
}

fn a_created_container_can_be_entered(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).create()?;
    check_eq!(c.exec_says(&[], "hostname")?, c.id, "hostname");
    c.status_is("created")?;
    c.start()
}

/// Freezes a v1 container; thawing is the harness's.
fn freeze(ctx: &Ctx, c: &Container) -> Outcome<PathBuf> {
    let state = c.v1_dir("freezer")?.join("freezer.state");
    std::fs::write(&state, "FROZEN")?;
    ctx.until("the cgroup is frozen", || {
        std::fs::read_to_string(&state).is_ok_and(|text| text.trim() == "FROZEN")
    })?;
    Ok(state)
}

fn a_paused_container_is_entered_only_when_asked(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let state = freeze(ctx, &c)?;
    let refused = c.exec(&[], &["/bin/true"]).run()?.refused_with(255)?;
    refused.says(&["paused"])?;
    let mut run = c
        .exec(&["--ignore-paused"], &["/bin/probe", "exit", "4"])
        .spawn()?;
    ctx.until("the process is in the frozen cgroup", || {
        state
            .parent()
            .is_some_and(|dir| crate::cgroups::pids(dir).len() > 1)
    })?;
    check!(
        run.child.try_wait()?.is_none(),
        "it ran in a frozen container"
    );
    std::fs::write(&state, "THAWED")?;
    check_eq!(run.wait()?, 4, "exit code");
    Ok(())
}

/// Seen to fail without the look for `..`: `exit code 0 instead of 255` of `--cgroup memory:..`.
fn crun_1_28_a_cgroup_beneath_the_containers_is_joined_and_no_other(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    for controller in ["memory", "pids"] {
        std::fs::create_dir(c.v1_dir(controller)?.join("beneath"))?;
    }
    let wanted = ctx.cgroup(&format!("{}/beneath", c.id));
    let options = ["--cgroup", "memory:beneath", "--cgroup", "pids:/beneath"];
    let said = c.exec_says(&options, "cat /proc/self/cgroup")?;
    for line in said.lines() {
        let beneath = line.contains(":memory:") || line.contains(":pids:");
        check_eq!(line.ends_with(&wanted), beneath, "{line}");
    }
    for option in [
        "memory:..",
        "../x",
        "memory:beneath/../..",
        "nosuch:beneath",
        "memory:missing",
    ] {
        c.exec(&["--cgroup", option], &["/bin/true"])
            .run()?
            .refused_with(255)?
            .says(&["cgroup"])?;
    }
    Ok(())
}

fn a_cgroup_beneath_on_cgroup_v2_is_joined(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let c = sleeping(ctx)?;
    let dir = ctx.cgroup_dir(ctx.v2("")?, &c.id);
    ctx.make_cgroup(&dir.join("beneath"))?;
    let wanted = format!("0::{}/beneath", ctx.cgroup(&c.id));
    let said = c.exec_says(&["--cgroup", "beneath"], "cat /proc/self/cgroup")?;
    check!(
        said.lines().any(|line| line == wanted),
        "{wanted} is not in {said}"
    );
    c.exec(&["--cgroup", "missing"], &["/bin/true"])
        .run()?
        .refused_with(255)?;
    Ok(())
}

/// A container whose processes are in a cgroup `own` beneath its own, which hands a controller down: nobody can
/// join that any more.
fn moved(ctx: &Ctx) -> Outcome<(Container<'_>, &Hierarchy)> {
    ctx.use_pure_v2()?;
    let v2 = ctx.v2("hugetlb")?;
    // With a limit the runtime hands the controller down to the container.
    let limit = json!([{"pageSize": "2MB", "limit": 8388608}]);
    let b = Bundle::new(ctx)?.set("/linux/resources/hugepageLimits", limit);
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    let dir = ctx.cgroup_dir(v2, &c.id);
    ctx.make_cgroup(&dir.join("own"))?;
    std::fs::write(dir.join("own/cgroup.procs"), c.pid()?.to_string())?;
    if std::fs::write(dir.join("cgroup.subtree_control"), "+hugetlb").is_err() {
        return skip("the hugetlb controller cannot be handed down here");
    }
    Ok((c, v2))
}

fn a_container_that_moved_to_cgroups_of_its_own_is_entered_on_v2(ctx: &Ctx) -> Outcome {
    let (c, _) = moved(ctx)?;
    let wanted = format!("0::{}/own", ctx.cgroup(&c.id));
    let said = c.exec_says(&[], "cat /proc/self/cgroup")?;
    check!(
        said.lines().any(|line| line == wanted),
        "{wanted} is not in {said}"
    );
    Ok(())
}

/// Be it to a name that begins like its own.
fn a_container_that_moved_does_not_lead_exec_out_of_its_limits_on_v2(ctx: &Ctx) -> Outcome {
    if ctx.driver.systemd {
        return skip("systemd removes a scope whose processes have left");
    }
    let (c, v2) = moved(ctx)?;
    let outside = ctx.cgroup_dir(v2, &format!("{}-outside", c.id));
    std::fs::create_dir(&outside)?;
    std::fs::write(outside.join("cgroup.procs"), c.pid()?.to_string())?;
    c.exec(&[], &["/bin/true"])
        .run()?
        .refused_with(255)?
        .says(&["-outside: it is not beneath the container's cgroup"])?;
    c.delete_force()?.ok()?;
    std::fs::remove_dir(&outside).because(outside.display())?;
    Ok(())
}

fn cpu_affinity_is_set_before_and_after_the_cgroup(ctx: &Ctx) -> Outcome {
    if std::thread::available_parallelism()?.get() < 2 {
        return skip("there is one processor only");
    }
    let cpus = "grep Cpus_allowed_list /proc/self/status";
    for (affinity, wanted) in [
        (json!({"initial": "0"}), "0"),
        (json!({"initial": "0", "final": "1"}), "1"),
        (json!({"final": "0-1"}), "0-1"),
    ] {
        let b = Bundle::new(ctx)?.set("/process/execCPUAffinity", affinity.clone());
        let c = b.args(&["/bin/sleep", "1000"]).detach()?;
        let said = c.exec_says(&[], cpus)?;
        check_eq!(
            said,
            format!("Cpus_allowed_list:\t{wanted}"),
            "with {affinity}"
        );
        let init = std::fs::read_to_string(format!("/proc/{}/status", c.pid()?))?;
        check!(
            init.contains("Cpus_allowed_list:\t0-"),
            "the init is bound, too"
        );
    }
    let b = Bundle::new(ctx)?.set("/process/execCPUAffinity", json!({"final": "4000"}));
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    let refused = c.exec(&[], &["/bin/true"]).run()?.refused_with(255)?;
    refused.says(&["/process/execCPUAffinity"])?;
    Ok(())
}

fn fifty_at_once(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let mut all = Vec::new();
    for number in 0..50 {
        let line = format!("echo {number}; exit {number}");
        all.push(c.exec(&[], &["/bin/sh", "-c", &line]).spawn()?);
    }
    for (number, run) in all.iter_mut().enumerate() {
        let mut text = String::new();
        run.child
            .stdout
            .take()
            .because("stdout")?
            .read_to_string(&mut text)?;
        check_eq!(text, format!("{number}\n"), "output");
        check_eq!(run.wait()?, number as i32, "exit code");
    }
    only_the_init(ctx, &c)
}

/// Nothing but the container's own process is in its cgroup.
pub(super) fn only_the_init(ctx: &Ctx, c: &Container) -> Outcome {
    let dir = ctx.cgroup_dir(&ctx.hierarchies[0], &c.id);
    let pid = c.pid()?;
    ctx.until("only the init is left in the cgroup", || {
        let here = crate::cgroups::pids(&dir);
        // Orphans come to this process, which is the one to wait for them.
        for orphan in here.iter().filter(|here| **here != pid) {
            if procs::stat(*orphan).is_some_and(|(state, _)| state == 'Z') {
                procs::reap(*orphan, std::time::Duration::ZERO);
            }
        }
        here == [pid]
    })
}

fn nothing_is_left_of_it(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    ctx.stays();
    c.exec(&[], &["/bin/true"]).run()?.ok()?;
    only_the_init(ctx, &c)?;
    ctx.nothing_left()?;
    c.delete_force()?.ok().map(drop)
}
