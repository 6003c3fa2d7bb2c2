//! Starting another program: hooks, newuidmap.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::clone::{Cloned, clone3};
use super::process::{PointerArray, exit_now};
use super::{Errno, Result};

/// Exit code of a child that could not run its program.
const NOT_RUN: i32 = 127;

unsafe extern "C" {
    /// environ(7).
    static environ: *const *const libc::c_char;
}

/// Where a child waits until it may begin: a pipe. It ends if nobody lets it.
pub struct Gate {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Gate {
    /// A closed one.
    ///
    /// # Errors
    /// pipe2(2).
    pub fn new() -> Result<Gate> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Ok(Gate { reader, writer })
    }

    /// Lets the child through.
    pub fn open(self) {
        let _ = rustix::io::write(&self.writer, &[0]);
    }
}

/// Starts `path` in a session of its own, with only descriptors 0 to 2 open.
/// Standard output is the caller's standard error's place: `stderr`. Without `envp` it gets
/// this process's environment. It starts in `dir`, if there is one that can be entered, and
/// when the gate is opened, if there is one.
///
/// The errno of a failing execve arrives on `stderr` as a NUL and one byte, which
/// no text begins with.
///
/// # Errors
/// clone3(2).
pub fn spawn(
    path: CString,
    argv: Vec<CString>,
    envp: Option<Vec<CString>>,
    dir: Option<&CStr>,
    stdin: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
    gate: Option<&Gate>,
) -> Result<(rustix::process::Pid, OwnedFd)> {
    let path = path.into_raw();
    let argv = PointerArray::new(0, argv);
    let envp = envp.map(|envp| PointerArray::new(0, envp));
    let envp = match &envp {
        Some(envp) => envp.as_ptr(),
        // SAFETY: nothing in this program changes its environment.
        None => unsafe { environ },
    };
    let parent = rustix::process::getpid();
    match clone3(0, None)? {
        Cloned::Parent { pid, pidfd } => Ok((pid, pidfd)),
        Cloned::Child => {
            // SAFETY: plain numbers, and C strings and arrays made above; the child
            // allocates nothing and never returns.
            unsafe {
                libc::setsid();
                // The end of the runtime, which waits for the child, is the child's too.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if libc::getppid() != parent.as_raw_nonzero().get() {
                    // It came before that was asked for.
                    exit_now(NOT_RUN);
                }
                if let Some(gate) = gate {
                    let mut byte = 0u8;
                    libc::close(gate.writer.as_raw_fd());
                    if libc::read(gate.reader.as_raw_fd(), (&raw mut byte).cast(), 1) != 1 {
                        exit_now(NOT_RUN);
                    }
                }
                if let Some(dir) = dir {
                    libc::chdir(dir.as_ptr());
                }
                let empty: libc::sigset_t = std::mem::zeroed();
                libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut());
                // The sources are close-on-exec and above 2 (checked by the callers' opening
                // them while 0 to 2 are open), so neither step overwrites the other's.
                libc::dup2(stdin.as_raw_fd(), 0);
                libc::dup2(stderr.as_raw_fd(), 1);
                libc::dup2(stderr.as_raw_fd(), 2);
                libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
                libc::execve(path, argv.as_ptr(), envp);
                let record = [0u8, *libc::__errno_location() as u8];
                libc::write(2, record.as_ptr().cast(), record.len());
            }
            exit_now(NOT_RUN)
        }
    }
}

/// Executes a program with this process's environment; returns only if that fails.
pub fn execute(path: &CStr, argv: &PointerArray) -> Errno {
    // SAFETY: C strings and arrays of them that live through the call; nothing in this
    // program changes its environment.
    unsafe {
        libc::execve(path.as_ptr(), argv.as_ptr(), environ);
        Errno::from_raw_os_error(*libc::__errno_location())
    }
}

/// Whether the text that a child left is the record of a failed execve.
pub fn failed_exec(output: &[u8]) -> Option<Errno> {
    match output {
        [0, errno] => Some(Errno::from_raw_os_error(i32::from(*errno))),
        _ => None,
    }
}
