//! Compiles `linux.seccomp` to one classic BPF program. Pure: it loads nothing, and asks
//! the kernel nothing.
//!
//! The way of a section: `profile` reads it and finds what is wrong in it, `verdicts` works
//! out what happens to each system call number of each architecture, `tree` and `chain` turn
//! that into a search over numbers and tests of arguments, `asm` places the instructions.
//!
//! The meaning is that of runc with libseccomp, to the precedence of rules; what differs:
//! - architectures that the native kernel cannot run are skipped, since no call of theirs
//!   can ever come;
//! - only x86_64, i386, x32, aarch64, ARM and riscv64 are known;
//! - conditions on 32-bit architectures (x32 is one, as in libseccomp) compare the low 32
//!   bits of both the argument and the value;
//! - ARM's private calls (0xf0000 to 0xf000f) are never newer than a profile, and do not
//!   count as its newest, so that they do not do away with ENOSYS for new calls.

mod arch;
mod asm;
mod chain;
mod profile;
mod table;
mod tree;
mod verdicts;
mod words;

// cargo-fuzz sets `fuzzing`: its target compares with the same second reading (fuzz/).
#[cfg(any(test, fuzzing))]
mod tests;
#[cfg(fuzzing)]
pub use tests::require_agreement;

use std::fmt;

pub use arch::Arch;
use arch::X32_BIT;
use asm::{Assembler, Target, Test};
use chain::Placer;
use profile::Profile;
use verdicts::{Chains, Named, Run, Verdict};

use crate::config::shortened;
use crate::config::spec::Seccomp;

/// How much of a name is shown, in bytes.
const NAME_SHOWN: usize = 60;

/// One instruction of classic BPF, `struct sock_filter` of linux/filter.h.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    /// What it does.
    pub code: u16,
    /// Instructions to skip where the test is true.
    pub jt: u8,
    /// Instructions to skip where the test is false.
    pub jf: u8,
    /// The constant.
    pub k: u32,
}

/// A compiled section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// The filter for seccomp(2), at most 4096 instructions. Empty where the section has
    /// neither a default action nor rules: then nothing is to be loaded.
    pub insns: Vec<Insn>,
    /// SECCOMP_FILTER_FLAG_* for seccomp(2), NEW_LISTENER included where `notify` is set.
    pub flags: u32,
    /// Whether a rule uses `SCMP_ACT_NOTIFY`: seccomp(2) then returns the listener.
    pub notify: bool,
    /// What was ignored, one line each.
    pub warnings: Vec<String>,
}

/// What is wrong in a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeccompError {
    /// JSON pointer from the root of config.json, such as `/linux/seccomp/syscalls/3/action`.
    pub pointer: String,
    /// What was expected there and what was found.
    pub message: String,
}

impl SeccompError {
    /// An error at a pointer relative to `/linux/seccomp`.
    fn new(pointer: &str, message: &str) -> SeccompError {
        SeccompError {
            pointer: format!("/linux/seccomp{pointer}"),
            message: message.to_owned(),
        }
    }

    /// A word that is none of those allowed.
    fn unknown(pointer: &str, what: &str, found: &str, allowed: &[&str]) -> SeccompError {
        let allowed = allowed.join(", ");
        SeccompError::new(
            pointer,
            &format!("expected {what} ({allowed}), found {found:?}"),
        )
    }
}

impl fmt::Display for SeccompError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.message)
    }
}

impl std::error::Error for SeccompError {}

/// BPF_MAXINSNS of linux/bpf_common.h: what the kernel takes.
const INSNS_MAX: usize = 4096;
/// Offsets in `seccomp_data` of linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// Finds what is wrong in the text of a section, without looking up system calls.
///
/// # Errors
/// The first word or number that is not allowed, `SCMP_ACT_NOTIFY` as the default, for
/// `write` or without a `listenerPath`.
pub fn check(section: &Seccomp<'_>) -> Result<(), SeccompError> {
    Profile::parse(section).map(drop)
}

/// Compiles a section for a machine whose architecture is `native`, which is always among
/// those of the filter.
///
/// # Errors
/// Those of `check`; two rules with the same conditions and different actions for one
/// system call; a program that is too long for the kernel.
pub fn compile(section: &Seccomp<'_>, native: Arch) -> Result<Program, SeccompError> {
    let Some(mut profile) = Profile::parse(section)? else {
        return Ok(Program {
            insns: Vec::new(),
            flags: 0,
            notify: false,
            warnings: Vec::new(),
        });
    };
    let (named, warnings) = look_up(&profile);
    profile
        .archs
        .retain(|arch| arch.runs_on(native) && *arch != native);
    let others = std::mem::take(&mut profile.archs);

    let mut chains = Chains::default();
    let mut runs = |arch| verdicts::runs(arch, &mut profile, &named, &mut chains);
    let native_runs = runs(native)?;
    let x32 = others
        .contains(&Arch::X32)
        .then(|| runs(Arch::X32))
        .transpose()?;
    let others = others
        .into_iter()
        .filter(|&arch| arch != Arch::X32)
        .map(|arch| Ok((arch, runs(arch)?)))
        .collect::<Result<Vec<_>, SeccompError>>()?;

    let mut code = Code {
        asm: Assembler::new(),
        profile: &profile,
        chains: &chains,
    };
    let bad_arch = Target::Return(words::RET_KILL_THREAD);
    let mut start = bad_arch;
    for (arch, runs) in &others {
        let own = code.search(runs, bad_arch);
        let own = code.asm.load(NUMBER, own);
        start = code.asm.test(Test::Eq, arch.audit(), own, start);
    }
    let own = code.search(&native_runs, bad_arch);
    let own = match native {
        Arch::X86_64 => code.split_x32(own, &native_runs, x32.as_deref(), bad_arch),
        _ => own,
    };
    let own = code.asm.load(NUMBER, own);
    start = code.asm.test(Test::Eq, native.audit(), own, start);
    start = code.asm.load(ARCH, start);

    let insns = code.asm.finish(start);
    if insns.len() > INSNS_MAX {
        return Err(SeccompError::new(
            "/syscalls",
            &format!(
                "compiles to {} instructions, the kernel takes {INSNS_MAX}",
                insns.len()
            ),
        ));
    }
    Ok(Program {
        insns,
        flags: profile.flags,
        notify: profile.notify,
        warnings,
    })
}

