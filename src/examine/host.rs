//! What is wrong with a bundle on this host: files that are not there, and what kernel, cgroups
//! and user may not do. Everything is looked at, nothing is opened for writing.

mod files;

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{Finding, Planned, Request, Severity};
use crate::cgroup::systemd::Systemd;
use crate::config::spec::{Linux, Spec};
use crate::config::{ConfigError, sysctl};
use crate::launch::ids::ranges_of;
use crate::plan::cgroup::{Host, Phase};
use crate::plan::mounts::What;
use crate::plan::namespaces::KINDS;
use crate::plan::process::capability_names;
use crate::sys::{Errno, errno_text};

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const NEWNS: u64 = libc::CLONE_NEWNS as u64;
/// `NSFS_MAGIC` of linux/magic.h.
const NSFS: u64 = 0x6e73_6673;
/// `SELINUX_MAGIC` of linux/magic.h.
const SELINUX: u64 = 0xf97c_ff8c;
/// `RDTGROUP_SUPER_MAGIC` of linux/magic.h.
const RESCTRL: u64 = 0x0765_5821;

/// What was found so far, and what it is looked for with.
struct Look<'l> {
    spec: &'l Spec<'l>,
    linux: &'l Linux<'l>,
    planned: &'l Planned,
    root: bool,
    found: Vec<Finding>,
}

/// Looks at everything.
pub fn problems(
    request: &Request,
    spec: &Spec<'_>,
    planned: &Planned,
    cgroups: &Host,
    bundle: &Path,
) -> Vec<Finding> {
    let absent = Linux::default();
    let mut look = Look {
        spec,
        linux: spec.linux.as_ref().unwrap_or(&absent),
        planned,
        root: rustix::process::geteuid().is_root(),
        found: Vec::new(),
    };
    look.root_and_program();
    look.namespaces();
    look.ids();
    look.sources(bundle);
    look.filesystems();
    look.hooks();
    look.labels();
    look.process();
    look.sysctls();
    look.seccomp();
    look.devices_of_network();
    look.rdt();
    look.cgroup(request, cgroups);
    look.found
}

