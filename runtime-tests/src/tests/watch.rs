//! `watch`: the stream of state changes.

use crate::bundle::Bundle;
use crate::command::Running;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, procs, tests};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

tests!("watch":
    a_life_is_told_step_by_step_on_v1,
    a_life_is_told_step_by_step_on_v2,
    what_is_there_is_told_first,
    all_containers_are_told_also_those_that_come,
    only_those_that_were_named_are_told,
    it_ends_when_those_that_were_named_are_deleted,
    the_end_tells_the_exit_code,
    a_failed_create_comes_and_goes,
    a_creator_that_is_killed_is_told,
    an_id_that_is_used_again_is_told_again,
    an_end_and_a_delete_at_once_are_both_told,
    nothing_is_done_while_nothing_changes,
    a_hundred_containers_cost_no_memory_that_stays as Long,
    events_that_go_on_cost_no_memory_that_stays,
    a_reader_that_goes_away_ends_it,
    a_removed_state_directory_ends_it,
    the_table_has_columns,
    wrong_use_is_one_line,
);

/// A stream that is being read.
struct Stream<'a> {
    ctx: &'a Ctx,
    running: Running,
    file: PathBuf,
}

impl<'a> Stream<'a> {
    fn new(ctx: &'a Ctx, args: &[&str]) -> Outcome<Stream<'a>> {
        let file = ctx.dir.join(format!("stream{}", ctx.next()));
        let mut all = vec!["watch", "--format", "json"];
        all.extend(args);
        let running =
            ctx.rt(&all)
                .spawn_with(Stdio::null(), File::create(&file)?.into(), Stdio::piped())?;
        Ok(Stream { ctx, running, file })
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap_or_default()
    }

    /// The words for one container so far.
    fn words(&self, id: &str) -> Vec<String> {
        let lines = self.lines();
        let own = lines.iter().filter(|line| line["id"] == id);
        own.map(|line| line["status"].as_str().unwrap_or("?").to_string())
            .collect()
    }

    /// Waits until the last word for a container is this.
    fn until(&self, id: &str, word: &str) -> Outcome {
        let wanted = format!("{id} is told to be {word}");
        self.ctx
            .until(&wanted, || self.words(id).last().is_some_and(|w| w == word))
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        // Most streams have no end of their own.
        let _ = self.running.child.kill();
        let _ = self.running.child.wait();
    }
}

fn sleeping(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]))
}

fn step(stream: &Stream<'_>, c: &Container, verb: &str, word: &str) -> Outcome {
    c.verb::<&str>(&[verb], &[]).run()?.ok()?;
    stream.until(&c.id, word)
}

fn life(ctx: &Ctx) -> Outcome {
    let mut stream = Stream::new(ctx, &[])?;
    ctx.until("it watches", || procs::polls(stream.running.pid()))?;
    // However late the stream looks, it finds the container being created.
    let b = sleeping(ctx)?;
    let hold = ctx.dir.join("hold");
    let mkfifo = ctx.host(&["mkfifo", &hold.display().to_string()]);
    mkfifo.run()?.ok()?;
    let line = format!("read x <{}", hold.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", line]});
    let b = b.push("/hooks/createRuntime", hook);
    let c = std::thread::scope(|scope| {
        let create = scope.spawn(|| b.create());
        let told = stream.until(&b.id, "creating");
        std::fs::write(&hold, "\n")?;
        told?;
        create.join().ok().because("create")?
    })?;
    stream.until(&c.id, "created")?;
    step(&stream, &c, "pause", "paused")?;
    step(&stream, &c, "resume", "created")?;
    step(&stream, &c, "start", "running")?;
    step(&stream, &c, "pause", "paused")?;
    step(&stream, &c, "resume", "running")?;
    let pid = c.pid()?;
    c.kill("KILL")?;
    stream.until(&c.id, "stopped")?;
    c.wait_pid(pid)?;
    step(&stream, &c, "delete", "deleted")?;
    let words = stream.words(&c.id).join(" ");
    check_eq!(
        words,
        "creating created paused created running paused running stopped deleted",
        "words"
    );
    let lines = stream.lines();
    for line in &lines {
        check_eq!(line["type"], "state", "type");
        let has_init =
            !["creating", "stopped", "deleted"].contains(&line["status"].as_str().unwrap_or(""));
        // `creating` is told with the init or without, whatever was seen first.
        if line["status"] != "creating" {
            check_eq!(line["pid"], if has_init { pid } else { 0 }, "pid of {line}");
        }
        let time = line["time"].as_str().because("time")?;
        check!(time.starts_with("20") && time.ends_with('Z'), "time {time}");
    }
    check!(stream.running.child.try_wait()?.is_none(), "it ended");
    Ok(())
}

fn a_life_is_told_step_by_step_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("freezer")?;
    life(ctx)
}

