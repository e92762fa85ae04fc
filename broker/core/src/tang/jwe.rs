//! What is kept: a JWE in compact form (RFC 7516), which `clevis decrypt` opens, too.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand_core::CryptoRng;
use symbolon_proto::Zeroizing;
use symbolon_proto::secret::{Secret, wiping};

use super::advertisement::{Advertisement, LIMITS};
use super::derive::derive;
use super::error::TangError;
use super::exchange::{Blinding, Shared, blind, provision, unblind};
use super::head::{Head, Parties, party_of, write};
use super::key::{Key, Use, point};
use crate::json;

/// Longest JWE in bytes.
pub const JWE_BYTES_MAX: usize = 48 << 10;
/// Bytes of the nonce of AES-GCM.
const NONCE_BYTES: usize = 12;
/// Bytes of its tag.
const TAG_BYTES: usize = 16;

const EXPECTED: TangError = TangError::Malformed("a JWE in compact form");

/// A key that was sealed to a server.
#[derive(Clone)]
pub struct Jwe {
    head: Head,
    /// As it is authenticated.
    head_text: String,
    nonce: [u8; NONCE_BYTES],
    /// With the tag.
    ciphertext: Vec<u8>,
}

/// What a server is asked, once.
pub struct Question {
    /// What is sent to `/rec/<kid>`: a key as JSON.
    pub body: String,
    blinding: Blinding,
}

/// Seals `key` to the first exchange key of a server, for a purpose.
pub fn seal(
    set: &Advertisement,
    url: &str,
    purpose: &[u8],
    key: &Secret<32>,
    rng: &mut dyn CryptoRng,
) -> Result<String, TangError> {
    let server = set.exchange_key()?;
    let to = party_of(purpose);
    wiping(|| {
        let (ephemeral, shared) = provision(server.point, rng).ok_or(TangError::NoExchangeKey)?;
        let head = write(set, url, server, ephemeral, &to);
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let sealed = encrypt(&cipher(&shared, &(vec![], to)), &head, nonce, key)?;
        let (body, tag) = sealed.split_at(key.expose().len());
        let [nonce, body, tag] = [nonce.as_slice(), body, tag].map(|part| URL_SAFE_NO_PAD.encode(part));
        Ok(format!("{head}..{nonce}.{body}.{tag}"))
    })
}

fn cipher(shared: &Shared, (by, to): &Parties) -> Aes256Gcm {
    let key = derive(shared.as_slice(), "A256GCM", by, to);
    Aes256Gcm::new(key.expose().into())
}

fn encrypt(by: &Aes256Gcm, head: &str, nonce: [u8; 12], key: &Secret<32>) -> Result<Vec<u8>, TangError> {
    let mut buffer = Zeroizing::new(Vec::with_capacity(key.expose().len() + TAG_BYTES));
    buffer.extend_from_slice(key.expose());
    by.encrypt_in_place(&Nonce::from(nonce), head.as_bytes(), &mut *buffer).map_err(|_| EXPECTED)?;
    Ok(buffer.to_vec())
}

impl Jwe {
    /// Reads what [`seal`] or `clevis encrypt tang` wrote.
    pub fn parse(text: &str) -> Result<Self, TangError> {
        if text.len() > JWE_BYTES_MAX {
            return Err(EXPECTED);
        }
        let parts: Vec<&str> = text.split('.').collect();
        let &[head, "", nonce, body, tag] = parts.as_slice() else { return Err(EXPECTED) };
        let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| EXPECTED);
        let (nonce, tag) = (decode(nonce)?, decode(tag)?);
        if tag.len() != TAG_BYTES {
            return Err(EXPECTED);
        }
        Ok(Self {
            head: Head::read(head)?,
            head_text: head.to_owned(),
            nonce: nonce.try_into().map_err(|_| EXPECTED)?,
            ciphertext: [decode(body)?, tag].concat(),
        })
    }

    /// What the server calls its key, for the path of the question.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.head.kid
    }

    /// Where the server was.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.head.url
    }

    /// Whether it was sealed for this purpose. Anybody can seal something for any purpose.
    #[must_use]
    pub fn is_for(&self, purpose: &[u8]) -> bool {
        self.head.parties.1 == party_of(purpose)
    }

    /// What to ask the server.
    pub fn ask(&self, rng: &mut dyn CryptoRng) -> Result<Question, TangError> {
        let (point, blinding) = wiping(|| blind(self.head.ephemeral, rng)).ok_or(EXPECTED)?;
        Ok(Question { body: Key { usage: Use::Exchange, point }.to_json(), blinding })
    }

    /// What was sealed, by the answer to the question.
    pub fn open(&self, asked: &Question, answer: &[u8]) -> Result<Zeroizing<Vec<u8>>, TangError> {
        let expected = TangError::Malformed("a point on the curve P-521");
        let answer = point(&json::parse(answer, LIMITS).map_err(|_| expected)?)?;
        wiping(|| {
            let shared = unblind(&asked.blinding, self.head.server, answer).ok_or(TangError::Wrong)?;
            let mut buffer = Zeroizing::new(self.ciphertext.clone());
            cipher(&shared, &self.head.parties)
                .decrypt_in_place(&Nonce::from(self.nonce), self.head_text.as_bytes(), &mut *buffer)
                .map_err(|_| TangError::Wrong)?;
            Ok(buffer)
        })
    }
}
