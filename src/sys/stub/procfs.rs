//! The other thing that the stub is run for: to open a procfs in a pid namespace that is joined
//! (`rootfs/inside.rs`). Its caller has left the tree of files.

use crate::sys::*;

/// The code of siginfo for a process that ended by itself.
const CLD_EXITED: i32 = 1;
/// "No such process".
const ESRCH: usize = 3;

/// A child, which is born in the namespace, sends what fsopen(2) gives. Ends with 0 or an errno.
pub fn open_inside(channel: i32) -> ! {
    // No more than fsopen needs: a neighbour may have rights over the child.
    check(capset(CAP_SYS_ADMIN, CAP_SYS_ADMIN, 0));
    if channel > 0 {
        check(close_range(0, channel as u32 - 1, 0));
    }
    check(close_range(channel as u32 + 1, u32::MAX, 0));
    let mut pidfd = -1;
    if check(fork(&mut pidfd)) == 0 {
        let context = check(fsopen(c"proc".as_ptr().cast()));
        check(send_descriptor(channel, context as i32));
        exit(0);
    }
    match wait_for(pidfd) {
        (CLD_EXITED, code) => exit(code as usize),
        _ => exit(ESRCH),
    }
}

fn check(result: isize) -> isize {
    if result < 0 {
        exit(-result as usize)
    }
    result
}
