//! Scheduler, I/O priority, memory policy, personality and labels of the process.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::path::Path;

tests!("scheduling":
    every_policy_without_privileges_is_set,
    a_real_time_policy_is_set_with_its_priority as Serial,
    a_deadline_is_set as Serial,
    a_deadline_with_a_hook_that_it_forbids_is_refused as Serial,
    reset_on_fork_is_set,
    a_scheduler_holds_in_a_joined_pid_namespace as Serial,
    a_scheduler_that_the_kernel_refuses_is_named,
    every_io_priority_class_is_set,
    every_memory_policy_is_set,
    flags_of_a_memory_policy_are_set,
    a_memory_policy_of_nodes_that_are_not_there_is_refused,
    an_exec_affinity_leaves_the_first_process_alone,
    a_user_name_is_ignored,
    a_personality_is_the_machines_by_default,
    flags_of_a_personality_are_ignored_with_a_warning,
    an_apparmor_profile_without_apparmor_is_refused,
    a_selinux_label_without_selinux_is_refused,
);

/// Fields of /proc/self/stat after the name, counted as proc(5) does: 19 is nice, 40 the real-time
/// priority, 41 the policy.
fn stat(b: Bundle<'_>, fields: &[usize]) -> Outcome<Vec<String>> {
    let text = b.args(&["/bin/cat", "/proc/self/stat"]).run()?.ok()?.stdout;
    let (_, rest) = text.rsplit_once(") ").because("the name in stat")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    fields
        .iter()
        .map(|field| {
            let word = words.get(field - 3).because("field")?;
            Ok((*word).to_string())
        })
        .collect()
}

fn every_policy_without_privileges_is_set(ctx: &Ctx) -> Outcome {
    for (policy, number, nice) in [
        ("SCHED_OTHER", "0", 7),
        ("SCHED_OTHER", "0", -7),
        ("SCHED_BATCH", "3", 19),
        ("SCHED_IDLE", "5", 0),
    ] {
        let b = Bundle::new(ctx)?.set(
            "/process/scheduler",
            json!({"policy": policy, "nice": nice}),
        );
        check_eq!(
            stat(b, &[19, 41])?,
            [nice.to_string(), number.to_string()],
            "nice and policy with {policy}"
        );
    }
    Ok(())
}

/// Lets real-time tasks into the container's cgroup, where the kernel asks for that.
pub(super) fn with_real_time<'a>(ctx: &Ctx, b: Bundle<'a>) -> Outcome<Bundle<'a>> {
    let file = "cpu.rt_runtime_us";
    let Some(hierarchy) = ctx
        .hierarchies
        .iter()
        .find(|h| h.controllers.iter().any(|c| c == "cpu"))
    else {
        return Ok(b);
    };
    if !hierarchy.mount.join(file).exists() {
        return Ok(b);
    }
    // A cgroup cannot have what the ones above it lack, and the share of one that was removed
    // is given back a little later.
    let mut dir = hierarchy.mount.clone();
    let shares = ["400000", "80000"];
    for (name, share) in Path::new(&ctx.prefix).iter().skip(1).zip(shares) {
        dir.push(name);
        if !dir.exists() {
            std::fs::create_dir(&dir).because(dir.display())?;
        }
        std::fs::write(dir.join(file), share).because(dir.display())?;
    }
    Ok(b.set(
        "/linux/resources/cpu",
        json!({"realtimeRuntime": 20000, "realtimePeriod": 1_000_000}),
    ))
}

fn a_real_time_policy_is_set_with_its_priority(ctx: &Ctx) -> Outcome {
    for (policy, number, priority) in [("SCHED_FIFO", "1", 1), ("SCHED_RR", "2", 42)] {
        let b = with_real_time(ctx, Bundle::new(ctx)?)?.set(
            "/process/scheduler",
            json!({"policy": policy, "priority": priority}),
        );
        check_eq!(
            stat(b, &[40, 41])?,
            [priority.to_string(), number.to_string()],
            "priority and policy with {policy}"
        );
    }
    Ok(())
}

fn a_deadline_is_set(ctx: &Ctx) -> Outcome {
    let (runtime, deadline, period) = (2_000_000, 50_000_000, 100_000_000);
    let scheduler = json!({"policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": deadline,
        "period": period, "flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"]});
    let b = with_real_time(ctx, Bundle::new(ctx)?)?.set("/process/scheduler", scheduler);
    let found = b.facts()?.0["sched_attr"].clone();
    let wanted = json!({"policy": 6, "flags": 2 | 4, "nice": 0, "priority": 0,
        "runtime": runtime, "deadline": deadline, "period": period});
    check_eq!(found, wanted, "attributes");
    Ok(())
}

