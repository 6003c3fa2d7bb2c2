//! `kill`.

use anyhow::Result;

use super::args::{Global, Kill};
use super::context;
use crate::container::{self, StoreError};

/// Sends a signal to a container, or to all whose names match. A failure is a line, and the
/// others get theirs all the same.
///
/// # Errors
/// The last failure: it does not run.
pub fn kill(global: &Global, args: &Kill) -> Result<()> {
    let signal = args.signal.number();
    if !args.regex {
        let entry = context::entry(global, &args.id)?;
        return Ok(container::kill::kill(&entry, signal, args.all)?);
    }
    let store = context::store(global)?;
    let ids = context::matching(&store, std::slice::from_ref(&args.id))?;
    context::each(&ids, |id| {
        let entry = match store.open(id) {
            // Deleted since it was found.
            Err(StoreError::Missing(_)) => return Ok(()),
            result => result?,
        };
        container::kill::kill(&entry, signal, args.all)
            .map_err(|error| anyhow::Error::from(error).context(format!("container {id}")))
    })
}
