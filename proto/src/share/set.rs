//! The share-set manifest: what is publicly known about a set of shares (docs/skb1.md section 7.3).
//!
//! ```text
//! format(1)=1 ‖ deployment(16) ‖ set_id(8) ‖ frag_epoch(4) ‖ t(1) ‖ n(1) ‖ created_ms(8) ‖ nonce(32)
//! ‖ n × { x(1) ‖ LP(name) ‖ LP(hpke_pub) ‖ LP(sign_pub) ‖ digest(32) } ‖ chk(16) ‖ seq(8) ‖ prev_hash(32)
//! ```
//!
//! With it each share is checked on arrival, so a wrong one is found together with its holder, and the
//! recombined fragment is checked before anything is derived from it. It holds no secret: a digest of 256
//! uniform bits hides them. A custodian has both public keys (1216 and 32 bytes) or none (both fields empty):
//! the envelope of a custodian with keys is sealed to them, one without is handed the share as text. Format 2
//! is the same layout for shares of an escrow key (section 8). Signatures stand beside the manifest, see
//! `signed.rs`.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::bytes::Share;
use super::error::ShareError;
use super::kind::{SetId, ShareKind};
use super::shamir::{Point, Threshold, ThresholdError};
use crate::codec::{DecodeError, Reader, Writer};
use crate::custodian::{CUSTODIAN_NAME_BYTES_MAX, CustodianKeys, is_custodian_name};
use crate::hierarchy::{CheckKey, Fragment};
use crate::id::DeploymentId;
use crate::label;
use crate::primitives;
use crate::secret::wiping;
use crate::signing::SigningPublicKey;
use crate::xwing::{XWING_PUBLIC_BYTES, XWingPublicKey};

/// Longest encoded manifest in bytes.
pub const SHARE_SET_BYTES_MAX: usize =
    126 + 16 * (1 + 2 + CUSTODIAN_NAME_BYTES_MAX + 2 + XWING_PUBLIC_BYTES + 2 + 32 + 32);

const DIGEST_BYTES: usize = 32;
const CHECK_BYTES: usize = 16;

/// The holder of one share. All public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custodian {
    /// Number of the share, from 1.
    pub x: u8,
    /// Name, unique in the set.
    pub name: String,
    /// Public keys for envelopes (7.4) and transcripts (7.6). Without them the share was handed over as text.
    pub keys: Option<CustodianKeys>,
    /// Digest of the share.
    pub digest: [u8; DIGEST_BYTES],
}

/// The manifest. Consistent by construction: its id fits its content, names are unique, numbers are 1..=n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareSetManifest {
    pub(super) kind: ShareKind,
    pub(super) deployment: DeploymentId,
    pub(super) set_id: SetId,
    pub(super) frag_epoch: u32,
    pub(super) threshold: Threshold,
    pub(super) created_ms: u64,
    pub(super) nonce: [u8; 32],
    pub(super) custodians: Vec<Custodian>,
    pub(super) chk: [u8; CHECK_BYTES],
    pub(super) seq: u64,
    pub(super) prev_hash: [u8; 32],
}

