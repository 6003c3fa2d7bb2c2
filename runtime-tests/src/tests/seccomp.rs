//! Seccomp: what a process really gets when it makes a call that is denied.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Outcome, skip};
use crate::sockets::FdSocket;
use crate::{check, check_eq, tests};
use serde_json::{Value, json};

tests!("seccomp":
    without_a_profile_there_is_no_filter,
    with_a_profile_the_filter_is_on,
    a_denied_call_gets_the_rules_errno,
    a_denied_call_gets_eperm_by_default,
    default_errno_is_used_for_calls_without_a_rule,
    calls_newer_than_the_profile_get_enosys,
    old_calls_without_a_rule_get_the_default_errno,
    kill_process_ends_it_with_sigsys,
    trap_ends_it_with_sigsys,
    every_operator_compares_as_it_says,
    arguments_are_compared_with_64_bits,
    conditions_on_different_arguments_must_all_hold,
    several_conditions_on_one_argument_are_alternatives,
    different_rules_for_one_call_each_apply,
    unknown_syscall_names_are_ignored,
    a_32_bit_call_is_filtered_by_name_when_its_architecture_is_listed,
    a_32_bit_call_is_not_allowed_when_its_architecture_is_not_listed,
    it_works_with_no_new_privileges,
    it_works_for_another_user_without_no_new_privileges,
    an_allow_list_lets_a_container_start,
    a_big_profile_of_an_engine_lets_a_shell_run,
    the_agent_receives_the_listener_of_notify,
    notify_without_an_agent_is_refused,
);

const ARCHES: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];

/// A profile that allows all but these rules.
fn deny(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ARCHES, "syscalls": rules})
}

fn errno_rule(names: &[&str], errno: i32) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno})
}

/// The errno of one call (0 when it succeeds) under a profile.
fn errno(ctx: &Ctx, profile: &Value, word: &str, call: &[i64]) -> Outcome<Value> {
    let mut args = vec![word.to_string()];
    args.extend(call.iter().map(i64::to_string));
    let b = Bundle::new(ctx)?.set("/linux/seccomp", profile.clone());
    Ok(b.probe(&args)?["errno"].clone())
}

fn only_x86_64() -> Outcome {
    if cfg!(not(target_arch = "x86_64")) {
        return skip("system call numbers here are those of x86_64");
    }
    Ok(())
}

fn without_a_profile_there_is_no_filter(ctx: &Ctx) -> Outcome {
    check_eq!(Bundle::new(ctx)?.facts()?.status("Seccomp")?, "0", "mode");
    Ok(())
}

fn with_a_profile_the_filter_is_on(ctx: &Ctx) -> Outcome {
    let profile = deny(json!([errno_rule(&["mount"], 1)]));
    let facts = Bundle::new(ctx)?.set("/linux/seccomp", profile).facts()?;
    check_eq!(facts.status("Seccomp")?, "2", "mode");
    check_eq!(facts.status("Seccomp_filters")?, "1", "number of filters");
    Ok(())
}

fn a_denied_call_gets_the_rules_errno(ctx: &Ctx) -> Outcome {
    for number in [1, 13, 38, 133] {
        let profile = deny(json!([errno_rule(&["getcpu", "sync"], number)]));
        check_eq!(
            errno(ctx, &profile, "syscall", &[libc::SYS_sync])?,
            json!(number),
            "errno"
        );
    }
    Ok(())
}

fn a_denied_call_gets_eperm_by_default(ctx: &Ctx) -> Outcome {
    let profile = deny(json!([{"names": ["sync"], "action": "SCMP_ACT_ERRNO"}]));
    check_eq!(
        errno(ctx, &profile, "syscall", &[libc::SYS_sync])?,
        json!(libc::EPERM),
        "errno"
    );
    Ok(())
}

