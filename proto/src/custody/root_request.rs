//! What a custodian signs to begin a ceremony for a root token, to end it, and to fetch the token
//! (docs/skb1.md section 16.26).
//!
//! ```text
//! request = format(1)=1 ‖ purpose(1) ‖ deployment(16) ‖ generation(8) ‖ set(32) ‖ card(32) ‖ at_ms(8)
//!           ‖ ttl_secs(4) ‖ nonce(32)
//! signed  = request ‖ Ed25519(label ‖ request)(64)
//! ```
//!
//! A token with `sudo` is what was lost, so nothing but a card of the share set in use can begin it. The card
//! that signs is the one that the token is sealed to. set is the hash of the manifest, so a request of before
//! a reshare says nothing to those who hold the shares now.

use core::fmt;

use rand_core::CryptoRng;
use thiserror::Error;

use crate::codec::{DecodeError, Reader, Writer};
use crate::custodian::{CustodianKeys, KeyPair};
use crate::fingerprint::Fingerprint;
use crate::id::DeploymentId;
use crate::label;
use crate::share::{Custodian, ShareSetManifest};
use crate::signing::SIGNATURE_BYTES;

/// Bytes of a signed request.
pub const ROOT_REQUEST_BYTES: usize = BODY_BYTES + SIGNATURE_BYTES;
/// A request counts for so long before and after its time, in milliseconds.
pub const ROOT_WINDOW_MS: u64 = 5 * 60 * 1000;
/// Shortest life of such a root token, in seconds.
pub const ROOT_TTL_SECS_MIN: u32 = 10 * 60;
/// Longest life of such a root token, in seconds.
pub const ROOT_TTL_SECS_MAX: u32 = 24 * 60 * 60;
/// Its life if nobody says otherwise: long enough to set up a login, too short to be kept for the next time.
pub const ROOT_TTL_SECS_DEFAULT: u32 = 4 * 60 * 60;

const FORMAT: u8 = 1;
const BODY_BYTES: usize = 134;

/// Random bytes that name a request which begins a ceremony.
pub type RootNonce = [u8; 32];

/// For which state of which deployment a request counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RootScope {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The broker's generation, another one after each unseal.
    pub generation: u64,
    /// Hash of the manifest of the share set in use.
    pub set: [u8; 32],
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RootAsk {
    /// A ceremony for a root token.
    Begin {
        /// Life of the token in seconds, from [`ROOT_TTL_SECS_MIN`] to [`ROOT_TTL_SECS_MAX`].
        ttl_secs: u32,
        /// Fresh; names the request.
        nonce: RootNonce,
    },
    /// To give up the ceremony that one's own request has begun.
    Cancel {
        /// Nonce of that request.
        nonce: RootNonce,
    },
    /// The token that was sealed to one's own card.
    Fetch,
    /// To forget that token: it has arrived.
    Received {
        /// Nonce of the request that it was made for.
        nonce: RootNonce,
    },
}

/// A request before it is signed. Nothing is implied about its fields.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RootRequest {
    /// What is asked for.
    pub ask: RootAsk,
    /// For which state of which deployment.
    pub scope: RootScope,
    /// Hash of the card that signs, and to which the token is sealed.
    pub card: [u8; 32],
    /// When it was signed, Unix milliseconds.
    pub at_ms: u64,
}

/// A request with a signature that nobody has checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedRootRequest {
    request: RootRequest,
    signature: [u8; SIGNATURE_BYTES],
}

/// A request that was found to be a custodian's own, for this deployment as it is now, and of this hour.
/// Whether it is new is for the broker to say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RootAsker {
    request: SignedRootRequest,
    x: u8,
    name: String,
    keys: CustodianKeys,
}

