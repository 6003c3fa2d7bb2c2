//! What the verbs print: state, list, features, spec, version, logs.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::facts::kernel;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};

tests!("output":
    state_has_the_keys_that_engines_read,
    state_keeps_annotations,
    list_prints_a_table,
    list_prints_json,
    list_shows_stopped_containers_without_a_pid,
    list_prints_ids_when_quiet,
    list_of_nothing_is_a_heading,
    features_name_what_is_there,
    spec_writes_a_config_that_runs,
    spec_writes_the_file_that_is_named,
    spec_does_not_overwrite,
    spec_rootless_has_a_user_namespace,
    version_names_the_program_and_the_spec,
    help_is_there,
    the_state_root_is_made_when_missing,
    global_options_of_runc_and_crun_are_understood,
    what_succeeds_is_silent,
);

const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

fn state_has_the_keys_that_engines_read(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&SLEEP);
    let c = b.create()?;
    let state = c.state()?;
    check_eq!(state["id"], json!(c.id), "id");
    check_eq!(state["status"], json!("created"), "status");
    check_eq!(state["bundle"], json!(b.dir), "bundle");
    check_eq!(state["rootfs"], json!(b.rootfs()), "rootfs");
    check!(state["owner"].is_string(), "owner: {state}");
    check!(
        state["pid"].as_i64().is_some_and(|pid| pid > 1),
        "pid: {state}"
    );
    check!(
        state["ociVersion"]
            .as_str()
            .is_some_and(|v| v.starts_with("1.")),
        "ociVersion: {state}"
    );
    is_time(&state["created"])
}

/// RFC 3339 in UTC, as Go prints it: `2026-11-21T11:41:15.080625143Z`.
pub fn is_time(value: &Value) -> Outcome {
    let text = value.as_str().because("time")?;
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    check!(
        shape.starts_with("0000-00-00T00:00:00"),
        "no RFC 3339 time: {text}"
    );
    check!(
        shape.ends_with('Z') || shape.contains('+'),
        "a time without zone: {text}"
    );
    Ok(())
}

fn state_keeps_annotations(ctx: &Ctx) -> Outcome {
    let annotations = json!({"com.example.a": "1", "com.example.ü": "quote\" \\ \n"});
    let b = Bundle::new(ctx)?
        .args(&SLEEP)
        .set("/annotations", annotations.clone());
    check_eq!(
        b.create()?.state()?["annotations"],
        annotations,
        "annotations"
    );
    Ok(())
}

fn list_prints_a_table(ctx: &Ctx) -> Outcome {
    let running = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    let created = Bundle::new(ctx)?.args(&SLEEP).create()?;
    let output = ctx.rt(&["list"]).run()?.ok()?.stdout;
    let rows: Vec<Vec<&str>> = output
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    check_eq!(
        rows[0],
        ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"],
        "heading"
    );
    for (c, status) in [(&running, "running"), (&created, "created")] {
        let row = rows
            .iter()
            .find(|row| row.first() == Some(&c.id.as_str()))
            .because(&c.id)?;
        let wanted = [
            c.id.clone(),
            c.pid()?.to_string(),
            status.into(),
            c.bundle.display().to_string(),
        ];
        check_eq!(row.get(..4).because("four columns")?, wanted, "row");
        check_eq!(row.last(), Some(&"root"), "owner");
    }
    check_eq!(rows.len(), 3, "lines");
    Ok(())
}

fn list_prints_json(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?
        .args(&SLEEP)
        .set("/annotations", json!({"a": "b"}))
        .detach()?;
    for option in ["--format", "-f"] {
        let output = ctx.rt(&["list", option, "json"]).run()?.ok()?;
        let list: Value = serde_json::from_str(&output.stdout)?;
        check_eq!(list.as_array().map(Vec::len), Some(1), "entries");
        let (entry, state) = (&list[0], c.state()?);
        for key in [
            "ociVersion",
            "id",
            "pid",
            "status",
            "bundle",
            "rootfs",
            "created",
            "annotations",
        ] {
            check_eq!(entry[key], state[key], "{key} in the list and in state");
        }
        check_eq!(entry["owner"], json!("root"), "owner");
    }
    Ok(())
}

fn list_shows_stopped_containers_without_a_pid(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.detach()?;
    c.wait_status("stopped")?;
    let output = ctx.rt(&["list", "-f", "json"]).run()?.ok()?;
    let list: Value = serde_json::from_str(&output.stdout)?;
    check_eq!(
        (&list[0]["status"], &list[0]["pid"]),
        (&json!("stopped"), &json!(0)),
        "entry"
    );
    let table = ctx.rt(&["list"]).run()?.ok()?.stdout;
    let row = table.lines().nth(1).because("a row")?;
    let columns: Vec<&str> = row.split_whitespace().take(3).collect();
    check_eq!(columns, [c.id.as_str(), "0", "stopped"], "row");
    Ok(())
}

