//! `sys/wrapping`: wrap, look up, unwrap, rewrap.

use serde_json::json;
use symbolon_core::audit::Action;
use symbolon_core::policy::Operation;
use symbolon_proto::Zeroizing;

use super::open::{self, Named};
use super::{told, unwrapped};
use crate::access::{Object, Request, Route};
use crate::dialect::time::rfc3339;
use crate::dialect::vault::envelope::{Data, Envelope};
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::{Answer, Call, Reader, Verb, unsupported};

/// Routes a request below `sys/wrapping`.
pub async fn route(call: Call<'_>, what: &[&str]) -> Answer {
    match (what, call.verb) {
        (["wrap"], Verb::Write) => wrap(call).await,
        (["lookup"], Verb::Read | Verb::Write) => lookup(call).await,
        (["unwrap"], Verb::Write) => unwrap(call).await,
        (["rewrap"], Verb::Write) => rewrap(call).await,
        (["wrap" | "lookup" | "unwrap" | "rewrap"], _) => unsupported(),
        _ => Err(call.unrouted().await),
    }
}

/// Answers with what was sent; like every answer it is then wrapped.
async fn wrap(call: Call<'_>) -> Answer {
    if call.wrap_ttl_secs == 0 {
        return Err(FaceError::Invalid("endpoint requires response wrapping to be used").into());
    }
    let request = Request::begin(&call.who(), Action::Other, &Route::system("wrapping/wrap")).await?;
    let request = request.authorise(Operation::Update).await?;
    request.commit(Object::Path, Vec::new()).await?;
    let sent = serde_json::to_vec(call.fields.whole()).expect("JSON values always serialise");
    let empty = serde_json::Map::new();
    let envelope = Envelope {
        data: Data::Stored(Zeroizing::new(sent)),
        ..Envelope::object(&call.request.request_id, "system", empty)
    };
    Ok(envelope.into_reply())
}

/// Its answer is not wrapped: the token is good for one answer, and whoever has no other could keep any
/// number of them.
async fn lookup(call: Call<'_>) -> Answer {
    refuse_wrapping(call)?;
    let read = call.fields.reader();
    let text = body_token(&read)?;
    let facts = open::lookup(&call.who(), named(call, &text)?.token).await?;
    let data = json!({
        "creation_path": facts.creation_path,
        "creation_time": rfc3339(facts.created_ms),
        "creation_ttl": facts.ttl_secs,
    });
    Ok(call.request.envelope("system", data, &read).into_reply())
}

async fn unwrap(call: Call<'_>) -> Answer {
    refuse_wrapping(call)?;
    let text = body_token(&call.fields.reader())?;
    let answer = open::unwrap(&call.who(), named(call, &text)?).await?;
    Ok(unwrapped(answer))
}

async fn rewrap(call: Call<'_>) -> Answer {
    refuse_wrapping(call)?;
    let text = body_token(&call.fields.reader())?;
    let (token, facts) = open::rewrap(&call.who(), named(call, &text)?).await?;
    Ok(told(&token, &facts))
}

fn refuse_wrapping(call: Call<'_>) -> Result<(), FaceError> {
    if call.wrap_ttl_secs == 0 { Ok(()) } else { Err(FaceError::Wrapping) }
}

fn body_token(read: &Reader<'_>) -> Result<Zeroizing<String>, FaceError> {
    Ok(Zeroizing::new(read.string("token")?.unwrap_or_default()))
}

/// The wrapping token: in the body beside the caller's own, or alone, in the body or as the request's token.
/// Whoever has it may open it, so it is its own leave.
fn named<'a>(call: Call<'a>, body: &'a str) -> Result<Named<'a>, FaceError> {
    match (body, call.request.token.as_ref().map(|token| token.as_str())) {
        ("", None) => Err(FaceError::Invalid("missing \"token\" value")),
        ("", Some(token)) => Ok(Named { token, own: true }),
        (token, other) => Ok(Named { token, own: other.is_none_or(|other| other == token) }),
    }
}
