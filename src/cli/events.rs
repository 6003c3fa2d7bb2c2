//! `events`.

use anyhow::Result;

use super::args::{Events, Global};
use super::{context, print};
use crate::container::events;

/// Prints what a container uses, once or again and again, and that it ran out of memory.
///
/// # Errors
/// It does not run, or the kernel does not tell.
pub fn events(global: &Global, args: &Events) -> Result<()> {
    let watched = events::watch(&context::entry(global, &args.id)?)?;
    if args.stats {
        return print::line(&watched.stats()?);
    }
    // This goes on as long as the container.
    crate::sys::alloc::reuse_memory();
    watched.follow(args.interval, print::line)
}
