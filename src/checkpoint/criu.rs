//! The program `criu`: finding it, starting it, talking with it.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Access, MemfdFlags, OFlags};
use rustix::io::FdFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags};
use rustix::process::{Pid, Signal, WaitIdOptions, pidfd_send_signal};

use super::images::{Images, first_error};
use super::rpc::{self, Answer, Kind};
use super::wire::Message;
use super::{CheckpointError, system};
use crate::cgroup::Cgroup;
use crate::launch::{hide_callers_descriptors, seqpacket_pair};
use crate::sys::clone::{Cloned, clone3};
use crate::sys::process::{PointerArray, exit_now, unblock_signals};
use crate::sys::spawn::execute;
use crate::sys::{Errno, errno_text};

/// The oldest version that knows all that is asked for (joined pid namespaces, `status-ready`).
const OLDEST: i32 = 31_500;
/// The longest answer; real ones have some hundred bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// What criu is started with.
#[derive(Default)]
pub struct Start<'a> {
    /// Descriptors that it gets, by the numbers they have here.
    pub keep: Vec<BorrowedFd<'a>>,
    /// It has the caller's standard streams, which are the container's then.
    pub callers_streams: bool,
    /// The cgroup that it starts in, with all that it restores.
    pub cgroup: Option<&'a Cgroup>,
    /// Namespaces of its own (`CLONE_NEW*`).
    pub namespaces: u64,
    /// What the new process does first, and why it could not.
    pub first: Option<&'a dyn Fn() -> Result<(), String>>,
}

/// A criu at work.
pub struct Criu {
    /// Its process.
    pub pid: Pid,
    pidfd: OwnedFd,
    socket: OwnedFd,
    output: OwnedFd,
}

/// The path of criu.
///
/// # Errors
/// It is not in `$PATH`.
pub fn find() -> Result<CString, CheckpointError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join("criu"))
        .find(|file| file.is_file() && rustix::fs::access(file, Access::EXEC_OK).is_ok())
        .and_then(|file| CString::new(file.as_os_str().as_bytes()).ok())
        .ok_or_else(|| {
            CheckpointError::Criu(
                "criu: executable file not found in $PATH: checkpoint and restore need CRIU \
                 (install the package criu)"
                    .to_owned(),
            )
        })
}

/// criu's version, 31701 for 3.17.1.
///
/// # Errors
/// It does not say, or is too old.
pub fn version(program: &CStr) -> Result<i32, CheckpointError> {
    let answer = ask(program, &rpc::request(Kind::Version, None), Kind::Version)?;
    let version = answer.version;
    if version < OLDEST {
        return Err(CheckpointError::Criu(format!(
            "criu {} is too old: version {} or later is needed",
            shown(version),
            shown(OLDEST)
        )));
    }
    log::debug!("criu {}", shown(version));
    Ok(version)
}

/// Makes sure of what pre-dumps and lazily loaded memory need.
///
/// # Errors
/// The kernel or criu does not have it.
pub fn require(program: &CStr, mem_track: bool, lazy_pages: bool) -> Result<(), CheckpointError> {
    if !mem_track && !lazy_pages {
        return Ok(());
    }
    let request = rpc::features(mem_track, lazy_pages);
    let has = ask(program, &request, Kind::Features)?.features;
    let missing = match (mem_track && !has.0, lazy_pages && !has.1) {
        (false, false) => return Ok(()),
        (true, _) => "track written memory (--pre-dump)",
        (_, true) => "load memory later (--lazy-pages)",
    };
    Err(CheckpointError::Criu(format!(
        "criu cannot {missing} on this kernel"
    )))
}

fn shown(version: i32) -> String {
    let (major, minor) = (version / 10_000, version / 100 % 100);
    match version % 100 {
        0 => format!("{major}.{minor}"),
        sublevel => format!("{major}.{minor}.{sublevel}"),
    }
}

