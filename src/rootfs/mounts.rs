//! Making the configured mounts.
//!
//! All are made detached: new file systems by fsopen and fsmount, binds as clones (open_tree).
//! They get their flags before they are attached, so a read-only bind is never writable for a
//! moment, and what they are attached to is the tree, which is detached itself where the
//! kernel can ([`tree`]).

use std::cell::Cell;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};

use super::calls::{READ_ONLY, open_source, set_attr, set_propagation};
use super::cgroupfs::Made;
use super::fallback::{self, Instead};
use super::filesystem::Maker;
pub use super::own::Own;
use super::own::Target;
use super::resolve::{self, Make};
use super::{Procfs, cgroupfs, copy_up, detached, filesystem, tree};
use crate::plan::CgroupMounts;
use crate::plan::mounts::{Filesystem, MountPlan, SourceLink, What};
use crate::plan::namespaces::NamespacePlan;
use crate::sys::fd::ShortLived;
use crate::sys::mount::remount_here;
use crate::sys::stub::{At, Failure, Stage};
use crate::sys::{Errno, Result};

type Step<T = ()> = std::result::Result<T, Failure>;

/// What the mounts need besides their plan.
pub struct Context<'a> {
    /// The container's root.
    pub root: BorrowedFd<'a>,
    /// Mounts that the parent made, by index, where the init may not.
    pub trees: &'a mut [Option<OwnedFd>],
    /// Propagation that these have to get: clones made outside this namespace belong to the host's peer groups.
    pub tree_propagation: Option<u64>,
    /// Whether links lead a destination elsewhere inside the root. Not in a container that runs:
    /// one of its users could lead a mount to where he has no rights.
    pub follows_links: bool,
    /// What a cgroup mount consists of.
    pub cgroup: &'a CgroupMounts,
    /// The container's namespaces.
    pub namespaces: &'a NamespacePlan,
    /// Whether /sys/fs/cgroup gets a mount of its own.
    pub mounts_cgroups: bool,
    /// What was done in place of the mounts with these indexes.
    pub instead: Vec<(usize, Instead)>,
    /// The tmpfs that was mounted last and is the runtime's own.
    pub own: Own,
    /// Whether the runtime's procfs is what a path to /proc leads to.
    pub proc_is_own: bool,
}

/// Makes all mounts in order.
///
/// # Errors
/// The first that fails, by index.
pub fn make(plans: &[MountPlan], c: &mut Context<'_>, procfs: &mut Procfs) -> Step {
    for (index, plan) in plans.iter().enumerate() {
        let tree = c.trees.get_mut(index).and_then(Option::take);
        if let (Some(tree), Some(flags), What::Bind { .. }) =
            (&tree, c.tree_propagation, &plan.what)
        {
            set_propagation(tree, flags).at_index(Stage::MountSource, index)?;
        }
        let one = One {
            index,
            plan,
            root: c.root,
            follows_links: c.follows_links,
            linked: Cell::new(plan.on_link),
        };
        detached::forget();
        // What is mounted now may lie over them.
        c.own.covered_by(plan);
        c.proc_is_own &= !covers(plan, b"proc");
        let instead = match &plan.what {
            What::Filesystem(fs) => one.filesystem(fs, tree, c)?,
            What::Proc { attr, data } => {
                let target = one.own_directory()?;
                match procfs.mount(*attr, data) {
                    Ok(mount) => {
                        one.attach(mount, &target)?;
                        c.proc_is_own = true;
                        None
                    }
                    Err(errno) => {
                        let tree = fallback::host_proc(c, *attr, errno);
                        one.attach(tree.at_index(Stage::Mount, index)?, &target)?;
                        Some(Instead::HostProc)
                    }
                }
            }
            What::Bind { .. } => {
                one.bind(tree)?;
                None
            }
            What::Cgroup { flags, label } => {
                let (target, _) = one.target(Make::Directory)?;
                let made = cgroupfs::make(&target, *flags, label.as_deref(), c.cgroup);
                match made.at_index(Stage::Mount, index)? {
                    Made::Detached(mount) => one.attach(mount, &target).map(|()| None)?,
                    Made::Attached(mount) => one.propagate(&mount).map(|()| None)?,
                    Made::DetachedInstead(mount, instead) => {
                        one.attach(mount, &target).map(|()| Some(instead))?
                    }
                    Made::Instead(instead) => Some(instead),
                }
            }
            What::Remount { flags, data } => {
                let target = one.existing()?;
                tree::show().at_index(Stage::Remount, index)?;
                rustix::process::fchdir(&target).at_index(Stage::MountTarget, index)?;
                remount_here(*flags, data).at_index(Stage::Remount, index)?;
                one.propagate(&target)?;
                None
            }
            What::RemountBind {
                attr,
                recursive_attr,
            } => {
                let target = one.existing()?;
                tree::show().at_index(Stage::Remount, index)?;
                set_attr(&target, false, attr).at_index(Stage::Remount, index)?;
                set_attr(&target, true, recursive_attr).at_index(Stage::Remount, index)?;
                one.propagate(&target)?;
                None
            }
        };
        c.instead.extend(instead.map(|instead| (index, instead)));
        if one.linked.get() {
            c.own = Own::default();
            c.proc_is_own = false;
        }
    }
    Ok(())
}

