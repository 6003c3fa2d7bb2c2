//! The words for a failure that the init told as numbers.

use super::hooks::one_line;
use crate::cgroup::Cgroup;
use crate::config::Spec;
use crate::plan::Plan;
use crate::plan::devices::LINKS;
use crate::plan::mounts::What;
use crate::plan::scheduling;
use crate::sys::stub::Stage;
use crate::sys::stub::abi::Message;
use crate::sys::{Errno, errno_text};

/// One sentence: where in config.json, what could not be done, why.
pub fn failure(message: &Message, plan: &Plan, spec: &Spec<'_>, cgroup: Option<&Cgroup>) -> String {
    let stage = Stage::from_number(message.stage).unwrap_or(Stage::Unknown);
    let index = message.index as usize;
    let detail = String::from_utf8_lossy(&message.detail[..message.len as usize]).into_owned();
    let why = errno_text(message.value);
    let what = stage.text();
    match stage {
        Stage::CreateContainerHook => detail,
        Stage::StartContainerHook => late_failure(message),
        Stage::Lookup | Stage::Exec => {
            let name = plan
                .process
                .args
                .first()
                .map(|a| a.to_string_lossy())
                .unwrap_or_default();
            program(&name, message.value)
        }
        Stage::JoinCgroup => match cgroup {
            Some(cgroup) => cgroup
                .join_error(index, Errno::from_raw_os_error(message.value))
                .to_string(),
            None => format!("cannot {what}: {why}"),
        },
        Stage::JoinNamespace => {
            let (place, path) = match plan.namespaces.join.get(index) {
                Some(join) => (join.index, join.path.to_string_lossy().into_owned()),
                None => (index, String::new()),
            };
            format!("/linux/namespaces/{place}: cannot {what} {path}: {why}")
        }
        Stage::JoinPidNamespace => {
            let join = plan.namespaces.join.iter();
            let (place, path) = join
                .filter(|join| join.flag == libc::CLONE_NEWPID as u64)
                .map(|join| (join.index, join.path.to_string_lossy()))
                .next()
                .unwrap_or_default();
            let hint = match message.value {
                libc::ENOMEM => " (its first process has ended: nothing can be started in it)",
                libc::EPERM => " (it belongs to another user namespace)",
                _ => "",
            };
            format!("/linux/namespaces/{place}/path: cannot {what} {path}: {why}{hint}")
        }
        Stage::MountSource
        | Stage::MountTarget
        | Stage::Mount
        | Stage::MountFlags
        | Stage::MountCopyUp => mount(stage, index, plan, message.value),
        Stage::Rootfs => format!(
            "/root/path: cannot {what} {}: {why}",
            plan.root.path.to_string_lossy()
        ),
        Stage::Device => {
            let path = plan
                .devices
                .get(index)
                .map(|d| d.host_path.to_string_lossy())
                .unwrap_or_default();
            let hint = if message.value == libc::EEXIST {
                " (the image has something else there)"
            } else {
                ""
            };
            format!("/linux/devices: cannot {what} {path}: {why}{hint}")
        }
        Stage::DevLink => {
            let name = LINKS
                .get(index)
                .map_or("core".into(), |(name, _)| name.to_string_lossy());
            format!("cannot {what}/{name}: {why}")
        }
        Stage::Sysctl => {
            let (key, value) = spec
                .linux
                .as_ref()
                .and_then(|l| l.sysctl.iter().nth(index))
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .unwrap_or_default();
            let pointer = key.replace('~', "~0").replace('/', "~1");
            format!("/linux/sysctl/{pointer}: cannot {what} to \"{value}\": {why}")
        }
        Stage::ReadonlyPath => {
            format!(
                "/linux/readonlyPaths/{index}: cannot {what} {}: {why}",
                path_at(&plan.readonly_paths, index)
            )
        }
        Stage::MaskedPath => {
            format!(
                "/linux/maskedPaths/{index}: cannot {what} {}: {why}",
                path_at(&plan.masked_paths, index)
            )
        }
        Stage::Rlimit => rlimit(index, plan, message.value),
        Stage::Scheduling => scheduling(index, message.value),
        Stage::KeyLabel => format!(
            "/process/selinuxLabel: cannot {what} to \"{}\": {why}{}",
            plan.process.key_label.as_deref().unwrap_or_default(),
            label_hint(message.value, NO_SELINUX),
        ),
        Stage::Cwd => {
            let cwd = plan.process.cwd.to_string_lossy();
            let hint = if message.value == libc::ELOOP {
                " (it leads out of the root file system)"
            } else {
                ""
            };
            format!("/process/cwd: cannot {what} {cwd}: {why}{hint}")
        }
        Stage::Console => {
            let hint = if message.value == libc::ENOENT {
                " (a terminal needs a devpts mount on /dev/pts)"
            } else {
                ""
            };
            format!("/process/terminal: cannot {what}: {why}{hint}")
        }
        Stage::Uid => format!(
            "/process/user/uid: cannot {what} {}: {why}",
            plan.process.uid
        ),
        Stage::Gid => format!(
            "/process/user/gid: cannot {what} {}: {why}",
            plan.process.gid
        ),
        Stage::Groups => format!("/process/user/additionalGids: cannot {what}: {why}"),
        Stage::Capabilities | Stage::Bounding | Stage::Ambient => {
            format!("/process/capabilities: cannot {what}: {why}")
        }
        Stage::Hostname => format!("/hostname: cannot {what}: {why}"),
        Stage::Domainname => format!("/domainname: cannot {what}: {why}"),
        Stage::TimeOffsets => format!("/linux/timeOffsets: cannot {what}: {why}"),
        Stage::Seccomp => {
            let hint = match message.value {
                libc::EACCES => " (without noNewPrivileges the runtime needs CAP_SYS_ADMIN for it)",
                libc::EINVAL => " (a flag or an action that this kernel does not know?)",
                libc::EBUSY => " (the process has a filter with a listener already)",
                _ => "",
            };
            format!("/linux/seccomp: cannot {what}: {why}{hint}")
        }
        Stage::Label => {
            let (file, value) = plan
                .process
                .labels
                .get(index)
                .map_or(("", ""), |(file, value)| (file.as_str(), value.as_str()));
            // AppArmor takes a command with the profile, SELinux the bare label.
            let (member, label, hint) = match value.strip_prefix("exec ") {
                Some(profile) if file.contains("apparmor") => (
                    "apparmorProfile",
                    profile,
                    "no profile of this name is loaded, or AppArmor is not enabled on this host",
                ),
                _ => ("selinuxLabel", value, NO_SELINUX),
            };
            let hint = label_hint(message.value, hint);
            format!("/process/{member}: cannot {what} to \"{label}\": {why}{hint}")
        }
        Stage::Stub if message.value == libc::E2BIG => {
            "/process: the arguments and the environment are too large: argument list too long"
                .to_owned()
        }
        Stage::BecomeRoot => {
            let hint = if message.value == libc::EINVAL {
                " (no mapping has the id 0 inside)"
            } else {
                ""
            };
            format!("/linux/uidMappings: cannot {what}: {why}{hint}")
        }
        Stage::MakeNamespace => format!("/linux/namespaces: cannot {what}: {why}"),
        _ => format!("cannot {what}: {why}"),
    }
}

