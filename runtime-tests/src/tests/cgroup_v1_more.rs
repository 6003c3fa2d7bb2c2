//! Limits on cgroup v1 that few ask for, and those that the machine or its kernel cannot give.

use super::cgroup_v1::{disk, written};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, tests};
use serde_json::json;

tests!("cgroup_v1_more":
    a_limit_of_no_further_tasks_is_one,
    shares_of_both_ends_are_written,
    an_idle_cgroup_keeps_its_shares,
    real_time_limits_are_written as Serial,
    real_time_limits_above_the_parents_are_refused as Serial,
    a_refused_limit_names_what_the_cgroup_above_has,
    weights_of_devices_are_written,
    a_device_that_is_not_there_is_named,
    leaf_weights_are_refused_where_the_kernel_has_none,
    throttles_of_zero_lift_the_limit,
    limits_of_kernel_memory_are_ignored_with_a_warning,
    tcp_memory_is_limited,
    members_of_memory_that_say_what_holds_anyway_are_accepted,
    a_swap_limit_below_the_memory_limit_is_refused,
    zeros_leave_everything_at_the_kernels_defaults,
    network_classes_and_priorities_are_written,
    network_limits_without_their_controllers_are_refused,
    rdma_limits_are_written_or_refused,
    unified_values_are_refused_on_v1,
    reservations_of_huge_pages_are_limited_too,
);

fn sleeper<'a>(ctx: &'a Ctx, pointer: &str, value: serde_json::Value) -> Outcome<Bundle<'a>> {
    let b = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
    Ok(b.set(&format!("/linux/resources{pointer}"), value))
}

fn a_limit_of_no_further_tasks_is_one(ctx: &Ctx) -> Outcome {
    // A limit since runc 1.4, where it was none before: the process runs, and cannot fork.
    written(
        ctx,
        "pids",
        json!({"pids": {"limit": 0}}),
        &[("pids.max", "0")],
    )?;
    let b = Bundle::new(ctx)?.set("/linux/resources/pids/limit", 0);
    let found = b.probe(&["fork", "1"])?;
    check_eq!(found["errno"], json!(libc::EAGAIN), "errno of fork");
    Ok(())
}

fn shares_of_both_ends_are_written(ctx: &Ctx) -> Outcome {
    ctx.v1("cpu")?;
    for shares in [1, 262_145] {
        let b = sleeper(ctx, "/cpu/shares", json!(shares))?;
        b.create_refused()?.says(&["/linux/resources/cpu/shares"])?;
    }
    for shares in ["2", "262144"] {
        let value: u64 = shares.parse()?;
        written(
            ctx,
            "cpu",
            json!({"cpu": {"shares": value}}),
            &[("cpu.shares", shares)],
        )?;
    }
    Ok(())
}

fn an_idle_cgroup_keeps_its_shares(ctx: &Ctx) -> Outcome {
    let dir = &ctx.v1("cpu")?.mount;
    if !dir.join("cpu.idle").exists() {
        return skip("no cpu.idle on this machine");
    }
    written(
        ctx,
        "cpu",
        json!({"cpu": {"idle": 1, "shares": 512}}),
        &[("cpu.idle", "1")],
    )?;
    let both = &[("cpu.idle", "0"), ("cpu.shares", "512")];
    written(ctx, "cpu", json!({"cpu": {"idle": 0, "shares": 512}}), both)
}

/// Skips unless the kernel has real-time bandwidth for cgroups, of which these get some.
pub(super) fn real_time(ctx: &Ctx) -> Outcome {
    if !ctx.v1("cpu")?.mount.join("cpu.rt_runtime_us").exists() {
        return skip("the kernel has no real-time limits for cgroups");
    }
    super::scheduling::with_real_time(ctx, Bundle::new(ctx)?).map(drop)
}

fn real_time_limits_are_written(ctx: &Ctx) -> Outcome {
    real_time(ctx)?;
    written(
        ctx,
        "cpu",
        json!({"cpu": {"realtimeRuntime": 10_000, "realtimePeriod": 500_000}}),
        &[
            ("cpu.rt_runtime_us", "10000"),
            ("cpu.rt_period_us", "500000"),
        ],
    )
}

fn real_time_limits_above_the_parents_are_refused(ctx: &Ctx) -> Outcome {
    real_time(ctx)?;
    let b = sleeper(ctx, "/cpu", json!({"realtimeRuntime": 900_000}))?;
    b.create_refused()?
        .says(&["/linux/resources/cpu/realtimeRuntime"])?;
    Ok(())
}

