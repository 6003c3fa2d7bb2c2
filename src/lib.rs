//! Corten: an OCI low-level container runtime.
//!
//! What the binary is made of; docs/design.md tells how the rooms hang together.
#![deny(unsafe_code)]

pub mod cgroup;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod container;
pub mod examine;
pub mod host;
pub mod launch;
pub mod network;
pub mod plan;
pub mod rdt;
pub mod rootfs;
pub mod sys;
