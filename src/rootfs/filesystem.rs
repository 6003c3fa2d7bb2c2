//! New file systems, as detached mounts. mount(2) makes those alone that fsconfig(2) cannot be told of.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, XattrFlags};
use rustix::mount::UnmountFlags;

use super::calls::{attach, mount_on, open_tree};
use super::detached::{Setting, new_mount, new_mount_alone};
use super::tree;
use crate::plan::mounts::{Filesystem, key_values, split};
use crate::plan::options::{attr_of_flags, superblock_words};
use crate::plan::path::c_string;
use crate::sys::fd::ShortLived;
use crate::sys::mount::mount_at_name;
use crate::sys::{Errno, Result};

/// fsconfig(2) takes values of less than 256 bytes, mount(2) a page of them.
const VALUE_MAX: usize = 256;

/// Mounts what [`needs_mount`] on the directory that `target` stands for; `mode` is that of
/// its root, if it is a tmpfs without one of its own.
///
/// # Errors
/// move_mount(2), fchdir(2), mount(2).
pub fn mount(target: impl AsFd, fs: &Filesystem, mode: Option<u32>) -> Result<()> {
    // mount(2) mounts on nothing detached.
    tree::show()?;
    mount_on(&target, &fs.fstype, &fs.source, fs.flags, &data(fs, mode))
}

/// Options as mount(2) takes them. The label is quoted, because it may hold commas.
fn data(fs: &Filesystem, mode: Option<u32>) -> Cow<'_, CStr> {
    if mode.is_none() && fs.label.is_none() {
        return Cow::Borrowed(&fs.data);
    }
    let mut words = Vec::new();
    if let Some(mode) = mode {
        words.push(format!("mode={mode:o}").into_bytes());
    }
    if !fs.data.is_empty() {
        words.push(fs.data.to_bytes().to_vec());
    }
    if let Some(label) = &fs.label {
        words.push([b"context=\"", label.to_bytes(), b"\""].concat());
    }
    Cow::Owned(c_string(words.join(&b',')))
}

/// Who makes a file system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// The init, whose descriptors end with it.
    Init,
    /// The runtime, which may live on.
    Runtime,
}

/// Makes it as a detached mount; `writable` even if it is to be read-only, for a caller that
/// has to fill it first.
///
/// # Errors
/// fsopen(2), fsconfig(2), fsmount(2).
pub fn detached(
    fs: &Filesystem,
    mode: Option<u32>,
    writable: bool,
    maker: Maker,
) -> Result<OwnedFd> {
    match make(fs, mode, writable, fs.label.as_deref(), maker) {
        // Kernels before 4.15 or so, and policies without mqueue: its root alone is labelled.
        Err(Errno::INVAL) if labels_late(fs) => {
            let mount = make(fs, mode, writable, None, maker)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(&mount, c".", flags, Mode::empty())?;
            let label = fs
                .label
                .as_ref()
                .map_or(&b""[..], |l| l.to_bytes_with_nul());
            let name = c"security.selinux";
            rustix::fs::fsetxattr(&root, name, label, XattrFlags::empty())?;
            Ok(mount)
        }
        result => result,
    }
}

fn labels_late(fs: &Filesystem) -> bool {
    fs.label.is_some() && fs.fstype.as_c_str() == c"mqueue"
}

fn make(
    fs: &Filesystem,
    mode: Option<u32>,
    writable: bool,
    label: Option<&CStr>,
    maker: Maker,
) -> Result<OwnedFd> {
    let flags = if writable {
        fs.flags & !libc::MS_RDONLY
    } else {
        fs.flags
    };
    let mode = mode.map(|mode| c_string(format!("{mode:o}")));
    let own = key_values(&fs.data.to_string_lossy());
    let settings = std::iter::once((c"source", Some(fs.source.as_c_str())))
        .chain(subtype(&fs.fstype).map(|subtype| (c"subtype", Some(subtype))))
        .chain(superblock_words(flags).map(|word| (word, None)))
        .chain(mode.iter().map(|mode| (c"mode", Some(mode.as_c_str()))))
        .chain(own.iter().map(as_setting))
        .chain(label.map(|label| (c"context", Some(label))))
        .filter(|setting| !is_default(&fs.fstype, *setting));
    match maker {
        Maker::Init => new_mount(&fs.fstype, settings, attr_of_flags(flags)),
        Maker::Runtime => new_mount_alone(&fs.fstype, settings, attr_of_flags(flags)),
    }
}

fn as_setting((key, value): &(CString, Option<CString>)) -> Setting<'_> {
    (key.as_c_str(), value.as_deref())
}

