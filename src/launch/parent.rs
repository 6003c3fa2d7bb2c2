//! The runtime's side of a launch.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitId, WaitIdOptions};

use super::init::Init;
use super::namespaces::Entered;
use super::send::{connect, send_fd};
use super::{
    Doing, LaunchError, Launched, Mode as LaunchMode, Request, describe, hooks, ids, own_copy,
    pid_file, sources, stub_data, tty,
};
use crate::cgroup::{Cgroup, Cgroupfs, Record};
use crate::config::{self, Spec};
use crate::container::state::{annotations, hook_records};
use crate::container::status::read_start;
use crate::container::store::{FIFO, NEW_FIFO};
use crate::container::{Entry, State, Status, Store};
use crate::plan::cgroup::CgroupPlan;
use crate::plan::namespaces::CLONE_NEWTIME;
use crate::plan::process::capability_names;
use crate::plan::{self, CgroupMounts, Plan, V1Mount, seccomp};
use crate::sys::clone::{Cloned, clone3};
use crate::sys::fd::ShortLived;
use crate::sys::process::PointerArray;
use crate::sys::stub::abi::{self, Message};
use crate::sys::{Errno, stub};

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const NEWCGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
const NEWPID: u64 = libc::CLONE_NEWPID as u64;

/// How long the removal of a cgroup may take when a launch is undone.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Launches a container.
///
/// # Errors
/// Why not. Nothing is left behind: no process, cgroup, file or mount.
pub fn launch(request: &Request) -> Result<Launched, LaunchError> {
    let bundle = std::path::absolute(&request.bundle).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        LaunchError::System(
            "open the bundle",
            request.bundle.display().to_string(),
            errno,
        )
    })?;
    let bundle_text = bundle.to_str().ok_or_else(|| {
        LaunchError::Usage(format!(
            "the bundle's path {} is not UTF-8",
            bundle.display()
        ))
    })?;
    let dir = rustix::fs::openat(
        CWD,
        &bundle,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map(ShortLived::from)
    .doing("open the bundle", bundle.display())?;
    let text = config::read(dir.as_fd(), "config.json")
        .map_err(|error| LaunchError::Read(bundle_text.to_owned(), error))?;
    let spec = config::parse(&text)?;
    if joins_pid_namespace(&spec) {
        own_copy::ensure()?;
    }
    for warning in config::check(&spec)? {
        log::warn!("{warning}");
    }
    log::debug!("read {bundle_text}/config.json, {} bytes", text.len());
    let mut plan = plan::plan(&spec, bundle_text)?;
    let listen_env = request
        .listen_env
        .iter()
        .map(|e| plan::path::c_string(e.as_str()));
    plan.process.env.extend(listen_env);
    if let Some(section) = seccomp_section(&spec) {
        seccomp::check(section).map_err(seccomp_error)?;
    }
    check_options(request, &plan)?;
    limit_capabilities(&mut plan);

    let absent = config::spec::Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&absent);
    let cgroupfs = Cgroupfs::open()?;
    let cgroup_plan =
        plan::cgroup::plan(request.manager, linux, request.id.as_str(), cgroupfs.host())
            .map_err(|e| LaunchError::Config(config::ConfigError::new(e.pointer, e.message)))?;
    for warning in &cgroup_plan.warnings {
        log::warn!("{warning}");
    }
    let cgroup_mounts = cgroup_mounts(&plan, &cgroup_plan, &cgroupfs);
    let record = cgroupfs.intend(&cgroup_plan)?;

    let entry = Store::new(&request.root).create(&request.id)?;
    let mut attempt = Attempt {
        state: first_state(request, &spec, &plan, bundle_text, record),
        request,
        spec: &spec,
        plan: &plan,
        entry,
        child: None,
        cgroup_made: false,
        reset_signals: false,
        hooks_ran: false,
        pid_file: false,
    };
    match attempt.go(cgroupfs, &cgroup_plan, cgroup_mounts) {
        Ok(console) => attempt.finish(console),
        Err(error) => {
            attempt.undo();
            Err(error)
        }
    }
}

fn joins_pid_namespace(spec: &Spec<'_>) -> bool {
    spec.linux
        .iter()
        .flat_map(|linux| &linux.namespaces)
        .any(|namespace| {
            namespace.kind == "pid" && namespace.path.as_deref().is_some_and(|p| !p.is_empty())
        })
}

fn seccomp_section<'s, 'a>(spec: &'s Spec<'a>) -> Option<&'s config::spec::Seccomp<'a>> {
    spec.linux.as_ref()?.seccomp.as_ref()
}

