//! A launch under way: what is made in which order, and taken back if it fails.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitId, WaitIdOptions};

use super::init::Init;
use super::namespaces::Entered;
use super::notify::{self, Proxy};
use super::program::Program;
use super::send::{channel, connect, send_fd};
use super::{
    Doing, LaunchError, Launched, Request, Running, devices, hooks, ids, oom, parent, pid_file,
    rootless, sources, stub_data,
};
use super::{begin, denied};
use crate::cgroup::{Cgroup, Cgroupfs};
use crate::config::Spec;
use crate::container::kill::wait_end;
use crate::container::state::hook_records;
use crate::container::status::read_start;
use crate::container::store::{FIFO, NEW_FIFO};
use crate::container::template::Filter;
use crate::container::{Entry, State, Status};
use crate::plan::cgroup::CgroupPlan;
use crate::plan::namespaces::CLONE_NEWTIME;
use crate::plan::rdt::RdtPlan;
use crate::plan::{CgroupMounts, Plan, seccomp};
use crate::sys::clone::{Cloned, clone3};
use crate::sys::fd::ShortLived;
use crate::sys::process::survive_file_limit;
use crate::sys::stub::abi::{self, Message};
use crate::sys::{Errno, stub};

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const NEWCGROUP: u64 = libc::CLONE_NEWCGROUP as u64;

/// How long the removal of a cgroup may take when a launch is undone.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// A launch under way, with what has to be undone if it fails.
pub(super) struct Attempt<'a> {
    pub(super) request: &'a Request,
    /// There is a mount for the notify socket.
    pub(super) notifies: bool,
    /// Reads that socket.
    pub(super) proxy: Option<Proxy>,
    pub(super) spec: &'a Spec<'a>,
    pub(super) plan: &'a Plan,
    pub(super) rdt_plan: Option<RdtPlan>,
    pub(super) entry: Entry,
    pub(super) state: State,
    pub(super) child: Option<(Pid, OwnedFd)>,
    pub(super) cgroup_made: bool,
    pub(super) hooks_ran: bool,
    pub(super) pid_file: bool,
    /// The stub enters a pid namespace: another process than the one cloned will be the init.
    pub(super) second_to_come: bool,
    /// Whether setgroups(2) is denied in the container's user namespace.
    pub(super) groups_denied: bool,
    /// What the init has from the caller.
    pub(super) inherited: Inherited,
}

