//! The desk at which custodians give their shares (`docs/skb1.md` 7.5).
//!
//! A share that is sealed to the desk's key is read by this process and by nothing between it and the
//! custodian. A recorded one opens nothing later: the key lives as long as the ceremony, and the nonce is
//! part of every submission.

use sha2::{Digest, Sha256};
use symbolon_core::clock::Now;
use symbolon_core::seal::{Ceremony, CeremonyError, Progress, Sealed};
use symbolon_proto::custody::transcript::{CeremonyType, Event, EventKind, Transcript};
use symbolon_proto::custody::{CeremonyKey, Purpose, Submission};
use symbolon_proto::share::{Share, ShareError, ShareSetManifest};
use tracing::info;

use super::refusals::Refusals;
use super::{Notice, Stage};
use crate::error::OpError;
use crate::random::os_rng;

/// Where shares are given, and what happened there.
pub struct Desk {
    kind: CeremonyType,
    sealed: Sealed,
    key: CeremonyKey,
    shares: Ceremony,
    opened_ms: u64,
    refused: Refusals,
    transcript: Transcript,
}

impl Desk {
    /// A fresh key for custodians to seal to. Its fingerprint goes to the console, where nobody on the
    /// network can change it.
    #[must_use]
    pub fn open(kind: CeremonyType, sealed: &Sealed, now: Now) -> Self {
        let key = CeremonyKey::generate(sealed.deployment(), &mut os_rng());
        let binding = *key.binding();
        let mut transcript = Transcript::begin(kind, binding.deployment, binding.nonce);
        let digest = Sha256::digest(key.public().as_bytes()).into();
        // The first event of an empty transcript is always taken.
        let _ = transcript.record(Event::of_ceremony(EventKind::Opened, now.unix_ms, digest));
        info!(
            ceremony = kind.name(), fingerprint = %key.fingerprint(),
            "ceremony key; custodians compare this before they give their shares"
        );
        let shares = match kind {
            CeremonyType::Drill => sealed.begin_drill(&mut os_rng()),
            _ => sealed.begin(&mut os_rng()),
        };
        Self {
            kind,
            sealed: sealed.clone(),
            key,
            shares,
            opened_ms: now.unix_ms,
            refused: Refusals::default(),
            transcript,
        }
    }

    /// Takes a share that was sealed to the key.
    pub fn take_sealed(&mut self, submission: &Submission, now: Now) -> Result<Progress, OpError> {
        self.check_purpose(submission.purpose())?;
        let share = self.open_share(submission, now)?;
        self.take(share, now)
    }

    /// A share says itself what its owner gives it for, whatever was shown to them.
    fn check_purpose(&self, purpose: Purpose) -> Result<(), OpError> {
        match (purpose, self.kind) {
            (Purpose::Prove, _) => {
                Err(OpError::invalid("no new share set awaits a proof; give the share of the present one"))
            }
            (Purpose::Give, CeremonyType::Root) => Err(OpError::invalid(
                "this ceremony makes a root token, and the share was not given for one: compare the type with the broker's console, and give it with a `symbolon custodian submit` that knows this type",
            )),
            (Purpose::RootToken, kind) if kind != CeremonyType::Root => Err(OpError::invalid(
                "the share was given for a root token, and this ceremony makes none: compare the type with the broker's console, then give it again",
            )),
            (Purpose::Give | Purpose::RootToken, _) => Ok(()),
        }
    }

    /// Sees that a new share opens and is what its holder was dealt. Nothing of it is kept.
    pub fn take_proof(
        &mut self,
        submission: &Submission,
        set: &ShareSetManifest,
        proven: &[u8],
        now: Now,
    ) -> Result<u8, OpError> {
        if submission.purpose() != Purpose::Prove {
            return Err(OpError::invalid(
                "enough shares were given; now the new custodians prove theirs with `symbolon custodian drill`",
            ));
        }
        let share = self.open_share(submission, now)?;
        let x = share.x();
        match check_proof(set, &share, proven) {
            Ok(()) => {
                self.record_share(EventKind::Proven, set, x, now);
                Ok(x)
            }
            Err(error) => Err(self.refused_share(x, error.into(), now)),
        }
    }

