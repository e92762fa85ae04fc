//! Proof that every answer of a batch was made with the one key (`docs/skb1.md` sections 3.4 and 6.6).
//!
//! The Chaum-Pedersen proof of RFC 9497 with two changes: the challenge and the batch weights bind the hash
//! of the request, so an answer cannot be replayed; and the seed of the weights hashes the *whole* batch. RFC
//! 9497 derives each weight from its own pair, which lets a cheating prover search the pairs independently (a
//! generalised birthday problem: 2^42 work for 64 wrong answers and a valid proof).
//!
//! Proving is constant-time in the key and the nonce. Verifying may be variable-time: all of it is public.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar as CurveScalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use rand_core::CryptoRng;
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use crate::codec::lp_len;
use crate::group::{Point, PublicKey, SCALAR_BYTES, Scalar, ScalarError, hash_to_scalar_tagged};
use crate::id::RequestHash;
use crate::label;

/// Bytes of a proof: enc(c) ‖ enc(s).
pub const PROOF_BYTES: usize = 64;

/// A proof with canonical scalars; nothing is known yet about what it proves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proof {
    c: CurveScalar,
    s: CurveScalar,
}

impl Proof {
    /// Reads 64 bytes; `None` if they are all zero, which stands for "not proven".
    pub(crate) fn parse(bytes: &[u8; PROOF_BYTES]) -> Result<Option<Self>, ScalarError> {
        if bytes == &[0; PROOF_BYTES] {
            return Ok(None);
        }
        let (halves, _) = bytes.as_chunks::<SCALAR_BYTES>();
        Ok(Some(Self { c: decode_public(&halves[0])?, s: decode_public(&halves[1])? }))
    }

    /// The 64 bytes.
    pub fn to_bytes(&self) -> [u8; PROOF_BYTES] {
        let mut bytes = [0; PROOF_BYTES];
        bytes[..SCALAR_BYTES].copy_from_slice(self.c.as_bytes());
        bytes[SCALAR_BYTES..].copy_from_slice(self.s.as_bytes());
        bytes
    }
}

fn decode_public(bytes: &[u8; SCALAR_BYTES]) -> Result<CurveScalar, ScalarError> {
    let scalar: Option<CurveScalar> = CurveScalar::from_canonical_bytes(*bytes).into();
    match scalar {
        None => Err(ScalarError::NotCanonical),
        Some(scalar) if scalar == CurveScalar::ZERO => Err(ScalarError::Zero),
        Some(scalar) => Ok(scalar),
    }
}

/// What the hashes of a proof bind. The second form exists so that the vectors of RFC 9497 run through the
/// same code as SKB1.
#[derive(Clone, Copy)]
pub(crate) enum Transcript<'a> {
    /// Section 6.6.
    Skb1 {
        /// The request being answered.
        request: &'a RequestHash,
    },
    /// RFC 9497 section 2.2, for a mode's context string.
    #[cfg(test)]
    Rfc9497 {
        /// `"OPRFV1-" ‖ mode ‖ "-ristretto255-SHA512"`.
        context: &'a [u8],
    },
}

/// Key pair of a prover.
pub(crate) struct Prover<'a> {
    pub(crate) key: &'a Scalar,
    pub(crate) public: &'a PublicKey,
}

impl Transcript<'_> {
    /// The pair (M, Z) that stands for the batch. `key` spares the prover half of the work: Z = k·M.
    fn composite(
        &self,
        y: &PublicKey,
        us: &[Point],
        vs: &[Point],
        key: Option<&Scalar>,
    ) -> Option<(Point, Point)> {
        let weights = match self {
            Self::Skb1 { .. } if us.len() == 1 => return Some((us[0], vs[0])),
            Self::Skb1 { request } => skb1_weights(request, y, us, vs),
            #[cfg(test)]
            Self::Rfc9497 { context } => rfc9497::weights(context, y, us, vs),
        };
        let combine = |points: &[Point]| {
            RistrettoPoint::vartime_multiscalar_mul(&weights, points.iter().map(Point::element))
        };
        let m = combine(us);
        let z = key.map_or_else(|| combine(vs), |key| m * key.element());
        Some((Point::from_element(m)?, Point::from_element(z)?))
    }

    fn challenge(
        &self,
        y: &PublicKey,
        m: &Point,
        z: &Point,
        t2: &RistrettoPoint,
        t3: &RistrettoPoint,
    ) -> CurveScalar {
        let (t2, t3) = (t2.compress().to_bytes(), t3.compress().to_bytes());
        let len = lp_len(&t2);
        let points: [&[u8]; 10] =
            [&len, y.as_bytes(), &len, m.as_bytes(), &len, z.as_bytes(), &len, &t2, &len, &t3];
        match self {
            Self::Skb1 { request } => {
                let mut parts = [&[][..]; 13];
                parts[..2].copy_from_slice(&[&len, *request]);
                parts[2..12].copy_from_slice(&points);
                parts[12] = label::CHALLENGE;
                hash_to_scalar_tagged(&parts, label::HASH_TO_SCALAR)
            }
            #[cfg(test)]
            Self::Rfc9497 { context } => rfc9497::challenge(context, &points),
        }
    }
}

