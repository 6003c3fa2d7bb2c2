//! What the runtime and the exec stub agree on: the layout of the data that
//! the runtime appends to the stub's image, and of the messages on the channel.
//!
//! The file is compiled into both. Everything is plain integers; a [`Span`]
//! is a position in the block (bytes from its start) and a number of elements.

/// A run of elements inside the block.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Span {
    /// Bytes from the start of the block.
    pub offset: u32,
    /// Number of elements.
    pub count: u32,
}

/// What the stub does, in the order of [`stub`](super)'s own story.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Block {
    /// Length of the whole block in bytes.
    pub size: u32,
    /// `FLAG_*`.
    pub flags: u32,
    /// First descriptor that the program does not get.
    pub close_from: u32,
    /// File mode creation mask of the program.
    pub umask: u32,
    /// User id of the program.
    pub uid: u32,
    /// Group id of the program.
    pub gid: u32,
    /// Supplementary groups (`u32` each).
    pub groups: Span,
    /// Capability sets, one bit a capability (linux/capability.h).
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// Kept by files that say so.
    pub inheritable: u64,
    /// Kept by ordinary programs.
    pub ambient: u64,
    /// Signals that the caller ignored, one bit a signal: they get their default action.
    pub ignored_signals: u64,
    /// Instructions of the seccomp filter (`struct sock_filter` each).
    pub seccomp: Span,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub seccomp_flags: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
    /// Files below the procfs that are written before the credentials change ([`ProcWrite`] each).
    pub proc_writes: Span,
    /// Resource limits ([`RlimitEntry`] each).
    pub rlimits: Span,
    /// startContainer hooks ([`HookEntry`] each).
    pub hooks: Span,
    /// The container's state for the hooks, up to the pid.
    pub state_head: Span,
    /// The same, after the pid.
    pub state_tail: Span,
    /// `struct sched_attr` of linux/sched/types.h, if there is [`FLAG_SCHEDULER`].
    pub scheduler: [u64; 7],
}

/// One resource limit. They are set by the stub and not before it: RLIMIT_NPROC would
/// forbid the fork into a pid namespace.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct RlimitEntry {
    /// `RLIMIT_*`.
    pub resource: u64,
    /// `struct rlimit64`: soft and hard value.
    pub limit: [u64; 2],
}

/// One file of procfs to write: a security label.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ProcWrite {
    /// Path below the procfs, with its NUL.
    pub path: Span,
    /// What is written.
    pub value: Span,
}

/// One startContainer hook. The pointer arrays hold offsets into the block,
/// which the stub turns into addresses; both end with a zero.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct HookEntry {
    /// Path of the program, with its NUL.
    pub path: Span,
    /// `argv` (`u64` each).
    pub argv: Span,
    /// `envp` (`u64` each); without any, not even the zero, it is the program's.
    pub envp: Span,
    /// Milliseconds after which it is killed; negative means never.
    pub timeout_ms: i64,
}

/// The stub waits on the exec fifo before it goes on (create, not run).
pub const FLAG_WAIT: u32 = 1;
/// Set the no_new_privs attribute.
pub const FLAG_NO_NEW_PRIVS: u32 = 2;
/// A user namespace in which setgroups(2) is denied: leave the groups alone.
pub const FLAG_KEEP_GROUPS: u32 = 8;
/// The filter has a listener whose descriptor the parent takes.
pub const FLAG_LISTENER: u32 = 16;
/// Standard input is the terminal of the session to be.
pub const FLAG_TERMINAL: u32 = 32;
/// The process has no groups of its caller: none are fine where setgroups(2) is denied.
pub const FLAG_GROUPS_MAY_BE_DENIED: u32 = 64;
/// Set the scheduler: not before, since a fork may be in between, which resets or fails.
pub const FLAG_SCHEDULER: u32 = 128;

/// In place of a pid namespace's descriptor: the process's children are born in it.
pub const PID_NAMESPACE_JOINED: i32 = -2;

