//! Corten: an OCI low-level container runtime.
pub mod cgroup;
pub mod config;
pub mod plan;
pub mod rootfs;
pub mod sys;
