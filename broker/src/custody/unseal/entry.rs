//! The commit that makes the unseal one: its entry, the next generation, the format of the seal record, and
//! the mounts that came with a newer version.

use rand_core::Rng;
use symbolon_core::audit::{Action, Draft};
use symbolon_core::seal::Sealed;
use symbolon_proto::codec::Reader;
use symbolon_proto::moment;
use tracing::{error, info};

use crate::access::builtins;
use crate::access::shape::Shape;
use crate::audit::writer::Writer;
use crate::custody::places::{GENERATION, Generation, SEAL_COPY, public_record};
use crate::custody::sources::hold;
use crate::error::OpError;
use crate::random::os_rng;
use crate::rows::{Rows, restored_key, seal_record_key};
use crate::store::{Expect, Write};

/// A count of unseals in the upper half, chance in the lower one. A copy of the store counts like its
/// original, and the remote would serve both; so chance makes one of the two newer, and the other is fenced
/// (`docs/skb1.md` 6.9).
fn generation_after(last: u64) -> u64 {
    let count = (last >> 32).saturating_add(1);
    count << 32 | u64::from(os_rng().next_u32())
}

/// What the entry of an unseal tells.
pub(super) struct Why<'a> {
    pub(super) because: &'a str,
    /// Whether the fragment service remembers nothing of this store's log.
    pub(super) forgotten: bool,
}

impl Why<'_> {
    /// The first unseal puts the first anchor, so only a later one can find it gone.
    fn told(&self, last_generation: u64) -> String {
        let Self { because, forgotten } = self;
        match *forgotten && last_generation >> 32 > 0 {
            true => format!(
                "{because}; the fragment service remembered nothing of this log: its officers have admitted an older state, or its memory was lost"
            ),
            false => (*because).to_owned(),
        }
    }
}

/// Commits; answers the generation, and the seal record if its format was raised. From then on an older
/// broker refuses the store, because this one may write what that one would not carry through a change of
/// keys.
pub(super) async fn commit(
    rows: &Rows,
    writer: &Writer,
    sealed: &Sealed,
    shape: &Shape,
    why: Why<'_>,
) -> Result<(u64, Option<Sealed>), OpError> {
    let restored = rows.store().get(&restored_key()).await?;
    let (Generation(last), revision) = rows.read(GENERATION).await?.ok_or(OpError::INTEGRITY)?;
    let next = generation_after(last);
    let generation = rows.put(GENERATION, &Generation(next), Expect::Revision(revision))?;
    let mut changes = vec![generation, hold::end()];
    changes.extend(restored.as_ref().map(|_| Write::Delete { key: restored_key(), expect: Expect::Any }));
    let raised = sealed.raised();
    if let Some(raised) = &raised {
        changes.extend(replaced_record(rows, raised)?);
    }
    changes.extend(builtins::missing(rows, shape).await?);
    let restored = restored.map(|row| from_backup(&row.value)).unwrap_or_default();
    let draft = Draft::by_broker(Action::Unseal, why.told(last) + &restored);
    let _receipt = writer.commit(changes, draft).await.map_err(|reason| {
        error!(%reason, "the unseal could not be recorded; the broker stays sealed");
        OpError::UNLOGGED
    })?;
    if raised.is_some() {
        info!("the seal record has the format of this version now; older versions refuse this store");
    }
    Ok((next, raised))
}

/// What a restore left: made(8) ‖ entries(8), as nobody has sealed it, and so it is no text.
fn from_backup(mark: &[u8]) -> String {
    let mut reader = Reader::new(mark);
    match (reader.u64(), reader.u64()) {
        (Ok(made), Ok(entries)) => {
            let made = moment::utc(made.saturating_mul(1000));
            format!("; restored from the backup of {made}, which held {entries} entries or more")
        }
        _ => "; restored from a backup that is not known".to_owned(),
    }
}

fn replaced_record(rows: &Rows, sealed: &Sealed) -> Result<[Write; 2], OpError> {
    let value = public_record(sealed)?;
    let public = Write::Put { key: seal_record_key(), value, expect: Expect::Any };
    Ok([public, rows.put(SEAL_COPY, sealed.record(), Expect::Any)?])
}
