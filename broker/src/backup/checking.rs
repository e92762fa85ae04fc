//! Whether a backup is whole, and whose: nothing is restored, nothing is written.

use symbolon_proto::backup::{BackupError, BackupReader, Row, Whole};
use symbolon_proto::xwing::XWingSeed;

use super::place::{Bytes, PlaceError};

/// Why a backup was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It cannot be read.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// It is not whole, or not for this key.
    #[error(transparent)]
    Backup(#[from] BackupError),
}

/// Reads all of it; with a recipient's key gives each row to `take`.
pub async fn read<E: From<CheckError>>(
    mut bytes: Bytes,
    seed: Option<&XWingSeed>,
    mut take: impl AsyncFnMut(Vec<Row>) -> Result<(), E>,
) -> Result<Whole, E> {
    let mut reader = BackupReader::new(seed);
    while let Some(chunk) = bytes.next().await.map_err(CheckError::from)? {
        let rows = reader.feed(&chunk).map_err(CheckError::from)?;
        if !rows.is_empty() {
            take(rows).await?;
        }
    }
    Ok(reader.finish().map_err(CheckError::from)?)
}

/// The same without rows.
pub async fn check(bytes: Bytes, seed: Option<&XWingSeed>) -> Result<Whole, CheckError> {
    read(bytes, seed, async |_| Ok(())).await
}
