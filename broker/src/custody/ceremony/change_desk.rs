//! A ceremony that changes something, while the broker is open (`docs/skb1.md` 7.6).
//!
//! ```text
//! collecting ──t shares──▶ fragment, for as long as one job of the crypto thread
//!                          ├──▶ drill, root, epoch: over
//!                          └──▶ reshare, rekey: proving ──everybody──▶ over
//! ```
//!
//! The proofs are the drill of section 7.3: the dealer has recombined every share before it sealed them, and
//! a share that its holder opens and hands back has the digest of the one that was recombined.

use sha2::{Digest, Sha256};
use symbolon_core::clock::Now;
use symbolon_core::root_requests::ROOT_IDLE_MS_MAX;
use symbolon_core::seal::{Ceremony, CeremonyError, Sealed};
use symbolon_core::succession::{Change, ChangeError, Changed, NewSet};
use symbolon_proto::custody::transcript::{CeremonyType, Event, EventKind, Transcript};
use symbolon_proto::custody::{RootAsker, ShareEnvelope, Submission};
use symbolon_proto::secret::wiping;
use symbolon_proto::share::{Holder, ShareSetManifest};
use tracing::{info, warn};

use super::{CeremonyRefusal, Desk, Notice, Proof, RootWish, Stage, Wanted};
use crate::error::OpError;
use crate::key_thread;
use crate::random::os_rng;

/// A change that nobody has given a share for, or that not all have proven, is forgotten after this long.
const CHANGE_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// A change under way.
pub struct ChangeDesk {
    desk: Desk,
    change: Change,
    begun_boot_ms: u64,
    proving: Option<Proving>,
}

/// New shares that not everybody has opened yet. Of the old fragment nothing is left here.
struct Proving {
    changed: Changed,
    proven: Vec<u8>,
    since: Now,
}

/// A change to which everybody has done their part, and that is not in force yet.
pub struct Over {
    /// What it comes to; `None` if nothing is to change.
    pub changed: Option<Changed>,
    /// Who asked for a root token, if it was for one.
    pub asker: Option<RootAsker>,
    /// The set whose shares were given.
    pub given: ShareSetManifest,
    /// What happened, its last event included.
    pub transcript: Transcript,
}

