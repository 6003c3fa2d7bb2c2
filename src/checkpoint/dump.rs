//! `checkpoint`.

use std::fs::read_link;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};

use super::criu::{self, Criu, Start};
use super::images::{Images, is_outside};
use super::rpc::{self, Kind, option};
use super::wire::Message;
use super::{CheckpointError, NetworkLock, Options, images_error, mounts, read, system};
use crate::cgroup::Cgroupfs;
use crate::config;
use crate::container::kill::{open_init, wait_end};
use crate::container::{Entry, State, Status, delete, status};
use crate::launch::{LaunchError, cgroup_mounts, hooks, open_bundle};
use crate::plan::cgroup::Manager;
use crate::plan::{self, Plan};

/// CRIU's log.
const LOG: &str = "dump.log";
/// Namespaces that can be another's: kind, file, flag.
pub const SHARED: [(&str, &str, u64); 2] = [
    ("Net", "net", libc::CLONE_NEWNET as u64),
    ("Pid", "pid", libc::CLONE_NEWPID as u64),
];

/// What is to be written.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// What `restore` has too.
    pub options: Options,
    /// The checkpoint of memory before, from the images' directory.
    pub parent_path: Option<PathBuf>,
    /// The container runs on.
    pub leave_running: bool,
    /// Connections of TCP that are being made are left out.
    pub tcp_skip_in_flight: bool,
    /// Files that are open and have no name get one.
    pub link_remap: bool,
    /// Told when memory can be fetched.
    pub status_fd: Option<i32>,
    /// Where memory is sent.
    pub page_server: Option<(String, u16)>,
    /// Memory alone, and the container runs on.
    pub pre_dump: bool,
}

/// Writes a checkpoint of a container and, unless it is left running, deletes it.
///
/// # Errors
/// Why not; then the container runs on.
pub fn checkpoint(entry: &Entry, request: &Request) -> Result<(), CheckpointError> {
    if !entry.lock(false)? {
        let status = status::of(&entry.read_state()?, entry.dir());
        if status == Status::Creating {
            return Err(CheckpointError::Status(status));
        }
        entry.lock(true)?;
    }
    let state = entry.read_state()?;
    match status::of(&state, entry.dir()) {
        Status::Running | Status::Paused => {}
        status => return Err(CheckpointError::Status(status)),
    }
    let Some(init) = open_init(&state) else {
        return Err(CheckpointError::Status(Status::Stopped));
    };
    dump(&state, &init, request)?;
    if request.leave_running || request.pre_dump {
        return Ok(());
    }
    if let Some(state) = delete::delete(entry, true).map_err(CheckpointError::Delete)? {
        hooks::poststop(&state);
    }
    Ok(())
}

fn dump(state: &State, init: &OwnedFd, request: &Request) -> Result<(), CheckpointError> {
    let (kind, what) = match request.pre_dump {
        true => (Kind::PreDump, "write the memory"),
        false => (Kind::Dump, "checkpoint the container"),
    };
    // Before anything is started: what the caller passed is hidden from it.
    let status_fd = request.status_fd.map(take_status_fd).transpose()?;
    let program = criu::find()?;
    criu::version(&program)?;
    criu::require(&program, request.pre_dump, request.options.lazy_pages)?;
    let images = Images::make(&request.options.image_path)?;
    let work = request.options.work_path.as_deref();
    let work = work.map(Images::work).transpose()?;
    check_parent(&images, request)?;
    let logs = work.as_ref().unwrap_or(&images);
    logs.fresh_log(LOG)?;

    let mut options = Message::default();
    common(
        &mut options,
        &request.options,
        &images,
        work.as_ref(),
        state,
    );
    options
        .text(option::LOG_FILE, LOG)
        .text(option::ROOT, &state.rootfs)
        .number(option::PID, state.pid.into())
        .flag(option::LEAVE_RUNNING, request.leave_running)
        .flag(option::TCP_SKIP_IN_FLIGHT, request.tcp_skip_in_flight)
        .flag(option::LINK_REMAP, request.link_remap);
    if let Some(cgroup) = state.cgroup.freezes_at() {
        options.text(option::FREEZE_CGROUP, cgroup);
    }
    if let Some((address, port)) = &request.page_server {
        let mut server = Message::default();
        server.text(1, address).number(2, i64::from(*port));
        options.message(option::PAGE_SERVER, &server);
    }
    if let Some(parent) = &request.parent_path {
        use std::os::unix::ffi::OsStrExt as _;
        options
            .text(option::PARENT_IMG, parent.as_os_str().as_bytes())
            .flag(option::TRACK_MEM, true);
    }
    let mountinfo = namespaces_and_mounts(&mut options, state, request.pre_dump);
    let streams = streams(state.pid, mountinfo.as_deref().unwrap_or_default());
    // What was looked up by the init's number was the init's: it is there still.
    if wait_end(init, Duration::ZERO) {
        return Err(CheckpointError::Status(Status::Stopped));
    }
    mountinfo?;
    for name in streams.iter().filter(|name| is_outside(name)) {
        options.text(option::EXTERNAL, name);
    }
    if !request.pre_dump {
        images.write_descriptors(&streams)?;
    }

    let criu = Criu::start(&program, &Start::default())?;
    criu.send(&rpc::request(kind, Some(&options)))?;
    let log = Some((logs, LOG));
    let result = talk(&criu, kind, status_fd).map_err(|failed| match failed {
        Failed::Said(answer) => criu.failure(what, answer.as_ref(), log),
        Failed::Broken(error) => error,
    });
    if let Err(error) = result {
        criu.end();
        return Err(error);
    }
    // After a pre-dump criu waits for more, and calls it an error that there is none.
    let well = criu.finish();
    if !well && !request.pre_dump {
        let path = logs.path.join(LOG);
        let text = format!("criu failed to {what} at its end (see {})", path.display());
        return Err(CheckpointError::Criu(text));
    }
    Ok(())
}

