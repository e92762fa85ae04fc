//! Proof of possession of a remote key (`docs/skb1.md` section 6.7): a Schnorr proof over the deployment, the
//! key id and the key epoch.
//!
//! Enrolment demands one, so that nobody can enrol another party's public key as their own.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar as CurveScalar;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::dleq::{PROOF_BYTES, Prover};
use crate::group::{POINT_BYTES, PublicKey, SCALAR_BYTES, Scalar, hash_to_scalar};
use crate::id::{DeploymentId, KeyId};
use crate::label;

/// What is possessed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PossessionClaim {
    /// The deployment the key is for.
    pub deployment: DeploymentId,
    /// The key.
    pub key: KeyId,
    /// Its epoch.
    pub key_epoch: u32,
}

/// A proof, enc(c) ‖ enc(s); nothing is known yet about what it proves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Possession([u8; PROOF_BYTES]);

impl Possession {
    /// The proof with these bytes; whether they are canonical shows when it is verified.
    pub const fn from_bytes(bytes: [u8; PROOF_BYTES]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; PROOF_BYTES] {
        &self.0
    }

    /// c = H(claim ‖ y ‖ a·G), s = a − c·k.
    pub(crate) fn prove(claim: &PossessionClaim, prover: &Prover<'_>, rng: &mut dyn CryptoRng) -> Self {
        let a = hedged_nonce(claim, prover.key, rng);
        let commitment = RistrettoPoint::mul_base(a.element()).compress().to_bytes();
        let c = challenge(claim, prover.public, &commitment);
        let s = a.element() - c * prover.key.element();
        let mut bytes = [0; PROOF_BYTES];
        bytes[..SCALAR_BYTES].copy_from_slice(c.as_bytes());
        bytes[SCALAR_BYTES..].copy_from_slice(s.as_bytes());
        Self(bytes)
    }

    /// Whether whoever made this holds the private half of `public`, for exactly this claim.
    #[must_use]
    pub fn verifies(&self, claim: &PossessionClaim, public: &PublicKey) -> bool {
        let (halves, _) = self.0.as_chunks::<SCALAR_BYTES>();
        let decode =
            |bytes: [u8; SCALAR_BYTES]| Option::<CurveScalar>::from(CurveScalar::from_canonical_bytes(bytes));
        let (Some(c), Some(s)) = (decode(halves[0]), decode(halves[1])) else {
            return false;
        };
        let commitment = RistrettoPoint::vartime_double_scalar_mul_basepoint(&c, public.element(), &s);
        challenge(claim, public, &commitment.compress().to_bytes()) == c
    }
}

fn challenge(claim: &PossessionClaim, public: &PublicKey, commitment: &[u8; POINT_BYTES]) -> CurveScalar {
    hash_to_scalar(&[
        label::POSSESSION_CHALLENGE,
        claim.deployment.as_bytes(),
        claim.key.as_bytes(),
        &claim.key_epoch.to_be_bytes(),
        public.as_bytes(),
        commitment,
    ])
}

fn hedged_nonce(claim: &PossessionClaim, key: &Scalar, rng: &mut dyn CryptoRng) -> Scalar {
    loop {
        let mut random = Zeroizing::new([0; 64]);
        rng.fill_bytes(random.as_mut());
        let nonce = hash_to_scalar(&[
            label::POSSESSION_NONCE,
            random.as_ref(),
            key.element().as_bytes(),
            claim.deployment.as_bytes(),
            claim.key.as_bytes(),
            &claim.key_epoch.to_be_bytes(),
        ]);
        if let Some(nonce) = Scalar::from_element(nonce) {
            return nonce;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::RemoteKey;

    #[test]
    fn holds_for_one_key_and_claim_only() {
        let rng = &mut crate::testing::rng();
        let key = RemoteKey::generate(rng);
        let claim = PossessionClaim {
            deployment: DeploymentId::from_bytes([1; 16]),
            key: KeyId::from_bytes([2; 16]),
            key_epoch: 1,
        };
        let proof = key.prove_possession(&claim, rng);
        assert!(proof.verifies(&claim, key.public_key()));
        assert!(!proof.verifies(&PossessionClaim { key_epoch: 2, ..claim }, key.public_key()));
        assert!(!proof.verifies(&claim, RemoteKey::generate(rng).public_key()));
        for position in 0..PROOF_BYTES {
            let mut forged = *proof.as_bytes();
            forged[position] ^= 1;
            assert!(!Possession::from_bytes(forged).verifies(&claim, key.public_key()), "byte {position}");
        }
        assert!(!Possession::from_bytes([0; PROOF_BYTES]).verifies(&claim, key.public_key()));
        assert!(!Possession::from_bytes([0xff; PROOF_BYTES]).verifies(&claim, key.public_key()));
    }
}
