//! The transcript of a ceremony: what happened, in an order that cannot be changed afterwards (docs/skb1.md
//! section 7.6).
//!
//! ```text
//! T_0 = SHA-256(label ‖ type(1) ‖ deployment(16) ‖ nonce(32)) ;  T_i = SHA-256(T_{i-1} ‖ LP(event_i))
//! event      = kind(1) ‖ at_ms(8) ‖ x(1) ‖ LP(name) ‖ digest(32)
//! transcript = format(1)=1 ‖ type(1) ‖ deployment(16) ‖ nonce(32) ‖ count(2) ‖ count × LP(event)
//!              ‖ count(1) × { LP(name) ‖ signature(64) } ‖ broker key(32) ‖ broker signature(64)
//! ```
//!
//! Everybody signs the same final hash, so all signed the same history. Events hold names, times and digests,
//! never shares. No optional fields: the broker's key and signature are zero until the broker has signed.

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::submission::CEREMONY_NONCE_BYTES;
use crate::armour::{self, ArmourError, Kind};
use crate::codec::{DecodeError, Reader, Writer, lp_len};
pub use crate::custodian::Standing;
use crate::custodian::{CUSTODIAN_NAME_BYTES_MAX, is_custodian_name};
use crate::id::DeploymentId;
use crate::label;
use crate::signing::{SIGNATURE_BYTES, SigningPublicKey, SigningSeed};

/// Most events of a transcript. A ceremony with 16 old and 16 new custodians needs fewer than a hundred.
pub const EVENTS_MAX: usize = 512;
/// Most people who sign: the old set and the new one.
pub const SIGNERS_MAX: usize = 32;

const FORMAT: u8 = 1;
const EVENT_BYTES_MAX: usize = 1 + 8 + 1 + 2 + CUSTODIAN_NAME_BYTES_MAX + 32;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $number,)*
        }

        impl $name {
            /// The one with this number.
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its number.
            pub const fn byte(self) -> u8 {
                self as u8
            }

            /// How people and programs name it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The one with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

numbered! {
    /// What a ceremony is for.
    CeremonyType {
        /// First share set of a deployment.
        Init = 1, "init";
        /// Recombine and open.
        Unseal = 2, "unseal";
        /// Same fragment, new share set.
        Reshare = 3, "reshare";
        /// Same shares, next fragment epoch.
        Epoch = 4, "epoch";
        /// New fragment, new share set.
        Rekey = 5, "rekey";
        /// Prove that shares recombine; nothing changes.
        Drill = 6, "drill";
        /// Open the escrow key.
        Escrow = 7, "escrow";
        /// A new root token; shares and keys stay.
        Root = 8, "root";
    }
}

numbered! {
    /// What happened.
    EventKind {
        /// The ceremony began. Digest: SHA-256 of the ceremony key.
        Opened = 1, "opened";
        /// A share was given. Digest: that of the share in its manifest.
        Given = 2, "given";
        /// A share was refused; x and name as far as known, digest zero.
        Refused = 3, "refused";
        /// The new set was made. Digest: hash of its manifest.
        SetMade = 4, "set made";
        /// A new share was sealed. Digest: SHA-256 of the envelope.
        Dealt = 5, "dealt";
        /// A new share was handed over as text on explicit request. Digest: that of the share in its
        /// manifest.
        Printed = 6, "printed";
        /// A new custodian proved that the share opens. Digest: that of the share in its manifest.
        Proven = 7, "proven";
        /// The change was committed. Digest: hash of the manifest in force from now on.
        Committed = 8, "committed";
        /// The shares recombined and nothing was to change. Digest: hash of the manifest in force.
        Passed = 9, "passed";
        /// The ceremony was given up or ran out of time. Digest zero.
        Cancelled = 10, "cancelled";
        /// A custodian asked for a root token. Digest: SHA-256 of the signed request.
        Requested = 11, "requested";
        /// The root token was made. Digest: SHA-256 of its accessor.
        Issued = 12, "root token issued";
    }
}

impl CeremonyType {
    /// T_0.
    #[must_use]
    pub fn first_hash(self, deployment: &DeploymentId, nonce: &[u8; CEREMONY_NONCE_BYTES]) -> [u8; 32] {
        let hash = Sha256::new_with_prefix(label::CEREMONY).chain_update([self.byte()]);
        hash.chain_update(deployment.as_bytes()).chain_update(nonce).finalize().into()
    }
}

/// One thing that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When, milliseconds since the Unix epoch by the broker's clock.
    pub at_ms: u64,
    /// Number of the share it is about; 0 for none.
    pub x: u8,
    /// Name of the custodian it is about; empty for none.
    pub name: String,
    /// What it is about; the kind says which digest.
    pub digest: [u8; 32],
}