impl Attempt<'_> {
    pub(super) fn go(
        &mut self,
        cgroupfs: Cgroupfs,
        mut cgroup_plan: CgroupPlan,
    ) -> Result<Option<OwnedFd>, LaunchError> {
        survive_file_limit();
        // Intent on disk before the first effect outside the state directory, and before
        // what may wait for ever: `delete --force` finds here whom to end.
        self.entry.write_state(&self.state)?;
        let console_socket = match &self.request.console_socket {
            Some(path) => Some(connect("connect to the console socket", path)?),
            None => None,
        };
        let pidfd_socket = match &self.request.pidfd_socket {
            Some(path) => Some(connect("connect to the pidfd socket", path)?),
            None => None,
        };
        if self.notifies {
            notify::make_dir(&self.entry)?;
            if self.runs_at_once() {
                // Before the program can say anything. What is created gets it from `start`.
                self.proxy = Proxy::new(&self.entry)?;
            }
        }
        let fifo = if self.runs_at_once() {
            self.entry.begin(FileType::Fifo)?;
            None
        } else {
            Some(self.make_fifo()?)
        };
        let mut cgroup_mounts = parent::cgroup_mounts(self.plan, &cgroup_plan, cgroupfs.host());
        let mut cgroup = match cgroupfs.create(&cgroup_plan, self.state.cgroup.clone()) {
            Ok(cgroup) => cgroup,
            Err(error) => {
                let without =
                    rootless::without_cgroup(self.request, self.spec, error, &cgroup_plan)?;
                cgroup_plan = without.plan;
                cgroup_mounts =
                    parent::cgroup_mounts(self.plan, &cgroup_plan, without.cgroupfs.host());
                without.cgroupfs.create(&cgroup_plan, without.record)?
            }
        };
        let cgroup_plan = &cgroup_plan;
        self.cgroup_made = true;
        self.state.cgroup = cgroup.record().clone();

        let memfd = ShortLived::from(stub_data::memfd().doing("make a memfd", "")?);
        let channel = self.clone_init((&mut cgroup, cgroup_plan), cgroup_mounts, &memfd, fifo)?;
        let console = self
            .set_up(&channel, (&cgroup, cgroup_plan), &memfd, console_socket)
            .map_err(|error| self.first_cause(error, &channel, &cgroup))?;
        if let Some(socket) = pidfd_socket {
            let (_, pidfd) = self.child()?;
            send_fd(socket, pidfd.as_fd(), b"pidfd").doing("send the pidfd", "")?;
        }
        if self.runs_at_once() {
            self.entry.complete()?;
        } else {
            rustix::fs::renameat(self.entry.dir(), NEW_FIFO, self.entry.dir(), FIFO)
                .doing("rename the exec fifo of", &self.request.id)?;
        }
        self.entry.release_devices(&self.state);
        if !self.runs_at_once() {
            // The runtime ends now.
            drop(ShortLived::from(channel));
        }
        Ok(console)
    }

    /// While the init mounts: limits, the filter, the record; then what it asks for.
    fn set_up(
        &mut self,
        channel: &OwnedFd,
        (cgroup, cgroup_plan): (&Cgroup, &CgroupPlan),
        memfd: &ShortLived,
        console_socket: Option<OwnedFd>,
    ) -> Result<Option<OwnedFd>, LaunchError> {
        // A second process that is yet to come is the first one's child and inherits it.
        self.enter_rdt_group()?;
        if !self.second_to_come {
            // A limit of one process would forbid the second.
            cgroup.apply(cgroup_plan)?;
        }
        let seccomp = match parent::seccomp_section(self.spec) {
            Some(section) => Some(
                seccomp::compile(section, seccomp::Arch::NATIVE).map_err(parent::seccomp_error)?,
            ),
            None => None,
        };
        for warning in seccomp.iter().flat_map(|program| &program.warnings) {
            log::warn!("{warning}");
        }
        let seccomp_record = seccomp
            .as_ref()
            .zip(parent::seccomp_section(self.spec))
            .map(|(program, section)| Filter::new(program, section));
        let denied = self.groups_denied;
        self.state.template =
            parent::template(self.request, self.spec, self.plan, (seccomp_record, denied));
        if self.state.owner == 0 {
            self.adjust_oom_score()?;
        }
        self.record_pid()?;
        if !self.second_to_come {
            self.write_pid_file()?;
        }
        let size = self.write_stub(memfd, seccomp.as_ref())?;
        self.talk(channel, (cgroup, cgroup_plan), size, console_socket)
    }

    /// Makes the exec fifo and opens both of its ends, for the init: only root
    /// and the runtime ever open it by its path.
    fn make_fifo(&self) -> Result<ShortLived, LaunchError> {
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(self.entry.dir(), NEW_FIFO, FileType::Fifo, mode, 0)
            .doing("make the exec fifo of", &self.request.id)?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(self.entry.dir(), NEW_FIFO, flags, Mode::empty())
            .map(ShortLived::from)
            .doing("open the exec fifo of", &self.request.id)
    }

    /// First descriptor that the program does not get.
    fn close_from(&self) -> u32 {
        3 + self.request.preserve_fds
    }

    pub(super) fn child(&self) -> Result<(Pid, &OwnedFd), LaunchError> {
        let (pid, pidfd) = self.child.as_ref().ok_or_else(|| {
            LaunchError::System("find the init of", self.request.id.to_string(), Errno::SRCH)
        })?;
        Ok((*pid, pidfd))
    }

    fn clone_init(
        &mut self,
        (cgroup, cgroup_plan): (&mut Cgroup, &CgroupPlan),
        cgroup_mounts: CgroupMounts,
        memfd: &ShortLived,
        fifo: Option<ShortLived>,
    ) -> Result<OwnedFd, LaunchError> {
        let plan = self.plan;
        let into = cgroup.clone_into_fd();
        // A cgroup namespace has its root where the process is when it is made: on
        // v1 the init joins first. A time namespace needs its offsets first.
        let joins_itself = into.is_none() || cgroup.tasks_fds().next().is_some();
        let late = CLONE_NEWTIME | if joins_itself { NEWCGROUP } else { 0 };
        let unshare = late & plan.namespaces.new;
        let new = plan.namespaces.new & !late;
        let joins_user = plan.namespaces.joins(NEWUSER);
        // A time namespace is for children: the first of two makes it for the second.
        let (early, second_clone) = if joins_user && (new | unshare & CLONE_NEWTIME) != 0 {
            (0, Some(new))
        } else {
            (new, None)
        };

        let (ours, theirs) = channel()?;
        let nofile = sources::make_room(plan);
        let (root_tree, trees) = sources::open(plan)?;
        let (entered, joined) = Entered::enter(&plan.namespaces)?;
        self.second_to_come = joined.pid.is_some();
        let network = devices::joined(plan, &joined.namespaces)?;
        parent::hide_callers_descriptors(self.close_from())?;
        let hooks = &self.spec.hooks;
        let init = Init {
            plan,
            channel: theirs,
            program: Program::new(&plan.process, &plan.scheduling, memfd),
            fifo,
            cgroup,
            namespaces: joined.namespaces,
            pid_namespace: joined.pid,
            second_clone,
            unshare,
            root_tree,
            trees,
            nofile,
            cgroup_mounts,
            labels: None,
            keyring: (!self.request.no_new_keyring)
                .then(|| begin::keyring_name(self.request.id.as_str())),
            no_pivot: self.request.no_pivot,
            is_root: self.state.owner == 0,
            waits_for_hooks: self.waits_for_hooks(),
            create_container: hook_records(&hooks.create_container),
            state: self.state_around_pid(Status::Creating),
        };
        if !plan.namespaces.makes(NEWUSER) {
            // Inherited by the init: nothing inside can ever look into it. With a new
            // user namespace the mappings come first (see the init).
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
                .doing("make the init undumpable", "")?;
        }
        match clone3(early, into) {
            Ok(Cloned::Child) => {
                // Only the parent's end may be open, or its death would go unseen.
                drop(ours);
                init.run()
            }
            Ok(Cloned::Parent { pid, pidfd }) => {
                self.child = Some((pid, pidfd));
                drop(init);
                if let Some(limit) = nofile {
                    // Hooks inherit it.
                    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
                        .doing("restore the limit of open files", "")?;
                }
                entered.leave()?;
                if cgroup.waits_for_unit() {
                    self.start_scope(cgroup, cgroup_plan, &ours)?;
                }
                if second_clone.is_some() {
                    self.meet_second(&ours, cgroup)?;
                }
                let maps = plan.namespaces.makes(NEWUSER);
                if maps {
                    if !rustix::process::geteuid().is_root() {
                        // Later the file is not the user's any more.
                        self.adjust_oom_score()?;
                    }
                    self.groups_denied = ids::map(pid, &plan.namespaces)?;
                    if self.groups_denied && !plan.process.groups.is_empty() {
                        return Err(rootless::no_groups());
                    }
                }
                if self.move_devices(network)? || maps {
                    let mapped = Message::new(abi::TAG_MAPPED, 0, 0, 0);
                    // An init that has died meanwhile is noticed by the next receive.
                    let _ = stub::send(ours.as_fd(), &mapped);
                }
                Ok(ours)
            }
            Err(errno) => {
                entered.leave()?;
                Err(match cgroup.clone_error(errno) {
                    Some(error) => LaunchError::Cgroup(error),
                    None => denied::namespaces(early, errno),
                })
            }
        }
    }

    /// Has systemd make the scope around the init, which waits for it.
    fn start_scope(
        &mut self,
        cgroup: &mut Cgroup,
        plan: &CgroupPlan,
        channel: &OwnedFd,
    ) -> Result<(), LaunchError> {
        let (pid, _) = self.child()?;
        let started = cgroup.start_scope(plan, pid, self.second_to_come);
        // Where systemd has put it; or without the unit, which is then not this container's.
        self.state.cgroup = cgroup.record().clone();
        started?;
        let joined = Message::new(abi::TAG_JOINED, 0, 0, 0);
        // An init that has died meanwhile is noticed by the next receive.
        let _ = stub::send(channel.as_fd(), &joined);
        Ok(())
    }

    /// Whether there are hooks between the namespaces and the pivot. The init's own
    /// wait too, because they may open devices, for which the rules have to be set.
    pub(super) fn waits_for_hooks(&self) -> bool {
        let hooks = &self.spec.hooks;
        [
            &hooks.prestart,
            &hooks.create_runtime,
            &hooks.create_container,
        ]
        .iter()
        .any(|hooks| !hooks.is_empty())
    }

    /// `run`: there is no wait for `start`.
    pub(super) fn runs_at_once(&self) -> bool {
        self.request.mode != super::Mode::Create
    }

    fn state_around_pid(&self, status: Status) -> (String, String) {
        self.state.for_hooks_around_pid(status)
    }

    fn write_stub(
        &self,
        memfd: &ShortLived,
        program: Option<&seccomp::Program>,
    ) -> Result<u32, LaunchError> {
        let hooks = &self.spec.hooks.start_container;
        let state = if hooks.is_empty() {
            Default::default()
        } else {
            self.state_around_pid(Status::Created)
        };
        let extras = stub_data::Extras {
            wait: !self.runs_at_once(),
            ignored_signals: self.inherited.ignored_signals,
            keep_groups: self.groups_denied,
            may_lack_groups: self.plan.namespaces.joins(NEWUSER) || !self.inherited.groups,
            close_from: self.close_from(),
            seccomp: program,
            scheduler: self.plan.scheduling.scheduler.as_ref(),
            hooks,
            state,
        };
        stub_data::write(memfd, &stub_data::block(&self.plan.process, &extras))
            .doing("write the exec stub", "")
    }

    /// Opens a file in the init's directory of /proc.
    fn open_proc(&self, name: &str, flags: OFlags) -> Result<ShortLived, LaunchError> {
        let (pid, _) = self.child()?;
        let path = format!("/proc/{}/{name}", pid.as_raw_nonzero());
        rustix::fs::openat(CWD, &path, flags | OFlags::CLOEXEC, Mode::empty())
            .map(ShortLived::from)
            .doing("open", path)
    }

    fn adjust_oom_score(&self) -> Result<(), LaunchError> {
        match self.plan.process.oom_score_adj {
            Some(adjustment) => oom::adjust(self.child()?.0, adjustment),
            None => Ok(()),
        }
    }

    /// Writes down which process the container is, for those who come later.
    pub(super) fn record_pid(&mut self) -> Result<(), LaunchError> {
        let (pid, _) = self.child()?;
        let pid = pid.as_raw_nonzero().get();
        let stat = self.open_proc("stat", OFlags::RDONLY)?;
        let start = read_start(stat.as_fd()).doing("read the start time of process", pid)?;
        self.inherited = Inherited::read(&self.open_proc("status", OFlags::RDONLY)?);
        if !self.groups_denied && self.inherited.groups_stay() {
            self.groups_denied = true;
            if !self.plan.process.groups.is_empty() {
                return Err(rootless::no_groups());
            }
        }
        self.state.pid = pid;
        self.state.start_time = start.start_time;
        self.entry.write_state(&self.state)?;
        log::debug!("container {}: its init is process {pid}", self.state.id);
        Ok(())
    }

    pub(super) fn write_pid_file(&mut self) -> Result<(), LaunchError> {
        if let Some(path) = &self.request.pid_file {
            pid_file::write(path, self.state.pid)?;
            self.pid_file = true;
        }
        Ok(())
    }

    pub(super) fn finish(self, console: Option<OwnedFd>) -> Result<Launched, LaunchError> {
        let Some((pid, pidfd)) = self.child else {
            return Err(LaunchError::System(
                "find the init of",
                self.state.id,
                Errno::SRCH,
            ));
        };
        Ok(Launched {
            entry: self.entry,
            state: self.state,
            init: Running {
                pid,
                pidfd,
                console,
            },
            proxy: self.proxy,
        })
    }

    /// Takes back everything that was made. What cannot be is logged: the error
    /// that led here is what the user has to see. Where processes or cgroups stay, so does the
    /// record of them.
    pub(super) fn undo(&mut self) {
        if let Some((pid, pidfd)) = self.child.take() {
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            if !wait_end(&pidfd, PATIENCE) {
                let init = self.state.cgroup.why_stuck(pid.as_raw_nonzero().get());
                log::warn!(
                    "container {}: its init was killed and does not end: {}: \
                     delete --force removes the container once it has",
                    self.state.id,
                    init.unwrap_or_default()
                );
                return;
            }
            let _ = waitid_exited(&pidfd);
        }
        self.entry.undo_devices(&self.state);
        // One that could not be made may be another container's.
        if self.cgroup_made
            && let Err(error) = self.state.cgroup.remove(PATIENCE)
        {
            log::warn!("{error}: delete --force tries again");
            return;
        }
        if let Some(record) = &self.state.rdt {
            record.undo();
        }
        if let (true, Some(path)) = (self.pid_file, &self.request.pid_file) {
            let _ = std::fs::remove_file(path);
        }
        if let Err(error) = self.entry.remove() {
            log::warn!("{error}");
        }
        if self.hooks_ran {
            hooks::poststop(&self.state);
        }
    }
}

