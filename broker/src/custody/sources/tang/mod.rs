//! A Tang server as a source: it helps to open the key of the binding, and learns nothing of it.
//!
//! ```text
//! settings.rs  which servers, and whose signature is believed
//! client.rs    one question, one answer
//! kept.rs      the binding: a sealed key for each server
//! server.rs    one server: trusting it, sealing, opening
//! ```

mod client;
mod kept;
mod server;
mod settings;
#[cfg(test)]
mod tests;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use symbolon_proto::secret::Secret;

use self::client::Client;
use self::kept::Kept;
use self::settings::Settings;
use super::{Answer, BINDING_BYTES_MAX, Device, Kind, Parsed, SourceError};
use crate::config::Raw;

/// In a configuration: `kind = "tang"`.
pub static KIND: Kind = Kind { name: "tang", parse };

fn parse(settings: &Raw) -> Parsed {
    Ok(Box::new(Tang { settings: Settings::read(settings)? }))
}

/// One or several servers, each of which gives the key.
struct Tang {
    settings: Settings,
}

impl Device for Tang {
    fn bind<'a>(&'a self, key: &'a Secret<32>, purpose: &'a [u8]) -> Answer<'a, Vec<u8>> {
        Box::pin(self.seal_to_all(key, purpose))
    }

    fn recover<'a>(&'a self, binding: &'a [u8], purpose: &'a [u8]) -> Answer<'a, Secret<32>> {
        Box::pin(self.open_by_any(binding, purpose))
    }

    fn is_stale<'a>(&'a self, binding: &'a [u8]) -> Answer<'a, bool> {
        Box::pin(self.is_any_rotated(binding))
    }
}

impl Tang {
    /// Every server must be there: enrolment is done by hand, and what is missing would be missed much later.
    async fn seal_to_all(&self, key: &Secret<32>, purpose: &[u8]) -> Result<Vec<u8>, SourceError> {
        let client = Client::new(&self.settings).await?;
        let mut kept = Kept::default();
        for server in &self.settings.servers {
            let sealed = server.seal(&client, key, purpose).await.map_err(|error| server.named(error))?;
            kept.add(server, sealed);
        }
        let binding = kept.to_bytes();
        let expected = "advertisements that fit into the 64 KiB of a binding";
        if binding.len() > BINDING_BYTES_MAX { Err(SourceError::Garbled { expected }) } else { Ok(binding) }
    }

    /// All at once; the first that answers rightly.
    async fn open_by_any(&self, binding: &[u8], purpose: &[u8]) -> Result<Secret<32>, SourceError> {
        let kept = Kept::read(binding)?;
        let client = &Client::new(&self.settings).await?;
        let asked = self.settings.servers.iter().map(async |server| {
            let sealed = kept.of(server).ok_or(SourceError::Kept)?;
            server.open(client, sealed, purpose).await.map_err(|error| self.told(server, error))
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut failed = None;
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(key) => return Ok(key),
                Err(error) => failed = Some(worse(failed, error)),
            }
        }
        Err(failed.unwrap_or(SourceError::Kept))
    }

    /// Where there are several, the source's own error says only one of theirs. In detail only: a sealed
    /// broker asks again every second.
    fn told(&self, server: &settings::Server, error: SourceError) -> SourceError {
        if self.settings.servers.len() > 1 {
            tracing::debug!(server = %server.url, why = %error, "a Tang server gives no key");
        }
        error
    }

    /// Whether a server has other keys now, or there are other servers. One of several that does not answer
    /// is told of here, once an hour, or nobody would know before the others are gone, too.
    async fn is_any_rotated(&self, binding: &[u8]) -> Result<bool, SourceError> {
        let kept = Kept::read(binding)?;
        if !kept.is_of(&self.settings.servers) {
            return Ok(true);
        }
        let client = Client::new(&self.settings).await?;
        let (mut answered, mut failed) = (false, None);
        for server in &self.settings.servers {
            let sealed = kept.of(server).ok_or(SourceError::Kept)?;
            match server.offers(&client, sealed).await {
                Ok(false) => return Ok(true),
                Ok(true) => answered = true,
                Err(error) => {
                    tracing::warn!(server = %server.url, why = %error, "a Tang server could not be looked at");
                    failed = Some(worse(failed, error));
                }
            }
        }
        failed.filter(|_| !answered).map_or(Ok(false), Err)
    }
}

/// Of two errors the one that will not pass by itself.
fn worse(before: Option<SourceError>, now: SourceError) -> SourceError {
    let lasts = |error: &SourceError| match error {
        SourceError::Unreachable(_) | SourceError::Silent { .. } => 0,
        SourceError::Garbled { .. } => 1,
        _ => 2,
    };
    match before {
        Some(before) if lasts(&before) >= lasts(&now) => before,
        _ => now,
    }
}
