//! Section 14, in both directions: what we make equals the vectors, and what the vectors hold opens.

use curve25519_dalek::scalar::Scalar as CurveScalar;
use sha2::{Digest, Sha512};

use super::Vectors;
use crate::blind::Blinded;
use crate::capsule::{CAPSULE_BYTES, Capsule, CapsuleError, EncapsulationKey, Kek, encapsulate_with};
use crate::context::{CapsuleContext, RecordContext, RecordKind, Scope, wrap_context};
use crate::dleq::{self, Proof, Transcript};
use crate::evaluate::{RemoteKey, VerifiedEvaluation};
use crate::frame::{EvaluateRequest, Target};
use crate::group::{Point, PublicKey, Scalar};
use crate::hierarchy::{CapsuleKey, Fragment, PurposeKeys, StateKey};
use crate::id::{CapsuleId, DeploymentId, KeyId, MountId, RequestId, SecretId, TenantId};
use crate::record;
use crate::sealedbox::{self, OpenError, tests::seal_salted};
use crate::secret::Secret;

const V: Vectors = Vectors(include_str!("../../tests/vectors/skb1.txt"));

/// D(label) of section 14.
fn d(label: &str) -> [u8; 64] {
    Sha512::new_with_prefix(b"SKB1-KAT/").chain_update(label).finalize().into()
}

fn d16(label: &str) -> [u8; 16] {
    *d(label).first_chunk().unwrap()
}

fn d32(label: &str) -> Secret<32> {
    Secret::filled_by(|out| *out = *d(label).first_chunk().unwrap())
}

fn scalar(label: &str) -> Scalar {
    Scalar::from_element(CurveScalar::from_bytes_mod_order_wide(&d(label))).unwrap()
}

fn keys() -> PurposeKeys {
    Fragment::from_secret(d32("fragment")).root(&DeploymentId::from_bytes(d16("deployment"))).purposes(1)
}

fn remote_key() -> RemoteKey {
    let bytes = scalar("remote").element().to_bytes();
    RemoteKey::from_secret(Secret::filled_by(|out| *out = bytes)).unwrap()
}

fn capsule_context() -> CapsuleContext {
    CapsuleContext {
        deployment: DeploymentId::from_bytes(d16("deployment")),
        tenant: TenantId::from_bytes(d16("tenant")),
        mount: MountId::from_bytes(d16("namespace")),
        bucket: 0,
        kek_epoch: 1,
        capsule: CapsuleId::from_bytes(d16("capsule")),
        key: KeyId::from_bytes(d16("key_id")),
        fragment_epoch: 1,
        scope: Scope::Bucket,
    }
}

fn record_context() -> RecordContext {
    let capsule = capsule_context();
    RecordContext {
        kind: RecordKind::Value,
        deployment: capsule.deployment,
        tenant: capsule.tenant,
        mount: capsule.mount,
        secret: SecretId::from_bytes(d16("secret")),
        version: 7,
    }
}

fn target() -> Target {
    Target { key: capsule_context().key, key_epoch: 1, share_epoch: 1 }
}

/// The capsule as section 14 gives it, put together from its published parts.
fn published_capsule() -> Vec<u8> {
    let context = capsule_context();
    let mut bytes = vec![1, 1];
    bytes.extend(context.key.as_bytes());
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    bytes.extend(context.capsule.as_bytes());
    bytes.extend(V.bytes("w"));
    bytes.extend(V.bytes("capsule.com"));
    bytes.extend(V.bytes("capsule.ct"));
    bytes
}

fn published_record() -> Vec<u8> {
    let mut bytes = vec![1, 1];
    bytes.extend(capsule_context().capsule.as_bytes());
    bytes.extend(V.bytes("record.wrap"));
    bytes.extend(V.bytes("record.payload(hunter2)"));
    bytes
}

#[test]
fn hierarchy() {
    assert_eq!(d32("fragment").expose(), &V.array("c"));
    assert_eq!(d16("deployment"), V.array("deployment_id"));
    assert_eq!(keys().capsule.secret().expose(), &V.array("K_capsule[1]"));
    assert_eq!(keys().state.secret().expose(), &V.array("K_state[1]"));
    let _: (&CapsuleKey, &StateKey) = (&keys().capsule, &keys().state);
}

#[test]
fn remote_key_pair() {
    assert_eq!(remote_key().secret().expose(), &V.array("k"));
    assert_eq!(remote_key().public_key().as_bytes(), &V.array("y"));
}

#[test]
fn capsule_closes_to_the_vector() {
    let context = capsule_context();
    assert_eq!(*context.encode(), V.bytes("ctx_cap"));
    let remote = EncapsulationKey { key_epoch: 1, public: PublicKey::decode(&V.array("y")).unwrap() };
    let kek = Kek::from_secret(d32("kek"));
    assert_eq!(kek.secret().expose(), &V.array("KEK"));
    let capsule = encapsulate_with(&context, &remote, &keys().capsule, &kek, scalar("r"));
    assert_eq!(capsule.to_bytes(), published_capsule());
    assert_eq!(capsule.to_bytes().len(), CAPSULE_BYTES);
    assert_eq!(CAPSULE_BYTES.to_string(), V.text("capsule_len"));
}

#[test]
fn shared_secret_is_the_vector() {
    let shared = remote_key().evaluate_fixed(
        Transcript::Skb1 { request: &[0; 32] },
        &[Point::decode(&V.array("w")).unwrap()],
        scalar("nonce1"),
    );
    assert_eq!(shared.points[0].as_bytes(), &V.array("S"));
}

