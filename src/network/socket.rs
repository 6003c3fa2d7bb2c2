//! A socket of rtnetlink(7): requests go out, answers come back.

use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::message::{Address, Link, Malformed, Message, Request, messages};
use crate::sys::{Errno, Result};

/// A set of devices can change while it is listed; the kernel says so, and this
/// often the list is asked for again.
const ATTEMPTS: u32 = 10;

/// The kernel's answers are no longer than this (`NLMSG_GOODSIZE` and the room that
/// it makes for one large device).
const BUFFER: usize = 64 * 1024;

impl From<Malformed> for Errno {
    fn from(malformed: Malformed) -> Errno {
        match malformed {
            Malformed::TooLong => Errno::MSGSIZE,
            Malformed::Length => Errno::BADMSG,
        }
    }
}

/// A socket in the network namespace in which it was opened.
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens one in the namespace of this process.
    ///
    /// # Errors
    /// socket(2).
    pub fn open() -> Result<Socket> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE is number 0.
            None,
        )?;
        Ok(Socket {
            fd,
            sequence: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// Sends a request and waits until it is done; gives `each` every message of the answer.
    ///
    /// # Errors
    /// The kernel's, or `EBADMSG` for an answer that cannot be.
    pub fn call(
        &mut self,
        request: Request,
        mut each: impl FnMut(&Message<'_>) -> Result<()>,
    ) -> Result<()> {
        self.sequence += 1;
        let request = request.flagged(libc::NLM_F_ACK).bytes(self.sequence)?;
        loop {
            match rustix::net::send(&self.fd, &request, SendFlags::empty()) {
                Err(Errno::INTR) => {}
                result => {
                    result?;
                    break;
                }
            }
        }
        let mut changed = false;
        loop {
            let received =
                rustix::net::recvfrom(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC);
            let (length, whole, from) = match received {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            let kernel = from
                .and_then(|from| SocketAddrNetlink::try_from(from).ok())
                .is_some_and(|from| from.pid() == 0);
            if !kernel {
                continue;
            }
            if whole > length {
                return Err(Errno::BADMSG);
            }
            for message in messages(&self.buffer[..length]) {
                let message = message?;
                if message.sequence != self.sequence {
                    continue;
                }
                changed |= i32::from(message.flags) & NLM_F_DUMP_INTR != 0;
                let kind = i32::from(message.kind);
                if kind == libc::NLMSG_ERROR || kind == libc::NLMSG_DONE {
                    return match message.errno() {
                        Some(0) if changed => Err(Errno::AGAIN),
                        Some(0) => Ok(()),
                        Some(errno) => Err(Errno::from_raw_os_error(errno)),
                        None => Err(Errno::BADMSG),
                    };
                }
                each(&message)?;
            }
        }
    }

    /// Sends a request whose answer is success alone.
    ///
    /// # Errors
    /// As [`Socket::call`].
    pub fn act(&mut self, request: Request) -> Result<()> {
        self.call(request, |_| Ok(()))
    }

    /// The device of this name, if there is one.
    ///
    /// # Errors
    /// As [`Socket::call`].
    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let request = Request::link(libc::RTM_GETLINK, 0, 0, 0).named(libc::IFLA_IFNAME, name)?;
        // It is found by its alternative names too, by which it is not moved.
        let link = self.one_link(request)?;
        Ok(link.filter(|link| link.name == name))
    }

    /// The device of this number, if there is one.
    ///
    /// # Errors
    /// As [`Socket::call`].
    pub fn link_numbered(&mut self, index: i32) -> Result<Option<Link>> {
        self.one_link(Request::link(libc::RTM_GETLINK, index, 0, 0))
    }

    fn one_link(&mut self, request: Request) -> Result<Option<Link>> {
        let mut found = None;
        let done = self.call(request, |message| {
            if message.kind == libc::RTM_NEWLINK {
                found = Some(Link::parse(message.payload)?);
            }
            Ok(())
        });
        match done {
            Err(Errno::NODEV) => Ok(None),
            result => result.map(|()| found),
        }
    }

    /// The names of all devices.
    ///
    /// # Errors
    /// As [`Socket::call`].
    pub fn names(&mut self) -> Result<Vec<String>> {
        self.list(
            Request::link(libc::RTM_GETLINK, 0, 0, 0),
            libc::RTM_NEWLINK,
            |payload| Ok(Some(Link::parse(payload)?.name)),
        )
    }

    /// The addresses of a device that a move has to keep.
    ///
    /// # Errors
    /// As [`Socket::call`].
    pub fn addresses(&mut self, index: i32) -> Result<Vec<Address>> {
        self.list(
            Request::address(libc::RTM_GETADDR, 0, 0, 0),
            libc::RTM_NEWADDR,
            |payload| {
                let (of, address) = Address::parse(payload)?;
                Ok(address.filter(|_| of == index))
            },
        )
    }

    /// What a list holds, asked for again if it changed meanwhile.
    fn list<T>(
        &mut self,
        request: Request,
        kind: u16,
        parse: impl Fn(&[u8]) -> std::result::Result<Option<T>, Malformed>,
    ) -> Result<Vec<T>> {
        let request = request.flagged(libc::NLM_F_DUMP);
        for _ in 0..ATTEMPTS {
            let mut found = Vec::new();
            let done = self.call(request.clone(), |message| {
                if message.kind == kind {
                    found.extend(parse(message.payload)?);
                }
                Ok(())
            });
            match done {
                Err(Errno::AGAIN) => {}
                result => return result.map(|()| found),
            }
        }
        Err(Errno::AGAIN)
    }
}

/// The list changed while it was made (linux/netlink.h).
const NLM_F_DUMP_INTR: i32 = 0x10;