fn a_deadline_with_a_hook_that_it_forbids_is_refused(ctx: &Ctx) -> Outcome {
    let bundle = |flags: &[&str]| {
        let scheduler = json!({"policy": "SCHED_DEADLINE", "runtime": 2_000_000,
            "deadline": 50_000_000, "period": 100_000_000, "flags": flags});
        let hook = json!({"path": "/bin/touch", "args": ["touch", "/tmp/hooked"]});
        Ok::<_, crate::outcome::Stop>(
            with_real_time(ctx, Bundle::new(ctx)?)?
                .set("/process/scheduler", scheduler)
                .push("/hooks/startContainer", hook),
        )
    };
    bundle(&[])?
        .create_refused()?
        .says(&["/process/scheduler/policy: the kernel lets no process fork under SCHED_DEADLINE"])?
        .says(&["SCHED_FLAG_RESET_ON_FORK"])?;
    let b = bundle(&["SCHED_FLAG_RESET_ON_FORK"])?;
    let hooked = b.rootfs().join("tmp/hooked");
    let facts = b.facts()?;
    check_eq!(facts.0["sched_attr"]["policy"], json!(6), "policy");
    check!(hooked.exists(), "the hook did not run");
    Ok(())
}

fn reset_on_fork_is_set(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?
        .set(
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
        )
        .facts()?;
    // SCHED_RESET_ON_FORK of sched_getscheduler(2).
    check_eq!(facts.0["scheduler"], json!(0x4000_0000 | 3), "scheduler");
    Ok(())
}

fn a_scheduler_holds_in_a_joined_pid_namespace(ctx: &Ctx) -> Outcome {
    // To get there takes a fork, which takes such policies away, and a deadline forbids.
    let pause = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let path = format!("/proc/{}/ns/pid", pause.pid()?);
    let batch = json!({"policy": "SCHED_BATCH", "nice": -5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    let b = Bundle::new(ctx)?.namespace("pid", Some(&path));
    let found = b.set("/process/scheduler", batch).facts()?.0["sched_attr"].clone();
    check_eq!(
        (&found["policy"], &found["nice"], &found["flags"]),
        (&json!(3), &json!(-5), &json!(1)),
        "policy, nice and flags"
    );
    let deadline = json!({"policy": "SCHED_DEADLINE", "runtime": 2_000_000, "deadline": 50_000_000,
        "period": 100_000_000});
    let b = with_real_time(ctx, Bundle::new(ctx)?)?.namespace("pid", Some(&path));
    let facts = b.set("/process/scheduler", deadline).facts()?;
    check_eq!(facts.0["sched_attr"]["policy"], json!(6), "policy");
    Ok(())
}

fn a_scheduler_that_the_kernel_refuses_is_named(ctx: &Ctx) -> Outcome {
    // The policy's number is reserved, and no kernel has it.
    let b = Bundle::new(ctx)?.set("/process/scheduler", json!({"policy": "SCHED_ISO"}));
    b.create_refused()?.says(&["/process/scheduler"])?;
    Ok(())
}

fn every_io_priority_class_is_set(ctx: &Ctx) -> Outcome {
    for (class, number, priority) in [
        ("IOPRIO_CLASS_RT", 1, 3),
        ("IOPRIO_CLASS_BE", 2, 7),
        ("IOPRIO_CLASS_IDLE", 3, 0),
    ] {
        let b = Bundle::new(ctx)?.set(
            "/process/ioPriority",
            json!({"class": class, "priority": priority}),
        );
        let call = libc::SYS_ioprio_get.to_string();
        let found = b.probe(&["syscall", &call, "1", "0"])?;
        check_eq!(found["result"], json!((number << 13) | priority), "{class}");
    }
    Ok(())
}

/// The policy of the process's own memory, as numa_maps(5) words it; skips without NUMA.
fn memory_policy(ctx: &Ctx, policy: Value) -> Outcome<String> {
    if !Path::new("/proc/self/numa_maps").exists() {
        return skip("the kernel has no NUMA");
    }
    let b = Bundle::new(ctx)?.set("/linux/memoryPolicy", policy);
    let text = b
        .args(&["/bin/cat", "/proc/self/numa_maps"])
        .run()?
        .ok()?
        .stdout;
    let line = text.lines().next().because("a line of numa_maps")?;
    let (_, rest) = line.split_once(' ').because("an address")?;
    let end = rest.find(" file=").or_else(|| rest.find(" anon="));
    Ok(rest[..end.unwrap_or(rest.len())].to_string())
}

fn every_memory_policy_is_set(ctx: &Ctx) -> Outcome {
    for (mode, nodes, wanted) in [
        ("MPOL_DEFAULT", "", "default"),
        ("MPOL_PREFERRED", "0", "prefer:0"),
        ("MPOL_PREFERRED", "", "local"),
        ("MPOL_BIND", "0", "bind:0"),
        ("MPOL_INTERLEAVE", "0-0", "interleave:0"),
        ("MPOL_LOCAL", "", "local"),
    ] {
        let found = memory_policy(ctx, json!({"mode": mode, "nodes": nodes}))?;
        check_eq!(found, wanted, "policy with {mode} {nodes}");
    }
    Ok(())
}

fn flags_of_a_memory_policy_are_set(ctx: &Ctx) -> Outcome {
    for (flag, wanted) in [
        ("MPOL_F_STATIC_NODES", "bind=static:0"),
        ("MPOL_F_RELATIVE_NODES", "bind=relative:0"),
        ("MPOL_F_NUMA_BALANCING", "bind=balancing:0"),
    ] {
        // It came with Linux 5.12.
        if flag == "MPOL_F_NUMA_BALANCING" && crate::facts::kernel()? < (5, 12) {
            continue;
        }
        let policy = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]});
        check_eq!(memory_policy(ctx, policy)?, wanted, "policy with {flag}");
    }
    Ok(())
}

