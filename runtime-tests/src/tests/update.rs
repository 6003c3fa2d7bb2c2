//! update: every flag, files and standard input, on cgroup v1 and where there is nothing but v2.

use crate::bundle::Bundle;
use crate::command::Cmd;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::tests::cgroup_v1::disk;
use crate::tests::cgroup_v1_more::real_time;
use crate::tests::pause::without_a_cgroup;
use crate::user::ID;
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::path::PathBuf;

tests!("update":
    memory_is_limited_anew_on_v1,
    memory_is_limited_anew_on_v2,
    sizes_have_suffixes_on_v1,
    memory_alone_leaves_the_sum_with_swap_as_it_was_asked_for_on_v1,
    memory_alone_leaves_the_sum_with_swap_as_it_was_asked_for_on_v2,
    cpu_time_is_limited_anew_on_v1,
    cpu_time_is_limited_anew_on_v2,
    an_idle_container_has_no_shares_on_v1,
    real_time_limits_are_set_on_v1 as Serial,
    cpusets_are_narrowed_and_widened_on_v1,
    cpusets_are_narrowed_and_widened_on_v2,
    pids_are_limited_anew_on_v1,
    pids_are_limited_anew_on_v2,
    weights_of_block_io_are_set_on_v1,
    throttles_of_a_file_are_set_and_lifted_on_v1,
    weights_and_throttles_are_set_on_v2,
    huge_pages_are_limited_on_v2,
    huge_pages_are_limited_on_v2_beside_v1,
    unified_values_are_written_on_v2,
    unified_values_are_refused_on_v1,
    network_classes_and_rdma_are_set_or_refused,
    the_oom_killer_is_switched_off_and_on_again_on_v1,
    a_file_is_read_instead_of_the_flags,
    standard_input_is_read,
    device_rules_stay_unless_told_on_v1,
    device_rules_stay_unless_told_on_v2,
    device_rules_are_replaced_without_a_gap_on_v1,
    device_rules_are_replaced_without_a_gap_on_v2,
    a_list_that_allows_everything_is_taken_back_on_v1,
    created_and_paused_containers_are_updated,
    a_new_limit_is_enforced,
    a_refused_limit_leaves_all_as_it_was,
    a_usage_above_the_limit_is_refused_if_asked_for_on_v2,
    obsolete_flags_are_warned_of,
    nothing_to_change_is_no_error,
    a_stopped_container_is_refused,
    bad_values_are_refused_in_one_line,
    bad_files_are_refused_with_their_place,
    bad_command_lines_are_refused,
    without_a_cgroup_limits_are_refused_with_a_hint,
    a_user_updates_his_delegated_cgroup,
    a_user_without_the_right_gets_a_hint,
    updates_at_once_leave_one_of_them,
);

fn sleeping(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]))
}

fn on_v1<'a>(ctx: &'a Ctx, controller: &str) -> Outcome<Container<'a>> {
    ctx.v1(controller)?;
    sleeping(ctx)?.detach()
}

/// A container where there is nothing but v2, with the controller.
fn on_v2<'a>(ctx: &'a Ctx, controller: &str) -> Outcome<Container<'a>> {
    ctx.use_pure_v2()?;
    ctx.v2(controller)?;
    sleeping(ctx)?.detach()
}

fn update<'a, S: AsRef<str>>(c: &Container<'a>, flags: &[S]) -> Cmd<'a> {
    let mut verb = vec!["update"];
    verb.extend(flags.iter().map(AsRef::as_ref));
    c.verb::<&str>(&verb, &[])
}

fn set(c: &Container, flags: &str) -> Outcome {
    let flags: Vec<&str> = flags.split(' ').collect();
    update(c, &flags).run()?.ok().map(drop)
}

/// `update -r -` with this JSON.
fn of_json<'a>(ctx: &Ctx, c: &Container<'a>, json: &Value) -> Outcome<Cmd<'a>> {
    let path = ctx.dir.join(format!("resources{}.json", ctx.next()));
    std::fs::write(&path, json.to_string())?;
    Ok(update(c, &["-r", "-"]).stdin(std::fs::File::open(&path)?))
}

fn set_json(ctx: &Ctx, c: &Container, json: Value) -> Outcome {
    of_json(ctx, c, &json)?.run()?.ok().map(drop)
}

fn v2_file(ctx: &Ctx, c: &Container, file: &str) -> Outcome<String> {
    let path = ctx.cgroup_dir(ctx.v2("")?, &c.id).join(file);
    Ok(std::fs::read_to_string(&path)
        .because(path.display())?
        .trim()
        .to_owned())
}

/// Sets flags one after the other and looks what the files say.
fn steps_v1(ctx: &Ctx, controller: &str, steps: &[(&str, &[(&str, &str)])]) -> Outcome {
    let c = on_v1(ctx, controller)?;
    for (flags, files) in steps {
        set(&c, flags)?;
        for (file, wanted) in *files {
            check_eq!(
                c.v1_file(controller, file)?,
                *wanted,
                "{file} after {flags}"
            );
        }
    }
    Ok(())
}

fn steps_v2(ctx: &Ctx, controller: &str, steps: &[(&str, &[(&str, &str)])]) -> Outcome {
    let c = on_v2(ctx, controller)?;
    for (flags, files) in steps {
        set(&c, flags)?;
        for (file, wanted) in *files {
            check_eq!(v2_file(ctx, &c, file)?, *wanted, "{file} after {flags}");
        }
    }
    Ok(())
}

