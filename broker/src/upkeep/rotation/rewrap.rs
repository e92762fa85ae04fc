//! Re-wrapping capsules of older epochs, of the remote's key or of the fragment, for the newest
//! (`docs/skb1.md` 7.6, 8).
//!
//! A batch is up to 64 capsules of one key epoch: opened through the remote, closed again around the same
//! KEKs for the newest epochs. Before anything is written one of the new capsules is opened through the
//! remote and compared, so a remote whose new key is not what it says cannot swallow a batch. The commit
//! replaces each row only if it is the one that was read.

use rand_core::Rng;
use serde::{Deserialize, Serialize};
use symbolon_core::keyring::OpenKek;
use symbolon_core::seal::FIRST_EPOCH;
use symbolon_proto::capsule::Capsule;
use symbolon_proto::id::TenantId;
use tracing::{error, info, warn};

use super::census::{self, PAGE_ROWS, page};
use super::entry;
use crate::access::Session;
use crate::error::OpError;
use crate::keys::{Aim, BATCH_MAX, CapsulePlace, KeyError, Rewrapped};
use crate::random::os_rng;
use crate::remote::FragmentProblem;
use crate::rows::{COUNTERS, NO_SCOPE, Place};
use crate::store::{Expect, Row, Write};

/// Batches in a row that may lose against others before the rotation rests.
const CONFLICTS_MAX: u32 = 16;
/// Capsules that are opened at the end, to see that what was written can be read.
const SAMPLE: usize = 8;

const PROGRESS: Place<'static> =
    Place { tenant: TenantId::SYSTEM, table: COUNTERS, scope: NO_SCOPE, group: "", name: "remote rotation" };

/// How far the last re-wrapping of capsules is. Wire type; fields are only ever added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The key epoch that capsules are re-wrapped for.
    pub key_epoch: u32,
    /// The fragment epoch that they are re-wrapped for; 0 in rows from before there could be a second one.
    #[serde(default)]
    pub fragment_epoch: u32,
    /// Capsules to re-wrap, as counted when it began or went on.
    pub total: u64,
    /// Capsules re-wrapped.
    pub done: u64,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// When it ended, verified; 0 if it has not.
    pub finished_ms: u64,
}

impl Progress {
    /// As stored; `None` if nothing was ever re-wrapped.
    pub async fn read(session: &Session) -> Result<Option<Self>, OpError> {
        Ok(session.rows.read(PROGRESS).await?.map(|(progress, _)| progress))
    }

    /// Whether a rotation to `key_epoch` has ended.
    #[must_use]
    pub fn is_finished(&self, key_epoch: u32) -> bool {
        self.key_epoch == key_epoch && self.finished_ms != 0
    }

    /// What capsules are re-wrapped for.
    #[must_use]
    pub fn aim(&self) -> Aim {
        Aim { key_epoch: self.key_epoch, fragment_epoch: self.fragment_epoch.max(FIRST_EPOCH) }
    }
}