/// `sshfs` of `fuse.sshfs`, which mount(2) takes from the type itself.
fn subtype(fstype: &CStr) -> Option<&CStr> {
    let bytes = fstype.to_bytes_with_nul();
    let dot = bytes.iter().position(|&b| b == b'.')?;
    CStr::from_bytes_with_nul(&bytes[dot + 1..]).ok()
}

/// What says what the kernel does anyway, and shows nowhere. (Each devpts is an instance of its own since Linux 4.7.)
fn is_default(fstype: &CStr, (key, value): Setting<'_>) -> bool {
    let value = value.map(CStr::to_bytes);
    match (fstype.to_bytes(), key.to_bytes(), value) {
        (b"devpts", b"newinstance", None) => true,
        (b"tmpfs", b"mode", Some(value)) => matches!(value, b"1777" | b"01777"),
        _ => false,
    }
}

/// Whether it has an option that only mount(2) can be told: a value that is too long for fsconfig(2), as the layers of an
/// overlay can be, or a comma that is escaped for overlay, which took its options in one piece before Linux 6.5.
pub fn needs_mount(fs: &Filesystem) -> bool {
    let data = fs.data.to_bytes();
    fs.source.count_bytes() >= VALUE_MAX
        || data.windows(2).any(|two| two == b"\\,")
        || data.len() >= VALUE_MAX
            && split(&fs.data.to_string_lossy()).any(|option| {
                let value = option.find('=').map_or(0, |at| at + 1);
                option.len() - value >= VALUE_MAX
            })
}

/// The same as [`detached`] by mount(2): in a tmpfs of our own on `target`, where nobody can
/// swap the name on which it is mounted, and from where its clone is taken.
///
/// # Errors
/// Any of the system calls.
pub fn staged(target: impl AsFd, fs: &Filesystem, mode: Option<u32>) -> Result<OwnedFd> {
    let stage = ShortLived::from(new_mount(c"tmpfs", std::iter::empty(), 0)?);
    // mount(2) mounts on nothing detached.
    tree::show()?;
    attach(&stage, target)?;
    rustix::process::fchdir(&stage)?;
    rustix::fs::mkdirat(CWD, c"m", Mode::RWXU)?;
    mount_at_name(&fs.fstype, &fs.source, c"m", fs.flags, &data(fs, mode))?;
    let mount = open_tree(c"m", false)?;
    rustix::mount::unmount(c"m", UnmountFlags::DETACH)?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tmpfs(data: &str, label: Option<&str>) -> Filesystem {
        Filesystem {
            fstype: c"tmpfs".to_owned(),
            source: c"tmpfs".to_owned(),
            data: c_string(data),
            label: label.map(c_string),
            ..Filesystem::default()
        }
    }

    #[test]
    fn mode_options_and_label_become_one_text() {
        let label = Some("u:r:t:s0:c1,c2");
        for (own, label, mode, wanted) in [
            ("", None, None, ""),
            ("size=1k", None, None, "size=1k"),
            ("", None, Some(0o1777), "mode=1777"),
            ("size=1k", None, Some(0o755), "mode=755,size=1k"),
            ("", label, None, "context=\"u:r:t:s0:c1,c2\""),
            (
                "size=1k",
                label,
                Some(0o700),
                "mode=700,size=1k,context=\"u:r:t:s0:c1,c2\"",
            ),
        ] {
            let fs = tmpfs(own, label);
            assert_eq!(data(&fs, mode).to_str().unwrap(), wanted);
        }
    }

    #[test]
    fn what_fsconfig_cannot_be_told_is_seen() {
        let long = "x".repeat(VALUE_MAX);
        let fits = "x".repeat(VALUE_MAX - 1);
        let needs = |data: &str| needs_mount(&tmpfs(data, None));
        assert!(needs(&format!("a,lowerdir={long},b")));
        assert!(!needs(&format!("a=1,lowerdir={fits},b={fits}")));
        assert!(needs(r"lowerdir=/a\,b") && !needs(r"lowerdir=/a\:b,c"));
    }

    #[test]
    fn defaults_are_not_said() {
        for (fstype, key, value, wanted) in [
            (c"devpts", c"newinstance", None, true),
            (c"tmpfs", c"mode", Some(c"1777"), true),
            (c"tmpfs", c"mode", Some(c"777"), false),
            (c"ramfs", c"mode", Some(c"1777"), false),
            (c"tmpfs", c"size", Some(c"1777"), false),
        ] {
            assert_eq!(
                is_default(fstype, (key, value)),
                wanted,
                "{fstype:?} {key:?}"
            );
        }
    }

    #[test]
    fn a_subtype_is_what_follows_the_dot() {
        assert_eq!(subtype(c"fuse.sshfs"), Some(c"sshfs"));
        assert_eq!(subtype(c"fuse"), None);
    }
}