fn a_refused_limit_names_what_the_cgroup_above_has(ctx: &Ctx) -> Outcome {
    let dir = |controller: &str| {
        let dir = ctx.cgroup_dir(ctx.v1(controller)?, "above");
        std::fs::create_dir_all(&dir).because(dir.display())?;
        Ok::<_, crate::outcome::Stop>(dir)
    };
    let cpuset = dir("cpuset")?;
    let levels: Vec<&std::path::Path> = cpuset.ancestors().take(3).collect();
    for file in ["cpuset.cpus", "cpuset.mems"] {
        // The run's own level and the test's get all that there is, if they have nothing.
        let all = std::fs::read_to_string(ctx.v1("cpuset")?.mount.join(file))?;
        for level in [levels[2], levels[1]] {
            if std::fs::read_to_string(level.join(file))?.trim().is_empty() {
                std::fs::write(level.join(file), &all).because(file)?;
            }
        }
        std::fs::write(cpuset.join(file), "0").because(file)?;
    }
    std::fs::write(dir("cpu")?.join("cpu.cfs_quota_us"), "50000")?;
    ctx.stays();
    let path = format!("{}/above/c", ctx.prefix);
    let refused = |cpu: serde_json::Value| {
        let b = sleeper(ctx, "/cpu", cpu)?.set("/linux/cgroupsPath", path.clone());
        b.create_refused()
    };
    refused(json!({"cpus": "0-1"}))?
        .says(&["/linux/resources/cpu/cpus: cannot write \\\"0-1\\\""])?
        .says(&["/above: cpuset.cpus 0)"])?;
    refused(json!({"quota": 80000, "period": 100_000}))?
        .says(&["/linux/resources/cpu/quota: cannot write \\\"80000\\\""])?
        .says(&["/above: cpu.cfs_quota_us 50000, cpu.cfs_period_us 100000)"])?;
    for controller in ["cpuset", "cpu"] {
        std::fs::remove_dir(dir(controller)?)?;
    }
    ctx.nothing_left()
}

fn weights_of_devices_are_written(ctx: &Ctx) -> Outcome {
    ctx.v1("blkio")?;
    let (major, minor) = disk()?;
    let device = json!([{"major": major, "minor": minor, "weight": 300}]);
    let b = sleeper(ctx, "/blockIO/weightDevice", device)?;
    let output = b
        .verb::<&str>("create", &[])?
        .output(ctx.dir.join("create"))
        .run()?;
    ctx.created(&b.id);
    if output.code != 0 {
        // The file is there only where a scheduler has weights, and the device uses it.
        output
            .refused()?
            .says(&["/linux/resources/blockIO/weightDevice/0/weight"])?;
        return skip("no scheduler with weights for the device");
    }
    let dir = ctx.cgroup_dir(ctx.v1("blkio")?, &b.id);
    let text = ["blkio.bfq.weight_device", "blkio.weight_device"]
        .iter()
        .find_map(|file| std::fs::read_to_string(dir.join(file)).ok())
        .because("the file of the device's weight")?;
    check!(text.contains(&format!("{major}:{minor} 300")), "{text}");
    Ok(())
}

fn a_device_that_is_not_there_is_named(ctx: &Ctx) -> Outcome {
    ctx.v1("blkio")?;
    let device = json!([{"major": 4094, "minor": 7, "rate": 1000}]);
    for name in [
        "throttleReadBpsDevice",
        "throttleWriteBpsDevice",
        "throttleReadIOPSDevice",
        "throttleWriteIOPSDevice",
    ] {
        let b = sleeper(ctx, &format!("/blockIO/{name}"), device.clone())?;
        b.create_refused()?
            .says(&[&format!("/linux/resources/blockIO/{name}/0")])?;
    }
    Ok(())
}

fn leaf_weights_are_refused_where_the_kernel_has_none(ctx: &Ctx) -> Outcome {
    let (major, minor) = disk()?;
    if ctx.v1("blkio")?.mount.join("blkio.leaf_weight").exists() {
        return written(
            ctx,
            "blkio",
            json!({"blockIO": {"leafWeight": 300}}),
            &[("blkio.leaf_weight", "300")],
        );
    }
    // Since Linux 5.0.
    let b = sleeper(ctx, "/blockIO/leafWeight", json!(300))?;
    b.create_refused()?
        .says(&["/linux/resources/blockIO/leafWeight"])?;
    let device = json!([{"major": major, "minor": minor, "leafWeight": 300}]);
    let b = sleeper(ctx, "/blockIO/weightDevice", device)?;
    b.create_refused()?
        .says(&["/linux/resources/blockIO/weightDevice/0/leafWeight"])?;
    Ok(())
}

fn throttles_of_zero_lift_the_limit(ctx: &Ctx) -> Outcome {
    let (major, minor) = disk()?;
    let rate = json!([{"major": major, "minor": minor, "rate": 0}]);
    written(
        ctx,
        "blkio",
        json!({"blockIO": {"throttleReadBpsDevice": rate, "throttleWriteIOPSDevice": rate}}),
        &[
            ("blkio.throttle.read_bps_device", ""),
            ("blkio.throttle.write_iops_device", ""),
        ],
    )
}

fn limits_of_kernel_memory_are_ignored_with_a_warning(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/linux/resources/memory", json!({"kernel": 1 << 20}));
    let output = b.args(&["/bin/true"]).run()?.ok()?;
    let pointer = "/linux/resources/memory/kernel:";
    let lines = output.stderr.lines().filter(|line| line.contains(pointer));
    check_eq!(lines.count(), 1, "warnings: {}", output.stderr);
    Ok(())
}

