//! `auth/token`: create, look up, renew, revoke.

use serde_json::{Value, json};
use symbolon_core::path::PolicyName;
use symbolon_core::token::{Caller, CreateRequest, TokenKind};

use super::{self as operations, Making, Revoked, Which};
use crate::access::tokens::IssuedToken;
use crate::auth::roles::route::policy_names;
use crate::dialect::time::rfc3339;
use crate::dialect::vault::envelope::{Auth, Data, Envelope};
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::fields::Reader;
use crate::dialect::vault::{Answer, Call, Reply, VaultRequest, Verb, unsupported};

/// Routes a request below `auth/token/`.
pub async fn route(call: Call<'_>, rest: &str) -> Answer {
    let rest: Vec<&str> = rest.split('/').collect();
    match (rest.as_slice(), call.verb) {
        (["create"], Verb::Write) => create(call, Making::Child).await,
        (["create-orphan"], Verb::Write) => create(call, Making::Orphan).await,
        (["lookup-self"], Verb::Read | Verb::Write) => lookup(call, Whom::Own).await,
        (["lookup"], Verb::Read | Verb::Write) => lookup(call, Whom::Token).await,
        (["lookup-accessor"], Verb::Write) => lookup(call, Whom::Accessor).await,
        (["renew-self"], Verb::Write) => renew(call, Whom::Own).await,
        (["renew"], Verb::Write) => renew(call, Whom::Token).await,
        (["renew-accessor"], Verb::Write) => renew(call, Whom::Accessor).await,
        (["revoke-self"], Verb::Write) => revoke(call, Whom::Own).await,
        (["revoke"], Verb::Write) => revoke(call, Whom::Token).await,
        (["revoke-accessor"], Verb::Write) => revoke(call, Whom::Accessor).await,
        (["revoke-orphan"], Verb::Write) => revoke_orphan(call).await,
        ([known], _) if KNOWN.contains(known) => unsupported(),
        _ => Err(call.unrouted().await),
    }
}

const KNOWN: [&str; 12] = [
    "create",
    "create-orphan",
    "lookup",
    "lookup-self",
    "lookup-accessor",
    "renew",
    "renew-self",
    "renew-accessor",
    "revoke",
    "revoke-self",
    "revoke-accessor",
    "revoke-orphan",
];

/// How a route names the token it is about.
#[derive(Clone, Copy)]
enum Whom {
    Own,
    Unnamed,
    Token,
    Accessor,
}

/// The name itself, out of the body or query.
struct Named {
    whom: Whom,
    text: String,
}

impl Named {
    fn read(whom: Whom, read: &Reader<'_>, call: Call<'_>) -> Result<Self, FaceError> {
        let text = match whom {
            Whom::Own | Whom::Unnamed => {
                let own = call.request.token.as_ref().map_or("", |token| token.as_str());
                read.captured(&["token"], own); // clients repeat it
                None
            }
            Whom::Token => read.string("token")?.filter(|text| !text.is_empty()),
            Whom::Accessor => read.string("accessor")?.filter(|text| !text.is_empty()),
        };
        match (whom, text) {
            (Whom::Own | Whom::Unnamed, _) => Ok(Self { whom, text: String::new() }),
            (_, Some(text)) => Ok(Self { whom, text }),
            // Vault's lookup without a token is about the caller's own.
            (Whom::Token, None) if call.verb == Verb::Read => {
                Ok(Self { whom: Whom::Unnamed, text: String::new() })
            }
            (Whom::Token, None) => Err(FaceError::Invalid("missing token")),
            (Whom::Accessor, None) => Err(FaceError::Invalid("missing accessor")),
        }
    }

    fn which(&self) -> Which<'_> {
        match self.whom {
            Whom::Own => Which::Own,
            Whom::Unnamed => Which::Unnamed,
            Whom::Token => Which::Token(&self.text),
            Whom::Accessor => Which::Accessor(&self.text),
        }
    }

    /// What the answer shows as the token: never one that the caller did not present.
    fn shown<'a>(&'a self, request: &'a VaultRequest) -> &'a str {
        match self.whom {
            Whom::Own | Whom::Unnamed => request.token.as_ref().map_or("", |token| token.as_str()),
            Whom::Token => &self.text,
            Whom::Accessor => "",
        }
    }
}

async fn create(call: Call<'_>, making: Making) -> Answer {
    let read = call.fields.reader();
    let wish = CreateRequest { orphan: read.bool("no_parent")?.unwrap_or(false), ..parse_create(&read)? };
    let mut issued = operations::create(&call.who(), making, wish).await?;
    issued.warnings.extend(read.unrecognised());
    Ok(issued_answer(call, "token", issued))
}

