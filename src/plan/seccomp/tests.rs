//! Differential tests: the compiled program, run by an interpreter of BPF, against a second
//! reading of the section; and tests of single promises.

mod machine;
mod oracle;
mod random;

use machine::{Data, run, verify};
use oracle::{Oracle, action_value, machine_archs};
use random::{Random, section as random_section};

use super::table::{ARM_PRIVATE, NONE, SYSCALLS};
use super::{Arch, Program, SeccompError, check, compile};
use crate::config::spec::{Seccomp, SeccompArg, SeccompSyscall};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO + 1;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO + 38;
const KILL: u32 = libc::SECCOMP_RET_KILL_THREAD;
const X32: u32 = 1 << 30;
const NATIVES: [Arch; 3] = [Arch::X86_64, Arch::Aarch64, Arch::Riscv64];

const DOCKER: &str = include_str!("fixtures/docker.json");

fn parse(text: &str) -> Seccomp<'_> {
    serde_json::from_str(text).expect("a section")
}

/// The program for a section that must be right.
fn program(text: &str, native: Arch) -> Program {
    let program = compile(&parse(text), native).expect("compiles");
    verify(&program.insns);
    program
}

/// What the filter says to a call on x86_64 with one argument.
fn verdict(program: &Program, nr: libc::c_long, first: u64) -> u32 {
    let audit = machine_archs(Arch::X86_64)[0].1;
    let data = Data {
        nr: nr as u32,
        arch: audit,
        args: [first, 0, 0, 0, 0, 0],
    };
    run(&program.insns, &data).0
}

fn error(text: &str) -> SeccompError {
    compile(&parse(text), Arch::X86_64).expect_err("must not compile")
}

/// Compares program and oracle over numbers, architectures and arguments; the number of
/// points compared.
fn compare(section: &Seccomp<'_>, native: Arch, random: &mut Random, what: &str) -> usize {
    let program = compile(section, native).unwrap_or_else(|error| panic!("{what}: {error}"));
    verify(&program.insns);
    let oracle = Oracle::new(section, native);
    let mut audits: Vec<u32> = machine_archs(native).iter().map(|arch| arch.1).collect();
    audits.dedup();
    audits.extend([0x4000_0003, 0x8000_0016, 0]);
    let low = (0..=600).flat_map(|nr| [nr, nr | X32]);
    let odd = [
        0x3fff_ffff,
        0x7fff_ffff,
        0x8000_0000,
        0xc000_0001,
        u32::MAX - 1,
        u32::MAX,
    ];
    let private = 0xe_fffe..0xf_0012;
    let mut points = 0;
    for nr in low.chain(odd).chain(private) {
        for &arch in &audits {
            let view = oracle.view(nr, arch);
            let interesting = view.interesting();
            let samples = if interesting.is_empty() {
                1
            } else {
                24 + 4 * interesting.len()
            };
            for sample in 0..samples {
                let mut args = [0; 6].map(|_: u64| random::value(random));
                for (index, arg) in args.iter_mut().enumerate() {
                    let values: Vec<u64> = interesting
                        .iter()
                        .filter(|it| it.0 == index)
                        .map(|it| it.1)
                        .collect();
                    if !values.is_empty() && !random.one_in(8) {
                        let one = values.get(sample).copied();
                        let value = one.unwrap_or_else(|| random.pick(&values));
                        *arg = near(random, value);
                    }
                }
                let data = Data { nr, arch, args };
                let (found, expected) = (run(&program.insns, &data).0, view.verdict(&data));
                assert_eq!(found, expected, "{what}: {data:#x?}\n{section:#?}");
                points += 1;
            }
        }
    }
    points
}

/// The value, or one that differs from it a little or in its high word.
fn near(random: &mut Random, value: u64) -> u64 {
    match random.below(8) {
        0 => value.wrapping_add(1),
        1 => value.wrapping_sub(1),
        2 => value ^ (1 << 32),
        3 => value ^ (1 << 63),
        4 => value & 0xffff_ffff,
        5 => value | 0xffff_ffff_0000_0000,
        _ => value,
    }
}

