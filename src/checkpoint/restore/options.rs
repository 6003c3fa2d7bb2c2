//! What criu is told of the container.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Pid;

use super::{Attempt, LOG};
use crate::checkpoint::dump::{SHARED, common};
use crate::checkpoint::images::{Images, is_outside};
use crate::checkpoint::rpc::{self, option};
use crate::checkpoint::staging::Staging;
use crate::checkpoint::wire::Message;
use crate::checkpoint::{CheckpointError, read, system};
use crate::plan;

impl Attempt<'_> {
    /// All but the stages.
    pub(super) fn options(
        &self,
        staging: &Staging<'_>,
        joined: &[(String, OwnedFd)],
        criu: Pid,
        (images, work): (&Images, Option<&Images>),
    ) -> Result<Message, CheckpointError> {
        let request = self.request;
        let mut options = Message::default();
        common(&mut options, &request.options, images, work, &self.state);
        options
            .text(option::LOG_FILE, LOG)
            .text(option::ROOT, staging.root().as_os_str().as_bytes())
            .flag(option::EVASIVE_DEVICES, true)
            .flag(option::RST_SIBLING, true)
            // The newer way takes the propagation of all mounts that have the same master from
            // one of them, which the staged ones, each with a root of its own, do not allow.
            .flag(option::MNTNS_COMPAT_MODE, true);
        if request.tcp_close {
            options.flag(option::TCP_CLOSE, true);
        }
        if let Some(profile) = &request.lsm_profile {
            options.text(option::LSM_PROFILE, profile);
        }
        if let Some(context) = &request.lsm_mount_context {
            options.text(option::LSM_MOUNT_CONTEXT, context);
        }
        for (index, external) in self.externals.iter().enumerate() {
            let place = staging.place(index);
            let name = format!("mnt[{}]:", external.name);
            let text = [name.as_bytes(), place.as_os_str().as_bytes()].concat();
            options.text(option::EXTERNAL, text);
        }
        let mut inherit = |key: &str, fd: i32| {
            let mut message = Message::default();
            message.text(1, key).number(2, fd.into());
            options.message(option::INHERIT_FD, &message);
        };
        for (fd, name) in (0..).zip(&self.streams) {
            if let Some(name) = name {
                inherit(name, fd);
            }
        }
        for (key, fd) in joined {
            inherit(key, fd.as_raw_fd());
        }
        for join in &self.plan.namespaces.join {
            let mut kinds = plan::namespaces::KINDS.iter();
            let kind = kinds.find(|(_, _, flag)| *flag == join.flag);
            if let Some((_, file, flag)) = kind
                && !SHARED.iter().any(|(_, _, shared)| shared == flag)
            {
                options.message(option::JOIN_NS, &rpc::pair(file, join.path.as_bytes()));
            }
        }
        // What the checkpoint calls its cgroups is beneath this container's.
        let path = format!("/proc/{}/cgroup", criu.as_raw_nonzero());
        let text = read(&path)?;
        for line in String::from_utf8_lossy(&text).lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            if let (Some(controllers), Some(path)) = (fields.next(), fields.next()) {
                for controller in controllers.split(',') {
                    options.message(option::CGROUP_ROOT, &rpc::pair(controller, path));
                }
            }
        }
        Ok(options)
    }

    /// What takes the place of a file of the host where the caller's stream is a pipe or terminal:
    /// there is no position in it that CRIU could restore. With its key.
    pub(super) fn replaced(&mut self) -> Result<Vec<(String, OwnedFd)>, CheckpointError> {
        let mut found = Vec::new();
        for (number, name) in self.streams.iter_mut().enumerate() {
            let stream = match number {
                0 => rustix::stdio::stdin(),
                1 => rustix::stdio::stdout(),
                _ => rustix::stdio::stderr(),
            };
            let seeks = rustix::fs::tell(stream).is_ok();
            if let Some(key) = name.take_if(|name| is_outside(name) && !seeks) {
                let flags = OFlags::RDWR | OFlags::CLOEXEC;
                let null = rustix::fs::open(c"/dev/null", flags, Mode::empty())
                    .map_err(system("open", "/dev/null"))?;
                found.push((key, null));
            }
        }
        Ok(found)
    }

    /// The namespaces that CRIU takes from a descriptor, with their keys.
    pub(super) fn joined(&self) -> Result<Vec<(String, OwnedFd)>, CheckpointError> {
        let mut found = Vec::new();
        for join in &self.plan.namespaces.join {
            let Some((kind, _, _)) = SHARED.iter().find(|(_, _, flag)| *flag == join.flag) else {
                continue;
            };
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(CWD, &join.path, flags, Mode::empty())
                .map_err(system("open the namespace", join.path.to_string_lossy()))?;
            found.push((format!("extRoot{kind}NS"), fd));
        }
        Ok(found)
    }
}
