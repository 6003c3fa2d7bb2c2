//! The words for a failure that the init told as numbers.

use super::denied;
use super::describe_process::{of_process, program};
use super::hooks::one_line;
use crate::cgroup::Cgroup;
use crate::config::Spec;
use crate::plan::Plan;
use crate::plan::devices::LINKS;
use crate::plan::mounts::{MountPlan, What};
use crate::rootfs::fallback::Instead;
use crate::sys::stub::Stage;
use crate::sys::stub::abi::Message;
use crate::sys::{Errno, errno_text};

/// One sentence: where in config.json, what could not be done, why.
pub fn failure(message: &Message, plan: &Plan, spec: &Spec<'_>, cgroup: Option<&Cgroup>) -> String {
    sentence(message, plan, spec, cgroup) + denied::by_apparmor(plan.namespaces.new, message.value)
}

fn sentence(message: &Message, plan: &Plan, spec: &Spec<'_>, cgroup: Option<&Cgroup>) -> String {
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
        Stage::JoinedMap => {
            let member = if index == 0 {
                "uidMappings"
            } else {
                "gidMappings"
            };
            match message.value {
                libc::EINVAL => format!(
                    "/linux/{member}: the user namespace that is joined has other mappings \
                     (give its own, or leave both lists out)"
                ),
                _ => format!("/linux/{member}: cannot {what}: {why}"),
            }
        }
        stage if is_of_pid_namespace(stage, index, plan, message.value) => {
            let what = Stage::JoinPidNamespace.text();
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
        | Stage::MountMode
        | Stage::MountProc
        | Stage::MountLink
        | Stage::Remount
        | Stage::MountCopyUp => {
            let user = plan.namespaces.has(libc::CLONE_NEWUSER as u64);
            mount(stage, index, (&plan.mounts, user), message.value, &detail)
        }
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
                " (neither 0 nor the process's own id is mapped)"
            } else {
                ""
            };
            format!("/linux/uidMappings: cannot {what}: {why}{hint}")
        }
        Stage::Seccomp if message.value == libc::EINVAL && newest_flag(spec).is_some() => {
            let place = newest_flag(spec).unwrap_or_default();
            format!(
                "/linux/seccomp/flags/{place}: cannot {what}: {why} \
                 (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs Linux 5.19)"
            )
        }
        Stage::MakeNamespace => format!("/linux/namespaces: cannot {what}: {why}"),
        _ => of_process(message, &plan.process),
    }
}

