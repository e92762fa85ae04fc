//! What a broker lets in and what it says to strangers: paths, bodies, names, tokens, errors.

use serde_json::{Value, json};
use symbolon_broker::faces::unauthenticated;

use crate::site::{CALM, Got, MOUNT, Place, Shared, Site};

mod answers;
mod bodies;
mod paths;
mod policies;

static PLACE: Place = Place::new(std::sync::Weak::new());

/// May read below `open/` only.
const TEAM: &str = r#"path "secret/data/open/*" { capabilities = ["read"] }"#;

const OPEN: &str = "what-the-team-may-see";
const CLOSED: &str = "what-the-team-may-not-see";

fn shared() -> std::sync::Arc<Shared> {
    Shared::of(&PLACE, async {
        let site = Site::open(CALM).await;
        site.write("open/a", OPEN).await;
        site.write("closed/b", CLOSED).await;
        site
    })
}

#[test]
fn root_has_one_spelling_and_nobody_can_assign_it() {
    shared().run(async |site| {
        let all = r#"path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }"#;
        let almighty = site.token_with("almighty", all).await;
        site.root_put("sys/auth/approle", &json!({ "type": "approle" })).await;
        site.root_put("sys/auth/jwt", &json!({ "type": "jwt" })).await;
        site.root_put("sys/auth/kubernetes", &json!({ "type": "kubernetes" })).await;
        site.root_put("sys/auth/userpass", &json!({ "type": "userpass" })).await;
        for name in ["root", "ROOT", "Root", "rOOt", " root", "root ", "\troot"] {
            let body = json!({ "policies": [name] }).to_string();
            let got = site.ask("PUT", "auth/token/create", &almighty, &body).await;
            assert_eq!(got.status, 400, "{name}: {}", got.text);
            let got = site.ask("PUT", "auth/token/create-orphan", &almighty, &body).await;
            assert_eq!(got.status, 400, "{name}: {}", got.text);
            for (path, role) in [
                ("auth/approle/role/r", json!({ "token_policies": [name] })),
                ("auth/approle/role/r", json!({ "policies": format!("a,{name}") })),
                ("auth/userpass/users/r", json!({ "password": "p", "token_policies": [name] })),
                (
                    "auth/jwt/role/r",
                    json!({ "user_claim": "sub", "role_type": "jwt", "bound_subject": "x", "token_policies": [name] }),
                ),
                (
                    "auth/kubernetes/role/r",
                    json!({
                        "bound_service_account_names": ["a"], "bound_service_account_namespaces": ["b"],
                        "token_policies": [name],
                    }),
                ),
            ] {
                let got = site.root_put(path, &role).await;
                assert_eq!(got.status, 400, "{path} {name}: {}", got.text);
                assert_eq!(site.root_get(path).await.status, 404, "{path} {name}");
            }
            let encoded = name.replace(' ', "%20").replace('\t', "%09");
            for method in ["PUT", "DELETE"] {
                let got = site.ask(method, &format!("sys/policies/acl/{encoded}"), &site.root, r#"{"policy":""}"#).await;
                assert_eq!(got.status, 400, "{method} {name}: {}", got.text);
            }
        }
    });
}

#[test]
fn policy_names_are_the_same_in_any_case() {
    shared().run(async |site| {
        let policy = |text: &str| json!({ "policy": text });
        site.root_put("sys/policies/acl/MixedCase", &policy(TEAM)).await.expect(204);
        let stored = site.root_get("sys/policies/acl/mixedCASE").await.expect(200).json();
        assert_eq!(stored["data"]["name"], "mixedcase");
        let wish = json!({ "policies": ["mIXEDcASE"], "no_default_policy": true });
        let made = site.root_put("auth/token/create", &wish).await.expect(200).json();
        assert_eq!(made["auth"]["policies"], json!(["mixedcase"]));
        let token = made["auth"]["client_token"].as_str().unwrap();
        site.get("secret/data/open/a", token).await.expect(200);
        site.get("secret/data/closed/b", token).await.expect(403);
        // Overwriting under another spelling changes the one policy; it leaves no second one that grants.
        site.root_put("sys/policies/acl/MIXEDCASE", &policy("path \"none\" {}")).await.expect(204);
        site.get("secret/data/open/a", token).await.expect(403);
    });
}

/// The parts of an answer that two requests for the same thing share.
fn essence(got: &Got) -> (u16, Value) {
    let body = serde_json::from_str::<Value>(&got.text).unwrap_or_default();
    (got.status, body.get("data").or(body.get("errors")).cloned().unwrap_or_default())
}

#[test]
fn both_ways_to_list_agree() {
    shared().run(async |site| {
        // A mount of its own: other tests write in the shared one meanwhile.
        site.root_put("sys/mounts/lists", &json!({ "type": "kv-v2" })).await.expect(204);
        for name in ["open/a", "closed/b"] {
            let body = json!({ "data": { "value": "x" } });
            site.root_put(&format!("lists/data/{name}"), &body).await.expect(200);
        }
        let list = r#"path "lists/metadata/*" { capabilities = ["list"] } path "lists/metadata" { capabilities = ["list"] }"#;
        let read = r#"path "lists/metadata/*" { capabilities = ["read"] } path "lists/metadata" { capabilities = ["read"] }"#;
        let tokens =
            [site.root.clone(), site.token_with("lists", list).await, site.token_with("reads", read).await, String::new()];
        for path in ["lists/metadata", "lists/metadata/", "lists/metadata/open", "lists/metadata/open/", "lists/metadata/none/"]
        {
            let mut seen = Vec::new();
            for token in &tokens {
                let verb = site.ask("LIST", path, token, "").await;
                for query in ["list=true", "list=1", "list=T"] {
                    let flag = site.get(&format!("{path}?{query}"), token).await;
                    assert_eq!(essence(&flag), essence(&verb), "{path}?{query}");
                }
                let both = site.ask("LIST", &format!("{path}?list=true"), token, "").await;
                assert_eq!(essence(&both), essence(&verb), "{path}");
                seen.push(verb.status);
            }
            let there = if path.contains("none") { 404 } else { 200 };
            assert_eq!(seen, [there, there, 403, 403], "{path}");
        }
        let listed = site.ask("LIST", "lists/metadata", &site.root, "").await.json();
        assert_eq!(listed["data"]["keys"], json!(["closed/", "open/"]));
    });
}

pub const METHODS: [&str; 6] = ["GET", "LIST", "PUT", "POST", "DELETE", "PATCH"];

/// One of every route, and some that are none. `{m}` is the mount.
pub const PATHS: [&str; 46] = [
    "{m}",
    "{m}/config",
    "{m}/config/x",
    "{m}/data",
    "{m}/data/open/a",
    "{m}/data/open/none",
    "{m}/data/open/",
    "{m}/metadata",
    "{m}/metadata/",
    "{m}/metadata/open/a",
    "{m}/metadata/none",
    "{m}/subkeys/open/a",
    "{m}/delete/open/a",
    "{m}/undelete/open/a",
    "{m}/destroy/open/a",
    "{m}/other/open/a",
    "sys/mounts",
    "sys/mounts/{m}",
    "sys/mounts/{m}/tune",
    "sys/auth",
    "sys/auth/approle",
    "sys/auth/approle/tune",
    "sys/internal/ui/mounts",
    "sys/internal/ui/mounts/{m}/x",
    "sys/internal/ui/resultant-acl",
    "sys/policies/acl",
    "sys/policies/acl/default",
    "sys/policies/acl/none",
    "sys/policy",
    "sys/policy/default",
    "sys/capabilities-self",
    "sys/capabilities",
    "sys/wrapping/wrap",
    "sys/wrapping/rewrap",
    "sys/seal",
    "sys/none",
    "auth/token/create",
    "auth/token/lookup-self",
    "auth/token/accessors",
    "auth/token/none",
    "auth/approle/role/x",
    "auth/approle/role/x/secret-id",
    "auth/userpass/users",
    "auth/userpass/users/x",
    "auth/userpass/users/x/password",
    "auth/none/role/x",
];

/// A body that every route accepts, so that nothing is refused before it is asked whether it may.
pub const BODY: &str = r#"{"policy":"path \"none\" {}","type":"kv","token":"t","accessor":"a","paths":["x"],"path":"x",
    "data":{},"versions":[1],"role_id":"r","secret_id":"s","password":"p"}"#;

