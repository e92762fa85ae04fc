//! Policies that somebody signed, from their folder; and the key of whoever signs them.

use std::io::{self, Read as _};
use std::path::Path;

use data_encoding::HEXLOWER;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use symbolon_core::tpm::objects::Point;
use symbolon_core::tpm::policy::{SignedPolicy, TEXT_BYTES_MAX};
use symbolon_core::tpm::{Digest32, PcrSet, PcrValues};

use super::error::TpmError;
use crate::custody::sources::SourceError;

/// Most files that are looked at.
const FILES_MAX: usize = 256;
/// Longest file of a key, in bytes.
const KEY_BYTES_MAX: usize = 4096;
/// What a public key of ECDSA with P-256 begins with, before the point.
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

fn unusable(path: &Path, source: io::Error) -> TpmError {
    TpmError::Source(SourceError::File { path: path.to_owned(), source })
}

fn read(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max { Err(io::Error::other("it is too long")) } else { Ok(bytes) }
}

/// The key of whoever signs policies.
pub(super) fn signer(path: &Path) -> Result<Point, TpmError> {
    let pem = read(path, KEY_BYTES_MAX).map_err(|error| unusable(path, error))?;
    let key = SubjectPublicKeyInfoDer::from_pem_slice(&pem).ok();
    let point = key.and_then(|key| Point::from_uncompressed(key.strip_prefix(P256_HEAD.as_slice())?));
    let none = || io::Error::other("it must hold a public key of ECDSA with P-256, as PEM");
    point.ok_or_else(|| unusable(path, none()))
}

/// Those of a folder that the signer signed for this source, and how many files were looked at.
pub(super) struct Signed {
    pub policies: Vec<SignedPolicy>,
    files: usize,
    reference: Digest32,
}

impl Signed {
    pub fn in_folder(folder: &Path, signer: &Point, reference: Digest32) -> Result<Self, TpmError> {
        let entries = std::fs::read_dir(folder).map_err(|error| unusable(folder, error))?;
        let mut paths: Vec<_> = entries.take(FILES_MAX).flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.is_file());
        paths.sort();
        let all = paths.iter().filter_map(|path| policy(path));
        let policies = all.filter(|policy| policy.is_signed_by(signer, &reference)).collect();
        Ok(Self { policies, files: paths.len(), reference })
    }

    /// All PCRs that they speak of, and some.
    pub fn set(&self, also: PcrSet) -> PcrSet {
        self.policies.iter().fold(also, |all, policy| all.with(policy.set()))
    }

    /// The one that lets a state through, and speaks of all PCRs that are configured.
    pub fn covering(&self, now: &PcrValues, least: PcrSet) -> Option<&SignedPolicy> {
        let covers =
            |policy: &&SignedPolicy| policy.set().covers(least) && policy.values().differing(now).is_empty();
        self.policies.iter().find(covers)
    }

    /// That none does.
    pub fn none(&self, differing: String) -> TpmError {
        let (signed, reference) = (self.policies.len(), HEXLOWER.encode(&self.reference));
        TpmError::NotSigned { differing, signed, files: self.files, reference }
    }
}

fn policy(path: &Path) -> Option<SignedPolicy> {
    let text = String::from_utf8(read(path, TEXT_BYTES_MAX).ok()?).ok()?;
    SignedPolicy::parse(&text).ok()
}
