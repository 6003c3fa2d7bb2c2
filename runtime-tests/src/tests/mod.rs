//! The tests, one file per topic; each name states a promise.

mod lifecycle;

use crate::suite::Test;

/// All topics.
pub const ALL: &[&[Test]] = &[lifecycle::TESTS];
