//! Mounts of a container that are the host's: CRIU does not write them into a checkpoint,
//! it only gives them a name there, and has to be told at restore what the name stands for.
//!
//! Names are the kind and the place in config.json, never a path: what an image or a
//! checkpoint could influence is not part of them (CVE-2026-119101, CVE-2026-115520). Where
//! such a mount is inside, the kernel is asked, by descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, StatxAttributes, StatxFlags};

use crate::plan::mounts::{SourceLink, What};
use crate::plan::options::attr_of_flags;
use crate::plan::path::c_string;
use crate::plan::{CgroupMounts, Plan};
use crate::rootfs::resolve;
use crate::sys::mount::MountAttr;
use crate::sys::{Errno, Result, errno_text};

/// A mount that may be the host's.
#[derive(Debug)]
pub struct External {
    /// Its name in a checkpoint.
    pub name: String,
    /// Where it is, below the root.
    pub destination: CString,
    /// What it shows.
    pub source: Source,
}

/// What is bound.
#[derive(Debug)]
pub enum Source {
    /// What `mounts` says at this place.
    Mount(usize),
    /// Something of the host's, with these flags.
    Path(CString, MountAttr),
    /// The host's device with this number.
    Device(CString, u64),
}

/// All mounts of a container that may be the host's.
pub fn externals(plan: &Plan, cgroup: &CgroupMounts) -> Vec<External> {
    let mut found = Vec::new();
    let mut add = |name: String, destination: &CStr, source| {
        found.push(External {
            name,
            destination: destination.to_owned(),
            source,
        });
    };
    for (index, mount) in plan.mounts.iter().enumerate() {
        let destination = mount.destination.as_c_str();
        match &mount.what {
            What::Bind { link, .. } if *link != SourceLink::Copy => {
                add(
                    format!("corten-mount-{index}"),
                    destination,
                    Source::Mount(index),
                );
            }
            What::Cgroup { flags, .. } => {
                for (at, (name, path, more)) in cgroup_binds(cgroup).into_iter().enumerate() {
                    let attr = MountAttr {
                        set: attr_of_flags(flags | more),
                        ..MountAttr::default()
                    };
                    let destination = beneath(destination, name);
                    let source = Source::Path(path.to_owned(), attr);
                    add(format!("corten-cgroup-{index}-{at}"), &destination, source);
                }
            }
            _ => {}
        }
    }
    for (index, device) in plan.devices.iter().enumerate() {
        let source = Source::Device(device.host_path.clone(), device.rdev);
        add(format!("corten-device-{index}"), &device.path, source);
    }
    for (index, path) in plan.masked_paths.iter().enumerate() {
        let source = Source::Device(c"/dev/null".to_owned(), libc::makedev(1, 3));
        add(format!("corten-mask-{index}"), path, source);
    }
    found
}

/// What of the host's cgroup tree is bound: the name beneath the mount, the path on the
/// host, and `MS_*` that are added.
fn cgroup_binds(cgroup: &CgroupMounts) -> Vec<(&CStr, &CStr, u64)> {
    match cgroup {
        // Mounted or bound, it shows the same.
        CgroupMounts::Unified {
            bind: Some(path),
            whole,
        } => {
            let more = if *whole { libc::MS_RDONLY } else { 0 };
            vec![(c"", path, more)]
        }
        CgroupMounts::V1(hierarchies) => hierarchies
            .iter()
            .filter_map(|h| Some((h.name.as_c_str(), h.directory.as_deref()?, 0)))
            .collect(),
        CgroupMounts::Unified { bind: None, .. } | CgroupMounts::Hidden => Vec::new(),
    }
}

fn beneath(directory: &CStr, name: &CStr) -> CString {
    let (directory, name) = (directory.to_string_lossy(), name.to_string_lossy());
    match name.is_empty() {
        true => c_string(directory.into_owned()),
        false => c_string(format!("{directory}/{name}")),
    }
}

/// A line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountLine {
    /// Its number.
    pub id: u64,
    /// The file system's device number, `8:1`.
    pub device: String,
    /// What of the file system it shows.
    pub root: Vec<u8>,
    /// Where it is, from the process's root.
    pub point: Vec<u8>,
    /// Whether the mount itself is read-only.
    pub readonly: bool,
    /// The type of the file system.
    pub fstype: String,
}

