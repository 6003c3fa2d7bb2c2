//! Read-only and masked paths.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FileType;

use super::calls::{READ_ONLY, attach, clone_tree, open_source, open_tree_in, set_attr};
use super::detached::new_mount;
use super::dev::verify;
use super::resolve::{self, last_of};
use super::tree;
use crate::plan::mounts::SourceLink;
use crate::sys::fd::ShortLived;
use crate::sys::stub::{At, Failure, Stage};
use crate::sys::{Errno, Result};

/// A path that is not there needs neither mask nor protection.
fn existing<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A name in the procfs that is on the container's /proc: the kernel's own names, so they are
/// not looked up from the root. A name alone leads nowhere else; the links among them are left to
/// the usual way.
fn in_proc<'p>(
    procfs: Option<BorrowedFd<'p>>,
    path: &'p CStr,
) -> Option<(BorrowedFd<'p>, &'p CStr)> {
    let name = last_of(path);
    let is_link = matches!(
        name.to_bytes(),
        b"self" | b"thread-self" | b"mounts" | b"net"
    );
    let parent = path.to_bytes().strip_suffix(name.to_bytes())?;
    (parent == b"proc/" && !is_link && !name.is_empty()).then_some((procfs?, name))
}

/// Binds each path onto itself, read-only. `procfs` is the runtime's own, if the container has it
/// on /proc.
///
/// # Errors
/// The first that fails, by index.
pub fn make_readonly(
    root: BorrowedFd<'_>,
    procfs: Option<BorrowedFd<'_>>,
    paths: &[CString],
) -> std::result::Result<(), Failure> {
    for (index, path) in paths.iter().enumerate() {
        let made = match in_proc(procfs, path) {
            Some((procfs, name)) => make_name_readonly(procfs, name),
            None => make_path_readonly(root, path),
        };
        made.at_index(Stage::ReadonlyPath, index)?;
    }
    Ok(())
}

fn make_name_readonly(procfs: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let Some(tree) = existing(open_tree_in(procfs, name))? else {
        return Ok(());
    };
    let tree = ShortLived::from(tree);
    set_attr(&tree, false, &READ_ONLY)?;
    tree::attach(&tree, procfs, name)
}

fn make_path_readonly(root: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    let Some(target) = existing(resolve::handle(root, path))? else {
        return Ok(());
    };
    let tree = ShortLived::from(clone_tree(&target, true)?);
    set_attr(&tree, false, &READ_ONLY)?;
    attach(&tree, &target)
}

/// Hides each path: a file behind /dev/null, a directory behind an empty,
/// read-only tmpfs that all of them share (runc#5275: one super block however
/// many paths). `procfs` as for [`make_readonly`].
///
/// # Errors
/// The first that fails, by index.
pub fn mask(
    root: BorrowedFd<'_>,
    procfs: Option<BorrowedFd<'_>>,
    paths: &[CString],
) -> std::result::Result<(), Failure> {
    let mut masks = Masks::default();
    for (index, path) in paths.iter().enumerate() {
        let masked = match in_proc(procfs, path) {
            Some((procfs, name)) => masks.hide_name(procfs, name),
            None => masks.hide_path(root, path),
        };
        masked.at_index(Stage::MaskedPath, index)?;
    }
    Ok(())
}

/// What hides, as far as it was needed: each is a mount that is attached, to be cloned.
#[derive(Default)]
struct Masks {
    empty: Option<ShortLived>,
    null: Option<ShortLived>,
    /// A mount of /dev/null that found no place.
    spare: Option<ShortLived>,
}

impl Masks {
    fn hide_path(&mut self, root: BorrowedFd<'_>, path: &CStr) -> Result<()> {
        let Some(target) = existing(resolve::handle(root, path))? else {
            return Ok(());
        };
        let stat = rustix::fs::fstat(&target)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return self.hide_directory(target.as_fd(), c"");
        }
        let null = self.null()?;
        attach(&null, &target)?;
        self.null.get_or_insert(null);
        Ok(())
    }

    fn hide_name(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        let null = self.null()?;
        match tree::attach(&null, dir, name) {
            Ok(()) => {
                self.null.get_or_insert(null);
                Ok(())
            }
            Err(errno) => {
                self.spare = Some(null);
                match errno {
                    Errno::NOENT => Ok(()),
                    // Not a file.
                    Errno::INVAL => self.hide_directory(dir, name),
                    errno => Err(errno),
                }
            }
        }
    }

    fn hide_directory(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        match &self.empty {
            Some(empty) => {
                let empty = ShortLived::from(clone_tree(empty.as_fd(), false)?);
                tree::attach(&empty, dir, name)
            }
            None => {
                let empty = empty()?;
                tree::attach(&empty, dir, name)?;
                self.empty = Some(empty);
                Ok(())
            }
        }
    }

    /// The host's /dev/null, verified on the very mount that is then used (CVE-2025-31133).
    fn null(&mut self) -> Result<ShortLived> {
        if let Some(spare) = self.spare.take() {
            return Ok(spare);
        }
        match &self.null {
            Some(null) => clone_tree(null.as_fd(), false).map(ShortLived::from),
            None => {
                let null = open_source(c"/dev/null", false, SourceLink::Bind)?;
                verify(&null, libc::makedev(1, 3))?;
                Ok(null.into())
            }
        }
    }
}

/// Hides a directory behind an empty, read-only tmpfs, and gives that.
///
/// # Errors
/// The system calls that it consists of.
pub fn hide(directory: impl AsFd) -> Result<ShortLived> {
    let tmpfs = empty()?;
    attach(&tmpfs, directory)?;
    Ok(tmpfs)
}

fn empty() -> Result<ShortLived> {
    let attr = libc::MOUNT_ATTR_RDONLY;
    new_mount(c"tmpfs", std::iter::empty(), attr).map(ShortLived::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_in_proc_go_by_name() {
        let dir = std::fs::File::open("/").unwrap();
        for (path, wanted) in [
            (c"proc/keys", Some(c"keys")),
            (c"proc/sys", Some(c"sys")),
            (c"proc", None),
            (c"proc/sys/kernel", None),
            (c"proc/self", None),
            (c"proc/net", None),
            (c"proc/self/root", None),
            (c"sys/firmware", None),
            (c"xproc/keys", None),
            (c"a/proc/keys", None),
        ] {
            let found = in_proc(Some(dir.as_fd()), path).map(|(_, name)| name);
            assert_eq!(found, wanted, "{path:?}");
            assert!(in_proc(None, path).is_none());
        }
    }
}
