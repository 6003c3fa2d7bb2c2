//! Messages of D-Bus, version 1 (D-Bus specification, "Message Protocol").
//!
//! What is written is little-endian; what is read may be either. Nothing that the peer says is
//! trusted: lengths are compared with what is there before anything is taken or reserved.

use crate::plan::cgroup::systemd::{Property, Value};

#[cfg(test)]
mod tests;

/// The fixed part of a header.
pub(super) const FIXED: usize = 16;
/// The longest message of the specification.
const LONGEST: u64 = 1 << 27;

const LITTLE: u8 = b'l';
const BIG: u8 = b'B';
const VERSION: u8 = 1;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Call = 1,
    Return = 2,
    Error = 3,
    Signal = 4,
}

// Header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// Bytes of a message in the making.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.bytes.extend(bytes);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.put(value.to_le_bytes());
    }

    /// A string or the path of an object.
    pub(super) fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, signature: &str) {
        // Those that are written here are a few bytes; of annotations, 255 at most.
        self.bytes.push(signature.len() as u8);
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
    }

    /// An array whose elements begin at multiples of `alignment`.
    fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Writer)) {
        self.u32(0);
        let length = self.bytes.len() - 4;
        self.align(alignment);
        let start = self.bytes.len();
        elements(self);
        let size = (self.bytes.len() - start) as u32;
        self.bytes[length..length + 4].copy_from_slice(&size.to_le_bytes());
    }

    /// A value in a variant, which says its type.
    pub(super) fn variant(&mut self, value: &Value) {
        self.signature(&value.signature());
        self.value(value);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(value) => self.u32(u32::from(*value)),
            Value::Byte(value) => self.put([*value]),
            Value::Int16(value) => self.put(value.to_le_bytes()),
            Value::Uint16(value) => self.put(value.to_le_bytes()),
            Value::Int32(value) => self.put(value.to_le_bytes()),
            Value::Uint32(value) => self.u32(*value),
            Value::Int64(value) => self.put(value.to_le_bytes()),
            Value::Uint64(value) | Value::Double(value) => self.put(value.to_le_bytes()),
            Value::Text(text) | Value::ObjectPath(text) => self.text(text),
            Value::Signature(signature) => self.signature(signature),
            Value::Array(element, values) => self.array(alignment(element), |writer| {
                values.iter().for_each(|value| writer.value(value));
            }),
            Value::Struct(members) => {
                self.align(8);
                members.iter().for_each(|member| self.value(member));
            }
            Value::Variant(value) => self.variant(value),
        }
    }

    /// `a(sv)`: properties of a unit.
    pub(super) fn properties<'p>(&mut self, properties: impl IntoIterator<Item = &'p Property>) {
        self.array(8, |writer| {
            for property in properties {
                writer.align(8);
                writer.text(&property.name);
                writer.variant(&property.value);
            }
        });
    }

    /// `a(sa(sv))` without elements: no auxiliary units.
    pub(super) fn no_units(&mut self) {
        self.array(8, |_| {});
    }

    /// `au`
    pub(super) fn numbers(&mut self, numbers: &[u32]) {
        self.array(4, |writer| numbers.iter().for_each(|n| writer.u32(*n)));
    }
}

fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(') => 8,
        _ => 4,
    }
}

/// A call of a method, without its arguments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    /// The types of the arguments.
    pub(super) signature: &'a str,
}

impl Call<'_> {
    /// The whole message.
    pub(super) fn message(&self, serial: u32, body: &[u8]) -> Vec<u8> {
        let mut writer = Writer {
            bytes: vec![LITTLE, Kind::Call as u8, 0, VERSION],
        };
        writer.u32(body.len() as u32);
        writer.u32(serial);
        writer.array(8, |writer| {
            let fields = [
                (PATH, "o", self.path),
                (INTERFACE, "s", self.interface),
                (MEMBER, "s", self.member),
                (DESTINATION, "s", self.destination),
                (SIGNATURE, "g", self.signature),
            ];
            for (code, kind, text) in fields.into_iter().filter(|(_, _, text)| !text.is_empty()) {
                writer.align(8);
                writer.bytes.push(code);
                writer.signature(kind);
                match kind {
                    "g" => writer.signature(text),
                    _ => writer.text(text),
                }
            }
        });
        writer.align(8);
        writer.bytes.extend(body);
        writer.bytes
    }
}

/// A message that came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) reply_serial: u32,
    pub(super) interface: String,
    pub(super) member: String,
    pub(super) error: String,
    signature: String,
    big: bool,
    body: Vec<u8>,
}

