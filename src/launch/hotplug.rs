//! `mounts add` and `mounts remove`: the mounts of a container that runs already.
//!
//! Nothing is executed in the container. What is mounted is made on the host's side, detached;
//! then this process enters the container's mount namespace, where it has no descriptor of the
//! host's files any more, and attaches it to a place that it holds by descriptor. Inside,
//! everything is the enemy's and moves: no symbolic link is followed on the way to that place.
//!
//! For file systems of a container with a user namespace the host's side is a copy of the
//! host's mount namespace that belongs to that user namespace, as it is when `create` mounts.

use std::ffi::CString;
use std::mem::take;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags, statx};
use rustix::mount::{UnmountFlags, unmount};

use super::begin::{become_root, undumpable};
use super::exec::own_user_namespace;
use super::{Doing, LaunchError, describe, sources};
use crate::config::spec::{IdMapping, Linux, Mount};
use crate::config::{self, ConfigError};
use crate::container::State;
use crate::container::template::Template;
use crate::plan::mounts::{self, MountPlan, SourceLink, What};
use crate::plan::namespaces::{Join, NamespacePlan};
use crate::plan::path::{c_string, clean};
use crate::plan::{CgroupMounts, process};
use crate::rootfs::calls::{clone_tree, set_attr, set_propagation};
use crate::rootfs::filesystem::{self, Maker};
use crate::rootfs::mounts::{Context, Own, make};
use crate::rootfs::{self, Procfs, detached, resolve};
use crate::sys::mount::change_root_propagation;
use crate::sys::pidfd::send_signal;
use crate::sys::process::{setns, unshare_namespaces};
use crate::sys::stub::{self as sys_stub, Failure};
use crate::sys::{Errno, errno_text, io_errno};

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const NEWNS: u64 = libc::CLONE_NEWNS as u64;
/// What a new file system shows or belongs to, besides the user namespace.
const SHOWN: u64 = (libc::CLONE_NEWNET | libc::CLONE_NEWIPC) as u64;
/// As the mounts of `create` are: the host's mounts come in, the container's do not go out.
const SLAVE: u64 = libc::MS_SLAVE | libc::MS_REC;

/// A container whose mounts are changed.
pub struct Target<'a> {
    /// Its record.
    pub state: &'a State,
    /// Its init, whose status was looked at after this was opened.
    pub init: OwnedFd,
    /// What `exec` gives its processes.
    pub template: &'a Template<'a>,
}

