//! `mounts`: from words to what the kernel takes.

use std::ffi::CString;

use super::idmap::{self, IdMap};
use super::namespaces::NamespacePlan;
use super::options::{self, Options};
use super::path::{c_string, clean};
use crate::config::ConfigError;
use crate::config::names::is_ignored_on_bind;
use crate::config::spec::{Linux, Mount};
use crate::sys::mount::MountAttr;

/// One mount, ready to be made.
#[derive(Debug, PartialEq, Eq)]
pub struct MountPlan {
    /// The destination below the root, without a leading slash; empty is the root itself.
    pub destination: CString,
    /// A link at the end of the destination is mounted on, not followed (`dest-nofollow`).
    pub on_link: bool,
    /// What is mounted.
    pub what: What,
    /// The mapping of the ids of its files.
    pub idmap: Option<IdMap>,
    /// Changes of propagation afterwards, in order (`MS_*`).
    pub propagation: Vec<u64>,
}

/// What is mounted.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// A new instance of a file system.
    Filesystem(Filesystem),
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
        /// What is done if the source is a link.
        link: SourceLink,
        /// Flags of the mount.
        attr: MountAttr,
        /// Flags of the mount and all below it.
        recursive_attr: MountAttr,
    },
    /// The cgroup file systems.
    Cgroup {
        /// `MS_*`.
        flags: u64,
        /// SELinux label of the tmpfs that holds the hierarchies of v1.
        label: Option<CString>,
    },
    /// New flags and options for a file system that is there.
    Remount {
        /// `MS_*`.
        flags: u64,
        /// Options of the file system.
        data: CString,
    },
    /// New flags for a mount that is there; those that are not named stay.
    RemountBind {
        /// Flags of the mount.
        attr: MountAttr,
        /// Flags of the mount and all below it.
        recursive_attr: MountAttr,
    },
}

/// A source that is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceLink {
    /// What it leads to is bound.
    Follow,
    /// The link itself is bound (`src-nofollow`).
    Bind,
    /// A link with the same text is made at the destination (`copy-symlink`).
    Copy,
}

/// A new instance of a file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filesystem {
    /// Its type.
    pub fstype: CString,
    /// Its source, as mountinfo will show it.
    pub source: CString,
    /// `MS_*`.
    pub flags: u64,
    /// Options of the file system.
    pub data: CString,
    /// SELinux label of all its files.
    pub label: Option<CString>,
    /// Fill the tmpfs with what the directory held.
    pub copy_up: bool,
    /// A tmpfs that has no mode given takes that of the directory that it covers.
    pub inherits_mode: bool,
}

/// Plans all of `mounts`. `bundle` is what relative bind sources are relative to.
///
/// # Errors
/// A mount that cannot be made as written.
pub fn plan(
    mounts: &[Mount<'_>],
    bundle: &str,
    linux: &Linux<'_>,
    namespaces: &NamespacePlan,
) -> Result<Vec<MountPlan>, ConfigError> {
    let label = label(linux)?;
    mounts
        .iter()
        .enumerate()
        .map(|(index, mount)| {
            let place = Place {
                index,
                mount,
                bundle,
                label,
            };
            let options = options::parse(mount.options.iter().map(|o| o.as_str()));
            let mut plan = place.plan(&options)?;
            let word = options.idmap.as_ref();
            plan.idmap = idmap::plan(index, mount, word, linux, namespaces)?;
            place.check_idmap(&plan)?;
            Ok(plan)
        })
        .collect()
}

/// `linux.mountLabel`, which has to fit between the quotes of a mount option.
fn label<'a>(linux: &'a Linux<'_>) -> Result<Option<&'a str>, ConfigError> {
    let label = linux.mount_label.as_deref().filter(|l| !l.is_empty());
    match label {
        Some(text) if text.contains(['"', '\\', '\n']) => Err(ConfigError::new(
            "/linux/mountLabel",
            format!("{text:?} is no SELinux label"),
        )),
        label => Ok(label),
    }
}

/// One of `mounts`, with what its plan depends on.
struct Place<'a> {
    index: usize,
    mount: &'a Mount<'a>,
    bundle: &'a str,
    label: Option<&'a str>,
}