/// Why bytes are no request, or a request is not followed. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RootRequestError {
    /// Not the layout.
    #[error("a request for a root token has {ROOT_REQUEST_BYTES} bytes, this is none: {0}")]
    Layout(#[from] DecodeError),
    /// Made by a version that does not exist yet.
    #[error("format {found} of a request for a root token is not known to this version; only 1 is")]
    Format {
        /// The format number.
        found: u8,
    },
    /// A purpose that does not exist, or with fields that are another's.
    #[error("purpose {found} of a request for a root token is not known, or has fields of another one")]
    Purpose {
        /// The number.
        found: u8,
    },
    /// For another deployment.
    #[error("the request is for another deployment; check the address of the broker, and begin again")]
    Deployment,
    /// For another share set, or from before the last unseal.
    #[error(
        "the broker was unsealed, or its shares were changed, since the request was signed; sign a new one with the same command"
    )]
    Scope,
    /// Custodians hold their shares as text.
    #[error(
        "no custodian of this deployment has a card, so nobody can ask for a root token: its shares are texts; reshare to cards (`symbolon ceremony begin reshare`) while there is a token"
    )]
    NoCards,
    /// Not a card of the present set.
    #[error(
        "this card is not in the share set in use; a custodian who holds a share now must ask, with the key file of that card"
    )]
    UnknownCard,
    /// Signed by somebody else, or changed.
    #[error("the request is not signed by the card that it names, or was changed")]
    Signature,
    /// Signed too long ago, or in the future.
    #[error(
        "the request was signed {secs} seconds {} the broker's time, and counts within {}: compare both clocks, then run the command again",
        if *.early { "after" } else { "before" },
        ROOT_WINDOW_MS / 1000
    )]
    Stale {
        /// Seconds between both clocks.
        secs: u64,
        /// Whether the broker's clock is behind.
        early: bool,
    },
    /// No life that such a token may have.
    #[error(
        "a root token of a ceremony lives for {ROOT_TTL_SECS_MIN} to {ROOT_TTL_SECS_MAX} seconds, not {found}"
    )]
    Ttl {
        /// Seconds asked for.
        found: u32,
    },
}

impl RootAsk {
    /// A request that begins a ceremony, with a fresh nonce.
    pub fn begin(ttl_secs: u32, rng: &mut dyn CryptoRng) -> Self {
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        Self::Begin { ttl_secs, nonce }
    }

    const fn to_wire(self) -> (u8, u32, RootNonce) {
        match self {
            Self::Begin { ttl_secs, nonce } => (1, ttl_secs, nonce),
            Self::Cancel { nonce } => (2, 0, nonce),
            Self::Fetch => (3, 0, [0; 32]),
            Self::Received { nonce } => (4, 0, nonce),
        }
    }

    fn from_wire(purpose: u8, ttl_secs: u32, nonce: RootNonce) -> Result<Self, RootRequestError> {
        match (purpose, ttl_secs) {
            (1, ttl_secs) => Ok(Self::Begin { ttl_secs, nonce }),
            (2, 0) => Ok(Self::Cancel { nonce }),
            (3, 0) if nonce == [0; 32] => Ok(Self::Fetch),
            (4, 0) => Ok(Self::Received { nonce }),
            (found, _) => Err(RootRequestError::Purpose { found }),
        }
    }

    fn check(self) -> Result<(), RootRequestError> {
        match self {
            Self::Begin { ttl_secs, .. } if !(ROOT_TTL_SECS_MIN..=ROOT_TTL_SECS_MAX).contains(&ttl_secs) => {
                Err(RootRequestError::Ttl { found: ttl_secs })
            }
            _ => Ok(()),
        }
    }
}

impl RootRequest {
    fn body(&self) -> Vec<u8> {
        let (purpose, ttl_secs, nonce) = self.ask.to_wire();
        let mut writer = Writer::with_capacity(ROOT_REQUEST_BYTES);
        writer.u8(FORMAT).u8(purpose).bytes(self.scope.deployment.as_bytes()).u64(self.scope.generation);
        writer.bytes(&self.scope.set).bytes(&self.card).u64(self.at_ms).u32(ttl_secs).bytes(&nonce);
        writer.finish()
    }

    fn signed_bytes(&self) -> Vec<u8> {
        [label::ROOT_REQUEST, &self.body()].concat()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, RootRequestError> {
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(RootRequestError::Format { found: format });
        }
        let purpose = reader.u8()?;
        let deployment = DeploymentId::from_bytes(reader.array()?);
        let scope = RootScope { deployment, generation: reader.u64()?, set: reader.array()? };
        let (card, at_ms) = (reader.array()?, reader.u64()?);
        let ask = RootAsk::from_wire(purpose, reader.u32()?, reader.array()?)?;
        Ok(Self { ask, scope, card, at_ms })
    }

