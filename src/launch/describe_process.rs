//! The words for a failure of a process of the container: its init, or one that `exec` adds.

use crate::plan::process::ProcessPlan;
use crate::plan::scheduling;
use crate::sys::errno_text;
use crate::sys::stub::Stage;
use crate::sys::stub::abi::Message;

/// One sentence: where in `process`, what could not be done, why.
pub fn of_process(message: &Message, process: &ProcessPlan) -> String {
    let stage = Stage::from_number(message.stage).unwrap_or(Stage::Unknown);
    let index = message.index as usize;
    let why = errno_text(message.value);
    let what = stage.text();
    match stage {
        Stage::Lookup | Stage::Exec => {
            let name = process
                .args
                .first()
                .map(|a| a.to_string_lossy())
                .unwrap_or_default();
            format!("/process/args/0: {}", program(&name, message.value))
        }
        Stage::OomScoreAdj => {
            let wanted = process.oom_score_adj.unwrap_or_default();
            let hint = super::oom::HINT;
            format!("/process/oomScoreAdj: cannot set {wanted}: {why} ({hint})")
        }
        // The container's init has ended meanwhile, and its namespaces with it.
        Stage::JoinContainer if message.value == libc::ESRCH => {
            "cannot exec in a stopped container".to_owned()
        }
        Stage::JoinPidNamespace if message.value == libc::ENOMEM => {
            "cannot exec in a stopped container".to_owned()
        }
        Stage::JoinPidNamespace if message.value == libc::EAGAIN => {
            format!(
                "cannot {what}: {why} (exec takes two tasks for a moment: the container's pids limit may have room for one only)"
            )
        }
        Stage::Affinity => {
            let hint = match message.value {
                libc::EINVAL => " (none of these CPUs is there or may be used)",
                _ => "",
            };
            format!("/process/execCPUAffinity: cannot {what}: {why}{hint}")
        }
        Stage::Rlimit => rlimit(index, process, message.value),
        Stage::Scheduling => scheduling(index, message.value),
        Stage::KeyLabel => format!(
            "/process/selinuxLabel: cannot {what} to \"{}\": {why}{}",
            process.key_label.as_deref().unwrap_or_default(),
            label_hint(message.value, NO_SELINUX),
        ),
        Stage::Cwd => {
            let cwd = process.cwd.to_string_lossy();
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
        Stage::Uid => format!("/process/user/uid: cannot {what} {}: {why}", process.uid),
        Stage::Gid => format!("/process/user/gid: cannot {what} {}: {why}", process.gid),
        Stage::Groups => {
            let hint = match message.value {
                libc::EPERM => " (the user namespace denies setgroups)",
                libc::EINVAL => " (one of them is not mapped in the user namespace)",
                _ => "",
            };
            format!("/process/user/additionalGids: cannot {what}: {why}{hint}")
        }
        Stage::Capabilities | Stage::Bounding | Stage::Ambient => {
            format!("/process/capabilities: cannot {what}: {why}")
        }
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
            let (file, value) = process
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
        _ => format!("cannot {what}: {why}"),
    }
}

/// The program that could not be found or run, in the words that engines match.
pub fn program(name: &str, errno: i32) -> String {
    let path = name.contains('/');
    match errno {
        libc::ENOENT if !path => format!("exec: \"{name}\": executable file not found in $PATH"),
        libc::ENOENT => format!("exec: \"{name}\": stat {name}: no such file or directory"),
        errno => format!("exec: \"{name}\": {}", errno_text(errno)),
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

fn rlimit(index: usize, process: &ProcessPlan, errno: i32) -> String {
    let Some(limit) = process.rlimits.get(index) else {
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