/// d_j of section 6.6: seeded with the request, the key and the whole batch.
fn skb1_weights(request: &RequestHash, y: &PublicKey, us: &[Point], vs: &[Point]) -> Vec<CurveScalar> {
    let mut hash = Sha512::new_with_prefix(label::DLEQ_SEED);
    hash.update(request);
    hash.update(y.as_bytes());
    hash.update(u16::try_from(us.len()).expect("a batch has at most 64 points").to_be_bytes());
    for point in us.iter().chain(vs) {
        hash.update(point.as_bytes());
    }
    let seed = hash.finalize();
    (0..us.len())
        .map(|j| {
            let j = u16::try_from(j).expect("a batch has at most 64 points").to_be_bytes();
            hash_to_scalar_tagged(&[&seed, &j, label::COMPOSITE], label::HASH_TO_SCALAR)
        })
        .collect()
}

/// The nonce a: hashes fresh randomness together with the key and the statement, so that neither a repeated
/// nor a biased source of randomness reveals the key.
pub(crate) fn hedged_nonce(
    request: &RequestHash,
    key: &Scalar,
    m: &Point,
    z: &Point,
    rng: &mut dyn CryptoRng,
) -> Scalar {
    loop {
        let mut random = Zeroizing::new([0; 64]);
        rng.fill_bytes(random.as_mut());
        let parts: [&[u8]; 6] = [
            label::PROOF_NONCE,
            random.as_ref(),
            key.element().as_bytes(),
            request,
            m.as_bytes(),
            z.as_bytes(),
        ];
        if let Some(nonce) = Scalar::from_element(hash_to_scalar_tagged(&parts, label::HASH_TO_SCALAR)) {
            return nonce;
        }
    }
}

/// Proves vs = k·us with a nonce that is computed from (M, Z).
pub(crate) fn prove(
    transcript: Transcript<'_>,
    prover: &Prover<'_>,
    us: &[Point],
    vs: &[Point],
    nonce: impl FnOnce(&Point, &Point) -> Scalar,
) -> Proof {
    let (m, z) = transcript
        .composite(prover.public, us, vs, Some(prover.key))
        .expect("hashed weights sum to the identity with probability 2^-252");
    let a = nonce(&m, &z);
    let t2 = RistrettoPoint::mul_base(a.element());
    let t3 = m.element() * a.element();
    let c = transcript.challenge(prover.public, &m, &z, &t2, &t3);
    let s = a.element() - c * prover.key.element();
    Proof { c, s }
}

/// Whether `proof` shows that every v is k·u for the k of `y`.
pub(crate) fn verify(
    transcript: Transcript<'_>,
    y: &PublicKey,
    us: &[Point],
    vs: &[Point],
    proof: &Proof,
) -> bool {
    if us.is_empty() || us.len() != vs.len() {
        return false;
    }
    let Some((m, z)) = transcript.composite(y, us, vs, None) else {
        return false;
    };
    let t2 = RistrettoPoint::vartime_double_scalar_mul_basepoint(&proof.c, y.element(), &proof.s);
    let t3 = RistrettoPoint::vartime_multiscalar_mul([&proof.s, &proof.c], [m.element(), z.element()]);
    transcript.challenge(y, &m, &z, &t2, &t3) == proof.c
}

#[cfg(test)]
mod rfc9497;