impl Look<'_> {
    #[inline(never)]
    fn error(&mut self, pointer: &str, message: &str, hint: &str) {
        self.found
            .push(ConfigError::new(pointer, message).with_hint(hint).into());
    }

    #[inline(never)]
    fn warn(&mut self, pointer: &str, message: &str, hint: &str) {
        self.error(pointer, message, hint);
        if let Some(last) = self.found.last_mut() {
            last.severity = Severity::Warning;
        }
    }

    fn namespaces(&mut self) {
        let plan = &self.planned.plan.namespaces;
        let pointer = |kind: &str| {
            let place = self.linux.namespaces.iter().position(|n| n.kind == kind);
            place.map_or("/linux/namespaces".to_owned(), |at| {
                format!("/linux/namespaces/{at}")
            })
        };
        let mut found = Vec::new();
        for (kind, file, flag) in KINDS {
            if plan.has(flag) && !Path::new("/proc/self/ns").join(file).exists() {
                found.push((
                    pointer(kind),
                    format!("this kernel has no {kind} namespaces"),
                    "leave it out, or take a kernel that is built with them",
                ));
            }
            let limit = number(&format!("/proc/sys/user/max_{file}_namespaces"));
            if plan.makes(flag) && limit == Some(0) {
                found.push((
                    pointer(kind),
                    format!(
                        "no {kind} namespace may be made here: user.max_{file}_namespaces is 0"
                    ),
                    "raise it with sysctl",
                ));
            }
        }
        let denied = number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0);
        if plan.makes(NEWUSER) && !self.root && denied {
            found.push((
                pointer("user"),
                "only root may make user namespaces: kernel.unprivileged_userns_clone is 0"
                    .to_owned(),
                "set it to 1 with sysctl, or run as root",
            ));
        }
        for join in &plan.join {
            let path = join.path.to_string_lossy();
            let why = match rustix::fs::statfs(join.path.as_c_str()) {
                Ok(fs) if fs.f_type as u64 == NSFS => continue,
                Ok(_) => "it is no namespace file".to_owned(),
                Err(errno) => errno_text(errno.raw_os_error()),
            };
            found.push((
                format!("/linux/namespaces/{}/path", join.index),
                format!("the namespace {path} cannot be joined: {why}"),
                "give a file such as /proc/PID/ns/net, or leave the path out to make a new one",
            ));
        }
        for (pointer, message, hint) in found {
            self.error(&pointer, &message, hint);
        }
        let restricted = number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
        if self.planned.plan.namespaces.makes(NEWUSER) && !self.root && restricted == Some(1) {
            self.warn(
                "/linux/namespaces",
                "AppArmor takes the rights away from users' user namespaces here \
                 (kernel.apparmor_restrict_unprivileged_userns is 1)",
                "allow corten by an AppArmor profile with `userns,`, or set the sysctl to 0",
            );
        }
    }

    /// What a user other than root may map.
    fn ids(&mut self) {
        if self.root || !self.planned.plan.namespaces.makes(NEWUSER) {
            return;
        }
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        for (name, file, helper, own, maps) in [
            (
                "uidMappings",
                "/etc/subuid",
                "newuidmap",
                uid,
                &self.linux.uid_mappings,
            ),
            (
                "gidMappings",
                "/etc/subgid",
                "newgidmap",
                gid,
                &self.linux.gid_mappings,
            ),
        ] {
            let alone = matches!(maps.as_slice(), [m] if m.host_id == own && m.size == 1);
            if maps.is_empty() || alone {
                continue;
            }
            if !crate::launch::denied::is_set_uid(helper) {
                self.error(
                    &format!("/linux/{name}"),
                    &format!("the ids need {helper}, which is not in $PATH or not set-uid"),
                    "install the package uidmap, or map the own id alone",
                );
            }
            let mut ranges = ranges_of(file, uid);
            ranges.push((own, 1));
            let given = |first: u32, size: u32| {
                let end = u64::from(first) + u64::from(size);
                ranges.iter().any(|(start, count)| {
                    first >= *start && end <= u64::from(*start) + u64::from(*count)
                })
            };
            for (index, map) in maps.iter().enumerate() {
                if !given(map.host_id, map.size) {
                    self.error(
                        &format!("/linux/{name}/{index}"),
                        &format!("{file} does not give the user {uid} all of these ids"),
                        &format!("add {uid}:{}:{} to {file}", map.host_id, map.size),
                    );
                }
            }
        }
    }

    /// File systems that the kernel has not got, unless as a module.
    fn filesystems(&mut self) {
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let known = |name: &str| {
            known
                .lines()
                .any(|line| line.split('\t').next_back() == Some(name))
        };
        for (index, mount) in self.planned.plan.mounts.iter().enumerate() {
            let What::Filesystem(filesystem) = &mount.what else {
                continue;
            };
            let name = filesystem.fstype.to_string_lossy();
            // The part before the dot is the kernel's (fuse.sshfs).
            if !known(name.split('.').next().unwrap_or_default()) {
                self.warn(
                    &format!("/mounts/{index}/type"),
                    &format!("the kernel does not list the file system {name:?}"),
                    "it may come as a module; see /proc/filesystems for what is there",
                );
            }
        }
    }

    fn labels(&mut self) {
        let given = |text: &Option<crate::config::spec::Text<'_>>| {
            text.as_deref().is_some_and(|text| !text.is_empty())
        };
        let process = self.spec.process.as_ref();
        let wants = |pick: fn(&crate::config::Process<'_>) -> bool| process.is_some_and(pick);
        let apparmor = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
            .is_ok_and(|text| text.starts_with('Y'));
        let selinux =
            rustix::fs::statfs("/sys/fs/selinux").is_ok_and(|fs| fs.f_type as u64 == SELINUX);
        if wants(|p| p.apparmor_profile.as_deref().is_some_and(|t| !t.is_empty())) && !apparmor {
            self.error(
                "/process/apparmorProfile",
                "AppArmor is not enabled on this host",
                "leave the profile out, or boot with AppArmor",
            );
        }
        if wants(|p| p.selinux_label.as_deref().is_some_and(|t| !t.is_empty())) && !selinux {
            self.error(
                "/process/selinuxLabel",
                "SELinux is not enabled on this host",
                "leave the label out, or boot with SELinux",
            );
        }
        if given(&self.linux.mount_label) && !selinux {
            self.error(
                "/linux/mountLabel",
                "cannot label mounts: SELinux is not enabled on this host",
                "leave mountLabel out, or boot with SELinux",
            );
        }
    }

    /// Capabilities and limits that the runtime cannot give.
    fn process(&mut self) {
        let plan = &self.planned.plan;
        let sets = plan.process.capabilities;
        let own = rustix::thread::capabilities(None).map(|own| own.permitted.bits());
        let own = own.unwrap_or(u64::MAX);
        let new_user = plan.namespaces.has(NEWUSER);
        if !new_user {
            let (_, missing) = sets.limited_to(own);
            if missing != 0 {
                self.warn(
                    "/process/capabilities",
                    &format!(
                        "{} cannot be granted: the runtime does not have them",
                        capability_names(missing)
                    ),
                    "run corten with more rights, or ask for less",
                );
            }
        }
        let resource = own & 1 << 24 != 0; // CAP_SYS_RESOURCE
        let (nr_open, pointer) = (number("/proc/sys/fs/nr_open"), "/process/rlimits");
        for (index, limit) in plan.process.rlimits.iter().enumerate() {
            let limits = own_limit(limit.resource);
            if let (7, Some(most)) = (limit.resource, nr_open)
                && limit.hard > most
            {
                self.error(
                    &format!("{pointer}/{index}"),
                    &format!("the hard limit {} is above fs.nr_open, {most}", limit.hard),
                    "lower it, or raise fs.nr_open with sysctl",
                );
            } else if let Some(most) = limits
                && limit.hard > most
                && !resource
            {
                self.error(
                    &format!("{pointer}/{index}"),
                    &format!(
                        "the hard limit {} is above the runtime's own, {most}, and it lacks CAP_SYS_RESOURCE",
                        limit.hard
                    ),
                    "lower it, or run corten with the higher limit",
                );
            }
        }
        let own_score = std::fs::read_to_string("/proc/self/oom_score_adj");
        let own_score = own_score
            .ok()
            .and_then(|text| text.trim().parse::<i64>().ok());
        if let (Some(score), Some(own), false) = (plan.process.oom_score_adj, own_score, resource)
            && score < own
        {
            // The kernel's bound is the lowest value that was ever set with the capability,
            // and cannot be read.
            self.warn(
                "/process/oomScoreAdj",
                &format!(
                    "{score} may be refused: the runtime has {own} and lacks CAP_SYS_RESOURCE"
                ),
                "raise it, or run corten with that capability",
            );
        }
    }

    fn sysctls(&mut self) {
        for key in self.linux.sysctl.keys() {
            let path = PathBuf::from("/proc/sys").join(sysctl::path(key));
            if !path.exists() {
                self.warn(
                    &format!(
                        "/linux/sysctl/{}",
                        key.replace('~', "~0").replace('/', "~1")
                    ),
                    &format!("this kernel has no {}", path.display()),
                    "it may come with a module, or with a device of the container's network",
                );
            }
        }
    }

    fn seccomp(&mut self) {
        let Some(section) = &self.linux.seccomp else {
            return;
        };
        let known = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
        let Ok(known) = known else {
            let hint = "leave it out, or take a kernel with CONFIG_SECCOMP_FILTER";
            return self.error("/linux/seccomp", "this kernel has no seccomp filters", hint);
        };
        let mut look = |pointer: String, action: &str| {
            let name = match action {
                "SCMP_ACT_NOTIFY" => "user_notif",
                "SCMP_ACT_KILL_PROCESS" => "kill_process",
                "SCMP_ACT_LOG" => "log",
                _ => return,
            };
            if !known.split_ascii_whitespace().any(|known| known == name) {
                let message = format!("this kernel does not know the action {action}");
                self.error(&pointer, &message, "take a newer kernel, or another action");
            }
        };
        look(
            "/linux/seccomp/defaultAction".to_owned(),
            &section.default_action,
        );
        for (index, rule) in section.syscalls.iter().enumerate() {
            look(
                format!("/linux/seccomp/syscalls/{index}/action"),
                &rule.action,
            );
        }
        let listener = section.listener_path.as_deref().unwrap_or_default();
        if self.planned.seccomp.as_ref().is_some_and(|p| p.notify) && !Path::new(listener).exists()
        {
            self.error(
                "/linux/seccomp/listenerPath",
                &format!("nobody listens on {listener}: no such file or directory"),
                "start the seccomp agent first",
            );
        }
    }

    fn devices_of_network(&mut self) {
        for device in &self.planned.plan.net_devices {
            if !Path::new("/sys/class/net").join(&device.host).exists() {
                self.error(
                    &device.pointer(),
                    &format!("there is no network device {:?} here", device.host),
                    "see /sys/class/net for those that there are",
                );
            }
        }
        if !self.planned.plan.net_devices.is_empty() && !self.root {
            self.error(
                "/linux/netDevices",
                "only root may move network devices",
                "run corten as root",
            );
        }
    }

    fn rdt(&mut self) {
        let mounted =
            || rustix::fs::statfs("/sys/fs/resctrl").is_ok_and(|fs| fs.f_type as u64 == RESCTRL);
        if self.planned.rdt.is_some() && !mounted() {
            self.error(
                "/linux/intelRdt",
                "resctrl is not mounted on /sys/fs/resctrl",
                "mount it (mount -t resctrl resctrl /sys/fs/resctrl); it needs a CPU that has it",
            );
        }
    }

    /// Whether the cgroup can be made, and what its files will not take.
    fn cgroup(&mut self, request: &Request, cgroups: &Host) {
        let plan = &self.planned.cgroup;
        let limit = plan
            .writes
            .iter()
            .find(|write| write.phase != Phase::Devices)
            .map(|write| write.pointer.to_string());
        let asked = limit.or_else(|| {
            let path = self.linux.cgroups_path.as_deref();
            let given = path.is_some_and(|path| !path.is_empty());
            given.then(|| "/linux/cgroupsPath".to_owned())
        });
        if let Some(unit) = &plan.unit {
            // It makes the cgroup, where the caller himself may not.
            if let Err(error) = Systemd::connect(unit.user) {
                self.error(
                    "/linux/cgroupsPath",
                    error.to_string().trim_start_matches("/linux/cgroupsPath: "),
                    "leave --systemd-cgroup out where there is no systemd",
                );
            }
            return;
        }
        let mut refused = None;
        for directory in &plan.directories {
            let whole = cgroups.root.join(&directory.hierarchy).join(&plan.path);
            let there = whole.ancestors().find(|path| path.is_dir());
            if let Some(there) = there
                && let Err(errno) = access(there, Access::WRITE_OK)
            {
                refused = Some((there.to_owned(), errno));
            }
        }
        let Some((path, errno)) = refused else {
            return;
        };
        let message = format!(
            "no cgroup can be made in {}: {}",
            path.display(),
            errno_text(errno.raw_os_error())
        );
        let denied = matches!(errno, Errno::ACCESS | Errno::PERM | Errno::ROFS);
        match asked {
            None if denied && request.rootless => self.warn(
                "/linux/resources",
                &format!("{message}: the container stays in the caller's"),
                "have a cgroup delegated: systemd-run --user --scope -p Delegate=yes",
            ),
            asked => self.error(
                &asked.unwrap_or_else(|| "/linux/cgroupsPath".to_owned()),
                &message,
                "have a cgroup delegated (systemd-run --user --scope -p Delegate=yes), or run as root",
            ),
        }
    }
}

/// The number in a file of procfs.
fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The runtime's own hard limit; nothing where there is none.
fn own_limit(resource: u32) -> Option<u64> {
    crate::host::limit(resource).1
}
