//! From a snapshot to the bytes of a backup, as fast as they are taken.

use symbolon_proto::backup::{About, BackupWriter, HeadError};
use symbolon_proto::custodian::Card;
use symbolon_proto::id::{BackupId, DeploymentId};
use symbolon_proto::log::VerifierKey;
use symbolon_proto::signing::SigningSeed;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::journal::{Backups, Made};
use super::kept;
use crate::access::Session;
use crate::audit::writer::Moment;
use crate::error::{OpError, Text};
use crate::place::Source;
use crate::random::os_rng;
use crate::store::Snapshot;

pub use crate::place::BrokenOff;

/// Bytes of rows that are read in one go.
const READ_BYTES: usize = 256 << 10;

/// What a backup is signed with: the key of the log.
pub struct Signing {
    /// Verifies it.
    pub key: VerifierKey,
    /// Makes it.
    pub seed: SigningSeed,
}

/// A backup under way. Dropping it lets the next one begin.
pub struct Making {
    about: About,
    snapshot: Box<dyn Snapshot>,
    /// `None` once the last bytes were given out.
    writer: Option<(BackupWriter, SigningSeed)>,
    is_whole: bool,
    rows: u64,
    bytes: u64,
    closing: watch::Receiver<bool>,
    _turn: OwnedSemaphorePermit,
}

impl Making {
    /// Begins one for the owners of `cards`: everything that is durable now will be in it.
    pub async fn begin(
        session: &Session,
        backups: &Backups,
        cards: &[Card],
        signing: Signing,
    ) -> Result<Self, OpError> {
        let turn = backups.turn()?;
        let Moment { entries, snapshot } = session.moment().await?;
        let about = About {
            deployment: session.unsealed().deployment(),
            backup: BackupId::random(&mut os_rng()),
            made: session.now().unix_ms / 1000,
            entries,
            log_key: signing.key,
        };
        let writer = BackupWriter::begin(about.clone(), cards, &mut os_rng())?;
        let closing = session.keys.closing();
        let writer = Some((writer, signing.seed));
        Ok(Self { about, snapshot, writer, is_whole: false, rows: 0, bytes: 0, closing, _turn: turn })
    }

    /// Its name in a place.
    #[must_use]
    pub fn name(&self) -> String {
        kept::name(&self.about)
    }

    /// Of which deployment it is.
    #[must_use]
    pub const fn deployment(&self) -> DeploymentId {
        self.about.deployment
    }

    /// The bytes that follow; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, BrokenOff> {
        while let Some((mut writer, seed)) = self.writer.take() {
            let rows = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closed| *closed) => return Err(BrokenOff::Sealed),
                rows = self.snapshot.next(READ_BYTES) => rows?,
            };
            for (key, value) in &rows {
                writer.row(key, value, &mut os_rng());
            }
            self.rows += rows.len() as u64;
            let bytes = match rows.is_empty() {
                true => {
                    self.is_whole = true;
                    writer.finish(&seed, &mut os_rng())
                }
                false => {
                    let bytes = writer.take();
                    self.writer = Some((writer, seed));
                    bytes
                }
            };
            if !bytes.is_empty() {
                self.bytes += bytes.len() as u64;
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// What was made, after the last bytes; `None` before.
    #[must_use]
    pub fn made(&self) -> Option<Made> {
        let made = || Made {
            at: self.about.made,
            place: String::new(),
            name: self.name(),
            bytes: self.bytes,
            rows: self.rows,
            entries: self.about.entries,
        };
        self.is_whole.then(made)
    }
}

impl Source for Making {
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, BrokenOff>> + Send {
        self.next()
    }
}

impl From<HeadError> for OpError {
    fn from(error: HeadError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}
