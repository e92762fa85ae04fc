//! A root token that custodians make: what one of them asks with a card (`docs/custody.md`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use symbolon::{Error, Method};
use symbolon_proto::custody::{RootScope, SealedRootToken, SignedRootRequest};

use super::Operator;
use super::custody::{Ceremony, STATE_BYTES_MAX, hex32};

const PATH: &str = "sys/symbolon/ceremony/root";
const EXPECTED: &str = "what a request for a root token must say";
const EXPECTED_ANSWER: &str = "an answer to a request for a root token";

/// For which state of a deployment a request counts.
#[derive(Debug, Clone)]
pub struct RootTerms {
    /// What is signed.
    pub scope: RootScope,
    /// Whether any custodian has a card; without one nobody can ask.
    pub has_cards: bool,
    /// The broker's time, Unix milliseconds.
    pub at_ms: u64,
}

/// What came of a request.
pub struct RootAnswer {
    /// The ceremony under way.
    pub ceremony: Option<Ceremony>,
    /// The token that was asked for.
    pub token: Option<WaitingToken>,
}

/// A root token, sealed to the card that asked for it.
pub struct WaitingToken {
    /// The request that it answers.
    pub request: SignedRootRequest,
    /// Opened with the keys of that card.
    pub sealed: SealedRootToken,
    /// Names it for look-up and revocation.
    pub accessor: String,
    /// When it ends, RFC 3339.
    pub ends: String,
}

#[derive(Deserialize)]
struct Terms {
    scope: Scope,
}

#[derive(Deserialize)]
struct Scope {
    deployment: String,
    generation: String,
    set: String,
    cards: bool,
    at_ms: u64,
}

#[derive(Deserialize)]
struct Answer {
    ceremony: Option<Ceremony>,
    token: Option<Waiting>,
}

#[derive(Deserialize)]
struct Waiting {
    request: String,
    sealed: String,
    accessor: String,
    ends: String,
}

impl Scope {
    fn read(self) -> Option<RootTerms> {
        let scope = RootScope {
            deployment: self.deployment.parse().ok()?,
            generation: u64::from_str_radix(&self.generation, 16).ok()?,
            set: hex32(&self.set)?,
        };
        Some(RootTerms { scope, has_cards: self.cards, at_ms: self.at_ms })
    }
}

impl Waiting {
    fn read(self) -> Option<WaitingToken> {
        let request = SignedRootRequest::decode(&STANDARD.decode(self.request).ok()?).ok()?;
        let sealed = SealedRootToken::from_bytes(&STANDARD.decode(self.sealed).ok()?).ok()?;
        Some(WaitingToken { request, sealed, accessor: self.accessor, ends: self.ends })
    }
}

impl Operator {
    /// What a request must say to count at this moment. Needs no token, and an open broker.
    pub async fn root_terms(&self) -> Result<RootTerms, Error> {
        let call = self.call(Method::GET, PATH).without_token();
        let terms: Terms = call.send().await?.raw(EXPECTED)?;
        terms.scope.read().ok_or(Error::Foreign { expected: EXPECTED })
    }

    /// Hands in a signed request. Needs no token: the request proves itself.
    pub async fn ask_for_root(&self, request: &SignedRootRequest) -> Result<RootAnswer, Error> {
        let body = json!({ "request": STANDARD.encode(request.encode()) });
        let call = self.call(Method::PUT, PATH).without_token().json(&body).limit(STATE_BYTES_MAX);
        let Answer { ceremony, token } = call.send().await?.raw(EXPECTED_ANSWER)?;
        let read = |waiting: Waiting| waiting.read().ok_or(Error::Foreign { expected: EXPECTED_ANSWER });
        Ok(RootAnswer { ceremony, token: token.map(read).transpose()? })
    }
}
