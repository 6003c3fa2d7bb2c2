//! The error of everything that is done with cgroups.

use std::borrow::Cow;
use std::fmt;

use rustix::io::Errno;

use crate::sys::errno_text;

/// What could not be done, to which file, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupError(Box<Failure>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    action: &'static str,
    path: String,
    value: Option<String>,
    pointer: Option<String>,
    reason: Reason,
    hint: Option<Cow<'static, str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    Kernel(Errno),
    State(String),
    Refused(String),
}

impl CgroupError {
    fn new(action: &'static str, path: String, reason: Reason) -> Self {
        let (value, pointer, hint) = (None, None, None);
        CgroupError(Box::new(Failure {
            action,
            path,
            value,
            pointer,
            reason,
            hint,
        }))
    }

    /// The kernel refused `action` ("create", "remove") on `path`.
    pub(super) fn kernel(action: &'static str, path: impl Into<String>, errno: Errno) -> Self {
        Self::new(action, path.into(), Reason::Kernel(errno))
    }

    /// The kernel refused to write `value` to `path`.
    pub(super) fn write(path: impl Into<String>, value: &str, errno: Errno) -> Self {
        let mut error = Self::kernel("write", path, errno);
        error.0.value = Some(value.to_owned());
        error
    }

    /// `path` is in a state that forbids `action`.
    pub(super) fn state(
        action: &'static str,
        path: impl Into<String>,
        state: impl Into<String>,
    ) -> Self {
        Self::new(action, path.into(), Reason::State(state.into()))
    }

    /// systemd did not begin with `action` on `path`, for the reason that it gave.
    pub(super) fn refused(action: &'static str, path: String, reason: String) -> Self {
        Self::new(action, path, Reason::Refused(reason))
    }

    /// Whether systemd refused it, so that nothing was made.
    pub(super) fn was_refused(&self) -> bool {
        matches!(self.0.reason, Reason::Refused(_))
    }

    /// The property of config.json that asked for it.
    pub fn at(mut self, pointer: &str) -> Self {
        self.0.pointer = Some(pointer.to_owned());
        self
    }

    /// What the user can do about it, or what the errno means here.
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The kernel's error number, if the kernel refused.
    pub fn errno(&self) -> Option<Errno> {
        match self.0.reason {
            Reason::Kernel(errno) => Some(errno),
            Reason::State(_) | Reason::Refused(_) => None,
        }
    }

    /// The file or directory it is about.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// JSON pointer of the property that asked for it, if one did.
    pub fn pointer(&self) -> Option<&str> {
        self.0.pointer.as_deref()
    }
}

impl fmt::Display for CgroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = &self.0;
        if let Some(pointer) = &failure.pointer {
            write!(f, "{pointer}: ")?;
        }
        write!(f, "cannot {} ", failure.action)?;
        if let Some(value) = &failure.value {
            write!(f, "\"{value}\" to ")?;
        }
        write!(f, "{}: ", failure.path)?;
        match &failure.reason {
            Reason::Kernel(errno) => f.write_str(&errno_text(errno.raw_os_error()))?,
            Reason::State(state) | Reason::Refused(state) => f.write_str(state)?,
        }
        match &failure.hint {
            Some(hint) => write!(f, ": {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CgroupError {}