/// The most bytes of text that a message carries.
pub const DETAIL_MAX: usize = 512;

/// A message on the channel between runtime and init, and the record that a
/// failing stub writes into the exec fifo.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Message {
    /// `TAG_*`.
    pub tag: u32,
    /// Where a failure arose ([`Stage`] as a number).
    pub stage: u32,
    /// Which of several (the third mount, the first hook).
    pub index: u32,
    /// errno of the failure, or a number that goes with the tag.
    pub value: i32,
    /// Bytes of `detail` that are used.
    pub len: u32,
    /// Text that goes with a failure: a hook's standard error.
    pub detail: [u8; DETAIL_MAX],
}

/// Bytes of a message before its detail.
pub const MESSAGE_HEAD: usize = 20;

impl Message {
    /// A message without detail.
    pub const fn new(tag: u32, stage: u32, index: u32, value: i32) -> Message {
        Message {
            tag,
            stage,
            index,
            value,
            len: 0,
            detail: [0; DETAIL_MAX],
        }
    }
}

/// Runtime to init: the user namespace's mappings are written, or it is known.
pub const TAG_MAPPED: u32 = 1;
/// Runtime to init: systemd has put it into its scope.
pub const TAG_JOINED: u32 = 11;
/// Runtime to init: everything outside is ready, go on.
pub const TAG_GO: u32 = 2;
/// Init to runtime: the device nodes are made, their rules may be set.
pub const TAG_DEVICES: u32 = 8;
/// First process of two to runtime: the init's pidfd comes with this message, or
/// `value` is its pid.
pub const TAG_INIT: u32 = 9;
/// Init to runtime: run the prestart and createRuntime hooks now.
pub const TAG_HOOKS: u32 = 3;
/// Init to runtime: the terminal's master side comes with this message.
pub const TAG_CONSOLE: u32 = 4;
/// Init to runtime: take descriptor `value`, the seccomp listener.
pub const TAG_LISTENER: u32 = 5;
/// Init to runtime: everything is done but the program.
pub const TAG_READY: u32 = 6;
/// Init to runtime: `value` (a `rootfs::fallback::Instead`) was done in place of what item
/// `index` at `stage` asks for.
pub const TAG_INSTEAD: u32 = 10;
/// Init to runtime: it failed at `stage`.
pub const TAG_FAILED: u32 = 7;

