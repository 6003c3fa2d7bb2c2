//! `exec`'s side in the new process: from the clone to the exec stub. As the init of
//! `create` it works on what the parent has prepared, and tells a failure as numbers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};

use super::program::{self, Handover, PidNamespace, Program, Step};
use super::{begin, oom, tty};
use crate::cgroup::Cgroup;
use crate::plan::scheduling::AffinityPlan;
use crate::rootfs::Procfs;
use crate::sys::process::{set_affinity, setns, unblock_signals};
use crate::sys::stub::{At, Stage, abi};

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const NEWPID: u64 = libc::CLONE_NEWPID as u64;

/// All that the process works with on its way into the container.
pub struct Joiner<'a> {
    /// systemd puts this process into the cgroup: nothing is done before.
    pub waits_for_systemd: bool,
    /// The container's init.
    pub init: BorrowedFd<'a>,
    /// Namespaces of it to join (`CLONE_NEW*`).
    pub namespaces: u64,
    /// Its root directory, where there is no mount namespace to find it by.
    pub root: Option<OwnedFd>,
    /// Name of its session keyring.
    pub keyring: Option<std::ffi::CString>,
    /// CPUs before and after the cgroup.
    pub affinity: &'a AffinityPlan,
    /// What is run at last.
    pub program: Program<'a>,
    /// Where labels are written.
    pub procfs: Procfs,
    /// Its end of the channel.
    pub channel: OwnedFd,
    /// The cgroup to join.
    pub cgroup: &'a Cgroup,
    /// Length of the stub's data.
    pub size: i32,
}

impl Joiner<'_> {
    /// Its end is the stub, or an exit after a failure was told.
    pub fn run(mut self) -> ! {
        match self.steps() {
            Ok(never) => match never {},
            Err(failure) => program::fail(&self.channel, &failure),
        }
    }

    fn steps(&mut self) -> Step<std::convert::Infallible> {
        // `exec` blocks signals to take them from a descriptor; the program gets them all.
        unblock_signals();
        if self.waits_for_systemd {
            begin::wait_for(&self.channel, abi::TAG_JOINED)?;
        }
        if let Some(cpus) = &self.affinity.initial {
            set_affinity(cpus).at(Stage::Affinity)?;
        }
        if let Some(adjustment) = self.program.process.oom_score_adj {
            // Here and not by the runtime, which could come too late for the program.
            oom::adjust_own(adjustment).at(Stage::OomScoreAdj)?;
        }
        begin::join_cgroup(self.cgroup)?;
        if let Some(cpus) = &self.affinity.last {
            set_affinity(cpus).at(Stage::Affinity)?;
        }
        if self.namespaces & NEWUSER != 0 {
            // As the init of `create`: where setgroups(2) is denied, nobody could take the
            // caller's groups away in there.
            let _ = rustix::thread::set_thread_groups(&[]);
        }
        if self.namespaces != 0 {
            setns(self.init, self.namespaces).at(Stage::JoinContainer)?;
        }
        if self.namespaces & NEWUSER != 0 {
            begin::become_root(self.program.process)?;
            begin::undumpable()?;
        }
        if let Some(root) = self.root.take() {
            rustix::process::fchdir(&root).at(Stage::Rootfs)?;
            rustix::process::chroot(c".").at(Stage::Rootfs)?;
        }
        if let Some(name) = &self.keyring {
            let label = self.program.process.key_label.as_deref();
            begin::new_keyring(name, label, &mut self.procfs)?;
        }
        let joins_pid = self.namespaces & NEWPID != 0;
        if !joins_pid {
            rustix::process::setsid().at(Stage::Session)?;
        }
        if self.program.process.terminal {
            self.make_terminal(!joins_pid).at(Stage::Console)?;
        }
        let found = self.program.prepare(false)?;
        let handover = Handover {
            channel: &self.channel,
            fifo: None,
            procfs: self.procfs.made(),
            pid_namespace: match joins_pid {
                true => PidNamespace::Joined,
                false => PidNamespace::Own,
            },
            size: self.size,
        };
        Err(self.program.become_stub(&handover, found))
    }

    fn make_terminal(&self, leads_session: bool) -> crate::sys::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, c"/", flags, Mode::empty())?;
        let terminal = tty::Terminal::new(root.as_fd(), self.program.process)?;
        terminal.hand_out(leads_session, self.channel.as_fd())
    }
}
