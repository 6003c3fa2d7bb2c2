//! Judges what CRIU has restored, before it runs. A checkpoint says itself in which
//! namespaces its processes live, what they may do and what is mounted: what is more than
//! config.json gives is refused.

use std::collections::BTreeSet;

use rustix::fs::{CWD, Mode, OFlags};

use super::mounts::{MountLine, at, parse};
use crate::cgroup::Record;
use crate::config::spec::Process;
use crate::plan::Plan;
use crate::plan::mounts::What;
use crate::plan::namespaces::{CLONE_NEWTIME, KINDS};
use crate::sys::{Errno, errno_text, io_errno};

const NEWNS: u64 = libc::CLONE_NEWNS as u64;
const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;

/// File systems that show the kernel and not the host's storage.
const VIRTUAL: [&str; 5] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];
/// Those that are empty where they are made.
const MEMORY: [&str; 2] = ["tmpfs", "devpts"];

/// What a restored container has to be.
pub struct Expected<'a> {
    /// As it was planned.
    pub plan: &'a Plan,
    /// Its process.
    pub process: &'a Process<'a>,
    /// Its cgroup.
    pub cgroup: &'a Record,
    /// Whether there is a seccomp filter.
    pub seccomp: bool,
    /// Whether `--lsm-profile` takes the place of the labels.
    pub other_label: bool,
    /// The mounts of criu's own namespace.
    pub staged: Vec<MountLine>,
    /// Where the host's are among them, with `/` at the end.
    pub stage: String,
}

/// What is wrong.
type Verdict = Result<(), String>;