const UNLIMITED: &str = "9223372036854771712";

fn memory_is_limited_anew_on_v1(ctx: &Ctx) -> Outcome {
    const LIMIT: &str = "memory.limit_in_bytes";
    const SUM: &str = "memory.memsw.limit_in_bytes";
    let steps: &[(&str, &[(&str, &str)])] = &[
        (
            "--memory 67108864 --memory-swap 134217728",
            &[(LIMIT, "67108864"), (SUM, "134217728")],
        ),
        // Raised above what both were, and lowered below.
        (
            "--memory 268435456 --memory-swap 536870912",
            &[(LIMIT, "268435456"), (SUM, "536870912")],
        ),
        (
            "--memory 33554432 --memory-swap 33554432",
            &[(LIMIT, "33554432"), (SUM, "33554432")],
        ),
        (
            "--memory-swap 67108864",
            &[(LIMIT, "33554432"), (SUM, "67108864")],
        ),
        (
            "--memory 50331648",
            &[(LIMIT, "50331648"), (SUM, "67108864")],
        ),
        ("--memory-swap -1", &[(LIMIT, "50331648"), (SUM, UNLIMITED)]),
        (
            "--memory-reservation 16777216",
            &[("memory.soft_limit_in_bytes", "16777216")],
        ),
        ("--memory -1", &[(LIMIT, UNLIMITED), (SUM, UNLIMITED)]),
    ];
    steps_v1(ctx, "memory", steps)
}

fn memory_is_limited_anew_on_v2(ctx: &Ctx) -> Outcome {
    let steps: &[(&str, &[(&str, &str)])] = &[
        (
            "--memory 67108864 --memory-swap 134217728",
            &[("memory.max", "67108864"), ("memory.swap.max", "67108864")],
        ),
        (
            "--memory 33554432 --memory-swap 33554432",
            &[("memory.max", "33554432"), ("memory.swap.max", "0")],
        ),
        (
            "--memory-swap 67108864",
            &[("memory.max", "33554432"), ("memory.swap.max", "33554432")],
        ),
        ("--memory-swap -1", &[("memory.swap.max", "max")]),
        (
            "--memory-reservation 16777216",
            &[("memory.low", "16777216")],
        ),
        (
            "--memory -1",
            &[("memory.max", "max"), ("memory.swap.max", "max")],
        ),
    ];
    steps_v2(ctx, "memory", steps)
}

fn sizes_have_suffixes_on_v1(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "memory")?;
    for (size, bytes) in [
        ("64m", 64u64 << 20),
        ("64M", 64 << 20),
        ("65536k", 64 << 20),
        ("65536K", 64 << 20),
        ("1g", 1 << 30),
        ("1.5G", 3 << 29),
        ("1t", 1 << 40),
        ("1T", 1 << 40),
        ("32MiB", 32 << 20),
        ("33554432b", 32 << 20),
    ] {
        set(&c, &format!("--memory {size}"))?;
        check_eq!(
            c.v1_file("memory", "memory.limit_in_bytes")?,
            bytes.to_string(),
            "limit of {size}"
        );
    }
    Ok(())
}

fn with_swap<'a>(ctx: &'a Ctx) -> Outcome<Container<'a>> {
    let memory = json!({"limit": 67108864, "swap": 134217728});
    sleeping(ctx)?
        .set("/linux/resources/memory", memory)
        .detach()
}

/// What both interfaces have in common here.
fn sum_is_kept(c: &Container) -> Outcome {
    set(c, "--memory 100663296")?;
    let refused = update(c, &["--memory", "268435456"]).run()?.refused()?;
    refused
        .says(&["--memory: 268435456 is more than memory and swap together may be (134217728)"])?;
    set(c, "--memory 268435456 --memory-swap 268435456")?;
    // The record has to know the new sum.
    let refused = update(c, &["--memory", "268435457"]).run()?.refused()?;
    refused.says(&["(268435456)"]).map(drop)
}

fn memory_alone_leaves_the_sum_with_swap_as_it_was_asked_for_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let c = with_swap(ctx)?;
    sum_is_kept(&c)?;
    check_eq!(
        c.v1_file("memory", "memory.memsw.limit_in_bytes")?,
        "268435456",
        "memory and swap"
    );
    Ok(())
}

fn memory_alone_leaves_the_sum_with_swap_as_it_was_asked_for_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    ctx.v2("memory")?;
    let c = with_swap(ctx)?;
    set(&c, "--memory 100663296")?;
    check_eq!(v2_file(ctx, &c, "memory.swap.max")?, "33554432", "swap");
    sum_is_kept(&c)?;
    check_eq!(v2_file(ctx, &c, "memory.swap.max")?, "0", "swap");
    Ok(())
}

