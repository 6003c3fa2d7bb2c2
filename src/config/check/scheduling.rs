//! How a process is scheduled: CPU, I/O and affinity.

use crate::config::error::ConfigError;
use crate::config::list;
use crate::config::names;
use crate::config::place::Place;
use crate::config::spec::{CpuAffinity, Hooks, IoPriority, Process, Scheduler};

/// The highest number a CPU can have (`CONFIG_NR_CPUS` is at most 8192).
const CPU_MAX: u32 = 8191;

/// Checks `process.scheduler` by the rules of sched_setattr(2).
pub(super) fn check_scheduler(
    at: &Place<'_>,
    scheduler: &Scheduler<'_>,
) -> Result<(), ConfigError> {
    let policy = at.member("policy");
    names::require_known(
        &policy,
        "scheduling policy",
        &names::SCHEDULER_POLICIES,
        &scheduler.policy,
    )?;
    let flags = at.member("flags");
    for (index, flag) in scheduler.flags.iter().enumerate() {
        let place = flags.element(index);
        names::require_known(&place, "scheduling flag", &names::SCHEDULER_FLAGS, flag)?;
    }
    if !(-20..=19).contains(&scheduler.nice) {
        return Err(at.member("nice").error(format_args!(
            "{} is out of range (-20 to 19)",
            scheduler.nice
        )));
    }
    // With one of these flags the kernel does not look at the numbers.
    let keeps = scheduler
        .flags
        .iter()
        .any(|flag| *flag == "SCHED_FLAG_KEEP_POLICY" || *flag == "SCHED_FLAG_KEEP_PARAMS");
    check_priority(&at.member("priority"), scheduler, keeps)?;
    check_deadline(at, scheduler, keeps)
}

fn check_priority(
    at: &Place<'_>,
    scheduler: &Scheduler<'_>,
    keeps: bool,
) -> Result<(), ConfigError> {
    let is_real_time = matches!(scheduler.policy.as_str(), "SCHED_FIFO" | "SCHED_RR");
    if !is_real_time && scheduler.priority != 0 {
        return Err(at.error(format_args!(
            "a priority can only be given with SCHED_FIFO or SCHED_RR, not {}",
            scheduler.policy
        )));
    }
    if is_real_time && !keeps && !(1..=99).contains(&scheduler.priority) {
        return Err(at.error(format_args!(
            "{} is out of range for {} (1 to 99)",
            scheduler.priority, scheduler.policy
        )));
    }
    Ok(())
}

fn check_deadline(
    at: &Place<'_>,
    scheduler: &Scheduler<'_>,
    keeps: bool,
) -> Result<(), ConfigError> {
    let (runtime, deadline, period) = (scheduler.runtime, scheduler.deadline, scheduler.period);
    if scheduler.policy != "SCHED_DEADLINE" {
        return match [
            ("runtime", runtime),
            ("deadline", deadline),
            ("period", period),
        ]
        .iter()
        .find(|(_, value)| *value != 0)
        {
            Some((name, _)) => Err(at.member(name).error(format_args!(
                "a {name} can only be given with SCHED_DEADLINE, not {}",
                scheduler.policy
            ))),
            None => Ok(()),
        };
    }
    // A period of 0 means that it is as long as the deadline.
    let in_order = runtime <= deadline && (period == 0 || deadline <= period);
    if keeps || (runtime >= 1024 && in_order && deadline.max(period) < 1 << 63) {
        return Ok(());
    }
    Err(at.error(format_args!(
        "SCHED_DEADLINE needs 1024 <= runtime <= deadline <= period in nanoseconds, found \
         {runtime}, {deadline} and {period}"
    )))
}

/// A task under SCHED_DEADLINE may not fork (sched(7)), and startContainer hooks are its
/// children. (runc and crun fail at `start`.)
pub(super) fn check_hooks(
    at: &Place<'_>,
    process: &Process<'_>,
    hooks: &Hooks<'_>,
) -> Result<(), ConfigError> {
    let has = |scheduler: &Scheduler<'_>, flag: &str| scheduler.flags.iter().any(|f| *f == flag);
    match &process.scheduler {
        Some(scheduler)
            if scheduler.policy == "SCHED_DEADLINE"
                && !hooks.start_container.is_empty()
                && !has(scheduler, "SCHED_FLAG_RESET_ON_FORK")
                && !has(scheduler, "SCHED_FLAG_KEEP_POLICY") =>
        {
            Err(at
                .member("scheduler")
                .member("policy")
                .error("the kernel lets no process fork under SCHED_DEADLINE, so no startContainer hook could run")
                .with_hint("add \"SCHED_FLAG_RESET_ON_FORK\" to the scheduler's flags"))
        }
        _ => Ok(()),
    }
}

/// Checks `process.ioPriority` (ioprio_set(2)).
pub(super) fn check_io_priority(
    at: &Place<'_>,
    priority: &IoPriority<'_>,
) -> Result<(), ConfigError> {
    let class = at.member("class");
    names::require_known(
        &class,
        "I/O priority class",
        &names::IO_PRIORITY_CLASSES,
        &priority.class,
    )?;
    if !(0..=7).contains(&priority.priority) {
        return Err(at.member("priority").error(format_args!(
            "{} is out of range (0 to 7)",
            priority.priority
        )));
    }
    Ok(())
}

/// Checks `process.execCPUAffinity`.
pub(super) fn check_cpu_affinity(
    at: &Place<'_>,
    affinity: &CpuAffinity<'_>,
) -> Result<(), ConfigError> {
    for (name, cpus) in [("initial", &affinity.initial), ("final", &affinity.last)] {
        let Some(cpus) = cpus else { continue };
        let place = at.member(name);
        let mut count = 0;
        for range in list::ranges(cpus) {
            let range = range.map_err(|error| place.error(error))?;
            if *range.end() > CPU_MAX {
                return Err(place.error(format_args!(
                    "there is no CPU {} (at most {CPU_MAX})",
                    range.end()
                )));
            }
            count += 1;
        }
        if count == 0 {
            return Err(place.error(format_args!("{cpus:?} names no CPU")));
        }
    }
    Ok(())
}
