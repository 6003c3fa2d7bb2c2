//! `linux.intelRdt`, tried on a stand-in for the resctrl file system (`probe resctrl`): no
//! machine of the developers has the hardware. The stand-in is a FUSE file system, and the
//! runtime looks at the type; strace puts resctrl's into the kernel's answer, so that the
//! runtime itself needs no back door for tests.

use crate::bundle::Bundle;
use crate::command::{Cmd, Running};
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, fail, skip};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

tests!("rdt":
    a_group_of_the_containers_own_is_made_and_removed,
    lines_are_written_in_the_order_of_the_spec,
    a_class_that_exists_is_joined_and_stays,
    a_class_that_exists_has_to_have_what_is_asked_for,
    a_class_that_is_missing_is_made_only_with_lines_for_it,
    the_default_class_has_a_name_of_its_own,
    a_monitoring_group_is_made_and_removed,
    what_the_kernel_refuses_is_told_in_its_words_and_undone,
    without_resctrl_it_is_refused,
    a_failed_create_leaves_no_group,
    a_create_killed_at_any_system_call_leaves_no_group as Long,
    update_changes_the_lines_of_a_group,
    update_makes_a_group_for_a_container_that_has_none,
    update_without_resctrl_is_refused,
    events_tell_what_resctrl_tells,
);

const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

/// The stand-in, and how many times the runtime looks at file systems before it.
struct Resctrl<'a> {
    ctx: &'a Ctx,
    server: Running,
    look: usize,
}

impl<'a> Resctrl<'a> {
    fn new(ctx: &'a Ctx) -> Outcome<Resctrl<'a>> {
        for needed in ["/dev/fuse", "/usr/bin/strace", "/usr/bin/nsenter"] {
            if !std::path::Path::new(needed).exists() {
                return skip(format!("there is no {needed}"));
            }
        }
        if std::path::Path::new("/sys/fs/resctrl").exists() {
            return skip("this machine has a resctrl of its own");
        }
        let spare = ctx.dir.join("spare");
        std::fs::create_dir_all(&spare)?;
        let probe = ctx.probe.to_string_lossy();
        let mut server = ctx
            .host(&[probe.as_ref(), "resctrl", &spare.to_string_lossy()])
            .spawn()?;
        let mut said = [0u8; 6];
        let ready = server
            .child
            .stdout
            .take()
            .because("the stand-in's output")?
            .read_exact(&mut said);
        if ready.is_err() {
            let mut why = String::new();
            if let Some(mut errors) = server.child.stderr.take() {
                errors.read_to_string(&mut why)?;
            }
            return fail(format!("the stand-in does not start: {}", why.trim()));
        }
        let mut resctrl = Resctrl {
            ctx,
            server,
            look: 0,
        };
        resctrl.look = resctrl.find_look()?;
        Ok(resctrl)
    }

    /// Which of the runtime's fstatfs(2) looks at the stand-in; not taken for resctrl, it
    /// has to be refused.
    fn find_look(&self) -> Outcome<usize> {
        let report = self.ctx.dir.join("looks");
        let b = bundle(self.ctx, json!({}))?;
        b.verb::<&str>("create", &[])?
            .within(&[
                "strace",
                "-qq",
                "-y",
                "-e",
                "trace=fstatfs",
                "-o",
                &report.to_string_lossy(),
            ])
            .within(&self.enter())
            .run()?
            .refused()?
            .says(&["/linux/intelRdt: no resctrl file system is mounted"])?;
        let looks = std::fs::read_to_string(&report)?;
        let place = looks.lines().position(|line| line.contains("resctrl>"));
        place.map(|place| place + 1).because("a look at resctrl")
    }

    fn enter(&self) -> [String; 2] {
        let path = format!("--mount=/proc/{}/ns/mnt", self.server.pid());
        ["nsenter".to_owned(), path]
    }

    /// `create` or `run` where the stand-in is taken for resctrl.
    fn verb<S: AsRef<str>>(&self, b: &Bundle<'a>, verb: &str, options: &[S]) -> Outcome<Cmd<'a>> {
        self.killed(b, verb, options, &[])
    }

    /// The same with further options of strace.
    fn killed<S: AsRef<str>>(
        &self,
        b: &Bundle<'a>,
        verb: &str,
        options: &[S],
        more: &[&str],
    ) -> Outcome<Cmd<'a>> {
        // RDTGROUP_SUPER_MAGIC, in the byte order of x86 and of arm64.
        let poke = format!(
            "inject=fstatfs:poke_exit=@arg2=2158650700000000:when={}",
            self.look
        );
        let mut words = vec!["strace", "-qq", "-o", "/dev/null", "-e", &poke];
        words.extend(more);
        Ok(b.verb(verb, options)?.within(&words).within(&self.enter()))
    }

    fn delete(&self, id: &str) -> Outcome {
        let delete = self
            .ctx
            .rt(&["delete", "--force", id])
            .within(&self.enter());
        delete.run()?.ok().map(drop)
    }

    /// Creates, starts and gives the pid.
    fn start(&self, b: &Bundle<'a>) -> Outcome<String> {
        self.ctx.created(&b.id);
        self.verb::<&str>(b, "create", &[])?.run()?.ok()?;
        let id = b.id.as_str();
        self.ctx
            .rt(&["start", id])
            .within(&self.enter())
            .run()?
            .ok()?;
        let state = self.ctx.rt(&["state", id]).run()?.ok()?.stdout;
        let state: Value = serde_json::from_str(&state)?;
        Ok(state["pid"].to_string())
    }

    fn path(&self, path: &str) -> PathBuf {
        let root = format!("/proc/{}/root/sys/fs/resctrl", self.server.pid());
        PathBuf::from(root).join(path)
    }

    fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// A file without what pads it.
    fn file(&self, path: &str) -> Outcome<String> {
        let text = std::fs::read_to_string(self.path(path)).because(path)?;
        let lines: Vec<String> = text.lines().map(|line| line.replace(' ', "")).collect();
        Ok(lines.join("\n"))
    }

    /// A group made by somebody else, with a line for it.
    fn make(&self, group: &str, line: &str) -> Outcome {
        std::fs::create_dir(self.path(group))?;
        std::fs::write(self.path(group).join("schemata"), format!("{line}\n"))?;
        Ok(())
    }
}

impl Drop for Resctrl<'_> {
    fn drop(&mut self) {
        let _ = self.server.child.kill();
        let _ = self.server.child.wait();
    }
}

