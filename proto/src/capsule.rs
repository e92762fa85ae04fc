//! Capsules: a KEK that only both halves of the split key can open (`docs/skb1.md` section 6.4).
//!
//! Closing one is offline: [`encapsulate`] needs the remote's public key only. Opening takes the shared
//! secret that the remote's evaluation gave ([`crate::blind`]) and the broker's [`CapsuleKey`]. A capsule
//! from another place, a wrong fragment epoch or a wrong shared secret is [`CapsuleError::Commitment`], in
//! constant time, before anything is decrypted.

use curve25519_dalek::ristretto::RistrettoPoint;
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::codec::{DecodeError, Reader, Writer};
use crate::context::CapsuleContext;
use crate::group::{POINT_BYTES, Point, PointError, PublicKey, Scalar, Suite, hash_to_scalar};
use crate::hierarchy::{CapsuleKey, PurposeKeys};
use crate::id::{CapsuleId, KeyId};
use crate::label;
use crate::primitives::TAG_BYTES;
use crate::sealedbox::{COMMITMENT_BYTES, Derived};
use crate::secret::{self, MemoryError, Secret};

/// Bytes of an encoded capsule.
pub const CAPSULE_BYTES: usize = 154;
const FORMAT: u8 = 0x01;
const KEK_BYTES: usize = 32;

/// A key-encryption key: wraps the DEKs of the secrets of one bucket.
pub struct Kek(Secret<KEK_BYTES>);

impl Kek {
    /// A fresh one.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// A fresh one that will be kept, where many are.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for more.
    pub fn generate(rng: &mut dyn CryptoRng) -> Result<Self, MemoryError> {
        let fill = |bytes: &mut [u8; KEK_BYTES]| {
            rng.fill_bytes(bytes);
            Ok(())
        };
        Secret::kept_by(fill).map(Self)
    }

    /// The key bytes.
    pub const fn secret(&self) -> &Secret<KEK_BYTES> {
        &self.0
    }

    /// A key from elsewhere, for tests.
    pub const fn from_secret(key: Secret<KEK_BYTES>) -> Self {
        Self(key)
    }

    /// Whether two are the same key, in constant time: the check of a canary.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.same_as(&other.0)
    }
}

/// enc(S), the secret that encapsulation and the remote's evaluation agree on.
pub struct SharedSecret(Secret<POINT_BYTES>);

impl SharedSecret {
    /// Encodes S straight into secret memory.
    pub(crate) fn from_element(shared: &RistrettoPoint) -> Self {
        Self(Secret::filled_by(|out| {
            let mut encoded = shared.compress().to_bytes();
            out.copy_from_slice(&encoded);
            encoded.zeroize();
        }))
    }

    pub(crate) const fn secret(&self) -> &Secret<POINT_BYTES> {
        &self.0
    }
}

/// Why bytes are not a capsule, or a capsule does not open.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CapsuleError {
    /// Not 154 bytes.
    #[error("not a capsule: {0}")]
    Layout(#[from] DecodeError),
    /// A format byte that this version does not know.
    #[error("capsule format {found}, this version reads 1")]
    Format {
        /// The format byte.
        found: u8,
    },
    /// A suite that this version does not know.
    #[error("capsule suite {found}, this version knows 1")]
    Suite {
        /// The suite byte.
        found: u8,
    },
    /// w is not a usable point.
    #[error("the capsule's point is {0}")]
    Point(#[from] PointError),
    /// Another place, another fragment epoch, or a wrong shared secret.
    #[error("the capsule belongs elsewhere or its shared secret is wrong")]
    Commitment,
    /// Right keys and place, damaged ciphertext.
    #[error("the capsule's ciphertext is damaged")]
    Tag,
    /// There is no memory for another key; the capsule is as it was.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// Why a capsule cannot be closed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum EncapsulateError {
    /// The context names another fragment epoch than the keys have; nothing could open it.
    #[error("context of fragment epoch {context}, keys of epoch {keys}")]
    FragmentEpoch {
        /// f of the context.
        context: u32,
        /// f of the purpose keys.
        keys: u32,
    },
}

/// A remote key as encapsulation needs it: taken from a verified manifest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EncapsulationKey {
    /// The epoch of the remote key.
    pub key_epoch: u32,
    /// y.
    pub public: PublicKey,
}

/// A parsed capsule: layout and point are valid, whether it opens is another matter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Capsule {
    key: KeyId,
    key_epoch: u32,
    fragment_epoch: u32,
    id: CapsuleId,
    w: Point,
    commitment: [u8; COMMITMENT_BYTES],
    ciphertext: [u8; KEK_BYTES],
    tag: [u8; TAG_BYTES],
}

