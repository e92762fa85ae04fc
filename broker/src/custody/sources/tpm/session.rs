//! A salted session: whoever listens on the bus, or changes what crosses it, learns and changes nothing.
//!
//! The salt comes of an exchange with the storage root key (part 1, 19.6.13), so that only the TPM which
//! has that key knows the session's. The key authenticates commands and answers, and encrypts what is
//! secret in them (AES-128-CFB, part 1, 21).

use aws_lc_rs::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use aws_lc_rs::cipher::{
    AES_128, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::SystemRandom;
use rand_core::Rng as _;
use symbolon_core::tpm::answers::auth;
use symbolon_core::tpm::kdf::{derive, mac, salt};
use symbolon_core::tpm::objects::Point;
use symbolon_core::tpm::wire::sized;
use symbolon_core::tpm::{HASH, hash};
use symbolon_proto::secret::Secret;

use super::error::TpmError;
use crate::random::os_rng;

/// The session lives on after the command.
const CONTINUES: u8 = 0x01;
/// The command's first parameter is encrypted.
const DECRYPT: u8 = 0x20;
/// The answer's first parameter is encrypted.
const ENCRYPT: u8 = 0x40;

/// Which first parameter is encrypted.
#[derive(Clone, Copy)]
pub(super) enum Hides {
    Command,
    Answer,
}

impl Hides {
    const fn attributes(self) -> u8 {
        CONTINUES
            | match self {
                Self::Command => DECRYPT,
                Self::Answer => ENCRYPT,
            }
    }
}

/// What a session begins with: our nonce, what the TPM finds the salt by, and the salt.
pub(super) struct Opening {
    pub nonce: [u8; HASH],
    pub point: Vec<u8>,
    salt: Secret<HASH>,
}

impl Opening {
    /// For the TPM that has this storage root key.
    pub fn to(storage: &Point) -> Result<Self, TpmError> {
        let ours =
            EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).map_err(|_| TpmError::Garbled)?;
        let public = ours.compute_public_key().map_err(|_| TpmError::Garbled)?;
        let point = Point::from_uncompressed(public.as_ref()).ok_or(TpmError::Garbled)?;
        let theirs = UnparsedPublicKey::new(&ECDH_P256, storage.uncompressed());
        let salted = |shared: &[u8]| Ok(salt(shared, &point, storage));
        let salt = agree_ephemeral(ours, theirs, TpmError::Garbled, salted)?;
        Ok(Self { nonce: nonce(), point: point.encode(), salt })
    }
}

/// One that was begun.
pub(super) struct Session {
    pub handle: u32,
    key: Secret<HASH>,
    /// The last nonce of the TPM.
    theirs: Vec<u8>,
    ours: [u8; HASH],
}

fn nonce() -> [u8; HASH] {
    let mut nonce = [0; HASH];
    os_rng().fill_bytes(&mut nonce);
    nonce
}

impl Session {
    /// What both know now.
    pub fn begun(handle: u32, opening: &Opening, theirs: &[u8]) -> Self {
        let key = derive(&opening.salt, b"ATH", theirs, &opening.nonce);
        Self { handle, key, theirs: theirs.to_owned(), ours: opening.nonce }
    }

    /// A fresh nonce, for one command.
    pub fn renew(&mut self) {
        self.ours = nonce();
    }

    /// What a command's first parameter becomes.
    pub fn encrypt(&self, plain: &mut [u8]) -> Result<(), TpmError> {
        let (key, iv) = self.cipher(&self.ours, &self.theirs)?;
        let cipher = EncryptingKey::cfb128(key).map_err(|_| TpmError::Garbled)?;
        let context = EncryptionContext::Iv128(iv);
        cipher.less_safe_encrypt(plain, context).map(drop).map_err(|_| TpmError::Garbled)
    }

    /// What an answer's first parameter was.
    pub fn decrypt(&self, hidden: &mut [u8]) -> Result<(), TpmError> {
        let (key, iv) = self.cipher(&self.theirs, &self.ours)?;
        let cipher = DecryptingKey::cfb128(key).map_err(|_| TpmError::Garbled)?;
        let context = DecryptionContext::Iv128(iv);
        cipher.decrypt(hidden, context).map(drop).map_err(|_| TpmError::Garbled)
    }

    fn cipher(&self, newer: &[u8], older: &[u8]) -> Result<(UnboundCipherKey, FixedLength<16>), TpmError> {
        let made = derive(&self.key, b"CFB", newer, older);
        let (key, iv) = made.expose().split_at(16);
        let key = UnboundCipherKey::new(&AES_128, key).map_err(|_| TpmError::Garbled)?;
        Ok((key, FixedLength::try_from(iv).map_err(|_| TpmError::Garbled)?))
    }

    /// What a command says of this session. Passwords of all objects here are empty.
    pub fn authorize(&self, hides: Hides, command: u32, names: &[&[u8]], params: &[u8]) -> Vec<u8> {
        let attributes = hides.attributes();
        let sum = hash(&[&command.to_be_bytes(), &names.concat(), params]);
        let made = mac(self.key.expose(), &[&sum, &self.ours, &self.theirs, &[attributes]]);
        [self.handle.to_be_bytes().as_slice(), &sized(&self.ours), &[attributes], &sized(&made)].concat()
    }

    /// That an answer is of the TPM that began this session, to this command.
    pub fn verify(&mut self, command: u32, params: &[u8], auths: &[u8]) -> Result<(), TpmError> {
        let (theirs, attributes, said) = auth(auths)?;
        let sum = hash(&[&[0; 4], &command.to_be_bytes(), params]);
        let made = mac(self.key.expose(), &[&sum, theirs, &self.ours, &[attributes]]);
        verify_slices_are_equal(&made, said).map_err(|_| TpmError::Garbled)?;
        theirs.clone_into(&mut self.theirs);
        Ok(())
    }
}
