//! A connection to systemd: a socket, the words by which D-Bus begins, messages.
//!
//! Everything waits until a deadline at most, and no message is kept that is longer than any that
//! is asked for. Why not a crate: docs/decisions/0012-dbus.md.

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::address::{Address, Surroundings};
use super::wire::{self, Call, FIXED, Kind, Message, Writer};
use crate::cgroup::freeze;
use crate::sys::errno_text;

/// The longest message that is read: every answer is a few hundred bytes. Longer ones are of
/// no concern here (systemd tells all of whom it serves directly) and are skipped.
const LONGEST: usize = 1 << 18;
/// The longest line while the connection is made.
const LONGEST_LINE: usize = 1024;

/// Who is asked for what is about the bus itself.
const BUS: Call<'static> = Call {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "",
    signature: "",
};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody could be connected to: where, and why.
    Unreachable(String),
    /// The deadline is over.
    Silent,
    /// The connection was closed.
    Closed,
    /// A system call.
    System(Errno),
    /// The peer does not take the runtime's user for whom he is.
    Unwelcome(String),
    /// What came is not D-Bus.
    Garbage,
    /// An error that was sent: its name and its text.
    Refused(String, String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable(text) => f.write_str(text),
            Failure::Silent => f.write_str("it did not answer in time"),
            Failure::Closed => f.write_str("it closed the connection"),
            Failure::System(errno) => f.write_str(&errno_text(errno.raw_os_error())),
            Failure::Unwelcome(line) => write!(f, "it refused the connection ({line})"),
            Failure::Garbage => f.write_str("what it sent is not D-Bus"),
            Failure::Refused(name, text) if text.is_empty() => f.write_str(name),
            Failure::Refused(_, text) => f.write_str(text),
        }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Failure::Closed,
            errno => Failure::System(errno),
        }
    }
}

impl From<wire::Broken> for Failure {
    fn from(_: wire::Broken) -> Failure {
        Failure::Garbage
    }
}

/// A connection to a systemd.
#[derive(Debug)]
pub(super) struct Bus {
    socket: OwnedFd,
    broker: bool,
    welcomed: bool,
    serial: u32,
    /// Serials of calls that only have to succeed.
    unanswered: Vec<u32>,
    input: Vec<u8>,
    /// Bytes of a message that is skipped.
    skip: usize,
}

impl Bus {
    /// Connects to the user's systemd or the system's, and begins to speak.
    pub(super) fn connect(user: bool, deadline: Instant) -> Result<Bus, Failure> {
        let mut reasons = Vec::new();
        for address in Surroundings::find(user).addresses(user) {
            match Bus::open(&address, deadline) {
                Ok(bus) => return Ok(bus),
                Err(failure) => reasons.push(format!("{}: {failure}", address.shown)),
            }
        }
        Err(Failure::Unreachable(reasons.join(", ")))
    }

    /// Connects by a broker, and waits until it serves `name`; without one, connects at once.
    pub(super) fn connect_served(
        user: bool,
        name: &str,
        deadline: Instant,
    ) -> Result<Bus, Failure> {
        let addresses = Surroundings::find(user).addresses(user);
        let brokers = addresses.iter().filter(|address| address.broker);
        let Some(mut bus) = brokers.flat_map(|a| Bus::open(a, deadline)).next() else {
            return Bus::connect(user, deadline);
        };
        const CHANGED: &str = "NameOwnerChanged";
        let rule = format!(
            "type='signal',sender='{0}',interface='{0}',member='{CHANGED}',arg0='{name}'",
            BUS.destination
        );
        bus.subscribe(&rule, deadline)?;
        let serial = bus.ask_broker("GetNameOwner", name, deadline)?;
        loop {
            let message = bus.receive(deadline)?;
            let is_news = message.is(Kind::Signal) && message.member == CHANGED;
            if is_news && let [of, _, owner] = message.texts("sss")?[..] {
                if of == name && !owner.is_empty() {
                    return Ok(bus);
                }
            } else if message.answers(serial) && !message.is(Kind::Error) {
                return Ok(bus);
            }
        }
    }

    fn open(address: &Address, deadline: Instant) -> Result<Bus, Failure> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        loop {
            match rustix::net::connect(&socket, &address.socket) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                // The listener's queue is full, and nothing tells when it is not: the one case
                // in which the kernel itself has to wait.
                Err(Errno::AGAIN) => connect_blocking(&socket, address, deadline)?,
                Err(Errno::ISCONN) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        let mut bus = Bus {
            socket,
            broker: address.broker,
            welcomed: false,
            serial: 0,
            unanswered: Vec::new(),
            input: Vec::new(),
            skip: 0,
        };
        // All at once, the answers are read later. Without a name behind EXTERNAL the peer goes by
        // the socket's credentials, which are right in a user namespace too.
        bus.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", deadline)?;
        Ok(bus)
    }

    /// Sends a call and gives the number by which its answer is known.
    pub(super) fn send(
        &mut self,
        call: Call<'_>,
        body: &Writer,
        deadline: Instant,
    ) -> Result<u32, Failure> {
        let mut bytes = Vec::new();
        if !self.welcomed {
            self.be_welcomed(deadline)?;
            if self.broker {
                let hello = Call {
                    member: "Hello",
                    ..BUS
                };
                bytes = self.message(hello, &Writer::default());
                self.unanswered.push(self.serial);
            }
        }
        bytes.extend(self.message(call, body));
        self.write(&bytes, deadline)?;
        Ok(self.serial)
    }

