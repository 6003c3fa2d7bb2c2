//! Bad values in config.json: refused before anything is made, with a JSON pointer or a path.

use super::bad_input::{all_refused, case};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::Outcome;
use crate::{check, tests};
use serde_json::{Value, json};
use std::fs;

tests!("bad_config":
    values_of_the_wrong_type,
    required_members_that_are_missing,
    namespaces_that_do_not_fit,
    rlimits_that_do_not_fit,
    cgroup_limits_that_the_kernel_refuses,
    mounts_that_cannot_be_made,
    mounts_inside_proc,
    sysctls_that_do_not_belong_to_the_container,
    seccomp_profiles_that_make_no_sense,
    seccomp_profiles_that_refuse_even_the_end,
    seccomp_profiles_that_interrupt_every_read,
    seccomp_profiles_that_refuse_to_wait_for_a_hook,
    devices_that_do_not_fit,
    hooks_that_do_not_fit,
    strings_with_a_null_byte,
    host_names_without_a_namespace_of_their_own,
    user_namespaces_without_mappings,
);

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

/// A filter that holds and refuses every call, exit_group too: the init spun for ever, and
/// `create` with it. (Found by `broken::`, seed 100654.)
fn seccomp_profiles_that_refuse_even_the_end(ctx: &Ctx) -> Outcome {
    let mut wrong = Vec::new();
    for errno in [0, 1, 4, 38] {
        for no_new_privileges in [false, true] {
            let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno});
            let b = Bundle::new(ctx)?
                .set("/process/noNewPrivileges", no_new_privileges)
                .set("/linux/seccomp", profile);
            let refused = b
                .verb::<&str>("create", &[])?
                .within(&["timeout", "10"])
                .run()?
                .refused()
                .and_then(|output| output.says(&["/linux/seccomp"]));
            if let Err(stop) = refused {
                wrong.push(format!("errno {errno}, {no_new_privileges}: {stop}"));
                ctx.rt(&["delete", "--force", &b.id]).run()?;
            }
        }
    }
    check!(wrong.is_empty(), "{}", wrong.join("\n"));
    ctx.nothing_left()
}

/// `create` succeeds and `start` comes to an end: the wait for it is one read after another
/// only while that helps.
fn seccomp_profiles_that_interrupt_every_read(ctx: &Ctx) -> Outcome {
    let rule = json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let b = Bundle::new(ctx)?.set("/linux/seccomp", profile);
    let c = b.create()?;
    let start = ctx.rt(&["start", &c.id]).within(&["timeout", "10"]);
    let output = start.run()?;
    check!(output.code == 1, "start ends with {}", output.code);
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn seccomp_profiles_that_refuse_to_wait_for_a_hook(ctx: &Ctx) -> Outcome {
    let hook = json!([{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 3}]);
    for errno in [1, 4] {
        let rule = json!({"names": ["ppoll"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno});
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        let b = Bundle::new(ctx)?
            .set("/hooks/startContainer", hook.clone())
            .set("/linux/seccomp", profile);
        let c = b.create()?;
        let start = ctx.rt(&["start", &c.id]).within(&["timeout", "10"]);
        start.run()?.refused()?.says(&["/hooks/startContainer/0"])?;
        c.delete_force()?.ok()?;
        ctx.nothing_left()?;
    }
    Ok(())
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
