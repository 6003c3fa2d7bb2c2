//! Paths inside the container, as text.

use std::ffi::CString;

/// The components of a path after `.`, empty ones and `..` are resolved by the
/// text alone (Go's filepath.Clean, which runc applies to destinations), joined
/// by `/`, without a leading one: `/a/./b/../c` is `a/c`, `/` is the empty text.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A C string of text that is known to hold no NUL: config.json's texts are
/// refused when they do, and everything else is ours.
pub fn c_string(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn destinations_are_cleaned_as_go_cleans_them() {
        for (given, expected) in [
            ("/", ""),
            ("", ""),
            ("/a//b/./c/", "a/b/c"),
            ("/a/../../b", "b"),
            ("proc", "proc"),
            ("/..", ""),
            ("/a/b/..", "a"),
        ] {
            assert_eq!(clean(given), expected, "{given}");
        }
    }
}
