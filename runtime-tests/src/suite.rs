//! What a test is, and the list of all of them.

use crate::context::Ctx;
use crate::outcome::Outcome;

/// One promise and the function that tries it.
pub struct Test {
    /// `topic::promise`.
    pub name: &'static str,
    /// The test.
    pub run: fn(&Ctx) -> Outcome,
    /// How it is scheduled.
    pub kind: Kind,
}

/// How a test is scheduled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Beside others, with the usual time limit.
    Plain,
    /// Alone, because it measures or changes something the whole machine shares.
    Serial,
    /// Beside others, with five times the usual limit, because it repeats much.
    Long,
    /// Alone, with five times the usual limit.
    LongSerial,
}

impl Kind {
    /// Whether no other test may run at the same time.
    pub fn is_alone(self) -> bool {
        matches!(self, Kind::Serial | Kind::LongSerial)
    }
}

/// Declares the tests of one topic file: `tests!("topic": name, name as Serial, ...)`.
#[macro_export]
macro_rules! tests {
    ($topic:literal: $($name:ident $(as $kind:ident)?),* $(,)?) => {
        /// The tests of this topic.
        pub const TESTS: &[$crate::suite::Test] = &[$(
            $crate::suite::Test {
                name: concat!($topic, "::", stringify!($name)),
                run: $name,
                kind: $crate::tests!(@kind $($kind)?),
            }
        ),*];
    };
    (@kind) => { $crate::suite::Kind::Plain };
    (@kind $kind:ident) => { $crate::suite::Kind::$kind };
}

/// The tests whose name holds any of the filters; all when there is none.
pub fn select(filters: &[String]) -> Vec<&'static Test> {
    crate::tests::ALL
        .iter()
        .flat_map(|topic| topic.iter())
        .filter(|test| filters.is_empty() || filters.iter().any(|f| test.name.contains(f.as_str())))
        .collect()
}

/// The test of exactly this name.
pub fn find(name: &str) -> Option<&'static Test> {
    crate::tests::ALL
        .iter()
        .flat_map(|topic| topic.iter())
        .find(|test| test.name == name)
}

#[cfg(test)]
mod tests {
    use super::{find, select};

    #[test]
    fn names_are_unique_and_found() {
        let all = select(&[]);
        for test in &all {
            let same = all.iter().filter(|other| other.name == test.name).count();
            assert_eq!(same, 1, "{}", test.name);
            assert!(find(test.name).is_some());
        }
    }

    #[test]
    fn filters_are_substrings_of_which_any_fits() {
        let filters = ["killed::".to_string(), "locking::".to_string()];
        let chosen = select(&filters);
        assert!(!chosen.is_empty());
        assert!(
            chosen
                .iter()
                .all(|t| t.name.starts_with("killed") || t.name.starts_with("locking"))
        );
    }
}
