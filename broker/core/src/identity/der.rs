//! As much DER as it takes to find the public key in a PEM block.

/// The three things that operators paste.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// `PUBLIC KEY`: SubjectPublicKeyInfo.
    Spki,
    /// `RSA PUBLIC KEY`: PKCS#1.
    Pkcs1,
    /// `CERTIFICATE`: only its key is used; nothing else in it is checked.
    Certificate,
}

/// A public key as found, not yet judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Rsa { modulus: &'a [u8], exponent: &'a [u8] },
    P256(&'a [u8]),
    P384(&'a [u8]),
    P521(&'a [u8]),
    Ed25519(&'a [u8]),
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const EXPLICIT_0: u8 = 0xa0;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// Reads the key of a block; `None` if it is none of ours.
pub(super) fn public_key(block: Block, der: &[u8]) -> Option<Found<'_>> {
    match block {
        Block::Spki => spki(der),
        Block::Pkcs1 => pkcs1(der),
        Block::Certificate => spki(spki_of_certificate(der)?),
    }
}

/// `SEQUENCE { SEQUENCE { version?, serial, algorithm, issuer, validity, subject, SPKI, .. }, .. }`
fn spki_of_certificate(der: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = content(der, SEQUENCE)?;
    let (mut tbs, _) = content(certificate, SEQUENCE)?;
    if tbs.first() == Some(&EXPLICIT_0) {
        tbs = content(tbs, EXPLICIT_0)?.1;
    }
    tbs = content(tbs, INTEGER)?.1;
    for _ in ["algorithm", "issuer", "validity", "subject"] {
        tbs = content(tbs, SEQUENCE)?.1;
    }
    Some(tbs)
}

fn spki(der: &[u8]) -> Option<Found<'_>> {
    let (outer, _) = content(der, SEQUENCE)?;
    let (algorithm, rest) = content(outer, SEQUENCE)?;
    let (bits, _) = content(rest, BIT_STRING)?;
    let key = bits.strip_prefix(&[0])?;
    let (oid, parameters) = content(algorithm, OID)?;
    match oid {
        RSA => pkcs1(key),
        EC => match content(parameters, OID)?.0 {
            P256 => Some(Found::P256(key)),
            P384 => Some(Found::P384(key)),
            P521 => Some(Found::P521(key)),
            _ => None,
        },
        ED25519 => Some(Found::Ed25519(key)),
        _ => None,
    }
}

fn pkcs1(der: &[u8]) -> Option<Found<'_>> {
    let (numbers, _) = content(der, SEQUENCE)?;
    let (modulus, rest) = content(numbers, INTEGER)?;
    let (exponent, _) = content(rest, INTEGER)?;
    Some(Found::Rsa { modulus, exponent })
}

/// The content of a value with this tag, and what follows it.
fn content(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    if first != tag {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
