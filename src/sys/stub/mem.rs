//! The memory functions that the compiler calls by name. The accesses are
//! volatile, or the compiler would turn each loop into a call of itself.

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    for i in 0..length {
        // SAFETY: the caller owns `length` bytes at `to`.
        unsafe { to.add(i).write_volatile(byte as u8) };
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    for i in 0..length {
        // SAFETY: the caller owns `length` bytes at both places.
        unsafe { to.add(i).write_volatile(from.add(i).read()) };
    }
    to
}
