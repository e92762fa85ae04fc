//! The audit log, verified by somebody who trusts nobody.

use symbolon_proto::log::{Checkpoint, Finding};

use super::super::narrator::Narrator;
use super::super::story::{Story, StoryError};
use crate::audit::{self, LogError, LogSource};

/// Entries that are signed for now.
pub async fn log_size(story: &Story) -> Result<u64, StoryError> {
    let note = LogSource::Broker(story.world.client()?).checkpoint().await?;
    let checkpoint = Checkpoint::open(&note, story.log_key()?).map_err(LogError::from)?;
    Ok(checkpoint.size)
}

/// Copied, verified with nothing but the public key, and one byte changed in the copy.
pub async fn audit_log_is_verified(story: &mut Story, told: &mut Narrator) -> Result<(), StoryError> {
    told.step("The audit log is verified offline, and one changed entry is found");
    let key = story.log_key()?;
    let directory = story.world.path("log-copy");
    let size = audit::copy(&LogSource::Broker(story.world.client()?), &directory, &mut |_, _| {}).await?;
    let copy = LogSource::Directory(directory.clone());
    let report = audit::verify(&copy, key, None, &mut |_, _| {}).await?;
    told.check_eq(&report.verified.size, &size, "every entry of a copy hashes into the signed root");
    told.say(format_args!("{size} entries, root {}", report.verified.root));
    told.figure("audit entries verified", size);

    let index = size / 2;
    let bundle = directory.join(bundle_name(index, size));
    let original = std::fs::read(&bundle)?;
    std::fs::write(&bundle, changed_entry(&original, index % 256))?;
    let verdict = audit::verify(&copy, key, None, &mut |_, _| {}).await;
    if let Err(error) = &verdict {
        told.say(format_args!("verifier: {error}"));
    }
    let found =
        matches!(verdict, Err(LogError::Finding(Finding::Changed { index: found })) if found == index);
    told.check(
        found,
        format_args!("one changed bit in entry {index} of the copy is found, and the entry named"),
    );
    std::fs::write(&bundle, original)?;
    told.check(
        audit::verify(&copy, key, None, &mut |_, _| {}).await.is_ok(),
        "with the bit put back it verifies again",
    );

    let note = std::fs::read_to_string(directory.join("checkpoint"))?;
    std::fs::write(
        directory.join("checkpoint"),
        note.replacen(&size.to_string(), &(size - 1).to_string(), 1),
    )?;
    let cut = audit::verify(&copy, key, None, &mut |_, _| {}).await;
    told.check(
        matches!(cut, Err(LogError::Checkpoint(_))),
        "a checkpoint that hides the last entry is not signed",
    );
    Ok(())
}

fn bundle_name(index: u64, size: u64) -> String {
    use symbolon_proto::log::{Tile, TileKind};
    Tile::in_tree(TileKind::Entries, index / 256, size).map(|tile| tile.to_string()).unwrap_or_default()
}

/// The bundle with one bit changed in the time of its entry number `place`.
fn changed_entry(bundle: &[u8], place: u64) -> Vec<u8> {
    let mut changed = bundle.to_vec();
    let mut at = 0;
    for _ in 0..place {
        let length = bundle.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        at += 2 + usize::from(length);
    }
    // Two bytes of length, one of format, eight of index, then the time.
    if let Some(byte) = changed.get_mut(at + 2 + 1 + 8 + 7) {
        *byte ^= 1;
    }
    changed
}
