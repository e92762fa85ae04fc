//! One segment into its place, and read back to its end before anybody is told.

use sha2::{Digest as _, Sha256};
use symbolon_proto::id::DeploymentId;
use symbolon_proto::log::{Segment, VerifierKey};

use super::error::RoundError;
use crate::audit::log::LogReader;
use crate::audit::retention::packing::{Packing, Proven};
use crate::audit::retention::segments::{Exported, Known, PlaceId};
use crate::audit::retention::unpacking::Object;
use crate::place::{BrokenOff, Place, PlaceError};

/// Digits of a deployment's id in a name: enough to tell deployments apart that share a bucket.
const ID_DIGITS: usize = 8;

/// Where segments go.
pub struct Target {
    /// The directory or bucket.
    pub place: Place,
    /// Its address.
    pub address: String,
    /// What stands for it in rows.
    pub id: PlaceId,
    /// Whose log it is.
    pub deployment: DeploymentId,
}

/// What lies in a place under the name of a segment.
#[derive(Clone, Copy, Debug)]
pub enum Held {
    /// All of it, with a checkpoint that was signed after it.
    Same(Exported),
    /// Nothing, half an object, or one with other hashes or without such a checkpoint.
    Lost,
    /// A whole object with other entries.
    Other,
}

impl Target {
    /// The name of a segment's object.
    #[must_use]
    pub fn name(&self, segment: Segment) -> String {
        segment.object(&digits(self.deployment))
    }

    /// Writes a segment, and reads it back. Half an object that is there already, or one with the same
    /// entries, is replaced: whoever wrote it did not come as far as to say so. A whole one with other
    /// entries is left alone: it can be the only copy of a log that was lost, or another broker's.
    pub async fn export(
        &self,
        log: LogReader,
        segment: Segment,
        key: &VerifierKey,
    ) -> Result<Known, RoundError> {
        let name = self.name(segment);
        if let Some(object) = self.find(segment).await? {
            let proven = Packing::begin(log.clone(), segment, key).await?.prove_all().await?;
            if !object.has_entries_of(&proven) {
                return Err(RoundError::Occupied { name });
            }
        }
        let mut packing = Packing::begin(log, segment, key).await?;
        self.place.put(&name, &mut packing).await.map_err(of_log)?;
        let exported = packing.exported(self.id);
        self.read_back(&name, &exported).await?;
        Ok(Known { exported: Some(exported), ..packing.known() })
    }

    /// The object of a segment, if there is a whole one.
    async fn find(&self, segment: Segment) -> Result<Option<Object>, RoundError> {
        match self.place.get(&self.name(segment)).await {
            Ok(bytes) => Ok(Object::read(bytes, segment).await?),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What lies in the place of a segment that was proven in the store, read to its end.
    pub async fn held(
        &self,
        segment: Segment,
        proven: &Proven,
        key: &VerifierKey,
    ) -> Result<Held, RoundError> {
        let Some(object) = self.find(segment).await? else { return Ok(Held::Lost) };
        if !object.has_entries_of(proven) {
            return Ok(Held::Other);
        }
        let (sha256, bytes) = object.digest();
        let same = Held::Same(Exported { place: self.id, sha256, bytes });
        Ok(if object.is_of(proven, segment, key) { same } else { Held::Lost })
    }

    async fn read_back(&self, name: &str, written: &Exported) -> Result<(), RoundError> {
        let (mut hash, mut length) = (Sha256::new(), 0_u64);
        let mut bytes = self.place.get(name).await?;
        while let Some(piece) = bytes.next().await? {
            hash.update(&piece);
            length += piece.len() as u64;
        }
        let found: [u8; 32] = hash.finalize().into();
        let is_same = (found, length) == (written.sha256, written.bytes);
        if is_same { Ok(()) } else { Err(RoundError::ReadBack { expected: written.bytes, found: length }) }
    }

    /// Removes what a killed process has left of an object in a directory.
    pub async fn sweep(&self) -> Result<(), RoundError> {
        let beginning = format!("symbolon-{}-log-", digits(self.deployment));
        Ok(self.place.sweep(|name| name.starts_with(&beginning) && name.contains(".tar#")).await?)
    }
}

fn digits(deployment: DeploymentId) -> String {
    deployment.to_string().chars().take(ID_DIGITS).collect()
}

/// A log that cannot be read is no fault of the place.
fn of_log(error: PlaceError) -> RoundError {
    match error {
        PlaceError::BrokenOff(BrokenOff::Store(error)) => RoundError::Broker(error.into()),
        PlaceError::BrokenOff(BrokenOff::Unreadable(cause)) => RoundError::Unreadable(cause),
        error => RoundError::Place(error),
    }
}
