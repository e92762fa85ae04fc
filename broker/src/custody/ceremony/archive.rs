//! What is kept of a ceremony that is over: its transcript, the sets, the new shares in their envelopes, and
//! who signed.
//!
//! All of it is public or sealed to somebody; it lies in an encrypted row like everything else because names
//! stand in it. The last ceremony is shown to its participants for a day, so that they can sign; all are
//! listed for auditors.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use symbolon_core::clock::Now;
use symbolon_proto::custody::transcript::{EventKind, Standing, Transcript, TranscriptReport};
use symbolon_proto::custody::{CustodianKeys, RootAsk, RootRequest, ShareEnvelope, SignedRootRequest};
use symbolon_proto::id::TenantId;
use symbolon_proto::log::VerifierKey;
use symbolon_proto::share::{Custodian, ShareSetManifest, SignedShareSet};
use symbolon_proto::signing::{SIGNATURE_BYTES, SigningPublicKey};

use super::{CeremonyRefusal, Notice, Proof, RootWish, Stage};
use crate::custody::ceremony::CEREMONIES;
use crate::error::OpError;
use crate::rows::{COUNTERS, NO_SCOPE, Place, Rows};
use crate::store::{Expect, Write};

/// The last ceremony awaits signatures for this long.
const SIGNING_MS_MAX: u64 = 24 * 60 * 60 * 1000;

const LAST: Place<'static> =
    Place { tenant: TenantId::SYSTEM, table: COUNTERS, scope: NO_SCOPE, group: "", name: "last ceremony" };

const FORMAT: u8 = 1;

/// Which ceremony was the last. Wire type.
#[derive(Serialize, Deserialize)]
struct Last {
    nonce: String,
}

/// A ceremony that is over. Wire type, format 1; binary values in base64.
#[derive(Clone, Serialize, Deserialize)]
pub struct Archived {
    format: u8,
    ended_ms: u64,
    transcript: String,
    /// The set whose shares were given; none at `init`.
    given: Option<String>,
    /// The set that was made, with its signatures.
    made: Option<String>,
    envelopes: BTreeMap<u8, String>,
    /// The signed request for a root token, if it was for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<String>,
}

/// The same, decoded.
pub struct Record {
    kept: Archived,
    transcript: Transcript,
    given: Option<ShareSetManifest>,
    made: Option<SignedShareSet>,
}

/// What a participant hands in.
pub struct Signature<'a> {
    /// The name in the share set.
    pub name: &'a str,
    /// Under the transcript.
    pub transcript: [u8; SIGNATURE_BYTES],
    /// Under the new share set, by its members.
    pub manifest: Option<[u8; SIGNATURE_BYTES]>,
}

fn place(nonce: &str) -> Place<'_> {
    Place { table: CEREMONIES, name: nonce, ..LAST }
}

/// What stands for an envelope in the transcript.
#[must_use]
pub fn digest_of(envelope: &ShareEnvelope) -> [u8; 32] {
    Sha256::digest(envelope.as_bytes()).into()
}

impl Archived {
    /// Of a ceremony whose transcript the broker has signed.
    #[must_use]
    pub fn new(
        transcript: &Transcript,
        given: Option<&ShareSetManifest>,
        made: Option<&SignedShareSet>,
        envelopes: &[ShareEnvelope],
        now: Now,
    ) -> Self {
        let numbered = (1..).zip(envelopes);
        Self {
            format: FORMAT,
            ended_ms: now.unix_ms,
            transcript: BASE64.encode(&transcript.encode()),
            given: given.map(|set| BASE64.encode(&set.encode())),
            made: made.map(|set| BASE64.encode(&set.encode())),
            envelopes: numbered.map(|(x, envelope)| (x, BASE64.encode(envelope.as_bytes()))).collect(),
            asked: None,
        }
    }

    /// The same with the request that it answers: an auditor sees the custodian's own signature.
    #[must_use]
    pub fn asked_for(self, request: &SignedRootRequest) -> Self {
        Self { asked: Some(BASE64.encode(&request.encode())), ..self }
    }

    /// The changes that keep it, as the last one.
    pub fn rows(&self, rows: &Rows) -> Result<Vec<Write>, OpError> {
        let nonce = HEXLOWER.encode(self.clone().decode()?.transcript.nonce());
        let last = rows.put(LAST, &Last { nonce: nonce.clone() }, Expect::Any)?;
        Ok(vec![rows.put(place(&nonce), self, Expect::Absent)?, last])
    }

