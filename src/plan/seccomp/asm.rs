//! An assembler of classic BPF that works from the last instruction to the first, so that
//! every jump's target has its place before the jump does. Jumps of BPF only go forward,
//! and conditional ones by at most 255 instructions: where a target is too far away, a
//! copy of it (a return) or an unconditional jump to it is put nearby.
//!
//! Only instructions that the kernel's constant-action bitmap understands are offered
//! (kernel/seccomp.c, seccomp_is_const_allow).

use super::Insn;

// linux/bpf_common.h: class | size | mode, and class | operation | source.
const LD_W_ABS: u16 = 0x20;
const ALU_AND_K: u16 = 0x54;
const JMP_JA: u16 = 0x05;
const RET_K: u16 = 0x06;

/// A test of the accumulator against a constant.
#[derive(Clone, Copy)]
#[repr(u16)]
pub(super) enum Test {
    /// Equal.
    Eq = 0x15,
    /// Greater.
    Gt = 0x25,
    /// Greater or equal.
    Ge = 0x35,
    /// Some of the bits set.
    AnyBit = 0x45,
}

/// Where control goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// The filter ends with this value.
    Return(u32),
    /// An instruction, by its distance from the program's end.
    At(usize),
}

/// The most that a target may be away when a test is about to be placed: a test may first
/// put two helpers between itself and its targets.
const REACH: usize = 255 - 2;

/// The program so far, last instruction first.
pub(super) struct Assembler {
    reversed: Vec<Insn>,
    /// For each value returned the nearest instruction that returns it.
    returns: Vec<(u32, usize)>,
}

impl Assembler {
    pub(super) fn new() -> Assembler {
        Assembler {
            reversed: Vec::with_capacity(512),
            returns: Vec::with_capacity(8),
        }
    }

    /// `if accumulator TEST k then yes else no`.
    pub(super) fn test(&mut self, test: Test, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let yes = self.within_reach(yes);
        let no = self.within_reach(no);
        let (jt, jf) = (self.offset(yes), self.offset(no));
        // Both fit: within_reach left room for the one helper that may have come after.
        self.push(Insn {
            code: test as u16,
            jt: jt as u8,
            jf: jf as u8,
            k,
        })
    }

    /// Loads the 32-bit word at `offset` of `seccomp_data`, then goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Target) -> Target {
        self.before(next, LD_W_ABS, offset)
    }

    /// Keeps the bits of `mask` in the accumulator, then goes on at `next`.
    pub(super) fn and(&mut self, mask: u32, next: Target) -> Target {
        self.before(next, ALU_AND_K, mask)
    }

    /// The program, which begins at `start`.
    pub(super) fn finish(mut self, start: Target) -> Vec<Insn> {
        self.make_last(start);
        self.reversed.reverse();
        self.reversed
    }

    fn push(&mut self, insn: Insn) -> Target {
        self.reversed.push(insn);
        Target::At(self.reversed.len() - 1)
    }

    fn push_plain(&mut self, code: u16, k: u32) -> usize {
        self.reversed.push(Insn {
            code,
            jt: 0,
            jf: 0,
            k,
        });
        self.reversed.len() - 1
    }

    /// What a jump placed now skips to get to `at`.
    fn offset(&self, at: usize) -> usize {
        self.reversed.len() - at - 1
    }

    fn before(&mut self, next: Target, code: u16, k: u32) -> Target {
        self.make_last(next);
        Target::At(self.push_plain(code, k))
    }

    /// Sees to it that what is placed next falls through to `target`.
    fn make_last(&mut self, target: Target) {
        match target {
            Target::At(at) if self.offset(at) == 0 => {}
            Target::At(at) => {
                self.push_plain(JMP_JA, self.offset(at) as u32);
            }
            Target::Return(value) => {
                self.push_return(value);
            }
        }
    }

    fn push_return(&mut self, value: u32) -> usize {
        let at = self.push_plain(RET_K, value);
        match self.returns.iter_mut().find(|known| known.0 == value) {
            Some(known) => known.1 = at,
            None => self.returns.push((value, at)),
        }
        at
    }

    fn within_reach(&mut self, target: Target) -> usize {
        match target {
            Target::At(at) if self.offset(at) <= REACH => at,
            Target::At(at) => self.push_plain(JMP_JA, self.offset(at) as u32),
            Target::Return(value) => match self.returns.iter().find(|known| known.0 == value) {
                Some(&(_, at)) if self.offset(at) <= REACH => at,
                _ => self.push_return(value),
            },
        }
    }
}