impl Event {
    /// Something that concerns the whole ceremony.
    pub const fn of_ceremony(kind: EventKind, at_ms: u64, digest: [u8; 32]) -> Self {
        Self { kind, at_ms, x: 0, name: String::new(), digest }
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(EVENT_BYTES_MAX);
        writer.u8(self.kind.byte()).u64(self.at_ms).u8(self.x).lp(self.name.as_bytes()).bytes(&self.digest);
        writer.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, TranscriptError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let kind = EventKind::from_byte(kind).ok_or(TranscriptError::Event { found: kind })?;
        let (at_ms, x) = (reader.u64()?, reader.u8()?);
        let name = read_name(&mut reader)?;
        let digest = reader.array()?;
        reader.finish()?;
        Ok(Self { kind, at_ms, x, name, digest })
    }
}

fn read_name(reader: &mut Reader<'_>) -> Result<String, TranscriptError> {
    let name =
        core::str::from_utf8(reader.lp(CUSTODIAN_NAME_BYTES_MAX)?).map_err(|_| TranscriptError::Name)?;
    if name.is_empty() || is_custodian_name(name) { Ok(name.to_owned()) } else { Err(TranscriptError::Name) }
}

/// A participant's signature under the final hash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TranscriptSignature {
    /// Who.
    pub name: String,
    /// Ed25519 over label ‖ final hash.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// The transcript, growing while the ceremony runs and signed after it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transcript {
    ceremony: CeremonyType,
    deployment: DeploymentId,
    nonce: [u8; CEREMONY_NONCE_BYTES],
    events: Vec<Event>,
    hash: [u8; 32],
    signatures: Vec<TranscriptSignature>,
    broker: Option<(SigningPublicKey, [u8; SIGNATURE_BYTES])>,
}

/// Why bytes are no transcript, or an event or signature is not taken.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TranscriptError {
    /// Not the text form.
    #[error(transparent)]
    Text(#[from] ArmourError),
    /// Not the layout.
    #[error("the transcript is damaged: {0}")]
    Layout(#[from] DecodeError),
    /// Made by a version that does not exist yet.
    #[error("transcript format {found} is not known to this version; only 1 is")]
    Format {
        /// The format number.
        found: u8,
    },
    /// A ceremony that does not exist.
    #[error("ceremony type {found} is not known to this version")]
    Type {
        /// The number.
        found: u8,
    },
    /// An event that does not exist.
    #[error("event kind {found} is not known to this version")]
    Event {
        /// The number.
        found: u8,
    },
    /// A name that is no custodian's.
    #[error("a name in the transcript is not printable")]
    Name,
    /// More events than a ceremony has.
    #[error("the transcript is full: {EVENTS_MAX} events; cancel the ceremony and begin a new one")]
    Full,
    /// The broker's key is none.
    #[error("the broker's key in the transcript is not valid")]
    Key,
    /// An event after the first signature would make it worthless.
    #[error("the transcript is closed: it was signed already")]
    Signed,
    /// Two signatures of one name, or too many.
    #[error("the transcript has two signatures of one person, or more than {SIGNERS_MAX}")]
    Signers,
}

/// What a transcript's signatures show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TranscriptReport {
    /// The final hash that everybody should have signed.
    pub hash: [u8; 32],
    /// The broker.
    pub broker: Standing,
    /// Those who gave or proved a share, in the order in which they first did.
    pub participants: Vec<(String, Standing)>,
}