fn bundle<'a>(ctx: &'a Ctx, rdt: Value) -> Outcome<Bundle<'a>> {
    Ok(Bundle::new(ctx)?.args(&SLEEP).set("/linux/intelRdt", rdt))
}

fn a_group_of_the_containers_own_is_made_and_removed(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    let b = bundle(ctx, json!({"schemata": ["L3:0=f;1=f0", "MB:1=20"]}))?;
    let pid = fs.start(&b)?;
    check_eq!(fs.file(&format!("{}/tasks", b.id))?, pid, "tasks");
    check_eq!(
        fs.file(&format!("{}/schemata", b.id))?,
        "MB:0=100;1=20\nL3:0=00f;1=0f0",
        "schemata"
    );
    fs.delete(&b.id)?;
    check!(!fs.exists(&b.id), "the group is still there");
    // Nothing but the group: not even a schemata file is written.
    let b = bundle(ctx, json!({}))?;
    let pid = fs.start(&b)?;
    check_eq!(fs.file(&format!("{}/tasks", b.id))?, pid, "tasks");
    fs.delete(&b.id)?;
    check!(!fs.exists(&b.id), "the group is still there");
    let output = fs
        .verb::<&str>(&bundle(ctx, json!({}))?.args(&["/bin/true"]), "run", &[])?
        .run()?;
    output.ok().map(drop)
}

fn lines_are_written_in_the_order_of_the_spec(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    let b = bundle(
        ctx,
        json!({
            "schemata": ["L3:1=3"], "memBwSchema": "MB:0=20;1=70",
            "l3CacheSchema": "L3:0=1;1=1\nMB:0=50"
        }),
    )?;
    fs.start(&b)?;
    check_eq!(
        fs.file(&format!("{}/schemata", b.id))?,
        "MB:0=20;1=70\nL3:0=001;1=003",
        "schemata"
    );
    fs.delete(&b.id)
}

fn a_class_that_exists_is_joined_and_stays(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    fs.make("gold", "L3:0=ff")?;
    for rdt in [
        json!({"closID": "gold"}),
        json!({"closID": "gold", "schemata": ["L3:0=0ff;1=fff"]}),
        json!({"closID": "gold", "l3CacheSchema": "L3:0=ff", "memBwSchema": "MB:0=100"}),
    ] {
        let b = bundle(ctx, rdt)?;
        let pid = fs.start(&b)?;
        check_eq!(fs.file("gold/tasks")?, pid, "tasks");
        check!(!fs.exists(&b.id), "a group of the container's own");
        fs.delete(&b.id)?;
        check!(fs.exists("gold"), "the class was removed");
    }
    Ok(())
}

