//! The one token that is meant, and a login that ends.

use std::sync::{Mutex, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use super::error::TokenError;
use super::pins::{Pin, Refused};
use super::settings::Token;

/// PINs that tokens have refused, for all sources of this process.
static REFUSED: Mutex<Refused> = Mutex::new(Refused::new());

/// A session of a user who is logged in until this is dropped.
pub(super) struct Login(Session);

impl std::ops::Deref for Login {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let _ = self.0.logout(); // the session ends next, and the login with the last of them
    }
}

/// The slot in which it is.
pub(super) fn find(library: &Pkcs11, token: &Token) -> Result<(Slot, TokenInfo), TokenError> {
    let mut found = None;
    for slot in library.get_slots_with_token().map_err(TokenError::of)? {
        // One that was pulled or is broken may be another than ours.
        let Ok(info) = library.get_token_info(slot) else { continue };
        let is_meant = match token {
            Token::Label(label) => info.label() == label,
            Token::Serial(serial) => info.serial_number() == serial,
        };
        if is_meant && info.token_initialized() && found.replace((slot, info)).is_some() {
            return Err(TokenError::TwoTokens);
        }
    }
    found.ok_or(TokenError::NotThere)
}

/// A session in which the PIN was right. A PIN that this token has refused is not tried again.
pub(super) fn login(library: &Pkcs11, token: &Token, pin: &Pin) -> Result<Login, TokenError> {
    let (slot, info) = find(library, token)?;
    may_try(&Flags::of(&info))?;
    let refused = || REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    let name = format!("{}\n{}\n{}", info.manufacturer_id(), info.serial_number(), info.label());
    if refused().has(&name, pin) {
        return Err(TokenError::PinNotTriedAgain);
    }
    let session = library.open_ro_session(slot).map_err(TokenError::of)?;
    match begin(&session, &pin.auth()) {
        Ok(()) => {
            refused().forget(&name, pin);
            Ok(Login(session))
        }
        Err(error) => {
            let error = TokenError::of(error);
            if error.is_of_the_pin() {
                refused().remember(&name, pin);
            }
            Err(error)
        }
    }
}

/// A login that something else has left behind is ended: it says nothing of this PIN.
fn begin(session: &Session, pin: &AuthPin) -> Result<(), Error> {
    match session.login(UserType::User, Some(pin)) {
        Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
            session.logout()?;
            session.login(UserType::User, Some(pin))
        }
        done => done,
    }
}

/// What a token says of its PIN.
pub(super) struct Flags {
    pub locked: bool,
    pub final_try: bool,
    pub initialised: bool,
}

impl Flags {
    fn of(info: &TokenInfo) -> Self {
        Self {
            locked: info.user_pin_locked(),
            final_try: info.user_pin_final_try(),
            initialised: info.user_pin_initialized(),
        }
    }
}

/// The last try is left to a person: a broker that is restarted again and again must not take it.
pub(super) fn may_try(flags: &Flags) -> Result<(), TokenError> {
    match flags {
        Flags { locked: true, .. } => Err(TokenError::PinLocked),
        Flags { final_try: true, .. } => Err(TokenError::PinLastTry),
        Flags { initialised: false, .. } => Err(TokenError::NoPin),
        _ => Ok(()),
    }
}
