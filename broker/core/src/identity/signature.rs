//! Which signatures a public key may verify, and the verification.
//!
//! The algorithm is a property of the key: its type decides which ones it may verify. Keys that nobody should
//! use never enter: RSA below 2048 or above 4096 bits or with an exponent below 3, Ed25519 points of small
//! order.

use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

use super::der::Found;

/// The algorithms of this house (RFC 7518, RFC 8037), by their names there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

impl Algorithm {
    /// `none`, HMAC and everything else are simply not among them.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::RS256,
            "RS384" => Self::RS384,
            "RS512" => Self::RS512,
            "PS256" => Self::PS256,
            "PS384" => Self::PS384,
            "PS512" => Self::PS512,
            "ES256" => Self::ES256,
            "ES384" => Self::ES384,
            "ES512" => Self::ES512,
            "EdDSA" => Self::EdDSA,
            _ => return None,
        })
    }
}

/// A public key that may be used.
#[derive(Clone, Debug)]
pub(super) enum PublicKey {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl PublicKey {
    /// `None` for one that nobody should use.
    pub(super) fn new(found: Found<'_>) -> Option<Self> {
        match found {
            Found::Rsa { modulus, exponent } => rsa(modulus, exponent),
            Found::P256(point) => ec(point, 32).map(Self::P256),
            Found::P384(point) => ec(point, 48).map(Self::P384),
            Found::P521(point) => ec(point, 66).map(Self::P521),
            Found::Ed25519(point) => ed25519(point).map(Self::Ed25519),
        }
    }

    pub(super) fn permits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, ES512, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match self {
            Self::Rsa { .. } => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
            Self::P256(_) => algorithm == ES256,
            Self::P384(_) => algorithm == ES384,
            Self::P521(_) => algorithm == ES512,
            Self::Ed25519(_) => algorithm == EdDSA,
        }
    }

    /// Whether the signature is this key's, by an algorithm that it permits.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let point = |by: &'static dyn VerificationAlgorithm, point: &[u8]| {
            UnparsedPublicKey::new(by, point).verify(message, signature).is_ok()
        };
        self.permits(algorithm)
            && match self {
                Self::Rsa { modulus: n, exponent: e } => rsa_parameters(algorithm)
                    .is_some_and(|by| RsaPublicKeyComponents { n, e }.verify(by, message, signature).is_ok()),
                Self::P256(key) => point(&ECDSA_P256_SHA256_FIXED, key),
                Self::P384(key) => point(&ECDSA_P384_SHA384_FIXED, key),
                Self::P521(key) => point(&ECDSA_P521_SHA512_FIXED, key),
                Self::Ed25519(key) => point(&ED25519, key),
            }
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<PublicKey> {
    let modulus = without_zeros(modulus);
    let exponent = without_zeros(exponent);
    let bits = 8 * modulus.len() - modulus.first()?.leading_zeros() as usize;
    let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    let exponent_is_sane = odd(exponent) && exponent.len() <= 4 && exponent != [1];
    let usable = (2048..=4096).contains(&bits) && odd(modulus) && exponent_is_sane;
    usable.then(|| PublicKey::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

/// An uncompressed point. Whether it lies on the curve is checked at every verification.
fn ec(point: &[u8], coordinate_bytes: usize) -> Option<Vec<u8>> {
    let right = point.len() == 1 + 2 * coordinate_bytes && point[0] == 4;
    right.then(|| point.to_vec())
}

fn ed25519(point: &[u8]) -> Option<Vec<u8>> {
    let mut masked: [u8; 32] = point.try_into().ok()?;
    masked[31] &= 0x7f;
    (!SMALL_ORDER.contains(&masked)).then(|| point.to_vec())
}

/// The y coordinates of every point whose order divides 8, canonical and not, without the sign bit. Under
/// such a key one signature is good for many messages.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    with_first([0; 32], 1),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    with_first(P, 0xec),
    with_first(P, 0xed),
    with_first(P, 0xee),
];

/// 2^255 - 19, little-endian.
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

const fn with_first(mut bytes: [u8; 32], first: u8) -> [u8; 32] {
    bytes[0] = first;
    bytes
}
