//! Bad input: one clear line that names the place, exit code 1, nothing left behind.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Outcome, fail};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::fs;

tests!("bad_input":
    config_json_that_is_missing,
    config_json_that_is_no_json,
    values_of_the_wrong_type,
    required_members_that_are_missing,
    namespaces_that_do_not_fit,
    rlimits_that_do_not_fit,
    ids_that_are_no_names,
    a_rootfs_that_is_absent_or_a_file,
    commands_that_cannot_be_executed,
    a_command_that_is_no_program,
    a_cwd_that_is_not_absolute,
    a_cwd_that_leaves_the_rootfs,
    cgroup_limits_that_the_kernel_refuses,
    mounts_that_cannot_be_made,
    mounts_inside_proc,
    sysctls_that_do_not_belong_to_the_container,
    seccomp_profiles_that_make_no_sense,
    devices_that_do_not_fit,
    hooks_that_do_not_fit,
    strings_with_a_null_byte,
    host_names_without_a_namespace_of_their_own,
    user_namespaces_without_mappings,
    a_terminal_without_anybody_to_take_it,
    a_console_socket_that_is_not_there,
    a_bundle_that_is_not_there,
    arguments_that_are_wrong,
    a_preserved_descriptor_that_is_not_open,
    warnings_do_not_spoil_the_one_line,
);

/// One bad config: what is edited, and what the line must name (any of these).
struct Case<'a> {
    pointer: &'a str,
    value: Value,
    names: &'a [&'a str],
}

fn case<'a>(pointer: &'a str, value: Value, names: &'a [&'a str]) -> Case<'a> {
    Case {
        pointer,
        value,
        names,
    }
}

