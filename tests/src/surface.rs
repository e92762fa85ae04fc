//! What a broker lets in and what it says to strangers: paths, bodies, names, tokens, errors.

use std::time::Duration;

use serde_json::{Value, json};
use symbolon_broker::faces::unauthenticated;

use crate::site::{CALM, Got, MOUNT, Place, Shared, Site};

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

/// Every spelling by which a path has ever climbed out of a policy, and some more.
const STRANGE: [&str; 33] = [
    "/v1/secret/data/open/../closed/b",
    "/v1/secret/data/open/../../data/closed/b",
    "/v1/secret/data/open/%2e%2e/closed/b",
    "/v1/secret/data/open/%2E%2E/closed/b",
    "/v1/secret/data/open/.%2e/closed/b",
    "/v1/secret/data/open/%2e./closed/b",
    "/v1/secret/data/open/..%2fclosed/b",
    "/v1/secret/data/open/..%2Fclosed%2Fb",
    "/v1/secret/data/open%2f..%2fclosed%2fb",
    "/v1/secret/data/open%2fa",
    "/v1/secret%2fdata%2fopen%2fa",
    "/v1/secret/data/open/..%5cclosed/b",
    "/v1/secret/data/open%5ca",
    "/v1/secret/data/open/./a",
    "/v1/secret/data/open/%2e/a",
    "/v1/secret/data/open/a/.",
    "/v1/secret/data/open/a/..",
    "/v1/secret/data/./open/a",
    "/v1/secret/data//open/a",
    "/v1/secret/data/open//a",
    "/v1//secret/data/open/a",
    "/v1/secret/data/open/a//",
    "/v1/./secret/data/open/a",
    "/v1/../v1/secret/data/open/a",
    "/v1/sys/../secret/data/open/a",
    "/v1/secret/data/open/a%00",
    "/v1/secret/data/open/%00a",
    "/v1/secret/data/open/%0aa",
    "/v1/secret/data/open/%7fa",
    "/v1/secret/data/open/%c2%85a",
    "/v1/secret/data/open/a%",
    "/v1/secret/data/open/%zz",
    "/v1/secret/data/open/%ff",
];

#[test]
fn strange_paths_are_refused_before_anybody_is_asked() {
    shared().run(async |site| {
        let team = site.token_with("strange", TEAM).await;
        for target in STRANGE {
            for token in [team.as_str(), &site.root, ""] {
                let got = site.send_raw("GET", target, token).await;
                assert_eq!(got.status, 400, "{target}: {}", got.text);
                assert!(!got.text.contains(CLOSED) && !got.text.contains(OPEN), "{target}");
            }
        }
        let deep = format!("/v1/secret/data/open/{}", vec!["x"; 70].join("/"));
        let long = format!("/v1/secret/data/open/{}", "x".repeat(1100));
        for target in [deep, long] {
            assert_eq!(site.send_raw("GET", &target, &site.root).await.status, 400);
        }
    });
}

/// Spellings that are no escape: each is either the same path, or another one that the policy judges as such.
#[test]
fn policy_and_handler_see_one_spelling() {
    shared().run(async |site| {
        let team = site.token_with("spelling", TEAM).await;
        for (target, status) in [
            ("/v1/secret/data/open/a", 200),
            ("/v1/secret/data/op%65n/a", 200),
            ("/v1/secre%74/data/open/%61", 200),
            ("/v1/secret/data/closed/b", 403),
            ("/v1/secret/data/clos%65d/b", 403),
            ("/v1/secret/data/open;/..;/closed/b", 403),
            ("/v1/secret/data/OPEN/a", 403),
            ("/v1/Secret/data/open/a", 403),
            ("/v1/secret/data/open/%252e%252e/closed/b", 404), // once decoded it is a name like any other
            ("/v1/secret/data/open/%252e%252e%252fclosed%252fb", 404),
            ("/v1/secret/data/open/a?path=closed/b", 200),
            ("/v1/secret/data/open/a#/../closed/b", 200), // hyper drops what no client should have sent
        ] {
            let got = site.send_raw("GET", target, &team).await;
            assert_eq!(got.status, status, "{target}: {}", got.text);
            assert!(!got.text.contains(CLOSED), "{target}");
        }
    });
}

#[test]
fn a_body_that_is_too_large_is_refused_and_nothing_changes() {
    shared().run(async |site| {
        let large = json!({ "data": { "value": "x".repeat(2 << 20) } }).to_string();
        for path in ["secret/data/open/a", "sys/policies/acl/large", "auth/token/create", "sys/unseal"] {
            site.ask("PUT", path, &site.root, &large).await.expect(413);
        }
        site.send_bytes(endless_chunks(&site.root)).await.expect(413);
        let form = format!("grant_type={}", "x".repeat(2 << 20));
        let request = site.request("POST", "oauth2/token");
        let request = request.header("Content-Type", "application/x-www-form-urlencoded").body(form);
        assert!(matches!(site.send(request).await.status, 400 | 413));
        assert_eq!(site.read("open/a").await.expect(200).json()["data"]["data"]["value"], OPEN);
    });
}