impl TranscriptReport {
    /// Whether the broker and everybody who has a key signed this history.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let fine = |standing: &Standing| matches!(standing, Standing::Signed | Standing::NoKey);
        self.broker == Standing::Signed && self.participants.iter().all(|(_, standing)| fine(standing))
    }

    /// Whether any signature is there that does not verify.
    #[must_use]
    pub fn is_contradicted(&self) -> bool {
        let wrong = |standing: Standing| standing == Standing::Wrong;
        wrong(self.broker) || self.participants.iter().any(|(_, standing)| wrong(*standing))
    }
}

impl Transcript {
    /// Begins with T_0.
    #[must_use]
    pub fn begin(
        ceremony: CeremonyType,
        deployment: DeploymentId,
        nonce: [u8; CEREMONY_NONCE_BYTES],
    ) -> Self {
        let hash = ceremony.first_hash(&deployment, &nonce);
        Self { ceremony, deployment, nonce, events: Vec::new(), hash, signatures: Vec::new(), broker: None }
    }

    /// Begins with a nonce of its own.
    #[must_use]
    pub fn begin_fresh(ceremony: CeremonyType, deployment: DeploymentId, rng: &mut dyn CryptoRng) -> Self {
        let mut nonce = [0; CEREMONY_NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        Self::begin(ceremony, deployment, nonce)
    }

    /// What the ceremony is for.
    #[must_use]
    pub const fn ceremony(&self) -> CeremonyType {
        self.ceremony
    }

    /// The deployment it took place in.
    #[must_use]
    pub const fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// The ceremony's nonce.
    #[must_use]
    pub const fn nonce(&self) -> &[u8; CEREMONY_NONCE_BYTES] {
        &self.nonce
    }

    /// What happened, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// T_i of the last event: the final hash once the ceremony is over.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Adds what happened.
    pub fn record(&mut self, event: Event) -> Result<(), TranscriptError> {
        if self.broker.is_some() || !self.signatures.is_empty() {
            return Err(TranscriptError::Signed);
        }
        if self.events.len() >= EVENTS_MAX {
            return Err(TranscriptError::Full);
        }
        let encoded = event.encode();
        let hash = Sha256::new_with_prefix(self.hash).chain_update(lp_len(&encoded)).chain_update(&encoded);
        self.hash = hash.finalize().into();
        self.events.push(event);
        Ok(())
    }

    /// What a participant signs.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        [label::TRANSCRIPT, &self.hash].concat()
    }

    /// The broker's signature. Nothing can be recorded afterwards.
    pub fn sign_as_broker(&mut self, seed: &SigningSeed) {
        self.broker = Some((seed.public_key(), seed.sign(&self.signed_bytes())));
    }

    /// Adds the signature of `name`. One that does not verify under `key` is refused.
    pub fn add_signature(
        &mut self,
        name: &str,
        key: &SigningPublicKey,
        signature: [u8; SIGNATURE_BYTES],
    ) -> Result<(), TranscriptError> {
        if !key.verifies(&self.signed_bytes(), &signature) {
            return Err(TranscriptError::Key);
        }
        self.signatures.retain(|earlier| earlier.name != name);
        if self.signatures.len() >= SIGNERS_MAX {
            return Err(TranscriptError::Signers);
        }
        self.signatures.push(TranscriptSignature { name: name.to_owned(), signature });
        Ok(())
    }

    /// The signatures of participants so far.
    #[must_use]
    pub fn signatures(&self) -> &[TranscriptSignature] {
        &self.signatures
    }

    /// Names of those who gave or proved a share, each once.
    #[must_use]
    pub fn participants(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for event in &self.events {
            let took_part = matches!(event.kind, EventKind::Given | EventKind::Proven);
            if took_part && !names.contains(&event.name.as_str()) {
                names.push(event.name.as_str());
            }
        }
        names
    }

