//! Handing a container's cgroup over to its user (cgroup-v2.rst, "Delegation").

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, CWD, Uid};
use rustix::io::Errno;

use super::{Cgroup, CgroupError, file};
use crate::plan::cgroup::CgroupPlan;

/// The kernel's list of the files that go with the directory; without it these.
const LIST: &str = "/sys/kernel/cgroup/delegate";
const WITHOUT_LIST: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// Gives the v2 directory and the files of the kernel's list to the user of the plan, if there
    /// is one and he has them not already. The limits in the directory stay the runtime's.
    ///
    /// # Errors
    /// The kernel refuses, to root.
    pub(super) fn hand_over(&self, plan: &CgroupPlan) -> Result<(), CgroupError> {
        let (Some(owner), Some(directory)) = (plan.owner, &self.v2) else {
            return Ok(());
        };
        let runtime = rustix::process::geteuid();
        if owner == runtime.as_raw() {
            return Ok(());
        }
        let give = |name: &str, flags: AtFlags| {
            let uid = Some(Uid::from_raw(owner));
            match rustix::fs::chownat(directory.as_fd(), name, uid, None, flags) {
                // Not every cgroup has every file of the list.
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                // A user has given himself what he may.
                Err(Errno::PERM) if !runtime.is_root() => Ok(()),
                Err(errno) => {
                    let v2 = self.record.on_v2();
                    let path = v2.map(|d| self.record.absolute(d)).unwrap_or_default();
                    let error = CgroupError::kernel("hand over", format!("{path}/{name}"), errno);
                    Err(error.hint(format!(
                        "the user {owner} is to have it, as /sys/fs/cgroup is mounted writable"
                    )))
                }
            }
        };
        give("", AtFlags::EMPTY_PATH)?;
        let list = file::read_all(CWD, LIST).unwrap_or_else(|_| WITHOUT_LIST.to_owned());
        for name in list.lines().filter(|name| !name.contains('/')) {
            give(name, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }
}
