//! The container's cgroup: what `plan::cgroup` planned is made, watched, frozen, killed and removed.
//!
//! [`Cgroupfs`] finds out what the host has and makes the cgroup, [`Cgroup`] is one that was just
//! made, and [`Record`] is what later verbs need to know of it.

mod create;
mod delegate;
mod devices;
mod enter;
mod error;
mod file;
mod former;
mod freeze;
mod kill;
mod levels;
mod limits;
mod members;
mod oom;
mod probe;
mod record;
mod remove;
pub mod stats;
mod stuck;
pub mod systemd;
#[cfg(test)]
mod tests;
mod tree;
mod unit;
mod update;

pub use create::Cgroup;
pub use enter::Beneath;
pub use error::CgroupError;
pub use oom::OomWatch;
pub use probe::Cgroupfs;
pub use record::Record;
pub use update::{DELEGATION, Former};
