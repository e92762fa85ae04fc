//! Requests for closed keys, answered in batches: one frame for all that wait.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use symbolon_core::keyring::OpenKek;
use tokio::sync::{mpsc, oneshot};

use super::slots::CapsulePlace;
use super::{KeyError, Shared};

/// Requests for closed keys that may wait; beyond it the broker is busy.
pub(super) const LOADS_MAX: usize = 4096;
/// Capsules in one evaluation (`docs/skb1.md` 6.6).
pub const BATCH_MAX: usize = 64;

pub(super) type Loaded = Result<Arc<OpenKek>, KeyError>;

pub(super) struct Load {
    pub(super) place: CapsulePlace,
    pub(super) answer: oneshot::Sender<Loaded>,
}

/// Gathers what waits, asks the remote once per batch, and answers everybody.
pub(super) async fn load_all(mut queue: mpsc::Receiver<Load>, shared: Arc<Shared>) {
    let mut waiting: Vec<Load> = Vec::new();
    while queue.recv_many(&mut waiting, LOADS_MAX).await > 0 {
        let mut places: Vec<_> = waiting.iter().map(|load| load.place).collect();
        places.sort_unstable();
        places.dedup();
        let mut answers = HashMap::with_capacity(places.len());
        for batch in places.chunks(BATCH_MAX) {
            answers.extend(shared.load(batch).await);
        }
        for Load { place, answer } in waiting.drain(..) {
            let _ = answer.send(answers.get(&place).cloned().unwrap_or(Err(KeyError::Busy)));
        }
    }
}

impl Shared {
    /// Loads the places whose keys are not cached yet. Capsules of different key epochs go out in frames of
    /// their own.
    async fn load(self: &Arc<Self>, places: &[CapsulePlace]) -> HashMap<CapsulePlace, Loaded> {
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
        for capsules in capsules.into_values() {
            match self.open_capsules(&capsules).await {
                Ok(opened) => {
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

    /// A key of a bucket is cached, unless its session has closed meanwhile; a version's serves its waiters
    /// and is wiped.
    pub(super) fn keep(&self, place: CapsulePlace, kek: OpenKek) -> Arc<OpenKek> {
        match place {
            CapsulePlace::Bucket(slot) if !*self.closed.borrow() => self.ring().keep(slot, kek),
            _ => Arc::new(kek),
        }
    }
}
