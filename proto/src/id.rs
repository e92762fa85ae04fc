//! Identifiers: 16 random bytes each, one type per thing they name.
//!
//! Contexts (`docs/skb1.md` section 6.3) are built from these and never from names or paths, so a rename is
//! never a re-encryption. They are not secret: they may be compared, printed and logged.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use rand_core::CryptoRng;
use thiserror::Error;

/// Bytes in every identifier.
pub const ID_BYTES: usize = 16;

/// Why a text is not an identifier.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum IdError {
    /// The text does not have exactly 32 characters.
    #[error("an id has 32 hexadecimal digits, this has {found} characters")]
    Length {
        /// Bytes found in the text.
        found: usize,
    },
    /// A character is not a hexadecimal digit.
    #[error("an id has hexadecimal digits only")]
    Digit,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name([u8; ID_BYTES]);

        impl $name {
            /// The id with exactly these bytes.
            pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes as they stand in contexts, frames and row keys.
            pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
                &self.0
            }

            /// A fresh id from `rng`.
            pub fn random(rng: &mut dyn CryptoRng) -> Self {
                let mut bytes = [0; ID_BYTES];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Reads 32 hexadecimal digits of either case.
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// One installation: one fragment, one root key, its tenants and brokers.
    DeploymentId
    /// A customer inside a deployment.
    TenantId
    /// A secret engine mount; the "namespace" of SKB1 contexts.
    MountId
    /// A secret, whatever it is called.
    SecretId
    /// A capsule (6.4).
    CapsuleId
    /// A remote key, through all its epochs.
    KeyId
    /// A backup of everything that a broker stores.
    BackupId
    /// A broker node. In a cluster every node has its own.
    BrokerId
    /// A fragment service node.
    NodeId
    /// One request to a fragment service.
    RequestId
    /// One run of the group ceremony.
    SessionId
}

impl TenantId {
    /// Rows that belong to the deployment itself: the seal record, the log, the mounts.
    pub const SYSTEM: Self = Self([0; ID_BYTES]);
}

fn parse_hex(text: &str) -> Result<[u8; ID_BYTES], IdError> {
    if text.len() != 2 * ID_BYTES {
        return Err(IdError::Length { found: text.len() });
    }
    let mut bytes = [0; ID_BYTES];
    match HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), &mut bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(IdError::Digit),
    }
}

/// SHA-256 of an entire request frame; every answer carries it.
pub type RequestHash = [u8; 32];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn text_round_trip() {
        let id = SecretId::from_bytes(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "30313233343536373839616263646566");
        assert_eq!(id.to_string().parse::<SecretId>().unwrap(), id);
        assert_eq!(id.to_string().to_uppercase().parse::<SecretId>().unwrap(), id);
    }

    #[test]
    fn refuses_other_texts() {
        assert_eq!("".parse::<KeyId>(), Err(IdError::Length { found: 0 }));
        assert_eq!("g".repeat(32).parse::<KeyId>(), Err(IdError::Digit));
        assert_eq!("0".repeat(33).parse::<KeyId>(), Err(IdError::Length { found: 33 }));
    }
}
