//! Network devices: moved by the parent while the init waits, before it looks at
//! its network (sysctls of a device need the device) and before any hook.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};

use super::attempt::Attempt;
use super::{Doing, LaunchError};
use crate::network;
use crate::plan::Plan;

const NEWNET: u64 = libc::CLONE_NEWNET as u64;

/// The network namespace that the init joins by itself, to move devices there.
pub(super) fn joined(
    plan: &Plan,
    namespaces: &[(usize, OwnedFd)],
) -> Result<Option<OwnedFd>, LaunchError> {
    let wanted = |(index, _): &&(usize, OwnedFd)| {
        !plan.net_devices.is_empty() && plan.namespaces.join[*index].flag == NEWNET
    };
    match namespaces.iter().find(wanted) {
        None => Ok(None),
        Some((_, file)) => rustix::io::fcntl_dupfd_cloexec(file, 0)
            .map(Some)
            .doing("keep the network namespace", ""),
    }
}

impl Attempt<'_> {
    /// Moves the devices; whether there are any, and the init waits. `joined` is the
    /// namespace if the init has yet to join it; else the init is in it already.
    pub(super) fn move_devices(&mut self, joined: Option<OwnedFd>) -> Result<bool, LaunchError> {
        if self.state.net_devices.is_empty() {
            return Ok(false);
        }
        let namespace = match joined {
            Some(namespace) => namespace,
            None => {
                let (pid, _) = self.child()?;
                let path = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                rustix::fs::openat(CWD, path.as_str(), flags, Mode::empty()).doing("open", path)?
            }
        };
        network::hold(self.entry.dir(), namespace.as_fd())?;
        let taken = network::names(namespace.as_fd())?;
        if network::resolve(&mut self.state.net_devices, &taken)? {
            // Those who undo it look for the devices by the names that they have now.
            self.entry.write_state(&self.state)?;
        }
        network::move_in(&self.state.net_devices, namespace.as_fd())?;
        Ok(true)
    }
}
