//! A second reading of `linux.seccomp`, for tests: it takes the section rule by rule for
//! each call and knows nothing of the compiler's but the table of numbers.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::super::Arch;
use super::super::table::{ARM_PRIVATE, NONE, SYSCALLS};
use super::machine::Data;
use crate::config::spec::{Seccomp, SeccompArg, SeccompSyscall};

const X32: u32 = 1 << 30;

pub fn action_value(action: &str, errno: Option<u32>) -> u32 {
    let errno = errno.unwrap_or(libc::EPERM as u32);
    match action {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => libc::SECCOMP_RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => libc::SECCOMP_RET_KILL_PROCESS,
        "SCMP_ACT_TRAP" => libc::SECCOMP_RET_TRAP,
        "SCMP_ACT_ERRNO" => libc::SECCOMP_RET_ERRNO + errno,
        "SCMP_ACT_TRACE" => libc::SECCOMP_RET_TRACE + errno,
        "SCMP_ACT_ALLOW" => libc::SECCOMP_RET_ALLOW,
        "SCMP_ACT_LOG" => libc::SECCOMP_RET_LOG,
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        other => panic!("action {other}"),
    }
}

/// The architectures that can occur on a machine, with what the kernel calls them.
pub fn machine_archs(native: Arch) -> Vec<(Arch, u32, &'static str)> {
    match native {
        Arch::Aarch64 => vec![
            (Arch::Aarch64, 0xc000_00b7, "SCMP_ARCH_AARCH64"),
            (Arch::Arm, 0x4000_0028, "SCMP_ARCH_ARM"),
        ],
        Arch::Riscv64 => vec![(Arch::Riscv64, 0xc000_00f3, "SCMP_ARCH_RISCV64")],
        _ => vec![
            (Arch::X86_64, 0xc000_003e, "SCMP_ARCH_X86_64"),
            (Arch::X86, 0x4000_0003, "SCMP_ARCH_X86"),
            (Arch::X32, 0xc000_003e, "SCMP_ARCH_X32"),
        ],
    }
}

/// The names that a number has; x32's without bit 30.
fn names_of(arch: Arch, number: u32) -> &'static [&'static str] {
    static NAMES: OnceLock<HashMap<(usize, u32), Vec<&str>>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let mut names: HashMap<_, Vec<_>> = HashMap::new();
        for (name, numbers) in &SYSCALLS {
            for (column, number) in numbers.iter().enumerate().filter(|cell| *cell.1 != NONE) {
                names
                    .entry((column, u32::from(*number)))
                    .or_default()
                    .push(*name);
            }
        }
        names
    });
    let columns = [
        Arch::X86_64,
        Arch::X86,
        Arch::X32,
        Arch::Aarch64,
        Arch::Arm,
        Arch::Riscv64,
    ];
    let column = columns
        .iter()
        .position(|known| *known == arch)
        .expect("a column");
    // ARM's private calls are kept in 16 bits.
    let kept = match number {
        0..1000 => number,
        0xf_0000..=0xf_000f if arch == Arch::Arm => number - 0xf_0000 + u32::from(ARM_PRIVATE),
        _ => return &[],
    };
    names.get(&(column, kept)).map_or(&[], Vec::as_slice)
}

/// A section and the newest call that it names, by architecture.
pub struct Oracle<'a, 's> {
    section: &'a Seccomp<'s>,
    native: Arch,
    newest: Vec<(Arch, Option<u32>)>,
}

/// The section as it looks to one call.
pub struct View<'s> {
    /// Each with its place, what it returns, and alternatives of conditions; an alternative
    /// without conditions always holds.
    rules: Vec<(u32, Vec<Vec<SeccompArg<'s>>>)>,
    fallback: u32,
    narrow: bool,
}

impl<'a, 's> Oracle<'a, 's> {
    pub fn new(section: &'a Seccomp<'s>, native: Arch) -> Self {
        let archs = machine_archs(native);
        let newest = archs
            .into_iter()
            .map(|(arch, ..)| (arch, newest(section, arch)))
            .collect();
        Oracle {
            section,
            native,
            newest,
        }
    }

