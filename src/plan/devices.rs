//! Device nodes: those that every container has, and `linux.devices`.

use std::ffi::CString;

use super::path::{c_string, clean};
use crate::config::ConfigError;
use crate::config::spec::Device;

/// A device node to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePlan {
    /// Path below the root, without a leading slash.
    pub path: CString,
    /// The same from the host's root: what is bound where nodes cannot be made.
    pub host_path: CString,
    /// File type and permission bits (`S_IFCHR | 0666`).
    pub mode: u32,
    /// Device number.
    pub rdev: u64,
    /// Owner inside the container.
    pub uid: u32,
    /// Group inside the container.
    pub gid: u32,
}

/// The device nodes of every container (runtime-spec, "Default Devices").
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Symbolic links of every container's /dev: name and target.
pub const LINKS: [(&std::ffi::CStr, &std::ffi::CStr); 5] = [
    (c"ptmx", c"pts/ptmx"),
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
];

/// The defaults, then the configured ones; a configured one with a default's
/// path takes its place.
///
/// # Errors
/// An unknown type (checked before, but a plan never guesses).
pub fn plan(devices: &[Device<'_>]) -> Result<Vec<DevicePlan>, ConfigError> {
    let mut plans: Vec<DevicePlan> = DEFAULTS
        .iter()
        .map(|(name, major, minor)| DevicePlan {
            path: c_string(format!("dev/{name}")),
            host_path: c_string(format!("/dev/{name}")),
            mode: libc::S_IFCHR | 0o666,
            rdev: libc::makedev(*major, *minor),
            uid: 0,
            gid: 0,
        })
        .collect();
    for (index, device) in devices.iter().enumerate() {
        let kind = match device.kind.as_str() {
            "c" | "u" => libc::S_IFCHR,
            "b" => libc::S_IFBLK,
            "p" => libc::S_IFIFO,
            other => {
                return Err(ConfigError::new(
                    format!("/linux/devices/{index}/type"),
                    format!("unknown device type \"{other}\""),
                )
                .with_hint("allowed are c, b, u and p"));
            }
        };
        let path = clean(&device.path);
        // A fifo has no device number.
        let rdev = if kind == libc::S_IFIFO {
            0
        } else {
            libc::makedev(device.major as u32, device.minor as u32)
        };
        let plan = DevicePlan {
            host_path: c_string(format!("/{path}")),
            path: c_string(path),
            mode: kind | device.file_mode.unwrap_or(0o666) & 0o7777,
            rdev,
            uid: device.uid.unwrap_or(0),
            gid: device.gid.unwrap_or(0),
        };
        match plans.iter_mut().find(|p| p.path == plan.path) {
            Some(existing) => *existing = plan,
            None => plans.push(plan),
        }
    }
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(json: &str) -> Device<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_default_devices_are_always_there() {
        let plans = plan(&[]).unwrap();
        assert_eq!(plans.len(), 6);
        assert_eq!(plans[0].path, c"dev/null".to_owned());
        assert_eq!(plans[0].rdev, libc::makedev(1, 3));
    }

    #[test]
    fn a_configured_device_replaces_a_default_one() {
        let given =
            device(r#"{"type":"c","path":"/dev/null","major":1,"minor":3,"fileMode":384,"uid":5}"#);
        let plans = plan(&[given]).unwrap();
        assert_eq!(plans.len(), 6);
        assert_eq!((plans[0].mode, plans[0].uid), (libc::S_IFCHR | 0o600, 5));
    }

    #[test]
    fn a_fifo_has_no_number_and_an_unknown_type_is_refused() {
        let fifo = device(r#"{"type":"p","path":"/dev/f","major":1,"minor":3}"#);
        assert_eq!(plan(&[fifo]).unwrap()[6].rdev, 0);
        let wrong = device(r#"{"type":"x","path":"/dev/f"}"#);
        assert_eq!(plan(&[wrong]).unwrap_err().pointer, "/linux/devices/0/type");
    }
}
