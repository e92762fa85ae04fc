//! Ceremonies as custodians see them: state, submission, signature (`docs/custody.md`).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use symbolon::{Error, Method};
use symbolon_proto::custody::{
    CeremonyBinding, RootNonce, ShareEnvelope, Submission, XWingPublicKey, transcript::Transcript,
};
use symbolon_proto::share::ShareSetManifest;

use super::Operator;

/// Far above 32 manifests and envelopes.
pub(super) const STATE_BYTES_MAX: usize = 1 << 20;
const EXPECTED: &str = "a ceremony";

/// The answer of every ceremony route.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CeremonyState {
    /// The ceremony under way, or the last one while signatures are missing.
    pub ceremony: Option<Ceremony>,
}

/// A ceremony. Everything in it is public or sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ceremony {
    /// `unseal`, `reshare`, `epoch`, `rekey`, `drill`, `root`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `collecting`, `proving`, `signing`, `done`, `cancelled`.
    pub stage: String,
    /// Deployment id, 32 hexadecimal digits.
    pub deployment: String,
    /// Nonce, 64 hexadecimal digits.
    pub nonce: String,
    /// The broker's X-Wing key for this ceremony, base64; `None` when no share is wanted any more.
    pub key: Option<String>,
    /// What the broker says is its fingerprint. Compute it with [`Ceremony::key`] instead.
    pub fingerprint: Option<String>,
    /// When it began, Unix milliseconds.
    pub opened_ms: u64,
    /// When the shares given so far are wiped, Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// Shares that are collected before anything happens.
    #[serde(default)]
    pub threshold: u8,
    /// The set whose shares are recombined.
    pub give: Collected,
    /// For whom new shares are wished; compare it with the broker's console.
    #[serde(default)]
    pub wanted: Option<Wanted>,
    /// Who asks for a root token; compare it with the broker's console. An older broker makes none.
    #[serde(default)]
    pub root: Option<RootWish>,
    /// Names of those who can still do what the stage asks for: give, prove or sign.
    #[serde(default)]
    pub missing: Vec<String>,
    /// The new set, if the ceremony makes one.
    pub prove: Option<Proving>,
    /// The last refusals.
    #[serde(default)]
    pub refused: Vec<Refused>,
    /// Transcript so far, base64.
    pub transcript: String,
}

/// A share set and who gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Collected {
    /// The manifest, base64.
    pub manifest: String,
    /// Names of those who gave their share.
    pub names: Vec<String>,
}

/// Who is to hold new shares.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wanted {
    /// How many of them are needed from then on.
    pub threshold: u8,
    /// Everybody, in the order of the shares.
    pub custodians: Vec<WantedCustodian>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WantedCustodian {
    /// The name on the card.
    pub name: String,
    /// Twelve groups over the keys on the card.
    pub fingerprint: String,
}

/// Who asks for a root token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RootWish {
    /// Name of the custodian in the set.
    pub name: String,
    /// Twelve groups over the keys on the card that the token is sealed to.
    pub fingerprint: String,
    /// Life of the token in seconds.
    pub ttl_secs: u32,
    /// Nonce of the request, 64 hexadecimal digits.
    pub request: String,
}

impl RootWish {
    /// What names the request in others that are about it.
    pub fn nonce(&self) -> Result<RootNonce, Error> {
        hex32(&self.request).ok_or_else(protocol)
    }
}

/// The new set and who proved that the new share opens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proving {
    /// The manifest, base64.
    pub manifest: String,
    /// Names of those who proved.
    pub names: Vec<String>,
    /// Share envelopes by number, base64.
    #[serde(default)]
    pub envelopes: BTreeMap<u8, String>,
}

/// A share that was not taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refused {
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Whose, if that is known.
    #[serde(default)]
    pub name: String,
    /// Why.
    pub reason: String,
    /// How many shares of this name were refused; an older broker does not say.
    #[serde(default)]
    pub times: u64,
}

impl Ceremony {
    /// What submissions are bound to.
    pub fn binding(&self) -> Result<CeremonyBinding, Error> {
        let deployment = self.deployment.parse().map_err(|_| protocol())?;
        let nonce = hex32(&self.nonce).ok_or_else(protocol)?;
        Ok(CeremonyBinding { deployment, nonce })
    }

    /// What submissions are sealed to. Compare its fingerprint with the broker's console before using it.
    pub fn key(&self) -> Result<XWingPublicKey, Error> {
        let key = self.key.as_deref().ok_or_else(protocol)?;
        XWingPublicKey::from_bytes(&decode(key)?).map_err(|_| protocol())
    }

    /// The set whose shares are recombined.
    pub fn giving(&self) -> Result<ShareSetManifest, Error> {
        ShareSetManifest::decode(&decode(&self.give.manifest)?).map_err(|_| protocol())
    }

    /// The new set, if there is one.
    pub fn proving(&self) -> Result<Option<ShareSetManifest>, Error> {
        let Some(prove) = &self.prove else { return Ok(None) };
        ShareSetManifest::decode(&decode(&prove.manifest)?).map(Some).map_err(|_| protocol())
    }

    /// The envelope of new share `x`, if its custodian has keys.
    pub fn envelope(&self, x: u8) -> Result<Option<ShareEnvelope>, Error> {
        let Some(text) = self.prove.as_ref().and_then(|prove| prove.envelopes.get(&x)) else {
            return Ok(None);
        };
        ShareEnvelope::from_bytes(&decode(text)?).map(Some).map_err(|_| protocol())
    }

