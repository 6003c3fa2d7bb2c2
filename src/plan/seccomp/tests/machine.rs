//! The kernel's side, for tests: an interpreter of classic BPF over `seccomp_data`, and the
//! kernel's checks of a program.

use super::super::Insn;

/// `struct seccomp_data` of linux/seccomp.h.
#[derive(Clone, Copy, Debug, Default)]
pub struct Data {
    pub nr: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

impl Data {
    /// A call whose arguments after the first are 0.
    pub fn new(arch: u32, nr: u32, first: u64) -> Data {
        Data {
            nr,
            arch,
            args: [first, 0, 0, 0, 0, 0],
        }
    }

    fn word(&self, offset: u32) -> u32 {
        assert!(offset.is_multiple_of(4), "unaligned load");
        match offset {
            0 => self.nr,
            4 => self.arch,
            16..64 => {
                let arg = self.args[(offset as usize - 16) / 8];
                let word = if offset.is_multiple_of(8) {
                    arg
                } else {
                    arg >> 32
                };
                word as u32
            }
            _ => panic!("load from {offset}"),
        }
    }
}

/// What the program returns, and after how many instructions.
pub fn run(program: &[Insn], data: &Data) -> (u32, usize) {
    let (mut at, mut accumulator, mut steps) = (0, 0u32, 0);
    loop {
        let insn = program[at];
        steps += 1;
        at += 1;
        let holds = match insn.code {
            0x20 => {
                accumulator = data.word(insn.k);
                continue;
            }
            0x54 => {
                accumulator &= insn.k;
                continue;
            }
            0x05 => {
                at += insn.k as usize;
                continue;
            }
            0x06 => return (insn.k, steps),
            0x15 => accumulator == insn.k,
            0x25 => accumulator > insn.k,
            0x35 => accumulator >= insn.k,
            0x45 => accumulator & insn.k != 0,
            code => panic!("instruction {code:#x}"),
        };
        at += usize::from(if holds { insn.jt } else { insn.jf });
    }
}

/// Fails on what the kernel would refuse, and on instructions that its bitmap of allowed
/// calls does not understand.
pub fn verify(program: &[Insn]) {
    assert!(
        (1..=4096).contains(&program.len()),
        "{} instructions",
        program.len()
    );
    for (at, insn) in program.iter().enumerate() {
        let next = at + 1;
        let furthest = match insn.code {
            0x20 | 0x54 => next,
            0x05 => next + insn.k as usize,
            0x15 | 0x25 | 0x35 | 0x45 => next + usize::from(insn.jt.max(insn.jf)),
            0x06 => continue,
            code => panic!("instruction {code:#x} at {at}"),
        };
        assert!(furthest < program.len(), "jump from {at} to {furthest}");
    }
    let last = program.last().expect("not empty");
    assert_eq!(last.code, 0x06, "the last instruction returns");
}
