#![doc = include_str!("../README.md")]
#![warn(missing_debug_implementations)]

mod auth;
mod call;
mod client;
mod connection;
mod error;
mod evidence;
mod exchange;
mod form;
mod http;
mod kept;
mod kv;
mod login;
mod path;
mod refusal;
mod retry;
mod source;
#[cfg(test)]
mod testing;
mod token;
#[cfg(feature = "tls")]
mod untrusted;
mod wiped;
mod workload;

pub use reqwest::Method;

pub use self::auth::{Auth, Login, TokenInfo};
pub use self::call::Call;
pub use self::client::{Builder, Client};
pub use self::error::{Configuration, Error, Rejected, Unavailable};
pub use self::evidence::{Evidence, KUBERNETES_TOKEN_FILE};
pub use self::exchange::{Answer, Pieces};
#[cfg(feature = "tls")]
pub use self::http::install_crypto_provider;
pub use self::kv::{
    Cas, Kv, MetadataChange, Secret, SecretData, SecretMetadata, VersionInfo, VersionMetadata,
};
pub use self::refusal::Refusal;
pub use self::source::TokenSource;
pub use self::token::{SecretText, Token, TokenError};
#[cfg(feature = "tls")]
pub use self::untrusted::tls_client_config;
#[cfg(feature = "verify")]
pub use self::workload::verify::{Caller, Verifier};
pub use self::workload::{WorkloadToken, WorkloadTokens};
