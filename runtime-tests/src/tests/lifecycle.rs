//! create, start, state, kill, delete and the statuses between them.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, procs, tests};
use serde_json::json;

tests!("lifecycle":
    a_container_goes_through_created_running_stopped,
    create_does_not_run_the_command_before_start,
    start_twice_is_refused,
    start_of_a_stopped_container_is_refused,
    kill_sends_sigterm_unless_told_otherwise,
    kill_takes_names_with_and_without_sig_and_numbers,
    kill_of_a_created_container_stops_it,
    kill_of_a_stopped_container_is_refused,
    kill_with_an_unknown_signal_is_refused,
    kill_all_is_accepted,
    kill_all_reaches_every_process_without_a_pid_namespace,
    kill_reaches_the_first_process_only,
    delete_of_a_running_container_is_refused,
    delete_force_removes_a_running_container,
    delete_removes_a_created_container,
    delete_of_an_unknown_id_fails_and_force_does_not,
    unknown_ids_do_not_exist_for_every_verb,
    duplicate_ids_are_refused_and_the_first_lives_on,
    a_deleted_id_can_be_used_again,
    a_frozen_container_is_paused_and_delete_force_removes_it,
    a_zombie_init_counts_as_stopped,
    the_pid_file_holds_the_pid_of_the_process,
    create_takes_the_current_directory_as_bundle,
    short_options_are_understood,
    exit_codes_of_a_detached_container_reach_the_subreaper,
    delete_kills_processes_that_the_init_left_in_a_shared_pid_namespace,
    a_stale_pid_file_is_replaced,
    configs_of_every_minor_version_of_the_spec_run,
    another_file_than_config_json_is_read_if_it_is_named,
    no_subreaper_is_taken_by_create,
);

const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

fn a_container_goes_through_created_running_stopped(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&SLEEP).create()?;
    c.status_is("created")?;
    let pid = c.pid()?;
    check!(
        procs::stat(pid).is_some(),
        "state names pid {pid}, which does not exist"
    );
    c.start()?;
    c.status_is("running")?;
    check_eq!(c.pid()?, pid, "the pid after start");
    c.kill("KILL")?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code");
    c.status_is("stopped")?;
    check_eq!(
        c.state()?["pid"],
        json!(0),
        "the pid of a stopped container"
    );
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn create_does_not_run_the_command_before_start(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.shell("echo ran; exec sleep 1000");
    let c = b.create()?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    check_eq!(c.stdout()?, "", "output before start");
    c.start()?;
    c.wait_stdout("ran\n")
}

fn start_twice_is_refused(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&SLEEP).create()?;
    c.start()?;
    c.verb::<&str>(&["start"], &[]).run()?.refused()?;
    c.status_is("running")
}

fn start_of_a_stopped_container_is_refused(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.detach()?;
    c.wait_status("stopped")?;
    c.verb::<&str>(&["start"], &[]).run()?.refused()?;
    c.status_is("stopped")
}

fn kill_sends_sigterm_unless_told_otherwise(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?
        .args(&["/bin/probe", "catch", "1", "15", "2"])
        .detach()?;
    c.wait_stdout("ready")?;
    let pid = c.pid()?;
    c.verb::<&str>(&["kill"], &[]).run()?.ok()?;
    check_eq!(c.wait_pid(pid)?, 7, "exit code after the signal");
    check_eq!(c.stdout()?, "ready\n15\n", "signals seen");
    Ok(())
}

fn kill_takes_names_with_and_without_sig_and_numbers(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?
        .args(&["/bin/probe", "catch", "6", "1", "2", "10", "12", "28", "37"])
        .detach()?;
    c.wait_stdout("ready")?;
    let pid = c.pid()?;
    let mut wanted = "ready\n".to_string();
    for (name, number) in [
        ("HUP", 1),
        ("SIGINT", 2),
        ("10", 10),
        ("usr2", 12),
        ("WINCH", 28),
        ("37", 37),
    ] {
        c.kill(name)?;
        wanted.push_str(&format!("{number}\n"));
        c.wait_stdout(&wanted)?;
    }
    check_eq!(c.wait_pid(pid)?, 7, "exit code");
    Ok(())
}

fn kill_of_a_created_container_stops_it(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&SLEEP).create()?;
    let pid = c.pid()?;
    c.kill("KILL")?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code");
    c.status_is("stopped")?;
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn kill_of_a_stopped_container_is_refused(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.detach()?;
    c.wait_status("stopped")?;
    c.verb(&["kill"], &["KILL"])
        .run()?
        .refused()?
        .says(&["container not running"])?;
    Ok(())
}

