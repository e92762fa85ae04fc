//! The roll of the deployment's own KEKs: few records, so one commit.

use symbolon_core::token::MACHINE_TTL_SECS_MAX;
use tracing::info;

use super::entry;
use crate::access::Session;
use crate::auth::workload;
use crate::error::OpError;
use crate::keys::{CapsulePlace, OLDER_TOKEN_KEKS_MAX, OlderTokens, SYSTEM_KEKS, SystemKeks, TOKEN_SLOT};
use crate::store::{Expect, Write};

/// Beyond the longest life of a machine token: for requests that were under way, and clocks that were
/// corrected.
const MARGIN_SECS: u64 = 3600;

async fn row(session: &Session) -> Result<(SystemKeks, Expect), OpError> {
    Ok(match session.rows.read(SYSTEM_KEKS).await? {
        Some((own, revision)) => (own, Expect::Revision(revision)),
        None => (SystemKeks::default(), Expect::Absent),
    })
}

/// The change that asks for a roll; `None` if one was asked for already.
pub async fn request_roll(session: &Session) -> Result<Option<Write>, OpError> {
    let (own, expect) = row(session).await?;
    if own.wanted {
        return Ok(None);
    }
    if own.older_tokens.len() >= OLDER_TOKEN_KEKS_MAX {
        return Err(OpError::invalid(
            "machine tokens of eight older KEKs may still live; wait until the oldest has expired, a day at most",
        ));
    }
    Ok(Some(session.rows.put(SYSTEM_KEKS, &SystemKeks { wanted: true, ..own }, expect)?))
}

/// Does what was asked for, and forgets KEKs of machine tokens that no longer live. Whether there was
/// anything to do.
pub(super) async fn step(session: &Session) -> Result<bool, OpError> {
    let (own, expect) = row(session).await?;
    if !own.wanted && session.keys.system_keks() != own {
        // A commit that happened although the store could not say so.
        session.keys.replace_system_keks(own.clone());
        session.keys.flush();
    }
    if own.wanted {
        roll(session, own, expect).await?;
        return Ok(true);
    }
    let now = session.now().unix_secs();
    if own.older_tokens.iter().any(|older| older.until_secs <= now) {
        forget_expired(session, own, expect, now).await?;
        return Ok(true);
    }
    Ok(false)
}

/// New KEKs, the records under them, and the end of the old one, together. Behind a barrier, because requests
/// look up the epoch in memory and the record in the store.
async fn roll(session: &Session, own: SystemKeks, expect: Expect) -> Result<(), OpError> {
    let keys = &session.keys;
    keys.ensure_canary().await?;
    let until_secs = session.now().unix_secs() + MACHINE_TTL_SECS_MAX + MARGIN_SECS;
    let mut older_tokens = vec![OlderTokens { epoch: own.epoch, until_secs }];
    older_tokens.extend(&own.older_tokens);
    let epoch =
        own.epoch.checked_add(1).ok_or(OpError::invalid("no KEK epoch is left for the deployment"))?;
    let next = SystemKeks { epoch, older_tokens, wanted: false };
    let _barrier = keys.barrier().await;
    let from = keys.kek(own.system()).await?;
    let (capsule, to) = keys.create(next.system())?;
    let (token_capsule, token) = keys.create(next.token())?;
    let changes = vec![
        capsule,
        token_capsule,
        workload::rolled(session, &from, &to).await?,
        session.rows.put(SYSTEM_KEKS, &next, expect)?,
        Write::Delete { key: CapsulePlace::from(own.system()).key(), expect: Expect::Any },
    ];
    let what = format!("the deployment's own KEKs are at epoch {epoch}");
    drop(session.commit(changes, entry(what)).await?);
    keys.keep(next.system(), to);
    keys.keep(next.token(), token);
    keys.replace_system_keks(next);
    keys.forget(&own.system());
    info!(kek_epoch = epoch, "the deployment's own KEKs were rolled");
    Ok(())
}

async fn forget_expired(session: &Session, own: SystemKeks, expect: Expect, now: u64) -> Result<(), OpError> {
    let (expired, older_tokens): (Vec<_>, Vec<_>) =
        own.older_tokens.iter().copied().partition(|older| older.until_secs <= now);
    let next = SystemKeks { older_tokens, ..own };
    let mut changes = vec![session.rows.put(SYSTEM_KEKS, &next, expect)?];
    let slots =
        expired.iter().map(|older| symbolon_core::keyring::KekSlot { epoch: older.epoch, ..TOKEN_SLOT });
    let slots: Vec<_> = slots.collect();
    let delete = |slot| Write::Delete { key: CapsulePlace::from(slot).key(), expect: Expect::Any };
    changes.extend(slots.iter().copied().map(delete));
    let what = format!("{} KEKs of expired machine tokens removed", slots.len());
    drop(session.commit(changes, entry(what)).await?);
    session.keys.replace_system_keks(next);
    slots.iter().for_each(|slot| session.keys.forget(slot));
    Ok(())
}
