//! Ceremonies that change shares, epoch or fragment of a running deployment, on real servers.

use std::sync::Arc;

use serde_json::{Value, json};
use symbolon::Error;
use symbolon_cli::demo::world::{World, until};
use symbolon_cli::{Ceremony, InitRequest};
use symbolon_proto::custody::transcript::{EventKind, Transcript};
use symbolon_proto::custody::{Card, KeyKind, KeyPair, Parcel, Purpose, Submission};
use symbolon_proto::log::VerifierKey;
use symbolon_proto::share::{Share, SignedShareSet};

use crate::site::{CALM, Site};

/// Somebody with a key file.
pub struct Person {
    pub keys: KeyPair,
    pub card: Card,
}

pub fn rng() -> rand_core::UnwrapErr<getrandom::SysRng> {
    rand_core::UnwrapErr(getrandom::SysRng)
}

pub fn people(names: &[&str]) -> Vec<Person> {
    let person = |name: &&str| {
        let keys = KeyPair::generate(KeyKind::Custodian, &mut rng());
        let card = keys.card(name).unwrap();
        Person { keys, card }
    };
    names.iter().map(person).collect()
}

pub fn cards(people: &[Person]) -> Vec<String> {
    people.iter().map(|person| person.card.to_text()).collect()
}

/// A sealed site whose shares these people hold, two of whom open it, and the shares.
pub async fn with_cards(people: &[Person]) -> (Site, Vec<Share>) {
    let mut world = World::new(CALM, None).unwrap();
    world.start_fragment().await.unwrap();
    world.start_broker(true).await.unwrap();
    let request =
        InitRequest { cards: cards(people), ..InitRequest::two_of(u8::try_from(people.len()).unwrap()) };
    let (base, service) = (world.broker_url(), Arc::clone(world.service().unwrap()));
    let (site, parcels) = Site::initialise_for(world, &base, &[service], &request).await;
    assert!(site.shares.is_empty());
    let open = |(text, person): (&String, &Person)| {
        let parcel = Parcel::parse(text).unwrap();
        assert_eq!(parcel.holder(), person.card.name());
        parcel.open(person.keys.sealing().unwrap()).unwrap()
    };
    let shares = parcels.iter().zip(people).map(open).collect();
    (site, shares)
}

/// The operator of a site: the root token.
pub fn operator(site: &Site) -> symbolon_cli::Operator {
    site.client().with_token(symbolon::Token::new(&site.root).unwrap())
}

pub async fn under_way(site: &Site) -> Ceremony {
    site.client().ceremony().await.unwrap().expect("a ceremony")
}

/// Seals a share to the ceremony under way and sends it.
pub async fn hand_in(site: &Site, share: &Share, purpose: Purpose) -> Result<Option<Ceremony>, Error> {
    let ceremony = under_way(site).await;
    let (binding, key) = (ceremony.binding().unwrap(), ceremony.key().unwrap());
    let sealed = Submission::seal(share, purpose, &binding, &key, &mut rng());
    site.client().submit_share(&sealed).await
}

async fn give(site: &Site, share: &Share) -> Result<Option<Ceremony>, Error> {
    hand_in(site, share, Purpose::Give).await
}

/// Two people have a new fragment together, and everything stored is re-encrypted. Answers their shares.
pub async fn rekeyed(site: &Site) -> Vec<Share> {
    let new = new_shares(site, "rekey", &typed(site), &people(&["dora", "emil"])).await;
    settled(site).await;
    new
}

fn typed(site: &Site) -> Vec<Share> {
    site.shares.iter().map(|share| Share::parse(share).unwrap()).collect()
}

/// What each of the new custodians finds in the ceremony and opens.
async fn dealt(site: &Site, people: &[Person]) -> Vec<Share> {
    let ceremony = under_way(site).await;
    assert_eq!(ceremony.stage, "proving");
    let set = ceremony.proving().unwrap().unwrap();
    let open = |(x, person): (u8, &Person)| {
        let envelope = ceremony.envelope(x).unwrap().unwrap();
        let parcel = Parcel::new(set.clone(), x, envelope).unwrap();
        parcel.open(person.keys.sealing().unwrap()).unwrap()
    };
    (1..).zip(people).map(open).collect()
}

/// A whole ceremony for new shares: begun, given for by the holders of `old`, proven by everybody new.
async fn new_shares(site: &Site, kind: &str, old: &[Share], people: &[Person]) -> Vec<Share> {
    operator(site).begin_ceremony(kind, Some(2), &cards(people), &[]).await.unwrap();
    for share in &old[..2] {
        give(site, share).await.unwrap();
    }
    let new = dealt(site, people).await;
    for share in &new {
        hand_in(site, share, Purpose::Prove).await.unwrap();
    }
    new
}

