//! What a service sees: it logs in by itself, reads its files anew, keeps tokens as long as they are good.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use serde_json::json;
use symbolon::{
    Cas, Client, Configuration, Error, Evidence, SecretData, TokenSource, Unavailable, WorkloadTokens,
};
use symbolon_cli::InitRequest;
use symbolon_cli::Operator;
use symbolon_cli::demo::cluster::Cluster;
use symbolon_cli::demo::estate::{self, MOUNT, WORKLOAD_ACCOUNT};
use symbolon_cli::demo::world::{Pace, World};

const AUDIENCE: &str = "https://ledger.internal";

/// An open broker that knows a cluster, and its root.
async fn open_world(cluster: &Cluster) -> (World, Operator) {
    let mut world = World::new(Pace { lease_secs: 600, heartbeat_secs: 60 }, None).unwrap();
    world.start_fragment().await.unwrap();
    world.start_broker(true).await.unwrap();
    let request = InitRequest {
        secret_shares: 2,
        secret_threshold: 2,
        custodians: vec!["ana".into(), "boris".into()],
        cards: Vec::new(),
        sources: Vec::new(),
        recovery: "none".into(),
        await_receipt: false,
    };
    let (answer, _) = world.init(&request).await.unwrap();
    for share in &answer.shares {
        world.client().unwrap().unseal(share.expose()).await.unwrap();
    }
    let root = world.client_as(answer.root_token.expose()).unwrap();
    estate::prepare(&root, cluster).await.unwrap();
    (world, root)
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_fetches_and_presents_itself() {
    let cluster = Cluster::generate().unwrap();
    let (world, root) = open_world(&cluster).await;
    let issuer = world.broker_url();
    estate::admit_workload(&root, &issuer, AUDIENCE).await.unwrap();
    let secret = SecretData::new(serde_json::Map::from_iter([("password".to_owned(), json!("s3cret"))]));
    root.kv(MOUNT).put("shop/database", &secret, Cas::Any).await.unwrap();
    root.policies().write("shop", "path \"secret/data/shop/*\" { capabilities = [\"read\"] }").await.unwrap();
    root.write("auth/kubernetes/role/checkout", &json!({ "token_policies": ["shop"] })).await.unwrap();

    let (namespace, account) = WORKLOAD_ACCOUNT;
    let project = |audience: &str| cluster.token(namespace, account, audience, now()).unwrap();
    let file = world.path("token");
    let anonymous = Client::clone(&world.client().unwrap());
    let service = anonymous.with_source(TokenSource::kubernetes("checkout", Evidence::file(&file)));
    let tokens = WorkloadTokens::new(anonymous, Evidence::file(&file));
    let fetch = |path| {
        let service = &service;
        async move { service.kv(MOUNT).get::<SecretData>(path).await }
    };

    let missing = fetch("shop/database").await;
    assert!(matches!(missing, Err(Error::Configuration(Configuration::TokenFile { .. }))), "no file yet");
    std::fs::write(&file, project("https://elsewhere").as_bytes()).unwrap();
    assert!(matches!(fetch("shop/database").await, Err(Error::Denied(_))), "made for somebody else");
    std::fs::write(&file, project(&issuer).as_bytes()).unwrap();
    let fetched = loop {
        match fetch("shop/database").await {
            Err(Error::Denied(_)) => tokio::time::sleep(Duration::from_millis(200)).await, // told for 5 s
            fetched => break fetched.unwrap(),
        }
    };
    assert_eq!(fetched.data.text("password"), Some("s3cret"), "the file is read anew");
    assert!(matches!(fetch("shop/absent").await, Err(Error::Absent(_))));
    assert!(matches!(fetch("other/database").await, Err(Error::Denied(_))));

    let first = tokens.token(AUDIENCE).await.unwrap();
    let second = tokens.token(AUDIENCE).await.unwrap();
    assert!(first.expose() == second.expose(), "kept while it is good");
    assert_eq!(first.lifetime().as_secs(), 300);
    assert!(matches!(tokens.token("https://other").await, Err(Error::Invalid(_))));

    root.seal().await.unwrap();
    assert!(matches!(fetch("shop/database").await, Err(Error::Unavailable(Unavailable::Sealed(_)))));
    assert!(tokens.token("https://other").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_ca_is_not_spoken_to() {
    let cluster = Cluster::generate().unwrap();
    let (world, _) = open_world(&cluster).await;
    let stranger = symbolon_cli::demo::pki::ServerIdentity::for_loopback("another").unwrap();
    let client = Client::builder(&world.broker_url()).ca_pem(stranger.ca_pem.as_bytes()).build().unwrap();
    let error = Operator::from(client).seal_status().await.unwrap_err();
    assert!(matches!(error, Error::Untrusted(_)), "{error:?}");
}
