//! The exec stub's image and the writer of its data.

#[allow(missing_docs)]
#[path = "stub/abi.rs"]
pub mod abi;

use abi::{Block, Message, Span};
pub use abi::{Failure, Stage};

use super::fd::write_all;
use super::{Errno, Result};
use rustix::fs::{MemfdFlags, SealFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

impl abi::Message {
    /// Adds words, as many as fit.
    pub fn tell(&mut self, text: &[u8]) {
        let length = text.len().min(abi::DETAIL_MAX);
        self.detail[..length].copy_from_slice(&text[..length]);
        self.len = length as u32;
    }
}

/// The stub's program file, built by build.rs.
pub static IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub"));

/// Where the data begins in the memfd: the first page after the image.
pub const DATA_OFFSET: usize = IMAGE.len().next_multiple_of(4096);

/// A memfd that a program is run from. Since Linux 6.3 it says so; older kernels know
/// no such flag.
///
/// # Errors
/// memfd_create(2).
pub fn memfd_to_run(name: &std::ffi::CStr) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        result => result,
    }
}

/// Forbids every change of a memfd.
///
/// # Errors
/// fcntl(2).
pub fn seal(memfd: impl AsFd) -> Result<()> {
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(memfd, seals)
}

/// A memfd of this name with the stub's program and no data.
///
/// # Errors
/// memfd_create(2), write(2).
pub fn image(name: &std::ffi::CStr) -> Result<OwnedFd> {
    let memfd = memfd_to_run(name)?;
    write_all(&memfd, IMAGE)?;
    Ok(memfd)
}

/// Builds the data that follows the image.
pub struct BlockWriter {
    bytes: Vec<u8>,
}

impl Default for BlockWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl BlockWriter {
    /// With room for the header.
    pub fn new() -> BlockWriter {
        BlockWriter {
            bytes: vec![0; size_of::<Block>()],
        }
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    fn span(&self, offset: usize, count: usize) -> Span {
        Span {
            offset: offset as u32,
            count: count as u32,
        }
    }

    /// Adds bytes; the span counts bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> Span {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.span(offset, bytes.len())
    }

    /// Adds a string and a NUL; the span counts the string's bytes.
    pub fn c_string(&mut self, text: &str) -> Span {
        let span = self.bytes(text.as_bytes());
        self.bytes.push(0);
        span
    }

    /// Adds an array of plain structs, aligned to eight bytes.
    pub fn array<T: Plain>(&mut self, items: &[T]) -> Span {
        self.align();
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(as_bytes(items));
        self.span(offset, items.len())
    }

    /// Adds C strings and the zero-terminated array of their offsets.
    pub fn pointers<'a>(&mut self, strings: impl Iterator<Item = &'a str>) -> Span {
        let mut offsets: Vec<u64> = strings
            .map(|s| u64::from(self.c_string(s).offset))
            .collect();
        offsets.push(0);
        self.array(&offsets)
    }

    /// Puts the header in place and gives the whole.
    pub fn finish(mut self, mut block: Block) -> Vec<u8> {
        block.size = self.bytes.len() as u32;
        self.bytes[..size_of::<Block>()].copy_from_slice(as_bytes(&[block]));
        self.bytes
    }
}

/// Types that are plain integers without padding that matters.
///
/// # Safety
/// Every byte of a value is initialised.
pub unsafe trait Plain: Copy {}

// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: integers.
unsafe impl Plain for u64 {}
// SAFETY: only u32 and u64 members in an order without padding (checked below).
unsafe impl Plain for Block {}
// SAFETY: two spans of two u32.
unsafe impl Plain for abi::ProcWrite {}
// SAFETY: three u64.
unsafe impl Plain for abi::RlimitEntry {}
// SAFETY: spans and an i64 at a multiple of eight.
unsafe impl Plain for abi::HookEntry {}
// SAFETY: u32, i32 and bytes without padding.
unsafe impl Plain for Message {}

const _: () = {
    // 6 u32 + groups, 6 u64, then spans and u32 pairs: no gap anywhere.
    assert!(size_of::<Block>() == 6 * 4 + 8 + 6 * 8 + 8 + 8 + 5 * 8 + 7 * 8);
    assert!(size_of::<abi::HookEntry>() == 3 * 8 + 8);
    assert!(size_of::<Message>() == abi::MESSAGE_HEAD + abi::DETAIL_MAX);
};

/// The bytes of plain values.
pub fn as_bytes<T: Plain>(items: &[T]) -> &[u8] {
    // SAFETY: Plain says that every byte is initialised.
    unsafe { std::slice::from_raw_parts(items.as_ptr().cast(), size_of_val(items)) }
}

/// Names the stage of a failing system call.
pub trait At<T> {
    /// Turns the errno into a failure at `stage`.
    ///
    /// # Errors
    /// The failure, if there was one.
    fn at(self, stage: Stage) -> std::result::Result<T, Failure>;
    /// The same for one of several (the mount with this index).
    ///
    /// # Errors
    /// The failure, if there was one.
    fn at_index(self, stage: Stage, index: usize) -> std::result::Result<T, Failure>;
}

impl<T> At<T> for Result<T> {
    fn at(self, stage: Stage) -> std::result::Result<T, Failure> {
        self.at_index(stage, 0)
    }

    fn at_index(self, stage: Stage, index: usize) -> std::result::Result<T, Failure> {
        self.map_err(|errno| Failure {
            stage,
            index: index as u32,
            errno: errno.raw_os_error(),
        })
    }
}

/// Sends a message, with as much of its detail as is used.
///
/// # Errors
/// send(2): `EPIPE` if the other side is gone.
pub fn send(channel: BorrowedFd<'_>, message: &Message) -> Result<()> {
    let bytes = as_bytes(std::slice::from_ref(message));
    let length = abi::MESSAGE_HEAD + message.len as usize;
    rustix::net::send(channel, &bytes[..length], rustix::net::SendFlags::NOSIGNAL).map(drop)
}

/// Makes a message from the bytes that arrived.
///
/// # Errors
/// `EPROTO` if they are too few or the detail's length is wrong.
pub fn decode(bytes: &[u8]) -> Result<Message> {
    let word = |at: usize| {
        bytes
            .get(at..at + 4)
            .and_then(|b| b.try_into().ok())
            .map(u32::from_ne_bytes)
            .ok_or(Errno::PROTO)
    };
    let mut message = Message::new(word(0)?, word(4)?, word(8)?, word(12)? as i32);
    message.len = word(16)?;
    let detail = &bytes[abi::MESSAGE_HEAD..];
    if message.len as usize != detail.len() || detail.len() > abi::DETAIL_MAX {
        return Err(Errno::PROTO);
    }
    message.detail[..detail.len()].copy_from_slice(detail);
    Ok(message)
}

/// Receives one message; `None` when the other side has closed.
///
/// # Errors
/// recv(2), and `EPROTO` for something that is no message.
pub fn receive(channel: impl AsFd) -> Result<Option<Message>> {
    let mut bytes = [0u8; abi::MESSAGE_HEAD + abi::DETAIL_MAX];
    loop {
        match rustix::io::read(&channel, &mut bytes) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(0) => return Ok(None),
            Ok(length) => return decode(&bytes[..length]).map(Some),
        }
    }
}
