//! Mounts that the parent has to make, for the init to attach: in a user namespace the init
//! is not root on the host any more and cannot open sources; once its mount namespace is cut
//! off from the host, no clone of its own would give mounts back to the host, as `rshared`
//! promises; and ids are mapped by who has rights over the file system.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::LaunchError;
use super::idmaps::Namespaces;
use crate::config::ConfigError;
use crate::plan::Plan;
use crate::plan::idmap::IdMap;
use crate::plan::mounts::{Filesystem, MountPlan, What};
use crate::plan::namespaces::NamespacePlan;
use crate::rootfs::calls::{open_source, open_tree, set_propagation};
use crate::rootfs::detached;
use crate::rootfs::filesystem::{self, Maker};
use crate::sys::mount::{MountAttr, mount_setattr};
use crate::sys::{Errno, errno_text};

/// The root file system's tree and those of the mounts, by index.
pub type Trees = (Option<OwnedFd>, Vec<Option<OwnedFd>>);

/// Lets so many trees be open at once, if the soft limit is lower. Gives the limit to go back
/// to: the program inherits it.
pub fn make_room(plan: &Plan) -> Option<Rlimit> {
    /// What else the runtime has open, with some to spare.
    const OTHERS: u64 = 64;
    let needed = plan.mounts.len() as u64 + OTHERS;
    // No soft limit is lower than this on any system that works.
    if needed <= 256 {
        return None;
    }
    let old = getrlimit(Resource::Nofile);
    let soft = old.current?;
    if soft >= needed {
        return None;
    }
    let raised = Rlimit {
        current: Some(old.maximum.map_or(needed, |hard| hard.min(needed))),
        maximum: old.maximum,
    };
    setrlimit(Resource::Nofile, raised).is_ok().then_some(old)
}

/// Makes them: all binds if root makes or joins a user namespace, else those that are to be
/// shared with the host, which takes the word of the mount and that of the root file system;
/// and what is id-mapped.
///
/// # Errors
/// A source that cannot be opened, or ids that cannot be mapped, with its pointer.
pub fn open(plan: &Plan) -> Result<Trees, LaunchError> {
    if !plan.namespaces.makes(libc::CLONE_NEWNS as u64) && !plan.apart {
        return Ok((None, Vec::new()));
    }
    let user = plan.namespaces.has(libc::CLONE_NEWUSER as u64);
    let all = user && rustix::process::geteuid().is_root();
    let shared = !user && plan.root.final_propagation.is_some_and(is_shared);
    let mapped = plan.mounts.iter().any(|mount| mount.idmap.is_some());
    if !all && !shared && !mapped {
        return Ok((None, Vec::new()));
    }
    let root = match all {
        true => match open_tree(&plan.root.path, true) {
            Ok(tree) => Some(tree),
            // Root of a user namespace who is still in the host's mount namespace may not: the
            // init opens what it can, as that of a user does.
            Err(Errno::PERM) if !mapped => return Ok((None, Vec::new())),
            Err(errno) => {
                return Err(error("/root/path".to_owned(), &plan.root.path, errno));
            }
        },
        false => None,
    };
    let trees = open_each(&plan.mounts, &plan.namespaces, |tree, mount| {
        let gives_back = shared && asks_for_shared(mount);
        if !all && !gives_back && mount.idmap.is_none() {
            return Ok(false);
        }
        if let Some(tree) = tree
            && !gives_back
            && !user
        {
            // Made here, it is a peer of the host's mount: what the container mounts
            // in it would appear on the host. (In a user namespace the init sees to it.)
            set_propagation(tree, plan.root.propagation)?;
        }
        Ok(true)
    })?;
    Ok((root, trees))
}

/// Makes all binds, and what is id-mapped.
///
/// # Errors
/// As [`open`].
pub fn open_mounts(
    mounts: &[MountPlan],
    namespaces: &NamespacePlan,
) -> Result<Vec<Option<OwnedFd>>, LaunchError> {
    open_each(mounts, namespaces, |_, _| Ok(true))
}

