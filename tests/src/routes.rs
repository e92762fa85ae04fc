//! The path that policies judge is derived by the operation; here it is compared with the one that was asked
//! for, route by route.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::site::{CALM, Site};

/// Every route that an operation stands behind, with a body that reaches it. A broker of a debug build stops
/// at one that derives another path than it was asked for; the log shows that each one got that far.
const ROUTES: [(&str, &str, &str); 81] = [
    ("PUT", "secret/data/Team/a b", r#"{"data":{"a":1}}"#),
    ("PATCH", "secret/data/Team/a b", r#"{"data":{"b":1}}"#),
    ("GET", "secret/data/Team/a b", ""),
    ("GET", "secret/subkeys/Team/a b", ""),
    ("GET", "secret/metadata/Team/a b", ""),
    ("PUT", "secret/metadata/Team/a b", r#"{"max_versions":9}"#),
    ("PATCH", "secret/metadata/Team/a b", r#"{"max_versions":8}"#),
    ("LIST", "secret/metadata", ""),
    ("LIST", "secret/metadata/Team", ""),
    ("LIST", "secret/metadata/Team/", ""),
    ("PUT", "secret/delete/Team/a b", r#"{"versions":[1]}"#),
    ("PUT", "secret/undelete/Team/a b", r#"{"versions":[1]}"#),
    ("PUT", "secret/destroy/Team/a b", r#"{"versions":[1]}"#),
    ("DELETE", "secret/data/Team/a b", ""),
    ("DELETE", "secret/metadata/Team/a b", ""),
    ("PUT", "secret/config", r#"{"max_versions":9}"#),
    ("GET", "secret/config", ""),
    ("GET", "sys/mounts", ""),
    ("PUT", "sys/mounts/Deep/kv", r#"{"type":"kv","options":{"version":"2"}}"#),
    ("GET", "sys/mounts/Deep/kv", ""),
    ("GET", "sys/mounts/Deep/kv/", ""),
    ("GET", "sys/mounts/Deep/kv/tune", ""),
    ("PUT", "sys/mounts/Deep/kv/tune", r#"{"options":{"version":"2"}}"#),
    ("PUT", "Deep/kv/data/x", r#"{"data":{"a":1}}"#),
    ("PUT", "sys/symbolon/rotate/kek/Deep/kv", ""),
    ("GET", "sys/internal/ui/mounts", ""),
    ("GET", "sys/internal/ui/mounts/Deep/kv/x", ""),
    ("DELETE", "sys/mounts/Deep/kv", ""),
    ("GET", "sys/internal/ui/resultant-acl", ""),
    ("GET", "sys/auth", ""),
    ("PUT", "sys/auth/Team/roles", r#"{"type":"approle"}"#),
    ("GET", "sys/auth/Team/roles", ""),
    ("GET", "sys/auth/Team/roles/tune", ""),
    ("PUT", "sys/auth/Team/roles/tune", r#"{"description":"d"}"#),
    ("GET", "sys/mounts/auth/Team/roles/tune", ""),
    ("PUT", "sys/mounts/auth/Team/roles/tune", r#"{"description":"e"}"#),
    ("GET", "sys/internal/ui/mounts/auth/Team/roles", ""),
    ("PUT", "auth/Team/roles/role/CI", r#"{"token_ttl":"60"}"#),
    ("GET", "auth/Team/roles/role/CI", ""),
    ("LIST", "auth/Team/roles/role", ""),
    ("GET", "auth/Team/roles/role/CI/role-id", ""),
    ("GET", "auth/Team/roles/role/CI/token-ttl", ""),
    ("PUT", "auth/Team/roles/role/CI/token-ttl", r#"{"token_ttl":"30"}"#),
    ("DELETE", "auth/Team/roles/role/CI/token-ttl", ""),
    ("PUT", "auth/Team/roles/tidy/secret-id", ""),
    ("PUT", "auth/Team/roles/role/CI/role-id", r#"{"role_id":"known"}"#),
    ("PUT", "auth/Team/roles/role/CI/secret-id", "{}"),
    ("LIST", "auth/Team/roles/role/CI/secret-id", ""),
    ("PUT", "auth/Team/roles/role/CI/custom-secret-id", r#"{"secret_id":"chosen"}"#),
    ("PUT", "auth/Team/roles/role/CI/secret-id/lookup", r#"{"secret_id":"chosen"}"#),
    ("PUT", "auth/Team/roles/role/CI/secret-id-accessor/lookup", r#"{"secret_id_accessor":"none"}"#),
    ("PUT", "auth/Team/roles/role/CI/secret-id-accessor/destroy", r#"{"secret_id_accessor":"none"}"#),
    ("PUT", "auth/Team/roles/role/CI/secret-id/destroy", r#"{"secret_id":"chosen"}"#),
    ("DELETE", "auth/Team/roles/role/CI", ""),
    ("DELETE", "sys/auth/Team/roles", ""),
    ("PUT", "sys/auth/jwt", r#"{"type":"jwt"}"#),
    ("GET", "auth/jwt/config", ""),
    ("PUT", "sys/policies/acl/Reader", r#"{"policy":"path \"x\" { capabilities = [\"read\"] }"}"#),
    ("GET", "sys/policies/acl/Reader", ""),
    ("LIST", "sys/policies/acl", ""),
    ("DELETE", "sys/policies/acl/Reader", ""),
    ("PUT", "sys/policy/Reader", r#"{"policy":"path \"x\" { capabilities = [\"read\"] }"}"#),
    ("GET", "sys/policy/Reader", ""),
    ("GET", "sys/policy", ""),
    ("DELETE", "sys/policy/Reader", ""),
    ("PUT", "sys/capabilities-self", r#"{"paths":["x"]}"#),
    ("PUT", "sys/capabilities", r#"{"token":"hvs.none","paths":["x"]}"#),
    ("PUT", "sys/capabilities-accessor", r#"{"accessor":"none","paths":["x"]}"#),
    ("PUT", "auth/token/create", "{}"),
    ("PUT", "auth/token/create-orphan", "{}"),
    ("GET", "auth/token/lookup", ""),
    ("GET", "auth/token/lookup-self", ""),
    ("PUT", "auth/token/lookup-accessor", r#"{"accessor":"none"}"#),
    ("PUT", "auth/token/renew", r#"{"token":"hvs.none"}"#),
    ("PUT", "auth/token/renew-accessor", r#"{"accessor":"none"}"#),
    ("PUT", "auth/token/revoke-orphan", r#"{"token":"hvs.none"}"#),
    ("PUT", "sys/rotate", ""),
    ("PUT", "sys/symbolon/rotate/kek", ""),
    ("GET", "sys/symbolon/rotation", ""),
    ("PUT", "sys/symbolon/ceremony/cancel", ""),
    ("GET", "sys/symbolon/ceremonies", ""),
];

/// How the path of a route stands in the log: names folded, and no slash at the end.
fn judged(path: &str) -> String {
    let folded = path.replace("/role/CI", "/role/ci").replace("/Reader", "/reader");
    folded.trim_end_matches('/').to_owned()
}

/// How many entries there are of each path.
async fn entries(site: &Site) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    let mut from = 0;
    loop {
        let page =
            site.root_get(&format!("sys/symbolon/audit?newest_first=false&limit=500&from={from}")).await;
        let page = page.expect(200).json()["data"].clone();
        for entry in page["events"].as_array().unwrap() {
            let path = entry["target"]["path"].as_str().unwrap_or_default();
            *counted.entry(path.to_owned()).or_default() += 1;
        }
        match &page["next"] {
            Value::Null => return counted,
            next => from = next["from"].as_u64().unwrap(),
        }
    }
}

#[tokio::test]
async fn what_is_judged_is_what_was_asked_for() {
    let site = Site::open(CALM).await;
    let before = entries(&site).await;
    let mut expected = BTreeMap::<String, usize>::new();
    for (method, path, body) in ROUTES {
        let request = site.request(method, &format!("v1/{path}")).header("X-Vault-Token", &site.root);
        let request = request.header("Content-Type", "application/merge-patch+json").body(body);
        let got = site.send(request).await;
        assert!(got.status < 500 && got.status != 405, "{method} {path}: {} {}", got.status, got.text);
        assert!(
            !got.text.contains("unrecognized") && !got.text.contains("unsupported"),
            "{path}: {}",
            got.text
        );
        *expected.entry(judged(path)).or_default() += 1;
    }
    let after = entries(&site).await;
    for (path, count) in expected {
        let grown = after.get(&path).copied().unwrap_or(0) - before.get(&path).copied().unwrap_or(0);
        assert!(grown >= count, "{path}: {grown} entries for {count} requests");
    }
}

#[tokio::test]
async fn a_right_at_one_spelling_is_none_at_the_other() {
    let site = Site::open(CALM).await;
    let text = r#"path "sys/policy/*" { capabilities = ["read"] }"#;
    let token = site.token_with("old-spelling", text).await;
    site.get("sys/policy/default", &token).await.expect(200);
    site.get("sys/policies/acl/default", &token).await.expect(403);
    let text = r#"path "secret/subkeys/*" { capabilities = ["read"] }"#;
    let token = site.token_with("names-only", text).await;
    site.write("a", "hidden").await;
    assert_eq!(
        site.get("secret/subkeys/a", &token).await.expect(200).json()["data"]["subkeys"],
        json!({"value": null})
    );
    site.get("secret/data/a", &token).await.expect(403);
}
