//! One server: trusting it, sealing to it, having it open.

use symbolon_core::tang::{Advertisement, Jwe, TangError, seal};
use symbolon_proto::secret::Secret;

use super::client::Client;
use super::settings::Server;
use crate::custody::sources::SourceError;
use crate::key_thread;
use crate::random::os_rng;

const ADVERTISEMENT: &str = "a signed advertisement of its keys";
const POINT: &str = "the point of an exchange";

impl Server {
    /// The keys that the server has now, if the pinned key says so.
    async fn advertised(&self, client: &Client) -> Result<Advertisement, SourceError> {
        let url = format!("{}/adv/{}", self.url, self.thumbprint);
        let unknown = || {
            SourceError::Refused(
                "the server has no signing key with the configured thumbprint; whoever runs it must say which \
                 it has (`tang-show-keys`), and an operator of the broker configure that"
                    .to_owned(),
            )
        };
        let text = client.get(&url, ADVERTISEMENT).await?.ok_or_else(unknown)?;
        let pinned = self.thumbprint;
        let verified = tokio::task::spawn_blocking(move || Advertisement::verify(&text, &pinned)).await;
        verified.map_err(gone)?.map_err(untrusted)
    }

    /// Seals to the server, and reads again what is kept.
    pub(super) async fn seal(
        &self,
        client: &Client,
        key: &Secret<32>,
        purpose: &[u8],
    ) -> Result<(String, Jwe), SourceError> {
        let set = self.advertised(client).await?;
        let (url, purpose, key) = (self.url.clone(), purpose.to_vec(), key.duplicate());
        let sealed = key_thread::run(move || seal(&set, &url, &purpose, &key, &mut os_rng())).await;
        let text = sealed.map_err(gone)?.map_err(untrusted)?;
        let sealed = Jwe::parse(&text).map_err(untrusted)?;
        Ok((text, sealed))
    }

    /// The key that was sealed to the server for this purpose.
    pub(super) async fn open(
        &self,
        client: &Client,
        sealed: &Jwe,
        purpose: &[u8],
    ) -> Result<Secret<32>, SourceError> {
        if !sealed.is_for(purpose) {
            return Err(SourceError::Kept);
        }
        let key = self.opened(client, sealed).await?;
        let bytes: &[u8; 32] = key.as_slice().try_into().map_err(|_| SourceError::Kept)?;
        Ok(Secret::filled_by(|out| out.copy_from_slice(bytes)))
    }

    /// Whatever was sealed.
    pub(super) async fn opened(
        &self,
        client: &Client,
        sealed: &Jwe,
    ) -> Result<symbolon_proto::Zeroizing<Vec<u8>>, SourceError> {
        let (url, sealed) = (format!("{}/rec/{}", self.url, sealed.kid()), sealed.clone());
        let asked = key_thread::run(move || sealed.ask(&mut os_rng()).map(|question| (sealed, question)));
        let (sealed, question) = asked.await.map_err(gone)?.map_err(|_| SourceError::Kept)?;
        let deleted = || {
            SourceError::Refused(
                "the server no longer has the key that this was sealed to; whoever runs it must put the key \
                 back from a backup, or custodians open the broker and an operator enrols the source again"
                    .to_owned(),
            )
        };
        let answer = client.post(&url, question.body.clone(), POINT).await?.ok_or_else(deleted)?;
        let opened = key_thread::run(move || sealed.open(&question, &answer)).await;
        opened.map_err(gone)?.map_err(|error| match error {
            TangError::Wrong => SourceError::Refused(error.to_string()),
            _ => SourceError::Garbled { expected: POINT },
        })
    }

    /// Whether the server still advertises what this was sealed to.
    pub(super) async fn offers(&self, client: &Client, sealed: &Jwe) -> Result<bool, SourceError> {
        Ok(self.advertised(client).await?.offers(sealed.kid()))
    }

    /// An error that says which server it is.
    pub(super) fn named(&self, error: SourceError) -> SourceError {
        let text = format!("{}: {error}", self.url);
        match error {
            SourceError::Unreachable(_) | SourceError::Silent { .. } => SourceError::Unreachable(text),
            SourceError::Garbled { .. } | SourceError::Refused(_) => SourceError::Refused(text),
            SourceError::File { .. } | SourceError::Kept => error,
        }
    }
}

/// What was advertised is not what is trusted.
fn untrusted(error: TangError) -> SourceError {
    match error {
        TangError::Malformed(_) => SourceError::Garbled { expected: ADVERTISEMENT },
        _ => SourceError::Refused(error.to_string()),
    }
}

/// The thread that should have done it.
fn gone(error: impl std::fmt::Display) -> SourceError {
    SourceError::Unreachable(error.to_string())
}
