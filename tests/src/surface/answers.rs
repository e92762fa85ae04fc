//! What answers do not say: that something is there, or what the caller sent.

use serde_json::{Value, json};

use super::{TEAM, essence, shared};
use crate::site::Got;

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
        site.root_get("none/data/x").await.expect(400);
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
            ("auth/jwt/config", json!({ "jwks_url": format!("https://127.0.0.1:1/{c}") })),
            ("auth/jwt/config", json!({ "jwks_url": format!("https://127.0.0.1:1/{c}"), "jwks_ca_pem": c })),
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
