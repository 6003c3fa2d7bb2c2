//! The init's side: from the clone to the exec stub, in one line of steps.
//!
//! Everything it needs was prepared by the parent. It runs on a copy of the
//! parent's memory in a process of its own, never returns into the parent's
//! code, and tells a failure as numbers; the parent finds the words.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Resource, Rlimit};

use super::begin::{become_root, join_cgroup, new_keyring, undumpable, wait_for};
use super::program::{self, Handover, PidNamespace, Program, Step, relative};
use super::send::send_fd;
use super::{hooks, oom, tty};
use crate::cgroup::Cgroup;
use crate::container::state::HookRecord;
use crate::plan::namespaces::{CLONE_NEWTIME, same_map};
use crate::plan::{CgroupMounts, Plan};
use crate::rootfs::fallback::Instead;
use crate::rootfs::{self, Procfs, resolve, tree};
use crate::sys::Errno;
use crate::sys::clone::{Cloned, clone3_sibling};
use crate::sys::fd::ShortLived;
use crate::sys::process::{exit_now, loopback_up, setns, unblock_signals, unshare_namespaces};
use crate::sys::stub::abi::{self, Message};
use crate::sys::stub::{self, At, Stage};

/// All that the init works with.
pub struct Init<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    /// Its end of the channel.
    pub channel: OwnedFd,
    /// What is run at last.
    pub program: Program<'a>,
    /// The exec fifo with both of its ends, if it waits.
    pub fifo: Option<ShortLived>,
    /// The cgroup to join.
    pub cgroup: &'a Cgroup,
    /// Files of the namespaces to join: index in the plan's `join`.
    pub namespaces: Vec<(usize, OwnedFd)>,
    /// The pid namespace that the stub enters at last.
    pub pid_namespace: Option<OwnedFd>,
    /// Namespaces that are made by a second clone, from inside a user namespace that
    /// is joined: made before, they would not belong to it.
    pub second_clone: Option<u64>,
    /// Namespaces that the init itself makes, after it has joined the cgroup.
    pub unshare: u64,
    /// The root file system's mount, where the init may not open its path.
    pub root_tree: Option<OwnedFd>,
    /// The same for bind sources, by mount.
    pub trees: Vec<Option<OwnedFd>>,
    /// The limit of open files that the program gets, if it was raised for the trees.
    pub nofile: Option<Rlimit>,
    /// What a cgroup mount consists of.
    pub cgroup_mounts: CgroupMounts,
    /// A procfs in which the init has an entry, for its labels, if the container's is another.
    pub labels: Option<Procfs>,
    /// Name of the new session keyring.
    pub keyring: Option<CString>,
    /// Change the root directory instead of pivoting.
    pub no_pivot: bool,
    /// The runtime's user is root.
    pub is_root: bool,
    /// There are hooks: the init waits until the parent has set the device rules and
    /// run its own.
    pub waits_for_hooks: bool,
    /// createContainer hooks.
    pub create_container: Vec<HookRecord>,
    /// The container's state for them, before and after the pid.
    pub state: (String, String),
}

