//! Black-box tests of an OCI runtime: drives the binary given by `--runtime`
//! with real containers, as root.
//!
//! Knows the command line and the observable effects (exit codes, files,
//! cgroups, mounts, what a process inside the container sees); knows nothing
//! of any runtime's source. See `options` for the command line, `isolate` for
//! what surrounds each test, `leaks` for what is checked after each.

mod breaking;
mod bundle;
mod cgroups;
mod command;
mod container;
mod context;
mod driver;
mod facts;
mod fake_criu;
mod fake_systemd;
mod isolate;
mod leaks;
mod netns;
mod options;
mod outcome;
mod procs;
mod rootfs;
mod roots;
mod schedule;
mod sockets;
mod suite;
mod tests;
mod user;

use options::{Mode, Options};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("runtime-tests: {message}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let done = match options.mode {
        Mode::List => {
            for test in suite::select(&options.filters) {
                println!("{}", test.name);
            }
            Ok(true)
        }
        Mode::One(ref one) => isolate::run_one(&options, one).map(|()| true),
        Mode::All => schedule::run_all(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(stop) => {
            eprintln!("runtime-tests: {stop}");
            ExitCode::from(2)
        }
    }
}
