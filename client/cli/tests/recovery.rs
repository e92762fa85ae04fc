//! Custodians and the fragment service's absence: the escrow from its first key to the emergency, with the
//! real commands.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use symbolon_cli::Operator;
use symbolon_cli::demo::world::{LOOK_AGAIN, Pace, World};
use symbolon_cli::{InitAnswer, InitRequest};
use symbolon_kms_fragment::report::Wish;

use crate::support::{Done, command, run};

fn symbolon(args: &[&str], stdin: &str) -> Done {
    run(&mut command(args), stdin)
}

/// Makes the escrow key in `file`; gives the shares and the fingerprint that people compare.
fn escrow_key(file: &Path) -> (Vec<String>, String) {
    let made = symbolon(
        &[
            "recovery",
            "keygen",
            "--threshold",
            "2",
            "--custodian",
            "Eva",
            "--custodian",
            "Finn",
            "--custodian",
            "Gil",
            "--print",
            "text",
            "--out",
            file.to_str().unwrap(),
        ],
        "",
    )
    .expect(0);
    let words = made.stdout.split_whitespace();
    let shares: Vec<_> = words.filter(|word| word.starts_with("ske1")).map(str::to_owned).collect();
    assert_eq!(shares.len(), 3, "{}", made.stdout);
    let line = made.stdout.lines().find(|line| line.contains("fingerprint")).unwrap();
    (shares, line.replace("fingerprint", "").trim().to_owned())
}

/// Initialises; the service's operator approves the broker, and the escrow key if its fingerprint is the
/// expected one.
async fn init(world: &World, client: &Operator, fingerprint: &str) -> InitAnswer {
    let request = InitRequest {
        secret_shares: 3,
        secret_threshold: 2,
        custodians: ["Ann", "Bob", "Cid"].map(str::to_owned).to_vec(),
        cards: Vec::new(),
        sources: Vec::new(),
        recovery: "customer-escrow".to_owned(),
        await_receipt: false,
    };
    let approving = async {
        loop {
            for wish in world.service().unwrap().pending() {
                if let Wish::Escrow { .. } = wish.wish {
                    assert_eq!(wish.fingerprint, fingerprint, "the operator compares the key");
                }
                world.service().unwrap().approve(&wish.fingerprint.parse().unwrap(), false).unwrap();
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::select! {
        answer = client.init(&request) => answer.unwrap(),
        () = approving => unreachable!("approving goes on until init answers"),
    }
}

async fn fill(client: &Operator, root: &Operator, shares: &[&str]) {
    for share in shares {
        client.unseal(share).await.unwrap();
    }
    let status = client.seal_status().await.unwrap();
    assert_eq!(status.fact("recovery").as_deref(), Some("customer-escrow"), "every status says so");
    for (mount, tier) in [("secret", "standard"), ("vault", "high")] {
        let engine = json!({ "type": "kv", "options": { "version": "2", "tier": tier } });
        root.mount(mount, &engine).await.unwrap();
        for number in 0..3 {
            let data = json!({ "data": { "value": format!("{mount}-{number}") } });
            root.write(&format!("{mount}/data/app/{number}"), &data).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_service_is_gone_for_good_its_custodians_read_everything_from_a_copy() {
    let mut world = World::new(Pace { lease_secs: 600, heartbeat_secs: 60 }, None).unwrap();
    let key_file = world.path("escrow.pub");
    let (escrow_shares, fingerprint) = escrow_key(&key_file);
    world.init_defaults(&format!("escrow_key_file = {}", Value::from(key_file.to_str().unwrap())));
    world.start_fragment().await.unwrap();
    world.start_broker(true).await.unwrap();
    let client = world.client().unwrap();
    let answer = init(&world, &client, &fingerprint).await;
    let shares = answer.shares_text().unwrap();
    let root = world.client_as(answer.root_token.expose()).unwrap();
    fill(&client, &root, &[&shares[0], &shares[1]]).await;
    world.stop_broker().await.unwrap();
    world.stop_fragment().await.unwrap();
    std::fs::remove_dir_all(world.path("fragment")).unwrap();

    let copy = world.path("copy.redb");
    std::fs::copy(world.path("store.redb"), &copy).unwrap();
    let copy = copy.to_str().unwrap();
    let given = |fragment: &[usize], escrow: &[usize]| {
        let fragment = fragment.iter().map(|which| shares[*which].to_string());
        let escrow = escrow.iter().map(|which| escrow_shares[*which].clone());
        fragment.chain(escrow).collect::<Vec<_>>().join("\n")
    };
    let drill = |shares: &str| {
        symbolon(&["recovery", "drill", "--store", copy, "--shares", "-", "--output", "json"], shares)
    };

    let done = drill(&given(&[2, 0], &[1, 2])).expect(0);
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        (&report["secrets"], &report["versions"], &report["wrong"]),
        (&json!(6), &json!(6), &json!(0))
    );
    assert!(!done.stdout.contains("secret-0"), "a drill shows no secret");
    for too_few in [given(&[0, 1], &[2]), given(&[1], &[0, 1])] {
        let done = drill(&too_few).refused(2, "1 of 2 shares of");
        assert!(done.stdout.is_empty(), "{}", done.stdout);
    }

    let out = world.path("secrets.jsonl");
    symbolon(
        &[
            "recovery",
            "export",
            "--store",
            copy,
            "--shares",
            "-",
            "--out",
            out.to_str().unwrap(),
            "--reveal-everything",
        ],
        &given(&[0, 1], &[0, 1]),
    )
    .expect(0);
    let lines = std::fs::read_to_string(&out).unwrap();
    let found: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), 6);
    assert!(
        found.iter().any(|line| line["data"]["value"] == "vault-2" && line["path"] == "app/2"),
        "{lines}"
    );
}

/// A policy in name only would be worse than none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escrow_without_a_key_to_seal_to_is_refused() {
    let mut world = World::new(Pace { lease_secs: 600, heartbeat_secs: 60 }, None).unwrap();
    std::fs::write(world.path("not-a-key"), "nothing").unwrap();
    world.start_fragment().await.unwrap();
    let request = |recovery: &str| InitRequest {
        secret_shares: 3,
        secret_threshold: 2,
        custodians: ["Ann", "Bob", "Cid"].map(str::to_owned).to_vec(),
        cards: Vec::new(),
        sources: Vec::new(),
        recovery: recovery.to_owned(),
        await_receipt: false,
    };
    let file = format!("escrow_key_file = {}", Value::from(world.path("not-a-key").to_str().unwrap()));
    for (lines, recovery, says) in [
        ("", "customer-escrow", "escrow_key_file"),
        (file.as_str(), "customer-escrow", "cannot be read as an escrow key"),
        (file.as_str(), "none", "remove the line"),
    ] {
        world.init_defaults(lines);
        world.start_broker(true).await.unwrap();
        let client: Arc<Operator> = Arc::new(world.client().unwrap());
        let error = client.init(&request(recovery)).await.err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
        world.stop_broker().await.unwrap();
        drop(std::fs::remove_file(world.path("store.redb")));
    }
    world.stop_fragment().await.unwrap();
}
