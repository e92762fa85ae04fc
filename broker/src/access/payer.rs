//! On whose account the evaluations of a request go.
//!
//! What counts is who logged in, not with which token: whoever can log in again or make tokens for itself
//! would have as many shares as it likes. A token that another one made counts as the first of its line. One
//! without a line and without a login, such as the root token, counts for itself.

use symbolon_core::token::Caller;
use symbolon_proto::id::{MountId, TenantId};
use symbolon_proto::source::Source;

use super::request::Authorised;
use super::session::Session;
use super::tokens::{ANCESTORS_MAX, TOKENS, find};
use crate::error::OpError;
use crate::keys::Payer;
use crate::rows::NO_SCOPE;

/// Metadata of logins whose name is not in the display name.
const ROLES: [&str; 2] = ["role", "role_name"];

impl Authorised {
    /// The caller, for reads below a mount.
    pub async fn payer(&self, mount: MountId) -> Result<Payer, OpError> {
        let session = self.session();
        let first = first_of_line(session, self.caller()).await?;
        Ok(Payer { reader: reader(session, &account(&first)), mount })
    }
}

/// Where a request comes from, for those that need no token but the one they spend.
#[must_use]
pub fn of_source(session: &Session, source: Source, mount: MountId) -> Payer {
    Payer { reader: reader(session, &format!("{source:?}")), mount }
}

/// A keyed hash: nobody can look for another's.
fn reader(session: &Session, account: &str) -> [u8; 16] {
    session.rows.name_hash(TOKENS, NO_SCOPE, account)
}

async fn first_of_line(session: &Session, caller: &Caller) -> Result<Caller, OpError> {
    let mut first = caller.clone();
    for _ in 0..ANCESTORS_MAX {
        let Some(parent) = first.parent else { break };
        let Some((row, _)) = find(session, &parent).await? else { break };
        first = row.describe(TenantId::SYSTEM);
    }
    Ok(first)
}

fn account(first: &Caller) -> String {
    let Caller { path, display_name, token, .. } = first;
    match token {
        Some(token) if !path.starts_with("auth/") || path.starts_with("auth/token/") => token.to_string(),
        _ => {
            let role = ROLES.iter().find_map(|name| first.meta.get(*name)).map_or("", String::as_str);
            format!("{path} {display_name} {role}")
        }
    }
}