impl Init<'_> {
    /// Runs the init. Its end is the stub, or an exit after a failure was told.
    pub fn run(mut self) -> ! {
        let failure = match self.enter_cgroup().and_then(|()| self.steps()) {
            Ok(never) => match never {},
            Err(failure) => failure,
        };
        program::fail(&self.channel, &failure)
    }

    fn enter_cgroup(&mut self) -> Step {
        // `run` blocks signals to take them from a descriptor; the program gets them all.
        unblock_signals();
        self.adjust_oom_score()?;
        if self.cgroup.waits_for_unit() {
            // Before anything that memory is charged for, and before the cgroup namespace.
            self.cgroup.leave_systemd();
            self.wait_for(abi::TAG_JOINED)?;
        }
        join_cgroup(self.cgroup)?;
        match self.second_clone {
            Some(flags) => self.clone_again(flags),
            None => Ok(()),
        }
    }

    /// An ordinary user may not write the file of a process that is not dumpable, which the
    /// init is from its birth on unless it makes a user namespace. Then the runtime writes.
    fn adjust_oom_score(&self) -> Step {
        match self.plan.process.oom_score_adj {
            Some(adjustment)
                if !self.is_root && !self.plan.namespaces.makes(libc::CLONE_NEWUSER as u64) =>
            {
                oom::adjust_own(adjustment).at(Stage::OomScoreAdj)
            }
            _ => Ok(()),
        }
    }

    /// Joins the user namespace and goes on in a sibling that has the other new ones.
    fn clone_again(&mut self, flags: u64) -> Step {
        // Opened while the file is this process's own; what may be written through it is
        // asked of the opener, who is above the user namespace.
        let offsets = self.offsets_file()?;
        self.join_namespaces(libc::CLONE_NEWUSER as u64)?;
        if self.unshare & CLONE_NEWTIME != 0 {
            // It is for children, and the sibling is one.
            unshare_namespaces(CLONE_NEWTIME).at(Stage::MakeNamespace)?;
            self.write_offsets(offsets)?;
            self.unshare &= !CLONE_NEWTIME;
        }
        match clone3_sibling(flags).at(Stage::MakeNamespace)? {
            // Not before the parent knows this process, whose messages could else
            // overtake the other's.
            Cloned::Child => self.wait_for(abi::TAG_MAPPED).map(drop),
            Cloned::Parent { pidfd, .. } => {
                let message = Message::new(abi::TAG_INIT, 0, 0, 0);
                let bytes = stub::as_bytes(std::slice::from_ref(&message));
                let sent = send_fd(&self.channel, pidfd.as_fd(), &bytes[..abi::MESSAGE_HEAD]);
                // The runtime's death ends the sibling too: it reads the channel's end.
                exit_now(i32::from(sent.is_err()))
            }
        }
    }

    fn steps(&mut self) -> Step<std::convert::Infallible> {
        let plan = self.plan;
        let makes_user = plan.namespaces.makes(libc::CLONE_NEWUSER as u64);
        if makes_user {
            // The parent writes the mappings through this process's /proc files,
            // which belong to it only while it is dumpable.
            self.wait_for(abi::TAG_MAPPED)?;
            // Its offsets are written through a file of this process too.
            self.make_time_namespace()?;
            undumpable()?;
            become_root(&self.plan.process)?;
        } else if !plan.net_devices.is_empty() {
            // The parent moves them now.
            self.wait_for(abi::TAG_MAPPED)?;
        }
        // What is opened by name has to be the host's, so a mount namespace comes last.
        self.join_namespaces(!(libc::CLONE_NEWNS as u64))?;
        self.make_namespaces()?;
        if self.pid_namespace.is_none() {
            rustix::process::setsid().at(Stage::Session)?;
        }
        if let Some(name) = &self.keyring {
            // Of the namespace that this process is in, which need not be the container's yet.
            let label = plan.process.key_label.as_deref();
            new_keyring(name, label, &mut Procfs::new(None))?;
        }
        if plan.namespaces.makes(libc::CLONE_NEWNET as u64) {
            loopback_up().at(Stage::Loopback)?;
        }
        if let Some(hostname) = &plan.hostname {
            rustix::system::sethostname(hostname.as_bytes()).at(Stage::Hostname)?;
        }
        if let Some(domainname) = &plan.domainname {
            rustix::system::setdomainname(domainname.as_bytes()).at(Stage::Domainname)?;
        }
        let mut procfs = Procfs::new(self.pid_namespace.take());
        if plan.namespaces.makes(libc::CLONE_NEWNS as u64) {
            self.file_system(&mut procfs)?;
        } else if plan.apart {
            self.file_system_apart(&mut procfs)?;
        } else {
            if !plan.sysctls.is_empty() {
                procfs.dir_or_hosts().at(Stage::Procfs)?;
            }
            self.open_procfs_for_labels(&mut procfs)?;
            self.join_namespaces(!0)?;
            rootfs::set_sysctls(&mut procfs, &plan.sysctls)?;
            self.before_pivot(None)?;
            rootfs::change_root(&plan.root.path)?;
        }
        let found = self.program.prepare(true)?;
        self.become_stub(procfs, found)
    }

    /// Joins those of the kinds in `flags`.
    fn join_namespaces(&mut self, flags: u64) -> Step {
        for (index, file) in std::mem::take(&mut self.namespaces) {
            let join = &self.plan.namespaces.join[index];
            if join.flag & flags == 0 {
                self.namespaces.push((index, file));
                continue;
            }
            if join.flag == libc::CLONE_NEWUSER as u64 {
                // It may deny setgroups(2), and the runtime's groups are none of its.
                // Without the right to, they are the user's own.
                let _ = rustix::thread::set_thread_groups(&[]);
            }
            setns(file.as_fd(), join.flag).at_index(Stage::JoinNamespace, index)?;
            if join.flag == libc::CLONE_NEWUSER as u64 {
                become_root(&self.plan.process)?;
                undumpable()?;
                self.compare_mappings()?;
            }
        }
        Ok(())
    }

    /// The mappings of config.json have to be those of the user namespace that was joined:
    /// the ids of everything else rely on them.
    fn compare_mappings(&self) -> Step {
        let Some((uids, gids)) = &self.plan.namespaces.joined_maps else {
            return Ok(());
        };
        for (index, (file, wanted)) in
            [(c"/proc/self/uid_map", uids), (c"/proc/self/gid_map", gids)]
                .into_iter()
                .enumerate()
        {
            if wanted.is_empty() {
                continue;
            }
            let read = || -> crate::sys::Result<bool> {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                let file = rustix::fs::openat(CWD, file, flags, Mode::empty())?;
                // As much as the kernel takes (340 lines of three columns).
                let mut text = vec![0; 16 * 1024];
                let length = rustix::io::read(&file, &mut text)?;
                Ok(same_map(&String::from_utf8_lossy(&text[..length]), wanted))
            };
            match read().at_index(Stage::JoinedMap, index)? {
                true => {}
                false => Err(Errno::INVAL).at_index(Stage::JoinedMap, index)?,
            }
        }
        Ok(())
    }

    fn make_namespaces(&mut self) -> Step {
        self.make_time_namespace()?;
        match std::mem::take(&mut self.unshare) {
            0 => Ok(()),
            flags => unshare_namespaces(flags).at(Stage::MakeNamespace),
        }
    }

    /// unshare gives a new time namespace to children only; once its offsets are
    /// set, the init joins it itself, which spares a second fork.
    fn make_time_namespace(&mut self) -> Step {
        if self.unshare & CLONE_NEWTIME == 0 {
            return Ok(());
        }
        self.unshare &= !CLONE_NEWTIME;
        unshare_namespaces(CLONE_NEWTIME).at(Stage::MakeNamespace)?;
        let offsets = self.offsets_file()?;
        self.write_offsets(offsets)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::openat(
            CWD,
            c"/proc/self/ns/time_for_children",
            flags,
            Mode::empty(),
        )
        .at(Stage::MakeNamespace)?;
        setns(namespace.as_fd(), CLONE_NEWTIME).at(Stage::MakeNamespace)
    }

    /// The file that takes the clocks' offsets, if there are any.
    fn offsets_file(&self) -> Step<Option<OwnedFd>> {
        if self.plan.namespaces.time_offsets.is_empty() {
            return Ok(None);
        }
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, c"/proc/self/timens_offsets", flags, Mode::empty())
            .map(Some)
            .at(Stage::TimeOffsets)
    }

    fn write_offsets(&self, file: Option<OwnedFd>) -> Step {
        let offsets = self.plan.namespaces.time_offsets.as_bytes();
        match file {
            Some(file) => rustix::io::write(&file, offsets)
                .map(drop)
                .at(Stage::TimeOffsets),
            None => Ok(()),
        }
    }

    fn file_system(&mut self, procfs: &mut Procfs) -> Step {
        let plan = self.plan;
        let root_plan = &plan.root;
        let root = rootfs::open_root(
            &root_plan.path,
            root_plan.propagation,
            self.root_tree.take(),
        )?;
        // Modes are meant as they are written.
        rustix::process::umask(Mode::empty());
        // Else what the container mounts in a volume would appear on the host.
        let cut_off = plan.namespaces.has(libc::CLONE_NEWUSER as u64);
        let mut context = rootfs::mounts::Context {
            root,
            trees: &mut self.trees,
            tree_propagation: cut_off.then_some(root_plan.propagation),
            follows_links: true,
            cgroup: &self.cgroup_mounts,
            namespaces: &plan.namespaces,
            mounts_cgroups: plan
                .mounts
                .iter()
                .any(|mount| mount.destination.as_c_str() == c"sys/fs/cgroup"),
            instead: Vec::new(),
            own: rootfs::mounts::Own::default(),
            proc_is_own: false,
        };
        rootfs::mounts::make(&plan.mounts, &mut context, procfs)?;
        let (proc_is_own, own) = (context.proc_is_own, std::mem::take(&mut context.own));
        for (index, instead) in std::mem::take(&mut context.instead) {
            self.tell_instead(Stage::Mount, index, instead)?;
        }
        if let Some(limit) = self.nofile {
            rustix::process::setrlimit(Resource::Nofile, limit).at(Stage::Rlimit)?;
        }
        if plan.setup_dev {
            let user = plan.namespaces.has(libc::CLONE_NEWUSER as u64);
            if rootfs::dev::make(root, own.at(c"dev"), &plan.devices, user)? && !user {
                self.tell_instead(Stage::Device, 0, Instead::HostDevice)?;
            }
        }
        rootfs::set_sysctls(procfs, &plan.sysctls)?;
        // The last that opens a device: while the rules are set, none can be.
        if plan.process.terminal {
            let lead = !procfs.is_elsewhere();
            self.make_terminal(root, lead).at(Stage::Console)?;
        }
        self.open_procfs_for_labels(procfs)?;
        let hooked = self.waits_for_hooks || !self.create_container.is_empty();
        if hooked {
            // They may look at the container's tree, and mount in it.
            tree::show().at(Stage::Rootfs)?;
        }
        self.before_pivot(Some(root))?;
        // Hooks may have mounted something over it.
        let own_proc = procfs.made().filter(|_| proc_is_own && !hooked);
        rootfs::masks::make_readonly(root, own_proc, &plan.readonly_paths)?;
        rootfs::masks::mask(root, own_proc, &plan.masked_paths)?;
        if root_plan.readonly {
            // The working directory may still have to be made, as runc does.
            let cwd = relative(&plan.process.cwd);
            if !cwd.is_empty() {
                resolve::handle_or_make(root, cwd, resolve::Make::Directory).at(Stage::Cwd)?;
            }
            rootfs::calls::set_attr(root, false, &rootfs::calls::READ_ONLY)
                .at(Stage::RootReadonly)?;
        }
        tree::show().at(Stage::Rootfs)?;
        if self.no_pivot {
            rootfs::move_root(root)?
        } else {
            rootfs::pivot(root)?
        }
        if let Some(flags) = root_plan.final_propagation {
            rootfs::calls::set_propagation(root, flags).at(Stage::Propagation)?;
        }
        Ok(())
    }

    /// The same for a container whose mount namespace is the host's or another's: the tree is made in a copy of that,
    /// which is left again. What remains is a tree in no namespace, with this process's root directory in it: nothing
    /// is mounted for others, nothing has to be unmounted, and no `..` leads out of it.
    fn file_system_apart(&mut self, procfs: &mut Procfs) -> Step {
        let join = &self.plan.namespaces.join;
        let mut joined = self.namespaces.iter();
        let joined = joined.position(|(index, _)| join[*index].flag == libc::CLONE_NEWNS as u64);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = match joined {
            Some(at) => {
                let (index, file) = self.namespaces.remove(at);
                setns(file.as_fd(), libc::CLONE_NEWNS as u64)
                    .at_index(Stage::JoinNamespace, index)?;
                file
            }
            None => rustix::fs::openat(CWD, c"/proc/self/ns/mnt", flags, Mode::empty())
                .at(Stage::MakeNamespace)?,
        };
        unshare_namespaces(libc::CLONE_NEWNS as u64).at(Stage::MakeNamespace)?;
        self.file_system(procfs)?;
        let tree = rootfs::calls::open_tree(c"/", true).at(Stage::Rootfs)?;
        setns(namespace.as_fd(), libc::CLONE_NEWNS as u64).at(Stage::MakeNamespace)?;
        rootfs::enter(tree.as_fd())
    }

    fn make_terminal(&self, root: BorrowedFd<'_>, leads_session: bool) -> crate::sys::Result<()> {
        let terminal = tty::Terminal::new(root, &self.plan.process)?;
        terminal.bind_console(root)?;
        terminal.hand_out(leads_session, self.channel.as_fd())
    }

    /// What comes between the devices and the pivot: their rules, then the hooks,
    /// first the parent's and then ours.
    fn before_pivot(&self, root: Option<BorrowedFd<'_>>) -> Step {
        self.tell(abi::TAG_DEVICES)?;
        if self.waits_for_hooks {
            self.tell(abi::TAG_HOOKS)?;
            self.wait_for(abi::TAG_GO)?;
        }
        if self.create_container.is_empty() {
            return Ok(());
        }
        // They start in the container's root, as with runc and crun.
        match root {
            Some(root) => rustix::process::fchdir(root),
            None => rustix::process::chdir(&self.plan.root.path),
        }
        .at(Stage::Rootfs)?;
        let pid = rustix::process::getpid().as_raw_nonzero();
        let state = format!("{}{pid}{}", self.state.0, self.state.1);
        let around = hooks::Surroundings {
            state: state.as_bytes(),
            dir: None,
            guarded: false,
        };
        if let Err(error) = hooks::run("createContainer", &self.create_container, around) {
            // The sentence is made here: it holds what the hook said.
            let mut message =
                Message::new(abi::TAG_FAILED, Stage::CreateContainerHook as u32, 0, 0);
            message.tell(error.to_string().as_bytes());
            let _ = stub::send(self.channel.as_fd(), &message);
            exit_now(255);
        }
        Ok(())
    }

    /// Waits until the parent is done with everything outside, then becomes the stub.
    fn become_stub(
        &mut self,
        procfs: Procfs,
        found: Option<CString>,
    ) -> Step<std::convert::Infallible> {
        // Labels are written before a pid namespace is joined, where another procfs has
        // no entry for the writer.
        let (own, pid_namespace) = procfs.for_stub();
        let labels = self.labels.take().unwrap_or(own);
        let needs_procfs = !self.plan.process.labels.is_empty();
        let handover = Handover {
            channel: &self.channel,
            fifo: self.fifo.as_ref().map(AsFd::as_fd),
            procfs: labels.made().filter(|_| needs_procfs),
            pid_namespace: match &pid_namespace {
                Some(fd) => PidNamespace::Join(fd.as_fd()),
                None => PidNamespace::Own,
            },
            size: self.wait_for(abi::TAG_GO)?,
        };
        Err(self.program.become_stub(&handover, found))
    }

    /// While /proc is the host's: where no procfs can be mounted, that one has to do.
    fn open_procfs_for_labels(&mut self, procfs: &mut Procfs) -> Step {
        if self.plan.process.labels.is_empty() {
            return Ok(());
        }
        let labels = match procfs.is_elsewhere() {
            // The container's has no entry for this process.
            true => self.labels.insert(Procfs::new(None)),
            false => procfs,
        };
        labels.dir_or_hosts().map(drop).at(Stage::Procfs)
    }

    fn tell(&self, tag: u32) -> Step {
        stub::send(self.channel.as_fd(), &Message::new(tag, 0, 0, 0)).at(Stage::Channel)
    }

    /// Says what was done in place of what was asked for.
    fn tell_instead(&self, stage: Stage, index: usize, instead: Instead) -> Step {
        let message = Message::new(abi::TAG_INSTEAD, stage as u32, index as u32, instead as i32);
        stub::send(self.channel.as_fd(), &message).at(Stage::Channel)
    }

    fn wait_for(&self, tag: u32) -> Step<i32> {
        wait_for(&self.channel, tag)
    }
}
