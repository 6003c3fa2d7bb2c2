//! events: statistics in runc's shape, and the kernel's word that memory ran out.

use crate::bundle::Bundle;
use crate::command::Running;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, fail, skip};
use crate::tests::pause::without_a_cgroup;
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

tests!("events":
    stats_are_one_line_of_runcs_shape_on_v1,
    stats_are_one_line_of_runcs_shape_on_v2,
    stats_show_what_is_used_and_limited_on_v1,
    stats_show_what_is_used_and_limited_on_v2,
    pressure_is_shown_on_v2,
    huge_pages_are_counted_on_v2,
    created_and_paused_containers_have_stats,
    a_line_comes_at_every_interval,
    it_ends_with_the_container,
    it_ends_with_a_container_that_is_deleted_by_force,
    a_process_that_is_killed_for_memory_is_told_on_v1 as Serial,
    a_process_that_is_killed_for_memory_is_told_on_v2 as Serial,
    the_end_of_the_container_for_memory_is_told_on_v1 as Serial,
    the_end_of_the_container_for_memory_is_told_on_v2 as Serial,
    the_removal_of_the_cgroup_is_no_lack_of_memory_on_v1,
    a_reader_that_goes_away_ends_it,
    without_a_memory_controller_the_stats_still_come,
    bad_intervals_are_refused,
    containers_that_do_not_run_are_refused,
    without_a_cgroup_it_is_refused,
    bad_command_lines_are_refused,
);

fn sleeping(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]))
}

/// `events --stats`, which has to be one line.
fn stats(c: &Container) -> Outcome<Value> {
    let text = c
        .verb::<&str>(&["events", "--stats"], &[])
        .run()?
        .ok()?
        .stdout;
    check!(
        text.ends_with("}\n") && text.lines().count() == 1,
        "not one line: {text}"
    );
    let event: Value = serde_json::from_str(&text).because("the line")?;
    check_eq!(event["type"], json!("stats"), "type");
    check_eq!(event["id"], json!(c.id), "id");
    Ok(event["data"].clone())
}

/// `events` in the background; its lines come through a channel.
struct Events {
    running: Running,
    lines: Receiver<String>,
}

fn follow(c: &Container, interval: &str) -> Outcome<Events> {
    let mut running = c
        .verb::<&str>(&["events", "--interval", interval], &[])
        .spawn()?;
    let stdout: ChildStdout = running.child.stdout.take().because("its output")?;
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    Ok(Events { running, lines })
}

impl Events {
    fn line(&self) -> Outcome<Value> {
        match self.lines.recv_timeout(Duration::from_secs(10)) {
            Ok(line) => Ok(serde_json::from_str(&line)?),
            Err(_) => fail("no line within 10 s"),
        }
    }

    /// Waits for its end, which has to come soon; the lines that were left.
    fn end(mut self) -> Outcome<Vec<String>> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut left = Vec::new();
        // The reader's end is the end of the verb's output.
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            left.push(line);
        }
        let Some(status) = self.running.child.try_wait()?.or_else(|| {
            std::thread::sleep(Duration::from_millis(200));
            self.running.child.try_wait().ok().flatten()
        }) else {
            self.running.child.kill()?;
            return fail("it goes on after the container's end");
        };
        check_eq!(status.code(), Some(0), "exit code");
        Ok(left)
    }

    fn signal(&self, signal: rustix::process::Signal) -> Outcome {
        let pid = rustix::process::Pid::from_raw(self.running.pid()).because("its pid")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Waits until the verb watches: what it opens for it is there.
    fn ready(&self, ctx: &Ctx) -> Outcome {
        let dir = format!("/proc/{}/fd", self.running.pid());
        let watches = |path: std::path::PathBuf| {
            let link = std::fs::read_link(path).unwrap_or_default();
            let link = link.to_string_lossy().into_owned();
            link.contains("eventfd") || link.contains("inotify")
        };
        ctx.until("events watches", || {
            let files = std::fs::read_dir(&dir);
            files.is_ok_and(|files| files.flatten().any(|file| watches(file.path())))
        })
    }
}

