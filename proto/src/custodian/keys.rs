//! The keys of a person: a custodian opens envelopes and signs transcripts, an officer signs orders.

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};

use crate::fingerprint::Fingerprint;
use crate::secret::Secret;
use crate::signing::{SigningPublicKey, SigningSeed};
use crate::xwing::{XWingPublicKey, XWingSeed};

/// Whose keys these are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum KeyKind {
    /// Holds a share: X-Wing seed for envelopes, Ed25519 seed for transcripts.
    Custodian = 1,
    /// Signs orders for a fragment service: an Ed25519 seed only.
    Officer = 2,
}

impl KeyKind {
    /// The kind with this number.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Custodian),
            2 => Some(Self::Officer),
            _ => None,
        }
    }

    /// Its number.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Custodian => "custodian",
            Self::Officer => "officer",
        }
    }
}

/// The public keys of a custodian, as they stand in a share-set manifest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CustodianKeys {
    /// What share envelopes are sealed to (7.4).
    pub sealing: XWingPublicKey,
    /// What verifies signatures under transcripts and manifests (7.3, 7.6).
    pub signing: SigningPublicKey,
}

impl CustodianKeys {
    /// SHA-256 over both keys, sealing key first: names a card where no person compares.
    pub fn hash(&self) -> [u8; 32] {
        let hash = Sha256::new().chain_update(self.sealing.as_bytes());
        hash.chain_update(self.signing.as_bytes()).finalize().into()
    }

    /// Fingerprint over both keys, sealing key first.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[self.sealing.as_bytes().as_slice(), self.signing.as_bytes()].concat())
    }
}

/// The private keys of one person, in secret memory.
pub struct KeyPair {
    kind: KeyKind,
    /// Custodians only.
    sealing: Option<XWingSeed>,
    signing: SigningSeed,
}

impl KeyPair {
    /// Fresh keys of this kind.
    pub fn generate(kind: KeyKind, rng: &mut dyn CryptoRng) -> Self {
        let sealing = (kind == KeyKind::Custodian).then(|| XWingSeed::random(rng));
        Self { kind, sealing, signing: SigningSeed::random(rng) }
    }

    /// Whose keys these are.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Opens envelopes. Custodians have it, officers do not.
    pub const fn sealing(&self) -> Option<&XWingSeed> {
        self.sealing.as_ref()
    }

    /// Signs transcripts, manifests or orders.
    pub const fn signing(&self) -> &SigningSeed {
        &self.signing
    }

    /// The public keys of a custodian; `None` for an officer.
    pub fn custodian_keys(&self) -> Option<CustodianKeys> {
        let sealing = self.sealing.as_ref()?.public_key();
        Some(CustodianKeys { sealing, signing: self.signing.public_key() })
    }

    /// What two people compare: over both keys of a custodian, or the one of an officer.
    pub fn fingerprint(&self) -> Fingerprint {
        match self.custodian_keys() {
            Some(keys) => keys.fingerprint(),
            None => Fingerprint::of(self.signing.public_key().as_bytes()),
        }
    }

    /// Seeds in the order sealing, signing: 64 bytes, the first half zero for an officer.
    pub(crate) fn seeds(&self) -> Secret<64> {
        Secret::filled_by(|out| {
            let (sealing, signing) = out.split_at_mut(32);
            if let Some(seed) = &self.sealing {
                sealing.copy_from_slice(seed.secret().expose());
            }
            signing.copy_from_slice(self.signing.secret().expose());
        })
    }

    /// Back from [`KeyPair::seeds`].
    pub(crate) fn from_seeds(kind: KeyKind, seeds: &Secret<64>) -> Self {
        let half =
            |from: usize| Secret::filled_by(|out| out.copy_from_slice(&seeds.expose()[from..from + 32]));
        let sealing = (kind == KeyKind::Custodian).then(|| XWingSeed::from_secret(half(0)));
        Self { kind, sealing, signing: SigningSeed::from_secret(half(32)) }
    }
}