    fn decode(self) -> Result<Record, OpError> {
        if self.format != FORMAT {
            return Err(OpError::INTEGRITY);
        }
        let bytes = |text: &str| BASE64.decode(text.as_bytes()).map_err(|_| OpError::INTEGRITY);
        let transcript = Transcript::decode(&bytes(&self.transcript)?).map_err(|_| OpError::INTEGRITY)?;
        let given = self.given.as_deref().map(bytes).transpose()?;
        let given = given.map(|bytes| ShareSetManifest::decode(&bytes)).transpose();
        let made = self.made.as_deref().map(bytes).transpose()?;
        let made = made.map(|bytes| SignedShareSet::decode(&bytes)).transpose();
        Ok(Record {
            transcript,
            given: given.map_err(|_| OpError::INTEGRITY)?,
            made: made.map_err(|_| OpError::INTEGRITY)?,
            kept: self,
        })
    }
}

/// The last ceremony and the revision of its row.
pub async fn last(rows: &Rows) -> Result<Option<(Record, u64)>, OpError> {
    let Some((Last { nonce }, _)) = rows.read(LAST).await? else { return Ok(None) };
    read(rows, &nonce).await
}

/// A ceremony by its nonce.
pub async fn read(rows: &Rows, nonce: &str) -> Result<Option<(Record, u64)>, OpError> {
    let Some((kept, revision)) = rows.read::<Archived>(place(nonce)).await? else { return Ok(None) };
    Ok(Some((kept.decode()?, revision)))
}

/// All that are over, oldest first.
pub async fn list(rows: &Rows) -> Result<Vec<Record>, OpError> {
    let kept = rows.list::<Archived>(place("")).await?;
    let mut records = kept.into_iter().map(|(kept, _)| kept.decode()).collect::<Result<Vec<_>, _>>()?;
    records.sort_by_key(|record| record.kept.ended_ms);
    Ok(records)
}

impl Record {
    /// What happened, and who signed it.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The set that was made.
    #[must_use]
    pub fn made(&self) -> Option<&SignedShareSet> {
        self.made.as_ref()
    }

    /// When it was over, Unix milliseconds.
    #[must_use]
    pub fn ended_ms(&self) -> u64 {
        self.kept.ended_ms
    }

    /// How the signatures stand.
    #[must_use]
    pub fn report(&self, broker: &VerifierKey) -> TranscriptReport {
        self.transcript.verify(broker.key(), |name| self.signing_key(name))
    }

    /// Whether the last ceremony still waits for somebody who can sign.
    #[must_use]
    pub fn awaits_signatures(&self, broker: &VerifierKey, now: Now) -> bool {
        let young = now.unix_ms.saturating_sub(self.kept.ended_ms) <= SIGNING_MS_MAX;
        young && !self.report(broker).is_complete()
    }

    /// Adds a participant's signatures, after checking them. Whether that changed anything: signatures are
    /// public, and whoever hands one in again must not cause a commit.
    pub fn sign(&mut self, signature: &Signature<'_>) -> Result<bool, CeremonyRefusal> {
        let refused = |_| CeremonyRefusal::Signature;
        let made_before = self.made.clone();
        let Signature { name, transcript, manifest } = signature;
        if !self.transcript.participants().contains(name) {
            return Err(CeremonyRefusal::Signature);
        }
        let message = self.transcript.signed_bytes();
        let keys = self.keys(name).into_iter().map(|keys| keys.signing);
        let key = keys.into_iter().find(|key| key.verifies(&message, transcript));
        let key = key.ok_or(CeremonyRefusal::Signature)?;
        if let (Some(manifest), Some(made)) = (manifest, &mut self.made) {
            let member = made.manifest().custodians().iter().find(|custodian| custodian.name == *name);
            let x = member.map(|custodian| custodian.x).ok_or(CeremonyRefusal::Signature)?;
            made.add_signature(x, *manifest).map_err(|_| CeremonyRefusal::Signature)?;
        }
        let mut given = self.transcript.signatures().iter();
        let known = given.any(|given| given.name == *name && given.signature == *transcript);
        if !known {
            self.transcript.add_signature(name, &key, *transcript).map_err(refused)?;
        }
        Ok(!known || self.made != made_before)
    }

