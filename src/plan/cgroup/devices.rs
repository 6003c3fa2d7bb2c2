//! `linux.resources.devices`: the rules of which device may be used how.

use std::borrow::Cow;
use std::fmt;

use super::builder::Builder;
use super::{DeviceProgram, ResourceError, Version};
use crate::config::spec::{Device, DeviceRule};

mod program;
#[cfg(test)]
mod tests;
mod v1;

pub use v1::exchanged;

const DEVICES: &str = "/linux/resources/devices";

/// Which device nodes a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Both kinds.
    Any,
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

/// A set of accesses, with the bits of `struct bpf_cgroup_dev_ctx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u32);

impl Access {
    /// `mknod`, reading and writing.
    pub const ALL: Access = Access(7);
    /// Making the node (`BPF_DEVCG_ACC_MKNOD`).
    pub const MKNOD: Access = Access(1);
    const READ: Access = Access(2);
    const WRITE: Access = Access(4);

    fn parse(text: &str) -> Option<Access> {
        let mut access = 0;
        for letter in text.bytes() {
            access |= match letter {
                b'r' => Access::READ.0,
                b'w' => Access::WRITE.0,
                b'm' => Access::MKNOD.0,
                _ => return None,
            };
        }
        (access != 0).then_some(Access(access))
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn and(self, other: Access) -> Access {
        Access(self.0 & other.0)
    }

    fn or(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }

    fn without(self, other: Access) -> Access {
        Access(self.0 & !other.0)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [
            (Access::READ, "r"),
            (Access::WRITE, "w"),
            (Access::MKNOD, "m"),
        ] {
            if !self.and(bit).is_empty() {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// The device nodes that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nodes {
    /// Block, character or both.
    pub kind: Kind,
    /// Major number; any without one.
    pub major: Option<u32>,
    /// Minor number; any without one.
    pub minor: Option<u32>,
}

impl Nodes {
    const ALL: Nodes = Nodes {
        kind: Kind::Any,
        major: None,
        minor: None,
    };

    /// Whether every node of `other` is one of these.
    fn cover(&self, other: &Nodes) -> bool {
        (self.kind == Kind::Any || self.kind == other.kind)
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }

    /// Whether some node is in both.
    fn meet(&self, other: &Nodes) -> bool {
        fn may_equal<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        (self.kind == Kind::Any || other.kind == Kind::Any || self.kind == other.kind)
            && may_equal(self.major, other.major)
            && may_equal(self.minor, other.minor)
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Any => 'a',
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        write!(f, "{kind} {}:{}", number(self.major), number(self.minor))
    }
}

/// One rule: of the rules that speak of a node and an access, the last one decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// To which nodes.
    pub nodes: Nodes,
    /// Which accesses.
    pub access: Access,
    /// JSON pointer of where it is from.
    pub pointer: Cow<'static, str>,
}

pub(super) fn plan(
    b: &mut Builder,
    given: &[DeviceRule],
    made: &[Device],
) -> Result<(), ResourceError> {
    let rules = rules(given, made)?;
    let Some(place) = b.devices() else {
        if given.is_empty() {
            return Ok(());
        }
        let message = "device rules need cgroup v2 or the v1 controller \"devices\", and this host has neither";
        return Err(ResourceError::new(DEVICES, message));
    };
    match place.version {
        Version::V1 => v1::plan(b, place, &rules),
        Version::V2 => {
            let program = DeviceProgram {
                directory: place.directory,
                instructions: program::generate(&rules),
                allows_everything: program::allows_everything(&rules),
            };
            b.set_device_program(program);
            Ok(())
        }
    }
}

/// A rule that every container has.
struct Default {
    nodes: Nodes,
    access: Access,
    /// The node's path, if it has a certain one.
    path: &'static str,
}

const fn char_device(major: u32, minor: Option<u32>, path: &'static str) -> Default {
    let nodes = Nodes {
        kind: Kind::Char,
        major: Some(major),
        minor,
    };
    Default {
        nodes,
        access: Access::ALL,
        path,
    }
}

const fn making(kind: Kind) -> Default {
    Default {
        nodes: Nodes {
            kind,
            major: None,
            minor: None,
        },
        access: Access::MKNOD,
        path: "",
    }
}

/// What every container may use, after the rules of config.json, so that they cannot take it away:
/// the same list at the same place as in runc (specconv.AllowedDevices). A node that config.json
/// makes itself at the same path loses its default.
const DEFAULTS: [Default; 10] = [
    making(Kind::Char),
    making(Kind::Block),
    char_device(1, Some(3), "/dev/null"),
    char_device(1, Some(8), "/dev/random"),
    char_device(1, Some(7), "/dev/full"),
    char_device(5, Some(0), "/dev/tty"),
    char_device(1, Some(5), "/dev/zero"),
    char_device(1, Some(9), "/dev/urandom"),
    // The terminals of devpts, and ptmx that opens them.
    char_device(136, None, ""),
    char_device(5, Some(2), ""),
];

/// The rules of config.json, followed by the default ones.
fn rules(given: &[DeviceRule], made: &[Device]) -> Result<Vec<Rule>, ResourceError> {
    let mut rules = Vec::with_capacity(given.len() + DEFAULTS.len());
    for (index, rule) in given.iter().enumerate() {
        rules.push(parse(index, rule)?);
    }
    for Default {
        nodes,
        access,
        path,
    } in DEFAULTS
    {
        if path.is_empty() || !made.iter().any(|device| device.path == path) {
            rules.push(Rule {
                allow: true,
                nodes,
                access,
                pointer: Cow::Borrowed(DEVICES),
            });
        }
    }
    Ok(rules)
}

fn parse(index: usize, rule: &DeviceRule) -> Result<Rule, ResourceError> {
    let at = |name: &str| format!("{DEVICES}/{index}/{name}");
    let kind = match rule.kind.as_deref() {
        None | Some("" | "a") => Kind::Any,
        Some("b") => Kind::Block,
        Some("c") => Kind::Char,
        Some(other) => {
            let message = format!("\"{other}\" is not a device type: \"a\", \"b\" or \"c\"");
            return Err(ResourceError::new(at("type"), message));
        }
    };
    let text = rule.access.as_deref().unwrap_or_default();
    let Some(access) = Access::parse(text) else {
        let message = format!("\"{text}\" has to be made of \"r\", \"w\" and \"m\"");
        return Err(ResourceError::new(at("access"), message));
    };
    let number = |value: Option<i64>, name: &str| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value).map(Some).map_err(|_| {
            ResourceError::new(
                at(name),
                format!("{value} is not a device number (-1 means any)"),
            )
        }),
    };
    let nodes = Nodes {
        kind,
        major: number(rule.major, "major")?,
        minor: number(rule.minor, "minor")?,
    };
    let pointer = Cow::Owned(format!("{DEVICES}/{index}"));
    Ok(Rule {
        allow: rule.allow,
        nodes,
        access,
        pointer,
    })
}