/// The words for what the stub told through the exec fifo, where there is no
/// config.json to look at.
pub fn late_failure(message: &Message) -> String {
    let stage = Stage::from_number(message.stage).unwrap_or(Stage::Unknown);
    let detail = String::from_utf8_lossy(&message.detail[..message.len as usize]);
    match stage {
        Stage::StartContainerHook => {
            format!(
                "/hooks/startContainer/{}: {}",
                message.index,
                hook_end(message.value, &detail)
            )
        }
        Stage::Exec => program(&detail, message.value),
        stage => format!("cannot {}: {}", stage.text(), errno_text(message.value)),
    }
}

/// The program that could not be found or run, in the words that engines match.
fn program(name: &str, errno: i32) -> String {
    let path = name.contains('/');
    match errno {
        libc::ENOENT if !path => format!("exec: \"{name}\": executable file not found in $PATH"),
        libc::ENOENT => format!("exec: \"{name}\": stat {name}: no such file or directory"),
        errno => format!("exec: \"{name}\": {}", errno_text(errno)),
    }
}

/// A hook's end as the stub tells it: an errno, or the negative exit code.
fn hook_end(value: i32, detail: &str) -> String {
    let end = match value {
        libc::ETIMEDOUT => {
            "the hook failed: it ran longer than its timeout and was killed".to_owned()
        }
        errno if errno > 0 => return format!("cannot run the hook: {}", errno_text(errno)),
        code if code < -128 => format!("the hook failed: killed by signal {}", -code - 128),
        code => format!("the hook failed: exit status {}", -code),
    };
    let output = one_line(detail);
    if output.is_empty() {
        end
    } else {
        format!("{end}, stderr: {output}")
    }
}

fn path_at(paths: &[std::ffi::CString], index: usize) -> String {
    paths
        .get(index)
        .map(|p| format!("/{}", p.to_string_lossy()))
        .unwrap_or_default()
}

