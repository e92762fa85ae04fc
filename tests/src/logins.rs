//! Logins with somebody else's token over a whole broker: what real clients send, and what they are told.

use serde_json::{Value, json};

use crate::site::{CALM, Got, Place, Shared, Site};

static PLACE: Place = Place::new(std::sync::Weak::new());

fn shared() -> std::sync::Arc<Shared> {
    Shared::of(&PLACE, async {
        let site = Site::open(CALM).await;
        site.prepare_machines().await;
        site.root_put("sys/auth/jwt", &json!({ "type": "jwt" })).await.expect(204);
        site.root_put("sys/auth/approle", &json!({ "type": "approle" })).await.expect(204);
        site
    })
}

/// A token of the cluster's account `apps/reader`.
fn token(site: &Site, audience: &str) -> String {
    let now = jsonwebtoken::get_current_timestamp();
    site.cluster.token("apps", "reader", audience, now).unwrap().to_string()
}

async fn log_in(site: &Site, mount: &str, body: Value) -> Got {
    site.ask("PUT", &format!("auth/{mount}/login"), "", &body.to_string()).await
}

#[track_caller]
fn only_text(got: &Got, field: &str) -> String {
    let texts = got.json()[field].clone();
    assert_eq!(texts.as_array().map(Vec::len), Some(1), "{}", got.text);
    texts[0].as_str().unwrap().to_owned()
}

/// What a file holds ends in a line feed.
#[test]
fn evidence_may_come_with_white_space_around_it() {
    shared().run(async |site| {
        let config = json!({ "jwt_validation_pubkeys": [site.cluster.public_pem()] });
        site.root_put("auth/jwt/config", &config).await.expect(204);
        let role = json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["symbolon"] });
        site.root_put("auth/jwt/role/file", &role).await.expect(204);
        let jwt = token(site, "symbolon");
        for spaced in [format!("{jwt}\n"), format!(" {jwt}\r\n")] {
            log_in(site, "jwt", json!({ "role": "file", "jwt": spaced })).await.expect(200);
            log_in(site, "kubernetes", json!({ "role": "reader", "jwt": spaced })).await.expect(200);
        }
        site.root_put("auth/approle/role/file", &json!({ "token_ttl": "1m" })).await.expect(204);
        let role_id = site.root_get("auth/approle/role/file/role-id").await.expect(200).json();
        let secret_id =
            site.root_put("auth/approle/role/file/secret-id", &json!({})).await.expect(200).json();
        let (role_id, secret_id) = (&role_id["data"]["role_id"], &secret_id["data"]["secret_id"]);
        let line = |value: &Value| format!("{}\n", value.as_str().unwrap());
        let body = json!({ "role_id": line(role_id), "secret_id": line(secret_id) });
        log_in(site, "approle", body).await.expect(200);
        let found = json!({ "secret_id": line(secret_id) });
        site.root_put("auth/approle/role/file/secret-id/lookup", &found).await.expect(200);
    });
}

/// Whoever made the role, or chose what the client asks for, reads what to change.
#[test]
fn a_refused_account_reads_which_setting_is_the_reason() {
    shared().run(async |site| {
        let account = json!({
            "bound_service_account_names": ["reader"], "bound_service_account_namespaces": ["apps"],
        });
        let written = site.root_put("auth/kubernetes/role/bare", &account).await.expect(200);
        assert!(only_text(&written, "warnings").contains("audience="), "{}", written.text);
        let jwt = token(site, "https://kubernetes.default.svc");
        let refused = log_in(site, "kubernetes", json!({ "role": "bare", "jwt": jwt })).await.expect(403);
        let text = only_text(&refused, "errors");
        assert!(text.starts_with("permission denied: ") && text.contains("accept_api_audience"), "{text}");
        let refused = log_in(site, "kubernetes", json!({ "role": "reader", "jwt": jwt })).await.expect(403);
        assert!(only_text(&refused, "errors").contains("serviceAccountRef.audiences"), "{}", refused.text);
        let other = site.cluster.token("other", "reader", "symbolon", jsonwebtoken::get_current_timestamp());
        let body = json!({ "role": "reader", "jwt": other.unwrap().as_str() });
        let refused = log_in(site, "kubernetes", body).await.expect(403);
        assert_eq!(only_text(&refused, "errors"), "permission denied", "nothing about who is bound");

        let everybody = json!({
            "bound_service_account_names": "*", "bound_service_account_namespaces": "*", "audience": "symbolon",
        });
        let written = site.root_put("auth/kubernetes/role/all", &everybody).await.expect(200);
        assert!(only_text(&written, "warnings").contains("every service account"), "{}", written.text);
        log_in(site, "kubernetes", json!({ "role": "all", "jwt": token(site, "symbolon") })).await.expect(200);
    });
}

