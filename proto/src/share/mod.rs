//! Custodian shares of the fragment: splitting, text form, share set, ceremony (docs/skb1.md section 7).
//!
//! ```text
//! Fragment ──Dealing::deal──▶ ShareSetManifest (public) + Share × n ──to_text──▶ custodians
//! custodian's text ──Share::parse──▶ Ceremony::submit × t ──recombine──▶ Fragment, checked
//! ```

mod bytes;
mod ceremony;
mod deal;
mod error;
pub mod gf256;
mod kind;
mod set;
pub mod shamir;
mod signed;
mod text;

pub use self::bytes::{SHARE_BYTES, Share};
pub use self::ceremony::{Ceremony, Progress, RecombineError};
pub use self::deal::{Dealing, Holder, check_holders};
pub use self::error::{ShareError, ShareTextError};
pub use self::kind::{SetId, ShareKind};
pub use self::set::{Custodian, SHARE_SET_BYTES_MAX, ShareSetError, ShareSetManifest};
pub use self::shamir::{Threshold, ThresholdError};
pub use self::signed::{SIGNED_SHARE_SET_BYTES_MAX, ShareSetReport, SignedShareSet, SignedShareSetError};
pub use self::text::{SHARE_INPUT_BYTES_MAX, SHARE_TEXT_CHARS};
pub use crate::custodian::{CUSTODIAN_NAME_BYTES_MAX, CUSTODIAN_NAME_CHARS_MAX, is_custodian_name};

#[cfg(test)]
mod tests;
