//! A root token made by custodians who have lost every other, on real servers.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use symbolon::Error;
use symbolon_cli::RootTerms;
use symbolon_proto::custody::transcript::{CeremonyType, EventKind, Transcript};
use symbolon_proto::custody::{KeyPair, Purpose, RootAsk, SignedRootRequest};
use symbolon_proto::share::Share;

use crate::change::{
    Person, hand_in, operator, people, refusal, rng, seal, under_way, unseal_with, with_cards,
};
use crate::site::{CALM, Got, Site};

const PATH: &str = "sys/symbolon/ceremony/root";
const TTL_SECS: u32 = 3600;

/// An open broker of three people with cards.
struct Lost {
    site: Site,
    people: Vec<Person>,
    shares: Vec<Share>,
}

impl Lost {
    async fn new() -> Self {
        let people = people(&["dora", "emil", "fritz"]);
        let (site, shares) = with_cards(&people).await;
        unseal_with(&site, &shares).await;
        Self { site, people, shares }
    }

    fn keys(&self, person: usize) -> &KeyPair {
        &self.people[person].keys
    }

    async fn terms(&self) -> RootTerms {
        self.site.client().root_terms().await.unwrap()
    }

    /// Signed by one of them a moment ago, or in the future.
    async fn signed(&self, ask: RootAsk, person: usize, later_ms: i64) -> SignedRootRequest {
        let terms = self.terms().await;
        let at_ms = terms.at_ms.checked_add_signed(later_ms).unwrap();
        SignedRootRequest::sign(ask, terms.scope, at_ms, self.keys(person)).unwrap()
    }

    async fn begin(&self, person: usize) -> SignedRootRequest {
        let request = self.signed(RootAsk::begin(TTL_SECS, &mut rng()), person, 0).await;
        let begun = self.site.client().ask_for_root(&request).await.unwrap();
        assert_eq!(begun.ceremony.unwrap().kind, "root");
        request
    }

    async fn refused(&self, request: &SignedRootRequest, says: &str) {
        let Err(error) = self.site.client().ask_for_root(request).await else { panic!("{says}") };
        assert!(refusal(&error).contains(says), "{says}: {error:?}");
    }

    async fn give(&self, person: usize) {
        hand_in(&self.site, &self.shares[person], Purpose::RootToken).await.unwrap();
    }

    async fn nothing_under_way(&self) -> bool {
        self.site.client().ceremony().await.unwrap().is_none_or(|ceremony| ceremony.stage != "collecting")
    }
}

fn nonce_of(request: &SignedRootRequest) -> [u8; 32] {
    let RootAsk::Begin { nonce, .. } = request.request().ask else { panic!("it begins nothing") };
    nonce
}

