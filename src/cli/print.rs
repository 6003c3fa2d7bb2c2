//! Standard output. A reader that goes away ends the verb quietly, as with any filter.

use anyhow::{Context as _, Result};

use crate::sys::fd::write_all;

/// Prints a text and a line's end.
///
/// # Errors
/// write(2).
pub fn line(text: &str) -> Result<()> {
    self::text(&format!("{text}\n"))
}

/// Prints a text as it is.
///
/// # Errors
/// write(2).
pub fn text(text: &str) -> Result<()> {
    bytes(text.as_bytes())
}

/// Prints what need not be UTF-8.
///
/// # Errors
/// write(2).
pub fn bytes(bytes: &[u8]) -> Result<()> {
    write_all(rustix::stdio::stdout(), bytes).context("cannot write to standard output")
}
