//! `linux.netDevices`, and the names of network interfaces.

use crate::config::error::ConfigError;
use crate::config::place::Place;
use crate::config::spec::{Map, NetDevice};

use super::namespaces::{Kind, Namespaces};

/// The longest name of an interface in bytes (`IFNAMSIZ` less the NUL).
const NAME_MAX: usize = 15;

/// Checks the network devices that are moved into the container.
pub(super) fn check(
    at: &Place<'_>,
    devices: &Map<'_, NetDevice<'_>>,
    namespaces: &Namespaces<'_, '_>,
) -> Result<(), ConfigError> {
    if devices.is_empty() {
        return Ok(());
    }
    if !namespaces.has(Kind::Network) {
        return Err(at
            .error("network devices can only be moved into a private network namespace")
            .with_hint("add {\"type\": \"network\"} to /linux/namespaces"));
    }
    for (name, device) in devices {
        let place = at.member(name);
        require_interface_name(&place, name)?;
        if let Some(inside) = &device.name {
            require_interface_name(&place.member("name"), inside)?;
            require_template(&place.member("name"), inside)?;
        }
        let inside = device.name.as_ref().unwrap_or(name);
        if inside.ends_with("%d") {
            // Each gets a number of its own.
            continue;
        }
        let other = devices.iter().find(|(other, other_device)| {
            *other != name && other_device.name.as_ref().unwrap_or(other) == inside
        });
        if let Some((other, _)) = other {
            return Err(place.error(format_args!(
                "{name:?} and {other:?} would both be called {inside:?}"
            )));
        }
    }
    Ok(())
}

/// A name may end in `%d`, for the first number that is free.
fn require_template(place: &Place<'_>, name: &str) -> Result<(), ConfigError> {
    if !name.strip_suffix("%d").unwrap_or(name).contains('%') {
        return Ok(());
    }
    Err(place.error(format_args!(
        "{name:?} is not the name of a network interface (\"%\" is only allowed in a \"%d\" at the \
         end, which stands for a free number)"
    )))
}

/// Requires a name that the kernel takes (`dev_valid_name`).
pub(super) fn require_interface_name(place: &Place<'_>, name: &str) -> Result<(), ConfigError> {
    let is_separator = |c: char| c == '/' || c == ':' || c.is_ascii_whitespace() || c == '\x0b';
    if (1..=NAME_MAX).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(is_separator)
    {
        return Ok(());
    }
    Err(place.error(format_args!(
        "{name:?} is not the name of a network interface (1 to {NAME_MAX} bytes without \"/\", \
         \":\" or space)"
    )))
}
