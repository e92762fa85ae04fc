//! Transcripts.

use super::super::transcript::{
    CeremonyType, EVENTS_MAX, Event, EventKind, Standing, Transcript, TranscriptError,
};
use super::*;

fn event(kind: EventKind, name: &str, x: u8) -> Event {
    Event { kind, at_ms: 1_790_000_000_000 + u64::from(x), x, name: name.to_owned(), digest: [x; 32] }
}

fn transcript() -> Transcript {
    let mut transcript = Transcript::begin(CeremonyType::Reshare, DeploymentId::from_bytes([1; 16]), [7; 32]);
    transcript.record(Event::of_ceremony(EventKind::Opened, 1, [1; 32])).unwrap();
    transcript.record(event(EventKind::Given, "Ann", 1)).unwrap();
    transcript.record(event(EventKind::Given, "Bob", 2)).unwrap();
    transcript.record(event(EventKind::Dealt, "Zoë", 3)).unwrap();
    transcript.record(event(EventKind::Proven, "Bob", 1)).unwrap();
    transcript
}

#[test]
fn the_hash_is_that_of_the_specification() {
    use sha2::{Digest, Sha256};
    let transcript = transcript();
    let sha = |parts: &[&[u8]]| -> [u8; 32] { Sha256::digest(parts.concat()).into() };
    let mut hash = sha(&[b"SKB1/ceremony", &[3], &[1; 16], &[7; 32]]);
    for event in transcript.events() {
        let name = event.name.as_bytes();
        let name_length = u16::try_from(name.len()).unwrap().to_be_bytes();
        let kind = [event.kind.byte()];
        let encoded =
            [&kind[..], &event.at_ms.to_be_bytes(), &[event.x], &name_length, name, &event.digest].concat();
        hash = sha(&[&hash, &u16::try_from(encoded.len()).unwrap().to_be_bytes(), &encoded]);
    }
    assert_eq!(transcript.hash(), &hash);
}

#[test]
fn all_sign_one_history() {
    let world = world();
    let broker = KeyPair::generate(KeyKind::Officer, &mut rng());
    let broker_key = broker.signing().public_key();
    let key_of = |name: &str| {
        let custodian = world.manifest.custodians().iter().find(|custodian| custodian.name == name)?;
        custodian.keys.as_ref().map(|keys| keys.signing)
    };
    let mut transcript = transcript();
    transcript.sign_as_broker(broker.signing());
    let message = transcript.signed_bytes();
    transcript.add_signature("Ann", &key_of("Ann").unwrap(), world.keys[0].signing().sign(&message)).unwrap();
    let report = transcript.verify(&broker_key, key_of);
    let expected = [("Ann".to_owned(), Standing::Signed), ("Bob".to_owned(), Standing::Missing)];
    assert_eq!((report.broker, report.participants.as_slice()), (Standing::Signed, &expected[..]));
    assert!(!report.is_complete() && !report.is_contradicted());
    let wrong = transcript.add_signature("Bob", &key_of("Bob").unwrap(), [1; 64]);
    assert_eq!(wrong, Err(TranscriptError::Key));
    transcript.add_signature("Bob", &key_of("Bob").unwrap(), world.keys[1].signing().sign(&message)).unwrap();
    assert!(transcript.verify(&broker_key, key_of).is_complete());
    assert_eq!(Transcript::parse(&transcript.to_text()).unwrap(), transcript);
    let late = transcript.record(event(EventKind::Committed, "", 0));
    assert_eq!(late, Err(TranscriptError::Signed));

    // One changed byte anywhere in the history, and nobody signed it.
    let mut bytes = transcript.encode();
    bytes[80] ^= 1;
    let report = Transcript::decode(&bytes).unwrap().verify(&broker_key, key_of);
    assert!(report.is_contradicted() && report.broker == Standing::Wrong);
    let other_broker = KeyPair::generate(KeyKind::Officer, &mut rng()).signing().public_key();
    assert_eq!(transcript.verify(&other_broker, key_of).broker, Standing::Wrong);
    assert!(transcript.verify(&broker_key, |_| None).participants.iter().all(|(_, s)| *s == Standing::NoKey));
}

#[test]
fn damaged_transcripts_are_refused() {
    let bytes = transcript().encode();
    for length in 0..bytes.len() {
        assert!(Transcript::decode(&bytes[..length]).is_err());
    }
    assert!(Transcript::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    let with = |index: usize, value: u8| {
        let mut changed = bytes.clone();
        changed[index] = value;
        Transcript::decode(&changed).err()
    };
    assert_eq!(with(0, 2), Some(TranscriptError::Format { found: 2 }));
    assert_eq!(with(1, 99), Some(TranscriptError::Type { found: 99 }));
    assert_eq!(with(54, 99), Some(TranscriptError::Event { found: 99 }));
}

#[test]
fn a_transcript_has_an_end() {
    let mut transcript =
        Transcript::begin_fresh(CeremonyType::Drill, DeploymentId::from_bytes([1; 16]), &mut rng());
    for _ in 0..EVENTS_MAX {
        transcript.record(event(EventKind::Refused, "", 1)).unwrap();
    }
    assert_eq!(transcript.record(event(EventKind::Refused, "", 1)), Err(TranscriptError::Full));
    let bytes = transcript.encode();
    assert_eq!(Transcript::decode(&bytes).unwrap(), transcript);
    assert!(Transcript::parse(&transcript.to_text()).is_ok(), "the longest transcript fits its text form");
}

#[test]
fn the_longest_transcript_comes_back_from_its_text() {
    let mut transcript = Transcript::begin(CeremonyType::Reshare, DeploymentId::from_bytes([1; 16]), [7; 32]);
    let name = "𝔸".repeat(64);
    while transcript.record(event(EventKind::Refused, &name, 1)).is_ok() {}
    assert_eq!(transcript.events().len(), EVENTS_MAX);
    assert_eq!(Transcript::parse(&transcript.to_text()).unwrap(), transcript);
}
