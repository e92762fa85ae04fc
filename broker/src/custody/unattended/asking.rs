//! What a ceremony asks of a source, as anyone can read it in the state of the seal.
//!
//! A source gives its share where it may open something that was open before, or where a person has given
//! theirs: a ceremony for new shares or keys is begun with a token, and whoever steals one must not have the
//! fragment dealt to cards of their own by machines that obey. For a root token it never gives.

use symbolon_core::seal::Sealed;
use symbolon_proto::custody::transcript::CeremonyType;
use symbolon_proto::custody::{CeremonyBinding, Purpose, ShareEnvelope, SourceFile, XWingPublicKey};
use symbolon_proto::share::{Custodian, ShareSetManifest};

use crate::custody::ceremony::{Notice, Stage};
use crate::custody::seal::View;
use crate::custody::sources::registry::{Registry, is_source};

/// A share that is wanted of a source.
#[derive(Clone)]
pub struct Asked {
    /// The ceremony.
    pub binding: CeremonyBinding,
    /// What it is sealed to.
    pub key: XWingPublicKey,
    /// What for.
    pub purpose: Purpose,
    /// The set of the share.
    pub set: ShareSetManifest,
    /// Its number and envelope, if it is of a set that is not in force yet.
    pub fresh: Option<(u8, ShareEnvelope)>,
    /// Whether it is to open a sealed broker.
    pub unseals: bool,
}

/// What is wanted of this source now.
#[must_use]
pub fn asked(view: &View, file: &SourceFile, registry: &Registry) -> Option<Asked> {
    match view {
        View::Sealed { sealed, notice, reason: None, .. } => give(sealed, notice, file, true),
        View::Open { sealed, ceremony: Some(notice), .. } => match notice.stage {
            Stage::Collecting if may_give(notice, sealed, registry) => give(sealed, notice, file, false),
            Stage::Proving => prove(notice, file),
            _ => None,
        },
        _ => None,
    }
}

fn give(sealed: &Sealed, notice: &Notice, file: &SourceFile, unseals: bool) -> Option<Asked> {
    let set = sealed.share_set();
    let holder = holder(set, file)?;
    let asked = || asked_of(notice, Purpose::Give, set.clone(), None, unseals);
    notice.missing.contains(&holder.name).then(asked)?
}

/// Whether sources may give for what is under way.
fn may_give(notice: &Notice, sealed: &Sealed, registry: &Registry) -> bool {
    let is_person = |name: &String| {
        let holder = sealed.share_set().custodians().iter().find(|holder| holder.name == *name);
        holder.is_some_and(|holder| !is_source(holder, registry))
    };
    match notice.kind {
        CeremonyType::Drill => true,
        CeremonyType::Reshare | CeremonyType::Rekey | CeremonyType::Epoch => {
            notice.given.iter().any(is_person)
        }
        _ => false,
    }
}

fn prove(notice: &Notice, file: &SourceFile) -> Option<Asked> {
    let proof = notice.prove.as_ref()?;
    let set = ShareSetManifest::decode(&proof.manifest).ok()?;
    let holder = holder(&set, file)?;
    if !notice.missing.contains(&holder.name) {
        return None;
    }
    let x = holder.x;
    let (_, envelope) = proof.envelopes.iter().find(|(number, _)| *number == x)?;
    let envelope = ShareEnvelope::from_bytes(envelope).ok()?;
    asked_of(notice, Purpose::Prove, set, Some((x, envelope)), false)
}

fn asked_of(
    notice: &Notice,
    purpose: Purpose,
    set: ShareSetManifest,
    fresh: Option<(u8, ShareEnvelope)>,
    unseals: bool,
) -> Option<Asked> {
    let key = XWingPublicKey::from_bytes(&notice.key).ok()?;
    let binding = CeremonyBinding { deployment: set.deployment(), nonce: notice.nonce };
    Some(Asked { binding, key, purpose, set, fresh, unseals })
}

/// Who of a set this source is.
fn holder<'a>(set: &'a ShareSetManifest, file: &SourceFile) -> Option<&'a Custodian> {
    set.custodians().iter().find(|holder| holder.keys.as_ref() == Some(file.card().keys()))
}