fn cpu_time_is_limited_anew_on_v1(ctx: &Ctx) -> Outcome {
    const QUOTA: &str = "cpu.cfs_quota_us";
    const PERIOD: &str = "cpu.cfs_period_us";
    const BURST: &str = "cpu.cfs_burst_us";
    let steps: &[(&str, &[(&str, &str)])] = &[
        ("--cpu-share 512", &[("cpu.shares", "512")]),
        ("--cpu-quota 50000", &[(QUOTA, "50000"), (PERIOD, "100000")]),
        (
            "--cpu-period 200000",
            &[(QUOTA, "50000"), (PERIOD, "200000")],
        ),
        ("--cpu-burst 50000", &[(BURST, "50000")]),
        // The quota is below the burst for a moment in one of the two orders.
        (
            "--cpu-quota 5000 --cpu-period 10000 --cpu-burst 1000",
            &[(QUOTA, "5000"), (PERIOD, "10000"), (BURST, "1000")],
        ),
        (
            "--cpu-quota 900000 --cpu-period 1000000 --cpu-burst 0",
            &[(QUOTA, "900000"), (PERIOD, "1000000"), (BURST, "0")],
        ),
        ("--cpu-quota -1", &[(QUOTA, "-1")]),
        (
            "--cpu-share 0 --cpu-quota 0 --cpu-period 0",
            &[("cpu.shares", "512"), (QUOTA, "-1"), (PERIOD, "1000000")],
        ),
    ];
    steps_v1(ctx, "cpu", steps)
}

fn cpu_time_is_limited_anew_on_v2(ctx: &Ctx) -> Outcome {
    let steps: &[(&str, &[(&str, &str)])] = &[
        ("--cpu-share 1024", &[("cpu.weight", "100")]),
        ("--cpu-share 512", &[("cpu.weight", "59")]),
        ("--cpu-quota 50000", &[("cpu.max", "50000 100000")]),
        ("--cpu-period 200000", &[("cpu.max", "50000 200000")]),
        ("--cpu-quota 70000", &[("cpu.max", "70000 200000")]),
        ("--cpu-burst 10000", &[("cpu.max.burst", "10000")]),
        (
            "--cpu-quota 5000 --cpu-period 10000 --cpu-burst 1000",
            &[("cpu.max", "5000 10000"), ("cpu.max.burst", "1000")],
        ),
        ("--cpu-quota -1", &[("cpu.max", "max 10000")]),
        ("--cpu-idle 1", &[("cpu.idle", "1")]),
        (
            "--cpu-idle 0 --cpu-share 1024",
            &[("cpu.idle", "0"), ("cpu.weight", "100")],
        ),
    ];
    steps_v2(ctx, "cpu", steps)
}

fn an_idle_container_has_no_shares_on_v1(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "cpu")?;
    if !c.v1_dir("cpu")?.join("cpu.idle").exists() {
        return skip("the kernel has no cpu.idle");
    }
    set(&c, "--cpu-idle 1")?;
    check_eq!(c.v1_file("cpu", "cpu.idle")?, "1", "cpu.idle");
    let refused = update(&c, &["--cpu-share", "300"]).run()?.refused()?;
    refused
        .says(&["--cpu-share: cannot write"])?
        .says(&["cpu.idle is 1"])?;
    set(&c, "--cpu-idle 0 --cpu-share 300")?;
    check_eq!(c.v1_file("cpu", "cpu.shares")?, "300", "cpu.shares");
    Ok(())
}

fn real_time_limits_are_set_on_v1(ctx: &Ctx) -> Outcome {
    real_time(ctx)?;
    let c = on_v1(ctx, "cpu")?;
    set(&c, "--cpu-rt-period 500000 --cpu-rt-runtime 10000")?;
    check_eq!(c.v1_file("cpu", "cpu.rt_period_us")?, "500000", "period");
    check_eq!(c.v1_file("cpu", "cpu.rt_runtime_us")?, "10000", "runtime");
    let refused = update(&c, &["--cpu-rt-runtime", "499000"])
        .run()?
        .refused()?;
    refused.says(&["--cpu-rt-runtime: cannot write"])?;
    check_eq!(c.v1_file("cpu", "cpu.rt_runtime_us")?, "10000", "runtime");
    Ok(())
}

fn all_cpus() -> Outcome<String> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    match text.trim() {
        "0" => skip("one CPU only"),
        text => Ok(text.to_owned()),
    }
}

fn cpusets_are_narrowed_and_widened_on_v1(ctx: &Ctx) -> Outcome {
    let all = all_cpus()?;
    let c = on_v1(ctx, "cpuset")?;
    set(&c, "--cpuset-cpus 0 --cpuset-mems 0")?;
    check_eq!(c.v1_file("cpuset", "cpuset.cpus")?, "0", "CPUs");
    let allowed = |c: &Container| c.exec_says(&[], "grep Cpus_allowed_list /proc/1/status");
    check_eq!(allowed(&c)?, "Cpus_allowed_list:\t0", "of the init");
    set(&c, &format!("--cpuset-cpus {all}"))?;
    check_eq!(c.v1_file("cpuset", "cpuset.cpus")?, all, "CPUs");
    // A cgroup beneath must not lose what it has.
    let beneath = c.v1_dir("cpuset")?.join("beneath");
    std::fs::create_dir(&beneath)?;
    std::fs::write(beneath.join("cpuset.cpus"), "1")?;
    let refused = update(&c, &["--cpuset-cpus", "0"]).run()?.refused()?;
    refused.says(&["a cgroup beneath uses more"])?;
    let refused = update(&c, &["--cpuset-cpus", "4000"]).run()?.refused()?;
    refused.says(&["--cpuset-cpus: cannot write"])?;
    let refused = update(&c, &["--cpuset-mems", "x"]).run()?.refused()?;
    refused.says(&["--cpuset-mems: "]).map(drop)
}

