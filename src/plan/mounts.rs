//! `mounts`: from words to what the kernel takes.

use std::ffi::CString;

use super::idmap::{self, IdMap};
use super::namespaces::NamespacePlan;
use super::options::{self, Options};
use super::path::{c_string, clean};
use crate::config::ConfigError;
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
        if is_bind && !options.data.is_empty() {
            return Err(self.error(
                "/options",
                format!(
                    "a bind mount takes no file system options, found \"{}\"",
                    options.data
                ),
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
                data: key_values(&options.data),
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
mod tests {
    use super::*;

    fn plan_with(linux: &str, json: &str) -> Result<MountPlan, ConfigError> {
        let linux: Linux<'_> = serde_json::from_str(linux).unwrap();
        let mount: Mount<'_> = serde_json::from_str(json).unwrap();
        let namespaces = crate::plan::namespaces::plan(&linux).unwrap();
        let before = Mount {
            fstype: Some("tmpfs".into()),
            destination: "/before".into(),
            ..Mount::default()
        };
        let mut plans = plan(&[before, mount], "/bundle", &linux, &namespaces)?;
        Ok(plans.pop().unwrap())
    }

    fn plan_json(json: &str) -> Result<MountPlan, ConfigError> {
        plan_with("{}", json)
    }

    fn filesystem(linux: &str, json: &str) -> Filesystem {
        match plan_with(linux, json).unwrap().what {
            What::Filesystem(filesystem) => filesystem,
            what => panic!("{what:?}"),
        }
    }

    #[test]
    fn options_are_read_as_mount_reads_them() {
        let read = |text: &str| -> Vec<String> {
            key_values(text)
                .iter()
                .map(|(key, value)| match value {
                    Some(value) => format!("{}>{}", key.to_string_lossy(), value.to_string_lossy()),
                    None => key.to_string_lossy().into_owned(),
                })
                .collect()
        };
        assert_eq!(
            read("size=1k,,huge,a=b=c,=d,e="),
            ["size>1k", "huge", "a>b=c", "e>"]
        );
        let label = r#"context="u:r:t:s0:c1,c2",size=1k"#;
        assert_eq!(read(label), ["context>u:r:t:s0:c1,c2", "size>1k"]);
    }

    #[test]
    fn a_bind_source_is_relative_to_the_bundle() {
        let m = plan_json(r#"{"destination":"/a","source":"x","options":["rbind","ro"]}"#).unwrap();
        assert_eq!(
            m.what,
            What::Bind {
                source: c"/bundle/x".to_owned(),
                recursive: true,
                link: SourceLink::Follow,
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
    fn only_proc_on_proc_is_the_runtimes_own() {
        let m = plan_json(r#"{"destination":"/proc/","type":"proc"}"#).unwrap();
        assert!(matches!(m.what, What::Proc { .. }));
        let m = plan_json(r#"{"destination":"/x/proc","type":"proc"}"#).unwrap();
        assert!(matches!(m.what, What::Filesystem(_)));
    }

    #[test]
    fn a_mount_without_type_or_bind_is_refused_with_its_pointer() {
        let e = plan_json(r#"{"destination":"/a","source":"x"}"#).unwrap_err();
        assert_eq!(e.pointer, "/mounts/1/type");
    }

    #[test]
    fn a_bind_with_file_system_options_is_refused() {
        let e = plan_json(r#"{"destination":"/a","source":"/x","options":["bind","size=1"]}"#);
        assert_eq!(e.unwrap_err().pointer, "/mounts/1/options");
    }

    #[test]
    fn a_mount_on_the_root_is_refused() {
        for destination in ["/", "/..", "//."] {
            let json = format!(r#"{{"destination":"{destination}","type":"tmpfs"}}"#);
            assert_eq!(
                plan_json(&json).unwrap_err().pointer,
                "/mounts/1/destination"
            );
        }
        let remount = r#"{"destination":"/","options":["remount","bind","ro"]}"#;
        assert!(plan_json(remount).is_ok());
    }

    #[test]
    fn a_bind_without_source_is_refused() {
        let e = plan_json(r#"{"destination":"/a","options":["bind"]}"#);
        assert_eq!(e.unwrap_err().pointer, "/mounts/1/source");
    }

    #[test]
    fn recursive_flags_reach_a_new_file_system() {
        let json = r#"{"destination":"/a","type":"tmpfs","options":["rro","rsync"]}"#;
        assert_eq!(
            filesystem("{}", json).flags,
            libc::MS_RDONLY | libc::MS_SYNCHRONOUS
        );
    }

    #[test]
    fn only_a_tmpfs_without_a_mode_inherits_one() {
        for (fstype, options, inherits) in [
            ("tmpfs", r#""size=1k""#, true),
            ("tmpfs", r#""mode=755""#, false),
            ("tmpfs", r#""size=1k","mode=0755""#, false),
            ("tmpfs", r#""moderate=1""#, true),
            ("mqueue", r#""ro""#, false),
        ] {
            let json = format!(r#"{{"destination":"/a","type":"{fstype}","options":[{options}]}}"#);
            assert_eq!(filesystem("{}", &json).inherits_mode, inherits, "{json}");
        }
    }

    #[test]
    fn the_label_goes_to_file_systems_that_take_one() {
        let linux = r#"{"mountLabel":"system_u:object_r:container_file_t:s0:c1,c2"}"#;
        let label = c"system_u:object_r:container_file_t:s0:c1,c2".to_owned();
        for (fstype, options, wanted) in [
            ("tmpfs", "ro", Some(&label)),
            ("devpts", "newinstance", Some(&label)),
            ("mqueue", "ro", Some(&label)),
            ("sysfs", "ro", None),
            ("tmpfs", "context=other", None),
            ("tmpfs", "rootcontext=other", Some(&label)),
        ] {
            let json =
                format!(r#"{{"destination":"/a","type":"{fstype}","options":["{options}"]}}"#);
            assert_eq!(filesystem(linux, &json).label.as_ref(), wanted, "{json}");
            assert_eq!(filesystem("{}", &json).label, None);
        }
        let json = r#"{"destination":"/c","type":"cgroup"}"#;
        assert!(matches!(
            plan_with(linux, json).unwrap().what,
            What::Cgroup { label: Some(_), .. }
        ));
    }

    #[test]
    fn a_label_that_would_leave_its_quotes_is_refused() {
        for label in [r#"a\"b"#, r"a\\b", r"a\nb"] {
            let linux = format!(r#"{{"mountLabel":"{label}"}}"#);
            let e = plan_with(&linux, r#"{"destination":"/a","type":"tmpfs"}"#);
            assert_eq!(e.unwrap_err().pointer, "/linux/mountLabel", "{label}");
        }
    }

    #[test]
    fn words_for_links_are_for_binds() {
        let of = |options: &str| {
            plan_json(&format!(
                r#"{{"destination":"/a","source":"/x","options":[{options}]}}"#
            ))
            .map(|plan| (plan.what, plan.on_link))
        };
        for (options, wanted, on_link) in [
            (r#""bind""#, SourceLink::Follow, false),
            (r#""bind","copy-symlink""#, SourceLink::Copy, false),
            (r#""bind","src-nofollow""#, SourceLink::Bind, false),
            (
                r#""bind","src-nofollow","dest-nofollow""#,
                SourceLink::Bind,
                true,
            ),
        ] {
            let (what, found) = of(options).unwrap();
            assert!(
                matches!(what, What::Bind { link, .. } if link == wanted),
                "{options}: {what:?}"
            );
            assert_eq!(found, on_link, "{options}");
        }
        for options in [
            r#""bind","copy-symlink","src-nofollow""#,
            r#""bind","copy-symlink","dest-nofollow""#,
            r#""bind","copy-symlink","idmap=uids=0-0-1;gids=0-0-1""#,
        ] {
            assert!(of(options).unwrap_err().pointer.starts_with("/mounts/1"));
        }
        for word in ["copy-symlink", "src-nofollow"] {
            let json = format!(r#"{{"destination":"/a","type":"tmpfs","options":["{word}"]}}"#);
            assert_eq!(plan_json(&json).unwrap_err().pointer, "/mounts/1/options");
        }
    }

    #[test]
    fn tmpcopyup_is_for_tmpfs() {
        let of = |fstype: &str| {
            plan_json(&format!(
                r#"{{"destination":"/a","type":"{fstype}","options":["tmpcopyup"]}}"#
            ))
        };
        assert!(of("tmpfs").is_ok());
        assert_eq!(of("mqueue").unwrap_err().pointer, "/mounts/1/options");
    }

    #[test]
    fn a_remount_of_a_bind_changes_what_is_named_alone() {
        let json = r#"{"destination":"/a","options":["remount","bind","ro","exec"]}"#;
        let What::RemountBind { attr, .. } = plan_json(json).unwrap().what else {
            panic!("no remount of a bind");
        };
        assert_eq!(attr.set, libc::MOUNT_ATTR_RDONLY);
        assert_eq!(attr.clear, libc::MOUNT_ATTR_NOEXEC);
        let json = r#"{"destination":"/a","options":["remount","ro","exec","size=1k"]}"#;
        assert_eq!(
            plan_json(json).unwrap().what,
            What::Remount {
                flags: libc::MS_RDONLY,
                data: c"size=1k".to_owned(),
            }
        );
    }

    #[test]
    fn what_has_no_ids_of_its_own_is_not_mapped() {
        let mapped = r#""uidMappings":[{"containerID":0,"hostID":0,"size":1}],
            "gidMappings":[{"containerID":0,"hostID":0,"size":1}]"#;
        for (mount, refused) in [
            (r#""destination":"/proc","type":"proc""#, true),
            (r#""destination":"/c","type":"cgroup""#, true),
            (r#""destination":"/a","options":["remount","ro"]"#, true),
            (r#""destination":"/a","type":"tmpfs""#, false),
            (
                r#""destination":"/a","source":"/x","options":["bind"]"#,
                false,
            ),
        ] {
            let found = plan_json(&format!("{{{mount},{mapped}}}"));
            match found {
                Ok(plan) => assert!(plan.idmap.is_some() && !refused, "{mount}"),
                Err(error) => assert!(error.pointer == "/mounts/1" && refused, "{mount}"),
            }
        }
    }
}
