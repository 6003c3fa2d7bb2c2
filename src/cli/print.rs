//! Standard output. A reader that goes away ends the verb quietly, as with any filter.

use anyhow::{Context as _, Result};

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
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(rustix::stdio::stdout(), rest)
            .context("cannot write to standard output")?;
        rest = &rest[written..];
    }
    Ok(())
}
