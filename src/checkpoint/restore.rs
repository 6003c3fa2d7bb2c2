//! `restore`.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use rustix::process::{pidfd_open, pidfd_send_signal, waitid};

use super::criu::{self, Criu, Start};
use super::dump::{Failed, SHARED, common};
use super::images::Images;
use super::mounts::{self, External};
use super::rpc::{self, Kind, option};
use super::staging::Staging;
use super::verify::Expected;
use super::wire::Message;
use super::{CheckpointError, Options, system};
use crate::cgroup::{Cgroup, Cgroupfs, Record};
use crate::config::{self, ConfigError, Spec};
use crate::container::state::hook_records;
use crate::container::template::Filter;
use crate::container::{Entry, State, Status, Store, StoreError, status};
use crate::launch::hooks;
use crate::launch::{self, LaunchError, Launched, Running};
use crate::plan::cgroup::{CgroupPlan, Manager};
use crate::plan::{self, Plan, seccomp};
use crate::rootfs::calls::{READ_ONLY, set_attr};
use crate::sys::clone::{Cloned, clone3};
use crate::sys::process::{exit_now, setns};
use crate::sys::{Errno, errno_text};

/// CRIU's log.
const LOG: &str = "restore.log";
const NEWNS: u64 = libc::CLONE_NEWNS as u64;
const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
/// How long the removal of a cgroup may take when a restore is undone.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// What is to be restored.
#[derive(Debug)]
pub struct Request {
    /// The container, as for a launch. It runs at once.
    pub launch: launch::Request,
    /// What `checkpoint` has too.
    pub options: Options,
    /// Connections of TCP are closed.
    pub tcp_close: bool,
    /// The label that the processes get in place of theirs.
    pub lsm_profile: Option<String>,
    /// The context that mounts get in place of theirs.
    pub lsm_mount_context: Option<String>,
}

/// Restores a container, which runs then.
///
/// # Errors
/// Why not. Nothing is left behind.
pub fn restore(request: &Request) -> Result<Launched, CheckpointError> {
    let (bundle, dir) = launch::open_bundle(&request.launch.bundle)?;
    let text = config::read(dir.as_fd(), "config.json")
        .map_err(|error| LaunchError::Read(bundle.clone(), error))?;
    let spec = config::parse(&text)?;
    for warning in config::check(&spec)? {
        log::warn!("{warning}");
    }
    let plan = plan::plan(&spec, &bundle)?;
    refuse_unrestorable(&spec, &plan, request.launch.manager)?;
    let detached = request.launch.mode != launch::Mode::Foreground;
    let console = request.launch.console_socket.is_some();
    launch::check_terminal(plan.process.terminal, detached, console)?;

    let id = request.launch.id.as_str();
    let store = Store::new(&request.launch.root);
    if store.open(&request.launch.id).is_ok() {
        return Err(StoreError::Exists(id.to_owned()).into());
    }

    let program = criu::find()?;
    criu::version(&program)?;
    criu::require(&program, false, request.options.lazy_pages)?;
    let images = Images::open(&request.options.image_path)?;
    let work = request.options.work_path.as_deref();
    let work = work.map(Images::make).transpose()?;
    let streams = images.read_descriptors()?;

    let cgroupfs = Cgroupfs::open()?;
    let absent = config::spec::Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&absent);
    let cgroup_plan = plan::cgroup::plan(request.launch.manager, linux, id, cgroupfs.host())
        .map_err(|e| ConfigError::new(e.pointer, e.message))?;
    for warning in &cgroup_plan.warnings {
        log::warn!("{warning}");
    }
    let record = cgroupfs.intend(&cgroup_plan)?;
    let cgroup_mounts = launch::cgroup_mounts(&plan, &cgroup_plan, cgroupfs.host());
    let externals = mounts::externals(&plan, &cgroup_mounts);
    let entry = store.create(&request.launch.id)?;
    let owner = rustix::process::geteuid();
    let mut attempt = Attempt {
        state: launch::first_state(&request.launch, &spec, &plan, &bundle, (owner, record)),
        request,
        spec: &spec,
        plan: &plan,
        externals: &externals,
        logs: work.as_ref().unwrap_or(&images),
        work: work.as_ref(),
        images: &images,
        streams,
        entry,
        init: None,
        console: None,
        console_socket: None,
        pid_file: false,
        hooks_ran: false,
        cgroup_made: false,
    };
    match attempt.go(&program, cgroupfs, &cgroup_plan) {
        Ok(init) => Ok(Launched {
            entry: attempt.entry,
            state: attempt.state,
            init,
            proxy: None,
        }),
        Err(error) => {
            attempt.undo();
            Err(error)
        }
    }
}

