//! A share as 44 bytes (docs/skb1.md section 7.2).
//!
//! ```text
//! share = version(1) ‖ set_id(8) ‖ x(1) ‖ t(1) ‖ n(1) ‖ y(32)
//! ```
//!
//! Version 0x01 is a share of the fragment, 0x02 one of an escrow key (section 8).

use super::error::ShareTextError;
use super::kind::{SetId, ShareKind};
use super::shamir::{Point, Threshold};
use crate::secret::Secret;

/// Bytes of a share.
pub const SHARE_BYTES: usize = 44;

/// One custodian's share. The point is in secret memory; there is no `Clone`, `Debug` or `==`.
pub struct Share {
    kind: ShareKind,
    set_id: SetId,
    threshold: Threshold,
    point: Point,
}

impl Share {
    /// Puts a share together.
    pub(super) const fn new(kind: ShareKind, set_id: SetId, threshold: Threshold, point: Point) -> Self {
        Self { kind, set_id, threshold, point }
    }

    /// What it is a share of.
    #[must_use]
    pub const fn kind(&self) -> ShareKind {
        self.kind
    }

    /// The set it belongs to.
    #[must_use]
    pub const fn set_id(&self) -> SetId {
        self.set_id
    }

    /// Its number in the set, from 1.
    #[must_use]
    pub const fn x(&self) -> u8 {
        self.point.x
    }

    /// How many of how many shares are needed, as this share says.
    #[must_use]
    pub const fn threshold(&self) -> Threshold {
        self.threshold
    }

    pub(super) const fn point(&self) -> &Point {
        &self.point
    }

    /// Reads the 44 bytes.
    pub fn from_bytes(bytes: &[u8; SHARE_BYTES]) -> Result<Self, ShareTextError> {
        let [version, a, b, c, d, e, f, g, h, x, needed, total, y @ ..] = bytes;
        let kind = ShareKind::from_byte(*version).ok_or(ShareTextError::Version { found: *version })?;
        let threshold = Threshold::new(*needed, *total)?;
        if *x == 0 || *x > *total {
            return Err(ShareTextError::Number { x: *x, total: *total });
        }
        let set_id = SetId::from_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
        let point = Point { x: *x, y: Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(y)) };
        Ok(Self { kind, set_id, threshold, point })
    }

    /// The 44 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Secret<SHARE_BYTES> {
        Secret::filled_by(|out| {
            out[0] = self.kind.byte();
            out[1..9].copy_from_slice(self.set_id.as_bytes());
            out[9] = self.point.x;
            out[10] = self.threshold.needed();
            out[11] = self.threshold.total();
            out[12..].copy_from_slice(self.point.y.expose());
        })
    }
}