/// Reads mountinfo; what cannot be understood is left out.
pub fn parse(text: &[u8]) -> Vec<MountLine> {
    text.split(|&b| b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountLine> {
    let mut fields = line.split(|&b| b == b' ');
    let mut text = || fields.next();
    let plain = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let id = plain(text()?).parse().ok()?;
    text()?;
    let device = plain(text()?);
    let root = unescape(text()?);
    let point = unescape(text()?);
    let readonly = text()?.split(|&b| b == b',').any(|word| word == b"ro");
    fields.find(|field| *field == b"-")?;
    Some(MountLine {
        id,
        device,
        root,
        point,
        readonly,
        fstype: plain(fields.next()?),
    })
}

/// `\040` is a space.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = |tail: &[u8]| {
            let digits = std::str::from_utf8(tail.get(..3)?).ok()?;
            u8::from_str_radix(digits, 8).ok()
        };
        match (byte, digits(tail)) {
            (b'\\', Some(escaped)) => {
                text.push(escaped);
                rest = &tail[3..];
            }
            _ => {
                text.push(byte);
                rest = tail;
            }
        }
    }
    text
}

/// The mount whose very root is at `path` below `root`: its number, if there is one. With
/// a device's number: if it is that device.
///
/// # Errors
/// openat2(2), statx(2), but for a path that is not there.
pub fn at(root: BorrowedFd<'_>, path: &CStr, rdev: Option<u64>) -> Result<Option<u64>> {
    let handle = match resolve::handle(root, path) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        result => result?,
    };
    let stat = rustix::fs::statx(
        handle.as_fd(),
        c"",
        AtFlags::EMPTY_PATH,
        StatxFlags::from_bits_retain(MNT_ID),
    )?;
    let is_root = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    let found = rustix::fs::fstat(handle.as_fd())?;
    let is_device = FileType::from_raw_mode(found.st_mode).is_char_device()
        || FileType::from_raw_mode(found.st_mode).is_block_device();
    let fits = rdev.is_none_or(|rdev| is_device && found.st_rdev == rdev);
    Ok((is_root && fits).then_some(stat.stx_mnt_id))
}

/// STATX_MNT_ID of linux/stat.h (Linux 5.8).
const MNT_ID: u32 = 0x1000;

/// Tells CRIU the name of each mount that is the host's (`mnt[PATH]:NAME`).
///
/// # Errors
/// A place that CRIU would misunderstand, or one that cannot be inspected.
pub fn names(
    root: BorrowedFd<'_>,
    mountinfo: &[MountLine],
    externals: &[External],
) -> std::result::Result<Vec<Vec<u8>>, String> {
    let mut named = Vec::new();
    let mut texts = Vec::new();
    for external in externals {
        let destination = external.destination.to_string_lossy();
        let rdev = match external.source {
            Source::Device(_, rdev) => Some(rdev),
            Source::Mount(_) | Source::Path(..) => None,
        };
        let id = at(root, &external.destination, rdev).map_err(|errno| {
            let why = errno_text(errno.raw_os_error());
            format!("cannot inspect /{destination} in the container: {why}")
        })?;
        let Some(line) = mountinfo.iter().find(|line| Some(line.id) == id) else {
            // Unmounted meanwhile, or none of the host's (a node in place of a bind).
            continue;
        };
        if named.contains(&line.id) || line.point == b"/" {
            continue;
        }
        named.push(line.id);
        let ambiguous = line.point.windows(2).any(|pair| pair == b"]:")
            || line.point.iter().any(u8::is_ascii_control);
        if ambiguous {
            return Err(format!(
                "cannot checkpoint a mount at {:?}: CRIU would misunderstand its name",
                String::from_utf8_lossy(&line.point)
            ));
        }
        texts.push([b"mnt[", &line.point[..], b"]:", external.name.as_bytes()].concat());
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_understood() {
        let text = b"36 35 98:0 /mnt1 /mnt\\0402/a\\134b rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
            37 35 0:5 /null /proc/kcore ro,nosuid - devtmpfs none rw\nbroken\n";
        let lines = parse(text);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].point, b"/mnt 2/a\\b");
        assert_eq!((lines[0].id, lines[0].readonly), (36, false));
        assert_eq!(lines[0].fstype, "ext3");
        assert!(lines[1].readonly);
        assert_eq!(lines[1].device, "0:5");
        assert_eq!(lines[1].root, b"/null");
    }

    #[test]
    fn a_backslash_without_digits_stays() {
        assert_eq!(unescape(b"a\\9\\"), b"a\\9\\");
        assert_eq!(unescape(b"\\1777"), b"\x7f7");
    }
}
