//! `sys/mounts`, `sys/auth` and what user interfaces ask about them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use symbolon_core::path::{ApiPath, MountPath};
use symbolon_core::token::TokenType;
use symbolon_core::token::ttl::SYSTEM_TTL_SECS;

use crate::access::mounts::{Enable, Listing, Mount, MountList, Side};
use crate::auth::method_of;
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::fields::Reader;
use crate::dialect::vault::{Answer, Call, Reply, Verb, unsupported};
use crate::engines::{ENGINES, engine_of};
use crate::ops::mount::{self, Tuned, Tuning};

/// Routes a request below `sys/mounts` or `sys/auth`.
pub(super) async fn route(call: Call<'_>, side: Side, path: &[&str]) -> Answer {
    match (path, call.verb) {
        ([], Verb::Read | Verb::List) => list(call, side).await,
        ([], _) => unsupported(),
        ([path @ .., "tune"], verb) if !path.is_empty() => settings(call, side, path, verb).await,
        ([.., "tune"], _) => Err(call.unrouted().await),
        (path, Verb::Read) => read(call, side, path).await,
        (path, Verb::Write) => enable(call, side, path).await,
        (path, Verb::Delete) => disable(call, side, path).await,
        (_, Verb::List | Verb::Patch) => unsupported(),
    }
}

/// Settings of a mount. Those of login methods stand below `sys/mounts/auth/` too: no engine is ever mounted
/// there.
async fn settings(call: Call<'_>, below: Side, path: &[&str], verb: Verb) -> Answer {
    let (side, path) = match (below, path) {
        (Side::Secrets, ["auth", path @ ..]) if !path.is_empty() => (Side::Logins, path),
        (side, path) => (side, path),
    };
    let path = mount_path(path)?;
    let tuned = Tuned { side, path: &path, below };
    match verb {
        Verb::Read => show_settings(call, tuned).await,
        Verb::Write => tune(call, tuned).await,
        Verb::List | Verb::Delete | Verb::Patch => unsupported(),
    }
}

fn mount_path(segments: &[&str]) -> Result<MountPath, FaceError> {
    Ok(MountPath::parse(&segments.join("/"))?)
}

async fn list(call: Call<'_>, side: Side) -> Answer {
    let mounts = mount::list(&call.who(), side).await?;
    let data: Map<String, Value> =
        mounts.iter().map(|mount| (mount.path.with_slash(), mount_facts(mount, side))).collect();
    Ok(copied(call, Value::Object(data)))
}

async fn read(call: Call<'_>, side: Side, path: &[&str]) -> Answer {
    let found = mount::read(&call.who(), side, &mount_path(path)?).await?;
    Ok(copied(call, mount_facts(&found, side)))
}

/// An answer whose members older clients look for at its top.
fn copied(call: Call<'_>, data: Value) -> Reply {
    let mut envelope = call.request.envelope("system", data, &call.fields.reader());
    envelope.copied_to_top = true;
    envelope.into_reply()
}

async fn show_settings(call: Call<'_>, tuned: Tuned<'_>) -> Answer {
    let found = mount::read_tuning(&call.who(), tuned).await?;
    Ok(copied(call, settings_facts(&found, tuned.side)))
}

async fn tune(call: Call<'_>, tuned: Tuned<'_>) -> Answer {
    let tuning = parse_tuning(&call.fields.reader(), tuned.side)?;
    mount::tune(&call.who(), tuned, tuning).await?;
    Ok(Reply::no_content())
}

async fn enable(call: Call<'_>, side: Side, path: &[&str]) -> Answer {
    let spec = parse_enable(&call.fields.reader(), side)?;
    mount::enable(&call.who(), side, mount_path(path)?, spec).await?;
    Ok(Reply::no_content())
}

async fn disable(call: Call<'_>, side: Side, path: &[&str]) -> Answer {
    mount::disable(&call.who(), side, &mount_path(path)?).await?;
    Ok(Reply::no_content())
}

fn parse_tuning(read: &Reader<'_>, side: Side) -> Result<Tuning, FaceError> {
    let settings = parse_settings(read, side)?;
    Ok(Tuning {
        description: read.string("description")?,
        options: read.pairs("options")?.filter(|options| !options.is_empty()),
        ..settings
    })
}

