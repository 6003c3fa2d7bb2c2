//! Limits on cgroup v1: written to the files, and enforced.

use crate::bundle::Bundle;
use crate::cgroups;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};

tests!("cgroup_v1":
    memory_limits_are_written,
    cpu_limits_are_written,
    cpusets_are_written,
    pids_limits_are_written,
    block_io_limits_are_written,
    device_rules_are_written,
    unlimited_values_are_understood,
    the_process_is_in_every_hierarchy,
    cgroups_are_there_when_created_and_gone_when_deleted,
    the_cgroup_is_left_to_the_kernels_defaults_without_resources,
    the_memory_limit_kills as Serial,
    a_memory_limit_leaves_room_for_a_small_container,
    the_pids_limit_stops_forks,
    the_cpu_quota_throttles,
    an_oom_killed_container_ends_with_137_in_the_foreground as Serial,
    cgroups_below_the_containers_are_removed,
    a_cgroup_that_exists_already_can_be_used,
    missing_parents_of_a_cpuset_get_its_values,
    the_unified_hierarchy_of_a_hybrid_machine_is_joined_too,
    hugetlb_limits_go_to_the_unified_hierarchy_of_a_hybrid_machine,
);

/// Creates it and compares files of its cgroup.
pub(super) fn written(
    ctx: &Ctx,
    controller: &str,
    resources: Value,
    files: &[(&str, &str)],
) -> Outcome {
    let dir = &ctx.v1(controller)?.mount;
    let b = Bundle::new(ctx)?
        .set("/linux/resources", resources)
        .args(&["/bin/sleep", "1000"]);
    let c = b.create()?;
    let mut compared = 0;
    for (file, wanted) in files {
        let path = c.v1_dir(controller)?.join(file);
        if !path.exists() {
            ctx.note(format!("(no {file} on this machine, {})", dir.display()));
            continue;
        }
        compared += 1;
        check_eq!(c.v1_file(controller, file)?, *wanted, "{file}");
    }
    if compared == 0 {
        skip(format!(
            "the {controller} controller has none of these files"
        ))
    } else {
        Ok(())
    }
}

fn memory_limits_are_written(ctx: &Ctx) -> Outcome {
    let memory = json!({"memory": {"limit": 67108864, "reservation": 33554432, "swap": 134217728,
                                   "swappiness": 17, "disableOOMKiller": true}});
    written(
        ctx,
        "memory",
        memory,
        &[
            ("memory.limit_in_bytes", "67108864"),
            ("memory.soft_limit_in_bytes", "33554432"),
            ("memory.memsw.limit_in_bytes", "134217728"),
            ("memory.swappiness", "17"),
            ("memory.use_hierarchy", "1"),
        ],
    )?;
    let c = Bundle::new(ctx)?
        .set("/linux/resources/memory", json!({"disableOOMKiller": true}))
        .create()?;
    let control = c.v1_file("memory", "memory.oom_control")?;
    check!(
        control.contains("oom_kill_disable 1"),
        "memory.oom_control: {control}"
    );
    Ok(())
}

fn cpu_limits_are_written(ctx: &Ctx) -> Outcome {
    let cpu = json!({"cpu": {"shares": 512, "quota": 50000, "period": 200000}});
    written(
        ctx,
        "cpu",
        cpu,
        &[
            ("cpu.shares", "512"),
            ("cpu.cfs_quota_us", "50000"),
            ("cpu.cfs_period_us", "200000"),
        ],
    )?;
    let burst = json!({"cpu": {"quota": 50000, "period": 100000, "burst": 20000}});
    written(ctx, "cpu", burst, &[("cpu.cfs_burst_us", "20000")])?;
    written(
        ctx,
        "cpu",
        json!({"cpu": {"idle": 1}}),
        &[("cpu.idle", "1")],
    )
}

fn cpusets_are_written(ctx: &Ctx) -> Outcome {
    written(
        ctx,
        "cpuset",
        json!({"cpu": {"cpus": "0", "mems": "0"}}),
        &[("cpuset.cpus", "0"), ("cpuset.mems", "0")],
    )
}

fn pids_limits_are_written(ctx: &Ctx) -> Outcome {
    written(
        ctx,
        "pids",
        json!({"pids": {"limit": 123}}),
        &[("pids.max", "123")],
    )
}

