//! `corten`: parse the command line, call one verb, print the error, exit.
#![no_main]

/// Short verbs never free, so a bump allocator serves them best (docs/performance.md).
#[global_allocator]
static ALLOCATOR: corten::sys::alloc::Bump = corten::sys::alloc::Bump::new();

corten::entry_point!(corten::cli::main);
