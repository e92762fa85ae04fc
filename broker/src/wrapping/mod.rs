//! Response wrapping: an answer that is kept until somebody comes with its token, once.
//!
//! ```text
//! mod.rs      every answer passes here; those that are to be wrapped stay
//! route.rs    sys/wrapping/{wrap, lookup, unwrap, rewrap}
//! open.rs     what these do
//! stored.rs   what is kept: the answer, its facts, its token, its key; all of it made and removed together
//! held.rs     how much may be kept
//! unclaimed.rs the end of what nobody came for
//! ```
//!
//! A wrapping token is an ordinary service token of the policy `response-wrapping`, good for one use. The
//! answer is a record under a key of its own, split with the remote like any other and never cached. So no
//! roll of the deployment's keys has to know of it, a new epoch of the remote's key finds its capsule where
//! all capsules are, and what was unwrapped cannot be opened again by anybody.
//!
//! An unwrap opens first, then removes answer, key and token in one commit, by compare-and-set on the token:
//! of two who come at once one wins. It answers only with the receipt of that commit.

mod held;
mod open;
pub mod route;
mod stored;
mod unclaimed;

use std::future::Future;

use serde_json::Map;
use symbolon_core::audit::{Action, Detail, Draft, Outcome, Withheld};
use symbolon_proto::Zeroizing;

use crate::access::{Session, describe};
use crate::dialect::time::rfc3339;
use crate::dialect::vault::envelope::{Data, Envelope, WrapInfo};
use crate::dialect::vault::{Answer, Call, FaceError, Form, Reply, Status};
use crate::error::OpError;
use crate::rows::Table;
use held::Held;
use stored::{Origin, Wrapping};

pub use held::{ANSWERS_MAX, BYTES_MAX};
pub use stored::ANSWER_BYTES_MAX;
pub use unclaimed::ENDINGS;

/// Tables of this room.
pub const TABLES: &[Table] = &[stored::WRAPPED, stored::ANSWERS];

/// Lets a request be answered, and keeps the answer if it is to be wrapped. Whether there is room and a key
/// for it is asked before anything is done, so that no answer is lost that could be kept.
pub async fn around(call: Call<'_>, answering: impl Future<Output = Answer>) -> Answer {
    if call.wrap_ttl_secs == 0 {
        return answering.await;
    }
    Box::pin(kept(call, answering)).await
}

async fn kept(call: Call<'_>, answering: impl Future<Output = Answer>) -> Answer {
    record_failure(call, prepare(call.session).await).await?;
    let reply = answering.await?;
    match &reply.form {
        Form::Bare => Ok(reply),
        // A deleted version is a 404 with facts about it. They must not leave in the open.
        Form::Enveloped { .. } if !reply.status.is_success() => Ok(Reply::errors(reply.status, None)),
        Form::Raw if !reply.status.is_success() => Ok(reply),
        Form::Raw => Err(FaceError::Wrapping.into()),
        Form::Enveloped { accessor } => Ok(keep(call, &reply.body, accessor).await?),
    }
}

async fn prepare(session: &Session) -> Result<(), OpError> {
    session.of::<Held>().require_room(session).await?;
    Ok(session.keys.ensure_canary().await?)
}

/// Keeps an answer and tells its token instead.
async fn keep(call: Call<'_>, answer: &[u8], accessor: &str) -> Result<Reply, OpError> {
    let session = call.session;
    let origin = Origin {
        creation_path: call.path.as_str(),
        ttl_secs: call.wrap_ttl_secs,
        wrapped_accessor: accessor,
    };
    let _pass = session.keys.pass().await;
    let made = record_failure(call, stored::make(session, answer, origin).await).await?;
    let detail = Detail { object: made.facts.name(), ..described(call) };
    let draft = Draft { action: Action::TokenCreate, outcome: Outcome::Allowed, detail };
    let receipt = session.commit(made.changes, draft).await?;
    session.of::<Held>().add(made.facts.bytes);
    Ok(told(&made.token.disclose(receipt), &made.facts))
}

/// Passes a result on, after a failure has left its entry.
async fn record_failure<T>(call: Call<'_>, result: Result<T, OpError>) -> Result<T, OpError> {
    if let Err(error) = &result {
        let detail = Detail { reason: error.reason().to_owned(), ..described(call) };
        call.session.record(Draft { action: Action::TokenCreate, outcome: Outcome::Failed, detail }).await?;
    }
    result
}

fn described(call: Call<'_>) -> Detail {
    describe(call.session, &call.request.requester(), &call.path)
}

/// The answer that shows a wrapping token, once.
fn told(token: &str, facts: &Wrapping) -> Reply {
    let info = WrapInfo {
        token,
        accessor: &facts.accessor,
        ttl: facts.ttl_secs,
        creation_time: rfc3339(facts.created_ms),
        creation_path: &facts.creation_path,
        wrapped_accessor: &facts.wrapped_accessor,
    };
    let envelope =
        Envelope { data: Data::None, wrap_info: Some(info), ..Envelope::object("", "", Map::new()) };
    envelope.into_reply()
}

/// An answer as it was.
fn unwrapped(answer: Zeroizing<Vec<u8>>) -> Reply {
    Reply { status: Status::OK, body: answer, form: Form::Bare, retry_secs: None }
}

/// A wrapping token that leaves only with its receipt.
type NewToken = Withheld<Zeroizing<String>>;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};
    use symbolon_core::token::TokenHash;

    use super::*;

    fn facts(wrapped_accessor: &str) -> Wrapping {
        Wrapping {
            id: [7; 16],
            token: "00".repeat(32).parse::<TokenHash>().unwrap(),
            accessor: "abc".to_owned(),
            creation_path: "secret/data/w".to_owned(),
            created_ms: 1_709_210_096_500,
            ttl_secs: 120,
            wrapped_accessor: wrapped_accessor.to_owned(),
            bytes: 3,
        }
    }

    /// As OpenBao 2.6.2 answers, but for `mount_type`, which Vault has.
    #[test]
    fn a_wrapped_answer_has_the_members_that_clients_read() {
        let body: Value = serde_json::from_slice(&told("hvs.x", &facts("")).body).unwrap();
        let info = json!({
            "token": "hvs.x", "accessor": "abc", "ttl": 120, "creation_time": "2024-02-29T12:34:56.5Z",
            "creation_path": "secret/data/w",
        });
        assert_eq!(
            body,
            json!({
                "request_id": "", "lease_id": "", "renewable": false, "lease_duration": 0, "data": null,
                "wrap_info": info, "warnings": null, "auth": null, "mount_type": "",
            })
        );
        let of_token: Value = serde_json::from_slice(&told("hvs.x", &facts("def")).body).unwrap();
        assert_eq!(of_token["wrap_info"]["wrapped_accessor"], "def");
    }

    #[test]
    fn what_tells_a_token_is_not_wrapped_again() {
        assert_eq!(told("hvs.x", &facts("")).form, Form::Bare);
        assert_eq!(unwrapped(Zeroizing::default()).form, Form::Bare);
    }
}
