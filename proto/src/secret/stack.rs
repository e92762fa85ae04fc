//! Overwriting the dead part of the stack after key work.

use core::hint::black_box;

use zeroize::optimization_barrier;

/// Bytes below the caller's frame that [`wipe_stack`] overwrites.
pub const WIPED_STACK_BYTES: usize = 32 * 1024;

/// Overwrites about 32 KiB of stack below the caller's frame, where the functions it called a moment ago kept
/// key schedules, hash states and moved arrays (docs/skb1.md section 12.1: `Zeroizing` alone leaves a full
/// copy there).
///
/// Call it in the function that called the key work, after that work returned: about half a microsecond.
///
/// What it promises: on the calling thread, whatever earlier calls left within 32 KiB below this call's frame
/// reads as zeros. What it does not: values in the caller's own live frame or in its callers' frames (keep
/// those in [`super::Secret`]), registers, deeper recursion, other threads, or what the kernel saved at a
/// context switch.
#[inline(never)]
pub fn wipe_stack() {
    // One block fill. Zeroing word by word with volatile writes took two microseconds, four times for each
    // secret read.
    let mut frame = [0_u64; WIPED_STACK_BYTES / 8];
    // The optimiser must believe that somebody changes the array, so that it lies here and not among the
    // constants, and that somebody looks at it, so that the zeros are written.
    black_box(&mut frame);
    optimization_barrier(&frame);
}
