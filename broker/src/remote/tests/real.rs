use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use symbolon_kms_fragment::{Options, Quota, Sealing, Service};
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::id::{BrokerId, DeploymentId};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{Half, TestClock, settings};
use crate::config;
use crate::random::os_rng;
use crate::remote::{
    BrokerIdentity, EnrolError, EnrolOutcome, Enroller, EvaluateError, Evaluator, LeaseState, Leases, Remote,
};
use symbolon_core::clock::Clock;

/// The real service on a real socket.
pub struct Running {
    pub service: Arc<Service>,
    address: SocketAddr,
    dir: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub async fn start(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sealing = Sealing::KeyFile(dir.path().join("key"));
        let service = Service::init(&dir.path().join("state"), &sealing, options).unwrap();
        Self::run(service, dir, "127.0.0.1:0".parse().unwrap()).await
    }

    async fn run(service: Arc<Service>, dir: tempfile::TempDir, address: SocketAddr) -> Self {
        let socket = TcpListener::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&service);
        let task =
            tokio::spawn(async move { serving.serve(socket, async { drop(stopped.await) }).await.unwrap() });
        Self { service, address, dir, stop, task }
    }

    async fn restart(self) -> Self {
        let Self { service, address, dir, stop, task } = self;
        drop(stop);
        task.await.unwrap();
        while Arc::strong_count(&service) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await; // its last requests end a moment later
        }
        drop(service);
        let sealing = Sealing::KeyFile(dir.path().join("key"));
        let service = Service::open(&dir.path().join("state"), &sealing, Options::default()).unwrap();
        Self::run(service, dir, address).await
    }

    pub fn settings(&self) -> config::Remote {
        settings(format!("https://{}", self.address), self.service.root_fingerprint().to_string())
    }
}

pub struct Party {
    identity: BrokerIdentity,
    pub deployment: DeploymentId,
    pub broker: BrokerId,
    clock: Arc<TestClock>,
}

impl Party {
    pub fn new() -> Self {
        Self {
            identity: BrokerIdentity::generate().unwrap(),
            deployment: DeploymentId::random(&mut os_rng()),
            broker: BrokerId::random(&mut os_rng()),
            clock: TestClock::start(),
        }
    }

    fn enroller(&self, settings: &config::Remote) -> Enroller {
        Enroller::new(&settings.nodes[0], settings.deadline_ms, &self.identity, self.deployment, self.broker)
            .unwrap()
    }

    pub async fn enrolled(&self, running: &Running) -> Arc<Remote> {
        let enroller = self.enroller(&running.settings());
        assert!(matches!(enroller.enrol().await.unwrap(), EnrolOutcome::Pending));
        running.service.approve(&self.identity.fingerprint(), false).unwrap();
        self.enrolled_again(running).await
    }

    /// Another remote of an enrolment that is approved.
    pub async fn enrolled_again(&self, running: &Running) -> Arc<Remote> {
        let EnrolOutcome::Enrolled(enrolled) = self.enroller(&running.settings()).enrol().await.unwrap()
        else {
            panic!("still pending")
        };
        let clock = Arc::clone(&self.clock);
        Remote::new(&running.settings(), &self.identity, self.broker, *enrolled, Leases::default(), clock)
            .unwrap()
    }
}

#[tokio::test]
async fn a_key_is_split_and_put_together_again() {
    let (running, party) = (Running::start(Options::default()).await, Party::new());
    let remote = party.enrolled(&running).await;
    assert_eq!(remote.hello(1).await, Ok(LeaseState::Active));
    let half = Half::new(party.deployment);
    for count in [1, 5, 64] {
        half.round_trip(&remote, count).await.unwrap();
    }
    assert_eq!(remote.heartbeat().await, Ok(LeaseState::Active));
    assert_eq!(running.service.status().log.records, 3);
}

#[tokio::test]
async fn a_root_with_another_fingerprint_is_refused() {
    let (running, party) = (Running::start(Options::default()).await, Party::new());
    let mut settings = running.settings();
    let read_out = Fingerprint::of(b"what the operator read out");
    settings.nodes[0].fingerprint = read_out.to_string();
    // Nobody at the service is asked to approve what would be refused afterwards; and one that is approved
    // already is refused as well.
    for _ in ["a stranger", "a broker"] {
        let error = party.enroller(&settings).enrol().await.unwrap_err();
        let shown = running.service.root_fingerprint();
        assert!([shown, read_out].iter().all(|print| error.to_string().contains(&print.to_string())));
        let EnrolError::OtherRoot(roots) = error else { panic!("{error}") };
        assert_eq!((roots.found, roots.configured), (shown, read_out));
        assert!(running.service.pending().is_empty());
        if running.service.status().keys.is_empty() {
            party.enrolled(&running).await;
        }
    }
    settings.nodes[0].fingerprint = "12345".to_owned();
    let refused = Enroller::new(&settings.nodes[0], 1000, &party.identity, party.deployment, party.broker);
    assert!(matches!(refused, Err(EnrolError::Fingerprint(_))));
}

#[tokio::test]
async fn who_is_not_enrolled_is_told_so() {
    let (running, party) = (Running::start(Options::default()).await, Party::new());
    let enroller = party.enroller(&running.settings());
    let known = Party::new();
    let remote = known.enrolled(&running).await;
    enroller.enrol().await.unwrap();
    let enrolled = crate::remote::Enrolled::alone(remote_root(&running).await, (*remote.manifest()).clone());
    let clock = Arc::clone(&party.clock);
    let stranger =
        Remote::new(&running.settings(), &party.identity, known.broker, enrolled, Leases::default(), clock)
            .unwrap();
    assert_eq!(stranger.hello(1).await, Err(EvaluateError::NotEnrolled));
}

