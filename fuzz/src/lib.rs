//! What the fuzz targets share: what must hold of every error, and mutations of JSON.

#[path = "../../runtime-tests/src/breaking.rs"]
pub mod breaking;
pub mod mutate;
mod tree;

use corten::config::{ConfigError, Warning};
use tree::Tree;

/// The longest line that an error may be, in bytes.
const LINE_MAX: usize = 4096;

/// Requires of an error that it is one line that can be shown, and that its pointer names a
/// place of `text`, or one that is missing from a place of it.
pub fn require_clear(error: &ConfigError, text: &[u8]) {
    require_line(&error.to_string());
    require_place(&error.pointer, text);
}

/// The same of warnings.
pub fn require_clear_warnings(warnings: &[Warning], text: &[u8]) {
    for warning in warnings {
        require_line(&warning.to_string());
        require_place(&warning.pointer, text);
    }
}

/// Requires one line that does nothing to a terminal or a log.
pub fn require_line(line: &str) {
    assert!(!line.trim().is_empty(), "an error without words");
    assert!(!line.chars().any(char::is_control), "{line:?}");
    assert!(line.len() <= LINE_MAX, "{} bytes: {line:?}", line.len());
}

fn require_place(pointer: &str, text: &[u8]) {
    assert!(
        pointer.is_empty() || pointer.starts_with('/'),
        "{pointer:?} is no pointer"
    );
    // Text that is JSON only up to the error, or too deep for this parser, has no tree.
    let Ok(tree) = serde_json::from_slice::<Tree>(text) else {
        return;
    };
    let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    assert!(
        tree.has(pointer) || tree.has(parent),
        "{pointer:?} names no place of {}",
        String::from_utf8_lossy(text)
    );
}
