//! The External Secrets Operator's vault provider, request for request.
//!
//! Deliberately not built on this crate's client: what ESO sends comes from HashiCorp's Go client, and a
//! broker that only understood our own requests would prove nothing. Per ExternalSecret: a new connection, a
//! login by PUT without `Content-Type`, one GET per reference, `lookup-self`, and `revoke-self` if the token
//! is not a batch token. No retries: a demonstration that needs one has failed.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Map, Value, json};
use symbolon_proto::Zeroizing;
use tokio::time::Instant;

use super::homelab::ExternalSecret;
use super::meter::Meter;
use super::property;

/// Deadline of a call, as the Go client has it.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Tokens with less life than this are not revoked.
const REVOKE_TTL_SECS: u64 = 60;

/// A SecretStore of the vault provider.
pub struct Store {
    /// `spec.provider.vault.server`.
    pub server: String,
    /// `caBundle`.
    pub ca_pem: String,
    /// `path`.
    pub mount: String,
    /// `auth`.
    pub auth: StoreAuth,
}

/// How ESO logs in.
pub enum StoreAuth {
    /// `auth.kubernetes`: a token of the referenced service account.
    Kubernetes {
        /// `mountPath`.
        mount: String,
        /// Role at the broker.
        role: String,
        /// Service-account token.
        jwt: Zeroizing<String>,
    },
    /// `auth.appRole`.
    AppRole {
        /// `path`.
        mount: String,
        /// The role's id.
        role_id: String,
        /// Secret id from a Kubernetes Secret.
        secret_id: Zeroizing<String>,
    },
}

/// Requests and their times.
#[derive(Debug, Default, Clone)]
pub struct Traffic {
    /// Logins.
    pub logins: Meter,
    /// Reads of secrets.
    pub reads: Meter,
    /// lookup-self calls.
    pub lookups: Meter,
    /// revoke-self calls.
    pub revokes: Meter,
}

/// What ESO makes of an answer that it cannot use.
#[derive(Debug, thiserror::Error)]
pub enum EsoError {
    /// ESO deletes the Kubernetes Secret if its deletion policy says so. Only the truth may lead here.
    #[error("ESO takes this secret for absent")]
    NotFound,
    /// A hard error: ESO keeps what it has and tries again.
    #[error("ESO got status {status} from {call}")]
    Status {
        /// Which call.
        call: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// A body that the provider cannot use.
    #[error("ESO cannot use the answer to {call}")]
    Body {
        /// Which call.
        call: &'static str,
    },
    /// The property leads nowhere.
    #[error("the secret has no such property")]
    Property,
    /// Nothing to know the broker by.
    #[error("caBundle holds no certificate")]
    Ca,
    /// No connection.
    #[error("ESO cannot reach the broker")]
    Transport(#[source] reqwest::Error),
}

impl Traffic {
    /// Requests in all.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.logins.count() + self.reads.count() + self.lookups.count() + self.revokes.count()
    }
}

impl Store {
    /// One reconciliation: gives (key in the Kubernetes Secret, value).
    pub async fn reconcile(
        &self,
        object: &ExternalSecret,
        traffic: &mut Traffic,
    ) -> Result<Vec<(String, String)>, EsoError> {
        let session = Session::open(self, traffic).await?;
        let mut values = Vec::new();
        for reference in &object.data {
            let data = session.read(&reference.key, &mut traffic.reads).await?;
            let value = property::select(&data, reference.property.as_deref()).ok_or(EsoError::Property)?;
            values.push((reference.secret_key.clone(), value));
        }
        session.close(traffic).await?;
        Ok(values)
    }

    /// Logs in and reads one key; for looking at what goes wrong.
    pub async fn probe(&self, key: &str) -> Result<Map<String, Value>, EsoError> {
        let mut traffic = Traffic::default();
        let session = Session::open(self, &mut traffic).await?;
        session.read(key, &mut traffic.reads).await
    }
}

/// A Go client with a token.
pub struct Session<'a> {
    store: &'a Store,
    http: reqwest::Client,
    token: Zeroizing<String>,
}

