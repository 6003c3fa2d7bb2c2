//! Removing what containers leave: cgroups that they made themselves, and processes that do not
//! end. What cannot be removed is named in bounded time, and can be removed later.

use crate::bundle::Bundle;
use crate::command::{Output, Running};
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{cgroups, check, check_eq, procs, tests};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

tests!("removing":
    cgroups_beneath_are_removed_in_every_hierarchy_of_v1,
    cgroups_beneath_are_removed_on_v2,
    a_process_in_one_hierarchy_alone_is_ended,
    threaded_cgroups_with_controllers_are_removed,
    signals_reach_processes_with_threads_in_cgroups_of_their_own,
    a_container_in_a_frozen_cgroup_is_removed_after_the_thaw_on_v1 as Long,
    a_container_in_a_frozen_cgroup_is_removed_on_v2,
    what_holds_a_container_frozen_is_named_on_v1,
    what_holds_a_container_frozen_is_named_on_v2,
    a_process_that_no_signal_ends_is_named as Long,
    an_init_that_waits_for_another_names_it as Long,
    who_has_ended_and_is_not_reaped_is_named as Long,
    who_cannot_be_seen_is_told_soon_on_v1,
    who_cannot_be_seen_is_killed_all_the_same_on_v2,
    a_lock_that_is_never_given_back_is_no_reason_to_wait_for_ever as Long,
    a_failed_create_that_cannot_tidy_up_keeps_its_record as Long,
);

/// How long `delete` may take that has nobody to wait for; half of its patience.
const AT_ONCE: Duration = Duration::from_secs(5);

/// How long one may take that waits in vain: its patience, a second for each step after it, and
/// a loaded machine.
const BOUNDED: Duration = Duration::from_secs(20);

fn sleeping(ctx: &Ctx) -> Outcome<Container<'_>> {
    Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()
}

/// A process of the host in a cgroup.
fn intruder(ctx: &Ctx, procs: &Path) -> Outcome<Running> {
    let process = ctx.host(&["sleep", "1000"]).spawn()?;
    std::fs::write(procs, process.child.id().to_string()).because(procs.display())?;
    Ok(process)
}

fn delete_within(c: &Container, limit: Duration) -> Outcome<Output> {
    let began = Instant::now();
    let output = c.delete_force()?;
    let took = began.elapsed();
    check!(took < limit, "delete took {} ms", took.as_millis());
    Ok(output)
}

/// Fails unless stderr holds all of these.
fn says_all(output: &Output, texts: &[&str]) -> Outcome {
    for text in texts {
        check!(
            output.stderr.contains(text),
            "stderr lacks {text:?}: {}",
            output.stderr
        );
    }
    Ok(())
}

/// `delete --force` fails in bounded time with one line, and the container is still there.
fn stays(c: &Container, texts: &[&str]) -> Outcome {
    let output = delete_within(c, BOUNDED)?.code_is(1)?;
    check_eq!(output.stderr.trim().lines().count(), 1, "lines on stderr");
    c.state()?;
    says_all(&output, texts)
}

/// Cgroups as a payload may make them: wide, with a name that is no text, and so deep that no
/// path leads there, with a process at the end and another one in between.
fn fill(ctx: &Ctx, dir: &Path) -> Outcome<Vec<Running>> {
    for number in 0..200 {
        std::fs::create_dir(dir.join(format!("wide{number}")))?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o755);
    let mut at = openat(CWD, dir, flags, Mode::empty())?;
    mkdirat(&at, c"no\xfftext\x1b[31m", mode)?;
    let long = "x".repeat(200);
    let mut processes = Vec::new();
    for level in 0..40 {
        mkdirat(&at, long.as_str(), mode)?;
        at = openat(&at, long.as_str(), flags, Mode::empty())?;
        if level % 20 == 19 {
            let path = PathBuf::from(format!("/proc/self/fd/{}", raw(&at)));
            processes.push(intruder(ctx, &path.join("cgroup.procs"))?);
        }
    }
    Ok(processes)
}

fn raw(fd: &impl std::os::fd::AsRawFd) -> i32 {
    fd.as_raw_fd()
}

fn removed(ctx: &Ctx, c: &Container, processes: Vec<Running>) -> Outcome {
    delete_within(c, AT_ONCE)?.ok()?;
    for mut process in processes {
        check_eq!(process.wait()?, 137, "exit code of a process beneath");
    }
    ctx.nothing_left()
}

