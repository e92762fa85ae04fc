//! What the key does: encrypts once, when a source is enrolled, and decrypts at each start.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use cryptoki::context::Pkcs11;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::types::Ulong;
use rand_core::Rng as _;
use sha2::{Digest as _, Sha256};
use symbolon_core::token_binding::{GCM_BYTES, IV_BYTES, OaepHash, TokenBinding};
use symbolon_proto::Zeroizing;
use symbolon_proto::secret::Secret;

use super::error::TokenError;
use super::keys;
use super::pins::Pin;
use super::settings::{Cipher, Settings};
use super::tokens::{self, Login};
use crate::random::os_rng;

/// The usual length of an IV that we make.
const IV: usize = 12;
const TAG_BITS: usize = 128;
/// A key, and the hash of what it is for.
const OAEP_BYTES: usize = 64;

/// A library, what is configured, and a PIN.
type With<'a> = (&'a Pkcs11, &'a Settings, &'a Pin);

/// The key, encrypted.
pub(super) fn bind(with: With<'_>, key: &Secret<32>, purpose: &[u8]) -> Result<TokenBinding, TokenError> {
    let (_, settings, _) = with;
    match settings.cipher {
        Cipher::AesGcm => {
            let login = enter(with, MechanismType::AES_GCM)?;
            seal_gcm(&login, settings, key, purpose)
        }
        Cipher::RsaOaep(hash) => {
            let login = enter(with, MechanismType::RSA_PKCS_OAEP)?;
            seal_oaep(&login, settings, hash, (key, purpose))
        }
    }
}

/// The key of a binding, with what that was made with.
pub(super) fn recover(
    with: With<'_>,
    binding: &TokenBinding,
    purpose: &[u8],
) -> Result<Secret<32>, TokenError> {
    let (_, settings, _) = with;
    match binding {
        TokenBinding::AesGcm { iv, sealed } => {
            let login = enter(with, MechanismType::AES_GCM)?;
            open_gcm(&login, settings, (iv, sealed), purpose)
        }
        TokenBinding::RsaOaep { hash, sealed } => {
            let login = enter(with, MechanismType::RSA_PKCS_OAEP)?;
            open_oaep(&login, settings, (*hash, sealed), purpose)
        }
    }
}

/// Logs in where the mechanism is known: a PIN is not spent on a token that cannot help.
fn enter((library, settings, pin): With<'_>, mechanism: MechanismType) -> Result<Login, TokenError> {
    let (slot, _) = tokens::find(library, &settings.token)?;
    if !library.get_mechanism_list(slot).map_err(TokenError::of)?.contains(&mechanism) {
        return Err(TokenError::NoMechanism);
    }
    tokens::login(library, &settings.token, pin)
}

fn seal_gcm(
    login: &Login,
    settings: &Settings,
    key: &Secret<32>,
    purpose: &[u8],
) -> Result<TokenBinding, TokenError> {
    let wrapping = keys::aes(login, &settings.key)?;
    keys::stays_inside(login, wrapping)?;
    keys::is_long(login, wrapping)?;
    let mut iv = [0; IV];
    os_rng().fill_bytes(&mut iv);
    let mechanism = gcm(&mut iv, purpose)?;
    let answer = login.encrypt(&mechanism, wrapping, key.expose()).map_err(TokenError::of_use)?;
    drop(mechanism);
    let (iv, sealed) = parts(&iv, &answer).ok_or(TokenError::Strange)?;
    Ok(TokenBinding::AesGcm { iv: iv.to_owned(), sealed: sealed.to_owned() })
}

/// IV and ciphertext of an answer. Some HSMs take no IV from outside: what they made instead stands where
/// ours did (CloudHSM), or behind the tag (Luna in FIPS mode, ProtectServer).
pub(super) fn parts<'a>(iv: &'a [u8], answer: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (sealed, behind) = answer.split_at_checked(GCM_BYTES)?;
    match behind.len() {
        0 => Some((iv, sealed)),
        length if IV_BYTES.contains(&length) => Some((behind, sealed)),
        _ => None,
    }
}

fn open_gcm(
    login: &Login,
    settings: &Settings,
    (iv, sealed): (&[u8], &[u8]),
    purpose: &[u8],
) -> Result<Secret<32>, TokenError> {
    let wrapping = keys::aes(login, &settings.key)?;
    let mut iv = iv.to_owned();
    let opened = login.decrypt(&gcm(&mut iv, purpose)?, wrapping, sealed);
    let opened = Zeroizing::new(opened.map_err(TokenError::of_decryption)?);
    taken(&opened)
}

fn gcm<'a>(iv: &'a mut [u8], purpose: &'a [u8]) -> Result<Mechanism<'a>, TokenError> {
    let bits = Ulong::try_from(TAG_BITS).map_err(TokenError::of)?;
    GcmParams::new(iv, purpose, bits).map(Mechanism::AesGcm).map_err(TokenError::of)
}

fn seal_oaep(
    login: &Login,
    settings: &Settings,
    hash: OaepHash,
    (key, purpose): (&Secret<32>, &[u8]),
) -> Result<TokenBinding, TokenError> {
    keys::stays_inside(login, keys::rsa_private(login, &settings.key)?)?;
    let public = keys::rsa_public(login, &settings.key)?;
    let plain = Secret::<OAEP_BYTES>::filled_by(|out| {
        let (first, second) = out.split_at_mut(32);
        first.copy_from_slice(key.expose());
        second.copy_from_slice(&Sha256::digest(purpose));
    });
    let sealed = login.encrypt(&oaep(hash), public, plain.expose()).map_err(TokenError::of_use)?;
    Ok(TokenBinding::RsaOaep { hash, sealed })
}

/// Most tokens know no label of OAEP: what the key is for stands beside it, inside.
fn open_oaep(
    login: &Login,
    settings: &Settings,
    (hash, sealed): (OaepHash, &[u8]),
    purpose: &[u8],
) -> Result<Secret<32>, TokenError> {
    let private = keys::rsa_private(login, &settings.key)?;
    let opened = login.decrypt(&oaep(hash), private, sealed).map_err(TokenError::of_decryption)?;
    let opened = Zeroizing::new(opened);
    let (key, meant) = opened.split_at_checked(32).ok_or(TokenError::DoesNotOpen)?;
    verify_slices_are_equal(meant, &Sha256::digest(purpose)).map_err(|_| TokenError::DoesNotOpen)?;
    taken(key)
}

fn oaep(hash: OaepHash) -> Mechanism<'static> {
    let (hash, mask) = match hash {
        OaepHash::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        OaepHash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        OaepHash::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        OaepHash::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
    };
    Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mask, PkcsOaepSource::empty()))
}

fn taken(bytes: &[u8]) -> Result<Secret<32>, TokenError> {
    let bytes: &[u8; 32] = bytes.try_into().map_err(|_| TokenError::DoesNotOpen)?;
    Ok(Secret::filled_by(|out| out.copy_from_slice(bytes)))
}
