//! Whether this store is the newest one: the remote remembers the audit log, and a store that does not
//! continue what it remembers is not opened (`docs/skb1.md` 6.9).
//!
//! ```text
//! unseal, or the first contact ── get ─▶ our log as it was then? ── no ─▶ refused, sealed
//!                                                                └─ yes ─▶ hello, leases, keys
//! heartbeat, orderly seal ── log has grown? ─▶ put (size, HMAC(K_state, root ‖ size))
//! ```
//!
//! The log stands for the whole store because every change carries an entry. A crash before a put leaves a
//! log that is longer than the anchor and continues it, which is fine. A store passes if t of the n nodes
//! remember nothing else than it holds, and is refused if so many contradict it that no t are left; with
//! fewer answers nothing is known yet. So a rolled-back store passes only if t nodes have forgotten or missed
//! the newest anchor, and a node that remembers what never was cannot stop t others. With one node, that one
//! can deny service, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use symbolon_core::seal::Unsealed;
use symbolon_proto::frame::AnchorValue;
use symbolon_proto::log::Head;

use crate::audit::log::{LogError, LogReader};
use crate::audit::retention::ledger::Ledger;
use crate::error::OpError;
use crate::remote::nodes::Remembered;
use crate::remote::{EvaluateError, NodeFailure, Remote};
use crate::rows::Rows;
use crate::store::Store;
use tracing::warn;

/// The store does not continue what the fragment service remembers. The texts are for the broker's operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolledBack {
    /// The log ends before the remembered one did.
    #[error(
        "this store is an old copy: its log has {found} entries, and the fragment service remembers {expected}; restore the newest backup, or have two officers of the fragment service admit the older state"
    )]
    Older {
        /// Entries in this store.
        found: u64,
        /// Entries that the service remembers.
        expected: u64,
    },
    /// The log is long enough, but it was another one.
    #[error(
        "this store does not continue the log of {size} entries that the fragment service remembers: it is a copy that went its own way, or the service's memory is wrong; restore the newest backup, or have two officers of the fragment service admit this state"
    )]
    OtherHistory {
        /// Entries that the service remembers.
        size: u64,
    },
}

/// Why the anchor was not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The service could not be asked. Nothing is known, and the next contact asks again.
    #[error(transparent)]
    Away(#[from] EvaluateError),
    /// The store is not the newest.
    #[error(transparent)]
    RolledBack(#[from] RolledBack),
    /// Our own log cannot be read.
    #[error("the audit log cannot be compared with what the fragment service remembers")]
    Log(#[from] LogError),
}

/// The anchor of one unsealed period.
pub struct Anchor {
    remote: Arc<Remote>,
    log: LogReader,
    rows: Rows,
    unsealed: Arc<Unsealed>,
    confirmed: AtomicBool,
    forgotten: AtomicBool,
    anchored: AtomicU64,
}

/// What the nodes said, counted.
#[derive(Default)]
struct Tally {
    fitting: usize,
    contradicting: Vec<(u16, RolledBack)>,
    failures: Vec<NodeFailure>,
}

impl Anchor {
    /// The anchor of the log in `store`, not yet compared.
    #[must_use]
    pub fn new(remote: Arc<Remote>, store: Arc<dyn Store>, unsealed: Arc<Unsealed>) -> Self {
        Self {
            remote,
            log: LogReader::new(Arc::clone(&store)),
            rows: Rows::new(store, Arc::clone(&unsealed)),
            unsealed,
            confirmed: AtomicBool::new(false),
            forgotten: AtomicBool::new(false),
            anchored: AtomicU64::new(0),
        }
    }

    /// Whether the service has been asked in this unsealed period, and the log continues what it remembers.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Acquire)
    }

    /// Whether the service was asked and remembers nothing of the log: it is a new one, or officers have
    /// admitted an older state, or the service has lost its memory.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Acquire)
    }

    /// Entries of the log that enough nodes remember since this unseal; nothing of it is pruned beyond.
    #[must_use]
    pub fn anchored(&self) -> u64 {
        self.anchored.load(Ordering::Acquire)
    }

    /// Asks the service, unless that has succeeded before. Until then no key is opened.
    pub async fn confirm(&self) -> Result<(), AnchorError> {
        if self.is_confirmed() {
            return Ok(());
        }
        let remembered = self.remote.anchors().await;
        let forgotten = !remembered.iter().any(|(_, answer)| matches!(answer, Ok(Some(_))));
        self.judge(remembered).await?;
        self.forgotten.store(forgotten, Ordering::Release);
        self.confirmed.store(true, Ordering::Release);
        Ok(())
    }

    /// Puts the anchor of the log as it is, wherever it has not been put yet.
    pub async fn update(&self) -> Result<(), AnchorError> {
        if !self.is_confirmed() {
            return Ok(());
        }
        let Some(anchor) = self.current().await? else { return Ok(()) };
        // What a node holds instead is another put of ours that was faster, or the anchor of somebody else's
        // log.
        let size = anchor.counter;
        self.judge(self.remote.put_anchor(anchor).await).await?;
        self.anchored.store(size, Ordering::Release);
        Ok(())
    }

    async fn judge(&self, remembered: Vec<Remembered>) -> Result<(), AnchorError> {
        let (nodes, threshold) = (remembered.len(), self.remote.manifest().manifest().threshold());
        let mut tally = Tally::default();
        for (node, answer) in remembered {
            match answer {
                Ok(None) => tally.fitting += 1,
                Ok(Some(anchor)) => match self.contradiction(&anchor).await? {
                    None => tally.fitting += 1,
                    Some(reason) => tally.contradicting.push((node, reason)),
                },
                Err(error) => tally.failures.push(NodeFailure { node, error }),
            }
        }
        tally.verdict(nodes, threshold)
    }

    async fn current(&self) -> Result<Option<AnchorValue>, LogError> {
        let end = self.log.end().await?;
        Ok(end.map(|Head { size, root }| self.unsealed.state().anchor(size, &root)))
    }

    /// How our log contradicts an anchor, if it does.
    async fn contradiction(&self, anchor: &AnchorValue) -> Result<Option<RolledBack>, LogError> {
        let expected = anchor.counter;
        let root = match self.log.root_at(expected).await {
            Err(LogError::Gone { minimum }) => return self.pruned_contradiction(expected, minimum).await,
            root => root?,
        };
        let Some(root) = root else {
            return Ok(Some(RolledBack::Older { found: self.log.size().await?, expected }));
        };
        let ours = self.unsealed.state().made_anchor(anchor, &root);
        Ok((!ours).then_some(RolledBack::OtherHistory { size: expected }))
    }

    /// The same of an anchor before everything that is kept. Where the log begins stands in a row that
    /// whoever has the disk can write; it counts if the sealed ledger names the same beginning and the log
    /// reaches it. Then t nodes knew that much of it once, and this one has lost what it was told since.
    async fn pruned_contradiction(
        &self,
        expected: u64,
        minimum: u64,
    ) -> Result<Option<RolledBack>, LogError> {
        let ledger = match Ledger::of(&self.rows).await {
            Err(OpError::Unavailable(_)) => return Err(LogError::Gone { minimum }),
            ledger => ledger.unwrap_or_default(),
        };
        if ledger.minimum() != minimum || self.log.size().await? < minimum {
            return Ok(Some(RolledBack::OtherHistory { size: expected }));
        }
        warn!(
            expected,
            minimum,
            "a fragment service node remembers a log older than what is kept, as one does that has lost what it was told since"
        );
        Ok(None)
    }
}

