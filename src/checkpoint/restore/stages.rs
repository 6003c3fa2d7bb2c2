//! What is done while criu restores, stage by stage.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use super::{Attempt, NEWNS, unexpected};
use crate::checkpoint::criu::Criu;
use crate::checkpoint::dump::Failed;
use crate::checkpoint::mounts;
use crate::checkpoint::rpc::{self, Kind};
use crate::checkpoint::staging::Staging;
use crate::checkpoint::verify::Expected;
use crate::checkpoint::wire::Message;
use crate::checkpoint::{CheckpointError, read, system};
use crate::config;
use crate::container::state::hook_records;
use crate::container::{Status, status};
use crate::launch::{self, LaunchError, hooks};
use crate::rootfs::calls::{READ_ONLY, set_attr};
use crate::sys::Errno;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::process::{exit_now, setns};

impl Attempt<'_> {
    /// Tells criu to restore, and answers it until that is done.
    pub(super) fn converse(
        &mut self,
        criu: &Criu,
        staging: &Staging<'_>,
        options: &Message,
    ) -> Result<(), Failed> {
        criu.send(&rpc::request(Kind::Restore, Some(options)))?;
        loop {
            let Some((answer, fd)) = criu.receive()? else {
                return Err(Failed::Said(None));
            };
            if !answer.success {
                return Err(Failed::Said(Some(answer)));
            }
            if answer.is(Kind::Restore) {
                return match (answer.pid, &self.init) {
                    (Some(pid), Some((known, _))) if pid == known.as_raw_nonzero().get() => Ok(()),
                    _ => Err(unexpected("criu names another init than before").into()),
                };
            }
            let Some(notify) = answer.notify.as_ref().filter(|_| answer.is(Kind::Notify)) else {
                return Err(Failed::Said(Some(answer)));
            };
            log::debug!("criu: {} {}", notify.stage, notify.pid);
            self.stage(criu, staging, notify, fd)?;
            criu.send(&rpc::passed(true))?;
        }
    }

    fn stage(
        &mut self,
        criu: &Criu,
        staging: &Staging<'_>,
        notify: &rpc::Notify,
        fd: Option<OwnedFd>,
    ) -> Result<(), CheckpointError> {
        match notify.stage.as_str() {
            "setup-namespaces" => self.run_hooks(notify.pid),
            "post-restore" => self.meet(notify.pid),
            "pre-resume" => {
                let (init, _) = self.known_init()?;
                if self.plan.root.readonly {
                    protect_root(init)?;
                }
                let path = format!("/proc/{}/mountinfo", criu.pid.as_raw_nonzero());
                let text = read(&path)?;
                self.expected(mounts::parse(&text), staging)
                    .judge(init)
                    .map_err(CheckpointError::Refused)
            }
            "orphan-pts-master" => {
                if self.plan.process.terminal && self.console.is_none() {
                    self.console = launch::deliver(self.console_socket.as_ref(), fd)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn expected<'e>(
        &'e self,
        staged: Vec<mounts::MountLine>,
        staging: &Staging<'_>,
    ) -> Expected<'e> {
        static NONE: std::sync::LazyLock<config::spec::Process<'static>> =
            std::sync::LazyLock::new(Default::default);
        Expected {
            plan: self.plan,
            process: self.spec.process.as_ref().unwrap_or(&NONE),
            cgroup: &self.state.cgroup,
            seccomp: launch::seccomp_section(self.spec).is_some(),
            other_label: self.request.lsm_profile.is_some(),
            staged,
            stage: format!("{}/", staging.base.display()),
        }
    }

    fn run_hooks(&mut self, pid: i32) -> Result<(), CheckpointError> {
        if std::mem::replace(&mut self.hooks_ran, true) {
            return Ok(());
        }
        let now = (Status::Creating, Some(pid));
        let hooks = &self.spec.hooks;
        for (kind, hooks) in [
            ("prestart", &hooks.prestart),
            ("createRuntime", &hooks.create_runtime),
        ] {
            hooks::run_in_bundle(kind, &hook_records(hooks), &self.state, now)
                .map_err(LaunchError::Hook)?;
        }
        Ok(())
    }

    /// Takes the process for the init that criu says is it: a child of this process, which
    /// nobody else can be.
    fn meet(&mut self, number: i32) -> Result<(), CheckpointError> {
        if self.init.is_some() {
            return Err(unexpected("criu has restored a second init"));
        }
        let pid = (number > 0).then(|| Pid::from_raw(number)).flatten();
        let Some(pid) = pid else {
            return Err(unexpected("criu names no init"));
        };
        let pidfd = pidfd_open(pid, PidfdFlags::empty())
            .map_err(system("open the restored init", number))?;
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::PidFd(pidfd.as_fd()), look).is_err() {
            return Err(unexpected(
                "criu names a process as init that is no child of it",
            ));
        }
        let start = status::process_start(number)
            .map_err(system("read the start time of process", number))?;
        self.init = Some((pid, pidfd));
        self.state.pid = number;
        self.state.start_time = start.start_time;
        self.entry.write_state(&self.state)?;
        Ok(())
    }

    /// The init that criu has named.
    pub(super) fn known_init(&self) -> Result<(i32, &OwnedFd), CheckpointError> {
        match &self.init {
            Some((pid, pidfd)) => Ok((pid.as_raw_nonzero().get(), pidfd)),
            None => Err(unexpected("criu has not named the restored init")),
        }
    }
}

/// Makes the root read-only: CRIU writes there while it restores, and leaves it writable.
/// Only a process of that mount namespace can.
fn protect_root(init: i32) -> Result<(), CheckpointError> {
    let path = format!("/proc/{init}/ns/mnt");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let failed = || system("make the root read-only", "");
    let namespace = rustix::fs::openat(CWD, &path, flags, Mode::empty()).map_err(failed())?;
    let helper = clone3(0, None).map_err(failed())?;
    let Cloned::Parent { pidfd, .. } = helper else {
        let done = setns(namespace.as_fd(), NEWNS).and_then(|()| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(CWD, c"/", flags, Mode::empty())?;
            set_attr(root, false, &READ_ONLY)
        });
        exit_now(done.err().map_or(0, Errno::raw_os_error));
    };
    loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            Ok(Some(status)) => {
                return match status.exit_status() {
                    Some(0) => Ok(()),
                    errno => Err(failed()(Errno::from_raw_os_error(
                        errno.unwrap_or(libc::EIO),
                    ))),
                };
            }
            _ => return Err(failed()(Errno::CHILD)),
        }
    }
}
