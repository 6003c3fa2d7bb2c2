//! config.json: reading it and checking it.
//!
//! `read` and `parse` turn the file into a [`Spec`]; `check` finds everything
//! that can be wrong in the text before the first side effect. What the text
//! means is decided in `plan`; whether the host can do it shows in `launch`.

mod check;
#[cfg(test)]
pub(crate) mod coverage;
mod diagnose;
mod error;
pub mod list;
mod load;
mod locate;
mod member;
pub mod names;
mod place;
#[cfg(test)]
mod properties;
pub mod spec;
pub mod sysctl;
mod text;
mod unknown;

pub use check::{check, check_mounts, check_process, check_update};
pub use error::{
    ConfigError, ReadError, ReadErrorKind, Warning, is_printable, printable, shortened,
};
pub use load::{MAX_SIZE, parse, parse_mounts, parse_process, parse_resources, read};
pub use place::Place;
pub use spec::{Process, Spec};
pub use unknown::unknown_members;