impl Expected<'_> {
    /// Judges the init and all processes of the container.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn judge(&self, init: i32) -> Verdict {
        let members = self.members(init)?;
        for &pid in &members {
            self.namespaces(pid)?;
            self.rights(pid)?;
        }
        if self.plan.process.no_new_privileges
            && value(&read(init, "status")?, "NoNewPrivs") != Some("1")
        {
            // CRIU does not know of it (as of 3.17), and nobody can set it for another process.
            log::warn!("/process/noNewPrivileges: CRIU has not restored it");
        }
        self.user_namespace(init)?;
        if self.plan.namespaces.makes(NEWNS) {
            self.mounts(init)?;
        }
        self.label(init)
    }

    /// The init and all that descends from it; all have to be in the container's cgroup.
    fn members(&self, init: i32) -> Result<BTreeSet<i32>, String> {
        let mut found = BTreeSet::from([init]);
        let mut open = vec![init];
        while let Some(pid) = open.pop() {
            let children = children(pid).map_err(|errno| unreadable(pid, "children", errno))?;
            open.extend(children.into_iter().filter(|child| found.insert(*child)));
        }
        if self.cgroup.lists_processes() {
            let inside = self.cgroup.processes().map_err(|error| error.to_string())?;
            let inside = |pid: &i32| u32::try_from(*pid).is_ok_and(|pid| inside.contains(&pid));
            if let Some(pid) = found.iter().find(|pid| !inside(pid)) {
                return Err(format!("process {pid} is not in the container's cgroup"));
            }
        }
        Ok(found)
    }

    fn namespaces(&self, pid: i32) -> Verdict {
        let inode = |path: &str| {
            let stat = rustix::fs::stat(path);
            stat.map(|stat| (stat.st_dev, stat.st_ino))
                .map_err(|errno| {
                    format!(
                        "cannot inspect {path}: {}",
                        errno_text(errno.raw_os_error())
                    )
                })
        };
        for (word, file, flag) in KINDS {
            // CRIU always restores into a time namespace of its own.
            if flag == CLONE_NEWTIME || !self.plan.namespaces.has(flag) {
                continue;
            }
            let theirs = inode(&format!("/proc/{pid}/ns/{file}"))?;
            if theirs == inode(&format!("/proc/self/ns/{file}"))?
                && !self.plan.namespaces.joins(flag)
            {
                return Err(format!(
                    "process {pid} is in the host's {word} namespace, and not in one of its own"
                ));
            }
            let mut joins = self.plan.namespaces.join.iter();
            if let Some(join) = joins.find(|join| join.flag == flag)
                && theirs != inode(&join.path.to_string_lossy())?
            {
                return Err(format!(
                    "process {pid} is in another {word} namespace than \
                     /linux/namespaces/{} names",
                    join.index
                ));
            }
        }
        Ok(())
    }

    /// Capabilities and seccomp.
    fn rights(&self, pid: i32) -> Verdict {
        let status = read(pid, "status")?;
        let caps = &self.plan.process.capabilities;
        let allowed =
            caps.bounding | caps.effective | caps.permitted | caps.inheritable | caps.ambient;
        for key in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let mask = value(&status, key).and_then(|mask| u64::from_str_radix(mask, 16).ok());
            let more = mask.unwrap_or(!0) & !allowed;
            if more != 0 {
                let names = crate::plan::process::capability_names(more);
                return Err(format!(
                    "process {pid} has {names}, which /process/capabilities does not give"
                ));
            }
        }
        if self.seccomp && value(&status, "Seccomp") != Some("2") {
            return Err(format!(
                "process {pid} has no seccomp filter (/linux/seccomp)"
            ));
        }
        Ok(())
    }

    fn user_namespace(&self, init: i32) -> Verdict {
        let namespaces = &self.plan.namespaces;
        if !namespaces.makes(NEWUSER) {
            return Ok(());
        }
        let words =
            |text: &str| -> Vec<u64> { text.split_whitespace().flat_map(str::parse).collect() };
        for (file, wanted) in [
            ("uid_map", &namespaces.uid_map),
            ("gid_map", &namespaces.gid_map),
        ] {
            if words(&read(init, file)?) != words(wanted) {
                return Err(format!("its {file} is another"));
            }
        }
        Ok(())
    }

    /// Everything mounted is one of the staged mounts, or nothing of the host's storage; and
    /// what is to be read-only is.
    fn mounts(&self, init: i32) -> Verdict {
        let lines = parse(read(init, "mountinfo")?.as_bytes());
        let stage = self.stage.as_bytes();
        let staged: Vec<&MountLine> = self
            .staged
            .iter()
            .filter(|line| line.point.starts_with(stage))
            .collect();
        let named = |fstype: &str| {
            self.plan.mounts.iter().any(|mount| {
                matches!(&mount.what, What::Filesystem(fs) if fs.fstype.to_bytes() == fstype.as_bytes())
            })
        };
        for line in &lines {
            let shown = String::from_utf8_lossy(&line.point);
            let fstype = line.fstype.as_str();
            // What is shown of a file system is given by every mount of it that shows it.
            let mut giving = staged
                .iter()
                .filter(|s| s.device == line.device && below(&line.root, &s.root))
                .peekable();
            if giving.peek().is_some() {
                if !line.readonly && giving.all(|s| s.readonly) {
                    return Err(format!("{shown} is writable, and read-only in config.json"));
                }
                continue;
            }
            let of_host = self.staged.iter().any(|s| s.device == line.device);
            if of_host && !VIRTUAL.contains(&fstype) {
                return Err(format!("{shown} shows what config.json does not give"));
            }
            if !VIRTUAL.contains(&fstype) && !MEMORY.contains(&fstype) && !named(fstype) {
                return Err(format!(
                    "{shown} is a mount of {fstype} that config.json does not name"
                ));
            }
        }
        let root = lines.iter().rfind(|line| line.point == b"/");
        if self.plan.root.readonly && root.is_none_or(|root| !root.readonly) {
            return Err("its root is writable (/root/readonly)".to_owned());
        }
        self.protected(init, &lines)
    }

    /// Binds and protected paths are there, at their places, with their flags.
    fn protected(&self, init: i32, lines: &[MountLine]) -> Verdict {
        let path = format!("/proc/{init}/root");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, &path, flags, Mode::empty())
            .map_err(|errno| unreadable(init, "root", errno))?;
        use std::os::fd::AsFd;
        let mount_at = |path: &std::ffi::CStr| {
            let id = at(root.as_fd(), path, None).ok().flatten();
            lines.iter().find(|line| Some(line.id) == id)
        };
        for (index, mount) in self.plan.mounts.iter().enumerate() {
            let What::Bind { attr, .. } = &mount.what else {
                continue;
            };
            let readonly = attr.set & libc::MOUNT_ATTR_RDONLY != 0;
            if let Some(line) = mount_at(&mount.destination)
                && readonly
                && !line.readonly
            {
                return Err(format!("/mounts/{index} is writable"));
            }
        }
        let there =
            |path: &std::ffi::CStr| crate::rootfs::resolve::handle(root.as_fd(), path).is_ok();
        for (index, path) in self.plan.masked_paths.iter().enumerate() {
            if there(path) && mount_at(path).is_none() {
                return Err(format!("/linux/maskedPaths/{index} is not masked"));
            }
        }
        for (index, path) in self.plan.readonly_paths.iter().enumerate() {
            if there(path) && mount_at(path).is_none_or(|line| !line.readonly) {
                return Err(format!("/linux/readonlyPaths/{index} is writable"));
            }
        }
        Ok(())
    }

    /// AppArmor. (What SELinux makes of a label at execve is its policy's.)
    fn label(&self, init: i32) -> Verdict {
        let wanted = self.process.apparmor_profile.as_deref();
        let Some(wanted) = wanted.filter(|label| !label.is_empty() && !self.other_label) else {
            return Ok(());
        };
        let label = read(init, "attr/apparmor/current").or_else(|_| read(init, "attr/current"))?;
        let rest = label.trim_end().strip_prefix(wanted);
        match rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '/'])) {
            true => Ok(()),
            false => Err(format!(
                "its AppArmor profile is {:?} (/process/apparmorProfile)",
                label.trim_end()
            )),
        }
    }
}

/// A value of /proc/PID/status.
fn value<'s>(status: &'s str, key: &str) -> Option<&'s str> {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.strip_prefix(':')).map(str::trim)
}

/// Whether `path` is `directory` or in it.
fn below(path: &[u8], directory: &[u8]) -> bool {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    let rest = path.strip_prefix(directory);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn children(pid: i32) -> Result<Vec<i32>, Errno> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).map_err(io_errno)? {
        let path = task.map_err(io_errno)?.path().join("children");
        let text = std::fs::read_to_string(path).map_err(io_errno)?;
        found.extend(text.split_whitespace().flat_map(str::parse::<i32>));
    }
    Ok(found)
}

fn read(pid: i32, file: &str) -> Result<String, String> {
    let bytes = std::fs::read(format!("/proc/{pid}/{file}"))
        .map_err(|error| unreadable(pid, file, io_errno(error)))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unreadable(pid: i32, file: &str, errno: Errno) -> String {
    let why = errno_text(errno.raw_os_error());
    format!("cannot read {file} of process {pid}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_means_the_directory_and_what_is_in_it() {
        for (path, directory, expected) in [
            ("/a/b", "/a", true),
            ("/a", "/a", true),
            ("/ab", "/a", false),
            ("/x", "/", true),
            ("/", "/a", false),
        ] {
            assert_eq!(
                below(path.as_bytes(), directory.as_bytes()),
                expected,
                "{path}"
            );
        }
    }
}
