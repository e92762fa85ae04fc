//! Everything a request may use while the broker is open: keys, rows, the writer, mounts and policies.
//!
//! A session begins with an unseal and ends with a seal. What it does not know by name stands in its `State`.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use symbolon_core::audit::{Action, Draft, Receipt};
use symbolon_core::clock::{Clock, Now};
use symbolon_core::dead_man::DeadMan;
use symbolon_core::path::{ApiPath, PolicyName};
use symbolon_core::policy::{Acl, Policy};
use symbolon_core::seal::Unsealed;
use symbolon_proto::hierarchy::AuditKey;
use symbolon_proto::log::{Frontier, VerifierKey};
use symbolon_proto::source::Source;
use tokio::sync::OwnedMutexGuard;

use super::freshness::{self, Configuration, Freshness};
use super::mounts::{MountList, MountTables, Mounts, Side};
use super::policies::Policies;
use super::shape::Shape;
use super::state::State;
use crate::audit::retention::Changes;
use crate::audit::retention::reserve::Reserve;
use crate::audit::sinks::cursor::Bookmark;
use crate::audit::strangers::Strangers;
use crate::audit::writer::{Moment, Writer};
use crate::error::OpError;
use crate::keys::{Keys, Ledger};
use crate::rows::Rows;
use crate::store::Write;

/// How often a closing session looks whether its keys are gone.
const REMAINS_POLL: Duration = Duration::from_millis(2);

/// What a session is made of.
pub struct Parts {
    /// Encrypted rows.
    pub rows: Rows,
    /// KEKs, split with the remote.
    pub keys: Keys,
    /// Mounts and policies.
    pub configuration: Configuration,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The keys of this unsealed period.
    pub unsealed: Arc<Unsealed>,
    /// Who commits.
    pub writer: Writer,
    /// How often the deployment has been unsealed.
    pub generation: u64,
    /// Seals the broker if no lease comes for too long.
    pub dead_man: DeadMan,
    /// What engines, methods and the system say of themselves.
    pub shape: Arc<Shape>,
}

/// One unsealed period of the broker.
pub struct Session {
    /// Encrypted rows.
    pub rows: Rows,
    /// KEKs, split with the remote.
    pub keys: Keys,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Seals the broker if no lease comes for too long.
    pub dead_man: DeadMan,
    unsealed: Arc<Unsealed>,
    writer: Writer,
    strangers: Strangers,
    generation: u64,
    mounts: MountTables,
    policies: Policies,
    shape: Arc<Shape>,
    freshness: Freshness,
    state: State,
    /// Held from the commit of policies or mounts until they are in use.
    taking: Arc<tokio::sync::Mutex<()>>,
}

/// What may be left of the keys of a closed session: requests under way, background tasks and the log's
/// writer let go of theirs one after the other.
pub struct Remains {
    unsealed: Weak<Unsealed>,
    audit: Weak<AuditKey>,
}

impl Remains {
    /// Waits until every key has been wiped.
    pub async fn gone(&self) {
        while self.unsealed.strong_count() + self.audit.strong_count() > 0 {
            tokio::time::sleep(REMAINS_POLL).await;
        }
    }
}

