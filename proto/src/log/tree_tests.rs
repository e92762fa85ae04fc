#![allow(clippy::unwrap_used)]

use core::convert::Infallible;

use proptest::prelude::*;

use super::*;

/// The eight leaves of the Certificate Transparency reference tests.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

/// Roots of the first 1, 2, … 8 of them.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hash(hex: &str) -> Hash {
    Hash(data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap())
}

fn reference_leaves() -> Vec<Hash> {
    LEAVES.iter().map(|hex| leaf_hash(&data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap())).collect()
}

fn numbered_leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

/// MTH of RFC 6962 section 2.1, word for word.
fn slow_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&slow_root(left), &slow_root(right))
        }
    }
}

/// Reads complete nodes straight from the leaves.
fn reader(leaves: &[Hash]) -> impl FnMut(Node) -> Result<Hash, Infallible> {
    |node| {
        let width = 1_usize << node.level;
        let begin = usize::try_from(node.index).unwrap() * width;
        Ok(slow_root(&leaves[begin..begin + width]))
    }
}

fn inclusion(index: u64, size: u64, leaves: &[Hash]) -> Vec<Hash> {
    prove_inclusion(index, size, &mut reader(leaves)).unwrap()
}

fn consistency(old: u64, new: u64, leaves: &[Hash]) -> Vec<Hash> {
    prove_consistency(old, new, &mut reader(leaves)).unwrap()
}

#[test]
fn published_roots_come_out() {
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), Hash::EMPTY_ROOT);
    assert_eq!(Hash::EMPTY_ROOT.0, <[u8; 32]>::from(Sha256::digest([])));
    for (leaf, root) in reference_leaves().into_iter().zip(ROOTS) {
        frontier.append(leaf);
        assert_eq!(frontier.root(), hash(root));
    }
}

#[test]
fn published_proofs_come_out() {
    let leaves = reference_leaves();
    let first = [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ];
    assert_eq!(inclusion(0, 8, &leaves), first.map(hash));
    assert_eq!(consistency(1, 8, &leaves), first.map(hash));
    let from_six = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(consistency(6, 8, &leaves), from_six.map(hash));
    let from_two = [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ];
    assert_eq!(consistency(2, 5, &leaves), from_two.map(hash));
}

#[test]
fn appending_completes_every_node_once() {
    let leaves = numbered_leaves(300);
    let mut frontier = Frontier::new();
    let mut nodes = Vec::new();
    for (count, leaf) in (1..).zip(&leaves) {
        frontier.append_with(*leaf, |node, hash| nodes.push((node, hash)));
        let seen = &leaves[..count];
        assert_eq!(frontier.root(), slow_root(seen));
        assert_eq!(Frontier::from_bytes(&frontier.to_bytes()), Ok(frontier.clone()));
        let size = u64::try_from(count).unwrap();
        assert_eq!(Frontier::read(size, &mut reader(seen)), Ok(frontier.clone()));
    }
    for (node, hash) in &nodes {
        assert_eq!(reader(&leaves)(*node), Ok(*hash));
    }
    // 300 leaves: 300 + 150 + 75 + 37 + 18 + 9 + 4 + 2 + 1.
    assert_eq!(nodes.len(), 596);
}

#[test]
fn all_inclusion_proofs_up_to_70_verify_and_no_other_does() {
    let leaves = numbered_leaves(70);
    for size in 1..=70 {
        let root = slow_root(&leaves[..usize::try_from(size).unwrap()]);
        for index in 0..size {
            let leaf = leaves[usize::try_from(index).unwrap()];
            let proof = inclusion(index, size, &leaves);
            assert_eq!(verify_inclusion(index, size, &leaf, &proof, &root), Ok(()));
            for other in (0..size).filter(|other| *other != index) {
                assert!(verify_inclusion(other, size, &leaf, &proof, &root).is_err());
            }
            assert!(verify_inclusion(index, size, &root, &proof, &root).is_err() || size == 1);
            for shorter in 0..proof.len() {
                assert!(verify_inclusion(index, size, &leaf, &proof[..shorter], &root).is_err());
            }
            let longer = [&proof[..], &[leaf]].concat();
            assert_eq!(verify_inclusion(index, size, &leaf, &longer, &root), Err(ProofError::Length));
        }
    }
}

