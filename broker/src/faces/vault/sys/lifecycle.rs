//! Health, seal status, init, unseal, seal, leader: raw JSON without envelope, and no token but for `seal`.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Map, Value, json};
use symbolon_proto::Zeroizing;
use symbolon_proto::custody::receipt::Receipt;

use super::{backup, ceremony, custody, retention, root, sinks};
use crate::access::Channel;
use crate::custody::App;
use crate::custody::init::{Init, InitAnswer};
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::fields::{Fields, Reader};
use crate::dialect::vault::{Answer, Reply, Status, VaultRequest, Verb, unsupported};
use crate::ops;
use crate::ops::seal::SealStatus;

/// Whether a request is about the life of the broker: answered whether or not it is open, or closing it.
pub fn is_one(request: &VaultRequest) -> bool {
    let segments: Vec<&str> = request.path.segments().collect();
    matches!(
        segments.as_slice(),
        ["sys", "health" | "seal-status" | "init" | "unseal" | "seal" | "leader"]
            | ["sys", "symbolon", "ceremony" | "ceremonies" | "custody", ..]
    )
}

/// Routes such a request. It holds no session of its own.
pub async fn route(app: &App, request: &VaultRequest) -> Answer {
    let segments: Vec<&str> = request.path.segments().skip(1).collect();
    match (segments.as_slice(), request.verb) {
        (["health"], Verb::Read) => health(app, request),
        (["seal-status"], Verb::Read) => seal_status(app),
        (["init"], Verb::Read) => is_initialised(app),
        (["init"], Verb::Write) => init(app, request).await,
        (["unseal"], Verb::Write) => unseal(app, request).await,
        (["seal"], Verb::Write) => seal(app, request).await,
        (["leader"], Verb::Read) => leader(app),
        (["symbolon", "ceremony", "root"], Verb::Read) => root::scope(app),
        (["symbolon", "ceremony", "root"], Verb::Write) => root::ask(app, request).await,
        (["symbolon", "ceremony", "root"], _) => unsupported(),
        (["symbolon", "ceremony", what @ ..], _) => ceremony::route(app, request, what).await,
        (["symbolon", "ceremonies", what @ ..], _) => ceremony::kept(app, request, what).await,
        (["symbolon", "custody", what @ ..], _) => custody::route(app, request, what).await,
        (["health" | "seal-status" | "init" | "unseal" | "seal" | "leader"], _) => unsupported(),
        _ => super::super::unrouted(app, request).await,
    }
}

/// Most shares that the protocol knows; asking for more is told by the operation.
const U8_MAX: u64 = 255;

pub(super) fn health(app: &App, request: &VaultRequest) -> Answer {
    let status = ops::seal::status(app);
    let Some(code) = health_code(&status, &request.fields.reader()) else {
        return Ok(Reply::errors(Status::BAD_REQUEST, None));
    };
    let now_secs = app.clock.now().unix_secs();
    Ok(Reply::json(
        code,
        &health_body(&status, now_secs, &app.config.lives.now().vault_compatibility_version),
    ))
}

/// The status code, which callers may choose; `None` if they chose what is none.
fn health_code(status: &SealStatus, read: &Reader<'_>) -> Option<Status> {
    // There are no standbys, so what is said of them holds.
    read.accept(&["standbyok", "perfstandbyok", "standbycode", "performancestandbycode", "drsecondarycode"]);
    read.accept(&["activecode", "sealedcode", "uninitcode"]);
    read.accept(&["degradedcode"]);
    let is_degraded_ok = read.string("degradedok").ok()?.is_some_and(|text| text != "false");
    let (name, usual) = match status {
        SealStatus { initialized: false, .. } => ("uninitcode", 501),
        SealStatus { sealed: true, .. } => ("sealedcode", 503),
        SealStatus { degraded, .. } if !degraded.is_empty() && !is_degraded_ok => ("degradedcode", 503),
        _ => ("activecode", 200),
    };
    Status::chosen_for_health(read.count(name).ok()?.unwrap_or(usual))
}

fn health_body(status: &SealStatus, now_secs: u64, version: &str) -> Value {
    let replication = if status.sealed { "unknown" } else { "disabled" };
    let mut body = json!({
        "initialized": status.initialized,
        "sealed": status.sealed,
        "standby": false,
        "performance_standby": false,
        "degraded": status.degraded,
        "replication_performance_mode": replication,
        "replication_dr_mode": replication,
        "server_time_utc": now_secs,
        "version": version,
        "symbolon_version": env!("CARGO_PKG_VERSION"),
    });
    name_cluster(&mut body, status);
    body
}