impl Target<'_> {
    /// Mounts all of `mounts` in the container, or none of them.
    ///
    /// # Errors
    /// The first that cannot be mounted, with its pointer.
    pub fn add(&self, mounts: &[Mount<'_>]) -> Result<(), LaunchError> {
        for warning in config::check_mounts(mounts)? {
            log::warn!("{warning}");
        }
        let user = self.enters_user_namespace()?;
        let namespaces = self.namespaces(user);
        let linux = self.linux(user)?;
        let mut plans = mounts::plan(mounts, &self.state.bundle, &linux, &namespaces)?;
        for (index, plan) in plans.iter().enumerate() {
            refuse(index, plan)?;
        }
        rustix::process::umask(Mode::empty());
        undumpable().map_err(failed)?;
        let is_root = rustix::process::geteuid().is_root();
        let mut trees = match is_root || !user {
            true => Some(sources::open_mounts(&plans, &namespaces)?),
            false => None,
        };
        self.enter(self.template.namespaces & SHOWN, user)?;
        let mut stage = Stage { is_set: false };
        if user {
            stage.set()?;
        }
        let mut trees = match trees.take() {
            Some(trees) => trees,
            None => sources::open_mounts(&plans, &namespaces)?,
        };
        for (index, plan) in plans.iter_mut().enumerate() {
            trees[index] = stage.prepare(index, plan, trees[index].take(), user)?;
        }
        let root = self.enter_mounts()?;
        for (index, plan) in plans.iter().enumerate() {
            let made = attach(root.as_fd(), plan, trees[index].take(), &namespaces);
            if let Err(failure) = made {
                for plan in plans[..index].iter().rev() {
                    if !matches!(plan.what, What::Remount { .. } | What::RemountBind { .. }) {
                        let _ = detach(root.as_fd(), &plan.destination.to_string_lossy());
                    }
                }
                let user = namespaces.has(NEWUSER);
                let text = match Errno::from_raw_os_error(failure.errno) {
                    Errno::LOOP => links_refused(index, &plan.destination.to_string_lossy()),
                    _ => {
                        let said = detached::said();
                        let said = String::from_utf8_lossy(&said);
                        describe::mount(failure.stage, index, (&plans, user), failure.errno, &said)
                    }
                };
                return Err(LaunchError::Init(text));
            }
        }
        Ok(())
    }

    /// Detaches what is mounted on the destinations of `mounts`; their other members are not
    /// looked at.
    ///
    /// # Errors
    /// The first where nothing is mounted; those before it are detached.
    pub fn remove(&self, mounts: &[Mount<'_>]) -> Result<(), LaunchError> {
        let places: Vec<Mount<'_>> = mounts
            .iter()
            .map(|mount| Mount {
                destination: mount.destination.clone(),
                ..Mount::default()
            })
            .collect();
        for warning in config::check_mounts(&places)? {
            log::warn!("{warning}");
        }
        let user = self.enters_user_namespace()?;
        undumpable().map_err(failed)?;
        self.enter(0, user)?;
        let root = self.enter_mounts()?;
        for (index, mount) in places.iter().enumerate() {
            let path = clean(&mount.destination);
            detach(root.as_fd(), &path).map_err(|errno| {
                let text = match errno {
                    Errno::LOOP => links_refused(index, &path),
                    errno => not_detached(index, &path, errno),
                };
                LaunchError::Init(text)
            })?;
        }
        Ok(())
    }

    fn enters_user_namespace(&self) -> Result<bool, LaunchError> {
        if self.template.namespaces & NEWNS == 0 || self.template.shares_mounts {
            return Err(LaunchError::Usage(format!(
                "container {} has no mount namespace of its own: what is mounted there is the host's or another's",
                self.state.id
            )));
        }
        let namespaces = self.template.namespaces;
        Ok(namespaces & NEWUSER != 0 && !own_user_namespace(self.state.pid, namespaces)?)
    }

    /// The container's namespaces as those of one that is joined.
    fn namespaces(&self, user: bool) -> NamespacePlan {
        let flags = self.template.namespaces & !NEWUSER | if user { NEWUSER } else { 0 };
        let joins = crate::plan::namespaces::KINDS.iter().map(|kind| kind.2);
        NamespacePlan {
            join: joins
                .filter(|flag| flags & flag != 0)
                .map(|flag| Join {
                    flag,
                    // Only that of the user namespace is opened by its path.
                    path: c_string(format!("/proc/{}/ns/user", self.state.pid)),
                    index: 0,
                })
                .collect(),
            ..NamespacePlan::default()
        }
    }

    /// What of `linux` the plan of a mount depends on.
    fn linux(&self, user: bool) -> Result<Linux<'_>, LaunchError> {
        let mut linux = Linux {
            mount_label: self.template.linux.mount_label.clone(),
            ..Linux::default()
        };
        if user {
            linux.uid_mappings = self.mappings("uid_map")?;
            linux.gid_mappings = self.mappings("gid_map")?;
        }
        Ok(linux)
    }

    fn mappings(&self, name: &str) -> Result<Vec<IdMapping>, LaunchError> {
        let path = format!("/proc/{}/{name}", self.state.pid);
        let text = std::fs::read_to_string(&path)
            .map_err(io_errno)
            .doing("read", path)?;
        let line = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse);
            let mut number = || numbers.next()?.ok();
            Some(IdMapping {
                container_id: number()?,
                host_id: number()?,
                size: number()?,
            })
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// Enters the container's user namespace and those in `flags`.
    fn enter(&self, flags: u64, user: bool) -> Result<(), LaunchError> {
        let flags = flags | if user { NEWUSER } else { 0 };
        if user {
            let _ = rustix::thread::set_thread_groups(&[]);
        }
        if flags != 0 {
            setns(self.init.as_fd(), flags).doing("join the container", &self.state.id)?;
        }
        if user {
            let process = process::plan(&self.template.process)?;
            become_root(&process).map_err(failed)?;
            undumpable().map_err(failed)?;
        }
        Ok(())
    }

    /// Enters the container's mount namespace; gives its root.
    fn enter_mounts(&self) -> Result<OwnedFd, LaunchError> {
        // What was looked up by the init's number was the init's: it is there still.
        send_signal(&self.init, 0)
            .and_then(|()| setns(self.init.as_fd(), NEWNS))
            .doing("join the container", &self.state.id)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, c"/", flags, Mode::empty())
            .doing("open the root of container", &self.state.id)
    }
}

fn failed(failure: Failure) -> LaunchError {
    let errno = Errno::from_raw_os_error(failure.errno);
    LaunchError::System(failure.stage.text(), String::new(), errno)
}

/// The host's side, where mounts are made ready to be attached.
struct Stage {
    /// It is a copy of the host's mount namespace.
    is_set: bool,
}

impl Stage {
    fn set(&mut self) -> Result<(), LaunchError> {
        if !self.is_set {
            unshare_namespaces(NEWNS).doing("make a mount namespace", "")?;
            change_root_propagation(libc::MS_PRIVATE | libc::MS_REC)
                .doing("make mounts private", "")?;
            rootfs::namespace_is_private();
            self.is_set = true;
        }
        Ok(())
    }