#[test]
fn all_consistency_proofs_up_to_70_verify_and_no_other_does() {
    let leaves = numbered_leaves(70);
    let roots: Vec<_> = (0..=leaves.len()).map(|size| slow_root(&leaves[..size])).collect();
    let root = |size: u64| &roots[usize::try_from(size).unwrap()];
    for new in 0..=70 {
        for old in 0..=new {
            let proof = consistency(old, new, &leaves);
            assert_eq!(verify_consistency(old, new, root(old), root(new), &proof), Ok(()), "{old} to {new}");
            let forged = leaf_hash(b"forged");
            assert!(verify_consistency(old, new, &forged, root(new), &proof).is_err());
            if old > 0 {
                assert!(verify_consistency(old, new, root(old), &forged, &proof).is_err());
            }
            for shorter in 0..proof.len() {
                assert!(verify_consistency(old, new, root(old), root(new), &proof[..shorter]).is_err());
            }
            let longer = [&proof[..], &[forged]].concat();
            assert!(verify_consistency(old, new, root(old), root(new), &longer).is_err());
        }
    }
}

#[test]
fn impossible_questions_are_refused() {
    let leaves = numbered_leaves(4);
    let out = ProveError::Range { asked: 4, size: 4 };
    assert_eq!(prove_inclusion(4, 4, &mut reader(&leaves)), Err(out));
    assert_eq!(prove_consistency(5, 4, &mut reader(&leaves)), Err(ProveError::Range { asked: 5, size: 4 }));
    let root = slow_root(&leaves);
    let range = Err(ProofError::Range { asked: 4, size: 4 });
    assert_eq!(verify_inclusion(4, 4, &leaves[0], &[], &root), range);
    assert!(verify_inclusion(0, 0, &leaves[0], &[], &Hash::EMPTY_ROOT).is_err());
    assert!(verify_consistency(5, 4, &root, &root, &[]).is_err());
    assert!(verify_inclusion(u64::MAX - 1, u64::MAX, &leaves[0], &leaves, &root).is_err());
    assert!(verify_consistency(u64::MAX - 1, u64::MAX, &root, &root, &leaves).is_err());
}

#[test]
fn damaged_frontiers_are_refused() {
    let mut frontier = Frontier::new();
    numbered_leaves(7).into_iter().for_each(|leaf| frontier.append(leaf));
    let bytes = frontier.to_bytes();
    assert_eq!(bytes.len(), 8 + 3 * 32);
    assert!(Frontier::from_bytes(&bytes[1..]).is_err());
    assert!(Frontier::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
}

proptest! {
    #[test]
    fn any_changed_bit_breaks_an_inclusion_proof(
        size in 2_u64..300, at: prop::sample::Index, bit in 0_usize..256, which: prop::sample::Index,
    ) {
        let leaves = numbered_leaves(size);
        let index = u64::try_from(at.index(leaves.len())).unwrap();
        let leaf = leaf_hash(&index.to_be_bytes());
        let root = slow_root(&leaves);
        let mut proof = inclusion(index, size, &leaves);
        prop_assert_eq!(verify_inclusion(index, size, &leaf, &proof, &root), Ok(()));
        which.get_mut(&mut proof).0[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(verify_inclusion(index, size, &leaf, &proof, &root), Err(ProofError::Root));
    }

    #[test]
    fn any_changed_bit_breaks_a_consistency_proof(
        new in 2_u64..300, at: prop::sample::Index, bit in 0_usize..256, which: prop::sample::Index,
    ) {
        let leaves = numbered_leaves(new);
        let old = 1 + at.index(leaves.len() - 1);
        let (old_root, new_root) = (slow_root(&leaves[..old]), slow_root(&leaves));
        let old = u64::try_from(old).unwrap();
        let mut proof = consistency(old, new, &leaves);
        prop_assert_eq!(verify_consistency(old, new, &old_root, &new_root, &proof), Ok(()));
        which.get_mut(&mut proof).0[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(verify_consistency(old, new, &old_root, &new_root, &proof), Err(ProofError::Root));
    }

    #[test]
    fn no_invented_proof_verifies_or_panics(
        index: u64, size: u64, hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let hashes: Vec<_> = hashes.into_iter().map(Hash).collect();
        let leaf = leaf_hash(b"leaf");
        prop_assert!(verify_inclusion(index, size, &leaf, &hashes, &leaf_hash(b"root")).is_err());
        prop_assert!(verify_consistency(index, size, &leaf, &leaf_hash(b"root"), &hashes).is_err());
    }
}
