//! `tmpcopyup`: fills a new tmpfs with what the directory below it holds.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

use crate::sys::fd::write_all;
use crate::sys::{Errno, Result};

/// Copies all below `from` (a handle on a directory) into the directory `to`, with modes,
/// owners, links and device nodes. Links are copied, never followed. `to` itself gets the
/// mode and the owner of `from` as far as its options do not say otherwise.
///
/// # Errors
/// The first system call that fails.
pub fn copy(from: impl AsFd, to: impl AsFd, given: Given) -> Result<()> {
    let from = rustix::fs::openat(
        from,
        c".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    // A mount's descriptor cannot be changed through (O_PATH); its directory's can.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let to = rustix::fs::openat(to, c".", flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&from)?;
    let (uid, gid) = owner(&stat);
    let (uid, gid) = ((!given.uid).then_some(uid), (!given.gid).then_some(gid));
    if uid.is_some() || gid.is_some() {
        rustix::fs::fchown(&to, uid, gid)?;
    }
    if !given.mode {
        rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    }
    copy_entries(&from, &to)
}

/// What the options of the tmpfs say of its root.
#[derive(Clone, Copy)]
pub struct Given {
    /// `mode=` is there.
    pub mode: bool,
    /// `uid=` is there.
    pub uid: bool,
    /// `gid=` is there.
    pub gid: bool,
}

impl Given {
    /// What `options` of a tmpfs, joined by commas, say.
    pub fn in_options(options: &CStr) -> Given {
        let has = |key: &[u8]| {
            let mut options = options.to_bytes().split(|&b| b == b',');
            options.any(|option| option.strip_prefix(key).is_some())
        };
        Given {
            mode: has(b"mode="),
            uid: has(b"uid="),
            gid: has(b"gid="),
        }
    }
}

fn copy_entries(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from, to, name)?;
        }
    }
    Ok(())
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    let open = |dir: &OwnedFd, flags| {
        rustix::fs::openat(
            dir,
            name,
            flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, mode)?;
            let source = open(from, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let target = open(to, OFlags::RDONLY | OFlags::DIRECTORY)?;
            copy_entries(&source, &target)?;
            copy_meta(&target, &stat)
        }
        FileType::RegularFile => {
            // It may have become a fifo meanwhile: never wait for its writer.
            let source = open(from, OFlags::RDONLY | OFlags::NONBLOCK)?;
            let target = open(to, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
            copy_bytes(&source, &target)?;
            copy_meta(&target, &stat)
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target.as_c_str(), to, name)?;
            chown(to, name, &stat)
        }
        kind => {
            rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
            chown(to, name, &stat)
        }
    }
}

fn copy_bytes(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let mut buffer = [0u8; 16 * 1024];
    loop {
        let length = match rustix::io::read(from, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        write_all(to, &buffer[..length])?;
    }
}

fn chown(dir: &OwnedFd, name: &CStr, stat: &Stat) -> Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

fn copy_meta(to: impl AsFd, stat: &Stat) -> Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(&to, Some(uid), Some(gid))?;
    rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))
}

fn owner(stat: &Stat) -> (rustix::fs::Uid, rustix::fs::Gid) {
    (
        rustix::fs::Uid::from_raw(stat.st_uid),
        rustix::fs::Gid::from_raw(stat.st_gid),
    )
}