fn parse_create(read: &Reader<'_>) -> Result<CreateRequest, FaceError> {
    if read.string("id")?.is_some_and(|id| !id.is_empty()) {
        return Err(FaceError::Invalid("token ids cannot be chosen; leave out \"id\""));
    }
    if read.string("role_name")?.is_some_and(|name| !name.is_empty()) {
        return Err(FaceError::Invalid("token roles are not supported; leave out \"role_name\""));
    }
    if read.string("entity_alias")?.is_some_and(|alias| !alias.is_empty()) {
        return Err(FaceError::Invalid("entities are not supported; leave out \"entity_alias\""));
    }
    let ttl = match read.duration_secs("ttl")? {
        Some(ttl) => Some(ttl),
        None => read.duration_secs("lease")?,
    };
    Ok(CreateRequest {
        policies: read.comma_list("policies")?.map(|names| policy_names(&names)).transpose()?,
        meta: read.pairs("meta")?.unwrap_or_default(),
        orphan: false,
        no_default_policy: read.bool("no_default_policy")?.unwrap_or(false),
        renewable: read.bool("renewable")?,
        ttl_secs: ttl.unwrap_or(0),
        explicit_max_ttl_secs: read.duration_secs("explicit_max_ttl")?.unwrap_or(0),
        period_secs: read.duration_secs("period")?.unwrap_or(0),
        num_uses: read.count("num_uses")?.unwrap_or(0),
        display_name: read.string("display_name")?.unwrap_or_default(),
        kind: match read.string("type")?.as_deref() {
            None | Some("") => None,
            Some("service") => Some(TokenKind::Service),
            Some("batch") => Some(TokenKind::Batch),
            Some(_) => return Err(FaceError::Invalid("invalid 'token_type' value")),
        },
    })
}

async fn lookup(call: Call<'_>, whom: Whom) -> Answer {
    let read = call.fields.reader();
    let named = Named::read(whom, &read, call)?;
    let found = operations::lookup(&call.who(), named.which()).await?;
    let facts = token_facts(&found, named.shown(call.request), call.session.now().unix_secs());
    Ok(call.request.envelope("token", facts, &read).into_reply())
}

/// `type`, a numeric `ttl` and `expire_time` must be there whatever else is: the External Secrets Operator
/// crashes without them.
fn token_facts(caller: &Caller, id: &str, now_secs: u64) -> Value {
    let mut facts = json!({
        "id": id,
        "accessor": caller.accessor.as_deref().unwrap_or(""),
        "creation_time": caller.issued_at,
        "creation_ttl": caller.creation_ttl_secs,
        "display_name": caller.display_name,
        "entity_id": "",
        "expire_time": caller.expires_at.map(|secs| rfc3339(secs.saturating_mul(1000))),
        "explicit_max_ttl": caller.explicit_max_ttl_secs,
        "issue_time": rfc3339(caller.issued_at.saturating_mul(1000)),
        "meta": (!caller.meta.is_empty()).then_some(&caller.meta),
        "num_uses": caller.num_uses,
        "orphan": caller.orphan,
        "path": caller.path,
        "policies": names(caller),
        "renewable": caller.renewable,
        "ttl": caller.ttl_left_secs(now_secs),
        "type": caller.kind.as_str(),
    });
    if caller.period_secs > 0 {
        facts["period"] = json!(caller.period_secs);
    }
    if let Some(secs) = caller.last_renewal {
        facts["last_renewal"] = json!(rfc3339(secs.saturating_mul(1000)));
        facts["last_renewal_time"] = json!(secs);
    }
    facts
}

fn names(caller: &Caller) -> Vec<&str> {
    caller.policies.iter().map(PolicyName::as_str).collect()
}

async fn renew(call: Call<'_>, whom: Whom) -> Answer {
    let read = call.fields.reader();
    let named = Named::read(whom, &read, call)?;
    let increment_secs = read.duration_secs("increment")?.unwrap_or(0);
    let renewal = operations::renew(&call.who(), named.which(), increment_secs).await?;
    let mut warnings = renewal.warnings;
    warnings.extend(read.unrecognised());
    let auth = auth(&renewal.caller, named.shown(call.request), renewal.ttl_secs);
    Ok(auth_answer(call, "token", auth, warnings))
}

async fn revoke(call: Call<'_>, whom: Whom) -> Answer {
    let read = call.fields.reader();
    let named = Named::read(whom, &read, call)?;
    let revoked = operations::revoke(&call.who(), named.which()).await?;
    Ok(match (revoked, whom) {
        (Revoked::Before, Whom::Accessor) => only_warns(call, "No token found with this accessor"),
        _ => Reply::no_content(),
    })
}

async fn revoke_orphan(call: Call<'_>) -> Answer {
    let read = call.fields.reader();
    let named = Named::read(Whom::Token, &read, call)?;
    operations::revoke_orphan(&call.who(), &named.text).await?;
    Ok(Reply::no_content())
}

