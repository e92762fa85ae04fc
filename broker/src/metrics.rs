//! Numbers for Prometheus. Labels come from closed sets: never a path, a name, or anything that a caller
//! said.
//!
//! | Name | Labels |
//! |---|---|
//! | `symbolon_requests_total` | area, operation, outcome |
//! | `symbolon_request_seconds` | area |
//! | `symbolon_initialized`, `symbolon_sealed`, `symbolon_ready`, `symbolon_degraded` | none; 0 or 1 |
//! | `symbolon_alarms` | none |
//! | `symbolon_lease_seconds`, `symbolon_deadman_seconds` | none; until they end |
//! | `symbolon_generation` | none |
//! | `symbolon_backup_timestamp_seconds`, `symbolon_backup_failed` | none |
//! | `symbolon_log_minimum`, `symbolon_log_exported` | none |
//! | `symbolon_log_bytes`, `symbolon_log_budget_bytes` | none |
//! | `symbolon_sink_lag_entries`, `symbolon_sink_lag_seconds`, `symbolon_sink_failed` | sink, kind |
//! | `symbolon_sink_pruned_entries_total`, `symbolon_sink_rejected_entries_total` | sink, kind |
//! | `symbolon_source_failed`, `symbolon_source_held`, `symbolon_source_failures` | source, kind |
//! | `symbolon_certificate_end_timestamp_seconds` | none |
//! | `symbolon_log_entries` | none |
//! | `symbolon_refusals_coalesced_total` | none |
//! | `symbolon_collected_rows_total` | table |
//! | `symbolon_remote_evaluation_seconds` | node, outcome |
//! | those of rotations | none |
//!
//! Whatever is looked at when somebody asks is in memory: a scrape waits for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::access::Session;
use crate::ops::seal::SealStatus;

mod open;
mod sinks;
mod sources;

/// What all names begin with.
const PREFIX: &str = "symbolon";

/// Seconds, from a cached read to a request that waits for a fragment service.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// A label whose values are these words.
macro_rules! closed {
    ($(#[$doc:meta])* $name:ident { $($variant:ident => $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // their names say it
        pub enum $name { $($variant,)+ }

        impl $name {
            const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

closed! {
    /// What a request was about.
    Area {
        Secrets => "secrets",
        Logins => "logins",
        System => "system",
        Oauth => "oauth",
        Log => "log",
        Other => "other",
    }
}

closed! {
    /// What it wanted.
    Operation {
        Read => "read",
        List => "list",
        Write => "write",
        Delete => "delete",
        Other => "other",
    }
}

closed! {
    /// What became of it.
    Outcome {
        Done => "done",
        Absent => "absent",
        Denied => "denied",
        Refused => "refused",
        Busy => "busy",
        Unavailable => "unavailable",
        Failed => "failed",
    }
}

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// What it was about.
    pub area: Area,
    /// What it wanted.
    pub operation: Operation,
    /// What became of it.
    pub outcome: Outcome,
}

/// As large as a gauge can be, if it is larger.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// When the certificate ends that new connections get, Unix seconds. Whoever serves another one says so.
#[derive(Clone, Debug, Default)]
pub struct CertificateEnd(Arc<AtomicI64>);

impl CertificateEnd {
    /// From now on it is this.
    pub fn set(&self, unix_secs: i64) {
        self.0.store(unix_secs, Ordering::Relaxed);
    }
}

/// All numbers of a broker.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    state: State,
    /// And what it is read from.
    certificate: Option<(IntGauge, CertificateEnd)>,
}

/// What is set when somebody asks.
struct State {
    initialized: IntGauge,
    sealed: IntGauge,
    ready: IntGauge,
    degraded: IntGauge,
    alarms: IntGauge,
    lease_seconds: IntGauge,
    dead_man_seconds: IntGauge,
    generation: IntGauge,
    backup_seconds: IntGauge,
    backup_failed: IntGauge,
    log: [IntGauge; 4],
}

impl State {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            initialized: gauge("initialized", "Whether the store holds a deployment.")?,
            sealed: gauge("sealed", "Whether the broker holds no keys.")?,
            ready: gauge("ready", "Whether reads of secrets would succeed.")?,
            degraded: gauge("degraded", "Whether the broker is open and reads would fail.")?,
            alarms: gauge("alarms", "What an operator must look at although everything is served.")?,
            lease_seconds: gauge("lease_seconds", "Until the lease on cached keys ends.")?,
            dead_man_seconds: gauge("deadman_seconds", "Until the broker seals itself without a lease.")?,
            generation: gauge("generation", "How often the deployment was unsealed.")?,
            backup_seconds: gauge(
                "backup_timestamp_seconds",
                "When the newest backup was made; 0 if none is known.",
            )?,
            backup_failed: gauge("backup_failed", "Whether the last attempt to make a backup failed.")?,
            log: [
                gauge("log_minimum", "The first entry of the log that is kept.")?,
                gauge("log_exported", "Entries before this one were exported, or pruned.")?,
                gauge(
                    "log_bytes",
                    "Bytes that the log takes in the store, about; 0 if nothing is configured.",
                )?,
                gauge("log_budget_bytes", "Bytes that it may take; 0 without a budget.")?,
            ],
        })
    }

    fn set(&self, status: &SealStatus) {
        self.initialized.set(status.initialized.into());
        self.sealed.set(status.sealed.into());
        self.ready.set(status.unready().is_none().into());
        self.degraded.set((!status.degraded.is_empty()).into());
        self.alarms.set(i64::try_from(status.alarms.len()).unwrap_or(i64::MAX));
        self.lease_seconds.set(number(status.lease_left_secs));
        self.dead_man_seconds.set(number(status.dead_man_left_secs));
        self.generation.set(number(status.generation));
        let backup = status.backup.as_ref();
        let made = backup.and_then(|backup| backup.last.as_ref()).map_or(0, |made| made.at);
        self.backup_seconds.set(number(made));
        let log = &status.log;
        let numbers = [log.minimum, log.exported_until, log.bytes, log.budget_bytes.unwrap_or(0)];
        self.log.iter().zip(numbers).for_each(|(gauge, value)| gauge.set(number(value)));
        self.backup_failed.set(backup.is_some_and(|backup| backup.failed.is_some()).into());
    }
}