fn a_class_that_exists_has_to_have_what_is_asked_for(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    fs.make("gold", "L3:0=ff")?;
    let before = fs.file("gold/schemata")?;
    let b = bundle(
        ctx,
        json!({"closID": "gold", "schemata": ["MB:0=100", "L3:0=f"]}),
    )?;
    fs.verb::<&str>(&b, "create", &[])?
        .run()?
        .refused()?
        .says(&["/linux/intelRdt/schemata/1: the group "])?;
    check_eq!(fs.file("gold/schemata")?, before, "schemata");
    check!(fs.exists("gold"), "the class was removed");
    Ok(())
}

fn a_class_that_is_missing_is_made_only_with_lines_for_it(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    let b = bundle(ctx, json!({"closID": "gold"}))?;
    fs.verb::<&str>(&b, "create", &[])?
        .run()?
        .refused()?
        .says(&["/linux/intelRdt/closID: there is no group /sys/fs/resctrl/gold"])?;
    check!(!fs.exists("gold"), "the class was made");
    let b = bundle(ctx, json!({"closID": "gold", "memBwSchema": "MB:0=10"}))?;
    let pid = fs.start(&b)?;
    check_eq!(fs.file("gold/tasks")?, pid, "tasks");
    fs.delete(&b.id)?;
    check!(fs.exists("gold"), "a class with a name has to stay");
    for name in ["info", "mon_groups", "a/b", ".."] {
        let b = bundle(ctx, json!({"closID": name}))?;
        fs.verb::<&str>(&b, "create", &[])?
            .run()?
            .refused()?
            .says(&["/linux/intelRdt/closID"])?;
    }
    Ok(())
}

fn the_default_class_has_a_name_of_its_own(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    let b = bundle(ctx, json!({"closID": "/", "enableMonitoring": true}))?;
    let pid = fs.start(&b)?;
    check_eq!(fs.file("tasks")?, pid, "tasks of the root");
    check_eq!(
        fs.file(&format!("mon_groups/{}/tasks", b.id))?,
        pid,
        "monitored"
    );
    fs.delete(&b.id)?;
    check!(
        !fs.exists(&format!("mon_groups/{}", b.id)),
        "the monitoring group is still there"
    );
    check!(fs.exists("schemata"), "the root");
    Ok(())
}

fn a_monitoring_group_is_made_and_removed(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    fs.make("gold", "L3:0=ff")?;
    let one = bundle(ctx, json!({"closID": "gold", "enableMonitoring": true}))?;
    let two = bundle(ctx, json!({"closID": "gold", "enableMonitoring": true}))?;
    let first = fs.start(&one)?;
    let second = fs.start(&two)?;
    for (b, pid) in [(&one, &first), (&two, &second)] {
        check_eq!(
            fs.file(&format!("gold/mon_groups/{}/tasks", b.id))?,
            *pid,
            "monitored"
        );
    }
    fs.delete(&one.id)?;
    check!(
        !fs.exists(&format!("gold/mon_groups/{}", one.id)),
        "the group is still there"
    );
    check_eq!(
        fs.file(&format!("gold/mon_groups/{}/tasks", two.id))?,
        second,
        "the other's"
    );
    fs.delete(&two.id)?;
    check!(fs.exists("gold"), "the class was removed");
    // In a group of the container's own, which goes with it.
    let b = bundle(ctx, json!({"enableMonitoring": true}))?;
    let pid = fs.start(&b)?;
    check_eq!(
        fs.file(&format!("{0}/mon_groups/{0}/tasks", b.id))?,
        pid,
        "monitored"
    );
    fs.delete(&b.id)?;
    check!(!fs.exists(&b.id), "the group is still there");
    Ok(())
}

