//! Handing descriptors to the sockets that engines listen on.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};

use super::{Doing, LaunchError};
use crate::sys::{Errno, Result};

/// Connects to an engine's socket.
///
/// # Errors
/// There is no such socket, or nobody listens.
pub fn connect(what: &'static str, path: &Path) -> std::result::Result<OwnedFd, LaunchError> {
    match UnixStream::connect(path) {
        Ok(stream) => Ok(stream.into()),
        Err(error) => {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
            Err(LaunchError::System(what, path.display().to_string(), errno))
        }
    }
}

/// The channel between the runtime and a process of the container: the runtime's end first.
///
/// # Errors
/// socketpair(2).
pub fn channel() -> std::result::Result<(OwnedFd, OwnedFd), LaunchError> {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .doing("make a socket pair", "")
}

/// Sends one descriptor with a text.
///
/// # Errors
/// sendmsg(2).
pub fn send_fd(socket: impl AsFd, fd: BorrowedFd<'_>, text: &[u8]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::NOMEM);
    }
    sendmsg(
        socket,
        &[IoSlice::new(text)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .map(drop)
}
