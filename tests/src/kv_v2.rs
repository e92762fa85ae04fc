//! KV version 2 over HTTP, as clients were seen to use it.

use serde_json::{Value, json};

use crate::site::{CALM, Got, Site};

async fn patch(site: &Site, path: &str, body: &Value) -> Got {
    let request = site.request("PATCH", &format!("v1/{path}")).header("X-Vault-Token", &site.root);
    let request = request.header("Content-Type", "application/merge-patch+json");
    site.send(request.body(body.to_string())).await
}

async fn metadata(site: &Site, name: &str) -> Value {
    site.root_get(&format!("secret/metadata/{name}")).await.expect(200).json()["data"].take()
}

/// In a merge patch, and in every write of settings: what is named with `null` is cleared, and what is not
/// named stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn null_clears_what_it_names() {
    let site = Site::open(CALM).await;
    site.write("a", "x").await;
    let set = json!({
        "custom_metadata": { "owner": "ana", "n": 7, "big": 12345678901234567890_u64, "yes": true },
        "max_versions": 3, "cas_required": true, "delete_version_after": "1h",
    });
    let cleared = [
        ("custom_metadata", json!(null)),
        ("max_versions", json!(0)),
        ("cas_required", json!(false)),
        ("delete_version_after", json!("0s")),
    ];
    let texts = json!({ "owner": "ana", "n": "7", "big": "12345678901234567890", "yes": "1" });
    for method in ["PATCH", "PUT"] {
        for (field, empty) in &cleared {
            site.root_put("secret/metadata/a", &set).await.expect(204);
            let before = metadata(&site, "a").await;
            assert_eq!(before["custom_metadata"], texts);
            let body = json!({ *field: null });
            match method {
                "PATCH" => patch(&site, "secret/metadata/a", &body).await.expect(204),
                _ => site.root_put("secret/metadata/a", &body).await.expect(204),
            };
            let after = metadata(&site, "a").await;
            for (name, _) in &cleared {
                let expected = if name == field { empty } else { &before[*name] };
                assert_eq!(&after[*name], expected, "{method} {field}: {name}");
            }
        }
    }
    patch(&site, "secret/metadata/a", &json!({ "custom_metadata": { "n": null, "m": 1.5 } }))
        .await
        .expect(204);
    let custom = metadata(&site, "a").await["custom_metadata"].take();
    assert_eq!((&custom["n"], &custom["m"]), (&Value::Null, &json!("1.5")));
    for wrong in [json!({ "custom_metadata": { "a": [1] } }), json!({ "custom_metadata": "x" })] {
        patch(&site, "secret/metadata/a", &wrong).await.expect(400);
        site.root_put("secret/metadata/a", &wrong).await.expect(400);
    }

    let config = async || site.root_get("secret/config").await.expect(200).json()["data"].take();
    let set = json!({ "max_versions": 5, "cas_required": true, "delete_version_after": "2h" });
    for (field, empty) in &cleared[1..] {
        site.root_put("secret/config", &set).await.expect(204);
        let before = config().await;
        site.root_put("secret/config", &json!({ *field: null })).await.expect(204);
        let after = config().await;
        for (name, _) in &cleared[1..] {
            let expected = if name == field { empty } else { &before[*name] };
            assert_eq!(&after[*name], expected, "config {field}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patch_of_what_is_deleted_is_told_what_was_there() {
    let site = Site::open(CALM).await;
    let change = json!({ "data": { "b": 1 } });
    let plain = patch(&site, "secret/data/gone", &change).await.expect(404);
    assert_eq!(plain.json(), json!({ "errors": [] }));
    site.write("gone", "x").await;
    site.root_put("secret/metadata/gone", &json!({ "custom_metadata": { "team": "x" } })).await.expect(204);
    site.ask("DELETE", "secret/data/gone", &site.root, "").await.expect(204);
    let facts = patch(&site, "secret/data/gone", &change).await.expect(404).json()["data"].take();
    assert_eq!((&facts["version"], &facts["destroyed"]), (&json!(1), &json!(false)));
    assert!(facts["deletion_time"].as_str().is_some_and(|time| !time.is_empty()));
    assert_eq!(facts["custom_metadata"], json!({ "team": "x" }));
    site.root_put("secret/destroy/gone", &json!({ "versions": [1] })).await.expect(204);
    let facts = patch(&site, "secret/data/gone", &change).await.expect(404).json()["data"].take();
    assert_eq!(facts["destroyed"], true);
    let wrong = json!({ "data": { "b": 1 }, "options": { "cas": 7 } });
    patch(&site, "secret/data/gone", &wrong).await.expect(400);
    assert_eq!(metadata(&site, "gone").await["current_version"], 1, "nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_less_than_nothing_is_none() {
    let site = Site::open(CALM).await;
    site.root_put("sys/mounts/old", &json!({ "type": "kv" })).await.expect(204);
    for name in ["a", "b", "c"] {
        site.write(name, "x").await;
        site.root_put(&format!("old/{name}"), &json!({ "v": 1 })).await.expect(204);
        site.root_put(&format!("cubbyhole/{name}"), &json!({ "v": 1 })).await.expect(204);
    }
    for folder in ["secret/metadata", "old", "cubbyhole"] {
        for (query, keys) in [
            ("limit=-1", json!(["a", "b", "c"])),
            ("limit=0", json!(["a", "b", "c"])),
            ("limit=2", json!(["a", "b"])),
            ("limit=-1&after=a", json!(["b", "c"])),
        ] {
            let listed = site.root_get(&format!("{folder}?list=true&{query}")).await.expect(200).json();
            assert_eq!(listed["data"]["keys"], keys, "{folder} {query}");
        }
    }
    site.root_get("sys/symbolon/audit?limit=-1").await.expect(200);
}

/// Limits count what is stored. Python and Java escape all but ASCII.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_is_measured_as_it_is_stored() {
    let site = Site::open(CALM).await;
    site.root_put("sys/mounts/old", &json!({ "type": "kv" })).await.expect(204);
    let value = "ж".repeat(200 << 10); // 400 KiB, 1.2 MiB when escaped
    let escaped = "\\u0436".repeat(200 << 10);
    for (path, body) in [
        ("secret/data/cyrillic", format!(r#"{{"data":{{"value":"{escaped}"}}}}"#)),
        ("old/cyrillic", format!(r#"{{"value":"{escaped}"}}"#)),
        ("cubbyhole/cyrillic", format!(r#"{{"value":"{escaped}"}}"#)),
    ] {
        let wrote = site.ask("PUT", path, &site.root, &body).await;
        assert!(wrote.status < 300, "{path}: {}", wrote.text);
        let read = site.root_get(path).await.expect(200).json();
        let kept = read.pointer("/data/data/value").or(read.pointer("/data/value")).unwrap();
        assert_eq!(kept, &json!(value), "{path}");
    }
    // More than a value may have is too much however it is written, and in whatever pieces.
    let half = "x".repeat(700 << 10);
    let plain = json!({ "data": { "a": half, "b": half } }).to_string();
    site.ask("PUT", "secret/data/large", &site.root, &plain).await.expect(413);
    let escaped = format!(r#"{{"data":{{"a":"{}"}}}}"#, "\\u0436".repeat(540 << 10));
    site.ask("PUT", "secret/data/large", &site.root, &escaped).await.expect(413);
    site.root_put("secret/data/large", &json!({ "data": { "a": half } })).await.expect(200);
    let more = patch(&site, "secret/data/large", &json!({ "data": { "b": half } })).await.expect(400);
    assert!(more.text.contains("1 MiB"), "{}", more.text);
    assert_eq!(metadata(&site, "large").await["current_version"], 1);
}
