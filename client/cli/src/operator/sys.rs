//! Life cycle of a broker: status, init, unseal, seal.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use symbolon::{Error, Method, SecretText};
use symbolon_proto::Zeroizing;
use symbolon_proto::custody::receipt::Receipt;
use symbolon_proto::share::{Share, ShareTextError};

use super::Operator;

/// Init waits for the operator of the fragment service to approve the broker; bounded by the broker's own
/// limit.
#[derive(Debug, Clone, Serialize)]
pub struct InitRequest {
    /// Shares to make, 2 to 16.
    pub secret_shares: u8,
    /// Shares needed to unseal, 2 to `secret_shares`.
    pub secret_threshold: u8,
    /// One name per share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub custodians: Vec<String>,
    /// One card per share instead of names, in text form. Then no share is shown: each is sealed to its card.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<String>,
    /// Sources that hold a share each beside the cards, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// `none` or `customer-escrow`.
    pub recovery: String,
    /// Whether the answer will be confirmed ([`Operator::confirm_init`]): nothing is in force before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub await_receipt: bool,
}

impl InitRequest {
    /// Any two of so many shares open it; nobody has a name or a card, and there is no escrow.
    #[must_use]
    pub fn two_of(shares: u8) -> Self {
        Self {
            secret_shares: shares,
            secret_threshold: 2,
            custodians: Vec::new(),
            cards: Vec::new(),
            sources: Vec::new(),
            recovery: "none".to_owned(),
            await_receipt: false,
        }
    }

    /// Any two of these people open it, at most 255.
    #[must_use]
    pub fn two_of_people(names: &[&str]) -> Self {
        let custodians = names.iter().map(ToString::to_string).collect();
        Self { custodians, ..Self::two_of(u8::try_from(names.len()).unwrap_or(u8::MAX)) }
    }
}

/// What init gives, once.
#[derive(Deserialize)]
pub struct InitAnswer {
    /// Names of the custodians, in order of their shares.
    #[serde(default)]
    pub custodians: Vec<String>,
    /// Shares in text form (`skf1…`), one per custodian.
    #[serde(default)]
    pub shares: Vec<SecretText>,
    /// Shares of custodians with cards, each a parcel in text form that only its custodian opens.
    #[serde(default)]
    pub parcels: Vec<String>,
    /// The same shares in hex, as Vault clients expect them.
    #[serde(default)]
    pub keys: Vec<SecretText>,
    /// The root token.
    pub root_token: SecretText,
    /// Verifier key of the audit log.
    #[serde(default)]
    pub log_key: String,
    /// Whether nothing is in force before this answer is confirmed.
    #[serde(default)]
    pub receipt_awaited: bool,
}

/// The seal as everyone may see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SealStatus {
    /// Whether the store holds a deployment.
    pub initialized: bool,
    /// Whether the broker holds no keys.
    pub sealed: bool,
    /// Shares needed.
    #[serde(rename = "t", default)]
    pub threshold: u64,
    /// Shares that exist.
    #[serde(rename = "n", default)]
    pub shares: u64,
    /// Shares given in the ceremony under way.
    #[serde(default)]
    pub progress: u64,
    /// Names of the custodians who have given theirs.
    #[serde(default)]
    pub given: Vec<String>,
    /// Version that Vault clients see.
    #[serde(default)]
    pub version: String,
    /// Deployment id; empty when sealed.
    #[serde(default)]
    pub cluster_id: String,
    /// Everything else that the server says, such as recovery policy, memory mode and lease.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

impl InitAnswer {
    /// What proves that the whole answer is here.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        let shares = self.shares.iter().map(SecretText::expose);
        let all = shares.chain(self.parcels.iter().map(String::as_str));
        Receipt::of(self.root_token.expose(), &self.log_key, all)
    }

    /// The shares in text form, in order of x: as sent, or made from the hex form that every Vault client
    /// gets.
    pub fn shares_text(&self) -> Result<Vec<Zeroizing<String>>, ShareTextError> {
        let sent = if self.shares.is_empty() { &self.keys } else { &self.shares };
        sent.iter().map(|share| Share::parse(share.expose()).map(|share| share.to_text())).collect()
    }
}

impl SealStatus {
    /// A further fact as text, such as `recovery`, `memory`, `lease`.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<String> {
        match self.more.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }
}

impl Operator {
    /// Seal state; needs no token and works on a sealed broker.
    pub async fn seal_status(&self) -> Result<SealStatus, Error> {
        self.call(Method::GET, "sys/seal-status").without_token().send().await?.raw("a seal status")
    }

    /// Makes the deployment. The answer holds every share and is shown once. With `await_receipt` it is in
    /// force when it is confirmed, and not before.
    pub async fn init(&self, request: &InitRequest) -> Result<InitAnswer, Error> {
        let call = self.call(Method::PUT, "sys/init").without_token().json(request);
        call.send().await?.raw("shares and a root token")
    }

    /// Says that the answer is in safe hands, which puts what it is about in force. Repeat it if the network
    /// fails: the same receipt twice is one.
    pub async fn confirm_init(&self, receipt: &Receipt) -> Result<(), Error> {
        let body = json!({ "receipt": receipt.to_string() });
        self.call(Method::PUT, "sys/init").without_token().repeatable(true).json(&body).send().await.map(drop)
    }

    /// Gives one custodian's share: text form, hex or base64.
    pub async fn unseal(&self, share: &str) -> Result<SealStatus, Error> {
        let call = self.call(Method::PUT, "sys/unseal").without_token().json(&json!({ "key": share }));
        call.send().await?.raw("a seal status")
    }

    /// Throws away the shares given so far.
    pub async fn unseal_reset(&self) -> Result<SealStatus, Error> {
        let call = self.call(Method::PUT, "sys/unseal").without_token().json(&json!({ "reset": true }));
        call.send().await?.raw("a seal status")
    }

    /// Makes the broker forget every key.
    pub async fn seal(&self) -> Result<(), Error> {
        self.call(Method::PUT, "sys/seal").send().await.map(drop)
    }

    /// Mounts a secrets engine, such as `kv` with `version = 2`.
    pub async fn mount(&self, path: &str, body: &Value) -> Result<(), Error> {
        self.call(Method::PUT, &format!("sys/mounts/{path}")).json(body).send().await.map(drop)
    }

    /// Enables a login method, such as `kubernetes`.
    pub async fn enable_auth(&self, path: &str, kind: &str) -> Result<(), Error> {
        self.call(Method::PUT, &format!("sys/auth/{path}"))
            .json(&json!({ "type": kind }))
            .send()
            .await
            .map(drop)
    }
}
