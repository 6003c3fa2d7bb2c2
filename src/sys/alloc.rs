//! The allocator of the binary: a bump allocator.
//!
//! Every verb parses, acts and ends within milliseconds, so freeing is a waste
//! and musl's malloc is slow. Memory comes in chunks from the kernel and is given
//! back only when the last block is freed or grows; `run` in the foreground
//! allocates nothing in its loop, and verbs that live long and allocate ask for
//! [`reuse_memory`].

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is mapped at a time, unless one block needs more.
const CHUNK: usize = 256 * 1024;

/// See the module's text. One of them is the process's allocator.
pub struct Bump {
    state: UnsafeCell<State>,
}

/// How much the blocks of a verb that lives long may take up together. Address space only: the
/// kernel gives memory to what is touched.
const ARENA: usize = 1 << 30;

/// Where the blocks lie that are used again; 0 while none are.
static ARENA_START: AtomicUsize = AtomicUsize::new(0);

/// From now on blocks that are freed are used again, for verbs that live long. Each is as large
/// as the next power of two.
pub fn reuse_memory() {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: an anonymous mapping at a place of the kernel's choice.
    let arena = unsafe { libc::mmap(null_mut(), ARENA, access, flags, -1, 0) };
    // Without one all goes on as before.
    if arena != libc::MAP_FAILED {
        ARENA_START.store(arena as usize, Ordering::Relaxed);
    }
}

/// The free blocks of the arena, by the power of two that is their size: each holds the address
/// of the next.
struct Arena {
    used: usize,
    free: [usize; usize::BITS as usize],
}

impl Arena {
    /// The power of two that holds the block.
    fn class(layout: Layout) -> u32 {
        let size = layout.size().max(layout.align()).max(size_of::<usize>());
        size.next_power_of_two().trailing_zeros()
    }

    /// # Safety
    /// `start` is that of the arena, and the list of free blocks is sound.
    unsafe fn alloc(&mut self, start: usize, layout: Layout) -> *mut u8 {
        if layout.size() > ARENA || layout.align() > 4096 {
            return null_mut();
        }
        let class = Self::class(layout);
        let head = &mut self.free[class as usize];
        if *head != 0 {
            let block = *head as *mut u8;
            // SAFETY: a free block of the arena holds the address of the next.
            *head = unsafe { block.cast::<usize>().read() };
            return block;
        }
        let size = 1usize << class;
        // A block is aligned to its size, up to a page.
        let block = self.used.next_multiple_of(size.min(4096));
        if size > ARENA - block {
            return null_mut();
        }
        self.used = block + size;
        (start + block) as *mut u8
    }

    /// # Safety
    /// The block is one that `alloc` gave for this layout, and nobody uses it any more.
    unsafe fn dealloc(&mut self, block: *mut u8, layout: Layout) {
        let head = &mut self.free[Self::class(layout) as usize];
        // SAFETY: no block is smaller than an address or less aligned.
        unsafe { block.cast::<usize>().write(*head) };
        *head = block as usize;
    }
}

/// Whether a block lies in the arena.
fn is_in(start: usize, block: *mut u8) -> bool {
    start != 0 && (block as usize).wrapping_sub(start) < ARENA
}

struct State {
    next: usize,
    end: usize,
    arena: Arena,
}

// SAFETY: Corten is single-threaded by construction (DESIGN §3); the test
// harness, which is not, uses the system's allocator.
unsafe impl Sync for Bump {}

impl Bump {
    /// An allocator without memory yet.
    pub const fn new() -> Bump {
        Bump {
            state: UnsafeCell::new(State {
                next: 0,
                end: 0,
                arena: Arena {
                    used: 0,
                    free: [0; usize::BITS as usize],
                },
            }),
        }
    }
}

/// One line and the end: what std would do allocates again, and dumps core.
fn out_of_memory() -> ! {
    const TEXT: &[u8] = b"corten: no more memory (is RLIMIT_AS or RLIMIT_DATA too low?)\n";
    // SAFETY: the text is there; the call changes nothing of this process.
    unsafe { libc::write(2, TEXT.as_ptr().cast(), TEXT.len()) };
    super::process::exit_now(1)
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
        let arena = ARENA_START.load(Ordering::Relaxed);
        if arena != 0 {
            // SAFETY: only this function and `dealloc` touch its lists.
            return unsafe { state.arena.alloc(arena, layout) };
        }
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
            out_of_memory();
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
        if is_in(ARENA_START.load(Ordering::Relaxed), block) {
            // SAFETY: as the caller promises; it lies in the arena, so `Arena::alloc` gave it.
            return unsafe { state.arena.dealloc(block, layout) };
        }
        if block as usize + layout.size() == state.next {
            state.next = block as usize;
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        {
            // SAFETY: single-threaded; the reference ends before `alloc` below.
            let state = unsafe { &mut *self.state.get() };
            let start = block as usize;
            if is_in(ARENA_START.load(Ordering::Relaxed), block) {
                let new = Layout::from_size_align(new_size, layout.align());
                if new.is_ok_and(|new| Arena::class(new) == Arena::class(layout)) {
                    return block;
                }
            } else if start + layout.size() == state.next && new_size <= state.end - start {
                state.next = start + new_size;
                return block;
            }
        }
        let in_arena = is_in(ARENA_START.load(Ordering::Relaxed), block);
        if new_size <= layout.size() && !in_arena {
            return block;
        }
        // SAFETY: a new block of the same alignment, and as much of the old one as fits.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(new_size));
                if in_arena {
                    self.dealloc(block, layout);
                }
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// The harness has another allocator, so this one is nobody else's.
    #[test]
    fn blocks_of_the_arena_are_used_again_and_stay_apart() {
        reuse_memory();
        let bump = Bump::new();
        let small = layout(24, 8);
        // SAFETY: each block is used within its layout, and not after it is given back.
        unsafe {
            let (first, second) = (bump.alloc(small), bump.alloc(small));
            first.write_bytes(1, 24);
            second.write_bytes(2, 24);
            // The next power of two has room for it.
            assert_eq!(bump.realloc(first, small, 30), first);
            let moved = bump.realloc(first, layout(30, 8), 100);
            assert_ne!(moved, first);
            assert_eq!(std::slice::from_raw_parts(moved, 24), [1; 24]);
            assert_eq!(bump.alloc(layout(32, 1)), first);
            assert_eq!(std::slice::from_raw_parts(second, 24), [2; 24]);
            bump.dealloc(moved, layout(100, 8));
            let zeroed = bump.alloc_zeroed(layout(128, 8));
            assert_eq!(zeroed, moved);
            assert_eq!(std::slice::from_raw_parts(zeroed, 128), [0; 128]);
            for align in [1, 16, 64, 4096] {
                assert_eq!(bump.alloc(layout(5, align)) as usize % align, 0, "{align}");
            }
            assert!(bump.alloc(layout(ARENA + 1, 1)).is_null());
        }
    }
}