/// A rotation under way.
pub(super) struct Rewrap {
    progress: Progress,
    after: Vec<u8>,
    damaged: u64,
    conflicts: u32,
    sample: Vec<CapsulePlace>,
    seen: u64,
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advance {
    /// Go on.
    More,
    /// All capsules are of the newest epochs, and a sample has proven it.
    Finished,
    /// All that can be: some capsules are damaged.
    Stuck(u64),
}

/// A capsule of an older epoch, and the revision of its row.
struct Old {
    place: CapsulePlace,
    capsule: Capsule,
    revision: u64,
}

/// What of a page is to be re-wrapped together.
#[derive(Default)]
struct Chosen {
    old: Vec<Old>,
    damaged: u64,
    last: Option<Vec<u8>>,
}

impl Rewrap {
    /// Begins or goes on with the rotation to the newest epochs; `None` if no capsule is older.
    pub(super) async fn begin(session: &Session) -> Result<Option<Self>, OpError> {
        let Some(aim) = session.keys.aim() else { return Ok(None) };
        let before = Progress::read(session).await?.filter(|progress| progress.aim() == aim);
        let left = census::census(session).await?.older;
        if left == 0 && before.is_none_or(|progress| progress.finished_ms != 0) {
            return Ok(None);
        }
        session.keys.ensure_canary().await?;
        let Aim { key_epoch, fragment_epoch } = aim;
        let started_ms = session.now().unix_ms;
        let fresh = Progress { key_epoch, fragment_epoch, started_ms, ..Progress::default() };
        let mut progress = before.unwrap_or(fresh);
        progress.total = progress.done + left;
        progress.finished_ms = 0;
        // Behind the barrier nobody is about to commit a capsule of an older epoch any more.
        let barrier = session.keys.barrier().await;
        let change = session.rows.put(PROGRESS, &progress, Expect::Any)?;
        let begun = format!("re-wrapping for {} begins; {left} capsules are older", named(aim));
        drop(session.commit(vec![change], entry(begun)).await?);
        drop(barrier);
        info!(key_epoch, fragment_epoch, capsules = left, "re-wrapping begins");
        Ok(Some(Self { progress, after: Vec::new(), damaged: 0, conflicts: 0, sample: Vec::new(), seen: 0 }))
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// One batch. An error leaves everything as it was; the same batch can be tried again.
    pub(super) async fn batch(&mut self, session: &Session) -> Result<Advance, OpError> {
        let _pass = session.keys.pass().await;
        let rows = page(session, &self.after, PAGE_ROWS).await?;
        let chosen = self.choose(session, &rows);
        if chosen.old.is_empty() {
            self.pass_over(chosen);
            return if rows.is_empty() { self.end(session).await } else { Ok(Advance::More) };
        }
        match self.replace(session, &chosen).await {
            Ok(unopened) => {
                self.damaged += unopened;
                self.pass_over(chosen);
            }
            Err(OpError::Conflict(_)) if self.conflicts < CONFLICTS_MAX => {
                self.conflicts += 1; // a secret was removed meanwhile: read the page again
                return Ok(Advance::More);
            }
            Err(error) => return Err(error),
        }
        Ok(Advance::More)
    }

    fn pass_over(&mut self, chosen: Chosen) {
        self.conflicts = 0;
        self.damaged += chosen.damaged;
        self.after = chosen.last.unwrap_or_default();
    }

    /// The next old capsules of one epoch, up to a batch, and how far the page was looked through for them.
    fn choose(&mut self, session: &Session, rows: &[(Vec<u8>, Row)]) -> Chosen {
        let mut chosen = Chosen { last: Some(self.after.clone()), ..Chosen::default() };
        for (key, row) in rows {
            match census::read(session, key, row) {
                None => chosen.damaged += 1,
                Some((place, capsule)) if self.progress.aim().is_met_by(&capsule) => {
                    self.consider(place);
                }
                Some((place, capsule)) => {
                    let other =
                        chosen.old.first().is_some_and(|old| old.capsule.key_epoch() != capsule.key_epoch());
                    if other || chosen.old.len() == BATCH_MAX {
                        break;
                    }
                    self.consider(place);
                    chosen.old.push(Old { place, capsule, revision: row.revision });
                }
            }
            chosen.last = Some(key.clone());
        }
        chosen
    }

    /// Keeps a random sample of all places seen (reservoir).
    fn consider(&mut self, place: CapsulePlace) {
        self.seen += 1;
        if self.sample.len() < SAMPLE {
            self.sample.push(place);
            return;
        }
        let at = os_rng().next_u64() % self.seen; // the bias is of no importance here
        if let Some(kept) = usize::try_from(at).ok().and_then(|at| self.sample.get_mut(at)) {
            *kept = place;
        }
    }

    /// Opens, closes again, compares one and commits. Answers how many did not open.
    async fn replace(&mut self, session: &Session, chosen: &Chosen) -> Result<u64, OpError> {
        let placed: Vec<_> = chosen.old.iter().map(|old| (old.place, old.capsule.clone())).collect();
        let opened = session.keys.open_capsules(&placed).await?;
        let mut good = Vec::with_capacity(placed.len());
        let mut revisions = Vec::with_capacity(placed.len());
        for (old, kek) in chosen.old.iter().zip(opened) {
            match kek {
                Ok(kek) => {
                    good.push((old.place, kek));
                    revisions.push(old.revision);
                }
                Err(KeyError::Memory) => return Err(KeyError::Memory.into()), // it may open later
                Err(_) => warn!(key_epoch = old.capsule.key_epoch(), "a capsule does not open"),
            }
        }
        let unopened = (chosen.old.len() - good.len()) as u64;
        if good.is_empty() {
            return Ok(unopened);
        }
        session.keys.ensure_canary().await?;
        let rewrapped = session.keys.rewrap(good).await?;
        self.compare_one(session, &rewrapped).await?;
        self.commit(session, &rewrapped, &revisions).await?;
        Ok(unopened)
    }

    /// One of the new capsules must open to the key of the old one, before anything is written.
    async fn compare_one(&self, session: &Session, rewrapped: &[Rewrapped]) -> Result<(), OpError> {
        if !rewrapped.iter().all(|new| self.progress.aim().is_met_by(&new.capsule)) {
            return Err(OpError::BUSY); // yet another epoch has come: begin again
        }
        let at = usize::try_from(os_rng().next_u64()).unwrap_or(0) % rewrapped.len();
        let one = &rewrapped[at];
        let opened = session.keys.open_capsules(&[(one.place, one.capsule.clone())]).await?;
        match opened.as_slice() {
            [Ok(OpenKek { kek, .. })] if kek.same_as(&one.kek.kek) => Ok(()),
            [Err(KeyError::Memory)] => Err(KeyError::Memory.into()),
            _ => Err(KeyError::Fragment(FragmentProblem::Lied).into()),
        }
    }

    async fn commit(
        &mut self,
        session: &Session,
        rewrapped: &[Rewrapped],
        revisions: &[u64],
    ) -> Result<(), OpError> {
        let count = rewrapped.len() as u64;
        let progress = Progress { done: self.progress.done + count, ..self.progress };
        let put = |(new, &revision): (&Rewrapped, &u64)| Write::Put {
            key: new.place.key(),
            value: new.capsule.to_bytes(),
            expect: Expect::Revision(revision),
        };
        let mut changes: Vec<_> = rewrapped.iter().zip(revisions).map(put).collect();
        changes.push(session.rows.put(PROGRESS, &progress, Expect::Any)?);
        let what = format!("{count} capsules re-wrapped for {}", named(progress.aim()));
        drop(session.commit(changes, entry(what)).await?);
        self.progress = progress;
        Ok(())
    }

    /// The last page has been seen: a sample is opened, and then it is said that the rotation has ended.
    async fn end(&mut self, session: &Session) -> Result<Advance, OpError> {
        if self.damaged > 0 {
            error!(
                capsules = self.damaged,
                "capsules are damaged and cannot be re-wrapped; restore them from a backup"
            );
            return Ok(Advance::Stuck(self.damaged));
        }
        self.check_sample(session).await?;
        self.progress.finished_ms = session.now().unix_ms.max(1);
        let change = session.rows.put(PROGRESS, &self.progress, Expect::Any)?;
        let what = format!("re-wrapping for {} has ended", named(self.progress.aim()));
        drop(session.commit(vec![change], entry(what)).await?);
        info!(aim = ?self.progress.aim(), capsules = self.progress.done, "re-wrapping has ended");
        Ok(Advance::Finished)
    }

    /// What was written is read from the store and opened. Whatever is gone by now belonged to something
    /// removed.
    async fn check_sample(&self, session: &Session) -> Result<(), OpError> {
        let mut placed = Vec::with_capacity(self.sample.len());
        for place in &self.sample {
            let Some(row) = session.rows.store().get(&place.key()).await? else { continue };
            let capsule = Capsule::parse(&row.value).map_err(|_| OpError::INTEGRITY)?;
            if !self.progress.aim().is_met_by(&capsule) {
                return Err(OpError::INTEGRITY);
            }
            placed.push((*place, capsule));
        }
        if placed.is_empty() {
            return Ok(());
        }
        let opened = session.keys.open_capsules(&placed).await?;
        match opened.iter().find_map(|opened| opened.as_ref().err()) {
            None => Ok(()),
            Some(KeyError::Memory) => Err(KeyError::Memory.into()),
            Some(_) => Err(OpError::INTEGRITY),
        }
    }
}

fn named(aim: Aim) -> String {
    format!("key epoch {} and fragment epoch {}", aim.key_epoch, aim.fragment_epoch)
}
