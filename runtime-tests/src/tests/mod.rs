//! The tests, one file per topic; each name states a promise.

mod capabilities;
mod devices;
mod engines;
mod foreground;
mod hooks;
mod lifecycle;
mod mounts;
mod namespaces;
mod process;
mod seccomp;

use crate::suite::Test;

/// All topics.
pub const ALL: &[&[Test]] = &[
    lifecycle::TESTS,
    foreground::TESTS,
    namespaces::TESTS,
    mounts::TESTS,
    devices::TESTS,
    process::TESTS,
    capabilities::TESTS,
    seccomp::TESTS,
    hooks::TESTS,
    engines::TESTS,
];
