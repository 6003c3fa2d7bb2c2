//! `--log journald:ID` and `--log syslog:ID`: datagrams to the host's log daemons.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::SystemTime;

use log::Level;

use super::time;

/// Where systemd-journald listens (systemd's "Native Journal Protocol").
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Where syslog(3) writes to.
const SYSLOG: &str = "/dev/log";
/// What lines are marked with where the flag gives no name.
const NAME: &str = "corten";

/// A log daemon, connected.
#[derive(Debug)]
pub struct LogSocket {
    socket: UnixDatagram,
    journal: bool,
    /// What the lines are marked with.
    name: String,
}

impl LogSocket {
    /// Connects to the daemon that `target` asks for: `journald:ID`, `syslog:ID`. Nothing if it
    /// is the name of a file.
    ///
    /// # Errors
    /// The socket, and why it does not answer.
    pub fn open(target: &OsStr) -> Option<Result<LogSocket, (&'static Path, io::Error)>> {
        let bytes = target.as_bytes();
        let (path, name) = match bytes.strip_prefix(b"journald:") {
            Some(name) => (JOURNAL, name),
            None => (SYSLOG, bytes.strip_prefix(b"syslog:")?),
        };
        let name = String::from_utf8_lossy(name);
        let path = Path::new(path);
        let connected = UnixDatagram::unbound().and_then(|socket| {
            // A daemon that does not read must not hold a container up.
            socket.set_nonblocking(true)?;
            socket.connect(path)?;
            Ok(LogSocket {
                socket,
                journal: path == Path::new(JOURNAL),
                name: match name.is_empty() {
                    true => NAME.to_owned(),
                    false => name.into_owned(),
                },
            })
        });
        Some(connected.map_err(|error| (path, error)))
    }

    /// Sends one line. Nobody is told if the daemon does not take it.
    pub fn send(&self, level: Level, message: &str, now: SystemTime) {
        let datagram = match self.journal {
            true => journal_entry(level, &self.name, message),
            false => syslog_line(level, &self.name, message, now),
        };
        let _ = self.socket.send(&datagram);
    }
}

/// The severity of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// An entry of the native protocol. The members are crun's, and the identifier that
/// `journalctl -t` looks for.
fn journal_entry(level: Level, name: &str, message: &str) -> Vec<u8> {
    let priority = priority(level).to_string();
    let mut entry = Vec::with_capacity(message.len() + 100);
    for (field, value) in [
        ("PRIORITY", priority.as_str()),
        ("MESSAGE", message),
        ("ID", name),
        ("SYSLOG_IDENTIFIER", NAME),
    ] {
        entry.extend_from_slice(field.as_bytes());
        if value.contains('\n') {
            // Such a value comes with its length, or a line of it could pass for a field.
            entry.push(b'\n');
            entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend_from_slice(value.as_bytes());
        entry.push(b'\n');
    }
    entry
}

/// What syslog(3) writes: facility "user", the time without a year, here in UTC.
fn syslog_line(level: Level, name: &str, message: &str, now: SystemTime) -> Vec<u8> {
    const USER: u8 = 1 << 3;
    let message = crate::config::printable(message);
    let name = crate::config::printable(name);
    let when = time::stamp(now);
    format!("<{}>{when} {name}: {message}", USER | priority(level)).into_bytes()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_journal_entry_has_crun_s_fields_and_no_line_of_a_message_is_one() {
        let entry = journal_entry(Level::Error, "web", "it failed");
        assert_eq!(
            String::from_utf8(entry).unwrap(),
            "PRIORITY=3\nMESSAGE=it failed\nID=web\nSYSLOG_IDENTIFIER=corten\n"
        );
        let entry = journal_entry(Level::Debug, "web", "a\nPRIORITY=0");
        let expected = b"PRIORITY=7\nMESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\nID=web\n";
        assert!(entry.starts_with(expected), "{entry:?}");
    }

    #[test]
    fn a_syslog_line_is_one_line_with_priority_time_and_name() {
        let now = UNIX_EPOCH + Duration::from_secs(1_793_534_400);
        let line = syslog_line(Level::Warn, "web", "one\ntwo", now);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "<12>Nov  1 12:00:00 web: one\\ntwo"
        );
    }

    #[test]
    fn other_targets_are_files() {
        for target in ["/x", "file:/x", "journald", "syslog"] {
            assert!(LogSocket::open(OsStr::new(target)).is_none(), "{target}");
        }
    }
}