fn cpusets_are_narrowed_and_widened_on_v2(ctx: &Ctx) -> Outcome {
    let all = all_cpus()?;
    let c = on_v2(ctx, "cpuset")?;
    set(&c, "--cpuset-cpus 0 --cpuset-mems 0")?;
    check_eq!(v2_file(ctx, &c, "cpuset.cpus.effective")?, "0", "CPUs");
    set(&c, &format!("--cpuset-cpus {all}"))?;
    check_eq!(v2_file(ctx, &c, "cpuset.cpus.effective")?, all, "CPUs");
    Ok(())
}

const PIDS: &[(&str, &[(&str, &str)])] = &[
    ("--pids-limit 33", &[("pids.max", "33")]),
    ("--pids-limit -1", &[("pids.max", "max")]),
    // A limit of no further task, as in config.json.
    ("--pids-limit 0", &[("pids.max", "0")]),
];

fn pids_are_limited_anew_on_v1(ctx: &Ctx) -> Outcome {
    steps_v1(ctx, "pids", PIDS)
}

fn pids_are_limited_anew_on_v2(ctx: &Ctx) -> Outcome {
    steps_v2(ctx, "pids", PIDS)
}

fn weights_of_block_io_are_set_on_v1(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "blkio")?;
    let dir = c.v1_dir("blkio")?;
    let files = ["blkio.weight", "blkio.bfq.weight"];
    let Some(file) = files.iter().find(|file| dir.join(file).exists()) else {
        return skip("no weights of block I/O on this machine");
    };
    set(&c, "--blkio-weight 500")?;
    check_eq!(c.v1_file("blkio", file)?, "500", "{file}");
    Ok(())
}

fn throttles_of_a_file_are_set_and_lifted_on_v1(ctx: &Ctx) -> Outcome {
    let (major, minor) = disk()?;
    let c = on_v1(ctx, "blkio")?;
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let io = |rates: [u64; 4]| {
        json!({"blockIO": {
            "throttleReadBpsDevice": rate(rates[0]), "throttleWriteBpsDevice": rate(rates[1]),
            "throttleReadIOPSDevice": rate(rates[2]), "throttleWriteIOPSDevice": rate(rates[3])}})
    };
    let files = ["read_bps", "write_bps", "read_iops", "write_iops"];
    for rates in [
        [1 << 20, 2 << 20, 300, 400],
        [3 << 20, 4 << 20, 500, 600],
        [0, 0, 0, 0],
    ] {
        set_json(ctx, &c, io(rates))?;
        for (file, rate) in files.iter().zip(rates) {
            let wanted = match rate {
                0 => String::new(),
                rate => format!("{major}:{minor} {rate}"),
            };
            let file = format!("blkio.throttle.{file}_device");
            check_eq!(c.v1_file("blkio", &file)?, wanted, "{file}");
        }
    }
    Ok(())
}

fn weights_and_throttles_are_set_on_v2(ctx: &Ctx) -> Outcome {
    let (major, minor) = disk()?;
    let c = on_v2(ctx, "io")?;
    let io = json!({"blockIO": {"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 1 << 20}]}});
    set_json(ctx, &c, io)?;
    check_eq!(
        v2_file(ctx, &c, "io.max")?,
        format!("{major}:{minor} rbps=1048576 wbps=max riops=max wiops=max"),
        "io.max"
    );
    let dir = ctx.cgroup_dir(ctx.v2("")?, &c.id);
    if dir.join("io.bfq.weight").exists() {
        set(&c, "--blkio-weight 500")?;
        check!(
            v2_file(ctx, &c, "io.bfq.weight")?.contains("500"),
            "io.bfq.weight"
        );
    } else if dir.join("io.weight").exists() {
        set(&c, "--blkio-weight 500")?;
        check!(v2_file(ctx, &c, "io.weight")?.contains("4950"), "io.weight");
    }
    Ok(())
}

fn huge_pages(limit: u64) -> Value {
    json!({"hugepageLimits": [{"pageSize": "2MB", "limit": limit}]})
}

fn two_megabytes() -> Outcome {
    if std::path::Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        return Ok(());
    }
    skip("no huge pages of 2 MB")
}

/// The controller is enabled only now: no limit needed it when the container was made.
fn huge_pages_are_limited_on_v2(ctx: &Ctx) -> Outcome {
    two_megabytes()?;
    let c = on_v2(ctx, "hugetlb")?;
    set_json(ctx, &c, huge_pages(8 << 20))?;
    check_eq!(v2_file(ctx, &c, "hugetlb.2MB.max")?, "8388608", "limit");
    set_json(ctx, &c, huge_pages(4 << 20))?;
    check_eq!(v2_file(ctx, &c, "hugetlb.2MB.max")?, "4194304", "limit");
    let refused = of_json(
        ctx,
        &c,
        &json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}),
    )?;
    refused
        .run()?
        .refused()?
        .says(&["/hugepageLimits/0/limit: cannot write"])
        .map(drop)
}

fn huge_pages_are_limited_on_v2_beside_v1(ctx: &Ctx) -> Outcome {
    two_megabytes()?;
    ctx.v2("hugetlb")?;
    let c = on_v1(ctx, "memory")?;
    set_json(ctx, &c, huge_pages(8 << 20))?;
    check_eq!(v2_file(ctx, &c, "hugetlb.2MB.max")?, "8388608", "limit");
    Ok(())
}