async fn remote_root(running: &Running) -> symbolon_proto::signing::SigningPublicKey {
    let party = Party::new();
    party.enrolled(running).await;
    let EnrolOutcome::Enrolled(enrolled) = party.enroller(&running.settings()).enrol().await.unwrap() else {
        panic!("not enrolled")
    };
    enrolled.root
}

#[tokio::test]
async fn suspension_flushes_and_resuming_gives_everything_back() {
    let (running, party) = (Running::start(Options::default()).await, Party::new());
    let remote = party.enrolled(&running).await;
    remote.hello(1).await.unwrap();
    let half = Half::new(party.deployment);
    let flushes = remote.leases().flushes();
    running.service.suspend(None).unwrap();
    assert_eq!(remote.heartbeat().await, Err(EvaluateError::Suspended));
    assert!(flushes.has_changed().unwrap());
    assert_eq!(remote.leases().usable_until(party.clock.now()), 0);
    assert_eq!(half.round_trip(&remote, 1).await, Err(EvaluateError::Suspended));
    assert!(remote.encapsulation_key().is_err(), "the manifest says it too");
    running.service.resume(None).unwrap();
    assert_eq!(remote.heartbeat().await, Ok(LeaseState::Active));
    half.round_trip(&remote, 1).await.unwrap();
}

#[tokio::test]
async fn the_quota_ends_and_says_so() {
    let mut options = Options::default();
    options.grants.quota = Quota { burst: 64, per_hour: 1 };
    let (running, party) = (Running::start(options).await, Party::new());
    let remote = party.enrolled(&running).await;
    remote.hello(1).await.unwrap();
    let half = Half::new(party.deployment);
    let left = || Evaluator::quota(&*remote).unwrap().left;
    assert_eq!(left(), 64, "nothing has been said");
    half.round_trip(&remote, 8).await.unwrap();
    assert_eq!(left(), 56, "as the node says, and a quota of the manifest's size");
    for _ in 0..7 {
        half.round_trip(&remote, 8).await.unwrap();
    }
    assert_eq!(half.round_trip(&remote, 1).await, Err(EvaluateError::QuotaExhausted));
    assert_eq!(left(), 0);
    assert_eq!(remote.heartbeat().await, Ok(LeaseState::Active), "the lease lives on");
}

#[tokio::test]
async fn a_clone_of_an_older_generation_is_fenced() {
    let (running, party) = (Running::start(Options::default()).await, Party::new());
    let old = party.enrolled(&running).await;
    old.hello(1).await.unwrap();
    let EnrolOutcome::Enrolled(enrolled) = party.enroller(&running.settings()).enrol().await.unwrap() else {
        panic!()
    };
    let clock = Arc::clone(&party.clock);
    let new =
        Remote::new(&running.settings(), &party.identity, party.broker, *enrolled, Leases::default(), clock)
            .unwrap();
    assert_eq!(new.hello(2).await, Ok(LeaseState::Active));
    let half = Half::new(party.deployment);
    let flushes = old.leases().flushes();
    assert_eq!(half.round_trip(&old, 1).await, Err(EvaluateError::StaleGeneration));
    assert!(flushes.has_changed().unwrap());
    assert_eq!(old.hello(1).await, Err(EvaluateError::StaleGeneration));
    half.round_trip(&new, 1).await.unwrap();
}

#[tokio::test]
async fn a_restart_of_the_service_goes_unnoticed() {
    let (running, party) = (Running::start(Options::default()).await, Party::new());
    let remote = party.enrolled(&running).await;
    remote.hello(1).await.unwrap();
    let half = Half::new(party.deployment);
    half.round_trip(&remote, 8).await.unwrap();
    let running = running.restart().await;
    half.round_trip(&remote, 8).await.unwrap();
    assert_eq!(remote.heartbeat().await, Ok(LeaseState::Active));
    drop(running);
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_runs_out() {
    let mut options = Options::default();
    options.grants.lease_ttl_secs = 30;
    let (running, party) = (Running::start(options).await, Party::new());
    let remote = party.enrolled(&running).await;
    remote.hello(1).await.unwrap();
    let until = remote.leases().usable_until(party.clock.now());
    assert_eq!(until, party.clock.now().boot_ms + 30_000);
    let flushes = remote.leases().flushes();
    party.clock.forward_ms(30_000);
    assert_eq!(remote.leases().state(party.clock.now()), LeaseState::Expired);
    assert!(flushes.has_changed().unwrap());
    assert_eq!(remote.heartbeat().await, Ok(LeaseState::Active), "and comes back with the next contact");
}

#[tokio::test]
async fn many_questions_share_one_connection() {
    let (running, party) = (Running::start(Options::default()).await, Party::new());
    let remote = party.enrolled(&running).await;
    remote.hello(1).await.unwrap();
    let half = Arc::new(Half::new(party.deployment));
    let tasks = (0..16).map(|_| {
        let (half, remote) = (Arc::clone(&half), Arc::clone(&remote));
        tokio::spawn(async move { half.round_trip(&remote, 8).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(running.service.status().log.records, 16);
}
