//! Copying a log for an auditor.

use std::path::Path;

use symbolon_proto::log::checkpoint::CheckpointError;
use symbolon_proto::log::segment::lost_tiles;
use symbolon_proto::log::tile::{TILE_LEVEL_MAX, TILE_WIDTH};
use symbolon_proto::log::{Checkpoint, SignedNote, Tile, TileKind};

use super::{LogError, LogSource, split};

/// Copies a log into a directory, checkpoint last, so that [`super::verify`] works there. Returns its size.
///
/// What was pruned is not there to be copied; what an earlier copy has of it in the directory stays, so that
/// a copy that was made before a cut goes on across it.
///
/// Nothing is verified on the way; the checkpoint must only be readable.
pub async fn copy(
    source: &LogSource,
    into: &Path,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<u64, LogError> {
    let note = source.checkpoint().await?;
    let size = unverified_size(&note)?;
    let pruned = source.pruned().await?;
    let log = (size, pruned.minimum);
    for level in 0..=TILE_LEVEL_MAX {
        copy_kind(source, into, TileKind::Hashes(level), log, &mut |_, _| {}).await?;
    }
    copy_kind(source, into, TileKind::Entries, log, progress).await?;
    write(into, "pruned", pruned.text().into_bytes()).await?;
    write(into, "checkpoint", note.into_bytes()).await?;
    Ok(size)
}

fn unverified_size(note: &str) -> Result<u64, LogError> {
    let note = SignedNote::parse(note).map_err(CheckpointError::from)?;
    Ok(Checkpoint::parse_text(note.unverified_text())?.size)
}

async fn copy_kind(
    source: &LogSource,
    into: &Path,
    kind: TileKind,
    (size, minimum): (u64, u64),
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<(), LogError> {
    let mut index = match kind {
        TileKind::Hashes(level) => lost_tiles(level, minimum),
        TileKind::Entries => lost_tiles(0, minimum),
    };
    while let Some(name) = Tile::in_tree(kind, index, size) {
        let missing = || LogError::Missing { path: name.to_string(), index: index * u64::from(TILE_WIDTH) };
        let bytes = source.tile(name).await?.ok_or_else(missing)?;
        write(into, &name.to_string(), narrowed(name, bytes)).await?;
        index += 1;
        progress((index * u64::from(TILE_WIDTH)).min(size), size);
    }
    Ok(())
}

/// A tile that has grown since the checkpoint, cut to what its name says.
fn narrowed(name: Tile, mut bytes: Vec<u8>) -> Vec<u8> {
    match name.kind() {
        TileKind::Hashes(_) => bytes.truncate(usize::from(name.width()) * 32),
        TileKind::Entries => {
            let (entries, _) = split(&bytes, name.width());
            let length = entries.iter().map(|entry| entry.len() + 2).sum();
            bytes.truncate(length);
        }
    }
    bytes
}

async fn write(into: &Path, name: &str, bytes: Vec<u8>) -> Result<(), LogError> {
    let path = into.join(name);
    let shown = path.clone();
    let done = tokio::task::spawn_blocking(move || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, bytes)
    });
    let failed = |source| LogError::Write { path: shown, source };
    done.await.unwrap_or_else(|join| Err(std::io::Error::other(join))).map_err(failed)
}