#[test]
fn random_sections_mean_what_a_second_reading_says() {
    let all = [
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
    ];
    let (mut points, mut contradictions) = (0, 0);
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    for seed in seed.map_or(0..240, |seed: u64| seed..seed + 1) {
        let mut random = Random::new(seed);
        let native = NATIVES[seed as usize % 3];
        let section = random_section(&mut random, &all);
        match compile(&section, native) {
            Err(error) if error.message.contains("another action") => contradictions += 1,
            _ => points += compare(&section, native, &mut random, &format!("SEED={seed}")),
        }
    }
    println!("{points} points, {contradictions} contradictory sections");
    assert!(
        contradictions < 40,
        "{contradictions} contradictory sections"
    );
}

#[test]
fn docker_profile_means_what_a_second_reading_says() {
    let mut section = parse(DOCKER);
    let mut random = Random::new(1);
    compare(&section, Arch::X86_64, &mut random, "docker");
    section.default_errno_ret = None;
    compare(&section, Arch::X86_64, &mut random, "docker with EPERM");
    section.architectures.clear();
    for native in NATIVES {
        compare(&section, native, &mut random, "docker, native alone");
    }
    section.architectures = vec!["SCMP_ARCH_ARM".into()];
    compare(&section, Arch::Aarch64, &mut random, "docker on ARM");
}

/// Podman's profile for amd64 and no capabilities, from its own format.
fn installed_profile(text: &str) -> Option<Seccomp<'_>> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Filter {
        arches: Option<Vec<String>>,
        caps: Option<Vec<String>>,
    }
    let whole: serde_json::Value = serde_json::from_str(text).ok()?;
    let mut section: Seccomp<'_> = serde_json::from_str(text).ok()?;
    let mut filters = whole["syscalls"].as_array()?.iter().map(|rule| {
        let read =
            |key: &str| serde_json::from_value::<Filter>(rule[key].clone()).unwrap_or_default();
        let includes = read("includes");
        includes.caps.is_none()
            && includes
                .arches
                .is_none_or(|arches| arches.iter().any(|it| it == "amd64"))
    });
    section.syscalls.retain(|_| filters.next().unwrap_or(false));
    section.architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        .map(Into::into)
        .into();
    Some(section)
}

#[test]
fn installed_profile_of_podman_means_what_a_second_reading_says() {
    let path = "/usr/share/containers/seccomp.json";
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("skipped: {path} is not installed");
        return;
    };
    let section = installed_profile(&text).expect("a profile");
    compare(&section, Arch::X86_64, &mut Random::new(2), path);
}

#[test]
fn docker_profile_is_short_and_shallow() {
    let mut section = parse(DOCKER);
    for errno in [section.default_errno_ret, None] {
        section.default_errno_ret = errno;
        let program = compile(&section, Arch::X86_64).expect("compiles");
        let arch = machine_archs(Arch::X86_64)[0].1;
        let steps = |nr| {
            run(
                &program.insns,
                &Data {
                    nr,
                    arch,
                    args: [0; 6],
                },
            )
            .1
        };
        let deepest = (0..500).map(steps).max().expect("some");
        println!(
            "default errno {errno:?}: {} instructions, at most {deepest} steps",
            program.insns.len()
        );
        assert!(
            program.insns.len() <= 330,
            "{} instructions",
            program.insns.len()
        );
        assert!(deepest <= 24, "{deepest} steps");
    }
}

#[test]
fn numbers_are_those_of_the_kernel() {
    let number = |name: &str, arch: Arch| super::arch::find(name).and_then(|row| arch.number(row));
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
    let of = |arch, nr| {
        run(
            &program.insns,
            &Data {
                nr,
                arch,
                args: [0; 6],
            },
        )
        .0
    };
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
    let of = |nr, first| {
        run(
            &program.insns,
            &Data {
                nr,
                arch: 0x4000_0003,
                args: [first, 0, 0, 0, 0, 0],
            },
        )
        .0
    };
    assert_eq!([of(359, 9), of(102, 1), of(102, 2)], [ALLOW, ALLOW, EPERM]);
    assert_eq!([of(117, 1), of(117, 2)], [ALLOW, EPERM]);
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
fn flags_are_those_given_or_spec_allow() {
    let flags = |list: &str| {
        program(
            &format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "flags": {list}}}"#),
            Arch::X86_64,
        )
        .flags
    };
    assert_eq!(flags("null"), 4);
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
