//! GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, in constant time (docs/skb1.md section 7.1).
//!
//! No tables and no branches: both operands may be secret, and a table indexed by a secret tells it to
//! whoever shares the cache. Addition is exclusive or and needs no function.

use core::hint::black_box;

/// The field polynomial without its x^8 term.
const REDUCTION: u8 = 0x1b;

/// All ones if the low bit of `bit` is set, else zero. The compiler may not learn that there are only two
/// cases, or it might make a branch of them.
fn mask(bit: u8) -> u8 {
    black_box(bit & 1).wrapping_neg()
}

/// Product: eight masked shift-xor steps.
#[must_use]
pub fn mul(a: u8, b: u8) -> u8 {
    let mut product = 0;
    let mut shifted = a;
    for step in 0..8 {
        product ^= shifted & mask(b >> step);
        shifted = (shifted << 1) ^ (REDUCTION & mask(shifted >> 7));
    }
    product
}

/// Inverse: the 254th power. The inverse of zero is zero; callers exclude it.
#[must_use]
pub fn inverse(a: u8) -> u8 {
    // 254 = 2 + 4 + 8 + 16 + 32 + 64 + 128.
    let mut square = a;
    let mut product = 1;
    for _ in 0..7 {
        square = mul(square, square);
        product = mul(product, square);
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schoolbook way: polynomial product, then long division.
    fn slow_mul(a: u8, b: u8) -> u8 {
        let mut product = (0..8)
            .fold(0_u16, |sum, bit| if b & (1 << bit) == 0 { sum } else { sum ^ (u16::from(a) << bit) });
        for bit in (8..15).rev() {
            if product & (1 << bit) != 0 {
                product ^= 0x11b << (bit - 8);
            }
        }
        product.to_le_bytes()[0]
    }

    #[test]
    fn all_products_are_right() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), slow_mul(a, b), "{a} * {b}");
            }
        }
    }

    #[test]
    fn all_inverses_are_right() {
        assert_eq!(inverse(0), 0);
        for a in 1..=255 {
            assert_eq!(mul(a, inverse(a)), 1, "{a}");
        }
    }

    #[test]
    fn published_products_come_out() {
        // FIPS 197 section 4.2.
        assert_eq!(mul(0x57, 0x83), 0xc1);
        assert_eq!(mul(0x57, 0x13), 0xfe);
        assert_eq!(inverse(0x53), 0xca);
    }
}