fn what_the_kernel_refuses_is_told_in_its_words_and_undone(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    let refused = |rdt: Value, says: &str| -> Outcome {
        let b = bundle(ctx, rdt)?;
        let output = fs.verb::<&str>(&b, "create", &[])?.run()?.refused()?;
        let output = output.says(&[says])?;
        check!(!fs.exists(&b.id) && !fs.exists("new"), "a group is left");
        output.says(&["/linux/intelRdt"]).map(drop)
    };
    let lines = json!(["L3:0=f", "XX:0=1"]);
    let words = "/linux/intelRdt/schemata/1: cannot write ";
    refused(json!({"schemata": lines}), words)?;
    refused(
        json!({"schemata": lines}),
        "Unknown or unsupported resource name 'XX'",
    )?;
    refused(
        json!({"schemata": lines, "closID": "new"}),
        "resource name 'XX'",
    )?;
    for group in ["a", "b"] {
        std::fs::create_dir(fs.path("mon_groups").join(group))?;
    }
    refused(json!({"enableMonitoring": true}), "every monitoring group")?;
    for group in ["a", "b", "c"] {
        fs.make(group, "L3:0=f")?;
    }
    refused(
        json!({}),
        "every class of service of this machine is in use",
    )?;
    Ok(())
}

fn without_resctrl_it_is_refused(ctx: &Ctx) -> Outcome {
    if std::path::Path::new("/sys/fs/resctrl").exists() {
        return skip("this machine has a resctrl of its own");
    }
    bundle(ctx, json!({"closID": "gold"}))?
        .create_refused()?
        .says(&["/linux/intelRdt: no resctrl file system is mounted"])
        .map(drop)
}

fn a_failed_create_leaves_no_group(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    for rdt in [
        json!({"schemata": ["L3:0=f"], "enableMonitoring": true}),
        json!({"schemata": ["L3:0=f"], "closID": "new"}),
    ] {
        let b = bundle(ctx, rdt)?.args(&["/no/such/program"]);
        fs.verb::<&str>(&b, "create", &[])?
            .run()?
            .refused()?
            .says(&["no such file"])?;
        check!(!fs.exists(&b.id), "the container's group is left");
        check!(!fs.exists("new"), "the class that was made is left");
    }
    // A class that was there before is not touched.
    fs.make("gold", "L3:0=ff")?;
    let b = bundle(ctx, json!({"closID": "gold", "enableMonitoring": true}))?
        .args(&["/no/such/program"]);
    fs.verb::<&str>(&b, "create", &[])?.run()?.refused()?;
    check!(fs.exists("gold"), "the class was removed");
    check!(
        !fs.exists(&format!("gold/mon_groups/{}", b.id)),
        "the monitoring group is left"
    );
    Ok(())
}

fn a_create_killed_at_any_system_call_leaves_no_group(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    let own = bundle(
        ctx,
        json!({"schemata": ["L3:0=f"], "enableMonitoring": true}),
    )?;
    let named = bundle(ctx, json!({"schemata": ["L3:0=f"], "closID": "new"}))?;
    let end = Instant::now() + Duration::from_secs(150);
    let (mut tried, mut seen) = (0, [0, 0]);
    for (name, most) in [
        ("mkdirat", 40),
        ("write", 60),
        ("clone3", 1),
        ("renameat", 3),
        ("sendmsg", 2),
        ("recvmsg", 6),
        ("mknodat", 1),
        ("openat", 100),
    ] {
        for number in 1..=most {
            let mut killed = false;
            for (place, b) in [&own, &named].into_iter().enumerate() {
                let kill = format!("inject={name}:signal=KILL:when={number}");
                let trace = format!("trace=fstatfs,{name}");
                let more = ["-e", &trace, "-e", &kill];
                let output = fs.killed::<&str>(b, "create", &[], &more)?.run()?;
                let complete = ctx.state_root().join(&b.id).join("exec.fifo").exists();
                killed |= output.code != 0;
                let groups = [fs.exists(&own.id), fs.exists("new")];
                seen[place] += usize::from(groups[place] && output.code != 0);
                fs.delete(&b.id)?;
                if complete && fs.exists("new") {
                    std::fs::remove_dir(fs.path("new"))?;
                }
                check!(
                    !fs.exists(&own.id),
                    "killed at {name} {number}: the group is left"
                );
                check!(
                    !fs.exists("new"),
                    "killed at {name} {number}: the class is left"
                );
                tried += 1;
            }
            if !killed || Instant::now() > end {
                break;
            }
        }
    }
    ctx.note(format!("({tried} moments tried, {seen:?} with a group)"));
    check!(
        seen.iter().all(|n| *n > 3),
        "hardly a moment had a group: {seen:?} of {tried}"
    );
    Ok(())
}