    /// Checks every signature. `key_of` gives a participant's key from the share sets of the ceremony;
    /// `broker` is the key that the reader trusts, not the one in the transcript.
    #[must_use]
    pub fn verify(
        &self,
        broker: &SigningPublicKey,
        key_of: impl Fn(&str) -> Option<SigningPublicKey>,
    ) -> TranscriptReport {
        let message = self.signed_bytes();
        let standing = |name: &str| {
            let signature = self.signatures.iter().find(|signature| signature.name == name);
            match (key_of(name), signature) {
                (None, _) => Standing::NoKey,
                (Some(_), None) => Standing::Missing,
                (Some(key), Some(found)) if key.verifies(&message, &found.signature) => Standing::Signed,
                (Some(_), Some(_)) => Standing::Wrong,
            }
        };
        let broker = match &self.broker {
            None => Standing::Missing,
            Some((key, signature)) if key == broker && key.verifies(&message, signature) => Standing::Signed,
            Some(_) => Standing::Wrong,
        };
        let participants = self.participants().into_iter();
        let participants = participants.map(|name| (name.to_owned(), standing(name))).collect();
        TranscriptReport { hash: self.hash, broker, participants }
    }

    /// Its binary form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(4096);
        writer.u8(FORMAT).u8(self.ceremony.byte()).bytes(self.deployment.as_bytes()).bytes(&self.nonce);
        writer.u16(u16::try_from(self.events.len()).expect("events are bounded"));
        for event in &self.events {
            writer.lp(&event.encode());
        }
        writer.u8(u8::try_from(self.signatures.len()).expect("signers are bounded"));
        for TranscriptSignature { name, signature } in &self.signatures {
            writer.lp(name.as_bytes()).bytes(signature);
        }
        match &self.broker {
            Some((key, signature)) => writer.bytes(key.as_bytes()).bytes(signature),
            None => writer.bytes(&[0; 32]).bytes(&[0; SIGNATURE_BYTES]),
        };
        writer.finish()
    }

    /// Reads the binary form and recomputes the hashes. Signatures are for [`Transcript::verify`].
    pub fn decode(bytes: &[u8]) -> Result<Self, TranscriptError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(TranscriptError::Format { found: format });
        }
        let ceremony = reader.u8()?;
        let ceremony = CeremonyType::from_byte(ceremony).ok_or(TranscriptError::Type { found: ceremony })?;
        let deployment = DeploymentId::from_bytes(reader.array()?);
        let mut transcript = Self::begin(ceremony, deployment, reader.array()?);
        for _ in 0..reader.u16()? {
            transcript.record(Event::decode(reader.lp(EVENT_BYTES_MAX)?)?)?;
        }
        transcript.signatures = read_signatures(&mut reader)?;
        transcript.broker = read_broker(&mut reader)?;
        reader.finish()?;
        Ok(transcript)
    }

    /// Its text form, for a file.
    #[must_use]
    pub fn to_text(&self) -> String {
        armour::encode(Kind::Transcript, &self.encode())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, TranscriptError> {
        Self::decode(&armour::decode(Kind::Transcript, text)?)
    }
}

fn read_signatures(reader: &mut Reader<'_>) -> Result<Vec<TranscriptSignature>, TranscriptError> {
    let count = usize::from(reader.u8()?);
    if count > SIGNERS_MAX {
        return Err(TranscriptError::Signers);
    }
    let mut signatures: Vec<TranscriptSignature> = Vec::with_capacity(count);
    for _ in 0..count {
        let name = read_name(reader)?;
        if signatures.iter().any(|earlier| earlier.name == name) {
            return Err(TranscriptError::Signers);
        }
        signatures.push(TranscriptSignature { name, signature: reader.array()? });
    }
    Ok(signatures)
}

fn read_broker(
    reader: &mut Reader<'_>,
) -> Result<Option<(SigningPublicKey, [u8; SIGNATURE_BYTES])>, TranscriptError> {
    let (key, signature) = (reader.array::<32>()?, reader.array::<SIGNATURE_BYTES>()?);
    if key == [0; 32] && signature == [0; SIGNATURE_BYTES] {
        return Ok(None);
    }
    let key = SigningPublicKey::from_bytes(&key).map_err(|_| TranscriptError::Key)?;
    Ok(Some((key, signature)))
}
