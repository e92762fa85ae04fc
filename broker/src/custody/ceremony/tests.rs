#![allow(clippy::unwrap_used)]

use symbolon_core::clock::Now;
use symbolon_core::seal::{CEREMONY_MS_MAX, FIRST_EPOCH, SEAL_RECORD_FORMAT, SealRecord, Sealed};
use symbolon_core::succession::{Change, NewSet};
use symbolon_proto::custody::{
    Card, CeremonyBinding, KeyKind, KeyPair, Purpose, ShareEnvelope, Submission, XWingPublicKey,
};
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::share::{Share, ShareKind, ShareSetManifest};

use super::{ChangeDesk, Stage};
use crate::random::os_rng;
use crate::testing::{DEPLOYMENT, deal, seal_record};

mod root;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn at(boot_ms: u64) -> Now {
    Now { unix_ms: 1_000_000 + boot_ms, boot_ms }
}

fn deployment() -> (Sealed, Vec<Share>) {
    let fragment = Fragment::random(&mut os_rng());
    let (set, shares) = deal(ShareKind::Fragment, DEPLOYMENT, &fragment, &["Ann", "Bob", "Cid"]);
    let record = SealRecord { format: SEAL_RECORD_FORMAT, frag_epoch: FIRST_EPOCH, ..seal_record(&set) };
    (Sealed::open(record).unwrap(), shares)
}

fn people() -> (Vec<KeyPair>, Vec<Card>) {
    let person = |name: &str| {
        let keys = KeyPair::generate(KeyKind::Custodian, &mut os_rng());
        let card = keys.card(name).unwrap();
        (keys, card)
    };
    ["Dora", "Emil"].map(person).into_iter().unzip()
}

fn sealed_for(desk: &ChangeDesk, share: &Share, purpose: Purpose) -> Submission {
    let notice = desk.notice(at(0));
    let key = XWingPublicKey::from_bytes(&notice.key).unwrap();
    let binding = CeremonyBinding { deployment: DEPLOYMENT, nonce: notice.nonce };
    Submission::seal(share, purpose, &binding, &key, &mut os_rng())
}

/// Two shares are given, and the new ones dealt.
async fn proving(now: Now) -> (ChangeDesk, Vec<Share>) {
    let ((sealed, shares), (people, cards)) = (deployment(), people());
    let mut desk = ChangeDesk::open(Change::Rekey(NewSet::new(2, &cards).unwrap()), &sealed, now);
    for (share, enough) in shares.iter().zip([false, true]) {
        let submission = sealed_for(&desk, share, Purpose::Give);
        assert_eq!(desk.take(&submission, now).unwrap(), enough);
    }
    let (desk, over) = desk.advance(now).await.unwrap();
    assert!(over.is_none());
    let proof = desk.notice(now).prove.unwrap();
    let set = ShareSetManifest::decode(&proof.manifest).unwrap();
    let open = |((x, bytes), keys): (&(u8, Vec<u8>), &KeyPair)| {
        ShareEnvelope::from_bytes(bytes).unwrap().open(&set, *x, keys.sealing().unwrap()).unwrap()
    };
    let shares = proof.envelopes.iter().zip(&people).map(open).collect();
    (desk, shares)
}

#[tokio::test]
async fn a_change_that_nobody_ends_ends_by_itself() {
    let (sealed, shares) = deployment();
    let mut desk = ChangeDesk::open(Change::Epoch, &sealed, at(0));
    assert!(!desk.is_expired(at(DAY_MS)) && desk.is_expired(at(DAY_MS + 1)), "a day without a share");
    let submission = sealed_for(&desk, &shares[0], Purpose::Give);
    desk.take(&submission, at(5)).unwrap();
    assert!(!desk.is_expired(at(5 + CEREMONY_MS_MAX)) && desk.is_expired(at(6 + CEREMONY_MS_MAX)));
    let (desk, _) = proving(at(7)).await;
    assert!(!desk.is_expired(at(7 + DAY_MS)) && desk.is_expired(at(8 + DAY_MS)), "a day without all proofs");
}

#[tokio::test]
async fn nothing_is_over_before_the_last_proof() {
    let (mut desk, shares) = proving(at(0)).await;
    let notice = desk.notice(at(0));
    assert_eq!(
        (notice.stage, notice.given.as_slice()),
        (Stage::Proving, ["Ann".to_owned(), "Bob".to_owned()].as_slice())
    );
    let first = sealed_for(&desk, &shares[0], Purpose::Prove);
    assert!(!desk.take(&first, at(1)).unwrap());
    assert!(desk.take(&first, at(1)).is_err(), "Dora has proven hers");
    let given = sealed_for(&desk, &shares[1], Purpose::Give);
    assert!(desk.take(&given, at(1)).is_err(), "a share that is given is no proof");
    assert_eq!(desk.notice(at(1)).missing, ["Emil"]);
    let second = sealed_for(&desk, &shares[1], Purpose::Prove);
    assert!(desk.take(&second, at(2)).unwrap());
    let (_, over) = desk.advance(at(2)).await.unwrap();
    let over = over.unwrap();
    assert_eq!(over.transcript.participants(), ["Ann", "Bob", "Dora", "Emil"]);
    assert_eq!(over.changed.unwrap().sealed.frag_epoch(), 2);
}
