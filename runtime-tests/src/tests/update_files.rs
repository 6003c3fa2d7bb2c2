//! update with a file or standard input: what has no flag, and device rules.

use crate::bundle::Bundle;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::tests::cgroup_v1::disk;
use crate::tests::update::{
    file, of_json, on_v1, on_v2, pids_max, set, set_json, sleeping, update, v2_file,
};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::PathBuf;

tests!("update_files":
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
);

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
        .says(&[
            // Where v2 is mounted beside it, the file is named.
            "/unified: the host uses cgroup v1",
            "/unified/memory.high: the host uses cgroup v1",
        ])
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
    let c = sleeping(ctx)?.detach()?;
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
        check_eq!(pids_max(ctx, &c)?, "44", "pids.max");
        let shares = file(ctx, &c, "cpu", "cpu.shares", "cpu.weight")?;
        check!(shares == "333" || shares == "42", "shares: {shares}");
    }
    Ok(())
}

fn standard_input_is_read(ctx: &Ctx) -> Outcome {
    let c = sleeping(ctx)?.detach()?;
    // A pipe, which may come in parts.
    let mut running = update(&c, &["--resources=-"]).spawn()?;
    let mut stdin = running.child.stdin.take().because("its standard input")?;
    for part in ["{\"pids\":{\"li", "mit\":55}}\n"] {
        stdin.write_all(part.as_bytes())?;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(stdin);
    check_eq!(running.wait()?, 0, "exit code");
    check_eq!(pids_max(ctx, &c)?, "55", "pids.max");
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
/// before the new one is loaded.
fn no_gap(ctx: &Ctx) -> Outcome {
    let node = json!({"path": "/dev/f", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666});
    // What both lists allow is never denied, what both deny never allowed.
    // (Without forks: a moment is short.)
    let script = "look() { while :; do true < /dev/zero || echo denied >> /log; \
                  true 2>/dev/null > /dev/f && echo allowed >> /log; done; }; \
                  look & look & echo up; wait";
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
