//! Logins with a name and a password: what OpenBao answers, who is kept out, and what an operator may do to
//! users.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::site::{CALM, Got, Place, Shared, Site};

static PLACE: Place = Place::new(std::sync::Weak::new());

/// One for each test: changes of the mount table at once would get into each other's way.
const MOUNTS: [&str; 5] = ["people", "locks", "floods", "changes", "folds"];

const PASSWORD: &str = "correct horse battery staple";
const REFUSED: &str = "invalid username or password";
/// Failures from one source that lock it.
const FAILURES_MAX: usize = 5;

fn shared() -> std::sync::Arc<Shared> {
    Shared::of(&PLACE, async {
        let site = Site::open(CALM).await;
        for mount in MOUNTS {
            enable(&site, mount).await;
        }
        site
    })
}

async fn enable(site: &Site, mount: &str) {
    site.root_put(&format!("sys/auth/{mount}"), &json!({ "type": "userpass" })).await.expect(204);
}

async fn create(site: &Site, mount: &str, user: &str) {
    let body = json!({ "password": PASSWORD, "token_policies": ["reader"], "token_ttl": "1h" });
    site.root_put(&format!("auth/{mount}/users/{user}"), &body).await.expect(204);
}

async fn log_in(site: &Site, path: &str, password: &str) -> Got {
    site.ask("POST", path, "", &json!({ "password": password }).to_string()).await
}

/// The same from another address of this machine.
async fn log_in_from(site: &Site, source: &str, path: &str, password: &str) -> Got {
    site.send(request_from(site, source, path, password)).await
}

fn request_from(site: &Site, source: &str, path: &str, password: &str) -> reqwest::RequestBuilder {
    let request = site.request_from(source.parse().unwrap(), "POST", &format!("v1/{path}"));
    request.body(json!({ "password": password }).to_string())
}

#[track_caller]
fn refused(got: Got) {
    assert_eq!(got.expect(400).json(), json!({ "errors": [REFUSED] }));
}

/// The newest entries about a login.
async fn logged(site: &Site, path: &str) -> Vec<Value> {
    let got = site.root_get(&format!("sys/symbolon/audit?action=login&path={path}&limit=100")).await;
    got.expect(200).json()["data"]["events"].as_array().unwrap().clone()
}