fn unified_values_are_written_on_v2(ctx: &Ctx) -> Outcome {
    let c = on_v2(ctx, "")?;
    set_json(
        ctx,
        &c,
        json!({"unified": {"cgroup.max.depth": "3", "cgroup.max.descendants": "5"}}),
    )?;
    check_eq!(v2_file(ctx, &c, "cgroup.max.depth")?, "3", "depth");
    check_eq!(
        v2_file(ctx, &c, "cgroup.max.descendants")?,
        "5",
        "descendants"
    );
    // The second is refused, so the first is taken back.
    let bad = json!({"unified": {"cgroup.max.depth": "7", "cgroup.max.descendants": "x"}});
    let refused = of_json(ctx, &c, &bad)?.run()?.refused()?;
    refused.says(&["/unified/cgroup.max.descendants: cannot write"])?;
    check_eq!(v2_file(ctx, &c, "cgroup.max.depth")?, "3", "depth");
    Ok(())
}

fn unified_values_are_refused_on_v1(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "memory")?;
    let unified = json!({"unified": {"memory.high": "1"}});
    let refused = of_json(ctx, &c, &unified)?.run()?.refused()?;
    refused
        .says(&["/unified: the host uses cgroup v1"])
        .map(drop)
}

fn network_classes_and_rdma_are_set_or_refused(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "memory")?;
    let network = of_json(ctx, &c, &json!({"network": {"classID": 1048577}}))?;
    match ctx.v1("net_cls") {
        Ok(_) => {
            network.run()?.ok()?;
            check_eq!(c.v1_file("net_cls", "net_cls.classid")?, "1048577", "class");
        }
        Err(_) => drop(
            network
                .run()?
                .refused()?
                .says(&["/network/classID: the cgroup controller"])?,
        ),
    }
    let rdma = of_json(ctx, &c, &json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}}))?;
    rdma.run()?.refused()?.says(&["/rdma/mlx5_1: "]).map(drop)
}

fn the_oom_killer_is_switched_off_and_on_again_on_v1(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "memory")?;
    for (disabled, line) in [(true, "oom_kill_disable 1"), (false, "oom_kill_disable 0")] {
        let memory = json!({"memory": {"disableOOMKiller": disabled, "swappiness": 17}});
        set_json(ctx, &c, memory)?;
        let found = c.v1_file("memory", "memory.oom_control")?;
        check!(found.contains(line), "{found}");
    }
    check_eq!(
        c.v1_file("memory", "memory.swappiness")?,
        "17",
        "swappiness"
    );
    Ok(())
}

fn a_file_is_read_instead_of_the_flags(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "pids")?;
    let path = ctx.dir.join("resources.json");
    // As containerd writes it: nulls and zeros are nothing.
    let text = r#"{"memory":{"limit":0,"swap":null},"cpu":{"shares":333,"cpus":""},"pids":{"limit":44},"devices":null}"#;
    std::fs::write(&path, text)?;
    let path = path.to_string_lossy();
    for flag in ["-r", "--resources", "-resources"] {
        set(&c, "--pids-limit 9 --cpu-share 1000")?;
        update(&c, &[flag, &path, "--pids-limit", "77"])
            .run()?
            .ok()?;
        check_eq!(c.v1_file("pids", "pids.max")?, "44", "pids.max");
        check_eq!(c.v1_file("cpu", "cpu.shares")?, "333", "cpu.shares");
    }
    Ok(())
}

fn standard_input_is_read(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "pids")?;
    // A pipe, which may come in parts.
    let mut running = update(&c, &["--resources=-"]).spawn()?;
    let mut stdin = running.child.stdin.take().because("its standard input")?;
    for part in ["{\"pids\":{\"li", "mit\":55}}\n"] {
        stdin.write_all(part.as_bytes())?;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(stdin);
    check_eq!(running.wait()?, 0, "exit code");
    check_eq!(c.v1_file("pids", "pids.max")?, "55", "pids.max");
    Ok(())
}

/// A container with a node that its rules do not allow.
fn with_node<'a>(ctx: &'a Ctx) -> Outcome<Container<'a>> {
    let node = json!({"path": "/dev/f", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666});
    let b = sleeping(ctx)?.push("/linux/devices", node);
    b.set(
        "/linux/resources/devices",
        json!([{"allow": false, "access": "rwm"}]),
    )
    .detach()
}

/// The errno of opening the node for writing.
fn opens(c: &Container) -> Outcome<String> {
    c.exec_says(&[], "/bin/probe open /dev/f w")
}

const DENIED: &str = "{\"errno\":1}";
const OPENED: &str = "{\"errno\":0}";

fn rules(allow: bool) -> Value {
    let mut rules = json!({"devices": [{"allow": false, "access": "rwm"}]});
    if let (true, Some(list)) = (allow, rules["devices"].as_array_mut()) {
        list.push(json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw"}));
    }
    rules
}

fn file_of(ctx: &Ctx, json: &Value) -> Outcome<PathBuf> {
    let path = ctx.dir.join(format!("rules{}.json", ctx.next()));
    std::fs::write(&path, json.to_string())?;
    Ok(path)
}

fn rules_are_replaced(ctx: &Ctx) -> Outcome {
    let c = with_node(ctx)?;
    check_eq!(opens(&c)?, DENIED, "before");
    // Engines send rules with every update; what was allowed since is not to be lost.
    set_json(ctx, &c, rules(true))?;
    check_eq!(opens(&c)?, DENIED, "without --devices");
    for allow in [true, true, false, true] {
        let path = file_of(ctx, &rules(allow))?;
        update(&c, &["--devices", "-r", &path.to_string_lossy()])
            .run()?
            .ok()?;
        check_eq!(
            opens(&c)?,
            if allow { OPENED } else { DENIED },
            "with --devices"
        );
        c.exec_says(&[], "echo > /dev/null && head -c 1 /dev/zero")?;
    }
    let bad = file_of(ctx, &json!({"devices": [{"allow": true, "access": "x"}]}))?;
    let refused = update(&c, &["--devices", "-r", &bad.to_string_lossy()])
        .run()?
        .refused()?;
    refused.says(&["/devices/0/access"])?;
    check_eq!(opens(&c)?, OPENED, "after rules that are none");
    Ok(())
}

fn device_rules_stay_unless_told_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("devices")?;
    rules_are_replaced(ctx)
}

