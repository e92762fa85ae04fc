//! The KEK roll of one mount, step by step. Each step reads where the roll stands, so any of them may be the
//! last before a kill, and be taken again.
//!
//! ```text
//! Preparing{next}   every bucket gets a KEK of the next epoch ▶ barrier: writers change over
//! Moving            payloads of other epochs are moved ▶ a pass that finds none
//!                   ▶ capsules of other epochs are removed
//! Settled
//! ```

use std::collections::{BTreeMap, BTreeSet};

use symbolon_core::kv::SecretMeta;
use symbolon_proto::id::TenantId;
use tracing::{error, info};

use super::census::PAGE_ROWS;
use super::entry;
use super::payloads::{PAYLOADS_MAX, Wanted, prepare};
use crate::access::Session;
use crate::access::mounts::Mount;
use crate::engines::kv::SECRETS;
use crate::error::OpError;
use crate::keys::{BATCH_MAX, CAPSULES, CapsulePlace, MountKeks, Phase, slot};
use crate::rows::{self, Paged, Place};
use crate::store::{Expect, Write};

/// Secrets looked at in one step.
const PAGE_SECRETS: usize = 128;
/// Batches in a row that may lose against writers before the pass goes on; the next pass comes back.
const CONFLICTS_MAX: u32 = 16;

/// A roll of one mount.
pub(super) struct Roll {
    mount: Mount,
    after: Vec<u8>,
    conflicts: u32,
    /// Of the pass under way.
    moved: u64,
    left: u64,
    contended: bool,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rolled {
    /// Go on.
    More,
    /// Nothing is left to do.
    Settled,
    /// All that can be: so many payloads are damaged, and the old capsules stay.
    Stuck(u64),
}

impl Roll {
    pub(super) fn of(mount: Mount) -> Self {
        Self { mount, after: Vec::new(), conflicts: 0, moved: 0, left: 0, contended: false }
    }

    pub(super) fn mount(&self) -> &Mount {
        &self.mount
    }

    /// One step, one commit at most. An error leaves everything as it was.
    pub(super) async fn step(&mut self, session: &Session) -> Result<Rolled, OpError> {
        let (keks, expect) = MountKeks::row(&session.rows, self.mount.id).await?;
        match keks.phase {
            Phase::Settled => Ok(Rolled::Settled),
            Phase::Preparing { next } => self.prepare(session, next).await,
            Phase::Moving => self.advance(session, keks, expect).await,
        }
    }

    /// Some buckets get their next KEK, or, if all have one, writers change over to it.
    async fn prepare(&mut self, session: &Session, next: u32) -> Result<Rolled, OpError> {
        let pass = session.keys.pass().await;
        if self.close_missing(session, next).await? {
            return Ok(Rolled::More);
        }
        drop(pass);
        let _barrier = session.keys.barrier().await;
        // Behind this entry no bucket is claimed and nothing is encrypted under the epoch before.
        let what = format!("KEK epoch {next} takes over in mount {}", self.mount.id);
        session.record(entry(what)).await?;
        while self.close_missing(session, next).await? {}
        let (keks, expect) = MountKeks::row(&session.rows, self.mount.id).await?;
        let moving = MountKeks { epoch: next, phase: Phase::Moving, ..keks };
        let change = moving.put(&session.rows, self.mount.id, expect)?;
        drop(
            session
                .commit(vec![change], entry(format!("mount {} is at KEK epoch {next}", self.mount.id)))
                .await?,
        );
        Ok(Rolled::More)
    }

    /// Makes the KEKs of up to a batch of buckets that lack one of epoch `next`. Whether there were any.
    async fn close_missing(&self, session: &Session, next: u32) -> Result<bool, OpError> {
        let buckets = buckets(session, &self.mount).await?;
        let missing = buckets.iter().filter(|(_, epochs)| !epochs.contains(&next)).map(|(&bucket, _)| bucket);
        let missing: Vec<u32> = missing.take(BATCH_MAX).collect();
        if missing.is_empty() {
            return Ok(false);
        }
        session.keys.ensure_canary().await?;
        let (mut changes, mut keks) = (Vec::new(), Vec::new());
        for &bucket in &missing {
            let slot = slot(self.mount.id, bucket, next);
            let (capsule, kek) = session.keys.create(slot)?;
            changes.push(capsule);
            keks.push((slot, kek));
        }
        let what = format!("{} KEKs of epoch {next} for mount {}", missing.len(), self.mount.id);
        drop(session.commit(changes, entry(what)).await?);
        keks.into_iter().for_each(|(slot, kek)| session.keys.keep(slot, kek));
        Ok(true)
    }

