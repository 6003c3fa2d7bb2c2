//! The part of a cgroup that systemd makes.

use std::os::fd::AsFd as _;
use std::sync::{MutexGuard, PoisonError};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::Pid;

use super::record::{Record, Unit, parent};
use super::systemd::{self, Systemd};
use super::{Cgroup, CgroupError, file, levels, members};
use crate::plan::cgroup::systemd::Property;
use crate::plan::cgroup::{CgroupPlan, Directory, Version};

/// What a user can do about a controller that his systemd does not have.
const DELEGATE: &str = "the user's systemd has not been given this controller: Delegate= of user@.service says which it has";

impl Cgroup {
    /// Whether the init has to wait until systemd has put it into the scope.
    pub fn waits_for_unit(&self) -> bool {
        self.systemd().is_some()
    }

    /// Closes the connection to systemd; to be called by the init, whose it is not.
    pub fn leave_systemd(&self) {
        self.systemd().take();
    }

    fn systemd(&self) -> MutexGuard<'_, Option<Systemd>> {
        self.systemd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the scope with the init `pid` in it, which may be about to make a second process, and prepares what
    /// systemd leaves to others.
    ///
    /// # Errors
    /// As [`Systemd::start`]; the controllers cannot be enabled. Whether the scope may be there
    /// is what [`Cgroup::record`] says then.
    pub fn start_scope(
        &mut self,
        plan: &CgroupPlan,
        pid: Pid,
        second_to_come: bool,
    ) -> Result<(), CgroupError> {
        let (Some(unit), Some(mut systemd)) = (&plan.unit, self.systemd().take()) else {
            return Ok(());
        };
        let number = pid.as_raw_nonzero().get();
        let started = match second_to_come {
            true => systemd.start(&unit.with_room_to_start(), number.cast_unsigned()),
            false => systemd.start(unit, number.cast_unsigned()),
        };
        if let Err(error) = started {
            if error.was_refused() {
                self.record.forget_unit();
            }
            return Err(error);
        }
        drop(systemd);
        for (index, directory) in plan.directories.iter().enumerate() {
            if directory.version == Version::V1 {
                continue;
            }
            if self.record.pure_v2().is_some() {
                // It is asked for, not guessed: systemd may be in a cgroup of its own.
                let membership = format!("/proc/{number}/cgroup");
                let membership = file::read_all(CWD, &membership)
                    .map_err(|errno| CgroupError::kernel("read", membership, errno))?;
                self.record.path = systemd::cgroup_of(&membership, &unit.name)?;
                let path = self.record.relative(&self.record.directories[index]);
                self.directories[index] = path;
                self.adopt(index, directory, unit.user)?;
                self.hand_over(plan)?;
            } else {
                // Beside v1, systemd may or may not use v2 for itself.
                let path = self.directories[index].clone();
                let mut made = Vec::new();
                self.make_directory(directory, &path, &mut made)?;
                let procs = format!("{path}/cgroup.procs");
                file::write(self.root.as_fd(), &procs, &number.to_string())
                    .map_err(|errno| CgroupError::write(self.shown(&procs), "", errno))?;
                self.open(index, &path, Version::V2)?;
            }
        }
        Ok(())
    }

    /// Starts the slice that is the container's cgroup: it is there before the init, which then
    /// starts in it.
    pub(super) fn start_slice(&mut self, plan: &CgroupPlan) -> Result<(), CgroupError> {
        let Some(unit) = plan.unit.as_ref().filter(|unit| unit.is_slice()) else {
            return Ok(());
        };
        let Some(mut systemd) = self.systemd().take() else {
            return Ok(());
        };
        systemd.start(unit, 0)?;
        let adopted = self.adopt_slice(plan, unit.user);
        if adopted.is_err() {
            // The error that is on its way says more than one of tidying up.
            let _ = systemd.stop(&unit.name, systemd::deadline());
        }
        adopted
    }

    fn adopt_slice(&mut self, plan: &CgroupPlan, user: bool) -> Result<(), CgroupError> {
        for (index, directory) in plan.directories.iter().enumerate() {
            let recorded = &self.record.directories[index];
            if !self.record.is_systemds(recorded) {
                continue;
            }
            members::refuse_used(&self.record, recorded)?;
            match directory.version {
                Version::V2 => {
                    self.adopt(index, directory, user)?;
                    self.hand_over(plan)?;
                }
                Version::V1 => {
                    let path = self.directories[index].clone();
                    self.open(index, &path, Version::V1)?;
                }
            }
        }
        Ok(())
    }

    /// Opens the directory that systemd has made, with the controllers that limits need.
    fn adopt(
        &mut self,
        index: usize,
        directory: &Directory,
        user: bool,
    ) -> Result<(), CgroupError> {
        let path = self.directories[index].clone();
        let list = format!("{path}/cgroup.controllers");
        let has = file::read(self.root.as_fd(), &list)
            .map_err(|errno| CgroupError::kernel("read", self.shown(&list), errno))?;
        let is_missing = |name: &str| has.split(' ').all(|has| has != name);
        let mut wanted = directory.controllers.clone();
        wanted.retain(|controller| controller.needed_by.is_some() && is_missing(&controller.name));
        if !wanted.is_empty() {
            // systemd knows some controllers only: hugetlb and rdma are not among them.
            let above = parent(&path).to_owned();
            let hierarchy = &directory.hierarchy;
            let mut made = Vec::new();
            let root = self.root.as_fd();
            levels::prepare(
                root,
                &self.record.root,
                hierarchy,
                &path,
                &wanted,
                &mut made,
            )
            .map_err(|error| match error.errno() {
                Some(Errno::ACCESS | Errno::PERM | Errno::NOENT) if user => error.hint(DELEGATE),
                _ => error,
            })?;
            log::debug!("enabled what systemd does not know of in {above}");
        }
        self.open(index, &path, Version::V2)
    }
}

impl Record {
    /// Tells systemd of new limits, where it made the cgroup. To be called before they are
    /// written into the files, which are exact.
    ///
    /// # Errors
    /// systemd cannot be reached, or refuses them.
    pub fn tell_systemd(&self, limits: &[Property]) -> Result<(), CgroupError> {
        match &self.unit {
            Some(unit) if !limits.is_empty() => {
                Systemd::connect(unit.user)?.set(&unit.name, limits)
            }
            _ => Ok(()),
        }
    }

    /// Has systemd put a process into the cgroup, where it made it, or beneath it.
    ///
    /// # Errors
    /// systemd cannot be reached, or refuses it.
    pub(super) fn ask_to_attach(&self, beneath: &str, pid: Pid) -> Result<(), CgroupError> {
        let pid = pid.as_raw_nonzero().get().cast_unsigned();
        match &self.unit {
            Some(unit) => Systemd::connect(unit.user)?.attach(&unit.name, beneath, pid),
            None => Ok(()),
        }
    }
}

impl Unit {
    /// Stops it, so that systemd forgets it. By now it has no cgroup any more; a systemd that
    /// cannot be reached forgets it by itself.
    pub(super) fn remove(&self) -> Result<(), CgroupError> {
        match Systemd::connect(self.user) {
            Ok(mut systemd) => systemd.stop(&self.name, systemd::deadline()),
            Err(error) => {
                log::warn!("unit {}: {error}", self.name);
                Ok(())
            }
        }
    }
}
