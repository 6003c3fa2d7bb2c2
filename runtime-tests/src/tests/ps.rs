//! ps: the processes of a container, as the host numbers them.

use crate::bundle::Bundle;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::tests::{exec, pause};
use crate::{check, check_eq, tests};
use std::collections::BTreeSet;

tests!("ps":
    json_is_an_array_of_the_processes,
    the_table_is_the_hosts_and_has_the_containers_lines_only,
    options_of_the_hosts_ps_follow_the_id,
    processes_of_exec_are_listed,
    processes_without_a_pid_namespace_are_listed,
    processes_in_cgroups_beneath_are_listed,
    a_threaded_cgroup_beneath_is_no_obstacle,
    processes_that_the_caller_cannot_see_are_left_out,
    created_and_paused_containers_have_processes,
    a_stopped_container_has_none,
    output_without_a_pid_column_is_refused,
    a_failing_ps_is_one_line,
    a_host_without_ps_is_told_so,
    wrong_use_is_one_line,
    without_a_cgroup_ps_is_refused_in_one_line,
);

/// Needs ps(1) on the host.
fn needs_ps(ctx: &Ctx) -> Outcome {
    match ctx.host(&["ps", "-ef"]).run() {
        Ok(output) if output.code == 0 => Ok(()),
        _ => skip("no ps on this machine: install the package procps"),
    }
}

fn json(c: &Container) -> Outcome<BTreeSet<i32>> {
    let output = c.verb::<&str>(&["ps", "--format", "json"], &[]).run()?;
    let pids: Vec<i32> = serde_json::from_str(&output.ok()?.stdout).because("the pids")?;
    Ok(pids.into_iter().collect())
}

/// The lines below the heading.
fn table(c: &Container, options: &[&str]) -> Outcome<(String, Vec<String>)> {
    let output = c.verb(&["ps"], options).run()?.ok()?;
    let mut lines = output.stdout.lines().map(str::to_string);
    let heading = lines.next().because("a heading")?;
    Ok((heading, lines.collect()))
}

/// A container with three processes, and their pids.
fn three<'a>(b: Bundle<'a>) -> Outcome<(Container<'a>, BTreeSet<i32>)> {
    let c = b
        .shell("sleep 1000 & sleep 1000 & echo up; wait")
        .detach()?;
    c.wait_stdout("up")?;
    let init = c.pid()?;
    let children = crate::procs::descendants(init);
    check_eq!(children.len(), 2, "children of the init");
    Ok((c, children.into_iter().chain([init]).collect()))
}

fn json_is_an_array_of_the_processes(ctx: &Ctx) -> Outcome {
    let (c, wanted) = three(Bundle::new(ctx)?)?;
    check_eq!(json(&c)?, wanted, "pids");
    let output = c.verb::<&str>(&["ps", "-f", "json"], &[]).run()?.ok()?;
    check!(
        output.stdout.starts_with('[') && output.stdout.ends_with("]\n"),
        "one line with an array: {:?}",
        output.stdout
    );
    Ok(())
}

fn the_table_is_the_hosts_and_has_the_containers_lines_only(ctx: &Ctx) -> Outcome {
    needs_ps(ctx)?;
    let (c, wanted) = three(Bundle::new(ctx)?)?;
    // A second container, whose lines are not wanted.
    let _other = exec::sleeping(ctx)?;
    for options in [&[][..], &["-ef"]] {
        let (heading, lines) = table(&c, options)?;
        check!(heading.starts_with("UID"), "heading {heading:?}");
        let pids: Option<BTreeSet<i32>> = lines
            .iter()
            .map(|line| line.split_whitespace().nth(1)?.parse().ok())
            .collect();
        check_eq!(pids.because("pids")?, wanted, "pids of {lines:?}");
        check_eq!(lines.len(), 3, "lines");
    }
    Ok(())
}

fn options_of_the_hosts_ps_follow_the_id(ctx: &Ctx) -> Outcome {
    needs_ps(ctx)?;
    let c = exec::sleeping(ctx)?;
    let pid = c.pid()?.to_string();
    for options in [
        &["-eo", "pid,args"][..],
        &["-e", "--format", "pid,args"],
        &["axo", "pid,args"],
    ] {
        let (heading, lines) = table(&c, options)?;
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        check!(words(&heading).starts_with("PID "), "heading {heading:?}");
        let lines: Vec<String> = lines.iter().map(|line| words(line)).collect();
        check_eq!(lines, [format!("{pid} /bin/sleep 1000")], "{options:?}");
    }
    Ok(())
}

fn processes_of_exec_are_listed(ctx: &Ctx) -> Outcome {
    let c = exec::sleeping(ctx)?;
    let pid_file = ctx.dir.join("pid");
    let options = ["--detach", "--pid-file", &pid_file.to_string_lossy()];
    c.exec(&options, &["/bin/sleep", "1000"]).run()?.ok()?;
    let added: i32 = std::fs::read_to_string(&pid_file)?.trim().parse()?;
    check_eq!(json(&c)?, BTreeSet::from([c.pid()?, added]), "pids");
    exec::end(added)?;
    check_eq!(json(&c)?, BTreeSet::from([c.pid()?]), "pids after its end");
    Ok(())
}

