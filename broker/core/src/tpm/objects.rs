//! Public areas of the objects that are used, and their names.

use super::wire::{Malformed, Reader, sized};
use super::{Digest32, HASH, NULL, SHA256, hash};

/// What begins with the hash's number.
pub const NAME_BYTES: usize = 2 + HASH;
/// The name of an object: the hash of its public area.
pub type Name = [u8; NAME_BYTES];
/// A coordinate on P-256.
pub const COORDINATE: usize = 32;

const ECC: u16 = 0x0023;
const KEYEDHASH: u16 = 0x0008;
const P256: u16 = 0x0003;
const AES: u16 = 0x0006;
const CFB: u16 = 0x0043;
/// Stays in this TPM and below this parent, made by it, used by its (empty) password, not subject to the
/// lockout; decrypts, and only for the TPM.
const STORAGE: u32 = 0x0003_0472;
/// Stays in this TPM and below this parent, and is used by its policy only. It has no password that could be
/// guessed, so that a lockout after wrong ones of others does not concern it.
const SEALED: u32 = 0x0000_0492;
/// Signs, used by its (empty) password.
const SIGNS: u32 = 0x0004_0040;

/// A point on P-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its first coordinate.
    pub x: [u8; COORDINATE],
    /// Its second coordinate.
    pub y: [u8; COORDINATE],
}

impl Point {
    /// From `04`, x and y.
    #[must_use]
    pub fn from_uncompressed(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let read = |reader: &mut Reader<'_>| {
            let begins = reader.u8()? == 4;
            let point = Self { x: reader.array()?, y: reader.array()? };
            reader.end().map(|()| (begins, point))
        };
        read(&mut reader).ok().filter(|(begins, _)| *begins).map(|(_, point)| point)
    }

    /// `04`, x and y.
    #[must_use]
    pub fn uncompressed(&self) -> Vec<u8> {
        [&[4], self.x.as_slice(), &self.y].concat()
    }

    /// `TPMS_ECC_POINT`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [sized(&self.x), sized(&self.y)].concat()
    }
}

/// Of a public area.
#[must_use]
pub fn name(public: &[u8]) -> Name {
    let mut name = [0; NAME_BYTES];
    let bytes = SHA256.to_be_bytes().into_iter().chain(hash(&[public]));
    for (to, from) in name.iter_mut().zip(bytes) {
        *to = from;
    }
    name
}

/// A storage root key, as the TCG has it in "TPM v2.0 Provisioning Guidance", 7.5.1: the same for everybody
/// who asks the same TPM.
#[must_use]
pub fn storage_template() -> Vec<u8> {
    [storage_head(), sized(&[0; COORDINATE]), sized(&[0; COORDINATE])].concat()
}

fn storage_head() -> Vec<u8> {
    let [ecc, sha256, aes, bits, cfb, null, curve] =
        [ECC, SHA256, AES, 128, CFB, NULL, P256].map(u16::to_be_bytes);
    let attributes = STORAGE.to_be_bytes();
    [ecc.as_slice(), &sha256, &attributes, &[0, 0], &aes, &bits, &cfb, &null, &curve, &null].concat()
}

/// The point of a storage root key that is one of the template.
pub fn storage_point(public: &[u8]) -> Result<Point, Malformed> {
    let rest = public.strip_prefix(storage_head().as_slice()).ok_or(Malformed)?;
    let mut reader = Reader::new(rest);
    let point = Point { x: coordinate(reader.sized()?)?, y: coordinate(reader.sized()?)? };
    reader.end().map(|()| point)
}

/// Some TPMs leave zeros out at the beginning.
pub(super) fn coordinate(bytes: &[u8]) -> Result<[u8; COORDINATE], Malformed> {
    let zeros = COORDINATE.checked_sub(bytes.len()).ok_or(Malformed)?;
    let mut full = [0; COORDINATE];
    full.iter_mut().skip(zeros).zip(bytes).for_each(|(to, from)| *to = *from);
    Ok(full)
}

/// Of data that is sealed under a policy.
#[must_use]
pub fn sealed_template(policy: &Digest32) -> Vec<u8> {
    [sealed_head(policy), sized(&[])].concat()
}

fn sealed_head(policy: &Digest32) -> Vec<u8> {
    let [kind, sha256, null] = [KEYEDHASH, SHA256, NULL].map(u16::to_be_bytes);
    [kind.as_slice(), &sha256, &SEALED.to_be_bytes(), &sized(policy), &null].concat()
}

/// Whether an object is sealed data under this policy.
#[must_use]
pub fn is_sealed_under(public: &[u8], policy: &Digest32) -> bool {
    let unique = public.strip_prefix(sealed_head(policy).as_slice());
    unique.is_some_and(|unique| unique.len() == 2 + HASH)
}

/// Of the key that signs policies.
#[must_use]
pub fn signer(point: &Point) -> Vec<u8> {
    let [ecc, sha256, null, curve] = [ECC, SHA256, NULL, P256].map(u16::to_be_bytes);
    let attributes = SIGNS.to_be_bytes();
    [ecc.as_slice(), &sha256, &attributes, &[0, 0], &null, &null, &curve, &null, &point.encode()].concat()
}
