//! The words for a failure that the init told as numbers.

use super::describe_process::{of_process, program};
use super::hooks::one_line;
use crate::cgroup::Cgroup;
use crate::config::Spec;
use crate::plan::Plan;
use crate::plan::devices::LINKS;
use crate::plan::mounts::What;
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
            let hint = match message.value {
                libc::EXDEV => " (one of the mounts lies over it)",
                _ => "",
            };
            format!("/linux/sysctl/{pointer}: cannot {what} to \"{value}\": {why}{hint}")
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
        Stage::Hostname => format!("/hostname: cannot {what}: {why}"),
        Stage::Domainname => format!("/domainname: cannot {what}: {why}"),
        Stage::TimeOffsets => format!("/linux/timeOffsets: cannot {what}: {why}"),
        Stage::BecomeRoot => {
            let hint = if message.value == libc::EINVAL {
                " (no mapping has the id 0 inside)"
            } else {
                ""
            };
            format!("/linux/uidMappings: cannot {what}: {why}{hint}")
        }
        Stage::MakeNamespace => format!("/linux/namespaces: cannot {what}: {why}"),
        _ => of_process(message, &plan.process),
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
                libc::EPERM if destination == "/proc" => " (only a procfs can be mounted on /proc)",
                libc::ENODEV => " (the kernel knows no such file system)",
                libc::ENOTDIR => " (source and destination are not both directories or both files)",
                libc::EINVAL => " (an option that the file system does not take?)",
                _ => "",
            };
            format!("/mounts/{index}: cannot mount {what} on {destination}: {why}{hint}")
        }
    }
}