    fn check_time(&self, now_ms: u64) -> Result<(), RootRequestError> {
        let apart = self.at_ms.abs_diff(now_ms);
        match apart > ROOT_WINDOW_MS {
            true => Err(RootRequestError::Stale { secs: apart / 1000, early: self.at_ms > now_ms }),
            false => Ok(()),
        }
    }
}

impl SignedRootRequest {
    /// Signs as the owner of a card; `None` for an officer, who has none.
    #[must_use]
    pub fn sign(ask: RootAsk, scope: RootScope, at_ms: u64, keys: &KeyPair) -> Option<Self> {
        let request = RootRequest { ask, scope, card: keys.custodian_keys()?.hash(), at_ms };
        Some(Self { request, signature: keys.signing().sign(&request.signed_bytes()) })
    }

    /// What is asked, by whomever.
    #[must_use]
    pub const fn request(&self) -> &RootRequest {
        &self.request
    }

    /// Believes a request, or says why not. `scope` and `set` are the broker's own, and belong together.
    pub fn check(
        &self,
        scope: &RootScope,
        set: &ShareSetManifest,
        now_ms: u64,
    ) -> Result<RootAsker, RootRequestError> {
        let Self { request, .. } = self;
        if request.scope.deployment != scope.deployment {
            return Err(RootRequestError::Deployment);
        }
        let custodian = owner(set, &request.card)?;
        if request.scope != *scope {
            return Err(RootRequestError::Scope);
        }
        let keys = custodian.keys.clone().ok_or(RootRequestError::UnknownCard)?;
        if !self.is_signed_by(&keys) {
            return Err(RootRequestError::Signature);
        }
        request.check_time(now_ms)?;
        request.ask.check()?;
        Ok(RootAsker { request: self.clone(), x: custodian.x, name: custodian.name.clone(), keys })
    }

    /// Whether the owner of these keys has signed it, as the owner of this card.
    #[must_use]
    pub fn is_signed_by(&self, keys: &CustodianKeys) -> bool {
        let is_named = keys.hash() == self.request.card;
        is_named && keys.signing.verifies(&self.request.signed_bytes(), &self.signature)
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.request.body();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Reads the bytes. The signature is for [`Self::check`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RootRequestError> {
        let mut reader = Reader::new(bytes);
        let request = RootRequest::read(&mut reader)?;
        let signature = reader.array()?;
        reader.finish()?;
        Ok(Self { request, signature })
    }
}

/// Whose card it is, in the set in use.
fn owner<'a>(set: &'a ShareSetManifest, card: &[u8; 32]) -> Result<&'a Custodian, RootRequestError> {
    let mut with_cards = set.custodians().iter().filter(|custodian| custodian.keys.is_some()).peekable();
    if with_cards.peek().is_none() {
        return Err(RootRequestError::NoCards);
    }
    let own = |custodian: &&Custodian| custodian.keys.as_ref().is_some_and(|keys| keys.hash() == *card);
    with_cards.find(own).ok_or(RootRequestError::UnknownCard)
}

impl RootAsker {
    /// The request as it came.
    #[must_use]
    pub const fn request(&self) -> &SignedRootRequest {
        &self.request
    }

    /// What is asked for.
    #[must_use]
    pub const fn ask(&self) -> RootAsk {
        self.request.request.ask
    }

    /// Number of the custodian's share.
    #[must_use]
    pub const fn x(&self) -> u8 {
        self.x
    }

    /// Name of the custodian in the set.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Fingerprint of the card, for people to compare.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.keys.fingerprint()
    }

    pub(super) const fn keys(&self) -> &CustodianKeys {
        &self.keys
    }
}

/// What a custodian reads before giving a share.
impl fmt::Display for RootAsker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, ttl_secs, _) = self.ask().to_wire();
        write!(out, "a root token of {ttl_secs} s for {} (share {})", self.name, self.x)
    }
}