fn a_life_is_told_step_by_step_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    life(ctx)
}

fn what_is_there_is_told_first(ctx: &Ctx) -> Outcome {
    let created = sleeping(ctx)?.create()?;
    let running = sleeping(ctx)?.detach()?;
    let paused = sleeping(ctx)?.detach()?;
    paused.verb::<&str>(&["pause"], &[]).run()?.ok()?;
    let ended = Bundle::new(ctx)?.args(&["/bin/probe", "exit", "5"]);
    let ended = ended.detach()?;
    ended.wait_status("stopped")?;
    let stream = Stream::new(ctx, &[])?;
    for (c, word) in [
        (&created, "created"),
        (&running, "running"),
        (&paused, "paused"),
        (&ended, "stopped"),
    ] {
        stream.until(&c.id, word)?;
        check_eq!(stream.words(&c.id).len(), 1, "lines of {}", c.id);
    }
    Ok(())
}

fn all_containers_are_told_also_those_that_come(ctx: &Ctx) -> Outcome {
    let first = sleeping(ctx)?.detach()?;
    let stream = Stream::new(ctx, &[])?;
    stream.until(&first.id, "running")?;
    let second = sleeping(ctx)?.detach()?;
    stream.until(&second.id, "running")?;
    second.delete_force()?.ok()?;
    stream.until(&second.id, "deleted")?;
    check_eq!(stream.words(&first.id), ["running"], "words of the first");
    Ok(())
}

fn only_those_that_were_named_are_told(ctx: &Ctx) -> Outcome {
    let wanted = sleeping(ctx)?.detach()?;
    let other = sleeping(ctx)?.detach()?;
    let stream = Stream::new(ctx, &[&wanted.id])?;
    stream.until(&wanted.id, "running")?;
    let third = sleeping(ctx)?.detach()?;
    third.delete_force()?.ok()?;
    other.delete_force()?.ok()?;
    wanted.verb::<&str>(&["pause"], &[]).run()?.ok()?;
    stream.until(&wanted.id, "paused")?;
    let strangers = stream
        .lines()
        .iter()
        .filter(|line| line["id"] != wanted.id.as_str())
        .count();
    check_eq!(strangers, 0, "lines of others");
    Ok(())
}

fn it_ends_when_those_that_were_named_are_deleted(ctx: &Ctx) -> Outcome {
    let (a, b) = (sleeping(ctx)?.detach()?, sleeping(ctx)?.detach()?);
    let mut stream = Stream::new(ctx, &[&a.id, &b.id])?;
    stream.until(&b.id, "running")?;
    a.delete_force()?.ok()?;
    stream.until(&a.id, "deleted")?;
    check!(stream.running.child.try_wait()?.is_none(), "it ended early");
    b.delete_force()?.ok()?;
    check_eq!(stream.running.wait()?, 0, "exit code");
    check_eq!(
        stream.words(&b.id).last().because("a word")?,
        "deleted",
        "last word"
    );
    ctx.nothing_left()
}

