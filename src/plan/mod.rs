//! What is to be done, worked out from config.json without doing any of it.
pub mod seccomp;
