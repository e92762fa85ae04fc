//! Where a sink begins: at its cursor, if that is one into this log.

use tracing::error;

use super::entry;
use super::error::Stop;
use crate::access::Session;
use crate::audit::log::LogReader;
use crate::audit::sinks::cursor::{Cursor, Standing};
use crate::config::{Begin, Names, SinkConfig};

/// The cursor to begin with. What it has to be said of, the log says: who is told what leaves the broker.
pub async fn begin(open: &Session, config: &SinkConfig) -> Result<Cursor, Stop> {
    let log = LogReader::new(open.rows.shared_store());
    let is_plain = config.names == Names::Plain;
    let Some(cursor) = Cursor::read(&open.rows, &config.name).await? else {
        return new(open, &log, config).await;
    };
    if cursor.stands(&log, open.entries()).await? == Standing::Other {
        return again(open, &log, Cursor { is_plain, ..cursor }).await;
    }
    if cursor.is_plain != is_plain {
        let cursor = Cursor { is_plain, ..cursor };
        let what = format!("the sink {} is told names {}", cursor.name, how(is_plain));
        return remember(open, cursor, what).await;
    }
    Ok(cursor)
}

async fn new(open: &Session, log: &LogReader, config: &SinkConfig) -> Result<Cursor, Stop> {
    let size = open.entries();
    let next = match config.begin {
        Begin::Oldest => log.pruned().await?.minimum,
        Begin::Now => size,
    };
    let last = if next == size { size.checked_sub(1) } else { None };
    let hash = match last {
        Some(last) => log.entries(last, 1).await?.first().map(|entry| entry.leaf.to_string()),
        None => None,
    };
    let (name, is_plain) = (config.name.clone(), config.names == Names::Plain);
    let what = format!(
        "the sink {name} of kind {} is sent entries from {next} on, with names {}",
        config.kind,
        how(is_plain)
    );
    let cursor = Cursor { name, next, hash: hash.unwrap_or_default(), is_plain, ..Cursor::default() };
    remember(open, cursor, what).await
}

/// Another log than the one that was sent: nobody knows from where on it differs, so all of it is sent.
async fn again(open: &Session, log: &LogReader, cursor: Cursor) -> Result<Cursor, Stop> {
    let (next, name) = (cursor.next, &cursor.name);
    error!(sink = name, next, "the log is not the one that this sink was sent; all of it is sent again");
    let what = format!(
        "the log is not the one that the sink {name} was sent as far as entry {next}, perhaps because an older state of the store was put back; it is sent all that is kept once more"
    );
    let minimum = log.pruned().await?.minimum;
    remember(open, Cursor { next: minimum, hash: String::new(), ..cursor }, what).await
}

/// What was pruned before the sink had it is named, and the sink goes on after it.
pub async fn skip(open: &Session, cursor: Cursor, minimum: u64) -> Result<Cursor, Stop> {
    let (first, name) = (cursor.next, &cursor.name);
    let lost = minimum.saturating_sub(first);
    error!(sink = name, first, minimum, "{lost} entries were pruned before this sink had them");
    let what =
        format!("{lost} entries, {first} to {}, were pruned before the sink {name} had them", minimum - 1);
    let pruned = cursor.pruned.saturating_add(lost);
    remember(open, Cursor { next: minimum, hash: String::new(), pruned, ..cursor }, what).await
}

/// Cursor and entry in one commit.
async fn remember(open: &Session, cursor: Cursor, what: String) -> Result<Cursor, Stop> {
    let change = cursor.mark(&open.rows)?.into_write();
    drop(open.commit(vec![change], entry(what)).await?);
    Ok(cursor)
}

fn how(is_plain: bool) -> &'static str {
    if is_plain { "as they are" } else { "as keyed hashes" }
}
