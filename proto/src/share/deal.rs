//! Dealing: a fragment becomes a share set (docs/skb1.md sections 7.1 and 7.3).

use rand_core::CryptoRng;

use super::bytes::Share;
use super::kind::{SetId, ShareKind};
use super::set::{self, Custodian, ShareSetError, ShareSetManifest};
use super::shamir::{self, Point, Threshold};
use crate::custodian::{Card, CustodianKeys};
use crate::hierarchy::Fragment;
use crate::id::DeploymentId;

/// Somebody who is to hold a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Name, unique in the set.
    pub name: String,
    /// Public keys. Without them no envelope can be made, and the share is handed over as text.
    pub keys: Option<CustodianKeys>,
}

impl Holder {
    /// Somebody without keys.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), keys: None }
    }
}

impl From<&Card> for Holder {
    fn from(card: &Card) -> Self {
        Self { name: card.name().to_owned(), keys: Some(card.keys().clone()) }
    }
}

/// What a share set is made for.
#[derive(Clone, Copy, Debug)]
pub struct Dealing<'a> {
    /// What is shared: the fragment, or an escrow key (whose seed then stands in the fragment's place).
    pub kind: ShareKind,
    /// The deployment whose fragment it is.
    pub deployment: DeploymentId,
    /// The current fragment epoch f.
    pub frag_epoch: u32,
    /// Now, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// t of n.
    pub threshold: Threshold,
    /// n holders, in the order of the share numbers.
    pub holders: &'a [Holder],
    /// The manifest that this one follows, when the fragment is shared again.
    pub previous: Option<&'a ShareSetManifest>,
}

impl Dealing<'_> {
    /// Splits `fragment` and makes the manifest. Before it returns, every share has taken part in a
    /// recombination that passed the check value (the drill of section 7.3, against a faulty dealer).
    pub fn deal(
        &self,
        fragment: &Fragment,
        rng: &mut dyn CryptoRng,
    ) -> Result<(ShareSetManifest, Vec<Share>), ShareSetError> {
        check_holders(self.threshold, self.holders)?;
        let mut manifest = self.blank_manifest(rng);
        manifest.set_id = manifest.computed_id();
        manifest.chk = set::check_value(&fragment.root(&self.deployment).check(), &manifest.set_id);
        let points = shamir::split(fragment.secret(), self.threshold, rng);
        for (custodian, point) in manifest.custodians.iter_mut().zip(&points) {
            custodian.digest = set::share_digest(&manifest.nonce, &manifest.set_id, point);
        }
        drill(&manifest, &points)?;
        let set_id = manifest.set_id;
        Ok((
            manifest,
            points.into_iter().map(|point| Share::new(self.kind, set_id, self.threshold, point)).collect(),
        ))
    }

    fn blank_manifest(&self, rng: &mut dyn CryptoRng) -> ShareSetManifest {
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        ShareSetManifest {
            kind: self.kind,
            deployment: self.deployment,
            set_id: SetId::from_bytes([0; 8]),
            frag_epoch: self.frag_epoch,
            threshold: self.threshold,
            created_ms: self.created_ms,
            nonce,
            custodians: custodians(self.holders),
            chk: [0; 16],
            seq: self.previous.map_or(1, |previous| previous.seq.saturating_add(1)),
            prev_hash: self.previous.map_or([0; 32], ShareSetManifest::hash),
        }
    }
}

/// Whether a set can be made for these holders: as many as shares, each with a name and keys of its own.
pub fn check_holders(threshold: Threshold, holders: &[Holder]) -> Result<(), ShareSetError> {
    set::check_names(threshold, holders.iter().map(|holder| holder.name.as_str()))?;
    set::check_keys(&custodians(holders))
}

fn custodians(holders: &[Holder]) -> Vec<Custodian> {
    let custodian = |(x, holder): (u8, &Holder)| Custodian {
        x,
        name: holder.name.clone(),
        keys: holder.keys.clone(),
        digest: [0; 32],
    };
    (1..).zip(holders).map(custodian).collect()
}

/// Recombines every t neighbouring shares, which says the same of every t shares (`docs/skb1.md` 6.7).
fn drill(manifest: &ShareSetManifest, points: &[Point]) -> Result<(), ShareSetError> {
    let points: Vec<_> = points.iter().collect();
    for neighbours in points.windows(usize::from(manifest.threshold())) {
        let secret = shamir::recombine(neighbours).map_err(|_| ShareSetError::Drill)?;
        if !manifest.is_fragment(&Fragment::from_secret(secret)) {
            return Err(ShareSetError::Drill);
        }
    }
    Ok(())
}
