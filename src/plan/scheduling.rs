//! `process.scheduler`, `process.ioPriority`, `linux.personality`, `linux.memoryPolicy`.

use crate::config::list;
use crate::config::names::{self, position};
use crate::config::spec::{IoPriority, Linux, MemoryPolicy, Process, Scheduler, Text};
use crate::sys::process::SchedAttr;

/// How the program is scheduled, where its memory comes from, and as what kind of machine it
/// sees the host.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SchedulingPlan {
    /// What sched_setattr(2) takes.
    pub scheduler: Option<SchedAttr>,
    /// Class and priority as ioprio_set(2) takes them.
    pub io_priority: Option<u32>,
    /// `PER_*`.
    pub personality: Option<u64>,
    /// What set_mempolicy(2) takes.
    pub memory: Option<MemoryPolicyPlan>,
}

/// Where memory comes from.
#[derive(Debug, PartialEq, Eq)]
pub struct MemoryPolicyPlan {
    /// `MPOL_*` and its `MPOL_F_*` in one number.
    pub mode: u32,
    /// The nodes, one bit each, no longer than the highest needs.
    pub nodes: Vec<u64>,
}

/// Properties whose step can fail; the place is the failure's index.
pub const POINTERS: [&str; 4] = [
    "/process/scheduler",
    "/process/ioPriority",
    "/linux/personality",
    "/linux/memoryPolicy",
];

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
        memory: linux.memory_policy.as_ref().map(memory_policy),
    }
}

fn memory_policy(policy: &MemoryPolicy<'_>) -> MemoryPolicyPlan {
    let mode = position(&names::MEMORY_POLICIES, &policy.mode).unwrap_or(0) as u32;
    let flags = policy
        .flags
        .iter()
        .filter_map(|flag| position(&names::MEMORY_POLICY_FLAGS, flag));
    MemoryPolicyPlan {
        mode: flags.fold(mode, |all, index| all | 1 << (13 + index)),
        nodes: policy.nodes.as_deref().map(mask).unwrap_or_default(),
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
        assert_eq!(plan.memory, None);
    }

    #[test]
    fn every_word_of_the_scheduler_has_the_kernels_number() {
        // include/uapi/linux/sched.h.
        for (policy, number) in [
            ("SCHED_OTHER", 0),
            ("SCHED_FIFO", 1),
            ("SCHED_RR", 2),
            ("SCHED_BATCH", 3),
            ("SCHED_ISO", 4),
            ("SCHED_IDLE", 5),
            ("SCHED_DEADLINE", 6),
        ] {
            let text = format!(
                r#"{{"policy":"{policy}","priority":7,"runtime":1,"deadline":2,"period":3}}"#
            );
            let found = scheduler(&serde_json::from_str(&text).unwrap());
            assert_eq!((found.policy, found.priority), (number, 7), "{policy}");
            assert_eq!((found.runtime, found.deadline, found.period), (1, 2, 3));
        }
        for (flag, bit) in [
            ("SCHED_FLAG_RESET_ON_FORK", 0x01),
            ("SCHED_FLAG_RECLAIM", 0x02),
            ("SCHED_FLAG_DL_OVERRUN", 0x04),
            ("SCHED_FLAG_KEEP_POLICY", 0x08),
            ("SCHED_FLAG_KEEP_PARAMS", 0x10),
            ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
            ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
        ] {
            let text = format!(r#"{{"policy":"SCHED_OTHER","flags":["{flag}"]}}"#);
            let found = scheduler(&serde_json::from_str(&text).unwrap());
            assert_eq!(found.flags, bit, "{flag}");
        }
        for (class, number) in [
            ("IOPRIO_CLASS_RT", 1),
            ("IOPRIO_CLASS_BE", 2),
            ("IOPRIO_CLASS_IDLE", 3),
        ] {
            let text = format!(r#"{{"class":"{class}","priority":5}}"#);
            let found = io_priority(&serde_json::from_str(&text).unwrap());
            assert_eq!(found, number << 13 | 5, "{class}");
        }
    }

    #[test]
    fn a_memory_policy_is_a_mode_with_flags_and_a_mask_of_nodes() {
        // include/uapi/linux/mempolicy.h.
        for (mode, number) in [
            ("MPOL_DEFAULT", 0),
            ("MPOL_PREFERRED", 1),
            ("MPOL_BIND", 2),
            ("MPOL_INTERLEAVE", 3),
            ("MPOL_LOCAL", 4),
            ("MPOL_PREFERRED_MANY", 5),
            ("MPOL_WEIGHTED_INTERLEAVE", 6),
        ] {
            let text = format!(r#"{{"mode":"{mode}"}}"#);
            let plan = memory_policy(&serde_json::from_str(&text).unwrap());
            assert_eq!((plan.mode, plan.nodes), (number, vec![]), "{mode}");
        }
        for (flag, bit) in [
            ("MPOL_F_STATIC_NODES", 1 << 15),
            ("MPOL_F_RELATIVE_NODES", 1 << 14),
            ("MPOL_F_NUMA_BALANCING", 1 << 13),
        ] {
            let text = format!(r#"{{"mode":"MPOL_BIND","nodes":"0","flags":["{flag}"]}}"#);
            let plan = memory_policy(&serde_json::from_str(&text).unwrap());
            assert_eq!((plan.mode, plan.nodes), (2 | bit, vec![1]), "{flag}");
        }
        for (nodes, mask) in [
            ("0-1,3", vec![0b1011]),
            ("63", vec![1 << 63]),
            ("0, 64-65", vec![1, 3]),
            ("130", vec![0, 0, 4]),
        ] {
            let text = format!(r#"{{"mode":"MPOL_BIND","nodes":"{nodes}"}}"#);
            let plan = memory_policy(&serde_json::from_str(&text).unwrap());
            assert_eq!(plan.nodes, mask, "{nodes}");
        }
    }
}
