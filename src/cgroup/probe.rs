//! Finds out which cgroup hierarchies the host has. Mountinfo is not read: its cost grows with the
//! number of mounts, and every distribution mounts the hierarchies at the same names.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::CgroupError;
use super::file;
use super::systemd::Systemd;
use crate::plan::cgroup::{Hierarchy, Host, Unified};
use crate::sys::fd::ShortLived;

/// Where the cgroup file systems are mounted (systemd's file hierarchy, sysfs(5)).
pub const ROOT: &str = "/sys/fs/cgroup";

/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// Where cgroup v2 is mounted beside v1.
const HYBRID_DIRECTORY: &str = "unified";

/// The host's cgroup file systems, opened.
#[derive(Debug)]
pub struct Cgroupfs {
    pub(super) root: ShortLived,
    host: Host,
    pub(super) systemd: Option<Systemd>,
}

impl Cgroupfs {
    /// Opens `/sys/fs/cgroup` and finds out what is there.
    ///
    /// # Errors
    /// `/sys/fs/cgroup` or `/proc/self/cgroup` cannot be read.
    pub fn open() -> Result<Cgroupfs, CgroupError> {
        Self::open_at(ROOT.into())
    }

    /// A host that has none, or shows none to the runtime.
    ///
    /// # Errors
    /// There is not even a root directory.
    pub fn absent() -> Result<Cgroupfs, CgroupError> {
        // Nothing is opened below it: there is no hierarchy.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, "/", flags, Mode::empty())
            .map_err(|errno| CgroupError::kernel("open", "/", errno))?;
        Ok(Cgroupfs {
            root: root.into(),
            host: Host {
                root: ROOT.into(),
                ..Host::default()
            },
            systemd: None,
        })
    }

    /// The same for file systems that are mounted elsewhere.
    pub fn open_at(path: PathBuf) -> Result<Cgroupfs, CgroupError> {
        let shown = |path: &Path| path.display().to_string();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, &path, flags, Mode::empty())
            .map_err(|errno| CgroupError::kernel("open", shown(&path), errno))?;
        let read = |at: BorrowedFd, name: &str, whole: String| {
            file::read(at, name).map_err(|errno| CgroupError::kernel("read", whole, errno))
        };
        let controllers = |directory: &str| {
            let name = match directory {
                "" => "cgroup.controllers".to_owned(),
                directory => format!("{directory}/cgroup.controllers"),
            };
            let text = read(root.as_fd(), &name, shown(&path.join(&name)))?;
            let controllers = text.split_ascii_whitespace().map(str::to_owned).collect();
            Ok(Unified {
                directory: directory.to_owned(),
                controllers,
            })
        };
        let kind = rustix::fs::fstatfs(&root)
            .map_err(|errno| CgroupError::kernel("inspect", shown(&path), errno))?;
        let mut host = Host {
            root: path.clone(),
            ..Host::default()
        };
        if kind.f_type as u64 == CGROUP2_SUPER_MAGIC {
            host.unified = Some(controllers("")?);
            if !rustix::process::geteuid().is_root() {
                let own = file::read(CWD, "/proc/self/cgroup").unwrap_or_default();
                host.base = beside(&own).to_owned();
            }
        } else {
            let membership = "/proc/self/cgroup";
            let membership = read(CWD, membership, membership.to_owned())?;
            let names = directory_names(root.as_fd())
                .map_err(|errno| CgroupError::kernel("list", shown(&path), errno))?;
            host.hierarchies = hierarchies(&membership, &names);
            if names.iter().any(|name| name == HYBRID_DIRECTORY) {
                host.unified = controllers(HYBRID_DIRECTORY).ok();
            }
        }
        Ok(Cgroupfs {
            root: root.into(),
            host,
            systemd: None,
        })
    }

    /// Connects to the systemd that makes the cgroup: the user's or the system's.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn connect_systemd(&mut self, user: bool) -> Result<(), CgroupError> {
        let systemd = self.systemd.insert(Systemd::connect(user)?);
        self.host.base = match user {
            true => systemd.control_group()?,
            false => String::new(),
        };
        Ok(())
    }

    /// What there is.
    pub fn host(&self) -> &Host {
        &self.host
    }
}

/// The cgroup above the one that a process is in by its /proc/PID/cgroup on v2, without a slash
/// at either end.
fn beside(membership: &str) -> &str {
    let own = membership
        .lines()
        .find_map(|line| line.strip_prefix("0::/"));
    match own.and_then(|path| path.rsplit_once('/')) {
        // One outside the cgroup namespace has no name here.
        Some((above, _)) if !above.split('/').any(|level| level == "..") => above,
        _ => "",
    }
}

/// The hierarchies of cgroup v1 that are named in /proc/self/cgroup and mounted at one of their
/// usual names.
fn hierarchies(membership: &str, mounted: &[String]) -> Vec<Hierarchy> {
    let mut hierarchies = Vec::new();
    for line in membership.lines() {
        // hierarchy-ID:controllers:path, cgroups(7); v2 has no controllers here.
        let Some(controllers) = line.split(':').nth(1).filter(|names| !names.is_empty()) else {
            continue;
        };
        let directory = std::iter::once(controllers)
            .chain(controllers.split(','))
            .map(|name| name.trim_start_matches("name="))
            .find(|name| mounted.iter().any(|mounted| mounted == name));
        if let Some(directory) = directory {
            hierarchies.push(Hierarchy {
                directory: directory.to_owned(),
                controllers: controllers.split(',').map(str::to_owned).collect(),
            });
        }
    }
    hierarchies
}

fn directory_names(directory: BorrowedFd) -> Result<Vec<String>, Errno> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(membership: &str, mounted: &[&str]) -> Vec<(String, Vec<String>)> {
        let mounted: Vec<String> = mounted.iter().map(|name| (*name).to_owned()).collect();
        hierarchies(membership, &mounted)
            .into_iter()
            .map(|h| (h.directory, h.controllers))
            .collect()
    }

    #[test]
    fn beside_the_own_cgroup_is_below_the_one_above_it() {
        let of = |path: &str| beside(&format!("1:pids:/x\n0::{path}\n")).to_owned();
        assert_eq!(
            of("/user.slice/user-7.slice/a.scope"),
            "user.slice/user-7.slice"
        );
        assert_eq!(of("/a"), "");
        assert_eq!(of("/"), "");
        assert_eq!(of("/../../b"), "");
        assert_eq!(beside("1:pids:/a/b\n"), "");
    }

    #[test]
    fn hierarchies_are_found_at_their_usual_names() {
        let membership = "12:name=systemd:/\n4:memory:/a:b\n3:cpu,cpuacct:/\n2:net_cls,net_prio:/\n1:pids:/\n0::/\n";
        let mounted = ["systemd", "memory", "cpu,cpuacct", "net_prio", "unified"];
        let found = found(membership, &mounted);
        let names: Vec<&str> = found
            .iter()
            .map(|(directory, _)| directory.as_str())
            .collect();
        assert_eq!(names, ["systemd", "memory", "cpu,cpuacct", "net_prio"]);
        assert_eq!(found[2].1, ["cpu", "cpuacct"]);
        assert_eq!(found[3].1, ["net_cls", "net_prio"]);
    }
}
