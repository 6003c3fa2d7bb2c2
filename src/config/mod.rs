//! config.json: reading it and checking it.
mod error;
pub mod spec;
mod text;

pub use error::ConfigError;
pub use spec::Spec;
