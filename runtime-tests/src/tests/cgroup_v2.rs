//! Pure cgroup v2, in a mount namespace where cgroup2 lies on /sys/fs/cgroup.
//!
//! Which controllers are there depends on the machine: on a hybrid one usually hugetlb alone.

use crate::bundle::Bundle;
use crate::cgroups;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::path::PathBuf;

tests!("cgroup_v2":
    a_container_runs,
    the_process_is_in_its_cgroup,
    hugetlb_limits_are_written,
    unified_values_are_written,
    memory_limits_are_written,
    cpu_limits_are_written,
    pids_limits_are_written,
    an_unknown_unified_file_is_refused,
    a_limit_without_its_controller_is_refused,
    devices_are_denied_and_allowed,
    default_devices_are_allowed,
    a_cgroup_mount_shows_the_containers_own_cgroup,
    a_cgroup_mount_without_a_cgroup_namespace_shows_the_callers_view,
    a_cgroup_mount_in_a_user_namespace_works,
    a_frozen_container_is_paused_and_delete_force_removes_it,
    cgroups_below_the_containers_are_removed,
    kill_and_delete_work,
    all_is_gone_after_run,
);

fn pure<'a>(ctx: &'a Ctx) -> Outcome<Bundle<'a>> {
    ctx.use_pure_v2()?;
    Ok(Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]))
}

fn dir(ctx: &Ctx, id: &str) -> Outcome<PathBuf> {
    Ok(ctx.cgroup_dir(ctx.v2("")?, id))
}

/// Creates it and compares files of its cgroup.
fn written(ctx: &Ctx, controller: &str, resources: Value, files: &[(&str, &str)]) -> Outcome {
    ctx.v2(controller)?;
    let b = pure(ctx)?.set("/linux/resources", resources);
    let c = b.create()?;
    for (file, wanted) in files {
        let path = dir(ctx, &c.id)?.join(file);
        let found = std::fs::read_to_string(&path).because(path.display())?;
        check_eq!(found.trim(), *wanted, "{file}");
    }
    Ok(())
}

fn a_container_runs(ctx: &Ctx) -> Outcome {
    check_eq!(
        pure(ctx)?.args(&["/bin/echo", "fine"]).run()?.ok()?.stdout,
        "fine\n",
        "output"
    );
    ctx.nothing_left()
}

fn the_process_is_in_its_cgroup(ctx: &Ctx) -> Outcome {
    let c = pure(ctx)?.create()?;
    check_eq!(
        cgroups::pids(&dir(ctx, &c.id)?),
        [c.pid()?],
        "processes of the cgroup"
    );
    Ok(())
}

fn page_size() -> Outcome<String> {
    let found = std::fs::read_dir("/sys/kernel/mm/hugepages")
        .ok()
        .and_then(|mut dir| {
            dir.find_map(|e| (e.ok()?.file_name() == "hugepages-2048kB").then(|| "2MB".to_string()))
        });
    match found {
        Some(size) => Ok(size),
        None => skip("no huge pages of 2 MB"),
    }
}

fn hugetlb_limits_are_written(ctx: &Ctx) -> Outcome {
    let size = page_size()?;
    let limits = json!({"hugepageLimits": [{"pageSize": size, "limit": 8388608}]});
    written(ctx, "hugetlb", limits, &[("hugetlb.2MB.max", "8388608")])
}

fn unified_values_are_written(ctx: &Ctx) -> Outcome {
    page_size()?;
    let unified = json!({"unified": {"hugetlb.2MB.max": "4194304", "cgroup.max.depth": "3"}});
    written(
        ctx,
        "hugetlb",
        unified,
        &[("hugetlb.2MB.max", "4194304"), ("cgroup.max.depth", "3")],
    )
}

fn memory_limits_are_written(ctx: &Ctx) -> Outcome {
    let memory = json!({"memory": {"limit": 67108864, "reservation": 33554432, "swap": 67108864}});
    written(
        ctx,
        "memory",
        memory,
        &[
            ("memory.max", "67108864"),
            ("memory.low", "33554432"),
            ("memory.swap.max", "0"),
        ],
    )
}

fn cpu_limits_are_written(ctx: &Ctx) -> Outcome {
    let cpu = json!({"cpu": {"quota": 50000, "period": 200000, "shares": 1024}});
    // 1024 shares are weight 100 since runc 1.3.2, crun 1.23 and youki 0.5.6.
    written(
        ctx,
        "cpu",
        cpu,
        &[("cpu.max", "50000 200000"), ("cpu.weight", "100")],
    )
}

fn pids_limits_are_written(ctx: &Ctx) -> Outcome {
    written(
        ctx,
        "pids",
        json!({"pids": {"limit": 55}}),
        &[("pids.max", "55")],
    )
}

fn an_unknown_unified_file_is_refused(ctx: &Ctx) -> Outcome {
    for file in ["nosuch.file", "../escape", "hugetlb.2MB.max/x", ""] {
        let b = pure(ctx)?.set("/linux/resources/unified", json!({file: "1"}));
        b.create_refused()?.says(&[file, "unified"])?;
    }
    Ok(())
}

fn a_limit_without_its_controller_is_refused(ctx: &Ctx) -> Outcome {
    let has = std::fs::read_to_string(ctx.v2("")?.mount.join("cgroup.controllers"))?;
    if has.contains("memory") {
        return skip("the memory controller is there");
    }
    let b = pure(ctx)?.set("/linux/resources/memory/limit", 67108864);
    b.create_refused()?.says(&["memory"])?;
    Ok(())
}

