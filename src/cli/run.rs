//! `run`: create, start and, unless detached, wait and delete.

use std::os::fd::AsFd;

use anyhow::{Context as _, Result};

use super::args::{Global, Run};
use super::create;
use crate::container::delete::DeleteError;
use crate::container::{self, StoreError};
use crate::launch::foreground::{self, Signals};
use crate::launch::notify::Proxy;
use crate::launch::{self, Launched, Mode, hooks, start};

/// Runs a container; gives the exit code.
///
/// # Errors
/// Why it cannot be run.
pub fn run(global: &Global, args: Run) -> Result<u8> {
    let mode = if args.detach {
        Mode::Detached
    } else {
        Mode::Foreground
    };
    let request = create::request(global, args.create, mode)?;
    if args.detach {
        let launched = launch::launch(&request)?;
        poststart(&launched)?;
        if let Some(proxy) = &launched.proxy {
            proxy.wait(launched.init.pidfd.as_fd(), launched.init.pid)?;
        }
        return Ok(0);
    }
    // Before the clone, so that no signal and no child's end is missed.
    let signals = Signals::block().context("cannot watch for signals")?;
    if !args.no_subreaper {
        adopt_orphans()?;
    }
    let mut launched = launch::launch(&request)?;
    let proxy = launched.proxy.take();
    poststart(&launched)?;
    if args.keep {
        let code = wait(&launched, &signals, proxy)?;
        // For `wait`: nobody else can learn it before Linux 6.15. Whoever deletes it meanwhile
        // does not ask.
        if launched.entry.lock(true).is_ok() {
            let _ = container::wait::record(&launched.entry, code);
        }
        return Ok(code as u8);
    }
    wait_and_delete(&launched, &signals, proxy)
}

/// Processes orphaned by the container become this process's.
///
/// # Errors
/// prctl(2).
pub fn adopt_orphans() -> Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .context("cannot become a subreaper")
}

/// Waits for the end of a container, and deletes it; gives its exit code.
///
/// # Errors
/// It cannot be waited for or deleted.
pub fn wait_and_delete(launched: &Launched, signals: &Signals, proxy: Option<Proxy>) -> Result<u8> {
    let code = wait(launched, signals, proxy)?;
    match container::delete::delete(&launched.entry, true) {
        Ok(Some(state)) => hooks::poststop(&state),
        // `checkpoint` ends a container and deletes it.
        Ok(None) | Err(DeleteError::Store(StoreError::Missing(_))) => {}
        Err(error) => return Err(error.into()),
    }
    // Exit codes have eight bits.
    Ok(code as u8)
}

fn wait(launched: &Launched, signals: &Signals, proxy: Option<Proxy>) -> Result<i32> {
    foreground::wait(&launched.init, signals, proxy).context("cannot wait for the container")
}

/// Runs the poststart hooks; when one fails, nothing of the container is left.
fn poststart(launched: &Launched) -> Result<()> {
    // A hook may take long, and the container longer: other verbs must not wait for them.
    launched.entry.unlock()?;
    let Err(error) = start::poststart(&launched.state) else {
        return Ok(());
    };
    if let Some(state) = container::delete::delete(&launched.entry, true)? {
        hooks::poststop(&state);
    }
    Err(error.into())
}
