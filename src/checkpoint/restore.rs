//! `restore`: from the request to the record of a container that runs.

mod options;
mod refusals;
mod stages;

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use rustix::process::{Pid, Signal, pidfd_send_signal};

use super::criu::{self, Criu, Start};
use super::dump::Failed;
use super::images::Images;
use super::mounts::{self, External};
use super::staging::Staging;
use super::{CheckpointError, Options, system};
use crate::cgroup::{Cgroup, Cgroupfs, Record};
use crate::config::{self, Spec};
use crate::container::template::Filter;
use crate::container::{Entry, State, Store, StoreError};
use crate::launch::{self, LaunchError, Launched, Running, hooks};
use crate::plan::cgroup::CgroupPlan;
use crate::plan::{self, Plan, seccomp};
use crate::sys::{errno_text, io_errno};

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
    refusals::refuse_unrestorable(&spec, &plan, request.launch.manager)?;
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
    let work = work.map(Images::work).transpose()?;
    let streams = images.read_descriptors()?;

    let (cgroupfs, cgroup_plan) = launch::plan_cgroup(&request.launch, &spec)?;
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
        let mut cgroup = cgroupfs.create(cgroup_plan, self.state.cgroup.clone())?;
        self.cgroup_made = true;
        self.state.cgroup = cgroup.record().clone();
        self.entry.write_state(&self.state)?;

        let path = self.entry.path();
        let base = std::fs::canonicalize(path)
            .map_err(io_errno)
            .map_err(system("find", path.display()))?;
        let staging = Staging {
            plan: self.plan,
            externals: self.externals,
            base,
        };
        let mut joined = self.joined()?;
        joined.extend(self.replaced()?);
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
        let result = match self.start_scope(&mut cgroup, cgroup_plan, criu.pid) {
            Ok(()) => self.direct(&criu, (&cgroup, cgroup_plan), &staging, &joined),
            Err(error) => Err(Failed::Broken(error)),
        };
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

    /// Has systemd make the scope around criu, which waits for its orders.
    fn start_scope(
        &mut self,
        cgroup: &mut Cgroup,
        plan: &CgroupPlan,
        criu: Pid,
    ) -> Result<(), CheckpointError> {
        if !cgroup.waits_for_unit() {
            return Ok(());
        }
        let started = cgroup.start_scope(plan, criu, false);
        // Where systemd has put it; or without the unit, which is then not this container's.
        self.state.cgroup = cgroup.record().clone();
        self.entry.write_state(&self.state)?;
        Ok(started?)
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
            log::warn!("{error}: delete --force tries again");
            return;
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

fn unexpected(what: &str) -> CheckpointError {
    CheckpointError::Criu(what.to_owned())
}
