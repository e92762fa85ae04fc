//! The root token that a ceremony ends with: made when enough shares were right, entered, and only then
//! sealed to the custodian who asked for it.
//!
//! It is a service token: rows under the broker's own keys. So it is made, and is good, while the fragment
//! service is away.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use symbolon_core::audit::{Action, Actor, Detail, Draft, Outcome};
use symbolon_core::clock::Now;
use symbolon_core::token::{Caller, TokenClaims, TokenKind};
use symbolon_proto::custody::transcript::{Event, EventKind, Transcript};
use symbolon_proto::custody::{RootAsk, RootAsker, SealedRootToken};

use super::archive::Archived;
use super::{CeremonyRefusal, Over};
use crate::access::tokens::{self, NewToken};
use crate::access::{Object, Session};
use crate::custody::deployment::Deployment;
use crate::error::OpError;
use crate::random::os_rng;

/// A token that waits for the custodian who asked for it. The broker cannot open it any more.
#[derive(Clone)]
pub struct WaitingToken {
    /// The request that it answers.
    pub asker: RootAsker,
    /// The token, sealed to the card.
    pub sealed: SealedRootToken,
    /// Names it for look-up and revocation.
    pub accessor: String,
    /// When it ends, Unix seconds.
    pub ends_secs: u64,
}

/// Makes the token of a ceremony whose shares were right. Its entry, with the names of everybody who gave, is
/// durable before anything of it leaves this function.
pub async fn issue(session: &Session, asker: RootAsker, over: Over) -> Result<WaitingToken, OpError> {
    let Over { given, mut transcript, .. } = over;
    let now = session.now();
    let claims = claims(&asker, &transcript, now)?;
    let NewToken { token, caller, mut changes } = tokens::make(session, TokenKind::Service, claims).await?;
    let sealed = token.map(|token| asker.seal(&token, &mut os_rng()));
    let accessor = caller.accessor.clone().unwrap_or_default();
    // Custodians' events and a handful of the ceremony's own: it is never full.
    let _ = transcript.record(issued(&accessor, now));
    let deployment = Deployment::read(session.rows.store(), session.unsealed()).await?;
    transcript.sign_as_broker(&deployment.log.signing_seed());
    let kept = Archived::new(&transcript, Some(&given), None, &[], now).asked_for(asker.request());
    changes.extend(kept.rows(&session.rows)?);
    let receipt = session.commit(changes, entry(&asker, &transcript, &caller)).await?;
    let sealed = sealed.disclose(receipt);
    let sealed = sealed.map_err(|_| OpError::bug("the root token could not be sealed to the card"))?;
    Ok(WaitingToken { asker, sealed, accessor, ends_secs: caller.expires_at.unwrap_or_default() })
}

fn claims(asker: &RootAsker, transcript: &Transcript, now: Now) -> Result<TokenClaims, OpError> {
    let RootAsk::Begin { ttl_secs, .. } = asker.ask() else { return Err(CeremonyRefusal::NoToken.into()) };
    let ceremony = HEXLOWER.encode(transcript.nonce());
    Ok(TokenClaims::root_of_ceremony(now.unix_secs(), ttl_secs.into(), ceremony))
}

fn issued(accessor: &str, now: Now) -> Event {
    Event::of_ceremony(EventKind::Issued, now.unix_ms, Sha256::digest(accessor).into())
}

fn entry(asker: &RootAsker, transcript: &Transcript, token: &Caller) -> Draft {
    let given = transcript.participants().join(", ");
    let hash = HEXLOWER.encode(transcript.hash());
    let object = Object::token(token).text();
    let what = format!("ceremony root: {asker}; shares of {given}; transcript {hash}");
    draft(asker, what, Detail { object, ..Detail::default() })
}

/// The entry of a custodian's own request: `what` is one of our texts, with names of the set.
pub(in crate::custody) fn draft(asker: &RootAsker, what: String, detail: Detail) -> Draft {
    let caller = format!("custodian {}", asker.name());
    let actor = Some(Actor::named("custodian", asker.name()).into());
    let detail = Detail { caller, actor, role: what, ..detail };
    Draft { action: Action::Ceremony, outcome: Outcome::Allowed, detail }
}
