//! Single promises about what a section means.

use super::super::table::{ARM_PRIVATE, NONE, SYSCALLS};
use super::super::{Arch, Program, arch, compile};
use super::machine::{Data, run, verify};
use super::oracle::{action_value, machine_archs};
use super::parse;
use crate::config::spec::Seccomp;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO + 1;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO + 38;
const KILL: u32 = libc::SECCOMP_RET_KILL_THREAD;
const X32: u32 = 1 << 30;

/// The program for a section that must be right.
fn program(text: &str, native: Arch) -> Program {
    let program = compile(&parse(text), native).expect("compiles");
    verify(&program.insns);
    program
}

/// What the filter says to a call on x86_64 with one argument.
fn verdict(program: &Program, nr: libc::c_long, first: u64) -> u32 {
    let audit = machine_archs(Arch::X86_64)[0].1;
    run(&program.insns, &Data::new(audit, nr as u32, first)).0
}

#[test]
fn numbers_are_those_of_the_kernel() {
    let number = |name: &str, arch: Arch| arch::find(name).and_then(|row| arch.number(row));
    for (name, native, x86, arm64) in [
        ("read", 0, 3, 63),
        ("openat", 257, 295, 56),
        ("execve", 59, 11, 221),
        ("clone3", 435, 435, 435),
        ("setxattrat", 463, 463, 463),
        ("file_setattr", 469, 469, 469),
        ("listns", 470, 470, 470),
    ] {
        assert_eq!(number(name, Arch::X86_64), Some(native), "{name}");
        assert_eq!(number(name, Arch::X86), Some(x86), "{name}");
        assert_eq!(number(name, Arch::Aarch64), Some(arm64), "{name}");
    }
    assert_eq!(number("execve", Arch::X32), Some(520));
    assert_eq!(number("newfstatat", Arch::Aarch64), Some(79));
    assert_eq!(number("riscv_flush_icache", Arch::Riscv64), Some(259));
    assert_eq!(number("set_tls", Arch::Arm), Some(0xf0005));
    assert_eq!(number("open", Arch::Aarch64), None);
}

#[test]
fn table_is_sorted_and_fits_the_slots() {
    assert!(SYSCALLS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let numbers = SYSCALLS.iter().flat_map(|row| &row.1[..6]);
    for &number in numbers.filter(|number| **number != NONE) {
        let dense = number < 560;
        let private = (ARM_PRIVATE..ARM_PRIVATE + 16).contains(&number);
        assert!(dense || private, "{number}");
    }
}

#[test]
fn calls_newer_than_the_profile_get_enosys() {
    let rules = r#""syscalls": [{"names": ["read", "clone3"], "action": "SCMP_ACT_ALLOW"}]"#;
    for (default, known, newer) in [
        ("SCMP_ACT_ERRNO", EPERM, ENOSYS),
        ("SCMP_ACT_KILL", KILL, ENOSYS),
        ("SCMP_ACT_TRAP", libc::SECCOMP_RET_TRAP, ENOSYS),
        ("SCMP_ACT_LOG", libc::SECCOMP_RET_LOG, libc::SECCOMP_RET_LOG),
        (
            "SCMP_ACT_TRACE",
            libc::SECCOMP_RET_TRACE + 1,
            libc::SECCOMP_RET_TRACE + 1,
        ),
    ] {
        let program = program(
            &format!(r#"{{"defaultAction": "{default}", {rules}}}"#),
            Arch::X86_64,
        );
        assert_eq!(verdict(&program, 435, 0), ALLOW, "{default}");
        assert_eq!(verdict(&program, 434, 0), known, "{default}");
        assert_eq!(verdict(&program, 436, 0), newer, "{default}");
        assert_eq!(verdict(&program, 0x3fff_ffff, 0), newer, "{default}");
    }
}

#[test]
fn rules_that_repeat_the_default_still_count_as_known() {
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}"#;
    let program = program(text, Arch::X86_64);
    assert_eq!(verdict(&program, 435, 0), EPERM);
    assert_eq!(verdict(&program, 436, 0), ENOSYS);
}

#[test]
fn unlisted_architectures_are_killed() {
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"]}"#;
    let program = program(text, Arch::X86_64);
    let of = |arch, nr| run(&program.insns, &Data::new(arch, nr, 0)).0;
    assert_eq!(of(0xc000_003e, 1), ALLOW, "native");
    assert_eq!(of(0x4000_0003, 1), KILL, "i386");
    assert_eq!(of(0xc000_003e, 1 | X32), KILL, "x32");
    assert_eq!(
        of(0xc000_003e, u32::MAX),
        ALLOW,
        "a call that a tracer skips"
    );
}

#[test]
fn a_rule_without_conditions_beats_those_with() {
    let conditional = r#"{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22,
        "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]}"#;
    let plain = r#"{"names": ["socket"], "action": "SCMP_ACT_ALLOW"}"#;
    let later = r#"{"names": ["socket"], "action": "SCMP_ACT_LOG"}"#;
    for rules in [
        format!("{conditional}, {plain}, {later}"),
        format!("{plain}, {later}, {conditional}"),
    ] {
        let text = format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{rules}]}}"#);
        assert_eq!(
            verdict(&program(&text, Arch::X86_64), libc::SYS_socket, 16),
            ALLOW
        );
    }
}