pub async fn seal(site: &Site) {
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
}

pub async fn unseal_with(site: &Site, shares: &[Share]) {
    for share in &shares[..2] {
        give(site, share).await.unwrap();
    }
    assert!(!site.client().seal_status().await.unwrap().sealed);
}

/// Waits until the keys of the epoch before are forgotten.
pub async fn settled(site: &Site) -> Value {
    let looking = until("the end of the change", || async {
        let status = site.root_get("sys/symbolon/rotation").await.expect(200).json()["data"].take();
        Ok((status["fragment"]["changing"] == false).then_some(status))
    });
    looking.await.unwrap()
}

pub fn refusal(error: &Error) -> String {
    format!("{error:?}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_people_take_over_the_shares_and_sign_for_it() {
    let site = Site::open(CALM).await;
    site.write("app/db", "before").await;
    let (old, new_people) = (typed(&site), people(&["dora", "emil", "fritz"]));
    operator(&site).begin_ceremony("reshare", Some(2), &cards(&new_people), &[]).await.unwrap();
    let begun = under_way(&site).await;
    assert_eq!((begun.kind.as_str(), begun.stage.as_str()), ("reshare", "collecting"));
    assert_eq!(begun.missing, ["ana", "boris", "carla"]);
    let wanted = begun.wanted.unwrap();
    let shown: Vec<_> = wanted.custodians.iter().map(|wanted| wanted.fingerprint.clone()).collect();
    let cards_of: Vec<_> = new_people.iter().map(|person| person.card.fingerprint().to_string()).collect();
    assert_eq!((wanted.threshold, shown), (2, cards_of), "custodians see whom they give theirs for");
    give(&site, &old[0]).await.unwrap();
    site.read("app/db").await.expect(200); // a ceremony disturbs nobody
    give(&site, &old[2]).await.unwrap();
    let new = dealt(&site, &new_people).await;
    // Old shares are no proof, and nobody proves twice.
    let error = hand_in(&site, &old[1], Purpose::Prove).await.unwrap_err();
    assert!(refusal(&error).contains("foreign share"), "{error:?}");
    hand_in(&site, &new[0], Purpose::Prove).await.unwrap();
    let error = hand_in(&site, &new[0], Purpose::Prove).await.unwrap_err();
    assert!(refusal(&error).contains("dora") && refusal(&error).contains("already given"), "{error:?}");
    assert_eq!(under_way(&site).await.missing, ["emil", "fritz"]);
    let generation = site.client().seal_status().await.unwrap().fact("generation");
    hand_in(&site, &new[1], Purpose::Prove).await.unwrap();
    let last = hand_in(&site, &new[2], Purpose::Prove).await.unwrap().unwrap();
    assert_eq!(last.stage, "signing");
    assert_ne!(site.client().seal_status().await.unwrap().fact("generation"), generation, "opened anew");
    site.read("app/db").await.expect(200);
    // Who took part signs; ana and carla have no keys and cannot.
    assert_eq!(last.missing, ["dora", "emil", "fritz"]);
    let transcript = last.transcript().unwrap();
    let set = last.proving().unwrap().unwrap();
    let stranger = &people(&["dora"])[0];
    let forged = stranger.keys.signing().sign(&transcript.signed_bytes());
    assert!(site.client().sign_ceremony("dora", &forged, None).await.is_err());
    for (name, person) in ["dora", "emil", "fritz"].iter().zip(&new_people) {
        let signature = person.keys.signing().sign(&transcript.signed_bytes());
        let of_set = person.keys.signing().sign(&set.signed_bytes());
        site.client().sign_ceremony(name, &signature, Some(&of_set)).await.unwrap();
        // Signatures are public: whoever hands one in again writes nothing.
        let before = entries(&site).await;
        drop(site.client().sign_ceremony(name, &signature, Some(&of_set)).await);
        assert_eq!(entries(&site).await, before, "{name}");
    }
    assert!(site.client().ceremony().await.unwrap().is_none(), "everybody who can has signed");
    check_what_was_kept(&site).await;
    // From the next unseal on only the new shares open the broker.
    seal(&site).await;
    let error = give(&site, &old[0]).await.unwrap_err();
    assert!(refusal(&error).contains("foreign share"), "{error:?}");
    unseal_with(&site, &new).await;
    site.read("app/db").await.expect(200);
    // Nobody can come to sign as dora, who is a custodian now.
    let impostors = cards(&people(&["gerd", "dora"]));
    let error = operator(&site).begin_ceremony("reshare", Some(2), &impostors, &[]).await.unwrap_err();
    assert!(refusal(&error).contains("card 2 bears the name of a present custodian"), "{error:?}");
}

/// Entries about ceremonies.
async fn entries(site: &Site) -> usize {
    let found = site.root_get("sys/symbolon/audit?action=ceremony&limit=1000").await.expect(200).json();
    found["data"]["events"].as_array().unwrap().len()
}

/// An auditor with nothing but the log's public key.
async fn check_what_was_kept(site: &Site) {
    use base64::Engine as _;
    let broker: VerifierKey = site.log_key.parse().unwrap();
    let listed = operator(site).ceremonies().await.unwrap();
    assert_eq!(listed.iter().map(|kept| kept.kind.as_str()).collect::<Vec<_>>(), ["init", "reshare"]);
    assert!(listed.iter().all(|kept| kept.complete && kept.broker == "signed"));
    let kept = operator(site).kept_ceremony(&listed[1].nonce).await.unwrap();
    let transcript = Transcript::parse(kept.transcript.as_deref().unwrap()).unwrap();
    let set = base64::engine::general_purpose::STANDARD.decode(kept.share_set.unwrap()).unwrap();
    let set = SignedShareSet::decode(&set).unwrap();
    let key_of = |name: &str| {
        let found = set.manifest().custodians().iter().find(|custodian| custodian.name == name);
        found.and_then(|custodian| custodian.keys.as_ref().map(|keys| keys.signing))
    };
    assert!(transcript.verify(broker.key(), key_of).is_complete());
    let report = set.verify(broker.key());
    let signed = symbolon_proto::custody::transcript::Standing::Signed;
    assert!(report.broker == signed && report.custodians.iter().all(|(_, standing)| *standing == signed));
    let kinds: Vec<_> = transcript.events().iter().map(|event| event.kind).collect();
    let found = site.root_get("sys/symbolon/audit?action=ceremony&limit=100").await.expect(200).json();
    let entries = found["data"]["events"].to_string();
    for part in ["reshare to 2 of 3: dora, emil, fritz", &listed[1].hash, "a participant signed"] {
        assert!(entries.contains(part), "{part}: {entries}");
    }
    for (kind, count) in [(EventKind::Given, 2), (EventKind::Dealt, 3), (EventKind::Proven, 3)] {
        assert_eq!(kinds.iter().filter(|found| **found == kind).count(), count, "{kind:?}");
    }
    assert_eq!(kinds.last(), Some(&EventKind::Committed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_fragment_epoch_needs_no_new_shares() {
    let mut site = Site::open(CALM).await;
    for number in 0..30 {
        site.write(&format!("app/{number}"), "value").await;
    }
    site.prepare_machines().await;
    let machine = site.machine_login().await.expect(200).json();
    let machine = machine["auth"]["client_token"].as_str().unwrap().to_owned();
    let old = typed(&site);
    operator(&site).begin_ceremony("epoch", None, &[], &[]).await.unwrap();
    give(&site, &old[0]).await.unwrap();
    give(&site, &old[1]).await.unwrap();
    let status = settled(&site).await;
    assert_eq!(status["fragment"]["epoch"], 2);
    assert!(status["fragment"]["rows_resealed"].as_u64().unwrap() > 30, "{status}");
    assert_eq!(status["numbers"]["symbolon_fragment_changing"], 0);
    for number in 0..30 {
        site.read(&format!("app/{number}")).await.expect(200);
    }
    site.get("secret/data/app/1", &machine).await.expect(200); // tokens outlive it
    // A restart knows the anchor, the log and its details of before, and the same people open it.
    site.restart(async |_| ()).await;
    site.unseal().await;
    site.read("app/7").await.expect(200);
    let found = site.root_get("sys/symbolon/audit?action=secret-write&limit=100").await.expect(200).json();
    assert!(found["data"]["events"].to_string().contains("secret/data/app/7"), "{found}");
    site.write("app/after", "value").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_fragment_makes_the_old_shares_worthless() {
    let mut site = Site::open(CALM).await;
    site.write("app/db", "before").await;
    let (old, new_people) = (typed(&site), people(&["dora", "emil"]));
    let new = new_shares(&site, "rekey", &old, &new_people).await;
    assert_eq!(settled(&site).await["fragment"]["epoch"], 2);
    site.write("app/db2", "after").await;
    site.restart(async |_| ()).await;
    for share in &old {
        assert!(give(&site, share).await.is_err());
    }
    unseal_with(&site, &new).await;
    for name in ["app/db", "app/db2"] {
        site.read(name).await.expect(200);
    }
    let found = site.root_get("sys/symbolon/audit?action=init").await.expect(200).json();
    let object = found["data"]["events"][0]["target"]["object"].as_str().unwrap();
    assert!(object.ends_with("recovery policy none"), "details of before are still read: {found}");
    // And once more, by those who hold it now.
    let third = new_shares(&site, "rekey", &new, &people(&["gerd", "hans"])).await;
    assert_eq!(settled(&site).await["fragment"]["epoch"], 3);
    seal(&site).await;
    unseal_with(&site, &third).await;
    site.read("app/db").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_asks_everybody_and_names_whose_share_is_wrong() {
    let site = Site::open(CALM).await;
    let shares = typed(&site);
    operator(&site).begin_ceremony("drill", None, &[], &[]).await.unwrap();
    let mut wrong = *shares[2].to_bytes().expose();
    wrong[43] ^= 1;
    let error = give(&site, &Share::from_bytes(&wrong).unwrap()).await.unwrap_err();
    assert!(refusal(&error).contains("the share of carla (number 3) is wrong or tampered"), "{error:?}");
    give(&site, &shares[0]).await.unwrap();
    let error = operator(&site).finish_ceremony().await.unwrap_err();
    assert!(refusal(&error).contains("1 of 2 shares were given"), "{error:?}");
    let state = give(&site, &shares[1]).await.unwrap().unwrap();
    assert_eq!((state.stage.as_str(), state.missing), ("collecting", vec!["carla".to_owned()]));
    give(&site, &shares[2]).await.unwrap();
    let listed = operator(&site).ceremonies().await.unwrap();
    assert_eq!(listed.last().unwrap().kind, "drill");
    // With one custodian on holiday the operator ends it.
    operator(&site).begin_ceremony("drill", None, &[], &[]).await.unwrap();
    for share in &shares[1..] {
        give(&site, share).await.unwrap();
    }
    operator(&site).finish_ceremony().await.unwrap();
    assert_eq!(operator(&site).ceremonies().await.unwrap().len(), 3);
    assert_eq!(site.client().seal_status().await.unwrap().fact("generation").as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_or_given_up_changes_nothing() {
    let site = Site::open(CALM).await;
    let (shares, two) = (typed(&site), people(&["dora", "emil"]));
    let root = operator(&site);
    // Only who may, and with cards that can be dealt to.
    let begin = json!({ "type": "epoch" }).to_string();
    site.ask("PUT", "sys/symbolon/ceremony/begin", "", &begin).await.expect(403);
    let policy = r#"path "sys/symbolon/ceremony/*" { capabilities = ["update"] }"#;
    let without_sudo = site.token_with("weak", policy).await;
    site.ask("PUT", "sys/symbolon/ceremony/begin", &without_sudo, &begin).await.expect(403);
    for (kind, threshold, cards) in [
        ("unseal", None, Vec::new()),
        ("reshare", Some(2), Vec::new()),
        ("reshare", Some(3), cards(&two)),
        ("rekey", Some(2), vec![two[0].card.to_text(); 2]),
        ("rekey", Some(2), vec!["no card".to_owned(); 2]),
    ] {
        assert!(root.begin_ceremony(kind, threshold, &cards, &[]).await.is_err(), "{kind} {threshold:?}");
    }
    assert!(root.cancel_ceremony().await.is_err(), "there is none");
    // One at a time, and giving up wipes what was given.
    root.begin_ceremony("rekey", Some(2), &cards(&two), &[]).await.unwrap();
    let error = root.begin_ceremony("drill", None, &[], &[]).await.unwrap_err();
    assert!(refusal(&error).contains("another ceremony is under way"), "{error:?}");
    assert!(root.finish_ceremony().await.is_err(), "only a drill is ended by hand");
    give(&site, &shares[0]).await.unwrap();
    give(&site, &shares[1]).await.unwrap();
    let error = give(&site, &shares[2]).await.unwrap_err();
    assert!(refusal(&error).contains("new custodians prove"), "{error:?}");
    root.cancel_ceremony().await.unwrap();
    assert!(site.client().ceremony().await.unwrap().is_none());
    // A seal in the middle of a ceremony ends it, too.
    root.begin_ceremony("rekey", Some(2), &cards(&two), &[]).await.unwrap();
    give(&site, &shares[0]).await.unwrap();
    seal(&site).await;
    assert_eq!(under_way(&site).await.kind, "unseal");
    site.unseal().await;
    assert!(site.client().ceremony().await.unwrap().is_none());
    assert_eq!(root.ceremonies().await.unwrap().len(), 1, "init, and nothing that came to nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_of_people_with_cards_never_shows_a_share() {
    let (site, shares) = with_cards(&people(&["dora", "emil", "fritz"])).await;
    unseal_with(&site, &shares[1..]).await;
    let kept = operator(&site).ceremonies().await.unwrap();
    let kept = operator(&site).kept_ceremony(&kept[0].nonce).await.unwrap();
    let transcript = Transcript::parse(kept.transcript.as_deref().unwrap()).unwrap();
    let dealt = transcript.events().iter().filter(|event| event.kind == EventKind::Dealt).count();
    assert_eq!((dealt, kept.complete), (3, true));
}