/// Why bytes or values are no share-set manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareSetError {
    /// Not the layout.
    #[error("the share-set manifest is damaged: {0}")]
    Layout(#[from] DecodeError),
    /// Made by a version that does not exist yet.
    #[error("share-set manifest format {found} is not known to this version; only 1 and 2 are")]
    Format {
        /// The format number.
        found: u8,
    },
    /// t and n are no threshold.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// Custodians are not numbered 1, 2, … n.
    #[error("custodian {expected} of the share-set manifest has number {found}")]
    Order {
        /// Number that should stand here.
        expected: u8,
        /// Number that does.
        found: u8,
    },
    /// A name that nobody could read or tell from another.
    #[error(
        "the name of custodian {x} is empty, too long, not printable or given twice; names have 1 to 64 characters"
    )]
    Name {
        /// Number of the custodian.
        x: u8,
    },
    /// As many names as shares are needed.
    #[error("{found} custodian names for {total} shares")]
    Names {
        /// Names given.
        found: usize,
        /// Shares of the set.
        total: u8,
    },
    /// A public key that is none, one of two keys, or the keys of another custodian.
    #[error("the public keys of custodian {x} are not valid, not complete or those of another custodian")]
    Key {
        /// Number of the custodian.
        x: u8,
    },
    /// A first manifest with a predecessor, or a later one without.
    #[error("the share-set manifest has sequence number {seq}, which does not fit its predecessor hash")]
    Chain {
        /// Its sequence number.
        seq: u64,
    },
    /// The id is not the hash of the content.
    #[error("the share-set manifest was changed: its id does not fit its content")]
    Id,
    /// The dealt shares did not give the fragment back.
    #[error(
        "the drill failed: shares that were just made do not give the fragment back; do not use this set"
    )]
    Drill,
}

impl ShareSetManifest {
    /// What is shared.
    #[must_use]
    pub const fn kind(&self) -> ShareKind {
        self.kind
    }

    /// The deployment whose fragment is shared. For an escrow key, which may serve several, a random id.
    #[must_use]
    pub const fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// Names the set.
    #[must_use]
    pub const fn set_id(&self) -> SetId {
        self.set_id
    }

    /// Fragment epoch when the set was made.
    #[must_use]
    pub const fn frag_epoch(&self) -> u32 {
        self.frag_epoch
    }

    /// Shares that are needed, t.
    #[must_use]
    pub const fn threshold(&self) -> u8 {
        self.threshold.needed()
    }

    /// t of n.
    #[must_use]
    pub const fn sharing(&self) -> Threshold {
        self.threshold
    }

    /// When the set was made, milliseconds since the Unix epoch.
    #[must_use]
    pub const fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// Holders in the order of their numbers, 1..=n.
    #[must_use]
    pub fn custodians(&self) -> &[Custodian] {
        &self.custodians
    }

    /// The holder of share `x`.
    #[must_use]
    pub fn custodian(&self, x: u8) -> Option<&Custodian> {
        self.custodians.iter().find(|custodian| custodian.x == x)
    }

