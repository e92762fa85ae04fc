//! Ordinary memory, overwritten when it is given back: values of secrets, bodies and answers pass through
//! buffers of libraries that do not wipe them. Keys live elsewhere (`symbolon_proto::secret`).
//!
//! A buffer that grows is moved: the allocator copies it, overwrites the old one and gives it back. What this
//! does not reach: buffers in use, the stack, and memory that libraries in C take for themselves (AWS-LC
//! wipes its own).

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::File;
    use std::hint::black_box;
    use std::os::unix::fs::FileExt;

    const PATTERN: u8 = 0xA7;
    /// What the system's allocator writes into memory that it gets back: the links of its lists.
    const LINKS_BYTES: usize = 64;

    /// Bytes of the pattern that are left at an address, which may be anybody's by now.
    fn left(address: usize, length: usize) -> usize {
        let mut bytes = vec![0; length];
        let memory = File::open("/proc/self/mem").unwrap();
        memory.read_at(&mut bytes, address as u64).unwrap_or(0);
        bytes.iter().filter(|byte| **byte == PATTERN).count()
    }

    /// Smaller than what the system's allocator gives back to the kernel, so that it can be looked at.
    const SIZES: [usize; 5] = [80, 1000, 4096, 16_384, 100_000];

    #[test]
    fn what_is_given_back_is_overwritten() {
        for size in SIZES {
            let bytes = black_box(vec![PATTERN; size]);
            let address = bytes.as_ptr().addr();
            assert_eq!(left(address, size), size, "positive control");
            drop(bytes);
            assert!(left(address, size) <= LINKS_BYTES, "{size} bytes");
        }
    }

    #[test]
    fn a_buffer_that_grows_leaves_nothing_behind() {
        for size in SIZES {
            let mut bytes = black_box(vec![PATTERN; size]);
            let address = bytes.as_ptr().addr();
            bytes.reserve_exact(2 * size);
            assert_ne!(bytes.as_ptr().addr(), address, "it is moved, whether it must be or not");
            assert!(left(address, size) <= LINKS_BYTES, "{size} bytes");
        }
    }

    #[test]
    fn aligned_memory_is_overwritten() {
        #[repr(align(4096))]
        struct Page([u8; 8192]);
        let page = black_box(Box::new(Page([PATTERN; 8192])));
        let address = page.0.as_ptr().addr();
        assert_eq!(left(address, 8192), 8192, "positive control");
        drop(page);
        assert!(left(address, 8192) <= LINKS_BYTES);
    }
}
