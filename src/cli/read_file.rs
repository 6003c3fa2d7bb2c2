//! Files with JSON that flags name.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Result, bail};

use crate::config;
use crate::sys::errno_text;

/// Reads a file whole, or standard input for `-`; `what` is in it.
///
/// # Errors
/// It cannot be read or is larger than any configuration.
pub fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let limit = config::MAX_SIZE + 1;
    let read = match path == Path::new("-") {
        true => std::io::stdin().take(limit).read_to_end(&mut text),
        false => std::fs::File::open(path).and_then(|f| f.take(limit).read_to_end(&mut text)),
    };
    if let Err(error) = read {
        let why = errno_text(error.raw_os_error().unwrap_or(libc::EIO));
        bail!("cannot read the {what} from {}: {why}", path.display());
    }
    if text.len() as u64 == limit {
        bail!("{}: more than {} bytes", path.display(), config::MAX_SIZE);
    }
    Ok(text)
}