/// The members of an object, as they come.
fn members(value: &Value) -> Vec<&str> {
    let object = value.as_object();
    object
        .map(|object| object.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

const SECTIONS: [&str; 8] = [
    "blkio",
    "cpu",
    "cpuset",
    "hugetlb",
    "intel_rdt",
    "memory",
    "network_interfaces",
    "pids",
];

fn shape(data: &Value) -> Outcome {
    check_eq!(members(data), SECTIONS, "sections");
    check_eq!(data["network_interfaces"], Value::Null, "interfaces");
    check_eq!(data["intel_rdt"], json!({}), "RDT");
    let counters = ["kernel", "kernelTCP", "swap", "usage"];
    for counter in counters {
        for member in ["limit", "failcnt"] {
            check!(
                data["memory"][counter][member].is_u64(),
                "{member} of memory's {counter}"
            );
        }
    }
    check_eq!(
        members(&data["cpuset"]).contains(&"sched_relax_domain_level"),
        true,
        "cpuset"
    );
    for member in ["kernel", "user"] {
        check!(
            data["cpu"]["usage"][member].is_u64(),
            "{member} of cpu's usage"
        );
    }
    check!(
        data["cpu"]["throttling"].is_object() && data["pids"]["current"] == 1,
        "{data}"
    );
    Ok(())
}

fn stats_are_one_line_of_runcs_shape_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let data = stats(&sleeping(ctx)?.detach()?)?;
    shape(&data)?;
    let cpus = std::thread::available_parallelism()?.get();
    for list in ["percpu", "percpu_kernel", "percpu_user"] {
        let length = data["cpu"]["usage"][list].as_array().map_or(0, Vec::len);
        check!(length >= cpus, "{length} values in {list}");
    }
    check!(
        data["memory"]["raw"]["total_rss"].is_u64(),
        "raw: {}",
        data["memory"]["raw"]
    );
    check_eq!(
        data["cpuset"]["sched_load_balance"],
        json!(1),
        "load balance"
    );
    check!(data["cpu"].get("psi").is_none(), "v1 has no pressure");
    Ok(())
}

fn stats_are_one_line_of_runcs_shape_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let data = stats(&sleeping(ctx)?.detach()?)?;
    shape(&data)?;
    check!(
        data["cpu"]["usage"]["total"].as_u64() > Some(0),
        "no CPU time"
    );
    check!(
        data["cpu"]["usage"].get("percpu").is_none(),
        "v2 does not count CPUs apart"
    );
    Ok(())
}

const LIMITS: &str = r#"{"memory": {"limit": 67108864, "swap": 134217728}, "pids": {"limit": 33},
    "cpu": {"quota": 10000, "period": 100000}}"#;

/// A container that uses its whole quota, and what it has used when it was held back.
fn throttled(ctx: &Ctx) -> Outcome<(Container<'_>, Value)> {
    let limits: Value = serde_json::from_str(LIMITS)?;
    let b = Bundle::new(ctx)?.set("/linux/resources", limits);
    let line = "sleep 1000 & echo two; while :; do :; done";
    let c = b.shell(line).detach()?;
    c.wait_stdout("two")?;
    let mut data = Value::Null;
    ctx.until("the container is held back", || {
        data = stats(&c).unwrap_or_default();
        data["cpu"]["throttling"]["throttledPeriods"].as_u64() > Some(2)
            && data["cpu"]["usage"]["user"].as_u64() > Some(0)
            // The shell may be held back before it has started the other process.
            && data["pids"]["current"] == 2
    })?;
    Ok((c, data))
}

fn limits_are_shown(ctx: &Ctx) -> Outcome {
    let (c, data) = throttled(ctx)?;
    check_eq!(
        data["memory"]["usage"]["limit"],
        json!(67108864),
        "limit of memory"
    );
    check_eq!(
        data["memory"]["swap"]["limit"],
        json!(134217728),
        "limit with swap"
    );
    check!(
        data["memory"]["usage"]["usage"].as_u64() > Some(4096),
        "usage of memory"
    );
    check_eq!(data["pids"], json!({"current": 2, "limit": 33}), "pids");
    for member in ["periods", "throttledTime"] {
        check!(
            data["cpu"]["throttling"][member].as_u64() > Some(0),
            "{member}"
        );
    }
    let flags = ["update", "--memory", "96m", "--pids-limit", "-1"];
    c.verb::<&str>(&flags, &[]).run()?.ok()?;
    let data = stats(&c)?;
    check_eq!(
        data["memory"]["usage"]["limit"],
        json!(96 << 20),
        "limit after an update"
    );
    check_eq!(data["pids"], json!({"current": 2}), "pids without a limit");
    Ok(())
}

