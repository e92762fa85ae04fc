//! RFC 9497, ristretto255-SHA512, VOPRF mode: blinding, evaluation, proof, verification and output.

use curve25519_dalek::ristretto::RistrettoPoint;
use sha2::{Digest, Sha512};

use super::{Vectors, unhex};
use crate::codec::lp_len;
use crate::dleq::{self, Proof, Transcript};
use crate::evaluate::{self, RemoteKey};
use crate::group::{Point, Scalar, expand_message};
use crate::secret::Secret;

const FILE: &str = include_str!("../../tests/vectors/rfc9497-ristretto255-voprf.txt");
const CONTEXT: &[u8] = b"OPRFV1-\x01-ristretto255-SHA512";

fn list<const N: usize>(vectors: &Vectors, name: &str) -> Vec<[u8; N]> {
    vectors.text(name).split(',').map(|hex| unhex(hex).try_into().unwrap()).collect()
}

fn points(vectors: &Vectors, name: &str) -> Vec<Point> {
    list(vectors, name).iter().map(|bytes| Point::decode(bytes).unwrap()).collect()
}

fn hash_to_group(input: &[u8]) -> Point {
    let tag = [b"HashToGroup-", CONTEXT].concat();
    Point::from_element(RistrettoPoint::from_uniform_bytes(&expand_message(&[input], &tag))).unwrap()
}

#[test]
fn all_vectors_of_the_voprf_mode() {
    let (head, tests) = FILE.split_once("\n# A.1.2.1").unwrap();
    let key_text = Vectors(head);
    let secret = Secret::filled_by(|out| *out = key_text.array("skSm"));
    let key = RemoteKey::from_secret(secret).unwrap();
    assert_eq!(key.public_key().as_bytes(), &key_text.array("pkSm"));
    let tests: Vec<_> = tests.split("\n# ").map(Vectors).collect();
    assert_eq!(tests.len(), 3);
    tests.iter().for_each(|test| check(&key, test));
}

fn check(key: &RemoteKey, test: &Vectors) {
    let inputs: Vec<_> = test.text("Input").split(',').map(unhex).collect();
    let blinds: Vec<_> = list(test, "Blind").iter().map(|b| Scalar::decode(b).unwrap()).collect();
    let blinded = points(test, "BlindedElement");
    for ((input, blind), expected) in inputs.iter().zip(&blinds).zip(&blinded) {
        assert_eq!(evaluate::multiply(blind, &[hash_to_group(input)]), [*expected]);
    }

    let transcript = Transcript::Rfc9497 { context: CONTEXT };
    let nonce = Scalar::decode(&test.array("ProofRandomScalar")).unwrap();
    let evaluation = key.evaluate_fixed(transcript, &blinded, nonce);
    let evaluated = points(test, "EvaluationElement");
    assert_eq!(evaluation.points, evaluated);
    assert_eq!(evaluation.proof.unwrap().to_bytes(), test.array("Proof"));

    let proof = Proof::parse(&test.array("Proof")).unwrap().unwrap();
    assert!(dleq::verify(transcript, key.public_key(), &blinded, &evaluated, &proof));
    let swapped: Vec<_> = blinded.iter().rev().copied().collect();
    assert!(blinded.len() == 1 || !dleq::verify(transcript, key.public_key(), &swapped, &evaluated, &proof));

    let outputs: Vec<[u8; 64]> = list(test, "Output");
    for (((input, blind), v), expected) in inputs.iter().zip(&blinds).zip(&evaluated).zip(outputs) {
        let unblinded = (v.element() * blind.element().invert()).compress().to_bytes();
        let mut hash = Sha512::new_with_prefix(lp_len(input));
        hash.update(input);
        hash.update([0, 32]);
        hash.update(unblinded);
        hash.update(b"Finalize");
        assert_eq!(<[u8; 64]>::from(hash.finalize()), expected);
    }
}
