//! Messages of D-Bus, version 1 (D-Bus specification, "Message Protocol").
//!
//! What is written is little-endian; what is read may be either. Nothing that the peer says is
//! trusted: lengths are compared with what is there before anything is taken or reserved.

use crate::plan::cgroup::systemd::{Property, Value};

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
        let mut writer = Writer::default();
        writer.bytes = vec![LITTLE, Kind::Call as u8, 0, VERSION];
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The reader that only tests need: every type there is.
    impl Reader<'_> {
        fn value(&mut self, signature: &mut &str) -> Result<Value, Broken> {
            let code = signature.bytes().next().ok_or(Broken)?;
            *signature = &signature[1..];
            let wide = |reader: &mut Self| -> Result<[u8; 8], Broken> {
                reader.align(8)?;
                reader.take(8)?.try_into().map_err(|_| Broken)
            };
            let narrow = |reader: &mut Self| -> Result<[u8; 2], Broken> {
                reader.align(2)?;
                reader.take(2)?.try_into().map_err(|_| Broken)
            };
            Ok(match code {
                b'b' => Value::Bool(self.u32()? == 1),
                b'y' => Value::Byte(self.u8()?),
                b'n' => Value::Int16(i16::from_le_bytes(narrow(self)?)),
                b'q' => Value::Uint16(u16::from_le_bytes(narrow(self)?)),
                b'i' => Value::Int32(self.u32()? as i32),
                b'u' => Value::Uint32(self.u32()?),
                b'x' => Value::Int64(i64::from_le_bytes(wide(self)?)),
                b't' => Value::Uint64(u64::from_le_bytes(wide(self)?)),
                b'd' => Value::Double(u64::from_le_bytes(wide(self)?)),
                b's' => Value::Text(self.text()?.to_owned()),
                b'o' => Value::ObjectPath(self.text()?.to_owned()),
                b'g' => Value::Signature(self.signature()?.to_owned()),
                b'v' => {
                    let inner = self.signature()?.to_owned();
                    Value::Variant(Box::new(self.value(&mut inner.as_str())?))
                }
                b'(' => {
                    self.align(8)?;
                    let mut members = Vec::new();
                    while !signature.starts_with(')') {
                        members.push(self.value(signature)?);
                    }
                    *signature = &signature[1..];
                    Value::Struct(members)
                }
                b'a' => {
                    let size = self.u32()? as usize;
                    let whole = *signature;
                    // The type of the elements, found by reading one of nothing.
                    let mut depth = 0;
                    let mut length = 0;
                    for byte in whole.bytes() {
                        length += 1;
                        match byte {
                            b'(' => depth += 1,
                            b')' => depth -= 1,
                            _ => {}
                        }
                        if depth == 0 && byte != b'a' {
                            break;
                        }
                    }
                    let (element, rest) = whole.split_at(length);
                    *signature = rest;
                    self.align(alignment(element))?;
                    let end = self.at + size;
                    let mut values = Vec::new();
                    while self.at < end {
                        values.push(self.value(&mut &*element)?);
                    }
                    assert_eq!(self.at, end);
                    Value::Array(element.to_owned(), values)
                }
                _ => return Err(Broken),
            })
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<u8>().prop_map(Value::Byte),
            any::<i16>().prop_map(Value::Int16),
            any::<u16>().prop_map(Value::Uint16),
            any::<i32>().prop_map(Value::Int32),
            any::<u32>().prop_map(Value::Uint32),
            any::<i64>().prop_map(Value::Int64),
            any::<u64>().prop_map(Value::Uint64),
            any::<u64>().prop_map(Value::Double),
            "\\PC{0,9}".prop_map(Value::Text),
            "(/[a-z]{1,3}){1,3}".prop_map(Value::ObjectPath),
            "[bynqiuxtdsog]{0,5}".prop_map(Value::Signature),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
                inner.clone().prop_map(|v| Value::Variant(Box::new(v))),
                (inner, 0usize..4).prop_map(|(v, n)| Value::Array(v.signature(), vec![v; n])),
            ]
        })
    }

    const CALL: Call<'_> = Call {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "StopUnit",
        signature: "ss",
    };

    fn body(texts: &[&str]) -> Vec<u8> {
        let mut writer = Writer::default();
        texts.iter().for_each(|text| writer.text(text));
        writer.bytes
    }

    #[test]
    fn a_call_is_what_the_specification_says() {
        let call = Call {
            destination: "",
            path: "/a",
            interface: "",
            member: "Go",
            signature: "s",
        };
        let message = call.message(7, &body(&["hi"]));
        let expected = [
            b"l\x01\0\x01\x07\0\0\0\x07\0\0\0\x27\0\0\0".as_slice(),
            b"\x01\x01o\0\x02\0\0\0/a\0\0\0\0\0\0",
            b"\x03\x01s\0\x02\0\0\0Go\0\0\0\0\0\0",
            b"\x08\x01g\0\x01s\0\0",
            b"\x02\0\0\0hi\0",
        ];
        assert_eq!(message, expected.concat());
    }

    #[test]
    fn what_was_written_is_read_again() {
        let bytes = CALL.message(9, &body(&["x.scope", "replace"]));
        let fixed = bytes[..FIXED].try_into().unwrap();
        assert_eq!(length(&fixed), Ok(bytes.len()));
        let message = Message::parse(&bytes).unwrap();
        assert!(message.is(Kind::Call));
        assert_eq!(message.member, "StopUnit");
        assert_eq!(message.texts("ss").unwrap(), ["x.scope", "replace"]);
        assert_eq!(message.texts("s").unwrap(), ["x.scope"]);
        assert_eq!(message.texts("so"), Err(Broken));
        for end in 0..bytes.len() {
            assert_eq!(Message::parse(&bytes[..end]), Err(Broken), "{end}");
        }
    }

    #[test]
    fn a_message_of_the_other_byte_order_is_read() {
        // NameAcquired with ":1.5".
        let bytes = [
            b"B\x04\x01\x01\0\0\0\x09\0\0\0\x02\0\0\0\x1f".as_slice(),
            b"\x03\x01s\0\0\0\0\x0cNameAcquired\0\0\0\0",
            b"\x08\x01g\0\x01s\0\0",
            b"\0\0\0\x04:1.5\0",
        ]
        .concat();
        let message = Message::parse(&bytes).unwrap();
        assert!(message.is(Kind::Signal));
        assert_eq!(message.texts("s").unwrap(), [":1.5"]);
    }

    #[test]
    fn lengths_that_are_none_are_refused() {
        let mut fixed: [u8; FIXED] = *b"l\x01\0\x01\x07\0\0\0\x07\0\0\0\x27\0\0\0";
        assert_eq!(length(&fixed), Ok(16 + 0x28 + 7));
        fixed[7] = 0x08;
        assert_eq!(length(&fixed), Err(Broken));
        fixed[4..8].fill(0xff);
        fixed[12..].fill(0xff);
        assert_eq!(length(&fixed), Err(Broken));
        fixed[4..8].fill(0);
        fixed[12..].fill(0);
        for (index, value) in [(0, b'x'), (3, 2)] {
            let mut other = fixed;
            other[index] = value;
            assert_eq!(length(&other), Err(Broken));
        }
    }

    proptest! {
        #[test]
        fn a_value_survives_the_wire(value in values(), before in 0usize..9) {
            let signature = value.signature();
            prop_assume!(signature.len() < 256);
            let mut writer = Writer { bytes: vec![0; before] };
            writer.variant(&value);
            let bytes = writer.bytes;
            let mut reader = Reader::new(&bytes, false);
            reader.at = before;
            prop_assert_eq!(reader.signature(), Ok(signature.as_str()));
            prop_assert_eq!(reader.value(&mut signature.as_str()), Ok(value));
            prop_assert_eq!(reader.at, bytes.len());
        }

        #[test]
        fn any_bytes_are_a_message_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(message) = Message::parse(&bytes) {
                let _ = message.texts("uoss");
            }
            if let Some(fixed) = bytes.first_chunk::<FIXED>() {
                let _ = length(fixed);
            }
        }

        #[test]
        fn a_broken_message_is_read_or_refused(at in 0usize..200, to in any::<u8>()) {
            let mut bytes = CALL.message(9, &body(&["x.scope", "replace"]));
            let at = at % bytes.len();
            bytes[at] = to;
            if let Ok(message) = Message::parse(&bytes) {
                let _ = message.texts("ss");
            }
        }
    }
}
