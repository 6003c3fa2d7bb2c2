//! Regular expressions by regcomp(3): those of POSIX, extended, as grep -E has them.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

/// A compiled expression.
pub struct Regex(Box<libc::regex_t>);

impl Regex {
    /// Compiles an expression.
    ///
    /// # Errors
    /// libc's words for what is wrong with it.
    pub fn new(expression: &CStr) -> Result<Regex, String> {
        let mut compiled: Box<MaybeUninit<libc::regex_t>> = Box::new(MaybeUninit::zeroed());
        let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
        // SAFETY: room for the expression, and a C string.
        let code = unsafe { libc::regcomp(compiled.as_mut_ptr(), expression.as_ptr(), flags) };
        if code == 0 {
            // SAFETY: regcomp has filled it. Boxed, it stays where it was made.
            return Ok(Regex(unsafe { compiled.assume_init() }));
        }
        let mut text = [0u8; 128];
        // SAFETY: regerror writes no more than it is told, with a NUL at the end.
        unsafe {
            libc::regerror(
                code,
                compiled.as_ptr(),
                text.as_mut_ptr().cast(),
                text.len(),
            )
        };
        let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
        Err(text.to_string_lossy().into_owned())
    }

    /// Whether it is found in the text. One with a NUL has nothing in it.
    pub fn is_in(&self, text: &str) -> bool {
        let Ok(text) = CString::new(text) else {
            return false;
        };
        // SAFETY: a compiled expression and a C string; no places are asked for.
        let code = unsafe { libc::regexec(&*self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) };
        code == 0
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: it was compiled, and is not used again.
        unsafe { libc::regfree(&mut *self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::Regex;

    #[test]
    fn expressions_are_extended_and_found_anywhere() {
        for (expression, text, found) in [
            (c"web", "my-web-1", true),
            (c"^web", "my-web-1", false),
            (c"^(web|db)-[0-9]+$", "db-12", true),
            (c"^(web|db)-[0-9]+$", "db-x", false),
            (c"a{2}", "baab", true),
            (c"", "anything", true),
        ] {
            assert_eq!(Regex::new(expression).unwrap().is_in(text), found, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_told() {
        for expression in [c"(", c"[a", c"a{2"] {
            assert!(!Regex::new(expression).err().unwrap().is_empty());
        }
    }
}
