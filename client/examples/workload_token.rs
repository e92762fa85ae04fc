//! One service calls another: the caller asks the broker for a token that only the callee accepts, and the
//! callee verifies it with the keys that the broker publishes.
//!
//! ```text
//! SYMBOLON_ADDR=https://127.0.0.1:8200 SYMBOLON_CACERT=ca.pem PROOF_FILE=proof \
//!     cargo run -p symbolon --example workload_token
//! ```

use symbolon::{Caller, Client, Error, Evidence, Verifier, WorkloadTokens};

/// Who is called.
pub const LEDGER: &str = "https://ledger.internal";

/// The service that is called.
pub struct Ledger(Verifier);

impl Ledger {
    /// It needs no credentials of its own.
    pub fn new(client: Client) -> Self {
        Self(Verifier::new(client, LEDGER))
    }

    /// What a request handler does first. `authorization` is the header of that name.
    pub async fn caller(&self, authorization: &str) -> Result<Caller, Error> {
        self.0.verify(authorization.strip_prefix("Bearer ").unwrap_or_default()).await
    }
}

/// The header that the caller sends. Tokens live five minutes, so `tokens` is kept for as long as the process
/// runs.
pub async fn authorization(tokens: &WorkloadTokens) -> Result<String, Error> {
    Ok(format!("Bearer {}", tokens.token(LEDGER).await?.expose()))
}

/// Both sides. `proof` is what the platform gives the caller, made for the broker alone.
pub async fn run(client: Client, proof: Evidence) -> Result<Caller, Error> {
    let tokens = WorkloadTokens::new(client.clone(), proof);
    let header = authorization(&tokens).await?;
    Ledger::new(client).caller(&header).await
}

#[tokio::main]
#[allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an example reads its environment, and prints"
)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::builder(&std::env::var("SYMBOLON_ADDR")?)
        .ca_file(std::env::var("SYMBOLON_CACERT")?)
        .build()?;
    let caller = run(client, Evidence::file(std::env::var("PROOF_FILE")?)).await?;
    println!("{} calls {LEDGER}", caller.subject);
    Ok(())
}
