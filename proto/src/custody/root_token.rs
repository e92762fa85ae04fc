//! A root token that custodians have made together, on its way to the one who asked for it (docs/skb1.md
//! section 16.26).
//!
//! ```text
//! sealed = version(1)=1 ‖ HPKE(info = label ‖ deployment(16) ‖ nonce(32), aad = SHA-256(signed request),
//!          length(1) ‖ token ‖ zeros, 64 bytes in all)
//! ```
//!
//! Only the card that signed the request opens it. Its owner checks that the request is their own before
//! anything is believed to be the answer to it.

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::root_request::{RootAsk, RootAsker, RootRequest, SignedRootRequest};
use crate::custodian::KeyPair;
use crate::label;
use crate::secret::Secret;
use crate::xwing::SEALED_OVERHEAD_BYTES;

/// Longest token that can be sealed, in bytes.
pub const ROOT_TOKEN_TEXT_BYTES_MAX: usize = PLAIN_BYTES - 1;
/// Bytes of a sealed token.
pub const SEALED_ROOT_TOKEN_BYTES: usize = 1 + PLAIN_BYTES + SEALED_OVERHEAD_BYTES;

const VERSION: u8 = 1;
const PLAIN_BYTES: usize = 64;

/// A root token, sealed to a card. Public.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SealedRootToken(Vec<u8>);

/// Why a token was not sealed, or does not come out.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RootTokenError {
    /// Not the length of a sealed token.
    #[error("a sealed root token has {SEALED_ROOT_TOKEN_BYTES} bytes, this has {found}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// Made by a version that does not exist yet.
    #[error("sealed root token version {found} is not known to this version; only 1 is")]
    Version {
        /// The version number.
        found: u8,
    },
    /// A token that has no room, or a request that asks for none.
    #[error("nothing of this kind can be sealed as a root token")]
    NoToken,
    /// Not the answer to a request of these keys.
    #[error("the root token was made for a request that these keys have not signed")]
    OtherRequest,
    /// Sealed to another card or request, or damaged.
    #[error("the sealed root token does not open: it was damaged, or is the answer to another request")]
    DoesNotOpen,
}

impl RootAsker {
    /// Seals a token to the card that asked for it.
    pub fn seal(&self, token: &str, rng: &mut dyn CryptoRng) -> Result<SealedRootToken, RootTokenError> {
        let info = info(self.request().request())?;
        let plain = padded(token).ok_or(RootTokenError::NoToken)?;
        let sealed = self.keys().sealing.seal(&info, &aad(self.request()), plain.expose(), rng);
        Ok(SealedRootToken([&[VERSION], sealed.as_slice()].concat()))
    }
}

impl SealedRootToken {
    /// Opens the answer to one's own request.
    pub fn open(
        &self,
        request: &SignedRootRequest,
        keys: &KeyPair,
    ) -> Result<Zeroizing<String>, RootTokenError> {
        let own = keys.custodian_keys().ok_or(RootTokenError::OtherRequest)?;
        let seed = keys.sealing().ok_or(RootTokenError::OtherRequest)?;
        if !request.is_signed_by(&own) {
            return Err(RootTokenError::OtherRequest);
        }
        let info = info(request.request())?;
        let sealed = self.0.split_first().map_or(&[] as &[u8], |(_version, sealed)| sealed);
        let plain = seed.open::<PLAIN_BYTES>(&info, &aad(request), sealed);
        text_of(&plain.map_err(|_| RootTokenError::DoesNotOpen)?).ok_or(RootTokenError::DoesNotOpen)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RootTokenError> {
        match bytes {
            _ if bytes.len() != SEALED_ROOT_TOKEN_BYTES => Err(RootTokenError::Length { found: bytes.len() }),
            [VERSION, ..] => Ok(Self(bytes.to_vec())),
            [found, ..] => Err(RootTokenError::Version { found: *found }),
            [] => Err(RootTokenError::Length { found: 0 }),
        }
    }
}

fn info(request: &RootRequest) -> Result<Vec<u8>, RootTokenError> {
    let RootAsk::Begin { nonce, .. } = request.ask else { return Err(RootTokenError::NoToken) };
    Ok([label::ROOT_TOKEN, request.scope.deployment.as_bytes(), &nonce].concat())
}

fn aad(request: &SignedRootRequest) -> [u8; 32] {
    Sha256::digest(request.encode()).into()
}

fn padded(token: &str) -> Option<Secret<PLAIN_BYTES>> {
    let length =
        u8::try_from(token.len()).ok().filter(|length| (1..PLAIN_BYTES).contains(&(*length).into()))?;
    Some(Secret::filled_by(|out| {
        for (byte, from) in out.iter_mut().zip([length].into_iter().chain(token.bytes())) {
            *byte = from;
        }
    }))
}

fn text_of(plain: &Secret<PLAIN_BYTES>) -> Option<Zeroizing<String>> {
    let (length, rest) = plain.expose().split_first()?;
    let (text, zeros) = rest.split_at_checked(usize::from(*length))?;
    let text = core::str::from_utf8(text).ok().filter(|text| !text.is_empty())?;
    zeros.iter().all(|byte| *byte == 0).then(|| Zeroizing::new(text.to_owned()))
}