/// Whether this is mounted on `path`, or on a part of it.
pub(super) fn covers(plan: &MountPlan, path: &[u8]) -> bool {
    let destination = plan.destination.as_bytes();
    let above = path.strip_prefix(destination);
    above.is_some_and(|rest| rest.is_empty() || destination.is_empty() || rest[0] == b'/')
}

/// One mount that is being made.
struct One<'a> {
    index: usize,
    plan: &'a MountPlan,
    root: BorrowedFd<'a>,
    follows_links: bool,
    /// Links may have led to the destination.
    linked: Cell<bool>,
}

impl One<'_> {
    fn filesystem(
        &self,
        fs: &Filesystem,
        given: Option<OwnedFd>,
        c: &mut Context<'_>,
    ) -> Step<Option<Instead>> {
        let is_sysfs = fs.fstype.as_c_str() == c"sysfs";
        let (target, existed) = if is_sysfs {
            (Target::Handle(self.own_directory()?.into()), true)
        } else if let Some(target) = c.own.make_directory(&self.plan.destination) {
            (target, false)
        } else {
            let (target, existed) = self.target(Make::Directory)?;
            (Target::Handle(target.into()), existed)
        };
        let handle = || target.handle().at_index(Stage::MountTarget, self.index);
        let mode = if fs.inherits_mode && existed {
            let stat =
                rustix::fs::fstat(handle()?.as_ref()).at_index(Stage::MountTarget, self.index)?;
            Some(stat.st_mode & 0o7777)
        } else {
            None
        };
        let is_plain = given.is_none() && !fs.copy_up && self.plan.propagation.is_empty();
        let by_mount = given.is_none() && filesystem::needs_mount(fs);
        if is_plain && by_mount {
            let mounted =
                filesystem::mount(handle()?.as_ref(), fs, mode).at_index(Stage::Mount, self.index);
            return mounted.map(|()| None);
        }
        // The parent did not know the mode, and what is to be filled is writable first.
        let unfinished = fs.copy_up || given.is_some() && fs.inherits_mode;
        let mount = match given {
            Some(mount) => {
                if let Some(mode) = mode {
                    set_mode(&mount, mode).at_index(Stage::MountMode, self.index)?;
                }
                Ok(mount)
            }
            None if by_mount => filesystem::staged(handle()?.as_ref(), fs, mode),
            None => filesystem::detached(fs, mode, unfinished, Maker::Init),
        };
        let mount = match mount {
            Err(errno) if is_plain => {
                let handle = handle()?;
                let instead = fallback::filesystem(c, handle.as_ref(), fs, errno);
                return instead.map(Some).at_index(Stage::Mount, self.index);
            }
            result => ShortLived::from(result.at_index(Stage::Mount, self.index)?),
        };
        if fs.copy_up {
            copy_up::copy(
                handle()?.as_ref(),
                &mount,
                copy_up::Given::in_options(&fs.data),
            )
            .at_index(Stage::MountCopyUp, self.index)?;
        }
        if unfinished && fs.flags & libc::MS_RDONLY != 0 {
            set_attr(&mount, false, &READ_ONLY).at_index(Stage::MountFlags, self.index)?;
        }
        self.attach_at(&mount, &target)?;
        if is_plain && fs.fstype.as_c_str() == c"tmpfs" && !self.linked.get() {
            c.own.is(&self.plan.destination, mount);
        }
        Ok(None)
    }

    fn bind(&self, given: Option<OwnedFd>) -> Step {
        let What::Bind {
            source,
            recursive,
            link,
            attr,
            recursive_attr,
        } = &self.plan.what
        else {
            return Ok(());
        };
        let index = self.index;
        let tree: ShortLived = match given {
            Some(tree) => tree.into(),
            None => open_source(source, *recursive, *link)
                .at_index(Stage::MountSource, index)?
                .into(),
        };
        if *link == SourceLink::Copy && self.copy_link(&tree)? {
            return Ok(());
        }
        // The destination is only made to fit when there is none.
        let target = match self.look_up()? {
            Some(target) => target,
            None => self.make(kind_of(&tree).at_index(Stage::MountSource, index)?)?,
        };
        if self.plan.destination.as_c_str() == c"proc" {
            require_procfs(&tree).at_index(Stage::MountProc, index)?;
        }
        set_attr(&tree, false, attr).at_index(Stage::MountFlags, index)?;
        set_attr(&tree, true, recursive_attr).at_index(Stage::MountFlags, index)?;
        self.attach(tree, &target)
    }

    /// Makes the destination a link like the source, if that is one.
    fn copy_link(&self, source: &ShortLived) -> Step<bool> {
        let is_link = |fd: &ShortLived| {
            rustix::fs::fstat(fd)
                .map(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
        };
        let index = self.index;
        if !is_link(source).at_index(Stage::MountSource, index)? {
            return Ok(false);
        }
        let text = rustix::fs::readlinkat(source, c"", Vec::new());
        let text = text.at_index(Stage::MountSource, index)?;
        let path = self.plan.destination.as_c_str();
        let dir = resolve::parent_of(self.root, path).at_index(Stage::MountTarget, index)?;
        let name = resolve::last_of(path);
        match rustix::fs::symlinkat(text.as_c_str(), &dir, name) {
            Err(Errno::EXIST) => {
                let there = rustix::fs::readlinkat(&dir, name, Vec::new());
                match there {
                    Ok(there) if there == text => Ok(true),
                    _ => Err(Errno::EXIST).at_index(Stage::MountLink, index),
                }
            }
            result => result.map(|()| true).at_index(Stage::MountLink, index),
        }
    }

    /// Attaches a mount and gives it its propagation.
    fn attach(&self, mount: impl AsFd, target: &ShortLived) -> Step {
        self.attach_in(mount, target.as_fd(), c"")
    }

    fn attach_at(&self, mount: impl AsFd, target: &Target<'_>) -> Step {
        let (dir, name) = target.place();
        self.attach_in(mount, dir, name)
    }

    fn attach_in(&self, mount: impl AsFd, dir: BorrowedFd<'_>, name: &CStr) -> Step {
        let index = self.index;
        if self
            .plan
            .propagation
            .iter()
            .any(|flags| flags & libc::MS_SHARED != 0)
        {
            tree::show().at_index(Stage::Mount, index)?;
        }
        // Below the root of a detached tree nothing can be changed any more; nothing in it is
        // shared, so a mount keeps the propagation that it has.
        let hidden = tree::is_hidden();
        if hidden {
            self.propagate(&mount)?;
        }
        tree::attach(&mount, dir, name).at_index(Stage::Mount, index)?;
        if hidden && tree::is_hidden() {
            return Ok(());
        }
        // The descriptor stands for the mount, wherever it is now. Not earlier: a shared mount
        // above has made it shared again.
        self.propagate(mount)
    }

    fn propagate(&self, mount: impl AsFd) -> Step {
        for flags in &self.plan.propagation {
            set_propagation(&mount, *flags).at_index(Stage::MountFlags, self.index)?;
        }
        Ok(())
    }

    /// The destination, and whether it was there before.
    fn target(&self, make: Make) -> Step<(ShortLived, bool)> {
        match self.look_up()? {
            Some(target) => Ok((target, true)),
            None => self.make(make).map(|target| (target, false)),
        }
    }

    /// The destination of a remount.
    fn existing(&self) -> Step<ShortLived> {
        let there = self.look_up()?.ok_or(Errno::NOENT);
        there.at_index(Stage::MountTarget, self.index)
    }

    fn look_up(&self) -> Step<Option<ShortLived>> {
        let path = self.plan.destination.as_c_str();
        let found = if !self.follows_links {
            match self.plan.on_link {
                true => resolve::handle_on_link_without_links(self.root, path),
                false => resolve::handle_without_links(self.root, path),
            }
        } else if self.plan.on_link {
            resolve::handle_on_link(self.root, path)
                .and_then(|target| refuse_protected(self.root, target))
        } else {
            match resolve::handle_without_links(self.root, path) {
                // What config.json says was looked at by its text alone: what a link leads
                // to has to be looked at too.
                Err(Errno::LOOP) => {
                    self.linked.set(true);
                    resolve::handle(self.root, path)
                        .and_then(|target| refuse_protected(self.root, target))
                }
                result => result,
            }
        };
        match found {
            Err(Errno::NOENT) => Ok(None),
            result => result.map(Some).at_index(Stage::MountTarget, self.index),
        }
    }

    fn make(&self, make: Make) -> Step<ShortLived> {
        let path = self.plan.destination.as_c_str();
        match self.follows_links {
            true => resolve::make_place(self.root, path, make),
            false => resolve::make_place_without_links(self.root, path, make),
        }
        .at_index(Stage::MountTarget, self.index)
    }

    /// A directory of the image itself, not a link to another place: labels, masks and
    /// device nodes rely on where /proc, /sys and /dev are (CVE-2019-19921, CVE-2023-27561,
    /// CVE-2026-41579).
    fn own_directory(&self) -> Step<ShortLived> {
        own_directory(self.root, &self.plan.destination).at_index(Stage::MountTarget, self.index)
    }
}

