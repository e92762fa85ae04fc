//! A change of the group from its first store to its end, whatever began it; and the renewal of a manifest.
//!
//! ```text
//! run certified ─▶ [stored] ─▶ committed ─▶ manifest signed ─▶ canaries ─▶ taken into use [stored]
//!               ─▶ old shares erased ─▶ [cleared]
//! ```
//!
//! From the first store on a change can only go forward: some node may have committed. Whoever repeats it
//! after a crash or a lost answer continues where it stood, because every step can be repeated. Until the end
//! nodes answer for both epochs of shares, so capsules open all the while.

use symbolon_proto::dkg::{GroupKey, Run};
use symbolon_proto::frame::GroupOp;
use symbolon_proto::manifest::{Manifest, VerifiedManifest};
use symbolon_proto::proposal::Proposal;
use tracing::warn;

use super::change_rows::{self, Change};
use crate::access::Session;
use crate::remote::enrolled::Enrolled;
use crate::remote::group::canary::canary;
use crate::remote::group::meeting::Meeting;
use crate::remote::group::member::GroupMember;
use crate::remote::group::relay::{self, Certified};
use crate::remote::group::{GroupError, cosign};
use crate::remote::leases::Leases;
use crate::remote::{Progress, Remote};
use crate::upkeep::enrolment;

/// Renews a manifest with less left than this: half of its 30 days.
const RENEW_BEFORE_SECS: u64 = 15 * 24 * 60 * 60;

/// One change under way, and where it reports to.
pub struct Changer<'a> {
    pub(super) session: &'a Session,
    pub(super) remote: &'a Remote,
}

impl<'a> Changer<'a> {
    /// For the remote of a session.
    #[must_use]
    pub fn new(session: &'a Session, remote: &'a Remote) -> Self {
        Self { session, remote }
    }

    /// Goes on with a change that was begun and not finished; tells a node that left; has the next manifest
    /// signed when half of the time of this one is over. One service renews its own.
    pub async fn tend(&self) -> Result<(), GroupError> {
        let Ok(_turn) = self.remote.changing().try_lock() else { return Ok(()) };
        let Some(group) = self.remote.group() else { return Ok(()) };
        if let Some(change) = self.stored().await? {
            return self.proceed(change).await;
        }
        if !self.remote.is_newest() {
            return Ok(()); // nothing is renewed from, or told of, a manifest that may be an old one
        }
        self.note_addresses(&group).await?;
        self.tell_next().await?;
        let manifest = self.remote.manifest();
        let left = manifest.manifest().not_after_secs.saturating_sub(self.now_secs());
        if left >= RENEW_BEFORE_SECS {
            return Ok(());
        }
        self.proceed(Change::renewal(&group, manifest.manifest().group_key())).await
    }