impl Place<'_> {
    fn error(&self, member: &str, message: impl Into<String>) -> ConfigError {
        let index = self.index;
        ConfigError::new(format!("/mounts/{index}{member}"), message)
    }

    fn fstype(&self) -> &str {
        self.mount.fstype.as_deref().unwrap_or("")
    }

    fn plan(&self, options: &Options) -> Result<MountPlan, ConfigError> {
        let destination = clean(&self.mount.destination);
        let is_bind = options.bind.is_some() || self.fstype() == "bind";
        if destination.is_empty() && !options.remount {
            // It would lie over the root without being it: nothing inside would see it.
            return Err(self
                .error(
                    "/destination",
                    "a mount on / would hide the root file system",
                )
                .with_hint("/root says what the root is"));
        }
        self.check_words(options, is_bind)?;
        let what = match (options.remount, is_bind) {
            (true, true) => What::RemountBind {
                attr: options.attr,
                recursive_attr: options.recursive_attr,
            },
            (true, false) => What::Remount {
                flags: options.flags,
                data: c_string(options.data.as_str()),
            },
            (false, true) => self.bind(&destination, options)?,
            (false, false) => self.filesystem(&destination, options)?,
        };
        Ok(MountPlan {
            destination: c_string(destination),
            on_link: options.dest_nofollow,
            what,
            idmap: None,
            propagation: options.propagation.clone(),
        })
    }

    /// Words that say nothing about a mount of this kind would be a surprise left out.
    fn check_words(&self, options: &Options, is_bind: bool) -> Result<(), ConfigError> {
        let refused =
            |option: &&str| !option.is_empty() && (options.remount || !is_ignored_on_bind(option));
        if is_bind && let Some(option) = split(&options.data).find(refused) {
            return Err(self.error(
                "/options",
                format!("a bind mount takes no file system options, found \"{option}\""),
            ));
        }
        let new_bind = is_bind && !options.remount;
        let misplaced = [
            ("copy-symlink", options.copy_symlink && !new_bind),
            ("src-nofollow", options.src_nofollow && !new_bind),
        ];
        if let Some((word, _)) = misplaced.iter().find(|(_, there)| *there) {
            return Err(self.error("/options", format!("{word} is for bind mounts only")));
        }
        if options.copy_symlink && (options.src_nofollow || options.dest_nofollow) {
            return Err(self.error(
                "/options",
                "copy-symlink makes a link and no mount, so it excludes src-nofollow and \
                 dest-nofollow",
            ));
        }
        if options.tmpcopyup && (options.remount || self.fstype() != "tmpfs") {
            return Err(self.error("/options", "tmpcopyup is for a new tmpfs only"));
        }
        Ok(())
    }

    fn check_idmap(&self, plan: &MountPlan) -> Result<(), ConfigError> {
        let what = match (&plan.idmap, &plan.what) {
            (None, _) | (_, What::Filesystem(_)) => return Ok(()),
            (_, What::Bind { link, .. }) if *link != SourceLink::Copy => return Ok(()),
            (_, What::Bind { .. }) => "a copied link",
            (_, What::Proc { .. }) => "a procfs",
            (_, What::Cgroup { .. }) => "a cgroup mount",
            (_, What::Remount { .. } | What::RemountBind { .. }) => "a mount that is there already",
        };
        Err(self.error("", format!("{what} cannot be id-mapped")))
    }

    fn bind(&self, destination: &str, options: &Options) -> Result<What, ConfigError> {
        let source = self.mount.source.as_deref().unwrap_or("");
        if source.is_empty() {
            let destination = &self.mount.destination;
            return Err(self.error(
                "/source",
                format!("the bind mount on {destination} has no source"),
            ));
        }
        let source = if source.starts_with('/') {
            source.to_owned()
        } else {
            format!("{}/{source}", self.bundle)
        };
        let recursive = options.bind == Some(true);
        let mut recursive_attr = options.recursive_attr;
        if destination == "sys" && source == "/sys" && recursive {
            // The host's /sys has the cgroups below it, and other file systems that can be
            // written (CVE-2023-25809).
            let read_only = options.attr.set & libc::MOUNT_ATTR_RDONLY;
            recursive_attr.set |= read_only & !recursive_attr.clear;
        }
        Ok(What::Bind {
            source: c_string(source),
            recursive,
            link: match (options.copy_symlink, options.src_nofollow) {
                (true, _) => SourceLink::Copy,
                (_, true) => SourceLink::Bind,
                _ => SourceLink::Follow,
            },
            attr: options.attr,
            recursive_attr,
        })
    }

    /// Options of a procfs, and the source that mountinfo shows.
    fn proc_settings(&self, data: &str) -> Vec<(CString, Option<CString>)> {
        let source = self.mount.source.as_deref().filter(|s| !s.is_empty());
        let mut settings = key_values(data);
        settings.extend(source.map(|source| (c"source".to_owned(), Some(c_string(source)))));
        settings
    }

    fn filesystem(&self, destination: &str, options: &Options) -> Result<What, ConfigError> {
        let fstype = self.fstype();
        let flags = options.flags | options.recursive_flags;
        let label = || self.label.map(c_string);
        match fstype {
            "" => Err(self.error(
                "/type",
                format!(
                    "the mount on {} has neither a type nor the option bind",
                    self.mount.destination
                ),
            )),
            "cgroup" | "cgroup2" => Ok(What::Cgroup {
                flags,
                label: label(),
            }),
            "proc" if destination == "proc" => Ok(What::Proc {
                attr: options.attr.set | options.recursive_attr.set,
                data: self.proc_settings(&options.data),
            }),
            _ => {
                let has = |name: &str| {
                    let mut keys = options.data.split(',').map(key_of);
                    keys.any(|key| key == name)
                };
                // The kernel takes no label for procfs and sysfs.
                let labelled = !matches!(fstype, "proc" | "sysfs") && !has("context");
                let source = self.mount.source.as_deref().filter(|s| !s.is_empty());
                Ok(What::Filesystem(Filesystem {
                    fstype: c_string(fstype),
                    source: c_string(source.unwrap_or(fstype)),
                    flags,
                    data: c_string(options.data.as_str()),
                    label: if labelled { label() } else { None },
                    copy_up: options.tmpcopyup,
                    inherits_mode: fstype == "tmpfs" && !has("mode"),
                }))
            }
        }
    }
}

fn key_of(option: &str) -> &str {
    option.split_once('=').map_or(option, |(key, _)| key)
}

/// Options of a file system as keys and values, as mount(2) would read them.
pub fn key_values(options: &str) -> Vec<(CString, Option<CString>)> {
    split(options)
        .filter(|option| !key_of(option).is_empty())
        .map(key_value)
        .collect()
}

/// The options between the commas; an SELinux label has commas of its own, between quotes.
pub fn split(options: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    options.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

fn key_value(option: &str) -> (CString, Option<CString>) {
    match option.split_once('=') {
        Some((key @ ("context" | "fscontext" | "defcontext" | "rootcontext"), label)) => {
            (c_string(key), Some(c_string(label.replace('"', ""))))
        }
        Some((key, value)) => (c_string(key), Some(c_string(value))),
        None => (c_string(option), None),
    }
}

#[cfg(test)]
mod tests;
