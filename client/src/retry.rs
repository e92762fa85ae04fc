//! How long to wait for a broker that says that it cannot serve now.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::time::{Instant, sleep};

use crate::error::{Error, Unavailable};

/// First pause where the server names none; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What is left of the time that a call may wait.
pub(crate) struct Patience {
    ends: Instant,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new(within: Duration) -> Self {
        Self { ends: Instant::now() + within, pause: PAUSE_MIN }
    }

    /// Waits, if the error says that it is worth it and the time suffices; then says true.
    pub(crate) async fn outlasts(&mut self, error: &Error) -> bool {
        let answered = Unavailable::is_answer;
        if !matches!(error, Error::Unavailable(reason) if answered(reason)) {
            return false;
        }
        let pause = error.retry_after().unwrap_or_default().max(self.pause);
        if Instant::now() + pause > self.ends {
            return false;
        }
        self.pause = (2 * self.pause).min(PAUSE_MAX);
        sleep(pause).await;
        true
    }
}

impl Unavailable {
    /// Whether the server itself, or what stands before it, said so. A connection that broke is the caller's
    /// to judge.
    fn is_answer(&self) -> bool {
        matches!(self, Self::Sealed(_) | Self::Refused(_))
    }
}

/// Seconds of `Retry-After`. A date is not understood: it would need both clocks to agree.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let secs = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(secs.into()))
}
