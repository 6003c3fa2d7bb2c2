//! What comes from the caller: ids, over-long strings, annotations.

use super::{SLEEP, trap, untouched};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

tests!("cve":
    cve_2021_43784_strings_longer_than_16_bits_can_count_are_whole_or_refused,
    cve_2024_3154_annotations_change_nothing,
    crun_1_28_an_id_cannot_name_foreign_folders,
    crun_1_28_a_cgroup_that_is_handed_over_is_the_containers_own,
    cve_2015_1331_a_link_in_the_state_root_is_no_container,
);

/// Lengths around those where a 16-bit count begins anew.
const LENGTHS: [usize; 4] = [65_535, 65_536, 65_537, 70_000];

/// Seen to fail: with the offsets of strings cut to 16 bits in `sys/stub.rs:pointers`: `variable of
/// startContainer: found "0 65535", wanted "65535 65535"`.
fn cve_2021_43784_strings_longer_than_16_bits_can_count_are_whole_or_refused(ctx: &Ctx) -> Outcome {
    for length in LENGTHS {
        let long = "x".repeat(length);
        // What the kernel takes arrives whole.
        let line = "echo ${#LONG} ${#0}";
        let b = Bundle::new(ctx)?
            .args(&["/bin/sh", "-c", line, &long])
            .push("/process/env", format!("LONG={long}"))
            .set("/annotations/long", long.as_str());
        let said = b.run()?.ok()?.stdout;
        check_eq!(
            said,
            format!("{length} {length}\n"),
            "variable and argument"
        );

        let told = ctx.dir.join("told");
        let count = format!("echo ${{#LONG}} ${{#0}} >{}", told.display());
        let outside = json!({"path": "/bin/sh", "args": ["sh", "-c", count, long],
                             "env": [format!("LONG={long}")]});
        let inside = json!({"path": "/bin/sh", "env": [format!("LONG={long}")],
                            "args": ["sh", "-c", "echo ${#LONG} ${#0} >/told", long]});
        let b = Bundle::new(ctx)?
            .push("/hooks/createRuntime", outside)
            .push("/hooks/startContainer", inside);
        b.run()?.ok()?;
        let told = [told, b.rootfs().join("told")];
        for (file, kind) in told.iter().zip(["createRuntime", "startContainer"]) {
            let text = fs::read_to_string(file)?;
            check_eq!(
                text.trim(),
                format!("{length} {length}"),
                "variable of {kind}"
            );
        }

        // What it does not take is refused, in one line.
        for pointer in [
            "/hostname",
            "/domainname",
            "/linux/cgroupsPath",
            "/process/cwd",
            "/root/path",
        ] {
            let text = match pointer {
                "/process/cwd" | "/linux/cgroupsPath" => format!("/{long}"),
                _ => long.clone(),
            };
            Bundle::new(ctx)?.set(pointer, text).create_refused()?;
        }
        let path = format!("/{long}");
        for (destination, source) in [(path.as_str(), "/tmp"), ("/srv", path.as_str())] {
            let b = Bundle::new(ctx)?.mount(destination, "bind", source, &["bind"]);
            b.create_refused()?;
        }
        let option = format!("size={long}");
        let b = Bundle::new(ctx)?.mount("/srv", "tmpfs", "tmpfs", &[&option]);
        b.create_refused()?;
        for list in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
            let b = Bundle::new(ctx)?.set(list, json!([path]));
            b.create_refused()?;
        }
        let mapping = json!({"type": "network", "path": path});
        let b = Bundle::new(ctx)?
            .without_namespace("network")
            .push("/linux/namespaces", mapping);
        b.create_refused()?;
    }
    ctx.nothing_left()
}

/// Seen to fail: without setgroups in `sys/stub/main.rs:credentials`, as if keep_original_groups
/// were honoured: `groups: found "Groups:\t4711 4712"`.
fn cve_2024_3154_annotations_change_nothing(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let file = |name: &str| trap.join(name).to_string_lossy().into_owned();
    let mut annotations = json!({
        "org.criu.config": file("criu"),
        "run.oci.keep_original_groups": "1",
        "run.oci.hooks.stdout": file("stdout"),
        "run.oci.hooks.stderr": file("stderr"),
        "run.oci.handler": "krun",
        "run.oci.pidfd_receiver": file("pidfd"),
        "run.oci.seccomp.receiver": file("seccomp"),
        "run.oci.seccomp_fail_unknown_syscall": "1",
        "run.oci.seccomp_bpf_data": "BgAAAAAA/38=",
        "run.oci.delegate-cgroup": "..",
        "run.oci.systemd.subgroup": "../..",
        "run.oci.systemd.force_cgroup_v1": "/sys/fs/cgroup",
        "run.oci.timens_offset": "1 1 1",
        "run.oci.mount_context_type": "context",
        "module.wasm.image/variant": "compat",
    });
    // With systemd they are documented to set properties of the unit.
    if !ctx.driver.systemd {
        annotations["org.systemd.property.ExecStartPre"] = json!(format!("'{}'", file("systemd")));
        annotations["org.systemd.property.DeviceAllow"] = json!("['/dev/mem rwm']");
    }
    let b = Bundle::new(ctx)?.set("/annotations", annotations).push(
        "/hooks/createRuntime",
        json!({"path": "/bin/echo", "args": ["echo", "said"]}),
    );
    let wanted = ctx.cgroup(&b.id);
    let b = b.shell(
        "grep Groups /proc/self/status; grep Seccomp: /proc/self/status; cat /proc/self/cgroup",
    );
    let probe = ctx.probe.to_string_lossy();
    let run = b.verb::<&str>("run", &[])?;
    let said = run
        .within(&[probe.as_ref(), "as", "--groups", "4711,4712"])
        .run()?
        .ok()?
        .stdout;
    let mut lines = said.lines();
    check_eq!(lines.next().map(str::trim), Some("Groups:"), "groups");
    check_eq!(lines.next(), Some("Seccomp:\t0"), "filter");
    let lines: Vec<_> = lines.collect();
    let known = crate::cgroups::known(&lines.join("\n"), &ctx.hierarchies);
    check!(!known.is_empty(), "no cgroup is shown");
    let lines: Vec<_> = known.lines().collect();
    // On a hybrid machine the unified hierarchy is not the container's.
    let judged = lines
        .iter()
        .filter(|line| lines.len() == 1 || !line.starts_with("0::"));
    for line in judged {
        check!(line.ends_with(&wanted), "another cgroup: {line}");
    }
    untouched(&trap)?;
    let features = ctx.features()?;
    let listed = &features["potentiallyUnsafeConfigAnnotations"];
    check!(
        *listed == json!(["org.criu.config", "org.systemd.property.", "run.oci."]),
        "unsafe annotations: {listed}"
    );
    ctx.nothing_left()
}

