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

/// Places the clauses of one system call: the first whose conditions hold decides, `none`
/// is where control goes when no clause does. Of a `narrow` architecture's arguments the
/// low words alone are compared.
pub(super) fn place(
    asm: &mut Assembler,
    clauses: &[&Clause],
    conditions: &[Condition],
    narrow: bool,
    none: Target,
) -> Target {
    let mut next = none;
    let mut rest = clauses;
    while let Some((last, before)) = rest.split_last() {
        if let Some(first) = single_eq(last, conditions) {
            let same = |clause: &&Clause| {
                single_eq(clause, conditions).is_some_and(|other| {
                    other.arg == first.arg && (narrow || high(other.datum) == high(first.datum))
                })
            };
            let run = 1 + before
                .iter()
                .rev()
                .take_while(|clause| same(clause))
                .count();
            let (others, values) = rest.split_at(rest.len() - run);
            next = place_values(asm, values, conditions, narrow, next);
            rest = others;
        } else {
            let mut yes = Target::Return(last.ret);
            for condition in conditions[last.conditions.clone()].iter().rev() {
                yes = place_condition(asm, condition, narrow, yes, next);
            }
            next = yes;
            rest = before;
        }
    }
    next
}

/// The condition of a clause that only asks for one value of one argument.
fn single_eq<'c>(clause: &Clause, conditions: &'c [Condition]) -> Option<&'c Condition> {
    match &conditions[clause.conditions.clone()] {
        [only] if only.op == Operator::Eq => Some(only),
        _ => None,
    }
}

/// Places clauses that each ask for one value of the same argument, with the same high
/// word: the words are loaded once for all of them.
fn place_values(
    asm: &mut Assembler,
    clauses: &[&Clause],
    conditions: &[Condition],
    narrow: bool,
    none: Target,
) -> Target {
    let mut next = none;
    for clause in clauses.iter().rev() {
        let value = conditions[clause.conditions.start].datum;
        next = asm.test(Test::Eq, low(value), Target::Return(clause.ret), next);
    }
    let Condition { arg, datum, .. } = conditions[clauses[0].conditions.start];
    next = asm.load(low_word(arg), next);
    if narrow {
        return next;
    }
    next = asm.test(Test::Eq, high(datum), next, none);
    asm.load(high_word(arg), next)
}

fn place_condition(
    asm: &mut Assembler,
    condition: &Condition,
    narrow: bool,
    yes: Target,
    no: Target,
) -> Target {
    let Condition {
        arg,
        op,
        mask,
        datum,
    } = *condition;
    match op {
        Operator::Eq | Operator::MaskedEq => place_equal(asm, arg, mask, datum, narrow, yes, no),
        Operator::Ne => place_equal(asm, arg, mask, datum, narrow, no, yes),
        Operator::Ge => place_order(asm, arg, Test::Ge, datum, narrow, yes, no),
        Operator::Lt => place_order(asm, arg, Test::Ge, datum, narrow, no, yes),
        Operator::Gt => place_order(asm, arg, Test::Gt, datum, narrow, yes, no),
        Operator::Le => place_order(asm, arg, Test::Gt, datum, narrow, no, yes),
    }
}

fn place_equal(
    asm: &mut Assembler,
    arg: u32,
    mask: u64,
    datum: u64,
    narrow: bool,
    yes: Target,
    no: Target,
) -> Target {
    let yes = place_word(asm, low_word(arg), low(mask), low(datum), yes, no);
    if narrow {
        return yes;
    }
    place_word(asm, high_word(arg), high(mask), high(datum), yes, no)
}

/// `word & mask == datum`; nothing where the mask has no bits.
fn place_word(
    asm: &mut Assembler,
    offset: u32,
    mask: u32,
    datum: u32,
    yes: Target,
    no: Target,
) -> Target {
    if mask == 0 {
        return yes;
    }
    let mut next = asm.test(Test::Eq, datum, yes, no);
    if mask != u32::MAX {
        next = asm.and(mask, next);
    }
    asm.load(offset, next)
}

/// `argument TEST datum` for `Test::Ge` and `Test::Gt`.
fn place_order(
    asm: &mut Assembler,
    arg: u32,
    test: Test,
    datum: u64,
    narrow: bool,
    yes: Target,
    no: Target,
) -> Target {
    let decide = asm.test(test, low(datum), yes, no);
    let decide = asm.load(low_word(arg), decide);
    if narrow {
        return decide;
    }
    let next = match high(datum) {
        0 => asm.test(Test::Eq, 0, decide, yes),
        word => {
            let equal = asm.test(Test::Eq, word, decide, no);
            asm.test(Test::Gt, word, yes, equal)
        }
    };
    asm.load(high_word(arg), next)
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
