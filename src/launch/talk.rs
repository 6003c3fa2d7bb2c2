//! The runtime's end of the channel: it answers the init until the container is
//! set up (the protocol is drawn in the parent module).

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{DumpableBehavior, Pid, PidfdFlags, pidfd_open};

use super::attempt::{Attempt, waitid_exited};
use super::send::{connect, send_fd};
use super::{Doing, LaunchError, describe, hooks, parent, rootless, tty};
use crate::cgroup::Cgroup;
use crate::container::state::hook_records;
use crate::container::{State, Status};
use crate::plan::cgroup::CgroupPlan;
use crate::sys::stub::abi::{self, Message};
use crate::sys::{Errno, stub};

impl Attempt<'_> {
    /// The process that was cloned has made the init as its sibling and ends.
    pub(super) fn meet_second(
        &mut self,
        channel: &OwnedFd,
        cgroup: &Cgroup,
    ) -> Result<(), LaunchError> {
        let answer = tty::receive(channel).doing("hear from the init", "")?;
        match answer {
            Some((message, Some(pidfd))) if message.tag == abi::TAG_INIT => {
                let pid = pid_of(&pidfd).doing("find the pid of the init", "")?;
                self.replace_child(pid, pidfd)?;
                let met = Message::new(abi::TAG_MAPPED, 0, 0, 0);
                let _ = stub::send(channel.as_fd(), &met);
                Ok(())
            }
            Some((message, _)) if message.tag == abi::TAG_FAILED => {
                Err(self.failed(&message, cgroup))
            }
            _ => self.channel_closed(None).map(drop),
        }
    }

    /// The stub goes on as another process in the pid namespace that it has joined.
    fn meet_in_pid_namespace(
        &mut self,
        pid: i32,
        channel: &OwnedFd,
        (cgroup, cgroup_plan): (&Cgroup, &CgroupPlan),
    ) -> Result<(), LaunchError> {
        // It is this process's child and not reaped: the number stands for nobody else.
        let pid = Pid::from_raw(pid).ok_or(Errno::SRCH);
        let found = pid.and_then(|pid| Ok((pid, pidfd_open(pid, PidfdFlags::empty())?)));
        let (pid, pidfd) = found.doing("open the container's init", "")?;
        self.replace_child(pid, pidfd)?;
        self.second_to_come = false;
        cgroup.apply(cgroup_plan)?;
        self.record_pid()?;
        self.write_pid_file()?;
        let met = Message::new(abi::TAG_MAPPED, 0, 0, 0);
        // An init that has died meanwhile is noticed by the next receive.
        let _ = stub::send(channel.as_fd(), &met);
        Ok(())
    }

    /// Takes another process for the init; the one that made it ends.
    fn replace_child(&mut self, pid: Pid, pidfd: OwnedFd) -> Result<(), LaunchError> {
        let (_, first) = self.child()?;
        let _ = waitid_exited(first);
        self.child = Some((pid, pidfd));
        Ok(())
    }

    /// Answers the init until the container is set up; gives the terminal's master
    /// side if it is ours.
    pub(super) fn talk(
        &mut self,
        channel: &OwnedFd,
        (cgroup, cgroup_plan): (&Cgroup, &CgroupPlan),
        size: u32,
        console_socket: Option<OwnedFd>,
    ) -> Result<Option<OwnedFd>, LaunchError> {
        let go = |value: u32| {
            let message = Message::new(abi::TAG_GO, 0, 0, value as i32);
            // An init that has died is noticed by the next receive, with its reason.
            let _ = stub::send(channel.as_fd(), &message);
        };
        let with_hooks = self.waits_for_hooks();
        // Once at most, and only if there is to be one.
        let mut terminal = self.plan.process.terminal;
        let mut console = None;
        loop {
            if self.second_to_come
                && !speaks(channel, self.child()?.1).doing("hear from the init", "")?
            {
                return self.channel_closed(None);
            }
            let Some((message, fd)) = tty::receive(channel).doing("hear from the init", "")? else {
                return self.channel_closed(console);
            };
            match message.tag {
                abi::TAG_DEVICES => {
                    if let Err(error) = cgroup.apply_devices(cgroup_plan) {
                        rootless::without_device_rules(self.request, error)?;
                    }
                    if !with_hooks {
                        go(size);
                    }
                }
                abi::TAG_HOOKS if with_hooks && !self.hooks_ran => {
                    self.run_parent_hooks()?;
                    go(0);
                    go(size);
                }
                abi::TAG_CONSOLE if std::mem::take(&mut terminal) => {
                    console = tty::deliver(console_socket.as_ref(), fd)?;
                }
                abi::TAG_LISTENER => {
                    let section = parent::seccomp_section(self.spec);
                    let path = section.and_then(|s| s.listener_path.as_deref());
                    let metadata = section.and_then(|s| s.listener_metadata.as_deref());
                    let (pid, pidfd) = self.child()?;
                    let process = (pid, pidfd, Status::Creating);
                    send_listener(&self.state, process, message.value, path, metadata)?;
                    go(0);
                }
                // Once, and from the process that is not in there yet: neighbours may have
                // rights over the other.
                abi::TAG_INIT if self.second_to_come => {
                    self.meet_in_pid_namespace(message.value, channel, (cgroup, cgroup_plan))?;
                }
                abi::TAG_INSTEAD => log::debug!("{}", describe::instead(&message, self.plan)),
                abi::TAG_READY => return Ok(console),
                abi::TAG_FAILED => return Err(self.failed(&message, cgroup)),
                tag => {
                    return Err(LaunchError::Init(format!(
                        "the init sent an unknown message {tag}"
                    )));
                }
            }
        }
    }

    /// The channel's end: for `run` the program's execve closed it, else the init died.
    fn channel_closed(&self, console: Option<OwnedFd>) -> Result<Option<OwnedFd>, LaunchError> {
        if self.runs_at_once() {
            return Ok(console);
        }
        Err(self.silent_death()?)
    }

    /// The words for an init that has died, or is about to, without any.
    fn silent_death(&self) -> Result<LaunchError, LaunchError> {
        let (_, pidfd) = self.child()?;
        let status = waitid_exited(pidfd).doing("wait for the init", "")?;
        Ok(LaunchError::Init(describe::silent_death(
            status.and_then(|s| s.terminating_signal()),
            self.spec,
        )))
    }

    /// What led to an error: systemd removes a scope with its last process, so the cgroup of an
    /// init that has failed may be missed before its failure is heard of.
    pub(super) fn first_cause(
        &self,
        error: LaunchError,
        channel: &OwnedFd,
        cgroup: &Cgroup,
    ) -> LaunchError {
        let errno = match &error {
            LaunchError::Cgroup(error) => error.errno(),
            _ => None,
        };
        let is_gone = matches!(errno, Some(Errno::NOENT | Errno::NODEV));
        // One that lives may have nothing to say.
        if !is_gone || self.second_to_come || rustix::io::ioctl_fionbio(channel, true).is_err() {
            return error;
        }
        loop {
            match tty::receive(channel) {
                Ok(Some((message, _))) if message.tag == abi::TAG_FAILED => {
                    return self.failed(&message, cgroup);
                }
                Ok(Some(_)) => {}
                Ok(None) => return self.silent_death().unwrap_or(error),
                Err(_) => return error,
            }
        }
    }

    /// The init's own words.
    fn failed(&self, message: &Message, cgroup: &Cgroup) -> LaunchError {
        let text = describe::failure(message, self.plan, self.spec, Some(cgroup));
        LaunchError::Init(text)
    }

    fn run_parent_hooks(&mut self) -> Result<(), LaunchError> {
        self.hooks_ran = true;
        let hooks = &self.spec.hooks;
        for (kind, list, status) in [
            // Of runtime-spec 1.0, where the container was created before it ran; crun says so too.
            ("prestart", &hooks.prestart, Status::Created),
            ("createRuntime", &hooks.create_runtime, Status::Creating),
        ] {
            let pid = Some(self.state.pid);
            hooks::run_in_bundle(kind, &hook_records(list), &self.state, (status, pid))
                .map_err(LaunchError::Hook)?;
        }
        Ok(())
    }
}

