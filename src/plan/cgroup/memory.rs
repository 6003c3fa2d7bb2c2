//! `linux.resources.memory`.

use super::builder::{Builder, Place};
use super::{Missing, Now, ResourceError, Version};
use crate::config::spec::Memory;

const LIMIT: &str = "/linux/resources/memory/limit";
const SWAP: &str = "/linux/resources/memory/swap";
const RESERVATION: &str = "/linux/resources/memory/reservation";
const SWAPPINESS: &str = "/linux/resources/memory/swappiness";
const KERNEL_TCP: &str = "/linux/resources/memory/kernelTCP";
const OOM: &str = "/linux/resources/memory/disableOOMKiller";

pub(super) fn plan(b: &mut Builder, memory: Option<&Memory>) -> Result<(), ResourceError> {
    let Some(memory) = memory else { return Ok(()) };
    // 0 is "not set" to runc, and engines write it.
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    let limits = Limits {
        limit: set(memory.limit),
        swap: set(memory.swap),
        reservation: set(memory.reservation),
    };
    for (value, at) in [
        (limits.limit, LIMIT),
        (limits.swap, SWAP),
        (limits.reservation, RESERVATION),
    ] {
        if let Some(value) = value.filter(|value| *value < -1) {
            let message = format!("{value} is neither a number of bytes nor -1 (no limit)");
            return Err(ResourceError::new(at, message));
        }
    }
    if let (Some(limit), Some(swap)) = (limits.limit, limits.swap)
        && (0..limit).contains(&swap)
    {
        return Err(too_little(swap, limit));
    }
    // Go's encoder writes -1 as the largest unsigned number; runc takes it for "not set".
    let swappiness = memory.swappiness.filter(|value| *value != u64::MAX);
    if let Some(value) = swappiness.filter(|value| *value > 100) {
        let message = format!("{value} is not a swappiness: it goes from 0 to 100");
        return Err(ResourceError::new(SWAPPINESS, message));
    }
    if memory.kernel.is_some() {
        b.warn(
            "/linux/resources/memory/kernel",
            "ignored: the kernel has no such limit any more",
        );
    }
    if memory.use_hierarchy == Some(false) {
        b.warn(
            "/linux/resources/memory/useHierarchy",
            "ignored: memory is always hierarchical",
        );
    }
    // A new cgroup has its OOM killer.
    let oom_disabled = memory
        .disable_oom_killer
        .filter(|disabled| *disabled || b.now().is_some());
    if let Some(now) = b.now() {
        limits.check_now(now)?;
    }
    let kernel_tcp = set(memory.kernel_tcp);
    let first = [
        (limits.limit.is_some(), LIMIT),
        (limits.swap.is_some(), SWAP),
        (limits.reservation.is_some(), RESERVATION),
        (swappiness.is_some(), SWAPPINESS),
        (oom_disabled.is_some(), OOM),
        (kernel_tcp.is_some(), KERNEL_TCP),
    ];
    let Some((_, first)) = first.into_iter().find(|(set, _)| *set) else {
        return Ok(());
    };
    let place = b.place("memory", "memory", first)?;
    match place.version {
        Version::V1 => {
            limits.plan_v1(b, place);
            if let Some(disabled) = oom_disabled {
                b.write(place, "memory.oom_control", u8::from(disabled), OOM);
            }
            if let Some(value) = swappiness {
                b.write(place, "memory.swappiness", value, SWAPPINESS);
            }
            if let Some(value) = kernel_tcp {
                // The kernel means to drop it one day.
                b.write(place, "memory.kmem.tcp.limit_in_bytes", value, KERNEL_TCP);
            }
        }
        Version::V2 => {
            let check = memory.check_before_update == Some(true);
            limits.plan_v2(b, place, check)?;
            if oom_disabled == Some(true) {
                b.warn(OOM, "ignored: cgroup v2 cannot switch the OOM killer off");
            }
            if swappiness.is_some() {
                b.warn(SWAPPINESS, "ignored: cgroup v2 has no swappiness");
            }
            if kernel_tcp.is_some() {
                b.warn(KERNEL_TCP, "ignored: cgroup v2 counts it as memory");
            }
        }
    }
    Ok(())
}