    /// Makes a new file system, or gives a bind its flags, for which nothing is left to do then.
    fn prepare(
        &mut self,
        index: usize,
        plan: &mut MountPlan,
        tree: Option<OwnedFd>,
        user: bool,
    ) -> Result<Option<OwnedFd>, LaunchError> {
        match (&mut plan.what, tree) {
            (What::Filesystem(fs), None) => {
                let mount =
                    filesystem::detached(fs, None, fs.inherits_mode || fs.copy_up, Maker::Runtime);
                Ok(Some(
                    mount.map_err(|errno| sources::not_mounted(index, fs, errno))?,
                ))
            }
            (
                What::Bind {
                    attr,
                    recursive_attr,
                    ..
                },
                Some(mut tree),
            ) => {
                let (attr, recursive_attr) = (take(attr), take(recursive_attr));
                let set = |tree: &OwnedFd| {
                    set_propagation(tree, SLAVE)?;
                    set_attr(tree, false, &attr)?;
                    set_attr(tree, true, &recursive_attr)
                };
                let mut done = set(&tree);
                if done == Err(Errno::NOSYS) && !self.is_set {
                    // Before Linux 5.12 only a mount that is attached can be changed.
                    self.set()?;
                    done = set(&tree);
                }
                if self.is_set && done.is_ok() {
                    match clone_tree(&tree, true) {
                        Ok(detached) => tree = detached,
                        // It was not attached for what was changed.
                        Err(Errno::INVAL) => {}
                        Err(errno) => done = Err(errno),
                    }
                }
                let failed = sys_stub::Stage::MountFlags;
                done.map_err(|errno| {
                    let plans = std::slice::from_ref(plan);
                    let text = describe::mount(failed, 0, (plans, user), errno.raw_os_error(), "");
                    // The words are those of the first of one.
                    let text = text.replacen("/mounts/0", &format!("/mounts/{index}"), 1);
                    LaunchError::Init(text)
                })?;
                Ok(Some(tree))
            }
            (_, tree) => Ok(tree),
        }
    }
}

/// What only `create` can do.
fn refuse(index: usize, plan: &MountPlan) -> Result<(), ConfigError> {
    let message = match &plan.what {
        What::Proc { .. } => "a procfs can only be mounted when the container is created",
        What::Filesystem(fs) if fs.fstype.as_c_str() == c"proc" => {
            "a procfs can only be mounted when the container is created"
        }
        What::Cgroup { .. } => "cgroups can only be mounted when the container is created",
        What::Bind {
            link: SourceLink::Copy,
            ..
        } => "copy-symlink makes no mount: it is for the creation of the container",
        _ => return Ok(()),
    };
    Err(ConfigError::new(format!("/mounts/{index}"), message))
}

fn attach(
    root: BorrowedFd<'_>,
    plan: &MountPlan,
    tree: Option<OwnedFd>,
    namespaces: &NamespacePlan,
) -> Result<(), Failure> {
    let mut context = Context {
        root,
        trees: &mut [tree],
        tree_propagation: None,
        follows_links: false,
        cgroup: &CgroupMounts::Hidden,
        namespaces,
        mounts_cgroups: false,
        instead: Vec::new(),
        own: Own::default(),
        proc_is_own: false,
    };
    make(
        std::slice::from_ref(plan),
        &mut context,
        &mut Procfs::new(None),
    )
}

/// Detaches what is mounted on `path`, with all below it. A name of a directory that is held
/// open, in which no link is followed: what is mounted on cannot be renamed.
fn detach(root: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name.is_empty() {
        return Err(Errno::BUSY);
    }
    let (parent, name): (CString, CString) = (c_string(parent), c_string(name));
    let parent = resolve::handle_without_links(root, &parent)?;
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = statx(&parent, &name, flags, StatxFlags::empty())?;
    // Linux 5.8; where it is not known, umount2(2) says the same with EINVAL.
    let told = stat
        .stx_attributes_mask
        .contains(StatxAttributes::MOUNT_ROOT);
    if told && !stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(Errno::INVAL);
    }
    rustix::process::fchdir(&parent)?;
    match unmount(&name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // It is a mount, and still not to be unmounted.
        Err(Errno::INVAL) if told => Err(Errno::PERM),
        result => result,
    }
}

fn links_refused(index: usize, path: &str) -> String {
    format!(
        "/mounts/{index}/destination: /{path} leads through a symbolic link of the container, \
         which may change at any moment: name the place itself"
    )
}

fn not_detached(index: usize, path: &str, errno: Errno) -> String {
    let why = match errno {
        Errno::INVAL => "nothing is mounted there".to_owned(),
        Errno::PERM => {
            "the kernel keeps it (it was there when the user namespace got its mounts)".to_owned()
        }
        Errno::BUSY => "it is the root of the container".to_owned(),
        errno => errno_text(errno.raw_os_error()),
    };
    format!("/mounts/{index}/destination: cannot unmount /{path}: {why}")
}