fn a_memory_policy_of_nodes_that_are_not_there_is_refused(ctx: &Ctx) -> Outcome {
    if Path::new("/sys/devices/system/node/node1").exists() {
        return skip("the machine has more than one memory node");
    }
    for nodes in ["1", "900"] {
        let policy = json!({"mode": "MPOL_BIND", "nodes": nodes});
        let b = Bundle::new(ctx)?.set("/linux/memoryPolicy", policy);
        b.create_refused()?.says(&["/linux/memoryPolicy"])?;
    }
    Ok(())
}

fn an_exec_affinity_leaves_the_first_process_alone(ctx: &Ctx) -> Outcome {
    let plain = Bundle::new(ctx)?.facts()?.status("Cpus_allowed_list")?;
    let b = Bundle::new(ctx)?.set(
        "/process/execCPUAffinity",
        json!({"initial": "0", "final": "0"}),
    );
    check_eq!(b.facts()?.status("Cpus_allowed_list")?, plain, "CPUs");
    Ok(())
}

fn a_user_name_is_ignored(ctx: &Ctx) -> Outcome {
    // It is for Windows, and so is the command line.
    let b = Bundle::new(ctx)?
        .set(
            "/process/user",
            json!({"uid": 7, "gid": 8, "username": "root"}),
        )
        .set("/process/commandLine", "/bin/false");
    check_eq!(b.facts()?.status("Uid")?, "7 7 7 7", "user");
    Ok(())
}

fn a_personality_is_the_machines_by_default(ctx: &Ctx) -> Outcome {
    check_eq!(
        Bundle::new(ctx)?.facts()?.0["personality"],
        json!(0),
        "without"
    );
    let b = Bundle::new(ctx)?.set("/linux/personality", json!({"domain": "LINUX"}));
    check_eq!(b.facts()?.0["personality"], json!(0), "LINUX");
    Ok(())
}

fn flags_of_a_personality_are_ignored_with_a_warning(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set(
        "/linux/personality",
        json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}),
    );
    let output = b.run()?.ok()?;
    output.says(&["/linux/personality/flags"])?;
    ctx.nothing_left()
}

/// Whether the kernel runs this security module.
fn has_module(name: &str) -> bool {
    let active = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let switch = match name {
        "apparmor" => "/sys/module/apparmor/parameters/enabled",
        _ => "/sys/fs/selinux/enforce",
    };
    active.split(',').any(|module| module.trim() == name) || Path::new(switch).exists()
}

fn an_apparmor_profile_without_apparmor_is_refused(ctx: &Ctx) -> Outcome {
    if has_module("apparmor") {
        return skip("AppArmor is enabled on this machine");
    }
    let b = Bundle::new(ctx)?.set("/process/apparmorProfile", "docker-default");
    let output = b.create_refused()?.says(&["/process/apparmorProfile"])?;
    check!(
        output.stderr.contains("docker-default"),
        "{}",
        output.stderr
    );
    Ok(())
}

fn a_selinux_label_without_selinux_is_refused(ctx: &Ctx) -> Outcome {
    if has_module("selinux") {
        return skip("SELinux is enabled on this machine");
    }
    // The keyring gets the label first, where there is a new one.
    for (options, what) in [
        (&[][..], "keyring"),
        (&["--no-new-keyring"], "label of the process"),
    ] {
        let label = "system_u:system_r:container_t:s0:c1,c2";
        let b = Bundle::new(ctx)?.set("/process/selinuxLabel", label);
        let output = b.verb("create", options)?.run()?.refused()?;
        output.says(&["/process/selinuxLabel"])?.says(&[what])?;
        ctx.nothing_left()?;
    }
    Ok(())
}
