//! Key files and cards.

use super::*;
use crate::custodian::CardError;

const PHRASE: &str = "correct horse battery staple";

fn file(kind: KeyKind) -> (KeyPair, KeyFile) {
    let keys = KeyPair::generate(kind, &mut rng());
    let file = KeyFile::seal(&keys, "Ann", PHRASE, PassphraseCost::minimum(), &mut rng()).unwrap();
    (keys, file)
}

#[test]
fn the_right_passphrase_opens_and_another_does_not() {
    for kind in [KeyKind::Custodian, KeyKind::Officer] {
        let (keys, file) = file(kind);
        let read = KeyFile::parse(&file.to_text()).unwrap();
        assert_eq!((&read, read.name(), read.kind()), (&file, "Ann", kind));
        let opened = read.open(PHRASE).unwrap();
        assert!(opened.seeds().same_as(&keys.seeds()));
        assert_eq!(opened.fingerprint(), read.fingerprint());
        assert_eq!(read.open("correct horse battery stable").err(), Some(KeyFileError::DoesNotOpen));
        assert_eq!(read.open("").err(), Some(KeyFileError::Passphrase(PassphraseError::Length)));
    }
}

#[test]
fn a_changed_header_does_not_open() {
    let (_, original) = file(KeyKind::Custodian);
    let bytes = original.encode();
    let with = |index: usize, value: u8| {
        let mut changed = bytes.clone();
        changed[index] = value;
        KeyFile::decode(&changed)
    };
    assert_eq!(with(0, 2), Err(KeyFileError::Format { found: 2 }));
    assert_eq!(with(1, 9), Err(KeyFileError::Kind { found: 9 }));
    // 64 MiB are 0x00010000 KiB; 0 and 4 GiB + are refused before a passphrase is asked.
    assert_eq!(with(3, 0), Err(KeyFileError::Passphrase(PassphraseError::Cost)));
    assert_eq!(with(2, 0xff), Err(KeyFileError::Passphrase(PassphraseError::Cost)));
    assert_eq!(with(9, 2), Err(KeyFileError::Passphrase(PassphraseError::Cost)));
    // More passes, another salt, another box: accepted as parameters, but not what was sealed.
    for (index, value) in [(9, 4), (14, bytes[14] ^ 1), (bytes.len() - 1, bytes[bytes.len() - 1] ^ 1)] {
        assert_eq!(with(index, value).unwrap().open(PHRASE).err(), Some(KeyFileError::DoesNotOpen));
    }
    for length in 0..bytes.len() {
        assert!(KeyFile::decode(&bytes[..length]).is_err());
    }
    assert!(KeyFile::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn another_persons_card_cannot_be_put_into_a_file() {
    let (_, ann) = file(KeyKind::Officer);
    let (_, bob) = file(KeyKind::Officer);
    let (mut mixed, other) = (ann.encode(), bob.encode());
    let key = 1 + 1 + 12 + 16 + 2 + 2 + "Ann".len();
    mixed[key..key + 32].copy_from_slice(&other[key..key + 32]);
    let mixed = KeyFile::decode(&mixed).unwrap();
    assert_eq!(mixed.fingerprint(), bob.fingerprint());
    assert_eq!(mixed.open(PHRASE).err(), Some(KeyFileError::DoesNotOpen));
}

#[test]
fn an_officers_file_is_no_custodians() {
    let (_, officer) = file(KeyKind::Officer);
    let expected = KeyFileError::OtherKind { found: "officer", expected: "custodian" };
    assert_eq!(officer.open_as(KeyKind::Custodian, PHRASE).err(), Some(expected));
    assert!(officer.card().is_none());
}

#[test]
fn bad_names_are_refused() {
    let keys = KeyPair::generate(KeyKind::Officer, &mut rng());
    for name in ["", " Ann", "A\nnn", &"x".repeat(65)] {
        let file = KeyFile::seal(&keys, name, PHRASE, PassphraseCost::minimum(), &mut rng());
        assert_eq!(file, Err(KeyFileError::Name), "{name:?}");
    }
    assert_eq!(keys.card("Ann"), Err(CardError::Officer));
}

#[test]
fn every_changed_byte_of_a_card_is_noticed() {
    let card = KeyPair::generate(KeyKind::Custodian, &mut rng()).card("Zoë").unwrap();
    assert_eq!(Card::parse(&card.to_text()).unwrap(), card);
    let bytes = card.encode();
    for index in (0..8).chain((8..bytes.len()).step_by(97)).chain([bytes.len() - 1]) {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        assert!(Card::decode(&changed).is_err(), "byte {index}");
    }
    for length in 0..bytes.len() {
        assert!(Card::decode(&bytes[..length]).is_err());
    }
    let mut named = bytes.clone();
    named[3] = b'N';
    assert_eq!(Card::decode(&named), Err(CardError::Signature));
}

#[test]
fn a_point_of_small_order_is_no_key() {
    let key = XWingSeed::random(&mut rng()).public_key();
    for point in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let mut bytes = *key.as_bytes();
        bytes[1184..].copy_from_slice(&point);
        assert_eq!(XWingPublicKey::from_bytes(&bytes), Err(XWingKeyError));
    }
    let mut bytes = *key.as_bytes();
    bytes[..3].fill(0xff);
    assert_eq!(XWingPublicKey::from_bytes(&bytes), Err(XWingKeyError), "an ML-KEM coefficient above q");
    assert_eq!(XWingPublicKey::from_bytes(&bytes[1..]), Err(XWingKeyError));
}
