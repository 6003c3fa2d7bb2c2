//! linux.seccomp: a section made of the input's choices is compiled for every architecture,
//! and the program, run by an interpreter of BPF, has to say what a second, plainer reading of
//! the section says (src/plan/seccomp/tests/oracle.rs).
#![no_main]

use corten::config::spec::{Seccomp, SeccompArg, SeccompSyscall, Text};
use corten::plan::seccomp::{self, Arch, require_agreement};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

/// Calls of every kind: by argument, multiplexed on i386, of some architectures alone, of two
/// numbers, new, unknown. The rest of the table is reached by number.
const NAMES: [&str; 30] = [
    "read",
    "openat",
    "socket",
    "bind",
    "accept",
    "accept4",
    "socketcall",
    "personality",
    "clone",
    "clone3",
    "ioctl",
    "semop",
    "semtimedop",
    "ipc",
    "shmctl",
    "msgget",
    "set_tls",
    "breakpoint",
    "cacheflush",
    "recvmmsg",
    "setxattrat",
    "riscv_flush_icache",
    "arch_prctl",
    "fcntl64",
    "clock_gettime64",
    "futex",
    "futex_waitv",
    "exit_group",
    "rt_sigreturn",
    "no_such_call",
];

const VALUES: [u64; 12] = [
    0,
    1,
    2,
    16,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0010,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    u64::MAX,
];

const AUDIT_ARCHS: [u32; 7] = [
    0xc000_003e,
    0x4000_0003,
    0xc000_00b7,
    0x4000_0028,
    0xc000_00f3,
    0x8000_0016,
    0,
];

fuzz_target!(|bytes: &[u8]| {
    // Input that is too short for its choices is no input.
    let _ = compare(&mut Unstructured::new(bytes));
});

fn compare(input: &mut Unstructured<'_>) -> Result<()> {
    let native = *input.choose(&[Arch::X86_64, Arch::Aarch64, Arch::Riscv64])?;
    let section = section(input)?;
    let mut calls = Vec::new();
    for _ in 0..32 {
        calls.push(call(input, &section)?);
    }
    require_agreement(&section, native, &calls);
    Ok(())
}

fn section(input: &mut Unstructured<'_>) -> Result<Seccomp<'static>> {
    let mut architectures = Vec::new();
    for name in seccomp::known_archs() {
        if input.ratio(1, 3)? {
            architectures.push(Text::from(*name));
        }
    }
    let mut section = Seccomp {
        default_action: action(input, &["SCMP_ACT_NOTIFY"])?,
        default_errno_ret: errno(input)?,
        architectures,
        listener_path: Some("/run/listener".into()),
        ..Seccomp::default()
    };
    for _ in 0..input.int_in_range(0..=12)? {
        section.syscalls.push(rule(input)?);
    }
    Ok(section)
}

fn rule(input: &mut Unstructured<'_>) -> Result<SeccompSyscall<'static>> {
    let mut rule = SeccompSyscall {
        action: action(input, &[])?,
        errno_ret: errno(input)?,
        ..SeccompSyscall::default()
    };
    for _ in 0..input.int_in_range(1..=4)? {
        rule.names.push((*input.choose(&NAMES)?).into());
    }
    for _ in 0..input.int_in_range(0..=3)? {
        rule.args.push(SeccompArg {
            index: input.int_in_range(0..=5)?,
            value: value(input)?,
            value_two: value(input)?,
            op: (*input.choose(seccomp::known_operators())?).into(),
        });
    }
    Ok(rule)
}

fn action(input: &mut Unstructured<'_>, but: &[&str]) -> Result<Text<'static>> {
    let actions = seccomp::known_actions();
    let action = *input.choose(actions)?;
    Ok(if but.contains(&action) {
        actions[0]
    } else {
        action
    }
    .into())
}

fn errno(input: &mut Unstructured<'_>) -> Result<Option<u32>> {
    Ok(*input.choose(&[None, Some(0), Some(1), Some(38), Some(4095)])?)
}

fn value(input: &mut Unstructured<'_>) -> Result<u64> {
    if input.ratio(1, 4)? {
        input.arbitrary()
    } else {
        Ok(*input.choose(&VALUES)?)
    }
}

/// A call; its arguments lie at what the section compares with, or beside it.
fn call(input: &mut Unstructured<'_>, section: &Seccomp<'_>) -> Result<(u32, u32, [u64; 6])> {
    let nr: u32 = match input.int_in_range(0..=3u8)? {
        0 => input.arbitrary()?,
        1 => 0xf_0000 + input.int_in_range(0..=16)?,
        2 => (1 << 30) + input.int_in_range(0..=550)?,
        _ => input.int_in_range(0..=550)?,
    };
    let conditions: Vec<&SeccompArg<'_>> = section
        .syscalls
        .iter()
        .flat_map(|rule| &rule.args)
        .collect();
    let mut args = [0; 6];
    if !conditions.is_empty() {
        for _ in 0..3 {
            let at = *input.choose(&conditions)?;
            let value = if input.arbitrary()? {
                at.value
            } else {
                at.value_two
            };
            args[at.index as usize] = match input.int_in_range(0..=5u8)? {
                0 => value.wrapping_add(1),
                1 => value.wrapping_sub(1),
                2 => value ^ (1 << 32),
                3 => value & at.value,
                _ => value,
            };
        }
    }
    Ok((nr, *input.choose(&AUDIT_ARCHS)?, args))
}
