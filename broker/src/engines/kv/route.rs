//! KV version 2: `data`, `metadata`, `delete`, `undelete`, `destroy`, `subkeys`, `config` below a mount.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use symbolon_core::kv::{CustomUpdate, MetadataUpdate, SecretMeta, SettingsUpdate, VersionMeta};
use symbolon_core::path::{FolderPath, SecretPath};
use symbolon_proto::Zeroizing;

use super::{
    self as kv, KvFolder, KvTarget, Page, Patched, ReadSecret, VersionsChange, WriteSecret, WroteSecret,
};
use crate::access::mounts::Mount;
use crate::dialect::time::{go_duration, rfc3339};
use crate::dialect::vault::call::object;
use crate::dialect::vault::envelope::{Data, Envelope};
use crate::dialect::vault::error::{FaceError, VaultError};
use crate::dialect::vault::fields::{FieldError, Reader};
use crate::dialect::vault::{Answer, Call, Reply, Status, Verb, unsupported};
use crate::error::OpError;

/// What Vault answers as 404 with a warning, to people who are used to version 1. But clients take that for
/// an absent secret.
const WRONG_PATH: &str = "Invalid path for a versioned K/V secrets engine: this mount is of version 2, whose \
    secrets are read below data/ and listed below metadata/. With the CLI, use 'kv get'; elsewhere, set version 2.";

/// Routes a request below a KV mount; `rest` is the path without the mount.
pub async fn route(call: Call<'_>, mount: &Mount, rest: &str) -> Answer {
    let (kind, below) = rest.split_once('/').unwrap_or((rest, ""));
    if call.verb == Verb::Write && call.path.is_list_form() {
        return Err(FaceError::Invalid("cannot write to a path ending in '/'").into());
    }
    let target = || target(mount, below);
    match (kind, call.verb, below.is_empty()) {
        ("config", Verb::Read, true) => read_config(call, mount).await,
        ("config", Verb::Write, true) => write_config(call, mount).await,
        ("metadata", Verb::List, _) => list(call, mount, below).await,
        ("data", Verb::Read, false) => read(call, &target()?).await,
        ("data", Verb::Write | Verb::Patch, false) => write(call, &target()?).await,
        ("data", Verb::Delete, false) => done(kv::delete_latest(&call.who(), &target()?).await),
        ("subkeys", Verb::Read, false) => subkeys(call, &target()?).await,
        ("delete", Verb::Write, false) => versions(call, &target()?, VersionsChange::Delete).await,
        ("undelete", Verb::Write, false) => versions(call, &target()?, VersionsChange::Undelete).await,
        ("destroy", Verb::Write, false) => versions(call, &target()?, VersionsChange::Destroy).await,
        ("metadata", Verb::Read, false) => read_metadata(call, &target()?).await,
        ("metadata", Verb::Write | Verb::Patch, false) => write_metadata(call, &target()?).await,
        ("metadata", Verb::Delete, false) => done(kv::delete_metadata(&call.who(), &target()?).await),
        ("config" | "data" | "metadata" | "subkeys" | "delete" | "undelete" | "destroy", ..) => unsupported(),
        _ => Err(call.misrouted(OpError::invalid(WRONG_PATH)).await),
    }
}

fn target(mount: &Mount, below: &str) -> Result<KvTarget, VaultError> {
    Ok(KvTarget::new(mount.clone(), SecretPath::parse(below)?))
}

fn done(result: Result<(), OpError>) -> Answer {
    Ok(result.map(|()| Reply::no_content())?)
}

async fn read(call: Call<'_>, target: &KvTarget) -> Answer {
    let version = call.fields.reader().count("version")?.unwrap_or(0);
    let found = kv::read(&call.who(), target, version).await?;
    Ok(secret_answer(call, "data", found))
}

/// A version that is deleted or destroyed is 404 *with* its metadata; that is how clients know it from an
/// absent one.
fn secret_answer(call: Call<'_>, name: &'static str, found: ReadSecret) -> Reply {
    let (stored, status) = match found.data {
        Ok(stored) => (Some(stored), Status::OK),
        Err(absent) => (None, Status::of_absent(absent)),
    };
    let metadata = version_facts(found.version, &found.meta, found.custom_metadata.as_ref());
    let envelope = Envelope {
        data: Data::Secret { name, stored, metadata },
        ..Envelope::object(&call.request.request_id, "kv", Map::new())
    };
    envelope.with_status(status)
}