/// The deployment's name, only while it is open.
fn name_cluster(body: &mut Value, status: &SealStatus) {
    if !status.sealed {
        body["cluster_name"] = json!(format!("symbolon-{}", status.cluster_id.get(..8).unwrap_or("")));
        body["cluster_id"] = json!(status.cluster_id);
    }
}

pub(super) fn seal_status(app: &App) -> Answer {
    Ok(Reply::json(
        Status::OK,
        &seal_body(&ops::seal::status(app), &app.config.lives.now().vault_compatibility_version),
    ))
}

/// `type` is `shamir` so that operators' tools ask for shares; the rest after `warnings` is ours.
fn seal_body(status: &SealStatus, version: &str) -> Value {
    let mut body = json!({
        "type": "shamir",
        "initialized": status.initialized,
        "sealed": status.sealed,
        "t": status.threshold,
        "n": status.shares,
        "progress": status.progress,
        "nonce": status.nonce,
        "version": version,
        "build_date": "",
        "commit_date": "",
        "migration": false,
        "recovery_seal": false,
        "storage_type": "embedded",
        "given": status.given,
        "enrolling": status.enrolling,
        "unconfirmed_left_secs": status.unconfirmed_left_secs,
        "recovery": status.recovery,
        "memory": status.memory,
        "lease": status.lease,
        "lease_left_secs": status.lease_left_secs,
        "dead_man_left_secs": status.dead_man_left_secs,
        "degraded": status.degraded,
        "sealed_because": status.sealed_because,
        "generation": status.generation,
        "alarms": status.alarms,
        "backup": status.backup.as_ref().map(backup::facts),
        "log": retention::facts(&status.log),
        "sinks": status.sinks.iter().map(sinks::facts).collect::<Vec<_>>(),
        "symbolon_version": env!("CARGO_PKG_VERSION"),
    });
    name_cluster(&mut body, status);
    body
}

pub(super) fn is_initialised(app: &App) -> Answer {
    Ok(Reply::json(Status::OK, &json!({ "initialized": ops::seal::status(app).initialized })))
}

pub(super) async fn init(app: &App, request: &VaultRequest) -> Answer {
    let read = request.fields.reader();
    if let Some(receipt) = read.string("receipt")?.filter(|text| !text.is_empty()) {
        return confirm_init(app, &receipt).await;
    }
    let wish = Init { channel: request.channel, ..parse_init(&read)? };
    if ops::seal::status(app).initialized {
        return Err(FaceError::Initialised.into());
    }
    let made = crate::custody::init::init(app, &wish).await?;
    Ok(Reply::json(Status::OK, &InitBody { receipt_awaited: wish.awaits_receipt, ..InitBody::new(&made) }))
}

/// Whoever asked for `init` holds the answer.
async fn confirm_init(app: &App, receipt: &str) -> Answer {
    let receipt = Receipt::parse(receipt).map_err(|_| {
        FaceError::Invalid("\"receipt\" must be the 64 hex digits that `init` is confirmed with")
    })?;
    crate::custody::init::confirm(app, &receipt).await?;
    is_initialised(app)
}

fn parse_init(read: &Reader<'_>) -> Result<Init, FaceError> {
    for name in ["pgp_keys", "recovery_pgp_keys", "root_token_pgp_key"] {
        if read.comma_list(name)?.is_some_and(|keys| !keys.is_empty()) {
            return Err(FaceError::Invalid("shares cannot be encrypted to PGP keys; leave out \"pgp_keys\""));
        }
    }
    read.idle(&["stored_shares", "recovery_shares", "recovery_threshold"]);
    let count = |name| -> Result<u8, FaceError> {
        let given = read.count(name)?.filter(|&count| count <= U8_MAX);
        let given = given.and_then(|count| u8::try_from(count).ok());
        given
            .ok_or(FaceError::Invalid("\"secret_shares\" and \"secret_threshold\" must be given, at most 16"))
    };
    Ok(Init {
        shares: count("secret_shares")?,
        threshold: count("secret_threshold")?,
        custodians: read.string_list("custodians")?.unwrap_or_default(),
        cards: ceremony::parse_cards(read)?,
        sources: ceremony::parse_sources(read)?,
        recovery: read.string("recovery")?.filter(|text| !text.is_empty()),
        channel: Channel::default(),
        awaits_receipt: read.bool("await_receipt")?.unwrap_or(false),
    })
}

/// A share in an answer; wiped on drop.
struct Shown(Zeroizing<String>);