/// `crun delete ..` removed the folder above the state root.
///
/// Seen to fail: with every text taken in `container/id.rs:new`: `delete --force of the id
/// "../outside" is no error`.
fn crun_1_28_an_id_cannot_name_foreign_folders(ctx: &Ctx) -> Outcome {
    let outside = ctx.dir.join("outside");
    fs::create_dir(&outside)?;
    // What makes a folder look like a container.
    let c = Bundle::new(ctx)?.args(&SLEEP).create()?;
    let record = ctx.state_root().join(&c.id).join("state.json");
    fs::copy(&record, outside.join("state.json")).because(record.display())?;
    let absolute = outside.to_string_lossy().into_owned();
    for id in [
        "..",
        ".",
        "../outside",
        "../../outside",
        "./../outside",
        &absolute,
        "a/../../outside",
    ] {
        for verb in [
            &["delete"] as &[&str],
            &["delete", "--force"],
            &["kill"],
            &["state"],
            &["start"],
        ] {
            let mut words = verb.to_vec();
            words.push(id);
            let output = ctx.rt(&words).run()?;
            let foreign = verb != ["delete", "--force"] || output.code != 0;
            check!(foreign, "delete --force of the id {id:?} is no error");
            check!(output.code != 0, "{verb:?} of the id {id:?} is no error");
            check!(
                outside.join("state.json").exists(),
                "{verb:?} {id:?} removed a foreign folder"
            );
            c.status_is("created")?;
        }
    }
    Ok(())
}

/// crun gave a container the cgroup that an annotation named from its own, `..` included, and so
/// one above its limits.
///
/// Here the only cgroup that is handed over is the container's; the annotation means nothing.
/// Seen to fail: with `..` taken both in `config/check/paths.rs` and in `plan/cgroup/path.rs:resolve`
/// (`exit code 0 instead of 1`); with the directory above given away too in
/// `cgroup/delegate.rs:hand_over` (`owner of the one above: found 100000`).
fn crun_1_28_a_cgroup_that_is_handed_over_is_the_containers_own(ctx: &Ctx) -> Outcome {
    ctx.use_pure_v2()?;
    let top = ctx.cgroup_dir(ctx.v2("")?, "");
    let bundle = || {
        let b = Bundle::new(ctx)?.user_namespace().namespace("cgroup", None);
        let b = b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
        Ok::<_, crate::outcome::Stop>(b.args(&SLEEP))
    };
    for path in ["/a/../..", "/a/../other", "/..", "/a/.."] {
        let b = bundle()?.set("/linux/cgroupsPath", format!("{}{path}", ctx.prefix));
        b.create_refused()?
            .says(&["/linux/cgroupsPath"])?
            .says(&["must not contain \\\"..\\\"", "which is not allowed"])?;
    }
    let mut b = bundle()?;
    for name in ["run.oci.delegate-cgroup", "run.oci.systemd.subgroup"] {
        b = b.set(&format!("/annotations/{name}"), "../other");
    }
    let c = b.create()?;
    let own = top.join(&c.id);
    check_eq!(
        crate::cgroups::pids(&own),
        [c.pid()?],
        "who is in its cgroup"
    );
    check_eq!(
        crate::cgroups::tree(&top),
        [own.clone(), top.clone()],
        "what is there beside it"
    );
    crate::tests::cgroup_v2_tree::owner_is(&own, 100_000)
}

/// LXC's lock files could be led elsewhere by links; here the state of a container is a folder
/// that is made anew.
///
/// Seen to fail: without O_NOFOLLOW in `container/store.rs:open`: `delete went through the link`.
fn cve_2015_1331_a_link_in_the_state_root_is_no_container(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let b = Bundle::new(ctx)?.args(&SLEEP);
    let link = ctx.state_root().join(&b.id);
    symlink(&trap, &link)?;
    let output = b.verb::<&str>("create", &[])?.run()?;
    untouched(&trap)?;
    output.refused()?;
    let kept = trap.join("state.json");
    fs::write(&kept, "{}")?;
    ctx.rt(&["delete", "--force", &b.id]).run()?;
    check!(kept.exists(), "delete went through the link");
    fs::remove_file(&link)?;
    ctx.nothing_left()
}