impl Capsule {
    /// Reads the 154 bytes of a capsule.
    pub fn parse(bytes: &[u8]) -> Result<Self, CapsuleError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(CapsuleError::Format { found: format });
        }
        let suite = reader.u8()?;
        if Suite::from_byte(suite).is_none() {
            return Err(CapsuleError::Suite { found: suite });
        }
        let key = KeyId::from_bytes(reader.array()?);
        let (key_epoch, fragment_epoch) = (reader.u32()?, reader.u32()?);
        let id = CapsuleId::from_bytes(reader.array()?);
        let w = reader.array()?;
        let (commitment, ciphertext, tag) = (reader.array()?, reader.array()?, reader.array()?);
        reader.finish()?;
        Ok(Self { key, key_epoch, fragment_epoch, id, w: Point::decode(&w)?, commitment, ciphertext, tag })
    }

    /// The 154 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(CAPSULE_BYTES);
        writer.u8(FORMAT).u8(Suite::Ristretto255.byte()).bytes(self.key.as_bytes());
        writer.u32(self.key_epoch).u32(self.fragment_epoch).bytes(self.id.as_bytes());
        writer.bytes(self.w.as_bytes()).bytes(&self.commitment).bytes(&self.ciphertext).bytes(&self.tag);
        writer.finish()
    }

    /// The remote key that evaluates w.
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// The epoch of that key.
    pub const fn key_epoch(&self) -> u32 {
        self.key_epoch
    }

    /// The fragment epoch f whose capsule key opens it.
    pub const fn fragment_epoch(&self) -> u32 {
        self.fragment_epoch
    }

    /// Its id.
    pub const fn id(&self) -> CapsuleId {
        self.id
    }

    /// w = r·G.
    pub const fn w(&self) -> &Point {
        &self.w
    }

    /// Opens it with the context of where the caller looked.
    pub fn open(
        &self,
        context: &CapsuleContext,
        key: &CapsuleKey,
        shared: SharedSecret,
    ) -> Result<Kek, CapsuleError> {
        secret::wiping(|| {
            let shared = shared; // ends here, whatever comes of it
            self.open_with(&context.encode(), key, &shared)
        })
    }

    fn open_with(
        &self,
        context: &[u8],
        key: &CapsuleKey,
        shared: &SharedSecret,
    ) -> Result<Kek, CapsuleError> {
        let derived = derive(key, shared, context);
        if !derived.commits_to(&self.commitment) {
            return Err(CapsuleError::Commitment);
        }
        let decrypt = |out: &mut [u8; KEK_BYTES]| {
            derived.decrypt(context, &self.ciphertext, &self.tag, out).map_err(|_| CapsuleError::Tag)
        };
        Secret::kept_by(decrypt).map(Kek)
    }
}

/// Closes a capsule around `kek` without the remote's help. The randomness is hedged with the fragment.
pub fn encapsulate(
    context: &CapsuleContext,
    remote: &EncapsulationKey,
    keys: &PurposeKeys,
    kek: &Kek,
    rng: &mut dyn CryptoRng,
) -> Result<Capsule, EncapsulateError> {
    if context.fragment_epoch != keys.epoch {
        return Err(EncapsulateError::FragmentEpoch { context: context.fragment_epoch, keys: keys.epoch });
    }
    Ok(secret::wiping(|| encapsulate_hedged(context, remote, keys, kek, rng)))
}

fn encapsulate_hedged(
    context: &CapsuleContext,
    remote: &EncapsulationKey,
    keys: &PurposeKeys,
    kek: &Kek,
    rng: &mut dyn CryptoRng,
) -> Capsule {
    let encoded = context.encode();
    loop {
        let mut random = Zeroizing::new([0; 64]);
        rng.fill_bytes(random.as_mut());
        let hedge = Zeroizing::new(keys.hedge.hedge(&encoded));
        let r = hash_to_scalar(&[label::CAPSULE_RANDOMNESS, random.as_ref(), hedge.as_ref()]);
        if let Some(r) = Scalar::from_element(r) {
            return encapsulate_with(context, remote, &keys.capsule, kek, r);
        }
    }
}

pub(crate) fn encapsulate_with(
    context: &CapsuleContext,
    remote: &EncapsulationKey,
    key: &CapsuleKey,
    kek: &Kek,
    r: Scalar,
) -> Capsule {
    let w = *r.public_key().point();
    let mut element = remote.public.element() * r.element();
    drop(r);
    let shared = SharedSecret::from_element(&element);
    element.zeroize();
    let encoded = context.encode();
    let derived = derive(key, &shared, &encoded);
    let mut ciphertext = [0; KEK_BYTES];
    let tag = derived.encrypt(&encoded, kek.secret().expose(), &mut ciphertext);
    Capsule {
        key: context.key,
        key_epoch: remote.key_epoch,
        fragment_epoch: context.fragment_epoch,
        id: context.capsule,
        w,
        commitment: *derived.commitment(),
        ciphertext,
        tag,
    }
}

fn derive(key: &CapsuleKey, shared: &SharedSecret, context: &[u8]) -> Derived {
    Derived::new(key.secret().expose(), shared.secret().expose(), label::CAPSULE, context)
}