impl ChangeDesk {
    /// Begins to collect shares.
    #[must_use]
    pub fn open(change: Change, sealed: &Sealed, now: Now) -> Self {
        let mut desk = Desk::open(change.ceremony(), sealed, now);
        if let Some(asker) = change.root_asker() {
            desk.record_event(requested(asker, now));
        }
        // On the console, where nobody on the network can change it: for whom custodians give their shares.
        if let Some(asker) = change.root_asker() {
            let (name, card) = (asker.name(), asker.fingerprint());
            warn!(name, %card, "asks for a root token; custodians give shares only if they know why");
        }
        for holder in change.new_set().map_or(&[] as &[Holder], NewSet::holders) {
            info!(name = holder.name, card = fingerprint(holder), "is to hold a new share");
        }
        Self { desk, change, begun_boot_ms: now.boot_ms, proving: None }
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> CeremonyType {
        self.change.ceremony()
    }

    /// Takes a share, or the proof of a new one. Whether everybody has now done their part in this stage.
    pub fn take(&mut self, submission: &Submission, now: Now) -> Result<bool, OpError> {
        let Some(proving) = &mut self.proving else {
            return Ok(self.desk.take_sealed(submission, now)?.is_complete());
        };
        let set = proving.changed.sealed.share_set();
        let x = self.desk.take_proof(submission, set, &proving.proven, now)?;
        proving.proven.push(x);
        Ok(proving.proven.len() == set.custodians().len())
    }

    /// Whether a drill may end with the shares that are here.
    pub fn may_finish(&self) -> Result<(), CeremonyRefusal> {
        if !matches!(self.change, Change::Drill) {
            return Err(CeremonyRefusal::EndsByItself);
        }
        if self.desk.may_recombine() {
            return Ok(());
        }
        let needed = self.desk.sealed().share_set().threshold();
        Err(CeremonyRefusal::TooFew { given: self.desk.progress().given.len(), needed })
    }

    /// The next stage, when everybody has done their part in this one; `Some` if it was the last. An error
    /// ends the ceremony.
    pub async fn advance(mut self, now: Now) -> Result<(Self, Option<Over>), OpError> {
        if let Some(proving) = self.proving.take() {
            let over = self.over(Some(proving.changed), now);
            return Ok((self, Some(over)));
        }
        let (shares, change) = (self.desk.hand_over_shares(), self.change.clone());
        let sealed = self.desk.sealed().clone();
        let prepared = key_thread::run(move || prepare(shares, &change, &sealed, now)).await;
        match prepared.map_err(|_| OpError::BUSY)?? {
            Some(changed) if !changed.envelopes.is_empty() => {
                self.record_dealing(&changed, now);
                self.proving = Some(Proving { changed, proven: Vec::new(), since: now });
                Ok((self, None))
            }
            changed => {
                let over = self.over(changed, now);
                Ok((self, Some(over)))
            }
        }
    }

    fn record_dealing(&mut self, changed: &Changed, now: Now) {
        let set = changed.sealed.share_set();
        self.desk.record(EventKind::SetMade, set.hash(), now);
        for (custodian, envelope) in set.custodians().iter().zip(&changed.envelopes) {
            self.desk.record_event(dealt(custodian.x, &custodian.name, envelope, now));
        }
    }

    fn over(&mut self, changed: Option<Changed>, now: Now) -> Over {
        let given = self.desk.sealed().share_set().clone();
        let (last, set) = match &changed {
            Some(changed) => (EventKind::Committed, changed.sealed.share_set()),
            None => (EventKind::Passed, &given),
        };
        self.desk.record(last, set.hash(), now);
        let asker = self.change.root_asker().cloned();
        Over { transcript: self.desk.transcript().clone(), asker, changed, given }
    }

    /// Whether it is too old to go on: half an hour after the first share, a day without one, a day without
    /// all proofs. For a root token half an hour without a share: every custodian can begin one, and there is
    /// one place.
    #[must_use]
    pub fn is_expired(&self, now: Now) -> bool {
        let old = |since: u64, most: u64| now.boot_ms.saturating_sub(since) > most;
        match (&self.proving, self.change.root_asker()) {
            (Some(proving), _) => old(proving.since.boot_ms, CHANGE_MS_MAX),
            (None, Some(_)) if self.desk.progress().given.is_empty() => {
                old(self.begun_boot_ms, ROOT_IDLE_MS_MAX)
            }
            (None, _) => self.desk.is_expired(now) || old(self.begun_boot_ms, CHANGE_MS_MAX),
        }
    }

    /// Who asked for a root token, if it is for one, and when, on the boot clock.
    #[must_use]
    pub fn root_asker(&self) -> Option<(&RootAsker, u64)> {
        self.change.root_asker().map(|asker| (asker, self.begun_boot_ms))
    }

    /// What anyone may see.
    #[must_use]
    pub fn notice(&self, now: Now) -> Notice {
        let wanted = self.change.new_set().map(|set| Wanted {
            threshold: set.threshold(),
            holders: set.holders().iter().map(|holder| (holder.name.clone(), fingerprint(holder))).collect(),
        });
        let root = self.change.root_asker().and_then(RootWish::of);
        let notice = Notice { wanted, root, ..self.desk.notice(now) };
        let Some(Proving { changed, proven, since }) = &self.proving else { return notice };
        let set = changed.sealed.share_set();
        let (done, missing): (Vec<_>, Vec<_>) =
            set.custodians().iter().partition(|custodian| proven.contains(&custodian.x));
        let names = |custodians: Vec<&symbolon_proto::share::Custodian>| {
            custodians.into_iter().map(|custodian| custodian.name.clone()).collect()
        };
        let numbered = (1..).zip(&changed.envelopes);
        let envelopes = numbered.map(|(x, envelope)| (x, envelope.as_bytes().to_vec())).collect();
        Notice {
            stage: Stage::Proving,
            expires_ms: Some(since.unix_ms.saturating_add(CHANGE_MS_MAX)),
            given: self.givers(),
            missing: names(missing),
            prove: Some(Proof { manifest: set.encode(), proven: names(done), envelopes }),
            ..notice
        }
    }

    /// Who gave, though their shares are gone.
    fn givers(&self) -> Vec<String> {
        let events = self.desk.transcript().events().iter();
        events.filter(|event| event.kind == EventKind::Given).map(|event| event.name.clone()).collect()
    }
}

fn fingerprint(holder: &Holder) -> String {
    holder.keys.as_ref().map(|keys| keys.fingerprint().to_string()).unwrap_or_default()
}

/// One job: the fragment exists inside it and nowhere else.
fn prepare(shares: Ceremony, change: &Change, sealed: &Sealed, now: Now) -> Result<Option<Changed>, OpError> {
    let fragment =
        shares.recombine().inspect_err(|error: &CeremonyError| warn!(%error, "ceremony failed"))?;
    let changed = wiping(|| change.apply(sealed, &fragment, now, &mut os_rng()));
    drop(fragment);
    changed.map_err(|error: ChangeError| {
        warn!(%error, "the change could not be prepared");
        OpError::invalid("the new shares could not be made; everything is as before, begin again")
    })
}

fn requested(asker: &RootAsker, now: Now) -> Event {
    let digest = Sha256::digest(asker.request().encode()).into();
    let name = asker.name().to_owned();
    Event { kind: EventKind::Requested, at_ms: now.unix_ms, x: asker.x(), name, digest }
}

fn dealt(x: u8, name: &str, envelope: &ShareEnvelope, now: Now) -> Event {
    let digest = super::archive::digest_of(envelope);
    Event { kind: EventKind::Dealt, at_ms: now.unix_ms, x, name: name.to_owned(), digest }
}
