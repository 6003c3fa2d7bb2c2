//! Seccomp: what each action does, which flags reach the kernel, and when the filter is loaded.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::facts::kernel;
use crate::outcome::{Because, Outcome, Stop, skip};
use crate::sockets::FdSocket;
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::process::Stdio;
use std::sync::atomic::Ordering;

tests!("seccomp_actions":
    allow_errno_log_and_trace_answer_as_they_say,
    kill_and_kill_thread_end_a_process_of_one_thread,
    the_errno_of_trace_and_of_others_is_not_an_errno_of_the_call,
    the_flags_reach_the_kernel,
    without_flags_speculation_is_allowed,
    an_empty_list_of_flags_is_none,
    an_unknown_flag_is_refused,
    wait_killable_without_a_listener_is_left_out,
    wait_killable_goes_with_a_listener,
    before_linux_5_19_wait_killable_with_a_listener_is_refused,
    an_agent_answers_for_the_kernel,
    notify_for_write_or_as_default_is_refused,
    notify_without_a_path_is_refused,
    the_filter_comes_after_the_credentials_with_no_new_privileges,
    the_filter_spares_the_runtime_all_but_a_few_calls,
    architectures_of_other_machines_are_accepted,
    a_profile_that_names_newer_calls_knows_them,
);

const CALL: i64 = libc::SYS_getpgid;

/// A profile that does `action` for getpgid and allows the rest.
fn profile(action: &str) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW",
           "syscalls": [{"names": ["getpgid"], "action": action}]})
}

fn with<'a>(ctx: &'a Ctx, profile: Value) -> Outcome<Bundle<'a>> {
    Ok(Bundle::new(ctx)?.set("/linux/seccomp", profile))
}

/// The errno of getpgid(0), which succeeds without a filter.
fn errno(b: Bundle<'_>) -> Outcome<Value> {
    Ok(b.probe(&["syscall", &CALL.to_string(), "0"])?["errno"].clone())
}

fn allow_errno_log_and_trace_answer_as_they_say(ctx: &Ctx) -> Outcome {
    for (action, wanted) in [
        ("SCMP_ACT_ALLOW", 0),
        ("SCMP_ACT_ERRNO", libc::EPERM),
        // The call is made, and audited.
        ("SCMP_ACT_LOG", 0),
        // Without a tracer (seccomp(2)).
        ("SCMP_ACT_TRACE", libc::ENOSYS),
    ] {
        check_eq!(
            errno(with(ctx, profile(action))?)?,
            json!(wanted),
            "{action}"
        );
    }
    // As the default, for a call that has no rule.
    for (action, wanted) in [("SCMP_ACT_ALLOW", 0), ("SCMP_ACT_LOG", 0)] {
        let default = json!({"defaultAction": action,
            "syscalls": [{"names": ["sync"], "action": "SCMP_ACT_ERRNO"}]});
        check_eq!(
            errno(with(ctx, default)?)?,
            json!(wanted),
            "{action} as default"
        );
    }
    Ok(())
}

fn kill_and_kill_thread_end_a_process_of_one_thread(ctx: &Ctx) -> Outcome {
    for action in [
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_KILL_PROCESS",
    ] {
        let b = with(ctx, profile(action))?.args(&["/bin/probe", "syscall", &CALL.to_string()]);
        b.run()?.code_is(128 + libc::SIGSYS)?;
    }
    // Whether the thread or the process ends shows only where there are several threads.
    for (action, lives) in [
        ("SCMP_ACT_KILL_THREAD", true),
        ("SCMP_ACT_KILL_PROCESS", false),
    ] {
        let b =
            with(ctx, profile(action))?.args(&["/bin/probe", "thread-syscall", &CALL.to_string()]);
        let output = b.run()?;
        check_eq!(
            output.stdout.contains("lives on"),
            lives,
            "{action} in a thread"
        );
        check_eq!(
            output.code == 128 + libc::SIGSYS,
            !lives,
            "{action}: end by SIGSYS"
        );
    }
    ctx.nothing_left()
}

