#![allow(clippy::unwrap_used)]

use super::*;
use crate::custodian::{Card, KeyKind, KeyPair};
use crate::id::{BackupId, DeploymentId};
use crate::log::VerifierKey;
use crate::signing::SigningSeed;
use crate::testing::rng;

struct People {
    keys: Vec<KeyPair>,
    cards: Vec<Card>,
    log: SigningSeed,
}

fn people() -> People {
    let rng = &mut rng();
    let keys: Vec<_> = (0..3).map(|_| KeyPair::generate(KeyKind::Custodian, rng)).collect();
    let cards = keys.iter().zip(["ana", "boris"]).map(|(key, name)| key.card(name).unwrap()).collect();
    People { keys, cards, log: SigningSeed::random(rng) }
}

impl People {
    fn about(&self) -> About {
        About {
            deployment: DeploymentId::from_bytes([7; 16]),
            backup: BackupId::from_bytes([8; 16]),
            made: 1_796_040_000,
            entries: 42,
            log_key: VerifierKey::new("symbolon/x", self.log.public_key()).unwrap(),
        }
    }

    fn write(&self, rows: &[Row]) -> Vec<u8> {
        let rng = &mut rng();
        let mut writer = BackupWriter::begin(self.about(), &self.cards, rng).unwrap();
        let mut all = writer.take();
        for (key, value) in rows {
            writer.row(key, value, rng);
            all.extend(writer.take());
        }
        all.extend(writer.finish(&self.log, rng));
        all
    }

    fn read(&self, who: Option<usize>, bytes: &[u8], step: usize) -> Result<(Vec<Row>, Whole), BackupError> {
        let mut reader = BackupReader::new(who.and_then(|who| self.keys[who].sealing()));
        let mut rows = Vec::new();
        for part in bytes.chunks(step) {
            rows.extend(reader.feed(part)?);
        }
        Ok((rows, reader.finish()?))
    }
}

/// Rows of which one crosses two borders of pieces and one ends at one.
fn long_rows() -> Vec<Row> {
    let row = |key: u8, len: usize| (vec![key; 17], vec![key; len]);
    let to_the_border = PIECE_BYTES - (17 + 6) * 2 - 10;
    vec![row(1, 10), row(2, to_the_border), row(3, 0), row(4, 3 * PIECE_BYTES), row(5, 1)]
}

#[test]
fn every_recipient_gets_every_row_whatever_the_steps() {
    let people = people();
    for rows in [vec![], long_rows(), long_rows()[..2].to_vec()] {
        let backup = people.write(&rows);
        for step in [1 << 20, 65_537, 4096] {
            for who in [0, 1] {
                let (found, whole) = people.read(Some(who), &backup, step).unwrap();
                assert!(found == rows, "{} rows in steps of {step}", rows.len());
                assert_eq!(whole.rows, Some(rows.len() as u64));
                assert_eq!((whole.head.about(), whole.bytes), (&people.about(), backup.len() as u64));
                assert_eq!(whole.head.recipients().collect::<Vec<_>>(), ["ana", "boris"]);
            }
        }
    }
}

#[test]
fn without_a_key_it_is_known_to_be_whole_and_shows_no_row() {
    let people = people();
    let backup = people.write(&long_rows());
    let (rows, whole) = people.read(None, &backup, 4096).unwrap();
    assert_eq!((rows, whole.rows), (vec![], None));
    let refused = people.read(Some(2), &backup, 4096).unwrap_err();
    assert_eq!(refused, BackupError::NotForThisKey { recipients: "ana, boris".to_owned() });
}

#[test]
fn a_flipped_bit_anywhere_is_refused_with_and_without_a_key() {
    let people = people();
    let backup = people.write(&[(vec![1; 17], b"one".to_vec()), (vec![2; 17], b"two".to_vec())]);
    for at in 0..backup.len() {
        let mut damaged = backup.clone();
        damaged[at] ^= 1 << (at % 8);
        for who in [None, Some(0), Some(1)] {
            assert!(people.read(who, &damaged, 512).is_err(), "byte {at} by {who:?}");
        }
    }
}

#[test]
fn what_is_cut_or_goes_on_is_refused() {
    let people = people();
    let backup = people.write(&[(vec![1; 17], b"one".to_vec())]);
    for length in 0..backup.len() {
        let cut = people.read(Some(0), &backup[..length], 512).unwrap_err();
        assert_eq!(cut, BackupError::Cut { found: length as u64 });
    }
    let longer = [backup.as_slice(), &[0]].concat();
    assert_eq!(people.read(None, &longer, 1 << 20).unwrap_err(), BackupError::Trailing);
}

/// A piece left out with its length, by somebody who cannot sign: the key alone tells.
#[test]
fn pieces_are_sealed_for_their_place() {
    let people = people();
    let backup = people.write(&long_rows());
    let pieces = pieces(&backup);
    assert!(pieces.len() > 3);
    let moved = |order: &[usize]| {
        let mut out = backup[..pieces[0].start].to_vec();
        order.iter().for_each(|&piece| out.extend(&backup[pieces[piece].clone()]));
        out.extend(&backup[pieces.last().unwrap().end..]);
        out
    };
    let count = pieces.len();
    let all: Vec<usize> = (0..count).collect();
    assert!(people.read(Some(0), &moved(&all), 4096).is_ok());
    for (order, wrong) in [
        ([&[1, 0], &all[2..]].concat(), 0),
        (all[1..].to_vec(), 0),
        (all[..count - 1].to_vec(), count as u64 - 2),
        ([&all[..], &all[count - 1..]].concat(), count as u64 - 1),
    ] {
        let refused = people.read(Some(0), &moved(&order), 4096).unwrap_err();
        assert_eq!(refused, BackupError::Piece { number: wrong }, "{order:?}");
        assert_eq!(people.read(None, &moved(&order), 4096).unwrap_err(), BackupError::Signature);
    }
}

fn pieces(backup: &[u8]) -> Vec<std::ops::Range<usize>> {
    let length = |at: usize| u32::from_be_bytes(backup[at..at + 4].try_into().unwrap()) as usize;
    let mut at = PREFIX.len() + 4 + length(PREFIX.len());
    let mut pieces = Vec::new();
    while length(at) > 0 {
        pieces.push(at..at + 4 + length(at));
        at += 4 + length(at);
    }
    pieces
}

#[test]
fn what_is_no_backup_is_told_at_once() {
    let people = people();
    assert_eq!(people.read(None, b"SQLite format 3\0", 16).unwrap_err(), BackupError::Foreign);
    let long = [PREFIX.as_slice(), &u32::MAX.to_be_bytes()].concat();
    assert!(matches!(people.read(None, &long, 16).unwrap_err(), BackupError::Length { .. }));
    let nobody = BackupWriter::begin(people.about(), &[], &mut rng()).err();
    assert_eq!(nobody, Some(HeadError::Recipients { found: 0 }));
}

/// The signature of another log's key does not help: it has to be the one that the head names.
#[test]
fn the_signature_is_of_the_key_in_the_head() {
    let mut people = people();
    let others = SigningSeed::random(&mut rng());
    let about = people.about();
    let rng = &mut rng();
    let writer = BackupWriter::begin(about, &people.cards, rng).unwrap();
    people.log = others;
    let backup = writer.finish(&people.log, rng);
    assert_eq!(people.read(Some(0), &backup, 4096).unwrap_err(), BackupError::Signature);
}