    /// The change that keeps it with the signatures it has now.
    pub fn row(&self, rows: &Rows, revision: u64) -> Result<Write, OpError> {
        let kept = Archived {
            transcript: BASE64.encode(&self.transcript.encode()),
            made: self.made.as_ref().map(|set| BASE64.encode(&set.encode())),
            ..self.kept.clone()
        };
        let nonce = HEXLOWER.encode(self.transcript.nonce());
        Ok(rows.put(place(&nonce), &kept, Expect::Revision(revision))?)
    }

    /// Keys under this name: in the new set first, and in the old one, where somebody may have had others.
    fn keys(&self, name: &str) -> Vec<CustodianKeys> {
        let made = self.made.as_ref().map(SignedShareSet::manifest);
        let sets = made.into_iter().chain(&self.given);
        let of = |set: &ShareSetManifest| {
            let found = set.custodians().iter().find(|custodian| custodian.name == name);
            found.and_then(|custodian| custodian.keys.clone())
        };
        sets.filter_map(of).collect()
    }

    /// The key of a participant: the one that has signed, if one has.
    fn signing_key(&self, name: &str) -> Option<SigningPublicKey> {
        let keys: Vec<_> = self.keys(name).into_iter().map(|keys| keys.signing).collect();
        let signature = self.transcript.signatures().iter().find(|signature| signature.name == name);
        let message = self.transcript.signed_bytes();
        let signed =
            signature.and_then(|found| keys.iter().find(|key| key.verifies(&message, &found.signature)));
        signed.or(keys.first()).cloned()
    }

    /// The signed request for a root token, in base64.
    #[must_use]
    pub fn asked(&self) -> Option<&str> {
        self.kept.asked.as_deref()
    }

    /// Who asked for a root token. The broker has checked the request when it came.
    fn root_wish(&self) -> Option<RootWish> {
        let asked = BASE64.decode(self.asked()?.as_bytes()).ok()?;
        let RootRequest { ask, card, .. } = *SignedRootRequest::decode(&asked).ok()?.request();
        let RootAsk::Begin { ttl_secs, nonce } = ask else { return None };
        let is_theirs =
            |custodian: &&Custodian| custodian.keys.as_ref().is_some_and(|keys| keys.hash() == card);
        let custodian = self.given.as_ref()?.custodians().iter().find(is_theirs)?;
        let fingerprint = custodian.keys.as_ref()?.fingerprint().to_string();
        Some(RootWish { name: custodian.name.clone(), fingerprint, ttl_secs, request: nonce })
    }

    /// What its participants may see of it.
    #[must_use]
    pub fn notice(&self, broker: &VerifierKey) -> Notice {
        let report = self.report(broker);
        let unsigned =
            |(name, standing): &(String, Standing)| (*standing == Standing::Missing).then(|| name.clone());
        let events = self.transcript.events();
        let named = |kind: EventKind| {
            let of_kind = events.iter().filter(move |event| event.kind == kind);
            of_kind.map(|event| event.name.clone()).collect::<Vec<_>>()
        };
        let bytes = |text: &String| BASE64.decode(text.as_bytes()).unwrap_or_default();
        let envelopes = self.kept.envelopes.iter().map(|(x, text)| (*x, bytes(text))).collect();
        Notice {
            kind: self.transcript.ceremony(),
            stage: if report.is_complete() { Stage::Done } else { Stage::Signing },
            deployment: self.transcript.deployment().to_string(),
            nonce: *self.transcript.nonce(),
            key: Vec::new(),
            fingerprint: String::new(),
            opened_ms: events.first().map_or(0, |event| event.at_ms),
            expires_ms: Some(self.kept.ended_ms.saturating_add(SIGNING_MS_MAX)),
            manifest: self.given.as_ref().map(ShareSetManifest::encode).unwrap_or_default(),
            given: named(EventKind::Given),
            missing: report.participants.iter().filter_map(unsigned).collect(),
            threshold: self.given.as_ref().map_or(0, ShareSetManifest::threshold),
            wanted: None,
            root: self.root_wish(),
            prove: self.made.as_ref().map(|made| Proof {
                manifest: made.manifest().encode(),
                proven: named(EventKind::Proven),
                envelopes,
            }),
            refused: Vec::new(),
            transcript: self.transcript.encode(),
        }
    }
}
