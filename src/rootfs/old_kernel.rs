//! Flags and propagation of a mount where mount_setattr(2) cannot: before Linux 5.12, and `nosymfollow`
//! before 5.14.
//!
//! mount(2) does it, on the current directory, which is set by descriptor; on a file, and a directory that may not be
//! entered, by the descriptor's name in /proc, which is the host's until the pivot. Afterwards the mount itself is asked
//! whether it has the flags.
//!
//! mount(2) changes attached mounts only. So a detached one is attached to a place that nobody looks at (`/`, or
//! `/dev/null` for a file, of the init's namespace), changed there, and moved from there to its destination by the same
//! call that attaches detached ones. A read-only bind is writable for that moment, for nobody: the namespace has no process
//! but the init, whose program comes after the pivot, its mounts are no peers of others, and where peers are asked for
//! (`shared`), they get a copy of the mount with its flags. A mount namespace that is joined may have other processes;
//! nothing in it leads to what lies on its `/`.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};

use super::calls::attach;
use super::tree;
use crate::plan::options::attr_of_flags;
use crate::plan::path::c_string;
use crate::sys::fd::ShortLived;
use crate::sys::mount::{MountAttr, mount_at_name};
use crate::sys::{Errno, Result, io_errno};

/// Bits that only mount_setattr can change.
const NOT_BY_MOUNT: u64 = libc::MOUNT_ATTR_IDMAP;

/// Whether this process is the init in its mount namespace.
static NAMESPACE_IS_PRIVATE: AtomicBool = AtomicBool::new(false);

/// Says that mounts may be attached for a moment: this process is the init, in a namespace
/// whose mounts reach no other.
pub fn namespace_is_private() {
    NAMESPACE_IS_PRIVATE.store(true, Ordering::Relaxed);
}

/// Whether this answer of mount_setattr is an old kernel's.
pub fn is_old(errno: Errno, attr: &MountAttr) -> bool {
    let symlinks = (attr.set | attr.clear) & libc::MOUNT_ATTR_NOSYMFOLLOW != 0;
    errno == Errno::NOSYS || errno == Errno::INVAL && symlinks
}

/// What mount_setattr does, step by step.
///
/// # Errors
/// mount(2). `ENOSYS` for id-mapped mounts; `EBUSY` for a mount below that another one covers, which cannot be reached.
pub fn set_attr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<()> {
    // In the runtime's own namespace it would be the host's `/`.
    let private = NAMESPACE_IS_PRIVATE.load(Ordering::Relaxed);
    if !private || (attr.set | attr.clear) & NOT_BY_MOUNT != 0 {
        return Err(Errno::NOSYS);
    }
    tree::show()?;
    if attr.propagation != 0 {
        // mount(2) knows recursion of propagation itself.
        let recursive = if recursive { libc::MS_REC } else { 0 };
        change(mount, attr.propagation | recursive)?;
    }
    if attr.set | attr.clear == 0 {
        return Ok(());
    }
    set_flags(mount, attr)?;
    if recursive {
        for (id, path) in below(mount)? {
            let submount = open_below(mount, &path)?;
            if mount_id(submount.as_fd())? != id {
                return Err(Errno::BUSY);
            }
            set_flags(submount.as_fd(), attr)?;
        }
    }
    Ok(())
}

/// Replaces a mount's flags by those it has, without `clear`, with `set`.
fn set_flags(mount: BorrowedFd<'_>, attr: &MountAttr) -> Result<()> {
    let old = flags(mount)?;
    let new = attr_to_flags(old & !attr.clear | attr.set);
    change(mount, libc::MS_REMOUNT | libc::MS_BIND | new)?;
    // Whatever a name has led to, it is this mount that has to have them.
    if flags(mount)? & attr.set == attr.set {
        Ok(())
    } else {
        Err(Errno::BUSY)
    }
}

/// A mount's `MOUNT_ATTR_*` flags (statfs tells them in its own numbers).
fn flags(mount: BorrowedFd<'_>) -> Result<u64> {
    const ST_NOSYMFOLLOW: u64 = 8192;
    const ST_RELATIME: u64 = 4096;
    // Those below are the same numbers as MS_*.
    const SAME: u64 = libc::MS_RDONLY
        | libc::MS_NOSUID
        | libc::MS_NODEV
        | libc::MS_NOEXEC
        | libc::MS_NOATIME
        | libc::MS_NODIRATIME;
    let st = rustix::fs::fstatvfs(mount)?.f_flag.bits();
    let mut attr = attr_of_flags(st & SAME);
    if st & ST_NOSYMFOLLOW != 0 {
        attr |= libc::MOUNT_ATTR_NOSYMFOLLOW;
    }
    if st & (ST_RELATIME | libc::MS_NOATIME) == 0 {
        attr |= libc::MOUNT_ATTR_STRICTATIME;
    }
    Ok(attr)
}

/// `MS_*` flags that say all that the attributes say: mount(2) keeps the old access time words if it hears none.
fn attr_to_flags(attr: u64) -> u64 {
    const NOSYMFOLLOW: u64 = 256;
    const FLAGS: [u64; 8] = [
        libc::MS_RDONLY,
        libc::MS_NOSUID,
        libc::MS_NODEV,
        libc::MS_NOEXEC,
        libc::MS_NODIRATIME,
        libc::MS_NOATIME,
        libc::MS_STRICTATIME,
        NOSYMFOLLOW,
    ];
    let flags = FLAGS
        .into_iter()
        .filter(|&flag| attr & attr_of_flags(flag) != 0);
    let flags = flags.fold(0, |all, flag| all | flag);
    if attr & libc::MOUNT_ATTR__ATIME == 0 {
        flags | libc::MS_RELATIME
    } else {
        flags
    }
}

