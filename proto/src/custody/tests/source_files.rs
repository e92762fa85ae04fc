//! Key files of sources.

use super::*;

const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([1; 16]);

fn key(byte: u8) -> Secret<32> {
    Secret::filled_by(|out| out.fill(byte))
}

fn source(name: &str) -> SourceFile {
    SourceFile::generate("tang", name, DEPLOYMENT, (&key(7), vec![9; 40]), &mut rng()).unwrap()
}

/// A source beside a person, each with its share, and the set.
fn dealt() -> (SourceFile, ShareSetManifest) {
    let mut source = source("attic");
    let ann = KeyPair::generate(KeyKind::Custodian, &mut rng());
    let holders = [Holder::from(&ann.card("Ann").unwrap()), Holder::from(source.card())];
    let dealing =
        Dealing { threshold: Threshold::new(2, 2).unwrap(), ..dealing(ShareKind::Fragment, 1, &holders) };
    let (manifest, shares) = dealing.deal(&Fragment::random(&mut rng()), &mut rng()).unwrap();
    let envelope = ShareEnvelope::seal(&shares[1], &manifest, &mut rng()).unwrap();
    source.dealt = Some(DealtShare { set: manifest.set_id(), x: 2, envelope });
    (source, manifest)
}

#[test]
fn a_source_opens_its_share_with_the_key_of_its_device_and_no_other() {
    let (source, manifest) = dealt();
    let read = SourceFile::decode(&source.encode()).unwrap();
    assert_eq!((&read, read.kind(), read.card().name()), (&source, "tang", "attic"));
    assert_eq!(read.open_share(&key(7), &manifest).unwrap().x(), 2);
    assert_eq!(read.open_share(&key(8), &manifest).err(), Some(SourceFileError::DoesNotOpen));
    let elsewhere = DeploymentId::from_bytes([2; 16]);
    assert_eq!(read.open(&key(7), elsewhere).err(), Some(SourceFileError::DoesNotOpen));
    let (_, another) = dealt();
    assert_eq!(read.open_share(&key(7), &another).err(), Some(SourceFileError::NoShare));
    let mut enrolled = read;
    enrolled.dealt = None;
    assert_eq!(enrolled.open_share(&key(7), &manifest).err(), Some(SourceFileError::NoShare));
}

/// The binding alone may be another, because a device can bind the same key anew.
#[test]
fn a_changed_file_of_a_source_does_not_open() {
    let (source, manifest) = dealt();
    let bytes = source.encode();
    let binding = bytes.windows(40).position(|window| window == [9; 40]).unwrap();
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let opened = SourceFile::decode(&changed).and_then(|file| file.open_share(&key(7), &manifest));
        assert_eq!(opened.is_ok(), (binding..binding + 40).contains(&place), "byte {place}");
        assert!(SourceFile::decode(&bytes[..place]).is_err());
    }
    assert!(SourceFile::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn names_and_kinds_of_sources_are_checked() {
    let make = |kind: &str, name: &str| {
        SourceFile::generate(kind, name, DEPLOYMENT, (&key(7), Vec::new()), &mut rng()).err()
    };
    for kind in ["", "Tang", "a-b", "seventeenletters0"] {
        assert_eq!(make(kind, "attic"), Some(SourceFileError::Kind));
    }
    assert_eq!(make("tang", " "), Some(SourceFileError::Card(CardError::Name)));
    assert_eq!(make("pkcs11", "hsm"), None);
}
