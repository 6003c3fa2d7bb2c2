//! Entry point, system call instruction and numbers of each architecture.

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call stub_main",
    "ud2",
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "and sp, x0, #-16",
    "bl stub_main",
    "brk #1",
);

#[cfg(target_arch = "riscv64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mv a0, sp",
    "andi sp, sp, -16",
    "call stub_main",
    "unimp",
);

/// A system call with up to six arguments.
#[inline(never)]
pub fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the callers pass pointers and lengths that belong together; the
    // kernel checks the rest.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a[0], in("rsi") a[1],
            in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _);
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("svc 0", in("x8") number, inlateout("x0") a[0] as isize => result, in("x1") a[1],
            in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5]);
        #[cfg(target_arch = "riscv64")]
        core::arch::asm!("ecall", in("a7") number, inlateout("a0") a[0] as isize => result, in("a1") a[1],
            in("a2") a[2], in("a3") a[3], in("a4") a[4], in("a5") a[5]);
    }
    result
}

/// An instruction that the processor refuses: the kernel ends the process with a signal,
/// whatever its filter says.
pub fn fault() -> ! {
    // SAFETY: execution does not go on after it.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!("ud2", options(noreturn));
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("udf #0", options(noreturn));
        #[cfg(target_arch = "riscv64")]
        core::arch::asm!("unimp", options(noreturn));
    }
}

/// Numbers of arch/x86/entry/syscalls/syscall_64.tbl.
#[cfg(target_arch = "x86_64")]
mod numbers {
    pub const NR_READ: usize = 0;
    pub const NR_WRITE: usize = 1;
    pub const NR_CLOSE: usize = 3;
    pub const NR_LSEEK: usize = 8;
    pub const NR_MMAP: usize = 9;
    pub const NR_RT_SIGACTION: usize = 13;
    pub const NR_IOCTL: usize = 16;
    pub const NR_GETPID: usize = 39;
    pub const NR_SENDMSG: usize = 46;
    pub const NR_CLONE: usize = 56;
    pub const NR_EXECVE: usize = 59;
    pub const NR_KILL: usize = 62;
    pub const NR_FCNTL: usize = 72;
    pub const NR_UMASK: usize = 95;
    pub const NR_SETSID: usize = 112;
    pub const NR_SETGROUPS: usize = 116;
    pub const NR_SETRESUID: usize = 117;
    pub const NR_SETRESGID: usize = 119;
    pub const NR_CAPSET: usize = 126;
    pub const NR_PRCTL: usize = 157;
    pub const NR_CLOCK_GETTIME: usize = 228;
    pub const NR_EXIT_GROUP: usize = 231;
    pub const NR_WAITID: usize = 247;
    pub const NR_PPOLL: usize = 271;
    pub const NR_DUP3: usize = 292;
    pub const NR_PIPE2: usize = 293;
    pub const NR_PRLIMIT64: usize = 302;
    pub const NR_SETNS: usize = 308;
    pub const NR_SCHED_SETATTR: usize = 314;
    pub const NR_SECCOMP: usize = 317;
    pub const NR_MEMFD_CREATE: usize = 319;
    pub const NR_FSOPEN: usize = 430;
    pub const NR_CLOSE_RANGE: usize = 436;
    pub const NR_OPENAT2: usize = 437;
    pub const NR_FACCESSAT2: usize = 439;
}

/// Numbers of include/uapi/asm-generic/unistd.h.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod numbers {
    pub const NR_DUP3: usize = 24;
    pub const NR_FCNTL: usize = 25;
    pub const NR_IOCTL: usize = 29;
    pub const NR_CLOSE: usize = 57;
    pub const NR_PIPE2: usize = 59;
    pub const NR_LSEEK: usize = 62;
    pub const NR_READ: usize = 63;
    pub const NR_WRITE: usize = 64;
    pub const NR_PPOLL: usize = 73;
    pub const NR_CAPSET: usize = 91;
    pub const NR_EXIT_GROUP: usize = 94;
    pub const NR_WAITID: usize = 95;
    pub const NR_CLOCK_GETTIME: usize = 113;
    pub const NR_KILL: usize = 129;
    pub const NR_RT_SIGACTION: usize = 134;
    pub const NR_SETRESUID: usize = 147;
    pub const NR_SETRESGID: usize = 149;
    pub const NR_SETSID: usize = 157;
    pub const NR_SETGROUPS: usize = 159;
    pub const NR_UMASK: usize = 166;
    pub const NR_PRCTL: usize = 167;
    pub const NR_GETPID: usize = 172;
    pub const NR_SENDMSG: usize = 211;
    pub const NR_CLONE: usize = 220;
    pub const NR_EXECVE: usize = 221;
    pub const NR_MMAP: usize = 222;
    pub const NR_PRLIMIT64: usize = 261;
    pub const NR_SETNS: usize = 268;
    pub const NR_SCHED_SETATTR: usize = 274;
    pub const NR_SECCOMP: usize = 277;
    pub const NR_MEMFD_CREATE: usize = 279;
    pub const NR_FSOPEN: usize = 430;
    pub const NR_CLOSE_RANGE: usize = 436;
    pub const NR_OPENAT2: usize = 437;
    pub const NR_FACCESSAT2: usize = 439;
}

pub use numbers::*;
