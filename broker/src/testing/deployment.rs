//! A deployment, its fragment in the hands of a few people.

use symbolon_core::seal::{FIRST_EPOCH, Recovery, SealRecord, Sealed, Unsealed};
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::id::{BrokerId, DeploymentId};
use symbolon_proto::share::{Dealing, Holder, Share, ShareKind, ShareSetManifest, Threshold};

use crate::random::os_rng;

/// The deployment.
pub(crate) const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([1; 16]);

/// `secret` among these people; two of them open it.
pub(crate) fn deal(
    kind: ShareKind,
    deployment: DeploymentId,
    secret: &Fragment,
    names: &[&str],
) -> (ShareSetManifest, Vec<Share>) {
    let holders: Vec<_> = names.iter().copied().map(Holder::named).collect();
    let dealing = Dealing {
        kind,
        deployment,
        frag_epoch: FIRST_EPOCH,
        created_ms: 1000,
        threshold: Threshold::new(2, u8::try_from(names.len()).unwrap()).unwrap(),
        holders: &holders,
        previous: None,
    };
    dealing.deal(secret, &mut os_rng()).unwrap()
}

/// The seal record that goes with a share set, in the oldest format.
pub(crate) fn seal_record(set: &ShareSetManifest) -> SealRecord {
    SealRecord {
        format: 1,
        deployment: DEPLOYMENT.to_string(),
        broker: BrokerId::from_bytes([2; 16]).to_string(),
        created_ms: 1000,
        recovery: Recovery::None,
        share_set: data_encoding::HEXLOWER.encode(&set.encode()),
        frag_epoch: 0,
        service_root: String::new(),
        log_key: String::new(),
    }
}

/// The deployment, sealed.
pub(crate) fn sealed(fragment: &Fragment) -> Sealed {
    let (set, _) = deal(ShareKind::Fragment, DEPLOYMENT, fragment, &["ana", "boris"]);
    Sealed::open(seal_record(&set)).unwrap()
}

/// The keys of some deployment.
pub(crate) fn unsealed() -> Unsealed {
    let fragment = Fragment::random(&mut os_rng());
    Unsealed::first(&fragment, &sealed(&fragment))
}
