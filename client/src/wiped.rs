//! Bytes that leave no copy behind: wiped on drop, and where they were when they need more room.

use std::io;

use zeroize::Zeroizing;

/// A buffer for secrets of any length.
#[derive(Default)]
pub(crate) struct Wiped(Zeroizing<Vec<u8>>);

impl Wiped {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(bytes)))
    }

    pub(crate) fn extend(&mut self, more: &[u8]) {
        let needed = self.0.len() + more.len();
        if needed > self.0.capacity() {
            self.move_to(needed.max(2 * self.0.capacity()));
        }
        self.0.extend_from_slice(more);
    }

    /// A vector that grows by itself would give its memory back as it is.
    fn move_to(&mut self, capacity: usize) {
        let mut larger = Self::with_capacity(capacity);
        larger.0.extend_from_slice(&self.0);
        *self = larger;
    }
}

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl io::Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What lies at this address now, whoever has it. Nothing is allocated for it, or it would be there.
    #[cfg(target_os = "linux")]
    fn lies_at(address: usize) -> [u8; 4096] {
        use std::os::unix::fs::FileExt;
        let mut bytes = [0; 4096];
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        memory.read_exact_at(&mut bytes, u64::try_from(address).unwrap()).unwrap();
        bytes
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn where_bytes_were_nothing_is_left() {
        let mut wiped = Wiped::with_capacity(4096);
        wiped.extend(&[0x5C; 4096]);
        let before = wiped.as_ref().as_ptr() as usize;
        let behind = vec![0_u8; 4096]; // so that it cannot grow where it is
        let trace = [0x5C; 16];
        let is_left = || lies_at(before).windows(16).any(|window| window == trace);
        assert!(is_left(), "what is there is seen");
        wiped.extend(b"more");
        assert_ne!(wiped.as_ref().as_ptr() as usize, before);
        assert!(!is_left());
        assert_eq!(behind.len() + 4, wiped.as_ref().len());
    }

    #[test]
    fn bytes_stay_in_order_while_it_grows() {
        let (mut wiped, mut plain) = (Wiped::default(), Vec::new());
        for length in [0, 1, 7, 300, 5, 10_000] {
            let chunk: Vec<u8> = (0..=255).cycle().take(length).collect();
            wiped.extend(&chunk);
            plain.extend_from_slice(&chunk);
        }
        assert_eq!(wiped.as_ref(), plain);
    }
}
