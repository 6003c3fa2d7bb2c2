//! Finding and making files below the container's root by descriptor.
//!
//! Before pivot_root the root file system is enemy land: another container may
//! share a volume and swap a directory for a link at any moment. So every name
//! goes through openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS) and whatever is
//! missing is made one component at a time below a descriptor
//! (SECURITY-RULES 1; CVE-2021-30465, CVE-2024-45310).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use crate::sys::fd::ShortLived;
use crate::sys::{Errno, Result};

/// Longest path that the kernel takes (PATH_MAX).
const PATH_MAX: usize = 4096;

/// Opens `path` below `root`. Links are followed inside the root only.
///
/// # Errors
/// openat2(2).
pub fn open(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    open_resolved(root, path, flags, ResolveFlags::empty())
}

fn open_resolved(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    more: ResolveFlags,
) -> Result<OwnedFd> {
    let path = if path.is_empty() { c"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // A rename or mount elsewhere made the walk uncertain: it is worth another try.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// A handle on what is at `path`, for mounting there.
///
/// # Errors
/// openat2(2).
pub fn handle(root: BorrowedFd<'_>, path: &CStr) -> Result<ShortLived> {
    open(root, path, OFlags::PATH).map(ShortLived::from)
}

/// The same without following any link: `ELOOP` if there is one.
///
/// # Errors
/// openat2(2).
pub fn handle_without_links(root: BorrowedFd<'_>, path: &CStr) -> Result<ShortLived> {
    open_resolved(root, path, OFlags::PATH, ResolveFlags::NO_SYMLINKS).map(ShortLived::from)
}

/// The same without following a link at the very end: a handle on the link itself.
///
/// # Errors
/// openat2(2).
pub fn handle_on_link(root: BorrowedFd<'_>, path: &CStr) -> Result<ShortLived> {
    open(root, path, OFlags::PATH | OFlags::NOFOLLOW).map(ShortLived::from)
}

/// The same, with no link on the way to it: `ELOOP` if there is one.
///
/// # Errors
/// openat2(2).
pub fn handle_on_link_without_links(root: BorrowedFd<'_>, path: &CStr) -> Result<ShortLived> {
    let bytes = path.to_bytes();
    let end = bytes.iter().rposition(|&b| b == b'/').unwrap_or(0);
    let mut buffer = [0u8; PATH_MAX];
    let parent = handle_without_links(root, path_in(&mut buffer, &bytes[..end])?)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&parent, last_of(path), flags, Mode::empty()).map(ShortLived::from)
}

/// A handle on a place to mount on. Links are followed, but not into a procfs: a mount
/// there would catch what the runtime or its masks are meant to reach (CVE-2019-16884,
/// CVE-2025-52881). What the configuration itself mounts below /proc was checked as text.
///
/// # Errors
/// openat2(2); `ELOOP` for a link into a procfs.
pub fn place(root: BorrowedFd<'_>, path: &CStr) -> Result<ShortLived> {
    match handle_without_links(root, path) {
        Err(Errno::LOOP) => {}
        result => return result,
    }
    let found = handle(root, path)?;
    if is_procfs(&found)? {
        return Err(Errno::LOOP);
    }
    Ok(found)
}

/// Opens a file of the runtime's own procfs for writing. The container's /proc may be the
/// same mount: nothing that was mounted in there meanwhile is entered (CVE-2025-52881).
///
/// # Errors
/// openat2(2); `EXDEV` if something is mounted on the way.
pub fn open_own(procfs: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(procfs, path, flags, Mode::empty(), resolve)
}

/// Whether a descriptor is of a procfs.
///
/// # Errors
/// fstatfs(2).
pub fn is_procfs(fd: impl AsFd) -> Result<bool> {
    Ok(rustix::fs::fstatfs(fd)?.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

/// The kind of thing to make where nothing is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// A directory (0755).
    Directory,
    /// An empty file (0644), for a bind mount.
    File,
}

/// As many links as the kernel follows in one path (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A [`place`] to mount on; what is missing is made, also behind links that lead to
/// nothing yet (`/etc/resolv.conf` of many images), inside the root.
///
/// # Errors
/// As [`place`], mkdirat(2), mknodat(2). `ENAMETOOLONG` for over-long paths.
pub fn place_or_make(root: BorrowedFd<'_>, path: &CStr, make: Make) -> Result<ShortLived> {
    match place(root, path) {
        Err(Errno::NOENT) => make_place(root, path, make),
        result => result,
    }
}

/// The same for a path that was not there a moment ago.
///
/// # Errors
/// As [`place_or_make`].
pub fn make_place(root: BorrowedFd<'_>, path: &CStr, make: Make) -> Result<ShortLived> {
    let mut path = path.to_bytes().to_vec();
    for _ in 0..MAX_LINKS {
        match make_missing(root, &path, make, ResolveFlags::empty())? {
            Made::Handle(handle) => return Ok(handle),
            Made::Behind(next) => path = next,
        }
        let mut buffer = [0u8; PATH_MAX];
        match place(root, path_in(&mut buffer, &path)?) {
            Err(Errno::NOENT) => {}
            result => return result,
        }
    }
    Err(Errno::LOOP)
}

/// The same with no link on the way: `ELOOP` if there is one.
///
/// # Errors
/// As [`place_or_make`].
pub fn make_place_without_links(
    root: BorrowedFd<'_>,
    path: &CStr,
    make: Make,
) -> Result<ShortLived> {
    match make_missing(root, path.to_bytes(), make, ResolveFlags::NO_SYMLINKS)? {
        Made::Handle(handle) => Ok(handle),
        Made::Behind(_) => Err(Errno::LOOP),
    }
}

/// A handle on what is at `path`, wherever its links lead inside the root; what is missing
/// is made.
///
/// # Errors
/// openat2(2), or as [`place_or_make`].
pub fn handle_or_make(root: BorrowedFd<'_>, path: &CStr, make: Make) -> Result<ShortLived> {
    match handle(root, path) {
        Err(Errno::NOENT) => place_or_make(root, path, make),
        result => result,
    }
}

/// What an attempt to make a path led to.
enum Made {
    /// It is there now.
    Handle(ShortLived),
    /// A part of it is a link: the path with the link's text in its place.
    Behind(Vec<u8>),
}

/// Makes the missing part of `path`, one component at a time, up to the first link.
fn make_missing(root: BorrowedFd<'_>, path: &[u8], make: Make, more: ResolveFlags) -> Result<Made> {
    let (mut parent, mut rest) = deepest_existing(root, path, more)?;
    loop {
        let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
        let last = end == rest.len();
        let mut buffer = [0u8; 256];
        let name = name_in(&mut buffer, &rest[..end])?;
        if name == c".." {
            // From a link's text: below what is not there, so it leads nowhere.
            return Err(Errno::NOENT);
        }
        let file = last && make == Make::File;
        let made = if file {
            let mode = Mode::from_raw_mode(0o644);
            rustix::fs::mknodat(&parent, name, FileType::RegularFile, mode, 0)
        } else {
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
        };
        match made {
            Err(Errno::EXIST) => {
                if let Ok(text) = rustix::fs::readlinkat(&parent, name, Vec::new()) {
                    let start = path.len() - rest.len();
                    let behind = behind_link(&path[..start], text.to_bytes(), &rest[end..]);
                    return Ok(Made::Behind(behind));
                }
            }
            result => result?,
        }
        // Made by us or by someone else a moment ago: never through a link.
        let kind = if file {
            OFlags::empty()
        } else {
            OFlags::DIRECTORY
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
        parent = rustix::fs::openat(&parent, name, flags, Mode::empty())?.into();
        if last {
            return Ok(Made::Handle(if file {
                refuse_link(parent)?
            } else {
                parent
            }));
        }
        rest = &rest[end + 1..];
    }
}

/// A path in which `text` takes the place of the link between `before` and `after`.
fn behind_link(before: &[u8], text: &[u8], after: &[u8]) -> Vec<u8> {
    let before = if text.starts_with(b"/") { b"" } else { before };
    let parts = [before, text, after];
    let parts = parts.iter().flat_map(|part| part.split(|&b| b == b'/'));
    let parts: Vec<&[u8]> = parts.filter(|p| !p.is_empty() && *p != b".").collect();
    parts.join(&b'/')
}

/// The directory that holds `path`; it is made if it is missing.
///
/// # Errors
/// As [`place_or_make`].
pub fn parent_of(root: BorrowedFd<'_>, path: &CStr) -> Result<ShortLived> {
    let bytes = path.to_bytes();
    let end = bytes.iter().rposition(|&b| b == b'/').unwrap_or(0);
    let mut buffer = [0u8; PATH_MAX];
    place_or_make(root, path_in(&mut buffer, &bytes[..end])?, Make::Directory)
}

/// The last name of `path`.
pub fn last_of(path: &CStr) -> &CStr {
    let bytes = path.to_bytes_with_nul();
    let start = bytes
        .iter()
        .rposition(|&b| b == b'/')
        .map_or(0, |at| at + 1);
    CStr::from_bytes_with_nul(&bytes[start..]).unwrap_or(path)
}

/// The longest part of `path` that exists, and the rest.
fn deepest_existing<'p>(
    root: BorrowedFd<'_>,
    path: &'p [u8],
    more: ResolveFlags,
) -> Result<(ShortLived, &'p [u8])> {
    let mut buffer = [0u8; PATH_MAX];
    let mut end = path.len();
    while let Some(slash) = path[..end].iter().rposition(|&b| b == b'/') {
        let prefix = path_in(&mut buffer, &path[..slash])?;
        match open_resolved(root, prefix, OFlags::PATH | OFlags::DIRECTORY, more) {
            Ok(dir) => return Ok((dir.into(), &path[slash + 1..])),
            Err(Errno::NOENT) => end = slash,
            Err(errno) => return Err(errno),
        }
    }
    let top = open(root, c".", OFlags::PATH | OFlags::DIRECTORY)?;
    Ok((top.into(), path))
}

fn refuse_link(fd: ShortLived) -> Result<ShortLived> {
    if FileType::from_raw_mode(rustix::fs::fstat(fd.as_fd())?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    Ok(fd)
}

/// A C string in a buffer on the stack.
fn path_in<'b>(buffer: &'b mut [u8], path: &[u8]) -> Result<&'b CStr> {
    if path.len() >= buffer.len() {
        return Err(Errno::NAMETOOLONG);
    }
    buffer[..path.len()].copy_from_slice(path);
    buffer[path.len()] = 0;
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::INVAL)
}

fn name_in<'b>(buffer: &'b mut [u8; 256], name: &[u8]) -> Result<&'b CStr> {
    path_in(buffer, name)
}

#[cfg(test)]
mod tests {
    use super::behind_link;

    #[test]
    fn a_links_text_takes_the_links_place() {
        let behind = |before: &str, text: &str, after: &str| {
            String::from_utf8(behind_link(
                before.as_bytes(),
                text.as_bytes(),
                after.as_bytes(),
            ))
            .unwrap()
        };
        assert_eq!(behind("etc/", "../run/x", ""), "etc/../run/x");
        assert_eq!(behind("etc/", "/run//x/", "/y"), "run/x/y");
        assert_eq!(behind("", "./a", "/b/c"), "a/b/c");
    }
}
