//! How a test ends: passed, failed with a reason, or skipped with a reason.

use std::fmt;

/// Why a test did not pass.
#[derive(Debug)]
pub enum Stop {
    /// A promise does not hold, or the test could not do its own work.
    Fail(String),
    /// The machine cannot show the promise; names what is missing.
    Skip(String),
}

/// What tests and their helpers return.
pub type Outcome<T = ()> = Result<T, Stop>;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Fail(text) | Stop::Skip(text) => f.write_str(text),
        }
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Stop {
        Stop::Fail(error.to_string())
    }
}

impl From<rustix::io::Errno> for Stop {
    fn from(error: rustix::io::Errno) -> Stop {
        Stop::Fail(error.to_string())
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Stop {
        Stop::Fail(error.to_string())
    }
}

impl From<std::num::ParseIntError> for Stop {
    fn from(error: std::num::ParseIntError) -> Stop {
        Stop::Fail(error.to_string())
    }
}

/// Adds the subject to an error on its way up.
pub trait Because<T> {
    /// Turns the error, or the absence of a value, into a failure that starts with `subject`.
    fn because(self, subject: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: fmt::Display> Because<T> for Result<T, E> {
    fn because(self, subject: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Stop::Fail(format!("{subject}: {error}")))
    }
}

impl<T> Because<T> for Option<T> {
    fn because(self, subject: impl fmt::Display) -> Outcome<T> {
        self.ok_or_else(|| Stop::Fail(format!("{subject}: absent")))
    }
}

/// A failure with this text.
pub fn fail<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Stop::Fail(text.into()))
}

/// A skip with this reason.
pub fn skip<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Stop::Skip(text.into()))
}

/// Fails the test with the formatted text unless the condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::outcome::Stop::Fail(format!($($text)+)));
        }
    };
}

/// Fails the test unless both values are equal; shows both.
#[macro_export]
macro_rules! check_eq {
    ($found:expr, $wanted:expr, $($what:tt)+) => {
        match (&$found, &$wanted) {
            (found, wanted) => {
                if *found != *wanted {
                    return Err($crate::outcome::Stop::Fail(format!(
                        "{}: found {found:?}, wanted {wanted:?}", format!($($what)+)
                    )));
                }
            }
        }
    };
}
