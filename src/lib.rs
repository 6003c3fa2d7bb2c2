//! Corten: an OCI low-level container runtime.
pub mod cgroup;
pub mod cli;
pub mod config;
pub mod container;
pub mod launch;
pub mod plan;
pub mod rootfs;
pub mod sys;