/// Bytes; -1 for no limit.
struct Limits {
    limit: Option<i64>,
    swap: Option<i64>,
    reservation: Option<i64>,
}

impl Limits {
    /// A limit of memory alone leaves that of memory and swap together as it was asked for.
    fn check_now(&self, now: &Now) -> Result<(), ResourceError> {
        match (self.limit, self.swap, now.memory_swap) {
            (Some(limit), None, Some(swap)) if swap > 0 && limit > swap => {
                let message = format!(
                    "{limit} is more than memory and swap together may be ({swap}), which is to be raised as well"
                );
                Err(ResourceError::new(LIMIT, message))
            }
            _ => Ok(()),
        }
    }

    fn plan_v1(&self, b: &mut Builder, place: Place) {
        if let Some(limit) = self.limit {
            // The kernel wants limit <= memory and swap at every moment.
            b.write(place, "memory.limit_in_bytes", limit, LIMIT).retry = true;
        }
        match (self.swap, self.limit) {
            (Some(swap), _) => {
                b.write(place, "memory.memsw.limit_in_bytes", swap, SWAP);
            }
            // Unlimited memory means unlimited swap too, where swap is counted at all.
            (None, Some(-1)) => {
                b.write(place, "memory.memsw.limit_in_bytes", -1, LIMIT)
                    .missing = Missing::Skip;
            }
            (None, _) => {}
        }
        if let Some(reservation) = self.reservation {
            b.write(
                place,
                "memory.soft_limit_in_bytes",
                reservation,
                RESERVATION,
            );
        }
    }

    fn plan_v2(&self, b: &mut Builder, place: Place, check: bool) -> Result<(), ResourceError> {
        if let Some((value, pointer)) = self.swap_v2(b.now())? {
            let unlimited = value == 0 || value == -1;
            let write = b.write(place, "memory.swap.max", or_max(value), pointer);
            if unlimited {
                // Without swap accounting there is no swap to limit.
                write.missing = Missing::Skip;
            }
        }
        if let Some(limit) = self.limit {
            let write = b.write(place, "memory.max", or_max(limit), LIMIT);
            if check && limit > 0 {
                write.above = Some("memory.current");
            }
        }
        if let Some(reservation) = self.reservation {
            b.write(place, "memory.low", or_max(reservation), RESERVATION);
        }
        Ok(())
    }

    /// v2 limits swap alone where the specification has memory and swap together. What is not
    /// given is taken from what holds, so that the sum is what was asked for.
    fn swap_v2(&self, now: Option<&Now>) -> Result<Option<(i64, &'static str)>, ResourceError> {
        let (swap, pointer) = match (self.swap, self.limit) {
            (None, Some(-1)) => return Ok(Some((-1, LIMIT))),
            (None, None) => return Ok(None),
            (None, Some(_)) => match now.and_then(|now| now.memory_swap) {
                Some(swap) if swap > 0 => (swap, LIMIT),
                _ => return Ok(None),
            },
            (Some(swap), _) => (swap, SWAP),
        };
        match (swap, self.limit.or(now.and_then(|now| now.memory_max))) {
            (-1, _) | (_, Some(-1)) => Ok(Some((swap, pointer))),
            (swap, None) => Err(ResourceError::new(
                pointer,
                format!(
                    "{swap} limits memory and swap together, so memory.limit has to be given as well"
                ),
            )),
            (swap, Some(limit)) if swap < limit => Err(too_little(swap, limit)),
            (swap, Some(limit)) => Ok(Some((swap - limit, pointer))),
        }
    }
}

fn too_little(swap: i64, limit: i64) -> ResourceError {
    let message = format!(
        "{swap} is less than memory.limit ({limit}), but it is the limit of memory and swap together"
    );
    ResourceError::new(SWAP, message)
}

fn or_max(value: i64) -> String {
    if value == -1 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}
