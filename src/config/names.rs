//! The words of config.json that stand for the kernel's numbers, and what to
//! say about a word that is not one of them.
//!
//! Where a table says so, a word's index is the kernel's number.

use super::error::ConfigError;
use super::place::Place;

/// Types of namespaces (`linux.namespaces[].type`).
pub const NAMESPACES: [&str; 8] = [
    "pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time",
];

/// Options of a new tmpfs that a bind mount is given too, by old configurations and the OCI's own tests. They protect
/// nothing, so they are left out with a warning; runc 1.1 and crun leave out every option that is none of a bind's.
const IGNORED_ON_BIND: [&str; 6] = ["gid", "mode", "nr_blocks", "nr_inodes", "size", "uid"];

/// Whether a bind mount can do without this option.
pub fn is_ignored_on_bind(option: &str) -> bool {
    let key = option.split_once('=').map(|(key, _)| key);
    key.is_some_and(|key| IGNORED_ON_BIND.contains(&key))
}

/// Resource limits; the index is the kernel's `RLIMIT_*` number
/// (include/uapi/asm-generic/resource.h: x86, ARM, RISC-V, PowerPC, s390).
pub const RLIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// Capabilities; the index is the kernel's number (capabilities(7), Linux 5.9
/// and later).
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Scheduling policies; the index is the kernel's number (sched(7)).
/// `SCHED_ISO` is reserved: the kernel refuses it.
pub const SCHEDULER_POLICIES: [&str; 7] = [
    "SCHED_OTHER",
    "SCHED_FIFO",
    "SCHED_RR",
    "SCHED_BATCH",
    "SCHED_ISO",
    "SCHED_IDLE",
    "SCHED_DEADLINE",
];

/// Scheduling flags; the kernel's flag is `1 << index` (sched_setattr(2)).
pub const SCHEDULER_FLAGS: [&str; 7] = [
    "SCHED_FLAG_RESET_ON_FORK",
    "SCHED_FLAG_RECLAIM",
    "SCHED_FLAG_DL_OVERRUN",
    "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS",
    "SCHED_FLAG_UTIL_CLAMP_MIN",
    "SCHED_FLAG_UTIL_CLAMP_MAX",
];

/// I/O scheduling classes; the kernel's number is `index + 1` (ioprio_set(2)).
pub const IO_PRIORITY_CLASSES: [&str; 3] =
    ["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"];

/// NUMA policies; the index is the kernel's number (set_mempolicy(2)).
pub const MEMORY_POLICIES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_PREFERRED",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

/// NUMA policy flags; the kernel's flag is `1 << (13 + index)`
/// (include/uapi/linux/mempolicy.h).
pub const MEMORY_POLICY_FLAGS: [&str; 3] = [
    "MPOL_F_NUMA_BALANCING",
    "MPOL_F_RELATIVE_NODES",
    "MPOL_F_STATIC_NODES",
];

/// Propagation of the root mount. The schema has only the last four; runc and
/// crun also take the recursive ones, which containerd writes.
pub const ROOTFS_PROPAGATIONS: [&str; 8] = [
    "rprivate",
    "rshared",
    "rslave",
    "runbindable",
    "private",
    "shared",
    "slave",
    "unbindable",
];

/// Execution domains (`linux.personality.domain`).
pub const PERSONALITY_DOMAINS: [&str; 2] = ["LINUX", "LINUX32"];

/// Clocks of a time namespace (time_namespaces(7)).
pub const CLOCKS: [&str; 2] = ["boottime", "monotonic"];

/// The index of `word` in one of the tables.
pub fn position(table: &[&str], word: &str) -> Option<usize> {
    table.iter().position(|known| *known == word)
}

/// Requires that the word `found` at `place` is in `table`; `what` names the
/// kind of word. An error lists what is allowed and hints at the nearest word.
pub(super) fn require_known(
    place: &Place<'_>,
    what: &str,
    table: &[&str],
    found: &str,
) -> Result<usize, ConfigError> {
    position(table, found).ok_or_else(|| unknown_word(place, what, table, found))
}

fn unknown_word(place: &Place<'_>, what: &str, table: &[&str], found: &str) -> ConfigError {
    let allowed = table.join(", ");
    let error = if found.is_empty() {
        place.error(format_args!("the {what} is missing (allowed: {allowed})"))
    } else {
        place.error(format_args!(
            "unknown {what} {found:?} (allowed: {allowed})"
        ))
    };
    match nearest(table, found) {
        Some(word) => error.with_hint(format!("did you mean {word:?}?")),
        None => error,
    }
}

/// The word of `table` that `found` may be a slip of: equal but for case or
/// the prefix that the others have, or a third of its letters away at most.
pub(super) fn nearest<'t>(table: &[&'t str], found: &str) -> Option<&'t str> {
    if found.is_empty() || found.len() > 64 {
        return None;
    }
    let found_upper = found.to_ascii_uppercase();
    let prefixed = |word: &str| {
        word.to_ascii_uppercase()
            .strip_suffix(&found_upper)
            .is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('_'))
    };
    if let Some(word) = table.iter().find(|word| prefixed(word)) {
        return Some(word);
    }
    table
        .iter()
        .map(|word| (distance(&word.to_ascii_uppercase(), &found_upper), *word))
        .min()
        .filter(|(distance, word)| *distance <= word.len().min(found.len()).div_ceil(3).min(3))
        .map(|(_, word)| word)
}

/// How many letters must be added, removed or changed to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.bytes()) {
            let above = *cell;
            *cell = (diagonal + usize::from(from != to)).min(left.min(above) + 1);
            diagonal = above;
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_changes() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("pid", "pidd", 1),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn only_slips_get_a_suggestion() {
        assert_eq!(nearest(&NAMESPACES, "netwrok"), Some("network"));
        assert_eq!(nearest(&NAMESPACES, "PID"), Some("pid"));
        assert_eq!(nearest(&NAMESPACES, "xyz"), None);
        assert_eq!(nearest(&NAMESPACES, ""), None);
        assert_eq!(nearest(&RLIMITS, "NOFILE"), Some("RLIMIT_NOFILE"));
    }

    #[test]
    fn indexes_are_the_kernels_numbers() {
        assert_eq!(position(&CAPABILITIES, "CAP_SYS_ADMIN"), Some(21));
        assert_eq!(position(&CAPABILITIES, "CAP_CHECKPOINT_RESTORE"), Some(40));
        assert_eq!(
            position(&RLIMITS, "RLIMIT_NOFILE"),
            Some(libc::RLIMIT_NOFILE as usize)
        );
        assert_eq!(
            position(&RLIMITS, "RLIMIT_RTTIME"),
            Some(libc::RLIMIT_RTTIME as usize)
        );
        assert_eq!(
            position(&SCHEDULER_POLICIES, "SCHED_DEADLINE"),
            Some(libc::SCHED_DEADLINE as usize)
        );
        assert_eq!(position(&MEMORY_POLICIES, "MPOL_BIND"), Some(2));
    }
}
