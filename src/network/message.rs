//! The messages of rtnetlink(7): encoding and decoding, without any effect.
//!
//! Every length is checked on both sides. One that does not fit its field is an
//! error and never cut off: a length that was cut off let runc's bytes be read as
//! further attributes (CVE-2021-43784).

use serde::{Deserialize, Serialize};

/// `struct nlmsghdr`: length, type, flags, sequence, port.
const HEADER: usize = 16;
/// `struct rtattr`: length, type.
const ATTRIBUTE_HEADER: usize = 4;
/// Attribute types carry flags in their upper bits (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const TYPE_MASK: u16 = 0x3fff;

/// `IFA_F_PERMANENT`: configured for good, neither by an automatism nor for a time.
const PERMANENT: u32 = 0x80;
/// Flags of an address that somebody chose: `IFA_F_NODAD`, `IFA_F_HOMEADDRESS`,
/// `IFA_F_MANAGETEMPADDR`, `IFA_F_NOPREFIXROUTE`. The rest is the kernel's own.
const CHOSEN: u32 = 0x02 | 0x10 | 0x100 | 0x200;
/// `IFA_PROTO` (Linux 5.18), which libc does not name.
const IFA_PROTO: u16 = 11;

/// A message that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Something is longer than its length field can say.
    TooLong,
    /// A length reaches beyond the end, or is less than what it is the length of.
    Length,
}

/// What rounds a length up to the next multiple of four.
const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// A request under construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Request {
    /// About a link (`struct ifinfomsg`): which of `change` are set in `flags` (`IFF_*`).
    pub fn link(kind: u16, index: i32, flags: u32, change: u32) -> Request {
        let mut body = vec![0; 4];
        body.extend_from_slice(&index.to_ne_bytes());
        body.extend_from_slice(&flags.to_ne_bytes());
        body.extend_from_slice(&change.to_ne_bytes());
        Request::new(kind, body)
    }

    /// About an address (`struct ifaddrmsg`).
    pub fn address(kind: u16, family: u8, prefix: u8, index: i32) -> Request {
        let mut body = vec![family, prefix, 0, libc::RT_SCOPE_UNIVERSE];
        body.extend_from_slice(&index.to_ne_bytes());
        Request::new(kind, body)
    }

    fn new(kind: u16, body: Vec<u8>) -> Request {
        Request {
            kind,
            flags: libc::NLM_F_REQUEST as u16,
            body,
        }
    }

    /// With these `NLM_F_*`, too.
    #[must_use]
    pub fn flagged(mut self, flags: i32) -> Request {
        self.flags |= flags as u16;
        self
    }

    /// With an attribute.
    ///
    /// # Errors
    /// [`Malformed::TooLong`] if its length does not fit 16 bits.
    pub fn with(mut self, kind: u16, value: &[u8]) -> Result<Request, Malformed> {
        let length = ATTRIBUTE_HEADER
            .checked_add(value.len())
            .and_then(|length| u16::try_from(length).ok())
            .ok_or(Malformed::TooLong)?;
        self.body.extend_from_slice(&length.to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
        self.body.extend_from_slice(value);
        self.body.resize(aligned(self.body.len()), 0);
        Ok(self)
    }

    /// With a name as attribute, ended by a NUL.
    ///
    /// # Errors
    /// As [`Request::with`].
    pub fn named(self, kind: u16, name: &str) -> Result<Request, Malformed> {
        let mut value = name.as_bytes().to_vec();
        value.push(0);
        self.with(kind, &value)
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// [`Malformed::TooLong`] if the whole does not fit 32 bits.
    pub fn bytes(&self, sequence: u32) -> Result<Vec<u8>, Malformed> {
        let length = u32::try_from(HEADER + self.body.len()).map_err(|_| Malformed::TooLong)?;
        let mut bytes = Vec::with_capacity(length as usize);
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&self.kind.to_ne_bytes());
        bytes.extend_from_slice(&self.flags.to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }
}

/// One message of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `RTM_*` or `NLMSG_*`.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// That of the request.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// The errno of `NLMSG_ERROR` and `NLMSG_DONE`; 0 is success.
    pub fn errno(&self) -> Option<i32> {
        i32_at(self.payload, 0).and_then(i32::checked_neg)
    }
}

/// The messages in what one receive gave; none comes after one that is malformed.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut rest);
        let length = u32_at(bytes, 0).map_or(0, |length| length as usize);
        let Some(payload) = bytes.get(HEADER..length) else {
            return Some(Err(Malformed::Length));
        };
        rest = bytes.get(aligned(length)..).unwrap_or_default();
        Some(Ok(Message {
            kind: u16_at(bytes, 4).unwrap_or_default(),
            flags: u16_at(bytes, 6).unwrap_or_default(),
            sequence: u32_at(bytes, 8).unwrap_or_default(),
            payload,
        }))
    })
}