/// The same as [`One::own_directory`], for any path.
///
/// # Errors
/// `ELOOP` for a link.
pub fn own_directory(root: BorrowedFd<'_>, path: &CStr) -> Result<ShortLived> {
    match resolve::handle_without_links(root, path) {
        Err(Errno::NOENT) => resolve::make_place(root, path, Make::Directory),
        result => result,
    }
}

/// A link of the image led here: not onto the root itself, which nothing inside would see, and
/// not into a procfs, where a mount would catch what is written there (CVE-2019-16884).
fn refuse_protected(root: BorrowedFd<'_>, target: ShortLived) -> Result<ShortLived> {
    let (found, top) = (rustix::fs::fstat(&target)?, rustix::fs::fstat(root)?);
    let is_root = (found.st_dev, found.st_ino) == (top.st_dev, top.st_ino);
    if is_root || resolve::is_procfs(&target)? {
        return Err(Errno::LOOP);
    }
    Ok(target)
}

/// On /proc only a whole procfs may be bound (inode 1 is its root).
fn require_procfs(tree: &ShortLived) -> Result<()> {
    match resolve::is_procfs(tree)? && rustix::fs::fstat(tree)?.st_ino == 1 {
        true => Ok(()),
        false => Err(Errno::INVAL),
    }
}

/// The mode of a mount's root. Its own descriptor cannot be changed through (O_PATH).
fn set_mode(mount: &OwnedFd, mode: u32) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(mount, c".", flags, Mode::empty())?;
    rustix::fs::fchmod(root, Mode::from_raw_mode(mode))
}

fn kind_of(tree: impl AsFd) -> Result<Make> {
    let stat = rustix::fs::fstat(tree)?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok(if directory {
        Make::Directory
    } else {
        Make::File
    })
}