/// mount(2) with flags alone on the mount behind a descriptor; attached first if it has to be.
fn change(mount: BorrowedFd<'_>, flags: u64) -> Result<()> {
    let directory =
        FileType::from_raw_mode(rustix::fs::fstat(mount)?.st_mode) == FileType::Directory;
    let name = name(mount, directory)?;
    let change = || mount_at_name(c"none", c"none", &name, flags, c"");
    match change() {
        // What is not in this namespace, or in one of another user namespace.
        Err(Errno::INVAL | Errno::PERM) => {
            let place = if directory { c"/" } else { c"/dev/null" };
            let handle = OFlags::PATH | OFlags::CLOEXEC;
            let place = ShortLived::from(rustix::fs::openat(CWD, place, handle, Mode::empty())?);
            attach(mount, &place)?;
            change()
        }
        result => result,
    }
}

/// A name that leads mount(2) to what a descriptor stands for.
fn name(mount: BorrowedFd<'_>, directory: bool) -> Result<CString> {
    if directory {
        match rustix::process::fchdir(mount) {
            // Not to be entered without root's rights: debugfs below /sys.
            Err(Errno::ACCESS) => {}
            result => return result.map(|()| c".".to_owned()),
        }
    }
    Ok(c_string(format!("/proc/self/fd/{}", mount.as_raw_fd())))
}

fn mount_id(mount: BorrowedFd<'_>) -> Result<u64> {
    // STATX_MNT_ID: Linux 5.8.
    let stat = rustix::fs::statx(mount, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(stat.stx_mnt_id)
}

/// What lies below an attached mount at `path`. Names of mount points hold no links.
fn open_below(mount: BorrowedFd<'_>, path: &CStr) -> Result<ShortLived> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(mount, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result.map(ShortLived::from),
        }
    }
}

/// Identifiers and paths of all mounts below one that is attached, from mountinfo.
fn below(mount: BorrowedFd<'_>) -> Result<Vec<(u64, CString)>> {
    let text = std::fs::read("/proc/self/mountinfo").map_err(io_errno)?;
    submounts(&text, mount_id(mount)?).ok_or(Errno::BUSY)
}

/// The mounts of a mountinfo that lie below mount `top`, with their paths relative to it; `None` if one has no path.
fn submounts(mountinfo: &[u8], top: u64) -> Option<Vec<(u64, CString)>> {
    let lines = mountinfo.split(|&b| b == b'\n').filter_map(|line| {
        let mut fields = line.split(|&b| b == b' ');
        let mut number = || {
            std::str::from_utf8(fields.next()?)
                .ok()?
                .parse::<u64>()
                .ok()
        };
        let (id, parent) = (number()?, number()?);
        Some((id, parent, unescape(fields.nth(2)?)))
    });
    let lines: Vec<(u64, u64, Vec<u8>)> = lines.collect();
    let prefix = &lines.iter().find(|(id, _, _)| *id == top)?.2;
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    let mut found = vec![(top, CString::default())];
    let mut next = 0;
    while let Some((above, _)) = found.get(next) {
        let above = *above;
        next += 1;
        for (id, _, path) in lines.iter().filter(|(_, parent, _)| *parent == above) {
            let path = path.strip_prefix(prefix)?;
            let path = path.strip_prefix(b"/").unwrap_or(path);
            found.push((*id, CString::new(path).ok()?));
        }
    }
    found.remove(0);
    Some(found)
}

/// The four characters that mountinfo writes as octal numbers.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        let code = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        plain.push(code.unwrap_or(first));
        rest = if code.is_some() { &rest[4..] } else { tail };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] = b"20 1 8:1 / / rw - ext4 /dev/sda rw\n\
        31 30 0:5 / /stage/a\\040b rw - tmpfs t rw\n\
        30 20 0:4 / /stage rw - tmpfs t rw\n\
        40 20 0:6 / /stages rw - tmpfs t rw\n\
        32 31 0:7 / /stage/a\\040b/c rw - tmpfs t rw\n";

    #[test]
    fn submounts_are_found_in_any_order_and_only_below() {
        let found = submounts(MOUNTINFO, 30).unwrap();
        assert_eq!(found, [(31, c"a b".to_owned()), (32, c"a b/c".to_owned())]);
        let all: Vec<u64> = submounts(MOUNTINFO, 20)
            .unwrap()
            .iter()
            .map(|f| f.0)
            .collect();
        assert_eq!(all, [30, 40, 31, 32]);
        assert_eq!(submounts(MOUNTINFO, 32).unwrap(), []);
    }

    #[test]
    fn a_mount_that_is_not_there_is_noticed() {
        assert_eq!(submounts(MOUNTINFO, 99), None);
    }

    #[test]
    fn access_time_words_are_always_said() {
        assert_eq!(attr_to_flags(0), libc::MS_RELATIME);
        assert_eq!(attr_to_flags(libc::MOUNT_ATTR_NOATIME), libc::MS_NOATIME);
        let strict = libc::MOUNT_ATTR_STRICTATIME | libc::MOUNT_ATTR_RDONLY;
        assert_eq!(
            attr_to_flags(strict),
            libc::MS_STRICTATIME | libc::MS_RDONLY
        );
    }

    #[test]
    fn an_old_kernel_is_told_by_its_answer() {
        let plain = MountAttr {
            set: libc::MOUNT_ATTR_RDONLY,
            ..MountAttr::default()
        };
        let links = MountAttr {
            set: libc::MOUNT_ATTR_NOSYMFOLLOW,
            ..MountAttr::default()
        };
        assert!(is_old(Errno::NOSYS, &plain) && is_old(Errno::INVAL, &links));
        assert!(!is_old(Errno::INVAL, &plain) && !is_old(Errno::PERM, &links));
    }
}
