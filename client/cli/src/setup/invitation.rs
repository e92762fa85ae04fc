//! What the operator of a fragment service hands to the operator of a broker: one line, without a secret.
//!
//! ```text
//! https://nas.example:8300#12345-67890-…
//! ```
//!
//! Whoever could change it on its way could put a service of their own in its place, so the fingerprint is
//! compared by voice, as everywhere.

use std::fmt;
use std::str::FromStr;

use symbolon_proto::fingerprint::{Fingerprint, FingerprintError};

use super::names::{Address, NameError};

/// Where a fragment service is, and who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Where brokers reach it.
    pub address: Address,
    /// Of its root.
    pub fingerprint: Fingerprint,
}

/// Why a text is no invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// Something else.
    #[error(
        "an invitation is one line like https://nas.example:8300#12345-67890-…, as `symbolon setup fragment` prints it"
    )]
    Form,
    /// Its first half.
    #[error("the address in the invitation: {0}")]
    Address(#[from] NameError),
    /// Its second half.
    #[error("the fingerprint in the invitation: {0}")]
    Fingerprint(#[from] FingerprintError),
}

impl Invitation {
    /// For the broker's configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    /// Reads it with line breaks and blanks of a mail program in it.
    fn from_str(text: &str) -> Result<Self, InvitationError> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (url, fingerprint) = text.split_once('#').ok_or(InvitationError::Form)?;
        let address = url.strip_prefix("https://").ok_or(InvitationError::Form)?;
        Ok(Self { address: address.trim_end_matches('/').parse()?, fingerprint: fingerprint.parse()? })
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}#{}", self.url(), self.fingerprint.to_string().replace(' ', "-"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_invitation_survives_mail_and_says_what_is_wrong() {
        let invitation = Invitation {
            address: "nas.example:8300".parse().unwrap(),
            fingerprint: Fingerprint::of(b"root"),
        };
        let text = invitation.to_string();
        assert_eq!(text.parse::<Invitation>().unwrap(), invitation);
        assert_eq!(
            format!(" {}\r\n{}\n", &text[..40], &text[40..]).parse::<Invitation>().unwrap(),
            invitation
        );
        assert_eq!("nas:8300".parse::<Invitation>(), Err(InvitationError::Form));
        assert!(matches!(
            "https://nas#1".parse::<Invitation>(),
            Err(InvitationError::Address(NameError::Port))
        ));
        let short = text[..text.len() - 1].parse::<Invitation>();
        assert!(matches!(short, Err(InvitationError::Fingerprint(FingerprintError::Length { found: 59 }))));
    }
}
