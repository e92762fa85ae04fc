//! Key work, and overwriting the stack that it used.

use core::hint::black_box;

use zeroize::optimization_barrier;

/// Bytes that [`wiping`] overwrites: well more than the deepest work writes, which is three times as much
/// where nothing is optimised.
const WIPED_BYTES: usize = if cfg!(debug_assertions) { 64 * 1024 } else { 32 * 1024 };
/// Bytes that [`wiping_deep`] overwrites.
const WIPED_DEEP_BYTES: usize = 128 * 1024;

/// Does `work` that uses a key, and overwrites the stack below the caller's frame, where the work kept key
/// schedules, hash states and moved arrays (docs/skb1.md section 12.1: `Zeroizing` alone leaves a full copy
/// there). About half a microsecond.
///
/// What it promises: on the calling thread, whatever `work` left within 32 KiB (in a development build, 64)
/// below this call's frame reads as zeros. What it does not: values in the frames of its callers (what `work`
/// gives back lies there; keep secrets in [`super::Secret`]), registers, deeper recursion, other threads, or
/// what the kernel saved at a context switch.
///
/// How deep each work goes is measured by a test (`gauge.rs`), which fails if a wipe does not cover it.
#[cfg_attr(any(test, feature = "gauge"), track_caller)]
pub fn wiping<T>(work: impl FnOnce() -> T) -> T {
    wiping_bytes::<T, WIPED_BYTES>(work)
}

/// [`wiping`] for work that goes deeper: post-quantum keys, whose matrices lie on the stack, and whatever job
/// may use them. 128 KiB, about two microseconds.
#[cfg_attr(any(test, feature = "gauge"), track_caller)]
pub fn wiping_deep<T>(work: impl FnOnce() -> T) -> T {
    wiping_bytes::<T, WIPED_DEEP_BYTES>(work)
}

#[inline(never)]
#[cfg_attr(any(test, feature = "gauge"), track_caller)]
fn wiping_bytes<T, const BYTES: usize>(work: impl FnOnce() -> T) -> T {
    #[cfg(any(test, feature = "gauge"))]
    let gauge = super::gauge::begin(core::panic::Location::caller(), BYTES);
    let done = apart(work);
    #[cfg(any(test, feature = "gauge"))]
    if super::gauge::end(gauge) {
        return done;
    }
    overwrite::<BYTES>();
    done
}

/// A frame of its own for the work, so that it begins where the overwriting begins.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Zeros `BYTES` below the caller's frame. One block fill: zeroing word by word with volatile writes took
/// four times as long.
#[inline(never)]
fn overwrite<const BYTES: usize>() {
    let mut frame = [0_u8; BYTES];
    // The optimiser must believe that somebody changes the array, so that it lies here and not among the
    // constants, and that somebody looks at it, so that the zeros are written.
    black_box(&mut frame);
    optimization_barrier(&frame);
}
