//! What is wrong in a section is found, and where.

use super::super::{Arch, SeccompError, check, compile};
use super::machine::verify;
use super::parse;
use crate::config::spec::{Seccomp, SeccompArg, SeccompSyscall};

fn error(text: &str) -> SeccompError {
    compile(&parse(text), Arch::X86_64).expect_err("must not compile")
}

#[test]
fn the_same_conditions_with_two_actions_are_refused() {
    let rule = |action: &str| {
        format!(
            r#"{{"names": ["socket"], "action": "{action}", "args": [{{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}}]}}"#
        )
    };
    let text = format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{}, {}]}}"#,
        rule("SCMP_ACT_ALLOW"),
        rule("SCMP_ACT_LOG")
    );
    assert_eq!(error(&text).pointer, "/linux/seccomp/syscalls/1");
}

#[test]
fn errors_point_at_what_is_wrong() {
    let rule = |member: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_LOG"}}, {member}]}}"#
        )
    };
    let arg = |arg: &str| {
        rule(&format!(
            r#"{{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{arg}]}}"#
        ))
    };
    for (text, pointer) in [
        (r#"{"defaultAction": "ALLOW"}"#.into(), "/defaultAction"),
        (
            r#"{"syscalls": [{"action": "SCMP_ACT_LOG"}]}"#.into(),
            "/defaultAction",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#.into(),
            "/defaultAction",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 65536}"#.into(),
            "/defaultErrnoRet",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86", "x86"]}"#
                .into(),
            "/architectures/1",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_LOG", "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}"#
                .into(),
            "/flags/0",
        ),
        (
            rule(r#"{"names": ["read"], "action": "SCMP_ACT_MAYBE"}"#),
            "/syscalls/1/action",
        ),
        (
            rule(r#"{"names": ["read", ""], "action": "SCMP_ACT_LOG"}"#),
            "/syscalls/1/names/1",
        ),
        (
            rule(r#"{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}"#),
            "/syscalls/1/names/0",
        ),
        (
            rule(r#"{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}"#),
            "/listenerPath",
        ),
        (
            rule(r#"{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99999}"#),
            "/syscalls/1/errnoRet",
        ),
        (
            arg(r#"{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}"#),
            "/syscalls/1/args/0/index",
        ),
        (
            arg(r#"{"index": 5, "value": 1, "op": "=="}"#),
            "/syscalls/1/args/0/op",
        ),
    ] {
        let found = check(&parse(&text)).expect_err(&text);
        assert_eq!(found.pointer, format!("/linux/seccomp{pointer}"), "{found}");
        assert_eq!(error(&text), found, "compile finds what check finds");
    }
}

#[test]
fn a_profile_that_is_too_long_is_refused() {
    let rule = |at: usize| SeccompSyscall {
        names: vec!["ioctl".into()],
        action: "SCMP_ACT_ALLOW".into(),
        errno_ret: None,
        args: (0..6)
            .map(|index| SeccompArg {
                index,
                value: (at as u64) << 33,
                value_two: 0,
                op: "SCMP_CMP_EQ".into(),
            })
            .collect(),
    };
    let section = |count| Seccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        syscalls: (0..count).map(rule).collect(),
        ..Seccomp::default()
    };
    let long = compile(&section(150), Arch::X86_64).expect("3,700 instructions");
    verify(&long.insns);
    let error = compile(&section(400), Arch::X86_64).expect_err("too long");
    assert_eq!(error.pointer, "/linux/seccomp/syscalls");
}
