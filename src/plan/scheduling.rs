//! `process.scheduler`, `process.ioPriority`, `linux.personality`.

use crate::config::list;
use crate::config::names::{self, position};
use crate::config::spec::{IoPriority, Linux, Process, Scheduler, Text};
use crate::sys::process::SchedAttr;

/// How the program is scheduled, and as what kind of machine it sees the host.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SchedulingPlan {
    /// What sched_setattr(2) takes.
    pub scheduler: Option<SchedAttr>,
    /// Class and priority as ioprio_set(2) takes them.
    pub io_priority: Option<u32>,
    /// `PER_*`.
    pub personality: Option<u64>,
}

/// Personalities of linux/personality.h.
const PER_LINUX: u64 = 0;
const PER_LINUX32: u64 = 8;

/// The CPUs of a process that `exec` adds, one bit a CPU (`process.execCPUAffinity`).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AffinityPlan {
    /// Before it joins the container's cgroup.
    pub initial: Option<Vec<u64>>,
    /// After it.
    pub last: Option<Vec<u64>>,
}

/// Plans them; the check has refused what is no list.
pub fn affinity(process: &Process<'_>) -> AffinityPlan {
    let plan = |list: &Option<Text<'_>>| list.as_deref().map(mask);
    match &process.exec_cpu_affinity {
        Some(affinity) => AffinityPlan {
            initial: plan(&affinity.initial),
            last: plan(&affinity.last),
        },
        None => AffinityPlan::default(),
    }
}

fn mask(list: &str) -> Vec<u64> {
    let mut mask = Vec::new();
    for number in list::ranges(list).filter_map(Result::ok).flatten() {
        let word = number as usize / 64;
        if mask.len() <= word {
            mask.resize(word + 1, 0);
        }
        mask[word] |= 1 << (number % 64);
    }
    mask
}

/// Plans them; the check has refused unknown words.
pub fn plan(process: &Process<'_>, linux: &Linux<'_>) -> SchedulingPlan {
    SchedulingPlan {
        scheduler: process.scheduler.as_ref().map(scheduler),
        io_priority: process.io_priority.as_ref().map(io_priority),
        personality: linux.personality.as_ref().map(|p| match p.domain.as_str() {
            "LINUX32" => PER_LINUX32,
            _ => PER_LINUX,
        }),
    }
}

fn scheduler(s: &Scheduler<'_>) -> SchedAttr {
    let flags = s
        .flags
        .iter()
        .filter_map(|f| position(&names::SCHEDULER_FLAGS, f));
    SchedAttr {
        policy: position(&names::SCHEDULER_POLICIES, &s.policy).unwrap_or(0) as u32,
        flags: flags.fold(0, |all, bit| all | 1 << bit),
        nice: s.nice,
        priority: s.priority.unsigned_abs(),
        runtime: s.runtime,
        deadline: s.deadline,
        period: s.period,
    }
}

/// `IOPRIO_PRIO_VALUE` of linux/ioprio.h; class 0 is "none".
fn io_priority(p: &IoPriority<'_>) -> u32 {
    let class = position(&names::IO_PRIORITY_CLASSES, &p.class).map_or(0, |at| at as u32 + 1);
    class << 13 | p.priority.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_the_kernels_numbers() {
        let process: Process<'_> = serde_json::from_str(
            r#"{"scheduler":{"policy":"SCHED_BATCH","nice":5,"flags":["SCHED_FLAG_RESET_ON_FORK"]},
                "ioPriority":{"class":"IOPRIO_CLASS_IDLE","priority":6}}"#,
        )
        .unwrap();
        let linux: Linux<'_> =
            serde_json::from_str(r#"{"personality":{"domain":"LINUX32"}}"#).unwrap();
        let plan = plan(&process, &linux);
        let scheduler = plan.scheduler.unwrap();
        assert_eq!(
            (scheduler.policy, scheduler.nice, scheduler.flags),
            (3, 5, 1)
        );
        assert_eq!(plan.io_priority, Some(3 << 13 | 6));
        assert_eq!(plan.personality, Some(8));
    }
}
