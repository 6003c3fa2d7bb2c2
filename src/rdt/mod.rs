//! Intel RDT: the container's group of the resctrl file system.

mod stats;

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::plan::rdt::RdtPlan;
use crate::sys::fd::ShortLived;
use crate::sys::{Errno, Result as SysResult, errno_text, io_errno};
pub use stats::Stats;

/// Where the file system is mounted unless somebody wants it elsewhere.
const USUAL: &str = "/sys/fs/resctrl";
const POINTER: &str = "/linux/intelRdt";

/// What is made for a container, for those who remove it. Written down before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Where the file system is mounted.
    pub root: String,
    /// The group's directory; the root itself for the default class.
    pub group: String,
    /// Whether it is made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub makes_group: bool,
    /// Whether config.json names it: it then stays when the container is deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub named: bool,
    /// The monitoring group's directory, if one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
}

/// Looks at the file system and says what will be made. Nothing is changed.
///
/// # Errors
/// There is no resctrl, no such group, or it is not as config.json wants it.
pub fn intend(plan: &RdtPlan) -> Result<Record, ConfigError> {
    let root = find_root()?;
    let group = match plan.group.as_str() {
        "" => root.clone(),
        name => format!("{root}/{name}"),
    };
    let exists = match open_dir(&group) {
        Ok(dir) => {
            if !plan.lines.is_empty() {
                let file = format!("{group}/schemata");
                let text = read(dir.as_fd(), "schemata")
                    .map_err(|errno| failed(POINTER, format_args!("read {file}"), errno))?;
                plan.require(&text)?;
            }
            true
        }
        Err(Errno::NOENT) if plan.named && plan.lines.is_empty() => {
            return Err(ConfigError::new(
                "/linux/intelRdt/closID",
                format!("there is no group {group}"),
            )
            .with_hint("make it before, or give lines for it in \"schemata\""));
        }
        Err(Errno::NOENT) => false,
        Err(errno) => return Err(failed(POINTER, format_args!("open {group}"), errno)),
    };
    let monitor = plan
        .monitor
        .as_ref()
        .map(|name| format!("{group}/mon_groups/{name}"));
    if let Some(path) = monitor.as_deref().filter(|path| open_dir(path).is_ok()) {
        return Err(ConfigError::new(
            "/linux/intelRdt/enableMonitoring",
            format!("the monitoring group {path} exists: somebody else uses it"),
        ));
    }
    Ok(Record {
        root,
        group,
        makes_group: !exists,
        named: plan.named,
        monitor,
    })
}

impl Record {
    /// Makes the group and its monitoring group, writes the lines and puts the process in.
    ///
    /// # Errors
    /// What the kernel refuses, with its own words where it has some. What was made is
    /// for [`Record::undo`] to remove.
    pub fn apply(&mut self, plan: &RdtPlan, pid: i32) -> Result<(), ConfigError> {
        if self.makes_group {
            let full = "every class of service of this machine is in use";
            make(&self.group, POINTER, full).inspect_err(|_| self.makes_group = false)?;
        }
        let dir = open_dir(&self.group)
            .map_err(|errno| failed(POINTER, format_args!("open {}", self.group), errno))?;
        // First: a group with a process in it is nobody's to undo.
        self.add(pid, &self.group, dir.as_fd(), POINTER)?;
        if self.makes_group {
            self.write_lines(dir.as_fd(), &plan.lines)?;
        }
        let Some(monitor) = self.monitor.take() else {
            return Ok(());
        };
        let pointer = "/linux/intelRdt/enableMonitoring";
        make(
            &monitor,
            pointer,
            "every monitoring group of this machine is in use",
        )?;
        let path = self.monitor.insert(monitor).clone();
        let dir =
            open_dir(&path).map_err(|errno| failed(pointer, format_args!("open {path}"), errno))?;
        self.add(pid, &path, dir.as_fd(), pointer)
    }

    /// Writes further lines to the group; gives what its `schemata` said before.
    ///
    /// # Errors
    /// What the kernel refuses; the former lines are in force again then.
    pub fn rewrite(&self, lines: &[(String, String)]) -> Result<String, ConfigError> {
        let dir = open_dir(&self.group)
            .map_err(|errno| failed(POINTER, format_args!("open {}", self.group), errno))?;
        let former = read(dir.as_fd(), "schemata").map_err(|errno| {
            failed(POINTER, format_args!("read {}/schemata", self.group), errno)
        })?;
        self.write_lines(dir.as_fd(), lines)
            .inspect_err(|_| self.restore(&former))?;
        Ok(former)
    }

    fn write_lines(
        &self,
        dir: BorrowedFd<'_>,
        lines: &[(String, String)],
    ) -> Result<(), ConfigError> {
        for (line, pointer) in lines {
            write(dir, "schemata", &format!("{line}\n")).map_err(|errno| {
                let what = format_args!("write \"{line}\" to {}/schemata", self.group);
                self.explained(failed(pointer.as_str(), what, errno))
            })?;
        }
        Ok(())
    }

    /// Writes the lines of a former `schemata` again.
    pub fn restore(&self, former: &str) {
        let Ok(dir) = open_dir(&self.group) else {
            return;
        };
        for line in former.lines() {
            let _ = write(dir.as_fd(), "schemata", &format!("{}\n", line.trim()));
        }
    }