/// As recorded of OpenBao.
#[test]
fn a_mount_without_configuration_has_none() {
    shared().run(async |site| {
        for kind in ["jwt", "kubernetes"] {
            site.root_put(&format!("sys/auth/fresh-{kind}"), &json!({ "type": kind })).await.expect(204);
            let path = format!("auth/fresh-{kind}/config");
            assert_eq!(site.root_get(&path).await.expect(404).json(), json!({ "errors": [] }));
            let body = json!({ "role": "r", "jwt": "x" });
            let refused = log_in(site, &format!("fresh-{kind}"), body).await.expect(400);
            assert!(only_text(&refused, "errors").starts_with("could not load configuration"));
            let unreachable = json!({ "kubernetes_host": "https://127.0.0.1:9" });
            let unreachable =
                if kind == "jwt" { json!({ "jwks_url": "https://127.0.0.1:9/keys" }) } else { unreachable };
            let refused = site.root_put(&path, &unreachable).await.expect(400);
            assert!(only_text(&refused, "errors").starts_with("nothing was stored"), "{}", refused.text);
            site.root_get(&path).await.expect(404);
            let mut later = unreachable;
            later["skip_jwks_validation"] = json!(true);
            let stored = site.root_put(&path, &later).await.expect(200);
            assert!(only_text(&stored, "warnings").starts_with("stored without proof"), "{}", stored.text);
            let read = site.root_get(&path).await.expect(200);
            assert_eq!(read.json()["data"]["status"], "invalid");
            assert_eq!(read.json()["warnings"].as_array().map(Vec::len), Some(1));
        }
    });
}

/// Each setting of a role has a path of its own, and policies judge that.
#[test]
fn single_settings_of_a_role_are_judged_by_their_path() {
    shared().run(async |site| {
        let role = json!({ "token_ttl": "1m", "token_policies": ["reader"], "secret_id_num_uses": 7 });
        site.root_put("auth/approle/role/parts", &role).await.expect(204);
        let policy = |capability: &str| {
            format!(r#"path "auth/approle/role/parts/token-ttl" {{ capabilities = ["{capability}"] }}"#)
        };
        let updates = site.token_with("updates-ttl", &policy("update")).await;
        let deletes = site.token_with("deletes-ttl", &policy("delete")).await;
        let put = |path: &'static str, body: &'static str, token: &str| {
            let token = token.to_owned();
            async move { site.ask("PUT", &format!("auth/approle/role/parts{path}"), &token, body).await }
        };
        put("/token-ttl", r#"{"token_ttl":"5m"}"#, &updates).await.expect(204);
        put("/token-ttl", r#"{"token_ttl":"9m"}"#, &deletes).await.expect(403);
        put("/policies", r#"{"token_policies":"root"}"#, &updates).await.expect(403);
        put("", r#"{"token_ttl":"9m"}"#, &updates).await.expect(403);
        // What another path is for is not changed by this one.
        let also = r#"{"token_ttl":"6m","token_policies":["admin"],"secret_id_num_uses":0}"#;
        let told = put("/token-ttl", also, &updates).await.expect(200);
        assert!(
            told.text.contains("token_policies") && told.text.contains("secret_id_num_uses"),
            "{}",
            told.text
        );
        put("/token-ttl", "{}", &updates).await.expect(400);
        let facts =
            async || site.root_get("auth/approle/role/parts").await.expect(200).json()["data"].clone();
        let now = facts().await;
        assert_eq!((&now["token_ttl"], &now["token_policies"]), (&json!(360), &json!(["reader"])));
        assert_eq!(now["secret_id_num_uses"], 7);
        let path = "auth/approle/role/parts/token-ttl";
        site.ask("DELETE", path, &updates, "").await.expect(403);
        site.ask("DELETE", path, &deletes, "").await.expect(204);
        assert_eq!(facts().await["token_ttl"], 0);
        site.root_get("auth/approle/role/none/token-ttl").await.expect(404);
    });
}
