//! `run` and `exec` in the foreground: they wait for the process, forward signals, relay
//! its terminal.
//!
//! Signals come from a descriptor and the container's end from its pidfd, both
//! there before the container is: none can be missed, however short it lives.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::Running;
use super::notify::Proxy;
use crate::sys::pidfd::send_signal;
pub use crate::sys::signals::Signals;
use crate::sys::{Errno, Result};

/// The next signal that somebody sent. SIGPIPE that this process got for its own write is
/// nobody's.
fn next_signal(signals: &Signals) -> Option<i32> {
    loop {
        let (signal, sender) = signals.read()?;
        if signal != libc::SIGPIPE || sender != std::process::id() {
            return Some(signal);
        }
    }
}

/// Waits for the process; gives its exit code, 128 and the signal if one killed it. Meanwhile
/// the service manager is told when it is ready: this process stays its main one.
///
/// # Errors
/// poll(2), waitid(2).
pub fn wait(running: &Running, signals: &Signals, mut proxy: Option<Proxy>) -> Result<i32> {
    let mut relay = match &running.console {
        Some(master) => Some(Relay::new(master)?),
        None => None,
    };
    loop {
        let pidfd = running.pidfd.as_fd();
        let mut wanted = vec![(pidfd, PollFlags::IN), (signals.as_fd(), PollFlags::IN)];
        if let Some(relay) = &relay {
            wanted.extend(relay.interests());
        }
        if let Some(proxy) = &proxy {
            wanted.push((proxy.fd(), PollFlags::IN));
        }
        let ready = poll_wanted(&wanted)?;
        let notified = proxy.is_some() && ready.last().is_some_and(|flags| !flags.is_empty());
        if let Some(proxy) = proxy.take_if(|proxy| notified && proxy.is_ready())
            && let Err(error) = proxy.pass_on(None)
        {
            log::warn!("{error}");
        }
        if !ready[1].is_empty() {
            while let Some(signal) = next_signal(signals) {
                forward(running, signal, relay.as_mut());
            }
        }
        if let Some(relay) = &mut relay {
            relay.step(&ready[2..]);
        }
        if !ready[0].is_empty() {
            if let Some(relay) = &mut relay {
                relay.drain();
            }
            return exit_code(pidfd);
        }
    }
}

/// poll(2) of those descriptors that something is wanted of; the others would
/// report their hang-up again and again.
fn poll_wanted(wanted: &[(BorrowedFd<'_>, PollFlags)]) -> Result<Vec<PollFlags>> {
    let mut ready = vec![PollFlags::empty(); wanted.len()];
    let places: Vec<usize> = (0..wanted.len())
        .filter(|&at| !wanted[at].1.is_empty())
        .collect();
    let mut fds: Vec<PollFd<'_>> = places
        .iter()
        .map(|&at| PollFd::from_borrowed_fd(wanted[at].0, wanted[at].1))
        .collect();
    match poll(&mut fds, None) {
        Err(Errno::INTR) => {}
        result => drop(result?),
    }
    for (&at, fd) in places.iter().zip(&fds) {
        ready[at] = fd.revents();
    }
    Ok(ready)
}

fn forward(running: &Running, signal: i32, relay: Option<&mut Relay<'_>>) {
    match signal {
        libc::SIGCHLD => reap(running),
        // Go's runtime uses it on itself; runc does not forward it either.
        libc::SIGURG => {}
        libc::SIGWINCH if relay.is_some() => {
            if let Some(relay) = relay {
                relay.resize();
            }
        }
        // It may have ended meanwhile; then there is nobody to tell.
        signal => drop(send_signal(&running.pidfd, signal)),
    }
}

/// As subreaper this process inherits the container's orphans; only the init's
/// end has to stay visible to the pidfd.
fn reap(running: &Running) {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    while let Ok(status) = waitid(Id::All, ended | WaitPidFlag::WNOWAIT) {
        match status.pid() {
            Some(pid) if pid.as_raw() != running.pid.as_raw_nonzero().get() => {
                let _ = waitid(Id::Pid(pid), ended);
            }
            _ => return,
        }
    }
}

fn exit_code(pidfd: BorrowedFd<'_>) -> Result<i32> {
    loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            result => {
                let status = result?.ok_or(Errno::CHILD)?;
                let signal = status.terminating_signal().map(|s| 128 + s);
                return Ok(status.exit_status().or(signal).unwrap_or(255));
            }
        }
    }
}

