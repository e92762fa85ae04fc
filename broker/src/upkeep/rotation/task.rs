//! Who rotates, and how fast: one task of the session, one step at a time, resting between steps so that
//! serving goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::pages::{self, Unknown};
use super::reencrypt::{self, Reencryption};
use super::remote::RemoteRotation;
use super::rewrap::{Advance, Rewrap};
use super::roll::{Roll, Rolled};
use super::system_keks;
use crate::access::Session;
use crate::engines::keeps_secrets;
use crate::error::OpError;
use crate::keys::{Aim, MountKeks, Phase};

/// How often it is looked whether there is something to do, beside when somebody asks.
const TICK: Duration = Duration::from_secs(60);
/// Rest after a step that failed, for instance because the remote is away.
const RETRY: Duration = Duration::from_secs(5);
/// Steps of the rate that is shown are counted over about this long.
const RATE_SECS_MIN: f64 = 0.001;

/// How much of the time a rotation may work.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Rest after each step, as a multiple of what the step took.
    pub rest: u32,
}

impl Pace {
    /// Half of the time. What the steps need is mostly the remote's and the disk's.
    pub const SERVING: Self = Self { rest: 1 };
    /// Without rest: for tests and measurements.
    pub const FULL: Self = Self { rest: 0 };
}

/// What a session knows about its rotations.
#[derive(Default)]
pub struct Rotation {
    remote: OnceLock<Arc<dyn RemoteRotation>>,
    wake: Arc<Notify>,
    live: Mutex<Live>,
}

/// What is not in the store: how fast, and what stands in the way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Live {
    pub(super) rewrapping: bool,
    pub(super) since: Option<Instant>,
    /// Capsules re-wrapped since then.
    pub(super) rewrapped: u64,
    /// Rows re-encrypted for the present fragment epoch since the unseal.
    pub(super) resealed: u64,
    /// Payloads moved by KEK rolls since the unseal.
    pub(super) moved: u64,
    pub(super) damaged_rows: u64,
    pub(super) damaged_capsules: u64,
    pub(super) damaged_payloads: u64,
    /// Rows of tables that no descriptor names, as the end of a change of the fragment's keys found them.
    pub(super) unknown: Unknown,
    /// Steps that failed since the unseal.
    pub(super) failures: u64,
    pub(super) problem: Option<&'static str>,
}

impl Live {
    /// Capsules re-wrapped a second, rest included.
    pub(super) fn rate(&self) -> f64 {
        let secs = self.since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        if self.rewrapped == 0 { 0.0 } else { self.rewrapped as f64 / secs.max(RATE_SECS_MIN) }
    }
}

impl Rotation {
    /// That of a session.
    #[must_use]
    pub fn of(session: &Session) -> Arc<Self> {
        session.of()
    }

    /// Says who makes and ends key epochs, when a session begins.
    pub fn begin(session: &Session, remote: Arc<dyn RemoteRotation>) {
        let _ = Self::of(session).remote.set(remote); // a session begins once
    }

    /// Who makes and ends key epochs.
    #[must_use]
    pub fn remote(&self) -> &dyn RemoteRotation {
        self.remote.get().expect("upkeep begins before a session is published").as_ref()
    }

    /// Has the task look for work now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was done; there may be more.
    Done,
    /// There is nothing to do, or nothing more can be done now.
    Idle,
}

/// Goes on with whatever is not finished, until the session is gone. Holds the session for a step at most.
pub async fn run(session: Weak<Session>, pace: Pace) {
    let mut work = Work::default();
    loop {
        let Some(open) = session.upgrade() else { return };
        let begun = Instant::now();
        let stepped = work.step(&open).await;
        let wake = Arc::clone(&Rotation::of(&open).wake);
        drop(open);
        match stepped {
            Ok(Step::Done) => sleep(begun.elapsed() * pace.rest).await,
            Ok(Step::Idle) => wait(&wake, TICK).await,
            Err(error) => {
                warn!(%error, "a step of a rotation failed; it is tried again");
                wait(&wake, RETRY).await;
            }
        }
    }
}

async fn wait(wake: &Notify, at_most: Duration) {
    tokio::select! {
        () = wake.notified() => {}
        () = sleep(at_most) => {}
    }
}

/// Does everything that is to be done, without rest. For tests and measurements.
pub async fn finish(session: &Session) -> Result<(), OpError> {
    let mut work = Work::default();
    while work.step(session).await? == Step::Done {}
    Ok(())
}

/// What the task has in hand.
#[derive(Default)]
struct Work {
    reseal: Reencryption,
    rewrap: Option<Rewrap>,
    /// The epochs for which nothing is left to re-wrap.
    rewrapped: Option<Aim>,
    /// Something needs the keys of the fragment epoch before for good: it is damaged.
    unsettled: bool,
    rolls: VecDeque<Roll>,
}