/// The `metadata` of a read and the whole answer of a write.
fn version_facts(
    version: u64,
    meta: &VersionMeta,
    custom: Option<&BTreeMap<String, String>>,
) -> Map<String, Value> {
    object(json!({
        "created_time": rfc3339(meta.created),
        "custom_metadata": custom,
        "deletion_time": meta.deletion.map(rfc3339).unwrap_or_default(),
        "destroyed": meta.destroyed,
        "version": version,
    }))
}

async fn write(call: Call<'_>, target: &KvTarget) -> Answer {
    let read = call.fields.reader();
    let input = parse_write(&read, call.verb)?;
    let (version, status) = match call.verb {
        Verb::Patch => match kv::patch(&call.who(), target, &input).await? {
            Patched::Wrote(version) => (version, Status::OK),
            Patched::Gone(version, absent) => (version, Status::of_absent(absent)),
        },
        _ => (kv::write(&call.who(), target, &input).await?, Status::OK),
    };
    let WroteSecret { version, meta, custom_metadata } = version;
    let facts = Value::Object(version_facts(version, &meta, custom_metadata.as_ref()));
    Ok(call.request.envelope("kv", facts, &read).with_status(status))
}

/// `null` writes a version without members, as with OpenBao. A patch with it would say nothing.
fn parse_write<'a>(read: &Reader<'a>, verb: Verb) -> Result<WriteSecret<'a>, FaceError> {
    static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    let data = match read.object("data")? {
        Some(data) => data,
        None if verb == Verb::Write && read.is_null("data") => &NOTHING,
        None => return Err(FaceError::Invalid("no data provided")),
    };
    Ok(WriteSecret { data, cas: read.inside("options")?.count("cas")? })
}

async fn versions(call: Call<'_>, target: &KvTarget, change: VersionsChange) -> Answer {
    let read = call.fields.reader();
    let versions = read.count_list("versions")?.unwrap_or_default();
    kv::change_versions(&call.who(), target, change, &versions).await?;
    Ok(call.done("kv", &read))
}

async fn subkeys(call: Call<'_>, target: &KvTarget) -> Answer {
    let read = call.fields.reader();
    let (version, depth) = (read.count("version")?.unwrap_or(0), read.count("depth")?.unwrap_or(0));
    let mut found = kv::subkeys(&call.who(), target, version).await?;
    found.data = found.data.map(|stored| without_values(&stored, depth));
    Ok(secret_answer(call, "subkeys", found))
}

/// The names in a stored object, every leaf null; `depth` 0 is unlimited.
fn without_values(stored: &[u8], depth: u64) -> Zeroizing<Vec<u8>> {
    fn strip(value: &mut Value, depth: u64) {
        match value {
            Value::Object(map) if depth > 0 && !map.is_empty() => {
                map.values_mut().for_each(|inner| strip(inner, depth - 1));
            }
            leaf => *leaf = Value::Null,
        }
    }
    // What is stored was a bounded object when it was written; anything else has no names to show.
    let mut map: Map<String, Value> = serde_json::from_slice(stored).unwrap_or_default();
    let below = if depth == 0 { u64::MAX } else { depth - 1 };
    map.values_mut().for_each(|value| strip(value, below));
    Zeroizing::new(serde_json::to_vec(&map).expect("JSON values always serialise"))
}

async fn list(call: Call<'_>, mount: &Mount, below: &str) -> Answer {
    let folder = if below.is_empty() { FolderPath::root() } else { FolderPath::parse(below)? };
    let folder = KvFolder::new(mount.clone(), folder);
    let read = call.fields.reader();
    let page = page(&read)?;
    let keys = kv::list(&call.who(), &folder, &page).await?;
    Ok(call.request.envelope("kv", json!({ "keys": keys }), &read).into_reply())
}

/// What of a list is asked for.
pub(super) fn page(read: &Reader<'_>) -> Result<Page, FieldError> {
    Ok(Page { after: read.string("after")?, limit: read.limit("limit")? })
}

async fn read_metadata(call: Call<'_>, target: &KvTarget) -> Answer {
    let read = call.fields.reader();
    let meta = kv::read_metadata(&call.who(), target).await?;
    Ok(call.request.envelope("kv", metadata_facts(&meta), &read).into_reply())
}

