//! `resume`.

use anyhow::Result;

use super::args::{Global, Resume};
use super::context;
use crate::container;

/// Lets the processes of a paused container go on.
///
/// # Errors
/// It is not paused.
pub fn resume(global: &Global, args: &Resume) -> Result<()> {
    Ok(container::pause::resume(&context::entry(
        global, &args.id,
    )?)?)
}