/// Device number of a disk of this machine.
pub(super) fn disk() -> Outcome<(u64, u64)> {
    for entry in std::fs::read_dir("/sys/block")?.flatten() {
        let text = std::fs::read_to_string(entry.path().join("dev")).unwrap_or_default();
        if let Some((major, minor)) = text.trim().split_once(':') {
            return Ok((major.parse()?, minor.parse()?));
        }
    }
    skip("no block device on this machine")
}

fn block_io_limits_are_written(ctx: &Ctx) -> Outcome {
    let (major, minor) = disk()?;
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let block = json!({"blockIO": {
        "throttleReadBpsDevice": rate(1 << 20), "throttleWriteBpsDevice": rate(2 << 20),
        "throttleReadIOPSDevice": rate(300), "throttleWriteIOPSDevice": rate(400)
    }});
    let line = |value: u64| format!("{major}:{minor} {value}");
    written(
        ctx,
        "blkio",
        block,
        &[
            ("blkio.throttle.read_bps_device", &line(1 << 20)),
            ("blkio.throttle.write_bps_device", &line(2 << 20)),
            ("blkio.throttle.read_iops_device", &line(300)),
            ("blkio.throttle.write_iops_device", &line(400)),
        ],
    )?;
    written(
        ctx,
        "blkio",
        json!({"blockIO": {"weight": 500}}),
        &[("blkio.bfq.weight", "500"), ("blkio.weight", "500")],
    )
}

fn device_rules_are_written(ctx: &Ctx) -> Outcome {
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        {"allow": true, "type": "b", "major": 7, "access": "r"}
    ]);
    let b = Bundle::new(ctx)?
        .set("/linux/resources/devices", rules)
        .args(&["/bin/sleep", "1000"]);
    let list = b.create()?.v1_file("devices", "devices.list")?;
    for line in [
        "c 10:229 rw",
        "b 7:* r",
        "c 1:3 rwm",
        "c 5:2 rwm",
        "c 136:* rwm",
        "c *:* m",
        "b *:* m",
    ] {
        check!(
            list.lines().any(|found| found == line),
            "devices.list lacks `{line}`:\n{list}"
        );
    }
    check!(
        !list.contains("a *:* rwm"),
        "devices.list allows all:\n{list}"
    );
    Ok(())
}

fn unlimited_values_are_understood(ctx: &Ctx) -> Outcome {
    written(
        ctx,
        "memory",
        json!({"memory": {"limit": -1, "swap": -1}}),
        &[("memory.limit_in_bytes", "9223372036854771712")],
    )?;
    written(
        ctx,
        "pids",
        json!({"pids": {"limit": -1}}),
        &[("pids.max", "max")],
    )?;
    written(
        ctx,
        "cpu",
        json!({"cpu": {"quota": -1}}),
        &[("cpu.cfs_quota_us", "-1")],
    )
}

fn the_process_is_in_every_hierarchy(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).create()?;
    let pid = c.pid()?;
    for hierarchy in ctx.hierarchies.iter().filter(|h| !h.is_v2()) {
        let dir = ctx.cgroup_dir(hierarchy, &c.id);
        check!(
            cgroups::pids(&dir).contains(&pid),
            "{} lacks the process",
            dir.display()
        );
    }
    Ok(())
}

fn cgroups_are_there_when_created_and_gone_when_deleted(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).create()?;
    let dir = c.v1_dir("pids")?;
    check!(dir.is_dir(), "{} is not there after create", dir.display());
    c.delete_force()?.ok()?;
    check!(!dir.exists(), "{} is there after delete", dir.display());
    ctx.nothing_left()
}

fn the_cgroup_is_left_to_the_kernels_defaults_without_resources(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).create()?;
    check_eq!(c.v1_file("pids", "pids.max")?, "max", "pids.max");
    check_eq!(c.v1_file("cpu", "cpu.shares")?, "1024", "cpu.shares");
    check_eq!(
        c.v1_file("memory", "memory.limit_in_bytes")?,
        "9223372036854771712",
        "limit"
    );
    Ok(())
}

fn the_memory_limit_kills(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let c = Bundle::new(ctx)?
        .set(
            "/linux/resources/memory",
            json!({"limit": 33554432, "swap": 33554432}),
        )
        .args(&["/bin/probe", "eat", "200"])
        .create()?;
    let pid = c.pid()?;
    c.start()?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code");
    check!(
        !c.stdout()?.contains("ate"),
        "200 MB were had under a limit of 32"
    );
    Ok(())
}

