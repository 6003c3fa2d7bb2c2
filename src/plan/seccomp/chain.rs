//! The instructions that look at a call's arguments.

use super::asm::{Assembler, Target, Test};
use super::profile::{Clause, Condition};
use super::words::Operator;

/// Offset of the arguments in `seccomp_data` (linux/seccomp.h), each of eight bytes.
const ARGS: u32 = 16;
#[cfg(target_endian = "little")]
const LOW: u32 = 0;
#[cfg(target_endian = "big")]
const LOW: u32 = 4;

/// Where a test goes.
#[derive(Clone, Copy)]
struct Ways {
    yes: Target,
    no: Target,
}

impl Ways {
    fn swapped(self) -> Ways {
        Ways {
            yes: self.no,
            no: self.yes,
        }
    }
}

/// Places the clauses of system calls.
pub(super) struct Placer<'a> {
    /// Where the instructions go.
    pub asm: &'a mut Assembler,
    /// What the clauses' conditions are indexes into.
    pub conditions: &'a [Condition],
    /// Whether low words alone are compared.
    pub narrow: bool,
}

impl Placer<'_> {
    /// Places the clauses of one system call: the first whose conditions hold decides,
    /// `none` is where control goes when no clause does.
    pub(super) fn place(&mut self, clauses: &[&Clause], none: Target) -> Target {
        let mut next = none;
        let mut rest = clauses;
        while let Some((last, before)) = rest.split_last() {
            let Some(first) = self.single_eq(last) else {
                next = self.place_clause(last, next);
                rest = before;
                continue;
            };
            let same = |clause: &&&Clause| {
                self.single_eq(clause).is_some_and(|other| {
                    other.arg == first.arg
                        && (self.narrow || high(other.datum) == high(first.datum))
                })
            };
            let run = 1 + before.iter().rev().take_while(same).count();
            let (others, values) = rest.split_at(rest.len() - run);
            next = self.place_values(&first, values, next);
            rest = others;
        }
        next
    }

    /// The condition of a clause that only asks for one value of one argument.
    fn single_eq(&self, clause: &Clause) -> Option<Condition> {
        match self.conditions[clause.conditions.clone()] {
            [only] if only.op == Operator::Eq => Some(only),
            _ => None,
        }
    }

    fn place_clause(&mut self, clause: &Clause, no: Target) -> Target {
        let mut yes = Target::Return(clause.ret);
        for condition in self.conditions[clause.conditions.clone()].iter().rev() {
            yes = self.place_condition(condition, Ways { yes, no });
        }
        yes
    }

    /// Places clauses that each ask for one value of the argument that `like` is about, with
    /// the same high word: the words are loaded once for all of them.
    fn place_values(&mut self, like: &Condition, clauses: &[&Clause], none: Target) -> Target {
        let mut next = none;
        for clause in clauses.iter().rev() {
            let value = low(self.conditions[clause.conditions.start].datum);
            next = self
                .asm
                .test(Test::Eq, value, Target::Return(clause.ret), next);
        }
        next = self.asm.load(low_word(like.arg), next);
        if self.narrow {
            return next;
        }
        next = self.asm.test(Test::Eq, high(like.datum), next, none);
        self.asm.load(high_word(like.arg), next)
    }

    fn place_condition(&mut self, condition: &Condition, ways: Ways) -> Target {
        match condition.op {
            Operator::Eq | Operator::MaskedEq => self.place_equal(condition, ways),
            Operator::Ne => self.place_equal(condition, ways.swapped()),
            Operator::Ge => self.place_order(condition, Test::Ge, ways),
            Operator::Lt => self.place_order(condition, Test::Ge, ways.swapped()),
            Operator::Gt => self.place_order(condition, Test::Gt, ways),
            Operator::Le => self.place_order(condition, Test::Gt, ways.swapped()),
        }
    }

    fn place_equal(&mut self, condition: &Condition, ways: Ways) -> Target {
        let Condition {
            arg, mask, datum, ..
        } = *condition;
        let yes = self.place_word(low_word(arg), low(mask), low(datum), ways);
        if self.narrow {
            return yes;
        }
        self.place_word(
            high_word(arg),
            high(mask),
            high(datum),
            Ways { yes, ..ways },
        )
    }

    /// `word & mask == datum`; nothing where the mask has no bits.
    fn place_word(&mut self, offset: u32, mask: u32, datum: u32, ways: Ways) -> Target {
        if mask == 0 {
            return ways.yes;
        }
        let mut next = self.asm.test(Test::Eq, datum, ways.yes, ways.no);
        if mask != u32::MAX {
            next = self.asm.and(mask, next);
        }
        self.asm.load(offset, next)
    }

    /// `argument TEST datum` for `Test::Ge` and `Test::Gt`.
    fn place_order(&mut self, condition: &Condition, test: Test, ways: Ways) -> Target {
        let Condition { arg, datum, .. } = *condition;
        let decide = self.asm.test(test, low(datum), ways.yes, ways.no);
        let decide = self.asm.load(low_word(arg), decide);
        if self.narrow {
            return decide;
        }
        let next = match high(datum) {
            0 => self.asm.test(Test::Eq, 0, decide, ways.yes),
            word => {
                let equal = self.asm.test(Test::Eq, word, decide, ways.no);
                self.asm.test(Test::Gt, word, ways.yes, equal)
            }
        };
        self.asm.load(high_word(arg), next)
    }
}

fn low(value: u64) -> u32 {
    value as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

fn low_word(arg: u32) -> u32 {
    ARGS + 8 * arg + LOW
}

fn high_word(arg: u32) -> u32 {
    ARGS + 8 * arg + (4 - LOW)
}
