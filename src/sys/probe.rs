//! Asks the kernel whether it has a system call, with arguments that it can only refuse.

use super::Errno;

/// A system call that Corten uses where it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// openat2(2), Linux 5.6.
    Openat2,
    /// clone3(2), Linux 5.3.
    Clone3,
    /// pidfd_open(2), Linux 5.3.
    PidfdOpen,
    /// pidfd_getfd(2), Linux 5.6.
    PidfdGetfd,
    /// close_range(2), Linux 5.9.
    CloseRange,
    /// open_tree(2), Linux 5.2.
    OpenTree,
    /// move_mount(2), Linux 5.2.
    MoveMount,
    /// fsopen(2), Linux 5.2.
    Fsopen,
    /// mount_setattr(2), Linux 5.12.
    MountSetattr,
    /// seccomp(2), Linux 3.17.
    Seccomp,
    /// set_mempolicy(2); kernels may be built without it.
    SetMempolicy,
    /// bpf(2), Linux 3.18.
    Bpf,
    /// keyctl(2); kernels may be built without it.
    Keyctl,
    /// memfd_create(2), Linux 3.17.
    MemfdCreate,
}

/// Whether the kernel knows the call. A filter that refuses it with another errno goes unseen.
///
/// # Errors
/// `ENOSYS`: the kernel, or a seccomp filter, has no such call.
pub fn answers(call: Call) -> Result<(), Errno> {
    let none = std::ptr::null::<u8>() as libc::c_long;
    // Each fails for an argument that no kernel takes: a descriptor of -1, a size of 0 of a
    // structure, flags or a command that are not defined, an absent text.
    let (number, arguments): (libc::c_long, [libc::c_long; 5]) = match call {
        Call::Openat2 => (libc::SYS_openat2, [-1, none, none, 0, 0]),
        Call::Clone3 => (libc::SYS_clone3, [none, 0, 0, 0, 0]),
        Call::PidfdOpen => (libc::SYS_pidfd_open, [-1, 0, 0, 0, 0]),
        Call::PidfdGetfd => (libc::SYS_pidfd_getfd, [-1, -1, 0, 0, 0]),
        Call::CloseRange => (libc::SYS_close_range, [1, 0, 0, 0, 0]),
        Call::OpenTree => (libc::SYS_open_tree, [-1, none, 0, 0, 0]),
        Call::MoveMount => (libc::SYS_move_mount, [-1, none, -1, none, -1]),
        Call::Fsopen => (libc::SYS_fsopen, [none, -1, 0, 0, 0]),
        Call::MountSetattr => (libc::SYS_mount_setattr, [-1, none, 0, none, 0]),
        Call::Seccomp => (libc::SYS_seccomp, [-1, -1, none, 0, 0]),
        Call::SetMempolicy => (libc::SYS_set_mempolicy, [-1, none, 0, 0, 0]),
        Call::Bpf => (libc::SYS_bpf, [-1, none, 0, 0, 0]),
        Call::Keyctl => (libc::SYS_keyctl, [-1, 0, 0, 0, 0]),
        Call::MemfdCreate => (libc::SYS_memfd_create, [none, -1, 0, 0, 0]),
    };
    let [a, b, c, d, e] = arguments;
    // SAFETY: the pointers are null, and the calls are refused before they have an effect.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    match super::check(result) {
        Err(Errno::NOSYS) => Err(Errno::NOSYS),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runtime_cannot_do_without_is_found() {
        for call in [
            Call::Openat2,
            Call::Clone3,
            Call::PidfdOpen,
            Call::PidfdGetfd,
            Call::CloseRange,
            Call::OpenTree,
            Call::MoveMount,
            Call::Fsopen,
            Call::MemfdCreate,
        ] {
            assert_eq!(answers(call), Ok(()), "{call:?}");
        }
    }
}