impl Work {
    async fn step(&mut self, session: &Session) -> Result<Step, OpError> {
        let stepped = self.next(session).await;
        let rotation = Rotation::of(session);
        let mut live = rotation.live();
        match &stepped {
            Ok(_) if live.damaged_rows + live.damaged_capsules + live.damaged_payloads > 0 => {
                live.problem = Some("something stored is damaged and stays behind; restore it from a backup");
            }
            Ok(_) => live.problem = None,
            Err(error) => {
                live.failures += 1;
                live.problem = Some(error.reason());
            }
        }
        stepped
    }

    async fn next(&mut self, session: &Session) -> Result<Step, OpError> {
        if self.rows(session).await? == Step::Done
            || self.capsules(session).await? == Step::Done
            || self.settle(session).await? == Step::Done
            || system_keks::step(session).await?
        {
            return Ok(Step::Done);
        }
        self.mounts(session).await
    }

    /// Rows of an older fragment epoch.
    async fn rows(&mut self, session: &Session) -> Result<Step, OpError> {
        if self.reseal.is_finished() || session.unsealed().previous().is_none() {
            return Ok(Step::Idle);
        }
        let resealed = self.reseal.batch(session).await?;
        let rotation = Rotation::of(session);
        let mut live = rotation.live();
        live.resealed += resealed;
        live.damaged_rows = self.reseal.damaged();
        Ok(Step::Done)
    }

    /// The end of a change of the fragment's keys, when nothing is left that the ones before have closed.
    async fn settle(&mut self, session: &Session) -> Result<Step, OpError> {
        let changing = session.unsealed().previous().is_some() && !self.unsettled;
        if !changing || !self.reseal.is_finished() || self.reseal.damaged() > 0 {
            return Ok(Step::Idle);
        }
        let unknown = pages::unknown(session).await?;
        Rotation::of(session).live().unknown = unknown;
        self.unsettled = !reencrypt::settle(session, unknown).await?;
        Ok(Step::Done)
    }

    /// Capsules of older epochs, of the remote's key or of the fragment.
    async fn capsules(&mut self, session: &Session) -> Result<Step, OpError> {
        let aim = session.keys.aim();
        if self.rewrap.as_ref().is_some_and(|rewrap| Some(rewrap.progress().aim()) != aim) {
            self.rewrap = None;
        }
        if let Some(rewrap) = &mut self.rewrap {
            let before = rewrap.progress().done;
            let advance = rewrap.batch(session).await?;
            let done = rewrap.progress().done - before;
            return Ok(self.rewrapped(session, advance, done));
        }
        let one_epoch = session.keys.key_epochs().len() < 2 && session.unsealed().previous().is_none();
        if self.rewrapped == aim || one_epoch {
            return Ok(Step::Idle);
        }
        self.rewrap = Rewrap::begin(session).await?;
        match self.rewrap {
            Some(_) => {
                let rotation = Rotation::of(session);
                let mut live = rotation.live();
                live.rewrapping = true;
                (live.since, live.rewrapped) = (Some(Instant::now()), 0);
                Ok(Step::Done)
            }
            None => {
                self.rewrapped = aim;
                Ok(Step::Idle)
            }
        }
    }

    fn rewrapped(&mut self, session: &Session, advance: Advance, done: u64) -> Step {
        let rotation = Rotation::of(session);
        let mut live = rotation.live();
        live.rewrapped += done;
        if advance == Advance::More {
            return Step::Done;
        }
        live.rewrapping = false;
        live.damaged_capsules = match advance {
            Advance::Stuck(damaged) => damaged,
            _ => 0,
        };
        // For what it was made, and not for what is newest by now. What is damaged is looked at again after
        // the next unseal.
        self.rewrapped = self.rewrap.take().map(|rewrap| rewrap.progress().aim());
        Step::Done
    }

    /// KEKs of mounts, one mount after the other.
    async fn mounts(&mut self, session: &Session) -> Result<Step, OpError> {
        if self.rolls.is_empty() {
            session.refresh().await?; // mounts that another broker has made have KEKs too
            self.rolls = rolls(session).await?;
            Rotation::of(session).live().damaged_payloads = 0;
        }
        let Some(roll) = self.rolls.front_mut() else { return Ok(Step::Idle) };
        let before = MountKeks::read(&session.rows, roll.mount().id).await?.moved;
        let rolled = roll.step(session).await?;
        let after = MountKeks::read(&session.rows, roll.mount().id).await?.moved;
        Rotation::of(session).live().moved += after.saturating_sub(before);
        match rolled {
            Rolled::More => return Ok(Step::Done),
            Rolled::Settled => {}
            Rolled::Stuck(damaged) => Rotation::of(session).live().damaged_payloads += damaged,
        }
        self.rolls.pop_front();
        Ok(if self.rolls.is_empty() { Step::Idle } else { Step::Done })
    }
}

/// Mounts with a roll that has not ended.
async fn rolls(session: &Session) -> Result<VecDeque<Roll>, OpError> {
    let mut rolls = VecDeque::new();
    for mount in session.mounts().secrets.0.iter().filter(|mount| keeps_secrets(mount)) {
        if MountKeks::read(&session.rows, mount.id).await?.phase != Phase::Settled {
            rolls.push_back(Roll::of(mount.clone()));
        }
    }
    Ok(rolls)
}
