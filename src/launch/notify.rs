//! sd_notify(3) out of a container: the program says that it is ready, and the service manager
//! that started the runtime hears it.
//!
//! As in runc the program gets a socket of the runtime's own in a directory that is mounted on
//! /run/notify, read-only. The socket is made by `start` or `run`, which reads it until the
//! program has said READY=1 or its container has ended. What the container sends is the enemy's:
//! one word is looked for in it, and that word alone is passed on, in the runtime's own writing,
//! with the pid of the init. Descriptors that come along are dropped by the kernel.

use std::ffi::{CString, OsString};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, bind, recv, sendmsg_addr, sendto, socket_with,
};
use rustix::process::Pid;

use super::{Doing, LaunchError};
use crate::config::spec::{Mount, Process, Spec, Text};
use crate::container::Entry;
use crate::container::store::NOTIFY;
use crate::sys::Errno;

/// Where the container finds the socket.
const INSIDE: &str = "/run/notify";
const SOCKET: &str = "notify.sock";

/// How much of a message is looked at. sd_notify(3) sends lines of a few bytes.
const LONGEST: usize = 4096;

/// How many messages are read at a time. A socket holds net.unix.max_dgram_qlen, 10 or 512.
const AT_ONCE: usize = 1024;

/// How long the service manager may take to read what it was sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// The service manager's socket, if the runtime was started by one.
pub fn host_socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

/// Adds the mount and the variable to a container that is going to be made. `dir` is its state
/// directory's path.
pub fn add_to(spec: &mut Spec<'_>, dir: &str) {
    let text = |text: &str| Text::from(text.to_owned());
    let options = ["bind", "nosuid", "noexec", "nodev", "ro", "private"];
    spec.mounts.push(Mount {
        destination: text(INSIDE),
        source: Some(text(&format!("{dir}/{}", NOTIFY.to_string_lossy()))),
        options: options.into_iter().map(text).collect(),
        ..Mount::default()
    });
    let process = spec.process.get_or_insert_with(Process::default);
    let variable = format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}");
    process.env.push(Text::from(variable));
}

/// Makes the directory that is mounted.
///
/// # Errors
/// mkdir(2).
pub fn make_dir(entry: &Entry) -> Result<(), LaunchError> {
    rustix::fs::mkdirat(entry.dir(), NOTIFY, Mode::from_raw_mode(0o755))
        .doing("make the directory of the notify socket of", entry.id())
}

/// The way from a container to the service manager.
pub struct Proxy {
    socket: OwnedFd,
    manager: SocketAddrUnix,
}

impl Proxy {
    /// Makes the socket for the container, if it was created with a place for it and there is
    /// a service manager.
    ///
    /// # Errors
    /// An address that is none, or a socket that cannot be made.
    pub fn new(entry: &Entry) -> Result<Option<Proxy>, LaunchError> {
        let Some(path) = host_socket() else {
            return Ok(None);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match rustix::fs::openat(entry.dir(), NOTIFY, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(None),
            result => result.doing("open the directory of the notify socket of", entry.id())?,
        };
        let manager = address(&path).doing("use $NOTIFY_SOCKET", path.to_string_lossy())?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
            .doing("make a socket", "")?;
        // By descriptor: paths of sockets are short, and no part of this one is looked up twice.
        let name = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
        // Every user of the container may write; the directory says who gets there.
        let umask = rustix::process::umask(Mode::empty());
        let bound = SocketAddrUnix::new(name).and_then(|name| match bind(&socket, &name) {
            // A start that was killed has left it: nobody reads it any more.
            Err(Errno::ADDRINUSE) => {
                rustix::fs::unlinkat(&dir, SOCKET, AtFlags::empty())?;
                bind(&socket, &name)
            }
            result => result,
        });
        rustix::process::umask(umask);
        bound.doing("make the notify socket of", entry.id())?;
        Ok(Some(Proxy { socket, manager }))
    }

    /// The socket, to wait for messages.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Waits until the program is ready or its init has ended, and passes the word on.
    ///
    /// # Errors
    /// The service manager cannot be told.
    pub fn wait(&self, init: BorrowedFd<'_>, pid: Pid) -> Result<(), LaunchError> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(init, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                result => result.doing("wait for the notify socket", "")?,
            };
            let ended = !fds[1].revents().is_empty();
            // What it said before its end counts too.
            if self.is_ready() {
                return self.pass_on(Some(pid));
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Reads what is there; whether some of it says that the program is ready.
    pub fn is_ready(&self) -> bool {
        let mut buffer = [0u8; LONGEST];
        // A bounded number: others have to be heard however much comes.
        for _ in 0..AT_ONCE {
            match recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) if says_ready(&buffer[..length]) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// Tells the service manager, and waits until it has read that.
    ///
    /// # Errors
    /// It does not listen.
    pub fn pass_on(&self, main: Option<Pid>) -> Result<(), LaunchError> {
        let mut text = "READY=1\n".to_owned();
        if let Some(pid) = main {
            text += &format!("MAINPID={}\n", pid.as_raw_nonzero());
        }
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
        let send = |socket: &OwnedFd| {
            sendto(socket, text.as_bytes(), SendFlags::NOSIGNAL, &self.manager)?;
            self.wait_for_manager(socket)
        };
        socket
            .and_then(|socket| send(&socket))
            .doing("tell the service manager behind $NOTIFY_SOCKET", "")
    }

    /// sd_notify_barrier(3): the manager looks up who sent a message when it reads it, and this
    /// process may end next. It closes the descriptor that comes with this one.
    fn wait_for_manager(&self, socket: &OwnedFd) -> crate::sys::Result<()> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [write.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(Errno::NOMEM);
        }
        let text = [IoSlice::new(b"BARRIER=1")];
        sendmsg_addr(
            socket,
            &self.manager,
            &text,
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        drop(write);
        let patience = Timespec::try_from(PATIENCE).map_err(|_| Errno::INVAL)?;
        // One that does not know of barriers is not waited for any longer.
        poll(
            &mut [PollFd::new(&read, PollFlags::empty())],
            Some(&patience),
        )
        .map(drop)
    }
}

/// The address in `$NOTIFY_SOCKET`: a path, or with `@` an abstract name.
fn address(text: &OsString) -> crate::sys::Result<SocketAddrUnix> {
    match text.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
        path @ [b'/', ..] => {
            let path = CString::new(path).map_err(|_| Errno::INVAL)?;
            SocketAddrUnix::new(path.as_c_str())
        }
        _ => Err(Errno::AFNOSUPPORT),
    }
}

/// Whether one of the lines is the one that counts. A message that was cut has lost its last.
fn says_ready(message: &[u8]) -> bool {
    message
        .split(|&b| b == b'\n')
        .any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_ready_and_no_other() {
        for (message, ready) in [
            (&b"READY=1"[..], true),
            (b"READY=1\n", true),
            (b"STATUS=up\nREADY=1\nMAINPID=1", true),
            (b"READY=0", false),
            (b"READY=11", false),
            (b"XREADY=1", false),
            (b"STATUS=READY=1", false),
            (b"READY=1\0", false),
            (b"", false),
        ] {
            assert_eq!(says_ready(message), ready, "{message:?}");
        }
    }

    #[test]
    fn an_address_is_a_path_or_an_abstract_name() {
        for good in ["/run/x", "@x"] {
            assert!(address(&good.into()).is_ok(), "{good}");
        }
        for bad in ["x", "vsock:2:3", ""] {
            assert!(address(&bad.into()).is_err(), "{bad}");
        }
        assert!(address(&format!("/{}", "x".repeat(200)).into()).is_err());
    }
}
