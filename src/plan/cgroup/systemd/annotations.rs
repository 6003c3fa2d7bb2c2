//! Annotations that set properties of the unit: `org.systemd.property.NAME`.

use super::{Property, Value, gvariant};
use crate::plan::cgroup::ResourceError;

const PREFIX: &str = "org.systemd.property.";
const MICROSECONDS: u64 = 1_000_000;

/// The properties that annotations ask for, in GVariant's text format. As in runc, a name that
/// ends in `Sec` is turned into the `USec` that is on the bus, and the seconds with it.
///
/// # Errors
/// A name or a value that is none.
pub fn annotations<'a>(
    annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Property>, ResourceError> {
    let mut properties = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else {
            continue;
        };
        let pointer = format!("/annotations/{}", key.replace('~', "~0").replace('/', "~1"));
        let error = |message: String| ResourceError::new(pointer.clone(), message);
        if name.len() < 3 || !name.bytes().all(|c| c.is_ascii_alphabetic()) {
            return Err(error(format!(
                "{name:?} is not the name of a property: at least three letters and nothing else"
            )));
        }
        let value = gvariant::parse(text).map_err(|why| {
            error(format!(
                "{text:?} is no value in GVariant's text format: {why}"
            ))
        })?;
        let (name, value) = match name.strip_suffix("Sec") {
            Some(stem) if stem.ends_with(|c: char| c.is_ascii_lowercase()) => {
                let value = microseconds(&value).ok_or_else(|| {
                    error(format!(
                        "{text:?} is not a number of seconds, as {name} wants it"
                    ))
                })?;
                (format!("{stem}USec"), Value::Uint64(value))
            }
            _ => (name.to_owned(), value),
        };
        properties.push(Property {
            name: name.into(),
            value,
            since: 0,
            pointer: pointer.into(),
        });
    }
    Ok(properties)
}

fn microseconds(seconds: &Value) -> Option<u64> {
    let whole: u64 = match *seconds {
        Value::Byte(n) => n.into(),
        Value::Int16(n) => n.try_into().ok()?,
        Value::Uint16(n) => n.into(),
        Value::Int32(n) => n.try_into().ok()?,
        Value::Uint32(n) => n.into(),
        Value::Int64(n) => n.try_into().ok()?,
        Value::Uint64(n) => n,
        Value::Double(bits) => {
            let microseconds = f64::from_bits(bits) * MICROSECONDS as f64;
            let fits = (0.0..u64::MAX as f64).contains(&microseconds);
            return fits.then_some(microseconds as u64);
        }
        _ => return None,
    };
    whole.checked_mul(MICROSECONDS)
}
