//! Places the search over system call numbers: a balanced tree of `>=` tests over the runs,
//! where a number that stands alone among others costs one `==` test instead of two `>=`.

use super::asm::{Assembler, Target, Test};
use super::verdicts::{Run, Verdict};

/// More `==` tests than these in a row are divided among leaves.
const EXCEPTIONS: usize = 4;

/// Numbers from `start` that share a verdict but for some.
struct Leaf {
    start: u32,
    verdict: Verdict,
    /// Into `Tree::exceptions`.
    first: usize,
    last: usize,
}

struct Tree<F> {
    leaves: Vec<Leaf>,
    /// Numbers with a verdict of their own.
    exceptions: Vec<(u32, Verdict)>,
    /// Where a verdict's instructions are.
    target: F,
}

/// Places the search for the accumulator's value among `runs`.
pub(super) fn place(
    asm: &mut Assembler,
    runs: &[Run],
    target: impl Fn(Verdict) -> Target,
) -> Target {
    let mut tree = Tree {
        leaves: Vec::with_capacity(runs.len()),
        exceptions: Vec::with_capacity(runs.len()),
        target,
    };
    tree.fill(runs);
    tree.place(asm, 0, tree.leaves.len())
}

impl<F: Fn(Verdict) -> Target> Tree<F> {
    fn fill(&mut self, runs: &[Run]) {
        let mut at = 0;
        while at < runs.len() {
            let (run, next) = (runs[at], runs.get(at + 1));
            match (self.leaves.last_mut(), next) {
                (Some(leaf), Some(next))
                    if next.start - run.start == 1 && next.verdict == leaf.verdict =>
                {
                    self.exceptions.push((run.start, run.verdict));
                    leaf.last += 1;
                    at += 2;
                    if leaf.last - leaf.first == EXCEPTIONS && at < runs.len() {
                        let (start, verdict) = (next.start, next.verdict);
                        let first = self.exceptions.len();
                        self.leaves.push(Leaf {
                            start,
                            verdict,
                            first,
                            last: first,
                        });
                    }
                }
                _ => {
                    let first = self.exceptions.len();
                    self.leaves.push(Leaf {
                        start: run.start,
                        verdict: run.verdict,
                        first,
                        last: first,
                    });
                    at += 1;
                }
            }
        }
    }

    fn place(&self, asm: &mut Assembler, from: usize, to: usize) -> Target {
        if to - from == 1 {
            let leaf = &self.leaves[from];
            let mut next = (self.target)(leaf.verdict);
            for &(number, verdict) in self.exceptions[leaf.first..leaf.last].iter().rev() {
                next = asm.test(Test::Eq, number, (self.target)(verdict), next);
            }
            return next;
        }
        let middle = from + (to - from) / 2;
        let above = self.place(asm, middle, to);
        let below = self.place(asm, from, middle);
        asm.test(Test::Ge, self.leaves[middle].start, above, below)
    }
}