fn processes_without_a_pid_namespace_are_listed(ctx: &Ctx) -> Outcome {
    let (c, wanted) = three(Bundle::new(ctx)?.without_namespace("pid"))?;
    check_eq!(json(&c)?, wanted, "pids");
    Ok(())
}

fn processes_in_cgroups_beneath_are_listed(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let (c, wanted) = three(Bundle::new(ctx)?)?;
    let beneath = ctx.cgroup_dir(ctx.v2("")?, &c.id).join("a/b");
    ctx.make_cgroup(&beneath)?;
    std::fs::write(beneath.join("cgroup.procs"), c.pid()?.to_string())?;
    check_eq!(json(&c)?, wanted, "pids");
    Ok(())
}

fn a_threaded_cgroup_beneath_is_no_obstacle(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let c = exec::sleeping(ctx)?;
    let beneath = ctx.cgroup_dir(ctx.v2("")?, &c.id).join("threads");
    ctx.make_cgroup(&beneath)?;
    std::fs::write(beneath.join("cgroup.type"), "threaded")?;
    check_eq!(json(&c)?, BTreeSet::from([c.pid()?]), "pids");
    Ok(())
}

fn processes_that_the_caller_cannot_see_are_left_out(ctx: &Ctx) -> Outcome {
    let c = exec::sleeping(ctx)?;
    let output = c
        .verb::<&str>(&["ps", "--format", "json"], &[])
        .within(&["unshare", "--pid", "--fork"])
        .run()?
        .ok()?;
    // The kernel writes 0 for them.
    check_eq!(output.stdout.trim(), "[]", "pids");
    Ok(())
}

fn created_and_paused_containers_have_processes(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).create()?;
    let wanted = BTreeSet::from([c.pid()?]);
    check_eq!(json(&c)?, wanted, "pids of a created container");
    c.start()?;
    c.verb::<&str>(&["pause"], &[]).run()?.ok()?;
    check_eq!(json(&c)?, wanted, "pids of a paused container");
    Ok(())
}

fn a_stopped_container_has_none(ctx: &Ctx) -> Outcome {
    needs_ps(ctx)?;
    let c = exec::sleeping(ctx)?;
    let pid = c.pid()?;
    c.kill("KILL")?;
    c.wait_pid(pid)?;
    check_eq!(json(&c)?, BTreeSet::new(), "pids");
    check_eq!(table(&c, &[])?.1, Vec::<String>::new(), "lines");
    Ok(())
}

fn output_without_a_pid_column_is_refused(ctx: &Ctx) -> Outcome {
    needs_ps(ctx)?;
    let c = exec::sleeping(ctx)?;
    let output = c.verb(&["ps"], &["-eo", "args"]).run()?.refused()?;
    output.says(&["couldn't find PID field in ps output"])?;
    Ok(())
}

fn a_failing_ps_is_one_line(ctx: &Ctx) -> Outcome {
    needs_ps(ctx)?;
    let c = exec::sleeping(ctx)?;
    let output = c.verb(&["ps"], &["--nosuch"]).run()?.refused()?;
    output.says(&["ps: exit status 1: error: "])?;
    Ok(())
}

fn a_host_without_ps_is_told_so(ctx: &Ctx) -> Outcome {
    let c = exec::sleeping(ctx)?;
    let empty = ctx.dir.to_string_lossy();
    let output = c.verb::<&str>(&["ps"], &[]).env("PATH", &empty).run()?;
    output
        .refused()?
        .says(&["executable file not found in $PATH"])?;
    let output = c.verb::<&str>(&["ps", "-f", "json"], &[]);
    output.env("PATH", &empty).run()?.ok()?;
    Ok(())
}

fn wrong_use_is_one_line(ctx: &Ctx) -> Outcome {
    let c = exec::sleeping(ctx)?;
    for (options, words) in [
        (&["ps", "-f", "xml"][..], "use table or json"),
        (&["ps", "--nosuch"], "unknown flag --nosuch"),
    ] {
        let output = c.verb::<&str>(options, &[]).run()?.refused()?;
        output.says(&[words])?;
    }
    let output = ctx.rt(&["ps"]).run()?.refused()?;
    output.says(&["missing argument"])?;
    let output = ctx.rt(&["ps", "nosuch"]).run()?.refused()?;
    output.says(&["container does not exist"])?;
    Ok(())
}

fn without_a_cgroup_ps_is_refused_in_one_line(ctx: &Ctx) -> Outcome {
    let c = pause::without_a_cgroup(ctx)?;
    for format in ["table", "json"] {
        let output = c.verb::<&str>(&["ps", "-f", format], &[]).run()?;
        output.refused()?.says(&["has no cgroup of its own"])?;
    }
    Ok(())
}