fn the_errno_of_trace_and_of_others_is_not_an_errno_of_the_call(ctx: &Ctx) -> Outcome {
    // TRACE's goes to a tracer, those of other actions nowhere.
    for (action, wanted) in [("SCMP_ACT_TRACE", libc::ENOSYS), ("SCMP_ACT_LOG", 0)] {
        let mut rules = profile(action);
        rules["syscalls"][0]["errnoRet"] = json!(99);
        check_eq!(errno(with(ctx, rules)?)?, json!(wanted), "{action}");
    }
    Ok(())
}

/// The flags of the seccomp(2) calls that load a filter, as strace shows them.
fn flags_of(ctx: &Ctx, profile: Value, more: &[(&str, Value)]) -> Outcome<String> {
    if std::process::Command::new("strace")
        .arg("-V")
        .output()
        .is_err()
    {
        return skip("no strace on this machine");
    }
    let mut b = with(ctx, profile)?;
    for (pointer, value) in more {
        b = b.set(pointer, value.clone());
    }
    let trace = ctx.dir.join("trace");
    let path = trace.to_string_lossy().into_owned();
    let strace = ["strace", "-f", "-e", "trace=seccomp", "-o", &path];
    b.verb::<&str>("run", &[])?.within(&strace).run()?.ok()?;
    let text = std::fs::read_to_string(&trace)?;
    let calls: Vec<&str> = text
        .lines()
        .filter(|l| l.contains("SECCOMP_SET_MODE_FILTER"))
        .collect();
    check_eq!(calls.len(), 1, "filters loaded in\n{text}");
    let fields: Vec<&str> = calls[0].split(", ").collect();
    Ok(fields.get(1).copied().unwrap_or_default().to_string())
}

fn the_flags_reach_the_kernel(ctx: &Ctx) -> Outcome {
    let nnp = [("/process/noNewPrivileges", json!(true))];
    for more in [&[][..], &nnp] {
        for (flags, wanted) in [
            (
                json!(["SECCOMP_FILTER_FLAG_LOG"]),
                "SECCOMP_FILTER_FLAG_LOG",
            ),
            (
                json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            ),
            (
                json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_LOG"]),
                "SECCOMP_FILTER_FLAG_LOG|SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            ),
        ] {
            let mut rules = profile("SCMP_ACT_ERRNO");
            rules["flags"] = flags.clone();
            check_eq!(flags_of(ctx, rules, more)?, wanted, "flags with {flags}");
        }
        // All threads get it: there is one, so a runtime may leave the flag out.
        let mut rules = profile("SCMP_ACT_ERRNO");
        rules["flags"] = json!(["SECCOMP_FILTER_FLAG_TSYNC"]);
        let found = flags_of(ctx, rules, more)?;
        check!(
            found == "0" || found == "SECCOMP_FILTER_FLAG_TSYNC",
            "flags with TSYNC: {found}"
        );
    }
    Ok(())
}

fn without_flags_speculation_is_allowed(ctx: &Ctx) -> Outcome {
    for flags in [None, Some(Value::Null)] {
        let mut rules = profile("SCMP_ACT_ERRNO");
        if let Some(flags) = flags {
            rules["flags"] = flags;
        }
        check_eq!(
            flags_of(ctx, rules, &[])?,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            "flags"
        );
    }
    Ok(())
}

fn an_empty_list_of_flags_is_none(ctx: &Ctx) -> Outcome {
    let mut rules = profile("SCMP_ACT_ERRNO");
    rules["flags"] = json!([]);
    check_eq!(flags_of(ctx, rules, &[])?, "0", "flags");
    Ok(())
}

fn an_unknown_flag_is_refused(ctx: &Ctx) -> Outcome {
    for flag in [
        "SECCOMP_FILTER_FLAG_NEW_LISTENER",
        "SECCOMP_FILTER_FLAG_NO_SUCH",
        "LOG",
    ] {
        let mut rules = profile("SCMP_ACT_ERRNO");
        rules["flags"] = json!(["SECCOMP_FILTER_FLAG_LOG", flag]);
        with(ctx, rules)?
            .create_refused()?
            .says(&["/linux/seccomp/flags/1"])?;
    }
    Ok(())
}

const KILLABLE: &str = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";

/// A profile that asks an agent about mkdirat.
fn notify(ctx: &Ctx) -> Outcome<(FdSocket, Value)> {
    let socket = FdSocket::bind(&ctx.dir.join(format!("agent{}", ctx.next())))?;
    let rules = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket.path,
        "syscalls": [{"names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY"}]});
    Ok((socket, rules))
}

