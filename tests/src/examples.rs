//! The examples of the client library, as they stand in `client/examples/`, against a real broker and
//! fragment service.

use std::time::Duration;

use serde_json::json;
use symbolon::{Client, Error, Evidence, Rejected, Token, WorkloadTokens};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::site::{CALM, Site};

#[path = "../../client/examples/read_secret.rs"]
#[allow(dead_code)]
mod read_secret;
#[path = "../../client/examples/token_source.rs"]
#[allow(dead_code)]
mod token_source;
#[path = "../../client/examples/workload_token.rs"]
#[allow(dead_code)]
mod workload_token;

/// What a service has: the address and the CA.
fn client(site: &Site) -> Client {
    Client::builder(&site.world.broker_url()).ca_pem(site.world.ca_pem().as_bytes()).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn read_secret_writes_it_once() {
    let site = Site::open(CALM).await;
    let client = client(&site).with_token(Token::new(&site.root).unwrap());
    let (first, second) = tokio::join!(read_secret::run(&client), read_secret::run(&client));
    for got in [first, second, read_secret::run(&client).await] {
        let (database, version) = got.unwrap();
        assert_eq!((database.user.as_str(), database.password.expose(), version), ("shop", "change-me", 1));
    }
}

/// Tokens live two seconds, so the service logs in again while it serves.
#[tokio::test(flavor = "multi_thread")]
async fn token_source_serves_beyond_the_life_of_a_token() {
    let site = Site::open(CALM).await;
    let policy = r#"path "secret/data/app/*" { capabilities = ["read"] }"#;
    site.root_put("sys/policies/acl/app", &json!({ "policy": policy })).await.expect(204);
    site.root_put("sys/auth/approle", &json!({ "type": "approle" })).await.expect(204);
    let role = json!({ "token_policies": ["app"], "token_ttl": "2s", "token_type": "batch" });
    site.root_put("auth/approle/role/app", &role).await.expect(204);
    let role = site.root_get("auth/approle/role/app/role-id").await.expect(200).json();
    let secret = site.root_put("auth/approle/role/app/secret-id", &json!({})).await.expect(200).json();
    site.write("app/greeting", "good morning").await;

    let file = site.world.path("secret-id");
    std::fs::write(&file, secret["data"]["secret_id"].as_str().unwrap()).unwrap();
    let (base, ca) = (site.world.broker_url(), site.world.ca_pem());
    let role_id = role["data"]["role_id"].as_str().unwrap();
    let client = token_source::client(&base, ca.as_bytes(), role_id, Evidence::file(file)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(token_source::run(client, listener));
    let ask = async || {
        let mut answer = String::new();
        TcpStream::connect(address).await.unwrap().read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert_eq!(ask().await, "good morning");
    site.write("app/greeting", "good evening").await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(ask().await, "good evening");
    }
    site.root_put("sys/policies/acl/app", &json!({ "policy": policy.replace("app", "apart") }))
        .await
        .expect(204);
    assert_eq!(ask().await, "permission denied");
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn workload_token_is_accepted_by_whom_it_is_for() {
    let site = Site::open(CALM).await;
    site.prepare_machines().await;
    let issuer = site.world.broker_url();
    let other = "https://payroll.internal";
    let role = json!({
        "bound_service_account_names": ["caller"], "bound_service_account_namespaces": ["apps"],
        "audience": issuer, "workload_audiences": [workload_token::LEDGER, other],
    });
    site.root_put("auth/kubernetes/role/caller", &role).await.expect(204);
    let now = jsonwebtoken::get_current_timestamp();
    let proof = Evidence::text(&site.cluster.token("apps", "caller", &issuer, now).unwrap()).unwrap();
    let caller = workload_token::run(client(&site), proof.clone()).await.unwrap();
    assert_eq!(caller.subject, "kubernetes:system:serviceaccount:apps:caller");
    assert!(caller.expires > now && caller.expires <= now + 310, "{caller:?}");

    let ledger = workload_token::Ledger::new(client(&site));
    let tokens = WorkloadTokens::new(client(&site), proof);
    let good = workload_token::authorization(&tokens).await.unwrap();
    assert_eq!(good, workload_token::authorization(&tokens).await.unwrap(), "kept while it is good");
    let for_other = tokens.token(other).await.unwrap();
    let (claims, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = claims.rsplit_once('.').unwrap();
    let (_, foreign_claims) = for_other.expose().rsplit_once('.').unwrap().0.rsplit_once('.').unwrap();
    let refused: [(&str, Rejected); 4] = [
        (&format!("Bearer {}", for_other.expose()), Rejected::Audience),
        (&format!("{head}.{foreign_claims}.{signature}"), Rejected::Signature),
        (&good.replace("Bearer ", "Basic "), Rejected::Malformed),
        ("", Rejected::Malformed),
    ];
    for (header, reason) in refused {
        match ledger.caller(header).await {
            Err(Error::Rejected(got)) => assert_eq!(got, reason),
            other => panic!("{reason:?}: {other:?}"),
        }
    }
    site.client().with_token(Token::new(&site.root).unwrap()).seal().await.unwrap();
    ledger.caller(&good).await.unwrap(); // the keys that were published hold
}