/// The same with members of the wrong type.
const WRONG_BODY: &str =
    r#"{"policy":[],"type":{},"data":1,"versions":"x","options":7,"ttl":"x","max_versions":"x"}"#;

#[test]
fn strangers_learn_nothing_from_the_answers() {
    shared().run(async |site| {
        site.root_put("sys/auth/approle", &json!({ "type": "approle" })).await;
        site.root_put("sys/auth/userpass", &json!({ "type": "userpass" })).await;
        let asked = |path: &str, method: &str, token: &str, body: &'static str| {
            let request =
                site.request(method, &format!("v1/{path}")).header("X-Vault-Token", token).body(body);
            let patch = method == "PATCH";
            site.send(if patch {
                request.header("Content-Type", "application/merge-patch+json")
            } else {
                request
            })
        };
        let (mut told, open) = (Vec::new(), unauthenticated());
        for (token, body) in [("", BODY), ("hvs.AAAAAAAAAAAAAAAAAAAAAAAA", WRONG_BODY)] {
            for path in PATHS {
                for method in METHODS {
                    if token.is_empty() && open.contains(&(method, format!("/v1/{path}"))) {
                        continue;
                    }
                    let here = asked(&path.replace("{m}", MOUNT), method, token, body).await;
                    let elsewhere = match path.contains("{m}") {
                        true => asked(&path.replace("{m}", "absent"), method, token, body).await,
                        false => asked("sys/none", method, token, body).await,
                    };
                    if here.status != 403 || essence(&here) != essence(&elsewhere) {
                        told.push(format!(
                            "{method} {path}: {} here, {} elsewhere",
                            here.status, elsewhere.status
                        ));
                    }
                }
            }
        }
        assert!(told.is_empty(), "{}", told.join("\n"));
        let unknown = asked("secret/data/open/a", "GET", "", "").await.expect(403);
        for token in ["hvs.unknown", "hvb.unknown", "garbage", "hvb.AAAAAQ", &"x".repeat(9000)] {
            let got = asked("secret/data/open/a", "GET", token, "").await;
            assert_eq!(essence(&got), essence(&unknown), "{token}");
        }
    });
}