impl serde::Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The shares twice as Vault shows them, and as the text that our custodians keep; or, for custodians with
/// cards, in parcels.
#[derive(serde::Serialize)]
struct InitBody<'a> {
    keys: Vec<Shown>,
    keys_base64: Vec<Shown>,
    root_token: &'a str,
    custodians: Vec<&'a str>,
    shares: Vec<&'a str>,
    parcels: Vec<&'a str>,
    log_key: &'a str,
    /// There for whoever has said that the answer will be confirmed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    receipt_awaited: bool,
}

impl<'a> InitBody<'a> {
    fn new(made: &'a InitAnswer) -> Self {
        let encoded = |encode: &dyn Fn(&[u8]) -> String| {
            made.shares.iter().map(|share| Shown(Zeroizing::new(encode(&share.bytes)))).collect()
        };
        Self {
            keys: encoded(&|bytes| HEXLOWER.encode(bytes)),
            keys_base64: encoded(&|bytes| BASE64.encode(bytes)),
            root_token: &made.root_token,
            custodians: made.names(),
            shares: made.shares.iter().map(|share| share.text.as_str()).collect(),
            parcels: made.parcels.iter().map(|(_, text)| text.as_str()).collect(),
            log_key: &made.log_key,
            receipt_awaited: false,
        }
    }
}

pub(super) async fn unseal(app: &App, request: &VaultRequest) -> Answer {
    let given = folded(&request.fields)?;
    let (key, reset) = parse_unseal(&given.reader())?;
    let status = match (reset, key) {
        (true, _) => ops::seal::reset(app).await?,
        (false, Some(key)) => ops::seal::unseal(app, &key, request.channel, request.remote).await?,
        (false, None) => {
            let text = "'key' must be specified in request body as JSON, or 'reset' set to true";
            return Err(FaceError::Invalid(text).into());
        }
    };
    let answer =
        Reply::json(Status::OK, &seal_body(&status, &app.config.lives.now().vault_compatibility_version));
    Ok(answer.warned(&request.request_id, "system", given.warnings()))
}

/// Names are matched without regard to case, as Go's decoder does; two spellings of one name are refused.
fn folded(fields: &Fields) -> Result<Fields, FaceError> {
    let mut folded = Map::new();
    for (name, value) in fields.whole() {
        if folded.insert(name.to_ascii_lowercase(), value.clone()).is_some() {
            return Err(FaceError::Invalid("a field is given twice"));
        }
    }
    Ok(Fields::new(folded))
}

fn parse_unseal(read: &Reader<'_>) -> Result<(Option<Zeroizing<String>>, bool), FaceError> {
    if read.bool("migrate")?.unwrap_or(false) {
        return Err(FaceError::Invalid("there is no seal to migrate from"));
    }
    let key = read.string("key")?.filter(|key| !key.is_empty()).map(Zeroizing::new);
    Ok((key, read.bool("reset")?.unwrap_or(false)))
}

pub(super) async fn seal(app: &App, request: &VaultRequest) -> Answer {
    ops::seal::seal(app, &request.requester()).await?;
    Ok(Reply::no_content())
}