fn kill_with_an_unknown_signal_is_refused(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    for signal in ["NOSUCH", "-1", "65", "0x9", "SIGSIGKILL"] {
        let output = ctx.rt(&["kill", &c.id, signal]).run()?;
        check!(output.code != 0, "kill accepts the signal {signal}");
    }
    c.status_is("running")
}

fn kill_all_is_accepted(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    let pid = c.pid()?;
    c.verb(&["kill", "--all"], &["KILL"]).run()?.ok()?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code");
    Ok(())
}

fn kill_all_reaches_every_process_without_a_pid_namespace(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .without_namespace("pid")
        .shell("sleep 1000 & sleep 1000 & echo up; wait");
    let c = b.detach()?;
    c.wait_stdout("up")?;
    let pid = c.pid()?;
    let others = || procs::descendants(rustix::process::getpid().as_raw_nonzero().get());
    check_eq!(others().len(), 3, "processes before");
    c.verb(&["kill", "--all"], &["KILL"]).run()?.ok()?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code");
    ctx.until("all processes are gone", || others().is_empty())
}

fn kill_reaches_the_first_process_only(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .shell("trap 'echo caught' USR1; sleep 1000 & echo up; while :; do wait; done");
    let c = b.detach()?;
    c.wait_stdout("up")?;
    c.kill("USR1")?;
    c.wait_stdout("caught")?;
    let me = rustix::process::getpid().as_raw_nonzero().get();
    check_eq!(
        procs::descendants(me).len(),
        2,
        "processes after a signal that only one catches"
    );
    Ok(())
}

fn delete_of_a_running_container_is_refused(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    c.delete()?
        .refused()?
        .says(&["not stopped", "is running", "running"])?;
    c.status_is("running")
}