#[test]
fn several_conditions_on_one_argument_are_alternatives() {
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["personality"],
        "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"},
        {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}]}"#;
    let program = program(text, Arch::X86_64);
    let of = |value| verdict(&program, libc::SYS_personality, value);
    assert_eq!(
        [of(0), of(8), of(1), of(1 << 32)],
        [ALLOW, ALLOW, EPERM, EPERM]
    );
}

#[test]
fn socketcall_follows_the_rules_for_the_calls_in_it() {
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["socket", "semop"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let program = program(text, Arch::X86_64);
    let of = |nr, first| run(&program.insns, &Data::new(0x4000_0003, nr, first)).0;
    assert_eq!([of(359, 9), of(102, 1), of(102, 2)], [ALLOW, ALLOW, EPERM]);
    assert_eq!([of(117, 1), of(117, 2)], [ALLOW, EPERM]);
}

#[test]
fn flags_are_those_given_or_spec_allow() {
    let flags = |list: &str| {
        program(
            &format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "flags": {list}}}"#),
            Arch::X86_64,
        )
        .flags
    };
    assert_eq!(flags("null"), 4);
    assert_eq!(flags("[]"), 0);
    assert_eq!(flags(r#"["SECCOMP_FILTER_FLAG_LOG"]"#), 2);
    assert_eq!(
        flags(r#"["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]"#),
        4
    );
    assert_eq!(
        flags(r#"["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#),
        0,
        "no listener to wait for"
    );
}

#[test]
fn notify_asks_for_a_listener() {
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/l",
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#;
    let program = program(text, Arch::X86_64);
    assert!(program.notify);
    assert_eq!(program.flags, 8 + 32);
    assert_eq!(
        verdict(&program, libc::SYS_mkdir, 0),
        action_value("SCMP_ACT_NOTIFY", None)
    );
}

#[test]
fn an_errno_where_none_is_taken_is_ignored() {
    let text = r#"{"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 5, "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 70000}]}"#;
    assert_eq!(
        verdict(&program(text, Arch::X86_64), libc::SYS_read, 0),
        ALLOW
    );
}

#[test]
fn a_long_unknown_name_is_cut_in_its_warning() {
    let name = "x".repeat(10_000);
    let text = format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {{"names": ["{name}"], "action": "SCMP_ACT_ALLOW"}}]}}"#
    );
    let warnings = program(&text, Arch::X86_64).warnings;
    assert!(warnings[0].len() < 200, "{warnings:?}");
}

#[test]
fn unknown_names_are_ignored_with_a_warning() {
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read", "frobnicate", "s390_runtime_instr"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let warnings = program(text, Arch::X86_64).warnings;
    let expected =
        r#"unknown system call "frobnicate" ignored (/linux/seccomp/syscalls/0/names/1)"#;
    assert_eq!(warnings, [expected]);
}

#[test]
fn an_empty_section_is_no_filter() {
    let program = compile(&Seccomp::default(), Arch::NATIVE).expect("compiles");
    assert_eq!((program.insns.len(), program.flags), (0, 0));
}