/// What CRIU cannot bring back, and Corten would have to leave out silently.
fn refuse_unrestorable(
    spec: &Spec<'_>,
    plan: &Plan,
    manager: Manager,
) -> Result<(), CheckpointError> {
    let refuse = |pointer: String, why: &str| Err(ConfigError::new(pointer, why).into());
    let linux = spec.linux.as_ref();
    if !plan.net_devices.is_empty() {
        return refuse(
            "/linux/netDevices".to_owned(),
            "a restored container gets no network devices",
        );
    }
    if linux.is_some_and(|linux| linux.intel_rdt.is_some()) {
        return refuse(
            "/linux/intelRdt".to_owned(),
            "a restored container gets no RDT group",
        );
    }
    if let Some(index) = plan.mounts.iter().position(|mount| mount.idmap.is_some()) {
        return refuse(
            format!("/mounts/{index}"),
            "a mount with mapped ids cannot be restored",
        );
    }
    if !plan.namespaces.makes(NEWNS) {
        return refuse(
            "/linux/namespaces".to_owned(),
            "a container without a mount namespace of its own cannot be restored",
        );
    }
    if manager == Manager::Disabled && !plan.namespaces.makes(libc::CLONE_NEWPID as u64) {
        // Nothing would tell which processes are its.
        return refuse(
            "/linux/namespaces".to_owned(),
            "a container without a cgroup needs a pid namespace of its own to be restored",
        );
    }
    let joins = &plan.namespaces.join;
    let unknown = |flag: u64| flag == libc::CLONE_NEWCGROUP as u64 || flag == NEWUSER;
    match joins.iter().find(|join| unknown(join.flag)) {
        Some(join) => refuse(
            format!("/linux/namespaces/{}", join.index),
            "CRIU cannot join a namespace of this kind",
        ),
        None => Ok(()),
    }
}

/// A restore under way, with what has to be undone if it fails.
struct Attempt<'a> {
    request: &'a Request,
    spec: &'a Spec<'a>,
    plan: &'a Plan,
    externals: &'a [External],
    images: &'a Images,
    work: Option<&'a Images>,
    /// Where the log is.
    logs: &'a Images,
    streams: Vec<Option<String>>,
    entry: Entry,
    state: State,
    init: Option<(Pid, OwnedFd)>,
    console: Option<OwnedFd>,
    console_socket: Option<OwnedFd>,
    pid_file: bool,
    hooks_ran: bool,
    cgroup_made: bool,
}

