//! Hosts with other hierarchies than this one, as views of it: v1 alone, controllers together in
//! one hierarchy, v1 and v2 side by side with what is usually on v1 on v2, none at all.

use crate::bundle::Bundle;
use crate::cgroups::{self, Hierarchy};
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, Stop, skip};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

tests!("cgroup_layouts":
    v1_alone_has_the_container_in_every_hierarchy,
    controllers_together_in_one_hierarchy_are_limited_and_mounted as Serial,
    without_a_freezer_of_v1_the_one_of_v2_is_used,
    what_is_on_v2_beside_v1_is_limited_and_updated,
    limits_on_v2_go_with_devices_and_freezer_on_v1 as Serial,
    unified_values_of_what_is_on_v2_are_written_beside_v1,
    a_host_without_hierarchies_says_what_is_missing,
);

fn sleeping(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]))
}

/// A /proc/PID/cgroup without the numbers, sorted.
fn membership(text: &str) -> Vec<String> {
    let rest = |line: &str| Some(line.split_once(':')?.1.to_string());
    let mut lines: Vec<String> = text.lines().filter_map(rest).collect();
    lines.sort();
    lines
}

fn of(pid: i32) -> Outcome<String> {
    Ok(std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?)
}

fn v1_alone_has_the_container_in_every_hierarchy(ctx: &Ctx) -> Outcome {
    let all = [
        "cpuset",
        "cpu",
        "memory",
        "devices",
        "freezer",
        "pids",
        "name=systemd",
    ];
    for name in all {
        ctx.v1(name)?;
    }
    ctx.use_view(&all);
    let limits = json!({"pids": {"limit": 17}, "memory": {"limit": 67108864}});
    let c = sleeping(ctx)?.set("/linux/resources", limits).detach()?;
    let own = ctx.cgroup(&c.id);
    let found = membership(&cgroups::known(&of(c.pid()?)?, &ctx.hierarchies));
    for name in all {
        let line = format!("{name}:{own}");
        check!(found.contains(&line), "{line} is not in {found:?}");
    }
    // Where v2 is not mounted there is nothing of the container's.
    check!(!found.contains(&format!(":{own}")), "{found:?}");
    check_eq!(c.v1_file("pids", "pids.max")?, "17", "pids.max");
    for (verb, status) in [("pause", "paused"), ("resume", "running")] {
        c.verb::<&str>(&[verb], &[]).run()?.ok()?;
        c.status_is(status)?;
    }
    let said = c.exec_says(&[], "cat /proc/self/cgroup")?;
    let entered = membership(&cgroups::known(&said, &ctx.hierarchies));
    check_eq!(entered, found, "where exec is");
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

/// A hierarchy that only this test mounts, until it is dropped.
struct Mounted<'a> {
    ctx: &'a Ctx,
    at: PathBuf,
}

impl<'a> Mounted<'a> {
    fn new(ctx: &'a Ctx, controllers: &str) -> Outcome<Mounted<'a>> {
        let at = ctx.dir.join(controllers);
        std::fs::create_dir(&at)?;
        let data = std::ffi::CString::new(controllers).because(controllers)?;
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("cgroup", &at, "cgroup", flags, data.as_c_str()) {
            Ok(()) => {}
            Err(errno) => {
                return skip(format!(
                    "no hierarchy of {controllers} can be made: {errno}"
                ));
            }
        }
        ctx.stays();
        Ok(Mounted { ctx, at })
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let hierarchy = Hierarchy {
            mount: self.at.clone(),
            controllers: vec!["net_cls".to_string()],
        };
        let limit = std::time::Duration::from_secs(5);
        cgroups::destroy(&[hierarchy], &self.ctx.prefix, limit);
        // The run's own level above the test's.
        let run = Path::new(&self.ctx.prefix)
            .parent()
            .unwrap_or(Path::new("/"));
        let _ = std::fs::remove_dir(self.at.join(run.strip_prefix("/").unwrap_or(run)));
        let _ = rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::DETACH);
    }
}

