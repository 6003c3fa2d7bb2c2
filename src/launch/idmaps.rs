//! User namespaces that hold the mappings of id-mapped mounts (mount_setattr(2)).

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Pid;

use super::attempt::waitid_exited;
use crate::plan::idmap::Map;
use crate::plan::namespaces::NamespacePlan;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::process::exit_now;
use crate::sys::{Errno, Result};

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;

/// One namespace for each mapping, made when it is first needed.
#[derive(Default)]
pub struct Namespaces<'a>(Vec<(&'a Map, OwnedFd)>);

impl<'a> Namespaces<'a> {
    /// The namespace with this mapping.
    ///
    /// # Errors
    /// clone3(2), and what the kernel says of the mapping. `EINVAL`: it takes none like this.
    pub fn get(&mut self, map: &'a Map, plan: &NamespacePlan) -> Result<&OwnedFd> {
        let index = match self.0.iter().position(|(known, _)| *known == map) {
            Some(index) => index,
            None => {
                self.0.push((map, open(map, plan)?));
                self.0.len() - 1
            }
        };
        Ok(&self.0[index].1)
    }
}

fn open(map: &Map, plan: &NamespacePlan) -> Result<OwnedFd> {
    match map {
        Map::Lines { uids, gids } => make(uids, gids),
        Map::Joined => {
            let mut joined = plan.join.iter();
            let user = joined.find(|join| join.flag == NEWUSER);
            let path = &user.ok_or(Errno::NOENT)?.path;
            rustix::fs::openat(CWD, path.as_c_str(), namespace_flags(), Mode::empty())
        }
    }
}

fn namespace_flags() -> OFlags {
    OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY
}

/// Makes a user namespace by a process that ends at once: until it is reaped, all of it can
/// still be reached in /proc, and nobody has to wait for it or could leave it behind.
///
/// # Errors
/// As [`Namespaces::get`].
pub fn make(uids: &str, gids: &str) -> Result<OwnedFd> {
    match clone3(NEWUSER, None)? {
        Cloned::Child => exit_now(0),
        Cloned::Parent { pid, pidfd } => {
            let namespace = fill(pid, uids, gids);
            let _ = waitid_exited(&pidfd);
            namespace
        }
    }
}

fn fill(pid: Pid, uids: &str, gids: &str) -> Result<OwnedFd> {
    let path = |file: &str| format!("/proc/{}/{file}", pid.as_raw_nonzero());
    for (file, text) in [("uid_map", uids), ("gid_map", gids)] {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, path(file), flags, Mode::empty())?;
        rustix::io::write(file, text.as_bytes())?;
    }
    rustix::fs::openat(CWD, path("ns/user"), namespace_flags(), Mode::empty())
}
