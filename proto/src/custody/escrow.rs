//! Customer escrow: a remote share k_i sealed to an offline key of the customer (docs/skb1.md section 8).
//!
//! ```text
//! place    = deployment(16) ‖ key_id(16) ‖ key_epoch(4) ‖ share_epoch(4) ‖ node index(2) ‖ y_i(32)
//! envelope = format(1)=1 ‖ place ‖ HPKE(info = label ‖ deployment ‖ key_id, aad = place, enc(k_i))
//! ```
//!
//! Each node seals its share when it makes or changes it; the broker keeps the envelopes. The private half of
//! the escrow key exists only as shares among other custodians than those of the fragment. Whoever has t
//! envelopes and those shares has k and can evaluate without the remotes: *an escrow bypasses revocation, on
//! purpose*.

use curve25519_dalek::scalar::Scalar as CurveScalar;
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::armour::{self, ArmourError, Kind};
use crate::codec::{DecodeError, Reader, Writer};
use crate::fingerprint::Fingerprint;
use crate::group::{PublicKey, SCALAR_BYTES, Scalar};
use crate::hierarchy::Fragment;
use crate::id::{DeploymentId, KeyId};
use crate::label;
use crate::lagrange::lagrange;
use crate::remote_key::RemoteKey;
use crate::secret::{self, Secret};
use crate::share::{SHARE_SET_BYTES_MAX, ShareKind, ShareSetError, ShareSetManifest};
use crate::xwing::{SEALED_OVERHEAD_BYTES, XWING_PUBLIC_BYTES, XWingKeyError, XWingPublicKey, XWingSeed};

const FORMAT: u8 = 1;
const PLACE_BYTES: usize = 16 + 16 + 4 + 4 + 2 + 32;
/// Bytes of an escrow envelope.
pub const ESCROW_ENVELOPE_BYTES: usize = 1 + PLACE_BYTES + SCALAR_BYTES + SEALED_OVERHEAD_BYTES;
/// Longest binary escrow key file in bytes.
pub const ESCROW_KEY_BYTES_MAX: usize = 1 + XWING_PUBLIC_BYTES + 4 + SHARE_SET_BYTES_MAX;

/// Which share of which key an envelope holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EscrowPlace {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The remote key.
    pub key: KeyId,
    /// Its epoch.
    pub key_epoch: u32,
    /// Epoch of the sharing.
    pub share_epoch: u32,
    /// Index of the node, from 1.
    pub node: u16,
    /// y_i = k_i·G, as in the manifest.
    pub public: PublicKey,
}

/// A node's share and what it is a share of, for sealing.
#[derive(Clone, Copy)]
pub struct EscrowedShare<'a> {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The remote key.
    pub key: KeyId,
    /// Its epoch.
    pub key_epoch: u32,
    /// Epoch of the sharing.
    pub share_epoch: u32,
    /// Index of the node, from 1.
    pub node: u16,
    /// k_i.
    pub share: &'a RemoteKey,
}

/// A sealed remote share with its place. Public.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EscrowEnvelope {
    place: EscrowPlace,
    sealed: Vec<u8>,
}

/// Why bytes are no escrow envelope, or why it does not give the share.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum EscrowError {
    /// Not the layout.
    #[error("the escrow envelope is damaged: {0}")]
    Layout(#[from] DecodeError),
    /// Made by a version that does not exist yet.
    #[error("escrow envelope format {found} is not known to this version; only 1 is")]
    Format {
        /// The format number.
        found: u8,
    },
    /// Index zero, or y_i is no public key.
    #[error("the escrow envelope names no valid node key")]
    Place,
    /// Sealed to another escrow key, or damaged.
    #[error(
        "the escrow envelope of node {node} does not open: it was made for another escrow key, or damaged"
    )]
    DoesNotOpen {
        /// Index of the node.
        node: u16,
    },
    /// The node sealed something else than its share.
    #[error(
        "the escrow envelope of node {node} does not hold that node's share; its operator must make it again"
    )]
    WrongShare {
        /// Index of the node.
        node: u16,
    },
}

