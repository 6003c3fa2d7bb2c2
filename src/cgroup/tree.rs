//! A cgroup and all beneath it. What is beneath was named by the container: names may be no
//! text, and paths longer than any system call takes. So all goes by descriptor, one name at a
//! time, and few descriptors are open however deep it is.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::CgroupError;
use super::stuck::printable;

/// Of a path with many levels, as much as a message shows.
const SHOWN: usize = 1024;

/// What is done on the way.
pub(super) trait Visitor {
    /// On the way down, in each directory: one stands before those that are in it.
    fn enter(&mut self, directory: BorrowedFd, shown: &str) -> Result<(), CgroupError> {
        let _ = (directory, shown);
        Ok(())
    }

    /// On the way up, after all that is beneath `name` in `above`. Not for the top.
    fn leave(&mut self, above: BorrowedFd, name: &CStr, shown: &str) -> Result<(), CgroupError> {
        let _ = (above, name, shown);
        Ok(())
    }
}

/// A directory on the way from the top.
struct Level {
    name: CString,
    /// Names of what is in it and was not visited yet.
    rest: Vec<CString>,
    /// How long the path for messages is.
    shown: usize,
}

/// Leads `visitor` through the directory `path` and all beneath it. What is gone is no error.
pub(super) fn walk(path: &str, visitor: &mut impl Visitor) -> Result<(), CgroupError> {
    let mut shown = path.to_owned();
    let mut here = match open(CWD, path) {
        Ok(directory) => directory,
        Err(errno) if is_gone(errno) => return Ok(()),
        Err(errno) => return Err(CgroupError::kernel("open", path, errno)),
    };
    let mut levels = Vec::new();
    let mut name = CString::default();
    loop {
        visitor.enter(here.as_fd(), &shown)?;
        let rest = match names_in(here.as_fd()) {
            Ok(names) => names,
            Err(errno) if is_gone(errno) => Vec::new(),
            Err(errno) => return Err(CgroupError::kernel("list", shown, errno)),
        };
        levels.push(Level {
            name,
            rest,
            shown: shown.len(),
        });
        (here, name) = loop {
            let Some(level) = levels.last_mut() else {
                return Ok(());
            };
            shown.truncate(level.shown);
            let Some(next) = level.rest.pop() else {
                let Some(left) = levels.pop().filter(|_| !levels.is_empty()) else {
                    return Ok(());
                };
                // Cgroups do not move to another level, so this is where it was entered from.
                here = match open(here.as_fd(), c"..") {
                    Ok(above) => above,
                    Err(errno) if is_gone(errno) => return Ok(()),
                    Err(errno) => return Err(CgroupError::kernel("leave", shown, errno)),
                };
                visitor.leave(here.as_fd(), &left.name, &shown)?;
                continue;
            };
            match open(here.as_fd(), next.as_c_str()) {
                Ok(directory) => {
                    append(&mut shown, &next);
                    break (directory, next);
                }
                Err(errno) if is_gone(errno) => {}
                Err(errno) => {
                    append(&mut shown, &next);
                    return Err(CgroupError::kernel("open", shown, errno));
                }
            }
        };
    }
}

/// Whether an errno says that a cgroup has been removed (`ENODEV`: after it was opened).
pub(super) fn is_gone(errno: Errno) -> bool {
    errno == Errno::NOENT || errno == Errno::NODEV
}

fn open(at: BorrowedFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// Adds a name to a path for messages, on one line.
fn append(shown: &mut String, name: &CStr) {
    if shown.len() > SHOWN {
        if !shown.ends_with("/...") {
            shown.push_str("/...");
        }
        return;
    }
    shown.push('/');
    shown.extend(name.to_string_lossy().chars().flat_map(printable));
}

fn names_in(directory: BorrowedFd) -> Result<Vec<CString>, Errno> {
    // kernfs counts subdirectories as links, beside "." and the entry above.
    if rustix::fs::fstat(directory)?.st_nlink <= 2 {
        return Ok(Vec::new());
    }
    let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type().is_dir() && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<String>, Vec<String>);

    impl Visitor for Seen {
        fn enter(&mut self, _: BorrowedFd, shown: &str) -> Result<(), CgroupError> {
            self.0.push(shown.to_owned());
            Ok(())
        }
        fn leave(&mut self, _: BorrowedFd, name: &CStr, shown: &str) -> Result<(), CgroupError> {
            assert!(shown.ends_with(&*name.to_string_lossy()));
            self.1.push(shown.to_owned());
            Ok(())
        }
    }

    #[test]
    fn directories_come_before_and_after_what_is_in_them() {
        let top = std::env::temp_dir().join(format!("corten-tree-{}", std::process::id()));
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::create_dir_all(top.join("c")).unwrap();
        let mut seen = Seen::default();
        walk(top.to_str().unwrap(), &mut seen).unwrap();
        std::fs::remove_dir_all(&top).unwrap();
        let Seen(down, up) = seen;
        let place = |list: &[String], end: &str| {
            list.iter()
                .position(|path| *path == format!("{}{end}", top.display()))
                .unwrap()
        };
        assert_eq!((down.len(), place(&down, "")), (4, 0));
        assert!(place(&down, "/a") < place(&down, "/a/b"));
        assert!(place(&up, "/a/b") < place(&up, "/a"));
        assert_eq!((up.len(), down.contains(&up[place(&up, "/c")])), (3, true));
        walk(top.to_str().unwrap(), &mut Seen::default()).unwrap();
    }

    #[test]
    fn a_path_for_messages_is_one_line_and_has_an_end() {
        let mut shown = "/x".to_owned();
        append(&mut shown, c"a\x1b[0m\r");
        assert_eq!(shown, "/x/a\\u{1b}[0m\\r");
        for _ in 0..30 {
            append(&mut shown, &CString::new("y".repeat(200)).unwrap());
        }
        assert!(shown.ends_with("/...") && shown.len() < 2 * SHOWN);
    }
}
