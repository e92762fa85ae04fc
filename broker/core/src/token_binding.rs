//! What is kept of a key that a PKCS#11 token has encrypted. A thief may read it: without the token it opens
//! nothing.
//!
//! ```text
//! 01  01  n     n bytes of IV, then 48 bytes: the key and the tag of AES-GCM
//! 01  02  hash  a block of RSA-OAEP, as long as the modulus
//! ```

/// The first byte.
const FORMAT: u8 = 1;
const AES_GCM: u8 = 1;
const RSA_OAEP: u8 = 2;
/// A key of 32 bytes, and a tag.
pub const GCM_BYTES: usize = 48;
/// The usual IV is of 12 bytes; HSMs that make their own may take 16.
pub const IV_BYTES: core::ops::RangeInclusive<usize> = 12..=16;
/// Moduli of 2048 to 16384 bits.
pub const RSA_BYTES: core::ops::RangeInclusive<usize> = 256..=2048;

/// The hash inside OAEP, and inside its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OaepHash {
    /// SHA-1: as sound as the others for this, and all that some tokens know.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

const HASHES: [(u8, OaepHash); 4] =
    [(1, OaepHash::Sha1), (2, OaepHash::Sha256), (3, OaepHash::Sha384), (4, OaepHash::Sha512)];

/// A key, encrypted under one of a token's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenBinding {
    /// With AES-GCM.
    AesGcm {
        /// What it began with.
        iv: Vec<u8>,
        /// Key and tag.
        sealed: Vec<u8>,
    },
    /// With RSA-OAEP.
    RsaOaep {
        /// Its hash.
        hash: OaepHash,
        /// One block.
        sealed: Vec<u8>,
    },
}

/// Bytes that are no binding of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no key that a PKCS#11 token has encrypted")]
pub struct NoTokenBinding;

impl TokenBinding {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::AesGcm { iv, sealed } => {
                let length = u8::try_from(iv.len()).unwrap_or_default(); // 16 at most
                [&[FORMAT, AES_GCM, length], iv.as_slice(), sealed].concat()
            }
            Self::RsaOaep { hash, sealed } => {
                let code = HASHES.iter().find(|(_, known)| known == hash).map_or(0, |(code, _)| *code);
                [&[FORMAT, RSA_OAEP, code], sealed.as_slice()].concat()
            }
        }
    }

    /// From its bytes, all of them.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoTokenBinding> {
        match bytes {
            [FORMAT, AES_GCM, length, rest @ ..] => gcm(usize::from(*length), rest),
            [FORMAT, RSA_OAEP, code, sealed @ ..] => oaep(*code, sealed),
            _ => Err(NoTokenBinding),
        }
    }
}

fn gcm(length: usize, rest: &[u8]) -> Result<TokenBinding, NoTokenBinding> {
    let (iv, sealed) = rest.split_at_checked(length).ok_or(NoTokenBinding)?;
    if !IV_BYTES.contains(&length) || sealed.len() != GCM_BYTES {
        return Err(NoTokenBinding);
    }
    Ok(TokenBinding::AesGcm { iv: iv.to_owned(), sealed: sealed.to_owned() })
}

fn oaep(code: u8, sealed: &[u8]) -> Result<TokenBinding, NoTokenBinding> {
    let (_, hash) = HASHES.iter().find(|(known, _)| *known == code).ok_or(NoTokenBinding)?;
    if !RSA_BYTES.contains(&sealed.len()) {
        return Err(NoTokenBinding);
    }
    Ok(TokenBinding::RsaOaep { hash: *hash, sealed: sealed.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bindings() -> Vec<TokenBinding> {
        let gcm = |n| TokenBinding::AesGcm { iv: vec![7; n], sealed: vec![9; GCM_BYTES] };
        let oaep = |(_, hash)| TokenBinding::RsaOaep { hash, sealed: vec![5; 256] };
        [gcm(12), gcm(16)].into_iter().chain(HASHES.map(oaep)).collect()
    }

    #[test]
    fn a_token_binding_is_read_as_it_was_written() {
        for binding in bindings() {
            assert_eq!(TokenBinding::decode(&binding.encode()), Ok(binding));
        }
    }

    /// The layout, written out by hand: what is stored today must be read later.
    #[test]
    fn the_layout_of_a_token_binding_is_this_one() {
        let gcm = [&[1, 1, 12][..], &[7; 12], &[9; 48]].concat();
        assert_eq!(bindings().first().map(TokenBinding::encode), Some(gcm));
        let oaep = [&[1, 2, 4][..], &[5; 256]].concat();
        assert_eq!(bindings().last().map(TokenBinding::encode), Some(oaep));
    }

    #[test]
    fn a_token_binding_that_is_cut_longer_or_of_another_format_is_none() {
        for bytes in bindings().iter().map(TokenBinding::encode) {
            for cut in 0..bytes.len().min(64) {
                assert_eq!(TokenBinding::decode(&bytes[..cut]), Err(NoTokenBinding));
            }
            for first in [0, 2, 255] {
                let other = [&[first], &bytes[1..]].concat();
                assert_eq!(TokenBinding::decode(&other), Err(NoTokenBinding));
            }
        }
        let long = [&[1, 1, 12][..], &[7; 12], &[9; 49]].concat();
        for bytes in [&[1, 1, 11][..], &[1, 1, 255], &[1, 2, 0], &[1, 2, 9], &[1, 3, 1], &long] {
            let padded = if bytes.len() > 3 { bytes.to_vec() } else { [bytes, &[9; 256]].concat() };
            assert_eq!(TokenBinding::decode(&padded), Err(NoTokenBinding));
        }
    }
}
