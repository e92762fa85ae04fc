//! Verifying all of a log: every stored entry, recomputed, against the signed checkpoint.

use symbolon_proto::log::{Checkpoint, CheckpointError, Finding, Replay, Verified, VerifierKey};

use super::error::LogError;
use super::reader::LogReader;

/// Why a log does not verify.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It could not be read to the end.
    #[error("the log could not be read")]
    Read(#[source] LogError),
    /// There is no checkpoint to compare with.
    #[error("there is no checkpoint: nothing was ever logged, or it was removed")]
    CheckpointMissing,
    /// The checkpoint is not one that the key signed.
    #[error("the checkpoint does not verify")]
    Checkpoint(#[from] CheckpointError),
    /// Entries from this index on are missing or their bundle is damaged.
    #[error("entry {index} is missing, or the bundle that holds it is damaged")]
    Gap {
        /// The first bad index.
        index: u64,
    },
    /// What was pruned is not what the record of it says, or the record is not one.
    #[error("the log begins at entry {minimum}, and what is kept of the tree before it is not as it was")]
    Beginning {
        /// The first entry that is kept.
        minimum: u64,
    },
    /// The entries are not those that were signed.
    #[error(transparent)]
    Finding(#[from] Finding),
}

impl VerifyError {
    /// The first entry that is known to be bad, where it can be told.
    #[must_use]
    pub fn first_bad(&self) -> Option<u64> {
        match self {
            Self::Gap { index }
            | Self::Finding(
                Finding::Changed { index } | Finding::Index { index, .. } | Finding::Unreadable { index, .. },
            ) => Some(*index),
            Self::Finding(Finding::Missing { found, .. }) => Some(*found),
            Self::Finding(Finding::Unsigned { signed }) => Some(*signed),
            Self::Finding(Finding::ChangedSomewhere)
            | Self::Read(_)
            | Self::CheckpointMissing
            | Self::Beginning { .. }
            | Self::Checkpoint(_) => None,
        }
    }
}

impl LogReader {
    /// Recomputes everything that the latest checkpoint covers and that was not pruned. Reads all of it, a
    /// few bundles at a time.
    pub async fn verify_all(&self, key: &VerifierKey) -> Result<Verified, VerifyError> {
        let note = self.checkpoint().await?.ok_or(VerifyError::CheckpointMissing)?;
        let checkpoint = Checkpoint::open(&note, key)?;
        let size = checkpoint.size;
        let (mut replay, mut next) = self.beginning(checkpoint).await?;
        let begin = next;
        while next < size {
            for (first, entries) in self.bundles(next).await? {
                let skipped = next.checked_sub(first).filter(|skipped| *skipped < entries.len() as u64);
                // Only the bundle that straddles the minimum index begins before the next entry.
                let skipped = skipped.filter(|skipped| *skipped == 0 || next == begin);
                let skipped = skipped.and_then(|skipped| usize::try_from(skipped).ok());
                let skipped = skipped.ok_or(VerifyError::Gap { index: next })?;
                // A writer at work may have gone on since the checkpoint was read.
                let left = usize::try_from(size - next).unwrap_or(usize::MAX);
                for entry in entries.iter().skip(skipped).take(left) {
                    replay.push(&entry.bytes, Some(entry.leaf))?;
                    next += 1;
                }
                if next == size {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(replay.finish()?)
    }

    /// Where the log begins: at its first entry, or after what was pruned.
    async fn beginning(&self, checkpoint: Checkpoint) -> Result<(Replay, u64), VerifyError> {
        let pruned = self.pruned().await?;
        let before = self.frontier(pruned.minimum).await?;
        if before.root() != pruned.root || pruned.minimum > checkpoint.size {
            return Err(VerifyError::Beginning { minimum: pruned.minimum });
        }
        Ok((Replay::after(checkpoint, before), pruned.minimum))
    }
}

impl From<LogError> for VerifyError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Bundle { index } => Self::Gap { index },
            LogError::Checkpoint(error) => Self::Checkpoint(error),
            error @ (LogError::Store(_)
            | LogError::Head(_)
            | LogError::Tile { .. }
            | LogError::Pruned(_)
            | LogError::Short { .. }
            | LogError::Gone { .. }) => Self::Read(error),
        }
    }
}