    /// Moves a batch of payloads, or ends the pass.
    async fn advance(
        &mut self,
        session: &Session,
        keks: MountKeks,
        expect: Expect,
    ) -> Result<Rolled, OpError> {
        let _pass = session.keys.pass().await; // the high tier makes keys here
        let group = self.metas();
        let rows: Vec<Paged<SecretMeta>> = session.rows.page(group, &self.after, PAGE_SECRETS).await?;
        let full = rows.len() == PAGE_SECRETS;
        let last = rows.last().map(|row| row.key.clone());
        let found = rows.len();
        let open = |row: Paged<SecretMeta>| Some((row.key, row.value.ok()?, row.revision));
        let secrets: Vec<_> = rows.into_iter().filter_map(open).collect();
        let wanted = wanted(&secrets, keks.epoch);
        if !wanted.is_empty() {
            return self.move_some(session, &secrets, &wanted, keks, expect).await;
        }
        self.left += (found - secrets.len()) as u64; // metadata that does not open
        match last {
            Some(last) if full => {
                self.after = last;
                Ok(Rolled::More)
            }
            _ => self.end_pass(session, keks, expect).await,
        }
    }

    async fn move_some(
        &mut self,
        session: &Session,
        secrets: &[(Vec<u8>, SecretMeta, u64)],
        wanted: &[Wanted],
        keks: MountKeks,
        expect: Expect,
    ) -> Result<Rolled, OpError> {
        session.keys.ensure_canary().await?;
        // After a conflict one payload at a time: the secret that is being written must not hold the others
        // up.
        let some = if self.conflicts == 0 { wanted } else { &wanted[..1] };
        let batch = prepare(session, &self.mount, secrets, some, keks.epoch).await?;
        let looked_at = &some[..batch.looked_at];
        let done = if batch.moved.is_empty() {
            Ok(())
        } else {
            let keks = MountKeks { moved: keks.moved + batch.moved.len() as u64, ..keks };
            let mut changes = batch.changes;
            changes.extend(self.renamed(session, secrets, &batch.moved, keks.epoch)?);
            changes.push(keks.put(&session.rows, self.mount.id, expect)?);
            let what = format!(
                "{} payloads moved to KEK epoch {} in mount {}",
                batch.moved.len(),
                keks.epoch,
                self.mount.id
            );
            session.commit(changes, entry(what)).await.map(drop)
        };
        match done {
            Ok(()) => {
                self.conflicts = 0;
                self.moved += batch.moved.len() as u64;
                self.left += batch.left as u64;
                if batch.left > 0 {
                    self.skip_to(secrets, looked_at);
                }
                Ok(Rolled::More)
            }
            Err(OpError::Conflict(_)) => {
                self.conflicts += 1;
                if self.conflicts > CONFLICTS_MAX {
                    self.contended = true;
                    self.conflicts = 0;
                    self.skip_to(secrets, looked_at);
                }
                Ok(Rolled::More)
            }
            Err(error) => Err(error),
        }
    }

    /// Leaves the secrets behind that hold the pass up: those looked at, in whole.
    fn skip_to(&mut self, secrets: &[(Vec<u8>, SecretMeta, u64)], looked_at: &[Wanted]) {
        if let Some(last) = looked_at.last() {
            self.after.clone_from(&secrets[last.secret].0);
        }
    }

    /// Metadata that says where payloads are now.
    fn renamed(
        &self,
        session: &Session,
        secrets: &[(Vec<u8>, SecretMeta, u64)],
        moved: &[Wanted],
        epoch: u32,
    ) -> Result<Vec<Write>, OpError> {
        let mut versions = BTreeMap::<usize, Vec<u64>>::new();
        for want in moved {
            versions.entry(want.secret).or_default().push(want.version);
        }
        let mut changes = Vec::with_capacity(versions.len());
        for (secret, versions) in versions {
            let (key, meta, revision) = &secrets[secret];
            let mut meta = meta.clone();
            versions.into_iter().for_each(|version| meta.moved(version, epoch));
            changes.push(session.rows.put_paged(self.metas(), key, &meta, Expect::Revision(*revision))?);
        }
        Ok(changes)
    }