/// A success that somebody should look at.
fn only_warns(call: Call<'_>, warning: &str) -> Reply {
    let nothing = Envelope::object(&call.request.request_id, "token", serde_json::Map::new());
    Envelope { data: Data::None, warnings: vec![warning.to_owned()], ..nothing }.into_reply()
}

/// The `auth` of an answer about `caller`.
fn auth<'a>(caller: &'a Caller, shown: &'a str, ttl_secs: u64) -> Auth<'a> {
    Auth {
        client_token: shown,
        accessor: caller.accessor.as_deref().unwrap_or(""),
        policies: names(caller),
        token_policies: names(caller),
        metadata: (!caller.meta.is_empty()).then_some(&caller.meta),
        lease_duration: ttl_secs,
        renewable: caller.renewable,
        entity_id: "",
        token_type: caller.kind.as_str(),
        orphan: caller.orphan,
        mfa_requirement: None,
        num_uses: caller.num_uses,
    }
}

fn auth_answer(call: Call<'_>, mount_type: &'static str, auth: Auth<'_>, warnings: Vec<String>) -> Reply {
    let nothing = serde_json::Map::new();
    Envelope {
        data: Data::None,
        auth: Some(auth),
        warnings,
        ..Envelope::object(&call.request.request_id, mount_type, nothing)
    }
    .into_reply()
}

/// The answer that shows a new token, once.
#[must_use]
pub fn issued_answer(call: Call<'_>, mount_type: &'static str, issued: IssuedToken) -> Reply {
    let IssuedToken { token, caller, ttl_secs, warnings } = issued;
    auth_answer(call, mount_type, auth(&caller, &token, ttl_secs), warnings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_core::token::TokenClaims;
    use symbolon_proto::id::TenantId;

    use super::*;
    use crate::dialect::vault::call::object;
    use crate::dialect::vault::fields::Fields;

    fn caller() -> Caller {
        let claims = TokenClaims::root(1_709_210_096);
        Caller {
            tenant: TenantId::SYSTEM,
            kind: TokenKind::Batch,
            token: None,
            accessor: None,
            display_name: claims.display_name,
            policies: vec![PolicyName::parse("reader").unwrap()],
            meta: claims.meta,
            path: claims.path,
            issued_at: 1_709_210_096,
            creation_ttl_secs: 600,
            expires_at: Some(1_709_210_696),
            last_renewal: None,
            explicit_max_ttl_secs: 0,
            period_secs: 0,
            renewable: false,
            orphan: true,
            num_uses: 0,
            bound_cidrs: claims.bound_cidrs,
            parent: None,
            who: claims.who,
        }
    }

    #[test]
    fn what_the_operator_reads_is_there_with_the_right_types() {
        let facts = token_facts(&caller(), "hvb.x", 1_709_210_100);
        assert_eq!(facts["type"], "batch");
        assert_eq!(facts["ttl"], json!(596));
        assert_eq!(facts["expire_time"], "2024-02-29T12:44:56Z");
        assert_eq!(facts["meta"], Value::Null);
        let endless = token_facts(&Caller { expires_at: None, ..caller() }, "", 0);
        assert!(endless.as_object().unwrap().contains_key("expire_time"));
        assert_eq!((&endless["expire_time"], &endless["ttl"]), (&Value::Null, &json!(0)));
    }

    #[test]
    fn creation_takes_every_spelling() {
        let fields = Fields::new(object(json!({
            "policies": ["Reader", "writer"], "ttl": "1h", "meta": {"team": "x"}, "num_uses": "3",
            "renewable": "false", "type": "service", "display_name": "ci", "period": 60,
        })));
        let wish = parse_create(&fields.reader()).unwrap();
        assert_eq!(
            wish.policies.unwrap().iter().map(PolicyName::as_str).collect::<Vec<_>>(),
            ["reader", "writer"]
        );
        assert_eq!((wish.ttl_secs, wish.period_secs, wish.num_uses), (3600, 60, 3));
        assert_eq!((wish.renewable, wish.kind), (Some(false), Some(TokenKind::Service)));
        let fields = Fields::new(object(json!({"lease": "2h"})));
        assert_eq!(parse_create(&fields.reader()).unwrap().ttl_secs, 7200);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for body in [
            json!({"id": "my"}),
            json!({"role_name": "r"}),
            json!({"type": "x"}),
            json!({"entity_alias": "e"}),
        ] {
            assert!(parse_create(&Fields::new(object(body)).reader()).is_err());
        }
    }

    #[test]
    fn the_auth_block_has_vaults_members() {
        let caller = caller();
        let value = serde_json::to_value(auth(&caller, "hvb.x", 600)).unwrap();
        assert_eq!(
            value,
            json!({
                "client_token": "hvb.x", "accessor": "", "policies": ["reader"], "token_policies": ["reader"],
                "metadata": null, "lease_duration": 600, "renewable": false, "entity_id": "",
                "token_type": "batch", "orphan": true, "mfa_requirement": null, "num_uses": 0,
            })
        );
    }
}
