//! Attaching the device program of cgroup v2.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use super::CgroupError;
use crate::plan::cgroup::DeviceProgram;
use crate::sys::bpf;

const POINTER: &str = "/linux/resources/devices";

/// Makes `program` the only one of the directory; `path` is its name for messages, and `fresh`
/// says that it has none yet.
pub(super) fn attach(
    directory: BorrowedFd,
    path: &str,
    program: &DeviceProgram,
    fresh: bool,
) -> Result<(), CgroupError> {
    if fresh && program.allows_everything {
        return Ok(());
    }
    let failed = |errno| {
        let error = CgroupError::kernel("attach the device program to", path, errno).at(POINTER);
        match errno {
            Errno::PERM => error.hint("it takes CAP_SYS_ADMIN in the first user namespace"),
            Errno::INVAL => error.hint("the kernel needs CONFIG_CGROUP_BPF"),
            _ => error,
        }
    };
    let old = if fresh {
        Vec::new()
    } else {
        bpf::device_programs(directory).map_err(failed)?
    };
    let new = load(&program.instructions).map_err(failed)?;
    // With one, the exchange leaves no moment without rules.
    let replaced: Option<&OwnedFd> = if old.len() == 1 { old.first() } else { None };
    bpf::attach_device_program(directory, &new, replaced.map(AsFd::as_fd)).map_err(failed)?;
    if replaced.is_none() {
        for program in &old {
            bpf::detach_device_program(directory, program).map_err(failed)?;
        }
    }
    Ok(())
}

fn load(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    match bpf::load_device_program(instructions) {
        // Before Linux 5.11 programs count as locked memory. The container's init is forked
        // already, so the new limit is not its own.
        Err(Errno::PERM) => {
            let unlimited = Rlimit {
                current: None,
                maximum: None,
            };
            rustix::process::setrlimit(Resource::Memlock, unlimited)?;
            bpf::load_device_program(instructions)
        }
        other => other,
    }
}