impl<'a> Session<'a> {
    /// Connects and logs in.
    pub async fn open(store: &'a Store, traffic: &mut Traffic) -> Result<Self, EsoError> {
        let http = go_client(&store.ca_pem)?;
        let mut session = Self { store, http, token: Zeroizing::default() };
        let (mount, body) = match &store.auth {
            StoreAuth::Kubernetes { mount, role, jwt } => {
                (mount, json!({ "jwt": jwt.as_str(), "role": role }))
            }
            StoreAuth::AppRole { mount, role_id, secret_id } => {
                (mount, json!({ "role_id": role_id, "secret_id": secret_id.as_str() }))
            }
        };
        let request = session.request(Method::PUT, &format!("auth/{mount}/login")).body(body.to_string());
        let answer = call("login", request, &mut traffic.logins).await?;
        let token =
            answer.pointer("/auth/client_token").and_then(Value::as_str).filter(|token| !token.is_empty());
        session.token = Zeroizing::new(token.ok_or(EsoError::Body { call: "login" })?.to_owned());
        Ok(session)
    }

    /// GET of one key, and what the provider takes from the answer.
    pub async fn read(&self, key: &str, meter: &mut Meter) -> Result<Map<String, Value>, EsoError> {
        // The Go client cleans joined paths, so the slash at the start of a key disappears.
        let path = format!("{}/data/{}", self.store.mount, key.trim_start_matches('/'));
        let answer = call("read", self.request(Method::GET, &path), meter).await?;
        match answer.pointer("/data/data") {
            Some(Value::Object(data)) => Ok(data.clone()),
            Some(Value::Null) => Err(EsoError::NotFound),
            _ => Err(EsoError::Body { call: "read" }),
        }
    }

    /// Keys below a folder, for `dataFrom.find`.
    pub async fn list(&self, folder: &str, meter: &mut Meter) -> Result<Vec<String>, EsoError> {
        let path = format!("{}/metadata/{}?list=true", self.store.mount, folder.trim_matches('/'));
        let answer = call("list", self.request(Method::GET, &path), meter).await?;
        let keys =
            answer.pointer("/data/keys").and_then(Value::as_array).ok_or(EsoError::Body { call: "list" })?;
        Ok(keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// lookup-self, and revoke-self if the provider would.
    pub async fn close(self, traffic: &mut Traffic) -> Result<(), EsoError> {
        let lookup = self.request(Method::GET, "auth/token/lookup-self");
        let answer = call("lookup-self", lookup, &mut traffic.lookups).await?;
        let kind = answer
            .pointer("/data/type")
            .and_then(Value::as_str)
            .ok_or(EsoError::Body { call: "lookup-self" })?;
        if kind == "batch" {
            return Ok(());
        }
        // A type assertion in Go: anything but a JSON number crashes the reconciliation.
        let ttl = answer.pointer("/data/ttl").filter(|ttl| ttl.is_number()).and_then(Value::as_u64);
        if ttl.ok_or(EsoError::Body { call: "lookup-self" })? >= REVOKE_TTL_SECS {
            let revoke = self.request(Method::PUT, "auth/token/revoke-self");
            call("revoke-self", revoke, &mut traffic.revokes).await?;
        }
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}/v1/{path}", self.store.server));
        let request = request.header("X-Vault-Request", "true").header("Accept-Encoding", "gzip");
        if self.token.is_empty() { request } else { request.header("X-Vault-Token", self.token.as_str()) }
    }
}

/// Go believes a certificate that stands among its roots, whatever it says of itself.
fn go_client(ca_pem: &str) -> Result<reqwest::Client, EsoError> {
    let tls = symbolon::tls_client_config(ca_pem.as_bytes()).ok_or(EsoError::Ca)?;
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).user_agent("Go-http-client/2.0");
    client.redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT).build().map_err(EsoError::Transport)
}

/// Sends, measures, and sorts the answer as the Go client and the provider do.
async fn call(name: &'static str, request: RequestBuilder, meter: &mut Meter) -> Result<Value, EsoError> {
    let begun = Instant::now();
    let response = request.send().await.map_err(EsoError::Transport)?;
    let status = response.status();
    let body = response.bytes().await.map_err(EsoError::Transport)?;
    meter.add(begun.elapsed());
    if status == StatusCode::NOT_FOUND && matches!(name, "read" | "list") {
        // A 404 with `data` is a result; without it the secret counts as absent.
        let parsed: Value = serde_json::from_slice(&body).map_err(|_| EsoError::Body { call: name })?;
        return if parsed.get("data").is_some_and(Value::is_object) {
            Ok(parsed)
        } else {
            Err(EsoError::NotFound)
        };
    }
    if !(200..400).contains(&status.as_u16()) {
        return Err(EsoError::Status { call: name, status: status.as_u16() });
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body).map_err(|_| EsoError::Body { call: name })
}