fn stats_show_what_is_used_and_limited_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    ctx.v1("cpu")?;
    limits_are_shown(ctx)
}

fn stats_show_what_is_used_and_limited_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    ctx.v2("memory")?;
    ctx.v2("cpu")?;
    ctx.v2("pids")?;
    limits_are_shown(ctx)
}

fn pressure_is_shown_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    if !std::path::Path::new("/proc/pressure/cpu").exists() {
        return skip("the kernel measures no pressure");
    }
    let data = stats(&sleeping(ctx)?.detach()?)?;
    for section in ["cpu", "memory", "blkio"] {
        for who in ["some", "full"] {
            let psi = &data[section]["psi"][who];
            check_eq!(
                members(psi),
                ["avg10", "avg300", "avg60", "total"],
                "pressure of {section}"
            );
        }
    }
    Ok(())
}

fn huge_pages_are_counted_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    ctx.v2("hugetlb")?;
    if !std::path::Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        return skip("no huge pages of 2 MB");
    }
    let limits = json!([{"pageSize": "2MB", "limit": 8388608}]);
    let b = sleeping(ctx)?.set("/linux/resources/hugepageLimits", limits);
    let data = stats(&b.detach()?)?;
    check_eq!(data["hugetlb"]["2MB"], json!({"failcnt": 0}), "huge pages");
    Ok(())
}

fn created_and_paused_containers_have_stats(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.create()?;
    check_eq!(
        stats(&c)?["pids"]["current"],
        json!(1),
        "tasks of a created one"
    );
    c.start()?;
    c.verb::<&str>(&["pause"], &[]).run()?.ok()?;
    check_eq!(
        stats(&c)?["pids"]["current"],
        json!(1),
        "tasks of a paused one"
    );
    Ok(())
}

fn a_line_comes_at_every_interval(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let before = Instant::now();
    let events = follow(&c, "100ms")?;
    for _ in 0..4 {
        let line = events.line()?;
        check_eq!(line["type"], json!("stats"), "type");
        check_eq!(members(&line["data"]), SECTIONS, "sections");
    }
    let took = before.elapsed();
    // The first comes after an interval too.
    check!(took >= Duration::from_millis(400), "four lines in {took:?}");
    c.kill("KILL")?;
    events.end().map(drop)
}

fn it_ends_with_the_container(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let pid = c.pid()?;
    let mut all = Vec::new();
    for interval in ["1h", "1h30m", "2562047h"] {
        all.push(follow(&c, interval)?);
    }
    for events in &all {
        events.ready(ctx)?;
    }
    c.kill("KILL")?;
    c.wait_pid(pid)?;
    for events in all {
        check_eq!(events.end()?, Vec::<String>::new(), "lines");
    }
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn it_ends_with_a_container_that_is_deleted_by_force(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.without_namespace("pid").detach()?;
    let events = follow(&c, "50ms")?;
    events.line()?;
    c.delete_force()?.ok()?;
    for line in events.end()? {
        check!(line.contains("\"stats\""), "{line}");
    }
    ctx.nothing_left()
}

fn limited(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    let memory = json!({"limit": 33554432, "swap": 33554432});
    Ok(sleeping(ctx)?.set("/linux/resources/memory", memory))
}

fn is_oom(c: &Container, line: &Value) -> Outcome {
    check_eq!(*line, json!({"type": "oom", "id": c.id}), "the line");
    Ok(())
}

fn a_killed_process_is_told(ctx: &Ctx) -> Outcome {
    let c = limited(ctx)?.detach()?;
    let events = follow(&c, "1h")?;
    events.ready(ctx)?;
    for _ in 0..2 {
        c.exec(&[], &["/bin/probe", "eat", "200"])
            .run()?
            .code_is(137)?;
        is_oom(&c, &events.line()?)?;
    }
    // The container goes on, and so do its events.
    c.status_is("running")?;
    c.kill("KILL")?;
    events.end().map(drop)
}

fn a_process_that_is_killed_for_memory_is_told_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    a_killed_process_is_told(ctx)
}

fn a_process_that_is_killed_for_memory_is_told_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    ctx.v2("memory")?;
    a_killed_process_is_told(ctx)
}

