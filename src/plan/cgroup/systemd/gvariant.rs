//! Values in GVariant's text format (docs.gtk.org, "GVariant Text Format"): what D-Bus has of it, but
//! for dictionaries, which no property of a unit has.

use super::Value;

/// How deep arrays, structs and variants may lie in one another (D-Bus allows 32 of each).
const DEEPEST: usize = 16;
/// The longest signature of D-Bus.
const LONGEST_SIGNATURE: usize = 255;

/// Keywords that stand before a value.
const KEYWORDS: [(&str, &str); 11] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("objectpath", "o"),
    ("signature", "g"),
];

/// Reads one value.
///
/// # Errors
/// Why the text is none, and where.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { text, at: 0 };
    let value = parser
        .value(None, 0)
        .and_then(|value| match parser.peek() {
            None => Ok(value),
            Some(_) => Err("something follows the value".to_owned()),
        })
        .map_err(|why| format!("{why} (at byte {})", parser.at))?;
    if value.signature().len() > LONGEST_SIGNATURE {
        return Err("its type is too long for D-Bus".to_owned());
    }
    Ok(value)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next character behind white space.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        match self.take(wanted) {
            true => Ok(()),
            false => Err(format!("{wanted:?} is missing")),
        }
    }

    /// The letters, digits and signs that follow.
    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let is_word = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// One value; `wanted` is its type where something before it said so.
    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err("it is nested too deeply".to_owned());
        }
        let start = self.peek();
        match start {
            None => Err("a value is missing".to_owned()),
            Some('@') => {
                self.at += 1;
                let rest = self.rest();
                let length = type_length(rest.as_bytes(), 0)
                    .ok_or("there is no type of D-Bus after \"@\"")?;
                let kind = rest.get(..length).unwrap_or_default();
                self.at += length;
                same(wanted, kind)?;
                self.value(Some(kind), depth + 1)
            }
            Some('\'' | '"') => self.text_value(wanted.unwrap_or("s")),
            Some('[') => self.array(wanted, depth),
            Some('(') => self.members(wanted, depth),
            Some('<') => {
                same(wanted, "v")?;
                self.at += 1;
                let value = self.value(None, depth + 1)?;
                self.expect('>')?;
                Ok(Value::Variant(Box::new(value)))
            }
            Some(_) => self.word_value(wanted, depth),
        }
    }

    fn word_value(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        let begin = self.at;
        let word = self.word();
        let keyword = KEYWORDS.iter().find(|(keyword, _)| *keyword == word);
        match (word, keyword) {
            ("true" | "false", _) => {
                same(wanted, "b")?;
                Ok(Value::Bool(word == "true"))
            }
            (_, Some((_, kind))) => {
                same(wanted, kind)?;
                self.value(Some(kind), depth + 1)
            }
            ("", _) => Err("this is no value".to_owned()),
            _ => number(word, wanted).inspect_err(|_| self.at = begin),
        }
    }

    fn array(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        let mut element = match wanted {
            None => None,
            Some(kind) => Some(
                kind.strip_prefix('a')
                    .ok_or_else(|| mismatch(kind))?
                    .to_owned(),
            ),
        };
        self.at += 1;
        let mut values = Vec::new();
        while !self.take(']') {
            if !values.is_empty() {
                self.expect(',')?;
            }
            let value = self.value(element.as_deref(), depth + 1)?;
            element.get_or_insert_with(|| value.signature());
            values.push(value);
        }
        let element =
            element.ok_or("an empty array needs its type before it, such as \"@as []\"")?;
        Ok(Value::Array(element, values))
    }

    fn members(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        let mut types = match wanted {
            None => None,
            Some(kind) => Some(
                kind.strip_prefix('(')
                    .and_then(|kind| kind.strip_suffix(')'))
                    .ok_or_else(|| mismatch(kind))?,
            ),
        };
        self.at += 1;
        let mut values = Vec::new();
        while !self.take(')') {
            if !values.is_empty() {
                self.expect(',')?;
                // A single member has a comma behind it.
                if values.len() == 1 && self.take(')') {
                    break;
                }
            }
            let kind = match &mut types {
                None => None,
                Some(types) => {
                    let length = type_length(types.as_bytes(), 0).ok_or("a member too many")?;
                    let (kind, rest) = types.split_at(length);
                    *types = rest;
                    Some(kind)
                }
            };
            values.push(self.value(kind, depth + 1)?);
        }
        match (values.is_empty(), types) {
            (true, _) => Err("D-Bus has no empty structs".to_owned()),
            (_, Some(rest)) if !rest.is_empty() => Err("a member is missing".to_owned()),
            _ => Ok(Value::Struct(values)),
        }
    }

    fn text_value(&mut self, kind: &str) -> Result<Value, String> {
        let text = self.text()?;
        match kind {
            "s" => Ok(Value::Text(text)),
            "o" if is_object_path(&text) => Ok(Value::ObjectPath(text)),
            "o" => Err(format!("{text:?} is no path of an object")),
            "g" if is_signature(&text) => Ok(Value::Signature(text)),
            "g" => Err(format!("{text:?} is no signature")),
            other => Err(mismatch(other)),
        }
    }

    /// A string in quotes of either kind.
    fn text(&mut self) -> Result<String, String> {
        let mut chars = self.rest().char_indices();
        let quote = chars.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((index, c)) = chars.next() {
            let c = match c {
                _ if Some(c) == quote => {
                    self.at += index + c.len_utf8();
                    return Ok(text);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('a') => '\x07',
                    Some('b') => '\x08',
                    Some('f') => '\x0c',
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('t') => '\t',
                    Some('v') => '\x0b',
                    Some(kind @ ('u' | 'U')) => {
                        let count = if kind == 'u' { 4 } else { 8 };
                        let digits: String = chars.by_ref().take(count).map(|(_, c)| c).collect();
                        u32::from_str_radix(&digits, 16)
                            .ok()
                            .filter(|_| digits.len() == count)
                            .and_then(char::from_u32)
                            .ok_or_else(|| format!("\"\\{kind}{digits}\" is no character"))?
                    }
                    Some(c) => c,
                    None => break,
                },
                c => c,
            };
            if c == '\0' {
                return Err("D-Bus has no strings with NUL".to_owned());
            }
            text.push(c);
        }
        Err("the string does not end".to_owned())
    }
}

