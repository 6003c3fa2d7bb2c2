//! `exec`: one more process in a container that runs.
//!
//! ```text
//! runtime                               the process, then stub (sys/stub)
//! state, template, plan
//! pidfd of the init, cgroup, stub's data
//! clone3 (into the cgroup on v2) ─────▶ join cgroup v1, all namespaces at once
//!                       ◀─ CONSOLE      (only with a terminal)
//!                                       becomes the stub: labels
//! note the pid          ◀─ INIT         goes on as a child in the pid namespace
//!                       ── MAPPED ─▶    credentials, filter, execve
//! the channel's end: the program runs
//! ```
//! The process is not in the container's pid namespace before it is the stub, so that
//! nothing inside ever sees the runtime (CVE-2016-9962, CVE-2019-5736).

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::attempt::{Inherited, waitid_exited};
use super::joiner::Joiner;
use super::program::Program;
use super::send::{channel, connect, send_fd};
use super::talk::{send_listener, speaks};
use super::{
    Doing, LaunchError, Running, begin, describe_process, parent, pid_file, stub_data, tty,
};
use crate::cgroup::{Beneath, Cgroup};
use crate::container::template::Template;
use crate::container::{State, Status};
use crate::plan::cgroup::Manager;
use crate::plan::path::c_string;
use crate::plan::process::{self, ProcessPlan};
use crate::plan::scheduling::{self, AffinityPlan, SchedulingPlan};
use crate::rootfs::Procfs;
use crate::sys::Errno;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::fd::ShortLived;
use crate::sys::pidfd::send_signal;
use crate::sys::process::survive_file_limit;
use crate::sys::stub::abi::{self, Message};
use crate::sys::stub::{self, Stage};

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const NEWPID: u64 = libc::CLONE_NEWPID as u64;
const NEWNS: u64 = libc::CLONE_NEWNS as u64;

/// What is to be run in which container, and how.
#[derive(Debug)]
pub struct Request<'a> {
    /// The container.
    pub state: &'a State,
    /// Its init, whose status was looked at after this was opened: it is the one meant.
    pub init: OwnedFd,
    /// Its template, with the process that is wanted.
    pub template: &'a Template<'a>,
    /// The caller does not stay.
    pub detached: bool,
    /// Socket that gets the terminal's master side.
    pub console_socket: Option<PathBuf>,
    /// Socket that gets a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// File that gets the process's pid.
    pub pid_file: Option<PathBuf>,
    /// Descriptors from 3 on that the program gets.
    pub preserve_fds: u32,
    /// Environment of socket activation, which goes with the descriptors.
    pub listen_env: Vec<String>,
    /// Cgroups beneath the container's to join instead.
    pub cgroups: Vec<Beneath>,
}

/// Runs a process in the container; its status was looked at.
///
/// # Errors
/// Why it does not run. Nothing of it is left then.
pub fn exec(request: &Request<'_>) -> Result<Running, LaunchError> {
    let template = request.template;
    let mut process = process::plan(&template.process)?;
    process
        .env
        .extend(request.listen_env.iter().map(|e| c_string(e.as_str())));
    if template.namespaces & NEWUSER == 0 {
        parent::limit_capabilities(&mut process);
    }
    let console_socket = request.console_socket.is_some();
    parent::check_terminal(process.terminal, request.detached, console_socket)?;
    parent::check_preserved(request.preserve_fds)?;
    let scheduling = scheduling::plan(&template.process, &template.linux);
    let affinity = scheduling::affinity(&template.process);
    let mut attempt = Attempt {
        request,
        process: &process,
        scheduling: &scheduling,
        affinity: &affinity,
        child: None,
        pid_file: false,
        met: false,
    };
    match attempt.go() {
        Ok(running) => Ok(running),
        Err(error) => {
            attempt.undo();
            Err(error)
        }
    }
}

struct Attempt<'a> {
    request: &'a Request<'a>,
    process: &'a ProcessPlan,
    scheduling: &'a SchedulingPlan,
    affinity: &'a AffinityPlan,
    child: Option<(Pid, OwnedFd)>,
    pid_file: bool,
    /// The process in the pid namespace is known.
    met: bool,
}