fn wait_killable_without_a_listener_is_left_out(ctx: &Ctx) -> Outcome {
    // The kernel refuses the flag where nobody is asked.
    let mut rules = profile("SCMP_ACT_ERRNO");
    rules["flags"] = json!([KILLABLE]);
    check_eq!(
        errno(with(ctx, rules)?)?,
        json!(libc::EPERM),
        "without a listener"
    );
    Ok(())
}

fn wait_killable_goes_with_a_listener(ctx: &Ctx) -> Outcome {
    if kernel()? < (5, 19) {
        return skip("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV came with Linux 5.19");
    }
    let (_socket, mut rules) = notify(ctx)?;
    rules["flags"] = json!([KILLABLE]);
    let found = flags_of(ctx, rules, &[])?;
    // Older versions of strace know the number alone.
    check!(
        found.contains("NEW_LISTENER")
            && (found.contains("WAIT_KILLABLE_RECV") || found.contains("0x20")),
        "flags with a listener: {found}"
    );
    Ok(())
}

/// The runtime has no way to give what the flag promises, so it does not leave it out.
fn before_linux_5_19_wait_killable_with_a_listener_is_refused(ctx: &Ctx) -> Outcome {
    if kernel()? >= (5, 19) && !ctx.old_kernel.load(Ordering::Relaxed) {
        return skip("this kernel knows SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (Linux 5.19)");
    }
    let (_socket, mut rules) = notify(ctx)?;
    rules["flags"] = json!(["SECCOMP_FILTER_FLAG_LOG", KILLABLE]);
    let refused = with(ctx, rules)?.create_refused()?;
    refused.says(&["/linux/seccomp/flags/1", "Linux 5.19"])?;
    let features = ctx.features()?;
    let flags = &features["linux"]["seccomp"];
    let has = |list: &str| {
        let flags = flags[list].as_array().because(list)?;
        Ok::<bool, Stop>(flags.iter().any(|flag| flag == KILLABLE))
    };
    check!(has("knownFlags")?, "the flag is not known");
    check!(!has("supportedFlags")?, "the flag is said to be supported");
    Ok(())
}

fn an_agent_answers_for_the_kernel(ctx: &Ctx) -> Outcome {
    for no_new_privileges in [false, true] {
        let (socket, rules) = notify(ctx)?;
        let call = libc::SYS_mkdirat.to_string();
        let at = libc::AT_FDCWD.to_string();
        let c = with(ctx, rules)?
            .set("/process/noNewPrivileges", no_new_privileges)
            .args(&["/bin/probe", "syscall", &call, &at, "s:/tmp/made", "511"])
            .create()?;
        let (_, listener) = socket.receive()?;
        let probe = ctx.probe.to_string_lossy().into_owned();
        let mut agent = ctx.host(&[probe.as_str(), "agent", "77"]).spawn_with(
            Stdio::from(listener),
            Stdio::null(),
            Stdio::null(),
        )?;
        c.start()?;
        c.wait_stdout("\"errno\":77")?;
        check!(
            !c.bundle.join("rootfs/tmp/made").exists(),
            "the call was made"
        );
        agent.child.kill()?;
        agent.wait()?;
    }
    Ok(())
}