/// How talking ended badly.
pub enum Failed {
    /// criu said so, or ended.
    Said(Option<rpc::Answer>),
    /// Corten could not go on.
    Broken(CheckpointError),
}

impl From<CheckpointError> for Failed {
    fn from(error: CheckpointError) -> Self {
        Failed::Broken(error)
    }
}

fn talk(criu: &Criu, kind: Kind, mut status_fd: Option<OwnedFd>) -> Result<(), Failed> {
    loop {
        let Some((answer, _)) = criu.receive()? else {
            return Err(Failed::Said(None));
        };
        if !answer.success {
            return Err(Failed::Said(Some(answer)));
        }
        if answer.is(kind) {
            return Ok(());
        }
        let Some(notify) = answer.notify.as_ref().filter(|_| answer.is(Kind::Notify)) else {
            return Err(Failed::Said(Some(answer)));
        };
        log::debug!("criu: {}", notify.stage);
        if notify.stage == "status-ready"
            && let Some(fd) = status_fd.take()
        {
            // As runc: a byte, and the end.
            let _ = rustix::io::write(&fd, &[0]);
        }
        criu.send(&rpc::passed(true))?;
    }
}

/// Options that both verbs have.
pub fn common(
    message: &mut Message,
    options: &Options,
    images: &Images,
    work: Option<&Images>,
    state: &State,
) {
    message
        .number(option::IMAGES_DIR_FD, images.fd().as_raw_fd().into())
        .number(option::LOG_LEVEL, 4)
        .flag(option::MANAGE_CGROUPS, true)
        .number(option::MANAGE_CGROUPS_MODE, options.cgroups_mode as i64)
        .flag(option::NOTIFY_SCRIPTS, true)
        .flag(option::SHELL_JOB, options.shell_job)
        .flag(option::EXT_UNIX_SK, options.ext_unix_sk)
        .flag(option::TCP_ESTABLISHED, options.tcp_established)
        .flag(option::FILE_LOCKS, options.file_locks)
        // The network of a container is the engine's: a new one is empty.
        .number(option::EMPTY_NS, libc::CLONE_NEWNET.into())
        .flag(option::ORPHAN_PTS_MASTER, true)
        .flag(option::AUTO_DEDUP, options.auto_dedup)
        .flag(option::LAZY_PAGES, options.lazy_pages);
    if let Some(work) = work {
        message.number(option::WORK_DIR_FD, work.fd().as_raw_fd().into());
    }
    if let Some(lock) = options.network_lock.filter(|l| *l != NetworkLock::Iptables) {
        message.number(option::NETWORK_LOCK, lock as i64);
    }
    // Its settings go before those given here; an empty name is no file at all.
    match state.annotations.get("org.criu.config").map(String::as_str) {
        Some("") => {}
        Some(file) => drop(message.text(option::CONFIG_FILE, file)),
        None => drop(message.text(option::CONFIG_FILE, "/etc/criu/runc.conf")),
    }
}

