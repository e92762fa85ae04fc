//! Digests of policies (part 3, 23), and policies that somebody signed.
//!
//! ```text
//! symbolon-tpm-policy 1
//! pcr 7 65caf8dd1e0ea7a6347b635d2b379c93b9a1351edc2afc3ecda700e234eb3068
//! signature 3045…
//! ```
//!
//! A line for each PCR, lowest first. The signature is one of ECDSA with P-256 and SHA-256, in DER, over 64
//! bytes: the digest of `PolicyPCR` for these values, and the reference.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use data_encoding::HEXLOWER_PERMISSIVE;

use super::objects::{COORDINATE, Name, Point, coordinate};
use super::wire::{Malformed, Reader};
use super::{Digest32, HASH, PcrSet, PcrValues, hash};

/// The command's code, which is in its digest.
pub const POLICY_PCR: u32 = 0x017f;
/// Likewise.
pub const POLICY_AUTHORIZE: u32 = 0x016a;
/// Longest text of a signed policy.
pub const TEXT_BYTES_MAX: usize = 4096;
const HEAD: &str = "symbolon-tpm-policy 1";

/// The policy that PCRs have values of this digest.
#[must_use]
pub fn of_pcrs(set: PcrSet, digest: &Digest32) -> Digest32 {
    hash(&[&[0; HASH], &POLICY_PCR.to_be_bytes(), &set.selection(), digest])
}

/// The policy that whoever has a key signed the policy that is fulfilled, with this reference.
#[must_use]
pub fn authorized(signer: &Name, reference: &Digest32) -> Digest32 {
    let named = hash(&[&[0; HASH], &POLICY_AUTHORIZE.to_be_bytes(), signer]);
    hash(&[&named, reference])
}

/// What a signed policy is for: one source of one deployment.
#[must_use]
pub fn reference(purpose: &[u8]) -> Digest32 {
    hash(&[purpose])
}

/// A policy, and who lets it through has signed it. Whether they have is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPolicy {
    set: PcrSet,
    values: PcrValues,
    /// r and s.
    signature: [u8; 2 * COORDINATE],
}

impl SignedPolicy {
    /// From its text.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut lines = text.lines();
        if text.len() > TEXT_BYTES_MAX || lines.next() != Some(HEAD) {
            return Err(Malformed);
        }
        let (mut values, mut signature) = (Vec::new(), None);
        for line in lines {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["pcr", number, value] if signature.is_none() => values.push(pcr(number, value)?),
                ["signature", der] if signature.is_none() => signature = Some(hex(der)?),
                _ => return Err(Malformed),
            }
        }
        let values = PcrValues::new(&values).ok_or(Malformed)?;
        let signature = from_der(&signature.ok_or(Malformed)?)?;
        Ok(Self { set: values.set().ok_or(Malformed)?, values, signature })
    }

    /// Which PCRs it speaks of.
    #[must_use]
    pub const fn set(&self) -> PcrSet {
        self.set
    }

    /// What they are to be.
    #[must_use]
    pub const fn values(&self) -> &PcrValues {
        &self.values
    }

    /// Its digest: what was signed, before the reference.
    #[must_use]
    pub fn digest(&self) -> Digest32 {
        of_pcrs(self.set, &self.values.digest())
    }

    /// Whether the key signed it for this reference.
    #[must_use]
    pub fn is_signed_by(&self, signer: &Point, reference: &Digest32) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, signer.uncompressed());
        key.verify(&[self.digest(), *reference].concat(), &self.signature).is_ok()
    }

    /// r and s.
    #[must_use]
    pub const fn signature(&self) -> &[u8; 2 * COORDINATE] {
        &self.signature
    }
}

fn pcr(number: &str, value: &str) -> Result<(u8, Digest32), Malformed> {
    let value = hex(value)?.try_into().map_err(|_| Malformed)?;
    Ok((number.parse().map_err(|_| Malformed)?, value))
}

fn hex(text: &str) -> Result<Vec<u8>, Malformed> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| Malformed)
}

/// r and s from `SEQUENCE { INTEGER, INTEGER }`.
fn from_der(der: &[u8]) -> Result<[u8; 2 * COORDINATE], Malformed> {
    let mut reader = Reader::new(der);
    let inside = element(&mut reader, 0x30)?;
    reader.end()?;
    let mut reader = Reader::new(inside);
    let (r, s) = (integer(&mut reader)?, integer(&mut reader)?);
    reader.end()?;
    [r, s].concat().try_into().map_err(|_| Malformed)
}

fn element<'a>(reader: &mut Reader<'a>, tag: u8) -> Result<&'a [u8], Malformed> {
    if reader.u8()? != tag {
        return Err(Malformed);
    }
    let length = reader.u8()?; // signatures of P-256 are shorter than 128 bytes
    if length < 0x80 { reader.bytes(usize::from(length)) } else { Err(Malformed) }
}

fn integer(reader: &mut Reader<'_>) -> Result<[u8; COORDINATE], Malformed> {
    let bytes = element(reader, 2)?;
    coordinate(bytes.strip_prefix(&[0]).unwrap_or(bytes))
}
