//! update: every flag, on cgroup v1 and where there is nothing but v2.

use crate::bundle::Bundle;
use crate::command::Cmd;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::tests::cgroup_v1_more::real_time;
use crate::{check, check_eq, tests};
use serde_json::{Value, json};

tests!("update":
    memory_is_limited_anew_on_v1,
    memory_is_limited_anew_on_v2,
    sizes_have_suffixes_on_v1,
    memory_alone_leaves_the_sum_with_swap_as_it_was_asked_for_on_v1,
    memory_alone_leaves_the_sum_with_swap_as_it_was_asked_for_on_v2,
    cpu_time_is_limited_anew_on_v1,
    cpu_time_is_limited_anew_on_v2,
    cpu_burst_and_idle_are_set_anew_on_v2,
    an_idle_container_has_no_shares_on_v1,
    real_time_limits_are_set_on_v1 as Serial,
    cpusets_are_narrowed_and_widened_on_v1,
    cpusets_are_narrowed_and_widened_on_v2,
    pids_are_limited_anew_on_v1,
    pids_are_limited_anew_on_v2,
    weights_of_block_io_are_set_on_v1,
    created_and_paused_containers_are_updated,
    a_new_limit_is_enforced,
    updates_at_once_leave_one_of_them,
);

pub(super) fn sleeping(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]))
}

pub(super) fn on_v1<'a>(ctx: &'a Ctx, controller: &str) -> Outcome<Container<'a>> {
    ctx.v1(controller)?;
    sleeping(ctx)?.detach()
}

/// A container where there is nothing but v2, with the controller.
pub(super) fn on_v2<'a>(ctx: &'a Ctx, controller: &str) -> Outcome<Container<'a>> {
    ctx.use_pure_v2()?;
    ctx.v2(controller)?;
    sleeping(ctx)?.detach()
}

pub(super) fn update<'a, S: AsRef<str>>(c: &Container<'a>, flags: &[S]) -> Cmd<'a> {
    let mut verb = vec!["update"];
    verb.extend(flags.iter().map(AsRef::as_ref));
    c.verb::<&str>(&verb, &[])
}

pub(super) fn set(c: &Container, flags: &str) -> Outcome {
    let flags: Vec<&str> = flags.split(' ').collect();
    update(c, &flags).run()?.ok().map(drop)
}

/// `update -r -` with this JSON.
pub(super) fn of_json<'a>(ctx: &Ctx, c: &Container<'a>, json: &Value) -> Outcome<Cmd<'a>> {
    let path = ctx.dir.join(format!("resources{}.json", ctx.next()));
    std::fs::write(&path, json.to_string())?;
    Ok(update(c, &["-r", "-"]).stdin(std::fs::File::open(&path)?))
}

pub(super) fn set_json(ctx: &Ctx, c: &Container, json: Value) -> Outcome {
    of_json(ctx, c, &json)?.run()?.ok().map(drop)
}

pub(super) fn v2_file(ctx: &Ctx, c: &Container, file: &str) -> Outcome<String> {
    let path = ctx.cgroup_dir(ctx.v2("")?, &c.id).join(file);
    Ok(std::fs::read_to_string(&path)
        .because(path.display())?
        .trim()
        .to_owned())
}

/// A file of the hierarchy that the machine has: v1's, or with another name v2's.
pub(super) fn file(
    ctx: &Ctx,
    c: &Container,
    controller: &str,
    v1: &str,
    v2: &str,
) -> Outcome<String> {
    match ctx.v1(controller) {
        Ok(_) => c.v1_file(controller, v1),
        Err(_) => v2_file(ctx, c, v2),
    }
}

/// `pids.max`.
pub(super) fn pids_max(ctx: &Ctx, c: &Container) -> Outcome<String> {
    file(ctx, c, "pids", "pids.max", "pids.max")
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

pub(super) const UNLIMITED: &str = "9223372036854771712";

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
    ];
    steps_v2(ctx, "cpu", steps)
}

fn cpu_burst_and_idle_are_set_anew_on_v2(ctx: &Ctx) -> Outcome {
    if crate::facts::kernel()? < (5, 15) {
        return skip("cpu.max.burst came with Linux 5.14, cpu.idle with 5.15");
    }
    let steps: &[(&str, &[(&str, &str)])] = &[
        ("--cpu-quota 70000", &[("cpu.max", "70000 100000")]),
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

fn created_and_paused_containers_are_updated(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.create()?;
    set(&c, "--pids-limit 7 --memory 32m")?;
    check_eq!(pids_max(ctx, &c)?, "7", "of a created one");
    c.start()?;
    c.verb::<&str>(&["pause"], &[]).run()?.ok()?;
    set(&c, "--pids-limit 8 --memory 64m --cpuset-cpus 0")?;
    check_eq!(pids_max(ctx, &c)?, "8", "of a paused one");
    c.status_is("paused")?;
    c.verb::<&str>(&["resume"], &[]).run()?.ok()?;
    c.status_is("running")
}

fn a_new_limit_is_enforced(ctx: &Ctx) -> Outcome {
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