fn parse_enable(read: &Reader<'_>, side: Side) -> Result<Enable, FaceError> {
    read.idle(&["plugin_name", "plugin_version", "local", "seal_wrap", "external_entropy_access"]);
    let kind = read.string("type")?.filter(|kind| !kind.is_empty());
    let kind = kind.ok_or(FaceError::Invalid("backend type must be specified as a string"))?;
    let mut options = match side {
        Side::Secrets => read.pairs_knowing("options", &known_options())?.unwrap_or_default(),
        Side::Logins => {
            read.idle(&["options"]); // no login method has any
            BTreeMap::new()
        }
    };
    let kind = match kind.as_str() {
        "kv-v1" => with_version(&mut options, "1"),
        "kv-v2" => with_version(&mut options, "2"),
        _ => kind,
    };
    let config = read.inside("config")?;
    config.idle(&["options", "description", "plugin_name"]);
    let settings = parse_settings(&config, side)?;
    Ok(Enable {
        kind,
        description: read.string("description")?.unwrap_or_default(),
        options,
        default_ttl_secs: settings.default_ttl_secs.unwrap_or(0),
        max_ttl_secs: settings.max_ttl_secs.unwrap_or(0),
        listing: settings.listing.unwrap_or_default(),
        token_type: settings.token_type.unwrap_or_default(),
    })
}

/// Options of any engine: which one will serve the mount is not known before it has seen them.
fn known_options() -> Vec<&'static str> {
    ENGINES.iter().flat_map(|engine| engine.options).copied().collect()
}

/// What `config` says of a new mount, and tuning at the top.
fn parse_settings(read: &Reader<'_>, side: Side) -> Result<Tuning, FaceError> {
    read.idle(&[
        "force_no_cache",
        "audit_non_hmac_request_keys",
        "audit_non_hmac_response_keys",
        "passthrough_request_headers",
        "allowed_response_headers",
        "plugin_version",
        "user_lockout_config",
    ]);
    let token_type = match side {
        Side::Secrets => {
            read.idle(&["token_type"]); // engines give no tokens
            None
        }
        Side::Logins => read.string("token_type")?.map(|word| TokenType::parse(&word)).transpose()?,
    };
    Ok(Tuning {
        default_ttl_secs: lifetime(read, "default_lease_ttl")?,
        max_ttl_secs: lifetime(read, "max_lease_ttl")?,
        listing: read.string("listing_visibility")?.map(|word| listing(&word)).transpose()?,
        token_type,
        ..Tuning::default()
    })
}

/// Seconds; nothing leaves what is there, and `system` takes it back.
fn lifetime(read: &Reader<'_>, name: &'static str) -> Result<Option<u64>, FaceError> {
    match read.string(name) {
        Ok(Some(word)) if word.is_empty() => Ok(None),
        Ok(Some(word)) if word == "system" => Ok(Some(0)),
        _ => Ok(read.duration_secs(name)?),
    }
}

fn listing(word: &str) -> Result<Listing, FaceError> {
    Listing::parse(word).ok_or(FaceError::Invalid("\"listing_visibility\" must be unauth, hidden or empty"))
}

fn with_version(options: &mut BTreeMap<String, String>, version: &str) -> String {
    options.insert("version".to_owned(), version.to_owned());
    "kv".to_owned()
}

/// Vault's mount object.
fn mount_facts(mount: &Mount, side: Side) -> Value {
    let mut facts = json!({
        "accessor": mount.accessor,
        "config": config_facts(mount, side),
        "deprecation_status": "supported",
        "description": mount.description,
        "external_entropy_access": false,
        "local": false,
        "options": options_facts(mount),
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "seal_wrap": false,
        "type": mount.kind,
        "uuid": uuid(&mount.id.to_string()),
    });
    if mount.kind == "kv" {
        // Ours, and not among the options unless it was given there: tools compare those with what they asked
        // for.
        facts["tier"] = json!(mount.tier().as_str());
    }
    facts
}

/// What was set; 0 is what nobody has set.
fn config_facts(mount: &Mount, side: Side) -> Value {
    let mut config = json!({
        "default_lease_ttl": mount.default_ttl_secs,
        "force_no_cache": false,
        "max_lease_ttl": mount.max_ttl_secs,
    });
    if mount.listing != Listing::Usual {
        config["listing_visibility"] = json!(mount.listing.as_str());
    }
    if let (Side::Logins, Some(method)) = (side, method_of(mount)) {
        config["token_type"] = json!(mount.token_type(method.usual).as_str());
    }
    config
}