impl Attempt<'_> {
    fn go(&mut self) -> Result<Running, LaunchError> {
        let request = self.request;
        let console_socket = match &request.console_socket {
            Some(path) => Some(connect("connect to the console socket", path)?),
            None => None,
        };
        let pidfd_socket = match &request.pidfd_socket {
            Some(path) => Some(connect("connect to the pidfd socket", path)?),
            None => None,
        };
        let cgroup = self.open_cgroup()?;
        let memfd = ShortLived::from(stub_data::memfd().doing("make a memfd", "")?);
        if request.detached {
            // In the foreground every signal is blocked.
            survive_file_limit();
        }
        let size = self.write_stub(&memfd)?;
        let channel = self.clone(&cgroup, &memfd, size)?;
        if request.template.namespaces & NEWPID == 0 {
            self.write_pid_file()?;
        }
        let console = self.talk(&channel, &cgroup, console_socket)?;
        let (pid, pidfd) = self.child.take().ok_or_else(no_process)?;
        if let Some(socket) = pidfd_socket {
            send_fd(socket, pidfd.as_fd(), b"pidfd").doing("send the pidfd", "")?;
        }
        Ok(Running {
            pid,
            pidfd,
            console,
        })
    }

    fn open_cgroup(&self) -> Result<Cgroup, LaunchError> {
        let record = &self.request.state.cgroup;
        if !self.request.cgroups.is_empty() && !record.lists_processes() {
            return Err(LaunchError::Usage(
                "--cgroup: the container has no cgroup of its own \
                 (it was made with --cgroup-manager=disabled or without the right to make one)"
                    .to_owned(),
            ));
        }
        for beneath in &self.request.cgroups {
            if let Some(controller) = beneath.missing(record) {
                let text =
                    format!("--cgroup: there is no hierarchy of cgroup v1 with {controller}");
                return Err(LaunchError::Usage(text));
            }
        }
        Ok(record.open_beneath(&self.request.cgroups)?)
    }

    fn write_stub(&self, memfd: &ShortLived) -> Result<u32, LaunchError> {
        let filter = self.request.template.seccomp.as_ref();
        let program = match filter.map(|filter| filter.program()) {
            Some(None) => {
                let text = "the state of the container holds no filter that can be loaded";
                return Err(LaunchError::Usage(text.to_owned()));
            }
            program => program.flatten(),
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let own = rustix::fs::openat(CWD, c"/proc/self/status", flags, Mode::empty())
            .doing("open", "/proc/self/status")?;
        let inherited = Inherited::read(&own.into());
        let joins_user = self.request.template.namespaces & NEWUSER != 0;
        let stay = !joins_user && inherited.groups_stay();
        if stay && !self.process.groups.is_empty() {
            return Err(super::rootless::no_groups());
        }
        let extras = stub_data::Extras {
            wait: false,
            ignored_signals: inherited.ignored_signals,
            keep_groups: self.request.template.keep_groups || stay,
            may_lack_groups: joins_user || !inherited.groups,
            close_from: 3 + self.request.preserve_fds,
            seccomp: program.as_ref(),
            scheduler: self.scheduling.scheduler.as_ref(),
            hooks: &[],
            state: Default::default(),
        };
        stub_data::write(memfd, &stub_data::block(self.process, &extras))
            .doing("write the exec stub", "")
    }

    /// Whether the container's cgroup is a user's systemd's.
    fn may_ask_systemd(&self) -> bool {
        self.request.state.cgroup.manager() == Manager::Systemd { user: true }
    }

    fn clone(
        &mut self,
        cgroup: &Cgroup,
        memfd: &ShortLived,
        size: u32,
    ) -> Result<OwnedFd, LaunchError> {
        let (ours, theirs) = channel()?;
        let state = self.request.state;
        let namespaces = self.request.template.namespaces;
        let mut labels = Procfs::new(None);
        if !self.process.labels.is_empty() || self.process.key_label.is_some() {
            // Where no other procfs can be mounted, as for a user other than root.
            labels
                .dir_or_hosts()
                .doing("mount procfs for the runtime's own use", "")?;
        }
        let mut joiner = Joiner {
            waits_for_systemd: false,
            init: self.request.init.as_fd(),
            namespaces: match own_user_namespace(state.pid, namespaces)? {
                true => namespaces & !NEWUSER,
                false => namespaces,
            },
            root: match namespaces & NEWNS == 0 || self.request.template.shares_mounts {
                true => Some(open_root(state.pid)?),
                false => None,
            },
            keyring: self
                .request
                .template
                .keyring
                .then(|| begin::keyring_name(&state.id)),
            affinity: self.affinity,
            program: Program::new(self.process, self.scheduling, memfd),
            procfs: labels,
            channel: theirs,
            cgroup,
            size: size as i32,
        };
        parent::hide_callers_descriptors(3 + self.request.preserve_fds)?;
        if joiner.root.is_some() || namespaces & NEWUSER != 0 {
            // What was looked up by the init's number was the init's: it is there still.
            send_signal(joiner.init, 0)
                .map_err(|_| LaunchError::Usage("cannot exec in a stopped container".to_owned()))?;
        }
        // Inherited by the process: nothing inside can ever look into it.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .doing("make the process undumpable", "")?;
        let cloned = match clone3(0, cgroup.clone_into_fd()) {
            // Cgroups were made beneath the container's, which then takes no process itself.
            Err(Errno::BUSY | Errno::OPNOTSUPP) if self.request.cgroups.is_empty() => {
                let other = state.cgroup.open_where(state.pid)?;
                clone3(0, Some(other.as_fd()))
            }
            // A user may not move a process from elsewhere into what is his; his systemd may.
            Err(Errno::ACCESS | Errno::PERM) if self.may_ask_systemd() => {
                joiner.waits_for_systemd = true;
                clone3(0, None)
            }
            result => result,
        };
        let moves = joiner.waits_for_systemd;
        match cloned {
            Ok(Cloned::Child) => {
                // Only the parent's end may be open, or its death would go unseen.
                drop(ours);
                joiner.run()
            }
            Ok(Cloned::Parent { pid, pidfd }) => {
                self.child = Some((pid, pidfd));
                if moves {
                    let beneath = &self.request.cgroups;
                    state.cgroup.attach_by_systemd(beneath, state.pid, pid)?;
                    let joined = Message::new(abi::TAG_JOINED, 0, 0, 0);
                    // One that has died meanwhile is noticed by the next receive.
                    let _ = stub::send(ours.as_fd(), &joined);
                }
                Ok(ours)
            }
            Err(errno) => Err(match cgroup.clone_error(errno) {
                Some(error) => LaunchError::Cgroup(error),
                None => LaunchError::System("make a process", String::new(), errno),
            }),
        }
    }

    fn talk(
        &mut self,
        channel: &OwnedFd,
        cgroup: &Cgroup,
        console_socket: Option<OwnedFd>,
    ) -> Result<Option<OwnedFd>, LaunchError> {
        // Once at most, and only if there is to be one.
        let mut terminal = self.process.terminal;
        let mut console = None;
        let joins_pid = self.request.template.namespaces & NEWPID != 0;
        loop {
            if joins_pid && !self.met {
                let (_, first) = self.child()?;
                if !speaks(channel, first).doing("hear from the process", "")? {
                    return Err(killed());
                }
            }
            let received = tty::receive(channel).doing("hear from the process", "")?;
            let Some((message, fd)) = received else {
                if joins_pid && !self.met {
                    return Err(killed());
                }
                // Closed by execve, or by an end that its exit code tells of.
                return Ok(console);
            };
            match message.tag {
                abi::TAG_CONSOLE if std::mem::take(&mut terminal) => {
                    console = tty::deliver(console_socket.as_ref(), fd)?;
                }
                // Once, and from the process that is not in there yet.
                abi::TAG_INIT if joins_pid && !self.met => {
                    self.met = true;
                    self.meet(message.value)?;
                    self.write_pid_file()?;
                    answer(channel, abi::TAG_MAPPED);
                }
                abi::TAG_LISTENER => {
                    let filter = self.request.template.seccomp.as_ref();
                    let (pid, pidfd) = self.child()?;
                    send_listener(
                        self.request.state,
                        (pid, pidfd, Status::Running),
                        message.value,
                        filter.and_then(|f| f.listener_path.as_deref()),
                        filter.and_then(|f| f.listener_metadata.as_deref()),
                    )?;
                    answer(channel, abi::TAG_GO);
                }
                abi::TAG_FAILED => return Err(self.failure(&message, cgroup)),
                tag => {
                    let text = format!("the process sent an unknown message {tag}");
                    return Err(LaunchError::Init(text));
                }
            }
        }
    }

    /// The stub has gone on as another process in the pid namespace.
    fn meet(&mut self, pid: i32) -> Result<(), LaunchError> {
        // It is this process's child and not reaped: the number stands for nobody else.
        let pid = Pid::from_raw(pid).ok_or_else(no_process)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).doing("open the process", "")?;
        if let Some((_, first)) = self.child.replace((pid, pidfd)) {
            let _ = waitid_exited(&first);
        }
        Ok(())
    }

    fn failure(&self, message: &Message, cgroup: &Cgroup) -> LaunchError {
        let stage = Stage::from_number(message.stage).unwrap_or(Stage::Unknown);
        let errno = Errno::from_raw_os_error(message.value);
        if stage == Stage::JoinCgroup {
            return LaunchError::Cgroup(cgroup.join_error(message.index as usize, errno));
        }
        LaunchError::Init(describe_process::of_process(message, self.process))
    }

    fn child(&self) -> Result<(Pid, &OwnedFd), LaunchError> {
        let (pid, pidfd) = self.child.as_ref().ok_or_else(no_process)?;
        Ok((*pid, pidfd))
    }

    fn write_pid_file(&mut self) -> Result<(), LaunchError> {
        if let Some(path) = &self.request.pid_file {
            let (pid, _) = self.child()?;
            pid_file::write(path, pid.as_raw_nonzero().get())?;
            self.pid_file = true;
        }
        Ok(())
    }

    fn undo(&mut self) {
        if let Some((_, pidfd)) = self.child.take() {
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            let _ = waitid_exited(&pidfd);
        }
        if let (true, Some(path)) = (self.pid_file, &self.request.pid_file) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn killed() -> LaunchError {
    LaunchError::Init("the process was killed before it could run the program".to_owned())
}

fn no_process() -> LaunchError {
    LaunchError::System("find the process", String::new(), Errno::SRCH)
}

fn answer(channel: &OwnedFd, tag: u32) {
    // A process that has died is noticed by the next receive, with its reason.
    let _ = stub::send(channel.as_fd(), &Message::new(tag, 0, 0, 0));
}

/// A descriptor of the container's init, if it has one. Whether it is the init that was
/// recorded is to be asked after this.
///
/// # Errors
/// pidfd_open(2).
pub fn open_init(state: &State) -> Result<Option<OwnedFd>, LaunchError> {
    let Some(pid) = Pid::from_raw(state.pid) else {
        return Ok(None);
    };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => Ok(None),
        result => result.doing("open the container's init", "").map(Some),
    }
}

/// The root directory of a container that has no mount namespace to find it by.
fn open_root(pid: i32) -> Result<OwnedFd, LaunchError> {
    let path = format!("/proc/{pid}/root");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, &path, flags, Mode::empty()).doing("open", path)
}

/// Whether the user namespace to join is the caller's own, which cannot be joined.
///
/// # Errors
/// stat(2).
pub(super) fn own_user_namespace(pid: i32, namespaces: u64) -> Result<bool, LaunchError> {
    if namespaces & NEWUSER == 0 {
        return Ok(false);
    }
    let stat = |path: String| rustix::fs::stat(&path).doing("inspect", path);
    let own = stat("/proc/self/ns/user".to_owned())?;
    let other = stat(format!("/proc/{pid}/ns/user"))?;
    Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}
