//! Running hooks: in order, with the container's state on standard input, a time
//! limit, and only descriptors 0 to 2 open. The startContainer hooks are run by
//! the stub, which does the same without libc.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags};
use rustix::process::{Signal, kill_process_group};

use super::attempt::waitid_exited;
use super::guard::Guard;
use crate::container::state::HookRecord;
use crate::container::{State, Status};
use crate::plan::path::c_string;
use crate::sys::fd::write_all;
use crate::sys::process::survive_file_limit;
use crate::sys::spawn::{Gate, failed_exec, spawn};
use crate::sys::{Errno, errno_text};

/// A hook that did not do its work.
#[derive(Debug)]
pub struct HookError {
    /// Its kind, `createRuntime`.
    pub kind: &'static str,
    /// Its place among those of its kind.
    pub index: usize,
    /// Its program.
    pub path: String,
    /// What happened.
    pub why: Why,
    /// The end of its standard error.
    pub output: String,
}

/// How a hook failed.
#[derive(Debug)]
pub enum Why {
    /// It could not be started.
    Start(Errno),
    /// It ended with this exit code.
    Exit(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// It ran longer than it may.
    Timeout,
}

impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/hooks/{}/{}: {}: ", self.kind, self.index, self.path)?;
        match &self.why {
            Why::Start(errno) => write!(
                f,
                "cannot run the hook: {}",
                errno_text(errno.raw_os_error())
            ),
            Why::Exit(code) => write!(f, "the hook failed: exit status {code}"),
            Why::Signal(signal) => write!(f, "the hook failed: killed by signal {signal}"),
            Why::Timeout => {
                f.write_str("the hook failed: it ran longer than its timeout and was killed")
            }
        }?;
        let output = one_line(&self.output);
        if output.is_empty() {
            Ok(())
        } else {
            write!(f, ", stderr: {output}")
        }
    }
}

impl std::error::Error for HookError {}

/// Text of several lines on one.
pub fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

/// How much of a hook's output an error shows.
const OUTPUT_MAX: usize = 4096;

/// What the hooks of one moment have in common.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// What each gets on standard input.
    pub state: &'a [u8],
    /// Where it starts; `None` is where the caller is. The specification says nothing of it;
    /// runc and crun run them in the bundle, and createContainer's in the root.
    pub dir: Option<&'a CStr>,
    /// Whether nothing of the container's ends the children of a hook when its caller is killed.
    pub guarded: bool,
}

/// Runs the hooks of one kind.
///
/// # Errors
/// The first that fails; the rest is not run.
pub fn run(
    kind: &'static str,
    hooks: &[HookRecord],
    around: Surroundings<'_>,
) -> Result<(), HookError> {
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, around).map_err(|(why, output)| HookError {
            kind,
            index,
            path: hook.path.clone(),
            why,
            output,
        })?;
    }
    Ok(())
}

/// Runs hooks of the runtime's namespaces in the bundle; the state shows what is so `now`.
///
/// # Errors
/// The first that fails; the rest is not run.
pub fn run_in_bundle(
    kind: &'static str,
    hooks: &[HookRecord],
    state: &State,
    now: (Status, Option<i32>),
) -> Result<(), HookError> {
    if hooks.is_empty() {
        return Ok(());
    }
    let shown = serde_json::to_vec(&state.for_hooks(now.0, now.1)).unwrap_or_default();
    let around = Surroundings {
        state: &shown,
        dir: Some(&c_string(state.bundle.as_str())),
        guarded: true,
    };
    run(kind, hooks, around)
}

/// Runs all poststop hooks of a container that is gone. One that fails is a warning, and the
/// rest is run (runtime-spec, "Lifecycle").
pub fn poststop(state: &State) {
    for (index, hook) in state.poststop.iter().enumerate() {
        let one = std::slice::from_ref(hook);
        if let Err(error) = run_in_bundle("poststop", one, state, (Status::Stopped, None)) {
            log::warn!("{}", HookError { index, ..error });
        }
    }
}