/// Declares the stages with the words that the user reads.
macro_rules! stages {
    ($($(#[$meta:meta])* $name:ident = $text:literal,)*) => {
        /// Where in the init or in the stub a failure arose.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        #[allow(dead_code)]
        pub enum Stage {
            $($(#[$meta])* $name,)*
        }

        #[allow(dead_code)]
        impl Stage {
            const ALL: &'static [(Stage, &'static str)] = &[$((Stage::$name, $text),)*];

            /// The stage with this number.
            pub fn from_number(number: u32) -> Option<Stage> {
                Self::ALL.get(number as usize).map(|entry| entry.0)
            }

            /// What was being done, in words.
            pub fn text(self) -> &'static str {
                Self::ALL[self as usize].1
            }
        }
    };
}

/// A failure before it becomes a message.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code)]
pub struct Failure {
    /// Where it arose.
    pub stage: Stage,
    /// Which of several.
    pub index: u32,
    /// errno.
    pub errno: i32,
}

stages! {
    /// An unknown place: the peer is of another version.
    Unknown = "set up the container",
    /// Making the process undumpable.
    Dumpable = "make the init undumpable",
    /// Joining a cgroup.
    JoinCgroup = "join the cgroup",
    /// sched_setaffinity(2).
    Affinity = "set the CPU affinity",
    /// oom_score_adj.
    OomScoreAdj = "set oom_score_adj",
    /// Joining the namespaces of a container that runs.
    JoinContainer = "join the namespaces of the container",
    /// Joining a namespace.
    JoinNamespace = "join the namespace",
    /// Joining a pid namespace, which takes a second process.
    JoinPidNamespace = "join the pid namespace",
    /// The mappings of a user namespace that was joined: users, groups.
    JoinedMap = "compare the mappings with those of the user namespace that is joined",
    /// Making a namespace.
    MakeNamespace = "make the namespace",
    /// The parent died or spoke out of turn.
    Channel = "wait for the runtime",
    /// Becoming root of a new user namespace.
    BecomeRoot = "become root in the user namespace",
    /// Writing the clock offsets.
    TimeOffsets = "set the time namespace's offsets",
    /// setsid(2).
    Session = "make a new session",
    /// Session keyring.
    Keyring = "make a new session keyring",
    /// The label of keys that are made.
    KeyLabel = "set the label of the new session keyring",
    /// Loopback interface.
    Loopback = "bring the loopback interface up",
    /// sethostname(2).
    Hostname = "set the hostname",
    /// setdomainname(2).
    Domainname = "set the domainname",
    /// Own procfs.
    Procfs = "mount procfs for the runtime's own use",
    /// Propagation of the mount namespace.
    Propagation = "set the mount propagation of /",
    /// Binding the root file system.
    Rootfs = "open the root file system",
    /// One of `mounts`: the source.
    MountSource = "open the source of the mount",
    /// One of `mounts`: the destination.
    MountTarget = "open or make the destination of the mount",
    /// One of `mounts`: the mount itself.
    Mount = "mount",
    /// One of `mounts`: its flags.
    MountFlags = "set the flags of the mount",
    /// One of `mounts`: the mode of a tmpfs that was made outside.
    MountMode = "set the mode of the mount",
    /// One of `mounts`: a bind on /proc.
    MountProc = "mount over /proc",
    /// One of `mounts`: copy-symlink.
    MountLink = "make the symbolic link",
    /// One of `mounts`: a remount.
    Remount = "remount",
    /// One of `mounts`: tmpcopyup.
    MountCopyUp = "copy the directory's content into the tmpfs",
    /// /dev itself.
    Dev = "open /dev of the container",
    /// A device node.
    Device = "make the device",
    /// Symbolic links in /dev.
    DevLink = "make the symbolic link in /dev",
    /// A terminal.
    Console = "set up the terminal",
    /// A sysctl.
    Sysctl = "set the sysctl",
    /// A read-only path.
    ReadonlyPath = "make the path read-only",
    /// A masked path.
    MaskedPath = "mask the path",
    /// The root, read-only.
    RootReadonly = "make the root file system read-only",
    /// A createContainer hook.
    CreateContainerHook = "run the createContainer hook",
    /// pivot_root(2).
    Pivot = "pivot into the root file system",
    /// chdir(2).
    Cwd = "change to the working directory",
    /// Looking for the program.
    Lookup = "find the program",
    /// A resource limit.
    Rlimit = "set the resource limit",
    /// Scheduler, I/O priority, memory policy, personality.
    Scheduling = "set the scheduling of the process",
    /// Running the stub.
    Stub = "run the exec stub",
    /// The stub's data.
    StubData = "map the exec stub's data",
    /// close_range(2).
    Descriptors = "hide the runtime's descriptors from the program",
    /// A security label.
    Label = "set the security label of the process",
    /// Bounding set.
    Bounding = "drop capabilities from the bounding set",
    /// Groups.
    Groups = "set the supplementary groups",
    /// Group id.
    Gid = "set the group id",
    /// User id.
    Uid = "set the user id",
    /// Capability sets.
    Capabilities = "set the capabilities",
    /// Ambient capabilities.
    Ambient = "set the ambient capabilities",
    /// no_new_privs.
    NoNewPrivileges = "set no_new_privs",
    /// The filter.
    Seccomp = "load the seccomp filter",
    /// The fifo.
    Fifo = "wait on the exec fifo",
    /// A startContainer hook.
    StartContainerHook = "run the startContainer hook",
    /// The program.
    Exec = "run the program",
}
