//! The log: lines as runc's logrus writes them, to `--log FILE` or standard
//! error. containerd, CRI-O and Podman read the last line of that file for
//! the reason of a failure.
//!
//! No colours, no rotation, no lock: the process has one thread.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use log::{Level, Log, Metadata, Record};

use super::args::{Global, LogFormat};
use super::log_socket::LogSocket;
use super::time;
use crate::config::{is_printable, printable, shortened};

/// `--log` names something that cannot be written to.
#[derive(Debug)]
pub enum LogError {
    /// The file could not be opened.
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log daemon of `journald:ID` or `syslog:ID` does not answer.
    Daemon {
        /// Its socket.
        path: &'static Path,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Open { path, source } => {
                write!(f, "open {}: {}", path.display(), errno_text(source))
            }
            LogError::Daemon { path, source } => {
                write!(f, "connect to {}: {}", path.display(), errno_text(source))
            }
        }
    }
}

impl std::error::Error for LogError {}

/// An I/O error in the words that engines look for, "no such file or
/// directory": lower case and without the number.
pub fn errno_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => crate::sys::errno_text(errno),
        None => error.to_string().to_lowercase(),
    }
}

/// How much of an error is shown, in bytes. Paths of the kernel fit, and a hook's output.
pub const SHOWN_MAX: usize = 8000;

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Opens the log that `global` asks for. The file is opened here, not at the
/// first line: that it cannot be written has to be said while there is
/// somebody to say it to. Without `--log` this makes no system call.
///
/// # Errors
/// As [`LogError`]; the log then goes to standard error.
pub fn init(global: &Global) -> Result<(), LogError> {
    let (target, result) = match global.log.as_deref().map(open).transpose() {
        Ok(target) => (target.unwrap_or(Target::Stderr), Ok(())),
        Err(error) => (Target::Stderr, Err(error)),
    };
    let logger = LOGGER.get_or_init(|| Logger {
        target,
        format: global.log_format,
    });
    // It fails when there is a logger already, which then stays.
    let _ = log::set_logger(logger);
    log::set_max_level(global.log_level);
    result
}

/// Reports the error that ends the program: a line in the log, and, when that
/// is elsewhere, the bare text on standard error, as runc does.
pub fn fatal(message: &str) {
    log::error!("{message}");
    if LOGGER
        .get()
        .is_some_and(|logger| !matches!(logger.target, Target::Stderr))
    {
        print_line(message);
    }
}

/// Reports a command line that was not understood: for people, so standard
/// error gets the plain line; and the log file, if `global` names a good one.
pub fn usage_error(global: &Global, message: &str) {
    if let Some(Ok(target)) = global.log.as_deref().map(open) {
        Logger {
            target,
            format: global.log_format,
        }
        .write(Level::Error, message);
    }
    print_line(&format!("corten: {message}"));
}

/// Standard error may be closed or full: there is nobody left to tell.
fn print_line(line: &str) {
    let _ = io::stderr().write_all(format!("{}\n", for_people(line)).as_bytes());
}

/// Opens what `--log` names: `PATH` or, as crun writes it, `file:PATH`, and its
/// `journald:ID` and `syslog:ID`. runc adds O_SYNC to a file; a log that engines
/// read while the system runs gains nothing by it.
fn open(target: &OsStr) -> Result<Target, LogError> {
    if let Some(socket) = LogSocket::open(target) {
        return socket
            .map(Target::Daemon)
            .map_err(|(path, source)| LogError::Daemon { path, source });
    }
    let bytes = target.as_bytes();
    let path = Path::new(OsStr::from_bytes(
        bytes.strip_prefix(b"file:").unwrap_or(bytes),
    ));
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o644)
        .open(path)
        .map(Target::File)
        .map_err(|source| LogError::Open {
            path: path.to_owned(),
            source,
        })
}

/// Where lines go.
#[derive(Debug)]
enum Target {
    Stderr,
    File(File),
    Daemon(LogSocket),
}

struct Logger {
    target: Target,
    format: LogFormat,
}

