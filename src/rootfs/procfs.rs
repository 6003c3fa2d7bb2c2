//! The runtime's own procfs.
//!
//! A mount that is kept as a descriptor: labels and sysctls are opened below it, never
//! below a `/proc` that a path leads to (SECURITY-RULES 2; CVE-2019-16884). When the
//! container has a procfs of its own on /proc, that very mount serves, so what is
//! mounted inside it must not be entered ([`super::resolve::open_own`]; CVE-2025-52881).

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::mount::{FsOpenFlags, fsconfig_set_fd, fsopen};

use super::detached::{mount_of, set};
use super::resolve::is_procfs;
use super::{fallback, inside};
use crate::sys::fd::ShortLived;
use crate::sys::{Errno, Result};

/// A procfs of the container's pid namespace.
pub struct Procfs {
    /// A pid namespace that the caller is not in: it is entered last of all.
    pid_namespace: Option<OwnedFd>,
    mount: Option<ShortLived>,
}

impl Procfs {
    /// None yet: it is made when it is first needed. It shows `pid_namespace`, or the
    /// caller's.
    pub const fn new(pid_namespace: Option<OwnedFd>) -> Procfs {
        Procfs {
            pid_namespace,
            mount: None,
        }
    }

    /// Whether the pid namespace is one that the caller has not entered.
    pub fn is_elsewhere(&self) -> bool {
        self.pid_namespace.is_some()
    }

    /// A procfs in which the caller has an entry, and the pid namespace that is still to
    /// be entered.
    pub fn for_stub(self) -> (Procfs, Option<OwnedFd>) {
        match self.pid_namespace {
            None => (self, None),
            elsewhere => (Procfs::new(None), elsewhere),
        }
    }

    /// The procfs, if it was made.
    pub fn made(&self) -> Option<BorrowedFd<'_>> {
        self.mount.as_ref().map(AsFd::as_fd)
    }

    /// Makes one with the container's options and keeps it.
    ///
    /// # Errors
    /// fsopen(2), fsconfig(2), fsmount(2).
    pub fn mount(
        &mut self,
        attr: u64,
        data: &[(CString, Option<CString>)],
    ) -> Result<BorrowedFd<'_>> {
        let context = match &self.pid_namespace {
            Some(namespace) => context_of(namespace)?,
            None => fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?.into(),
        };
        for (key, value) in data {
            set(&context, key, value.as_deref())?;
        }
        let mount = mount_of(&context, attr)?;
        // Where the context comes from inside, a process in there could have given another.
        if self.pid_namespace.is_some() && !is_procfs(&mount)? {
            return Err(Errno::PERM);
        }
        let mount: &ShortLived = self.mount.insert(mount);
        Ok(mount.as_fd())
    }

    /// The procfs; one without options is made if there is none.
    ///
    /// # Errors
    /// As [`Procfs::mount`].
    pub fn dir(&mut self) -> Result<BorrowedFd<'_>> {
        if self.mount.is_none() {
            let attr = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
            return self.mount(attr, &[]);
        }
        // The branch above has filled it.
        self.mount.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    /// The same, or the host's /proc where no procfs can be mounted: only while `/proc` is
    /// the host's.
    ///
    /// # Errors
    /// As [`Procfs::dir`].
    pub fn dir_or_hosts(&mut self) -> Result<BorrowedFd<'_>> {
        if self.dir().err() == Some(Errno::PERM) {
            self.mount = Some(fallback::own_proc()?);
        }
        self.dir()
    }
}

/// A procfs to be of another pid namespace. Linux 6.17 has an option for it.
fn context_of(namespace: &OwnedFd) -> Result<ShortLived> {
    let context: ShortLived = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?.into();
    match fsconfig_set_fd(&context, c"pidns", namespace) {
        Err(Errno::INVAL) => inside::context(namespace),
        result => result.map(|()| context),
    }
}