    /// Place in the chain of manifests of this deployment, from 1.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// SHA-256 of the encoded manifest: `prev_hash` of the next one.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.encode()).into()
    }

    /// What the broker and each custodian sign.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        [label::SHARE_SET, &self.hash()].concat()
    }

    /// Its wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.write(&self.set_id, &self.chk, true)
    }

    /// Reads the wire form and checks that everything fits together.
    pub fn decode(bytes: &[u8]) -> Result<Self, ShareSetError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        let kind = ShareKind::from_byte(format).ok_or(ShareSetError::Format { found: format })?;
        let deployment = DeploymentId::from_bytes(reader.array()?);
        let set_id = SetId::from_bytes(reader.array()?);
        let frag_epoch = reader.u32()?;
        let threshold = Threshold::new(reader.u8()?, reader.u8()?)?;
        let created_ms = reader.u64()?;
        let nonce = reader.array()?;
        let custodians =
            (0..threshold.total()).map(|_| read_custodian(&mut reader)).collect::<Result<_, _>>()?;
        let chk = reader.array()?;
        let (seq, prev_hash) = (reader.u64()?, reader.array()?);
        reader.finish()?;
        let manifest = Self {
            kind,
            deployment,
            set_id,
            frag_epoch,
            threshold,
            created_ms,
            nonce,
            custodians,
            chk,
            seq,
            prev_hash,
        };
        manifest.check_consistent()?;
        Ok(manifest)
    }

    fn check_consistent(&self) -> Result<(), ShareSetError> {
        check_names(self.threshold, self.custodians.iter().map(|custodian| custodian.name.as_str()))?;
        for (expected, custodian) in (1..).zip(&self.custodians) {
            if custodian.x != expected {
                return Err(ShareSetError::Order { expected, found: custodian.x });
            }
        }
        check_keys(&self.custodians)?;
        if self.seq == 0 || (self.seq == 1) != (self.prev_hash == [0; 32]) {
            return Err(ShareSetError::Chain { seq: self.seq });
        }
        if self.set_id != self.computed_id() {
            return Err(ShareSetError::Id);
        }
        Ok(())
    }

    /// SHA-256(manifest with set_id, chk and digests zeroed)[0..8].
    pub(super) fn computed_id(&self) -> SetId {
        let blank = self.write(&SetId::from_bytes([0; 8]), &[0; CHECK_BYTES], false);
        let hash: [u8; 32] = Sha256::digest(blank).into();
        let [a, b, c, d, e, f, g, h, ..] = hash;
        SetId::from_bytes([a, b, c, d, e, f, g, h])
    }

    fn write(&self, set_id: &SetId, chk: &[u8; CHECK_BYTES], with_digests: bool) -> Vec<u8> {
        let mut writer = Writer::with_capacity(512);
        writer
            .u8(self.kind.byte())
            .bytes(self.deployment.as_bytes())
            .bytes(set_id.as_bytes())
            .u32(self.frag_epoch);
        writer.u8(self.threshold.needed()).u8(self.threshold.total()).u64(self.created_ms).bytes(&self.nonce);
        for custodian in &self.custodians {
            writer.u8(custodian.x).lp(custodian.name.as_bytes());
            let keys = custodian.keys.as_ref();
            writer.lp(keys.map_or(&[], |keys| keys.sealing.as_bytes().as_slice()));
            writer.lp(keys.map_or(&[], |keys| keys.signing.as_bytes().as_slice()));
            writer.bytes(if with_digests { &custodian.digest } else { &[0; DIGEST_BYTES] });
        }
        writer.bytes(chk).u64(self.seq).bytes(&self.prev_hash);
        writer.finish()
    }

    /// Whether `point` is what custodian `x` was dealt.
    pub(super) fn digest_fits(&self, x: u8, point: &Point) -> bool {
        let dealt = Point { x, y: crate::secret::Secret::filled_by(|y| *y = *point.y.expose()) };
        let digest = share_digest(&self.nonce, &self.set_id, &dealt);
        self.custodian(x).is_some_and(|custodian| custodian.digest.ct_eq(&digest).into())
    }

    /// Checks that `share` is what its holder was dealt, and gives the holder; otherwise the best name for
    /// the one whose share is wrong.
    pub fn check_share(&self, share: &Share) -> Result<&Custodian, ShareError> {
        if share.kind() != self.kind {
            return Err(ShareError::Kind { found: share.kind(), expected: self.kind });
        }
        let claimed = self.custodian(share.x());
        let right = self.digest_fits(share.x(), share.point());
        let same_set = share.set_id() == self.set_id;
        if let (Some(custodian), true, true) = (claimed, right, same_set)
            && share.threshold() == self.threshold
        {
            return Ok(custodian);
        }
        // A share whose secret part is somebody's, under a changed set or number, is a damaged share of that
        // holder.
        let dealt = self.custodians.iter().find(|custodian| self.digest_fits(custodian.x, share.point()));
        if let Some(dealt) = dealt {
            return Err(ShareError::WrongOrTampered { holder: dealt.name.clone(), x: dealt.x });
        }
        if !same_set {
            return Err(ShareError::Foreign { found: share.set_id(), expected: self.set_id });
        }
        Err(match claimed {
            Some(custodian) => ShareError::WrongOrTampered { holder: custodian.name.clone(), x: custodian.x },
            None => ShareError::NoSuchHolder { x: share.x(), total: self.threshold.total() },
        })
    }

    /// Whether `fragment` is the one that was shared.
    #[must_use]
    pub fn is_fragment(&self, fragment: &Fragment) -> bool {
        let key = fragment.root(&self.deployment).check();
        check_value(&key, &self.set_id).ct_eq(&self.chk).into()
    }
}

