//! Limits that many containers run into.

use super::{Facts, Verdict, limit, number};

/// `RLIMIT_NPROC` and `RLIMIT_NOFILE`.
const NPROC: u32 = 6;
const NOFILE: u32 = 7;
/// `CAP_SYS_RESOURCE`.
const SYS_RESOURCE: u64 = 1 << 24;

pub(super) fn add(facts: &mut Facts) {
    facts.group = "limits";
    let root = rustix::process::geteuid().is_root();
    let own = rustix::thread::capabilities(None).map(|own| own.permitted.bits());
    facts.there(
        "CAP_SYS_RESOURCE",
        own.is_ok_and(|own| own & SYS_RESOURCE != 0) || !root,
        Verdict::Warn,
        "limits and oomScoreAdj of a container cannot go beyond the runtime's own",
    );
    let (soft, hard) = limit(NOFILE);
    facts.check(
        "RLIMIT_NOFILE",
        hard.is_none_or(|hard| hard >= 65_536),
        &format!("{} of {}", shown(soft), shown(hard)),
        Verdict::Warn,
        "programs in containers may run out of descriptors: LimitNOFILE= of the engine's service",
    );
    let (soft, hard) = limit(NPROC);
    facts.check(
        "RLIMIT_NPROC",
        soft.is_none_or(|soft| soft >= 4096),
        &format!("{} of {}", shown(soft), shown(hard)),
        Verdict::Warn,
        "it counts all processes of the user, those in containers too: LimitNPROC=infinity",
    );
    let keys = match root {
        true => "/proc/sys/kernel/keys/root_maxkeys",
        false => "/proc/sys/kernel/keys/maxkeys",
    };
    let keys = number(keys);
    facts.check(
        "kernel.keys.maxkeys",
        keys.is_none_or(|keys| keys >= 1000),
        &shown(keys),
        Verdict::Warn,
        "each container has a keyring, and mapped users share the quota of one id: raise \
         kernel.keys.maxkeys and maxbytes, or use --no-new-keyring",
    );
    // The quota of the users that root's containers are mapped to.
    if root {
        let keys = number("/proc/sys/kernel/keys/maxkeys");
        facts.check(
            "kernel.keys.maxkeys of other users",
            keys.is_none_or(|keys| keys >= 1000),
            &shown(keys),
            Verdict::Warn,
            "some 200 containers mapped to one user within minutes meet it: raise \
             kernel.keys.maxkeys, or use --no-new-keyring",
        );
    }
    for (name, file, least, advice) in [
        (
            "kernel.pid_max",
            "/proc/sys/kernel/pid_max",
            65_536,
            "many containers run out of process ids: raise it with sysctl",
        ),
        (
            "kernel.threads-max",
            "/proc/sys/kernel/threads-max",
            16_384,
            "many containers run out of threads: raise it with sysctl",
        ),
        (
            "fs.inotify.max_user_instances",
            "/proc/sys/fs/inotify/max_user_instances",
            512,
            "systemd and watchers in containers share it by user: raise it with sysctl",
        ),
        (
            "fs.inotify.max_user_watches",
            "/proc/sys/fs/inotify/max_user_watches",
            65_536,
            "watchers in containers share it by user: raise it with sysctl",
        ),
        (
            "fs.file-max",
            "/proc/sys/fs/file-max",
            65_536,
            "the whole host runs out of open files: raise it with sysctl",
        ),
        (
            "user.max_mnt_namespaces",
            "/proc/sys/user/max_mnt_namespaces",
            1000,
            "each container needs one: raise it with sysctl",
        ),
        (
            "fs.mount-max",
            "/proc/sys/fs/mount-max",
            10_000,
            "a container with many mounts meets it: raise it with sysctl",
        ),
    ] {
        let found = number(file);
        facts.check(
            name,
            found.is_none_or(|found| found >= least),
            &shown(found),
            Verdict::Warn,
            advice,
        );
    }
}

fn shown(number: Option<u64>) -> String {
    number.map_or("unlimited".to_owned(), |number| number.to_string())
}