/// A body of 2 MiB that does not say so beforehand, and does not end.
fn endless_chunks(token: &str) -> Vec<u8> {
    let head = "PUT /v1/secret/data/open/a HTTP/1.1\r\nHost: broker\r\nTransfer-Encoding: chunked\r\n";
    let mut request = format!("{head}X-Vault-Token: {token}\r\n\r\n");
    for _ in 0..32 {
        request.push_str(&format!("10000\r\n{}\r\n", "x".repeat(0x10000)));
    }
    request.into_bytes()
}

#[test]
fn json_beyond_bounds_is_refused_at_once() {
    shared().run(async |site| {
        let nested =
            |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let many: Vec<String> = (0..20_000).map(|number| format!("\"k{number}\":1")).collect();
        for body in [
            nested("{\"data\":", "}", 40),
            nested("{\"data\":", "}", 50_000),
            format!("{{\"data\":{}}}", nested("[", "]", 400_000)),
            "{\"data\":".repeat(100_000),
            "[".repeat(1_000_000),
            format!("{{\"data\":{{{}}}}}", many.join(",")),
            r#"{"data":{"value":1,"value":2}}"#.to_owned(),
            r#"{"data":{"value":1},"data":{"value":2}}"#.to_owned(),
            r#"{"data":{"value":1},"d\u0061ta":{"value":2}}"#.to_owned(),
            format!("{{\"data\":{{\"value\":{}}}}}", "1".repeat(1000)),
            r#"{"data":{"value":"\ud800"}}"#.to_owned(),
            r#"{"data":{"value":1}} {}"#.to_owned(),
            r#"{"data":{"value":1},}"#.to_owned(),
            r#"["data"]"#.to_owned(),
            r#""data""#.to_owned(),
            "{\"data\":{\"value\":\"\u{1}\"}}".to_owned(),
        ] {
            let asked = site.ask("PUT", "secret/data/open/a", &site.root, &body);
            let got = tokio::time::timeout(Duration::from_secs(10), asked).await.expect("an answer at once");
            assert_eq!(got.status, 400, "{}: {}", body.chars().take(40).collect::<String>(), got.text);
        }
        assert_eq!(site.read("open/a").await.expect(200).json()["data"]["data"]["value"], OPEN);
    });
}

