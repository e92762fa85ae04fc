//! Why a sink stops, for a while or for good.

use crate::audit::log::LogError;
use crate::audit::sinks::SinkError;
use crate::audit::sinks::error::Fault;
use crate::error::OpError;

/// Why a sink stops.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The session has ended.
    #[error("the broker was sealed")]
    Sealed,
    /// The peer.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Its settings, which somebody has changed since they were looked at.
    #[error("{0}")]
    Settings(String),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Rows and log do not answer.
    #[error("{0}")]
    Broker(#[from] OpError),
}

impl Stop {
    /// What of it anyone may know.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Sink(error) => error.fault(),
            Self::Settings(_) => Fault::File,
            Self::Sealed | Self::Log(_) | Self::Broker(_) => Fault::Broker,
        }
    }
}
