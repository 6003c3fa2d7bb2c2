//! Works out, for one architecture, what happens to each system call number: which rule
//! counts where several name the same call, and where the ENOSYS tail begins.
//!
//! The rules are libseccomp's (src/db.c) and runc's (libcontainer/seccomp):
//! - a rule that says what the default says is left out;
//! - a rule without conditions beats those with conditions, and the first such rule beats
//!   later ones, wherever they stand;
//! - of rules with conditions that overlap, the order is that of `rank`, not the
//!   profile's; the same conditions with different actions are an error;
//! - i386's socketcall(2) and ipc(2) get a rule for each call that can be made through
//!   them: the number within them stands in for the condition on the first argument, and
//!   conditions on the others stay although they look at other things there.

use std::cmp::Reverse;

use super::profile::{Clause, Condition, Profile};
use super::table::Row;
use super::words::{Operator, RET_ERRNO};
use super::{Arch, SeccompError};

/// ENOSYS, asm-generic/errno.h.
const ENOSYS: u32 = 38;
/// Numbers that have a slot of their own: all of the tables are below, ARM's private ones
/// excepted.
const DENSE: usize = 560;
/// ARM's private calls, `PRIVATE_BASE..PRIVATE_BASE + PRIVATE`.
const PRIVATE: usize = 16;
const PRIVATE_BASE: u32 = 0x000f_0000;

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The filter returns this.
    Return(u32),
    /// The arguments decide: an index into `Chains`.
    Chain(usize),
    /// The same as on the architecture that this one is laid over.
    Base,
}

/// Numbers from `start` up to the next run's start that share a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub start: u32,
    pub verdict: Verdict,
}

/// The clauses of one system call in the order in which they are tried.
#[derive(PartialEq, Eq)]
pub(super) struct Chain {
    /// Indexes into `Profile::clauses`.
    pub clauses: Vec<usize>,
    /// Whether low words alone are compared.
    pub narrow: bool,
}

/// The chains of all architectures, each kind once.
#[derive(Default)]
pub(super) struct Chains(pub Vec<Chain>);

/// A name of the profile with its rule.
pub(super) struct Named {
    pub rule: usize,
    pub row: &'static Row,
}

#[derive(Clone, Copy)]
enum Slot {
    Empty,
    Always(u32),
    Conditional,
}

/// The verdicts of one architecture while they are being collected.
struct Slots {
    arch: Arch,
    slots: [Slot; DENSE + PRIVATE],
    /// Slots and the clauses that are tried for them.
    tried: Vec<(usize, usize)>,
}

/// The verdicts of `arch` for every number, as runs that begin with number 0. Clauses that
/// only a multiplexer needs are added to the profile's.
pub(super) fn runs(
    arch: Arch,
    profile: &mut Profile<'_>,
    named: &[Named],
    chains: &mut Chains,
) -> Result<Vec<Run>, SeccompError> {
    let mut slots = Slots {
        arch,
        slots: [Slot::Empty; DENSE + PRIVATE],
        tried: Vec::with_capacity(32),
    };
    let mut newest = None;
    for name in named {
        if let Some(number) = arch.number(name.row) {
            if !arch.is_private(number) {
                newest = newest.max(Some(number));
            }
            slots.add(number, name.rule, profile);
        }
    }
    if arch.has_multiplexers() {
        for name in named {
            if let Some((number, call)) = arch.multiplexed(name.row) {
                newest = newest.max(Some(number));
                slots.add_multiplexed(number, call, name.rule, profile);
            }
        }
    }
    slots.finish(profile, newest, chains)
}

impl Slots {
    fn index(number: u32) -> usize {
        match number.checked_sub(PRIVATE_BASE) {
            Some(private) => DENSE + private as usize,
            None => number as usize,
        }
    }

    fn number(index: usize) -> u32 {
        match index.checked_sub(DENSE) {
            Some(private) => PRIVATE_BASE + private as u32,
            None => index as u32,
        }
    }

    fn add(&mut self, number: u32, rule: usize, profile: &Profile<'_>) {
        let rule = &profile.rules[rule];
        if rule.redundant {
            return;
        }
        let at = Slots::index(number);
        if rule.clauses.is_empty() {
            self.always(at, rule.ret);
        }
        for clause in rule.clauses.clone() {
            self.try_clause(at, clause, profile);
        }
    }

    fn always(&mut self, at: usize, ret: u32) {
        if !matches!(self.slots[at], Slot::Always(_)) {
            self.slots[at] = Slot::Always(ret);
        }
    }

    fn try_clause(&mut self, at: usize, clause: usize, profile: &Profile<'_>) {
        let Clause {
            conditions, ret, ..
        } = &profile.clauses[clause];
        let narrow = self.arch.is_narrow();
        if profile.conditions[conditions.clone()]
            .iter()
            .all(|it| it.is_empty(narrow))
        {
            self.always(at, *ret);
        } else if !matches!(self.slots[at], Slot::Always(_)) {
            self.slots[at] = Slot::Conditional;
            self.tried.push((at, clause));
        }
    }

    fn add_multiplexed(&mut self, number: u32, call: u64, rule: usize, profile: &mut Profile<'_>) {
        let at = Slots::index(number);
        let (ret, redundant, clauses) = {
            let rule = &profile.rules[rule];
            (rule.ret, rule.redundant, rule.clauses.clone())
        };
        if redundant || matches!(self.slots[at], Slot::Always(_)) {
            return;
        }
        let which = Condition {
            arg: 0,
            op: Operator::Eq,
            mask: u64::MAX,
            datum: call,
        };
        // A rule without conditions is one clause without conditions here.
        let mut given: Vec<_> = clauses
            .map(|at| profile.clauses[at].conditions.clone())
            .collect();
        if given.is_empty() {
            given.push(0..0);
        }
        for conditions in given {
            let first = profile.conditions.len();
            profile.conditions.push(which);
            for at in conditions {
                let condition = profile.conditions[at];
                if condition.arg != which.arg {
                    profile.conditions.push(condition);
                }
            }
            let conditions = first..profile.conditions.len();
            profile.clauses.push(Clause {
                rule,
                ret,
                conditions,
            });
            self.try_clause(at, profile.clauses.len() - 1, profile);
        }
    }

