//! Pure planning: what launching will do, worked out before anything is done.
pub mod cgroup;