fn device_rules_stay_unless_told_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    rules_are_replaced(ctx)
}

/// Seen to fail with v1's list begun anew without a freeze, and with the program of v2 detached
/// before the new one is attached.
fn no_gap(ctx: &Ctx) -> Outcome {
    let node = json!({"path": "/dev/f", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666});
    // What both lists allow is never denied, what both deny never allowed.
    let script = "echo up; while :; do : < /dev/zero || echo denied >> /log; \
                  (: > /dev/f) 2>/dev/null && echo allowed >> /log; done";
    let b = Bundle::new(ctx)?.push("/linux/devices", node).shell(script);
    let c = b
        .set("/linux/resources/devices", rules(false)["devices"].clone())
        .detach()?;
    c.wait_stdout("up")?;
    let other = |minor: u32| {
        let mut rules = rules(false);
        if let Some(list) = rules["devices"].as_array_mut() {
            list.push(
                json!({"allow": true, "type": "c", "major": 10, "minor": minor, "access": "r"}),
            );
        }
        rules
    };
    let files = [file_of(ctx, &other(1))?, file_of(ctx, &other(2))?];
    for round in 0..30 {
        let path = files[round % 2].to_string_lossy();
        update(&c, &["--devices", "-r", &path]).run()?.ok()?;
    }
    let log = std::fs::read_to_string(c.bundle.join("rootfs/log")).unwrap_or_default();
    check_eq!(log, "", "what the container saw");
    Ok(())
}

fn device_rules_are_replaced_without_a_gap_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("devices")?;
    no_gap(ctx)
}

fn device_rules_are_replaced_without_a_gap_on_v2(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    no_gap(ctx)
}

fn a_list_that_allows_everything_is_taken_back_on_v1(ctx: &Ctx) -> Outcome {
    ctx.v1("devices")?;
    let c = with_node(ctx)?;
    let everything = file_of(ctx, &json!({"devices": [{"allow": true, "access": "rwm"}]}))?;
    update(&c, &["--devices", "-r", &everything.to_string_lossy()])
        .run()?
        .ok()?;
    check_eq!(opens(&c)?, OPENED, "with everything allowed");
    c.status_is("running")?;
    let few = file_of(ctx, &rules(false))?;
    update(&c, &["--devices", "-r", &few.to_string_lossy()])
        .run()?
        .ok()?;
    check_eq!(opens(&c)?, DENIED, "with few allowed again");
    let list = c.v1_file("devices", "devices.list")?;
    check!(!list.contains("a *:*"), "{list}");
    c.status_is("running")
}

fn created_and_paused_containers_are_updated(ctx: &Ctx) -> Outcome {
    ctx.v1("pids")?;
    let c = sleeping(ctx)?.create()?;
    set(&c, "--pids-limit 7 --memory 32m")?;
    check_eq!(c.v1_file("pids", "pids.max")?, "7", "of a created one");
    c.start()?;
    c.verb::<&str>(&["pause"], &[]).run()?.ok()?;
    set(&c, "--pids-limit 8 --memory 64m --cpuset-cpus 0")?;
    check_eq!(c.v1_file("pids", "pids.max")?, "8", "of a paused one");
    c.status_is("paused")?;
    c.verb::<&str>(&["resume"], &[]).run()?.ok()?;
    c.status_is("running")
}

fn a_new_limit_is_enforced(ctx: &Ctx) -> Outcome {
    ctx.v1("pids")?;
    let started = |c: &Container| -> Outcome<Value> {
        let output = c.exec(&[], &["/bin/probe", "fork", "20"]).run()?.ok()?;
        Ok(serde_json::from_str::<Value>(&output.stdout)?["started"].clone())
    };
    let low = sleeping(ctx)?.detach()?;
    set(&low, "--pids-limit 10")?;
    check_eq!(
        started(&low)?,
        json!(8),
        "children beside the init and their parent"
    );
    let limit = json!({"limit": 5});
    let high = sleeping(ctx)?
        .set("/linux/resources/pids", limit)
        .detach()?;
    set(&high, "--pids-limit 100")?;
    check_eq!(started(&high)?, json!(20), "children under a high limit");
    Ok(())
}

