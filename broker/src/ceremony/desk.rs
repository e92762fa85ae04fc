//! The desk at which custodians give their shares while the broker is sealed (`docs/skb1.md` 7.5).
//!
//! ```text
//! sealed ─▶ fresh X-Wing key and nonce, fingerprint on the console ─▶ shares, sealed to the key or as plain text
//!           ▲                                                          │ each checked on arrival, its holder named
//!           └── reset, 30 minutes, a wrong combination ────────────────┴─▶ t of them: recombined, and the key is gone
//! ```
//!
//! A share that is sealed to the key is read by this process and by nothing between it and the custodian. A recorded one opens
//! nothing later: the key lives as long as the ceremony, and the nonce is part of every submission.

use std::collections::VecDeque;

use sha2::{Digest, Sha256};
use symbolon_core::clock::Now;
use symbolon_core::seal::{Ceremony, CeremonyError, Progress, Sealed};
use symbolon_proto::custody::transcript::{CeremonyType, Event, EventKind, Transcript};
use symbolon_proto::custody::{CeremonyKey, Purpose, Submission};
use symbolon_proto::share::{Share, ShareError};
use tracing::info;

use crate::ops::OpError;
use crate::random::os_rng;

/// Refusals that the state shows.
const REFUSED_SHOWN: usize = 16;
/// Refusals that go into the transcript. More would let a stranger fill it before the custodians come.
const REFUSED_RECORDED: usize = 64;

/// A share that was not taken.
#[derive(Clone, Debug)]
pub struct Refused {
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Whose it was; empty if that is not known.
    pub name: String,
    /// Why: one of our own texts.
    pub reason: String,
}

/// What anyone may see of the ceremony. All of it is public.
#[derive(Clone, Debug)]
pub struct Notice {
    /// What it is for.
    pub kind: CeremonyType,
    /// Deployment id, hex.
    pub deployment: String,
    /// Names the ceremony.
    pub nonce: [u8; 32],
    /// X-Wing public key that shares are sealed to.
    pub key: Vec<u8>,
    /// Its fingerprint.
    pub fingerprint: String,
    /// When it began, Unix milliseconds.
    pub opened_ms: u64,
    /// When the shares given so far are forgotten, Unix milliseconds; `None` before the first.
    pub expires_ms: Option<u64>,
    /// Manifest of the set whose shares are wanted.
    pub manifest: Vec<u8>,
    /// Names of those who gave.
    pub given: Vec<String>,
    /// Names of those who did not.
    pub missing: Vec<String>,
    /// Shares needed.
    pub threshold: u8,
    /// The last refusals, oldest first.
    pub refused: Vec<Refused>,
    /// What happened so far.
    pub transcript: Vec<u8>,
}

/// A ceremony of a sealed broker.
pub struct Desk {
    sealed: Sealed,
    key: CeremonyKey,
    shares: Ceremony,
    opened_ms: u64,
    refused: VecDeque<Refused>,
    refused_recorded: usize,
    transcript: Transcript,
}

impl Desk {
    /// A fresh key for custodians to seal to. Its fingerprint goes to the console, where nobody on the network can change it.
    #[must_use]
    pub fn open(sealed: &Sealed, now: Now) -> Self {
        let key = CeremonyKey::generate(sealed.deployment(), &mut os_rng());
        let binding = *key.binding();
        let mut transcript = Transcript::begin(CeremonyType::Unseal, binding.deployment, binding.nonce);
        let digest = Sha256::digest(key.public().as_bytes()).into();
        // The first event of an empty transcript is always taken.
        let _ = transcript.record(Event::of_ceremony(EventKind::Opened, now.unix_ms, digest));
        info!(fingerprint = %key.fingerprint(), "ceremony key; custodians compare this before they give their shares");
        let shares = sealed.begin(&mut os_rng());
        let (refused, refused_recorded) = (VecDeque::with_capacity(REFUSED_SHOWN), 0);
        Self {
            sealed: sealed.clone(),
            key,
            shares,
            opened_ms: now.unix_ms,
            refused,
            refused_recorded,
            transcript,
        }
    }