/// The published capsule opens by the whole way: blind, evaluate, verify, finalize, open.
#[test]
fn capsule_of_the_vector_opens() {
    let capsule = Capsule::parse(&published_capsule()).unwrap();
    let rng = &mut crate::testing::rng();
    let mut open = |context: &CapsuleContext| {
        let blinded = Blinded::blind(&[&capsule], target(), rng).unwrap();
        let evaluation = remote_key().evaluate(blinded.request(), rng);
        let verified = VerifiedEvaluation {
            node: 1,
            request_hash: *blinded.request().hash(),
            points: evaluation.points,
            quota_left: 0,
        };
        let shared = blinded.finalize(verified).unwrap().pop().unwrap();
        capsule.open(context, &keys().capsule, shared)
    };
    assert_eq!(open(&capsule_context()).unwrap().secret().expose(), &V.array("KEK"));
    let elsewhere = CapsuleContext { bucket: 1, ..capsule_context() };
    assert_eq!(open(&elsewhere).err(), Some(CapsuleError::Commitment));
}

#[test]
fn record_seals_to_the_vector() {
    let (kek, dek) = (d32("kek"), d32("dek"));
    let wrap = wrap_context(&record_context(), &capsule_context().capsule);
    let salt = |label| *d32(label).expose();
    let wrapped = seal_salted(&kek, &wrap, dek.expose(), &salt("salt1"));
    assert_eq!(wrapped, V.bytes("record.wrap"));
    assert_eq!(wrapped.len().to_string(), V.text("wrap_len"));
    let payload = seal_salted(&dek, &record_context().encode(), b"hunter2", &salt("salt2"));
    assert_eq!(payload, V.bytes("record.payload(hunter2)"));
}

#[test]
fn record_of_the_vector_opens() {
    let kek = Kek::from_secret(d32("kek"));
    let capsule = capsule_context().capsule;
    let value = record::open(&kek, &record_context(), &capsule, &published_record()).unwrap();
    assert_eq!(*value, b"hunter2");
    let later = RecordContext { version: 8, ..record_context() };
    let error = record::open(&kek, &later, &capsule, &published_record()).unwrap_err();
    assert_eq!(error, record::RecordError::Key(OpenError::Commitment));
    let payload = V.bytes("record.payload(hunter2)");
    assert_eq!(*sealedbox::open(&d32("dek"), &record_context().encode(), &payload).unwrap(), b"hunter2");
}

fn request(count: usize) -> (EvaluateRequest, Vec<Point>) {
    let bases = [Point::decode(&V.array("w")).unwrap(), *scalar("r2").public_key().point()];
    let points: Vec<Point> = bases
        .iter()
        .zip(["rho0", "rho1"])
        .take(count)
        .map(|(base, rho)| crate::evaluate::multiply(&scalar(rho), &[*base])[0])
        .collect();
    (EvaluateRequest::new(target(), RequestId::from_bytes(d16("req")), points.clone()).unwrap(), points)
}

#[test]
fn evaluations_and_proofs_are_the_vectors() {
    for (count, nonce) in [(1, "nonce1"), (2, "nonce2")] {
        let name = |field: &str| format!("m={count} {field}");
        let (request, points) = request(count);
        assert_eq!(request.hash(), &V.array(&name("req_hash")));
        assert_eq!(EvaluateRequest::parse(&request.to_bytes()).unwrap(), request);
        let transcript = Transcript::Skb1 { request: request.hash() };
        let evaluation = remote_key().evaluate_fixed(transcript, &points, scalar(nonce));
        for (j, (u, v)) in points.iter().zip(&evaluation.points).enumerate() {
            assert_eq!(u.as_bytes(), &V.array(&name(&format!("u[{j}]"))));
            assert_eq!(v.as_bytes(), &V.array(&name(&format!("v[{j}]"))));
        }
        assert_eq!(evaluation.proof.unwrap().to_bytes(), V.array(&name("proof")));

        let proof = Proof::parse(&V.array(&name("proof"))).unwrap().unwrap();
        let public = PublicKey::decode(&V.array("y")).unwrap();
        assert!(dleq::verify(transcript, &public, &points, &evaluation.points, &proof));
        let other = Transcript::Skb1 { request: &[0; 32] };
        assert!(!dleq::verify(other, &public, &points, &evaluation.points, &proof));
    }
}

/// The algebra of the optional update token (section 8): Δ·y' = y, w' = Δ·w, so k'·w' = k·w.
#[test]
fn token_keeps_the_shared_secret() {
    let delta = scalar("delta");
    assert_eq!(delta.element().as_bytes(), &V.array("token delta"));
    let y_new = PublicKey::decode(&V.array("y' (delta*y' == y)")).unwrap();
    assert_eq!(crate::evaluate::multiply(&delta, &[*y_new.point()])[0].as_bytes(), &V.array("y"));
    let w_new = crate::evaluate::multiply(&delta, &[Point::decode(&V.array("w")).unwrap()])[0];
    assert_eq!(w_new.as_bytes(), &V.array("w' (delta*w)"));
    let k_new = Scalar::from_element(scalar("remote").element() * delta.element().invert()).unwrap();
    assert_eq!(k_new.public_key(), y_new);
    assert_eq!(crate::evaluate::multiply(&k_new, &[w_new])[0].as_bytes(), &V.array("S"));
}