/// One question to a criu of its own.
fn ask(program: &CStr, request: &Message, kind: Kind) -> Result<Answer, CheckpointError> {
    let criu = Criu::start(program, &Start::default())?;
    criu.send(request)?;
    let answer = criu.receive().map(|received| received.map(|(a, _)| a));
    let failed = |answer: Option<&Answer>| criu.failure("answer", answer, None);
    let result = match answer? {
        Some(answer) if answer.success && answer.is(kind) => Ok(answer),
        other => Err(failed(other.as_ref())),
    };
    criu.end();
    result
}

impl Criu {
    /// Starts criu.
    ///
    /// # Errors
    /// What the new process did first failed, or criu cannot be executed.
    pub fn start(program: &CStr, start: &Start<'_>) -> Result<Criu, CheckpointError> {
        let (ours, theirs) = seqpacket_pair()?;
        let output = rustix::fs::memfd_create(c"criu", MemfdFlags::CLOEXEC)
            .map_err(system("make a memfd", ""))?;
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let (news, tells) = rustix::pipe::pipe_with(flags).map_err(system("make a pipe", ""))?;
        hide_callers_descriptors(3)?;
        let child = Child {
            program,
            start,
            socket: theirs.as_fd(),
            output: output.as_fd(),
        };
        let into = start.cgroup.and_then(Cgroup::clone_into_fd);
        match clone3(start.namespaces, into) {
            Ok(Cloned::Child) => {
                drop((ours, news));
                let why = child.run();
                let _ = rustix::io::write(&tells, why.as_bytes());
                exit_now(127)
            }
            Ok(Cloned::Parent { pid, pidfd }) => {
                drop((tells, theirs));
                let criu = Criu {
                    pid,
                    pidfd,
                    socket: ours,
                    output,
                };
                // Closed by its execve, or with a reason.
                let mut why = String::new();
                use std::io::Read as _;
                let read = std::fs::File::from(news).read_to_string(&mut why);
                if read.is_err() || !why.is_empty() {
                    criu.end();
                    return Err(CheckpointError::Criu(why));
                }
                Ok(criu)
            }
            Err(errno) => match start.cgroup.and_then(|cgroup| cgroup.clone_error(errno)) {
                Some(error) => Err(error.into()),
                None => Err(system("make a process", "")(errno)),
            },
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// sendmsg(2), but for one who has ended: why is known by the next answer.
    pub fn send(&self, message: &Message) -> Result<(), CheckpointError> {
        match rustix::net::send(&self.socket, message.as_bytes(), SendFlags::NOSIGNAL) {
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(system("send a request to criu", "")(errno)),
        }
    }

    /// The next answer, perhaps with a descriptor; `None` if criu has ended without one.
    ///
    /// # Errors
    /// recvmsg(2), or what came is no answer.
    pub fn receive(&self) -> Result<Option<(Answer, Option<OwnedFd>)>, CheckpointError> {
        // What criu has started may hold its end of the socket open: its own end counts.
        loop {
            let mut fds = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::new(&self.pidfd, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                result => result.map_err(system("wait for criu", ""))?,
            };
            if !fds[0].revents().is_empty() {
                break;
            }
            if !fds[1].revents().is_empty() {
                return Ok(None);
            }
        }
        let mut bytes = vec![0u8; ANSWER_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match rustix::net::recvmsg(&self.socket, &mut parts, &mut control, flags) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Ok(None),
                result => break result.map_err(system("hear from criu", ""))?,
            }
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let whole = !received.flags.contains(ReturnFlags::TRUNC);
        let answer = whole.then(|| Answer::read(&bytes[..received.bytes]));
        match answer.flatten() {
            Some(answer) => Ok(Some((answer, fd))),
            None => Err(CheckpointError::Criu(
                "criu sent something that is no answer".to_owned(),
            )),
        }
    }

    /// Lets criu end, and waits for it; whether it ended well.
    pub fn finish(self) -> bool {
        let Criu { pidfd, socket, .. } = self;
        drop(socket);
        loop {
            let id = rustix::process::WaitId::PidFd(pidfd.as_fd());
            match rustix::process::waitid(id, WaitIdOptions::EXITED) {
                Err(Errno::INTR) => {}
                Ok(Some(status)) => return status.exit_status() == Some(0),
                _ => return false,
            }
        }
    }

    /// Ends criu.
    pub fn end(self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        self.finish();
    }

    /// Why criu did not do it, in one line: its first error, and where the rest is.
    pub fn failure(
        &self,
        what: &str,
        answer: Option<&Answer>,
        log: Option<(&Images, &str)>,
    ) -> CheckpointError {
        let mut text = format!("criu failed to {what}");
        let told = match log.and_then(|(dir, name)| dir.first_error(name)) {
            // It fails before it opens its log, too.
            None => self.first_of_output(),
            told => told,
        };
        match (told, answer) {
            (Some(error), _) => text += &format!(": {error}"),
            (None, Some(answer)) if !answer.message.is_empty() => {
                text += &format!(": {}", answer.message.trim_end());
            }
            (None, Some(answer)) if answer.errno != 0 => {
                text += &format!(": {}", errno_text(answer.errno));
            }
            (None, Some(_)) => {}
            (None, None) => text += ": it ended without a word",
        }
        if let Some((dir, name)) = log {
            text += &format!(" (see {})", dir.path.join(name).display());
        }
        CheckpointError::Criu(text)
    }

    fn first_of_output(&self) -> Option<String> {
        let mut text = vec![0u8; ANSWER_MAX];
        let length = rustix::io::pread(&self.output, &mut text[..], 0).ok()?;
        first_error(&text[..length])
    }
}

/// The new process until it is criu.
struct Child<'a> {
    program: &'a CStr,
    start: &'a Start<'a>,
    socket: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
}

impl Child<'_> {
    /// Becomes criu, or says why not.
    fn run(&self) -> String {
        match self.prepare() {
            Err(why) => why,
            Ok(()) => {
                let socket = CString::new(self.socket.as_raw_fd().to_string()).unwrap_or_default();
                let argv = vec![self.program.to_owned(), c"swrk".to_owned(), socket];
                let errno = execute(self.program, &PointerArray::new(0, argv));
                let why = errno_text(errno.raw_os_error());
                format!("cannot execute {}: {why}", self.program.to_string_lossy())
            }
        }
    }

