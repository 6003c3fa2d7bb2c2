//! The tests, one file per topic; each name states a promise.

mod foreground;
mod lifecycle;
mod mounts;
mod namespaces;

use crate::suite::Test;

/// All topics.
pub const ALL: &[&[Test]] = &[
    lifecycle::TESTS,
    foreground::TESTS,
    namespaces::TESTS,
    mounts::TESTS,
];