fn seccomp_error(error: seccomp::SeccompError) -> LaunchError {
    LaunchError::Config(config::ConfigError::new(error.pointer, error.message))
}

/// What of the options and the terminal contradicts.
fn check_options(request: &Request, plan: &Plan) -> Result<(), LaunchError> {
    let detached = request.mode != LaunchMode::Foreground;
    let usage = |text: &str| Err(LaunchError::Usage(text.to_owned()));
    if plan.process.terminal && detached && request.console_socket.is_none() {
        return usage(
            "cannot allocate tty if corten will detach without setting console socket \
             (/process/terminal is true: give --console-socket, or run it in the foreground)",
        );
    }
    if request.console_socket.is_some() && !(plan.process.terminal && detached) {
        return usage("cannot use console socket if corten will not detach or allocate tty");
    }
    for fd in 3..3 + request.preserve_fds {
        let fd = i32::try_from(fd).unwrap_or(i32::MAX);
        if !crate::sys::process::is_open(fd) {
            return Err(LaunchError::Usage(format!(
                "--preserve-fds {}: descriptor {fd} is not open",
                request.preserve_fds
            )));
        }
    }
    Ok(())
}

/// The spec: what cannot be granted is a warning, not an error. A new user
/// namespace has every capability.
fn limit_capabilities(plan: &mut Plan) {
    if plan.namespaces.has(NEWUSER) {
        return;
    }
    let Ok(own) = rustix::thread::capabilities(None) else {
        return;
    };
    let (limited, missing) = plan.process.capabilities.limited_to(own.permitted.bits());
    if missing != 0 {
        let names = capability_names(missing);
        log::warn!(
            "/process/capabilities: {names} cannot be granted: the runtime does not have them"
        );
        plan.process.capabilities = limited;
    }
}

/// What a mount of type `cgroup` is made of here.
fn cgroup_mounts(plan: &Plan, cgroup: &CgroupPlan, cgroupfs: &Cgroupfs) -> CgroupMounts {
    let host = cgroupfs.host();
    if host.is_unified() {
        return CgroupMounts::Unified;
    }
    let own_namespace = plan.namespaces.has(NEWCGROUP);
    let c_string = |text: String| plan::path::c_string(text);
    let mount = |hierarchy: &plan::cgroup::Hierarchy| {
        let name = &hierarchy.directory;
        V1Mount {
            data: c_string(mount_data(&hierarchy.controllers)),
            bind: (!own_namespace)
                .then(|| c_string(format!("{}/{name}/{}", host.root.display(), cgroup.path))),
            links: if name.contains(',') {
                name.split(',').map(plan::path::c_string).collect()
            } else {
                Vec::new()
            },
            name: plan::path::c_string(name.as_str()),
        }
    };
    CgroupMounts::V1(host.hierarchies.iter().map(mount).collect())
}

/// Options of mount(2) for a hierarchy; one without controllers says so.
fn mount_data(controllers: &[String]) -> String {
    match controllers {
        [name] if name.starts_with("name=") => format!("none,{name}"),
        names => names.join(","),
    }
}

fn first_state(
    request: &Request,
    spec: &Spec<'_>,
    plan: &Plan,
    bundle: &str,
    cgroup: Record,
) -> State {
    State {
        oci_version: spec.oci_version.to_string(),
        id: request.id.to_string(),
        pid: 0,
        start_time: 0,
        creator: rustix::process::getpid().as_raw_nonzero().get(),
        bundle: bundle.to_owned(),
        rootfs: plan.root.path.to_string_lossy().into_owned(),
        created: request.created.clone(),
        owner: rustix::process::geteuid().as_raw(),
        annotations: annotations(spec),
        cgroup,
        own_pid_namespace: plan.namespaces.makes(NEWPID),
        run: request.mode != LaunchMode::Create,
        poststart: hook_records(&spec.hooks.poststart),
        poststop: hook_records(&spec.hooks.poststop),
    }
}

/// A launch under way, with what has to be undone if it fails.
struct Attempt<'a> {
    request: &'a Request,
    spec: &'a Spec<'a>,
    plan: &'a Plan,
    entry: Entry,
    state: State,
    child: Option<(Pid, OwnedFd)>,
    cgroup_made: bool,
    hooks_ran: bool,
    pid_file: bool,
    /// The caller ignored signals, and that is inherited.
    reset_signals: bool,
}

