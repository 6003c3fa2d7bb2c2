//! The steps that the init has in common with a process of `exec` or a helper: cgroup, user
//! and keyring.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::process::DumpableBehavior;

use super::program::Step;
use crate::cgroup::Cgroup;
use crate::plan::process::ProcessPlan;
use crate::rootfs::Procfs;
use crate::sys::Errno;
use crate::sys::process::join_session_keyring;
use crate::sys::stub::{self, At, Failure, Stage};

/// Waits for one message of the parent; its value. The parent's death ends the init.
pub fn wait_for(channel: &OwnedFd, tag: u32) -> Step<i32> {
    match stub::receive(channel).at(Stage::Channel)? {
        Some(message) if message.tag == tag => Ok(message.value),
        _ => Err(Failure {
            stage: Stage::Channel,
            index: 0,
            errno: libc::EPIPE,
        }),
    }
}

/// Joins the hierarchies of cgroup v1.
pub fn join_cgroup(cgroup: &Cgroup) -> Step {
    cgroup.join().map_err(|(index, errno)| Failure {
        stage: Stage::JoinCgroup,
        index: index as u32,
        errno: errno.raw_os_error(),
    })
}

/// Keeps others from looking into this process.
pub fn undumpable() -> Step {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Stage::Dumpable)
}

/// Becomes root of a user namespace that was just entered; where it has none, the
/// process's user.
pub fn become_root(process: &ProcessPlan) -> Step {
    let set_gid = |gid| {
        let gid = rustix::process::Gid::from_raw(gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid)
    };
    let set_uid = |uid| {
        let uid = rustix::process::Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid)
    };
    match set_gid(0) {
        Err(Errno::INVAL) => set_gid(process.gid),
        result => result,
    }
    .at(Stage::BecomeRoot)?;
    match set_uid(0) {
        Err(Errno::INVAL) => set_uid(process.uid).and_then(|()| keep_capabilities()),
        result => result,
    }
    .at(Stage::BecomeRoot)
}

/// Lets the stub's execve keep the capabilities of an init that is not root.
fn keep_capabilities() -> crate::sys::Result<()> {
    let mut own = rustix::thread::capabilities(None)?;
    own.effective = own.permitted;
    own.inheritable = own.permitted;
    rustix::thread::set_capabilities(None, own)?;
    for capability in own.permitted.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Labels the keys that are made from now on, until execve takes the label back: the program
/// could not use a keyring with the runtime's label.
fn label_keys(label: &str, procfs: &mut Procfs) -> Step {
    let dir = procfs.dir_or_hosts().at(Stage::Procfs)?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, c"self/attr/keycreate", flags, Mode::empty())
        .at(Stage::KeyLabel)?;
    rustix::io::write(&file, label.as_bytes())
        .at(Stage::KeyLabel)
        .map(drop)
}

/// The name of a container's session keyring, runc's.
pub fn keyring_name(id: &str) -> CString {
    crate::plan::path::c_string(format!("_ses.{id}"))
}

/// Makes the session keyring of this name, or joins it. A new one gets the label, by
/// `procfs`: it is made if /proc is the host's still, else it has to be there.
pub fn new_keyring(name: &CStr, label: Option<&str>, procfs: &mut Procfs) -> Step {
    if let Some(label) = label {
        label_keys(label, procfs)?;
    }
    match join_session_keyring(name) {
        // A kernel without keyrings has none to share either.
        Err(Errno::NOSYS) => Ok(()),
        result => result.at(Stage::Keyring),
    }
}