    /// Takes a share that was sealed to the key.
    pub fn take_sealed(&mut self, submission: &Submission, now: Now) -> Result<Progress, OpError> {
        if submission.purpose() != Purpose::Give {
            return Err(OpError::Invalid(
                "no new share set awaits a proof; give the share of the present one",
            ));
        }
        match self.key.open(submission) {
            Ok(share) => self.take(share, now),
            Err(error) => {
                self.refuse(0, String::new(), error.to_string(), now);
                Err(OpError::Submission(error))
            }
        }
    }

    /// Takes a share that came as plain text, as Vault's clients send it.
    pub fn take(&mut self, share: Share, now: Now) -> Result<Progress, OpError> {
        let x = share.x();
        match self.shares.submit(share, now) {
            Ok(progress) => {
                self.record_given(x, now);
                Ok(progress)
            }
            Err(error) => {
                self.refuse(x, holder(&error).to_owned(), error.to_string(), now);
                Err(error.into())
            }
        }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.shares.progress()
    }

    /// Identifier that Vault's clients see, once a share was given.
    #[must_use]
    pub fn vault_nonce(&self) -> String {
        self.shares.nonce()
    }

    /// Whether its shares are too old to keep.
    #[must_use]
    pub fn is_expired(&self, now: Now) -> bool {
        self.shares.is_expired(now)
    }

    /// Ends it and gives the shares on. The key is wiped.
    #[must_use]
    pub fn into_shares(self) -> Ceremony {
        self.shares
    }

    /// What anyone may see.
    #[must_use]
    pub fn notice(&self, now: Now) -> Notice {
        let (binding, set) = (self.key.binding(), self.sealed.share_set());
        let given = self.progress().given;
        let names = set.custodians().iter().map(|custodian| custodian.name.clone());
        let left = self.shares.expires_boot_ms().map(|at| at.saturating_sub(now.boot_ms));
        Notice {
            kind: CeremonyType::Unseal,
            deployment: binding.deployment.to_string(),
            nonce: binding.nonce,
            key: self.key.public().as_bytes().to_vec(),
            fingerprint: self.key.fingerprint().to_string(),
            opened_ms: self.opened_ms,
            expires_ms: left.map(|left| now.unix_ms.saturating_add(left)),
            manifest: set.encode(),
            missing: names.filter(|name| !given.contains(name)).collect(),
            given,
            threshold: set.threshold(),
            refused: self.refused.iter().cloned().collect(),
            transcript: self.transcript.encode(),
        }
    }

    fn record_given(&mut self, x: u8, now: Now) {
        if let Some(custodian) = self.sealed.share_set().custodian(x) {
            let (name, digest) = (custodian.name.clone(), custodian.digest);
            // There are at most 16 of them and 64 refusals: it never fills.
            let _ =
                self.transcript.record(Event { kind: EventKind::Given, at_ms: now.unix_ms, x, name, digest });
        }
    }

    fn refuse(&mut self, x: u8, name: String, reason: String, now: Now) {
        if self.refused_recorded < REFUSED_RECORDED {
            self.refused_recorded += 1;
            let (at_ms, name) = (now.unix_ms, name.clone());
            let _ =
                self.transcript.record(Event { kind: EventKind::Refused, at_ms, x, name, digest: [0; 32] });
        }
        if self.refused.len() >= REFUSED_SHOWN {
            self.refused.pop_front();
        }
        self.refused.push_back(Refused { at_ms: now.unix_ms, name, reason });
    }
}

/// Whose share it was, if the refusal says so.
fn holder(error: &CeremonyError) -> &str {
    match error {
        CeremonyError::Share(
            ShareError::WrongOrTampered { holder, .. } | ShareError::Duplicate { holder, .. },
        ) => holder,
        _ => "",
    }
}
