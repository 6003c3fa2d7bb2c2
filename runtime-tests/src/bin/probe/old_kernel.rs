//! A filter that answers as Linux 5.10 would where the machine's kernel is newer: unknown calls with ENOSYS, unknown
//! flags with EINVAL. Files of procfs and of cgroups that are newer stay visible.

use crate::raw;
use std::io;

/// Calls from this number on came after 5.10, on every architecture (440 is process_madvise, 5.10).
const FIRST_NEWER: u32 = 441;

/// Flags that came after 5.10: the call, the argument that holds them, the bits.
#[rustfmt::skip]
const NEWER_FLAGS: &[(libc::c_long, u32, u32)] = &[
    (libc::SYS_close_range, 2, libc::CLOSE_RANGE_CLOEXEC),            // 5.11
    (libc::SYS_fsmount, 2, libc::MOUNT_ATTR_NOSYMFOLLOW as u32),      // 5.14
    (libc::SYS_seccomp, 1, 1 << 5),                                   // WAIT_KILLABLE_RECV, 5.19
    (libc::SYS_memfd_create, 1, 0x18),                                // NOEXEC_SEAL and EXEC, 6.3
    (libc::SYS_move_mount, 4, 0x300),                                 // SET_GROUP 5.15, BENEATH 6.5
    (libc::SYS_pidfd_open, 1, libc::O_EXCL as u32),                   // PIDFD_THREAD, 6.9
    (libc::SYS_pidfd_send_signal, 3, 0x7),                            // PIDFD_SIGNAL_*, 6.9
    (libc::SYS_open_tree, 2, 0x2),                                    // OPEN_TREE_NAMESPACE, 7.0
];

/// Puts the filter on this process.
pub fn pretend() -> io::Result<()> {
    let mut program = vec![
        load(0),
        jump(libc::BPF_JGE, FIRST_NEWER, 0, 1),
        answer(libc::ENOSYS),
    ];
    // FSCONFIG_SET_FD, which no file system had a use for (pidns of procfs: 6.17).
    program.extend([
        load(0),
        jump(libc::BPF_JEQ, libc::SYS_fsconfig as u32, 0, 3),
        load(16 + 8),
        jump(libc::BPF_JEQ, 5, 0, 1),
        answer(libc::EINVAL),
    ]);
    for (call, argument, bits) in NEWER_FLAGS {
        // struct seccomp_data: number, architecture, instruction pointer, six arguments of eight bytes.
        let low_half = 16 + 8 * argument;
        program.extend([
            load(0),
            jump(libc::BPF_JEQ, *call as u32, 0, 3),
            load(low_half),
            jump(libc::BPF_JSET, *bits, 0, 1),
            answer(libc::EINVAL),
        ]);
    }
    program.push(statement(libc::BPF_RET, libc::SECCOMP_RET_ALLOW));
    raw::filter(&mut program)
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn jump(test: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter {
        jt,
        jf,
        ..statement(libc::BPF_JMP | test | libc::BPF_K, k)
    }
}

fn answer(errno: i32) -> libc::sock_filter {
    statement(libc::BPF_RET, libc::SECCOMP_RET_ERRNO | errno as u32)
}