impl Attempt<'_> {
    fn go(
        &mut self,
        cgroupfs: Cgroupfs,
        cgroup_plan: &CgroupPlan,
        cgroup_mounts: CgroupMounts,
    ) -> Result<Option<OwnedFd>, LaunchError> {
        let console_socket = match &self.request.console_socket {
            Some(path) => Some(connect("connect to the console socket", path)?),
            None => None,
        };
        let pidfd_socket = match &self.request.pidfd_socket {
            Some(path) => Some(connect("connect to the pidfd socket", path)?),
            None => None,
        };
        // Intent on disk before the first effect outside the state directory.
        self.entry.write_state(&self.state)?;
        let fifo = if self.state.run {
            None
        } else {
            Some(self.make_fifo()?)
        };
        let cgroup = cgroupfs.create(cgroup_plan, self.state.cgroup.clone())?;
        self.cgroup_made = true;
        self.state.cgroup = cgroup.record().clone();

        let memfd = ShortLived::from(stub_data::memfd().doing("make a memfd", "")?);
        let channel = self.clone_init(&cgroup, cgroup_mounts, &memfd, fifo)?;

        // While the init mounts: limits, the filter, the record.
        cgroup.apply(cgroup_plan)?;
        let seccomp = match seccomp_section(self.spec) {
            Some(section) => {
                Some(seccomp::compile(section, seccomp::Arch::NATIVE).map_err(seccomp_error)?)
            }
            None => None,
        };
        for warning in seccomp.iter().flat_map(|program| &program.warnings) {
            log::warn!("{warning}");
        }
        self.record_pid()?;
        let size = self.write_stub(&memfd, seccomp.as_ref())?;
        if let Some(socket) = pidfd_socket {
            let (_, pidfd) = self.child()?;
            send_fd(socket, pidfd.as_fd(), b"pidfd").doing("send the pidfd", "")?;
        }
        log::debug!(
            "container {}: its init is process {}",
            self.state.id,
            self.state.pid
        );
        let console = self.talk(&channel, (&cgroup, cgroup_plan), size, console_socket)?;
        if !self.state.run {
            rustix::fs::renameat(self.entry.dir(), NEW_FIFO, self.entry.dir(), FIFO)
                .doing("rename the exec fifo of", &self.request.id)?;
        }
        Ok(console)
    }

    /// Makes the exec fifo and opens both of its ends, for the init: only root
    /// and the runtime ever open it by its path.
    fn make_fifo(&self) -> Result<ShortLived, LaunchError> {
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(
            self.entry.dir(),
            NEW_FIFO,
            rustix::fs::FileType::Fifo,
            mode,
            0,
        )
        .doing("make the exec fifo of", &self.request.id)?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(self.entry.dir(), NEW_FIFO, flags, Mode::empty())
            .map(ShortLived::from)
            .doing("open the exec fifo of", &self.request.id)
    }

    fn child(&self) -> Result<(Pid, &OwnedFd), LaunchError> {
        let (pid, pidfd) = self.child.as_ref().ok_or_else(|| {
            LaunchError::System("find the init of", self.request.id.to_string(), Errno::SRCH)
        })?;
        Ok((*pid, pidfd))
    }

    fn clone_init(
        &mut self,
        cgroup: &Cgroup,
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
        let joins_user = plan.namespaces.join.iter().any(|join| join.flag == NEWUSER);
        let (early, second_clone) = if joins_user && new != 0 {
            (0, Some(new))
        } else {
            (new, None)
        };

        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .doing("make a socket pair", "")?;
        let (root_tree, trees) = sources::open(plan)?;
        let mut argv = vec![CString::default()];
        argv.extend(plan.process.args.iter().cloned());
        let (entered, joined) = Entered::enter(&plan.namespaces)?;
        let hooks = &self.spec.hooks;
        let init = Init {
            plan,
            channel: theirs,
            memfd,
            fifo,
            cgroup,
            namespaces: joined,
            second_clone,
            unshare,
            root_tree,
            trees,
            cgroup_mounts,
            argv: PointerArray::new(1, argv),
            envp: PointerArray::new(
                usize::from(plan.process.needs_home),
                plan.process.env.clone(),
            ),
            keyring: (!self.request.no_new_keyring)
                .then(|| plan::path::c_string(format!("_ses.{}", self.request.id))),
            no_pivot: self.request.no_pivot,
            parent_hooks: !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty(),
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
                entered.leave()?;
                if second_clone.is_some() {
                    self.meet_second(&ours, cgroup)?;
                }
                if plan.namespaces.makes(NEWUSER) {
                    ids::map(pid, &plan.namespaces)?;
                    let mapped = Message::new(abi::TAG_MAPPED, 0, 0, 0);
                    // An init that has died meanwhile is noticed by the next receive.
                    let _ = stub::send(ours.as_fd(), &mapped);
                }
                Ok(ours)
            }
            Err(errno) => {
                entered.leave()?;
                Err(LaunchError::System(
                    "make a process with the namespaces",
                    flag_names(early),
                    errno,
                ))
            }
        }
    }

    /// The process that was cloned has made the init as its sibling and ends.
    fn meet_second(&mut self, channel: &OwnedFd, cgroup: &Cgroup) -> Result<(), LaunchError> {
        let answer = tty::receive(channel).doing("hear from the init", "")?;
        let (_, first) = self.child()?;
        match answer {
            Some((message, Some(pidfd))) if message.tag == abi::TAG_INIT => {
                let _ = waitid_exited(first);
                let pid = pid_of(&pidfd).doing("find the pid of the init", "")?;
                self.child = Some((pid, pidfd));
                let met = Message::new(abi::TAG_MAPPED, 0, 0, 0);
                let _ = stub::send(channel.as_fd(), &met);
                Ok(())
            }
            Some((message, _)) if message.tag == abi::TAG_FAILED => Err(LaunchError::Init(
                describe::failure(&message, self.plan, self.spec, Some(cgroup)),
            )),
            _ => self.channel_closed(None).map(drop),
        }
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
            wait: !self.state.run,
            reset_signals: self.reset_signals,
            keep_groups: ids::setgroups_denied(&self.plan.namespaces),
            close_from: 3 + self.request.preserve_fds,
            seccomp: program,
            hooks,
            state,
        };
        stub_data::write(memfd, &stub_data::block(&self.plan.process, &extras))
            .doing("write the exec stub", "")
    }

    /// Writes down which process the container is, for those who come later.
    fn record_pid(&mut self) -> Result<(), LaunchError> {
        let (pid, _) = self.child()?;
        let pid = pid.as_raw_nonzero().get();
        let proc_path = |name: &str| format!("/proc/{pid}/{name}");
        let open = |name: &str, flags| {
            rustix::fs::openat(CWD, proc_path(name), flags | OFlags::CLOEXEC, Mode::empty())
                .map(ShortLived::from)
                .doing("open", proc_path(name))
        };
        if let Some(adjustment) = self.plan.process.oom_score_adj {
            let file = open("oom_score_adj", OFlags::WRONLY)?;
            rustix::io::write(&file, adjustment.to_string().as_bytes()).map_err(|errno| {
                LaunchError::Config(
                    config::ConfigError::new(
                        "/process/oomScoreAdj",
                        format!(
                            "cannot set {adjustment}: {}",
                            crate::sys::errno_text(errno.raw_os_error())
                        ),
                    )
                    .with_hint("a value below the runtime's own needs CAP_SYS_RESOURCE"),
                )
            })?;
        }
        let stat = open("stat", OFlags::RDONLY)?;
        let start = read_start(stat.as_fd()).doing("read", proc_path("stat"))?;
        self.reset_signals = ignores_signals(&open("status", OFlags::RDONLY)?);
        self.state.pid = pid;
        self.state.start_time = start.start_time;
        self.entry.write_state(&self.state)?;
        if let Some(path) = &self.request.pid_file {
            pid_file::write(path, pid)?;
            self.pid_file = true;
        }
        Ok(())
    }

    /// Answers the init until the container is set up; gives the terminal's master
    /// side if it is ours.
    fn talk(
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
        let hooks = &self.spec.hooks;
        let with_hooks = !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty();
        let mut console = None;
        loop {
            let Some((message, fd)) = tty::receive(channel).doing("hear from the init", "")? else {
                return self.channel_closed(console);
            };
            match message.tag {
                abi::TAG_DEVICES => {
                    cgroup.apply_devices(cgroup_plan)?;
                    if !with_hooks {
                        go(size);
                    }
                }
                abi::TAG_HOOKS => {
                    self.run_parent_hooks()?;
                    go(0);
                    go(size);
                }
                abi::TAG_CONSOLE => match (&console_socket, fd) {
                    (Some(socket), Some(master)) => {
                        send_fd(socket, master.as_fd(), b"/dev/ptmx")
                            .doing("send the terminal to the console socket", "")?;
                    }
                    (_, master) => console = master,
                },
                abi::TAG_LISTENER => {
                    self.send_listener(message.value)?;
                    go(0);
                }
                abi::TAG_READY => return Ok(console),
                abi::TAG_FAILED => {
                    let text = describe::failure(&message, self.plan, self.spec, Some(cgroup));
                    return Err(LaunchError::Init(text));
                }
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
        if self.state.run {
            return Ok(console);
        }
        let (_, pidfd) = self.child()?;
        let status = waitid_exited(pidfd).doing("wait for the init", "")?;
        let hint = match status.and_then(|s| s.terminating_signal()) {
            Some(libc::SIGKILL) => ": killed by signal 9 (is the memory limit too low?)".to_owned(),
            Some(libc::SIGSYS) => {
                ": killed by signal 31 (does the seccomp profile allow execve, openat and write?)"
                    .to_owned()
            }
            Some(signal) => format!(": killed by signal {signal}"),
            None => String::new(),
        };
        Err(LaunchError::Init(format!(
            "the container's init died while it was set up{hint}"
        )))
    }

    fn run_parent_hooks(&mut self) -> Result<(), LaunchError> {
        self.hooks_ran = true;
        let state = self.state.for_hooks(Status::Creating, Some(self.state.pid));
        let text = serde_json::to_vec(&state).unwrap_or_default();
        let hooks = &self.spec.hooks;
        hooks::run("prestart", &hook_records(&hooks.prestart), &text).map_err(LaunchError::Hook)?;
        hooks::run("createRuntime", &hook_records(&hooks.create_runtime), &text)
            .map_err(LaunchError::Hook)
    }

    /// Takes the seccomp listener out of the init and hands it to the agent
    /// (runtime-spec, "Container Process State").
    fn send_listener(&self, number: i32) -> Result<(), LaunchError> {
        let (_, pidfd) = self.child()?;
        let flags = rustix::process::PidfdGetfdFlags::empty();
        let listener = rustix::process::pidfd_getfd(pidfd, number, flags)
            .doing("take the seccomp listener from the init", "")?;
        let Some(section) = seccomp_section(self.spec) else {
            return Ok(());
        };
        let path = section.listener_path.as_deref().unwrap_or_default();
        let socket = connect("connect to the seccomp agent", path.as_ref())?;
        let state = serde_json::json!({
            "ociVersion": self.state.oci_version,
            "fds": ["seccompFd"],
            "pid": self.state.pid,
            "metadata": section.listener_metadata.as_deref().unwrap_or_default(),
            "state": self.state.for_hooks(Status::Creating, Some(self.state.pid)),
        });
        send_fd(socket, listener.as_fd(), state.to_string().as_bytes())
            .doing("send the listener to the seccomp agent", path)
    }

    fn finish(self, console: Option<OwnedFd>) -> Result<Launched, LaunchError> {
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
            pid,
            pidfd,
            console,
        })
    }

    /// Takes back everything that was made. What cannot be is logged: the error
    /// that led here is what the user has to see.
    fn undo(&mut self) {
        if let Some((_, pidfd)) = self.child.take() {
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            let _ = waitid_exited(&pidfd);
        }
        // One that could not be made may be another container's.
        if self.cgroup_made
            && let Err(error) = self.state.cgroup.remove(PATIENCE)
        {
            log::warn!("{error}");
        }
        if let (true, Some(path)) = (self.pid_file, &self.request.pid_file) {
            let _ = std::fs::remove_file(path);
        }
        if let Err(error) = self.entry.remove() {
            log::warn!("{error}");
        }
        if self.hooks_ran {
            let state = self.state.for_hooks(Status::Stopped, None);
            let text = serde_json::to_vec(&state).unwrap_or_default();
            for error in hooks::run_all("poststop", &self.state.poststop, &text) {
                log::warn!("{error}");
            }
        }
    }
}

