//! The command line: what `src/main.rs` calls. One file per verb, thin:
//! arguments in, a call to the library, output out.
pub mod args;
mod check;
mod checkpoint;
mod context;
mod create;
mod delete;
mod events;
mod exec;
pub mod features;
mod info;
mod kill;
mod list;
pub mod log;
mod log_socket;
mod mounts;
mod pause;
mod print;
mod ps;
mod read_file;
mod restore;
mod resume;
mod run;
pub mod spec;
mod start;
mod state;
pub mod time;
mod update;
mod wait;
mod watch;

use std::ffi::OsString;

use anyhow::Result;
use args::{Invocation, Usage, Verb};

use crate::config::shortened;

/// Runs one command line; gives the exit code. Every error has been reported.
pub fn main(argv: Vec<OsString>) -> u8 {
    let invocation = match args::parse(argv.into_iter()) {
        Ok(invocation) => invocation,
        Err(Usage::Show(text)) => {
            return match print::text(&text) {
                Ok(()) => 0,
                Err(error) => {
                    log::usage_error(&args::Global::default(), &format!("{error:#}"));
                    1
                }
            };
        }
        Err(Usage::Wrong {
            message,
            code,
            global,
        }) => {
            log::usage_error(&global, &message);
            return code;
        }
    };
    let result = match log::init(&invocation.global) {
        Ok(()) => dispatch(invocation),
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| {
        log::fatal(&shortened(&format!("{error:#}"), log::SHOWN_MAX));
        1
    })
}

/// The program's exit code, or what engines know a failure of `exec` itself by.
fn exec_code(result: Result<u8>) -> u8 {
    result.unwrap_or_else(|error| {
        log::fatal(&format!("exec failed: {error:#}"));
        255
    })
}

fn dispatch(invocation: Invocation) -> Result<u8> {
    let global = &invocation.global;
    match invocation.verb {
        Verb::Create(args) => create::create(global, args)?,
        Verb::Start(args) => start::start(global, &args)?,
        Verb::State(args) => state::state(global, &args)?,
        Verb::Kill(args) => kill::kill(global, &args)?,
        Verb::Delete(args) => delete::delete(global, &args)?,
        Verb::Run(args) => return run::run(global, args),
        Verb::Exec(args) => return Ok(exec_code(exec::exec(global, args))),
        Verb::List(args) => list::list(global, &args)?,
        Verb::Ps(args) => ps::ps(global, &args)?,
        Verb::Pause(args) => pause::pause(global, &args)?,
        Verb::Checkpoint(args) => checkpoint::checkpoint(global, args)?,
        Verb::Restore(args) => return restore::restore(global, args),
        Verb::Resume(args) => resume::resume(global, &args)?,
        Verb::Update(args) => update::update(global, &args)?,
        Verb::Events(args) => events::events(global, &args)?,
        Verb::Mounts(args) => mounts::mounts(global, &args)?,
        Verb::Wait(args) => return wait::wait(global, &args),
        Verb::Watch(args) => watch::watch(global, &args)?,
        Verb::Spec(args) => spec::write(&args)?,
        Verb::Features => features::print()?,
        Verb::Check(args) => return check::check(global, &args),
        Verb::Info(args) => info::info(&args)?,
        Verb::Completion(args) => print::text(&args::completion_script(&args.shell))?,
    }
    Ok(0)
}