fn run_one(hook: &HookRecord, around: Surroundings<'_>) -> Result<(), (Why, String)> {
    let start = |errno| (Why::Start(errno), String::new());
    let stdin = state_file(around.state).map_err(start)?;
    let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
    let (output, stderr) = rustix::pipe::pipe_with(flags).map_err(start)?;
    // The hook itself gets an ordinary, blocking pipe.
    rustix::fs::fcntl_setfl(&stderr, OFlags::empty()).map_err(start)?;
    let args = if hook.args.is_empty() {
        std::slice::from_ref(&hook.path)
    } else {
        &hook.args
    };
    let strings = |texts: &[String]| texts.iter().map(|t| c_string(t.as_str())).collect();
    let gate = around.guarded.then(Gate::new).transpose().map_err(start)?;
    let (pid, pidfd) = spawn(
        c_string(hook.path.as_str()),
        strings(args),
        hook.env.as_deref().map(strings),
        around.dir,
        stdin.as_fd(),
        stderr.as_fd(),
        gate.as_ref(),
    )
    .map_err(start)?;
    drop((stdin, stderr));
    let guard = gate.map(|gate| Guard::start(pid, pidfd.as_fd(), gate));
    let guard = match guard.transpose() {
        Ok(guard) => guard,
        Err(errno) => {
            let _ = waitid_exited(&pidfd);
            return Err(start(errno));
        }
    };

    let timeout = hook
        .timeout
        .filter(|t| *t > 0)
        .map(|t| Duration::from_secs(t.unsigned_abs()));
    let mut text = Vec::new();
    let timed_out = !watch(&pidfd, &output, timeout, &mut text).map_err(start)?;
    if timed_out {
        // The hook leads a session of its own: its children go with it.
        let _ = kill_process_group(pid, Signal::KILL);
    }
    if let Some(guard) = guard {
        guard.dismiss();
    }
    let status = waitid_exited(&pidfd).map_err(start)?;
    if let Some(errno) = failed_exec(&text) {
        return Err(start(errno));
    }
    let output = String::from_utf8_lossy(&text).into_owned();
    if timed_out {
        return Err((Why::Timeout, output));
    }
    let Some(status) = status else { return Ok(()) };
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err((Why::Exit(code), output)),
        (None, signal) => Err((Why::Signal(signal.unwrap_or(0)), output)),
    }
}

/// The state in a file of its own: a pipe could fill up before the hook reads it.
fn state_file(state: &[u8]) -> Result<OwnedFd, Errno> {
    // The init of the container may run this too, and handlers are not inherited.
    survive_file_limit();
    let file = rustix::fs::memfd_create(c"state", MemfdFlags::CLOEXEC)?;
    write_all(&file, state)?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    Ok(file)
}

/// Reads the hook's output until it ends; `false` if the time is up before.
fn watch(
    pidfd: &OwnedFd,
    output: &OwnedFd,
    timeout: Option<Duration>,
    text: &mut Vec<u8>,
) -> Result<bool, Errno> {
    // One that is past all counting is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let mut fds = [
            PollFd::new(pidfd, PollFlags::IN),
            PollFd::new(output, PollFlags::IN),
        ];
        let ready = match poll(&mut fds, rest(deadline).as_ref()) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        let ended = !fds[0].revents().is_empty();
        let readable = fds[1].revents().contains(PollFlags::IN);
        if readable {
            drain(output, text);
        }
        if ended {
            return Ok(true);
        }
        if ready == 0 {
            return Ok(false);
        }
        if !readable && !fds[1].revents().is_empty() {
            // It closed its standard error and goes on: only its end is left to wait for.
            return wait_end(pidfd, deadline);
        }
    }
}

fn wait_end(pidfd: &OwnedFd, deadline: Option<Instant>) -> Result<bool, Errno> {
    loop {
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        match poll(&mut fds, rest(deadline).as_ref()) {
            Err(Errno::INTR) => {}
            result => return Ok(result? > 0),
        }
    }
}

/// The time until then; without a limit if that is never.
fn rest(deadline: Option<Instant>) -> Option<Timespec> {
    let rest = deadline?.saturating_duration_since(Instant::now());
    Timespec::try_from(rest).ok()
}

/// Takes what is there, and keeps the first part of it.
fn drain(output: &OwnedFd, text: &mut Vec<u8>) {
    let mut buffer = [0u8; 1024];
    // A bounded number of reads: the hook's end has to be seen however much it writes.
    for _ in 0..16 {
        match rustix::io::read(output, &mut buffer) {
            Ok(length) if length > 0 => {
                let room = OUTPUT_MAX.saturating_sub(text.len()).min(length);
                text.extend_from_slice(&buffer[..room]);
            }
            _ => return,
        }
    }
}
