//! What `config` reports: errors and warnings about the text, and failures to
//! read the file. Each displays as one line.

use std::borrow::Cow;
use std::fmt;

use rustix::io::Errno;

use crate::sys::errno_text;

/// Something in config.json that makes it unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file that was read; `None` means the bundle's config.json.
    pub file: Option<String>,
    /// JSON pointer (RFC 6901) to what is wrong; empty for the whole file.
    pub pointer: String,
    /// What was found and what is allowed; lower-case, one line.
    pub message: String,
    /// What to do about it, where there is something to say.
    pub hint: Option<String>,
}

impl ConfigError {
    /// An error about the place `pointer` of config.json, without a hint.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        ConfigError {
            file: None,
            pointer: pointer.into(),
            message: message.into(),
            hint: None,
        }
    }

    /// The same error with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error about another file than config.json, for instance the
    /// one of `exec --process`.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_deref().unwrap_or("config.json");
        write_line(f, file, &self.pointer, &self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Something in config.json that is ignored because the specification wants it
/// so, or because engines rely on its being tolerated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// JSON pointer to what is ignored.
    pub pointer: String,
    /// What was found and what becomes of it.
    pub message: String,
}

impl Warning {
    /// The line about another file than config.json.
    pub fn in_file(&self, file: &str) -> String {
        let error = ConfigError::new(self.pointer.as_str(), self.message.as_str());
        error.in_file(file).to_string()
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, "config.json", &self.pointer, &self.message)
    }
}

/// Writes `file: pointer: message`. Names of members and values come from the
/// file, so that characters which would break the line are escaped, and long
/// texts are cut.
fn write_line(f: &mut fmt::Formatter<'_>, file: &str, pointer: &str, message: &str) -> fmt::Result {
    write!(f, "{file}: ")?;
    if !pointer.is_empty() {
        write!(f, "{}: ", for_people(pointer))?;
    }
    f.write_str(&for_people(message))
}

/// How much of a pointer or a message is shown, in bytes.
const SHOWN: usize = 1200;

/// The text as [`printable`] has it, cut in its middle if it is long.
fn for_people(text: &str) -> Cow<'_, str> {
    match printable(text) {
        Cow::Borrowed(text) => shortened(text, SHOWN),
        Cow::Owned(text) => shortened(&text, SHOWN).into_owned().into(),
    }
}

/// The text, cut in its middle where it is longer than `most` bytes: the end often
/// says why, or what is allowed.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return text.into();
    }
    let whole = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=most - most / 3).rfind(whole).unwrap_or(0);
    let tail = (text.len() - most / 3..text.len())
        .find(whole)
        .unwrap_or(text.len());
    format!("{}…{}", &text[..head], &text[tail..]).into()
}

/// The text with an escape for each character that does not print, so that a
/// text from a container can neither break or forge a line nor hide in it.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_printable(character) {
            escaped.push(character);
        } else {
            escaped.extend(character.escape_default());
        }
    }
    escaped.into()
}

/// Not control, no space but the usual one, no invisible format character (such
/// as change the direction of what follows).
pub fn is_printable(c: char) -> bool {
    let invisible = matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c == ' ' || !(c.is_control() || c.is_whitespace() || invisible)
}

/// Why a configuration file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// The file's name as it was asked for.
    pub name: String,
    /// What went wrong.
    pub kind: ReadErrorKind,
}

/// The ways in which reading a configuration file fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadErrorKind {
    /// There is no such file.
    Missing,
    /// It is a directory.
    Directory,
    /// It is a device, a socket or a pipe.
    NotAFile,
    /// It is larger than [`super::MAX_SIZE`]; its size in bytes.
    TooLarge(u64),
    /// openat(2), fstat(2) or read(2) failed.
    Unreadable(Errno),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.kind {
            // The first words are runc's, which people search for.
            ReadErrorKind::Missing if name.starts_with('/') => {
                write!(f, "JSON specification file {name} not found")
            }
            ReadErrorKind::Missing => write!(
                f,
                "JSON specification file {name} not found in the bundle; `corten spec` makes one"
            ),
            ReadErrorKind::Directory => write!(f, "{name}: is a directory, expected a JSON file"),
            ReadErrorKind::NotAFile => {
                write!(f, "{name}: is not a regular file, expected a JSON file")
            }
            ReadErrorKind::TooLarge(size) => write!(
                f,
                "{name}: {size} bytes are too many (at most {})",
                super::MAX_SIZE
            ),
            ReadErrorKind::Unreadable(errno) => {
                let why = errno_text(errno.raw_os_error());
                write!(f, "{name}: cannot be read: {why}")
            }
        }
    }
}

impl std::error::Error for ReadError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_file_pointer_message_and_hint() {
        let error = ConfigError::new("/linux/namespaces/3/type", "unknown namespace \"pidd\"")
            .with_hint("did you mean \"pid\"?");
        assert_eq!(
            error.to_string(),
            "config.json: /linux/namespaces/3/type: unknown namespace \"pidd\"; did you mean \"pid\"?"
        );
    }

    #[test]
    fn an_error_about_the_whole_file_has_no_pointer() {
        let error = ConfigError::new("", "the file is empty").in_file("process.json");
        assert_eq!(error.to_string(), "process.json: the file is empty");
    }

    #[test]
    fn control_characters_cannot_break_the_line() {
        let error = ConfigError::new("/annotations/a\nb", "bad\r\u{1b}[0m");
        let line = error.to_string();
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }

    #[test]
    fn invisible_and_reversing_characters_are_shown_as_escapes() {
        let error = ConfigError::new("/annotations/a\u{2028}b", "bad \u{202e}gnp.exe");
        assert_eq!(
            error.to_string(),
            "config.json: /annotations/a\\u{2028}b: bad \\u{202e}gnp.exe"
        );
    }

    #[test]
    fn a_long_text_is_cut_in_its_middle() {
        let long = "é".repeat(100_000);
        let error = ConfigError::new(format!("/{long}"), format!("\"{long}\" is no type"));
        let line = error.to_string();
        assert!(line.len() < 3000, "{} bytes", line.len());
        assert!(line.contains("é…é"), "{line}");
        assert!(line.ends_with("é\" is no type"), "{line}");
        let short = ConfigError::new("", "x".repeat(SHOWN));
        assert!(!short.to_string().contains('…'));
    }
}
