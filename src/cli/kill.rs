//! `kill`.

use anyhow::Result;

use super::args::{Global, Kill};
use super::context;
use crate::container;

/// Sends a signal to a container.
///
/// # Errors
/// It does not run.
pub fn kill(global: &Global, args: &Kill) -> Result<()> {
    let entry = context::entry(global, &args.id)?;
    container::kill::kill(&entry, args.signal.number(), args.all)?;
    Ok(())
}
