//! Wrapped answers over HTTP: told once, to whoever has the token, as OpenBao does it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::site::{CALM, Got, MOUNT, Place, Shared, Site};

static PLACE: Place = Place::new(std::sync::Weak::new());

const GONE: &str = "wrapping token is not valid or does not exist";

fn shared() -> std::sync::Arc<Shared> {
    Shared::of(&PLACE, async {
        let site = Site::open(CALM).await;
        site.write("wrapped", "zanzibar").await;
        site
    })
}

async fn wrapped(site: &Site, method: &str, path: &str, token: &str, ttl: &str, body: &Value) -> Got {
    let request = site.request(method, &format!("v1/{path}")).header("X-Vault-Wrap-TTL", ttl);
    site.send(request.header("X-Vault-Token", token).body(body.to_string())).await
}

/// Wraps what was written in [`shared`].
async fn wrap(site: &Site, ttl: &str) -> Value {
    let got = wrapped(site, "GET", "secret/data/wrapped", &site.root, ttl, &json!({})).await;
    got.expect(200).json()["wrap_info"].take()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn ask(site: &Site, what: &str, token: &str) -> Got {
    site.ask("PUT", &format!("sys/wrapping/{what}"), token, "{}").await
}

async fn unwrap(site: &Site, token: &str) -> Got {
    ask(site, "unwrap", token).await
}

fn expect_gone(got: Got) {
    assert_eq!(got.expect(400).json(), json!({ "errors": [GONE] }));
}

/// The classic use: whoever delivers the secret id does not see it, and whoever gets it knows that nobody
/// else did.
#[test]
fn a_secret_id_is_delivered_wrapped() {
    shared().run(async |site| {
        site.root_put("sys/auth/approle", &json!({ "type": "approle" })).await.expect(204);
        site.root_put("auth/approle/role/ci", &json!({ "token_type": "service" })).await.expect(204);
        let role = site.root_get("auth/approle/role/ci/role-id").await.expect(200).json();
        let path = "auth/approle/role/ci/secret-id";
        let told = wrapped(site, "PUT", path, &site.root, "5m", &json!({})).await.expect(200);
        assert!(!told.text.contains("secret_id"), "{}", told.text);
        let info = told.json()["wrap_info"].take();
        assert_eq!((&info["creation_path"], &info["ttl"]), (&json!(path), &json!(300)));
        let answer = unwrap(site, info["token"].as_str().unwrap()).await.expect(200).json();
        let login = json!({ "role_id": role["data"]["role_id"], "secret_id": answer["data"]["secret_id"] });
        expect_gone(unwrap(site, info["token"].as_str().unwrap()).await);

        // A login is an answer, too; its token is named by its accessor alone.
        let told = wrapped(site, "PUT", "auth/approle/login", "", "60", &login).await.expect(200).json();
        assert_eq!(told["auth"], Value::Null);
        let answer = unwrap(site, told["wrap_info"]["token"].as_str().unwrap()).await.expect(200).json();
        assert_eq!(told["wrap_info"]["wrapped_accessor"], answer["auth"]["accessor"]);
        site.get("auth/token/lookup-self", answer["auth"]["client_token"].as_str().unwrap())
            .await
            .expect(200);
    });
}

#[test]
fn a_wrapping_token_opens_what_it_wraps_and_nothing_else() {
    shared().run(async |site| {
        let info = wrap(site, "60").await;
        let facts = json!({ "accessor": info["accessor"] });
        let looked_up = site.root_put("auth/token/lookup-accessor", &facts).await.expect(200).json();
        for (name, value) in [
            ("policies", json!(["response-wrapping"])),
            ("num_uses", json!(1)),
            ("orphan", json!(true)),
            ("renewable", json!(false)),
            ("creation_ttl", json!(60)),
        ] {
            assert_eq!(looked_up["data"][name], value, "{name}");
        }
        let token = text(&info["token"]);
        ask(site, "rewrap", &token).await.expect(403); // by whoever may, not by itself
        unwrap(site, &token).await.expect(200);
        let token = text(&wrap(site, "60").await["token"]);
        site.get("secret/data/wrapped", &token).await.expect(403);
        expect_gone(unwrap(site, &token).await); // that was its one use

        let revoked = wrap(site, "60").await;
        let accessor = json!({ "accessor": revoked["accessor"] });
        site.root_put("auth/token/revoke-accessor", &accessor).await.expect(204);
        expect_gone(unwrap(site, revoked["token"].as_str().unwrap()).await);
        for stranger in ["hvs.AAAAAAAAAAAAAAAAAAAAAAAA", "hvb.x", "x", &site.root] {
            expect_gone(unwrap(site, stranger).await);
            expect_gone(ask(site, "lookup", stranger).await);
        }
    });
}

#[test]
fn the_token_comes_in_the_body_or_as_the_requests_own() {
    shared().run(async |site| {
        let body = |token: &Value| json!({ "token": token }).to_string();
        let put = async |what: &str, own: &str, token: &Value| {
            site.ask("PUT", &format!("sys/wrapping/{what}"), own, &body(token)).await
        };
        let token = wrap(site, "60").await["token"].take();
        for own in ["", "hvs.AAAAAAAAAAAAAAAAAAAAAAAA", &site.root, token.as_str().unwrap()] {
            put("lookup", own, &token).await.expect(200);
        }
        put("unwrap", "hvs.AAAAAAAAAAAAAAAAAAAAAAAA", &token).await.expect(403);
        let none = site.token_with("wrapping-none", "path \"x\" {}").await;
        put("unwrap", &none, &token).await.expect(403);
        put("unwrap", token.as_str().unwrap(), &token).await.expect(200);
        let token = wrap(site, "60").await["token"].take();
        put("unwrap", "", &token).await.expect(200);
        assert_eq!(ask(site, "unwrap", "").await.status, 400);
        expect_gone(put("unwrap", "", &json!("hvs.AAAAAAAAAAAAAAAAAAAAAAAA")).await);
    });
}

#[test]
fn of_two_who_unwrap_at_once_one_wins() {
    shared().run(async |site| {
        for _ in 0..4 {
            let token = text(&wrap(site, "60").await["token"]);
            let (a, b) = tokio::join!(unwrap(site, &token), unwrap(site, &token));
            let (won, lost) = if a.status == 200 { (a, b) } else { (b, a) };
            assert_eq!(won.expect(200).json()["data"]["data"]["value"], "zanzibar");
            expect_gone(lost);
        }
    });
}

#[test]
fn policies_bound_the_time_for_which_an_answer_is_wrapped() {
    shared().run(async |site| {
        let policy = r#"path "secret/data/wrapped" {
            capabilities = ["read"] min_wrapping_ttl = "1m" max_wrapping_ttl = "1h"
        }"#;
        let token = site.token_with("wrapping-bounds", policy).await;
        site.get("secret/data/wrapped", &token).await.expect(403);
        for (ttl, status) in [("59", 403), ("60", 200), ("1h", 200), ("3601", 403)] {
            let got = wrapped(site, "GET", "secret/data/wrapped", &token, ttl, &json!({})).await;
            assert_eq!(got.status, status, "{ttl}: {}", got.text);
        }
    });
}