fn a_refused_limit_leaves_all_as_it_was(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "memory")?;
    set(
        &c,
        "--memory 64m --memory-swap 128m --cpu-share 512 --cpu-quota 50000",
    )?;
    let files = [
        ("memory", "memory.limit_in_bytes"),
        ("memory", "memory.memsw.limit_in_bytes"),
        ("cpu", "cpu.shares"),
        ("cpu", "cpu.cfs_quota_us"),
        ("cpu", "cpu.cfs_period_us"),
    ];
    let look = || -> Outcome<Vec<String>> {
        files
            .iter()
            .map(|(controller, file)| c.v1_file(controller, file))
            .collect()
    };
    let before = look()?;
    let record = ctx.state_root().join(&c.id).join("state.json");
    let state = std::fs::read(&record)?;
    // The cpuset comes after the rest, and is the one that cannot be.
    let flags = "--memory 256m --memory-swap 512m --cpu-share 300 --cpu-quota 900000 \
                 --cpu-period 1000000 --cpuset-cpus 4000";
    let flags: Vec<&str> = flags.split_whitespace().collect();
    update(&c, &flags)
        .run()?
        .refused()?
        .says(&["--cpuset-cpus: "])?;
    check_eq!(look()?, before, "limits");
    check!(std::fs::read(&record)? == state, "the record has changed");
    Ok(())
}

fn a_usage_above_the_limit_is_refused_if_asked_for_on_v2(ctx: &Ctx) -> Outcome {
    let c = on_v2(ctx, "memory")?;
    let memory = json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}});
    let refused = of_json(ctx, &c, &memory)?.run()?.refused()?;
    refused
        .says(&["/memory/limit: "])?
        .says(&["more memory than this is in use already"])?;
    check_eq!(v2_file(ctx, &c, "memory.max")?, "max", "limit");
    c.status_is("running")
}

fn obsolete_flags_are_warned_of(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "pids")?;
    for flag in ["--kernel-memory", "--kernel-memory-tcp"] {
        let output = update(&c, &[flag, "-1", "--pids-limit", "9"]).run()?.ok()?;
        output.says(&[&format!("Setting {flag} is ignored and will be removed")])?;
    }
    check_eq!(c.v1_file("pids", "pids.max")?, "9", "pids.max");
    let memory = json!({"memory": {"kernel": 5}});
    let output = of_json(ctx, &c, &memory)?.run()?.ok()?;
    output.says(&["/memory/kernel: ignored"]).map(drop)
}

fn nothing_to_change_is_no_error(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    update::<&str>(&c, &[]).run()?.ok()?;
    set_json(ctx, &c, json!({}))
}

fn a_stopped_container_is_refused(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    let pid = c.pid()?;
    c.kill("KILL")?;
    c.wait_pid(pid)?;
    let refused = update(&c, &["--pids-limit", "5"]).run()?.refused()?;
    refused.says(&["container not running"])?;
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn bad_values_are_refused_in_one_line(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "memory")?;
    for (flag, value, says) in [
        ("--memory", "10x", "invalid size"),
        ("--memory", "", "invalid size"),
        ("--memory", "-2", "invalid size"),
        ("--memory", "1..5g", "invalid size"),
        ("--memory", "9223372036854775808", "too large"),
        ("--memory", "8388608t", "too large"),
        (
            "--memory-swap",
            "99999999999999999999999999999999999999999999",
            "too large",
        ),
        ("--memory-reservation", "five", "invalid size"),
        ("--cpu-share", "x", "invalid value"),
        ("--cpu-share", "-1", "invalid value"),
        ("--cpu-share", "18446744073709551616", "invalid value"),
        ("--cpu-share", "1", "--cpu-share: 1 is out of range"),
        ("--cpu-quota", "1.5", "invalid value"),
        ("--cpu-quota", "5", "--cpu-quota: cannot write"),
        ("--cpu-period", "999999999", "--cpu-period: cannot write"),
        ("--cpu-period", "-5", "invalid value"),
        ("--cpu-burst", "18446744073709551616", "invalid value"),
        ("--cpu-idle", "2", "--cpu-idle: 2 is out of range"),
        ("--cpu-rt-period", "x", "invalid value"),
        ("--cpu-rt-runtime", "x", "invalid value"),
        ("--cpuset-cpus", "3-1", "--cpuset-cpus: "),
        ("--cpuset-mems", "4000", "--cpuset-mems: "),
        ("--blkio-weight", "7", "--blkio-weight: 7 is out of range"),
        ("--blkio-weight", "70000", "invalid value"),
        ("--pids-limit", "x", "invalid value"),
        ("--pids-limit", "9223372036854775808", "invalid value"),
        ("--mem-bw-schema", "L3:0=f", "--mem-bw-schema: "),
    ] {
        update(&c, &[flag, value]).run()?.refused()?.says(&[says])?;
    }
    let both = update(&c, &["--memory", "64m", "--memory-swap", "32m"])
        .run()?
        .refused()?;
    both.says(&["--memory-swap: "])?;
    check_eq!(
        c.v1_file("memory", "memory.limit_in_bytes")?,
        UNLIMITED,
        "limit"
    );
    c.status_is("running")
}

