#![allow(clippy::unwrap_used)]

use rand_core::UnwrapErr;
use symbolon_proto::custody::{KeyKind, KeyPair, Parcel};
use symbolon_proto::id::{BrokerId, DeploymentId};
use symbolon_proto::secret::Secret;

use super::*;
use crate::seal::{FIRST_EPOCH, Recovery, SEAL_RECORD_FORMAT, SealRecord, Unsealed};

type Rng = UnwrapErr<getrandom::SysRng>;

const NOW: Now = Now { unix_ms: 5, boot_ms: 5 };

fn rng() -> Rng {
    UnwrapErr(getrandom::SysRng)
}

/// A deployment whose two custodians have no cards, as `init` with names makes it.
fn deployment() -> (Sealed, Fragment, Vec<Share>) {
    let deployment = DeploymentId::from_bytes([1; 16]);
    let fragment = Fragment::random(&mut rng());
    let dealing = Dealing {
        kind: ShareKind::Fragment,
        deployment,
        frag_epoch: FIRST_EPOCH,
        created_ms: 0,
        threshold: Threshold::new(2, 2).unwrap(),
        holders: &["Ann", "Bob"].map(Holder::named),
        previous: None,
    };
    let (set, shares) = dealing.deal(&fragment, &mut rng()).unwrap();
    let record = SealRecord {
        format: SEAL_RECORD_FORMAT,
        deployment: deployment.to_string(),
        broker: BrokerId::from_bytes([2; 16]).to_string(),
        created_ms: 0,
        recovery: Recovery::None,
        share_set: data_encoding::HEXLOWER.encode(&set.encode()),
        frag_epoch: FIRST_EPOCH,
        service_root: String::new(),
        log_key: String::new(),
    };
    (Sealed::open(record).unwrap(), fragment, shares)
}

fn people(names: &[&str]) -> (Vec<KeyPair>, Vec<Card>) {
    names
        .iter()
        .map(|name| {
            let keys = KeyPair::generate(KeyKind::Custodian, &mut rng());
            let card = keys.card(name).unwrap();
            (keys, card)
        })
        .unzip()
}

/// What t of the new custodians give the broker that starts with the new record.
fn opened(changed: &Changed, people: &[KeyPair]) -> EpochKeys {
    let mut ceremony = changed.sealed.begin(&mut rng());
    let set = changed.sealed.share_set();
    for ((x, keys), envelope) in (1..).zip(people).zip(&changed.envelopes).take(set.threshold().into()) {
        let parcel = Parcel::new(set.clone(), x, envelope.clone()).unwrap();
        ceremony.submit(parcel.open(keys.sealing().unwrap()).unwrap(), NOW).unwrap();
    }
    ceremony.finish().unwrap()
}

fn same(one: &Secret<32>, other: &Secret<32>) -> bool {
    one.same_as(other)
}

/// As `proto/tests/skb1/depth.rs`, for what this crate does with keys.
#[test]
fn key_work_is_wiped_deeper_than_it_writes() {
    let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    symbolon_proto::secret::gauge::check(&src, 3, || {
        let (sealed, fragment, _) = deployment();
        let (keys, cards) = people(&["Cid", "Dan", "Eva"]);
        let change = Change::Rekey(NewSet::new(2, &cards).unwrap());
        let changed = change.apply(&sealed, &fragment, NOW, &mut rng()).unwrap().unwrap();
        let keys = opened(&changed, &keys);
        let _ = crate::token::hash_of(keys.net().secret(), "hvs.a-token");
        crate::tang::tests::key_work();
    });
}

#[test]
fn a_reshare_gives_other_people_the_same_keys() {
    let (sealed, fragment, old_shares) = deployment();
    let (keys, cards) = people(&["Cid", "Dan", "Eva"]);
    let change = Change::Reshare(NewSet::new(2, &cards).unwrap());
    let changed = change.apply(&sealed, &fragment, NOW, &mut rng()).unwrap().unwrap();
    let (before, after) = (EpochKeys::derive(&fragment, &sealed), opened(&changed, &keys));
    assert!(same(before.net().secret(), after.net().secret()));
    assert_eq!(changed.sealed.frag_epoch(), sealed.frag_epoch());
    let set = changed.sealed.share_set();
    assert_eq!((set.seq(), set.threshold()), (2, 2));
    // An old share is foreign to the new set, whoever brings it.
    let mut ceremony = changed.sealed.begin(&mut rng());
    let error = ceremony.submit(old_shares.into_iter().next().unwrap(), NOW).unwrap_err();
    assert!(error.to_string().starts_with("foreign share"), "{error}");
}

#[test]
fn a_rekey_gives_keys_that_nobody_could_derive_before() {
    let (sealed, fragment, _) = deployment();
    let (keys, cards) = people(&["Cid", "Dan"]);
    let change = Change::Rekey(NewSet::new(2, &cards).unwrap());
    let changed = change.apply(&sealed, &fragment, NOW, &mut rng()).unwrap().unwrap();
    assert_eq!(changed.sealed.frag_epoch(), 2);
    let after = opened(&changed, &keys);
    let of_old_fragment = fragment.root(&sealed.deployment()).purposes(2);
    assert!(!same(after.net().secret(), of_old_fragment.net.secret()));
    assert!(same(after.net().secret(), changed.keys.net().secret()));
}

#[test]
fn an_epoch_leaves_the_shares_and_changes_the_keys() {
    let (sealed, fragment, shares) = deployment();
    let changed = Change::Epoch.apply(&sealed, &fragment, NOW, &mut rng()).unwrap().unwrap();
    assert_eq!(changed.sealed.share_set(), sealed.share_set());
    let mut ceremony = changed.sealed.begin(&mut rng());
    for share in shares {
        ceremony.submit(share, NOW).unwrap();
    }
    let after = ceremony.finish().unwrap();
    assert!(same(after.net().secret(), changed.keys.net().secret()));
    assert!(!same(after.net().secret(), EpochKeys::derive(&fragment, &sealed).net().secret()));
}

