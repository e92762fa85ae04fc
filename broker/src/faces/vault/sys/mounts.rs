//! `sys/mounts`, `sys/auth` and what user interfaces ask about them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use symbolon_core::path::{ApiPath, MountPath};

use crate::access::mounts::{Enable, Mount, MountList, Side};
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::fields::{Fields, Reader};
use crate::dialect::vault::{Answer, Call, Verb, unsupported};
use crate::ops::mount;

/// Lifetime that a mount without one of its own gives, and at most: Vault's 768 hours, in seconds.
const SYSTEM_TTL_SECS: u64 = 768 * 3600;

/// Routes a request below `sys/mounts` or `sys/auth`.
pub(super) async fn route(call: Call<'_>, side: Side, path: &[&str]) -> Answer {
    match (path, call.verb) {
        ([], Verb::Read | Verb::List) => list(call, side).await,
        ([], _) => unsupported(),
        ([path @ .., "tune"], Verb::Read) if !path.is_empty() => tune(call, side, path).await,
        ([path @ .., "tune"], Verb::Write) if side == Side::Secrets && !path.is_empty() => {
            retune(call, path).await
        }
        ([.., "tune"], _) => Err(call.unrouted().await),
        (path, Verb::Read) => read(call, side, path).await,
        (path, Verb::Write) => enable(call, side, path).await,
        (path, Verb::Delete) => disable(call, side, path).await,
        (_, Verb::List | Verb::Patch) => unsupported(),
    }
}

fn mount_path(segments: &[&str]) -> Result<MountPath, FaceError> {
    Ok(MountPath::parse(&segments.join("/"))?)
}

async fn list(call: Call<'_>, side: Side) -> Answer {
    let mounts = mount::list(&call.who(), side).await?;
    let data: Map<String, Value> =
        mounts.iter().map(|mount| (mount.path.with_slash(), mount_facts(mount, side))).collect();
    let mut envelope = call.request.envelope("system", Value::Object(data), &call.fields.reader());
    envelope.copied_to_top = true;
    Ok(envelope.into_reply())
}

async fn read(call: Call<'_>, side: Side, path: &[&str]) -> Answer {
    let found = mount::read(&call.who(), side, &mount_path(path)?).await?;
    let mut envelope = call.request.envelope("system", mount_facts(&found, side), &call.fields.reader());
    envelope.copied_to_top = true;
    Ok(envelope.into_reply())
}

async fn tune(call: Call<'_>, side: Side, path: &[&str]) -> Answer {
    let found = mount::read_tuning(&call.who(), side, &mount_path(path)?).await?;
    let mut data = config_facts(&found, side);
    data["description"] = json!(found.description);
    data["options"] = options_facts(&found);
    Ok(call.request.envelope("system", data, &call.fields.reader()).into_reply())
}

/// Only options can be tuned, as far as the engine lets them.
async fn retune(call: Call<'_>, path: &[&str]) -> Answer {
    let read = call.fields.reader();
    let Some(options) = read.pairs("options")? else { return Err(call.unrouted().await) };
    mount::tune(&call.who(), &mount_path(path)?, &options).await?;
    Ok(call.done("system", &read))
}

async fn enable(call: Call<'_>, side: Side, path: &[&str]) -> Answer {
    let read = call.fields.reader();
    let spec = parse_enable(&read)?;
    mount::enable(&call.who(), side, mount_path(path)?, spec).await?;
    Ok(call.done("system", &read))
}

async fn disable(call: Call<'_>, side: Side, path: &[&str]) -> Answer {
    mount::disable(&call.who(), side, &mount_path(path)?).await?;
    Ok(call.done("system", &call.fields.reader()))
}

