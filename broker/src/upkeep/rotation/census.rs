//! Going through all capsules, whichever tables hold them.

use std::collections::BTreeMap;

use symbolon_proto::capsule::Capsule;

use super::pages;
use crate::access::Session;
use crate::error::OpError;
use crate::keys::CapsulePlace;
use crate::rows::Layout;
use crate::store::Row;

/// Rows read at once.
pub(crate) const PAGE_ROWS: usize = 512;

/// How many capsules there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// By key epoch.
    pub by_epoch: BTreeMap<u32, u64>,
    /// Those of an older key epoch, or of an older fragment epoch: what is to be re-wrapped.
    pub older: u64,
    /// Those of an older fragment epoch: what the keys of the epoch before are kept for.
    pub older_fragment: u64,
    /// Those that cannot be read, or belong to no epoch that lives.
    pub damaged: u64,
}

impl Census {
    /// Capsules of epochs below `key_epoch`.
    #[must_use]
    pub fn below(&self, key_epoch: u32) -> u64 {
        self.by_epoch.range(..key_epoch).map(|(_, count)| count).sum()
    }
}

/// The rows of capsules after a key, one table after the other; an empty one begins at the beginning. An
/// empty page is the end.
pub(crate) async fn page(
    session: &Session,
    after: &[u8],
    limit: usize,
) -> Result<Vec<(Vec<u8>, Row)>, OpError> {
    pages::after(session, Layout::Capsule, after, limit).await
}

/// A capsule as its row has it; `None` if it is damaged.
pub(super) fn read(session: &Session, key: &[u8], row: &Row) -> Option<(CapsulePlace, Capsule)> {
    let place = CapsulePlace::of_key(key)?;
    let capsule = Capsule::parse(&row.value).ok().filter(|capsule| session.keys.is_ours(capsule))?;
    Some((place, capsule))
}

/// Counts all capsules, page by page. Rows never move, so behind a barrier, when nobody makes capsules of an
/// older epoch any more, none of an older epoch can escape it: a re-wrap replaces a row where it is.
pub async fn census(session: &Session) -> Result<Census, OpError> {
    let (mut census, mut after) = (Census::default(), Vec::new());
    let (aim, present) = (session.keys.aim(), session.unsealed().keys().epoch);
    loop {
        let rows = page(session, &after, PAGE_ROWS).await?;
        for (key, row) in &rows {
            match read(session, key, row) {
                Some((_, capsule)) => {
                    *census.by_epoch.entry(capsule.key_epoch()).or_default() += 1;
                    census.older += u64::from(aim.is_some_and(|aim| !aim.is_met_by(&capsule)));
                    census.older_fragment += u64::from(capsule.fragment_epoch() < present);
                }
                None => census.damaged += 1,
            }
        }
        let Some((last, _)) = rows.last() else { return Ok(census) };
        after.clone_from(last);
    }
}