fn mismatch(kind: &str) -> String {
    format!("a value of type \"{kind}\" belongs here")
}

fn same(wanted: Option<&str>, kind: &str) -> Result<(), String> {
    match wanted {
        Some(wanted) if wanted != kind => Err(mismatch(wanted)),
        _ => Ok(()),
    }
}

/// A number, of type `int32` or `double` where nothing says otherwise.
fn number(word: &str, wanted: Option<&str>) -> Result<Value, String> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let lower = digits.to_ascii_lowercase();
    let magnitude = match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
        (Some(hex), _) if !hex.starts_with(['+', '-']) => u64::from_str_radix(hex, 16).ok(),
        (None, Some(octal)) if octal.bytes().all(|c| c.is_ascii_digit()) && !octal.is_empty() => {
            u64::from_str_radix(octal, 8).ok()
        }
        (None, _) if digits.bytes().all(|c| c.is_ascii_digit()) => digits.parse::<u64>().ok(),
        _ => None,
    };
    let integer = magnitude.map(|magnitude| match negative {
        true => -i128::from(magnitude),
        false => i128::from(magnitude),
    });
    let kind = wanted.unwrap_or(if integer.is_some() { "i" } else { "d" });
    let double = || {
        let starts = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let value = word.parse::<f64>().ok().filter(|_| starts)?;
        Some(Value::Double(value.to_bits()))
    };
    let value = match kind {
        "y" => integer.and_then(|n| n.try_into().ok()).map(Value::Byte),
        "n" => integer.and_then(|n| n.try_into().ok()).map(Value::Int16),
        "q" => integer.and_then(|n| n.try_into().ok()).map(Value::Uint16),
        "i" => integer.and_then(|n| n.try_into().ok()).map(Value::Int32),
        "u" => integer.and_then(|n| n.try_into().ok()).map(Value::Uint32),
        "x" => integer.and_then(|n| n.try_into().ok()).map(Value::Int64),
        "t" => integer.and_then(|n| n.try_into().ok()).map(Value::Uint64),
        "d" => double(),
        other => return Err(mismatch(other)),
    };
    value.ok_or_else(|| match integer {
        Some(_) => format!("{word} does not fit into the type \"{kind}\""),
        None => format!("{word:?} is no value"),
    })
}

/// How many bytes the first complete type of a signature has.
fn type_length(signature: &[u8], depth: usize) -> Option<usize> {
    if depth > DEEPEST {
        return None;
    }
    match signature.first()? {
        b'b' | b'y' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g'
        | b'v' => Some(1),
        b'a' => Some(1 + type_length(signature.get(1..)?, depth + 1)?),
        b'(' => {
            let mut length = 1;
            while signature.get(length)? != &b')' {
                length += type_length(signature.get(length..)?, depth + 1)?;
            }
            (length > 1).then_some(length + 1)
        }
        _ => None,
    }
}

fn is_signature(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match type_length(rest, 0).and_then(|length| rest.get(length..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    text.len() <= LONGEST_SIGNATURE
}

fn is_object_path(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
    };
    match text.strip_prefix('/') {
        Some("") => true,
        Some(names) => names.split('/').all(is_name),
        None => false,
    }
}
