//! config.json: reading it and checking it.
pub mod spec;
mod text;
pub use spec::Spec;