/// Makes those that `see_to` says are needed; it is asked again once one is there.
fn open_each(
    mounts: &[MountPlan],
    plan: &NamespacePlan,
    see_to: impl Fn(Option<&OwnedFd>, &MountPlan) -> crate::sys::Result<bool>,
) -> Result<Vec<Option<OwnedFd>>, LaunchError> {
    let mut namespaces = Namespaces::default();
    let mut trees = Vec::with_capacity(mounts.len());
    for (index, mount) in mounts.iter().enumerate() {
        let needed = see_to(None, mount).unwrap_or(true);
        let tree = match &mount.what {
            What::Bind {
                source,
                recursive,
                link,
                ..
            } if needed => {
                let failed = |errno| error(format!("/mounts/{index}/source"), source, errno);
                let tree = open_source(source, *recursive, *link).map_err(failed)?;
                see_to(Some(&tree), mount).map_err(failed)?;
                Some(tree)
            }
            What::Filesystem(fs) if mount.idmap.is_some() => {
                // The init gives it the mode of its directory, or fills it.
                let unfinished = fs.inherits_mode || fs.copy_up;
                let mount = filesystem::detached(fs, None, unfinished, Maker::Runtime);
                Some(mount.map_err(|errno| not_mounted(index, fs, errno))?)
            }
            _ => None,
        };
        if let (Some(tree), Some(idmap)) = (&tree, &mount.idmap) {
            map_ids(index, mount, tree, idmap, &mut namespaces, plan)?;
        }
        trees.push(tree);
    }
    Ok(trees)
}

fn map_ids<'a>(
    index: usize,
    mount: &MountPlan,
    tree: &OwnedFd,
    idmap: &'a IdMap,
    namespaces: &mut Namespaces<'a>,
    plan: &NamespacePlan,
) -> Result<(), LaunchError> {
    let failed = |what: &str, errno: Errno, hint: &str| {
        let why = errno_text(errno.raw_os_error());
        let message = format!("cannot {what}: {why}");
        let error = ConfigError::new(format!("/mounts/{index}"), message);
        LaunchError::Config(if hint.is_empty() {
            error
        } else {
            error.with_hint(hint)
        })
    };
    let namespace = namespaces.get(&idmap.map, plan).map_err(|errno| {
        let hint = match errno {
            Errno::INVAL => "the kernel takes no such mapping: do ranges overlap?",
            Errno::PERM | Errno::ACCESS => "id-mapped mounts need root",
            Errno::NOSPC | Errno::USERS => {
                "too many user namespaces: sysctl user.max_user_namespaces"
            }
            _ => "",
        };
        failed(
            "make the user namespace of the mount's id mapping",
            errno,
            hint,
        )
    })?;
    let attr = MountAttr {
        set: libc::MOUNT_ATTR_IDMAP,
        userns_fd: std::os::fd::AsRawFd::as_raw_fd(namespace) as u64,
        ..MountAttr::default()
    };
    mount_setattr(tree.as_fd(), idmap.recursive, &attr).map_err(|errno| {
        let hint = match errno {
            Errno::INVAL if idmap.recursive => {
                "the file system, or one that is mounted below it, has no id-mapped mounts"
            }
            Errno::INVAL => "this file system has no id-mapped mounts in this kernel",
            Errno::PERM => {
                "it needs rights over the file system, and a mount that is not id-mapped"
            }
            Errno::NOSYS => "it needs Linux 5.12",
            _ => "",
        };
        let what = match &mount.what {
            What::Bind { source, .. } => source,
            What::Filesystem(fs) => &fs.fstype,
            _ => &mount.destination,
        };
        let what = format!("map the ids of {}", what.to_string_lossy());
        failed(&what, errno, hint)
    })
}

/// The words for a file system that was refused.
pub fn not_mounted(index: usize, fs: &Filesystem, errno: Errno) -> LaunchError {
    let why = errno_text(errno.raw_os_error());
    let fstype = fs.fstype.to_string_lossy();
    let error = ConfigError::new(
        format!("/mounts/{index}"),
        format!("cannot mount {fstype}: {why}"),
    );
    let said = detached::said();
    LaunchError::Config(match errno {
        _ if !said.is_empty() => error.with_hint(String::from_utf8_lossy(&said)),
        Errno::INVAL if filesystem::needs_mount(fs) => {
            error.with_hint("options of an id-mapped file system have at most 255 bytes each, and no escaped commas")
        }
        Errno::INVAL => error.with_hint("an option that the file system does not take?"),
        Errno::NODEV => error.with_hint("the kernel knows no such file system"),
        _ => error,
    })
}

fn asks_for_shared(mount: &MountPlan) -> bool {
    mount.propagation.last().copied().is_some_and(is_shared)
}

fn is_shared(flags: u64) -> bool {
    flags & libc::MS_SHARED != 0
}

fn error(pointer: String, path: &CStr, errno: Errno) -> LaunchError {
    let why = errno_text(errno.raw_os_error());
    LaunchError::Config(ConfigError::new(
        pointer,
        format!("cannot open {}: {why}", path.to_string_lossy()),
    ))
}
