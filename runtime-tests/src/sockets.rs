//! A Unix socket that receives one descriptor, as engines offer it to
//! `--console-socket` and `--pidfd-socket`.

use crate::outcome::{Because, Outcome, fail};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs::Permissions;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A listening socket.
pub struct FdSocket {
    listener: UnixListener,
    /// Where it is.
    pub path: PathBuf,
}

impl FdSocket {
    /// Listens at `path`.
    pub fn bind(path: &Path) -> Outcome<FdSocket> {
        let listener = UnixListener::bind(path).because(path.display())?;
        // The runtime may be a user's.
        std::fs::set_permissions(path, Permissions::from_mode(0o777))?;
        Ok(FdSocket {
            listener,
            path: path.to_path_buf(),
        })
    }

    /// Accepts one connection and receives one message: its text and its descriptor.
    pub fn receive(&self) -> Outcome<(String, OwnedFd)> {
        self.listener.set_nonblocking(true)?;
        // The runtime has connected before it returns; a caller asks after that.
        let (stream, _) = self
            .listener
            .accept()
            .because("no connection from the runtime")?;
        stream.set_nonblocking(false)?;
        let mut text = [0u8; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &stream,
            &mut [IoSliceMut::new(&mut text)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if fds.len() != 1 {
            return fail(format!("{} descriptors instead of one", fds.len()));
        }
        let text = String::from_utf8_lossy(&text[..received.bytes]).into_owned();
        Ok((text, fds.remove(0)))
    }
}