fn metadata_facts(meta: &SecretMeta) -> Value {
    let versions: Map<String, Value> = meta
        .versions
        .iter()
        .map(|(number, facts)| {
            let facts = json!({
                "created_time": rfc3339(facts.created),
                "deletion_time": facts.deletion.map(rfc3339).unwrap_or_default(),
                "destroyed": facts.destroyed,
            });
            (number.to_string(), facts)
        })
        .collect();
    json!({
        "cas_required": meta.cas_required,
        "created_time": rfc3339(meta.created),
        "current_version": meta.current,
        "custom_metadata": meta.custom_metadata,
        "delete_version_after": go_duration(meta.delete_version_after),
        "max_versions": meta.max_versions,
        "oldest_version": meta.oldest,
        "updated_time": rfc3339(meta.updated),
        "versions": versions,
    })
}

async fn write_metadata(call: Call<'_>, target: &KvTarget) -> Answer {
    let read = call.fields.reader();
    let update = parse_metadata(&read, call.verb)?;
    match call.verb {
        Verb::Patch => kv::patch_metadata(&call.who(), target, &update).await?,
        _ => kv::write_metadata(&call.who(), target, &update).await?,
    }
    Ok(call.done("kv", &read))
}

/// What a write or patch names; `custom_metadata` is replaced by the one and merged by the other. `null`
/// clears what it stands for, in both.
fn parse_metadata(read: &Reader<'_>, verb: Verb) -> Result<MetadataUpdate, FieldError> {
    const CUSTOM: &str = "custom_metadata";
    let merge = verb == Verb::Patch && !read.is_null(CUSTOM);
    let custom_metadata = match merge {
        true => read.weak_patch(CUSTOM)?.map(CustomUpdate::Merge),
        false => read.or_cleared(CUSTOM, Reader::weak_map)?.map(CustomUpdate::Replace),
    };
    Ok(MetadataUpdate { settings: parse_settings(read)?, custom_metadata })
}

fn parse_settings(read: &Reader<'_>) -> Result<SettingsUpdate, FieldError> {
    Ok(SettingsUpdate {
        max_versions: read.or_cleared("max_versions", Reader::count)?,
        cas_required: read.or_cleared("cas_required", Reader::bool)?,
        delete_version_after: read.or_cleared("delete_version_after", Reader::signed_duration_ms)?,
    })
}

async fn read_config(call: Call<'_>, mount: &Mount) -> Answer {
    let read = call.fields.reader();
    let settings = kv::read_settings(&call.who(), mount).await?;
    let data = json!({
        "max_versions": settings.max_versions,
        "cas_required": settings.cas_required,
        "delete_version_after": go_duration(settings.delete_version_after),
    });
    Ok(call.request.envelope("kv", data, &read).into_reply())
}