fn tcp_memory_is_limited(ctx: &Ctx) -> Outcome {
    written(
        ctx,
        "memory",
        json!({"memory": {"kernelTCP": 1 << 20}}),
        &[("memory.kmem.tcp.limit_in_bytes", "1048576")],
    )
}

fn members_of_memory_that_say_what_holds_anyway_are_accepted(ctx: &Ctx) -> Outcome {
    written(
        ctx,
        "memory",
        json!({"memory": {"limit": 67108864, "useHierarchy": true, "checkBeforeUpdate": true,
                          "disableOOMKiller": false}}),
        &[
            ("memory.limit_in_bytes", "67108864"),
            ("memory.use_hierarchy", "1"),
        ],
    )
}

fn a_swap_limit_below_the_memory_limit_is_refused(ctx: &Ctx) -> Outcome {
    let b = sleeper(ctx, "/memory", json!({"limit": 67108864, "swap": 33554432}))?;
    b.create_refused()?
        .says(&["/linux/resources/memory/swap"])?;
    Ok(())
}

fn zeros_leave_everything_at_the_kernels_defaults(ctx: &Ctx) -> Outcome {
    // What engines write for "not set".
    let none = json!({"memory": {"limit": 0, "swap": 0, "reservation": 0},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0,
                "cpus": "", "mems": ""},
        "blockIO": {"weight": 0}, "network": {"classID": 0}, "hugepageLimits": null});
    let c = sleeper(ctx, "", none)?.create()?;
    for (controller, file, value) in [
        ("memory", "memory.limit_in_bytes", "9223372036854771712"),
        ("cpu", "cpu.shares", "1024"),
        ("cpu", "cpu.cfs_quota_us", "-1"),
    ] {
        ctx.v1(controller)?;
        check_eq!(c.v1_file(controller, file)?, value, "{file}");
    }
    Ok(())
}

fn network_classes_and_priorities_are_written(ctx: &Ctx) -> Outcome {
    written(
        ctx,
        "net_cls",
        json!({"network": {"classID": 1048577}}),
        &[("net_cls.classid", "1048577")],
    )?;
    let priorities = json!({"network": {"priorities": [{"name": "lo", "priority": 3}]}});
    let c = sleeper(ctx, "", priorities)?.create()?;
    let map = c.v1_file("net_prio", "net_prio.ifpriomap")?;
    check!(
        map.lines().any(|line| line == "lo 3"),
        "net_prio.ifpriomap: {map}"
    );
    Ok(())
}

fn network_limits_without_their_controllers_are_refused(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let has = |name| ctx.v1(name).is_ok();
    if has("net_cls") || has("net_prio") {
        return skip("the network controllers are there");
    }
    let b = sleeper(ctx, "/network", json!({"classID": 5}))?;
    let output = b.create_refused()?;
    output
        .says(&["/linux/resources/network/classID"])?
        .says(&["net_cls"])?;
    let priorities = json!([{"name": "lo", "priority": 3}]);
    let b = sleeper(ctx, "/network/priorities", priorities)?;
    let output = b.create_refused()?;
    output
        .says(&["/linux/resources/network/priorities/0"])?
        .says(&["net_prio"])?;
    Ok(())
}

fn rdma_limits_are_written_or_refused(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let limits = json!({"mlx5_0": {"hcaHandles": 3, "hcaObjects": 10000}});
    let b = sleeper(ctx, "/rdma", limits)?;
    if ctx.v1("rdma").is_ok() || ctx.v2("rdma").is_ok() {
        return skip("the rdma controller is there, and perhaps no such device");
    }
    b.create_refused()?
        .says(&["/linux/resources/rdma/mlx5_0"])?;
    Ok(())
}

fn unified_values_are_refused_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let b = sleeper(ctx, "/unified", json!({"memory.high": "1000000"}))?;
    b.create_refused()?.says(&["/linux/resources/unified"])?;
    Ok(())
}

fn reservations_of_huge_pages_are_limited_too(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let hierarchy = ctx.v2("hugetlb")?;
    let limits = json!([{"pageSize": "2MB", "limit": 4194304}, {"pageSize": "1GB", "limit": 0}]);
    let c = sleeper(ctx, "/hugepageLimits", limits)?.create()?;
    let dir = ctx.cgroup_dir(hierarchy, &c.id);
    for (file, wanted) in [
        ("hugetlb.2MB.max", "4194304"),
        ("hugetlb.2MB.rsvd.max", "4194304"),
        ("hugetlb.1GB.max", "0"),
        ("hugetlb.1GB.rsvd.max", "0"),
    ] {
        let found = std::fs::read_to_string(dir.join(file)).because(file)?;
        check_eq!(found.trim(), wanted, "{file}");
    }
    let b = sleeper(
        ctx,
        "/hugepageLimits",
        json!([{"pageSize": "3MB", "limit": 1}]),
    )?;
    b.verb::<&str>("create", &[])?
        .run()?
        .refused()?
        .says(&["/linux/resources/hugepageLimits/0"])?;
    Ok(())
}
