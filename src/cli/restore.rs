//! `restore`: run a container from a checkpoint and, unless detached, wait and delete it.

use anyhow::{Context as _, Result};

use super::args::{Global, Restore};
use super::{checkpoint, create, run};
use crate::checkpoint::restore::{Request, restore as from_images};
use crate::launch::Mode;
use crate::launch::foreground::Signals;

/// Restores a container; gives the exit code.
///
/// # Errors
/// Why it cannot be restored.
pub fn restore(global: &Global, args: Restore) -> Result<u8> {
    let mode = match args.detach {
        true => Mode::Detached,
        false => Mode::Foreground,
    };
    let request = Request {
        launch: create::request(global, args.create, mode)?,
        options: checkpoint::options(args.options)?,
        tcp_close: args.tcp_close,
        lsm_profile: args.lsm_profile,
        lsm_mount_context: args.lsm_mount_context,
    };
    if args.detach {
        from_images(&request)?;
        return Ok(0);
    }
    // Before the first process, so that no signal and no child's end is missed.
    let signals = Signals::block().context("cannot watch for signals")?;
    if !args.no_subreaper {
        run::adopt_orphans()?;
    }
    let launched = from_images(&request)?;
    launched.entry.unlock()?;
    run::wait_and_delete(&launched, &signals, None)
}
