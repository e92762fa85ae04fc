//! A source's keys, bound to its device; and whether it would give its share.

use std::time::Duration;

use symbolon_proto::custody::{BINDING_BYTES_MAX, ShareEnvelope, SourceFile};
use symbolon_proto::id::DeploymentId;
use symbolon_proto::secret::Secret;
use symbolon_proto::share::{Share, ShareSetManifest};
use tokio::time::timeout;

use super::{Device, SourceError, SourceRefusal, parse};
use crate::config::{CustodyConfig, SourceConfig};
use crate::key_thread;
use crate::random::os_rng;

/// Longest wait for a device, whatever its own limits are.
const DEVICE_WAIT_MAX: Duration = Duration::from_secs(60);

/// What a device binds to, where it can: deployment and source.
#[must_use]
pub fn purpose(deployment: DeploymentId, name: &str) -> Vec<u8> {
    [b"symbolon source ".as_slice(), deployment.as_bytes(), name.as_bytes()].concat()
}

/// Fresh keys for a source of the configuration, which its device has given back once.
pub async fn enrol(
    config: &CustodyConfig,
    name: &str,
    deployment: DeploymentId,
) -> Result<SourceFile, SourceRefusal> {
    let config = config.source(name).ok_or(SourceRefusal::Unknown)?;
    let device = device(config)?;
    let (key, purpose) = (Secret::random(&mut os_rng()), purpose(deployment, name));
    let binding = patiently(name, device.bind(&key, &purpose)).await?;
    if binding.len() > BINDING_BYTES_MAX {
        let error = SourceError::Garbled { expected: "a binding of at most 64 KiB" };
        return Err(SourceRefusal::Device { name: name.to_owned(), error });
    }
    let (kind, owned) = (config.kind.clone(), name.to_owned());
    let made = move || SourceFile::generate(&kind, &owned, deployment, (&key, binding), &mut os_rng());
    let file = on_key_thread(name, made).await?;
    let key = recover(config, &file, deployment).await?;
    let opened = file.clone();
    on_key_thread(name, move || opened.open(&key, deployment).map(drop)).await?;
    Ok(file)
}

/// The key of a source's file, from its device.
pub async fn recover(
    config: &SourceConfig,
    file: &SourceFile,
    deployment: DeploymentId,
) -> Result<Secret<32>, SourceRefusal> {
    let name = config.name.as_str();
    if config.kind != file.kind() {
        let why = format!("it was enrolled as {}; enrol it again, then reshare", file.kind());
        return Err(SourceRefusal::Unsound { name: name.to_owned(), why });
    }
    let device = device(config)?;
    patiently(name, device.recover(&file.binding, &purpose(deployment, name))).await
}

/// Its share, opened: of the set in force, or of one that is being made.
pub async fn open(
    config: &SourceConfig,
    file: SourceFile,
    set: ShareSetManifest,
    fresh: Option<(u8, ShareEnvelope)>,
) -> Result<Share, SourceRefusal> {
    let key = recover(config, &file, set.deployment()).await?;
    let opened = move || match fresh {
        None => file.open_share(&key, &set),
        Some((x, envelope)) => file.open_envelope(&key, &set, x, &envelope),
    };
    on_key_thread(&config.name, opened).await
}

/// The file with a binding to the present keys of its device, if that has turned to others; checked by asking
/// the device for the key again.
pub async fn renewed(
    config: &SourceConfig,
    file: &SourceFile,
    deployment: DeploymentId,
) -> Result<Option<SourceFile>, SourceRefusal> {
    let (name, device) = (config.name.as_str(), device(config)?);
    if !patiently(name, device.is_stale(&file.binding)).await? {
        return Ok(None);
    }
    let (key, purpose) = (recover(config, file, deployment).await?, purpose(deployment, name));
    let binding = patiently(name, device.bind(&key, &purpose)).await?;
    let mut renewed = file.clone();
    renewed.binding = binding;
    let (key, opened) = (recover(config, &renewed, deployment).await?, renewed.clone());
    on_key_thread(name, move || opened.open(&key, deployment).map(drop)).await?;
    Ok(Some(renewed))
}

fn device(config: &SourceConfig) -> Result<Box<dyn Device>, SourceRefusal> {
    parse(config).map_err(|why| SourceRefusal::Unsound { name: config.name.clone(), why })
}

async fn patiently<T>(
    name: &str,
    asked: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceRefusal> {
    let silent = |_| Err(SourceError::Silent { after: DEVICE_WAIT_MAX });
    let answered = timeout(DEVICE_WAIT_MAX, asked).await.unwrap_or_else(silent);
    answered.map_err(|error| SourceRefusal::Device { name: name.to_owned(), error })
}

async fn on_key_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T, symbolon_proto::custody::SourceFileError> + Send + 'static,
) -> Result<T, SourceRefusal> {
    let done = key_thread::run(work).await;
    let failed = |error| SourceRefusal::File { name: name.to_owned(), error };
    match done {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(failed(symbolon_proto::custody::SourceFileError::DoesNotOpen)),
    }
}