/// Looks every name up once, for all architectures.
fn look_up(profile: &Profile<'_>) -> (Vec<Named>, Vec<String>) {
    let count = profile.rules.iter().map(|rule| rule.names.len()).sum();
    let mut named = Vec::with_capacity(count);
    let mut warnings = Vec::new();
    for (rule, names) in profile.rules.iter().map(|rule| rule.names).enumerate() {
        for (at, name) in names.iter().enumerate() {
            match arch::find(name) {
                Some(row) => named.push(Named { rule, row }),
                None => warnings.push(format!(
                    "unknown system call {:?} ignored (/linux/seccomp/syscalls/{rule}/names/{at})",
                    shortened(name, NAME_SHOWN)
                )),
            }
        }
    }
    (named, warnings)
}

/// The program while it is being placed.
struct Code<'p> {
    asm: Assembler,
    profile: &'p Profile<'p>,
    chains: &'p Chains,
}

impl Code<'_> {
    /// Places the search over an architecture's numbers; `base` is what `Verdict::Base`
    /// stands for.
    fn search(&mut self, runs: &[Run], base: Target) -> Target {
        let none = Target::Return(self.profile.default_ret);
        let mut placed: Vec<(usize, Target)> = Vec::new();
        for run in runs {
            if let Verdict::Chain(chain) = run.verdict
                && placed.iter().all(|known| known.0 != chain)
            {
                let verdicts::Chain { clauses, narrow } = &self.chains.0[chain];
                let clauses: Vec<_> = clauses
                    .iter()
                    .map(|&at| &self.profile.clauses[at])
                    .collect();
                let mut placer = Placer {
                    asm: &mut self.asm,
                    conditions: &self.profile.conditions,
                    narrow: *narrow,
                };
                let target = placer.place(&clauses, none);
                placed.push((chain, target));
            }
        }
        tree::place(&mut self.asm, runs, |verdict| match verdict {
            Verdict::Return(value) => Target::Return(value),
            Verdict::Base => base,
            // Every chain of the runs was placed just above.
            Verdict::Chain(chain) => placed
                .iter()
                .find(|known| known.0 == chain)
                .map_or(Target::Return(words::RET_KILL_THREAD), |known| known.1),
        })
    }

    /// Places the division between x86_64 and x32, which share an AUDIT_ARCH. Without x32 in
    /// the profile its calls are those of a bad architecture, but for -1, which a tracer
    /// sets to skip a call (seccomp(2), "SECCOMP_RET_TRACE").
    fn split_x32(
        &mut self,
        native: Target,
        native_runs: &[Run],
        x32: Option<&[Run]>,
        bad_arch: Target,
    ) -> Target {
        let Some(x32) = x32 else {
            let skipped = Target::Return(self.profile.default_ret);
            let other = self.asm.test(Test::Eq, u32::MAX, skipped, bad_arch);
            return self.asm.test(Test::Ge, X32_BIT, other, native);
        };
        // Most of x32's numbers are those of x86_64 with the bit set: one search serves both.
        let x32 = self.search(&verdicts::lay_over(native_runs, x32), native);
        let x32 = self.asm.and(!X32_BIT, x32);
        self.asm.test(Test::AnyBit, X32_BIT, x32, native)
    }
}

/// The actions that are understood, for `features`.
pub fn known_actions() -> &'static [&'static str] {
    &words::Action::NAMES
}

/// The operators that are understood, for `features`.
pub fn known_operators() -> &'static [&'static str] {
    &words::Operator::NAMES
}

/// The architectures that are accepted, for `features`.
pub fn known_archs() -> &'static [&'static str] {
    &words::ARCH_NAMES
}

/// The flags that are understood, for `features`.
pub fn known_flags() -> &'static [&'static str] {
    &words::FLAG_NAMES
}

/// Those flags that a kernel takes, for `features`: `takes` answers for bits of seccomp(2), a flag
/// that goes with a listener alone together with the listener's.
pub fn supported_flags(takes: impl Fn(u32) -> bool) -> Vec<&'static str> {
    let bits = |name: &str| match words::flag_bit(name) {
        Some(words::FLAG_WAIT_KILLABLE_RECV) => {
            words::FLAG_WAIT_KILLABLE_RECV | words::FLAG_NEW_LISTENER
        }
        bits => bits.unwrap_or_default(),
    };
    let names = words::FLAG_NAMES.into_iter();
    // TSYNC is no bit: nothing is asked of the kernel.
    names
        .filter(|name| bits(name) == 0 || takes(bits(name)))
        .collect()
}