/// The pid behind a pidfd, as this process numbers it (pidfd_open(2), fdinfo).
fn pid_of(pidfd: &OwnedFd) -> crate::sys::Result<Pid> {
    let path = format!(
        "/proc/self/fdinfo/{}",
        std::os::fd::AsRawFd::as_raw_fd(pidfd)
    );
    let text = std::fs::read_to_string(path).map_err(|_| Errno::SRCH)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    line.and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?))
        .ok_or(Errno::SRCH)
}

fn waitid_exited(pidfd: &OwnedFd) -> crate::sys::Result<Option<rustix::process::WaitIdStatus>> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Whether /proc/PID/status shows ignored signals. clone3 resets handlers only.
fn ignores_signals(status: &ShortLived) -> bool {
    let mut buffer = [0u8; 4096];
    let length = rustix::io::read(status, &mut buffer).unwrap_or(0);
    let text = String::from_utf8_lossy(&buffer[..length]);
    let line = text.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.is_none_or(|mask| mask.trim().bytes().any(|digit| digit != b'0'))
}

/// The words of config.json for `CLONE_NEW*` flags.
fn flag_names(flags: u64) -> String {
    let kinds = plan::namespaces::KINDS
        .iter()
        .filter(|(_, _, flag)| flags & flag != 0);
    kinds
        .map(|(word, _, _)| *word)
        .collect::<Vec<_>>()
        .join(", ")
}