fn an_oom_killed_container_ends_with_137_in_the_foreground(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let b = Bundle::new(ctx)?
        .set(
            "/linux/resources/memory",
            json!({"limit": 33554432, "swap": 33554432}),
        )
        .args(&["/bin/probe", "eat", "200"]);
    b.run()?.code_is(137)?;
    ctx.nothing_left()
}

fn a_memory_limit_leaves_room_for_a_small_container(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    // Engines allow 6 MB; the runtime's own memory must not count against it.
    let b = Bundle::new(ctx)?
        .set(
            "/linux/resources/memory",
            json!({"limit": 6291456, "swap": 6291456}),
        )
        .args(&["/bin/echo", "small"]);
    for _ in 0..5 {
        check_eq!(b.run()?.ok()?.stdout, "small\n", "output");
    }
    Ok(())
}

fn the_pids_limit_stops_forks(ctx: &Ctx) -> Outcome {
    ctx.v1("pids")?;
    let b = Bundle::new(ctx)?.set("/linux/resources/pids", json!({"limit": 10}));
    let found = b.probe(&["fork", "50"])?;
    check_eq!(
        found["started"],
        json!(9),
        "children beside the process itself"
    );
    check_eq!(found["errno"], json!(libc::EAGAIN), "errno of fork");
    Ok(())
}

fn the_cpu_quota_throttles(ctx: &Ctx) -> Outcome {
    ctx.v1("cpu")?;
    let c = Bundle::new(ctx)?
        .set(
            "/linux/resources/cpu",
            json!({"quota": 10000, "period": 100000}),
        )
        .shell("while :; do :; done")
        .detach()?;
    ctx.until("the container is throttled", || {
        c.v1_file("cpu", "cpu.stat").is_ok_and(|stat| {
            stat.lines()
                .any(|l| l.strip_prefix("nr_throttled ").is_some_and(|n| n != "0"))
        })
    })
}

fn cgroups_below_the_containers_are_removed(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    // As a container with a writable cgroup mount makes them.
    let below = c.v1_dir("pids")?.join("below/deeper");
    std::fs::create_dir_all(&below)?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn a_cgroup_that_exists_already_can_be_used(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/echo", "fine"]);
    let dir = ctx.cgroup_dir(ctx.v1("pids")?, &b.id);
    std::fs::create_dir_all(&dir).because(dir.display())?;
    check_eq!(b.run()?.ok()?.stdout, "fine\n", "output");
    ctx.nothing_left()
}

fn missing_parents_of_a_cpuset_get_its_values(ctx: &Ctx) -> Outcome {
    let hierarchy = ctx.v1("cpuset")?;
    let b = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
    let path = format!("{}/one/two/three", ctx.prefix);
    let c = b.set("/linux/cgroupsPath", path).create()?;
    for dir in ["one", "one/two", "one/two/three"] {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let text = std::fs::read_to_string(ctx.cgroup_dir(hierarchy, dir).join(file))?;
            check!(!text.trim().is_empty(), "{file} of {dir} is empty");
        }
    }
    c.delete_force()?.ok()?;
    // The parents are shared ground: who removes them is the engine's business.
    for hierarchy in &ctx.hierarchies {
        for dir in ["one/two", "one"] {
            let _ = std::fs::remove_dir(ctx.cgroup_dir(hierarchy, dir));
        }
    }
    ctx.nothing_left()
}

fn the_unified_hierarchy_of_a_hybrid_machine_is_joined_too(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let hierarchy = ctx.v2("")?;
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).create()?;
    let dir = ctx.cgroup_dir(hierarchy, &c.id);
    check_eq!(
        cgroups::pids(&dir),
        [c.pid()?],
        "processes of {}",
        dir.display()
    );
    Ok(())
}

fn hugetlb_limits_go_to_the_unified_hierarchy_of_a_hybrid_machine(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let hierarchy = ctx.v2("hugetlb")?;
    let limits = json!([{"pageSize": "2MB", "limit": 8388608}]);
    let b = Bundle::new(ctx)?.set("/linux/resources/hugepageLimits", limits);
    let c = b.args(&["/bin/sleep", "1000"]).create()?;
    let path = ctx.cgroup_dir(hierarchy, &c.id).join("hugetlb.2MB.max");
    let found = std::fs::read_to_string(&path).because(path.display())?;
    check_eq!(found.trim(), "8388608", "hugetlb.2MB.max");
    Ok(())
}
