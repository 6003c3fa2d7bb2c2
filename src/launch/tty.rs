//! A terminal inside the container: made by the process that will have it, from the
//! container's own devpts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::send::send_fd;
use super::{Doing, LaunchError};
use crate::plan::process::ProcessPlan;
use crate::rootfs::calls::{attach, clone_tree};
use crate::rootfs::resolve::{self, Make};
use crate::sys::process::set_controlling_terminal;
use crate::sys::stub::abi::TAG_CONSOLE;
use crate::sys::{Errno, Result, stub};

/// A terminal from the container's own devpts.
pub struct Terminal {
    master: OwnedFd,
    terminal: OwnedFd,
}

impl Terminal {
    /// Makes one with the process's size, owned by its user.
    ///
    /// Everything goes by the descriptor that was checked: the image may have links
    /// in /dev (CVE-2025-52565, CVE-2026-88264).
    ///
    /// # Errors
    /// The first system call that fails.
    pub fn new(root: BorrowedFd<'_>, process: &ProcessPlan) -> Result<Terminal> {
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let master = resolve::open(root, c"dev/pts/ptmx", flags)?;
        let stat = rustix::fs::fstat(&master)?;
        let is_ptmx = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == libc::makedev(5, 2);
        if !is_ptmx {
            return Err(Errno::NODEV);
        }
        rustix::pty::unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        if let Some((rows, columns)) = process.console_size {
            let size = Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            rustix::termios::tcsetwinsize(&master, size)?;
        }
        // The program's user has to be able to open its own terminal again.
        let owner = rustix::fs::Uid::from_raw(process.uid);
        rustix::fs::fchown(&terminal, Some(owner), None)?;
        Ok(Terminal { master, terminal })
    }

    /// Binds it to /dev/console.
    ///
    /// # Errors
    /// The first system call that fails.
    pub fn bind_console(&self, root: BorrowedFd<'_>) -> Result<()> {
        let console = resolve::place_or_make(root, c"dev/console", Make::File)?;
        attach(clone_tree(&self.terminal, false)?, &console)
    }

    /// Makes it the standard streams' and, if the caller leads one, the session's, and
    /// sends the master side to the runtime.
    ///
    /// # Errors
    /// The first system call that fails.
    pub fn hand_out(&self, leads_session: bool, channel: BorrowedFd<'_>) -> Result<()> {
        if leads_session {
            set_controlling_terminal(self.terminal.as_fd())?;
        }
        use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
        dup2_stdin(&self.terminal)?;
        dup2_stdout(&self.terminal)?;
        dup2_stderr(&self.terminal)?;
        let message = stub::abi::Message::new(TAG_CONSOLE, 0, 0, 0);
        let bytes = stub::as_bytes(std::slice::from_ref(&message));
        send_fd(
            channel,
            self.master.as_fd(),
            &bytes[..stub::abi::MESSAGE_HEAD],
        )
    }
}

/// Takes the master side that a process of the container has sent: to the engine's socket
/// if there is one, else for the runtime itself, with the size of the caller's terminal.
///
/// # Errors
/// sendmsg(2).
pub fn deliver(
    console_socket: Option<&OwnedFd>,
    master: Option<OwnedFd>,
) -> std::result::Result<Option<OwnedFd>, LaunchError> {
    if let (Some(socket), Some(master)) = (console_socket, &master) {
        send_fd(socket, master.as_fd(), b"/dev/ptmx")
            .doing("send the terminal to the console socket", "")?;
        return Ok(None);
    }
    master.iter().for_each(size_of_callers);
    Ok(master)
}

/// Lets the program's user open its standard streams again (`/dev/stdout`) by
/// giving them to it, as runc does. Only pipes, sockets and terminals: never a
/// file, and never /dev/null, which belongs to the host (CVE-2026-88265).
///
/// # Errors
/// fstat(2). A stream that may not be given away keeps its owner.
pub fn own_stdio(uid: u32) -> Result<()> {
    use rustix::stdio::{stderr, stdin, stdout};
    for stream in [stdin(), stdout(), stderr()] {
        give(stream, uid)?;
    }
    Ok(())
}

fn give(stream: BorrowedFd<'_>, uid: u32) -> Result<()> {
    let stat = match rustix::fs::fstat(stream) {
        Err(Errno::BADF) => return Ok(()),
        result => result?,
    };
    let wanted = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket => true,
        FileType::CharacterDevice => rustix::termios::isatty(stream),
        _ => false,
    };
    if wanted && stat.st_uid != uid {
        // A mapping or a file system that does not allow it is no reason to fail.
        let _ = rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(uid)), None);
    }
    Ok(())
}

/// Gives a terminal the size of the caller's, if that is one: before the program looks.
fn size_of_callers(master: impl AsFd) {
    use rustix::termios::{tcgetwinsize, tcsetwinsize};
    if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
        // Without a size it is a terminal all the same.
        let _ = tcsetwinsize(master, size);
    }
}

/// Receives the master side that comes with a message.
///
/// # Errors
/// recvmsg(2), `EPROTO` if the message is none.
pub fn receive(channel: impl AsFd) -> Result<Option<(stub::abi::Message, Option<OwnedFd>)>> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut bytes = [0u8; stub::abi::MESSAGE_HEAD + stub::abi::DETAIL_MAX];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
        match recvmsg(&channel, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            // The init closed its end with messages unread; what it sent itself is still to come.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            result => break result?.bytes,
        }
    };
    if length == 0 {
        return Ok(None);
    }
    let mut fd = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            fd = fds.next();
        }
    }
    Ok(Some((stub::decode(&bytes[..length])?, fd)))
}