impl Tally {
    fn verdict(mut self, nodes: usize, threshold: u16) -> Result<(), AnchorError> {
        if self.fitting >= usize::from(threshold) {
            for (node, reason) in &self.contradicting {
                warn!(node, %reason, "a fragment service node contradicts the others; ask its operator why");
            }
            return Ok(());
        }
        if let Some((_, reason)) = self.contradicting.first()
            && self.contradicting.len() + usize::from(threshold) > nodes
        {
            return Err((*reason).into());
        }
        Err(AnchorError::Away(match (nodes, self.failures.pop()) {
            (1, Some(only)) => only.error,
            (_, last) => {
                self.failures.extend(last);
                EvaluateError::TooFew { threshold, answered: self.fitting, failures: self.failures }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(fitting: usize, contradicting: usize, away: usize) -> Result<(), AnchorError> {
        let failure = NodeFailure { node: 9, error: EvaluateError::Busy };
        let tally = Tally {
            fitting,
            contradicting: vec![(1, RolledBack::OtherHistory { size: 7 }); contradicting],
            failures: vec![failure; away],
        };
        tally.verdict(fitting + contradicting + away, 3)
    }

    #[test]
    fn three_of_five_decide_and_two_can_neither_pass_nor_refuse() {
        for (fitting, contradicting, away) in [(5, 0, 0), (3, 0, 2), (3, 2, 0), (4, 1, 0)] {
            assert!(verdict(fitting, contradicting, away).is_ok(), "{fitting} {contradicting} {away}");
        }
        for (fitting, contradicting, away) in [(2, 3, 0), (0, 3, 2), (0, 5, 0), (1, 4, 0)] {
            let verdict = verdict(fitting, contradicting, away);
            assert!(matches!(verdict, Err(AnchorError::RolledBack(_))), "{fitting} {contradicting} {away}");
        }
        for (fitting, contradicting, away) in [(2, 2, 1), (0, 0, 5), (2, 0, 3), (0, 2, 3)] {
            let verdict = verdict(fitting, contradicting, away);
            assert!(matches!(verdict, Err(AnchorError::Away(_))), "{fitting} {contradicting} {away}");
        }
    }
}
