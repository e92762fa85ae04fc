#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_new_secret_is_zero_even_where_another_one_was() {
    for _ in 0..2000 {
        let secret = Secret::<64>::zeroed();
        assert!(secret.expose().iter().all(|byte| *byte == 0));
        drop(secret);
        let _used = Secret::<64>::filled_by(|bytes| bytes.fill(0xEE));
    }
}

#[test]
fn secrets_do_not_overlap() {
    let secrets: Vec<_> =
        (0..5000_u32).map(|index| Secret::<4>::filled_by(|bytes| *bytes = index.to_be_bytes())).collect();
    for (index, secret) in (0_u32..).zip(&secrets) {
        assert_eq!(secret.expose(), &index.to_be_bytes());
    }
}

#[test]
fn a_full_key_cache_fits() {
    reserve(65_536).unwrap();
    let keys: Vec<_> = (0..65_536_u32).map(|_| Secret::<32>::filled_by(|bytes| bytes.fill(1))).collect();
    assert_eq!(keys.len(), 65_536);
    assert!(memory_mode() <= MemoryMode::Locked);
}

#[test]
fn comparison_looks_at_every_byte() {
    let one = Secret::<33>::filled_by(|bytes| bytes.fill(9));
    for index in 0..33 {
        let other = Secret::<33>::filled_by(|bytes| {
            bytes.fill(9);
            bytes[index] ^= 1;
        });
        assert!(!one.same_as(&other));
    }
    assert!(one.same_as(&Secret::filled_by(|bytes| bytes.fill(9))));
}

#[test]
fn a_failing_source_gives_nothing() {
    let result = Secret::<16>::try_filled_by(|bytes| {
        bytes.fill(3);
        Err("no entropy")
    });
    assert_eq!(result.err(), Some("no entropy"));
}

#[test]
fn secrets_cross_threads() {
    let secret = Secret::<8>::filled_by(|bytes| bytes.fill(5));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                assert_eq!(secret.expose(), &[5; 8]);
                for _ in 0..1000 {
                    let mine = Secret::<64>::zeroed();
                    assert_eq!(mine.expose(), &[0; 64]);
                }
            });
        }
    });
}

#[test]
fn preparing_settles_on_the_best_pages() {
    let mode = prepare(false).unwrap();
    assert!(mode <= MemoryMode::Locked, "{mode}");
}

/// What another process sees of `[address, address + length)`; `None` if the kernel refuses to show it.
fn seen_from_outside(address: usize, length: usize) -> Option<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; length];
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    memory.read_exact_at(&mut bytes, u64::try_from(address).unwrap()).ok().map(|()| bytes)
}

#[test]
fn secret_pages_are_not_shown_to_others() {
    let ordinary = Box::new([0x5c_u8; 64]);
    assert_eq!(
        seen_from_outside(ordinary.as_ptr() as usize, 64),
        Some(ordinary.to_vec()),
        "positive control"
    );
    let secret = Secret::<64>::filled_by(|bytes| bytes.fill(0x5c));
    if memory_mode() == MemoryMode::MemfdSecret {
        assert_eq!(seen_from_outside(secret.expose().as_ptr() as usize, 64), None);
    }
}

/// Leaves a pattern where later calls do not overwrite all of it.
#[inline(never)]
fn leave_on_the_stack() {
    let mut frame = [0x3a_u8; 16 * 1024];
    std::hint::black_box(&mut frame);
}

/// The longest run of the pattern within 24 KiB below the caller's frame. Single bytes of other values may
/// look like it.
fn left_on_the_stack() -> usize {
    let here = 0_u8;
    let address = std::hint::black_box(&raw const here) as usize;
    let bytes = seen_from_outside(address - 24 * 1024, 24 * 1024).unwrap();
    bytes.split(|byte| *byte != 0x3a).map(<[u8]>::len).max().unwrap_or(0)
}

#[test]
fn wiping_the_stack_leaves_nothing() {
    leave_on_the_stack();
    assert!(left_on_the_stack() > 4096, "positive control");
    wiping(leave_on_the_stack);
    let left = left_on_the_stack();
    assert!(left < 8, "{left} bytes in a row");
}