    /// Asks the broker for signals; who is connected directly gets them all.
    pub(super) fn subscribe(&mut self, rule: &str, deadline: Instant) -> Result<(), Failure> {
        if !self.broker {
            return Ok(());
        }
        let serial = self.ask_broker("AddMatch", rule, deadline)?;
        self.unanswered.push(serial);
        Ok(())
    }

    fn ask_broker(&mut self, member: &str, text: &str, deadline: Instant) -> Result<u32, Failure> {
        let mut body = Writer::default();
        body.text(text);
        let call = Call {
            member,
            signature: "s",
            ..BUS
        };
        self.send(call, &body, deadline)
    }

    fn message(&mut self, call: Call<'_>, body: &Writer) -> Vec<u8> {
        self.serial += 1;
        call.message(self.serial, body.as_bytes())
    }

    /// Waits for the answer to the call `serial`.
    pub(super) fn answer(&mut self, serial: u32, deadline: Instant) -> Result<Message, Failure> {
        loop {
            let message = self.receive(deadline)?;
            if message.answers(serial) {
                return into_answer(message);
            }
        }
    }

    /// The next message, whatever it is; an error if it is one for a call that had to succeed.
    pub(super) fn receive(&mut self, deadline: Instant) -> Result<Message, Failure> {
        loop {
            if let Some(message) = self.take_message()? {
                if message.is(Kind::Error) && self.unanswered.contains(&message.reply_serial) {
                    return into_answer(message);
                }
                return Ok(message);
            }
            self.read(deadline)?;
        }
    }

    /// A message out of what was read, if there is a whole one.
    fn take_message(&mut self) -> Result<Option<Message>, Failure> {
        // Before version 246, systemd said OK twice.
        if self.input.starts_with(b"OK") && self.take_line()?.is_none() {
            return Ok(None);
        }
        let Some(fixed) = self.input.first_chunk::<FIXED>() else {
            return Ok(None);
        };
        let length = wire::length(fixed)?;
        if length > LONGEST {
            self.skip = length - self.input.len().min(length);
            self.input.drain(..self.input.len().min(length));
            return Ok(None);
        }
        if self.input.len() < length {
            return Ok(None);
        }
        let message = Message::parse(&self.input[..length])?;
        self.input.drain(..length);
        Ok(Some(message))
    }

    /// Reads what the peer says to the words that [`Bus::open`] began with.
    fn be_welcomed(&mut self, deadline: Instant) -> Result<(), Failure> {
        loop {
            match self.take_line()? {
                Some(line) if line.starts_with("OK") => {
                    self.welcomed = true;
                    return Ok(());
                }
                Some(line) if line == "DATA" => {}
                Some(line) => return Err(Failure::Unwelcome(line)),
                None => self.read(deadline)?,
            }
        }
    }

    fn take_line(&mut self) -> Result<Option<String>, Failure> {
        let Some(end) = self.input.windows(2).position(|bytes| bytes == b"\r\n") else {
            return match self.input.len() > LONGEST_LINE {
                true => Err(Failure::Garbage),
                false => Ok(None),
            };
        };
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
        if end > LONGEST_LINE || !self.input[..end].iter().all(is_plain) {
            return Err(Failure::Garbage);
        }
        let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
        self.input.drain(..end + 2);
        Ok(Some(line))
    }

    fn read(&mut self, deadline: Instant) -> Result<(), Failure> {
        // A peer that never stops speaking has to end too.
        freeze::timeout(deadline).ok_or(Failure::Silent)?;
        let mut buffer = [0; 4096];
        let length = self.wait(PollFlags::IN, deadline, |socket| {
            rustix::net::recv(socket, &mut buffer, RecvFlags::empty()).map(|(length, _)| length)
        })?;
        if length == 0 {
            return Err(Failure::Closed);
        }
        let skipped = self.skip.min(length);
        self.skip -= skipped;
        self.input.extend(&buffer[skipped..length]);
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let written = self.wait(PollFlags::OUT, deadline, |socket| {
                rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)
            })?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Does `act` as soon as the socket lets it.
    fn wait(
        &self,
        flags: PollFlags,
        deadline: Instant,
        mut act: impl FnMut(&OwnedFd) -> Result<usize, Errno>,
    ) -> Result<usize, Failure> {
        loop {
            match act(&self.socket) {
                Err(Errno::AGAIN) => {}
                Err(Errno::INTR) => continue,
                result => return Ok(result?),
            }
            let rest = freeze::timeout(deadline).ok_or(Failure::Silent)?;
            match poll(&mut [PollFd::new(&self.socket, flags)], Some(&rest)) {
                Ok(0) => return Err(Failure::Silent),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

pub(super) fn into_answer(message: Message) -> Result<Message, Failure> {
    if message.is(Kind::Error) {
        let text = message
            .texts("s")
            .ok()
            .and_then(|texts| texts.first().copied());
        let text = one_line(text.unwrap_or_default());
        return Err(Failure::Refused(one_line(&message.error), text));
    }
    Ok(message)
}

/// Text of the peer's, for a message of one line.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(400).map(plain).collect()
}

fn connect_blocking(socket: &OwnedFd, address: &Address, deadline: Instant) -> Result<(), Failure> {
    let rest = deadline.saturating_duration_since(Instant::now());
    if rest < Duration::from_millis(1) {
        return Err(Failure::Silent);
    }
    rustix::net::sockopt::set_socket_timeout(
        socket,
        rustix::net::sockopt::Timeout::Send,
        Some(rest),
    )?;
    rustix::io::ioctl_fionbio(socket, false)?;
    let connected = rustix::net::connect(socket, &address.socket);
    rustix::io::ioctl_fionbio(socket, true)?;
    match connected {
        Err(Errno::AGAIN) => Err(Failure::Silent),
        result => Ok(result?),
    }
}