fn the_end_is_told(ctx: &Ctx) -> Outcome {
    for _ in 0..5 {
        let c = limited(ctx)?.args(&["/bin/probe", "eat", "200"]).create()?;
        let events = follow(&c, "1h")?;
        events.ready(ctx)?;
        let pid = c.pid()?;
        // It looks only when both have happened.
        events.signal(rustix::process::Signal::STOP)?;
        c.start()?;
        check_eq!(c.wait_pid(pid)?, 137, "exit code");
        events.signal(rustix::process::Signal::CONT)?;
        let lines = events.end()?;
        check_eq!(lines.len(), 1, "lines: {lines:?}");
        is_oom(&c, &serde_json::from_str(&lines[0])?)?;
        c.delete()?.ok()?;
    }
    ctx.nothing_left()
}

fn the_end_of_the_container_for_memory_is_told_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    the_end_is_told(ctx)
}

fn the_end_of_the_container_for_memory_is_told_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    ctx.v2("memory")?;
    the_end_is_told(ctx)
}

fn the_removal_of_the_cgroup_is_no_lack_of_memory_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    for _ in 0..5 {
        let c = limited(ctx)?.detach()?;
        let events = follow(&c, "1h")?;
        events.ready(ctx)?;
        // Stopped, it looks only when all is gone.
        events.signal(rustix::process::Signal::STOP)?;
        c.delete_force()?.ok()?;
        // The kernel tells of the removal some time after it.
        std::thread::sleep(Duration::from_millis(300));
        events.signal(rustix::process::Signal::CONT)?;
        check_eq!(events.end()?, Vec::<String>::new(), "lines");
    }
    ctx.nothing_left()
}

fn a_reader_that_goes_away_ends_it(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let mut running = c
        .verb::<&str>(&["events", "--interval", "20ms"], &[])
        .spawn()?;
    drop(running.child.stdout.take());
    ctx.until("events has ended", || {
        running
            .child
            .try_wait()
            .is_ok_and(|status| status.is_some())
    })?;
    c.status_is("running")
}

fn without_a_memory_controller_the_stats_still_come(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    if ctx.v2("memory").is_ok() {
        return skip("the memory controller is there");
    }
    let c = sleeping(ctx)?.detach()?;
    let events = follow(&c, "20ms")?;
    check_eq!(events.line()?["type"], json!("stats"), "type");
    c.kill("KILL")?;
    events.end().map(drop)
}

fn bad_intervals_are_refused(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    for (interval, says) in [
        ("5", "missing unit"),
        ("1m30", "missing unit"),
        ("0", "duration interval must be greater than 0"),
        ("0s", "duration interval must be greater than 0"),
        ("-5s", "duration interval must be greater than 0"),
        ("x", "invalid value"),
        ("", "invalid value"),
        ("5 s", "invalid value"),
        ("9999999999999h", "too long"),
    ] {
        let verb = ["events", "--interval", interval];
        c.verb::<&str>(&verb, &[]).run()?.refused()?.says(&[says])?;
    }
    Ok(())
}

fn containers_that_do_not_run_are_refused(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let pid = c.pid()?;
    c.kill("KILL")?;
    c.wait_pid(pid)?;
    for verb in [&["events"] as &[&str], &["events", "--stats"]] {
        let refused = c.verb::<&str>(verb, &[]).run()?.refused()?;
        refused.says(&[&format!("container with id {} is not running", c.id)])?;
    }
    let refused = ctx.rt(&["events", "nosuch"]).run()?.refused()?;
    refused.says(&["container does not exist"])?;
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn without_a_cgroup_it_is_refused(ctx: &Ctx) -> Outcome {
    let c = without_a_cgroup(ctx)?;
    let refused = c
        .verb::<&str>(&["events", "--stats"], &[])
        .run()?
        .refused()?;
    refused.says(&["it has no cgroup of its own"]).map(drop)
}

fn bad_command_lines_are_refused(ctx: &Ctx) -> Outcome {
    for (args, says) in [
        (&["events"] as &[&str], "missing argument"),
        (&["events", "a", "b"], "one argument too many"),
        (&["events", "--nosuch", "a"], "unknown flag --nosuch"),
        (
            &["events", "a", "--interval"],
            "missing value of --interval",
        ),
        (&["events", "--stats=maybe", "a"], "--stats"),
    ] {
        ctx.rt(args).run()?.refused()?.says(&[says])?;
    }
    let help = ctx.rt(&["events", "--help"]).run()?.ok()?.stdout;
    check!(
        help.contains("Example:") && help.contains("--interval"),
        "{help}"
    );
    ctx.nothing_left()
}
