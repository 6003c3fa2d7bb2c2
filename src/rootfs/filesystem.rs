//! New file systems: by mount(2) in one call where nothing else is to be done, as detached
//! mounts where something is done to the mount before or after it is attached.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, XattrFlags};
use rustix::mount::UnmountFlags;

use super::detached::{Setting, configure, new_mount};
use super::mounts::{attach, mount_on, open_tree};
use crate::plan::mounts::{Filesystem, key_values};
use crate::plan::options::{attr_of_flags, superblock_words};
use crate::plan::path::c_string;
use crate::sys::mount::mount_at_name;
use crate::sys::{Errno, Result};

/// fsconfig(2) takes values of less than 256 bytes, mount(2) a page of them.
const VALUE_MAX: usize = 256;

/// Mounts it on the directory that `target` stands for; `mode` is that of its root, if it is
/// a tmpfs without one of its own.
///
/// # Errors
/// fchdir(2), mount(2).
pub fn mount(target: impl AsFd, fs: &Filesystem, mode: Option<u32>) -> Result<()> {
    let data = data(fs, mode);
    match mount_on(&target, &fs.fstype, &fs.source, fs.flags, &data) {
        Err(Errno::INVAL) if labels_late(fs) => attach(detached(fs, mode, false)?, target),
        result => result,
    }
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

/// Makes it as a detached mount; `writable` even if it is to be read-only, for a caller that
/// has to fill it first.
///
/// # Errors
/// fsopen(2), fsconfig(2), fsmount(2).
pub fn detached(fs: &Filesystem, mode: Option<u32>, writable: bool) -> Result<OwnedFd> {
    match make(fs, mode, writable, fs.label.as_deref()) {
        // Kernels before 4.15 or so, and policies without mqueue: its root alone is labelled.
        Err(Errno::INVAL) if labels_late(fs) => {
            let mount = make(fs, mode, writable, None)?;
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
) -> Result<OwnedFd> {
    let flags = if writable {
        fs.flags & !libc::MS_RDONLY
    } else {
        fs.flags
    };
    let mode = mode.map(|mode| c_string(format!("{mode:o}")));
    let own = key_values(&fs.data.to_string_lossy());
    let settings = std::iter::once((c"source", Some(fs.source.as_c_str())))
        .chain(superblock_words(flags).map(|word| (word, None)))
        .chain(mode.iter().map(|mode| (c"mode", Some(mode.as_c_str()))))
        .chain(own.iter().map(as_setting))
        .chain(label.map(|label| (c"context", Some(label))));
    configure(&fs.fstype, settings, attr_of_flags(flags))
}

fn as_setting((key, value): &(CString, Option<CString>)) -> Setting<'_> {
    (key.as_c_str(), value.as_deref())
}

/// Whether it has a value that fsconfig(2) does not take: the layers of an overlay.
pub fn has_long_value(fs: &Filesystem) -> bool {
    let data = fs.data.to_bytes();
    fs.source.count_bytes() >= VALUE_MAX
        || data.len() >= VALUE_MAX
            && data.split(|&b| b == b',').any(|option| {
                let value = option
                    .iter()
                    .position(|&b| b == b'=')
                    .map_or(0, |at| at + 1);
                option.len() - value >= VALUE_MAX
            })
}

/// The same as [`detached`] by mount(2): in a tmpfs of our own on `target`, where nobody can
/// swap the name on which it is mounted, and from where its clone is taken.
///
/// # Errors
/// Any of the system calls.
pub fn staged(target: impl AsFd, fs: &Filesystem, mode: Option<u32>) -> Result<OwnedFd> {
    let stage = new_mount(c"tmpfs", std::iter::empty(), 0)?;
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
    fn long_values_are_seen() {
        let long = "x".repeat(VALUE_MAX);
        let fits = "x".repeat(VALUE_MAX - 1);
        assert!(has_long_value(&tmpfs(
            &format!("a,lowerdir={long},b"),
            None
        )));
        assert!(!has_long_value(&tmpfs(
            &format!("a=1,lowerdir={fits},b={fits}"),
            None
        )));
    }
}
