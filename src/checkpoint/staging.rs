//! Where CRIU finds what the host gives to a restored container: a tmpfs over the
//! container's state directory, in a mount namespace of CRIU's own, that ends with it.
//! Nothing of it is ever mounted on the host, and nothing is left if it is killed.
//!
//! Each mount is bound there with its flags, before CRIU sees it: what CRIU makes of it has
//! them from its first moment (CVE-2026-119101: read-only binds that were writable for one).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::UnmountFlags;

use super::mounts::{External, Source};
use crate::plan::mounts::{Filesystem, MountPlan, What};
use crate::plan::{CgroupMounts, Plan};
use crate::rootfs::calls::{attach, mount_on, open_source, open_tree, set_attr};
use crate::rootfs::mounts::{Context, Own, make, own_directory};
use crate::rootfs::{Procfs, dev};
use crate::sys::fd::ShortLived;
use crate::sys::mount::change_root_propagation;
use crate::sys::{Errno, Result, errno_text};

/// Name of the root file system.
const ROOT: &str = "root";
/// Where mount points are made.
const SCRATCH: &CStr = c"scratch";

/// What is staged.
pub struct Staging<'a> {
    /// The container.
    pub plan: &'a Plan,
    /// Its mounts that are the host's.
    pub externals: &'a [External],
    /// A directory that nothing else uses, without links in its path.
    pub base: PathBuf,
}

/// What went wrong, and on what.
type Step<T = ()> = std::result::Result<T, String>;

fn says<'a>(what: &'a str, on: impl std::fmt::Display + 'a) -> impl FnOnce(Errno) -> String + 'a {
    move |errno| format!("cannot {what} {on}: {}", errno_text(errno.raw_os_error()))
}

