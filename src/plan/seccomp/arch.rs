//! The architectures that a filter can be made for: how the kernel names them to the
//! filter, how wide their arguments are, and how they number their system calls.

use super::table::{self, Row, SYSCALLS};

/// An architecture (an ABI of system calls) that the compiler has tables for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arch {
    /// `SCMP_ARCH_X86_64`.
    X86_64,
    /// `SCMP_ARCH_X86`: i386.
    X86,
    /// `SCMP_ARCH_X32`: 32-bit pointers on x86_64, told by bit 30 of the number.
    X32,
    /// `SCMP_ARCH_AARCH64`.
    Aarch64,
    /// `SCMP_ARCH_ARM`: EABI.
    Arm,
    /// `SCMP_ARCH_RISCV64`.
    Riscv64,
}

/// Bit 30 of the number marks an x32 call (asm/unistd.h, __X32_SYSCALL_BIT).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// __ARM_NR_BASE of arch/arm/include/uapi/asm/unistd.h.
const ARM_NR_BASE: u32 = 0x000f_0000;

impl Arch {
    /// The architecture that Corten is built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Arch = Arch::X86_64;
    /// The architecture that Corten is built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Arch = Arch::Aarch64;
    /// The architecture that Corten is built for.
    #[cfg(target_arch = "riscv64")]
    pub const NATIVE: Arch = Arch::Riscv64;

    /// What the kernel puts into `seccomp_data.arch`: AUDIT_ARCH_* of linux/audit.h.
    pub(super) fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
            Arch::Riscv64 => 0xc000_00f3,
        }
    }

    /// Whether arguments are compared over their low 32 bits only. Those of x32 are too,
    /// as libseccomp does.
    pub(super) fn is_narrow(self) -> bool {
        matches!(self, Arch::X86 | Arch::X32 | Arch::Arm)
    }

    /// Whether a kernel for `native` can run programs of this architecture.
    pub(super) fn runs_on(self, native: Arch) -> bool {
        self == native
            || match native {
                Arch::X86_64 => matches!(self, Arch::X86 | Arch::X32),
                Arch::Aarch64 => self == Arch::Arm,
                _ => false,
            }
    }

    /// The column of the table.
    fn column(self) -> usize {
        match self {
            Arch::X86_64 => 0,
            Arch::X86 => 1,
            Arch::X32 => 2,
            Arch::Aarch64 => 3,
            Arch::Arm => 4,
            Arch::Riscv64 => 5,
        }
    }

    /// The number of a system call, if this architecture has it; x32's without bit 30.
    pub(super) fn number(self, row: &Row) -> Option<u32> {
        match row.1[self.column()] {
            table::NONE => None,
            number if number < table::ARM_PRIVATE => Some(u32::from(number)),
            private => Some(ARM_NR_BASE + u32::from(private - table::ARM_PRIVATE)),
        }
    }

    /// Whether a number is one of ARM's private calls, which lie far above the others and
    /// say nothing about how new a call is.
    pub(super) fn is_private(self, number: u32) -> bool {
        self == Arch::Arm && number >= ARM_NR_BASE
    }

    /// Whether some calls can be made through others.
    pub(super) fn has_multiplexers(self) -> bool {
        self == Arch::X86
    }

    /// The multiplexer that the call can be made through as well, i386's socketcall(2) or
    /// ipc(2): the multiplexer's number and the value of its first argument.
    pub(super) fn multiplexed(self, row: &Row) -> Option<(u32, u64)> {
        match row.1[MULTIPLEXED] {
            call if !self.has_multiplexers() || call == table::NONE => None,
            call if call >= table::IPC => Some((X86_IPC, u64::from(call - table::IPC))),
            call => Some((X86_SOCKETCALL, u64::from(call))),
        }
    }

    /// Whether a number is that of a multiplexer.
    pub(super) fn is_multiplexer(self, number: u32) -> bool {
        self.has_multiplexers() && (number == X86_SOCKETCALL || number == X86_IPC)
    }
}

/// The row of a system call, or nothing for a name that no architecture has.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    let prefix = prefix(name.as_bytes());
    let first = PREFIXES.partition_point(|&known| known < prefix);
    let alike = PREFIXES[first..]
        .iter()
        .take_while(|&&known| known == prefix)
        .count();
    SYSCALLS[first..first + alike]
        .iter()
        .find(|row| row.0 == name)
}

/// The first bytes of each name in the table, in a form that is quicker to search.
static PREFIXES: [u64; SYSCALLS.len()] = {
    let mut prefixes = [0; SYSCALLS.len()];
    let mut at = 0;
    while at < prefixes.len() {
        prefixes[at] = prefix(SYSCALLS[at].0.as_bytes());
        at += 1;
    }
    prefixes
};

/// The first eight bytes, in the order of the alphabet; names hold no zero bytes.
const fn prefix(name: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let mut at = 0;
    while at < bytes.len() && at < name.len() {
        bytes[at] = name[at];
        at += 1;
    }
    u64::from_be_bytes(bytes)
}

/// The column of the table with the numbers within i386's multiplexers.
const MULTIPLEXED: usize = 6;
/// socketcall(2) on i386.
const X86_SOCKETCALL: u32 = 102;
/// ipc(2) on i386.
const X86_IPC: u32 = 117;