fn bad_files_are_refused_with_their_place(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "memory")?;
    for (text, says) in [
        (
            r#"{"memory":{"limit":"x"}}"#,
            "/memory/limit: expected a whole number",
        ),
        (
            r#"{"memory":{"limit":1.5}}"#,
            "/memory/limit: expected a whole number",
        ),
        (
            r#"{"memory":{"limit":-7}}"#,
            "/memory/limit: -7 is out of range",
        ),
        (
            r#"{"memory":{"limit":99999999999999999999}}"#,
            "/memory/limit: ",
        ),
        (r#"{"memory":[]}"#, "/memory: expected an object"),
        (r#"{"cpu":{"cpus":"9-1"}}"#, "/cpu/cpus: "),
        (r#"{"cpu":{"idle":7}}"#, "/cpu/idle: 7 is out of range"),
        (
            r#"{"blockIO":{"weight":9}}"#,
            "/blockIO/weight: 9 is out of range",
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":77777,"minor":1,"rate":1}]}}"#,
            "/blockIO/throttleReadBpsDevice/0: ",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"x","limit":1}]}"#,
            "/hugepageLimits/0/pageSize: ",
        ),
        (r#"{"memory":{"limit":5},"#, "the file ends too early"),
        ("{memory}", "not valid JSON"),
        ("", "the file is empty"),
        ("[]", "expected an object"),
    ] {
        let path = ctx.dir.join("bad.json");
        std::fs::write(&path, text)?;
        let path = path.to_string_lossy();
        let refused = update(&c, &["-r", &path]).run()?.refused()?;
        refused.says(&[says])?.says(&["bad.json: "])?;
    }
    let refused = update(&c, &["-r", "/nonexistent"]).run()?.refused()?;
    refused.says(&["cannot read the resources from /nonexistent: no such file"])?;
    let refused = update(&c, &["-r", "/tmp"]).run()?.refused()?;
    refused.says(&["is a directory"])?;
    c.status_is("running")
}

fn bad_command_lines_are_refused(ctx: &Ctx) -> Outcome {
    for (args, says) in [
        (&["update"] as &[&str], "missing argument"),
        (&["update", "a", "b"], "one argument too many"),
        (&["update", "--nosuch", "a"], "unknown flag --nosuch"),
        (
            &["update", "--cpu-shares", "5", "a"],
            "did you mean --cpu-share?",
        ),
        (&["update", "a", "--memory"], "missing value of --memory"),
        (
            &["update", "--pids-limit", "5", "nosuch"],
            "container does not exist",
        ),
        (&["update", "--pids-limit", "5", "../x"], "id"),
    ] {
        ctx.rt(args).run()?.refused()?.says(&[says])?;
    }
    let help = ctx.rt(&["update", "--help"]).run()?.ok()?.stdout;
    check!(
        help.contains("Example:") && help.contains("--cpu-burst"),
        "{help}"
    );
    ctx.nothing_left()
}

fn without_a_cgroup_limits_are_refused_with_a_hint(ctx: &Ctx) -> Outcome {
    let c = without_a_cgroup(ctx)?;
    let refused = update(&c, &["--pids-limit", "5"]).run()?.refused()?;
    refused
        .says(&["it has no cgroup of its own"])?
        .says(&["systemd-run --user --scope -p Delegate=yes"])?;
    update::<&str>(&c, &[]).run()?.ok()?;
    c.status_is("running")
}

fn a_users_container<'a>(ctx: &'a Ctx) -> Outcome<Container<'a>> {
    ctx.use_user(false)?;
    crate::tests::rootless::delegated(ctx)?;
    let b = Bundle::new(ctx)?.rootless(ID)?;
    b.args(&["/bin/sleep", "1000"]).detach()
}

fn a_user_updates_his_delegated_cgroup(ctx: &Ctx) -> Outcome {
    let c = a_users_container(ctx)?;
    set_json(ctx, &c, json!({"unified": {"cgroup.max.depth": "3"}}))?;
    check_eq!(v2_file(ctx, &c, "cgroup.max.depth")?, "3", "depth");
    c.delete_force()?.ok()?;
    std::fs::remove_dir(ctx.cgroup_dir(ctx.v2("")?, "user"))?;
    ctx.nothing_left()
}

fn a_user_without_the_right_gets_a_hint(ctx: &Ctx) -> Outcome {
    let c = a_users_container(ctx)?;
    let file = ctx.cgroup_dir(ctx.v2("")?, &c.id).join("cgroup.max.depth");
    chown(&file, Some(0), Some(0)).because(file.display())?;
    let unified = json!({"unified": {"cgroup.max.depth": "3"}});
    let refused = of_json(ctx, &c, &unified)?.run()?.refused()?;
    refused
        .says(&["permission denied"])?
        .says(&["a cgroup that was delegated to him"])?;
    c.delete_force()?.ok()?;
    std::fs::remove_dir(ctx.cgroup_dir(ctx.v2("")?, "user"))?;
    ctx.nothing_left()
}

fn updates_at_once_leave_one_of_them(ctx: &Ctx) -> Outcome {
    let c = on_v1(ctx, "memory")?;
    let mut running = Vec::new();
    for mega in [32, 64, 128, 256] {
        let (limit, swap) = (format!("{mega}m"), format!("{}m", mega * 2));
        running.push(update(&c, &["--memory", &limit, "--memory-swap", &swap]).spawn()?);
    }
    for update in &mut running {
        check_eq!(update.wait()?, 0, "exit code");
    }
    let number = |file: &str| -> Outcome<u64> { Ok(c.v1_file("memory", file)?.parse()?) };
    let (limit, swap) = (
        number("memory.limit_in_bytes")?,
        number("memory.memsw.limit_in_bytes")?,
    );
    check_eq!(swap, limit * 2, "memory and swap together");
    let record = std::fs::read_to_string(ctx.state_root().join(&c.id).join("state.json"))?;
    check!(
        record.contains(&format!("\"memorySwap\":{swap}")),
        "the record differs from the cgroup"
    );
    Ok(())
}