/// The counts of what a source was refused after its first request, once they are written.
async fn counted(site: &Site, path: &str, source: &str) -> Value {
    loop {
        let entries = logged(site, path).await;
        let counted = |entry: &&Value| entry["client"] == source && entry["counts"].is_object();
        if let Some(entry) = entries.iter().find(counted) {
            return entry["counts"].clone();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[test]
fn a_login_gives_a_service_token_and_an_entry() {
    shared().run(async |site| {
        create(site, "people", "Ana").await;
        let auth =
            log_in(site, "auth/people/login/%20ANA", PASSWORD).await.expect(200).json()["auth"].clone();
        assert_eq!((&auth["token_type"], &auth["metadata"]["username"]), (&json!("service"), &json!("ana")));
        let token = auth["client_token"].as_str().unwrap();
        let own = site.get("auth/token/lookup-self", token).await.expect(200).json()["data"].clone();
        assert_eq!(own["path"], "auth/people/login/ana");
        // each from a source of its own: of strangers, only the first request has an entry to itself
        refused(log_in_from(site, "127.0.0.21", "auth/people/login/ana", "wrong").await);
        refused(log_in_from(site, "127.0.0.22", "auth/people/login/nobody", PASSWORD).await);
        refused(log_in_from(site, "127.0.0.23", "auth/people/login/no%20name", PASSWORD).await);
        let seen: Vec<_> = logged(site, "auth/people/login")
            .await
            .iter()
            .map(|entry| {
                [&entry["outcome"], &entry["actor"]["subject"], &entry["reason"]]
                    .map(|member| member.as_str().unwrap_or_default().to_owned())
            })
            .collect();
        let wanted = [
            ["denied", "", "the user is unknown"],
            ["denied", "nobody", "the user is unknown"],
            ["denied", "ana", "the password is wrong"],
            ["allowed", "ana", ""],
        ];
        assert_eq!(seen, wanted);
        let user = site.root_get("auth/people/users/ANA").await.expect(200);
        for word in ["hash", "salt", "memory", PASSWORD] {
            assert!(!user.text.contains(word), "{}", user.text);
        }
    });
}

#[test]
fn five_failures_lock_one_name_for_one_source() {
    shared().run(async |site| {
        create(site, "locks", "ana").await;
        let path = "auth/locks/login/ana";
        for _ in 0..FAILURES_MAX {
            refused(log_in_from(site, "127.0.0.2", path, "wrong").await);
        }
        refused(log_in_from(site, "127.0.0.2", path, PASSWORD).await);
        let counted = counted(site, path, "127.0.0.2").await;
        let kinds: Vec<_> = counted["kinds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|kind| (kind["reason"].as_str().unwrap().to_owned(), kind["requests"].as_u64().unwrap()))
            .collect();
        let wrong = ("the password is wrong".to_owned(), FAILURES_MAX as u64 - 1);
        let locked = "this source failed too often as this user and must wait".to_owned();
        assert_eq!(kinds, [wrong, (locked, 1)]);
        log_in_from(site, "127.0.0.3", path, PASSWORD).await.expect(200);
        refused(log_in_from(site, "127.0.0.2", path, PASSWORD).await);
        // A new password is an operator's word that the user may try again.
        let renewed = json!({ "password": "another one" });
        site.root_put("auth/locks/users/ana/password", &renewed).await.expect(204);
        log_in_from(site, "127.0.0.2", path, "another one").await.expect(200);
        refused(log_in_from(site, "127.0.0.2", path, PASSWORD).await);
    });
}

/// Every guess of the flood names somebody else, so that each would cost a hash and none meets a lock.
#[test]
fn a_flood_from_one_source_keeps_nobody_else_out() {
    shared().run(async |site| {
        create(site, "floods", "ana").await;
        let flood = JoinSet::from_iter((0..60).map(|number| {
            let path = format!("auth/floods/login/nobody{number}");
            let request = request_from(site, "127.0.0.4", &path, "wrong");
            async move { request.send().await.unwrap().status().as_u16() }
        }));
        for _ in 0..3 {
            log_in_from(site, "127.0.0.5", "auth/floods/login/ana", PASSWORD).await.expect(200);
        }
        let answers = flood.join_all().await;
        println!(
            "{} of 60 guesses were turned away",
            answers.iter().filter(|&&status| status == 429).count()
        );
        assert!(answers.iter().all(|status| matches!(status, 400 | 429)), "{answers:?}");
    });
}

#[test]
fn users_change_field_by_field_and_go() {
    shared().run(async |site| {
        create(site, "changes", "ana").await;
        let user = "auth/changes/users/ana";
        let login = log_in(site, "auth/changes/login/ana", PASSWORD).await.expect(200).json();
        let token = login["auth"]["client_token"].as_str().unwrap();
        site.root_put(user, &json!({ "token_ttl": "2h" })).await.expect(204);
        site.root_put(&format!("{user}/policies"), &json!({ "policies": ["writer"] })).await.expect(204);
        let facts = site.root_get(user).await.expect(200).json()["data"].clone();
        assert_eq!((&facts["token_ttl"], &facts["token_policies"]), (&json!(7200), &json!(["writer"])));
        log_in(site, "auth/changes/login/ana", PASSWORD).await.expect(200);
        let none = "auth/changes/users/none";
        for (path, body, text) in [
            (none, json!({ "token_ttl": "1h" }), "missing password"),
            (
                none,
                json!({ "password_hash": "$2a$10$x" }),
                "password_hash is not supported; send the password",
            ),
            ("auth/changes/users/none/password", json!({ "password": "x" }), "username does not exist"),
            ("auth/changes/users/none/policies", json!({ "policies": [] }), "username does not exist"),
            ("auth/changes/users/ana/password", json!({}), "missing password"),
        ] {
            let got = site.root_put(path, &body).await.expect(400);
            assert_eq!(got.json(), json!({ "errors": [text] }), "{path}");
        }
        let long = json!({ "password": "x".repeat(1025) });
        assert!(site.root_put(none, &long).await.expect(400).text.contains("1 to 1024 bytes"));
        site.root_get(none).await.expect(404);
        site.ask("DELETE", user, &site.root, "").await.expect(204);
        site.ask("DELETE", user, &site.root, "").await.expect(204);
        refused(log_in(site, "auth/changes/login/ana", PASSWORD).await);
        site.ask("LIST", "auth/changes/users", &site.root, "").await.expect(404);
        site.get("auth/token/lookup-self", token).await.expect(200); // as the roles of other methods
    });
}

#[test]
fn policies_judge_the_folded_name() {
    shared().run(async |site| {
        create(site, "folds", "admin").await;
        let policy = r#"path "auth/folds/users/*" { capabilities = ["create", "read", "update", "delete"] }
            path "auth/folds/users/admin" { capabilities = ["deny"] }
            path "auth/folds/users/admin/*" { capabilities = ["deny"] }"#;
        let helpdesk = site.token_with("helpdesk", policy).await;
        let body = json!({ "password": "taken over" }).to_string();
        for name in ["admin", "Admin", "ADMIN", "%20admin", "%41dmin"] {
            for (method, path) in
                [("PUT", ""), ("GET", ""), ("DELETE", ""), ("PUT", "/password"), ("PUT", "/policies")]
            {
                let path = format!("auth/folds/users/{name}{path}");
                site.ask(method, &path, &helpdesk, &body).await.expect(403);
            }
        }
        site.ask("PUT", "auth/folds/users/Boris", &helpdesk, &body).await.expect(204);
        log_in(site, "auth/folds/login/boris", "taken over").await.expect(200);
        log_in(site, "auth/folds/login/Admin", PASSWORD).await.expect(200);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_outlive_a_seal_and_locks_do_not() {
    let site = Site::open(CALM).await;
    enable(&site, "userpass").await;
    create(&site, "userpass", "ana").await;
    let path = "auth/userpass/login/ana";
    for _ in 0..FAILURES_MAX {
        refused(log_in(&site, path, "wrong").await);
    }
    refused(log_in(&site, path, PASSWORD).await);
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    log_in(&site, path, PASSWORD).await.expect(503);
    site.unseal().await;
    log_in(&site, path, PASSWORD).await.expect(200);
}