/// An allow list of every call up to Linux 5.11, without `sync`, so that programs run.
fn allow_list(default_errno: Option<i32>) -> Value {
    let mut profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ARCHES,
        "syscalls": [{"action": "SCMP_ACT_ALLOW", "names": [
            "access", "arch_prctl", "brk", "capget", "capset", "chdir", "clone", "clone3", "close",
            "close_range", "dup", "dup2", "dup3", "epoll_create1", "epoll_ctl", "epoll_pwait",
            "epoll_pwait2", "eventfd2", "execve", "execveat", "exit", "exit_group", "faccessat",
            "faccessat2", "fchdir", "fchown", "fcntl", "fstat", "fstatfs", "futex", "getcwd",
            "getdents", "getdents64", "getegid", "geteuid", "getgid", "getpgrp", "getpid", "getppid",
            "getrandom", "getrlimit", "getsid", "gettid", "getuid", "ioctl", "lseek", "lstat",
            "madvise", "membarrier", "mkdirat", "mmap", "mount_setattr", "mprotect", "mremap",
            "munmap", "nanosleep", "newfstatat", "open", "openat", "openat2", "pipe2", "poll",
            "ppoll", "prctl", "pread64", "prlimit64", "read", "readlink", "readlinkat", "readv",
            "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
            "sched_getaffinity", "sched_yield", "set_robust_list", "set_tid_address", "setgid",
            "setgroups", "setresgid", "setresuid", "setsid", "setuid", "sigaltstack", "stat",
            "statfs", "statx", "tgkill", "uname", "wait4", "waitid", "write", "writev",
            "process_madvise", "epoll_pwait2"
        ]}]
    });
    if let Some(errno) = default_errno {
        profile["defaultErrnoRet"] = json!(errno);
    }
    profile
}

fn default_errno_is_used_for_calls_without_a_rule(ctx: &Ctx) -> Outcome {
    let call = [libc::SYS_sync];
    check_eq!(
        errno(ctx, &allow_list(Some(77)), "syscall", &call)?,
        json!(77),
        "with defaultErrnoRet"
    );
    check_eq!(
        errno(ctx, &allow_list(None), "syscall", &call)?,
        json!(libc::EPERM),
        "without"
    );
    Ok(())
}

fn calls_newer_than_the_profile_get_enosys(ctx: &Ctx) -> Outcome {
    only_x86_64()?;
    // mount_setattr (442) is the newest call that the profile knows.
    for number in [451, 462, 480, 1000] {
        let found = errno(ctx, &allow_list(Some(1)), "syscall", &[number])?;
        check_eq!(found, json!(libc::ENOSYS), "errno of call {number}");
    }
    Ok(())
}

fn old_calls_without_a_rule_get_the_default_errno(ctx: &Ctx) -> Outcome {
    only_x86_64()?;
    // acct, sched_rr_get_interval, name_to_handle_at, pidfd_getfd: older than the newest known.
    for number in [163, 148, 303, 438] {
        let found = errno(ctx, &allow_list(Some(1)), "syscall", &[number])?;
        check_eq!(found, json!(1), "errno of call {number}");
    }
    Ok(())
}

fn ends_with_sigsys(ctx: &Ctx, action: &str) -> Outcome {
    let profile = deny(json!([{"names": ["sync"], "action": action}]));
    // Not as pid 1 itself: what counts is that the whole process ends.
    let b = Bundle::new(ctx)?.set("/linux/seccomp", profile);
    let b = b.args(&["/bin/probe", "syscall", &libc::SYS_sync.to_string()]);
    b.run()?.code_is(128 + libc::SIGSYS)?;
    ctx.nothing_left()
}

fn kill_process_ends_it_with_sigsys(ctx: &Ctx) -> Outcome {
    ends_with_sigsys(ctx, "SCMP_ACT_KILL_PROCESS")
}

fn trap_ends_it_with_sigsys(ctx: &Ctx) -> Outcome {
    ends_with_sigsys(ctx, "SCMP_ACT_TRAP")
}

/// `getpgid(value)` succeeds for 0 only; under a rule it gets errno 99 where the rule fits.
fn fits(ctx: &Ctx, args: Value, value: i64) -> Outcome<bool> {
    let mut rule = errno_rule(&["getpgid"], 99);
    rule["args"] = args;
    Ok(errno(
        ctx,
        &deny(json!([rule])),
        "syscall",
        &[libc::SYS_getpgid, value],
    )? == json!(99))
}

fn every_operator_compares_as_it_says(ctx: &Ctx) -> Outcome {
    let cases: [(&str, [bool; 3]); 6] = [
        ("SCMP_CMP_EQ", [false, true, false]),
        ("SCMP_CMP_NE", [true, false, true]),
        ("SCMP_CMP_LT", [true, false, false]),
        ("SCMP_CMP_LE", [true, true, false]),
        ("SCMP_CMP_GE", [false, true, true]),
        ("SCMP_CMP_GT", [false, false, true]),
    ];
    for (op, wanted) in cases {
        for (value, wanted) in [(4999, wanted[0]), (5000, wanted[1]), (5001, wanted[2])] {
            let args = json!([{"index": 0, "value": 5000, "op": op}]);
            check_eq!(fits(ctx, args, value)?, wanted, "{op} 5000 fits {value}");
        }
    }
    for (value, wanted) in [
        (0x1230, true),
        (0x5230, true),
        (0x1231, false),
        (0x1330, false),
    ] {
        // Masked: (argument & value) == valueTwo.
        let args =
            json!([{"index": 0, "value": 0xfff, "valueTwo": 0x230, "op": "SCMP_CMP_MASKED_EQ"}]);
        check_eq!(fits(ctx, args, value)?, wanted, "masked fits {value:#x}");
    }
    Ok(())
}