async fn ceremony_entries(site: &Site, token: &str) -> String {
    let found = site.get("sys/symbolon/audit?action=ceremony&limit=1000", token).await.expect(200).json();
    found["data"]["events"].to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custodians_make_a_root_token_for_the_one_who_asked() {
    let lost = Lost::new().await;
    let (site, client) = (&lost.site, lost.site.client());
    let begun = lost.begin(1).await;
    let shown = under_way(site).await;
    assert_eq!((shown.kind.as_str(), shown.stage.as_str(), shown.threshold), ("root", "collecting", 2));
    let wish = shown.root.unwrap();
    let card = lost.people[1].card.fingerprint().to_string();
    assert_eq!((wish.name.as_str(), wish.fingerprint, wish.ttl_secs), ("emil", card, TTL_SECS));
    let fetch = lost.signed(RootAsk::Fetch, 1, 0).await;
    lost.give(0).await;
    lost.refused(&fetch, "no root token waits for this card").await;
    // A share that was given for anything else does not count.
    for other in [Purpose::Give, Purpose::Prove] {
        assert!(hand_in(site, &lost.shares[2], other).await.is_err(), "{other:?}");
    }
    lost.give(2).await;

    // What travels is sealed, and only to the card that asked.
    let body = json!({ "request": STANDARD.encode(fetch.encode()) }).to_string();
    let raw = site.ask("PUT", PATH, "", &body).await.expect(200).text;
    assert!(!raw.contains("hvs."), "{raw}");
    let waiting = client.ask_for_root(&fetch).await.unwrap().token.unwrap();
    assert_eq!(waiting.request, begun);
    assert!(waiting.sealed.open(&waiting.request, lost.keys(0)).is_err());
    let token = waiting.sealed.open(&waiting.request, lost.keys(1)).unwrap();
    lost.refused(&lost.signed(RootAsk::Fetch, 0, 0).await, "no root token waits for this card").await;
    let own = site.get("auth/token/lookup-self", &token).await.expect(200).json();
    assert_eq!(own["data"]["policies"], json!(["root"]));
    assert_eq!((&own["data"]["creation_ttl"], &own["data"]["renewable"]), (&json!(TTL_SECS), &json!(false)));
    assert_eq!(own["data"]["accessor"], json!(waiting.accessor));
    let text = r#"path "secret/*" { capabilities = ["read"] }"#;
    let policy = json!({ "policy": text }).to_string();
    site.ask("PUT", "sys/policies/acl/reader", &token, &policy).await.expect(204);
    let endless = json!({ "policies": ["root"] }).to_string();
    let endless = site.ask("PUT", "auth/token/create", &token, &endless).await;
    assert_eq!(endless.status, 400, "it makes none that never ends: {}", endless.text);

    // Kept until its owner says that it has arrived.
    client.ask_for_root(&fetch).await.unwrap().token.unwrap();
    let nonce = nonce_of(&begun);
    client.ask_for_root(&lost.signed(RootAsk::Received { nonce }, 0, 0).await).await.unwrap();
    client.ask_for_root(&fetch).await.unwrap().token.expect("another's word is none");
    client.ask_for_root(&lost.signed(RootAsk::Received { nonce }, 1, 0).await).await.unwrap();
    lost.refused(&fetch, "no root token waits for this card").await;
    check_what_was_kept(&lost, &token, &begun).await;
}

async fn check_what_was_kept(lost: &Lost, token: &str, begun: &SignedRootRequest) {
    let operator = lost.site.client().with_token(symbolon::Token::new(token).unwrap());
    let listed = operator.ceremonies().await.unwrap();
    let kept = listed.last().unwrap();
    assert_eq!((kept.kind.as_str(), kept.complete), ("root", false));
    let kept = operator.kept_ceremony(&kept.nonce).await.unwrap();
    assert_eq!(kept.request, Some(STANDARD.encode(begun.encode())));
    let transcript = Transcript::parse(&kept.transcript.unwrap()).unwrap();
    assert_eq!(transcript.ceremony(), CeremonyType::Root);
    assert_eq!(transcript.participants(), ["dora", "fritz"]);
    assert!(transcript.events().iter().any(|event| event.kind == EventKind::Issued));
    for (name, person) in [("dora", 0), ("fritz", 2)] {
        let signature = lost.keys(person).signing().sign(&transcript.signed_bytes());
        lost.site.client().sign_ceremony(name, &signature, None).await.unwrap();
    }
    assert!(operator.kept_ceremony(&kept.nonce).await.unwrap().complete);
    let entries = ceremony_entries(&lost.site, token).await;
    for part in
        ["ceremony root begins: a root token of 3600 s for emil", "shares of dora, fritz", "custodian emil"]
    {
        assert!(entries.contains(part), "{part}: {entries}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_made_and_used_while_the_fragment_service_is_away() {
    let mut lost = Lost::new().await;
    lost.site.world.stop_fragment().await.unwrap();
    lost.begin(0).await;
    lost.give(0).await;
    lost.give(1).await;
    let fetch = lost.signed(RootAsk::Fetch, 0, 0).await;
    let waiting = lost.site.client().ask_for_root(&fetch).await.unwrap().token.unwrap();
    let token = waiting.sealed.open(&waiting.request, lost.keys(0)).unwrap();
    lost.site.get("auth/token/lookup-self", &token).await.expect(200);
    let policy = json!({ "policy": r#"path "x" { capabilities = ["read"] }"# }).to_string();
    lost.site.ask("PUT", "sys/policies/acl/x", &token, &policy).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_a_present_custodian_begins_or_cancels() {
    let lost = Lost::new().await;
    let (site, ask) = (&lost.site, || RootAsk::begin(TTL_SECS, &mut rng()));
    let terms = lost.terms().await;
    let stranger = &people(&["dora"])[0];
    let of_stranger = |ask| SignedRootRequest::sign(ask, terms.scope, terms.at_ms, &stranger.keys).unwrap();
    lost.refused(&of_stranger(ask()), "this card is not in the share set in use").await;
    lost.refused(&lost.signed(ask(), 0, -600_000).await, "before the broker's time").await;
    lost.refused(&lost.signed(ask(), 0, 600_000).await, "after the broker's time").await;
    let mut elsewhere = terms.scope;
    elsewhere.deployment = symbolon_proto::id::DeploymentId::from_bytes([7; 16]);
    let signed = SignedRootRequest::sign(ask(), elsewhere, terms.at_ms, lost.keys(0)).unwrap();
    lost.refused(&signed, "another deployment").await;
    let mut damaged = lost.signed(ask(), 0, 0).await.encode();
    damaged[98] ^= 1; // the life
    lost.refused(&SignedRootRequest::decode(&damaged).unwrap(), "not signed by the card").await;
    assert!(lost.nothing_under_way().await);
    let before = ceremony_entries(site, &site.root).await;
    assert!(!before.contains("root begins"), "strangers write no entries");
    // A signature for one purpose is none for another.
    let fetch = lost.signed(RootAsk::Fetch, 0, 0).await;
    let mut changed = fetch.encode();
    changed[1] = 1;
    changed[98..102].copy_from_slice(&TTL_SECS.to_be_bytes());
    let from = IpAddr::from([127, 0, 0, 3]);
    assert!(ask_from(site, from, &changed).await.expect(400).text.contains("not signed by the card"));

    let begun = lost.begin(0).await;
    let nonce = nonce_of(&begun);
    let cancel = RootAsk::Cancel { nonce };
    for other in [of_stranger(cancel), lost.signed(cancel, 1, 0).await] {
        assert_eq!(ask_from(site, from, &other.encode()).await.status, 400);
    }
    site.ask("PUT", "sys/symbolon/ceremony/cancel", "", "").await.expect(403);
    assert_eq!(under_way(site).await.kind, "root");
    // One at a time; an operator who has a token after all can end it.
    lost.refused(&lost.signed(ask(), 1, 0).await, "another ceremony is under way").await;
    operator(site).begin_ceremony("drill", None, &[], &[]).await.unwrap_err();
    let error = operator(site).begin_ceremony("root", None, &[], &[]).await.unwrap_err();
    assert!(refusal(&error).contains("symbolon operator root begin"), "{error:?}");
    site.client().ask_for_root(&lost.signed(cancel, 0, 0).await).await.unwrap();
    assert!(lost.nothing_under_way().await);
    // The old request is worth nothing, and its card waits; nobody else does.
    assert!(ask_from(site, from, &begun.encode()).await.text.contains("was taken before"));
    let again = lost.signed(ask(), 0, 0).await;
    assert!(ask_from(site, from, &again.encode()).await.text.contains("came to nothing; wait"));
    lost.begin(1).await;
    operator(site).cancel_ceremony().await.unwrap();
    let entries = ceremony_entries(site, &site.root).await;
    assert!(entries.contains("ceremony root is given up by the custodian who began it"), "{entries}");
}

/// From another address: refusals use up an allowance.
async fn ask_from(site: &Site, from: IpAddr, request: &[u8]) -> Got {
    let body = json!({ "request": STANDARD.encode(request) }).to_string();
    site.send(site.request_from(from, "PUT", &format!("v1/{PATH}")).body(body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests_disturbs_no_ceremony() {
    let lost = Lost::new().await;
    let site = &lost.site;
    let begun = lost.begin(0).await;
    let before = under_way(site).await;
    lost.give(0).await;
    let stranger = &people(&["dora"])[0];
    let terms = lost.terms().await;
    let ask = RootAsk::begin(TTL_SECS, &mut rng());
    let strange = SignedRootRequest::sign(ask, terms.scope, terms.at_ms, &stranger.keys).unwrap();
    let from = IpAddr::from([127, 0, 0, 9]);
    for (from, request) in [(IpAddr::from([127, 0, 0, 7]), &begun), (from, &strange)] {
        let mut tries = 0;
        while ask_from(site, from, &request.encode()).await.status != 429 {
            tries += 1;
            assert!(tries < 100, "requests are looked at for ever");
        }
    }
    // Neither shares from that address nor requests from another have to wait.
    let custodian = lost.signed(RootAsk::Fetch, 0, 0).await;
    assert_eq!(ask_from(site, IpAddr::from([127, 0, 0, 8]), &custodian.encode()).await.status, 400);
    assert_eq!(ask_from(site, from, &custodian.encode()).await.status, 429);
    let body: Value = json!({ "submission": STANDARD.encode(b"rubbish") });
    let path = "v1/sys/symbolon/ceremony/submit";
    site.send(site.request_from(from, "PUT", path).body(body.to_string())).await.expect(400);
    let after = under_way(site).await;
    assert_eq!((after.nonce, after.give.names), (before.nonce, vec!["dora".to_owned()]));
    lost.give(1).await;
    assert!(lost.nothing_under_way().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_with_the_session_and_needs_an_open_broker() {
    let lost = Lost::new().await;
    let site = &lost.site;
    let begun = lost.begin(0).await;
    lost.give(0).await;
    lost.give(1).await;
    let fetch = lost.signed(RootAsk::Fetch, 0, 0).await;
    seal(site).await;
    for request in [&begun, &fetch] {
        let Err(error) = site.client().ask_for_root(request).await else { panic!("it is sealed") };
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
    site.get(PATH, "").await.expect(503);
    unseal_with(site, &lost.shares).await;
    // Requests of before say nothing in the next session, and what was not fetched is gone.
    lost.refused(&begun, "was unsealed").await;
    lost.refused(&lost.signed(RootAsk::Fetch, 0, 0).await, "no root token waits for this card").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custodians_of_text_shares_are_told_what_to_do_first() {
    let site = Site::open(CALM).await;
    let terms = site.client().root_terms().await.unwrap();
    assert!(!terms.has_cards);
    let person = &people(&["dora"])[0];
    let ask = RootAsk::begin(TTL_SECS, &mut rng());
    let request = SignedRootRequest::sign(ask, terms.scope, terms.at_ms, &person.keys).unwrap();
    let Err(error) = site.client().ask_for_root(&request).await else { panic!("nobody has a card") };
    assert!(refusal(&error).contains("reshare to cards"), "{error:?}");
}