fn list_prints_ids_when_quiet(ctx: &Ctx) -> Outcome {
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..3 {
        ids.push(Bundle::new(ctx)?.args(&SLEEP).create()?.id);
    }
    for option in ["--quiet", "-q"] {
        let output = ctx.rt(&["list", option]).run()?.ok()?.stdout;
        let mut found: Vec<String> = output.lines().map(str::to_string).collect();
        found.sort();
        check_eq!(found, ids, "ids");
    }
    Ok(())
}

fn list_of_nothing_is_a_heading(ctx: &Ctx) -> Outcome {
    let output = ctx.rt(&["list"]).run()?.ok()?.stdout;
    check_eq!(output.lines().count(), 1, "lines of an empty table");
    check_eq!(
        ctx.rt(&["list", "-q"]).run()?.ok()?.stdout.trim(),
        "",
        "ids"
    );
    let output = ctx.rt(&["list", "-f", "json"]).run()?.ok()?.stdout;
    check!(
        ["null", "[]"].contains(&output.trim()),
        "an empty list in JSON: {output}"
    );
    Ok(())
}

/// Every one of `wanted` is in the array at a pointer.
fn holds(value: &Value, pointer: &str, wanted: &[&str]) -> Outcome {
    let found = value
        .pointer(pointer)
        .and_then(Value::as_array)
        .because(pointer)?;
    for name in wanted {
        check!(
            found.iter().any(|item| item == name),
            "{pointer} lacks {name}"
        );
    }
    Ok(())
}

fn features_name_what_is_there(ctx: &Ctx) -> Outcome {
    let features = ctx.features()?;
    check_eq!(features["ociVersionMax"], json!("1.3.0"), "ociVersionMax");
    check_eq!(features["ociVersionMin"], json!("1.0.0"), "ociVersionMin");
    let hooks = [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ];
    holds(&features, "/hooks", &hooks)?;
    holds(
        &features,
        "/mountOptions",
        &[
            "bind", "rbind", "ro", "rro", "nosuid", "rslave", "noexec", "relatime",
        ],
    )?;
    let namespaces = [
        "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts",
    ];
    holds(&features, "/linux/namespaces", &namespaces)?;
    holds(
        &features,
        "/linux/capabilities",
        &["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"],
    )?;
    holds(
        &features,
        "/potentiallyUnsafeConfigAnnotations",
        &["org.criu.config", "org.systemd.property.", "run.oci."],
    )?;
    holds(
        &features,
        "/linux/memoryPolicy/modes",
        &["MPOL_DEFAULT", "MPOL_BIND", "MPOL_WEIGHTED_INTERLEAVE"],
    )?;
    holds(
        &features,
        "/linux/memoryPolicy/flags",
        &[
            "MPOL_F_STATIC_NODES",
            "MPOL_F_RELATIVE_NODES",
            "MPOL_F_NUMA_BALANCING",
        ],
    )?;
    let flags = [
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ];
    holds(&features, "/linux/seccomp/knownFlags", &flags)?;
    // The last of them came with Linux 5.19.
    let supported = if kernel()? < (5, 19) {
        &flags[..3]
    } else {
        &flags
    };
    holds(&features, "/linux/seccomp/supportedFlags", supported)?;
    let actions = [
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_TRAP",
    ];
    holds(&features, "/linux/seccomp/actions", &actions)?;
    let operators =
        ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"].map(|o| format!("SCMP_CMP_{o}"));
    let operators = operators.iter().map(String::as_str).collect::<Vec<_>>();
    holds(&features, "/linux/seccomp/operators", &operators)?;
    check_eq!(features["linux"]["cgroup"]["v1"], json!(true), "cgroup v1");
    check_eq!(features["linux"]["cgroup"]["v2"], json!(true), "cgroup v2");
    check_eq!(
        features["linux"]["seccomp"]["enabled"],
        json!(true),
        "seccomp"
    );
    holds(
        &features,
        "/linux/seccomp/actions",
        &["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"],
    )?;
    holds(
        &features,
        "/linux/seccomp/operators",
        &["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"],
    )?;
    holds(
        &features,
        "/linux/seccomp/archs",
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    )
}

fn spec_writes_the_file_that_is_named(ctx: &Ctx) -> Outcome {
    let dir = ctx.dir.to_string_lossy().into_owned();
    let spec = || ctx.rt(&["spec", "--bundle", &dir, "-f", "mine.json"]).run();
    spec()?.ok()?;
    let text = std::fs::read(ctx.dir.join("mine.json"))?;
    check!(serde_json::from_slice::<Value>(&text).is_ok(), "no JSON");
    check!(!ctx.dir.join("config.json").exists(), "config.json, too");
    spec()?
        .refused()?
        .says(&["File mine.json exists. Remove it first"])?;
    check_eq!(std::fs::read(ctx.dir.join("mine.json"))?, text, "the file");
    ctx.nothing_left()
}

