//! The little of protobuf's wire format that CRIU's RPC needs: numbers and lengths with
//! their bytes (protobuf.dev, "Encoding"). What is read is another program's word: every
//! length is checked, and nothing is allocated by it.

/// A message that is being written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Message(Vec<u8>);

/// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    /// A number, enum or `int32`.
    pub fn number(&mut self, field: u32, value: i64) -> &mut Message {
        self.varint(u64::from(field) << 3 | VARINT);
        // A negative int32 takes ten bytes, as if it were an int64.
        self.varint(value as u64);
        self
    }

    /// A `bool`.
    pub fn flag(&mut self, field: u32, value: bool) -> &mut Message {
        self.number(field, i64::from(value))
    }

    /// A `string`.
    pub fn text(&mut self, field: u32, value: impl AsRef<[u8]>) -> &mut Message {
        self.varint(u64::from(field) << 3 | BYTES);
        self.varint(value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    /// A message within the message.
    pub fn message(&mut self, field: u32, value: &Message) -> &mut Message {
        self.text(field, &value.0)
    }

    /// What is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A varint.
    Number(u64),
    /// A string or a message.
    Bytes(&'a [u8]),
    /// A kind of value that no field of CRIU's has.
    Other,
}

impl Value<'_> {
    /// As `int32` or an enum; `None` if it is none.
    pub fn int(self) -> Option<i32> {
        match self {
            Value::Number(value) => i32::try_from(value as i64).ok(),
            _ => None,
        }
    }

    /// As `bool`.
    pub fn flag(self) -> bool {
        matches!(self, Value::Number(value) if value != 0)
    }

    /// As text, whatever bytes it is made of.
    pub fn text(self) -> String {
        match self {
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }

    /// As the message within.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Value::Bytes(bytes) => bytes,
            _ => &[],
        }
    }
}

/// The fields of a message, in their order; ends with `None` as an item where the bytes are
/// no message.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u32, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|&number| number != 0)?;
        let value = match key & 7 {
            VARINT => Value::Number(self.varint()?),
            BYTES => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            FIXED64 => self.take(8).map(|_| Value::Other)?,
            FIXED32 => self.take(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some((number, value))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_of_protobufs_own_examples() {
        // protobuf.dev, "Encoding": a = 150; b = "testing"; c = { a = 150 }.
        let mut a = Message::default();
        a.number(1, 150);
        assert_eq!(a.as_bytes(), [0x08, 0x96, 0x01]);
        let mut b = Message::default();
        b.text(2, "testing");
        assert_eq!(b.as_bytes(), b"\x12\x07testing");
        let mut c = Message::default();
        c.message(3, &a);
        assert_eq!(c.as_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let mut negative = Message::default();
        negative.number(1, -2);
        let ten = [0x08, 0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert_eq!(negative.as_bytes(), ten);
    }

    #[test]
    fn what_is_cut_short_or_overlong_is_no_message() {
        for bytes in [
            &b"\x08"[..],
            b"\x08\x80",
            b"\x12\x05abcd",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0b",
            b"\x00\x01",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0d\x01\x02\x03",
        ] {
            assert_eq!(Fields(bytes).last(), Some(None), "{bytes:?}");
        }
        assert_eq!(Fields(b"").next(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            prop_assert!(Fields(&bytes).count() <= bytes.len());
        }

        #[test]
        fn what_is_written_is_read(number: i32, flag: bool, text: Vec<u8>, field in 1u32..500) {
            let mut message = Message::default();
            message.number(field, number.into()).flag(field, flag).text(field, &text);
            let read: Vec<_> = Fields(message.as_bytes()).flatten().collect();
            prop_assert_eq!(read.len(), 3);
            prop_assert_eq!(read[0].1.int(), Some(number));
            prop_assert_eq!(read[1].1.flag(), flag);
            prop_assert_eq!(read[2], (field, Value::Bytes(&text)));
        }
    }
}
