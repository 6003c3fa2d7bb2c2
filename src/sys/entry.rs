//! The program's entry point without std's run-time start.
//!
//! std's start makes fourteen system calls (an alternate signal stack, handlers
//! for stack overflow, SIGPIPE ignored) that a verb of a millisecond does not need,
//! and whose traces would have to be removed before execve.

use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStringExt;

/// Copies argv.
///
/// # Safety
/// `argc` and `argv` are those that the C run-time gave to `main`.
pub unsafe fn arguments(argc: i32, argv: *const *const libc::c_char) -> Vec<OsString> {
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: the caller's promise: `argc` pointers to C strings.
    let argument = |i: usize| unsafe { CStr::from_ptr(*argv.add(i)) };
    (0..count)
        .map(|i| OsString::from_vec(argument(i).to_bytes().to_vec()))
        .collect()
}

/// Defines `main` as a call of `$run`, which takes the arguments and gives the exit code.
#[macro_export]
macro_rules! entry_point {
    ($run:path) => {
        /// Called by the C run-time.
        ///
        /// # Safety
        /// The arguments are those of the program.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn main(
            argc: ::core::ffi::c_int,
            argv: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            // SAFETY: the C run-time gives main the arguments of the program.
            unsafe { $crate::sys::entry::run(argc, argv, $run) }
        }
    };
}

/// Opens /dev/null for standard streams that the caller has closed, as std's start
/// does: else the next file opened gets the number, and messages land in it.
fn open_standard_streams() {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    });
    // SAFETY: three entries, which are there and writable; no wait.
    unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
    for stream in &streams {
        if stream.revents & libc::POLLNVAL != 0 {
            // SAFETY: the path is a C string. The lowest free number is the stream's.
            unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}

/// Runs the program for [`entry_point`].
///
/// # Safety
/// As [`arguments`].
pub unsafe fn run(
    argc: i32,
    argv: *const *const libc::c_char,
    run: fn(Vec<OsString>) -> u8,
) -> i32 {
    open_standard_streams();
    // SAFETY: the caller's promise.
    let arguments = unsafe { arguments(argc, argv) };
    super::process::exit_now(i32::from(run(arguments)))
}