impl EscrowEnvelope {
    /// Seals a node's share to the escrow key.
    pub fn seal(share: &EscrowedShare<'_>, escrow: &XWingPublicKey, rng: &mut dyn CryptoRng) -> Self {
        let EscrowedShare { deployment, key, key_epoch, share_epoch, node, share } = *share;
        let place =
            EscrowPlace { deployment, key, key_epoch, share_epoch, node, public: *share.public_key() };
        let sealed = escrow.seal(&info(&place), &place.encode(), share.secret().expose(), rng);
        Self { place, sealed }
    }

    /// Which share it holds, as its header says; true once [`EscrowEnvelope::open`] succeeded.
    pub const fn place(&self) -> &EscrowPlace {
        &self.place
    }

    /// The share, checked against y_i.
    pub fn open(&self, seed: &XWingSeed) -> Result<RemoteKey, EscrowError> {
        let node = self.place.node;
        let opened = seed.open::<SCALAR_BYTES>(&info(&self.place), &self.place.encode(), &self.sealed);
        let opened = opened.map_err(|_| EscrowError::DoesNotOpen { node })?;
        let share = RemoteKey::from_secret(opened).map_err(|_| EscrowError::WrongShare { node })?;
        match *share.public_key() == self.place.public {
            true => Ok(share),
            false => Err(EscrowError::WrongShare { node }),
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&[FORMAT], self.place.encode().as_slice(), &self.sealed].concat()
    }

    /// Reads the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, EscrowError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(EscrowError::Format { found: format });
        }
        let place = EscrowPlace::read(&mut reader)?;
        let sealed = reader.take(SCALAR_BYTES + SEALED_OVERHEAD_BYTES)?.to_vec();
        reader.finish()?;
        Ok(Self { place, sealed })
    }
}

impl EscrowPlace {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(PLACE_BYTES);
        writer.bytes(self.deployment.as_bytes()).bytes(self.key.as_bytes());
        writer.u32(self.key_epoch).u32(self.share_epoch).u16(self.node).bytes(self.public.as_bytes());
        writer.finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, EscrowError> {
        let deployment = DeploymentId::from_bytes(reader.array()?);
        let key = KeyId::from_bytes(reader.array()?);
        let (key_epoch, share_epoch, node) = (reader.u32()?, reader.u32()?, reader.u16()?);
        let public = PublicKey::decode(&reader.array()?).map_err(|_| EscrowError::Place)?;
        if node == 0 {
            return Err(EscrowError::Place);
        }
        Ok(Self { deployment, key, key_epoch, share_epoch, node, public })
    }
}

fn info(place: &EscrowPlace) -> Vec<u8> {
    [label::ESCROW_ENVELOPE, place.deployment.as_bytes(), place.key.as_bytes()].concat()
}

/// Shares that do not make the key.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CombineError {
    /// Two shares of one node, or none at all.
    #[error("the shares are not of different nodes")]
    Nodes,
    /// Every share is what its envelope says, yet together they are not the key of the manifest.
    #[error(
        "the escrowed shares do not give the remote key of the manifest; envelopes of another sharing are among them"
    )]
    OtherKey,
}

/// k from the shares of t different nodes, checked against y.
pub fn combine(shares: &[(u16, RemoteKey)], expected: &PublicKey) -> Result<RemoteKey, CombineError> {
    let nodes: Vec<u16> = shares.iter().map(|(node, _)| *node).collect();
    let repeated = nodes.iter().enumerate().any(|(index, node)| nodes[..index].contains(node));
    if nodes.is_empty() || nodes.contains(&0) || repeated {
        return Err(CombineError::Nodes);
    }
    match RemoteKey::from_secret(secret::wiping(|| interpolate(shares, &nodes))) {
        Ok(key) if key.public_key() == expected => Ok(key),
        _ => Err(CombineError::OtherKey),
    }
}