    /// The nodes, met as the broker of this session.
    pub(super) fn meeting(&self) -> Meeting<'a> {
        Meeting::new(self.remote, self.session.generation())
    }

    async fn stored(&self) -> Result<Option<Change>, GroupError> {
        change_rows::read_change(&self.session.rows).await.map_err(|_| GroupError::Store)
    }

    /// From the first store to the last. What stops is under way no more: the next heartbeat goes on with it.
    pub(super) async fn proceed(&self, change: Change) -> Result<(), GroupError> {
        let what = change.what;
        self.remote.progress().send_modify(|progress| progress.change = what);
        self.forward(change).await.inspect_err(|_| self.remote.nothing_under_way())
    }

    async fn forward(&self, mut change: Change) -> Result<(), GroupError> {
        // A renewal is nothing before its body. Stored any earlier, a member that is gone for ever would bar
        // the reshare without it.
        if change.run.is_some() {
            self.keep(&change).await?;
        }
        let members = self.meeting().all(&change.group).await?;
        let all: Vec<_> = members.iter().collect();
        if let Some((run, certified)) = &change.run {
            self.step("shares come into use", 0, all.len());
            relay::commit(*run, &change.group, certified, &all).await?;
        }
        if change.body.is_none() {
            // Stored before anybody signs: no node signs two manifests with one number.
            change.body = Some(self.body(&change)?);
            self.keep(&change).await?;
        }
        let body = change.body.as_ref().ok_or(GroupError::Store)?;
        self.step("the manifest is signed", 0, all.len());
        let manifest = cosign::cosign(body, &all).await?;
        let enrolled = self.followed_by(&change.group, manifest)?;
        if change.run.is_some() {
            self.prove(&enrolled).await?;
        }
        self.remote.adopt(enrolled).map_err(|_| GroupError::NotAGroup)?;
        enrolment::keep(self.session, self.remote).await.map_err(|_| GroupError::Store)?;
        self.acknowledge(&change, &all).await?;
        let leavers = self.leavers(&change).await?;
        let has_leavers = !leavers.is_empty();
        change_rows::finish_change(self.session, leavers).await.map_err(|_| GroupError::Store)?;
        self.step(Progress::DONE, 1, 1);
        // The change is done whatever becomes of these.
        let noted = self.note_addresses(&change.group).await;
        let told = if has_leavers { self.tell_all().await } else { Ok(()) };
        if let Err(error) = noted.and(told) {
            warn!(%error, "nodes that left were not told of the change; the next heartbeats try again");
        }
        Ok(())
    }

    /// What the broker holds when `manifest` is the newest. Asked again after it was taken into use, the
    /// same.
    fn followed_by(&self, group: &Proposal, manifest: VerifiedManifest) -> Result<Enrolled, GroupError> {
        let held = self.remote.enrolled();
        let next = Enrolled::group(group.clone(), manifest).ok_or(GroupError::NotAGroup)?;
        held.manifest.next(next.manifest.as_bytes(), &next.root)?;
        let mut older = held.older;
        if held.manifest.manifest().key_epoch != next.manifest.manifest().key_epoch {
            older.push(held.manifest);
        }
        Ok(Enrolled { older, ..next })
    }

    /// Canaries under the new manifest, on connections and leases of their own.
    async fn prove(&self, enrolled: &Enrolled) -> Result<(), GroupError> {
        let trial =
            self.remote.trial(enrolled.clone(), Leases::default()).map_err(|_| GroupError::NotAGroup)?;
        trial.hello(self.session.generation()).await.map_err(GroupError::Canary)?;
        let done = |done, total| self.step("canaries", done, total);
        canary(&trial, self.session.unsealed(), done).await.map_err(GroupError::Canary)
    }

    /// The new shares work: earlier ones are erased, and what the nodes keep of the run.
    async fn acknowledge(&self, change: &Change, nodes: &[&GroupMember]) -> Result<(), GroupError> {
        let Some((run, _)) = &change.run else { return Ok(()) };
        let Run { key, key_epoch, share_epoch, .. } = *run;
        for (done, node) in nodes.iter().enumerate() {
            self.step("old shares are erased", done, nodes.len());
            node.ask_done(GroupOp::Acknowledge { key, key_epoch, share_epoch }).await?;
        }
        Ok(())
    }

    fn body(&self, change: &Change) -> Result<Manifest, GroupError> {
        let held = self.remote.manifest();
        let epochs = match &change.run {
            Some((run, _)) => (run.key_epoch, run.share_epoch),
            None => (held.manifest().key_epoch, held.manifest().share_epoch),
        };
        let terms = &self.remote.settings().terms;
        cosign::body(&change.group, &change.key, epochs, terms, Some(&held), self.now_secs())
    }

    pub(super) fn group(&self) -> Result<Proposal, GroupError> {
        let made_alone = || match self.remote.settings().nodes.len() {
            1 => GroupError::NotAGroup,
            _ => GroupError::MadeAlone,
        };
        self.remote.group().ok_or_else(made_alone)
    }

    pub(super) fn not_rotating(&self) -> Result<(), GroupError> {
        if self.remote.enrolled().older.is_empty() { Ok(()) } else { Err(GroupError::Rotating) }
    }

    /// The change of this kind that was begun; an error if another was.
    pub(super) async fn begun(&self, wanted: &'static str) -> Result<Option<Change>, GroupError> {
        self.remote.progress().send_replace(Progress { change: wanted, ..Progress::default() });
        match self.stored().await? {
            Some(change) if change.what != wanted => {
                Err(GroupError::UnderWay { under_way: change.what, wanted })
            }
            begun => Ok(begun),
        }
    }

    async fn keep(&self, change: &Change) -> Result<(), GroupError> {
        change_rows::keep_change(self.session, change).await.map_err(|_| GroupError::Store)
    }

    pub(super) fn step(&self, step: &'static str, done: usize, total: usize) {
        self.remote
            .progress()
            .send_modify(|progress| (progress.step, progress.done, progress.total) = (step, done, total));
    }

    fn now_secs(&self) -> u64 {
        self.session.now().unix_secs()
    }
}

impl Change {
    pub(super) fn new(what: &'static str, run: Run, group: &Proposal, certified: Certified) -> Self {
        let key = certified.key.clone();
        Self { what, group: group.clone(), before: None, key, run: Some((run, certified)), body: None }
    }

    fn renewal(group: &Proposal, key: GroupKey) -> Self {
        Self { what: "renew", group: group.clone(), before: None, key, run: None, body: None }
    }
}