/// runc's rule: below the images' directory, or beside it, and there.
fn check_parent(images: &Images, request: &Request) -> Result<(), CheckpointError> {
    let Some(parent) = &request.parent_path else {
        return Ok(());
    };
    let usage = |text: String| Err(LaunchError::Usage(text).into());
    if parent.is_absolute() {
        return usage("--parent-path must be relative to --image-path".to_owned());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(images.fd(), parent, flags, Mode::empty()) {
        Ok(_) => Ok(()),
        Err(errno) => {
            let path = images.path.join(parent);
            Err(images_error(&path, "invalid --parent-path", errno))
        }
    }
}

/// What of the container is the host's or another container's.
fn namespaces_and_mounts(
    options: &mut Message,
    state: &State,
    pre_dump: bool,
) -> Result<Vec<mounts::MountLine>, CheckpointError> {
    let (bundle, dir) = open_bundle(state.bundle.as_ref())?;
    let name = state.config.as_deref().unwrap_or("config.json");
    let text = config::read(dir.as_fd(), name)
        .map_err(|error| LaunchError::Read(bundle.clone(), error))?;
    let spec = config::parse(&text)?;
    config::check(&spec)?;
    let plan = plan::plan(&spec, &bundle)?;
    for (kind, file, flag) in SHARED {
        if !plan.namespaces.joins(flag) {
            continue;
        }
        let path = format!("/proc/{}/ns/{file}", state.pid);
        let stat = rustix::fs::stat(&path).map_err(system("inspect", path))?;
        let text = format!("{file}[{}]:extRoot{kind}NS", stat.st_ino);
        options.text(option::EXTERNAL, text);
    }
    let path = format!("/proc/{}", state.pid);
    let lines = mounts::parse(&read(&format!("{path}/mountinfo"))?);
    if pre_dump {
        return Ok(lines);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, format!("{path}/root"), flags, Mode::empty())
        .map_err(system("open the root of", &path))?;
    let externals = externals(state, &plan, &spec)?;
    let names = mounts::names(root.as_fd(), &lines, &externals);
    for name in names.map_err(CheckpointError::Criu)? {
        options.text(option::EXTERNAL, name);
    }
    Ok(lines)
}

fn externals(
    state: &State,
    plan: &Plan,
    spec: &config::Spec<'_>,
) -> Result<Vec<mounts::External>, CheckpointError> {
    let absent = config::spec::Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&absent);
    let manager = match state.cgroup.lists_processes() {
        true => Manager::Cgroupfs,
        false => Manager::Disabled,
    };
    let cgroupfs = Cgroupfs::open()?;
    let cgroup = plan::cgroup::plan(manager, linux, &state.id, cgroupfs.host())
        .map_err(|e| config::ConfigError::new(e.pointer, e.message))?;
    Ok(mounts::externals(
        plan,
        &cgroup_mounts(plan, &cgroup, cgroupfs.host()),
    ))
}

/// What the standard streams of a process are, and which of them CRIU is to leave to the
/// caller of `restore`: what lies on a mount of the host's, as its /dev/null does.
fn streams(pid: i32, mountinfo: &[mounts::MountLine]) -> Vec<String> {
    let stream = |fd| {
        let path = format!("/proc/{pid}/fd/{fd}");
        let outside = || {
            let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
            let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
            let id: u64 = id.trim().parse().ok()?;
            if mountinfo.iter().any(|line| line.id == id) {
                return None;
            }
            let inode = rustix::fs::stat(&path).ok()?.st_ino;
            Some(format!("file[{id:x}:{inode:x}]"))
        };
        // As runc: the kernel's name of it.
        let target = read_link(&path).unwrap_or_default().display().to_string();
        let is_file = target.starts_with('/');
        is_file.then(outside).flatten().unwrap_or(target)
    };
    (0..3).map(stream).collect()
}

/// The descriptor of `--status-fd`, which the caller has passed.
fn take_status_fd(fd: i32) -> Result<OwnedFd, CheckpointError> {
    let usage = |why: &str| LaunchError::Usage(format!("invalid --status-fd {fd}: {why}"));
    let path = format!("/proc/self/fd/{fd}");
    if !crate::sys::process::is_inherited(fd) {
        return Err(usage("it is not open").into());
    }
    rustix::fs::openat(CWD, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|_| usage("it cannot be written to").into())
}