impl Logger {
    fn write(&self, level: Level, message: &str) {
        crate::sys::process::ignore_sigpipe();
        crate::sys::process::survive_file_limit();
        let now = SystemTime::now();
        if let Target::Daemon(socket) = &self.target {
            // The daemon has time and level; JSON is for who reads the messages by program.
            return match self.format {
                LogFormat::Text => socket.send(level, &shortened(message, SHOWN_MAX), now),
                LogFormat::Json => {
                    socket.send(level, json_line(level, message, now).trim_end(), now)
                }
            };
        }
        let on_stderr = matches!(self.target, Target::Stderr);
        let person = on_stderr && self.format == LogFormat::Text && io::stderr().is_terminal();
        let line = match self.format {
            _ if person => plain_line(level, message),
            LogFormat::Text => text_line(level, message, now),
            LogFormat::Json => json_line(level, message, now),
        };
        // One write, so that lines of several runtimes do not mix. A log that
        // cannot be written must not stop a container.
        let _ = match &self.target {
            Target::File(file) => (&mut &*file).write_all(line.as_bytes()),
            _ => io::stderr().write_all(line.as_bytes()),
        };
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.write(record.level(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// logrus's words for the levels.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// One line that can be shown, and read: the escapes count.
fn for_people(message: &str) -> String {
    shortened(&printable(message), SHOWN_MAX).into_owned()
}

/// What a person at a terminal gets.
fn plain_line(level: Level, message: &str) -> String {
    let message = for_people(message);
    match level {
        Level::Error => format!("corten: {message}\n"),
        _ => format!("corten: {}: {message}\n", level_name(level)),
    }
}

fn text_line(level: Level, message: &str, now: SystemTime) -> String {
    let time = time::rfc3339(now);
    format!(
        "time=\"{time}\" level={} msg={}\n",
        level_name(level),
        quoted_if_needed(message)
    )
}

fn json_line(level: Level, message: &str, now: SystemTime) -> String {
    let message = serde_json::Value::from(message);
    let time = time::rfc3339(now);
    format!(
        "{{\"level\":\"{}\",\"msg\":{message},\"time\":\"{time}\"}}\n",
        level_name(level)
    )
}

/// logrus leaves a value bare when it holds nothing but these.
fn quoted_if_needed(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if text.chars().all(bare) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Go's `%q`: a text from a container cannot forge a line or hide one.
fn quoted(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 2);
    result.push('"');
    for c in text.chars() {
        match c {
            '"' => result.push_str("\\\""),
            '\\' => result.push_str("\\\\"),
            '\n' => result.push_str("\\n"),
            '\r' => result.push_str("\\r"),
            '\t' => result.push_str("\\t"),
            '\u{7}' => result.push_str("\\a"),
            '\u{8}' => result.push_str("\\b"),
            '\u{b}' => result.push_str("\\v"),
            '\u{c}' => result.push_str("\\f"),
            c if is_printable(c) => result.push(c),
            c if c.is_ascii() => result += &format!("\\x{:02x}", u32::from(c)),
            c if u32::from(c) <= 0xffff => result += &format!("\\u{:04x}", u32::from(c)),
            c => result += &format!("\\U{:08x}", u32::from(c)),
        }
    }
    result.push('"');
    result
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_258_800)
    }

    #[test]
    fn text_lines_are_logrus_s() {
        for (message, shown) in [
            ("container does not exist", r#""container does not exist""#),
            ("plain", "plain"),
            ("", ""),
            ("a=b", r#""a=b""#),
            (
                "stat \"/x\": \\ \n\t\u{1b}[0m",
                r#""stat \"/x\": \\ \n\t\x1b[0m""#,
            ),
            ("ä \u{202e}", "\"ä \\u202e\""),
        ] {
            let line = text_line(Level::Error, message, now());
            assert_eq!(
                line,
                format!("time=\"2026-11-21T11:00:00Z\" level=error msg={shown}\n")
            );
        }
    }

    #[test]
    fn a_terminal_gets_one_line_without_control_characters() {
        let line = plain_line(Level::Error, "no such file: /a\n\u{1b}[31mb");
        assert_eq!(line, "corten: no such file: /a\\n\\u{1b}[31mb\n");
    }

    #[test]
    fn escapes_do_not_make_a_line_longer_than_it_may_be() {
        let line = plain_line(Level::Error, &"\u{1}".repeat(SHOWN_MAX));
        assert!(line.len() < SHOWN_MAX + 100, "{} bytes", line.len());
    }

    #[test]
    fn json_lines_have_the_keys_that_engines_read() {
        let line = json_line(Level::Warn, "a \"b\"\n", now());
        let expected = r#"{"level":"warning","msg":"a \"b\"\n","time":"2026-11-21T11:00:00Z"}"#;
        assert_eq!(line, format!("{expected}\n"));
    }

    #[test]
    fn the_log_file_is_appended_to() {
        let path = std::env::temp_dir().join(format!("corten-log-{}", std::process::id()));
        for target in [path.as_os_str().to_owned(), {
            let mut prefixed = std::ffi::OsString::from("file:");
            prefixed.push(&path);
            prefixed
        }] {
            let logger = Logger {
                target: open(&target).unwrap(),
                format: LogFormat::Text,
            };
            logger.write(Level::Info, "one");
        }
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text.matches(" level=info msg=one\n").count(), 2, "{text}");
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_named_in_runc_s_words() {
        let error = open(OsStr::new("/nonexistent/log")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "open /nonexistent/log: no such file or directory"
        );
    }
}
