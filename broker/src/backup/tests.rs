#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use symbolon_core::audit::{Action, Draft};
use symbolon_proto::backup::BackupError;
use symbolon_proto::custodian::{Card, KeyKind, KeyPair};
use symbolon_proto::log::VerifierKey;
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::checking::{CheckError, check};
use super::making::{BrokenOff, Making, Signing};
use super::place::{Place, PlaceError, file};
use super::restoring::{RestoreError, restore};
use super::{Backups, Made};
use crate::access::Session;
use crate::access::mounts::Mounts;
use crate::access::shape::Shape;
use crate::alarms::{Alarm, Alarms};
use crate::clock::SystemClock;
use crate::config::Bucket;
use crate::error::OpError;
use crate::random::os_rng;
use crate::remote::Leases;
use crate::rows::restored_key;
use crate::store::embedded::{CACHE_BYTES_DEFAULT, EmbeddedStore};
use crate::store::memory::MemoryStore;
use crate::store::{Expect, Store, Write};
use crate::testing::{Away, Ground, unsealed};

/// A broker with something in its store, and somebody who can open its backups.
struct Broker {
    session: Arc<Session>,
    store: Arc<MemoryStore>,
    backups: Backups,
    keys: KeyPair,
    home: tempfile::TempDir,
}

/// As [`Ground`] signs its log.
fn signing() -> Signing {
    let seed = SigningSeed::from_secret(Secret::filled_by(|out| out.fill(4)));
    Signing { key: VerifierKey::new("symbolon/test", seed.public_key()).unwrap(), seed }
}

impl Broker {
    async fn with_rows(count: u16) -> Self {
        let store = Arc::new(MemoryStore::new());
        let shape = Arc::new(Shape::default());
        let clock = Arc::new(SystemClock);
        let ground = Ground { store: Arc::clone(&store) as _, clock, unsealed: Arc::new(unsealed()), shape };
        let keys = ground.keys(Arc::new(Away), Leases::default());
        let session = ground.session(keys, Mounts::default()).await;
        let (home, keys) =
            (tempfile::tempdir().unwrap(), KeyPair::generate(KeyKind::Custodian, &mut os_rng()));
        let broker = Self { session, store, backups: Backups::default(), keys, home };
        for number in 0..count {
            broker.write(number).await;
        }
        broker
    }

    async fn write(&self, number: u16) {
        let key = [&[9; 17][..], &number.to_be_bytes()].concat();
        let put = Write::Put { key, value: vec![7; usize::from(number) * 50], expect: Expect::Any };
        let draft = Draft::by_broker(Action::SecretWrite, "a row");
        drop(self.session.commit(vec![put], draft).await.unwrap());
    }

    fn cards(&self) -> Vec<Card> {
        vec![self.keys.card("ops").unwrap()]
    }

    async fn begin(&self) -> Result<Making, OpError> {
        Making::begin(&self.session, &self.backups, &self.cards(), signing()).await
    }

    fn place(&self) -> Place {
        Place::open(self.home.path().to_str().unwrap(), None).unwrap()
    }

    async fn back_up(&self) -> Made {
        let mut making = self.begin().await.unwrap();
        self.place().put(&mut making).await.unwrap();
        making.made().unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    async fn restore(&self, backup: &Path, log: Option<&VerifierKey>) -> Result<u64, RestoreError> {
        let bytes = file(backup).await.unwrap();
        let restored = restore(bytes, self.keys.sealing().unwrap(), log, &self.path("restored")).await?;
        Ok(restored.entries)
    }
}

#[tokio::test]
async fn what_is_stored_comes_back_and_says_that_it_was_restored() {
    let broker = Broker::with_rows(300).await;
    let made = broker.back_up().await;
    broker.write(900).await; // not in it any more
    assert_eq!(made.rows, broker.store.rows().len() as u64 - 2, "the last row, and the bundle of its entry");
    let whole = check(broker.place().get(&made.name).await.unwrap(), None).await.unwrap();
    assert_eq!((whole.bytes, whole.head.about().entries, whole.rows), (made.bytes, 300, None));
    let entries = broker.restore(&broker.path(&made.name), Some(&signing().key)).await.unwrap();
    assert_eq!(entries, 300);
    let store = EmbeddedStore::open(&broker.path("restored"), CACHE_BYTES_DEFAULT).unwrap();
    let mut found: BTreeMap<_, _> =
        store.snapshot().await.unwrap().next(usize::MAX).await.unwrap().into_iter().collect();
    let mark = found.remove(&restored_key()).unwrap();
    assert_eq!(mark, [made.at.to_be_bytes(), 300_u64.to_be_bytes()].concat());
    assert_eq!(found.len() as u64, made.rows);
    let now = broker.store.rows();
    let kept = |key: &Vec<u8>| key.starts_with(&[9; 17]);
    assert!(found.iter().filter(|(key, _)| kept(key)).all(|(key, value)| now[key].value == *value));
    let left: Vec<_> =
        std::fs::read_dir(broker.home.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().contains("restoring")), "{left:?}");
}

#[tokio::test]
async fn nothing_is_restored_from_what_is_not_whole_or_somebody_elses() {
    let broker = Broker::with_rows(40).await;
    let made = broker.back_up().await;
    let bytes = std::fs::read(broker.path(&made.name)).unwrap();
    let damaged = broker.path("damaged");
    for at in (0..bytes.len()).step_by(997) {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        std::fs::write(&damaged, changed).unwrap();
        assert!(broker.restore(&damaged, None).await.is_err(), "byte {at}");
        assert!(!broker.path("restored").exists() && !broker.path("restored.restoring").exists());
    }
    std::fs::write(&damaged, &bytes[..bytes.len() - 1]).unwrap();
    let cut = broker.restore(&damaged, None).await.unwrap_err();
    assert!(matches!(cut, RestoreError::Check(CheckError::Backup(BackupError::Cut { .. }))), "{cut}");
    let other = VerifierKey::new("symbolon/test", SigningSeed::random(&mut os_rng()).public_key()).unwrap();
    let refused = broker.restore(&broker.path(&made.name), Some(&other)).await.unwrap_err();
    assert!(matches!(refused, RestoreError::OtherLog { .. }), "{refused}");
    assert!(!broker.path("restored").exists());
}

