//! Shares that only the broker can open, and what strangers can do at the desk where they are given.

use std::net::IpAddr;

use serde_json::{Value, json};
use symbolon_proto::custody::transcript::{EventKind, Transcript};
use symbolon_proto::custody::{CeremonyBinding, Purpose, Submission, XWingPublicKey};
use symbolon_proto::share::Share;

use crate::site::{CALM, Got, Site};

const STATE: &str = "sys/symbolon/ceremony";

fn bytes(value: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap()
}

async fn state(site: &Site) -> Value {
    site.get(STATE, "").await.expect(200).json()["ceremony"].take()
}

/// A share, sealed to the ceremony that `state` describes.
fn sealed_for(state: &Value, share: &str, purpose: Purpose) -> Vec<u8> {
    let key = XWingPublicKey::from_bytes(&bytes(&state["key"])).unwrap();
    assert_eq!(state["fingerprint"], key.fingerprint().to_string());
    let nonce: String = state["nonce"].as_str().unwrap().to_owned();
    let nonce: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&nonce[2 * at..2 * at + 2], 16).unwrap()).collect();
    let binding = CeremonyBinding {
        deployment: state["deployment"].as_str().unwrap().parse().unwrap(),
        nonce: nonce.try_into().unwrap(),
    };
    let rng = &mut rand_core::UnwrapErr(getrandom::SysRng);
    Submission::seal(&Share::parse(share).unwrap(), purpose, &binding, &key, rng).encode()
}

async fn submit(site: &Site, submission: &[u8]) -> Got {
    use base64::Engine as _;
    let submission = base64::engine::general_purpose::STANDARD.encode(submission);
    site.ask("PUT", &format!("{STATE}/submit"), "", &json!({ "submission": submission }).to_string()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_shares_open_the_broker_and_a_recording_of_them_does_not() {
    let site = Site::sealed(CALM).await;
    let before = state(&site).await;
    assert_eq!((&before["type"], &before["stage"]), (&json!("unseal"), &json!("collecting")));
    assert_eq!(before["missing"], json!(["ana", "boris", "carla"]));
    let first = sealed_for(&before, &site.shares[0], Purpose::Give);
    let given = submit(&site, &first).await.expect(200).json()["ceremony"].take();
    assert_eq!((&given["give"]["names"], &given["missing"]), (&json!(["ana"]), &json!(["boris", "carla"])));
    assert!(given["expires_ms"].is_u64() && before["expires_ms"].is_null());
    // Plain and sealed shares of one ceremony count together.
    let status = site.get("sys/seal-status", "").await.json();
    assert_eq!((&status["progress"], &status["given"]), (&json!(1), &json!(["ana"])));
    let twice = submit(&site, &first).await.expect(400).text;
    assert!(twice.contains("ana") && twice.contains("already given"), "{twice}");
    let refused = state(&site).await;
    assert_eq!(
        (&refused["refused"][0]["name"], refused["refused"].as_array().unwrap().len()),
        (&json!("ana"), 1)
    );
    let transcript = Transcript::decode(&bytes(&refused["transcript"])).unwrap();
    let kinds: Vec<_> = transcript.events().iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Opened, EventKind::Given, EventKind::Refused]);
    let second = sealed_for(&before, &site.shares[1], Purpose::Give);
    assert_eq!(submit(&site, &second).await.expect(200).json(), json!({ "ceremony": null }), "it is open");
    site.root_get("auth/token/lookup-self").await.expect(200);
    submit(&site, &first).await.expect(400);
    // The next ceremony has another key: whoever recorded the shares cannot give them again.
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    let next = state(&site).await;
    assert!(next["key"] != before["key"] && next["nonce"] != before["nonce"]);
    for recorded in [&first, &second] {
        let text = submit(&site, recorded).await.expect(400).text;
        assert!(text.contains("sealed for another ceremony"), "{text}");
    }
    assert_eq!(state(&site).await["give"]["names"], json!([]));
    site.unseal().await; // as unmodified clients do
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_is_refused_and_soon_no_longer_looked_at() {
    let site = Site::sealed(CALM).await;
    let before = state(&site).await;
    let proof = sealed_for(&before, &site.shares[0], Purpose::Prove);
    assert!(submit(&site, &proof).await.expect(400).text.contains("awaits a proof"));
    submit(&site, b"hunter2").await.expect(400);
    let mut damaged = sealed_for(&before, &site.shares[0], Purpose::Give);
    *damaged.last_mut().unwrap() ^= 1;
    submit(&site, &damaged).await.expect(400);
    let mut tries = 0;
    while submit(&site, &damaged).await.status != 429 {
        tries += 1;
        assert!(tries < 100, "rubbish is looked at for ever");
    }
    let after = state(&site).await;
    assert_eq!((&after["give"]["names"], &after["key"]), (&json!([]), &before["key"]), "nothing has changed");
    assert_eq!(after["refused"].as_array().unwrap().len(), 1, "nobody's shares stand there once");
    // One allowance for shares in every form; whoever has sent none of it is not kept waiting.
    let text = |share: &str| json!({ "key": share }).to_string();
    site.ask("PUT", "sys/unseal", "", &text(&site.shares[0])).await.expect(429);
    for share in &site.shares[..2] {
        let request = site.request_from(IpAddr::from([127, 0, 0, 2]), "PUT", "v1/sys/unseal");
        site.send(request.body(text(share))).await.expect(200);
    }
    site.root_get("auth/token/lookup-self").await.expect(200);
}