    /// What the section says about a number, whatever the arguments.
    pub fn view(&self, nr: u32, audit: u32) -> View<'s> {
        let (section, native) = (self.section, self.native);
        let default = action_value(&section.default_action, section.default_errno_ret);
        let nothing = |fallback| View {
            rules: Vec::new(),
            fallback,
            narrow: false,
        };
        let Some(arch) = arch_of(section, native, nr, audit) else {
            let skipped = native == Arch::X86_64 && audit == 0xc000_003e && nr == u32::MAX;
            return nothing(if skipped {
                default
            } else {
                libc::SECCOMP_RET_KILL_THREAD
            });
        };
        let number = if arch == Arch::X32 { nr & !X32 } else { nr };
        let mut rules = Vec::new();
        for syscall in &section.syscalls {
            let value = action_value(&syscall.action, syscall.errno_ret);
            if value == default {
                continue;
            }
            for &name in names_of(arch, number) {
                if syscall.names.iter().any(|listed| *listed == name) {
                    rules.push((value, alternatives(syscall)));
                }
            }
            if arch == Arch::X86 && (number == 102 || number == 117) {
                for name in &syscall.names {
                    if let Some(call) = multiplexed(name, number) {
                        rules.push((value, replace_first(alternatives(syscall), call)));
                    }
                }
            }
        }
        let permissive = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"];
        let newest = self
            .newest
            .iter()
            .find(|known| known.0 == arch)
            .and_then(|known| known.1);
        let fallback = match newest {
            Some(newest)
                if number > newest
                    && !(arch == Arch::Arm && (0xf_0000..=0xf_000f).contains(&number))
                    && !permissive.contains(&section.default_action.as_str()) =>
            {
                libc::SECCOMP_RET_ERRNO + libc::ENOSYS as u32
            }
            _ => default,
        };
        View {
            rules,
            fallback,
            narrow: matches!(arch, Arch::X86 | Arch::X32 | Arch::Arm),
        }
    }
}

impl View<'_> {
    /// What the filter returns for these arguments.
    pub fn verdict(&self, data: &Data) -> u32 {
        for (value, alternatives) in &self.rules {
            if alternatives
                .iter()
                .any(|all| all.iter().all(|arg| self.is_void(arg)))
            {
                return *value;
            }
        }
        let mut best: Option<(u32, &Vec<SeccompArg<'_>>)> = None;
        for (value, alternatives) in &self.rules {
            for all in alternatives
                .iter()
                .filter(|all| all.iter().all(|arg| self.holds(arg, data)))
            {
                if best.is_none_or(|(_, other)| self.goes_before(all, other)) {
                    best = Some((*value, all));
                }
            }
        }
        best.map_or(self.fallback, |(value, _)| value)
    }

    /// The arguments that its conditions look at, with the values they compare with.
    pub fn interesting(&self) -> Vec<(usize, u64)> {
        let alternatives = self.rules.iter().flat_map(|rule| &rule.1).flatten();
        alternatives
            .flat_map(|arg| {
                let masked = [
                    (arg.index as usize, arg.value_two & arg.value),
                    (arg.index as usize, !arg.value),
                ];
                let plain = [
                    (arg.index as usize, arg.value),
                    (arg.index as usize, arg.value_two),
                ];
                plain.into_iter().chain(
                    masked
                        .into_iter()
                        .filter(|_| arg.op == "SCMP_CMP_MASKED_EQ"),
                )
            })
            .collect()
    }

    /// libseccomp's order of conditions that overlap.
    fn goes_before(&self, a: &[SeccompArg<'_>], b: &[SeccompArg<'_>]) -> bool {
        let weights = |all: &[SeccompArg<'_>]| -> Vec<_> {
            all.iter()
                .filter(|arg| !self.is_void(arg))
                .map(weight)
                .collect()
        };
        let (a, b) = (weights(a), weights(b));
        match a.iter().zip(&b).find(|(a, b)| a != b) {
            Some((a, b)) => a > b,
            None => a.len() < b.len(),
        }
    }

    fn width(&self, value: u64) -> u64 {
        if self.narrow {
            u64::from(value as u32)
        } else {
            value
        }
    }

    fn is_void(&self, arg: &SeccompArg<'_>) -> bool {
        arg.op == "SCMP_CMP_MASKED_EQ" && self.width(arg.value) == 0
    }

    fn holds(&self, arg: &SeccompArg<'_>, data: &Data) -> bool {
        let found = self.width(data.args[arg.index as usize]);
        let (value, two) = (self.width(arg.value), self.width(arg.value_two));
        match arg.op.as_str() {
            "SCMP_CMP_NE" => found != value,
            "SCMP_CMP_LT" => found < value,
            "SCMP_CMP_LE" => found <= value,
            "SCMP_CMP_EQ" => found == value,
            "SCMP_CMP_GE" => found >= value,
            "SCMP_CMP_GT" => found > value,
            "SCMP_CMP_MASKED_EQ" => found & value == two & value,
            other => panic!("operator {other}"),
        }
    }
}