#[test]
fn what_cannot_be_wrapped_is_refused_or_left_as_it_is() {
    shared().run(async |site| {
        let root = &site.root;
        for (method, path) in
            [("GET", "sys/health"), ("GET", "sys/seal-status"), ("GET", "sys/leader"), ("PUT", "sys/seal")]
        {
            let got = wrapped(site, method, path, root, "60", &json!({})).await.expect(400);
            assert!(got.text.contains("cannot be wrapped"), "{path}: {}", got.text);
        }
        let token = text(&wrap(site, "60").await["token"]);
        for what in ["lookup", "unwrap", "rewrap"] {
            let path = format!("sys/wrapping/{what}");
            wrapped(site, "PUT", &path, root, "60", &json!({ "token": token })).await.expect(400);
            let denied = if what == "rewrap" { 403 } else { 400 }; // which it may not at all
            wrapped(site, "PUT", &path, &token, "60", &json!({})).await.expect(denied);
        }
        unwrap(site, &token).await.expect(200);
        // Nothing to keep: no body, or an error.
        let policy = json!({ "policy": "path \"x\" {}" });
        wrapped(site, "PUT", "sys/policies/acl/wrapping-x", root, "60", &policy).await.expect(204);
        let absent = wrapped(site, "GET", "secret/data/none", root, "60", &json!({})).await.expect(404);
        assert_eq!(absent.json(), json!({ "errors": [] }));
        site.write("deleted", "value").await;
        site.ask("DELETE", "secret/data/deleted", root, "").await.expect(204);
        site.root_get("secret/data/deleted").await.expect(404).json()["data"]["metadata"].take();
        let deleted = wrapped(site, "GET", "secret/data/deleted", root, "60", &json!({})).await.expect(404);
        assert_eq!(deleted.json(), json!({ "errors": [] }), "facts about it do not leave in the open");
        wrapped(site, "GET", "secret/data/wrapped", "", "60", &json!({})).await.expect(403);
        wrapped(site, "GET", "secret/data/wrapped", root, "33d", &json!({})).await.expect(400);
    });
}

