//! The source: its calls, with a deadline.

use std::path::PathBuf;
use std::sync::Arc;

use symbolon_core::tpm::TpmBinding;
use symbolon_proto::secret::Secret;

use super::sealing;
use super::settings::{Place, Settings};
use crate::config::Raw;
use crate::custody::sources::threads::on_thread;
use crate::custody::sources::{Answer, Device, Parsed, SourceError};

struct Tpm {
    settings: Arc<Settings>,
    /// Whose turn it is.
    turn: PathBuf,
}

/// From a configuration.
pub(super) fn parse(raw: &Raw) -> Parsed {
    let settings = Settings::parse(raw)?;
    let turn = match &settings.place {
        Place::File(path) => path.clone(),
        Place::Tcp(address) => PathBuf::from(format!("tcp:{address}")),
    };
    Ok(Box::new(Tpm { settings: Arc::new(settings), turn }))
}

impl Device for Tpm {
    fn bind<'a>(&'a self, key: &'a Secret<32>, purpose: &'a [u8]) -> Answer<'a, Vec<u8>> {
        let (settings, key, purpose) = (Arc::clone(&self.settings), key.duplicate(), purpose.to_owned());
        let work = move || sealing::bind(&settings, &key, &purpose).map(|binding| binding.encode());
        Box::pin(on_thread(&self.turn, self.settings.timeout, work))
    }

    fn recover<'a>(&'a self, binding: &'a [u8], purpose: &'a [u8]) -> Answer<'a, Secret<32>> {
        let (settings, purpose) = (Arc::clone(&self.settings), purpose.to_owned());
        let binding = TpmBinding::decode(binding).map_err(|_| SourceError::Kept);
        let work = move || sealing::recover(&settings, &binding?, &purpose);
        Box::pin(on_thread(&self.turn, self.settings.timeout, work))
    }
}