/// Where the seccomp section has the flag that kernels from 5.10 on need not know.
fn newest_flag(spec: &Spec<'_>) -> Option<usize> {
    let flags = spec.linux.as_ref()?.seccomp.as_ref()?.flags.as_ref()?;
    let mut names = flags.iter();
    names.position(|name| *name == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")
}

/// What was done in place of what could not be, for the log.
pub fn instead(message: &Message, plan: &Plan) -> String {
    let (_, text) = Instead::from_number(message.value).unwrap_or((Instead::HostSys, ""));
    let index = message.index as usize;
    match plan.mounts.get(index) {
        Some(mount) if message.stage == Stage::Mount as u32 => format!(
            "/mounts/{index}: /{} cannot be mounted here: {text} instead",
            mount.destination.to_string_lossy()
        ),
        _ => format!("/linux/devices: nodes cannot be made here: {text} instead"),
    }
}

/// The words for an init that died without any, by `signal` or by itself.
pub fn silent_death(signal: Option<i32>, spec: &Spec<'_>) -> String {
    let linux = spec.linux.as_ref();
    let filtered = linux.is_some_and(|linux| linux.seccomp.is_some());
    let (place, hint) = match signal {
        // Without a word and without a signal: not even that was let through.
        Some(libc::SIGSYS | libc::SIGILL | libc::SIGTRAP) | None if filtered => (
            "/linux/seccomp: ",
            " (does the seccomp profile allow what every program needs: execve, openat, read, \
             write, close, exit_group?)",
        ),
        Some(libc::SIGKILL) if linux.is_some_and(|l| l.resources.memory.is_some()) => (
            "/linux/resources/memory: ",
            " (is the memory limit too low?)",
        ),
        Some(libc::SIGKILL | libc::SIGXCPU | libc::SIGXFSZ | libc::SIGSEGV) => {
            let limited = spec.process.as_ref().is_some_and(|p| !p.rlimits.is_empty());
            match limited {
                true => ("/process/rlimits: ", " (is a limit too low?)"),
                false => ("", ""),
            }
        }
        _ => ("", ""),
    };
    let by = match signal {
        Some(signal) => format!(": killed by signal {signal}"),
        None => String::new(),
    };
    format!("{place}the container's init died while it was set up{by}{hint}")
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
        Stage::Exec => format!("/process/args/0: {}", program(&detail, message.value)),
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

/// Joining the pid namespace, or the first that fails in one that has ended: before Linux
/// 6.17 a procfs of it is made by a process in it.
fn is_of_pid_namespace(stage: Stage, index: usize, plan: &Plan, errno: i32) -> bool {
    let joins = || {
        let mut join = plan.namespaces.join.iter();
        join.any(|join| join.flag == libc::CLONE_NEWPID as u64)
    };
    let proc = || {
        let mount = plan.mounts.get(index);
        mount.is_some_and(|mount| matches!(mount.what, What::Proc { .. }))
    };
    stage == Stage::JoinPidNamespace
        || stage == Stage::Mount && errno == libc::ENOMEM && joins() && proc()
}

fn path_at(paths: &[std::ffi::CString], index: usize) -> String {
    paths
        .get(index)
        .map(|p| format!("/{}", p.to_string_lossy()))
        .unwrap_or_default()
}

/// The words for one of `mounts` that failed; `user` is whether there is a user namespace, `said`
/// what the kernel wrote into the log of the file system's context.
pub fn mount(
    stage: Stage,
    index: usize,
    (mounts, user): (&[MountPlan], bool),
    errno: i32,
    said: &str,
) -> String {
    let why = errno_text(errno);
    let Some(mount) = mounts.get(index) else {
        return why;
    };
    let destination = format!("/{}", mount.destination.to_string_lossy());
    let what = match &mount.what {
        What::Filesystem(fs) => fs.fstype.to_string_lossy().into_owned(),
        What::Proc { .. } => "proc".to_owned(),
        What::Bind { source, .. } => source.to_string_lossy().into_owned(),
        What::Cgroup { .. } => "cgroup".to_owned(),
        What::Remount { .. } | What::RemountBind { .. } => "remount".to_owned(),
    };
    match stage {
        Stage::MountSource => format!("/mounts/{index}/source: cannot open {what}: {why}"),
        Stage::MountTarget => {
            let hint = match errno {
                libc::ELOOP => " (a symbolic link leads where it may not)",
                libc::ENOTDIR => " (a part of the path is not a directory)",
                libc::EROFS => " (the root file system is read-only and lacks the mount point)",
                libc::EACCES | libc::EPERM | libc::EOVERFLOW if user => {
                    " (root of the user namespace may not make it: chown the root file system to \
                     the ids that are mapped, or let the image have the mount point)"
                }
                _ => "",
            };
            format!("/mounts/{index}/destination: cannot open or make {destination}: {why}{hint}")
        }
        Stage::MountCopyUp => {
            format!("/mounts/{index}/options: cannot copy {destination} into the tmpfs: {why}")
        }
        Stage::MountFlags | Stage::Remount => {
            let hint = match errno {
                libc::EPERM if matches!(mount.what, What::Remount { .. }) => {
                    " (in a user namespace only the flags of a mount can be changed: remount,bind)"
                }
                libc::EPERM => " (a flag that it has cannot be taken away in a user namespace)",
                libc::EINVAL if stage == Stage::Remount => " (nothing is mounted there?)",
                libc::ENOSYS => " (it needs Linux 5.12)",
                libc::EBUSY if stage == Stage::MountFlags => {
                    " (before Linux 5.12 a mount below it that another one covers cannot be reached)"
                }
                _ => "",
            };
            let what = match stage {
                Stage::Remount => "remount",
                _ => "set the flags of",
            };
            format!("/mounts/{index}/options: cannot {what} {destination}: {why}{hint}")
        }
        Stage::MountMode => format!(
            "/mounts/{index}/options: cannot set the mode of {destination}: {why} \
             (the mapping lacks the owner of its root, id 0; or give mode=)"
        ),
        Stage::MountProc => format!(
            "/mounts/{index}/source: {destination} cannot be mounted because {what} is no procfs"
        ),
        Stage::MountLink => {
            let hint = match errno {
                libc::EEXIST => " (it is there already, and not the same link)",
                _ => "",
            };
            format!("/mounts/{index}/destination: cannot make the link {destination}: {why}{hint}")
        }
        _ => {
            // The kernel's own words say which option it is.
            let (said, guess) = match said {
                "" => (String::new(), true),
                said => (format!(": {said}"), false),
            };
            let hint = match errno {
                libc::ENODEV => " (the kernel knows no such file system)",
                libc::ENOTDIR => " (source and destination are not both directories or both files)",
                libc::EINVAL if !guess => "",
                libc::EINVAL if user => {
                    " (an option that the file system does not take, or an id that is not mapped?)"
                }
                libc::EINVAL if matches!(mount.what, What::Bind { .. }) => {
                    " (source and destination must both be directories or both be files)"
                }
                libc::EINVAL => " (an option that the file system does not take?)",
                libc::EPERM if what == "proc" => {
                    " (the /proc around this container has covered parts, so the kernel lets no other be mounted: \
                     run the outer container with an unmasked /proc, or this one without a pid namespace of its own)"
                }
                libc::EPERM if what == "mqueue" => {
                    " (it shows an ipc namespace, which the container's user namespace has no rights over)"
                }
                libc::EPERM if user => " (the kernel does not allow it in a user namespace)",
                _ => "",
            };
            format!("/mounts/{index}: cannot mount {what} on {destination}: {why}{said}{hint}")
        }
    }
}
