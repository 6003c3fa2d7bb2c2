//! Sections made by chance, for tests.

use super::super::table::SYSCALLS;
use crate::config::spec::{Seccomp, SeccompArg, SeccompSyscall, Text};

/// xorshift64* (Marsaglia, Vigna): the same sequence for the same seed everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const VALUES: [u64; 14] = [
    0,
    1,
    2,
    9,
    16,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0010,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    0xffff_ffff_0000_0010,
    u64::MAX,
];

const NAMES: [&str; 14] = [
    "read",
    "socket",
    "personality",
    "clone",
    "semop",
    "ipc",
    "socketcall",
    "accept",
    "ioctl",
    "shmctl",
    "set_tls",
    "recvmmsg",
    "setxattrat",
    "no_such_call",
];

/// A section; its rules' actions are drawn from `actions`.
pub fn section(random: &mut Random, actions: &[&'static str]) -> Seccomp<'static> {
    let defaults = [
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_LOG",
        "SCMP_ACT_TRACE",
    ];
    let archs = [
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X32",
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_ARM",
        "SCMP_ARCH_RISCV64",
        "SCMP_ARCH_S390X",
    ];
    // Some are long enough that jumps need help to get across.
    let count = if random.one_in(15) {
        90
    } else {
        random.below(12)
    };
    Seccomp {
        default_action: random.pick(&defaults).into(),
        default_errno_ret: errno(random),
        architectures: archs
            .into_iter()
            .filter(|_| random.one_in(2))
            .map(Text::from)
            .collect(),
        listener_path: Some("/run/listener".into()),
        syscalls: (0..count).map(|_| syscall(random, actions)).collect(),
        ..Seccomp::default()
    }
}

fn errno(random: &mut Random) -> Option<u32> {
    [None, Some(0), Some(22), Some(38)][random.below(4)]
}

fn syscall(random: &mut Random, actions: &[&'static str]) -> SeccompSyscall<'static> {
    let mut names: Vec<Text<'_>> = (0..1 + random.below(3))
        .map(|_| random.pick(&NAMES).into())
        .collect();
    if random.one_in(3) {
        let some = random.below(SYSCALLS.len());
        let many = if random.one_in(4) { 200 } else { 5 };
        names.extend(
            (0..many).map(|_| Text::from(SYSCALLS[(some + random.below(300)) % SYSCALLS.len()].0)),
        );
        names.retain(|name| *name != "write");
    }
    let conditions = if random.one_in(3) {
        0
    } else {
        1 + random.below(3)
    };
    SeccompSyscall {
        names,
        action: random.pick(actions).into(),
        errno_ret: errno(random),
        args: (0..conditions).map(|_| condition(random)).collect(),
    }
}

fn condition(random: &mut Random) -> SeccompArg<'static> {
    let ops = [
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    ];
    SeccompArg {
        index: random.pick(&[0, 0, 1, 2, 5]),
        value: value(random),
        value_two: value(random),
        op: random.pick(&ops).into(),
    }
}

pub fn value(random: &mut Random) -> u64 {
    if random.one_in(4) {
        random.next()
    } else {
        random.pick(&VALUES)
    }
}
