//! What the kernel can do of what Corten makes use of.

use std::path::Path;

use super::{Facts, Verdict, kernel_version, read};
use crate::sys::probe::{Call, answers};

/// Calls with what is done without them.
const CALLS: [(Call, &str, Verdict, &str); 13] = [
    (
        Call::Openat2,
        "openat2",
        Verdict::Missing,
        "containers cannot be made without it (Linux 5.6, or a seccomp filter forbids it)",
    ),
    (
        Call::Clone3,
        "clone3",
        Verdict::Missing,
        "containers cannot be made without it (Linux 5.3, or a seccomp filter forbids it)",
    ),
    (
        Call::PidfdOpen,
        "pidfd",
        Verdict::Missing,
        "containers cannot be signalled without it (Linux 5.3)",
    ),
    (
        Call::PidfdGetfd,
        "pidfd_getfd",
        Verdict::Warn,
        "seccomp listeners need it (Linux 5.6)",
    ),
    (
        Call::CloseRange,
        "close_range",
        Verdict::Missing,
        "the caller's descriptors cannot be kept from containers (Linux 5.9)",
    ),
    (
        Call::OpenTree,
        "open_tree",
        Verdict::Missing,
        "bind mounts need it (Linux 5.2)",
    ),
    (
        Call::MoveMount,
        "move_mount",
        Verdict::Missing,
        "mounts need it (Linux 5.2)",
    ),
    (
        Call::Fsopen,
        "fsopen",
        Verdict::Missing,
        "mounts need it (Linux 5.2)",
    ),
    (
        Call::MountSetattr,
        "mount_setattr",
        Verdict::Warn,
        "recursive and id-mapped mounts need it (Linux 5.12)",
    ),
    (
        Call::SetMempolicy,
        "memory policy",
        Verdict::Warn,
        "linux.memoryPolicy cannot be used: the kernel was built without CONFIG_NUMA",
    ),
    (
        Call::Bpf,
        "bpf",
        Verdict::Warn,
        "device rules of cgroup v2 need it (CONFIG_BPF_SYSCALL)",
    ),
    (
        Call::Keyctl,
        "keyrings",
        Verdict::Warn,
        "containers get no session keyring of their own (CONFIG_KEYS): use --no-new-keyring",
    ),
    (
        Call::MemfdCreate,
        "memfd_create",
        Verdict::Missing,
        "containers cannot be made without it (Linux 3.17)",
    ),
];

pub(super) fn add(facts: &mut Facts) {
    facts.group = "features";
    for (call, name, otherwise, advice) in CALLS {
        facts.there(name, answers(call).is_ok(), otherwise, advice);
    }
    let version = kernel_version();
    facts.there(
        "id-mapped mounts",
        version >= (5, 12) && answers(Call::MountSetattr).is_ok(),
        Verdict::Warn,
        "uidMappings of mounts are refused (Linux 5.12)",
    );
    facts.there(
        "clone into cgroup",
        version >= (5, 7),
        Verdict::Warn,
        "the init joins its cgroup after it was made (Linux 5.7)",
    );
    facts.there(
        "cgroup.kill",
        version >= (5, 14),
        Verdict::Warn,
        "cgroups are killed process by process (Linux 5.14)",
    );
    // docs/decisions/0008-mount-tree.md
    let there = match version >= (7, 0) {
        true => "there, not used yet",
        false => "not there, not used yet",
    };
    facts.ok("OPEN_TREE_NAMESPACE", there);
    for (name, file) in [
        ("time namespaces", "time"),
        ("cgroup namespaces", "cgroup"),
        ("network namespaces", "net"),
        ("ipc namespaces", "ipc"),
        ("pid namespaces", "pid"),
    ] {
        facts.there(
            name,
            Path::new("/proc/self/ns").join(file).exists(),
            Verdict::Missing,
            "the kernel was built without them",
        );
    }
    seccomp(facts, version);
}

fn seccomp(facts: &mut Facts, version: (u32, u32)) {
    let actions = read("/proc/sys/kernel/seccomp/actions_avail");
    facts.check(
        "seccomp actions",
        answers(Call::Seccomp).is_ok() && !actions.is_empty(),
        match actions.is_empty() {
            true => "none",
            false => &actions,
        },
        Verdict::Missing,
        "linux.seccomp cannot be used: the kernel was built without CONFIG_SECCOMP_FILTER",
    );
    facts.there(
        "seccomp notify",
        actions.split(' ').any(|action| action == "user_notif"),
        Verdict::Warn,
        "SCMP_ACT_NOTIFY cannot be used (Linux 5.0)",
    );
    facts.there(
        "seccomp wait killable",
        version >= (5, 19),
        Verdict::Warn,
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV cannot be used (Linux 5.19)",
    );
}
