//! `start`.

use anyhow::Result;

use super::args::{Global, Start};
use super::context;
use crate::launch;

/// Lets created containers run their program.
///
/// # Errors
/// The first that cannot be started.
pub fn start(global: &Global, args: &Start) -> Result<()> {
    for id in &args.ids {
        launch::start::start(&context::entry(global, id)?)?;
    }
    Ok(())
}
