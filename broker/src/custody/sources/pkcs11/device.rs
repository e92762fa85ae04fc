//! The source: its calls, with a deadline.

use std::sync::Arc;

use symbolon_core::token_binding::TokenBinding;
use symbolon_proto::secret::Secret;

use super::settings::Settings;
use super::{ciphers, modules, pins};
use crate::config::Raw;
use crate::custody::sources::threads::on_thread;
use crate::custody::sources::{Answer, Device, Parsed, SourceError};

struct Token(Arc<Settings>);

/// From a configuration.
pub(super) fn parse(raw: &Raw) -> Parsed {
    Ok(Box::new(Token(Arc::new(Settings::parse(raw)?))))
}

impl Device for Token {
    fn bind<'a>(&'a self, key: &'a Secret<32>, purpose: &'a [u8]) -> Answer<'a, Vec<u8>> {
        let (settings, key, purpose) = (Arc::clone(&self.0), key.duplicate(), purpose.to_owned());
        let work = move || {
            let pin = pins::read(&settings.pin_file)?;
            let bound = modules::with(&settings.module, |library| {
                ciphers::bind((library, &settings, &pin), &key, &purpose)
            });
            bound.map(|binding| binding.encode())
        };
        Box::pin(on_thread(&self.0.module, self.0.timeout, work))
    }

    fn recover<'a>(&'a self, binding: &'a [u8], purpose: &'a [u8]) -> Answer<'a, Secret<32>> {
        let (settings, purpose) = (Arc::clone(&self.0), purpose.to_owned());
        let binding = TokenBinding::decode(binding).map_err(|_| SourceError::Kept);
        let work = move || {
            let (binding, pin) = (binding?, pins::read(&settings.pin_file)?);
            modules::with(&settings.module, |library| {
                ciphers::recover((library, &settings, &pin), &binding, &purpose)
            })
        };
        Box::pin(on_thread(&self.0.module, self.0.timeout, work))
    }
}
