//! What is called absent, asked as the External Secrets Operator asks: it deletes what it holds of a secret
//! that it takes for absent, so nothing else may look like that.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::site::{CALM, Got, MOUNT, Site};
use crate::surface::{BODY, METHODS, PATHS};

/// A mount of version 1, with a secret `open/a`.
const OLD: &str = "old";

/// What clients do with an answer to a read or a list. The Go client that is inside the operator makes no
/// error of a 404 that is empty or JSON, nor of an empty answer, and the operator takes both, and data that
/// is null, for "no such secret". Its webhook provider does so with any 404.
fn is_taken_for_absent(method: &str, got: &Got) -> bool {
    let reads = matches!(method, "GET" | "LIST");
    let body = serde_json::from_str::<Value>(&got.text).unwrap_or_default();
    let without_value = match body.get("data") {
        Some(Value::Object(data)) => data.get("data").is_some_and(Value::is_null),
        data => data.is_some_and(Value::is_null),
    };
    got.status == 404 || (reads && got.status < 300 && (got.text.is_empty() || without_value))
}

async fn site() -> Site {
    let site = Site::open(CALM).await;
    site.write("open/a", "x").await;
    site.root_put(&format!("sys/mounts/{OLD}"), &json!({ "type": "kv" })).await.expect(204);
    site.root_put(&format!("{OLD}/open/a"), &json!({ "value": "x" })).await.expect(204);
    for kind in ["approle", "jwt", "kubernetes", "userpass"] {
        site.root_put(&format!("sys/auth/{kind}"), &json!({ "type": kind })).await.expect(204);
    }
    site.root_put("auth/approle/role/x", &json!({ "token_ttl": 60 })).await.expect(204);
    site.root_put("auth/approle/role/x/secret-id", &json!({})).await.expect(200);
    site.root_put("auth/userpass/users/x", &json!({ "password": "p" })).await.expect(204);
    site
}

async fn ask(site: &Site, method: &str, path: &str, token: &str) -> Got {
    let request = site.request(method, &format!("v1/{path}")).header("X-Vault-Token", token).body(BODY);
    let patch = method == "PATCH";
    site.send(if patch { request.header("Content-Type", "application/merge-patch+json") } else { request })
        .await
}

/// Every path at which nothing answers, and why not.
fn unanswered() -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    let below = |prefix: &'static str| PATHS.iter().filter_map(move |path| path.strip_prefix(prefix));
    for rest in below("{m}") {
        all.push(("no such engine", format!("absent{rest}")));
        all.push(("no such engine", format!("absent/deep{rest}")));
    }
    for method in ["auth/approle", "auth/userpass", "auth/token"] {
        all.extend(below(method).map(|rest| ("no such login mount", format!("auth/absent{rest}"))));
    }
    for path in PATHS.iter().filter(|path| path.starts_with("auth/")) {
        all.push(("no such path of a method", format!("{path}/none/of/this")));
    }
    for method in ["approle", "jwt", "kubernetes", "userpass", "token"] {
        for rest in ["", "/none", "/none/x", "/config/none", "/role/x/none", "/login/x/y"] {
            all.push(("no such path of a method", format!("auth/{method}{rest}")));
        }
    }
    for rest in ["none", "none/x", "policies", "policies/none/x", "wrapping", "wrapping/none", "health/x"] {
        all.push(("no such path of the system", format!("sys/{rest}")));
    }
    for rest in ["internal", "internal/ui/none", "symbolon", "symbolon/ceremony/none", "symbolon/rotate/none"]
    {
        all.push(("no such path of the system", format!("sys/{rest}")));
    }
    for rest in ["", "/open", "/open/a", "/other/open/a", "/config/x", "/detailed-metadata", "/Data/open/a"] {
        all.push(("version 1 on version 2", format!("{MOUNT}{rest}")));
    }
    for rest in ["/data/open/a", "/metadata/open/a", "/metadata", "/metadata/", "/subkeys/open/a"] {
        all.push(("version 2 on version 1", format!("{OLD}{rest}")));
    }
    all.push(("nothing", "auth".to_owned()));
    all.push(("nothing", "sys".to_owned()));
    all
}

/// What writes in a mount of version 1 find is theirs: such a name may be given there.
fn may_succeed(why: &str, method: &str) -> bool {
    why == "version 2 on version 1" && matches!(method, "PUT" | "POST" | "DELETE")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_missing_but_a_thing_itself_is_called_absent() {
    let site = site().await;
    let mut wrong = Vec::new();
    for (why, path) in unanswered() {
        for method in METHODS {
            let got = ask(&site, method, &path, &site.root).await;
            // A method of the dialect that nobody serves there is 405, and a name that is none is 400.
            let told = matches!(got.status, 400 | 405) && !got.text.contains("\"errors\":[]");
            if is_taken_for_absent(method, &got) || !(told || may_succeed(why, method)) {
                wrong.push(format!("{why}: {method} {path}: {} {}", got.status, got.text));
            }
            let stranger = ask(&site, method, &path, "hvs.nobody").await;
            if !matches!(stranger.status, 403 | 400) || is_taken_for_absent(method, &stranger) {
                wrong.push(format!("{why}: a stranger's {method} {path}: {}", stranger.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The routes themselves: what is absent of all that is asked for, and nothing beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_absent_is_named_here() {
    const ABSENT: [(&str, &str); 10] = [
        ("GET", "{m}/data/open/"), // a secret `open`, which is a folder only
        ("GET", "{m}/data/open/none"),
        ("GET", "{m}/metadata/none"),
        ("LIST", "{m}/metadata/none"),
        ("LIST", "{m}/metadata/open/a"), // a folder `open/a`, which is a secret only
        ("PATCH", "{m}/data/open/"),
        ("PATCH", "{m}/data/open/none"),
        ("PATCH", "{m}/metadata/none"),
        ("GET", "sys/policies/acl/none"),
        ("GET", "old/none"),
    ];
    let site = site().await;
    let mut found = BTreeSet::new();
    for path in PATHS.into_iter().chain(["old", "old/open/a", "old/none"]) {
        for method in ["GET", "LIST", "PATCH"] {
            let got = ask(&site, method, &path.replace("{m}", MOUNT), &site.root).await;
            if is_taken_for_absent(method, &got) {
                found.insert((method, path));
            }
        }
    }
    let expected: BTreeSet<_> =
        ABSENT.into_iter().chain([("LIST", "old/none"), ("LIST", "old/open/a")]).collect();
    assert_eq!(found, expected);
}

/// A broker without keys says nothing about what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_broker_calls_nothing_absent() {
    let site = site().await;
    site.root_put("sys/seal", &json!({})).await.expect(204);
    let existing = PATHS.iter().map(|path| ("", path.replace("{m}", MOUNT)));
    for (_, path) in existing.chain(unanswered()).filter(|(_, path)| !path.starts_with("sys/")) {
        for method in METHODS {
            ask(&site, method, &path, &site.root).await.expect(503);
        }
    }
}