impl Metrics {
    /// All at zero; with the end of the certificate, if there is one. Fails if two have one name.
    pub fn new(certificate: Option<CertificateEnd>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some(PREFIX.to_owned()), None)?;
        let labels = ["area", "operation", "outcome"];
        let requests =
            IntCounterVec::new(Opts::new("requests_total", "Requests that were answered."), &labels)?;
        let help = "From the head of a request to that of its answer.";
        let options = HistogramOpts::new("request_seconds", help).buckets(BUCKETS.to_vec());
        let seconds = HistogramVec::new(options, &["area"])?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        let state = State::register(&registry)?;
        let certificate = certificate.map(|end| end_of_certificate(&registry, end)).transpose()?;
        Ok(Self { registry, requests, seconds, state, certificate })
    }

    /// A request was answered after so long.
    pub fn answered(&self, served: Served, took: Duration) {
        let Served { area, operation, outcome } = served;
        self.requests.with_label_values(&[area.as_str(), operation.as_str(), outcome.as_str()]).inc();
        self.seconds.with_label_values(&[area.as_str()]).observe(took.as_secs_f64());
    }

    /// Everything as text, with the state of this moment.
    pub fn text(&self, status: &SealStatus, session: Option<&Session>) -> Result<Vec<u8>, prometheus::Error> {
        self.state.set(status);
        if let Some((gauge, end)) = &self.certificate {
            gauge.set(end.0.load(Ordering::Relaxed));
        }
        let mut families = self.registry.gather();
        families.extend(sinks::gather(&status.sinks)?);
        families.extend(sources::gather(&status.sources)?);
        if let Some(session) = session {
            families.extend(open::gather(session)?);
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }
}

fn end_of_certificate(
    registry: &Registry,
    end: CertificateEnd,
) -> Result<(IntGauge, CertificateEnd), prometheus::Error> {
    let help = "When the certificate ends that new connections get, Unix seconds.";
    let gauge = IntGauge::new("certificate_end_timestamp_seconds", help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok((gauge, end))
}