    fn prepare(&self) -> Result<(), String> {
        let says = |what: &'static str| {
            move |errno: Errno| format!("cannot {what}: {}", errno_text(errno.raw_os_error()))
        };
        // `restore` blocks signals to take them from a descriptor.
        unblock_signals();
        if let Some(cgroup) = self.start.cgroup {
            let joined = cgroup.join();
            joined.map_err(|(index, errno)| cgroup.join_error(index, errno).to_string())?;
        }
        if let Some(first) = self.start.first {
            first()?;
        }
        if !self.start.callers_streams {
            use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
            let flags = OFlags::RDWR | OFlags::CLOEXEC;
            let null = rustix::fs::open(c"/dev/null", flags, rustix::fs::Mode::empty())
                .map_err(says("open /dev/null"))?;
            dup2_stdin(&null).map_err(says("give criu its streams"))?;
            dup2_stdout(self.output).map_err(says("give criu its streams"))?;
            dup2_stderr(self.output).map_err(says("give criu its streams"))?;
        }
        for fd in self.start.keep.iter().chain([&self.socket]) {
            rustix::io::fcntl_setfd(fd, FdFlags::empty()).map_err(says("keep a descriptor"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_version_is_shown_as_criu_shows_it() {
        assert_eq!(super::shown(31701), "3.17.1");
        assert_eq!(super::shown(40000), "4.0");
    }
}