fn controllers_together_in_one_hierarchy_are_limited_and_mounted(ctx: &Ctx) -> Outcome {
    for name in ["cpuset", "devices", "freezer", "pids"] {
        ctx.v1(name)?;
    }
    let mounted = Mounted::new(ctx, "net_cls,net_prio")?;
    ctx.use_view(&["cpuset", "devices", "freezer", "pids", "net_cls,net_prio"]);
    let network = json!({"classID": 1048577, "priorities": [{"name": "lo", "priority": 3}]});
    let script = "cd /sys/fs/cgroup; readlink net_cls; readlink net_prio; cat net_cls/net_cls.classid; \
                  grep lo net_prio/net_prio.ifpriomap; cat net_cls,net_prio/cgroup.procs; \
                  echo done; sleep 1000";
    let c = Bundle::new(ctx)?
        .set("/linux/resources/network", network)
        .namespace("cgroup", None)
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"])
        .shell(script)
        .detach()?;
    c.wait_stdout("done")?;
    let said = c.stdout()?;
    let lines: Vec<&str> = said.lines().take(5).collect();
    check_eq!(
        lines,
        [
            "net_cls,net_prio",
            "net_cls,net_prio",
            "1048577",
            "lo 3",
            "1"
        ],
        "what is mounted in the container"
    );
    let own = format!("net_cls,net_prio:{}/{}", ctx.prefix, c.id);
    let found = membership(&of(c.pid()?)?);
    check!(found.contains(&own), "{own} is not in {found:?}");
    c.verb(&["update"], &["-r", &update_of_class(ctx)?])
        .run()?
        .ok()?;
    let below = ctx.prefix.trim_start_matches('/');
    let dir = mounted.at.join(below).join(&c.id);
    let class = std::fs::read_to_string(dir.join("net_cls.classid"))?;
    check_eq!(class.trim(), "5", "net_cls.classid after an update");
    let stats = c.verb(&["events"], &["--stats"]).run()?.ok()?.stdout;
    check!(stats.contains("\"pids\""), "{stats}");
    c.delete_force()?.ok()?;
    check!(!dir.exists(), "{} is left", dir.display());
    drop(mounted);
    ctx.nothing_left()
}

/// As hosts boot with systemd's hybrid layout and single controllers taken off v1.
fn limits_on_v2_go_with_devices_and_freezer_on_v1(ctx: &Ctx) -> Outcome {
    if !ctx.hierarchies.iter().all(Hierarchy::is_v2) {
        return skip("the controllers are on cgroup v1");
    }
    for name in ["memory", "pids", "cpu"] {
        ctx.v2(name)?;
    }
    let (devices, freezer) = (Mounted::new(ctx, "devices")?, Mounted::new(ctx, "freezer")?);
    ctx.use_view(&["devices", "freezer", "unified"]);
    let limits = json!({"pids": {"limit": 17}, "memory": {"limit": 67108864, "swap": 67108864},
                        "devices": [{"allow": false, "access": "rwm"}]});
    let c = sleeping(ctx)?.set("/linux/resources", limits).detach()?;
    let own = ctx.cgroup(&c.id);
    let dir = |root: &Path| root.join(own.trim_start_matches('/'));
    let unified = dir(&ctx.v2("")?.mount);
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).because(path.display())?;
        Ok::<_, Stop>(text.trim().to_string())
    };
    check_eq!(read(unified.join("memory.max"))?, "67108864", "memory.max");
    check_eq!(read(unified.join("pids.max"))?, "17", "pids.max");
    let list = read(dir(&devices.at).join("devices.list"))?;
    check!(
        list.contains("c 1:3 rwm") && !list.contains("a *:*"),
        "{list}"
    );
    c.verb::<&str>(&["pause"], &[]).run()?.ok()?;
    c.status_is("paused")?;
    check_eq!(
        read(dir(&freezer.at).join("freezer.state"))?,
        "FROZEN",
        "freezer.state"
    );
    c.verb::<&str>(&["resume"], &[]).run()?.ok()?;
    let update = c.verb::<&str>(&["update", "--memory", "96m", "--memory-swap", "128m"], &[]);
    update.run()?.ok()?;
    check_eq!(
        read(unified.join("memory.max"))?,
        "100663296",
        "memory.max after an update"
    );
    check_eq!(
        read(unified.join("memory.swap.max"))?,
        "33554432",
        "memory.swap.max"
    );
    let stats = c.verb(&["events"], &["--stats"]).run()?.ok()?.stdout;
    let stats: Value = serde_json::from_str(&stats)?;
    check_eq!(
        stats["data"]["memory"]["usage"]["limit"],
        json!(100663296),
        "limit of memory in the statistics"
    );
    check_eq!(
        stats["data"]["pids"],
        json!({"current": 1, "limit": 17}),
        "pids in the statistics"
    );
    check!(
        stats["data"]["cpu"]["usage"]["total"].as_u64() > Some(0),
        "CPU time in the statistics"
    );
    // A process that is killed for memory on v2 is told.
    let mut events = c.verb::<&str>(&["events"], &[]).spawn()?;
    let out = events.child.stdout.take().because("its output")?;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(out));
    let first = lines.next().because("a first line")??;
    check!(first.contains("\"stats\""), "{first}");
    c.exec(&[], &["/bin/probe", "eat", "300"])
        .run()?
        .code_is(137)?;
    let second = lines.next().because("a second line")??;
    check!(second.contains("\"oom\""), "{second}");
    c.delete_force()?.ok()?;
    check_eq!(events.wait()?, 0, "events");
    for dir in [dir(&devices.at), dir(&freezer.at), unified] {
        check!(!dir.exists(), "{} is left", dir.display());
    }
    drop((devices, freezer));
    ctx.nothing_left()
}

