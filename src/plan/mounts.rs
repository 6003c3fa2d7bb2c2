//! `mounts`: from words to what the kernel takes.

use std::ffi::CString;

use super::options::{self, Options};
use super::path::{c_string, clean};
use crate::config::ConfigError;
use crate::config::spec::Mount;
use crate::sys::mount::MountAttr;

/// One mount, ready to be made.
#[derive(Debug, PartialEq, Eq)]
pub struct MountPlan {
    /// The destination below the root, without a leading slash; empty is the root itself.
    pub destination: CString,
    /// What is mounted.
    pub what: What,
    /// Changes of propagation afterwards, in order (`MS_*`).
    pub propagation: Vec<u64>,
}

/// What is mounted.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// A new instance of a file system by mount(2).
    Filesystem {
        /// Its type.
        fstype: CString,
        /// Its source, as mountinfo will show it.
        source: CString,
        /// `MS_*`.
        flags: u64,
        /// Options of the file system.
        data: CString,
        /// Fill the tmpfs with what the directory held.
        copy_up: bool,
    },
    /// procfs, of which the runtime keeps a descriptor for its own use.
    Proc {
        /// `MOUNT_ATTR_*`.
        attr: u64,
        /// Options of the file system: a key and, for most, a value.
        data: Vec<(CString, Option<CString>)>,
    },
    /// A file or directory of the host.
    Bind {
        /// Path on the host, absolute.
        source: CString,
        /// With the mounts below it.
        recursive: bool,
        /// Flags of the mount.
        attr: MountAttr,
        /// Flags of the mount and all below it.
        recursive_attr: MountAttr,
    },
    /// The cgroup file systems.
    Cgroup {
        /// `MS_*`.
        flags: u64,
    },
    /// New flags for a mount that is there.
    Remount {
        /// `MS_*`.
        flags: u64,
        /// Options of the file system.
        data: CString,
    },
}