fn arguments_are_compared_with_64_bits(ctx: &Ctx) -> Outcome {
    let high = 0x1_0000_1388i64;
    for (op, value, wanted) in [
        ("SCMP_CMP_EQ", 0x1388, false),
        ("SCMP_CMP_EQ", high, true),
        ("SCMP_CMP_LT", 0x1389, true),
        ("SCMP_CMP_LT", 0x2_0000_0000, false),
        ("SCMP_CMP_GT", 0x2_0000_0000, true),
    ] {
        let args = json!([{"index": 0, "value": high, "op": op}]);
        check_eq!(
            fits(ctx, args, value)?,
            wanted,
            "{op} {high:#x} fits {value:#x}"
        );
    }
    Ok(())
}

fn conditions_on_different_arguments_must_all_hold(ctx: &Ctx) -> Outcome {
    let mut rule = errno_rule(&["getpriority"], 99);
    rule["args"] = json!([
        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
        {"index": 1, "value": 7777, "op": "SCMP_CMP_EQ"}
    ]);
    let profile = deny(json!([rule]));
    for (which, who, wanted) in [(1, 7777, true), (1, 7778, false), (0, 7777, false)] {
        let found = errno(
            ctx,
            &profile,
            "syscall",
            &[libc::SYS_getpriority, which, who],
        )?;
        check_eq!(found == json!(99), wanted, "fits {which}, {who}");
    }
    Ok(())
}

fn several_conditions_on_one_argument_are_alternatives(ctx: &Ctx) -> Outcome {
    // As runc and crun do: more than one condition on the same argument is one rule each.
    for (value, wanted) in [(5000, true), (6000, true), (7000, false)] {
        let args = json!([
            {"index": 0, "value": 5000, "op": "SCMP_CMP_EQ"},
            {"index": 0, "value": 6000, "op": "SCMP_CMP_EQ"}
        ]);
        check_eq!(fits(ctx, args, value)?, wanted, "fits {value}");
    }
    Ok(())
}

fn different_rules_for_one_call_each_apply(ctx: &Ctx) -> Outcome {
    let rules: Vec<Value> = [(5000, 91), (6000, 92)]
        .iter()
        .map(|(value, errno)| {
            let mut rule = errno_rule(&["getpgid"], *errno);
            rule["args"] = json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]);
            rule
        })
        .collect();
    let profile = deny(json!(rules));
    for (value, wanted) in [(5000, 91), (6000, 92), (7000, libc::ESRCH)] {
        let found = errno(ctx, &profile, "syscall", &[libc::SYS_getpgid, value])?;
        check_eq!(found, json!(wanted), "errno for {value}");
    }
    Ok(())
}

fn unknown_syscall_names_are_ignored(ctx: &Ctx) -> Outcome {
    let profile = deny(json!([errno_rule(&["no_such_call", "sync"], 55)]));
    check_eq!(
        errno(ctx, &profile, "syscall", &[libc::SYS_sync])?,
        json!(55),
        "errno"
    );
    Ok(())
}

/// `sync` in the i386 table.
const SYNC_32: i64 = 36;

fn has_32_bit(ctx: &Ctx) -> Outcome {
    only_x86_64()?;
    let probe = ctx.probe.to_string_lossy().into_owned();
    let output = ctx.host(&[probe.as_str(), "syscall32", "20"]).run()?;
    if output.code != 0 {
        return skip("the kernel has no 32-bit system calls");
    }
    Ok(())
}

fn a_32_bit_call_is_filtered_by_name_when_its_architecture_is_listed(ctx: &Ctx) -> Outcome {
    has_32_bit(ctx)?;
    let profile = deny(json!([errno_rule(&["sync"], 66)]));
    check_eq!(
        errno(ctx, &profile, "syscall32", &[SYNC_32])?,
        json!(66),
        "errno of sync"
    );
    check_eq!(
        errno(ctx, &profile, "syscall32", &[20])?,
        json!(0),
        "errno of getpid"
    );
    // 162 is sync on x86_64 and nanosleep on i386: numbers must not be mixed up.
    check_eq!(
        errno(ctx, &profile, "syscall32", &[162])?,
        json!(libc::EFAULT),
        "errno of nanosleep"
    );
    Ok(())
}

