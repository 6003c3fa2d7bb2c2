//! Moving network devices: their record, the messages of rtnetlink(7), and the
//! acts themselves. Why not a crate: docs/decisions/0009-netlink.md.

mod devices;
pub mod message;
mod resolve;
mod socket;

pub use devices::{Device, find, hold, move_in, names, release, restore};
pub use resolve::resolve;