    fn open_share(&mut self, submission: &Submission, now: Now) -> Result<Share, OpError> {
        self.key.open(submission).map_err(|error| {
            self.refuse(0, "", error.to_string(), now);
            error.into()
        })
    }

    /// Takes a share that came as plain text, as Vault's clients send it.
    pub fn take(&mut self, share: Share, now: Now) -> Result<Progress, OpError> {
        let x = share.x();
        match self.shares.submit(share, now) {
            Ok(progress) => {
                let set = self.sealed.share_set().clone();
                self.record_share(EventKind::Given, &set, x, now);
                Ok(progress)
            }
            Err(error) => Err(self.refused_share(x, error, now)),
        }
    }

    fn refused_share(&mut self, x: u8, error: CeremonyError, now: Now) -> OpError {
        self.refuse(x, holder(&error), error.to_string(), now);
        error.into()
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

    /// Whether the shares given so far can be recombined, though a drill may wait for more.
    #[must_use]
    pub fn may_recombine(&self) -> bool {
        self.shares.may_recombine()
    }

    /// Ends it and gives the shares on. The key is wiped.
    #[must_use]
    pub fn into_shares(self) -> Ceremony {
        self.shares
    }

    /// Gives the shares on and goes on without any.
    #[must_use]
    pub fn hand_over_shares(&mut self) -> Ceremony {
        std::mem::replace(&mut self.shares, self.sealed.begin(&mut os_rng()))
    }

    /// The deployment whose shares are given.
    #[must_use]
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// What happened so far.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Writes down what happened to the ceremony as a whole.
    pub fn record(&mut self, kind: EventKind, digest: [u8; 32], now: Now) {
        // At most one refusal of each holder, 48 shares and a handful of these: it never fills.
        let _ = self.transcript.record(Event::of_ceremony(kind, now.unix_ms, digest));
    }

    /// Writes down what happened to one share.
    pub fn record_event(&mut self, event: Event) {
        let _ = self.transcript.record(event);
    }

    /// What anyone may see while shares of the present set are given.
    #[must_use]
    pub fn notice(&self, now: Now) -> Notice {
        let (binding, set) = (self.key.binding(), self.sealed.share_set());
        let Progress { given, threshold } = self.progress();
        let names = set.custodians().iter().map(|custodian| custodian.name.clone());
        let left = self.shares.expires_boot_ms().map(|at| at.saturating_sub(now.boot_ms));
        Notice {
            kind: self.kind,
            stage: Stage::Collecting,
            deployment: binding.deployment.to_string(),
            nonce: binding.nonce,
            key: self.key.public().as_bytes().to_vec(),
            fingerprint: self.key.fingerprint().to_string(),
            opened_ms: self.opened_ms,
            expires_ms: left.map(|left| now.unix_ms.saturating_add(left)),
            manifest: set.encode(),
            missing: names.filter(|name| !given.contains(name)).collect(),
            given,
            threshold,
            wanted: None,
            root: None,
            prove: None,
            refused: self.refused.shown(),
            transcript: self.transcript.encode(),
        }
    }

    /// Writes down that a share came, by its holder and digest in the set.
    pub fn record_share(&mut self, kind: EventKind, set: &ShareSetManifest, x: u8, now: Now) {
        if let Some(custodian) = set.custodian(x) {
            let (name, digest) = (custodian.name.clone(), custodian.digest);
            let _ = self.transcript.record(Event { kind, at_ms: now.unix_ms, x, name, digest });
        }
    }

    /// Shows a refusal. The transcript has the first of each holder: a stranger could otherwise fill it
    /// before the custodians come.
    fn refuse(&mut self, x: u8, name: &str, reason: String, now: Now) {
        if self.refused.add(name, reason, now.unix_ms) {
            let (kind, name) = (EventKind::Refused, name.to_owned());
            self.record_event(Event { kind, at_ms: now.unix_ms, x, name, digest: [0; 32] });
        }
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

fn check_proof(set: &ShareSetManifest, share: &Share, proven: &[u8]) -> Result<(), ShareError> {
    let custodian = set.check_share(share)?;
    let x = share.x();
    if !proven.contains(&x) {
        return Ok(());
    }
    let missing = set.custodians().len().saturating_sub(proven.len());
    let missing = u8::try_from(missing).unwrap_or(u8::MAX);
    Err(ShareError::Duplicate { holder: custodian.name.clone(), x, missing })
}
