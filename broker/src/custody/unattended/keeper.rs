//! Asks the sources: each for itself, so that one that hangs keeps no other waiting, and for as long as it
//! takes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use symbolon_core::clock::Clock;
use symbolon_proto::custody::{SourceFile, Submission};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::{info, warn};

use super::asking::{Asked, asked};
use super::journal::{Journal, Known, Standing};
use super::renewing::renew;
use crate::config::{Living, SourceConfig};
use crate::custody::seal::{SealHandle, View};
use crate::custody::sources::error::Fault;
use crate::custody::sources::registry::Registry;
use crate::custody::sources::{SourceRefusal, enrolling, hold, registry, terms};
use crate::key_thread;
use crate::random::os_rng;
use crate::store::Store;

/// How often the configuration is looked at.
const LIST_CHECK: Duration = Duration::from_secs(5);
/// Between two attempts with a device that did not answer: it may come any moment, after a power cut.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a device is asked whether it has other keys.
const RENEWAL_CHECK: Duration = Duration::from_hours(1);
/// The longest pause before a device is asked again that has refused.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// Who asks the sources of a broker.
pub struct Keeper {
    /// What is known of each.
    pub journal: Journal,
    lives: Living,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    keeper: Mutex<Option<AbortHandle>>,
}

/// What came of looking at a source.
enum Look {
    /// Nothing is asked of it, or it has given.
    Done,
    /// It is to be asked again.
    Again(Duration),
}

impl Keeper {
    /// Those of a configuration, which nobody asks yet.
    #[must_use]
    pub fn new(lives: Living, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { journal: Journal::default(), lives, store, clock, keeper: Mutex::default() })
    }

    /// Begins to ask them.
    pub fn keep(self: &Arc<Self>, seal: SealHandle) {
        let keeper = tokio::spawn(keep(Arc::clone(self), seal)).abort_handle();
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
    }

    /// Asks none any more: a broker that is being shut down must not be opened again.
    pub fn stop(&self) {
        if let Some(keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            keeper.abort();
        }
    }

    /// The kind of each, in the order of the configuration, and what is known of it.
    #[must_use]
    pub fn states(&self) -> Vec<(String, Known)> {
        let lives = self.lives.now();
        let sources = lives.custody.sources.iter();
        sources.map(|source| (source.kind.clone(), self.journal.of(&source.name))).collect()
    }

    async fn look(
        &self,
        name: &str,
        (seal, view): (&SealHandle, &watch::Receiver<View>),
        failures: u32,
    ) -> Look {
        let Ok(registry) = registry::read(self.store.as_ref()).await else { return Look::Again(AGAIN) };
        let custody = &self.lives.now().custody;
        let (Some(file), Some(config)) = (registry.get(name), custody.source(name)) else {
            return Look::Done;
        };
        let Some(asked) = asked(&view.borrow(), file, &registry) else { return Look::Done };
        if self.is_held_back(name, &asked, &registry).await {
            return Look::Again(LIST_CHECK); // the configuration may change
        }
        match give(seal, config, file, asked).await {
            Ok(()) => {
                self.note(name, Standing::Gave);
                Look::Done
            }
            Err(reason) => {
                let fault = fault(&reason);
                if self.note(name, Standing::Failed(fault)) {
                    warn!(source = name, %reason, "a source of shares gives nothing; it is asked again");
                }
                Look::Again(pause(fault, failures))
            }
        }
    }

    /// Whether it is not asked although a share is wanted.
    async fn is_held_back(&self, name: &str, asked: &Asked, registry: &Registry) -> bool {
        if asked.unseals && hold::is_on(self.store.as_ref()).await.unwrap_or(true) {
            if self.note(name, Standing::Held) {
                info!(
                    source = name,
                    "not asked for its share: an operator sealed the broker, people open it"
                );
            }
            return true;
        }
        let Err(reason) = terms::judge_set(&self.lives.now().custody, registry, &asked.set) else {
            return false;
        };
        if self.note(name, Standing::Weak) {
            warn!(source = name, %reason, "not asked for its share");
        }
        true
    }

    async fn renew(&self, name: &str, seal: &SealHandle) {
        let (lives, session) = (self.lives.now(), seal.session());
        if let (Some(config), Ok(session)) = (lives.custody.source(name), session) {
            renew(&session, config).await;
        }
    }

    fn note(&self, name: &str, standing: Standing) -> bool {
        let is_news = self.journal.note(name, standing, self.clock.now().unix_ms);
        if is_news && standing == Standing::Gave {
            info!(source = name, "a source of shares gave what it was asked for");
        }
        is_news
    }
}

/// A task for each source of the configuration, as it is now.
async fn keep(keeper: Arc<Keeper>, seal: SealHandle) {
    let (mut tasks, mut running) = (JoinSet::new(), BTreeMap::<String, AbortHandle>::new());
    loop {
        let custody = &keeper.lives.now().custody;
        running.retain(|name, task| {
            let stays = custody.source(name).is_some() && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for SourceConfig { name, .. } in &custody.sources {
            let attended = || tasks.spawn(attend(Arc::clone(&keeper), name.clone(), seal.clone()));
            running.entry(name.clone()).or_insert_with(attended);
        }
        while tasks.try_join_next().is_some() {}
        tokio::time::sleep(LIST_CHECK).await;
    }
}

/// Gives what is asked of one source, whenever it is asked.
async fn attend(keeper: Arc<Keeper>, name: String, seal: SealHandle) {
    let (mut view, mut failures) = (seal.watch(), 0);
    loop {
        view.mark_unchanged();
        match keeper.look(&name, (&seal, &view), failures).await {
            Look::Again(pause) => {
                failures += 1;
                tokio::time::sleep(pause).await;
            }
            Look::Done => {
                failures = 0;
                match timeout(RENEWAL_CHECK, view.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return,
                    Err(_) => keeper.renew(&name, &seal).await,
                }
            }
        }
    }
}

/// From the device to the desk.
async fn give(
    seal: &SealHandle,
    config: &SourceConfig,
    file: &SourceFile,
    asked: Asked,
) -> Result<(), Failure> {
    let Asked { binding, key, purpose, set, fresh, .. } = asked;
    let share = enrolling::open(config, file.clone(), set, fresh).await?;
    let sealed = move || Submission::seal(&share, purpose, &binding, &key, &mut os_rng());
    let submission = key_thread::run(sealed).await.map_err(|_| Failure::Desk)?;
    seal.submit_sealed(submission, None).await.map_err(|_| Failure::Desk)
}

/// Why a source's share did not arrive.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Source(#[from] SourceRefusal),
    /// The ceremony has ended meanwhile, or the broker could not open.
    #[error("the broker did not take its share, or did not open with it; what it says stands above")]
    Desk,
}

fn fault(failure: &Failure) -> Fault {
    match failure {
        Failure::Source(SourceRefusal::Device { error, .. }) => error.fault(),
        Failure::Source(_) => Fault::Kept,
        Failure::Desk => Fault::Refused,
    }
}

/// A device that refuses is asked less and less often; one that is not there may come any moment.
fn pause(fault: Fault, failures: u32) -> Duration {
    match fault {
        Fault::Unreachable => AGAIN,
        _ => AGAIN_MAX.min(AGAIN * 2_u32.saturating_pow(failures)),
    }
}