#[test]
fn root_has_one_spelling_and_nobody_can_assign_it() {
    shared().run(async |site| {
        let all = r#"path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }"#;
        let almighty = site.token_with("almighty", all).await;
        site.root_put("sys/auth/approle", &json!({ "type": "approle" })).await;
        site.root_put("sys/auth/jwt", &json!({ "type": "jwt" })).await;
        site.root_put("sys/auth/kubernetes", &json!({ "type": "kubernetes" })).await;
        for name in ["root", "ROOT", "Root", "rOOt", " root", "root ", "\troot"] {
            let body = json!({ "policies": [name] }).to_string();
            let got = site.ask("PUT", "auth/token/create", &almighty, &body).await;
            assert_eq!(got.status, 400, "{name}: {}", got.text);
            let got = site.ask("PUT", "auth/token/create-orphan", &almighty, &body).await;
            assert_eq!(got.status, 400, "{name}: {}", got.text);
            for (path, role) in [
                ("auth/approle/role/r", json!({ "token_policies": [name] })),
                ("auth/approle/role/r", json!({ "policies": format!("a,{name}") })),
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
        let list = r#"path "secret/metadata/*" { capabilities = ["list"] } path "secret/metadata" { capabilities = ["list"] }"#;
        let read = r#"path "secret/metadata/*" { capabilities = ["read"] } path "secret/metadata" { capabilities = ["read"] }"#;
        let tokens =
            [site.root.clone(), site.token_with("lists", list).await, site.token_with("reads", read).await, String::new()];
        for path in ["secret/metadata", "secret/metadata/", "secret/metadata/open", "secret/metadata/open/", "secret/metadata/none/"]
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
        let listed = site.ask("LIST", "secret/metadata", &site.root, "").await.json();
        assert_eq!(listed["data"]["keys"], json!(["closed/", "open/"]));
    });
}

const METHODS: [&str; 6] = ["GET", "LIST", "PUT", "POST", "DELETE", "PATCH"];

/// One of every route, and some that are none. `{m}` is the mount.
const PATHS: [&str; 43] = [
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
    "auth/none/role/x",
];

/// A body that every route accepts, so that nothing is refused before it is asked whether it may.
const BODY: &str = r#"{"policy":"path \"none\" {}","type":"kv","token":"t","accessor":"a","paths":["x"],"path":"x",
    "data":{},"versions":[1],"role_id":"r","secret_id":"s"}"#;

/// The same with members of the wrong type.
const WRONG_BODY: &str =
    r#"{"policy":[],"type":{},"data":1,"versions":"x","options":7,"ttl":"x","max_versions":"x"}"#;

#[test]
fn strangers_learn_nothing_from_the_answers() {
    shared().run(async |site| {
        site.root_put("sys/auth/approle", &json!({ "type": "approle" })).await;
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
        let mut told = Vec::new();
        for (token, body) in [("", BODY), ("hvs.AAAAAAAAAAAAAAAAAAAAAAAA", WRONG_BODY)] {
            for path in PATHS {
                for method in METHODS {
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
        let more = [
            "sys/health",
            "sys/seal-status",
            "sys/init",
            "sys/unseal",
            "sys/leader",
            "sys/wrapping/lookup",
            "sys/wrapping/unwrap",
            "auth/approle/login",
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
            let path = path.replace("{mount}", "approle").replace("{path}", "checkpoint");
            let got = site.send(site.request(method, &path[1..]).body(BODY)).await;
            assert_ne!(got.status, 403, "{method} {path} is listed but closed");
        }
    });
}

/// 404 makes the External Secrets Operator delete what it holds, so it must be the truth and said to few.
#[test]
fn absence_is_told_only_to_those_who_may_look() {
    shared().run(async |site| {
        let team = site.token_with("absence", TEAM).await;
        let absent = site.get("secret/data/open/none", &team).await.expect(404);
        assert_eq!(absent.json(), json!({ "errors": [] }));
        let forbidden = site.get("secret/data/closed/b", &team).await.expect(403);
        for path in
            ["secret/data/closed/none", "none/data/x", "secret/metadata/open/none", "sys/policies/acl/none"]
        {
            assert_eq!(essence(&site.get(path, &team).await), essence(&forbidden), "{path}");
        }
        assert_eq!(
            site.root_get("secret/data/closed/none").await.expect(404).json(),
            json!({ "errors": [] })
        );
        site.root_get("none/data/x").await.expect(404);
        // A deleted version is 404 with its metadata: clients tell it from an absent one.
        site.write("open/deleted", "x").await;
        site.ask("DELETE", "secret/data/open/deleted", &site.root, "").await.expect(204);
        let deleted = site.get("secret/data/open/deleted", &team).await.expect(404).json();
        assert_eq!(deleted["data"]["data"], Value::Null);
        assert_eq!(deleted["data"]["metadata"]["version"], 1);
        site.ask("DELETE", "secret/metadata/open/deleted", &site.root, "").await.expect(204);
    });
}

/// What no error may repeat: the External Secrets Operator copies error bodies into events that others read.
const CANARY: &str = "cAnArY7hunter2";

#[test]
fn errors_do_not_repeat_what_the_caller_sent() {
    shared().run(async |site| {
        for kind in ["approle", "jwt", "kubernetes"] {
            site.root_put(&format!("sys/auth/{kind}"), &json!({ "type": kind })).await;
        }
        let c = CANARY;
        let mut errors = 0;
        let mut check = |what: &str, got: &Got| {
            let shown = format!("{}\n{}", got.headers, got.text).to_ascii_lowercase();
            assert!(!shown.contains(&c.to_ascii_lowercase()), "{what}: {shown}");
            errors += usize::from(got.status >= 400);
        };
        let policies = [
            format!("path \"{c}\" {{ capabilities = [\"{c}\"] }}"),
            format!("{c} {{"),
            format!("path \"x\" {{ {c} = 1 }}"),
            format!("path \"x\" {{ capabilities = [\"read\" {c}"),
            format!("path \"x\" {{ min_wrapping_ttl = \"{c}\" }}"),
            format!("{{\"path\":{{\"x\":{{\"{c}\":1}}}}}}"),
        ];
        for policy in policies {
            check(&policy, &site.root_put("sys/policies/acl/c", &json!({ "policy": policy })).await);
        }
        for (path, body) in [
            ("secret/data/x", json!({ c: 1 })),
            ("secret/data/x", json!({ "data": c })),
            ("secret/data/x", json!({ "data": {}, "options": { "cas": c } })),
            ("secret/data/x", json!({ "data": {}, "options": c })),
            ("secret/metadata/x", json!({ "max_versions": c })),
            ("secret/metadata/x", json!({ "custom_metadata": { c: [c] } })),
            ("secret/metadata/x", json!({ "delete_version_after": c })),
            ("secret/destroy/x", json!({ "versions": [c] })),
            ("secret/config", json!({ "cas_required": c })),
            ("sys/mounts/c", json!({ "type": c })),
            ("sys/mounts/c", json!({ "type": "kv", "options": { "version": c } })),
            ("sys/auth/c", json!({ "type": c })),
            ("sys/unseal", json!({ "key": c })),
            ("sys/unseal", json!({ "key": format!("skf1{}", c.repeat(6)).chars().take(81).collect::<String>() })),
            ("sys/init", json!({ "secret_shares": c })),
            ("sys/init", json!({ "recovery": c, "secret_shares": 3, "secret_threshold": 2, "custodians": [c] })),
            ("sys/capabilities", json!({ "token": c, "paths": [c] })),
            ("auth/token/create", json!({ "ttl": c })),
            ("auth/token/create", json!({ "type": c })),
            ("auth/token/create", json!({ "policies": [format!("{c}\u{7}")] })),
            ("auth/token/create", json!({ "id": c })),
            ("auth/token/create/none", json!({ "display_name": c })),
            ("auth/token/lookup", json!({ "token": c })),
            ("auth/token/lookup-accessor", json!({ "accessor": c })),
            ("auth/token/revoke", json!({ "token": c })),
            ("auth/token/renew", json!({ "token": c, "increment": c })),
            ("auth/approle/role/x", json!({ "token_ttl": c })),
            ("auth/approle/role/x", json!({ "token_type": c })),
            ("auth/approle/role/x", json!({ "secret_id_bound_cidrs": [c] })),
            ("auth/approle/login", json!({ "role_id": c, "secret_id": c })),
            ("auth/jwt/config", json!({ "jwt_validation_pubkeys": [c] })),
            ("auth/jwt/config", json!({ "jwks_url": c })),
            ("auth/jwt/config", json!({ "oidc_discovery_url": format!("http://{c}.invalid") })),
            ("auth/jwt/role/x", json!({ "role_type": c, "user_claim": c })),
            ("auth/jwt/login", json!({ "role": c, "jwt": c })),
            ("auth/jwt/login", json!({ "role": c, "jwt": format!("{c}.{c}.{c}") })),
            ("auth/kubernetes/config", json!({ "pem_keys": [c] })),
            ("auth/kubernetes/role/x", json!({ "bound_service_account_names": c })),
            ("auth/kubernetes/login", json!({ "role": c, "jwt": c })),
        ] {
            check(&format!("{path} {body}"), &site.root_put(path, &body).await);
        }
        for (method, path) in [
            ("GET", format!("{c}/x")),
            ("GET", format!("secret/data/{c}")),
            ("GET", format!("secret/{c}/x")),
            ("GET", format!("secret/data/{c}%2fx")),
            ("GET", format!("secret/data/{c}%0a")),
            ("GET", format!("secret/data/x?version={c}")),
            ("GET", format!("secret/metadata?list={c}")),
            ("PATCH", format!("secret/data/{c}")),
            ("GET", format!("sys/policies/acl/{c}")),
            ("GET", format!("sys/mounts/{c}")),
            ("GET", format!("sys/internal/ui/mounts/{c}")),
            ("GET", format!("sys/health?uninitcode={c}")),
            ("GET", format!("sys/{c}")),
            ("PUT", format!("auth/{c}/login")),
            ("GET", format!("auth/approle/role/{c}")),
            ("GET", format!("auth/jwt/role/{c}")),
        ] {
            for token in [site.root.as_str(), c] {
                check(&path, &site.ask(method, &path, token, &format!("{{\"{c}\":")).await);
            }
        }
        for header in ["X-Vault-Token", "X-Vault-Namespace", "X-Vault-Wrap-TTL", "Content-Type", "Authorization", "Expect"] {
            for text in [c.to_owned(), format!("Bearer {c}"), format!("hvb.{c}"), format!("hvs.{c}")] {
                let request = site.request("PATCH", "v1/secret/data/open/a").header(header, text).body(c);
                check(header, &site.send(request).await);
            }
        }
        for form in [
            c.to_owned(),
            format!("grant_type={c}"),
            format!("grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion={c}&audience={c}"),
            format!("grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion={c}.{c}.{c}&audience={c}&scope={c}"),
            format!("grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={c}&subject_token_type={c}"),
            format!("{c}=1&{c}=2"),
        ] {
            let request = site.request("POST", "oauth2/token").body(form.clone());
            check(&form, &site.send(request.header("Content-Type", "application/x-www-form-urlencoded")).await);
            check(&form, &site.send(site.request("POST", "oauth2/token").header("Content-Type", c).body(form.clone())).await);
        }
        check("another address", &site.send(site.request("GET", c)).await);
        assert!(errors > 90, "only {errors} of these were errors; the test has lost its subject");
    });
}
