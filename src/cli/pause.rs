//! `pause`.

use anyhow::Result;

use super::args::{Global, Pause};
use super::context;
use crate::container;

/// Stops all processes of a container where they stand.
///
/// # Errors
/// It neither runs nor waits for `start`, or it has no freezer.
pub fn pause(global: &Global, args: &Pause) -> Result<()> {
    Ok(container::pause::pause(&context::entry(global, &args.id)?)?)
}