fn parse_enable(read: &Reader<'_>) -> Result<Enable, FaceError> {
    // Members that change nothing here. Those that would weaken or strengthen something are not among them.
    read.accept(&["plugin_name", "plugin_version", "local", "seal_wrap", "external_entropy_access"]);
    let kind = read.string("type")?.filter(|kind| !kind.is_empty());
    let kind = kind.ok_or(FaceError::Invalid("backend type must be specified as a string"))?;
    let mut options = read.pairs("options")?.unwrap_or_default();
    let kind = match kind.as_str() {
        "kv-v1" => with_version(&mut options, "1"),
        "kv-v2" => with_version(&mut options, "2"),
        _ => kind,
    };
    let config = Fields::new(read.object("config")?.cloned().unwrap_or_default());
    let config = config.reader();
    Ok(Enable {
        kind,
        description: read.string("description")?.unwrap_or_default(),
        options,
        default_ttl_secs: config.duration_secs("default_lease_ttl")?.unwrap_or(0),
        max_ttl_secs: config.duration_secs("max_lease_ttl")?.unwrap_or(0),
    })
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

fn config_facts(mount: &Mount, side: Side) -> Value {
    let or_system = |secs: u64| if secs == 0 { SYSTEM_TTL_SECS } else { secs };
    let mut config = json!({
        "default_lease_ttl": or_system(mount.default_ttl_secs),
        "force_no_cache": false,
        "max_lease_ttl": or_system(mount.max_ttl_secs),
    });
    if side == Side::Logins {
        config["token_type"] = json!("default-service");
    }
    config
}

/// Null without options; for a KV engine always with its version, which the CLI looks at.
fn options_facts(mount: &Mount) -> Value {
    let mut options = mount.options.clone();
    if mount.kind == "kv" {
        options.entry("version".to_owned()).or_insert_with(|| "2".to_owned());
    }
    if options.is_empty() { Value::Null } else { json!(options) }
}

/// Hex digits with dashes where a UUID has them.
fn uuid(hex: &str) -> String {
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

pub(super) async fn all_visible(call: Call<'_>) -> Answer {
    let found = mount::all_visible(&call.who()).await?;
    let show = |list: &MountList, side| -> Map<String, Value> {
        list.0.iter().map(|mount| (mount.path.with_slash(), mount_facts(mount, side))).collect()
    };
    let data =
        json!({ "secret": show(&found.secrets, Side::Secrets), "auth": show(&found.logins, Side::Logins) });
    Ok(call.request.envelope("system", data, &call.fields.reader()).into_reply())
}

/// The preflight of every `kv` command: which mount, and which version.
pub(super) async fn visible(call: Call<'_>, path: &[&str]) -> Answer {
    let path = ApiPath::from_decoded(&path.join("/"))?;
    let found = mount::visible(&call.who(), &path).await?;
    let mut data = mount_facts(&found, Side::Secrets);
    data["path"] = json!(found.path.with_slash());
    Ok(call.request.envelope("system", data, &call.fields.reader()).into_reply())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_proto::id::MountId;

    use super::*;
    use crate::dialect::vault::call::object;

    fn mount(kind: &str) -> Mount {
        Mount {
            path: MountPath::parse("team/secret").unwrap(),
            kind: kind.into(),
            description: "d".into(),
            id: MountId::from_bytes([0xab; 16]),
            accessor: "kv_abababab".into(),
            options: BTreeMap::new(),
            default_ttl_secs: 0,
            max_ttl_secs: 60,
        }
    }

    #[test]
    fn mounts_have_vaults_shape() {
        let facts = mount_facts(&mount("kv"), Side::Secrets);
        assert_eq!(facts["options"], json!({"version": "2"}));
        assert_eq!(facts["tier"], "standard");
        assert_eq!(facts["uuid"], "abababab-abab-abab-abab-abababababab");
        assert_eq!(
            facts["config"],
            json!({"default_lease_ttl": 2_764_800, "force_no_cache": false, "max_lease_ttl": 60})
        );
        let mut high = mount("kv");
        high.options.insert("tier".into(), "high".into());
        assert_eq!(mount_facts(&high, Side::Secrets)["tier"], "high");
        let facts = mount_facts(&mount("approle"), Side::Logins);
        assert_eq!(facts.get("tier"), None);
        assert_eq!(facts["options"], Value::Null);
        assert_eq!(facts["config"]["token_type"], "default-service");
    }

    #[test]
    fn enabling_understands_the_aliases() {
        let parse = |value| parse_enable(&Fields::new(object(value)).reader());
        let spec = parse(json!({"type": "kv-v2", "config": {"max_lease_ttl": "1h"}})).unwrap();
        assert_eq!(
            (spec.kind.as_str(), spec.options["version"].as_str(), spec.max_ttl_secs),
            ("kv", "2", 3600)
        );
        let spec = parse(json!({"type": "kv", "options": {"version": 2}, "config": null})).unwrap();
        assert_eq!(spec.options["version"], "2");
        assert!(parse(json!({})).is_err());
    }
}
