//! `linux.devices` and `linux.resources.devices`.

use crate::config::error::ConfigError;
use crate::config::place::Place;
use crate::config::spec::{Device, DeviceRule};

use super::paths;

/// The highest major and minor numbers of a device node (mknod(2): 12 and 20
/// bits).
const MAJOR_MAX: i64 = (1 << 12) - 1;
const MINOR_MAX: i64 = (1 << 20) - 1;
/// The bits of a file's mode, its type included: some engines write all of
/// `st_mode`, and runc drops the type.
const MODE_BITS: u32 = 0o177_777;

/// Checks the device nodes.
pub(super) fn check(at: &Place<'_>, devices: &[Device<'_>]) -> Result<(), ConfigError> {
    for (index, device) in devices.iter().enumerate() {
        check_device(&at.element(index), device)?;
    }
    if devices.len() > 1 {
        check_paths_differ(at, devices)?;
    }
    Ok(())
}

/// Refuses two different devices at one path. The same one twice does no harm
/// and happens where several sources add devices.
fn check_paths_differ(at: &Place<'_>, devices: &[Device<'_>]) -> Result<(), ConfigError> {
    // A privileged container can have hundreds.
    let mut by_path: Vec<_> = devices.iter().enumerate().collect();
    by_path.sort_by_key(|(index, device)| (device.path.as_str(), *index));
    for pair in by_path.windows(2) {
        if let [(earlier, one), (index, other)] = pair
            && one.path == other.path
            && node(one) != node(other)
        {
            return Err(at.element(*index).member("path").error(format_args!(
                "{:?} is already device {earlier} of the list, another one",
                other.path
            )));
        }
    }
    Ok(())
}

/// What makes two nodes the same; `u` is another word for `c`.
fn node<'d>(device: &'d Device<'_>) -> (&'d str, i64, i64) {
    match device.kind.as_str() {
        "p" => ("p", 0, 0),
        "u" => ("c", device.major, device.minor),
        kind => (kind, device.major, device.minor),
    }
}

fn check_device(at: &Place<'_>, device: &Device<'_>) -> Result<(), ConfigError> {
    let kind = device.kind.as_str();
    if !matches!(kind, "c" | "b" | "u" | "p") {
        return Err(at.member("type").error(format_args!(
            "unknown device type {kind:?} (allowed: c, b, u, p)"
        )));
    }
    paths::require_absolute(&at.member("path"), "the device's path", &device.path)?;
    if kind != "p" {
        for (name, number, max) in [
            ("major", device.major, MAJOR_MAX),
            ("minor", device.minor, MINOR_MAX),
        ] {
            if !(0..=max).contains(&number) {
                return Err(at
                    .member(name)
                    .error(format_args!("{number} is out of range (0 to {max})")));
            }
        }
    }
    match device.file_mode {
        Some(mode) if mode & !MODE_BITS != 0 => Err(at
            .member("fileMode")
            .error(format_args!(
                "{mode} (octal {mode:o}) is not a file mode (0 to 4095, octal 7777)"
            ))
            .with_hint("JSON numbers are decimal: octal 666 is 438")),
        _ => Ok(()),
    }
}

/// Checks the rules of the device cgroup.
pub(super) fn check_rules(at: &Place<'_>, rules: &[DeviceRule<'_>]) -> Result<(), ConfigError> {
    for (index, rule) in rules.iter().enumerate() {
        let place = at.element(index);
        let kind = rule.kind.as_deref().unwrap_or("a");
        if !matches!(kind, "a" | "b" | "c") {
            return Err(place.member("type").error(format_args!(
                "unknown device type {kind:?} (allowed: a, b, c)"
            )));
        }
        for (name, number) in [("major", rule.major), ("minor", rule.minor)] {
            if let Some(number) = number
                && !(-1..=i64::from(u32::MAX)).contains(&number)
            {
                return Err(place.member(name).error(format_args!(
                    "{number} is out of range (0 to {}, or -1 for any)",
                    u32::MAX
                )));
            }
        }
        let access = rule.access.as_deref().unwrap_or("");
        if access.is_empty() {
            return Err(place
                .member("access")
                .error("the access is missing (allowed: some of \"rwm\")"));
        }
        if !access.bytes().all(|letter| b"rwm".contains(&letter)) {
            return Err(place.member("access").error(format_args!(
                "unknown access {access:?} (allowed: some of \"rwm\")"
            )));
        }
    }
    Ok(())
}
