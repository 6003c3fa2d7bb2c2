//! A procfs of a pid namespace that the caller is not in, before Linux 6.17.
//!
//! It shows the namespace of the process that opens it, so some process has to be in there. A
//! neighbour that has CAP_SYS_PTRACE and no user namespace can look into that one, undumpable
//! or not. So it is the exec stub from a sealed memfd, in a mount namespace that holds an empty
//! tmpfs, with a socket and nothing else, and with CAP_SYS_ADMIN alone (SECURITY-RULES 5).

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::FdFlags;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::detached::new_mount;
use crate::plan::path::c_string;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::fd::ShortLived;
use crate::sys::mount::change_root_propagation;
use crate::sys::process::{PointerArray, execveat, exit_now, setns, unshare_namespaces};
use crate::sys::stub::{image, seal};
use crate::sys::{Errno, Result};

/// A procfs to be of this pid namespace: fsopen(2)'s descriptor.
///
/// # Errors
/// What the helper's calls gave; `PROTO` if it sent no descriptor.
pub fn context(namespace: &OwnedFd) -> Result<ShortLived> {
    let program = image(c"corten-proc")?;
    seal(&program)?;
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let pidfd = match clone3(0, None)? {
        Cloned::Child => {
            let Err(errno) = become_helper(namespace.as_fd(), program.as_fd(), theirs.as_fd());
            exit_now(errno.raw_os_error())
        }
        Cloned::Parent { pidfd, .. } => pidfd,
    };
    let status = loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            result => break result?,
        }
    };
    match status.and_then(|status| status.exit_status()) {
        Some(0) => receive(&ours),
        Some(errno) => Err(Errno::from_raw_os_error(errno)),
        None => Err(Errno::SRCH),
    }
}

/// Becomes the stub, whose child is born in the namespace. It does not come back out: from a
/// user namespace that was joined it could not.
fn become_helper(
    namespace: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    channel: BorrowedFd<'_>,
) -> Result<Infallible> {
    setns(namespace, libc::CLONE_NEWPID as u64)?;
    leave_the_tree()?;
    rustix::io::fcntl_setfd(channel, FdFlags::empty())?;
    let name = c_string(format!("corten-proc:{}", channel.as_raw_fd()));
    let argv = PointerArray::new(0, vec![name, CString::default(), CString::default()]);
    Err(execveat(program, &argv, &PointerArray::new(0, Vec::new())))
}

/// A mount namespace of its own that holds an empty tmpfs.
fn leave_the_tree() -> Result<()> {
    unshare_namespaces(libc::CLONE_NEWNS as u64)?;
    change_root_propagation(libc::MS_PRIVATE | libc::MS_REC)?;
    let empty = new_mount(c"tmpfs", std::iter::empty(), 0)?;
    move_mount(
        &empty,
        c"",
        CWD,
        c"/",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    rustix::process::fchdir(&empty)?;
    match rustix::process::pivot_root(c".", c".") {
        Ok(()) => rustix::mount::unmount(c".", UnmountFlags::DETACH),
        // The root is a ramdisk, which stays below all that is mounted on it.
        Err(Errno::INVAL) => rustix::process::chroot(c"."),
        Err(errno) => Err(errno),
    }
}

fn receive(channel: &OwnedFd) -> Result<ShortLived> {
    let mut byte = [0];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [std::io::IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    recvmsg(channel, &mut parts, &mut control, flags)?;
    let sent = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    sent.map(ShortLived::from).ok_or(Errno::PROTO)
}