fn delete_force_removes_a_running_container(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn delete_removes_a_created_container(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&SLEEP).create()?;
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn delete_of_an_unknown_id_fails_and_force_does_not(ctx: &Ctx) -> Outcome {
    ctx.rt(&["delete", "nosuch"])
        .run()?
        .refused()?
        .says(&["container does not exist"])?;
    ctx.rt(&["delete", "--force", "nosuch"]).run()?.ok()?;
    ctx.rt(&["delete", "-f", "nosuch"]).run()?.ok()?;
    ctx.nothing_left()
}

fn unknown_ids_do_not_exist_for_every_verb(ctx: &Ctx) -> Outcome {
    for verb in ["start", "state", "kill", "delete", "ps", "pause", "resume"] {
        let output = ctx.rt(&[verb, "nosuch"]).run()?.refused()?;
        output.says(&["container does not exist"])?;
    }
    ctx.nothing_left()
}

fn duplicate_ids_are_refused_and_the_first_lives_on(ctx: &Ctx) -> Outcome {
    let first = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    // Engines derive the cgroup from the id: it is the first one's too then.
    for cgroup_of in [None, Some(&first.id)] {
        let mut second = Bundle::new(ctx)?.args(&SLEEP);
        second.id = first.id.clone();
        if let Some(id) = cgroup_of {
            second = second.set("/linux/cgroupsPath", ctx.cgroups_path(id));
        }
        for verb in ["create", "run"] {
            let output = second.verb::<&str>(verb, &[])?.run()?.refused()?;
            output.says(&["already exists", "given ID exists", "is in use"])?;
        }
    }
    first.status_is("running")?;
    first.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn a_deleted_id_can_be_used_again(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&SLEEP);
    for _ in 0..3 {
        let c = b.create()?;
        c.start()?;
        c.delete_force()?.ok()?;
        ctx.nothing_left()?;
    }
    Ok(())
}

fn a_frozen_container_is_paused_and_delete_force_removes_it(ctx: &Ctx) -> Outcome {
    ctx.v1("freezer")?;
    let c = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    std::fs::write(c.v1_dir("freezer")?.join("freezer.state"), "FROZEN")?;
    c.status_is("paused")?;
    c.delete()?.refused()?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn a_zombie_init_counts_as_stopped(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    let pid = c.pid()?;
    c.kill("KILL")?;
    ctx.until("the init is a zombie", || {
        procs::stat(pid).is_none_or(|(state, _)| state == 'Z')
    })?;
    check!(
        procs::stat(pid).is_some(),
        "somebody else collected the zombie"
    );
    c.status_is("stopped")?;
    c.verb(&["kill"], &["TERM"])
        .run()?
        .refused()?
        .says(&["container not running"])?;
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn the_pid_file_holds_the_pid_of_the_process(ctx: &Ctx) -> Outcome {
    let path = ctx.dir.join("pid");
    let file = path.to_string_lossy().into_owned();
    let c = Bundle::new(ctx)?
        .args(&SLEEP)
        .create_with(&["--pid-file", &file])?;
    check_eq!(
        std::fs::read_to_string(&path)?,
        c.pid()?.to_string(),
        "pid file"
    );
    Ok(())
}

fn a_stale_pid_file_is_replaced(ctx: &Ctx) -> Outcome {
    let path = ctx.dir.join("pid");
    std::fs::write(&path, "123456789 and more than a pid")?;
    let file = path.to_string_lossy().into_owned();
    let c = Bundle::new(ctx)?
        .args(&SLEEP)
        .launch("run", &["-d", "--pid-file", &file])?;
    check_eq!(
        std::fs::read_to_string(&path)?,
        c.pid()?.to_string(),
        "pid file"
    );
    Ok(())
}

fn create_takes_the_current_directory_as_bundle(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&SLEEP);
    b.write()?;
    ctx.created(&b.id);
    ctx.rt(&["create", &b.id]).cwd(&b.dir).run()?.ok()?;
    let state = ctx.rt(&["state", &b.id]).run()?.ok()?;
    let state: serde_json::Value = serde_json::from_str(&state.stdout)?;
    check_eq!(state["bundle"], json!(b.dir), "bundle in the state");
    Ok(())
}

fn short_options_are_understood(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&SLEEP);
    b.write()?;
    let dir = b.dir.to_string_lossy();
    ctx.rt(&["create", "-b", &dir, &b.id]).run()?.ok()?;
    ctx.rt(&["delete", "-f", &b.id]).run()?.ok()?;
    ctx.rt(&["run", "-d", "-b", &dir, &b.id]).run()?.ok()?;
    ctx.rt(&["kill", "-a", &b.id, "KILL"]).run()?.ok()?;
    ctx.rt(&["delete", "-f", &b.id]).run()?.ok()?;
    ctx.nothing_left()
}

fn exit_codes_of_a_detached_container_reach_the_subreaper(ctx: &Ctx) -> Outcome {
    for code in [0, 1, 42, 127, 255] {
        let c = Bundle::new(ctx)?
            .args(&["/bin/probe", "exit", &code.to_string()])
            .create()?;
        let pid = c.pid()?;
        c.start()?;
        check_eq!(c.wait_pid(pid)?, code, "exit code");
        c.status_is("stopped")?;
    }
    Ok(())
}

fn delete_kills_processes_that_the_init_left_in_a_shared_pid_namespace(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?
        .without_namespace("pid")
        .args(&["/bin/probe", "orphan", "0"])
        .create()?;
    let pid = c.pid().because("pid")?;
    c.start()?;
    check_eq!(c.wait_pid(pid)?, 0, "exit code");
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn configs_of_every_minor_version_of_the_spec_run(ctx: &Ctx) -> Outcome {
    for version in ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.1", "1.3.0"] {
        Bundle::new(ctx)?.set("/ociVersion", version).run()?.ok()?;
    }
    ctx.nothing_left()
}

fn another_file_than_config_json_is_read_if_it_is_named(ctx: &Ctx) -> Outcome {
    for flag in ["-f", "--config"] {
        let b = Bundle::new(ctx)?.args(&["/bin/echo", "from elsewhere"]);
        let config = ctx.dir.join("other.json");
        b.verb::<&str>("run", &[])?;
        std::fs::rename(b.dir.join("config.json"), &config)?;
        let name = config.to_string_lossy().into_owned();
        let run = |file: &str| {
            let bundle = b.dir.to_string_lossy().into_owned();
            ctx.rt(&["run", flag, file, "--bundle", &bundle, &b.id])
                .run()
        };
        check_eq!(run(&name)?.ok()?.stdout, "from elsewhere\n", "output");
        run("/nonexistent")?
            .refused()?
            .says(&["JSON specification file /nonexistent not found"])?;
        std::fs::write(&config, "{\"ociVersion\": 1}")?;
        run(&name)?
            .refused()?
            .says(&[&format!("{name}: /ociVersion")])?;
    }
    ctx.nothing_left()
}

fn no_subreaper_is_taken_by_create(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?
        .args(&SLEEP)
        .create_with(&["--no-subreaper"])?;
    c.status_is("created")
}
