//! Looks a path up as it will be in the container: in the root file system, or below the bind
//! mount that will cover it. Links are followed here, one by one: they may lead from one to
//! the other.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};

use crate::plan::mounts::{MountPlan, What};
use crate::plan::path::c_string;
use crate::sys::Errno;

/// How many links are followed (path_resolution(7)).
const LINKS_MOST: usize = 40;

/// The container's files, as far as they are there now.
pub struct Cover<'p> {
    root: OwnedFd,
    mounts: &'p [MountPlan],
}

/// What a path leads to.
pub enum Found {
    /// This file, without a link at its end.
    File(OwnedFd, Stat),
    /// Nothing, or nothing that may be looked at.
    Nothing(Errno),
    /// A file system that is not there yet.
    Unknown,
}

impl<'p> Cover<'p> {
    /// The root file system at `root`, and what will be mounted in it.
    ///
    /// # Errors
    /// open(2).
    pub fn new(root: &CStr, mounts: &'p [MountPlan]) -> Result<Cover<'p>, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        Ok(Cover { root, mounts })
    }

    /// Follows `path` from the container's root.
    pub fn find(&self, path: &str) -> Found {
        let steps = |path: &str| -> Vec<String> {
            let names = path.split('/').filter(|name| !matches!(*name, "" | "."));
            names.rev().map(str::to_owned).collect()
        };
        let mut at: Vec<String> = Vec::new();
        let mut todo = steps(path);
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            at.push(name);
            match self.look(&at.join("/")) {
                Found::File(fd, stat) => match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Symlink => {
                        links += 1;
                        let text = rustix::fs::readlinkat(fd, c"", Vec::new());
                        let text = match text {
                            Ok(text) if links <= LINKS_MOST => text,
                            Ok(_) => return Found::Nothing(Errno::LOOP),
                            Err(errno) => return Found::Nothing(errno),
                        };
                        let text = text.to_string_lossy().into_owned();
                        match text.starts_with('/') {
                            true => at.clear(),
                            false => drop(at.pop()),
                        }
                        todo.extend(steps(&text));
                    }
                    FileType::Directory if !todo.is_empty() => {}
                    _ if todo.is_empty() => return Found::File(fd, stat),
                    _ => return Found::Nothing(Errno::NOTDIR),
                },
                other => return other,
            }
        }
        self.look(&at.join("/"))
    }

    /// Looks at a path without links in it but perhaps at its end.
    fn look(&self, path: &str) -> Found {
        let covers = |mount: &&MountPlan| {
            let destination = mount.destination.to_str().unwrap_or_default();
            let places = !matches!(mount.what, What::Remount { .. } | What::RemountBind { .. });
            places && rest_below(path, destination).is_some()
        };
        let found = match self.mounts.iter().rev().find(covers) {
            None => stat_below(self.root.as_fd(), path),
            Some(mount) => {
                let What::Bind { source, .. } = &mount.what else {
                    return Found::Unknown;
                };
                let destination = mount.destination.to_str().unwrap_or_default();
                let rest = rest_below(path, destination).unwrap_or_default();
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                match rustix::fs::openat(CWD, source.as_c_str(), flags, Mode::empty()) {
                    Ok(fd) => stat_below(fd.as_fd(), rest),
                    // The mount itself is what will fail.
                    Err(_) => return Found::Unknown,
                }
            }
        };
        match found {
            Ok((fd, stat)) => Found::File(fd, stat),
            // Made on the way to a mount's destination.
            Err(Errno::NOENT) if self.mounts.iter().any(|mount| leads_to(path, mount)) => {
                Found::Unknown
            }
            Err(errno) => Found::Nothing(errno),
        }
    }
}

fn leads_to(path: &str, mount: &MountPlan) -> bool {
    rest_below(mount.destination.to_str().unwrap_or_default(), path).is_some()
}

/// What is left of `path` below `outer`.
fn rest_below<'t>(path: &'t str, outer: &str) -> Option<&'t str> {
    match path.strip_prefix(outer)? {
        "" => Some(""),
        rest if outer.is_empty() => Some(rest),
        rest => rest.strip_prefix('/'),
    }
}

fn stat_below(root: std::os::fd::BorrowedFd<'_>, path: &str) -> Result<(OwnedFd, Stat), Errno> {
    let fd = match path {
        "" => rustix::io::fcntl_dupfd_cloexec(root, 3)?,
        path => rustix::fs::openat2(
            root,
            c_string(path),
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        )?,
    };
    let stat = rustix::fs::fstat(&fd)?;
    Ok((fd, stat))
}

/// Opens what was found for reading.
pub fn reopen(fd: &OwnedFd) -> std::io::Result<File> {
    use std::os::fd::AsRawFd;
    File::open(Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string()))
}