fn cgroups_beneath_are_removed_in_every_hierarchy_of_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("freezer")?;
    let c = sleeping(ctx)?;
    let mut processes = Vec::new();
    for hierarchy in ctx.hierarchies.iter().filter(|h| !h.is_v2()) {
        // A new cpuset takes no process before it has CPUs.
        if hierarchy.controllers.iter().any(|name| name == "cpuset") {
            std::fs::create_dir_all(ctx.cgroup_dir(hierarchy, &c.id).join("a/b"))?;
            continue;
        }
        let dir = ctx.cgroup_dir(hierarchy, &c.id);
        processes.extend(fill(ctx, &dir)?);
        let frozen = dir.join("wide0");
        if frozen.join("freezer.state").exists() {
            processes.push(intruder(ctx, &frozen.join("cgroup.procs"))?);
            std::fs::write(frozen.join("freezer.state"), "FROZEN")?;
        }
    }
    removed(ctx, &c, processes)
}

fn cgroups_beneath_are_removed_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let c = sleeping(ctx)?;
    let dir = ctx.cgroup_dir(ctx.v2("")?, &c.id);
    let mut processes = fill(ctx, &dir)?;
    let frozen = dir.join("wide0");
    processes.push(intruder(ctx, &frozen.join("cgroup.procs"))?);
    std::fs::write(frozen.join("cgroup.freeze"), "1")?;
    removed(ctx, &c, processes)
}

fn a_process_in_one_hierarchy_alone_is_ended(ctx: &Ctx) -> Outcome {
    let freezer = ctx.v1("freezer")?;
    let c = sleeping(ctx)?;
    // As the freezer's: held by a cgroup that is not the container's.
    let beneath = c.v1_dir("pids")?.join("beneath");
    std::fs::create_dir(&beneath)?;
    let process = intruder(ctx, &beneath.join("cgroup.procs"))?;
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", process.child.id()))?;
    let own = ctx.cgroup(&c.id);
    let in_freezer = cgroup
        .lines()
        .any(|l| l.contains(":freezer:") && l.contains(&own));
    check!(!in_freezer, "it is in {}", freezer.mount.display());
    removed(ctx, &c, vec![process])
}

/// A process whose threads are in threaded cgroups beneath the container's, and the controllers
/// that these may have.
fn threaded<'a>(ctx: &'a Ctx, c: &Container<'a>) -> Outcome<Running> {
    let dir = ctx.cgroup_dir(ctx.v2("")?, &c.id);
    // Only a cgroup without processes may give controllers to those beneath.
    let leaf = dir.join("leaf");
    std::fs::create_dir(&leaf)?;
    for pid in cgroups::pids(&dir) {
        std::fs::write(leaf.join("cgroup.procs"), pid.to_string())?;
    }
    let domain = dir.join("domain");
    let has = std::fs::read_to_string(dir.join("cgroup.controllers"))?;
    for controller in has.split_whitespace() {
        std::fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"))?;
    }
    std::fs::create_dir(&domain)?;
    let probe = ctx.probe.to_string_lossy();
    let process = ctx.host(&[probe.as_ref(), "sleeping-threads"]).spawn()?;
    let pid = process.child.id() as i32;
    let tasks = || -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        let names = tasks.into_iter().flatten().flatten();
        names
            .map(|task| task.file_name().to_string_lossy().into_owned())
            .collect()
    };
    ctx.until("it has threads", || tasks().len() > 1)?;
    std::fs::write(domain.join("cgroup.procs"), pid.to_string())?;
    for name in ["a", "b"] {
        let beneath = domain.join(name);
        std::fs::create_dir(&beneath)?;
        std::fs::write(beneath.join("cgroup.type"), "threaded")?;
    }
    if has.contains("pids") {
        std::fs::write(domain.join("cgroup.subtree_control"), "+pids")?;
    }
    for (index, task) in tasks().into_iter().enumerate() {
        let beneath = domain.join(["a", "b"][index % 2]);
        std::fs::write(beneath.join("cgroup.threads"), task)?;
    }
    Ok(process)
}

fn threaded_cgroups_with_controllers_are_removed(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let c = sleeping(ctx)?;
    let process = threaded(ctx, &c)?;
    removed(ctx, &c, vec![process])
}

fn signals_reach_processes_with_threads_in_cgroups_of_their_own(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let c = sleeping(ctx)?;
    let mut process = threaded(ctx, &c)?;
    c.verb(&["kill", "--all"], &["USR1"]).run()?.ok()?;
    check_eq!(process.wait()?, 128 + 10, "exit code");
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

/// Freezes or thaws the cgroup above the test's containers.
fn freeze_above(ctx: &Ctx, v2: bool, frozen: bool) -> Outcome<PathBuf> {
    let (hierarchy, file, values) = match v2 {
        true => (ctx.v2("")?, "cgroup.freeze", ["0", "1"]),
        false => (ctx.v1("freezer")?, "freezer.state", ["THAWED", "FROZEN"]),
    };
    let above = ctx.cgroup_dir(hierarchy, "");
    std::fs::write(above.join(file), values[usize::from(frozen)])?;
    Ok(above)
}

fn sleeper(ctx: &Ctx, own_pid_namespace: bool) -> Outcome<Container<'_>> {
    let b = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
    match own_pid_namespace {
        true => b,
        false => b.without_namespace("pid"),
    }
    .detach()
}

