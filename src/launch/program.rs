//! The last steps of a process before it becomes the exec stub: what `create`'s init
//! and a process that `exec` adds have in common. The current directory is the
//! container's root when they begin.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, OFlags};
use rustix::io::FdFlags;

use super::tty;
use crate::plan::process::ProcessPlan;
use crate::plan::scheduling::SchedulingPlan;
use crate::rootfs::{detached, resolve};
use crate::sys::fd::ShortLived;
use crate::sys::process::{
    PointerArray, execveat, set_io_priority, set_memory_policy, set_personality,
};
use crate::sys::stub::abi::{self, Message};
use crate::sys::stub::{self, At, DATA_OFFSET, Failure, Stage};
use crate::sys::{Errno, Result as SysResult};

/// The result of a step of the container's side.
pub type Step<T = ()> = Result<T, Failure>;

/// What is run, with all that was prepared for it.
pub struct Program<'a> {
    /// Program, user, limits.
    pub process: &'a ProcessPlan,
    /// How it is scheduled.
    pub scheduling: &'a SchedulingPlan,
    /// What the stub is run from.
    pub memfd: &'a ShortLived,
    /// argv of the stub: a free slot, the program's path, its argv.
    pub argv: PointerArray,
    /// Environment: a free slot first if HOME is to be found.
    pub envp: PointerArray,
}

/// What of the caller's descriptors the stub works with.
pub struct Handover<'h> {
    /// The channel to the runtime.
    pub channel: &'h OwnedFd,
    /// The exec fifo, if it waits.
    pub fifo: Option<BorrowedFd<'h>>,
    /// A procfs of the caller's pid namespace, if labels are to be written.
    pub procfs: Option<BorrowedFd<'h>>,
    /// What the stub does about a pid namespace.
    pub pid_namespace: PidNamespace<'h>,
    /// Length of the stub's data.
    pub size: i32,
}

/// How the stub comes into the container's pid namespace.
#[derive(Clone, Copy)]
pub enum PidNamespace<'h> {
    /// It is there.
    Own,
    /// It joins this one and goes on as a child.
    Join(BorrowedFd<'h>),
    /// Its children are born there: it goes on as one.
    Joined,
}

impl<'a> Program<'a> {
    /// Lays out the pointer arrays.
    pub fn new(
        process: &'a ProcessPlan,
        scheduling: &'a SchedulingPlan,
        memfd: &'a ShortLived,
    ) -> Program<'a> {
        let mut argv = vec![CString::default()];
        argv.extend(process.args.iter().cloned());
        let mut env = process.env.clone();
        if process.needs_home {
            // HOME's place: the last, where runc puts it.
            env.push(CString::default());
        }
        Program {
            process,
            scheduling,
            memfd,
            argv: PointerArray::new(1, argv),
            envp: PointerArray::new(0, env),
        }
    }

    /// Does what the program inherits and the stub's execve does not change; gives the
    /// program's path if it is another than its name. With `make_cwd` a working
    /// directory that is missing is made.
    ///
    /// # Errors
    /// The stage that failed.
    pub fn prepare(&mut self, make_cwd: bool) -> Step<Option<CString>> {
        let process = self.process;
        if process.needs_home {
            // Here, while the current directory is the root.
            let home = format!(
                "HOME={}",
                home_of(process.uid).unwrap_or_else(|| "/".to_owned())
            );
            self.envp
                .set(process.env.len(), leak(crate::plan::path::c_string(home)));
        }
        let cwd = relative(&process.cwd);
        // The caller has left it at the root.
        if !cwd.is_empty() {
            let dir = match make_cwd {
                true => resolve::handle_or_make(CWD, cwd, resolve::Make::Directory),
                false => resolve::handle(CWD, cwd),
            };
            rustix::process::fchdir(dir.at(Stage::Cwd)?).at(Stage::Cwd)?;
        }
        // A directory outside the root has no path here (CVE-2024-21626).
        let path = rustix::process::getcwd(Vec::new()).at(Stage::Cwd)?;
        if path.to_bytes().first() != Some(&b'/') {
            return Err(Failure {
                stage: Stage::Cwd,
                index: 0,
                errno: libc::ENOENT,
            });
        }
        if process.uid != 0 && !process.terminal {
            tty::own_stdio(process.uid).at(Stage::Console)?;
        }
        let found = find_program(
            process.args.first().map(CString::as_c_str),
            process.search.as_deref(),
        )
        .at(Stage::Lookup)?;
        schedule(self.scheduling)?;
        Ok(found)
    }

    /// Becomes the stub; returns only if that fails.
    pub fn become_stub(&mut self, handover: &Handover<'_>, program: Option<CString>) -> Failure {
        let joins = match handover.pid_namespace {
            PidNamespace::Join(fd) => Some(fd),
            PidNamespace::Own | PidNamespace::Joined => None,
        };
        let memfd = self.memfd.as_fd();
        let channel = handover.channel.as_fd();
        // These alone outlive the stub's execve; it hides them again at once.
        for fd in [
            Some(memfd),
            Some(channel),
            handover.fifo,
            handover.procfs,
            joins,
        ]
        .into_iter()
        .flatten()
        {
            if let Err(failure) = rustix::io::fcntl_setfd(fd, FdFlags::empty()).at(Stage::Stub) {
                return failure;
            }
        }
        let number = |fd: Option<BorrowedFd<'_>>| fd.map_or(-1, |fd| fd.as_raw_fd());
        let pid_namespace = match handover.pid_namespace {
            PidNamespace::Joined => abi::PID_NAMESPACE_JOINED,
            PidNamespace::Own | PidNamespace::Join(_) => number(joins),
        };
        let header = format!(
            "corten-init:{}:{DATA_OFFSET}:{}:{}:{}:{pid_namespace}:{}",
            memfd.as_raw_fd(),
            channel.as_raw_fd(),
            number(handover.fifo),
            number(handover.procfs),
            handover.size,
        );
        self.argv.set(0, leak(crate::plan::path::c_string(header)));
        match program {
            Some(path) => self.argv.set(1, leak(path)),
            None => self.argv.copy_slot(2, 1),
        }
        let errno = execveat(memfd, &self.argv, &self.envp);
        Failure {
            stage: Stage::Stub,
            index: 0,
            errno: errno.raw_os_error(),
        }
    }
}

