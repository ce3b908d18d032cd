//! The border to linear memory: the only place where an address becomes a slice.
//!
//! SAFETY of every function here rests on the same two facts. The host lays out disjoint regions and `Config::check`
//! verifies that each lies inside the memory; and the module is single-threaded, with one exported call at a time.

/// A read-only view of `len` values at `address`.
///
/// # Safety
/// The range lies in linear memory, is aligned for `T`, and no mutable view of it is alive.
pub unsafe fn view<'a, T>(address: usize, len: usize) -> &'a [T] {
    unsafe { core::slice::from_raw_parts(address as *const T, len) }
}

/// A writable view of `len` values at `address`.
///
/// # Safety
/// As `view`, and no other view of the range is alive.
pub unsafe fn view_mut<'a, T>(address: usize, len: usize) -> &'a mut [T] {
    unsafe { core::slice::from_raw_parts_mut(address as *mut T, len) }
}

/// Whether `count` values of `unit` bytes at `address` lie inside the memory; no sum wraps. 0 is no address.
pub fn in_memory(address: usize, count: usize, unit: usize) -> bool {
    let end = count.checked_mul(unit).and_then(|bytes| address.checked_add(bytes));
    address != 0 && end.is_some_and(|end| end <= memory_bytes())
}

/// Bytes of the linear memory now. The host never takes the last page, so this does not wrap.
fn memory_bytes() -> usize {
    #[cfg(target_arch = "wasm32")]
    return core::arch::wasm32::memory_size::<0>() * 65536;
    #[cfg(not(target_arch = "wasm32"))]
    return usize::MAX;
}

/// Rounds up to the alignment of regions and rows (a cache line).
pub const fn align(bytes: usize) -> usize {
    (bytes + 63) & !63
}