fn a_container_in_a_frozen_cgroup_is_removed_after_the_thaw_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("freezer")?;
    for own_pid_namespace in [true, false] {
        let c = sleeper(ctx, own_pid_namespace)?;
        let pid = c.pid()?;
        let above = freeze_above(ctx, false, true)?;
        stays(
            &c,
            &[&format!("pid {pid} (sleep) frozen by {}", above.display())],
        )?;
        c.verb(&["kill"], &["KILL"]).run()?.code_is(1)?.says(&[
            "SIGKILL was sent",
            &above.display().to_string(),
            "frozen",
        ])?;
        freeze_above(ctx, false, false)?;
        delete_within(&c, AT_ONCE)?.ok()?;
        ctx.nothing_left()?;
    }
    Ok(())
}

fn a_container_in_a_frozen_cgroup_is_removed_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    for own_pid_namespace in [true, false] {
        let c = sleeper(ctx, own_pid_namespace)?;
        freeze_above(ctx, true, true)?;
        // The cgroup above was made for the container and goes with it.
        delete_within(&c, AT_ONCE)?.ok()?;
        ctx.nothing_left()?;
    }
    Ok(())
}

fn what_holds_it_frozen_is_named(ctx: &Ctx, v2: bool) -> Outcome {
    let c = sleeping(ctx)?;
    let above = freeze_above(ctx, v2, true)?;
    // The kernel tells of a frozen cgroup only when all in it stand still.
    c.wait_status("paused")?;
    let began = Instant::now();
    let refused = c.verb::<&str>(&["resume"], &[]).run();
    let took = began.elapsed();
    freeze_above(ctx, v2, false)?;
    // What is mounted for the runtime is the same from its root on.
    let named = format!("{} above it is frozen", ctx.prefix);
    says_all(&refused?.refused()?, &["cannot thaw", &named])?;
    check!(took < Duration::from_secs(3), "it waited for {took:?}");
    check!(above.exists(), "the cgroup above has gone");
    c.wait_status("running")
}

fn what_holds_a_container_frozen_is_named_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("freezer")?;
    what_holds_it_frozen_is_named(ctx, false)
}

fn what_holds_a_container_frozen_is_named_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    what_holds_it_frozen_is_named(ctx, true)
}

/// A process of which the kernel waits for an answer that never comes.
struct Stuck {
    server: Running,
    pid: i32,
}

impl Stuck {
    /// `before` is what runs `stat`, such as nsenter; it has to be the last process then.
    fn new(ctx: &Ctx, before: &[&str]) -> Outcome<Stuck> {
        if !Path::new("/dev/fuse").exists() {
            return skip("there is no /dev/fuse");
        }
        let dir = ctx.dir.join(format!("fuse{}", ctx.next()));
        std::fs::create_dir(&dir)?;
        let (probe, dir) = (ctx.probe.to_string_lossy(), dir.to_string_lossy());
        let mut argv = vec![probe.as_ref(), "stuck", dir.as_ref()];
        argv.extend(before);
        argv.extend(["stat", dir.as_ref()]);
        let mut server = ctx.host(&argv).spawn()?;
        let mut said = String::new();
        let stdout = server.child.stdout.take().because("its output")?;
        BufReader::new(stdout).read_line(&mut said)?;
        check_eq!(said.trim(), "stuck", "what the file system said");
        let all = procs::descendants(server.child.id() as i32);
        let pid = all.into_iter().find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|n| n == "stat\n")
        });
        let pid = pid.because("the process of stat")?;
        Ok(Stuck { server, pid })
    }

    /// From now on it ends.
    fn release(mut self) -> Outcome {
        self.server.child.kill()?;
        self.server.wait()?;
        procs::reap_all();
        Ok(())
    }
}

fn a_process_that_no_signal_ends_is_named(ctx: &Ctx) -> Outcome {
    for v2 in [false, true] {
        let c = match v2 {
            true if ctx.use_pure_v2().is_ok() => sleeping(ctx)?,
            false if ctx.v1("freezer").is_ok() => sleeping(ctx)?,
            _ => continue,
        };
        let stuck = Stuck::new(ctx, &[])?;
        let hierarchy = if v2 { ctx.v2("")? } else { ctx.v1("pids")? };
        let beneath = ctx.cgroup_dir(hierarchy, &c.id).join("beneath");
        std::fs::create_dir(&beneath)?;
        std::fs::write(beneath.join("cgroup.procs"), stuck.pid.to_string())?;
        let wanted = format!("pid {} (stat) in uninterruptible sleep", stuck.pid);
        let cgroup = format!("{}/beneath: still busy after ", ctx.cgroup(&c.id));
        stays(&c, &["cannot remove", &cgroup, &wanted])?;
        c.status_is("stopped")?;
        stuck.release()?;
        delete_within(&c, AT_ONCE)?.ok()?;
        ctx.nothing_left()?;
    }
    Ok(())
}