/// The sum of λ_i·k_i.
fn interpolate(shares: &[(u16, RemoteKey)], nodes: &[u16]) -> Secret<SCALAR_BYTES> {
    let mut sum = Zeroizing::new(CurveScalar::ZERO);
    for (node, share) in shares {
        let share = Scalar::from_secret(share.secret()).expect("checked when the key was made");
        let term = Zeroizing::new(lagrange(*node, nodes) * share.element());
        *sum += *term;
    }
    Secret::filled_by(|out| *out = sum.to_bytes())
}

/// The public escrow key and the set of those who hold shares of the private one. Public.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EscrowKey {
    public: XWingPublicKey,
    set: ShareSetManifest,
}

/// Why a file is no escrow key, or shares do not give the private one.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum EscrowKeyError {
    /// Not the text form.
    #[error(transparent)]
    Text(#[from] ArmourError),
    /// Not the layout.
    #[error("the escrow key file is damaged: {0}")]
    Layout(#[from] DecodeError),
    /// Made by a version that does not exist yet.
    #[error("escrow key file format {found} is not known to this version; only 1 is")]
    Format {
        /// The format number.
        found: u8,
    },
    /// The key inside is none.
    #[error(transparent)]
    Key(#[from] XWingKeyError),
    /// The set inside is not valid.
    #[error(transparent)]
    Set(#[from] ShareSetError),
    /// The set inside is that of a fragment.
    #[error("the share set in the escrow key file is not that of an escrow key")]
    Kind,
    /// The shares gave another key.
    #[error(
        "the shares do not give the private half of this escrow key; the escrow key file belongs to another set"
    )]
    OtherKey,
}

impl EscrowKey {
    /// Puts the public key and its holders together.
    pub fn new(public: XWingPublicKey, set: ShareSetManifest) -> Result<Self, EscrowKeyError> {
        match set.kind() {
            ShareKind::Escrow => Ok(Self { public, set }),
            ShareKind::Fragment => Err(EscrowKeyError::Kind),
        }
    }

    /// What nodes seal to.
    pub const fn public(&self) -> &XWingPublicKey {
        &self.public
    }

    /// Who holds shares of the private half.
    pub const fn set(&self) -> &ShareSetManifest {
        &self.set
    }

    /// What to compare when the key is given to a broker or a service.
    pub fn fingerprint(&self) -> Fingerprint {
        self.public.fingerprint()
    }

    /// The private half from what a [`crate::share::Ceremony`] over [`EscrowKey::set`] gave.
    pub fn private(&self, recombined: &Fragment) -> Result<XWingSeed, EscrowKeyError> {
        let secret = recombined.secret();
        let seed = XWingSeed::from_secret(Secret::filled_by(|out| *out = *secret.expose()));
        if seed.public_key() == self.public { Ok(seed) } else { Err(EscrowKeyError::OtherKey) }
    }

    /// Its binary form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(2048);
        writer.u8(FORMAT).bytes(self.public.as_bytes()).lp32(&self.set.encode());
        writer.finish()
    }

    /// Reads the binary form.
    pub fn decode(bytes: &[u8]) -> Result<Self, EscrowKeyError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(EscrowKeyError::Format { found: format });
        }
        let public = XWingPublicKey::from_bytes(reader.take(XWING_PUBLIC_BYTES)?)?;
        let set = ShareSetManifest::decode(reader.lp32(SHARE_SET_BYTES_MAX)?)?;
        reader.finish()?;
        Self::new(public, set)
    }

    /// Its text form, for a file or a mail.
    pub fn to_text(&self) -> String {
        armour::encode(Kind::EscrowKey, &self.encode())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, EscrowKeyError> {
        Self::decode(&armour::decode(Kind::EscrowKey, text)?)
    }
}
