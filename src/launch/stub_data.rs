//! The data of the exec stub: made by the parent while the init mounts.

use std::os::fd::{AsFd, OwnedFd};

use crate::config::spec::Hook;
use crate::plan::process::ProcessPlan;
use crate::plan::seccomp::{Insn, Program};
use crate::sys::Result;
use crate::sys::fd::write_all;
use crate::sys::process::SchedAttr;
use crate::sys::stub::abi::{self, Block, HookEntry, ProcWrite, RlimitEntry};
use crate::sys::stub::{BlockWriter, DATA_OFFSET, IMAGE, memfd_to_run, seal};

/// What goes into the block besides the process's plan.
pub struct Extras<'a> {
    /// Wait on the fifo.
    pub wait: bool,
    /// Signals that the caller ignored, one bit a signal.
    pub ignored_signals: u64,
    /// setgroups(2) is denied in the user namespace.
    pub keep_groups: bool,
    /// No groups are fine where setgroups(2) is denied: there are none of the caller's.
    pub may_lack_groups: bool,
    /// First descriptor that the program does not get.
    pub close_from: u32,
    /// The filter.
    pub seccomp: Option<&'a Program>,
    /// How the program is scheduled.
    pub scheduler: Option<&'a SchedAttr>,
    /// startContainer hooks.
    pub hooks: &'a [Hook<'a>],
    /// The container's state, before and after the pid.
    pub state: (String, String),
}

/// The memfd that the stub is run from. It has room for the image only; the data
/// follows when it is known.
///
/// # Errors
/// memfd_create(2).
pub fn memfd() -> Result<OwnedFd> {
    memfd_to_run(c"corten-init")
}

/// Writes image and data and seals them; gives the data's length.
///
/// # Errors
/// write(2), fcntl(2).
pub fn write(memfd: impl AsFd, block: &[u8]) -> Result<u32> {
    let mut bytes = Vec::with_capacity(DATA_OFFSET + block.len());
    bytes.extend_from_slice(IMAGE);
    bytes.resize(DATA_OFFSET, 0);
    bytes.extend_from_slice(block);
    write_all(&memfd, &bytes)?;
    seal(memfd)?;
    Ok(block.len() as u32)
}

/// Lays the data out.
pub fn block(process: &ProcessPlan, extras: &Extras<'_>) -> Vec<u8> {
    let mut writer = BlockWriter::new();
    let mut block = Block {
        close_from: extras.close_from,
        umask: process.umask,
        uid: process.uid,
        gid: process.gid,
        ignored_signals: extras.ignored_signals,
        ..Block::default()
    };
    let flag = |on: bool, flag: u32| if on { flag } else { 0 };
    block.flags = flag(extras.wait, abi::FLAG_WAIT)
        | flag(process.terminal, abi::FLAG_TERMINAL)
        | flag(process.no_new_privileges, abi::FLAG_NO_NEW_PRIVS)
        | flag(extras.keep_groups, abi::FLAG_KEEP_GROUPS)
        | flag(extras.may_lack_groups, abi::FLAG_GROUPS_MAY_BE_DENIED);
    if let Some(scheduler) = extras.scheduler {
        block.scheduler = scheduler.words();
        block.flags |= abi::FLAG_SCHEDULER;
    }
    let sets = &process.capabilities;
    block.bounding = sets.bounding;
    block.effective = sets.effective;
    block.permitted = sets.permitted;
    block.inheritable = sets.inheritable;
    block.ambient = sets.ambient;
    block.groups = writer.array(&process.groups);
    if let Some(program) = extras.seccomp {
        block.seccomp = writer.array(&program.insns.iter().map(instruction).collect::<Vec<_>>());
        block.seccomp_flags = program.flags;
        block.flags |= flag(program.notify, abi::FLAG_LISTENER);
    }
    let writes: Vec<ProcWrite> = process
        .labels
        .iter()
        .map(|(path, value)| ProcWrite {
            path: writer.c_string(path),
            value: writer.c_string(value),
        })
        .collect();
    block.proc_writes = writer.array(&writes);
    let limits = process.rlimits.iter().map(|limit| RlimitEntry {
        resource: limit.resource.into(),
        limit: [limit.soft, limit.hard],
    });
    block.rlimits = writer.array(&limits.collect::<Vec<_>>());
    let hooks: Vec<HookEntry> = extras
        .hooks
        .iter()
        .map(|hook| hook_entry(&mut writer, hook))
        .collect();
    block.hooks = writer.array(&hooks);
    if !hooks.is_empty() {
        block.state_head = writer.bytes(extras.state.0.as_bytes());
        block.state_tail = writer.bytes(extras.state.1.as_bytes());
    }
    writer.finish(block)
}

/// `struct sock_filter` as eight bytes.
fn instruction(insn: &Insn) -> u64 {
    let [a, b] = insn.code.to_ne_bytes();
    let [c, d, e, f] = insn.k.to_ne_bytes();
    u64::from_ne_bytes([a, b, insn.jt, insn.jf, c, d, e, f])
}

fn hook_entry(writer: &mut BlockWriter, hook: &Hook<'_>) -> HookEntry {
    let path = writer.c_string(&hook.path);
    let argv = if hook.args.is_empty() {
        writer.pointers(std::iter::once(hook.path.as_str()))
    } else {
        writer.pointers(hook.args.iter().map(|a| a.as_str()))
    };
    let envp = match &hook.env {
        Some(env) => writer.pointers(env.iter().map(|e| e.as_str())),
        None => abi::Span::default(),
    };
    let timeout_ms = match hook.timeout {
        Some(seconds) if seconds > 0 => seconds.saturating_mul(1000),
        _ => -1,
    };
    HookEntry {
        path,
        argv,
        envp,
        timeout_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_has_the_kernels_layout() {
        let insn = Insn {
            code: 0x06,
            jt: 1,
            jf: 2,
            k: 0x7fff_0000,
        };
        let expected = [6u8, 0, 1, 2, 0, 0, 0xff, 0x7f];
        if cfg!(target_endian = "little") {
            assert_eq!(instruction(&insn).to_ne_bytes(), expected);
        }
    }

    #[test]
    fn every_span_lies_inside_the_block() {
        let process = ProcessPlan {
            groups: vec![1, 2, 3],
            labels: vec![("self/attr/exec".into(), "label".into())],
            ..ProcessPlan::default()
        };
        let hook: Hook<'_> =
            serde_json::from_str(r#"{"path":"/h","args":["h","x"],"env":["A=1"],"timeout":2}"#)
                .unwrap();
        let hooks = [hook];
        let extras = Extras {
            wait: true,
            ignored_signals: 0,
            keep_groups: false,
            may_lack_groups: false,
            close_from: 3,
            seccomp: None,
            scheduler: None,
            hooks: &hooks,
            state: ("{\"pid\":".into(), "}".into()),
        };
        let bytes = block(&process, &extras);
        let size = u32::from_ne_bytes(bytes[..4].try_into().unwrap());
        assert_eq!(size as usize, bytes.len());
        let text = String::from_utf8_lossy(&bytes);
        for part in ["self/attr/exec\0", "label\0", "/h\0", "A=1\0"] {
            assert!(text.contains(part), "{part:?}");
        }
    }
}
