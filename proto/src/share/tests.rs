//! Section 14's share vectors and section 15.6's ceremony.
#![allow(clippy::unwrap_used)]

use sha2::{Digest, Sha512};

use super::shamir::Point;
use super::*;
use crate::custody::{KeyKind, KeyPair};
use crate::hierarchy::Fragment;
use crate::id::DeploymentId;
use crate::secret::Secret;
use crate::testing;

/// D(label) of section 14.
fn kat(label: &str) -> [u8; 64] {
    Sha512::digest(["SKB1-KAT/", label].concat()).into()
}

fn kat_prefix<const N: usize>(label: &str) -> [u8; N] {
    *kat(label).first_chunk().unwrap()
}

fn kat_secret(label: &str) -> Secret<32> {
    Secret::filled_by(|out| *out = kat_prefix(label))
}

fn hex(text: &str) -> [u8; 32] {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

const VECTOR_POINTS: [&str; 3] = [
    "bbc55e0ec33595effdd938e15a330ecd861c95ad2f8616c04ee202f6ba716e6a",
    "5ae2ebd8df113fc0da03e081138a89c6181bf45884eea2d6b737bddf30903e6c",
    "05ff7163220d592cc7bca8a1dd14f4369bef220b143fce2de08d2131bfcf0e6e",
];
const VECTOR_DIGEST: &str = "ddd0e5bbf971e1c562cf9e88865fc9c2bb7e54a24595a15b7978258e742500e3";
const VECTOR_TEXT: &str = "skf1qy704gxlvdn6v3gpqgpmh327pmpnt900lhvn3c26xv8vmpsujkkjlpskcp8wyqhkhfcku6s3c9yke";

#[test]
fn vectors_come_out() {
    let points = shamir::split_with(&kat_secret("fragment"), &[kat_secret("a1")], 3);
    for (point, expected) in points.iter().zip(VECTOR_POINTS) {
        assert_eq!(point.y.expose(), &hex(expected), "x = {}", point.x);
    }
    let set_id = SetId::from_bytes(kat_prefix("set"));
    let digest = set::share_digest(&kat_prefix("mnonce"), &set_id, &points[0]);
    assert_eq!(digest, hex(VECTOR_DIGEST));
    let first = points.into_iter().next().unwrap();
    let share = Share::new(ShareKind::Fragment, set_id, Threshold::new(2, 3).unwrap(), first);
    assert_eq!(*share.to_text(), VECTOR_TEXT);
    assert_eq!(share.to_bytes().expose().len(), 44);
}

#[test]
fn vectors_go_back() {
    let share = Share::parse(VECTOR_TEXT).unwrap();
    assert_eq!(share.set_id().as_bytes(), &kat_prefix("set"));
    assert_eq!((share.x(), share.threshold()), (1, Threshold::new(2, 3).unwrap()));
    assert_eq!(share.point().y.expose(), &hex(VECTOR_POINTS[0]));
    let points: Vec<_> = (1..)
        .zip(VECTOR_POINTS)
        .map(|(x, y)| Point { x, y: Secret::filled_by(|out| *out = hex(y)) })
        .collect();
    for pair in [[0, 1], [1, 2], [2, 0]] {
        let fragment = shamir::recombine(&pair.map(|index| &points[index])).unwrap();
        assert!(fragment.same_as(&kat_secret("fragment")));
    }
}

fn holders(total: u8) -> Vec<Holder> {
    (1..=total).map(|x| Holder::named(["Ann ", &x.to_string()].concat())).collect()
}

struct Set {
    fragment: Fragment,
    manifest: ShareSetManifest,
    shares: Vec<[u8; SHARE_BYTES]>,
}

/// A fresh set, its shares as bytes so that tests can copy and damage them.
fn set(needed: u8, total: u8) -> Set {
    let fragment = Fragment::random(&mut testing::rng());
    let dealing = Dealing {
        kind: ShareKind::Fragment,
        deployment: DeploymentId::from_bytes([4; 16]),
        frag_epoch: 1,
        created_ms: 1_790_000_000_000,
        threshold: Threshold::new(needed, total).unwrap(),
        holders: &holders(total),
        previous: None,
    };
    let (manifest, shares) = dealing.deal(&fragment, &mut testing::rng()).unwrap();
    Set { fragment, manifest, shares: shares.iter().map(|share| *share.to_bytes().expose()).collect() }
}

fn share(bytes: &[u8; SHARE_BYTES]) -> Share {
    Share::from_bytes(bytes).unwrap()
}

#[test]
fn every_subset_of_the_threshold_opens() {
    for total in 2..=7_u8 {
        for needed in 2..=total {
            let set = set(needed, total);
            for bits in 0..1_u32 << total {
                let chosen = (0..usize::from(total)).filter(|index| bits & (1 << index) != 0);
                let mut ceremony = Ceremony::new(set.manifest.clone());
                for index in chosen.take(usize::from(needed)) {
                    ceremony.submit(share(&set.shares[index]), 0).unwrap();
                }
                let given = ceremony.progress().given;
                match ceremony.recombine() {
                    Ok(fragment) => {
                        assert!(given == needed && fragment.secret().same_as(set.fragment.secret()))
                    }
                    Err(error) => {
                        assert_eq!((error, given < needed), (RecombineError::TooFew { given, needed }, true))
                    }
                }
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_found_and_its_holder_named() {
    let set = set(3, 5);
    let mut ceremony = Ceremony::new(set.manifest.clone());
    for (index, bytes) in set.shares.iter().enumerate() {
        let expected = ["Ann ", &(index + 1).to_string()].concat();
        for bit in 0..SHARE_BYTES * 8 {
            let mut damaged = *bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            // The format, and numbers that no set can have, are refused when the share is read.
            let Ok(share) = Share::from_bytes(&damaged) else {
                assert!(bit / 8 == 0 || (9..12).contains(&(bit / 8)), "bit {bit}");
                continue;
            };
            match ceremony.submit(share, 0) {
                Err(ShareError::WrongOrTampered { holder, .. }) => assert_eq!(holder, expected, "bit {bit}"),
                other => panic!("bit {bit}: {other:?}"),
            }
            assert_eq!(ceremony.progress().given, 0);
        }
    }
}

#[test]
fn shares_of_another_set_are_foreign() {
    let (ours, theirs) = (set(2, 3), set(2, 3));
    let mut ceremony = Ceremony::new(ours.manifest.clone());
    assert_eq!(
        ceremony.submit(share(&theirs.shares[0]), 0),
        Err(ShareError::Foreign { found: theirs.manifest.set_id(), expected: ours.manifest.set_id() })
    );
}

#[test]
fn a_share_counts_once_and_only_until_there_are_enough() {
    let set = set(2, 3);
    let mut ceremony = Ceremony::new(set.manifest.clone());
    assert_eq!(ceremony.submit(share(&set.shares[1]), 0), Ok(Progress { given: 1, needed: 2 }));
    let again = ShareError::Duplicate { holder: "Ann 2".to_owned(), x: 2, missing: 1 };
    assert_eq!(again.to_string(), "the share of Ann 2 (number 2) was already given; 1 more needed");
    assert_eq!(ceremony.submit(share(&set.shares[1]), 0), Err(again));
    assert_eq!(ceremony.recombine().err(), Some(RecombineError::TooFew { given: 1, needed: 2 }));
    assert!(ceremony.submit(share(&set.shares[2]), 0).unwrap().is_complete());
    assert_eq!(ceremony.submit(share(&set.shares[0]), 0), Err(ShareError::NotNeeded { needed: 2 }));
    assert_eq!(ceremony.given(), ["Ann 2", "Ann 3"]);
    assert!(ceremony.recombine().is_ok());
}

#[test]
fn shares_expire() {
    let set = set(3, 3);
    let mut ceremony = Ceremony::new(set.manifest.clone());
    ceremony.submit(share(&set.shares[0]), 1_000).unwrap();
    ceremony.submit(share(&set.shares[1]), 5_000).unwrap();
    assert_eq!(ceremony.expire(10_999, 10_000), 0);
    assert_eq!(ceremony.expire(11_001, 10_000), 1);
    assert_eq!(ceremony.given(), ["Ann 2"]);
    assert!(ceremony.submit(share(&set.shares[0]), 11_001).is_ok());
}

#[test]
fn a_faulty_set_is_found_at_the_end() {
    let set = set(2, 2);
    let mut manifest = set.manifest.clone();
    manifest.chk[0] ^= 1;
    let mut ceremony = Ceremony::new(manifest);
    for bytes in &set.shares {
        ceremony.submit(share(bytes), 0).unwrap();
    }
    assert_eq!(ceremony.recombine().err(), Some(RecombineError::WrongCombination));
}

#[test]
fn sharing_anew_continues_the_chain_and_makes_old_shares_foreign() {
    let old = set(2, 3);
    let dealing = Dealing {
        kind: ShareKind::Fragment,
        deployment: old.manifest.deployment(),
        frag_epoch: 2,
        created_ms: 1_790_000_000_001,
        threshold: Threshold::new(3, 4).unwrap(),
        holders: &holders(4),
        previous: Some(&old.manifest),
    };
    let (manifest, shares) = dealing.deal(&old.fragment, &mut testing::rng()).unwrap();
    assert_eq!((manifest.seq(), manifest.prev_hash), (2, old.manifest.hash()));
    let mut ceremony = Ceremony::new(manifest);
    assert!(matches!(ceremony.submit(share(&old.shares[0]), 0), Err(ShareError::Foreign { .. })));
    for share in shares.into_iter().take(3) {
        ceremony.submit(share, 0).unwrap();
    }
    assert!(ceremony.recombine().unwrap().secret().same_as(old.fragment.secret()));
}

#[test]
fn manifests_come_back_and_every_changed_byte_is_noticed() {
    let mut manifest = set(2, 3).manifest;
    let keys = KeyPair::generate(KeyKind::Custodian, &mut testing::rng()).custodian_keys();
    manifest.custodians[1].keys = keys;
    manifest.set_id = manifest.computed_id();
    let bytes = manifest.encode();
    assert!(bytes.len() <= SHARE_SET_BYTES_MAX);
    assert_eq!(ShareSetManifest::decode(&bytes).unwrap(), manifest);
    for length in 0..bytes.len() {
        assert!(ShareSetManifest::decode(&bytes[..length]).is_err());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(ShareSetManifest::decode(&longer).is_err());
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        // Digests and the check value are not part of the id; a change there is another manifest, with
        // another hash.
        if let Ok(other) = ShareSetManifest::decode(&changed) {
            assert_ne!(other.hash(), manifest.hash());
            assert_eq!(other.set_id(), manifest.set_id());
        }
    }
}

#[test]
fn names_are_checked() {
    let threshold = Threshold::new(2, 3).unwrap();
    let check = |names: [&str; 3]| set::check_names(threshold, names.into_iter());
    let long = "x".repeat(65);
    assert_eq!(check(["Ann", "Bob", "Zoë"]), Ok(()));
    for bad in ["", "Ann", " Bob", "B\nob", "B\u{202e}ob", &long] {
        assert_eq!(check(["Ann", bad, "Zoë"]), Err(ShareSetError::Name { x: 2 }), "{bad:?}");
    }
    let two = set::check_names(threshold, ["Ann", "Bob"].into_iter());
    assert_eq!(two, Err(ShareSetError::Names { found: 2, total: 3 }));
}

#[test]
fn nobody_holds_two_shares_of_a_set() {
    let keys = KeyPair::generate(KeyKind::Custodian, &mut testing::rng()).custodian_keys();
    let mut holders = holders(3);
    holders[0].keys.clone_from(&keys);
    holders[2].keys = keys;
    let dealing = Dealing {
        kind: ShareKind::Fragment,
        deployment: DeploymentId::from_bytes([4; 16]),
        frag_epoch: 1,
        created_ms: 1,
        threshold: Threshold::new(2, 3).unwrap(),
        holders: &holders,
        previous: None,
    };
    let dealt = dealing.deal(&Fragment::random(&mut testing::rng()), &mut testing::rng());
    assert_eq!(dealt.err(), Some(ShareSetError::Key { x: 3 }));
}

/// Shares 1 to n of a random polynomial of degree t − 1.
fn polynomial(secret: &Secret<32>, t: u8, n: u8, rng: &mut impl rand_core::CryptoRng) -> Vec<Point> {
    shamir::split(secret, Threshold::new(t, n).unwrap(), rng)
}

fn all_give<'a>(secret: &Secret<32>, sets: impl IntoIterator<Item = Vec<&'a Point>>) -> bool {
    sets.into_iter().all(|set| shamir::recombine(&set).unwrap().same_as(secret))
}

/// Section 6.7, on shares that are whole, of which one or several are wrong, and of which some are of another
/// polynomial with the same secret: the ways in which neighbours could agree by themselves.
#[test]
fn neighbours_that_agree_speak_for_every_subset() {
    let mut rng = testing::rng();
    let secret = Secret::random(&mut rng);
    let (mut agreeing, mut differing) = (0, 0);
    for (t, n) in (2..=6).flat_map(|n| (2..=n).map(move |t| (t, n))) {
        for foreign in 0..1_u32 << n {
            for other in
                [Secret::filled_by(|out| out.copy_from_slice(secret.expose())), Secret::random(&mut rng)]
            {
                let (own, others) = (polynomial(&secret, t, n, &mut rng), polynomial(&other, t, n, &mut rng));
                let mixed: Vec<_> = (0..usize::from(n))
                    .map(|at| if foreign >> at & 1 == 0 { &own[at] } else { &others[at] })
                    .collect();
                let neighbours = mixed.windows(usize::from(t)).map(<[_]>::to_vec);
                let subsets = (0..1_u32 << n).filter(|set| set.count_ones() == u32::from(t));
                let subsets = subsets.map(|set| {
                    let chosen = mixed.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1);
                    chosen.map(|(_, point)| *point).collect()
                });
                let agree = all_give(&secret, neighbours);
                assert_eq!(agree, all_give(&secret, subsets), "{t} of {n}, {foreign:b}");
                *if agree { &mut agreeing } else { &mut differing } += 1;
            }
        }
    }
    assert!(agreeing > 30 && differing > 100, "{agreeing} {differing}");
}
