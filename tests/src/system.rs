//! What `sys/` and the tokens answer to clients that expect Vault: settings of mounts, tokens that are gone,
//! and parameters that nobody knows.

use serde_json::{Value, json};

use crate::site::{CALM, Got, Place, Shared, Site};

static PLACE: Place = Place::new(std::sync::Weak::new());

fn shared() -> std::sync::Arc<Shared> {
    Shared::of(&PLACE, async {
        let site = Site::open(CALM).await;
        for kind in ["approle", "jwt", "kubernetes", "userpass"] {
            site.root_put(&format!("sys/auth/{kind}"), &json!({ "type": kind })).await.expect(204);
        }
        site
    })
}

fn warnings(got: &Got) -> String {
    got.json()["warnings"].to_string()
}

/// Every route that changes something, with a body that it takes. The routes of ceremonies and of the life
/// cycle have tests of their own, because they change what the others stand on.
fn writes() -> Vec<(&'static str, Value)> {
    let policy = "path \"x\" { capabilities = [\"read\"] }";
    let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n";
    vec![
        ("sys/mounts/new", json!({ "type": "kv", "config": {}, "options": {} })),
        ("sys/mounts/secret/tune", json!({ "description": "d" })),
        ("sys/auth/new", json!({ "type": "userpass", "config": {} })),
        ("sys/auth/new/tune", json!({ "description": "d" })),
        ("sys/mounts/auth/new/tune", json!({ "description": "e" })),
        ("sys/policies/acl/p", json!({ "policy": policy })),
        ("sys/policy/p", json!({ "rules": policy })),
        ("sys/capabilities-self", json!({ "paths": ["x"] })),
        ("sys/rotate", json!({})),
        ("sys/symbolon/rotate/kek/secret", json!({})),
        ("auth/token/create", json!({ "meta": { "any": "thing" } })),
        ("auth/token/create-orphan", json!({})),
        ("auth/token/lookup", json!({ "token": "{root}" })),
        ("auth/token/lookup-self", json!({})),
        ("auth/token/revoke", json!({ "token": "hvs.gone" })),
        ("auth/token/revoke-accessor", json!({ "accessor": "gone" })),
        ("auth/approle/role/r", json!({ "token_ttl": "1h" })),
        ("auth/approle/role/r/role-id", json!({ "role_id": "id" })),
        ("auth/approle/role/r/token-ttl", json!({ "token_ttl": "2h" })),
        ("auth/approle/role/r/secret-id", json!({ "metadata": "{}" })),
        ("auth/approle/role/r/custom-secret-id", json!({ "secret_id": "own" })),
        ("auth/approle/role/r/secret-id/lookup", json!({ "secret_id": "own" })),
        ("auth/approle/login", json!({ "role_id": "id", "secret_id": "own" })),
        ("auth/approle/role/r/secret-id/destroy", json!({ "secret_id": "own" })),
        ("auth/userpass/users/u", json!({ "password": "correct horse" })),
        ("auth/userpass/users/u/password", json!({ "password": "battery staple" })),
        ("auth/userpass/users/u/policies", json!({ "policies": "default" })),
        ("auth/userpass/login/u", json!({ "password": "battery staple" })),
        ("auth/kubernetes/config", json!({ "kubernetes_host": "https://unused.invalid", "pem_keys": [pem] })),
        (
            "auth/kubernetes/role/r",
            json!({
                "bound_service_account_names": "a", "bound_service_account_namespaces": "b", "audience": "c",
            }),
        ),
        ("auth/jwt/config", json!({ "jwt_validation_pubkeys": [pem] })),
        (
            "auth/jwt/role/r",
            json!({
                "role_type": "jwt", "user_claim": "sub", "bound_audiences": "a", "bound_claims": { "any": 1 },
            }),
        ),
        ("secret/config", json!({ "max_versions": 5 })),
        ("secret/data/x", json!({ "data": { "any": "thing" }, "options": {} })),
        ("secret/metadata/x", json!({ "custom_metadata": { "any": "thing" } })),
        ("secret/delete/x", json!({ "versions": [1] })),
        ("secret/undelete/x", json!({ "versions": [1] })),
        ("secret/destroy/x", json!({ "versions": [1] })),
    ]
}

