//! The words of `linux.seccomp`: actions, operators, architectures and flags, and what
//! each stands for in the kernel (linux/seccomp.h).
//!
//! Source of the lists: runtime-spec 1.3.0, config-linux.md "Seccomp", and what runc and
//! crun accept.

use super::Arch;

/// SECCOMP_RET_KILL_THREAD.
pub(super) const RET_KILL_THREAD: u32 = 0;
/// SECCOMP_RET_KILL_PROCESS.
const RET_KILL_PROCESS: u32 = 0x8000_0000;
/// SECCOMP_RET_TRAP.
const RET_TRAP: u32 = 0x0003_0000;
/// SECCOMP_RET_ERRNO; the low 16 bits are the errno.
pub(super) const RET_ERRNO: u32 = 0x0005_0000;
/// SECCOMP_RET_USER_NOTIF.
const RET_USER_NOTIF: u32 = 0x7fc0_0000;
/// SECCOMP_RET_TRACE; the low 16 bits are the message to the tracer.
const RET_TRACE: u32 = 0x7ff0_0000;
/// SECCOMP_RET_LOG.
const RET_LOG: u32 = 0x7ffc_0000;
/// SECCOMP_RET_ALLOW.
const RET_ALLOW: u32 = 0x7fff_0000;

/// EPERM, asm-generic/errno-base.h: the errno where none is given.
const EPERM: u32 = 1;

/// What happens to a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    KillThread,
    KillProcess,
    Trap,
    Errno,
    Trace,
    Allow,
    Log,
    Notify,
}

impl Action {
    /// The names, sorted; `SCMP_ACT_KILL` is the older name of `SCMP_ACT_KILL_THREAD`.
    pub(super) const NAMES: [&'static str; 9] = [
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_TRAP",
    ];

    pub(super) fn parse(name: &str) -> Option<Action> {
        Some(match name {
            "SCMP_ACT_ALLOW" => Action::Allow,
            "SCMP_ACT_ERRNO" => Action::Errno,
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
            "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
            "SCMP_ACT_LOG" => Action::Log,
            "SCMP_ACT_NOTIFY" => Action::Notify,
            "SCMP_ACT_TRACE" => Action::Trace,
            "SCMP_ACT_TRAP" => Action::Trap,
            _ => return None,
        })
    }

    /// The value that the filter returns. `errno` counts for `Errno` and `Trace` alone;
    /// with the other actions it is ignored, as runc does.
    pub(super) fn ret(self, errno: Option<u32>) -> u32 {
        let data = errno.unwrap_or(EPERM) & 0xffff;
        match self {
            Action::KillThread => RET_KILL_THREAD,
            Action::KillProcess => RET_KILL_PROCESS,
            Action::Trap => RET_TRAP,
            Action::Errno => RET_ERRNO | data,
            Action::Trace => RET_TRACE | data,
            Action::Allow => RET_ALLOW,
            Action::Log => RET_LOG,
            Action::Notify => RET_USER_NOTIF,
        }
    }

    /// Whether it takes an errno.
    pub(super) fn takes_errno(self) -> bool {
        matches!(self, Action::Errno | Action::Trace)
    }

    /// Whether it lets the call happen when it is the default: such a filter needs no
    /// ENOSYS for calls that it does not know.
    pub(super) fn is_permissive(self) -> bool {
        matches!(self, Action::Allow | Action::Log | Action::Trace)
    }
}

/// How an argument is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    MaskedEq,
}

impl Operator {
    /// The names, sorted.
    pub(super) const NAMES: [&'static str; 7] = [
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_LE",
        "SCMP_CMP_LT",
        "SCMP_CMP_MASKED_EQ",
        "SCMP_CMP_NE",
    ];

    pub(super) fn parse(name: &str) -> Option<Operator> {
        Some(match name {
            "SCMP_CMP_EQ" => Operator::Eq,
            "SCMP_CMP_GE" => Operator::Ge,
            "SCMP_CMP_GT" => Operator::Gt,
            "SCMP_CMP_LE" => Operator::Le,
            "SCMP_CMP_LT" => Operator::Lt,
            "SCMP_CMP_MASKED_EQ" => Operator::MaskedEq,
            "SCMP_CMP_NE" => Operator::Ne,
            _ => return None,
        })
    }
}

/// The architectures that the runtime-spec and libseccomp know, sorted.
pub(super) const ARCH_NAMES: [&str; 23] = [
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

/// What an architecture's name means to the compiler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ArchName {
    /// One that the compiler has tables for.
    Known(Arch),
    /// A real one that no machine Corten is built for can run: nothing to do.
    Foreign,
}

impl ArchName {
    pub(super) fn parse(name: &str) -> Option<ArchName> {
        Some(match name {
            "SCMP_ARCH_X86_64" => ArchName::Known(Arch::X86_64),
            "SCMP_ARCH_X86" => ArchName::Known(Arch::X86),
            "SCMP_ARCH_X32" => ArchName::Known(Arch::X32),
            "SCMP_ARCH_AARCH64" => ArchName::Known(Arch::Aarch64),
            "SCMP_ARCH_ARM" => ArchName::Known(Arch::Arm),
            "SCMP_ARCH_RISCV64" => ArchName::Known(Arch::Riscv64),
            _ if ARCH_NAMES.contains(&name) => ArchName::Foreign,
            _ => return None,
        })
    }
}

/// SECCOMP_FILTER_FLAG_LOG.
const FLAG_LOG: u32 = 1 << 1;
/// SECCOMP_FILTER_FLAG_SPEC_ALLOW.
pub(super) const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER.
pub(super) const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19.
pub(super) const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// The names of the flags, in the order of linux/seccomp.h.
pub(super) const FLAG_NAMES: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// The bit of a flag. TSYNC is accepted and has none, as in runc: the filter is loaded by
/// a process of one thread, and the kernel refuses TSYNC together with a listener.
pub(super) fn flag_bit(name: &str) -> Option<u32> {
    Some(match name {
        "SECCOMP_FILTER_FLAG_TSYNC" => 0,
        "SECCOMP_FILTER_FLAG_LOG" => FLAG_LOG,
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => FLAG_SPEC_ALLOW,
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => FLAG_WAIT_KILLABLE_RECV,
        _ => return None,
    })
}
