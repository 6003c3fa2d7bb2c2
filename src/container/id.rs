//! Container ids.

use std::fmt;

/// A container's id: 1 to 1024 characters of `[A-Za-z0-9_+.-]`, not `.` or `..`.
/// It names a directory, so nothing else may ever be one (SECURITY-RULES 11).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(String);

/// The longest id.
const LONGEST: usize = 1024;

/// Why a text is no id.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidId(String);

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("container id cannot be empty");
        }
        if self.0.len() > LONGEST {
            return write!(f, "invalid container id: longer than {LONGEST} characters");
        }
        write!(
            f,
            "invalid container id {:?}: only letters, digits and _ + - . are allowed",
            self.0
        )
    }
}

impl std::error::Error for InvalidId {}

impl Id {
    /// Makes an id of text.
    ///
    /// # Errors
    /// Text that is not an id.
    pub fn new(text: &str) -> Result<Id, InvalidId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+.-".contains(&b);
        let valid = !text.is_empty()
            && text.len() <= LONGEST
            && text.bytes().all(allowed)
            && text != "."
            && text != "..";
        if valid {
            Ok(Id(text.to_owned()))
        } else {
            Err(InvalidId(text.to_owned()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_leave_the_state_directory_is_no_id() {
        for bad in ["", ".", "..", "a/b", "../x", "a b", "a\n", "ä", "a\0"] {
            assert!(Id::new(bad).is_err(), "{bad:?}");
        }
        assert!(Id::new(&"x".repeat(1025)).is_err());
        for good in ["a", "a.b", "_x+y-z", "...", "0"] {
            assert!(Id::new(good).is_ok(), "{good:?}");
        }
    }
}