    fn finish(
        &mut self,
        profile: &Profile<'_>,
        newest: Option<u32>,
        chains: &mut Chains,
    ) -> Result<Vec<Run>, SeccompError> {
        self.tried.sort_unstable();
        let default = Verdict::Return(profile.default_ret);
        let beyond = match newest {
            Some(_) if profile.enosys_tail => Verdict::Return(RET_ERRNO | ENOSYS),
            _ => default,
        };
        let mut runs: Vec<Run> = Vec::with_capacity(160);
        let mut push = |start, verdict| {
            if runs.last().is_none_or(|last| last.verdict != verdict) {
                runs.push(Run { start, verdict });
            }
        };
        let mut verdict = |slot: usize| {
            Ok(match self.slots[slot] {
                Slot::Empty => default,
                Slot::Always(ret) => Verdict::Return(ret),
                Slot::Conditional => Verdict::Chain(self.chain(slot, profile, chains)?),
            })
        };
        let known = newest.map_or(0, |newest| newest + 1);
        for number in 0..known {
            push(number, verdict(Slots::index(number))?);
        }
        push(known, beyond);
        if self.arch == Arch::Arm {
            for slot in DENSE..DENSE + PRIVATE {
                push(Slots::number(slot), verdict(slot)?);
            }
            push(Slots::number(DENSE + PRIVATE), beyond);
        }
        Ok(runs)
    }

    /// Whether a slot is a multiplexer's, whose conditions are not all the profile's own.
    fn is_multiplexer(&self, slot: usize) -> bool {
        self.arch.is_multiplexer(Slots::number(slot))
    }

    /// The chain of a slot, shared with calls that have the same.
    fn chain(
        &self,
        at: usize,
        profile: &Profile<'_>,
        chains: &mut Chains,
    ) -> Result<usize, SeccompError> {
        let first = self.tried.partition_point(|tried| tried.0 < at);
        let mut found: Vec<usize> = self.tried[first..]
            .iter()
            .take_while(|tried| tried.0 == at)
            .map(|tried| tried.1)
            .collect();
        let narrow = self.arch.is_narrow();
        // Conditions that say nothing here have no part in the order.
        let conditions = |clause: usize| {
            let all = &profile.conditions[profile.clauses[clause].conditions.clone()];
            all.iter()
                .filter(move |condition| !condition.is_empty(narrow))
        };
        let order = |a, b| conditions(a).map(rank).cmp(conditions(b).map(rank));
        found.sort_by(|&a, &b| order(a, b));
        let mut clauses: Vec<usize> = Vec::with_capacity(found.len());
        for later in found {
            let alike = clauses
                .iter()
                .rev()
                .take_while(|&&first| order(first, later).is_eq());
            let same = alike
                .copied()
                .find(|&first| conditions(first).eq(conditions(later)));
            match same.map(|first| (&profile.clauses[first], &profile.clauses[later])) {
                None => clauses.push(later),
                Some((a, b)) if a.ret != b.ret && !self.is_multiplexer(at) => {
                    return Err(SeccompError::new(
                        &format!("/syscalls/{}", a.rule.max(b.rule)),
                        &format!(
                            "asks for another action than /linux/seccomp/syscalls/{} for the same system call and arguments",
                            a.rule.min(b.rule)
                        ),
                    ));
                }
                Some(_) => {}
            }
        }
        let chain = Chain { clauses, narrow };
        Ok(chains
            .0
            .iter()
            .position(|known| *known == chain)
            .unwrap_or_else(|| {
                chains.0.push(chain);
                chains.0.len() - 1
            }))
    }
}

/// libseccomp's order of clauses (src/db.c, _db_chain_lt), to be compared from the first
/// condition on: higher arguments first, equality before "less" before "greater", and the
/// narrower comparison first; the shorter clause where one begins like the other. Only
/// where masks and plain values of one argument mix does libseccomp's order differ.
fn rank(condition: &Condition) -> Reverse<(u32, u32, u64)> {
    let (class, datum) = match condition.op {
        Operator::MaskedEq | Operator::Eq | Operator::Ne => (3, condition.datum),
        Operator::Lt | Operator::Le => (2, !condition.datum),
        Operator::Ge | Operator::Gt => (1, condition.datum),
    };
    Reverse((condition.arg, class, datum))
}

/// The runs of an architecture laid over those of another: where both say the same the
/// verdict is `Base`.
pub(super) fn lay_over(base: &[Run], runs: &[Run]) -> Vec<Run> {
    let mut laid: Vec<Run> = Vec::with_capacity(runs.len());
    let (mut at, mut base_at) = (0, 0);
    let mut start = 0;
    loop {
        let verdict = match runs[at].verdict {
            same if same == base[base_at].verdict => Verdict::Base,
            own => own,
        };
        if laid.last().is_none_or(|last| last.verdict != verdict) {
            laid.push(Run { start, verdict });
        }
        let next = runs.get(at + 1).map(|run| run.start);
        let base_next = base.get(base_at + 1).map(|run| run.start);
        let Some(nearest) = [next, base_next].into_iter().flatten().min() else {
            return laid;
        };
        at += usize::from(next == Some(nearest));
        base_at += usize::from(base_next == Some(nearest));
        start = nearest;
    }
}