    /// A pass has seen every secret. If it found nothing to move, the old capsules go; then the roll has
    /// ended.
    async fn end_pass(
        &mut self,
        session: &Session,
        keks: MountKeks,
        expect: Expect,
    ) -> Result<Rolled, OpError> {
        let again = self.moved > 0 || self.contended;
        if !again && self.left > 0 {
            error!(payloads = self.left, mount = %self.mount.id, "payloads are damaged and cannot be moved; restore them from a backup");
            return Ok(Rolled::Stuck(self.left));
        }
        if again {
            *self = Self::of(self.mount.clone());
            return Ok(Rolled::More);
        }
        if self.remove_old(session, keks.epoch).await? {
            return Ok(Rolled::More);
        }
        let finished_ms = session.now().unix_ms.max(1);
        let settled = MountKeks { phase: Phase::Settled, finished_ms, ..keks };
        let change = settled.put(&session.rows, self.mount.id, expect)?;
        let what = format!("the roll to KEK epoch {} of mount {} has ended", keks.epoch, self.mount.id);
        match session.commit(vec![change], entry(what)).await {
            Err(OpError::Conflict(_)) => return Ok(Rolled::More), // the mount is being removed
            done => drop(done?),
        }
        info!(mount = %self.mount.id, kek_epoch = keks.epoch, "the KEK roll has ended");
        Ok(Rolled::Settled)
    }

    /// Removes some capsules of other epochs, to which nothing refers any more. Whether there were any.
    async fn remove_old(&self, session: &Session, epoch: u32) -> Result<bool, OpError> {
        let mut changes = Vec::new();
        let mut slots = Vec::new();
        for (bucket, epochs) in buckets(session, &self.mount).await? {
            for old in epochs.into_iter().filter(|&old| old != epoch) {
                let slot = slot(self.mount.id, bucket, old);
                changes.push(Write::Delete { key: CapsulePlace::from(slot).key(), expect: Expect::Any });
                slots.push(slot);
            }
        }
        changes.truncate(PAGE_ROWS);
        if changes.is_empty() {
            return Ok(false);
        }
        let what =
            format!("{} capsules of older KEK epochs removed from mount {}", changes.len(), self.mount.id);
        drop(session.commit(changes, entry(what)).await?);
        slots.iter().take(PAGE_ROWS).for_each(|slot| session.keys.forget(slot));
        Ok(true)
    }

    fn metas(&self) -> Place<'static> {
        Place { tenant: TenantId::SYSTEM, table: SECRETS, scope: self.mount.id, group: "", name: "" }
    }
}

/// The payloads of a page that are under another epoch, up to a batch, in order of the secrets.
fn wanted(secrets: &[(Vec<u8>, SecretMeta, u64)], epoch: u32) -> Vec<Wanted> {
    let of_secret = |(secret, (_, meta, _)): (usize, &(Vec<u8>, SecretMeta, u64))| {
        let others = meta.payloads_not_under(epoch);
        others.map(|(version, from)| Wanted { secret, version, from }).take(PAYLOADS_MAX).collect::<Vec<_>>()
    };
    secrets.iter().enumerate().flat_map(of_secret).take(PAYLOADS_MAX).collect()
}

/// The buckets of a mount, and the epochs that each has a capsule of.
async fn buckets(session: &Session, mount: &Mount) -> Result<BTreeMap<u32, BTreeSet<u32>>, OpError> {
    let prefix = rows::prefix(TenantId::SYSTEM, CAPSULES, mount.id);
    let mut buckets = BTreeMap::<u32, BTreeSet<u32>>::new();
    for key in session.rows.keys(&prefix, rows::ROWS_MAX).await? {
        if let Some(CapsulePlace::Bucket(slot)) = CapsulePlace::of_key(&key) {
            buckets.entry(slot.bucket).or_default().insert(slot.epoch);
        }
    }
    Ok(buckets)
}