fn the_end_tells_the_exit_code(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/probe", "exit", "5"]);
    let c = b.create()?;
    let stream = Stream::new(ctx, &[&c.id])?;
    stream.until(&c.id, "created")?;
    c.start()?;
    stream.until(&c.id, "stopped")?;
    check_eq!(
        stream.lines().last().because("a line")?["exitStatus"],
        5,
        "exit status"
    );
    Ok(())
}

fn a_failed_create_comes_and_goes(ctx: &Ctx) -> Outcome {
    let stream = Stream::new(ctx, &[])?;
    let ready = sleeping(ctx)?.detach()?;
    stream.until(&ready.id, "running")?;
    let b = Bundle::new(ctx)?.args(&["/bin/nosuch"]);
    let output = b.verb::<&str>("create", &[])?.run()?.refused()?;
    output.says(&["no such file"])?;
    stream.until(&b.id, "deleted")?;
    // However late the stream looks.
    procs::signal(stream.running.pid(), Signal::STOP);
    let b = Bundle::new(ctx)?.args(&["/bin/nosuch"]);
    b.verb::<&str>("create", &[])?.run()?.refused()?;
    procs::signal(stream.running.pid(), Signal::CONT);
    stream.until(&b.id, "deleted")?;
    check_eq!(stream.words(&b.id), ["deleted"], "words");
    Ok(())
}

fn a_creator_that_is_killed_is_told(ctx: &Ctx) -> Outcome {
    let b = sleeping(ctx)?;
    let hook = serde_json::json!([{"path": "/bin/sleep", "args": ["sleep", "1000"]}]);
    let b = b.set("/hooks/createRuntime", hook);
    let stream = Stream::new(ctx, &[])?;
    ctx.created(&b.id);
    let mut create = b.verb::<&str>("create", &[])?.spawn()?;
    stream.until(&b.id, "creating")?;
    procs::signal(create.pid(), Signal::KILL);
    create.wait()?;
    ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    stream.until(&b.id, "deleted")
}

fn an_id_that_is_used_again_is_told_again(ctx: &Ctx) -> Outcome {
    let stream = Stream::new(ctx, &[])?;
    let b = sleeping(ctx)?;
    for round in 1..=3 {
        let c = b.detach()?;
        stream.until(&c.id, "running")?;
        c.delete_force()?.ok()?;
        stream.until(&c.id, "deleted")?;
        let ends = stream
            .words(&b.id)
            .iter()
            .filter(|word| *word == "deleted")
            .count();
        check_eq!(ends, round, "ends");
    }
    Ok(())
}

fn an_end_and_a_delete_at_once_are_both_told(ctx: &Ctx) -> Outcome {
    let b = sleeping(ctx)?;
    let c = b.detach()?;
    let stream = Stream::new(ctx, &[&c.id])?;
    stream.until(&c.id, "running")?;
    // It sees both at once.
    procs::signal(stream.running.pid(), Signal::STOP);
    c.delete_force()?.ok()?;
    procs::signal(stream.running.pid(), Signal::CONT);
    stream.until(&c.id, "deleted")?;
    check_eq!(
        stream.words(&c.id),
        ["running", "stopped", "deleted"],
        "words"
    );
    Ok(())
}

/// Times that the process ran so far: any kind of polling shows.
fn switches(pid: i32) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|line| line.trim().parse().ok())
        .because("switches")
}

fn nothing_is_done_while_nothing_changes(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let stopped = Bundle::new(ctx)?.args(&["/bin/true"]).detach()?;
    stopped.wait_status("stopped")?;
    let stream = Stream::new(ctx, &[])?;
    stream.until(&c.id, "running")?;
    stream.until(&stopped.id, "stopped")?;
    let before = switches(stream.running.pid())?;
    std::thread::sleep(Duration::from_millis(500));
    let after = switches(stream.running.pid())?;
    check!(after - before <= 1, "it woke up {} times", after - before);
    Ok(())
}

fn anonymous_kb(pid: i32) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
        .because("RssAnon")
}

