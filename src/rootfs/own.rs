//! The new tmpfs that was mounted last, as long as its path leads to it: `/dev`.
//!
//! Nobody but the runtime can change what is in it, so directories are made in it and mounted on
//! by their names, without looking them up from the root.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use rustix::fs::{Mode, OFlags};

use super::mounts::covers;
use super::resolve::last_of;
use crate::plan::mounts::MountPlan;
use crate::sys::Result;
use crate::sys::fd::ShortLived;

/// What a mount is attached to.
pub enum Target<'p> {
    /// What a descriptor stands for.
    Handle(Rc<ShortLived>),
    /// A directory of the runtime's own, by its name.
    Own(Rc<ShortLived>, &'p CStr),
}

impl Target<'_> {
    /// As move_mount(2) takes it: a descriptor and a name below it.
    pub fn place(&self) -> (BorrowedFd<'_>, &CStr) {
        match self {
            Target::Handle(fd) => (fd.as_ref().as_fd(), c""),
            Target::Own(dir, name) => (dir.as_ref().as_fd(), name),
        }
    }

    /// A descriptor of it.
    ///
    /// # Errors
    /// openat(2).
    pub fn handle(&self) -> Result<Rc<ShortLived>> {
        match self {
            Target::Handle(fd) => Ok(fd.clone()),
            Target::Own(dir, name) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::DIRECTORY;
                let opened = rustix::fs::openat(dir.as_ref(), *name, flags, Mode::empty())?;
                Ok(Rc::new(opened.into()))
            }
        }
    }
}

/// The tmpfs, or none.
#[derive(Default)]
pub struct Own(Option<(CString, Rc<ShortLived>)>);

impl Own {
    /// From now on it is this one.
    pub fn is(&mut self, path: &CStr, mount: ShortLived) {
        self.0 = Some((path.to_owned(), Rc::new(mount)));
    }

    /// Forgets it if this one lies over it, or over a part of the path to it.
    pub fn covered_by(&mut self, plan: &MountPlan) {
        let Some((path, _)) = &self.0 else { return };
        if covers(plan, path.as_bytes()) {
            self.0 = None;
        }
    }

    /// Makes a directory of this path, if its parent is the tmpfs and nothing is there.
    pub fn make_directory<'p>(&self, path: &'p CStr) -> Option<Target<'p>> {
        let (own, dir) = self.0.as_ref()?;
        let name = last_of(path);
        let parent = path.to_bytes().strip_suffix(name.to_bytes())?;
        if parent.strip_suffix(b"/")? != own.as_bytes() {
            return None;
        }
        // What is wrong (it is there, or read-only) is found again by the usual way.
        rustix::fs::mkdirat(dir.as_ref(), name, Mode::from_raw_mode(0o755)).ok()?;
        Some(Target::Own(dir.clone(), name))
    }

    /// Its root, if it is the one of this path.
    pub fn at(&self, path: &CStr) -> Option<BorrowedFd<'_>> {
        let (own, dir) = self.0.as_ref()?;
        (own.as_c_str() == path).then(|| dir.as_ref().as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::mounts::{Filesystem, What};

    fn mount_on(path: &CStr) -> MountPlan {
        MountPlan {
            destination: path.to_owned(),
            on_link: false,
            what: What::Filesystem(Filesystem::default()),
            idmap: None,
            propagation: Vec::new(),
        }
    }

    #[test]
    fn it_is_forgotten_when_something_lies_over_it() {
        let dir = || {
            ShortLived::from(std::os::fd::OwnedFd::from(
                std::fs::File::open("/").unwrap(),
            ))
        };
        for (path, stays) in [
            (c"a/b", false),
            (c"a", false),
            (c"", false),
            (c"a/b/c", true),
            (c"a/bc", true),
            (c"a/bb/c", true),
            (c"b", true),
        ] {
            let mut own = Own::default();
            own.is(c"a/b", dir());
            own.covered_by(&mount_on(path));
            assert_eq!(own.at(c"a/b").is_some(), stays, "{path:?}");
            assert!(own.at(c"a").is_none());
        }
    }
}