fn a_32_bit_call_is_not_allowed_when_its_architecture_is_not_listed(ctx: &Ctx) -> Outcome {
    has_32_bit(ctx)?;
    let mut profile = deny(json!([errno_rule(&["sync"], 66)]));
    profile["architectures"] = json!(["SCMP_ARCH_X86_64"]);
    let b =
        Bundle::new(ctx)?
            .set("/linux/seccomp", profile)
            .args(&["/bin/probe", "syscall32", "20"]);
    let output = b.run()?;
    let killed = output.code == 128 + libc::SIGSYS;
    check!(
        killed,
        "a call of a foreign architecture was not killed: {} {}",
        output.code,
        output.stdout
    );
    Ok(())
}

fn it_works_with_no_new_privileges(ctx: &Ctx) -> Outcome {
    let profile = deny(json!([errno_rule(&["sync"], 44)]));
    let b = Bundle::new(ctx)?
        .set("/linux/seccomp", profile)
        .set("/process/noNewPrivileges", true)
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let found = b.probe(&["syscall", &libc::SYS_sync.to_string()])?;
    check_eq!(found["errno"], json!(44), "errno");
    Ok(())
}

fn it_works_for_another_user_without_no_new_privileges(ctx: &Ctx) -> Outcome {
    let profile = deny(json!([errno_rule(&["sync"], 44)]));
    let b = Bundle::new(ctx)?
        .set("/linux/seccomp", profile)
        .capabilities(&[])
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let facts = b.facts()?;
    check_eq!(facts.status("NoNewPrivs")?, "0", "no_new_privs");
    check_eq!(facts.status("Seccomp")?, "2", "mode");
    Ok(())
}

fn an_allow_list_lets_a_container_start(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .set("/linux/seccomp", allow_list(None))
        .args(&["/bin/echo", "fine"]);
    check_eq!(b.run()?.ok()?.stdout, "fine\n", "output");
    Ok(())
}

fn a_big_profile_of_an_engine_lets_a_shell_run(ctx: &Ctx) -> Outcome {
    let config = super::engines::config("docker")?;
    let b = Bundle::new(ctx)?
        .set("/linux/seccomp", config["linux"]["seccomp"].clone())
        .shell("ls / | grep -c . >/dev/null && ps >/dev/null && /bin/probe syscall 246 0 0 0 0");
    let said = b.run()?.ok()?.stdout;
    check!(
        said.contains("\"errno\":1,"),
        "kexec_load under an engine's profile: {said}"
    );
    Ok(())
}

/// A profile that asks the agent at `path` about mkdir.
fn notify(path: &str) -> Value {
    let rules = json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]);
    let mut profile = deny(rules);
    profile["listenerPath"] = json!(path);
    profile["listenerMetadata"] = json!("a note");
    profile
}

fn the_agent_receives_the_listener_of_notify(ctx: &Ctx) -> Outcome {
    let socket = FdSocket::bind(&ctx.dir.join("agent"))?;
    let profile = notify(&socket.path.to_string_lossy());
    let b = Bundle::new(ctx)?
        .set("/linux/seccomp", profile)
        .args(&["/bin/sleep", "1000"]);
    let c = b.create()?;
    let (text, fd) = socket.receive()?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&fd);
    let kind = std::fs::read_link(format!("/proc/self/fd/{number}"))?;
    check_eq!(
        kind.to_string_lossy(),
        "anon_inode:seccomp notify",
        "the descriptor"
    );
    let state: Value = serde_json::from_str(&text)?;
    check_eq!(
        state["fds"],
        json!(["seccompFd"]),
        "names of the descriptors"
    );
    check_eq!(state["metadata"], json!("a note"), "metadata");
    check_eq!(state["pid"], json!(c.pid()?), "pid");
    check_eq!(state["state"]["status"], json!("creating"), "status");
    c.start()?;
    c.status_is("running")
}

fn notify_without_an_agent_is_refused(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/linux/seccomp", notify("/nosuch/agent"));
    b.verb::<&str>("create", &[])?
        .run()?
        .refused()?
        .says(&["seccomp agent"])?;
    ctx.nothing_left()
}
