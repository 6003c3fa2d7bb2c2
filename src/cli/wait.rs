//! `wait`.

use anyhow::{Result, bail};

use super::args::{Awaited, Global, ListFormat, Wait};
use super::{context, log, print};
use crate::config::shortened;
use crate::container::wait::{WaitError, Waiter};
use crate::container::watch::{Change, Watch};
use crate::container::{Id, Status};

/// The exit code of a wait that ended without an exit code to return. Programs that run others
/// (timeout(1), env(1), engines) use it for their own failures.
const UNKNOWN: u8 = 125;

/// Waits for the end of containers; gives the exit code of the last one.
///
/// # Errors
/// One that does not exist.
pub fn wait(global: &Global, args: &Wait) -> Result<u8> {
    if let Some(status) = args.status {
        return wait_for(global, &args.ids, status).map(|()| 0);
    }
    // All before the first wait: none ends unseen meanwhile.
    let waiters = args.ids.iter().map(|id| open(global, id));
    let waiters = waiters.collect::<Result<Vec<_>>>()?;
    let mut last = 0;
    let mut unknown = false;
    for (id, waiter) in args.ids.iter().zip(waiters) {
        match waiter.wait() {
            Ok(code) => {
                // Exit codes have eight bits.
                last = code as u8;
                match args.format {
                    ListFormat::Table => print::line(&code.to_string())?,
                    ListFormat::Json => {
                        let line = serde_json::json!({"id": id, "exitStatus": code});
                        print::line(&line.to_string())?;
                    }
                }
            }
            Err(error @ WaitError::Unknown(_)) => {
                log::fatal(&shortened(&error.to_string(), log::SHOWN_MAX));
                unknown = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(if unknown { UNKNOWN } else { last })
}

/// Takes hold of a container; waits for its init, if it is not there yet.
fn open(global: &Global, id: &str) -> Result<Waiter> {
    let waiter = Waiter::new(context::entry(global, id)?)?;
    if !waiter.is_early() {
        return Ok(waiter);
    }
    let mut watch = Watch::new(context::store(global)?, &[Id::new(id)?])?;
    while let Some(change) = watch.next_change()? {
        if change.status != Some(Status::Creating) || change.pid != 0 {
            return Ok(Waiter::new(context::entry(global, id)?)?);
        }
    }
    bail!("container {id} was deleted before it was created")
}

/// Waits until all have the status.
fn wait_for(global: &Global, ids: &[String], awaited: Awaited) -> Result<()> {
    for id in ids {
        let mut watch = Watch::new(context::store(global)?, &[Id::new(id)?])?;
        let mut reached = false;
        while let Some(change) = watch.next_change()? {
            reached = is_reached(&change, awaited);
            if reached {
                break;
            }
            if change.status == Some(Status::Stopped) && awaited != Awaited::Deleted {
                bail!(
                    "container {id} has stopped: it will never be {}",
                    awaited.as_str()
                );
            }
        }
        if !reached {
            bail!(
                "container {id} was deleted: it will never be {}",
                awaited.as_str()
            );
        }
    }
    Ok(())
}

fn is_reached(change: &Change, awaited: Awaited) -> bool {
    change.word() == awaited.as_str()
}