/// Takes the seccomp listener out of a process of the container and hands it to the
/// agent (runtime-spec, "Container Process State").
///
/// # Errors
/// Nobody listens there.
pub(super) fn send_listener(
    container: &State,
    (pid, pidfd, status): (Pid, &OwnedFd, Status),
    number: i32,
    path: Option<&str>,
    metadata: Option<&str>,
) -> Result<(), LaunchError> {
    let flags = rustix::process::PidfdGetfdFlags::empty();
    let listener = rustix::process::pidfd_getfd(pidfd, number, flags)
        .doing("take the seccomp listener from the process", "")?;
    let path = path.unwrap_or_default();
    let socket = connect("connect to the seccomp agent", path.as_ref())?;
    let state = serde_json::json!({
        "ociVersion": container.oci_version,
        "fds": ["seccompFd"],
        "pid": pid.as_raw_nonzero(),
        "metadata": metadata.unwrap_or_default(),
        "state": container.for_hooks(status, Some(container.pid)),
    });
    send_fd(socket, listener.as_fd(), state.to_string().as_bytes())
        .doing("send the listener to the seccomp agent", path)
}

/// The pid behind a pidfd, as this process numbers it (pidfd_open(2), fdinfo).
fn pid_of(pidfd: &OwnedFd) -> crate::sys::Result<Pid> {
    let path = format!(
        "/proc/self/fdinfo/{}",
        std::os::fd::AsRawFd::as_raw_fd(pidfd)
    );
    let read = || std::fs::read_to_string(&path);
    let text = match read() {
        // Before Linux 5.14 the directory is root's while this process is undumpable, which
        // it became for the sake of the one that it cloned.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
            let text = read();
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
            text
        }
        result => result,
    };
    let text = text.map_err(|_| Errno::SRCH)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    line.and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?))
        .ok_or(Errno::SRCH)
}

/// Waits until the first process of two says something; `false` if it ends in silence. The
/// second holds the channel too and waits for an answer: if the first was killed before it
/// could name the second, nobody would ever speak.
///
/// # Errors
/// poll(2).
pub(super) fn speaks(channel: &OwnedFd, first: &OwnedFd) -> crate::sys::Result<bool> {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [
        PollFd::new(channel, PollFlags::IN),
        PollFd::new(first, PollFlags::IN),
    ];
    loop {
        match poll(&mut fds, None) {
            Err(Errno::INTR) => {}
            result => {
                result?;
                return Ok(!fds[0].revents().is_empty());
            }
        }
    }
}