fn arch_of(section: &Seccomp<'_>, native: Arch, nr: u32, audit: u32) -> Option<Arch> {
    let present: Vec<Arch> = machine_archs(native)
        .into_iter()
        .filter(|(arch, _, name)| {
            *arch == native || section.architectures.iter().any(|listed| listed == name)
        })
        .filter(|(_, value, _)| *value == audit)
        .map(|(arch, _, _)| arch)
        .collect();
    match present.as_slice() {
        [Arch::X86_64] if nr >= X32 => None,
        [Arch::X86_64, Arch::X32] if nr & X32 != 0 => Some(Arch::X32),
        [first, ..] => Some(*first),
        [] => None,
    }
}

fn newest(section: &Seccomp<'_>, arch: Arch) -> Option<u32> {
    let all = || section.syscalls.iter().flat_map(|rule| &rule.names);
    let named = |number: &u32| {
        let names = names_of(arch, *number);
        let multiplexer = arch == Arch::X86 && (*number == 102 || *number == 117);
        all().any(|listed| names.iter().any(|name| listed == name))
            || multiplexer && all().any(|listed| multiplexed(listed, *number).is_some())
    };
    (0..1000).rfind(named)
}

fn alternatives<'s>(syscall: &SeccompSyscall<'s>) -> Vec<Vec<SeccompArg<'s>>> {
    let twice = |index| syscall.args.iter().filter(|arg| arg.index == index).count() > 1;
    if (0..6).any(twice) {
        return syscall.args.iter().map(|arg| vec![arg.clone()]).collect();
    }
    let mut all = syscall.args.clone();
    all.sort_by_key(|arg| arg.index);
    vec![all]
}

fn replace_first<'s>(
    alternatives: Vec<Vec<SeccompArg<'s>>>,
    call: u64,
) -> Vec<Vec<SeccompArg<'s>>> {
    let first = SeccompArg {
        index: 0,
        value: call,
        value_two: 0,
        op: "SCMP_CMP_EQ".into(),
    };
    alternatives
        .into_iter()
        .map(|all| {
            let rest = all.into_iter().filter(|arg| arg.index != 0);
            std::iter::once(first.clone()).chain(rest).collect()
        })
        .collect()
}

/// Some of the calls of socketcall(2) and ipc(2), from their manual pages' headers.
fn multiplexed(name: &str, number: u32) -> Option<u64> {
    let sockets = "socket bind connect listen accept getsockname getpeername socketpair send recv \
        sendto recvfrom shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg";
    let ipc = "semop semget semctl semtimedop - - - - - - msgsnd msgrcv msgget msgctl \
        - - - - - - shmat shmdt shmget shmctl";
    let calls = if number == 102 { sockets } else { ipc };
    calls
        .split_whitespace()
        .position(|call| call == name)
        .map(|at| at as u64 + 1)
}

fn weight(arg: &SeccompArg<'_>) -> (u32, u32, u64) {
    match arg.op.as_str() {
        "SCMP_CMP_MASKED_EQ" => (arg.index, 3, arg.value & arg.value_two),
        "SCMP_CMP_EQ" | "SCMP_CMP_NE" => (arg.index, 3, arg.value),
        "SCMP_CMP_LT" | "SCMP_CMP_LE" => (arg.index, 2, u64::MAX - arg.value),
        _ => (arg.index, 1, arg.value),
    }
}