/// That nobody else of this broker changes what requests see in memory.
pub struct Turn(#[expect(dead_code, reason = "held, not looked at")] OwnedMutexGuard<()>);

impl Session {
    /// Puts a session together.
    #[must_use]
    pub fn assemble(parts: Parts) -> Arc<Self> {
        let freshness = Freshness::of(&parts.configuration);
        let Configuration { mounts, policies, .. } = parts.configuration;
        Arc::new(Self {
            rows: parts.rows,
            keys: parts.keys,
            clock: parts.clock,
            dead_man: parts.dead_man,
            unsealed: parts.unsealed,
            writer: parts.writer,
            strangers: Strangers::default(),
            generation: parts.generation,
            mounts: MountTables::new(mounts),
            policies,
            shape: parts.shape,
            freshness,
            state: State::default(),
            taking: Arc::default(),
        })
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// How often this deployment has been unsealed; the remote fences older generations.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What verifies the checkpoints of the log.
    #[must_use]
    pub fn log_key(&self) -> &VerifierKey {
        self.writer.verifier()
    }

    /// Entries of the log that are durable.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.writer.size()
    }

    /// The tree over the entries of the log, as this process has made it.
    #[must_use]
    pub fn log_tree(&self) -> Frontier {
        self.writer.tree()
    }

    /// Waits until the stored checkpoint covers all entries that are durable now.
    pub async fn store_checkpoint(&self) -> Result<(), OpError> {
        Ok(self.writer.store_checkpoint().await?)
    }

    /// All rows between two commits, under a checkpoint of all entries.
    pub async fn moment(&self) -> Result<Moment, OpError> {
        Ok(self.writer.moment().await?)
    }

    /// The keys of this unsealed period.
    #[must_use]
    pub fn unsealed(&self) -> &Unsealed {
        &self.unsealed
    }

    /// The same, for whoever makes the keys that follow.
    #[must_use]
    pub fn shared_unsealed(&self) -> &Arc<Unsealed> {
        &self.unsealed
    }

    /// What a folder keeps while the broker is open, by its type.
    #[must_use]
    pub fn of<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.state.of()
    }

    /// What engines, methods and the system say of themselves.
    #[must_use]
    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// Whether a path needs `sudo` beside the operation's capability.
    #[must_use]
    pub fn needs_sudo(&self, path: &ApiPath) -> bool {
        self.shape.needs_sudo(&self.mounts(), path)
    }

    /// The mounts as they are now.
    #[must_use]
    pub fn mounts(&self) -> Arc<Mounts> {
        self.mounts.now()
    }

    /// Takes a changed table into use.
    pub fn replace_mounts(&self, side: Side, list: MountList) {
        self.mounts.replace(side, list);
    }

    /// Merged policies of a caller.
    #[must_use]
    pub fn acl(&self, names: &[PolicyName]) -> Arc<Acl> {
        self.policies.acl(names)
    }

    /// Names of the policies that exist, without `root`.
    #[must_use]
    pub fn policy_names(&self) -> Vec<String> {
        self.policies.names()
    }

    /// Takes a changed policy into use.
    pub fn replace_policy(&self, name: &PolicyName, policy: Option<Policy>) {
        self.policies.replace(name, policy);
    }

    /// Reads mounts and policies again if another broker has changed them, at the beginning of a request.
    /// Most requests need not even look.
    pub async fn refresh(&self) -> Result<(), OpError> {
        if !self.freshness.is_due(self.now()) {
            return Ok(());
        }
        let _looking = self.freshness.turn().await;
        let began = self.now();
        if !self.freshness.is_due(began) {
            return Ok(()); // somebody has looked meanwhile
        }
        if self.freshness.is_other(&self.rows).await? {
            self.read_again().await?;
        }
        self.freshness.has_looked(began);
        Ok(())
    }

    async fn read_again(&self) -> Result<(), OpError> {
        // what is read must not take the place of what is committed meanwhile
        let _turn = self.taking_turn().await;
        let Configuration { mounts, policies, revision } = Configuration::read(&self.rows).await?;
        self.mounts.replace_all(mounts);
        self.policies.replace_all(policies);
        self.freshness.took(revision);
        Ok(())
    }

    /// The change that tells other brokers to do so.
    pub(super) fn configuration_changed(&self) -> Result<Write, OpError> {
        freshness::changed(&self.rows)
    }

    /// The turn to read, judge, commit and take into use what requests see in memory.
    pub(crate) async fn taking_turn(&self) -> Turn {
        Turn(Arc::clone(&self.taking).lock_owned().await)
    }

    /// Stops background work and wipes cached keys. What it gives back tells when nobody holds any other key
    /// either.
    #[must_use]
    pub fn close(&self) -> Remains {
        self.keys.close();
        Remains { unsealed: Arc::downgrade(&self.unsealed), audit: Arc::downgrade(&self.unsealed.audit()) }
    }

    /// Rows and log, for keys that make rows of their own.
    #[must_use]
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger { rows: &self.rows, writer: &self.writer, keys: &self.keys }
    }

    /// Commits an entry that belongs to no change and lets nothing leave.
    pub async fn record(&self, draft: Draft) -> Result<(), OpError> {
        self.commit(Vec::new(), draft).await.map(drop)
    }

    /// Enters a request by nobody known: the first of its source has an entry before it is answered, later
    /// ones are counted and written together. Nothing secret may leave with it.
    pub async fn record_stranger(&self, remote: Option<IpAddr>, draft: Draft) -> Result<(), OpError> {
        Ok(self.strangers.enter(&self.writer, Source::of(remote), draft, self.now()).await?)
    }

    /// Requests by nobody known that were counted and have no entry of their own.
    #[must_use]
    pub fn strangers_counted(&self) -> u64 {
        self.strangers.counted()
    }

    /// Writes what was counted of requests by nobody known, where its time has come.
    pub async fn write_strangers(&self) {
        self.strangers.write_due(&self.writer, self.now()).await;
    }

    /// Writes all that was counted, before the session ends.
    pub async fn settle_strangers(&self) {
        self.strangers.close(&self.writer, self.now()).await;
    }

    /// Commits changes of the log's own rows that retention makes.
    pub async fn retain(&self, changes: Changes, draft: Draft) -> Result<Receipt, OpError> {
        Ok(self.writer.retain(changes, draft).await?)
    }

    /// Remembers how far a sink has come, without an entry.
    pub async fn bookmark(&self, mark: Bookmark) -> Result<(), OpError> {
        Ok(self.writer.bookmark(mark).await?)
    }

    /// From now on nothing is entered but what frees space or protects, because the disk budget is used up;
    /// or everything again.
    pub fn limit_entries(&self, reserve: Option<Reserve>) {
        self.writer.limit(reserve);
    }

    /// That an entry of this action would be taken now.
    pub fn require_room(&self, action: Action) -> Result<(), OpError> {
        Ok(self.writer.require_room(action)?)
    }

    /// Commits changes together with their entry.
    pub async fn commit(&self, changes: Vec<Write>, draft: Draft) -> Result<Receipt, OpError> {
        Ok(self.writer.commit(changes, draft).await?)
    }
}
