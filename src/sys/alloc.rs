//! The allocator of the binary: a bump allocator.
//!
//! Every verb parses, acts and ends within milliseconds, so freeing is a waste
//! and musl's malloc is slow. Memory comes in chunks from the kernel and is given
//! back only when the last block is freed or grows; verbs that live longer
//! (`run` in the foreground, `events`) allocate nothing in their loops.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;

/// What is mapped at a time, unless one block needs more.
const CHUNK: usize = 256 * 1024;

/// See the module's text. One of them is the process's allocator.
pub struct Bump {
    state: UnsafeCell<State>,
}

struct State {
    next: usize,
    end: usize,
}

// SAFETY: Corten is single-threaded by construction (DESIGN §3); the test
// harness, which is not, uses the system's allocator.
unsafe impl Sync for Bump {}

impl Bump {
    /// An allocator without memory yet.
    pub const fn new() -> Bump {
        Bump {
            state: UnsafeCell::new(State { next: 0, end: 0 }),
        }
    }
}

impl Default for Bump {
    fn default() -> Self {
        Bump::new()
    }
}

// SAFETY: blocks never overlap: `next` only passes over what was handed out,
// or moves back to the start of the last block when that is given back.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: single-threaded, and no other reference lives.
        let state = unsafe { &mut *self.state.get() };
        let start = (state.next + layout.align() - 1) & !(layout.align() - 1);
        if state.next != 0 && layout.size() <= state.end.saturating_sub(start) {
            state.next = start + layout.size();
            return start as *mut u8;
        }
        let Some(wanted) = layout.size().checked_add(layout.align()) else {
            return null_mut();
        };
        let length = wanted.max(CHUNK).next_multiple_of(4096);
        // SAFETY: an anonymous mapping at a place of the kernel's choice.
        let chunk = unsafe {
            libc::mmap(
                null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if chunk == libc::MAP_FAILED {
            return null_mut();
        }
        let start = (chunk as usize).next_multiple_of(layout.align());
        state.next = start + layout.size();
        state.end = chunk as usize + length;
        start as *mut u8
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises. A block that was given back and is
        // handed out again is not zero, so it is always cleared.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: single-threaded, and no other reference lives.
        let state = unsafe { &mut *self.state.get() };
        if block as usize + layout.size() == state.next {
            state.next = block as usize;
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        {
            // SAFETY: single-threaded; the reference ends before `alloc` below.
            let state = unsafe { &mut *self.state.get() };
            let start = block as usize;
            if start + layout.size() == state.next && new_size <= state.end - start {
                state.next = start + new_size;
                return block;
            }
        }
        if new_size <= layout.size() {
            return block;
        }
        // SAFETY: a new block of the same alignment, and the old one's bytes fit.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size());
            }
            new
        }
    }
}
