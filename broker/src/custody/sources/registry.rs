//! Where sources are kept: a public row each, which a sealed broker can read, and an encrypted copy of its
//! card.
//!
//! Who can write the store could put a card of their own into a public row, and be dealt a share with the
//! next reshare. So a card counts for a new set only if the copy says the same, and nobody without the keys
//! of an open broker can make one.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use symbolon_proto::custody::{Card, DealtShare, ShareEnvelope, SourceFile};
use symbolon_proto::id::TenantId;
use symbolon_proto::share::{Custodian, ShareSetManifest};

use super::SourceRefusal;
use crate::error::OpError;
use crate::rows::{COUNTERS, Layout, Life, NO_SCOPE, Place, Rows, Table, prefix};
use crate::store::{Expect, Scan, Store, StoreError, Write};

/// Sources, as a sealed broker reads them.
pub const SOURCES: Table = Table::new(0x0e, "sources", Layout::Public, Life::Kept);

/// More than a share set has holders.
const SOURCES_MAX: usize = 64;

/// Hash of the card that was enrolled, hex. Wire type.
#[derive(Serialize, Deserialize)]
struct Enrolled {
    card: String,
}

/// Every source of a deployment by its name.
pub type Registry = BTreeMap<String, SourceFile>;

/// Reads them. A row that is no source is left out: it gives nothing, and is said by name in the status.
pub async fn read(store: &dyn Store) -> Result<Registry, StoreError> {
    let from = row_key("");
    let until = [from.as_slice(), &[u8::MAX]].concat();
    let scan = Scan { from: &from, until: &until, descending: false, limit: SOURCES_MAX };
    let rows = store.scan(scan).await?;
    let files = rows.iter().filter_map(|(_, row)| SourceFile::decode(&row.value).ok());
    Ok(files.map(|file| (file.card().name().to_owned(), file)).collect())
}

/// The changes that keep a source that was just enrolled.
pub fn enrolled(rows: &Rows, file: &SourceFile) -> Result<Vec<Write>, OpError> {
    let name = file.card().name();
    let copy = Enrolled { card: HEXLOWER.encode(&file.card().keys().hash()) };
    Ok(vec![kept(file), rows.put(place(&place_name(name)), &copy, Expect::Any)?])
}

/// The change that keeps what has changed of it.
#[must_use]
pub fn kept(file: &SourceFile) -> Write {
    Write::Put { key: row_key(file.card().name()), value: file.encode(), expect: Expect::Any }
}

/// The same, if nobody has dealt it another share since `revision`.
#[must_use]
pub fn rebound(file: &SourceFile, revision: u64) -> Write {
    let (key, expect) = (row_key(file.card().name()), Expect::Revision(revision));
    Write::Put { key, value: file.encode(), expect }
}

/// One source, and the revision of its row.
pub async fn read_one(store: &dyn Store, name: &str) -> Result<Option<(SourceFile, u64)>, StoreError> {
    let row = store.get(&row_key(name)).await?;
    Ok(row.and_then(|row| Some((SourceFile::decode(&row.value).ok()?, row.revision))))
}

/// The changes that forget it.
#[must_use]
pub fn forgotten(rows: &Rows, name: &str) -> Vec<Write> {
    let public = Write::Delete { key: row_key(name), expect: Expect::Any };
    vec![public, rows.delete(place(&place_name(name)), Expect::Any)]
}

/// The card of a source, as it was enrolled.
pub async fn card(rows: &Rows, name: &str) -> Result<Card, OpError> {
    let file = read(rows.store()).await?.remove(name).ok_or(SourceRefusal::Unknown)?;
    let copy = rows.read::<Enrolled>(place(&place_name(name))).await?;
    let hash = HEXLOWER.encode(&file.card().keys().hash());
    match copy.is_some_and(|(copy, _)| copy.card == hash) {
        true => Ok(file.card().clone()),
        false => Err(SourceRefusal::Replaced { name: name.to_owned() }.into()),
    }
}

/// The changes of a new set: every source has the envelope of its share in it, and none of the one before.
#[must_use]
pub fn dealt(registry: Registry, set: &ShareSetManifest, envelopes: &[ShareEnvelope]) -> Vec<Write> {
    let give = |mut file: SourceFile| {
        deal(&mut file, set, envelopes);
        kept(&file)
    };
    registry.into_values().map(give).collect()
}

/// Takes its share of a new set, or none if it holds none; not that of the set before.
pub fn deal(file: &mut SourceFile, set: &ShareSetManifest, envelopes: &[ShareEnvelope]) {
    let mine = set.custodians().iter().find(|holder| holder.keys.as_ref() == Some(file.card().keys()));
    let envelope = mine.and_then(|mine| envelopes.get(usize::from(mine.x).checked_sub(1)?).cloned());
    let dealt = |(mine, envelope): (&Custodian, _)| DealtShare { set: set.set_id(), x: mine.x, envelope };
    file.dealt = mine.zip(envelope).map(dealt);
}

/// Whether a holder is a source.
#[must_use]
pub fn is_source(holder: &Custodian, registry: &Registry) -> bool {
    let keys = holder.keys.as_ref();
    registry.get(&holder.name).is_some_and(|file| keys == Some(file.card().keys()))
}

fn row_key(name: &str) -> Vec<u8> {
    [prefix(TenantId::SYSTEM, SOURCES, NO_SCOPE).as_slice(), name.as_bytes()].concat()
}

fn place_name(name: &str) -> String {
    format!("source {name}")
}

fn place(name: &str) -> Place<'_> {
    Place { tenant: TenantId::SYSTEM, table: COUNTERS, scope: NO_SCOPE, group: "", name }
}
