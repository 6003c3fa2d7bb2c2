//! The command line: what `src/main.rs` calls. One file per verb, thin:
//! arguments in, a call to the library, output out.
pub mod args;
pub mod features;
pub mod log;
pub mod spec;
pub mod time;