/// Waits until the process has ended and reaps it.
pub(super) fn waitid_exited(
    pidfd: &OwnedFd,
) -> crate::sys::Result<Option<rustix::process::WaitIdStatus>> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// What a process has from its caller and has to lose: clone3 resets handlers of signals only.
#[derive(Clone, Copy, Default)]
pub(super) struct Inherited {
    /// Signals that are ignored, one bit a signal.
    pub(super) ignored_signals: u64,
    /// Whether there are supplementary groups.
    pub(super) groups: bool,
}

impl Inherited {
    /// Reads /proc/PID/status (proc_pid_status(5)).
    pub(super) fn read(status: &ShortLived) -> Inherited {
        let mut buffer = [0u8; 4096];
        let length = rustix::io::read(status, &mut buffer).unwrap_or(0);
        let text = String::from_utf8_lossy(&buffer[..length]);
        let value = |key| text.lines().find_map(|line| line.strip_prefix(key));
        // Without the line nothing is known: all of them are reset.
        Inherited {
            ignored_signals: value("SigIgn:")
                .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
                .unwrap_or(!0),
            groups: value("Groups:").is_none_or(|groups| !groups.trim().is_empty()),
        }
    }

    /// Whether there are groups that nobody can take away, because the user namespace that the
    /// runtime is in denies setgroups(2).
    pub(super) fn groups_stay(self) -> bool {
        self.groups
            && std::fs::read_to_string("/proc/self/setgroups")
                .is_ok_and(|allowed| allowed.trim() == "deny")
    }
}
