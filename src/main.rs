//! `corten`: parse the command line, call one verb, print the error, exit.

use std::process::ExitCode;

/// Short verbs never free, so a bump allocator serves them best (docs/performance.md).
#[global_allocator]
static ALLOCATOR: corten::sys::alloc::Bump = corten::sys::alloc::Bump::new();

fn main() -> ExitCode {
    ExitCode::from(corten::cli::main(std::env::args_os()))
}