    /// What happened so far.
    pub fn transcript(&self) -> Result<Transcript, Error> {
        Transcript::decode(&decode(&self.transcript)?).map_err(|_| protocol())
    }
}

fn protocol() -> Error {
    Error::Foreign { expected: EXPECTED }
}

fn decode(text: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(text).map_err(|_| protocol())
}

/// 64 hexadecimal digits.
pub(super) fn hex32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// A ceremony that is over, as the broker kept it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptCeremony {
    /// Nonce, 64 hexadecimal digits.
    pub nonce: String,
    /// `init`, `reshare`, `epoch`, `rekey`, `drill`, `root`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was over, RFC 3339.
    pub ended: String,
    /// Final hash of the transcript, hex.
    pub hash: String,
    /// How the broker's signature stands: `signed`, `missing`, `wrong`.
    pub broker: String,
    /// The same for those who gave or proved a share, by name; `no key` for those who cannot sign.
    pub participants: BTreeMap<String, String>,
    /// Whether everybody who can has signed.
    pub complete: bool,
    /// The transcript in text form; only when one ceremony is asked for.
    #[serde(default)]
    pub transcript: Option<String>,
    /// The signed request for a root token that it answers, base64.
    #[serde(default)]
    pub request: Option<String>,
    /// The share set that was made, with its signatures, base64.
    #[serde(default)]
    pub share_set: Option<String>,
}

#[derive(Deserialize)]
struct KeptCeremonies {
    ceremonies: Vec<KeptCeremony>,
}

impl Operator {
    /// Begins a ceremony that changes something: `drill` or `epoch`, or `reshare` or `rekey` for the owners
    /// of `cards` (text form) and these `sources`, of whom `threshold` are needed from then on.
    pub async fn begin_ceremony(
        &self,
        kind: &str,
        threshold: Option<u8>,
        cards: &[String],
        sources: &[String],
    ) -> Result<Option<Ceremony>, Error> {
        let body = json!({ "type": kind, "threshold": threshold, "cards": cards, "sources": sources });
        let call = self.call(Method::PUT, "sys/symbolon/ceremony/begin").json(&body);
        Ok(call.limit(STATE_BYTES_MAX).send().await?.raw::<CeremonyState>(EXPECTED)?.ceremony)
    }

    /// Ends a drill with the shares that are there.
    pub async fn finish_ceremony(&self) -> Result<Option<Ceremony>, Error> {
        let call = self.call(Method::PUT, "sys/symbolon/ceremony/finish").limit(STATE_BYTES_MAX);
        Ok(call.send().await?.raw::<CeremonyState>(EXPECTED)?.ceremony)
    }

    /// Gives a ceremony up; everything stays as it was.
    pub async fn cancel_ceremony(&self) -> Result<(), Error> {
        self.call(Method::PUT, "sys/symbolon/ceremony/cancel").send().await.map(drop)
    }

    /// Ceremonies that are over, oldest first.
    pub async fn ceremonies(&self) -> Result<Vec<KeptCeremony>, Error> {
        let call = self.call(Method::GET, "sys/symbolon/ceremonies").limit(STATE_BYTES_MAX);
        Ok(call.send().await?.data::<KeptCeremonies>("a list of ceremonies")?.ceremonies)
    }

    /// One of them by its nonce, with its transcript.
    pub async fn kept_ceremony(&self, nonce: &str) -> Result<KeptCeremony, Error> {
        let call = self.call(Method::GET, &format!("sys/symbolon/ceremonies/{nonce}")).limit(STATE_BYTES_MAX);
        call.send().await?.data("a ceremony")
    }

    /// The ceremony under way; needs no token and works on a sealed broker.
    pub async fn ceremony(&self) -> Result<Option<Ceremony>, Error> {
        let call = self.call(Method::GET, "sys/symbolon/ceremony").without_token().limit(STATE_BYTES_MAX);
        Ok(call.send().await?.raw::<CeremonyState>(EXPECTED)?.ceremony)
    }

    /// Gives or proves a share.
    pub async fn submit_share(&self, submission: &Submission) -> Result<Option<Ceremony>, Error> {
        let body = json!({ "submission": STANDARD.encode(submission.encode()) });
        let call = self.call(Method::PUT, "sys/symbolon/ceremony/submit").without_token().json(&body);
        Ok(call.limit(STATE_BYTES_MAX).send().await?.raw::<CeremonyState>(EXPECTED)?.ceremony)
    }

    /// Adds a custodian's signatures: under the transcript and, for a member of the new set, under its
    /// manifest.
    pub async fn sign_ceremony(
        &self,
        name: &str,
        transcript: &[u8; 64],
        manifest: Option<&[u8; 64]>,
    ) -> Result<Option<Ceremony>, Error> {
        let body = json!({
            "name": name,
            "transcript": STANDARD.encode(transcript),
            "manifest": manifest.map(|signature| STANDARD.encode(signature)),
        });
        let call = self.call(Method::PUT, "sys/symbolon/ceremony/sign").without_token().json(&body);
        Ok(call.limit(STATE_BYTES_MAX).send().await?.raw::<CeremonyState>(EXPECTED)?.ceremony)
    }
}
