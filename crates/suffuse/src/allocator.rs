//! The allocator of the program: mimalloc with purging off.
//!
//! Training frees and asks again for the same large buffers at every step. With purging on, the
//! freed pages go back to the operating system, which zeroes them on their way back: about 40 % of
//! the time of a training step of the default model on two cores.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_purge_delay` of mimalloc 3 (`mimalloc.h`, `mi_option_e`); the bindings do not name it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps freed pages for reuse. To be called once, before the first large allocation.
pub(crate) fn keep_freed_pages() {
    // An explicit MIMALLOC_PURGE_DELAY of the user wins.
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_some() {
        return;
    }
    #[expect(
        unsafe_code,
        reason = "the option can only be set through the C interface of the allocator"
    )]
    // SAFETY: `mi_option_set` stores an integer in the allocator's table of options; the index is
    // checked by the callee and no other thread exists yet.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
}
