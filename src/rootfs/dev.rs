//! /dev of the container: nodes and links.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};

use super::calls::{attach, open_tree};
use super::mounts::own_directory;
use super::resolve::{self, Make};
use crate::plan::devices::{DevicePlan, LINKS};
use crate::sys::fd::ShortLived;
use crate::sys::stub::{At, Failure, Stage};
use crate::sys::{Errno, Result};

/// Makes the device nodes and the links. With `bind` (in a user namespace, where
/// mknod is not allowed) the host's nodes are bound instead, and so they are where
/// it turns out not to be allowed; says whether it did. `own` is the runtime's own tmpfs on
/// /dev, if it is one.
///
/// # Errors
/// The first that fails, by index.
pub fn make(
    root: BorrowedFd<'_>,
    own: Option<BorrowedFd<'_>>,
    devices: &[DevicePlan],
    mut bind: bool,
) -> std::result::Result<bool, Failure> {
    let mut directory = Directory {
        own,
        ..Directory::default()
    };
    for (index, device) in devices.iter().enumerate() {
        if !bind {
            match make_node(root, device, &mut directory) {
                // A container in a container, or a device cgroup that forbids it.
                Err(Errno::PERM) => bind = true,
                result => {
                    result.at_index(Stage::Device, index)?;
                    continue;
                }
            }
        }
        bind_node(root, device).at_index(Stage::Device, index)?;
    }
    // Any name in it will do to say which directory is meant.
    let dev = directory.open(root, b"dev/", c"dev/fd").at(Stage::Dev)?;
    for (index, (name, target)) in LINKS.iter().enumerate() {
        match rustix::fs::symlinkat(*target, dev, *name) {
            // An image's own /dev: what is there stays, but for ptmx, which has
            // to be the one of the container's devpts.
            Err(Errno::EXIST) if *name == c"ptmx" => {
                replace_by_link(dev, name, target).at_index(Stage::DevLink, index)?;
            }
            Err(Errno::EXIST) => {}
            result => result.at_index(Stage::DevLink, index)?,
        }
    }
    // As the host has it (runc and crun do the same).
    if rustix::fs::access(c"/proc/kcore", rustix::fs::Access::EXISTS).is_ok() {
        match rustix::fs::symlinkat(c"/proc/kcore", dev, c"core") {
            Err(Errno::EXIST) => {}
            result => result.at_index(Stage::DevLink, LINKS.len())?,
        }
    }
    Ok(bind)
}

fn replace_by_link(dev: BorrowedFd<'_>, name: &CStr, target: &CStr) -> Result<()> {
    let stat = rustix::fs::statat(dev, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); 64];
        let (found, _) = rustix::fs::readlinkat_raw(dev, name, &mut buffer)?;
        if found == target.to_bytes() {
            return Ok(());
        }
    }
    rustix::fs::unlinkat(dev, name, AtFlags::empty())?;
    rustix::fs::symlinkat(target, dev, name)
}

/// Makes one node; what is there already has to be the same device
/// (SECURITY-RULES 3: never trusted by name).
fn make_node<'d>(
    root: BorrowedFd<'_>,
    device: &'d DevicePlan,
    directory: &mut Directory<'_, 'd>,
) -> Result<()> {
    let (path, name) = split(&device.path).ok_or(Errno::INVAL)?;
    let parent = directory.open(root, path, &device.path)?;
    let kind = FileType::from_raw_mode(device.mode);
    let mode = Mode::from_raw_mode(device.mode & 0o7777);
    match rustix::fs::mknodat(parent, name, kind, mode, device.rdev) {
        Err(Errno::EXIST) => return check_node(parent, name, device),
        result => result?,
    }
    if device.uid != 0 || device.gid != 0 {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        rustix::fs::chownat(
            parent,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    Ok(())
}

/// The directory of the node before: most nodes share one.
#[derive(Default)]
struct Directory<'o, 'd> {
    own: Option<BorrowedFd<'o>>,
    path: &'d [u8],
    handle: Option<ShortLived>,
}

impl<'d> Directory<'_, 'd> {
    fn open(
        &mut self,
        root: BorrowedFd<'_>,
        path: &'d [u8],
        node: &CStr,
    ) -> Result<BorrowedFd<'_>> {
        if let (b"dev/", Some(own)) = (path, self.own) {
            return Ok(own);
        }
        if self.handle.is_none() || self.path != path {
            self.handle = Some(match path {
                b"dev/" => own_directory(root, c"dev")?,
                _ => resolve::parent_of(root, node)?,
            });
            self.path = path;
        }
        // Filled above.
        self.handle.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }
}

/// The directory's part of a path and the name in it.
fn split(path: &CStr) -> Option<(&[u8], &CStr)> {
    let bytes = path.to_bytes_with_nul();
    let at = bytes
        .iter()
        .rposition(|&b| b == b'/')
        .map_or(0, |slash| slash + 1);
    let name = CStr::from_bytes_with_nul(&bytes[at..]).ok()?;
    (!name.is_empty()).then_some((&bytes[..at], name))
}

fn check_node(parent: BorrowedFd<'_>, name: &CStr, device: &DevicePlan) -> Result<()> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let same_kind = FileType::from_raw_mode(stat.st_mode) == FileType::from_raw_mode(device.mode);
    if same_kind && stat.st_rdev == device.rdev {
        Ok(())
    } else {
        Err(Errno::EXIST)
    }
}

fn bind_node(root: BorrowedFd<'_>, device: &DevicePlan) -> Result<()> {
    let tree = ShortLived::from(open_tree(&device.host_path, false)?);
    let stat = rustix::fs::fstat(&tree)?;
    let same_kind = FileType::from_raw_mode(stat.st_mode) == FileType::from_raw_mode(device.mode);
    if !same_kind || stat.st_rdev != device.rdev {
        return Err(Errno::NODEV);
    }
    let target = resolve::place_or_make(root, &device.path, Make::File)?;
    attach(&tree, &target)
}

/// Makes sure that what is open is this character device.
///
/// # Errors
/// fstat(2); `ENODEV` if it is another thing.
pub fn verify(fd: impl AsFd, rdev: u64) -> Result<()> {
    let stat = rustix::fs::fstat(fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != rdev {
        return Err(Errno::NODEV);
    }
    Ok(())
}
