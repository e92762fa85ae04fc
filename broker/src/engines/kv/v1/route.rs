//! KV version 1 in the dialect: paths directly below the mount, the body as it is.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use symbolon_core::path::{FolderPath, SecretPath};

use super::super::route::page;
use super::{Shelf, Spot};
use crate::access::mounts::Mount;
use crate::dialect::vault::envelope::{Data, Envelope};
use crate::dialect::vault::fields::Fields;
use crate::dialect::vault::{Answer, Call, FaceError, Reply, Verb, unsupported};

/// Routes a request below a mount; `rest` is the path without the mount.
pub(in crate::engines) async fn route(
    call: Call<'_>,
    shelf: &'static Shelf,
    mount: &Mount,
    rest: &str,
) -> Answer {
    if call.verb == Verb::Write && call.path.is_list_form() {
        return Err(FaceError::Invalid("cannot write to a path ending in '/'").into());
    }
    if call.verb == Verb::List {
        return list(call, &Spot { shelf, mount, name: FolderPath::parse(rest)? }).await;
    }
    if rest.is_empty() {
        return Err(call.unrouted().await);
    }
    let spot = Spot { shelf, mount, name: SecretPath::parse(rest)? };
    match call.verb {
        Verb::Read => read(call, &spot).await,
        Verb::Write => write(call, &spot).await,
        Verb::Delete => Ok(super::delete(&call.who(), &spot).await.map(|()| Reply::no_content())?),
        Verb::List | Verb::Patch => unsupported(),
    }
}

async fn read(call: Call<'_>, spot: &Spot<'_, SecretPath>) -> Answer {
    let stored = super::read(&call.who(), spot).await?;
    let lease_secs = if spot.shelf.has_leases { lease_secs(&stored, spot.mount) } else { 0 };
    let envelope = Envelope::object(&call.request.request_id, spot.shelf.kind, Map::new());
    Ok(Envelope { lease_secs, data: Data::Stored(stored), ..envelope }.into_reply())
}

/// How long a value may be kept, as it says itself in `ttl` or `lease`; otherwise the mount's default.
fn lease_secs(stored: &[u8], mount: &Mount) -> u64 {
    #[derive(Deserialize)]
    struct Said {
        ttl: Option<Value>,
        lease: Option<Value>,
    }
    let said = serde_json::from_slice::<Said>(stored).ok().and_then(|said| said.ttl.or(said.lease));
    let said = said.map(|value| Fields::new(Map::from_iter([("ttl".to_owned(), value)])));
    let secs = said.and_then(|said| said.reader().duration_secs("ttl").ok().flatten());
    secs.unwrap_or(mount.ttl_limits().default_secs())
}

async fn write(call: Call<'_>, spot: &Spot<'_, SecretPath>) -> Answer {
    let data = call.fields.whole();
    if data.is_empty() {
        return Err(FaceError::Invalid("missing data fields").into());
    }
    super::write(&call.who(), spot, data).await?;
    Ok(Reply::no_content())
}

async fn list(call: Call<'_>, spot: &Spot<'_, FolderPath>) -> Answer {
    let read = call.fields.reader();
    let page = page(&read)?;
    let keys = super::list(&call.who(), spot, &page).await?;
    Ok(call.request.envelope(spot.shelf.kind, json!({ "keys": keys }), &read).into_reply())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::mounts::builtin;

    #[test]
    fn a_value_says_itself_how_long_it_may_be_kept() {
        let mount = builtin("kv", "kv");
        for (stored, secs) in [
            (r#"{"ttl":"30m","v":"x"}"#, 1800),
            (r#"{"ttl":60}"#, 60),
            (r#"{"lease":"1h"}"#, 3600),
            (r#"{"ttl":"90","lease":"1h"}"#, 90),
            (r#"{"v":12345678901234567890,"o":{"ttl":"1s"}}"#, 2_764_800),
            (r#"{"ttl":"soon"}"#, 2_764_800),
            (r#"{"ttl":{"a":1}}"#, 2_764_800),
            (r#"{"ttl":-5}"#, 2_764_800),
        ] {
            assert_eq!(lease_secs(stored.as_bytes(), &mount), secs, "{stored}");
        }
        let short = Mount { default_ttl_secs: 300, ..mount };
        assert_eq!(lease_secs(b"{}", &short), 300);
    }
}
