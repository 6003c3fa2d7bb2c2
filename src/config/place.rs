//! Where in config.json something stands.
//!
//! A [`Place`] lives on the stack of the code that walks through the
//! configuration and becomes a JSON pointer only when there is something to
//! report, so that a correct file costs no allocation.

use std::fmt;

use super::error::{ConfigError, Warning};

/// A place in config.json. It displays as a JSON pointer (RFC 6901): `""` for
/// the whole file, `/linux/namespaces/3/type` for a member.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Root,
    Member(&'p str),
    Element(usize),
}

impl<'p> Place<'p> {
    /// The whole file.
    pub const ROOT: Place<'static> = Place {
        parent: None,
        step: Step::Root,
    };

    /// The member `name` of the object at this place.
    pub fn member(&'p self, name: &'p str) -> Place<'p> {
        Place {
            parent: Some(self),
            step: Step::Member(name),
        }
    }

    /// Element number `index` of the array at this place.
    pub fn element(&'p self, index: usize) -> Place<'p> {
        Place {
            parent: Some(self),
            step: Step::Element(index),
        }
    }

    /// An error about this place.
    pub fn error(&self, message: impl fmt::Display) -> ConfigError {
        ConfigError::new(self.to_string(), message.to_string())
    }

    /// A warning about this place.
    pub fn warning(&self, message: impl fmt::Display) -> Warning {
        Warning {
            pointer: self.to_string(),
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            fmt::Display::fmt(parent, f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Member(name) => write_member(f, name),
            Step::Element(index) => write!(f, "/{index}"),
        }
    }
}

/// Writes one reference token with RFC 6901's escapes.
pub(super) fn write_member(f: &mut impl fmt::Write, name: &str) -> fmt::Result {
    f.write_char('/')?;
    for character in name.chars() {
        match character {
            '~' => f.write_str("~0")?,
            '/' => f.write_str("~1")?,
            other => f.write_char(other)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_displays_as_a_json_pointer() {
        let linux = Place::ROOT.member("linux");
        let namespaces = linux.member("namespaces");
        let third = namespaces.element(3);
        assert_eq!(third.member("type").to_string(), "/linux/namespaces/3/type");
        assert_eq!(Place::ROOT.to_string(), "");
    }

    #[test]
    fn slashes_and_tildes_in_member_names_are_escaped() {
        let sysctl = Place::ROOT.member("net/ipv4/a~b");
        assert_eq!(sysctl.to_string(), "/net~1ipv4~1a~0b");
    }
}