fn read_custodian(reader: &mut Reader<'_>) -> Result<Custodian, ShareSetError> {
    let x = reader.u8()?;
    let name = core::str::from_utf8(reader.lp(CUSTODIAN_NAME_BYTES_MAX)?);
    let name = name.map_err(|_| ShareSetError::Name { x })?.to_owned();
    let keys = read_keys(x, reader.lp(XWING_PUBLIC_BYTES)?, reader.lp(32)?)?;
    Ok(Custodian { x, name, keys, digest: reader.array()? })
}

/// Both keys or none.
fn read_keys(x: u8, sealing: &[u8], signing: &[u8]) -> Result<Option<CustodianKeys>, ShareSetError> {
    let wrong = ShareSetError::Key { x };
    if sealing.is_empty() && signing.is_empty() {
        return Ok(None);
    }
    let sealing = XWingPublicKey::from_bytes(sealing).map_err(|_| wrong)?;
    let signing: &[u8; 32] = signing.try_into().map_err(|_| wrong)?;
    let signing = SigningPublicKey::from_bytes(signing).map_err(|_| wrong)?;
    Ok(Some(CustodianKeys { sealing, signing }))
}

/// Nobody holds two shares: t keys must be t people.
pub(super) fn check_keys(custodians: &[Custodian]) -> Result<(), ShareSetError> {
    let shares_a_key = |one: &CustodianKeys, other: &CustodianKeys| {
        one.sealing == other.sealing || one.signing == other.signing
    };
    for (index, custodian) in custodians.iter().enumerate() {
        let Some(keys) = &custodian.keys else { continue };
        let mut earlier = custodians.iter().take(index).filter_map(|other| other.keys.as_ref());
        if earlier.any(|other| shares_a_key(keys, other)) {
            return Err(ShareSetError::Key { x: custodian.x });
        }
    }
    Ok(())
}

/// Checks that there are as many names as shares, each different and printable.
pub(super) fn check_names<'a>(
    threshold: Threshold,
    names: impl ExactSizeIterator<Item = &'a str> + Clone,
) -> Result<(), ShareSetError> {
    if names.len() != usize::from(threshold.total()) {
        return Err(ShareSetError::Names { found: names.len(), total: threshold.total() });
    }
    for (x, name) in (1..).zip(names.clone()) {
        let repeated = names.clone().take(usize::from(x - 1_u8)).any(|earlier| earlier == name);
        if !is_custodian_name(name) || repeated {
            return Err(ShareSetError::Name { x });
        }
    }
    Ok(())
}

/// `SHA-256("SKB1/share-digest" ‖ nonce ‖ set_id ‖ x ‖ y)`.
pub(super) fn share_digest(nonce: &[u8; 32], set_id: &SetId, point: &Point) -> [u8; DIGEST_BYTES] {
    wiping(|| digest_inner(nonce, set_id, point))
}

fn digest_inner(nonce: &[u8; 32], set_id: &SetId, point: &Point) -> [u8; DIGEST_BYTES] {
    let mut hash = Sha256::new();
    hash.update(label::SHARE_DIGEST);
    hash.update(nonce);
    hash.update(set_id.as_bytes());
    hash.update([point.x]);
    hash.update(point.y.expose());
    hash.finalize().into()
}

/// `HMAC-SHA-512(K_check[0], set_id)[0..16]`.
pub(super) fn check_value(key: &CheckKey, set_id: &SetId) -> [u8; CHECK_BYTES] {
    wiping(|| {
        let tag = primitives::hmac(key.secret().expose(), &[set_id.as_bytes()]);
        let mut value = [0; CHECK_BYTES];
        value.copy_from_slice(&tag[..CHECK_BYTES]);
        value
    })
}