/// Tells the runtime that a step failed, and ends.
pub fn fail(channel: impl AsFd, failure: &Failure) -> ! {
    let stage = failure.stage as u32;
    let mut message = Message::new(abi::TAG_FAILED, stage, failure.index, failure.errno);
    if failure.stage == Stage::Mount {
        message.tell(&detached::said());
    }
    let _ = stub::send(channel.as_fd(), &message);
    crate::sys::process::exit_now(255)
}

/// All but the scheduler, which a fork may reset: it is the stub's to set. The indexes are
/// those of `plan::scheduling::POINTERS`.
fn schedule(plan: &SchedulingPlan) -> Step {
    let stage = Stage::Scheduling;
    if let Some(priority) = plan.io_priority {
        set_io_priority(priority).at_index(stage, 1)?;
    }
    if let Some(personality) = plan.personality {
        set_personality(personality).at_index(stage, 2)?;
    }
    match &plan.memory {
        Some(policy) => set_memory_policy(policy.mode, &policy.nodes).at_index(stage, 3),
        None => Ok(()),
    }
}

/// A path of the container, below `/`.
pub fn relative(path: &CStr) -> &CStr {
    let skip = path.to_bytes().iter().take_while(|&&b| b == b'/').count();
    CStr::from_bytes_with_nul(&path.to_bytes_with_nul()[skip..]).unwrap_or(c"")
}

/// The process becomes another program; until then the string has to stay.
fn leak(text: CString) -> &'static CStr {
    Box::leak(text.into_boxed_c_str())
}

/// The home directory of a user, from the container's own passwd file.
fn home_of(uid: u32) -> Option<String> {
    let file = resolve::open(
        CWD,
        c"etc/passwd",
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
    )
    .ok()?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file).ok()?.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut text = Vec::new();
    std::io::Read::read_to_end(
        &mut std::io::Read::take(std::fs::File::from(file), 1 << 20),
        &mut text,
    )
    .ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let id = fields.nth(2)?.parse::<u32>().ok()?;
        let home = fields.nth(2)?;
        (id == uid && !home.is_empty()).then(|| home.to_owned())
    })
}

/// Finds the program as execvp does: by PATH if its name has no slash. Gives the
/// path if it is another than the name.
fn find_program(name: Option<&CStr>, search: Option<&[CString]>) -> SysResult<Option<CString>> {
    let name = name.ok_or(Errno::NOENT)?;
    if name.to_bytes().contains(&b'/') {
        return executable(name).map(|()| None);
    }
    let mut denied = false;
    for dir in search.unwrap_or_default() {
        let mut path = dir.to_bytes().to_vec();
        if path.is_empty() {
            path.push(b'.');
        }
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
        let path = crate::plan::path::c_string(path);
        match executable(&path) {
            Ok(()) => return Ok(Some(path)),
            Err(Errno::ACCESS) => denied = true,
            Err(_) => {}
        }
    }
    Err(if denied { Errno::ACCESS } else { Errno::NOENT })
}

/// A regular file with an x bit; whether this user may run it is the stub's to ask.
fn executable(path: &CStr) -> SysResult<()> {
    let stat = rustix::fs::stat(path)?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if regular && stat.st_mode & 0o111 != 0 {
        Ok(())
    } else {
        Err(Errno::ACCESS)
    }
}