/// What holds: lifetimes that nobody has set are the system's.
fn settings_facts(mount: &Mount, side: Side) -> Value {
    let or_system = |secs: u64| if secs == 0 { SYSTEM_TTL_SECS } else { secs };
    let mut facts = config_facts(mount, side);
    facts["default_lease_ttl"] = json!(or_system(mount.default_ttl_secs));
    facts["max_lease_ttl"] = json!(or_system(mount.max_ttl_secs));
    facts["description"] = json!(mount.description);
    let options = options_facts(mount);
    if options.as_object().is_some_and(|options| !options.is_empty()) {
        facts["options"] = options;
    }
    facts
}

/// Null for a mount that nobody has enabled; for a KV engine always with its version, which the CLI looks at.
fn options_facts(mount: &Mount) -> Value {
    let mut options = mount.options.clone();
    if mount.kind == "kv" {
        options.entry("version".to_owned()).or_insert_with(|| "2".to_owned());
    }
    let facts = method_of(mount).map(|method| &method.facts);
    let facts = facts.or_else(|| engine_of(mount).map(|engine| &engine.facts));
    let was_enabled = facts.is_some_and(|facts| facts.builtin.is_none());
    if was_enabled { json!(options) } else { Value::Null }
}

/// Hex digits with dashes where a UUID has them.
fn uuid(hex: &str) -> String {
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// Everything about mounts that the caller may use; of those that are marked for everybody, what somebody
/// without a token needs to log in.
pub(super) async fn all_visible(call: Call<'_>) -> Answer {
    let (found, facts) = match call.request.token {
        Some(_) => (mount::all_visible(&call.who()).await?, mount_facts as fn(&Mount, Side) -> Value),
        None => (mount::listed(&call.who()).await?, listed_facts as fn(&Mount, Side) -> Value),
    };
    let show = |list: &MountList, side| -> Map<String, Value> {
        list.0.iter().map(|mount| (mount.path.with_slash(), facts(mount, side))).collect()
    };
    let data =
        json!({ "secret": show(&found.secrets, Side::Secrets), "auth": show(&found.logins, Side::Logins) });
    Ok(call.request.envelope("system", data, &call.fields.reader()).into_reply())
}

fn listed_facts(mount: &Mount, _: Side) -> Value {
    json!({ "description": mount.description, "options": options_facts(mount), "type": mount.kind })
}

/// The preflight of every `kv` command: which mount, and which version. Login methods are asked for below
/// `auth/`.
pub(super) async fn visible(call: Call<'_>, path: &[&str]) -> Answer {
    let path = ApiPath::from_decoded(&path.join("/"))?;
    let (side, found) = mount::visible(&call.who(), &path).await?;
    let mut data = mount_facts(&found, side);
    data["path"] = json!(found.path.with_slash());
    Ok(call.request.envelope("system", data, &call.fields.reader()).into_reply())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_proto::id::MountId;

    use super::*;
    use crate::access::mounts::new_mount;
    use crate::dialect::vault::call::object;
    use crate::dialect::vault::fields::Fields;

    fn mount(kind: &str) -> Mount {
        let spec = Enable {
            kind: kind.to_owned(),
            description: "d".to_owned(),
            max_ttl_secs: 60,
            ..Enable::default()
        };
        Mount {
            id: MountId::from_bytes([0xab; 16]),
            ..new_mount(MountPath::parse("team/secret").unwrap(), spec)
        }
    }

    #[test]
    fn mounts_have_vaults_shape() {
        let facts = mount_facts(&mount("kv"), Side::Secrets);
        assert_eq!(facts["options"], json!({"version": "2"}));
        assert_eq!(facts["tier"], "standard");
        assert_eq!(facts["uuid"], "abababab-abab-abab-abab-abababababab");
        let config = json!({"default_lease_ttl": 0, "force_no_cache": false, "max_lease_ttl": 60});
        assert_eq!(facts["config"], config, "what nobody has set is 0");
        let mut high = mount("kv");
        high.options.insert("tier".into(), "high".into());
        assert_eq!(mount_facts(&high, Side::Secrets)["tier"], "high");
        let facts = mount_facts(&mount("approle"), Side::Logins);
        assert_eq!(facts.get("tier"), None);
        assert_eq!(facts["options"], json!({}));
        assert_eq!(facts["config"]["token_type"], "default-service");
        assert_eq!(mount_facts(&mount("token"), Side::Logins)["options"], Value::Null);
    }

    #[test]
    fn settings_are_what_holds() {
        let facts = settings_facts(&mount("kubernetes"), Side::Logins);
        let wanted = json!({
            "default_lease_ttl": 2_764_800, "description": "d", "force_no_cache": false, "max_lease_ttl": 60,
            "token_type": "default-batch",
        });
        assert_eq!(facts, wanted);
        let shown = Mount { listing: Listing::Unauth, ..mount("kv") };
        assert_eq!(settings_facts(&shown, Side::Secrets)["listing_visibility"], "unauth");
    }

    #[test]
    fn enabling_understands_the_aliases() {
        let parse = |value| parse_enable(&Fields::new(object(value)).reader(), Side::Secrets);
        let spec = parse(json!({"type": "kv-v2", "config": {"max_lease_ttl": "1h"}})).unwrap();
        assert_eq!(
            (spec.kind.as_str(), spec.options["version"].as_str(), spec.max_ttl_secs),
            ("kv", "2", 3600)
        );
        let body = Fields::new(object(json!({"type": "kv", "options": {"version": 2}, "config": null})));
        let spec = parse_enable(&body.reader(), Side::Secrets).unwrap();
        assert_eq!(spec.options["version"], "2");
        assert!(body.warnings().is_empty(), "what is known needs no warning");
        let body = Fields::new(object(json!({"type": "kv", "options": {"teir": "high", "version": 2}})));
        assert_eq!(parse_enable(&body.reader(), Side::Secrets).unwrap().options["teir"], "high");
        assert!(body.warnings()[0].ends_with("[options.teir]"));
        assert!(parse(json!({})).is_err());
    }

    /// As Go's library sends it of users who say nothing but the kind.
    #[test]
    fn what_libraries_send_along_needs_no_warning() {
        let config = json!({
            "options": null, "default_lease_ttl": "", "max_lease_ttl": "", "force_no_cache": false,
        });
        let body = json!({
            "type": "kv", "description": "", "config": config, "local": false, "seal_wrap": false,
            "external_entropy_access": false, "options": null,
        });
        for side in [Side::Secrets, Side::Logins] {
            let body = Fields::new(object(body.clone()));
            let spec = parse_enable(&body.reader(), side).unwrap();
            assert_eq!((spec.default_ttl_secs, spec.max_ttl_secs), (0, 0));
            assert_eq!(body.warnings(), [""; 0]);
            let body = Fields::new(object(config.clone()));
            assert!(parse_tuning(&body.reader(), side).unwrap().default_ttl_secs.is_none());
            assert_eq!(body.warnings(), [""; 0]);
        }
    }

    #[test]
    fn settings_are_taken_or_named() {
        let body = Fields::new(object(json!({
            "type": "userpass", "local": true, "seal_wrap": false, "options": {"a": "b"}, "config": {
                "token_type": "batch", "listing_visibility": "unauth", "default_lease_ttl": "system",
                "force_no_cache": true, "x": 1,
            },
        })));
        let spec = parse_enable(&body.reader(), Side::Logins).unwrap();
        assert_eq!((spec.token_type, spec.listing), (TokenType::Batch, Listing::Unauth));
        assert_eq!(
            body.warnings(),
            [
                "Endpoint ignored these unrecognized parameters: [config.x]",
                "These parameters are known and have no effect here: [config.force_no_cache local options]",
            ]
        );
        let body = Fields::new(object(json!({"token_type": "batch", "default_lease_ttl": ""})));
        let tuning = parse_tuning(&body.reader(), Side::Secrets).unwrap();
        assert_eq!((tuning.token_type, tuning.default_ttl_secs), (None, None));
        assert!(body.warnings()[0].ends_with("[token_type]"));
        for wrong in
            [json!({"listing_visibility": "all"}), json!({"token_type": "x"}), json!({"max_lease_ttl": "x"})]
        {
            assert!(parse_tuning(&Fields::new(object(wrong)).reader(), Side::Logins).is_err());
        }
    }
}