fn devices_are_denied_and_allowed(ctx: &Ctx) -> Outcome {
    let node = json!({"path": "/dev/f", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666});
    for (access, r, w) in [("", 1, 1), ("r", 0, 1), ("w", 1, 0), ("rw", 0, 0)] {
        for (mode, wanted) in [("r", r), ("w", w)] {
            let mut b = pure(ctx)?.push("/linux/devices", node.clone()).set(
                "/linux/resources/devices",
                json!([{"allow": false, "access": "rwm"}]),
            );
            if !access.is_empty() {
                let rule = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": access});
                b = b.push("/linux/resources/devices", rule);
            }
            let found = b.probe(&["open", "/dev/f", mode])?;
            check_eq!(
                found["errno"],
                json!(wanted),
                "opening for {mode}, allowed `{access}`"
            );
        }
    }
    Ok(())
}

fn default_devices_are_allowed(ctx: &Ctx) -> Outcome {
    let b = pure(ctx)?
        .set("/linux/resources/devices", json!([{"allow": false, "access": "rwm"}]))
        .shell("for d in null zero full random urandom ptmx; do /bin/probe open /dev/$d r; done; /bin/probe mknod /tmp/k c 1 11; /bin/probe open /tmp/k w");
    let said = b.run()?.ok()?.stdout;
    check_eq!(
        said,
        "{\"errno\":0}\n".repeat(7) + "{\"errno\":1}\n",
        "errnos"
    );
    Ok(())
}

fn a_cgroup_mount_shows_the_containers_own_cgroup(ctx: &Ctx) -> Outcome {
    let b = pure(ctx)?.namespace("cgroup", None).mount(
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["ro", "nosuid", "noexec", "nodev"],
    );
    let said = b.says("cat /sys/fs/cgroup/cgroup.procs; cat /proc/self/cgroup; touch /sys/fs/cgroup/x 2>&1; grep ' /sys/fs/cgroup ' /proc/self/mountinfo")?;
    check!(
        said.starts_with("1\n"),
        "the process is not in the mounted cgroup: {said}"
    );
    check!(
        said.contains("\n0::/\n") && said.contains("cgroup2"),
        "{said}"
    );
    check!(
        said.contains("Read-only file system"),
        "the mount is writable: {said}"
    );
    Ok(())
}

fn a_cgroup_mount_without_a_cgroup_namespace_shows_the_callers_view(ctx: &Ctx) -> Outcome {
    // What engines mean by the host's cgroup namespace; /proc/self/cgroup leads on from there.
    let b = pure(ctx)?.mount(
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["ro", "nosuid", "noexec", "nodev"],
    );
    let path = format!("/sys/fs/cgroup{}", ctx.cgroup(&b.id));
    let said = b.says(&format!(
        "cat {path}/cgroup.procs; touch {path}/x 2>&1; true"
    ))?;
    check!(
        said.starts_with("1\n"),
        "the container's cgroup from its own mount: {said}"
    );
    check!(
        said.contains("Read-only file system"),
        "the mount is writable: {said}"
    );
    Ok(())
}

fn a_cgroup_mount_in_a_user_namespace_works(ctx: &Ctx) -> Outcome {
    // Without a cgroup namespace the kernel refuses to mount it there: the host's is bound.
    let options = ["ro", "nosuid", "noexec", "nodev"];
    for own in [false, true] {
        let mut b =
            pure(ctx)?
                .user_namespace()
                .mount("/sys/fs/cgroup", "cgroup", "cgroup", &options);
        let mut path = format!("/sys/fs/cgroup{}", ctx.cgroup(&b.id));
        if own {
            b = b.namespace("cgroup", None);
            path = "/sys/fs/cgroup".to_string();
        }
        let said = b.says(&format!(
            "cat {path}/cgroup.procs; grep ' /sys/fs/cgroup ' /proc/self/mountinfo"
        ))?;
        check!(
            said.starts_with("1\n"),
            "own cgroup namespace: {own}: {said}"
        );
        check!(
            said.contains("ro,nosuid,nodev,noexec") && said.contains(" - cgroup2 "),
            "own cgroup namespace: {own}: {said}"
        );
    }
    ctx.nothing_left()
}

fn a_frozen_container_is_paused_and_delete_force_removes_it(ctx: &Ctx) -> Outcome {
    let c = pure(ctx)?.detach()?;
    let dir = dir(ctx, &c.id)?;
    std::fs::write(dir.join("cgroup.freeze"), "1")?;
    ctx.until("the cgroup is frozen", || {
        std::fs::read_to_string(dir.join("cgroup.events"))
            .is_ok_and(|text| text.contains("frozen 1"))
    })?;
    c.status_is("paused")?;
    c.delete()?.refused()?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn cgroups_below_the_containers_are_removed(ctx: &Ctx) -> Outcome {
    let c = pure(ctx)?.detach()?;
    ctx.make_cgroup(&dir(ctx, &c.id)?.join("below/deeper"))?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn kill_and_delete_work(ctx: &Ctx) -> Outcome {
    let c = pure(ctx)?.create()?;
    c.start()?;
    let pid = c.pid()?;
    c.kill("KILL")?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code");
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn all_is_gone_after_run(ctx: &Ctx) -> Outcome {
    pure(ctx)?
        .without_namespace("pid")
        .args(&["/bin/probe", "orphan", "3"])
        .run()?
        .code_is(3)?;
    ctx.nothing_left()
}
