//! Corten: an OCI low-level container runtime.
pub mod config;
pub mod plan;
