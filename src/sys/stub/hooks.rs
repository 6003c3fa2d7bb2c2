//! The startContainer hooks: run by the stub, so that they have the program's
//! namespaces, credentials and filter, and never see the runtime's binary.

use crate::Context;
use crate::abi::*;
use crate::sys::*;

/// Runs them in order; the first that fails ends the container. `envp` is the program's
/// environment, for those that have none.
pub fn run(c: &Context, envp: *const *const u8) {
    let hooks = c.at(c.block.hooks).cast::<HookEntry>();
    for i in 0..c.block.hooks.count {
        // SAFETY: the runtime wrote `count` entries there.
        let hook = unsafe { *hooks.add(i as usize) };
        run_one(c, i, &hook, envp);
    }
}

/// Turns the offsets of a pointer array into addresses, in place: the mapping is private.
fn relocate(c: &Context, span: Span) -> *const *const u8 {
    let array = c.at(span).cast::<u64>().cast_mut();
    for i in 0..span.count as usize {
        // SAFETY: `count` entries of the writable mapping; a zero ends the array.
        unsafe {
            if *array.add(i) != 0 {
                *array.add(i) += c.base as u64;
            }
        }
    }
    array.cast_const().cast()
}

/// What the smallest pipe holds.
const PIPE_HOLDS: usize = 4096;

/// The container's state, to be read by the hook. Through a pipe, which RLIMIT_FSIZE, set for the
/// program already, does not measure; a state that could fill it up is in a file of its own.
fn state_file(c: &Context) -> isize {
    let mut digits = [0u8; 12];
    let mut at = digits.len();
    let mut pid = getpid() as u32;
    loop {
        at -= 1;
        digits[at] = b'0' + (pid % 10) as u8;
        pid /= 10;
        if pid == 0 {
            break;
        }
    }
    let (head, tail) = (c.block.state_head, c.block.state_tail);
    let mut ends = [-1; 2];
    let small = head.count as usize + digits.len() + tail.count as usize <= PIPE_HOLDS;
    let result = if small {
        pipe(&mut ends)
    } else {
        let fd = memfd_create(c"state".as_ptr().cast());
        ends = [fd as i32; 2];
        fd
    };
    if result < 0 {
        return result;
    }
    let [reader, writer] = ends;
    write(writer, c.at(head), head.count as usize);
    write(writer, digits[at..].as_ptr(), digits.len() - at);
    write(writer, c.at(tail), tail.count as usize);
    if small {
        close(writer);
    } else {
        rewind(writer);
    }
    reader as isize
}

fn run_one(c: &Context, index: u32, hook: &HookEntry, programs: *const *const u8) {
    let stage = Stage::StartContainerHook;
    let argv = relocate(c, hook.argv);
    let envp = if hook.envp.count == 0 {
        programs
    } else {
        relocate(c, hook.envp)
    };
    let state = state_file(c);
    if state < 0 {
        c.fail(stage, index, -state as i32);
    }
    let mut stderr = [-1; 2];
    let piped = pipe(&mut stderr);
    if piped < 0 {
        c.fail(stage, index, -piped as i32);
    }
    let mut pidfd = -1;
    let pid = fork(&mut pidfd);
    if pid == 0 {
        setsid();
        dup3(state as i32, 0);
        dup3(stderr[1], 1);
        dup3(stderr[1], 2);
        close_range(3, u32::MAX, 0);
        let errno = -execve(c.at(hook.path), argv, envp);
        // The parent reads the errno from the exit code's place in stderr: a NUL cannot start a text.
        let record = [0u8, errno as u8];
        write(2, record.as_ptr(), 2);
        exit(127);
    }
    if pid < 0 {
        c.fail(stage, index, -pid as i32);
    }
    close(state as i32);
    close(stderr[1]);

    let mut message = Message::new(TAG_FAILED, stage as u32, index, 0);
    let mut used = 0usize;
    let deadline = if hook.timeout_ms < 0 {
        -1
    } else {
        now_ms().saturating_add(hook.timeout_ms)
    };
    let mut timed_out = false;
    let mut tries = 0;
    loop {
        let mut fds = [
            PollFd {
                fd: pidfd,
                events: POLLIN,
                revents: 0,
            },
            PollFd {
                fd: stderr[0],
                events: POLLIN,
                revents: 0,
            },
        ];
        let left = if deadline < 0 {
            -1
        } else {
            (deadline - now_ms()).max(0)
        };
        let ready = poll(&mut fds, left);
        if ready < 0 {
            if interrupted(ready, &mut tries) {
                continue;
            }
            // The seccomp filter, which holds for hooks too, refuses to wait.
            kill_group(pid);
            message.value = -ready as i32;
            c.fail_with(&mut message);
        }
        if fds[1].revents != 0 {
            let mut spill = [0u8; 256];
            let room = DETAIL_MAX - used;
            let got = if room > 0 {
                read(stderr[0], message.detail[used..].as_mut_ptr(), room)
            } else {
                read(stderr[0], spill.as_mut_ptr(), spill.len())
            };
            if got > 0 && room > 0 {
                used += got as usize;
            }
            // At its end, or where the filter refuses to read.
            if got <= 0 {
                close(stderr[0]);
                stderr[0] = -1;
            }
        }
        if fds[0].revents != 0 {
            break;
        }
        if ready == 0 && !timed_out {
            timed_out = true;
            kill_group(pid);
        }
    }
    let (code, status) = wait_for(pidfd);
    close(pidfd);
    close(stderr[0]);
    if timed_out {
        message.value = ETIMEDOUT;
        message.len = used as u32;
        c.fail_with(&mut message);
    }
    if code == 1 && status == 0 {
        return;
    }
    if used == 2 && message.detail[0] == 0 {
        message.value = i32::from(message.detail[1]);
    } else {
        // A negative value is the hook's own end: exit code, or 128 and the signal.
        message.value = -if code == 1 { status } else { 128 + status };
        message.len = used as u32;
    }
    c.fail_with(&mut message);
}