/// How long the message is in bytes, by its first [`FIXED`].
///
/// # Errors
/// It is no message.
pub(super) fn length(fixed: &[u8; FIXED]) -> Result<usize, Broken> {
    let big = match fixed[0] {
        LITTLE => false,
        BIG => true,
        _ => return Err(Broken),
    };
    if fixed[3] != VERSION {
        return Err(Broken);
    }
    let mut reader = Reader::new(fixed, big);
    reader.at = 4;
    let body = reader.u32()?;
    reader.at = 12;
    let fields = reader.u32()?;
    let length = (FIXED as u64 + u64::from(fields)).next_multiple_of(8) + u64::from(body);
    if length > LONGEST {
        return Err(Broken);
    }
    usize::try_from(length).map_err(|_| Broken)
}

/// What does not keep to the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl Message {
    /// Reads a whole message, whose length is that of [`length`].
    ///
    /// # Errors
    /// It does not keep to the specification.
    pub(super) fn parse(bytes: &[u8]) -> Result<Message, Broken> {
        let mut reader = Reader::new(bytes, bytes.first() == Some(&BIG));
        let mut message = Message {
            kind: *bytes.get(1).ok_or(Broken)?,
            big: reader.big,
            ..Message::default()
        };
        reader.at = 4;
        let body = reader.u32()? as usize;
        reader.at = 12;
        let end = FIXED + reader.u32()? as usize;
        while reader.at < end {
            reader.align(8)?;
            let code = reader.u8()?;
            let kind = reader.signature()?;
            match (code, kind) {
                (REPLY_SERIAL, "u") => message.reply_serial = reader.u32()?,
                (INTERFACE, "s") => message.interface = reader.text()?.to_owned(),
                (MEMBER, "s") => message.member = reader.text()?.to_owned(),
                (ERROR_NAME, "s") => message.error = reader.text()?.to_owned(),
                (SIGNATURE, "g") => message.signature = reader.signature()?.to_owned(),
                // Paths, destination and sender; and one that is new has a type that can be skipped.
                (PATH | DESTINATION | SENDER, "s" | "o") => drop(reader.text()?),
                (_, "s" | "o") => drop(reader.text()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.u32()?),
                _ => return Err(Broken),
            }
        }
        if reader.at != end {
            return Err(Broken);
        }
        reader.align(8)?;
        let rest = bytes.get(reader.at..).ok_or(Broken)?;
        message.body = rest.get(..body).ok_or(Broken)?.to_owned();
        Ok(message)
    }

    pub(super) fn is(&self, kind: Kind) -> bool {
        self.kind == kind as u8
    }

    /// Whether it is the answer to the call with this number.
    pub(super) fn answers(&self, serial: u32) -> bool {
        (self.is(Kind::Return) || self.is(Kind::Error)) && self.reply_serial == serial
    }

    /// The strings of a body whose first types are `signature`, of which numbers are left out:
    /// all that is asked for has them.
    ///
    /// # Errors
    /// The body has other types.
    pub(super) fn texts(&self, signature: &str) -> Result<Vec<&str>, Broken> {
        if !self.signature.starts_with(signature) {
            return Err(Broken);
        }
        let mut reader = Reader::new(&self.body, self.big);
        let mut texts = Vec::new();
        for kind in signature.bytes() {
            match kind {
                b's' | b'o' => texts.push(reader.text()?),
                b'u' => drop(reader.u32()?),
                b'v' => match reader.signature()? {
                    "s" => texts.push(reader.text()?),
                    _ => return Err(Broken),
                },
                _ => return Err(Broken),
            }
        }
        Ok(texts)
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    big: bool,
}

impl<'b> Reader<'b> {
    fn new(bytes: &'b [u8], big: bool) -> Self {
        Reader { bytes, at: 0, big }
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], Broken> {
        let end = self.at.checked_add(length).ok_or(Broken)?;
        let taken = self.bytes.get(self.at..end).ok_or(Broken)?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<(), Broken> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn u8(&mut self) -> Result<u8, Broken> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Result<u32, Broken> {
        self.align(4)?;
        let bytes = self.take(4)?.try_into().map_err(|_| Broken)?;
        Ok(match self.big {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    }

    fn text(&mut self) -> Result<&'b str, Broken> {
        let length = self.u32()?;
        self.nul_terminated(length as usize)
    }

    fn signature(&mut self) -> Result<&'b str, Broken> {
        let length = self.u8()?;
        self.nul_terminated(length.into())
    }

    fn nul_terminated(&mut self, length: usize) -> Result<&'b str, Broken> {
        let text = self.take(length)?;
        match self.u8()? {
            0 => std::str::from_utf8(text).map_err(|_| Broken),
            _ => Err(Broken),
        }
    }
}