#[test]
fn the_policy_of_wrapping_tokens_belongs_to_nobody() {
    shared().run(async |site| {
        let path = "sys/policies/acl/response-wrapping";
        let policy = json!({ "policy": "path \"*\" { capabilities = [\"read\"] }" });
        let update = site.root_put(path, &policy).await.expect(400).json();
        assert_eq!(update, json!({ "errors": ["cannot update \"response-wrapping\" policy"] }));
        let delete = site.ask("DELETE", path, &site.root, "").await.expect(400).json();
        assert_eq!(delete, json!({ "errors": ["cannot delete \"response-wrapping\" policy"] }));
        assert!(site.root_get(path).await.expect(200).text.contains("sys/wrapping/unwrap"));
        let wish = json!({ "policies": ["response-wrapping"] });
        site.root_put("auth/token/create", &wish).await.expect(400);
    });
}

#[test]
fn the_log_says_what_was_wrapped_and_by_whom_it_was_opened() {
    shared().run(async |site| {
        let info = wrap(site, "60").await;
        let token = text(&info["token"]);
        ask(site, "lookup", &token).await.expect(200);
        unwrap(site, &token).await.expect(200);
        expect_gone(unwrap(site, &token).await);
        let log = site.root_get("sys/symbolon/audit?limit=400").await.expect(200);
        assert!(!log.text.contains(&token));
        let object = format!(
            "answer of secret/data/wrapped wrapped under accessor {}",
            info["accessor"].as_str().unwrap()
        );
        let entries = log.json()["data"]["events"].take();
        let named: Vec<_> =
            entries.as_array().unwrap().iter().filter(|entry| entry["target"]["object"] == object).collect();
        let seen: Vec<_> =
            named.iter().map(|entry| (text(&entry["target"]["path"]), text(&entry["outcome"]))).collect();
        let expected = ["sys/wrapping/unwrap", "sys/wrapping/lookup", "secret/data/wrapped"];
        assert_eq!(seen, expected.map(|path| (path.to_owned(), "allowed".to_owned())), "newest first");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrapped_answers_outlive_a_seal_and_a_roll_and_end_by_themselves() {
    let mut site = Site::open(CALM).await;
    site.write("wrapped", "zanzibar").await;
    let brief = text(&wrap(&site, "1").await["token"]);
    let (sealed, rolled) = (text(&wrap(&site, "5m").await["token"]), text(&wrap(&site, "5m").await["token"]));
    site.root_put("sys/rotate", &json!({})).await.expect(204);
    tokio::time::sleep(Duration::from_secs(2)).await;
    expect_gone(unwrap(&site, &brief).await);
    assert_eq!(unwrap(&site, &rolled).await.expect(200).json()["data"]["data"]["value"], "zanzibar");
    site.restart(async |_| {}).await;
    assert_eq!(unwrap(&site, &sealed).await.status, 503);
    site.unseal().await;
    assert_eq!(unwrap(&site, &sealed).await.expect(200).json()["data"]["data"]["value"], "zanzibar");
    site.root_get(&format!("{MOUNT}/data/wrapped")).await.expect(200);
}
