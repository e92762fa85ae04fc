//! Who holds a share: a person with a name, keys, and a card that says both.

mod card;
mod keys;
mod name;

pub use self::card::{Card, CardError};
pub use self::keys::{CustodianKeys, KeyKind, KeyPair};
pub(crate) use self::name::is_invisible;
pub use self::name::{CUSTODIAN_NAME_BYTES_MAX, CUSTODIAN_NAME_CHARS_MAX, is_custodian_name};

/// How a signature stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// There, and it verifies.
    Signed,
    /// Not there yet.
    Missing,
    /// There, and it does not verify: another history was signed, or by another key.
    Wrong,
    /// The person has no key in the share set and cannot sign.
    NoKey,
}