fn an_init_that_waits_for_another_names_it(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let namespace = format!("--pid=/proc/{}/ns/pid", c.pid()?);
    let stuck = Stuck::new(ctx, &["nsenter", &namespace])?;
    let init = format!(
        "init was killed and does not end: pid {} (sleep) ",
        c.pid()?
    );
    let other = format!("pid {} (stat) in uninterruptible sleep", stuck.pid);
    stays(
        &c,
        &[&init, "waiting for the others of its pid namespace", &other],
    )?;
    stuck.release()?;
    delete_within(&c, AT_ONCE)?.ok()?;
    ctx.nothing_left()
}

fn who_has_ended_and_is_not_reaped_is_named(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    c.exec(&["--detach"], &["/bin/sleep", "1001"]).run()?.ok()?;
    // This process has it now, and does not reap it.
    let own = format!("and pid {} (", std::process::id());
    stays(&c, &["(sleep) ended, ", &own, "does not reap it"])?;
    procs::reap_all();
    delete_within(&c, AT_ONCE)?.ok()?;
    ctx.nothing_left()
}

/// `delete --force` by a runtime in a pid namespace that does not show the container.
fn delete_unseen<'a>(c: &Container<'a>) -> crate::command::Cmd<'a> {
    c.verb::<&str>(&["delete", "--force"], &[])
        .within(&["unshare", "--pid", "--fork"])
}

fn who_cannot_be_seen_is_told_soon_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("freezer")?;
    let c = sleeping(ctx)?;
    let began = Instant::now();
    let output = delete_unseen(&c).run()?.refused()?;
    check!(began.elapsed() < AT_ONCE, "it waited");
    let cgroup = format!("{}: still busy", ctx.cgroup(&c.id));
    let who = "a process that this pid namespace does not show";
    says_all(&output, &[&cgroup, who])?;
    delete_within(&c, AT_ONCE)?.ok()?;
    ctx.nothing_left()
}

fn who_cannot_be_seen_is_killed_all_the_same_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let c = sleeping(ctx)?;
    let dir = ctx.cgroup_dir(ctx.v2("")?, &c.id);
    if !dir.join("cgroup.kill").exists() {
        return skip("this kernel has no cgroup.kill (Linux 5.14)");
    }
    delete_unseen(&c).run()?.ok()?;
    ctx.nothing_left()
}

fn a_lock_that_is_never_given_back_is_no_reason_to_wait_for_ever(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?;
    let dir = ctx.state_root().join(&c.id);
    let mut holder = ctx
        .host(&[
            "flock",
            "--no-fork",
            &dir.to_string_lossy(),
            "sh",
            "-c",
            "echo locked; exec sleep 1000",
        ])
        .spawn()?;
    let mut said = String::new();
    let stdout = holder.child.stdout.take().because("its output")?;
    BufReader::new(stdout).read_line(&mut said)?;
    check_eq!(said, "locked\n", "what the holder said");
    let wanted = format!(
        "another command holds its lock: pid {} (sleep)",
        holder.child.id()
    );
    stays(&c, &[&wanted])?;
    procs::signal(holder.child.id() as i32, Signal::KILL);
    holder.wait()?;
    delete_within(&c, AT_ONCE)?.ok()?;
    ctx.nothing_left()
}

fn a_failed_create_that_cannot_tidy_up_keeps_its_record(ctx: &Ctx) -> Outcome {
    let stuck = Stuck::new(ctx, &[])?;
    let b = Bundle::new(ctx)?;
    let hierarchy = match ctx.v1("pids") {
        Ok(hierarchy) => hierarchy,
        Err(_) => ctx.v2("")?,
    };
    let procs = ctx.cgroup_dir(hierarchy, &b.id).join("cgroup.procs");
    let script = format!("echo {} > {}; exit 1", stuck.pid, procs.display());
    let hook = serde_json::json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let b = b.set("/hooks", serde_json::json!({"createRuntime": hook}));
    ctx.created(&b.id);
    let output = b.verb::<&str>("create", &[])?.run()?.code_is(1)?;
    let named = format!("pid {} (stat) in uninterruptible sleep", stuck.pid);
    says_all(
        &output,
        &["still busy after ", &named, "delete --force tries again"],
    )?;
    stuck.release()?;
    let c = Container::new(ctx, &b.id, &b.dir, ctx.dir.join("output"));
    c.status_is("stopped")?;
    delete_within(&c, AT_ONCE)?.ok()?;
    ctx.nothing_left()
}