/// A parameter that no route knows.
const UNKNOWN: &str = "unheard_of";

/// Objects whose members are the caller's own, each with one.
const FREE: [&str; 4] = ["meta", "bound_claims", "data", "custom_metadata"];

/// Bodies with the unknown parameter in each object that has members of ours, and what its name is there.
fn with_unknown(body: &Value) -> Vec<(Value, String)> {
    let mut all = vec![(body.clone(), UNKNOWN.to_owned())];
    all[0].0[UNKNOWN] = json!(1);
    for (name, _) in body
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, value)| value.is_object() && !FREE.contains(&name.as_str()))
    {
        let mut inside = body.clone();
        inside[name][UNKNOWN] = json!(1);
        all.push((inside, format!("{name}.{UNKNOWN}")));
    }
    all
}

#[test]
fn what_no_route_knows_is_named_at_every_level() {
    shared().run(async |site| {
        let mut wrong = Vec::new();
        for (path, body) in writes() {
            let body: Value = serde_json::from_str(&body.to_string().replace("{root}", &site.root)).unwrap();
            for (index, (body, name)) in with_unknown(&body).into_iter().enumerate() {
                // Of what is made once, another one each time.
                let path = if index > 0 && path.ends_with("/new") { &format!("{path}{index}") } else { path };
                let login = path.contains("/login");
                let token = if login { "" } else { &site.root };
                let got = site.ask("PUT", path, token, &body.to_string()).await;
                if got.status != 200 || !warnings(&got).contains(&name) {
                    wrong.push(format!("{path} {name}: {} {}", got.status, got.text));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Answers outside the envelope, reads, and places where no parameter is looked for.
#[test]
fn what_stands_elsewhere_is_named_too() {
    shared().run(async |site| {
        site.write("elsewhere", "x").await;
        for (method, path, body, name) in [
            ("GET", "secret/data/elsewhere?versoin=1", "", "versoin"),
            ("GET", "sys/health?standbyok=true&unheard_of=1", "", UNKNOWN),
            ("PUT", "secret/data/elsewhere?cas=1", r#"{"data":{}}"#, "cas"),
            ("DELETE", "secret/data/elsewhere", r#"{"versions":[1]}"#, "was not read"),
            ("DELETE", "secret/metadata/elsewhere?unheard_of=1", "", UNKNOWN),
        ] {
            let got = site.ask(method, path, &site.root, body).await.expect(200);
            assert!(warnings(&got).contains(name), "{method} {path}: {}", got.text);
        }
        let probe = site.get("sys/health?standbyok=true&perfstandbyok=true&sealedcode=503", "").await;
        assert!(!probe.text.contains("warnings"), "{}", probe.text);
        let plain = site.root_get("sys/mounts").await.expect(200).json();
        assert_eq!(plain["warnings"], Value::Null);
    });
}

#[test]
fn mounts_keep_what_they_are_told() {
    shared().run(async |site| {
        let wish = json!({
            "type": "kv-v2", "local": true, "seal_wrap": true, "external_entropy_access": false,
            "config": { "listing_visibility": "unauth", "default_lease_ttl": "1h", "force_no_cache": true },
        });
        let made = site.root_put("sys/mounts/told", &wish).await.expect(200);
        assert!(warnings(&made).contains("[config.force_no_cache local seal_wrap]"), "{}", made.text);
        let config = site.root_get("sys/mounts/told").await.expect(200).json()["data"]["config"].clone();
        assert_eq!(
            config,
            json!({
                "default_lease_ttl": 3600, "max_lease_ttl": 0, "force_no_cache": false,
                "listing_visibility": "unauth",
            })
        );
        // As recorded from OpenBao, but for what has no effect here.
        let wish = json!({
            "default_lease_ttl": "1h", "max_lease_ttl": "2h", "description": "d", "listing_visibility": "hidden",
        });
        site.root_put("sys/mounts/told/tune", &wish).await.expect(204);
        let tuned = site.root_get("sys/mounts/told/tune").await.expect(200).json();
        for at in [&tuned, &tuned["data"]] {
            assert_eq!((&at["default_lease_ttl"], &at["max_lease_ttl"]), (&json!(3600), &json!(7200)));
            assert_eq!((&at["description"], &at["listing_visibility"]), (&json!("d"), &json!("hidden")));
        }
        for wrong in [
            json!({ "default_lease_ttl": "3h" }),
            json!({ "listing_visibility": "all" }),
            json!({ "max_lease_ttl": "x" }),
        ] {
            site.root_put("sys/mounts/told/tune", &wrong).await.expect(400);
        }
        site.root_put("sys/mounts/cubbyhole/tune", &json!({ "description": "d" })).await.expect(400);
        site.root_put("sys/mounts/none/tune", &json!({ "description": "d" })).await.expect(400);
        let back = json!({ "default_lease_ttl": "system", "max_lease_ttl": "system", "listing_visibility": "" });
        site.root_put("sys/mounts/told/tune", &back).await.expect(204);
        let config = site.root_get("sys/mounts").await.expect(200).json()["data"]["told/"]["config"].clone();
        assert_eq!(config, json!({ "default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": false }));
    });
}

#[test]
fn login_mounts_are_tuned_at_both_addresses_with_sudo() {
    shared().run(async |site| {
        let wish = json!({ "default_lease_ttl": "30m", "description": "x", "token_type": "batch" });
        site.root_put("sys/mounts/auth/approle/tune", &wish).await.expect(204);
        let here = site.root_get("sys/mounts/auth/approle/tune").await.expect(200).json();
        let there = site.root_get("sys/auth/approle/tune").await.expect(200).json();
        assert_eq!(here["data"], there["data"]);
        assert_eq!((&there["default_lease_ttl"], &there["token_type"]), (&json!(1800), &json!("batch")));
        let listed = site.root_get("sys/auth").await.expect(200).json();
        assert_eq!(listed["data"]["approle/"]["config"]["token_type"], "batch");
        assert_eq!(listed["data"]["token/"]["config"]["token_type"], "default-service");
        assert_eq!(listed["data"]["kubernetes/"]["config"]["token_type"], "default-batch");
        site.root_put("sys/auth/approle/tune", &json!({ "token_type": "", "default_lease_ttl": "system" }))
            .await
            .expect(204);
        site.root_put("sys/auth/token/tune", &json!({ "token_type": "batch" })).await.expect(400);
        site.root_put("sys/auth/approle/tune", &json!({ "options": { "a": "b" } })).await.expect(400);
        let update = r#"path "sys/mounts/auth/approle/tune" { capabilities = ["read", "update"] }
            path "sys/auth/approle/tune" { capabilities = ["read", "update"] }"#;
        let tunes = site.token_with("tunes", update).await;
        for path in ["sys/mounts/auth/approle/tune", "sys/auth/approle/tune"] {
            site.get(path, &tunes).await.expect(403);
        }
        let sudo = site.token_with("tunes-all", &update.replace("\"update\"", "\"update\", \"sudo\"")).await;
        site.get("sys/mounts/auth/approle/tune", &sudo).await.expect(200);
    });
}

#[test]
fn strangers_see_the_mounts_that_are_marked_for_them() {
    shared().run(async |site| {
        let all = |got: Got| got.expect(200).json()["data"].clone();
        assert_eq!(all(site.get("sys/internal/ui/mounts", "").await), json!({ "auth": {}, "secret": {} }));
        let wish = json!({ "listing_visibility": "unauth", "description": "d" });
        site.root_put("sys/auth/userpass/tune", &wish).await.expect(204);
        let shown = json!({ "description": "d", "options": {}, "type": "userpass" });
        let seen = all(site.get("sys/internal/ui/mounts", "").await);
        assert_eq!(seen, json!({ "auth": { "userpass/": shown }, "secret": {} }));
        site.get("sys/internal/ui/mounts", "hvs.unknown").await.expect(403);
        site.get("sys/internal/ui/mounts/auth/userpass", "").await.expect(403);
        let reads = site.token_with("reads-one", r#"path "secret/*" { capabilities = ["read"] }"#).await;
        let seen = all(site.get("sys/internal/ui/mounts", &reads).await);
        assert_eq!(seen["auth"]["userpass/"]["config"]["token_type"], "default-service");
        let paths: Vec<&String> = seen["secret"].as_object().unwrap().keys().collect();
        assert_eq!(paths, ["secret/"]);
        site.root_put("sys/auth/userpass/tune", &json!({ "listing_visibility": "" })).await.expect(204);
        // A login method by itself.
        let found = site.root_get("sys/internal/ui/mounts/auth/approle").await.expect(200).json();
        assert_eq!((&found["data"]["path"], &found["data"]["type"]), (&json!("approle/"), &json!("approle")));
        assert_eq!(found["data"]["options"], json!({}));
        site.get("sys/internal/ui/mounts/auth/approle", &reads).await.expect(403);
        site.root_get("sys/internal/ui/mounts/auth/none").await.expect(403);
    });
}

#[test]
fn the_mount_has_its_say_in_the_kind_of_token() {
    shared().run(async |site| {
        let role = json!({ "token_policies": ["default"], "bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8" });
        site.root_put("sys/auth/kinds", &json!({ "type": "approle" })).await.expect(204);
        site.root_put("auth/kinds/role/r", &role).await.expect(204);
        let id = site.root_get("auth/kinds/role/r/role-id").await.expect(200).json();
        let login = json!({ "role_id": id["data"]["role_id"] }).to_string();
        let kind = async || {
            let got = site.ask("PUT", "auth/kinds/login", "", &login).await.expect(200).json();
            got["auth"]["token_type"].as_str().unwrap().to_owned()
        };
        let tune = async |word: &str| {
            site.root_put("sys/auth/kinds/tune", &json!({ "token_type": word })).await.expect(204);
        };
        assert_eq!(kind().await, "service");
        tune("default-batch").await;
        assert_eq!(kind().await, "batch");
        site.root_put("auth/kinds/role/r", &json!({ "token_type": "service" })).await.expect(204);
        assert_eq!(kind().await, "service", "the role says more than a default");
        tune("batch").await;
        assert_eq!(kind().await, "batch", "but not more than the mount");
        site.root_put("auth/kinds/role/r", &json!({ "token_num_uses": 3 })).await.expect(204);
        let refused = site.ask("PUT", "auth/kinds/login", "", &login).await.expect(400);
        assert!(refused.text.contains("token_type"), "{}", refused.text);
        tune("service").await;
        assert_eq!(kind().await, "service");
    });
}

#[test]
fn tokens_that_are_gone_are_no_doubt_of_the_callers() {
    shared().run(async |site| {
        let made = site.root_put("auth/token/create", &json!({ "ttl": "1h" })).await.expect(200).json();
        let (token, accessor) = (&made["auth"]["client_token"], &made["auth"]["accessor"]);
        site.root_put("auth/token/revoke", &json!({ "token": token })).await.expect(204);
        let dead = token.as_str().unwrap();
        for named in [dead, "hvs.AAAAAAAAAAAAAAAAAAAAAAAA", "hvb.AAAA", "garbage"] {
            for (path, status) in [
                ("auth/token/revoke", 204),
                ("auth/token/renew", 400),
                ("auth/token/revoke-orphan", 400),
                ("auth/token/lookup", 403),
                ("sys/capabilities", 400),
            ] {
                let wish = match path {
                    "sys/capabilities" => json!({ "token": named, "paths": ["x"] }),
                    _ => json!({ "token": named }),
                };
                let got = site.root_put(path, &wish).await;
                assert_eq!(got.status, status, "{path} {named}: {}", got.text);
            }
        }
        let gone = json!({ "accessor": accessor, "paths": ["x"] });
        let again = site.root_put("auth/token/revoke-accessor", &json!({ "accessor": accessor })).await;
        assert_eq!(again.expect(200).json()["warnings"], json!(["No token found with this accessor"]));
        for path in ["auth/token/lookup-accessor", "auth/token/renew-accessor", "sys/capabilities-accessor"] {
            site.root_put(path, &gone).await.expect(400);
        }
        site.ask("PUT", "auth/token/revoke-self", dead, "").await.expect(403);
        site.ask("PUT", "auth/token/revoke", "hvs.unknown", "{\"token\":\"x\"}").await.expect(403);
    });
}

/// A bound address says where a token may be used, not whether it is there.
#[test]
fn a_batch_token_of_another_address_is_there() {
    shared().run(async |site| {
        let role = json!({
            "token_policies": ["default"], "bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8",
            "token_type": "batch",
        });
        site.root_put("auth/approle/role/bound", &role).await.expect(204);
        let id = site.root_get("auth/approle/role/bound/role-id").await.expect(200).json();
        let login = json!({ "role_id": id["data"]["role_id"] }).to_string();
        let made = site.ask("PUT", "auth/approle/login", "", &login).await.expect(200).json();
        let token = made["auth"]["client_token"].as_str().unwrap();
        let named = json!({ "token": token });
        assert_eq!(
            site.root_put("auth/token/lookup", &named).await.expect(200).json()["data"]["type"],
            "batch"
        );
        let refused = site.root_put("auth/token/revoke", &named).await.expect(400);
        assert!(refused.text.contains("cannot be revoked"), "{}", refused.text);
        // It cannot make tokens, and learns where that was decided.
        let child = r#"path "auth/token/create" { capabilities = ["update"] }"#;
        site.root_put("sys/policies/acl/child", &json!({ "policy": child })).await.expect(204);
        site.root_put("auth/approle/role/bound", &json!({ "token_policies": ["child"] })).await.expect(204);
        let made = site.ask("PUT", "auth/approle/login", "", &login).await.expect(200).json();
        let token = made["auth"]["client_token"].as_str().unwrap();
        let refused = site.ask("PUT", "auth/token/create", token, "{}").await.expect(400);
        assert!(refused.text.contains("token_type"), "{}", refused.text);
    });
}

#[test]
fn other_houses_commands_get_true_errors() {
    shared().run(async |site| {
        for (method, path, way) in [
            ("PUT", "sys/rotate/keyring", "symbolon operator rotate kek"),
            ("GET", "sys/key-status", "symbolon operator rotate status"),
            ("GET", "sys/rekey/init", "symbolon ceremony begin reshare"),
            ("GET", "sys/audit", "symbolon audit search"),
        ] {
            let got = site.ask(method, path, &site.root, "").await.expect(400);
            assert!(got.text.contains(way), "{method} {path}: {}", got.text);
            site.ask(method, path, "", "").await.expect(403);
        }
        let wrap = site.request("PUT", "v1/sys/wrapping/wrap").header("X-Vault-Token", &site.root);
        let wrapped = site.send(wrap.header("X-Vault-Wrap-TTL", "1m").body(r#"{"a":"b"}"#)).await;
        let token = json!({ "token": wrapped.expect(200).json()["wrap_info"]["token"] }).to_string();
        let own = site.ask("PUT", "sys/wrapping/unwrap", "hvs.unknown", &token).await.expect(403);
        assert!(own.text.contains("has not been used"), "{}", own.text);
        let opened = site.ask("PUT", "sys/wrapping/unwrap", "", &token).await.expect(200).json();
        assert_eq!(opened["data"], json!({ "a": "b" }));
        let spent = site.ask("PUT", "sys/wrapping/unwrap", "", &token).await.expect(400);
        assert!(spent.text.contains("wrapping token is not valid or does not exist"));
    });
}

#[test]
fn versions_and_metadata_may_be_empty() {
    shared().run(async |site| {
        let wrote = site.root_put("secret/data/null", &json!({ "data": null })).await.expect(200).json();
        assert_eq!(wrote["data"]["version"], 1);
        let read = site.root_get("secret/data/null").await.expect(200).json();
        assert_eq!(read["data"]["data"], json!({}));
        site.root_put("secret/data/null", &json!({})).await.expect(400);
        site.root_put("secret/metadata/fresh", &json!({})).await.expect(204);
        let made = site.root_get("secret/metadata/fresh").await.expect(200).json();
        assert_eq!(made["data"]["current_version"], 0);
    });
}
