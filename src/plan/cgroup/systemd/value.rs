//! Values of D-Bus, as far as properties of units have them.

/// A value with its type (D-Bus specification, "Type System").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `y`
    Byte(u8),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `d`, as its bits.
    Double(u64),
    /// `s`
    Text(String),
    /// `o`
    ObjectPath(String),
    /// `g`
    Signature(String),
    /// `a` and the type of its elements, which all of them have.
    Array(String, Vec<Value>),
    /// `(…)`, never empty.
    Struct(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// An array of strings.
    pub fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
        let texts = texts.into_iter().map(|text| Value::Text(text.to_owned()));
        Value::Array("s".to_owned(), texts.collect())
    }

    /// An array of bytes.
    pub fn bytes(bytes: impl IntoIterator<Item = u8>) -> Value {
        Value::Array("y".to_owned(), bytes.into_iter().map(Value::Byte).collect())
    }

    /// Its type.
    pub fn signature(&self) -> String {
        let mut signature = String::new();
        self.add_signature(&mut signature);
        signature
    }

    fn add_signature(&self, signature: &mut String) {
        let code = match self {
            Value::Bool(_) => 'b',
            Value::Byte(_) => 'y',
            Value::Int16(_) => 'n',
            Value::Uint16(_) => 'q',
            Value::Int32(_) => 'i',
            Value::Uint32(_) => 'u',
            Value::Int64(_) => 'x',
            Value::Uint64(_) => 't',
            Value::Double(_) => 'd',
            Value::Text(_) => 's',
            Value::ObjectPath(_) => 'o',
            Value::Signature(_) => 'g',
            Value::Variant(_) => 'v',
            Value::Array(element, _) => {
                signature.push('a');
                return signature.push_str(element);
            }
            Value::Struct(members) => {
                signature.push('(');
                for member in members {
                    member.add_signature(signature);
                }
                ')'
            }
        };
        signature.push(code);
    }
}