/// Says the same of a sealed broker: there is no other one that could be asked.
pub(super) fn leader(app: &App) -> Answer {
    let body = json!({
        "ha_enabled": false,
        "is_self": !ops::seal::status(app).sealed,
        "active_time": "0001-01-01T00:00:00Z",
        "leader_address": "",
        "leader_cluster_address": "",
        "performance_standby": false,
        "performance_standby_last_remote_wal": 0,
    });
    Ok(Reply::json(Status::OK, &body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::custody::init::CustodianShare;
    use crate::dialect::vault::call::object;

    fn status(initialized: bool, sealed: bool) -> SealStatus {
        SealStatus {
            initialized,
            sealed,
            threshold: 2,
            shares: 3,
            progress: 1,
            given: vec!["alice".into()],
            nonce: "n".into(),
            enrolling: String::new(),
            unconfirmed_left_secs: 0,
            cluster_id: "0123456789abcdef".into(),
            recovery: "none".into(),
            memory: "secret".into(),
            lease: "active".into(),
            lease_left_secs: 9,
            dead_man_left_secs: 8,
            degraded: String::new(),
            sealed_because: String::new(),
            generation: 4,
            alarms: Vec::new(),
            backup: None,
            log: Default::default(),
            sources: Vec::new(),
            sinks: Vec::new(),
        }
    }

    fn fields(value: Value) -> Fields {
        Fields::new(object(value))
    }

    #[test]
    fn health_speaks_in_status_codes() {
        let code = |status: &SealStatus, query: Value| {
            health_code(status, &fields(query).reader()).map(|status| status.as_u16())
        };
        assert_eq!(code(&status(false, true), json!({})), Some(501));
        assert_eq!(code(&status(true, true), json!({})), Some(503));
        assert_eq!(code(&status(true, false), json!({"standbyok": "true"})), Some(200));
        assert_eq!(code(&status(true, true), json!({"sealedcode": "204"})), Some(204));
        assert_eq!(code(&status(true, false), json!({"sealedcode": "204"})), Some(200));
        assert_eq!(code(&status(false, true), json!({"uninitcode": "x"})), None);
        assert_eq!(code(&status(true, false), json!({"activecode": "100"})), None);
        assert_eq!(code(&status(true, false), json!({"activecode": "99999"})), None);
        let degraded = SealStatus { degraded: "no lease".into(), ..status(true, false) };
        assert_eq!(code(&degraded, json!({})), Some(503));
        assert_eq!(code(&degraded, json!({"degradedcode": "299"})), Some(299));
        for (asked, answer) in [("", 200), ("true", 200), ("false", 503)] {
            assert_eq!(code(&degraded, json!({"degradedok": asked})), Some(answer), "{asked:?}");
        }
    }

    #[test]
    fn a_sealed_broker_does_not_name_its_deployment() {
        let sealed = health_body(&status(true, true), 7, "1.15.0");
        assert_eq!(sealed.get("cluster_id"), None);
        assert_eq!(sealed["replication_dr_mode"], "unknown");
        let open = health_body(&status(true, false), 7, "1.15.0");
        assert_eq!(
            (&open["cluster_id"], &open["cluster_name"]),
            (&json!("0123456789abcdef"), &json!("symbolon-01234567"))
        );
        assert_eq!(open["server_time_utc"], 7);
        assert_eq!(seal_body(&status(true, true), "1.15.0").get("cluster_id"), None);
    }

    #[test]
    fn seal_status_has_vaults_members_and_ours() {
        let body = seal_body(&status(true, true), "1.15.0");
        for (name, value) in [
            ("type", json!("shamir")),
            ("t", json!(2)),
            ("n", json!(3)),
            ("progress", json!(1)),
            ("given", json!(["alice"])),
        ] {
            assert_eq!(body[name], value, "{name}");
        }
    }

    #[test]
    fn init_takes_what_vault_clients_send() {
        let wish = parse_init(
            &fields(json!({
                "secret_shares": 3, "secret_threshold": "2", "pgp_keys": null, "root_token_pgp_key": "",
                "recovery_shares": 5, "stored_shares": 1,
            }))
            .reader(),
        )
        .unwrap();
        assert_eq!((wish.shares, wish.threshold, wish.recovery), (3, 2, None));
        for body in
            [json!({}), json!({"secret_shares": 300, "secret_threshold": 2}), json!({"secret_shares": 3})]
        {
            assert!(parse_init(&fields(body).reader()).is_err());
        }
        let pgp = json!({"secret_shares": 3, "secret_threshold": 2, "pgp_keys": ["x"]});
        assert!(parse_init(&fields(pgp).reader()).is_err());
    }

    #[test]
    fn init_shows_each_share_in_three_spellings() {
        let made = InitAnswer {
            shares: vec![CustodianShare {
                name: "alice".into(),
                text: Zeroizing::new("skf1x".into()),
                bytes: Zeroizing::new(vec![1, 255]),
            }],
            parcels: Vec::new(),
            root_token: "hvs.root".into(),
            log_key: "key".into(),
        };
        let body = serde_json::to_value(InitBody::new(&made)).unwrap();
        assert_eq!(
            body,
            json!({
                "keys": ["01ff"], "keys_base64": ["Af8="], "root_token": "hvs.root",
                "custodians": ["alice"], "shares": ["skf1x"], "parcels": [], "log_key": "key",
            })
        );
    }

    #[test]
    fn unseal_matches_names_in_any_case() {
        let parse = |body: Value| parse_unseal(&folded(&fields(body))?.reader());
        let (key, reset) = parse(json!({"KEY": "skf1x", "Reset": false})).unwrap();
        assert_eq!((key.unwrap().as_str(), reset), ("skf1x", false));
        assert!(parse(json!({"KEY": "a", "key": "b"})).is_err());
        assert!(parse(json!({"migrate": true})).is_err());
        assert!(parse(json!({"reset": "1"})).unwrap().1);
        let body = fields(json!({"Key": "a", "kye": "b"}));
        let given = folded(&body).unwrap();
        parse_unseal(&given.reader()).unwrap();
        assert!(body.warnings().is_empty() && given.warnings()[0].ends_with("[kye]"));
    }
}