fn spec_writes_a_config_that_runs(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    ctx.rt(&["spec", "--bundle", &b.dir.to_string_lossy()])
        .run()?
        .ok()?;
    let path = b.dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    check_eq!(config["process"]["args"], json!(["sh"]), "args");
    check_eq!(config["process"]["terminal"], json!(true), "terminal");
    check_eq!(config["root"]["path"], json!("rootfs"), "root");
    check!(
        config["ociVersion"]
            .as_str()
            .is_some_and(|v| v.starts_with("1.")),
        "ociVersion"
    );
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sh", "-c", "echo it runs"]);
    config["linux"]["cgroupsPath"] = ctx.cgroups_path("spec");
    let mut b = b;
    b.config = config;
    check_eq!(b.run()?.ok()?.stdout, "it runs\n", "output");
    ctx.nothing_left()
}

fn spec_does_not_overwrite(ctx: &Ctx) -> Outcome {
    let dir = ctx.dir.join("spec");
    std::fs::create_dir(&dir)?;
    ctx.rt(&["spec"]).cwd(&dir).run()?.ok()?;
    let before = std::fs::read(dir.join("config.json"))?;
    ctx.rt(&["spec"])
        .cwd(&dir)
        .run()?
        .refused()?
        .says(&["config.json"])?;
    check!(
        std::fs::read(dir.join("config.json"))? == before,
        "config.json was overwritten"
    );
    Ok(())
}

fn spec_rootless_has_a_user_namespace(ctx: &Ctx) -> Outcome {
    let dir = ctx.dir.join("spec");
    std::fs::create_dir(&dir)?;
    ctx.rt(&["spec", "--rootless"]).cwd(&dir).run()?.ok()?;
    let config: Value = serde_json::from_slice(&std::fs::read(dir.join("config.json"))?)?;
    let list = config["linux"]["namespaces"]
        .as_array()
        .because("namespaces")?;
    check!(
        list.iter().any(|n| n["type"] == "user"),
        "no user namespace"
    );
    check!(config["linux"]["uidMappings"].is_array(), "no uidMappings");
    Ok(())
}

fn version_names_the_program_and_the_spec(ctx: &Ctx) -> Outcome {
    for option in ["--version", "-v"] {
        let output = ctx.rt::<&str>(&[]).global(&[option]).run()?.ok()?.stdout;
        let first = output.lines().next().unwrap_or_default();
        let words: Vec<&str> = first.split(' ').collect();
        check!(
            words.len() >= 3 && words[1] == "version",
            "first line: {first}"
        );
        check!(
            output.lines().any(|line| line.starts_with("spec: 1.")),
            "no spec line: {output}"
        );
    }
    Ok(())
}

fn help_is_there(ctx: &Ctx) -> Outcome {
    for args in [
        &["--help"][..],
        &["help"],
        &["create", "--help"],
        &["run", "-h"],
    ] {
        let output = ctx.rt(args).run()?.ok()?;
        check!(!output.stdout.is_empty(), "{args:?} prints nothing");
    }
    Ok(())
}

fn the_state_root_is_made_when_missing(ctx: &Ctx) -> Outcome {
    let root = ctx.dir.join("deep/state");
    let text = root.to_string_lossy().into_owned();
    let b = Bundle::new(ctx)?;
    b.verb::<&str>("run", &[])?
        .global(&["--root", &text])
        .run()?
        .ok()?;
    check!(root.is_dir(), "{text} was not made");
    check_eq!(std::fs::read_dir(&root)?.count(), 0, "entries left in it");
    Ok(())
}

fn global_options_of_runc_and_crun_are_understood(ctx: &Ctx) -> Outcome {
    let options: [&[&str]; 6] = [
        &["--cgroup-manager", "cgroupfs"],
        &["--cgroup-manager=cgroupfs"],
        &["--rootless", "false"],
        &["--rootless=auto"],
        &["--log-level=error"],
        &["--debug", "--log", "/dev/null"],
    ];
    for option in options {
        Bundle::new(ctx)?
            .verb::<&str>("run", &[])?
            .global(option)
            .run()?
            .ok()?;
    }
    ctx.rt(&["list"])
        .global(&["--systemd-cgroup"])
        .run()?
        .ok()?;
    ctx.nothing_left()
}

fn what_succeeds_is_silent(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&SLEEP);
    ctx.created(&b.id);
    let mut outputs = vec![b.verb::<&str>("create", &[])?.run()?.ok()?];
    for args in [
        &["start", &b.id][..],
        &["kill", &b.id, "KILL"],
        &["delete", "-f", &b.id],
    ] {
        outputs.push(ctx.rt(args).run()?.ok()?);
    }
    for output in outputs {
        check!(
            output.stdout.is_empty() && output.stderr.is_empty(),
            "printed: {output:?}"
        );
    }
    Ok(())
}
