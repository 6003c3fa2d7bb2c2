//! Messages against the specification's examples, and every type and any bytes against themselves.

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
