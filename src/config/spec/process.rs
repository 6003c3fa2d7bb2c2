//! `process` of config.json, also the file of `exec --process`.

use super::Text;
use crate::config::member::spec_struct;

spec_struct! {
    /// `process`, also the content of `exec --process FILE`.
    Process<'a> {
        /// Whether a terminal is made for it.
        terminal: bool,
        /// The terminal's size.
        console_size: Option<ConsoleSize>,
        /// User, groups and umask.
        user: User<'a>,
        /// Program and arguments.
        args: Vec<Text<'a>>,
        /// Environment, `KEY=value`.
        env: Vec<Text<'a>>,
        /// Working directory.
        cwd: Text<'a>,
        /// The five capability sets; absent means none were given.
        capabilities: Option<Capabilities<'a>>,
        /// Resource limits.
        rlimits: Vec<Rlimit<'a>>,
        /// Sets the no_new_privs attribute.
        no_new_privileges: bool,
        /// AppArmor profile.
        apparmor_profile: Option<Text<'a>>,
        /// oom_score_adj, -1000 to 1000.
        oom_score_adj: Option<i64>,
        /// Scheduling policy and its numbers.
        scheduler: Option<Scheduler<'a>>,
        /// SELinux label of the process.
        selinux_label: Option<Text<'a>>,
        /// I/O scheduling class and priority.
        io_priority: Option<IoPriority<'a>>,
        /// CPU affinity of processes that `exec` adds.
        #[serde(rename = "execCPUAffinity")]
        exec_cpu_affinity: Option<CpuAffinity<'a>>,
    }
}

spec_struct! {
    /// `process.consoleSize`, in characters.
    ConsoleSize {
        /// Rows.
        height: u16,
        /// Columns.
        width: u16,
    }
}

spec_struct! {
    /// `process.user`.
    User<'a> {
        /// User id inside the container.
        uid: u32,
        /// Group id inside the container.
        gid: u32,
        /// File mode creation mask; 0022 where absent.
        umask: Option<u32>,
        /// Supplementary groups; none where absent.
        additional_gids: Vec<u32>,
        /// Only for Windows; ignored.
        username: Option<Text<'a>>,
    }
}

spec_struct! {
    /// `process.capabilities`: names such as `CAP_CHOWN`.
    Capabilities<'a> {
        /// Limit of what execve can give.
        bounding: Vec<Text<'a>>,
        /// In force.
        effective: Vec<Text<'a>>,
        /// Kept over execve by files that say so.
        inheritable: Vec<Text<'a>>,
        /// May be put in force.
        permitted: Vec<Text<'a>>,
        /// Kept over execve of ordinary programs.
        ambient: Vec<Text<'a>>,
    }
}

spec_struct! {
    /// One element of `process.rlimits`.
    Rlimit<'a> {
        /// `RLIMIT_NOFILE` and so on.
        #[serde(rename = "type")]
        kind: Text<'a>,
        /// The ceiling.
        hard: u64,
        /// The value in force.
        soft: u64,
    }
}

spec_struct! {
    /// `process.scheduler` (sched_setattr(2)).
    Scheduler<'a> {
        /// `SCHED_OTHER` and so on.
        policy: Text<'a>,
        /// Nice value.
        nice: i32,
        /// Priority of the real-time policies.
        priority: i32,
        /// `SCHED_FLAG_*`.
        flags: Vec<Text<'a>>,
        /// Nanoseconds, SCHED_DEADLINE.
        runtime: u64,
        /// Nanoseconds, SCHED_DEADLINE.
        deadline: u64,
        /// Nanoseconds, SCHED_DEADLINE.
        period: u64,
    }
}

spec_struct! {
    /// `process.ioPriority` (ioprio_set(2)).
    IoPriority<'a> {
        /// `IOPRIO_CLASS_BE` and so on.
        class: Text<'a>,
        /// 0 to 7.
        priority: i32,
    }
}

spec_struct! {
    /// `process.execCPUAffinity`: lists such as `0-3,7`.
    CpuAffinity<'a> {
        /// Before the process joins the container's cgroup.
        initial: Option<Text<'a>>,
        /// After it.
        #[serde(rename = "final")]
        last: Option<Text<'a>>,
    }
}