fn notify_for_write_or_as_default_is_refused(ctx: &Ctx) -> Outcome {
    let (_socket, mut rules) = notify(ctx)?;
    rules["syscalls"][0]["names"] = json!(["mkdirat", "write"]);
    let b = with(ctx, rules)?;
    b.create_refused()?
        .says(&["/linux/seccomp/syscalls/0/names/1"])?;
    let (_socket, mut rules) = notify(ctx)?;
    rules["defaultAction"] = json!("SCMP_ACT_NOTIFY");
    with(ctx, rules)?
        .create_refused()?
        .says(&["/linux/seccomp/defaultAction"])?;
    Ok(())
}

fn notify_without_a_path_is_refused(ctx: &Ctx) -> Outcome {
    let (_socket, mut rules) = notify(ctx)?;
    rules["listenerPath"] = json!("");
    with(ctx, rules)?
        .create_refused()?
        .says(&["/linux/seccomp/listenerPath"])?;
    // A path that nobody asks for is not looked at.
    let mut rules = profile("SCMP_ACT_ERRNO");
    rules["listenerPath"] = json!("/nosuch/agent");
    rules["listenerMetadata"] = json!("unused");
    check_eq!(errno(with(ctx, rules)?)?, json!(libc::EPERM), "errno");
    Ok(())
}

/// Calls that give the process its user, groups and rights.
const CREDENTIALS: [&str; 12] = [
    "setuid",
    "setgid",
    "setgroups",
    "setresuid",
    "setresgid",
    "setreuid",
    "setregid",
    "setfsuid",
    "setfsgid",
    "umask",
    "capset",
    "chdir",
];

fn the_filter_comes_after_the_credentials_with_no_new_privileges(ctx: &Ctx) -> Outcome {
    let rules = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": CREDENTIALS, "action": "SCMP_ACT_KILL_PROCESS"}]});
    let facts = with(ctx, rules)?
        .set("/process/noNewPrivileges", true)
        .set(
            "/process/user",
            json!({"uid": 1000, "gid": 1000, "additionalGids": [7]}),
        )
        .facts()?;
    check_eq!(facts.status("Uid")?, "1000 1000 1000 1000", "user");
    check_eq!(facts.status("Groups")?, "7", "groups");
    check_eq!(facts.status("Seccomp")?, "2", "mode");
    Ok(())
}

fn the_filter_spares_the_runtime_all_but_a_few_calls(ctx: &Ctx) -> Outcome {
    // What comes after it without no_new_privs: the rights go, the wait for start, execve.
    let names = ["capset", "prctl", "read", "write", "close", "execve"];
    for no_new_privileges in [false, true] {
        let rules = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"},
            {"names": ["exit_group"], "action": "SCMP_ACT_ALLOW"}]});
        let b = with(ctx, rules)?
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .args(&["/bin/true"]);
        let c = b.create()?;
        // The program may well fail for want of calls; it has to be reached.
        c.start()?;
        c.delete_force()?.ok()?;
    }
    ctx.nothing_left()
}

fn architectures_of_other_machines_are_accepted(ctx: &Ctx) -> Outcome {
    let features = ctx.features()?;
    let archs = features["linux"]["seccomp"]["archs"].clone();
    check!(
        archs.as_array().is_some_and(|list| list.len() >= 18),
        "archs: {archs}"
    );
    let mut rules = profile("SCMP_ACT_ERRNO");
    rules["architectures"] = archs;
    check_eq!(errno(with(ctx, rules)?)?, json!(libc::EPERM), "errno");
    Ok(())
}

fn a_profile_that_names_newer_calls_knows_them(ctx: &Ctx) -> Outcome {
    // landlock_create_ruleset (444), cachestat (451), mseal (462): same on all architectures.
    for (name, number) in [
        ("landlock_create_ruleset", 444),
        ("cachestat", 451),
        ("mseal", 462),
    ] {
        let rules = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 88}]});
        let found = with(ctx, rules)?.probe(&["syscall", &number.to_string()])?;
        check_eq!(found["errno"], json!(88), "{name}");
    }
    Ok(())
}
