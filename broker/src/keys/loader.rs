//! Requests for closed keys, answered in batches: one frame for all that wait.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use symbolon_core::keyring::OpenKek;
use symbolon_proto::blind::Blinded;
use tokio::sync::{mpsc, oneshot};

use super::capsules::Placed;
use super::slots::CapsulePlace;
use super::{Account, KeyError, Payer, Shared};

/// Requests for closed keys that may wait; beyond it the broker is busy.
pub(super) const LOADS_MAX: usize = 4096;
/// Capsules in one evaluation (`docs/skb1.md` 6.6).
pub const BATCH_MAX: usize = 64;

pub(super) type Loaded = Result<Arc<OpenKek>, KeyError>;

pub(super) struct Load {
    pub(super) place: CapsulePlace,
    pub(super) account: Account,
    pub(super) answer: oneshot::Sender<Loaded>,
}

/// Who pays for the key of a place: of several who wait for it the first.
type Payers = HashMap<CapsulePlace, Payer>;

/// Gathers what waits, asks the remote once per batch, and answers everybody.
pub(super) async fn load_all(mut queue: mpsc::Receiver<Load>, shared: Arc<Shared>) {
    let mut waiting: Vec<Load> = Vec::new();
    while queue.recv_many(&mut waiting, LOADS_MAX).await > 0 {
        let mut places: Vec<_> = waiting.iter().map(|load| load.place).collect();
        places.sort_unstable();
        places.dedup();
        let payers: Payers = waiting.iter().rev().filter_map(payer).collect();
        let mut answers = HashMap::with_capacity(places.len());
        for batch in places.chunks(BATCH_MAX) {
            answers.extend(shared.load(batch, &payers).await);
        }
        for Load { place, answer, .. } in waiting.drain(..) {
            let _ = answer.send(answers.get(&place).cloned().unwrap_or(Err(KeyError::Busy)));
        }
    }
}

fn payer(load: &Load) -> Option<(CapsulePlace, Payer)> {
    match (load.place, load.account) {
        (place @ CapsulePlace::Version(_), Account::Reader(payer)) => Some((place, payer)),
        _ => None,
    }
}

impl Shared {
    /// Loads the places whose keys are not cached yet. Capsules of different key epochs go out in frames of
    /// their own.
    async fn load(
        self: &Arc<Self>,
        places: &[CapsulePlace],
        payers: &Payers,
    ) -> HashMap<CapsulePlace, Loaded> {
        let mut answers = HashMap::with_capacity(places.len());
        let mut capsules = BTreeMap::<u32, Vec<_>>::new();
        for &place in places {
            match self.cached(&place) {
                Some(kek) => drop(answers.insert(place, Ok(kek))),
                None => match self.stored_capsule(place).await {
                    Ok(capsule) => capsules.entry(capsule.key_epoch()).or_default().push((place, capsule)),
                    Err(error) => drop(answers.insert(place, Err(error))),
                },
            }
        }
        for mut capsules in capsules.into_values() {
            self.leave_reserve(&mut capsules, &mut answers);
            if capsules.is_empty() {
                continue;
            }
            match self.open_capsules(&capsules).await {
                Ok(opened) => {
                    self.share_padding(&capsules, payers);
                    let opened = capsules.iter().zip(opened);
                    answers.extend(
                        opened.map(|((place, _), kek)| (*place, kek.map(|kek| self.keep(*place, kek)))),
                    );
                }
                Err(error) => answers.extend(capsules.iter().map(|(place, _)| (*place, Err(error)))),
            }
        }
        answers
    }

    /// Refuses keys of versions until the frame leaves the reserve of the quota alone. Keys of buckets always
    /// go.
    fn leave_reserve(&self, capsules: &mut Vec<Placed>, answers: &mut HashMap<CapsulePlace, Loaded>) {
        let quota = self.evaluator.quota();
        let spare = self.budget.spare(quota);
        while Blinded::padded(capsules.len()).is_some_and(|cost| cost > spare) {
            let is_version = |(place, _): &Placed| matches!(place, CapsulePlace::Version(_));
            let Some(last) = capsules.iter().rposition(is_version) else { return };
            let (place, _) = capsules.remove(last);
            answers.insert(place, Err(KeyError::Spent(self.budget.reserved(quota))));
        }
    }

    /// Frames have 1, 8 or 64 points, dummies included, and all of them cost: whoever reads several keys at
    /// once pays for the dummies, too.
    fn share_padding(&self, capsules: &[Placed], payers: &Payers) {
        let padded = Blinded::padded(capsules.len()).unwrap_or(BATCH_MAX);
        let each = (padded - capsules.len()).div_ceil(capsules.len()) as u64;
        if each > 0 {
            let payers = capsules.iter().filter_map(|(place, _)| payers.get(place));
            payers.for_each(|payer| self.budget.surcharge(*payer, each));
        }
    }

    /// A key of a bucket is cached, unless its session has closed meanwhile; a version's serves its waiters
    /// and is wiped.
    pub(super) fn keep(&self, place: CapsulePlace, kek: OpenKek) -> Arc<OpenKek> {
        match place {
            CapsulePlace::Bucket(slot) if !*self.closed.borrow() => self.ring().keep(slot, kek),
            _ => Arc::new(kek),
        }
    }
}
