//! The one key that is meant, and whether it stays inside.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};

use super::error::TokenError;
use super::settings::Key;
use super::tokens::Login;

/// Bits of the shortest modulus.
const RSA_BITS_MIN: usize = 2048;
/// Bytes of the shortest AES key.
const AES_BYTES_MIN: u64 = 16;

/// The AES key.
pub(super) fn aes(login: &Login, key: &Key) -> Result<ObjectHandle, TokenError> {
    one(login, key, (ObjectClass::SECRET_KEY, KeyType::AES))
}

/// The private RSA key.
pub(super) fn rsa_private(login: &Login, key: &Key) -> Result<ObjectHandle, TokenError> {
    one(login, key, (ObjectClass::PRIVATE_KEY, KeyType::RSA))
}

/// The public RSA key. That it belongs to the private one shows when the token opens what it has encrypted,
/// which the frame asks for before it keeps a binding.
pub(super) fn rsa_public(login: &Login, key: &Key) -> Result<ObjectHandle, TokenError> {
    let public = one(login, key, (ObjectClass::PUBLIC_KEY, KeyType::RSA))?;
    let is_long =
        |attribute: &Attribute| matches!(attribute, Attribute::Modulus(n) if bits(n) >= RSA_BITS_MIN);
    if attributes(login, public, &[AttributeType::Modulus])?.iter().any(is_long) {
        return Ok(public);
    }
    Err(TokenError::KeyTooShort)
}

fn one(login: &Login, key: &Key, (class, kind): (ObjectClass, KeyType)) -> Result<ObjectHandle, TokenError> {
    let name = match key {
        Key::Label(label) => Attribute::Label(label.as_bytes().to_vec()),
        Key::Id(id) => Attribute::Id(id.clone()),
    };
    let wanted = [Attribute::Class(class), Attribute::KeyType(kind), name];
    match login.find_objects(&wanted).map_err(TokenError::of)?.as_slice() {
        [] => Err(TokenError::NoKey),
        [one] => Ok(*one),
        _ => Err(TokenError::TwoKeys),
    }
}

/// That a key decrypts, and only inside. What a token does not say counts as the worse.
pub(super) fn stays_inside(login: &Login, key: ObjectHandle) -> Result<(), TokenError> {
    let wanted = [AttributeType::Extractable, AttributeType::Sensitive, AttributeType::Decrypt];
    let said = attributes(login, key, &wanted)?;
    if !said.contains(&Attribute::Extractable(false)) || !said.contains(&Attribute::Sensitive(true)) {
        return Err(TokenError::KeyMayLeave);
    }
    if !said.contains(&Attribute::Decrypt(true)) {
        return Err(TokenError::KeyMayNotDecrypt);
    }
    Ok(())
}

/// That an AES key is long enough, where the token says.
pub(super) fn is_long(login: &Login, key: ObjectHandle) -> Result<(), TokenError> {
    let is_short = |said: &Attribute| matches!(said, Attribute::ValueLen(bytes) if **bytes < AES_BYTES_MIN);
    match attributes(login, key, &[AttributeType::ValueLen])?.iter().any(is_short) {
        true => Err(TokenError::KeyTooShort),
        false => Ok(()),
    }
}

fn attributes(
    login: &Login,
    key: ObjectHandle,
    wanted: &[AttributeType],
) -> Result<Vec<Attribute>, TokenError> {
    login.get_attributes(key, wanted).map_err(TokenError::of)
}

/// Length of a number in bits, in whole bytes.
fn bits(modulus: &[u8]) -> usize {
    modulus.iter().skip_while(|byte| **byte == 0).count() * 8
}