fn update_of_class(ctx: &Ctx) -> Outcome<String> {
    let path = ctx.dir.join("class.json");
    std::fs::write(&path, json!({"network": {"classID": 5}}).to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

fn without_a_freezer_of_v1_the_one_of_v2_is_used(ctx: &Ctx) -> Outcome {
    ctx.v1("pids")?;
    let v2 = ctx.v2("")?;
    ctx.use_view(&["pids", "unified"]);
    let node = json!({"path": "/dev/f", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666});
    let limits = json!({"pids": {"limit": 17}, "devices": [{"allow": false, "access": "rwm"}]});
    let c = sleeping(ctx)?
        .set("/linux/resources", limits)
        .push("/linux/devices", node)
        .detach()?;
    check_eq!(c.v1_file("pids", "pids.max")?, "17", "pids.max");
    // Nor is there a list of devices on v1.
    let errno = c.exec_says(&[], "/bin/probe open /dev/f w")?;
    check_eq!(errno, "{\"errno\":1}", "opening a device that is denied");
    c.verb::<&str>(&["pause"], &[]).run()?.ok()?;
    c.status_is("paused")?;
    let events = ctx.cgroup_dir(v2, &c.id).join("cgroup.events");
    let events = std::fs::read_to_string(&events).because(events.display())?;
    check!(events.contains("frozen 1"), "{events}");
    c.verb::<&str>(&["resume"], &[]).run()?.ok()?;
    c.status_is("running")?;
    check_eq!(c.exec_says(&[], "echo entered")?, "entered", "exec");
    c.verb(&["kill"], &["--all", "KILL"]).run()?.ok()?;
    c.wait_status("stopped")?;
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn what_is_on_v2_beside_v1_is_limited_and_updated(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let v2 = ctx.v2("hugetlb")?;
    let huge = |limit: u64| json!([{"pageSize": "2MB", "limit": limit}]);
    let limits = json!({"hugepageLimits": huge(8388608), "pids": {"limit": 17}});
    let c = sleeping(ctx)?.set("/linux/resources", limits).detach()?;
    let file = ctx.cgroup_dir(v2, &c.id).join("hugetlb.2MB.max");
    let read = || std::fs::read_to_string(&file).because(file.display());
    check_eq!(read()?.trim(), "8388608", "hugetlb.2MB.max");
    check_eq!(c.v1_file("pids", "pids.max")?, "17", "pids.max");
    let path = ctx.dir.join("huge.json");
    let update = json!({"hugepageLimits": huge(4194304), "pids": {"limit": 18}});
    std::fs::write(&path, update.to_string())?;
    c.verb(&["update"], &["-r", &path.to_string_lossy()])
        .run()?
        .ok()?;
    check_eq!(read()?.trim(), "4194304", "hugetlb.2MB.max after an update");
    check_eq!(
        c.v1_file("pids", "pids.max")?,
        "18",
        "pids.max after an update"
    );
    let stats = c.verb(&["events"], &["--stats"]).run()?.ok()?.stdout;
    let stats: Value = serde_json::from_str(&stats)?;
    check!(
        stats["data"]["hugetlb"]["2MB"].is_object(),
        "huge pages of v2: {}",
        stats["data"]["hugetlb"]
    );
    check_eq!(
        stats["data"]["pids"],
        json!({"current": 1, "limit": 18}),
        "pids of v1"
    );
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn unified_values_of_what_is_on_v2_are_written_beside_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let v2 = ctx.v2("hugetlb")?;
    let values = json!({"hugetlb.2MB.max": "4194304", "cgroup.max.depth": "3"});
    let c = sleeping(ctx)?
        .set("/linux/resources/unified", values)
        .create()?;
    for (file, wanted) in [("hugetlb.2MB.max", "4194304"), ("cgroup.max.depth", "3")] {
        let path = ctx.cgroup_dir(v2, &c.id).join(file);
        let found = std::fs::read_to_string(&path).because(path.display())?;
        check_eq!(found.trim(), wanted, "{file}");
    }
    c.delete_force()?.ok()?;
    sleeping(ctx)?
        .set("/linux/resources/unified", json!({"pids.max": "3"}))
        .create_refused()?
        .says(&["/linux/resources/unified/pids.max: the host uses cgroup v1"])?;
    Ok(())
}

fn a_host_without_hierarchies_says_what_is_missing(ctx: &Ctx) -> Outcome {
    ctx.use_view(&["none"]);
    let rules = json!([{"allow": false, "access": "rwm"}]);
    for (pointer, value, lacks) in [
        ("/linux/resources/pids/limit", json!(17), "controller"),
        ("/linux/resources/devices", rules, "has neither"),
        (
            "/linux/resources/unified",
            json!({"pids.max": "3"}),
            "cgroup v2",
        ),
    ] {
        sleeping(ctx)?
            .set(pointer, value)
            .create_refused()?
            .says(&[pointer])?
            .says(&[lacks])?;
    }
    // Who asks for nothing gets a container without a cgroup.
    let c = sleeping(ctx)?.detach()?;
    c.verb::<&str>(&["pause"], &[])
        .run()?
        .refused()?
        .says(&["has no cgroup of its own"])?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}
