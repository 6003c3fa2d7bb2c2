//! `state`.

use anyhow::Result;

use super::args::{Global, State};
use super::{context, print};
use crate::container::status;

/// Prints a container's state as JSON.
///
/// # Errors
/// There is no such container.
pub fn state(global: &Global, args: &State) -> Result<()> {
    let entry = context::entry(global, &args.id)?;
    let (state, status) = status::read(&entry, &mut Vec::new())?;
    // runc leaves the owner to `list`, and engines have learnt it so.
    print::line(&serde_json::to_string_pretty(&state.printed(status, ""))?)
}