async fn write_config(call: Call<'_>, mount: &Mount) -> Answer {
    let read = call.fields.reader();
    kv::write_settings(&call.who(), mount, &parse_settings(&read)?).await?;
    Ok(call.done("kv", &read))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_proto::id::SecretId;

    use super::*;
    use crate::dialect::vault::fields::Fields;

    fn fields(value: Value) -> Fields {
        Fields::new(object(value))
    }

    #[test]
    fn writes_need_data_and_take_cas_in_any_spelling() {
        for (body, cas) in [
            (json!({"data": {"a": 1}}), None),
            (json!({"data": {"a": 1}, "options": null}), None),
            (json!({"data": {"a": 1}, "options": {"cas": 0}}), Some(0)),
            (json!({"data": {"a": 1}, "options": {"cas": "3"}}), Some(3)),
        ] {
            let fields = fields(body);
            assert_eq!(parse_write(&fields.reader(), Verb::Write).ok().unwrap().cas, cas);
        }
        for (verb, body) in
            [(Verb::Write, json!({})), (Verb::Write, json!({"a": "b"})), (Verb::Patch, json!({"data": null}))]
        {
            let fields = fields(body);
            let error = parse_write(&fields.reader(), verb).err().unwrap();
            assert_eq!(error, FaceError::Invalid("no data provided"));
        }
        let nothing = fields(json!({"data": null}));
        assert!(parse_write(&nothing.reader(), Verb::Write).ok().unwrap().data.is_empty());
        for body in [json!({"data": "text"}), json!({"data": {}, "options": {"cas": -1}})] {
            let fields = fields(body);
            assert!(matches!(parse_write(&fields.reader(), Verb::Write), Err(FaceError::Field(_))));
        }
    }

    #[test]
    fn metadata_shows_vaults_shape() {
        let mut meta = SecretMeta::new(SecretId::from_bytes([7; 16]), 0, 1_709_210_096_000);
        meta.current = 1;
        meta.versions.insert(
            1,
            VersionMeta { created: 1_709_210_096_120, deletion: Some(0), destroyed: false, kek_epoch: 1 },
        );
        assert_eq!(
            metadata_facts(&meta),
            json!({
                "cas_required": false,
                "created_time": "2024-02-29T12:34:56Z",
                "current_version": 1,
                "custom_metadata": null,
                "delete_version_after": "0s",
                "max_versions": 0,
                "oldest_version": 0,
                "updated_time": "2024-02-29T12:34:56Z",
                "versions": {"1": {
                    "created_time": "2024-02-29T12:34:56.12Z",
                    "deletion_time": "1970-01-01T00:00:00Z",
                    "destroyed": false,
                }},
            })
        );
    }

    #[test]
    fn a_live_version_has_an_empty_deletion_time() {
        let live = VersionMeta { created: 0, deletion: None, destroyed: false, kek_epoch: 1 };
        let facts = version_facts(4, &live, None);
        assert_eq!(facts["deletion_time"], "");
        assert_eq!(facts["custom_metadata"], Value::Null);
        assert_eq!(facts["version"], 4);
    }

    #[test]
    fn subkeys_show_names_and_no_values() {
        let stored = br#"{"a":{"b":{"c":"hunter2"},"d":[1]},"e":7,"f":{}}"#;
        let text = |depth| String::from_utf8(without_values(stored, depth).to_vec()).unwrap();
        assert_eq!(text(0), r#"{"a":{"b":{"c":null},"d":null},"e":null,"f":null}"#);
        assert_eq!(text(1), r#"{"a":null,"e":null,"f":null}"#);
        assert_eq!(text(2), r#"{"a":{"b":null,"d":null},"e":null,"f":null}"#);
    }

    #[test]
    fn metadata_updates_leave_alone_what_is_not_named() {
        for verb in [Verb::Write, Verb::Patch] {
            let parse = |body| parse_metadata(&fields(body).reader(), verb).unwrap();
            assert_eq!(parse(json!({})), MetadataUpdate::default());
            let update = parse(json!({"delete_version_after": "-1s", "max_versions": "5"})).settings;
            assert_eq!((update.delete_version_after, update.max_versions), (Some(-1000), Some(5)));
        }
    }

    #[test]
    fn null_clears_what_it_stands_for() {
        let body = json!({
            "custom_metadata": null, "max_versions": null, "cas_required": null, "delete_version_after": null,
        });
        for verb in [Verb::Write, Verb::Patch] {
            let update = parse_metadata(&fields(body.clone()).reader(), verb).unwrap();
            let cleared = SettingsUpdate {
                max_versions: Some(0),
                cas_required: Some(false),
                delete_version_after: Some(0),
            };
            assert_eq!(update.settings, cleared);
            assert_eq!(update.custom_metadata, Some(CustomUpdate::Replace(BTreeMap::new())));
        }
    }

    /// As mapstructure's weak decoding has it, which OpenBao uses here.
    #[test]
    fn custom_metadata_may_be_numbers_and_booleans() {
        let body = json!({"custom_metadata": {"n": 7, "f": 1.50, "t": true, "u": false, "s": "x"}});
        let pairs = [("f", "1.5"), ("n", "7"), ("s", "x"), ("t", "1"), ("u", "0")];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let parse = |verb| parse_metadata(&fields(body.clone()).reader(), verb).unwrap().custom_metadata;
        assert_eq!(parse(Verb::Write), Some(CustomUpdate::Replace(pairs.clone().into())));
        let patch = pairs.map(|(key, value)| (key, Some(value)));
        assert_eq!(parse(Verb::Patch), Some(CustomUpdate::Merge(patch.into())));
        for wrong in [json!({"a": null}), json!({"a": [1]}), json!({"a": {}}), json!("a")] {
            assert!(
                parse_metadata(&fields(json!({ "custom_metadata": wrong })).reader(), Verb::Write).is_err()
            );
        }
    }
}