/// Tries each case on a bundle of its own; reports all that do not hold.
fn all_refused(ctx: &Ctx, cases: &[Case]) -> Outcome {
    let mut wrong = Vec::new();
    for case in cases {
        let b = Bundle::new(ctx)?.set(case.pointer, case.value.clone());
        if let Err(stop) = b
            .create_refused()
            .and_then(|output| output.says(case.names))
        {
            wrong.push(format!("{} = {}: {stop}", case.pointer, case.value));
            ctx.rt(&["delete", "--force", &b.id]).run()?;
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        fail(wrong.join("\n"))
    }
}

fn config_json_that_is_missing(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    let dir = b.dir.to_string_lossy();
    for verb in ["create", "run"] {
        let output = ctx.rt(&[verb, "--bundle", &dir, &b.id]).run()?.refused()?;
        output.says(&["config.json"])?;
    }
    ctx.nothing_left()
}

fn config_json_that_is_no_json(ctx: &Ctx) -> Outcome {
    for text in [
        "",
        "{",
        "{\"process\": }",
        "[1, 2",
        "nonsense",
        "\u{0}",
        "[]",
        "\"text\"",
        "null",
    ] {
        let b = Bundle::new(ctx)?;
        fs::write(b.dir.join("config.json"), text)?;
        let dir = b.dir.to_string_lossy();
        let output = ctx
            .rt(&["create", "--bundle", &dir, &b.id])
            .run()?
            .refused()?;
        output.says(&["config.json", "json"])?;
        ctx.nothing_left()?;
    }
    Ok(())
}

fn values_of_the_wrong_type(ctx: &Ctx) -> Outcome {
    all_refused(
        ctx,
        &[
            case("/process/args", json!("/bin/true"), &["/process/args"]),
            case("/process/args", json!([1]), &["/process/args/0"]),
            case("/process/user/uid", json!(-1), &["/process/user/uid"]),
            case("/process/user/uid", json!("root"), &["/process/user/uid"]),
            case("/process/env", json!({"A": "1"}), &["/process/env"]),
            case("/root/readonly", json!("yes"), &["/root/readonly"]),
            case("/mounts", json!({}), &["/mounts"]),
            case("/mounts/0/options", json!("ro"), &["/mounts/0/options"]),
            case("/linux/namespaces", json!("pid"), &["/linux/namespaces"]),
            case(
                "/linux/resources/memory/limit",
                json!("64M"),
                &["/linux/resources/memory/limit"],
            ),
            case("/hostname", json!(7), &["/hostname"]),
        ],
    )
}

fn required_members_that_are_missing(ctx: &Ctx) -> Outcome {
    all_refused(
        ctx,
        &[
            case("/process", Value::Null, &["/process"]),
            case("/process/args", json!([]), &["/process/args"]),
            case("/root", Value::Null, &["/root"]),
            case("/root/path", json!(""), &["/root/path"]),
        ],
    )
}

fn namespaces_that_do_not_fit(ctx: &Ctx) -> Outcome {
    let with = |more: Value| json!([{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, more]);
    let file = ctx.dir.join("no-namespace");
    fs::write(&file, "")?;
    all_refused(
        ctx,
        &[
            case(
                "/linux/namespaces",
                with(json!({"type": "nosuch"})),
                &["/linux/namespaces/3/type"],
            ),
            case(
                "/linux/namespaces",
                with(json!({"type": ""})),
                &["/linux/namespaces/3/type"],
            ),
            case(
                "/linux/namespaces",
                with(json!({"type": "pid"})),
                &["/linux/namespaces/3"],
            ),
            case(
                "/linux/namespaces",
                with(json!({"type": "ipc", "path": "/nosuch/ns"})),
                &["/nosuch/ns"],
            ),
            case(
                "/linux/namespaces",
                with(json!({"type": "ipc", "path": "/proc/1/ns/net"})),
                &["/proc/1/ns/net"],
            ),
            case(
                "/linux/namespaces",
                with(json!({"type": "ipc", "path": file})),
                &["no-namespace"],
            ),
            case(
                "/linux/namespaces",
                with(json!({"type": "ipc", "path": "relative/ns"})),
                &["relative/ns"],
            ),
        ],
    )
}

fn rlimits_that_do_not_fit(ctx: &Ctx) -> Outcome {
    let one = json!({"type": "RLIMIT_NOFILE", "soft": 10, "hard": 10});
    all_refused(
        ctx,
        &[
            case(
                "/process/rlimits",
                json!([{"type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1}]),
                &["/process/rlimits/0/type"],
            ),
            case(
                "/process/rlimits",
                json!([one, one]),
                &["/process/rlimits/1"],
            ),
            case(
                "/process/rlimits",
                json!([{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 10}]),
                &["/process/rlimits/0", "RLIMIT_NOFILE"],
            ),
        ],
    )
}

fn ids_that_are_no_names(ctx: &Ctx) -> Outcome {
    let long = "x".repeat(1025);
    let b = Bundle::new(ctx)?;
    b.write()?;
    let dir = b.dir.to_string_lossy();
    let outside = ctx.dir.join("outside");
    fs::create_dir(&outside)?;
    for id in [
        "",
        ".",
        "..",
        "../outside",
        "a/b",
        "/abs",
        "a b",
        "a\nb",
        "ümlaut",
        "a:b",
        "a*",
        &long,
    ] {
        for verb in ["create", "run"] {
            let output = ctx.rt(&[verb, "--bundle", &dir, "--", id]).run()?;
            check!(
                output.code == 1,
                "{verb} takes the id {id:?}: exit code {}",
                output.code
            );
            let lines = output
                .stderr
                .lines()
                .filter(|line| !line.is_empty())
                .count();
            check!(
                lines == 1 || id.is_empty(),
                "{verb} of the id {id:?} prints {}",
                output.stderr
            );
        }
        for verb in ["start", "state", "kill", "delete"] {
            let output = ctx.rt(&[verb, "--", id]).run()?;
            check!(
                output.code == 1,
                "{verb} takes the id {id:?}: exit code {}",
                output.code
            );
        }
        ctx.rt(&["delete", "--force", "--", id]).run()?;
        check!(
            outside.is_dir(),
            "delete --force {id:?} removed a foreign folder"
        );
        check!(
            ctx.state_root().is_dir(),
            "delete --force {id:?} removed the state root"
        );
    }
    ctx.nothing_left()?;
    for id in ["a", "A-b_c+d.e", "0", "..a", "-dash"] {
        let output = ctx.rt(&["run", "--bundle", &dir, "--", id]).run()?;
        check_eq!(output.code, 0, "run with the id {id}");
    }
    ctx.nothing_left()
}

fn a_rootfs_that_is_absent_or_a_file(ctx: &Ctx) -> Outcome {
    let file = ctx.dir.join("a-file");
    fs::write(&file, "")?;
    all_refused(
        ctx,
        &[
            case("/root/path", json!("nosuch-rootfs"), &["nosuch-rootfs"]),
            case("/root/path", json!("/nosuch/rootfs"), &["/nosuch/rootfs"]),
            case("/root/path", json!(file), &["a-file"]),
        ],
    )
}

fn commands_that_cannot_be_executed(ctx: &Ctx) -> Outcome {
    let not_found = "executable file not found in $PATH";
    all_refused(
        ctx,
        &[
            case("/process/args", json!(["nosuch"]), &[not_found]),
            case(
                "/process/args",
                json!(["/nosuch/command"]),
                &["no such file or directory", not_found],
            ),
            case(
                "/process/args",
                json!(["/etc/passwd"]),
                &["permission denied"],
            ),
            case(
                "/process/args",
                json!(["/etc"]),
                &["permission denied", "is a directory"],
            ),
            case(
                "/process/args",
                json!(["./nosuch"]),
                &["no such file or directory", not_found],
            ),
            case(
                "/process/args",
                json!([""]),
                &[not_found, "/process/args/0"],
            ),
        ],
    )
}

fn a_command_that_is_no_program(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/no-program"]);
    let path = b.rootfs().join("bin/no-program");
    fs::write(&path, "neither ELF nor script")?;
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let output = b.run()?;
    check!(output.code != 0, "a file of text ran");
    output.says(&["exec format error"])?;
    ctx.nothing_left()
}

fn a_cwd_that_is_not_absolute(ctx: &Ctx) -> Outcome {
    all_refused(
        ctx,
        &[
            case("/process/cwd", json!("relative"), &["/process/cwd"]),
            case("/process/cwd", json!(""), &["/process/cwd"]),
            case("/process/cwd", json!("/etc/passwd"), &["/etc/passwd"]),
            case("/process/cwd", json!("/etc/passwd/below"), &["/etc/passwd"]),
        ],
    )
}

fn a_cwd_that_leaves_the_rootfs(ctx: &Ctx) -> Outcome {
    // CVE-2024-21626: through a descriptor of the host, one that is even handed on.
    let mut wrong = Vec::new();
    for number in 3..12 {
        let b = Bundle::new(ctx)?
            .set("/process/cwd", format!("/proc/self/fd/{number}"))
            .shell("ls; pwd; echo reached");
        let cmd = b.verb("run", &["--preserve-fds", "1"])?;
        let line = "exec 3</; exec \"$0\" \"$@\"";
        let output = cmd.within(&["/bin/bash", "-c", line]).run()?;
        if output.stdout.contains("reached") || output.code == 0 {
            wrong.push(format!("/proc/self/fd/{number}: {}", output.stdout));
        }
        ctx.nothing_left()?;
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        fail(wrong.join("\n"))
    }
}

fn cgroup_limits_that_the_kernel_refuses(ctx: &Ctx) -> Outcome {
    ctx.v1("cpu")?;
    ctx.v1("cpuset")?;
    all_refused(
        ctx,
        &[
            case(
                "/linux/resources/cpu",
                json!({"quota": 1, "period": 100_000}),
                &["cpu.cfs_quota_us", "/linux/resources/cpu/quota"],
            ),
            case(
                "/linux/resources/cpu",
                json!({"period": 1}),
                &["cpu.cfs_period_us", "/linux/resources/cpu/period"],
            ),
            case(
                "/linux/resources/cpu",
                json!({"cpus": "4000"}),
                &["cpuset.cpus", "/linux/resources/cpu/cpus"],
            ),
            case(
                "/linux/resources/cpu",
                json!({"cpus": "nonsense"}),
                &["cpuset.cpus", "/linux/resources/cpu/cpus"],
            ),
            case(
                "/linux/resources/unified",
                json!({"nosuch.file": "1"}),
                &["nosuch.file", "unified"],
            ),
        ],
    )
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!([{"destination": "/proc", "type": "proc", "source": "proc"},
           {"destination": destination, "type": kind, "source": source, "options": options}])
}

fn mounts_that_cannot_be_made(ctx: &Ctx) -> Outcome {
    all_refused(
        ctx,
        &[
            case(
                "/mounts",
                mount("/data", "bind", "/nosuch/source", &["bind"]),
                &["/nosuch/source"],
            ),
            case(
                "/mounts",
                mount("/data", "nosuchfs", "x", &[]),
                &["/data", "nosuchfs"],
            ),
            case(
                "/mounts",
                mount("/data", "tmpfs", "x", &["size=nonsense"]),
                &["/data"],
            ),
            case(
                "/mounts",
                mount("/data", "tmpfs", "x", &["nosuchoption=1"]),
                &["/data"],
            ),
            case(
                "/mounts",
                mount("/etc/passwd", "tmpfs", "x", &[]),
                &["/etc/passwd"],
            ),
            case(
                "/mounts",
                mount("/etc/passwd/below", "tmpfs", "x", &[]),
                &["/etc/passwd"],
            ),
            case(
                "/mounts",
                mount("", "tmpfs", "x", &[]),
                &["/mounts/1/destination", "destination"],
            ),
        ],
    )
}

fn mounts_inside_proc(ctx: &Ctx) -> Outcome {
    all_refused(
        ctx,
        &[
            case(
                "/mounts",
                mount("/proc", "tmpfs", "x", &[]),
                &["/proc", "/mounts/1"],
            ),
            case(
                "/mounts",
                mount("/proc/sys", "tmpfs", "x", &[]),
                &["/proc/sys"],
            ),
            case(
                "/mounts",
                mount("/proc/self/attr", "bind", "/tmp", &["bind"]),
                &["/proc/self/attr"],
            ),
            case(
                "/mounts",
                mount("/mnt/../proc/sys", "tmpfs", "x", &[]),
                &["proc"],
            ),
        ],
    )
}

fn sysctls_that_do_not_belong_to_the_container(ctx: &Ctx) -> Outcome {
    all_refused(
        ctx,
        &[
            case(
                "/linux/sysctl",
                json!({"vm.swappiness": "1"}),
                &["vm.swappiness"],
            ),
            case(
                "/linux/sysctl",
                json!({"kernel.pid_max": "1000"}),
                &["kernel.pid_max"],
            ),
            case(
                "/linux/sysctl",
                json!({"net.nosuch": "1"}),
                &["net.nosuch", "net/nosuch"],
            ),
            case(
                "/linux/sysctl",
                json!({"net.ipv4.ip_forward": "nonsense"}),
                &["ip_forward"],
            ),
            case(
                "/linux/sysctl",
                json!({"net.../../kernel/pid_max": "1000"}),
                &["pid_max"],
            ),
            case("/linux/sysctl", json!({"": "1"}), &["sysctl"]),
        ],
    )?;
    let b = Bundle::new(ctx)?
        .without_namespace("network")
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    b.create_refused()?.says(&["net.ipv4.ip_forward"])?;
    Ok(())
}

fn seccomp_profiles_that_make_no_sense(ctx: &Ctx) -> Outcome {
    let with = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [rule]});
    let compare = |op: &str, index: u32| json!({"names": ["sync"], "action": "SCMP_ACT_ERRNO", "args": [{"index": index, "value": 1, "op": op}]});
    all_refused(
        ctx,
        &[
            case(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_NOSUCH"}),
                &["/linux/seccomp/defaultAction"],
            ),
            case(
                "/linux/seccomp",
                with(json!({"names": ["sync"], "action": "NOSUCH"})),
                &["/linux/seccomp/syscalls/0/action"],
            ),
            case(
                "/linux/seccomp",
                with(compare("SCMP_CMP_NOSUCH", 0)),
                &["/linux/seccomp/syscalls/0/args/0/op"],
            ),
            case(
                "/linux/seccomp",
                with(compare("SCMP_CMP_EQ", 6)),
                &["/linux/seccomp/syscalls/0/args/0/index"],
            ),
            case(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NOSUCH"]}),
                &["/linux/seccomp/architectures/0"],
            ),
            case(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["NOSUCH"]}),
                &["/linux/seccomp/flags/0"],
            ),
        ],
    )
}

fn devices_that_do_not_fit(ctx: &Ctx) -> Outcome {
    let device =
        |path: &str, kind: &str| json!([{"path": path, "type": kind, "major": 1, "minor": 3}]);
    all_refused(
        ctx,
        &[
            case(
                "/linux/devices",
                device("/dev/x", "z"),
                &["/linux/devices/0/type"],
            ),
            case(
                "/linux/devices",
                device("dev/x", "c"),
                &["/linux/devices/0/path"],
            ),
            case(
                "/linux/devices",
                device("", "c"),
                &["/linux/devices/0/path"],
            ),
            case(
                "/linux/resources/devices",
                json!([{"allow": true, "type": "z", "access": "r"}]),
                &["/linux/resources/devices/0/type"],
            ),
            case(
                "/linux/resources/devices",
                json!([{"allow": true, "type": "c", "access": "q"}]),
                &["/linux/resources/devices/0/access"],
            ),
        ],
    )
}

fn hooks_that_do_not_fit(ctx: &Ctx) -> Outcome {
    all_refused(
        ctx,
        &[
            case(
                "/hooks/createRuntime",
                json!([{"path": "relative"}]),
                &["/hooks/createRuntime/0/path"],
            ),
            case(
                "/hooks/poststop",
                json!([{"path": ""}]),
                &["/hooks/poststop/0/path"],
            ),
            case(
                "/hooks/prestart",
                json!([{"path": "/bin/true", "timeout": 0}]),
                &["/hooks/prestart/0/timeout"],
            ),
            case(
                "/hooks/prestart",
                json!([{"path": "/bin/true", "timeout": -1}]),
                &["/hooks/prestart/0/timeout"],
            ),
        ],
    )
}

fn strings_with_a_null_byte(ctx: &Ctx) -> Outcome {
    all_refused(
        ctx,
        &[
            case(
                "/process/args",
                json!(["/bin/true", "a\u{0}b"]),
                &["/process/args/1"],
            ),
            case(
                "/process/env",
                json!(["PATH=/bin", "A=a\u{0}b"]),
                &["/process/env/1"],
            ),
            case("/process/cwd", json!("/tmp\u{0}/x"), &["/process/cwd"]),
            case("/hostname", json!("a\u{0}b"), &["/hostname"]),
            case("/root/path", json!("rootfs\u{0}x"), &["/root/path"]),
            case(
                "/mounts/0/destination",
                json!("/proc\u{0}x"),
                &["/mounts/0/destination"],
            ),
        ],
    )
}

fn host_names_without_a_namespace_of_their_own(ctx: &Ctx) -> Outcome {
    for (key, value) in [("hostname", "other"), ("domainname", "other.test")] {
        let b = Bundle::new(ctx)?
            .without_namespace("uts")
            .remove("/hostname");
        let b = b.set(&format!("/{key}"), value);
        b.create_refused()?.says(&[&format!("/{key}")])?;
    }
    Ok(())
}

fn user_namespaces_without_mappings(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.namespace("user", None);
    b.create_refused()?.says(&["/linux/uidMappings"])?;
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let b = Bundle::new(ctx)?.set("/linux/uidMappings", map);
    b.create_refused()?.says(&["/linux/uidMappings"])?;
    Ok(())
}

fn a_terminal_without_anybody_to_take_it(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/process/terminal", true);
    b.create_refused()?.says(&["console"])?;
    let b = Bundle::new(ctx)?;
    let output = b
        .verb("create", &["--console-socket", "/nosuch"])?
        .run()?
        .refused()?;
    output.says(&["console", "terminal", "tty"])?;
    ctx.nothing_left()
}

fn a_console_socket_that_is_not_there(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/process/terminal", true);
    let output = b
        .verb("create", &["--console-socket", "/nosuch/socket"])?
        .run()?
        .refused()?;
    output.says(&["/nosuch/socket"])?;
    ctx.nothing_left()
}

fn a_bundle_that_is_not_there(ctx: &Ctx) -> Outcome {
    let output = ctx
        .rt(&["create", "--bundle", "/nosuch/bundle", "c"])
        .run()?
        .refused()?;
    output.says(&["/nosuch/bundle"])?;
    ctx.nothing_left()
}

fn arguments_that_are_wrong(ctx: &Ctx) -> Outcome {
    let wrong: [&[&str]; 10] = [
        &["create"],
        &["start"],
        &["state"],
        &["kill"],
        &["delete"],
        &["nosuch-verb"],
        &["create", "--nosuch-option", "c"],
        &["state", "a", "b"],
        &["start", "a", "b"],
        &["list", "--format", "nosuch"],
    ];
    for args in wrong {
        let output = ctx.rt(args).run()?;
        // runc's own code for an unknown verb is 3; nobody looks beyond "not 0".
        let fits = output.code == 1 || (args == ["nosuch-verb"] && output.code != 0);
        check!(fits, "{args:?} ends with {}", output.code);
        check!(
            !output.stderr.trim().is_empty(),
            "{args:?} says nothing on stderr"
        );
    }
    ctx.nothing_left()
}

fn a_preserved_descriptor_that_is_not_open(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    b.verb("create", &["--preserve-fds", "50"])?
        .run()?
        .refused()?;
    ctx.nothing_left()
}

fn warnings_do_not_spoil_the_one_line(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .capabilities(&["CAP_NO_SUCH_THING"])
        .set("/unknown", json!({"key": 1}))
        .args(&["/nosuch"]);
    let log = ctx.dir.join("log");
    let cmd = b
        .verb::<&str>("create", &[])?
        .global(&["--log", &log.to_string_lossy()]);
    cmd.run()?.refused()?;
    ctx.nothing_left()
}
