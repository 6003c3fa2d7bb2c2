//! The runtime's own procfs.
//!
//! A detached mount that nothing inside can reach or cover: labels, sysctls and
//! descriptors are opened below it, never below a `/proc` that a path leads to
//! (SECURITY-RULES 2; CVE-2019-16884, CVE-2025-52881). When the container has a
//! procfs of its own on /proc, that very mount serves before it is attached.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use super::detached::new_mount;

use crate::sys::Result;
use crate::sys::fd::ShortLived;

/// A procfs of the pid namespace that the caller is in.
pub struct Procfs {
    mount: Option<ShortLived>,
}

impl Procfs {
    /// None yet: it is made when it is first needed.
    pub const fn new() -> Procfs {
        Procfs { mount: None }
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
        let settings = data
            .iter()
            .map(|(key, value)| (key.as_c_str(), value.as_deref()));
        let mount: &ShortLived = self.mount.insert(new_mount(c"proc", settings, attr)?);
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
        self.mount
            .as_ref()
            .map(AsFd::as_fd)
            .ok_or(crate::sys::Errno::BADF)
    }
}

impl Default for Procfs {
    fn default() -> Self {
        Procfs::new()
    }
}