fn mount(stage: Stage, index: usize, plan: &Plan, errno: i32) -> String {
    let why = errno_text(errno);
    let Some(mount) = plan.mounts.get(index) else {
        return why;
    };
    let destination = format!("/{}", mount.destination.to_string_lossy());
    let what = match &mount.what {
        What::Filesystem { fstype, .. } => fstype.to_string_lossy().into_owned(),
        What::Proc { .. } => "proc".to_owned(),
        What::Bind { source, .. } => source.to_string_lossy().into_owned(),
        What::Cgroup { .. } => "cgroup".to_owned(),
        What::Remount { .. } => "remount".to_owned(),
    };
    match stage {
        Stage::MountSource => format!("/mounts/{index}/source: cannot open {what}: {why}"),
        Stage::MountTarget => {
            let hint = match errno {
                libc::ELOOP => " (a symbolic link leads where it may not)",
                libc::ENOTDIR => " (a part of the path is not a directory)",
                libc::EROFS => " (the root file system is read-only and lacks the mount point)",
                _ => "",
            };
            format!("/mounts/{index}/destination: cannot open or make {destination}: {why}{hint}")
        }
        Stage::MountCopyUp => {
            format!("/mounts/{index}/options: cannot copy {destination} into the tmpfs: {why}")
        }
        Stage::MountFlags => {
            format!("/mounts/{index}/options: cannot set the flags of {destination}: {why}")
        }
        _ => {
            let hint = match errno {
                libc::ENODEV => " (the kernel knows no such file system)",
                libc::ENOTDIR => " (source and destination are not both directories or both files)",
                libc::EINVAL => " (an option that the file system does not take?)",
                _ => "",
            };
            format!("/mounts/{index}: cannot mount {what} on {destination}: {why}{hint}")
        }
    }
}

const NO_SELINUX: &str = "the policy has no such label, or SELinux is not enabled on this host";

/// The hint in brackets, if the errno is that of a label that the kernel does not know.
fn label_hint(errno: i32, hint: &str) -> String {
    match errno {
        libc::ENOENT | libc::EINVAL => format!(" ({hint})"),
        _ => String::new(),
    }
}

fn scheduling(index: usize, errno: i32) -> String {
    let pointer = scheduling::POINTERS.get(index).copied().unwrap_or_default();
    let (what, hint) = match (pointer, errno) {
        ("/process/scheduler", libc::EPERM) => (
            "scheduler",
            "it needs CAP_SYS_NICE, and SCHED_DEADLINE all CPUs of the cpuset's root domain",
        ),
        ("/process/scheduler", libc::EBUSY) => {
            ("scheduler", "the CPUs have no such bandwidth to spare")
        }
        ("/process/scheduler", libc::EINVAL) => (
            "scheduler",
            "the kernel does not know the policy or a flag, or refuses the values together",
        ),
        ("/process/scheduler", libc::EOPNOTSUPP) => (
            "scheduler",
            "the kernel is built without utilisation clamps",
        ),
        ("/process/scheduler", _) => ("scheduler", ""),
        ("/process/ioPriority", libc::EPERM) => (
            "I/O priority",
            "IOPRIO_CLASS_RT needs CAP_SYS_ADMIN or CAP_SYS_NICE",
        ),
        ("/process/ioPriority", _) => ("I/O priority", ""),
        ("/linux/memoryPolicy", libc::EINVAL) => (
            "memory policy",
            "are the nodes there, and do the cpuset and the kernel allow them?",
        ),
        ("/linux/memoryPolicy", libc::ENOSYS) => ("memory policy", "the kernel has no NUMA"),
        ("/linux/memoryPolicy", _) => ("memory policy", ""),
        _ => ("execution domain", ""),
    };
    let why = errno_text(errno);
    match hint {
        "" => format!("{pointer}: cannot set the {what}: {why}"),
        hint => format!("{pointer}: cannot set the {what}: {why} ({hint})"),
    }
}

fn rlimit(index: usize, plan: &Plan, errno: i32) -> String {
    let Some(limit) = plan.process.rlimits.get(index) else {
        return errno_text(errno);
    };
    let name = crate::config::names::RLIMITS
        .get(limit.resource as usize)
        .copied()
        .unwrap_or("");
    let hint = match errno {
        libc::EPERM => " (raising a hard limit needs CAP_SYS_RESOURCE)",
        _ => "",
    };
    format!(
        "/process/rlimits/{index}: cannot set {name} to soft {} and hard {}: {}{hint}",
        limit.soft,
        limit.hard,
        errno_text(errno)
    )
}