impl Attempt<'_> {
    fn go(
        &mut self,
        program: &CString,
        cgroupfs: Cgroupfs,
        cgroup_plan: &CgroupPlan,
    ) -> Result<Running, CheckpointError> {
        self.entry.begin(FileType::RegularFile)?;
        // Intent on disk before the first effect outside the state directory.
        self.entry.write_state(&self.state)?;
        let socket = self.request.launch.console_socket.as_deref();
        self.console_socket = socket
            .map(|path| launch::connect("connect to the console socket", path))
            .transpose()?;
        self.state.template = self.template()?;
        self.logs.fresh_log(LOG)?;
        let cgroup = cgroupfs.create(cgroup_plan, self.state.cgroup.clone())?;
        self.cgroup_made = true;
        self.state.cgroup = cgroup.record().clone();
        self.entry.write_state(&self.state)?;

        let path = self.entry.path();
        let base = std::fs::canonicalize(path)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .map_err(system("find", path.display()))?;
        let staging = Staging {
            plan: self.plan,
            externals: self.externals,
            base,
        };
        let joined = self.joined()?;
        let criu = Criu::start(
            program,
            &Start {
                keep: joined.iter().map(|(_, fd)| fd.as_fd()).collect(),
                callers_streams: true,
                cgroup: Some(&cgroup),
                namespaces: NEWNS,
                first: Some(&|| staging.build()),
            },
        )?;
        let result = self.direct(&criu, (&cgroup, cgroup_plan), &staging, &joined);
        if let Err(failed) = result {
            let error = match failed {
                Failed::Broken(error) => error,
                Failed::Said(answer) => {
                    let log = Some((self.logs, LOG));
                    criu.failure("restore the container", answer.as_ref(), log)
                }
            };
            // criu holds what it has restored: without it, that would run.
            self.kill();
            criu.end();
            return Err(error);
        }
        if !criu.finish() {
            let log = self.logs.path.join(LOG);
            return Err(CheckpointError::Criu(format!(
                "criu failed at the end of the restore (see {})",
                log.display()
            )));
        }
        self.finish()
    }

    /// Tells criu what to restore, and goes with it through the stages.
    fn direct(
        &mut self,
        criu: &Criu,
        (cgroup, cgroup_plan): (&Cgroup, &CgroupPlan),
        staging: &Staging<'_>,
        joined: &[(String, OwnedFd)],
    ) -> Result<(), Failed> {
        self.limits(cgroup, cgroup_plan)?;
        // criu opens them by the numbers they have in this process.
        let pid = criu.pid.as_raw_nonzero().get();
        let images = self.images.inside(pid)?;
        let work = self.work.map(|work| work.inside(pid)).transpose()?;
        let mapped = self.mapped_images();
        let dirs = match &mapped {
            // What criu writes keeps the host's ids.
            Some(mapped) => (mapped, Some(work.as_ref().unwrap_or(&images))),
            None => (&images, work.as_ref()),
        };
        let options = self.options(staging, joined, criu.pid, dirs)?;
        self.converse(criu, staging, &options)
    }

    /// The images for the root of the container's user namespace, if it has one: nobody but
    /// the owner may read them, and that is another.
    fn mapped_images(&self) -> Option<Images> {
        let namespaces = &self.plan.namespaces;
        if !namespaces.makes(NEWUSER) {
            return None;
        }
        launch::user_namespace(&namespaces.uid_map, &namespaces.gid_map)
            .and_then(|namespace| self.images.mapped(namespace.as_fd()))
            .inspect_err(|errno| {
                log::warn!(
                    "the container's root has to be able to read {}: cannot map its ids: {}",
                    self.images.path.display(),
                    errno_text(errno.raw_os_error())
                );
            })
            .ok()
    }

    /// criu is in the cgroup: what it restores is limited from the start.
    fn limits(&self, cgroup: &Cgroup, plan: &CgroupPlan) -> Result<(), CheckpointError> {
        cgroup.apply(plan)?;
        cgroup.apply_devices(plan)?;
        Ok(())
    }

    fn options(
        &self,
        staging: &Staging<'_>,
        joined: &[(String, OwnedFd)],
        criu: Pid,
        (images, work): (&Images, Option<&Images>),
    ) -> Result<Message, CheckpointError> {
        use std::os::unix::ffi::OsStrExt as _;
        let request = self.request;
        let mut options = Message::default();
        common(&mut options, &request.options, images, work, &self.state);
        options
            .text(option::LOG_FILE, LOG)
            .text(option::ROOT, staging.root().as_os_str().as_bytes())
            .flag(option::EVASIVE_DEVICES, true)
            .flag(option::RST_SIBLING, true)
            // The newer way takes the propagation of all mounts that have the same master from
            // one of them, which the staged ones, each with a root of its own, do not allow.
            .flag(option::MNTNS_COMPAT_MODE, true);
        if request.tcp_close {
            options.flag(option::TCP_CLOSE, true);
        }
        if let Some(profile) = &request.lsm_profile {
            options.text(option::LSM_PROFILE, profile);
        }
        if let Some(context) = &request.lsm_mount_context {
            options.text(option::LSM_MOUNT_CONTEXT, context);
        }
        for (index, external) in self.externals.iter().enumerate() {
            let place = staging.place(index);
            let name = format!("mnt[{}]:", external.name);
            let text = [name.as_bytes(), place.as_os_str().as_bytes()].concat();
            options.text(option::EXTERNAL, text);
        }
        let mut inherit = |key: &str, fd: i32| {
            let mut message = Message::default();
            message.text(1, key).number(2, fd.into());
            options.message(option::INHERIT_FD, &message);
        };
        for (fd, name) in (0..).zip(&self.streams) {
            if let Some(name) = name {
                inherit(name, fd);
            }
        }
        for (key, fd) in joined {
            inherit(key, fd.as_raw_fd());
        }
        for join in &self.plan.namespaces.join {
            let mut kinds = plan::namespaces::KINDS.iter();
            let kind = kinds.find(|(_, _, flag)| *flag == join.flag);
            if let Some((_, file, flag)) = kind
                && !SHARED.iter().any(|(_, _, shared)| shared == flag)
            {
                options.message(option::JOIN_NS, &rpc::pair(file, join.path.as_bytes()));
            }
        }
        // What the checkpoint calls its cgroups is beneath this container's.
        let path = format!("/proc/{}/cgroup", criu.as_raw_nonzero());
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .map_err(system("read", path))?;
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            if let (Some(controllers), Some(path)) = (fields.next(), fields.next()) {
                for controller in controllers.split(',') {
                    options.message(option::CGROUP_ROOT, &rpc::pair(controller, path));
                }
            }
        }
        Ok(options)
    }

    /// The namespaces that CRIU takes from a descriptor, with their keys.
    fn joined(&self) -> Result<Vec<(String, OwnedFd)>, CheckpointError> {
        let mut found = Vec::new();
        for join in &self.plan.namespaces.join {
            let Some((kind, _, _)) = SHARED.iter().find(|(_, _, flag)| *flag == join.flag) else {
                continue;
            };
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(CWD, &join.path, flags, Mode::empty())
                .map_err(system("open the namespace", join.path.to_string_lossy()))?;
            found.push((format!("extRoot{kind}NS"), fd));
        }
        Ok(found)
    }

    fn converse(
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
                let text = std::fs::read(&path)
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
                    .map_err(system("read", path))?;
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

    fn known_init(&self) -> Result<(i32, &OwnedFd), CheckpointError> {
        match &self.init {
            Some((pid, pidfd)) => Ok((pid.as_raw_nonzero().get(), pidfd)),
            None => Err(unexpected("criu has not named the restored init")),
        }
    }

    /// Writes down what can be seen now.
    fn finish(&mut self) -> Result<Running, CheckpointError> {
        let (number, _) = self.known_init()?;
        if self.plan.process.terminal && self.console.is_none() && self.console_socket.is_none() {
            log::warn!("the checkpoint has no terminal, which /process/terminal asks for");
        }
        if let Some(path) = &self.request.launch.pid_file {
            launch::write_pid_file(path, number)?;
            self.pid_file = true;
        }
        self.entry.complete()?;
        match self.init.take() {
            Some((pid, pidfd)) => Ok(Running {
                pid,
                pidfd,
                console: self.console.take(),
            }),
            None => Err(unexpected("criu has not named the restored init")),
        }
    }

    /// What `exec` will need.
    fn template(&self) -> Result<String, CheckpointError> {
        let filter = match launch::seccomp_section(self.spec) {
            Some(section) => {
                let program = seccomp::compile(section, seccomp::Arch::NATIVE)
                    .map_err(launch::seccomp_error)?;
                Some(Filter::new(&program, section))
            }
            None => None,
        };
        let request = &self.request.launch;
        Ok(launch::template(
            request,
            self.spec,
            self.plan,
            (filter, false),
        ))
    }

    /// Kills what was restored, and criu, which is in the same cgroup.
    fn kill(&self) {
        if let Some((_, pidfd)) = &self.init {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
        if let Err(error) = self.state.cgroup.kill_all(libc::SIGKILL) {
            log::warn!("{error}");
        }
    }

    /// Takes back everything that was made.
    fn undo(&mut self) {
        if let Some((_, pidfd)) = &self.init {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
        let record: &Record = &self.state.cgroup;
        // One that could not be made may be another container's.
        if self.cgroup_made
            && let Err(error) = record.remove(PATIENCE)
        {
            log::warn!("{error}");
        }
        if let (true, Some(path)) = (self.pid_file, &self.request.launch.pid_file) {
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

fn unexpected(what: &str) -> CheckpointError {
    CheckpointError::Criu(what.to_owned())
}