#[test]
fn only_listed_routes_answer_without_a_token() {
    shared().run(async |site| {
        site.root_put("sys/auth/approle", &json!({ "type": "approle" })).await;
        site.root_put("sys/auth/userpass", &json!({ "type": "userpass" })).await;
        let more = [
            "sys/health",
            "sys/seal-status",
            "sys/init",
            "sys/unseal",
            "sys/leader",
            "sys/wrapping/lookup",
            "sys/wrapping/unwrap",
            "auth/approle/login",
            "auth/userpass/login/x",
        ];
        let below_v1 = PATHS.iter().map(|path| format!("/v1/{}", path.replace("{m}", MOUNT)));
        let others = [
            "/",
            "/v1",
            "/v2/x",
            "/oauth2/token",
            "/oauth2/jwks",
            "/oauth2/x",
            "/metrics",
            "/livez",
            "/readyz",
            "/startupz",
            "/log/checkpoint",
        ];
        let well_known = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];
        let paths = below_v1
            .chain(more.map(|path| format!("/v1/{path}")))
            .chain(others.into_iter().chain(well_known).map(str::to_owned));
        let open = unauthenticated();
        for path in paths {
            for method in METHODS {
                let got = site.send(site.request(method, &path[1..]).body(BODY)).await;
                let verb = if method == "POST" && path.starts_with("/v1/") { "PUT" } else { method };
                let named = path.replace("/approle/", "/{mount}/").replace("/log/checkpoint", "/log/{path}");
                let named = named.replace("/userpass/login/x", "/{mount}/login/+");
                let listed = open.contains(&(verb, named));
                let closed = matches!(got.status, 403..=405) || (got.status == 400 && method == "PATCH");
                assert!(
                    listed || closed,
                    "{method} {path} answered a stranger with {}: {}",
                    got.status,
                    got.text
                );
            }
        }
        for (method, path) in open {
            let path = path.replace("{mount}/login/+", "userpass/login/x");
            let path = path.replace("{mount}", "approle").replace("{path}", "checkpoint");
            let got = site.send(site.request(method, &path[1..]).body(BODY)).await;
            assert_ne!(got.status, 403, "{method} {path} is listed but closed");
        }
    });
}
