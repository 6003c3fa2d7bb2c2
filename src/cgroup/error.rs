//! The error of everything that is done with cgroups.

use std::borrow::Cow;
use std::fmt;

use rustix::io::Errno;

/// What could not be done, to which file, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupError {
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
}

impl CgroupError {
    /// The kernel refused `action` ("create", "remove") on `path`.
    pub(super) fn kernel(action: &'static str, path: impl Into<String>, errno: Errno) -> Self {
        CgroupError {
            action,
            path: path.into(),
            value: None,
            pointer: None,
            reason: Reason::Kernel(errno),
            hint: None,
        }
    }

    /// The kernel refused to write `value` to `path`.
    pub(super) fn write(path: impl Into<String>, value: &str, errno: Errno) -> Self {
        CgroupError {
            value: Some(value.to_owned()),
            ..Self::kernel("write", path, errno)
        }
    }

    /// `path` is in a state that forbids `action`.
    pub(super) fn state(
        action: &'static str,
        path: impl Into<String>,
        state: impl Into<String>,
    ) -> Self {
        CgroupError {
            reason: Reason::State(state.into()),
            ..Self::kernel(action, path, Errno::IO)
        }
    }

    /// The property of config.json that asked for it.
    pub(super) fn at(mut self, pointer: &str) -> Self {
        self.pointer = Some(pointer.to_owned());
        self
    }

    /// What the user can do about it, or what the errno means here.
    pub(super) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The kernel's error number, if the kernel refused.
    pub fn errno(&self) -> Option<Errno> {
        match self.reason {
            Reason::Kernel(errno) => Some(errno),
            Reason::State(_) => None,
        }
    }

    /// The file or directory it is about.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// JSON pointer of the property that asked for it, if one did.
    pub fn pointer(&self) -> Option<&str> {
        self.pointer.as_deref()
    }
}

impl fmt::Display for CgroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pointer) = &self.pointer {
            write!(f, "{pointer}: ")?;
        }
        write!(f, "cannot {} ", self.action)?;
        if let Some(value) = &self.value {
            write!(f, "\"{value}\" to ")?;
        }
        write!(f, "{}: ", self.path)?;
        match &self.reason {
            Reason::Kernel(errno) => write!(f, "{errno}")?,
            Reason::State(state) => f.write_str(state)?,
        }
        match &self.hint {
            Some(hint) => write!(f, ": {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CgroupError {}
