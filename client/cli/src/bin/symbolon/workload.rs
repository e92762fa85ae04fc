//! `symbolon workload`: how a workload presents itself to others.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use symbolon::{KUBERNETES_TOKEN_FILE, Token};

use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;

/// `symbolon workload`
#[derive(Subcommand)]
pub enum Workload {
    /// Exchange proof of identity for a five-minute token that one audience accepts
    Token(TokenFor),
}

/// `symbolon workload token`
#[derive(Args)]
pub struct TokenFor {
    /// Who shall accept the token, such as https://ledger.internal
    #[arg(long)]
    audience: String,
    /// File with the proof: a Kubernetes or OIDC token; `-` reads standard input
    #[arg(long, value_name = "FILE", default_value = KUBERNETES_TOKEN_FILE)]
    subject_token_file: PathBuf,
}

impl Workload {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let Self::Token(command) = self;
        let text = input::secret_file(&command.subject_token_file, "Subject token")?;
        let subject = Token::new(&text).map_err(symbolon::Error::from)?;
        let out = globals.out().for_secrets()?;
        let token = globals.anonymous()?.exchange_token(&subject, &command.audience).await?;
        if out.is_json() {
            return out.json(&serde_json::json!({
                "access_token": token.expose(),
                "token_type": "Bearer",
                "expires_in": token.lifetime().as_secs(),
            }));
        }
        globals.out().line(token.expose())
    }
}
