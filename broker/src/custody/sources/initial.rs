//! Sources in the share set of a new deployment: enrolled before anything is dealt, and each has opened its
//! share before the deployment can be in force.

use symbolon_core::seal::InitError;
use symbolon_proto::custody::{ShareEnvelope, SourceFile};
use symbolon_proto::id::DeploymentId;
use symbolon_proto::share::{Holder, ShareSetManifest, Threshold, check_holders};

use super::registry::{self, Registry};
use super::{SourceRefusal, enrolling, terms};
use crate::config::CustodyConfig;
use crate::error::OpError;
use crate::rows::Rows;
use crate::store::Write;

/// Fresh keys for each, in the order of the names.
pub async fn enrol(
    custody: &CustodyConfig,
    names: &[String],
    deployment: DeploymentId,
) -> Result<Vec<SourceFile>, OpError> {
    let mut files = Vec::new();
    for name in names {
        files.push(enrolling::enrol(custody, name, deployment).await?);
    }
    Ok(files)
}

/// People and sources, if such a set is as strong as demanded.
pub fn judged(
    custody: &CustodyConfig,
    sources: &[SourceFile],
    threshold: Threshold,
    people: &[Holder],
) -> Result<Vec<Holder>, OpError> {
    let known: Registry = sources.iter().map(|file| (file.card().name().to_owned(), file.clone())).collect();
    let holders: Vec<Holder> =
        people.iter().cloned().chain(sources.iter().map(|file| Holder::from(file.card()))).collect();
    check_holders(threshold, &holders).map_err(|_| InitError::CustodianNames)?;
    terms::judge(custody, &known, threshold.needed(), holders.iter().map(terms::of_wanted))?;
    Ok(holders)
}

/// Hands each its share, and sees that it opens: a device is asked once more.
pub async fn deal(
    custody: &CustodyConfig,
    sources: &mut [SourceFile],
    set: &ShareSetManifest,
    envelopes: &[ShareEnvelope],
) -> Result<(), OpError> {
    for file in sources {
        registry::deal(file, set, envelopes);
        let config = custody.source(file.card().name()).ok_or(SourceRefusal::Unknown)?;
        enrolling::open(config, file.clone(), set.clone(), None).await?;
    }
    Ok(())
}

/// The changes that keep them.
pub fn rows(rows: &Rows, sources: &[SourceFile]) -> Result<Vec<Write>, OpError> {
    let kept: Result<Vec<_>, _> = sources.iter().map(|file| registry::enrolled(rows, file)).collect();
    Ok(kept?.concat())
}