impl Staging<'_> {
    /// The root file system, for CRIU.
    pub fn root(&self) -> PathBuf {
        self.base.join(ROOT)
    }

    /// Where a mount is, for CRIU.
    pub fn place(&self, index: usize) -> PathBuf {
        self.base.join(index.to_string())
    }

    /// Makes all of it; to be called in a mount namespace of its own.
    ///
    /// # Errors
    /// The first step that fails, in words.
    pub fn build(&self) -> Step {
        change_root_propagation(libc::MS_SLAVE | libc::MS_REC)
            .map_err(says("cut the mounts off from the host's", ""))?;
        let base = self.base.display();
        let on_base = || says("stage mounts on", &base);
        let under = open_dir(&self.base).map_err(on_base())?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        mount_on(under, c"tmpfs", c"tmpfs", flags, c"mode=755,size=1m").map_err(on_base())?;
        let stage = open_dir(&self.base).map_err(on_base())?;
        for (index, external) in self.externals.iter().enumerate() {
            let name = CString::new(index.to_string()).unwrap_or_default();
            self.stage(stage.as_fd(), &name, external)
                .map_err(says("bind the source of", &external.name))?;
        }
        self.make_mount_points(stage.as_fd())?;
        let on_root = || {
            says(
                "bind the root file system",
                self.plan.root.path.to_string_lossy(),
            )
        };
        let tree = open_tree(&self.plan.root.path, true).map_err(on_root())?;
        let place = directory(stage.as_fd(), &c_name(ROOT)).map_err(on_root())?;
        attach(tree, place).map_err(on_root())
    }

    fn stage(&self, stage: BorrowedFd<'_>, name: &CStr, external: &External) -> Result<()> {
        let tree = match &external.source {
            Source::Mount(index) => self.bind(*index)?,
            Source::Path(path, attr) => {
                let tree = open_tree(path, false)?;
                set_attr(&tree, false, attr)?;
                tree
            }
            // A device of config.json that the host does not have was made as a node.
            Source::Device(path, rdev) => {
                let tree = match open_tree(path, false) {
                    Err(Errno::NOENT) => return Ok(()),
                    result => result?,
                };
                match dev::verify(&tree, *rdev) {
                    Err(Errno::NODEV) => return Ok(()),
                    result => result.map(|()| tree)?,
                }
            }
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&tree)?.st_mode);
        let place = match kind {
            FileType::Directory => directory(stage, name)?,
            _ => file(stage, name)?,
        };
        attach(tree, place)
    }

    /// The source of a bind, with its flags.
    fn bind(&self, index: usize) -> Result<OwnedFd> {
        let Some(What::Bind {
            source,
            recursive,
            link,
            attr,
            recursive_attr,
        }) = self.plan.mounts.get(index).map(|mount| &mount.what)
        else {
            return Err(Errno::INVAL);
        };
        let tree = open_source(source, *recursive, *link)?;
        set_attr(&tree, false, attr)?;
        set_attr(&tree, true, recursive_attr)?;
        Ok(tree)
    }

    /// Makes the mount points that a new copy of the root file system lacks, as `create`
    /// does: by descriptor, below the root, with what is mounted above them in its place.
    fn make_mount_points(&self, stage: BorrowedFd<'_>) -> Step {
        let root = self.plan.root.path.to_string_lossy();
        let failed = || says("make mount points in", &root);
        let tree = open_tree(&self.plan.root.path, true).map_err(failed())?;
        let place = directory(stage, SCRATCH).map_err(failed())?;
        attach(&tree, place).map_err(failed())?;
        let mut procfs = Procfs::new(None);
        for (index, mount) in self.plan.mounts.iter().enumerate() {
            if let Err(errno) = self.make_mount_point(tree.as_fd(), index, mount, &mut procfs) {
                let destination = mount.destination.to_string_lossy();
                return Err(format!(
                    "/mounts/{index}: cannot make the mount point /{destination}: {}",
                    errno_text(errno.raw_os_error())
                ));
            }
        }
        rustix::process::fchdir(stage).map_err(failed())?;
        rustix::mount::unmount(SCRATCH, UnmountFlags::DETACH).map_err(failed())?;
        rustix::process::chdir(c"/").map_err(failed())
    }

    fn make_mount_point(
        &self,
        root: BorrowedFd<'_>,
        index: usize,
        mount: &MountPlan,
        procfs: &mut Procfs,
    ) -> Result<()> {
        let mut tree = None;
        let instead;
        let mount = match &mount.what {
            What::Remount { .. } | What::RemountBind { .. } => return Ok(()),
            What::Bind { .. } => {
                tree = Some(self.bind(index)?);
                mount
            }
            What::Proc { .. } => return cover(own_directory(root, &mount.destination)?),
            What::Filesystem(fs) if fs.fstype.as_c_str() == c"sysfs" => {
                return cover(own_directory(root, &mount.destination)?);
            }
            // Its content comes from the checkpoint.
            What::Filesystem(_) | What::Cgroup { .. } => {
                instead = MountPlan {
                    destination: mount.destination.clone(),
                    on_link: mount.on_link,
                    what: What::Filesystem(Filesystem {
                        fstype: c"tmpfs".to_owned(),
                        source: c"tmpfs".to_owned(),
                        ..Filesystem::default()
                    }),
                    idmap: None,
                    propagation: Vec::new(),
                };
                &instead
            }
        };
        let mut context = Context {
            root,
            trees: &mut [tree],
            tree_propagation: None,
            follows_links: true,
            cgroup: &CgroupMounts::Hidden,
            namespaces: &self.plan.namespaces,
            mounts_cgroups: false,
            instead: Vec::new(),
            own: Own::default(),
            proc_is_own: false,
        };
        make(std::slice::from_ref(mount), &mut context, procfs)
            .map_err(|failure| Errno::from_raw_os_error(failure.errno))
    }
}

/// Mounts an empty tmpfs.
fn cover(directory: ShortLived) -> Result<()> {
    mount_on(directory, c"tmpfs", c"tmpfs", 0, c"")
}

fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

fn c_name(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

/// A new directory in a tmpfs that is ours and empty.
fn directory(stage: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    rustix::fs::mkdirat(stage, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(stage, name, flags, Mode::empty())
}

/// A new file there.
fn file(stage: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(stage, name, FileType::RegularFile, mode, 0)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(stage, name, flags, Mode::empty())
}
