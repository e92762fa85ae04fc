//! The symmetric primitives of suite 0x01 in the one form in which this crate uses them: HKDF-SHA-512,
//! HMAC-SHA-512 and AES-256-GCM. The vectors of Project Wycheproof run through exactly these functions.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::{Hkdf, InvalidLength};
use hmac::{Hmac, Mac};
use sha2::Sha512;
use zeroize::Zeroize;

/// Bytes of an AES-256-GCM key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of a tag.
pub(crate) const TAG_BYTES: usize = 16;

/// A ciphertext that does not go with its key, nonce, associated data and tag.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct TagMismatch;

/// HKDF-Expand(HKDF-Extract(salt, ikm), info, out.len()), `info` being the concatenation of its parts.
pub(crate) fn hkdf(salt: &[u8], ikm: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), InvalidLength> {
    let (mut prk, hkdf) = Hkdf::<Sha512>::extract(Some(salt), ikm);
    prk.zeroize();
    hkdf.expand_multi_info(info, out)
}

/// HMAC-SHA-512 over the concatenation of `parts`.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 64] {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Encrypts into `ciphertext`, which must be as long as `plaintext`, and gives the tag. The plaintext is at
/// most 1 MiB here, far below the limit of AES-GCM.
pub(crate) fn encrypt(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    plaintext: &[u8],
    ciphertext: &mut [u8],
) -> [u8; TAG_BYTES] {
    let buffer = InOutBuf::new(plaintext, ciphertext).expect("buffers of equal length");
    Aes256Gcm::new(key.into())
        .encrypt_inout_detached(&Nonce::from(*nonce), aad, buffer)
        .expect("a plaintext below the limit of AES-GCM")
        .into()
}

/// Decrypts into `plaintext`, which must be as long as `ciphertext`; untouched if the tag is wrong.
pub(crate) fn decrypt(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    (ciphertext, tag): (&[u8], &[u8; TAG_BYTES]),
    plaintext: &mut [u8],
) -> Result<(), TagMismatch> {
    let buffer = InOutBuf::new(ciphertext, plaintext).expect("buffers of equal length");
    Aes256Gcm::new(key.into())
        .decrypt_inout_detached(&Nonce::from(*nonce), aad, buffer, &Tag::from(*tag))
        .map_err(|_| TagMismatch)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wycheproof::{TestResult, aead, hkdf as kdf, mac};

    use super::*;

    #[test]
    fn wycheproof_aes_256_gcm() {
        let mut run = 0;
        for group in aead::TestSet::load(aead::TestName::AesGcm).unwrap().test_groups {
            if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
                continue;
            }
            for test in group.tests {
                check_gcm(&test);
                run += 1;
            }
        }
        assert_eq!(run, 66);
    }

    fn check_gcm(test: &aead::Test) {
        let key = test.key[..].try_into().unwrap();
        let nonce = test.nonce[..].try_into().unwrap();
        let mut ciphertext = vec![0; test.pt.len()];
        let tag = encrypt(&key, &nonce, &test.aad, &test.pt, &mut ciphertext);
        let same = ciphertext == test.ct[..] && tag == test.tag[..];
        assert_eq!(same, test.result == TestResult::Valid, "encrypting, case {}", test.tc_id);

        let mut plaintext = vec![0; test.ct.len()];
        let tag = test.tag[..].try_into().unwrap();
        match decrypt(&key, &nonce, &test.aad, (&test.ct, &tag), &mut plaintext) {
            Ok(()) => {
                assert_eq!(test.result, TestResult::Valid, "case {}", test.tc_id);
                assert_eq!(plaintext, test.pt[..], "case {}", test.tc_id);
            }
            Err(TagMismatch) => {
                assert_eq!(test.result, TestResult::Invalid, "case {}", test.tc_id);
                assert!(plaintext.iter().all(|byte| *byte == 0), "plaintext before the tag was checked");
            }
        }
    }

    #[test]
    fn wycheproof_hkdf_sha512() {
        let mut run = 0;
        for group in kdf::TestSet::load(kdf::TestName::HkdfSha512).unwrap().test_groups {
            for test in group.tests {
                let mut okm = vec![0; test.size];
                let (first, second) = test.info.split_at(test.info.len() / 2);
                let derived = hkdf(&test.salt, &test.ikm, &[first, second], &mut okm);
                let same = derived.is_ok() && okm == test.okm[..];
                assert_eq!(same, test.result == TestResult::Valid, "case {}", test.tc_id);
                run += 1;
            }
        }
        assert_eq!(run, 83);
    }

    #[test]
    fn wycheproof_hmac_sha512() {
        let mut run = 0;
        for group in mac::TestSet::load(mac::TestName::HmacSha512).unwrap().test_groups {
            for test in group.tests {
                let (first, second) = test.msg.split_at(test.msg.len() / 2);
                let tag = hmac(&test.key, &[first, second]);
                let same = tag[..group.tag_size / 8] == test.tag[..];
                assert_eq!(same, test.result == TestResult::Valid, "case {}", test.tc_id);
                run += 1;
            }
        }
        assert_eq!(run, 174);
    }
}