/// The attributes in `bytes`: type and value; none comes after one that is malformed.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut rest);
        let length = u16_at(bytes, 0).map_or(0, usize::from);
        let Some(value) = bytes.get(ATTRIBUTE_HEADER..length) else {
            return Some(Err(Malformed::Length));
        };
        rest = bytes.get(aligned(length)..).unwrap_or_default();
        let kind = u16_at(bytes, 2).unwrap_or_default() & TYPE_MASK;
        Some(Ok((kind, value)))
    })
}

/// A network device as `RTM_NEWLINK` tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: i32,
    /// `IFF_*`.
    pub flags: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address; some have none.
    pub hardware: Vec<u8>,
}

impl Link {
    /// Reads the payload of an `RTM_NEWLINK`.
    ///
    /// # Errors
    /// [`Malformed::Length`].
    pub fn parse(payload: &[u8]) -> Result<Link, Malformed> {
        let mut link = Link {
            index: i32_at(payload, 4).ok_or(Malformed::Length)?,
            flags: u32_at(payload, 8).ok_or(Malformed::Length)?,
            ..Link::default()
        };
        for attribute in attributes(payload.get(16..).ok_or(Malformed::Length)?) {
            match attribute? {
                (libc::IFLA_IFNAME, value) => link.name = text(value),
                (libc::IFLA_ADDRESS, value) => link.hardware = value.to_vec(),
                _ => {}
            }
        }
        Ok(link)
    }
}

/// An address of a device, as it is written down and set again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// Length of its prefix in bits.
    pub prefix: u8,
    /// Its attributes but for flags and label: type and value (`IFA_*`).
    pub attributes: Vec<(u16, Vec<u8>)>,
    /// The flags that somebody chose.
    pub flags: u32,
    /// IPv4: a name for it, the device's or one that begins with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl Address {
    /// Reads the payload of an `RTM_NEWADDR`: the index of the device and the address,
    /// if it is one that a move has to keep: permanent, with global scope
    /// (runtime-spec, "Network Devices").
    ///
    /// # Errors
    /// [`Malformed::Length`].
    pub fn parse(payload: &[u8]) -> Result<(i32, Option<Address>), Malformed> {
        let &[family, prefix, flags, scope, ..] = payload else {
            return Err(Malformed::Length);
        };
        let index = i32_at(payload, 4).ok_or(Malformed::Length)?;
        let mut address = Address {
            family,
            prefix,
            attributes: Vec::new(),
            flags: u32::from(flags),
            label: None,
        };
        for attribute in attributes(payload.get(8..).ok_or(Malformed::Length)?) {
            match attribute? {
                (libc::IFA_FLAGS, value) => {
                    address.flags = u32_at(value, 0).ok_or(Malformed::Length)?;
                }
                (libc::IFA_LABEL, value) => address.label = Some(text(value)),
                (
                    kind @ (libc::IFA_ADDRESS
                    | libc::IFA_LOCAL
                    | libc::IFA_BROADCAST
                    | IFA_RT_PRIORITY
                    | IFA_PROTO),
                    value,
                ) => address.attributes.push((kind, value.to_vec())),
                _ => {}
            }
        }
        let kept = address.flags & PERMANENT != 0 && scope == libc::RT_SCOPE_UNIVERSE;
        address.flags &= CHOSEN;
        Ok((index, kept.then_some(address)))
    }

    /// The request that gives it to a device. `old` and `new` are the device's names
    /// where the label is from and where it goes.
    ///
    /// # Errors
    /// [`Malformed::TooLong`].
    pub fn add(&self, index: i32, old: &str, new: &str) -> Result<Request, Malformed> {
        let mut request = Request::address(libc::RTM_NEWADDR, self.family, self.prefix, index)
            .flagged(libc::NLM_F_CREATE | libc::NLM_F_EXCL);
        for (kind, value) in &self.attributes {
            request = request.with(*kind, value)?;
        }
        if self.flags != 0 {
            request = request.with(libc::IFA_FLAGS, &self.flags.to_ne_bytes())?;
        }
        let suffix = self.label.as_deref().and_then(|l| l.strip_prefix(old));
        match suffix.map(|suffix| format!("{new}{suffix}")) {
            // Without a label the kernel takes the device's name.
            Some(label) if label != new && label.len() < libc::IFNAMSIZ => {
                request.named(libc::IFA_LABEL, &label)
            }
            _ => Ok(request),
        }
    }
}

/// `IFA_RT_PRIORITY` (Linux 4.18), which libc does not name.
const IFA_RT_PRIORITY: u16 = 9;

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&b| b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    array(bytes, at).map(i32::from_ne_bytes)
}

#[cfg(test)]
mod tests;
