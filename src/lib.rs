//! Corten: an OCI low-level container runtime.
pub mod cli;
pub mod config;
pub mod plan;
pub mod rootfs;
pub mod sys;
