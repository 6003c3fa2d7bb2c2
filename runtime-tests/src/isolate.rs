//! The process of one test: own session, subreaper, time limit, leak check.

use crate::context::Ctx;
use crate::options::{One, Options};
use crate::outcome::{Because, Outcome, Stop};
use crate::suite::Kind;
use crate::{cgroups, leaks, procs};
use serde_json::json;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How long cleaning up after a test may take.
const CLEANING: Duration = Duration::from_secs(5);

/// The time limit of a test of this kind.
pub fn limit(kind: Kind, usual: Duration) -> Duration {
    match kind {
        Kind::Plain | Kind::Serial => usual,
        Kind::Long | Kind::LongSerial => usual * 5,
    }
}

/// Runs the test and writes how it ended to `RUN_DIR/INDEX.result`.
pub fn run_one(options: &Options, one: &One) -> Outcome {
    let test = crate::suite::find(&one.name).because(&one.name)?;
    // A session of its own already when started as a group leader: no error that matters.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let ctx = Arc::new(Ctx::new(options, &one.run_dir, one.index)?);
    let (sender, receiver) = channel();
    let inner = Arc::clone(&ctx);
    let (run, name) = (test.run, test.name);
    // The test has a thread of its own, so that this one can watch the clock.
    std::thread::spawn(move || {
        let outcome = match inner.driver.user {
            Some(_) => crate::roots::skip_for_user(name, inner.driver.systemd),
            None => Ok(()),
        };
        let outcome = outcome
            .and_then(|()| run(&inner))
            .and_then(|()| settle(&inner));
        // The receiver is gone only when the time is over and nobody asks any more.
        let _ = sender.send(outcome);
    });
    let limit = limit(test.kind, options.timeout);
    let outcome = match receiver.recv_timeout(limit) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => Err(Stop::Fail(format!("timed out after {limit:?}"))),
        Err(RecvTimeoutError::Disconnected) => Err(Stop::Fail("the test panicked".to_string())),
    };
    procs::kill_descendants(CLEANING);
    cgroups::destroy(&ctx.hierarchies, &ctx.prefix, CLEANING);
    let (word, detail) = match outcome {
        Ok(()) => ("passed", String::new()),
        Err(Stop::Skip(reason)) => ("skipped", reason),
        Err(Stop::Fail(reason)) => ("failed", format!("{reason}\n{}", ctx.story())),
    };
    let result = json!({"outcome": word, "detail": detail});
    let path = one.run_dir.join(format!("{}.result", one.index));
    std::fs::write(&path, result.to_string()).because(path.display())
}

/// After a test that passed: deletes what it created and checks for leaks.
fn settle(ctx: &Ctx) -> Outcome {
    ctx.delete_created()?;
    let left = leaks::find(ctx);
    if left.is_empty() {
        return Ok(());
    }
    Err(Stop::Fail(format!("leaked:\n    {}", left.join("\n    "))))
}
