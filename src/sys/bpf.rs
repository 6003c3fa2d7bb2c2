//! bpf(2), as far as programs of type `BPF_PROG_TYPE_CGROUP_DEVICE` need it.
//!
//! The kernel gets a zeroed buffer as large as the whole union: Linux 6.17 to 7.1 write the
//! `revision` of a query past the end of a shorter one.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

// enum bpf_cmd, bpf_prog_type, bpf_attach_type and flags of linux/bpf.h.
const BPF_PROG_LOAD: u32 = 5;
const BPF_PROG_ATTACH: u32 = 8;
const BPF_PROG_DETACH: u32 = 9;
const BPF_PROG_GET_FD_BY_ID: u32 = 13;
const BPF_PROG_QUERY: u32 = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// How often the kernel's verifier may be interrupted by a signal (`EAGAIN`).
const INTERRUPTIONS: u32 = 30;

/// Programs that one cgroup can have: `BPF_CGROUP_MAX_PROGS`.
const MAX_PROGRAMS: usize = 64;

/// `union bpf_attr`, zeroed, with room for what later kernels add.
#[repr(C, align(8))]
struct Attributes([u8; 256]);

impl Attributes {
    fn new() -> Self {
        Attributes([0; 256])
    }

    /// Sets the member at `offset`; the offsets are those of `union bpf_attr`.
    fn set_u32(mut self, offset: usize, value: u32) -> Self {
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn set_pointer<T>(mut self, offset: usize, value: *const T) -> Self {
        self.0[offset..offset + 8].copy_from_slice(&(value as usize as u64).to_ne_bytes());
        self
    }

    fn set_fd(self, offset: usize, value: BorrowedFd) -> Self {
        // A descriptor that is open is not negative.
        self.set_u32(offset, value.as_raw_fd().cast_unsigned())
    }

    fn u32_at(&self, offset: usize) -> u32 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|index| self.0[offset + index]);
        u32::from_ne_bytes([a, b, c, d])
    }
}

/// Loads a device program, each instruction being the eight bytes of `struct bpf_insn`.
///
/// # Errors
/// `INVAL` or `ACCES` if the verifier refuses it, `PERM` without privilege.
pub fn load_device_program(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    let license = c"Apache-2.0";
    let count = u32::try_from(instructions.len()).map_err(|_| Errno::TOOBIG)?;
    let mut interruptions = 0;
    loop {
        let attributes = Attributes::new()
            .set_u32(0, BPF_PROG_TYPE_CGROUP_DEVICE)
            .set_u32(4, count)
            .set_pointer(8, instructions.as_ptr())
            .set_pointer(16, license.as_ptr());
        // SAFETY: the attributes are those of BPF_PROG_LOAD; they point to `count` instructions
        // and to a string that ends in NUL, both alive during the call and only read.
        match unsafe { bpf_fd(BPF_PROG_LOAD, attributes) } {
            Err(Errno::AGAIN) if interruptions < INTERRUPTIONS => interruptions += 1,
            result => return result,
        }
    }
}

/// Attaches a device program to the cgroup v2 directory `cgroup`, in the place of `old` if there
/// is one, else beside those that are there.
///
/// # Errors
/// `BADF` if `cgroup` is no directory of cgroup v2, `PERM` without privilege or if a level above
/// does not allow further programs.
pub fn attach_device_program(
    cgroup: impl AsFd,
    program: impl AsFd,
    old: Option<BorrowedFd>,
) -> Result<(), Errno> {
    let flags = if old.is_some() {
        BPF_F_ALLOW_MULTI | BPF_F_REPLACE
    } else {
        BPF_F_ALLOW_MULTI
    };
    let mut attributes = Attributes::new()
        .set_fd(0, cgroup.as_fd())
        .set_fd(4, program.as_fd())
        .set_u32(8, BPF_CGROUP_DEVICE)
        .set_u32(12, flags);
    if let Some(old) = old {
        attributes = attributes.set_fd(16, old);
    }
    // SAFETY: the attributes of BPF_PROG_ATTACH hold no pointers, and descriptors that are open.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attributes) }.map(|_| ())
}

/// Takes a device program off the cgroup v2 directory `cgroup`.
///
/// # Errors
/// `NOENT` if it is not attached.
pub fn detach_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<(), Errno> {
    let mut attributes = Attributes::new()
        .set_fd(0, cgroup.as_fd())
        .set_fd(4, program.as_fd())
        .set_u32(8, BPF_CGROUP_DEVICE);
    // SAFETY: the attributes of BPF_PROG_DETACH hold no pointers, and descriptors that are open.
    unsafe { bpf(BPF_PROG_DETACH, &mut attributes) }.map(|_| ())
}

/// The device programs that are attached to the cgroup v2 directory `cgroup`, without those that
/// a security module hides.
///
/// # Errors
/// `PERM` without privilege.
pub fn device_programs(cgroup: impl AsFd) -> Result<Vec<OwnedFd>, Errno> {
    let mut ids = [0u32; MAX_PROGRAMS];
    let mut attributes = Attributes::new()
        .set_fd(0, cgroup.as_fd())
        .set_u32(4, BPF_CGROUP_DEVICE)
        .set_pointer(16, ids.as_mut_ptr())
        .set_u32(24, ids.len() as u32);
    // SAFETY: the attributes of BPF_PROG_QUERY point to an array of as many ids as they say, which
    // is alive during the call and borrowed by nobody else.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    let count = (attributes.u32_at(24) as usize).min(ids.len());
    let mut programs = Vec::with_capacity(count);
    for &id in &ids[..count] {
        let attributes = Attributes::new().set_u32(0, id);
        // SAFETY: the attributes of BPF_PROG_GET_FD_BY_ID hold no pointers.
        match unsafe { bpf_fd(BPF_PROG_GET_FD_BY_ID, attributes) } {
            Ok(program) => programs.push(program),
            Err(Errno::ACCESS | Errno::PERM | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(programs)
}

/// Calls a command that gives a new descriptor (close-on-exec, as all of bpf(2)).
///
/// # Safety
/// As for [`bpf`].
unsafe fn bpf_fd(command: u32, mut attributes: Attributes) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller vouches for the pointers in the attributes.
    let fd = unsafe { bpf(command, &mut attributes) }?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Calls bpf(2).
///
/// # Safety
/// Every pointer in the attributes has to be valid for what `command` does with it.
unsafe fn bpf(command: u32, attributes: &mut Attributes) -> Result<i32, Errno> {
    let size = size_of::<Attributes>();
    // SAFETY: the kernel reads and writes at most the `size` bytes of the buffer, and what the
    // pointers in it are said to be valid for by the caller.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    i32::try_from(result)
        .ok()
        .filter(|fd| *fd >= 0)
        .ok_or_else(super::last_errno)
}
