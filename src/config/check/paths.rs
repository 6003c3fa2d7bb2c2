//! Rules for paths, as far as their text goes.

use crate::config::error::ConfigError;
use crate::config::place::Place;

/// The longest path in bytes, without the final NUL (`PATH_MAX`).
const PATH_MAX: usize = 4095;
/// The longest name of a file in bytes (`NAME_MAX`).
const NAME_MAX: usize = 255;

/// Requires something that fits into one argument of a system call; `what`
/// names it.
pub(super) fn require_text(place: &Place<'_>, what: &str, text: &str) -> Result<(), ConfigError> {
    if text.is_empty() {
        return Err(place.error(format_args!("{what} is missing")));
    }
    if text.len() > PATH_MAX {
        return Err(place.error(format_args!(
            "{what} has {} bytes (at most {PATH_MAX})",
            text.len()
        )));
    }
    Ok(())
}

/// Requires a path that the kernel can take at all.
pub(super) fn require_given(place: &Place<'_>, what: &str, path: &str) -> Result<(), ConfigError> {
    require_text(place, what, path)?;
    if path.len() > NAME_MAX
        && let Some(name) = path.split('/').find(|name| name.len() > NAME_MAX)
    {
        return Err(place.error(format_args!(
            "{what} has a name of {} bytes in it (at most {NAME_MAX})",
            name.len()
        )));
    }
    Ok(())
}

/// Requires an absolute path.
pub(super) fn require_absolute(
    place: &Place<'_>,
    what: &str,
    path: &str,
) -> Result<(), ConfigError> {
    require_given(place, what, path)?;
    if !path.starts_with('/') {
        return Err(place
            .error(format_args!("{what} {path:?} is not absolute"))
            .with_hint("start it with \"/\""));
    }
    Ok(())
}

/// Refuses a path with a `..` in it.
pub(super) fn refuse_parent(place: &Place<'_>, what: &str, path: &str) -> Result<(), ConfigError> {
    require_given(place, what, path)?;
    if path.split('/').any(|name| name == "..") {
        return Err(place.error(format_args!("{what} {path:?} must not contain \"..\"")));
    }
    Ok(())
}
