//! `linux.namespaces` and what hangs on the time namespace.

use crate::config::error::ConfigError;
use crate::config::names;
use crate::config::place::Place;
use crate::config::spec::{Map, Namespace, TimeOffset};

use super::paths;

/// The largest offset of a clock in seconds (`KTIME_SEC_MAX`): the kernel
/// refuses what does not fit 63 bits of nanoseconds.
const CLOCK_SECONDS_MAX: u64 = i64::MAX as u64 / 1_000_000_000;

/// A kind of namespace; the number is its index in [`names::NAMESPACES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Network = 1,
    Mount = 2,
    Ipc = 3,
    Uts = 4,
    User = 5,
    Time = 7,
}

/// The namespaces of a container, at most one of each kind.
pub(super) struct Namespaces<'s, 'a>([Option<&'s Namespace<'a>>; names::NAMESPACES.len()]);

impl<'s, 'a> Namespaces<'s, 'a> {
    /// Reads the list, refusing unknown kinds, duplicates and bad paths.
    pub(super) fn read(at: &Place<'_>, list: &'s [Namespace<'a>]) -> Result<Self, ConfigError> {
        let mut found = [None; names::NAMESPACES.len()];
        for (index, namespace) in list.iter().enumerate() {
            let place = at.element(index);
            let kind_place = place.member("type");
            let kind = names::require_known(
                &kind_place,
                "namespace",
                &names::NAMESPACES,
                &namespace.kind,
            )?;
            if let Some(slot) = found.get_mut(kind)
                && slot.replace(namespace).is_some()
            {
                return Err(kind_place.error(format_args!(
                    "the namespace {:?} is given twice",
                    namespace.kind
                )));
            }
            if let Some(path) = &namespace.path {
                paths::require_absolute(&place.member("path"), "the namespace's path", path)?;
            }
        }
        Ok(Namespaces(found))
    }

    fn get(&self, kind: Kind) -> Option<&'s Namespace<'a>> {
        self.0.get(kind as usize).copied().flatten()
    }

    /// Whether the container has its own, new or joined.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.get(kind).is_some()
    }

    /// Whether one is made for the container.
    pub(super) fn is_new(&self, kind: Kind) -> bool {
        self.get(kind)
            .is_some_and(|namespace| namespace.path.is_none())
    }
}

/// Checks `linux.timeOffsets` (time_namespaces(7)).
pub(super) fn check_time_offsets(
    at: &Place<'_>,
    offsets: &Map<'_, TimeOffset>,
    namespaces: &Namespaces<'_, '_>,
) -> Result<(), ConfigError> {
    if offsets.is_empty() {
        return Ok(());
    }
    if !namespaces.is_new(Kind::Time) {
        return Err(at
            .error("clocks can only be set off in a new time namespace")
            .with_hint("add {\"type\": \"time\"} without a path to /linux/namespaces"));
    }
    for (clock, offset) in offsets {
        let place = at.member(clock);
        names::require_known(&place, "clock", &names::CLOCKS, clock)?;
        if offset.nanosecs > 999_999_999 {
            return Err(place.member("nanosecs").error(format_args!(
                "{} is out of range (0 to 999999999)",
                offset.nanosecs
            )));
        }
        if offset.secs.unsigned_abs() > CLOCK_SECONDS_MAX {
            return Err(place.member("secs").error(format_args!(
                "{} is out of range (-{CLOCK_SECONDS_MAX} to {CLOCK_SECONDS_MAX})",
                offset.secs
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_are_indexes_of_the_table_of_names() {
        for (kind, name) in [
            (Kind::Network, "network"),
            (Kind::Mount, "mount"),
            (Kind::Ipc, "ipc"),
            (Kind::Uts, "uts"),
            (Kind::User, "user"),
            (Kind::Time, "time"),
        ] {
            assert_eq!(names::NAMESPACES[kind as usize], name);
        }
    }
}