#[tokio::test]
async fn a_store_that_is_there_is_never_touched() {
    let broker = Broker::with_rows(3).await;
    let made = broker.back_up().await;
    std::fs::write(broker.path("restored"), "the last copy of something").unwrap();
    let refused = broker.restore(&broker.path(&made.name), None).await.unwrap_err();
    assert!(matches!(refused, RestoreError::Exists { .. }), "{refused}");
    assert_eq!(std::fs::read(broker.path("restored")).unwrap(), b"the last copy of something");
}

#[tokio::test]
async fn there_is_one_at_a_time_and_it_ends_with_the_session() {
    let broker = Broker::with_rows(3).await;
    let mut first = broker.begin().await.unwrap();
    assert!(matches!(broker.begin().await, Err(OpError::Busy(_))));
    drop(broker.session.close());
    assert!(matches!(first.next().await, Err(BrokenOff::Sealed)));
    drop(first);
    assert!(!broker.backups.is_under_way());
}

#[tokio::test]
async fn what_is_broken_off_leaves_no_backup() {
    let broker = Broker::with_rows(3).await;
    let mut making = broker.begin().await.unwrap();
    drop(broker.session.close());
    broker.place().put(&mut making).await.unwrap_err();
    assert!(broker.place().names().await.unwrap().is_empty());
    assert_eq!(std::fs::read_dir(broker.home.path()).unwrap().count(), 0, "nor anything else");
}

#[tokio::test]
async fn the_log_in_a_backup_is_verified_by_the_restore() {
    let broker = Broker::with_rows(30).await;
    let key = crate::audit::log::rows::bundle_key(7); // one entry at a time was committed
    let mut bundle = broker.store.get(&key).await.unwrap().unwrap().value;
    *bundle.last_mut().unwrap() ^= 1;
    broker.store.tamper(&key, Some(bundle));
    let made = broker.back_up().await;
    let refused = broker.restore(&broker.path(&made.name), None).await.unwrap_err();
    assert!(matches!(refused, RestoreError::Log(_)), "{refused}");
    assert!(!broker.path("restored").exists());
}

/// A server that answers everything with 403, as a bucket does to a wrong key.
async fn refusing() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let body = "<Error><Code>AccessDenied</Code></Error>";
            let head = "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length";
            let _ = stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await;
        }
    });
    format!("http://{address}")
}

/// Whatever fails at the end of a small backup, where all of it is written, is an error and ends nothing.
#[tokio::test]
async fn a_place_that_refuses_is_an_error() {
    let broker = Broker::with_rows(3).await;
    let (id, secret) = (broker.path("id"), broker.path("secret"));
    std::fs::write(&id, "AKIA").unwrap();
    std::fs::write(&secret, "x").unwrap();
    let bucket = Bucket {
        endpoint: Some(refusing().await),
        access_key_id_file: Some(id),
        secret_access_key_file: Some(secret),
        ..Bucket::default()
    };
    let place = Place::open("s3://bucket/x", Some(&bucket)).unwrap();
    let mut making = broker.begin().await.unwrap();
    let refused = place.put(&mut making).await.unwrap_err();
    assert!(matches!(refused, PlaceError::Write(_) | PlaceError::Store(_)), "{refused}");
    drop(making);
    let mut making = broker.begin().await.unwrap();
    std::fs::create_dir_all(broker.path(&making.name()).join("taken")).unwrap();
    broker.place().put(&mut making).await.unwrap_err();
}

#[test]
fn a_backup_of_the_future_does_not_count() {
    let plan = "to = \"/x\"\nevery_hours = 1\nrecipients = [\"c\"]";
    let alarms: Arc<Alarms> = Arc::default();
    let backups = Backups::new(Some(toml::from_str(plan).unwrap()), Arc::clone(&alarms));
    let made = |at| Made { at, name: "n".to_owned(), place: String::new(), bytes: 1, rows: 1, entries: 1 };
    assert!(backups.is_due(1_000_000), "there is none");
    backups.succeeded(&made(1_000_000));
    assert!(!backups.is_due(1_000_000) && !backups.is_due(1_003_599) && backups.is_due(1_003_600));
    assert!(backups.is_due(999_999), "the clock was ahead");
    backups.look(1_007_200);
    assert!(alarms.texts().is_empty());
    backups.look(1_007_201);
    assert_eq!(alarms.texts(), [Alarm::Backup.text()]);
}

/// An empty file would otherwise mean nobody, or everybody.
#[test]
fn a_bucket_whose_authority_is_no_certificate_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let [id, secret, ca] = ["id", "secret", "ca"].map(|name| home.path().join(name));
    [&id, &secret].iter().for_each(|path| std::fs::write(path, "x").unwrap());
    let bucket = Bucket {
        access_key_id_file: Some(id),
        secret_access_key_file: Some(secret),
        ca_file: Some(ca.clone()),
        ..Bucket::default()
    };
    for text in ["", "no certificate"] {
        std::fs::write(&ca, text).unwrap();
        let refused = Place::open("s3://bucket/x", Some(&bucket)).err().unwrap();
        assert!(matches!(refused, PlaceError::Client(_)), "{text:?}: {refused}");
        assert!(refused.to_string().contains("CERTIFICATE"), "{refused}");
    }
}