/// Plans all of `mounts`. `bundle` is what relative bind sources are relative to.
///
/// # Errors
/// A mount that cannot be made as written.
pub fn plan(mounts: &[Mount<'_>], bundle: &str) -> Result<Vec<MountPlan>, ConfigError> {
    mounts
        .iter()
        .enumerate()
        .map(|(index, mount)| plan_one(index, mount, bundle))
        .collect()
}

fn plan_one(index: usize, mount: &Mount<'_>, bundle: &str) -> Result<MountPlan, ConfigError> {
    let options = options::parse(mount.options.iter().map(|o| o.as_str()));
    let fstype = mount.fstype.as_deref().unwrap_or("");
    let destination = clean(&mount.destination);
    let is_bind = options.bind.is_some() || fstype == "bind";
    if is_bind && !options.remount && !options.data.is_empty() {
        return Err(ConfigError::new(
            format!("/mounts/{index}/options"),
            format!(
                "a bind mount takes no file system options, found \"{}\"",
                options.data
            ),
        ));
    }
    if destination.is_empty() && !options.remount {
        // It would lie over the root without being it: nothing inside would see it.
        return Err(ConfigError::new(
            format!("/mounts/{index}/destination"),
            "a mount on / would hide the root file system",
        )
        .with_hint("/root says what the root is"));
    }
    let what = if options.remount {
        What::Remount {
            flags: options.flags | if is_bind { libc::MS_BIND } else { 0 },
            data: c_string(options.data.as_str()),
        }
    } else if is_bind {
        bind(index, mount, bundle, &destination, &options)?
    } else {
        filesystem(index, mount, fstype, &destination, &options)?
    };
    Ok(MountPlan {
        destination: c_string(destination),
        what,
        propagation: options.propagation,
    })
}

fn bind(
    index: usize,
    mount: &Mount<'_>,
    bundle: &str,
    destination: &str,
    options: &Options,
) -> Result<What, ConfigError> {
    let source = mount.source.as_deref().unwrap_or("");
    if source.is_empty() {
        return Err(ConfigError::new(
            format!("/mounts/{index}/source"),
            format!("the bind mount on {} has no source", mount.destination),
        ));
    }
    let source = if source.starts_with('/') {
        source.to_owned()
    } else {
        format!("{bundle}/{source}")
    };
    let recursive = options.bind == Some(true);
    let mut recursive_attr = options.recursive_attr;
    let read_only = libc::MOUNT_ATTR_RDONLY;
    if destination == "sys" && source == "/sys" && recursive {
        // The host's /sys has the cgroups below it, and other file systems that can be
        // written (CVE-2023-25809).
        recursive_attr.set |= options.attr.set & read_only & !recursive_attr.clear;
    }
    Ok(What::Bind {
        source: c_string(source),
        recursive,
        attr: options.attr,
        recursive_attr,
    })
}

fn filesystem(
    index: usize,
    mount: &Mount<'_>,
    fstype: &str,
    destination: &str,
    options: &Options,
) -> Result<What, ConfigError> {
    // A new file system has nothing below it, so recursive flags are plain ones there.
    let flags = options.flags | options::flags_of_attr(options.recursive_attr.set);
    match fstype {
        "" => Err(ConfigError::new(
            format!("/mounts/{index}/type"),
            format!(
                "the mount on {} has neither a type nor the option bind",
                mount.destination
            ),
        )),
        "cgroup" | "cgroup2" => Ok(What::Cgroup { flags }),
        "proc" if destination == "proc" => Ok(What::Proc {
            attr: options.attr.set | options.recursive_attr.set,
            data: key_values(&options.data),
        }),
        _ => Ok(What::Filesystem {
            fstype: c_string(fstype),
            source: c_string(
                mount
                    .source
                    .as_deref()
                    .filter(|s| !s.is_empty())
                    .unwrap_or(fstype),
            ),
            flags,
            data: c_string(options.data.as_str()),
            copy_up: options.tmpcopyup && fstype == "tmpfs",
        }),
    }
}

/// Options of a file system as keys and values.
pub fn key_values(options: &str) -> Vec<(CString, Option<CString>)> {
    options
        .split(',')
        .filter(|o| !o.is_empty())
        .map(key_value)
        .collect()
}

fn key_value(option: &str) -> (CString, Option<CString>) {
    match option.split_once('=') {
        Some((key, value)) => (c_string(key), Some(c_string(value))),
        None => (c_string(option), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_json(json: &str) -> Result<MountPlan, ConfigError> {
        let mount: Mount<'_> = serde_json::from_str(json).unwrap();
        plan_one(3, &mount, "/bundle")
    }

    #[test]
    fn a_bind_source_is_relative_to_the_bundle() {
        let m = plan_json(r#"{"destination":"/a","source":"x","options":["rbind","ro"]}"#).unwrap();
        assert_eq!(
            m.what,
            What::Bind {
                source: c"/bundle/x".to_owned(),
                recursive: true,
                attr: MountAttr {
                    set: libc::MOUNT_ATTR_RDONLY,
                    ..MountAttr::default()
                },
                recursive_attr: MountAttr::default(),
            }
        );
        assert_eq!(m.destination, c"a".to_owned());
    }

    #[test]
    fn what_lies_below_the_hosts_sys_is_as_read_only_as_it_is() {
        let recursive = |source: &str, options: &str| {
            let json =
                format!(r#"{{"destination":"/sys","source":"{source}","options":[{options}]}}"#);
            match plan_json(&json).unwrap().what {
                What::Bind { recursive_attr, .. } => recursive_attr.set,
                what => panic!("{what:?}"),
            }
        };
        let read_only = libc::MOUNT_ATTR_RDONLY;
        assert_eq!(recursive("/sys", r#""rbind","ro""#), read_only);
        assert_eq!(recursive("/sys", r#""rbind""#), 0);
        assert_eq!(recursive("/sys", r#""rbind","ro","rrw""#), 0);
        assert_eq!(recursive("/elsewhere", r#""rbind","ro""#), 0);
    }

    #[test]
    fn only_proc_on_proc_is_the_runtimes_own() {
        let m = plan_json(r#"{"destination":"/proc/","type":"proc"}"#).unwrap();
        assert!(matches!(m.what, What::Proc { .. }));
        let m = plan_json(r#"{"destination":"/x/proc","type":"proc"}"#).unwrap();
        assert!(matches!(m.what, What::Filesystem { .. }));
    }

    #[test]
    fn a_mount_without_type_or_bind_is_refused_with_its_pointer() {
        let e = plan_json(r#"{"destination":"/a","source":"x"}"#).unwrap_err();
        assert_eq!(e.pointer, "/mounts/3/type");
    }

    #[test]
    fn a_bind_with_file_system_options_is_refused() {
        let e = plan_json(r#"{"destination":"/a","source":"/x","options":["bind","size=1"]}"#);
        assert_eq!(e.unwrap_err().pointer, "/mounts/3/options");
    }

    #[test]
    fn a_mount_on_the_root_is_refused() {
        for destination in ["/", "/..", "//."] {
            let json = format!(r#"{{"destination":"{destination}","type":"tmpfs"}}"#);
            assert_eq!(
                plan_json(&json).unwrap_err().pointer,
                "/mounts/3/destination"
            );
        }
        let remount = r#"{"destination":"/","options":["remount","bind","ro"]}"#;
        assert!(plan_json(remount).is_ok());
    }

    #[test]
    fn a_bind_without_source_is_refused() {
        let e = plan_json(r#"{"destination":"/a","options":["bind"]}"#);
        assert_eq!(e.unwrap_err().pointer, "/mounts/3/source");
    }

    #[test]
    fn recursive_flags_reach_a_new_file_system() {
        let m = plan_json(r#"{"destination":"/a","type":"tmpfs","options":["rro"]}"#).unwrap();
        assert!(matches!(
            m.what,
            What::Filesystem {
                flags: libc::MS_RDONLY,
                ..
            }
        ));
    }
}