#[test]
fn what_stays_stays_and_the_epoch_before_decrypts_what_it_encrypted() {
    let (sealed, fragment, _) = deployment();
    let before = Unsealed::first(&fragment, &sealed);
    let changed = Change::Epoch.apply(&sealed, &fragment, NOW, &mut rng()).unwrap().unwrap();
    let after = changed.keys.succeed(&before);
    assert!(same(after.names().secret(), before.names().secret()));
    assert!(same(after.state().secret(), before.state().secret()));
    assert!(same(after.audit().secret(), before.audit().secret()));
    assert!(!same(after.keys().index.secret(), before.keys().index.secret()));
    let previous = after.previous().unwrap();
    assert_eq!((previous.epoch, after.keys().epoch), (1, 2));
    assert!(same(previous.index.secret(), before.keys().index.secret()));
    // The next unseal finds the same, and nothing without the row.
    let again = || EpochKeys::derive(&fragment, &changed.sealed);
    let inherited = |bytes: &[u8]| Some(crate::inherited_keys::InheritedKeys::decode(bytes).unwrap());
    let reopened = again().complete(inherited(&after.inherited())).unwrap();
    assert!(same(&reopened.previous().unwrap().capsule.secret().duplicate(), previous.capsule.secret()));
    assert!(again().complete(inherited(&after.inherited_for_good())).unwrap().previous().is_none());
    assert!(again().complete(None).is_err());
    // Other people may take the shares over meanwhile: what is still to be opened stays so.
    let (_, cards) = people(&["Cid", "Dan"]);
    let reshare = Change::Reshare(NewSet::new(2, &cards).unwrap());
    let reshared = reshare.apply(&changed.sealed, &fragment, NOW, &mut rng()).unwrap().unwrap();
    let next = reshared.keys.succeed(&after);
    assert!(same(next.previous().unwrap().index.secret(), previous.index.secret()));
    after.forget_previous();
    assert!(after.previous().is_none());
}

#[test]
fn a_record_names_an_epoch_that_its_shares_can_have() {
    let (sealed, fragment, _) = deployment();
    let changed = Change::Epoch.apply(&sealed, &fragment, NOW, &mut rng()).unwrap().unwrap();
    let record = changed.sealed.record();
    assert!(Sealed::open(record.clone()).is_ok());
    for (format, frag_epoch) in [(1, 2), (2, 0), (4, 2), (0, 0)] {
        let wrong = SealRecord { format, frag_epoch, ..record.clone() };
        assert!(Sealed::open(wrong).is_err(), "format {format}, epoch {frag_epoch}");
    }
}

#[test]
fn the_key_that_hashes_names_opens_no_row_but_in_deployments_of_before() {
    let (sealed, fragment, _) = deployment();
    let of = |format, frag_epoch| {
        let record = SealRecord { format, frag_epoch, ..sealed.record().clone() };
        Unsealed::first(&fragment, &Sealed::open(record).unwrap())
    };
    for (format, frag_epoch, is_index) in
        [(SEAL_RECORD_FORMAT, FIRST_EPOCH, false), (2, FIRST_EPOCH, false), (1, 0, true)]
    {
        let unsealed = of(format, frag_epoch);
        assert_eq!(same(unsealed.names().secret(), unsealed.keys().index.secret()), is_index);
        let record = SealRecord { format, frag_epoch, ..sealed.record().clone() };
        let raised = Sealed::open(record).unwrap().raised();
        assert_eq!(raised.is_none(), format == SEAL_RECORD_FORMAT, "it is raised once");
        let Some(raised) = raised else { continue };
        assert_eq!(raised.record().format, SEAL_RECORD_FORMAT);
        let again = Unsealed::first(&fragment, &Sealed::open(raised.record().clone()).unwrap());
        assert!(same(again.names().secret(), unsealed.names().secret()), "names stay what they were");
    }
}

#[test]
fn sets_that_cannot_be_dealt_are_refused_before_anybody_gives_a_share() {
    let (_, cards) = people(&["Cid", "Dan"]);
    for threshold in [0, 1, 3] {
        assert_eq!(NewSet::new(threshold, &cards).err(), Some(NewSetError::Numbers));
    }
    assert_eq!(NewSet::new(2, &cards[..1]).err(), Some(NewSetError::Numbers));
    let twice = [cards[0].clone(), cards[0].clone()];
    assert!(matches!(NewSet::new(2, &twice), Err(NewSetError::Holders(_))));
}

#[test]
fn a_wish_says_who_is_to_hold_the_shares() {
    let (_, cards) = people(&["Cid", "Dan"]);
    let set = NewSet::new(2, &cards).unwrap();
    assert_eq!(Change::Reshare(set).to_string(), "reshare to 2 of 2: Cid, Dan");
    assert_eq!(Change::Epoch.to_string(), "epoch");
}

#[test]
fn a_drill_waits_for_everybody_and_changes_nothing() {
    let (sealed, _, shares) = deployment();
    let mut ceremony = sealed.begin_drill(&mut rng());
    assert_eq!(ceremony.progress().threshold, 2);
    for share in shares {
        assert!(!ceremony.progress().is_complete());
        ceremony.submit(share, NOW).unwrap();
    }
    let fragment = ceremony.recombine().unwrap();
    assert!(Change::Drill.apply(&sealed, &fragment, NOW, &mut rng()).unwrap().is_none());
}