/// Seen to fail without `alloc::reuse_memory`: `276 KB became 1932 KB`.
fn a_hundred_containers_cost_no_memory_that_stays(ctx: &Ctx) -> Outcome {
    let stream = Stream::new(ctx, &[])?;
    let b = Bundle::new(ctx)?.args(&["/bin/true"]);
    let mut first = 0;
    for round in 0..100 {
        let c = b.detach()?;
        c.delete_force()?.ok()?;
        procs::reap_all();
        stream.until(&c.id, "deleted")?;
        if round == 10 {
            first = anonymous_kb(stream.running.pid())?;
        }
    }
    let last = anonymous_kb(stream.running.pid())?;
    check!(last <= first + 100, "{first} KB became {last} KB");
    Ok(())
}

fn events_that_go_on_cost_no_memory_that_stays(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let file = ctx.dir.join("events");
    let events = ctx.rt(&["events", "--interval", "4ms", &c.id]);
    let mut events =
        events.spawn_with(Stdio::null(), File::create(&file)?.into(), Stdio::piped())?;
    let lines = || std::fs::read_to_string(&file).map_or(0, |text| text.lines().count());
    ctx.until("some events were printed", || lines() >= 20)?;
    let first = anonymous_kb(events.pid())?;
    ctx.until("many more were", || lines() >= 220)?;
    let last = anonymous_kb(events.pid())?;
    events.child.kill()?;
    events.wait()?;
    check!(last <= first + 100, "{first} KB became {last} KB");
    Ok(())
}

fn a_reader_that_goes_away_ends_it(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let args = ["watch", "--format", "json"];
    let mut running = ctx
        .rt(&args)
        .spawn_with(Stdio::null(), Stdio::piped(), Stdio::piped())?;
    let mut out = std::io::BufReader::new(running.child.stdout.take().because("stdout")?);
    std::io::BufRead::read_line(&mut out, &mut String::new())?;
    drop(out);
    c.delete_force()?.ok()?;
    let code = running.wait()?;
    check!(code == 1 || code == 141, "exit code {code}");
    Ok(())
}

fn a_removed_state_directory_ends_it(ctx: &Ctx) -> Outcome {
    let root = ctx.dir.join("other");
    let args = ["watch"];
    let path = root.to_string_lossy().into_owned();
    let mut running = ctx.rt(&args).global(&["--root", &path]).spawn()?;
    ctx.until("it watches", || procs::polls(running.pid()))?;
    std::fs::remove_dir(&root)?;
    check_eq!(running.wait()?, 1, "exit code");
    Ok(())
}

fn the_table_has_columns(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?
        .args(&["/bin/probe", "exit", "5"])
        .detach()?;
    c.wait_status("stopped")?;
    let watch = ctx.rt(&["watch", &c.id]).output(ctx.dir.join("table"));
    let thread = std::thread::scope(|scope| {
        let output = scope.spawn(|| watch.run());
        std::thread::sleep(Duration::from_millis(200));
        c.delete()?.ok()?;
        output.join().ok().because("the thread")?
    })?;
    let text = thread.ok()?.stdout;
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    check_eq!(rows[0], ["TIME", "STATUS", "PID", "EXIT", "ID"], "heading");
    check_eq!(rows[1][1..], ["stopped", "0", "5", &c.id], "first row");
    check_eq!(rows[2][1..], ["deleted", "0", "-", &c.id], "second row");
    Ok(())
}

fn wrong_use_is_one_line(ctx: &Ctx) -> Outcome {
    for (args, words) in [
        (&["watch", "nosuch"][..], "container does not exist"),
        (&["watch", "../x"], "invalid container id"),
        (&["watch", "--nosuch"], "unknown flag --nosuch"),
        (&["watch", "-f", "xml"], "use table or json"),
    ] {
        ctx.rt(args).run()?.refused()?.says(&[words])?;
    }
    let help = ctx.rt(&["watch", "--help"]).run()?.ok()?;
    check!(help.stdout.contains("Example:"), "no example in the help");
    Ok(())
}