/// Bytes on their way in one direction.
struct Buffer {
    bytes: [u8; 4096],
    start: usize,
    end: usize,
}

impl Buffer {
    const fn new() -> Buffer {
        Buffer {
            bytes: [0; 4096],
            start: 0,
            end: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Fills the empty buffer; `false` at the end of the input.
    fn fill(&mut self, from: impl AsFd) -> bool {
        match rustix::io::read(from, &mut self.bytes) {
            Ok(0) => false,
            Ok(length) => {
                (self.start, self.end) = (0, length);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            // The terminal's other side was closed (EIO), or the input is gone.
            Err(_) => false,
        }
    }

    /// Writes what the other side takes; `false` if it takes nothing any more.
    fn flush(&mut self, to: impl AsFd) -> bool {
        match rustix::io::write(to, &self.bytes[self.start..self.end]) {
            Ok(length) => {
                self.start += length;
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }
}

/// Copies between the caller's terminal and the container's.
struct Relay<'a> {
    master: &'a OwnedFd,
    input: Buffer,
    output: Buffer,
    input_open: bool,
    output_open: bool,
    /// What the caller's terminal is set back to.
    saved: Option<Termios>,
}

/// Positions in [`Relay::interests`].
const STDIN: usize = 0;
const MASTER: usize = 1;
const STDOUT: usize = 2;

impl<'a> Relay<'a> {
    fn new(master: &'a OwnedFd) -> Result<Relay<'a>> {
        let stdin = rustix::stdio::stdin();
        let saved = tcgetattr(stdin).ok();
        if let Some(saved) = &saved {
            let mut raw = saved.clone();
            raw.make_raw();
            tcsetattr(stdin, OptionalActions::Now, &raw)?;
        }
        let flags = rustix::fs::fcntl_getfl(master)?;
        rustix::fs::fcntl_setfl(master, flags | rustix::fs::OFlags::NONBLOCK)?;
        let mut relay = Relay {
            master,
            input: Buffer::new(),
            output: Buffer::new(),
            input_open: true,
            output_open: true,
            saved,
        };
        if relay.saved.is_some() {
            relay.resize();
        }
        Ok(relay)
    }

    fn resize(&mut self) {
        if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
            let _ = tcsetwinsize(self.master, size);
        }
    }

    /// Waits for input only when there is room, and for room only when there is
    /// something to write.
    fn interests(&self) -> [(BorrowedFd<'_>, PollFlags); 3] {
        let flag = |on: bool, flag: PollFlags| if on { flag } else { PollFlags::empty() };
        let wants_input = self.input_open && self.input.is_empty();
        let wants_output = self.output_open && self.output.is_empty();
        let master =
            flag(wants_output, PollFlags::IN) | flag(!self.input.is_empty(), PollFlags::OUT);
        [
            (rustix::stdio::stdin(), flag(wants_input, PollFlags::IN)),
            (self.master.as_fd(), master),
            (
                rustix::stdio::stdout(),
                flag(!self.output.is_empty(), PollFlags::OUT),
            ),
        ]
    }

    fn step(&mut self, ready: &[PollFlags]) {
        let any = |at: usize| ready.get(at).is_some_and(|flags| !flags.is_empty());
        if any(STDIN) && self.input_open && self.input.is_empty() {
            self.input_open = self.input.fill(rustix::stdio::stdin());
            if !self.input_open && self.saved.is_none() {
                // The end of a pipe is what Ctrl-D is on a terminal.
                (self.input.start, self.input.end) = (0, 1);
                self.input.bytes[0] = 4;
            }
        }
        if any(MASTER) {
            if self.output_open && self.output.is_empty() {
                self.output_open = self.output.fill(self.master);
            }
            if !self.input.is_empty() && !self.input.flush(self.master) {
                (self.input.start, self.input.end) = (0, 0);
            }
        }
        if any(STDOUT) && !self.output.is_empty() && !self.output.flush(rustix::stdio::stdout()) {
            // Nobody reads: what the container writes is dropped, so that it goes on.
            (self.output.start, self.output.end) = (0, 0);
        }
    }

    /// Takes what the container wrote before it ended.
    fn drain(&mut self) {
        loop {
            while !self.output.is_empty() {
                if !self.output.flush(rustix::stdio::stdout()) {
                    return;
                }
            }
            if !self.output.fill(self.master) || self.output.is_empty() {
                return;
            }
        }
    }
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, saved);
        }
    }
}
