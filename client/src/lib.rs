//! Client of a Symbolon broker, for services and for the `symbolon` binary.
//!
//! Speaks the Vault dialect (`/v1/…`), the token endpoint (`/oauth2/token`) and the public log (`/log/…`).
//!
//! ```no_run
//! # async fn example() -> Result<(), symbolon::Error> {
//! use symbolon::{Client, Service, ServiceLogin};
//!
//! let client = Client::builder("https://broker.internal:8200").ca_file("/etc/symbolon/ca.pem").build()?;
//! let service = Service::new(client, ServiceLogin::kubernetes("payments"));
//! let secret = service.fetch("secret", "payments/database").await?;
//! let password = secret.text("password");
//! let bearer = service.workload_token("https://ledger.internal").await?;
//! # Ok(()) }
//! ```
//!
//! What it promises: TLS with a CA file or the system's roots, no redirects (a token never follows one), no plain HTTP
//! beyond this machine, bounded answers, deadlines on every call, tokens that do not appear in `Debug` output.
//! What it does not do: retry writes, or cache secrets.

mod auth;
mod call;
mod client;
mod error;
mod kv;
mod oauth;
mod service;
mod token;

pub use reqwest::Method;

pub use self::auth::{Auth, Login, TokenInfo};
pub use self::call::{Answer, Call};
pub use self::client::{Builder, Client, install_crypto_provider};
pub use self::error::{Error, Refusal};
pub use self::kv::{
    Kv, MetadataChange, Secret, SecretData, SecretMetadata, VersionMetadata, Versions, WroteVersion,
};
pub use self::oauth::{SubjectToken, WorkloadToken};
pub use self::service::{KUBERNETES_TOKEN_FILE, Service, ServiceLogin};
pub use self::token::{SecretText, Token, TokenError};