    /// Puts processes into the group that run already, with all their threads.
    ///
    /// # Errors
    /// The kernel refuses. A thread that has ended is none.
    pub fn add_running(&self, pids: &[u32]) -> Result<(), ConfigError> {
        for path in std::iter::once(&self.group).chain(&self.monitor) {
            let dir = open_dir(path)
                .map_err(|errno| failed(POINTER, format_args!("open {path}"), errno))?;
            for pid in pids {
                let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
                for thread in threads.into_iter().flatten().flatten() {
                    let number = thread.file_name().to_string_lossy().parse();
                    if let Ok(number) = number {
                        self.add(number, path, dir.as_fd(), POINTER)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add(
        &self,
        pid: i32,
        path: &str,
        dir: BorrowedFd<'_>,
        pointer: &str,
    ) -> Result<(), ConfigError> {
        match write(dir, "tasks", &format!("{pid}\n")) {
            // An init that has died is noticed by the next receive, with its reason.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => {
                let what = format_args!("write the process {pid} to {path}/tasks");
                Err(self.explained(failed(pointer, what, errno)))
            }
        }
    }

    /// The kernel's own words for what it refused, as a hint.
    fn explained(&self, error: ConfigError) -> ConfigError {
        let said = open_dir(&format!("{}/info", self.root))
            .and_then(|info| read(info.as_fd(), "last_cmd_status"))
            .unwrap_or_default();
        match said.trim() {
            "" | "ok" => error,
            said => error.with_hint(said.lines().collect::<Vec<_>>().join("; ")),
        }
    }

    /// Removes what belongs to the container when it is deleted.
    pub fn remove(&self) {
        if let Some(monitor) = &self.monitor {
            remove(monitor);
        }
        if self.makes_group && !self.named {
            remove(&self.group);
        }
    }

    /// Removes what a launch has made that is undone. A group that config.json names goes
    /// only while nobody is in it: another container may have joined it already, and its
    /// removal would put that one into the default class.
    pub fn undo(&self) {
        self.remove();
        let unused = || {
            open_dir(&self.group)
                .and_then(|dir| read(dir.as_fd(), "tasks"))
                .is_ok_and(|tasks| tasks.trim().is_empty())
        };
        if self.makes_group && self.named && unused() {
            remove(&self.group);
        }
    }
}

/// Where resctrl is mounted.
fn find_root() -> Result<String, ConfigError> {
    /// `RDTGROUP_SUPER_MAGIC` of linux/magic.h.
    const RESCTRL: rustix::fs::FsWord = 0x0765_5821;
    let is_resctrl = |path: &str| {
        open_dir(path)
            .and_then(|dir| rustix::fs::fstatfs(&dir))
            .is_ok_and(|stat| stat.f_type == RESCTRL)
    };
    if is_resctrl(USUAL) {
        return Ok(USUAL.to_owned());
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mount_point(&mounts)
        .filter(|point| is_resctrl(point))
        .ok_or_else(|| {
            ConfigError::new(POINTER, "no resctrl file system is mounted").with_hint(
                "where processor and kernel have it: mount -t resctrl resctrl /sys/fs/resctrl",
            )
        })
}

/// The first mount of type resctrl in mountinfo (proc(5)).
fn mount_point(mounts: &str) -> Option<String> {
    let line = mounts.lines().find(|line| line.contains(" - resctrl "))?;
    line.split(' ').nth(4).map(str::to_owned)
}

fn open_dir(path: &str) -> SysResult<ShortLived> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map(ShortLived::from)
}

/// Makes a group. One that somebody else made meanwhile is an error: it would be removed
/// with the container.
fn make(path: &str, pointer: &str, when_full: &str) -> Result<(), ConfigError> {
    rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755)).map_err(|errno| {
        let error = failed(pointer, format_args!("make the group {path}"), errno);
        match errno {
            Errno::NOSPC => error.with_hint(when_full),
            Errno::NOENT => error.with_hint("this kernel or processor cannot monitor"),
            _ => error,
        }
    })
}

fn read(dir: BorrowedFd<'_>, name: &str) -> SysResult<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(file), &mut text).map_err(io_errno)?;
    Ok(text)
}

/// One write(2), as kernel files want it.
fn write(dir: BorrowedFd<'_>, name: &str, text: &str) -> SysResult<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::io::write(&file, text.as_bytes())).map(drop)
}

fn remove(path: &str) {
    match rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => log::warn!("cannot remove {path}: {}", errno_text(errno.raw_os_error())),
    }
}

fn failed(pointer: &str, what: std::fmt::Arguments<'_>, errno: Errno) -> ConfigError {
    let why = errno_text(errno.raw_os_error());
    ConfigError::new(pointer, format!("cannot {what}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::mount_point;

    #[test]
    fn the_mount_is_found_by_its_type() {
        let mounts = "25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n\
            91 25 0:55 / /sys/fs/resctrl rw,relatime - resctrl resctrl rw,cdp\n";
        assert_eq!(mount_point(mounts).as_deref(), Some("/sys/fs/resctrl"));
        assert_eq!(
            mount_point("25 30 0:23 / /resctrl rw - tmpfs resctrl rw\n"),
            None
        );
    }
}
