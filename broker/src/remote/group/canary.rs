//! Proof that shares work: what is closed under the new manifest can be opened by different sets of t nodes.

use symbolon_core::seal::Unsealed;
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{self, Kek};
use symbolon_proto::context::{CapsuleContext, Scope};
use symbolon_proto::evaluate::{EvaluateError as Misbehaviour, Fault};
use symbolon_proto::id::{CapsuleId, MountId, TenantId};

use crate::random::os_rng;
use crate::remote::{EvaluateError, Evaluator, Remote};

/// Closes a throwaway key under the newest manifest of `remote` and has it opened by every t neighbours of
/// its nodes: if all n − t + 1 sets open it, every t nodes do (`docs/skb1.md` 6.7).
pub(crate) async fn canary(
    remote: &Remote,
    unsealed: &Unsealed,
    mut done: impl FnMut(usize, usize),
) -> Result<(), EvaluateError> {
    let manifest = remote.manifest();
    let nodes: Vec<u16> = manifest.manifest().nodes.iter().map(|node| node.index).collect();
    let sets = nodes.windows(usize::from(manifest.manifest().threshold()));
    let total = sets.len();
    for (number, neighbours) in (1..).zip(sets) {
        open_with(remote, unsealed, neighbours).await?;
        done(number, total);
    }
    Ok(())
}

async fn open_with(remote: &Remote, unsealed: &Unsealed, set: &[u16]) -> Result<(), EvaluateError> {
    let mut rng = os_rng();
    let kek = Kek::random(&mut rng);
    let context = CapsuleContext {
        deployment: unsealed.deployment(),
        tenant: TenantId::SYSTEM,
        mount: MountId::from_bytes([0; 16]),
        bucket: u32::MAX,
        kek_epoch: 1,
        capsule: CapsuleId::random(&mut rng),
        key: remote.key_id(),
        fragment_epoch: unsealed.keys().epoch,
        scope: Scope::Bucket,
    };
    let target = remote.encapsulation_key()?;
    let wrong = || EvaluateError::Lied(Misbehaviour { node: set[0], fault: Fault::Proof });
    let capsule =
        capsule::encapsulate(&context, &target, unsealed.keys(), &kek, &mut rng).map_err(|_| wrong())?;
    let blinded = Blinded::blind(&[&capsule], remote.target(target.key_epoch)?, &mut rng);
    let secrets = remote.evaluate_with(set, blinded.map_err(|_| wrong())?).await?;
    let opened =
        secrets.into_iter().next().map(|secret| capsule.open(&context, &unsealed.keys().capsule, secret));
    match opened {
        Some(Ok(opened)) if opened.same_as(&kek) => Ok(()),
        _ => Err(wrong()),
    }
}
