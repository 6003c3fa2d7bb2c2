//! Finds out why a text is not a configuration, for people: where (the JSON
//! pointer, line and column), what was found and what was expected. It is never on the
//! way of a correct file.

use serde_json::error::Category;

use super::error::ConfigError;
use super::locate::pointer_at;

/// The longest excerpt of a wrong value in a message, in characters.
const EXCERPT: usize = 60;

/// Explains why `text` could not be read; `error` is what the parse said.
pub(super) fn diagnose(text: &[u8], error: &serde_json::Error) -> ConfigError {
    if text.iter().all(u8::is_ascii_whitespace) {
        return ConfigError::new("", "the file is empty, expected a JSON object");
    }
    if let Err(utf8) = std::str::from_utf8(text) {
        return not_utf8(text, utf8.valid_up_to());
    }
    if text.starts_with(b"\xef\xbb\xbf") {
        return ConfigError::new("", "the file starts with a byte order mark")
            .with_hint("save it as UTF-8 without one");
    }
    match error.classify() {
        Category::Data => ConfigError::new(pointer_at(text, offset(text, error)), explain(error)),
        Category::Eof => ConfigError::new(
            "",
            format!(
                "{}: the file ends too early: {}",
                position(error),
                bare(error)
            ),
        )
        .with_hint("it may have been written only in part"),
        Category::Syntax | Category::Io => ConfigError::new(
            "",
            format!("{}: not valid JSON: {}", position(error), bare(error)),
        ),
    }
}

fn not_utf8(text: &[u8], offset: usize) -> ConfigError {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .count()
        + 1;
    let byte = text.get(offset).copied().unwrap_or(0);
    ConfigError::new(
        "",
        format!("line {line} column {column}: byte 0x{byte:02x} is not UTF-8 text"),
    )
}

/// How many bytes of the text the parser had read when it stopped.
fn offset(text: &[u8], error: &serde_json::Error) -> usize {
    let before = error.line().saturating_sub(1);
    let lines = text.split_inclusive(|&byte| byte == b'\n').take(before);
    lines.map(<[u8]>::len).sum::<usize>() + error.column()
}

fn explain(error: &serde_json::Error) -> String {
    let text = bare(error);
    let explained = match text
        .strip_prefix("invalid type: ")
        .or_else(|| text.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "))
    {
        Some((found, expected)) => {
            format!("expected {}, found {}", wanted(expected), excerpt(found))
        }
        None => match text.strip_prefix("duplicate field ") {
            Some(field) => format!("the member {field} is given twice"),
            None => excerpt(&text),
        },
    };
    format!("{explained} ({})", position(error))
}

/// serde's names of types in JSON's words.
fn wanted(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "an object",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number from 0 to 18446744073709551615",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" => "a whole number of 64 bits",
        other => other,
    }
}

/// serde's description of what it met, in JSON's words and not too long.
fn excerpt(found: &str) -> String {
    let found = match found {
        "map" => "an object",
        "sequence" => "an array",
        other => other,
    };
    match found.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", found.get(..end).unwrap_or(found)),
        None => found.replace('`', ""),
    }
}

fn position(error: &serde_json::Error) -> String {
    format!("line {} column {}", error.line(), error.column())
}

/// serde_json's message without the position at its end.
fn bare(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let suffix = format!(" at {}", position(error));
    match text.strip_suffix(&suffix) {
        Some(bare) => bare.to_owned(),
        None => text,
    }
}