impl<'a> Resctrl<'a> {
    /// `update` of a container, where the first look at a file system finds resctrl.
    fn update(&self, id: &str, flags: &[&str]) -> Cmd<'a> {
        let poke = "inject=fstatfs:poke_exit=@arg2=2158650700000000:when=1";
        let words = ["strace", "-qq", "-o", "/dev/null", "-e", poke];
        let mut args = vec!["update"];
        args.extend(flags);
        args.push(id);
        self.ctx.rt(&args).within(&words).within(&self.enter())
    }
}

fn update_changes_the_lines_of_a_group(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    let b = bundle(ctx, json!({"schemata": ["L3:0=f;1=f0", "MB:1=20"]}))?;
    fs.start(&b)?;
    let schemata = || fs.file(&format!("{}/schemata", b.id));
    fs.update(
        &b.id,
        &["--l3-cache-schema", "L3:0=3", "--mem-bw-schema", "MB:0=50"],
    )
    .run()?
    .ok()?;
    check_eq!(schemata()?, "MB:0=50;1=20\nL3:0=003;1=0f0", "schemata");
    // The second line is refused, so the first is taken back, and so is the cgroup.
    let flags = ["--l3-cache-schema", "L3:0=1\nL9:0=f", "--pids-limit", "7"];
    // Without the controller its limit would be refused first.
    let flags = &flags[..if ctx.v1("pids").is_ok() { 4 } else { 2 }];
    let refused = fs.update(&b.id, flags).run()?.refused()?;
    refused.says(&["--l3-cache-schema: cannot write"])?;
    check_eq!(
        schemata()?,
        "MB:0=50;1=20\nL3:0=003;1=0f0",
        "schemata after a refusal"
    );
    if let Ok(pids) = ctx.v1("pids") {
        let limit = std::fs::read_to_string(ctx.cgroup_dir(pids, &b.id).join("pids.max"))?;
        check_eq!(limit.trim(), "max", "pids.max after a refusal");
    }
    fs.delete(&b.id)?;
    check!(!fs.exists(&b.id), "the group is still there");
    Ok(())
}

fn update_makes_a_group_for_a_container_that_has_none(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    let c = Bundle::new(ctx)?
        .shell("sleep 1000 & echo up; wait")
        .detach()?;
    c.wait_stdout("up")?;
    let refused = fs
        .update(&c.id, &["--l3-cache-schema", "L9:0=f"])
        .run()?
        .refused()?;
    refused.says(&["--l3-cache-schema: cannot write"])?;
    check!(
        !fs.exists(&c.id),
        "the group of a refused update is still there"
    );
    fs.update(&c.id, &["--l3-cache-schema", "L3:0=3"])
        .run()?
        .ok()?;
    check_eq!(
        fs.file(&format!("{}/schemata", c.id))?,
        "MB:0=100;1=100\nL3:0=003;1=fff",
        "schemata"
    );
    let tasks = fs.file(&format!("{}/tasks", c.id))?;
    check!(
        tasks
            .lines()
            .any(|task| task == c.pid().map(|pid| pid.to_string()).unwrap_or_default()),
        "tasks: {tasks}"
    );
    check_eq!(tasks.lines().count(), 2, "tasks: {tasks}");
    fs.delete(&c.id)?;
    check!(!fs.exists(&c.id), "the group is still there");
    Ok(())
}

fn update_without_resctrl_is_refused(ctx: &Ctx) -> Outcome {
    if std::path::Path::new("/sys/fs/resctrl").exists() {
        return skip("this machine has resctrl");
    }
    let c = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    for flags in [
        ["--l3-cache-schema", "L3:0=f"],
        ["--mem-bw-schema", "MB:0=20"],
    ] {
        let refused = c
            .verb::<&str>(&["update", flags[0], flags[1]], &[])
            .run()?
            .refused()?;
        refused.says(&["no resctrl file system is mounted"])?;
    }
    c.status_is("running")
}

fn events_tell_what_resctrl_tells(ctx: &Ctx) -> Outcome {
    let fs = Resctrl::new(ctx)?;
    let b = bundle(
        ctx,
        json!({"schemata": ["L3:0=f"], "enableMonitoring": true}),
    )?;
    fs.start(&b)?;
    let output = ctx
        .rt(&["events", "--stats", &b.id])
        .within(&fs.enter())
        .run()?
        .ok()?;
    let event: Value = serde_json::from_str(&output.stdout)?;
    let rdt = &event["data"]["intel_rdt"];
    // The stand-in tells nothing of caches, so nothing is shown of them: src/rdt/stats.rs has
    // its own tests.
    check_eq!(*rdt, json!({}), "RDT");
    fs.delete(&b.id)
}
