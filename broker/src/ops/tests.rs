//! Operations on an open session whose remote half is away: what is decided before any key, and what is never
//! said without one.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use symbolon_core::audit::{Detail, Draft};
use symbolon_core::identity::approle::AppRole;
use symbolon_core::json::Map;
use symbolon_core::kv::SecretMeta;
use symbolon_core::path::{ApiPath, FolderPath, MountPath, PolicyName, RoleName, SecretPath};
use symbolon_core::policy::Operation;
use symbolon_core::seal::Unsealed;
use symbolon_core::token::{CidrList, TokenClaims, TokenParams, TokenType, new_service_token};
use symbolon_proto::Zeroizing;
use symbolon_proto::id::{SecretId, TenantId};

use super::policy::Spelling;
use super::*;
use crate::access;
use crate::access::mounts::{Enable, Side, new_mount};
use crate::access::mounts::{Mount, MountList, Mounts};
use crate::access::shape::Shape;
use crate::access::tokens::{ACCESSORS, TOKENS};
use crate::access::{Asker, tokens};
use crate::access::{Requester, Session};
use crate::audit::writer::tests::HandClock;
use crate::auth::approle::SECRET_IDS;
use crate::auth::{self, roles, token};
use crate::engines::kv::{self, ENTRIES, KvTarget, SECRETS, WriteSecret};
use crate::error::OpError;
use crate::random::os_rng;
use crate::remote::{EvaluateError, Leases};
use crate::rows::Place;
use crate::store::memory::MemoryStore;
use crate::store::{Answer, Expect, Row, Scan, Snapshot, Store, Write};
use crate::testing::{Away, Ground, unsealed};
use crate::upkeep::rotation::Rotation;
use crate::upkeep::rotation::remote::{RemoteRotation, Rotated};

mod budget;
mod collected;
mod following;
mod freshness;
mod issuers;
mod logins;
mod objects;
mod policies;

mod tables;

pub(crate) use tables::{example, with_example};

impl RemoteRotation for Away {
    fn new_epoch<'a>(&'a self, _: &'a Session) -> Rotated<'a, u32> {
        Box::pin(async { Err(EvaluateError::Suspended.into()) })
    }

    fn retire<'a>(&'a self, _: &'a Session, _: u32) -> Rotated<'a, ()> {
        Box::pin(async { Err(EvaluateError::Suspended.into()) })
    }
}

/// An open broker with a KV mount at `secret`, and the root token.
struct Bench {
    session: Arc<Session>,
    store: Arc<Meddler>,
    root: Zeroizing<String>,
}

/// A store in which somebody else commits right after a certain read.
#[derive(Default)]
struct Meddler {
    rows: MemoryStore,
    after: Mutex<Option<(Vec<u8>, Vec<Write>)>>,
    /// Most rows that one scan has asked for.
    limit_max: AtomicUsize,
}

impl Meddler {
    async fn after_read(&self, key: &[u8]) {
        let due = self.after.lock().unwrap().take_if(|(wanted, _)| wanted == key);
        if let Some((_, changes)) = due {
            self.rows.commit(changes).await.unwrap();
        }
    }
}

impl Store for Meddler {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Option<Row>> {
        Box::pin(async move {
            let row = self.rows.get(key).await;
            self.after_read(key).await;
            row
        })
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<(Vec<u8>, Row)>> {
        Box::pin(async move {
            self.limit_max.fetch_max(scan.limit, Ordering::Relaxed);
            let rows = self.rows.scan(scan).await;
            self.after_read(scan.from).await;
            rows
        })
    }

    fn keys<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<Vec<u8>>> {
        Box::pin(async move {
            let keys = self.rows.keys(scan).await;
            self.after_read(scan.from).await;
            keys
        })
    }

    fn snapshot(&self) -> Answer<'_, Box<dyn Snapshot>> {
        self.rows.snapshot()
    }

    fn commit(&self, ops: Vec<Write>) -> Answer<'_, ()> {
        self.rows.commit(ops)
    }

    fn close(&self) -> Answer<'_, ()> {
        self.rows.close()
    }
}

impl Bench {
    async fn new() -> Self {
        Self::with_shape(shape()).await
    }

    async fn with_shape(shape: Arc<Shape>) -> Self {
        let clock = Arc::new(HandClock(AtomicU64::new(1_709_210_096_000)));
        Self::on(Arc::default(), Arc::new(unsealed()), clock, shape).await
    }

    async fn on(
        meddler: Arc<Meddler>,
        unsealed: Arc<Unsealed>,
        clock: Arc<dyn symbolon_core::clock::Clock>,
        shape: Arc<Shape>,
    ) -> Self {
        let ground = Ground { store: Arc::clone(&meddler) as _, clock, unsealed, shape };
        let keys = ground.keys(Arc::new(Away), Leases::default());
        let mounts = Mounts { secrets: MountList(vec![kv_mount()]), logins: MountList::default() };
        let session = ground.session(keys, mounts).await;
        Rotation::begin(&session, Arc::new(Away));
        let mut bench = Self { session, store: meddler, root: Zeroizing::default() };
        bench.root = bench.token(TokenClaims::root(1_709_210_096)).await;
        bench
    }

    async fn commit(&self, changes: Vec<Write>) {
        let draft = Draft {
            action: symbolon_core::audit::Action::Other,
            outcome: symbolon_core::audit::Outcome::Allowed,
            detail: Detail::default(),
        };
        drop(self.session.commit(changes, draft).await.unwrap());
    }

    async fn token(&self, claims: TokenClaims) -> Zeroizing<String> {
        let text = new_service_token(&mut os_rng());
        let index = self.session.unsealed().names().secret();
        let (_, changes) = tokens::service_rows(&self.session.rows, index, &text, claims).unwrap();
        self.commit(changes).await;
        text
    }

    /// Adds a role, and answers its name.
    async fn add_role(&self, mount: &Mount, role: &AppRole) -> RoleName {
        let edit = |_: Option<AppRole>| Ok::<_, OpError>(role.clone());
        self.as_root(async |who| roles::edit_role(&who, mount, &role.name, edit).await).await.unwrap();
        role.name.clone()
    }

    /// A token of a fresh policy.
    async fn token_with(&self, policy: &str) -> Zeroizing<String> {
        let name = PolicyName::parse("tested").unwrap();
        self.as_root(async |who| policy::write(&who, Spelling::Current, &name, policy).await).await.unwrap();
        self.token(TokenClaims { policies: vec![name], ttl_secs: 60, ..TokenClaims::root(1_709_210_096) })
            .await
    }

    async fn ask<T>(&self, token: &str, ask: impl AsyncFnOnce(Asker<'_>) -> T) -> T {
        let parameters = Map::new();
        let who = Requester {
            token: Some(token),
            request_id: "test",
            remote: None,
            parameters: &parameters,
            wrap_ttl_secs: 0,
        };
        ask(who.of(&self.session)).await
    }

    async fn as_root<T>(&self, ask: impl AsyncFnOnce(Asker<'_>) -> T) -> T {
        self.ask(&self.root, ask).await
    }

    fn target(&self, name: &str) -> KvTarget {
        let mount = self.session.mounts().secrets.0[0].clone();
        KvTarget::new(mount, SecretPath::parse(name).unwrap())
    }

    /// Rows of a secret without versions, as its creation would write them.
    fn secret_rows(&self, name: &str) -> Vec<Write> {
        let rows = &self.session.rows;
        let target = self.target(name);
        let meta = SecretMeta::new(SecretId::random(&mut os_rng()), 0, 1);
        let mut changes = vec![rows.put(meta_place(&target), &meta, Expect::Absent).unwrap()];
        for (folder, child) in target.secret().trail() {
            let child = child.to_string();
            let place = Place { table: ENTRIES, group: folder.as_str(), name: &child, ..meta_place(&target) };
            changes.push(rows.put(place, &child, Expect::Any).unwrap());
        }
        changes
    }

    /// Has somebody else commit right after the next read of a row or group.
    fn meddle(&self, after_read_of: &Write, prefix_bytes: usize, changes: Vec<Write>) {
        let key = &after_read_of.key()[..prefix_bytes];
        *self.store.after.lock().unwrap() = Some((key.to_vec(), changes));
    }

    async fn names_in(&self, folder: &str) -> Vec<String> {
        let mount = self.session.mounts().secrets.0[0].clone();
        let folder = FolderPath::parse(folder).unwrap();
        let place = Place {
            tenant: TenantId::SYSTEM,
            table: ENTRIES,
            scope: mount.id,
            group: folder.as_str(),
            name: "",
        };
        let names = self.session.rows.list::<String>(place).await.unwrap();
        names.into_iter().map(|(name, _)| name).collect()
    }
}

/// Bytes of a key that are common to a group: tenant, table, scope, group.
const GROUP_BYTES: usize = 16 + 1 + 16 + 16;
/// Bytes of a whole key.
const KEY_BYTES: usize = GROUP_BYTES + 16;

fn meta_place(target: &KvTarget) -> Place<'_> {
    Place {
        tenant: TenantId::SYSTEM,
        table: SECRETS,
        scope: target.mount().id,
        group: "",
        name: target.secret().as_str(),
    }
}

fn kv_mount() -> Mount {
    new_mount(MountPath::parse("secret").unwrap(), Enable { kind: "kv".to_owned(), ..Enable::default() })
}

fn api(path: &str) -> ApiPath {
    ApiPath::parse(path).unwrap()
}

#[tokio::test]
async fn a_folder_stays_while_a_secret_comes_into_it() {
    let bench = Bench::new().await;
    bench.commit(bench.secret_rows("a/b/old")).await;
    let new = bench.secret_rows("a/b/new");
    // The folder `a/b` is looked through, and only then does the new secret come.
    bench.meddle(&bench.secret_rows("a/b/old")[3], GROUP_BYTES, new);
    let target = bench.target("a/b/old");
    bench.as_root(async |who| kv::delete_metadata(&who, &target).await).await.unwrap();
    assert_eq!(bench.names_in("a/b").await, ["new"]);
    assert_eq!(bench.names_in("a").await, ["b/"], "the folder of a living secret is listed");
}

#[tokio::test]
async fn leave_to_create_is_no_leave_to_overwrite() {
    let bench = Bench::new().await;
    let writer = bench.token_with(r#"path "secret/data/*" { capabilities = ["create"] }"#).await;
    let data = Map::new();
    let input = WriteSecret { data: &data, cas: None };
    let target = bench.target("x");
    let rows = bench.secret_rows("x");
    bench.meddle(&bench.secret_rows("x")[0], KEY_BYTES, rows);
    let answer = bench.ask(&writer, async |who| kv::write(&who, &target, &input).await).await;
    assert!(matches!(answer, Err(OpError::Conflict(_))), "it came between the question and the write");
    let answer = bench.ask(&writer, async |who| kv::write(&who, &target, &input).await).await;
    assert!(matches!(answer, Err(OpError::Denied(_))));
}

#[tokio::test]
async fn a_policy_takes_effect_though_the_asker_has_gone() {
    let bench = Bench::new().await;
    let reader = bench.token_with(r#"path "secret/metadata/*" { capabilities = ["read"] }"#).await;
    let name = PolicyName::parse("tested").unwrap();
    let target = bench.target("x");
    bench.commit(bench.secret_rows("x")).await;
    bench.ask(&reader, async |who| kv::read_metadata(&who, &target).await).await.unwrap();
    bench
        .as_root(async |who| {
            bench.store.rows.pause();
            let delete = policy::delete(&who, Spelling::Current, &name);
            let gone = tokio::time::timeout(std::time::Duration::from_millis(20), delete).await;
            assert!(gone.is_err(), "the asker goes while the commit is under way");
            bench.store.rows.resume();
        })
        .await;
    let _turn = bench.session.taking_turn().await; // the step is done
    let answer = bench.ask(&reader, async |who| kv::read_metadata(&who, &target).await).await;
    assert!(matches!(answer, Err(OpError::Denied(_))));
}

/// Each sees what the one before has made, so nobody is told to try again.
#[tokio::test]
async fn mounts_and_policies_changed_by_two_at_once_are_no_conflict() {
    let bench = Bench::new().await;
    let [first, second, third] = ["first", "second", "third"].map(|path| MountPath::parse(path).unwrap());
    let enable = async |path: &MountPath| {
        let spec = Enable { kind: "kv".to_owned(), ..Enable::default() };
        bench.as_root(async |who| mount::enable(&who, Side::Secrets, path.clone(), spec).await).await
    };
    let tune = async |tuning: mount::Tuning| {
        let tuned = mount::Tuned { side: Side::Secrets, path: &first, below: Side::Secrets };
        bench.as_root(async |who| mount::tune(&who, tuned, tuning).await).await
    };
    let described = mount::Tuning { description: Some("both".to_owned()), ..mount::Tuning::default() };
    let shortened = mount::Tuning { default_ttl_secs: Some(60), ..mount::Tuning::default() };
    enable(&first).await.unwrap();
    bench.store.rows.pause();
    let let_go = async { bench.store.rows.resume() };
    let answers = tokio::join!(enable(&second), enable(&third), tune(described), tune(shortened), let_go);
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        answer.unwrap();
    }
    let mounts = bench.session.mounts();
    assert!(mounts.secrets.at(&second).is_some() && mounts.secrets.at(&third).is_some());
    let tuned = mounts.secrets.at(&first).unwrap();
    assert_eq!((tuned.description.as_str(), tuned.default_ttl_secs), ("both", 60));
}

#[tokio::test]
async fn no_engine_is_mounted_where_other_rules_hold() {
    let bench = Bench::new().await;
    for path in ["auth", "auth/x", "sys/x", "cubbyhole", "cubbyhole/x", "identity/oidc"] {
        let path = MountPath::parse(path).unwrap();
        let spec = Enable { kind: "kv".to_owned(), ..Enable::default() };
        let answer = bench.as_root(async |who| mount::enable(&who, Side::Secrets, path, spec).await).await;
        assert!(matches!(answer, Err(OpError::Invalid(_))));
    }
}

#[tokio::test]
async fn nothing_is_called_absent_while_no_key_opens() {
    let bench = Bench::new().await;
    let keyless = |error: OpError| {
        assert!(
            matches!(error, OpError::Damaged(_)),
            "{error:?}, though no key opens: this store has no capsules"
        );
    };
    let target = bench.target("x");
    keyless(bench.as_root(async |who| kv::read_metadata(&who, &target).await).await.unwrap_err());
    let route = api("nowhere/data/x");
    let asked = bench
        .as_root(async |who| access::unrouted(&who, &route, Operation::Read, OpError::NO_ROUTE).await)
        .await;
    keyless(asked.unwrap_err());
    let role = RoleName::parse("r").unwrap();
    let which = auth::approle::Which::Accessor("none");
    let asked = bench
        .as_root(async |who| auth::approle::lookup_secret_id(&who, target.mount(), &role, which).await)
        .await;
    keyless(asked.unwrap_err());
    let which = token::Which::Token("hvb.AAAA");
    keyless(bench.as_root(async |who| token::lookup(&who, which).await).await.unwrap_err());
}

#[tokio::test]
async fn a_spent_token_leaves_no_rows() {
    let bench = Bench::new().await;
    let claims = TokenClaims { num_uses: 1, ttl_secs: 60, ..TokenClaims::root(1_709_210_096) };
    let once = bench.token(claims).await;
    let is_ours = |key: &Vec<u8>| [TOKENS.number(), ACCESSORS.number()].contains(&key[16]);
    let count = || bench.store.rows.rows().keys().filter(|key| is_ours(key)).count();
    assert_eq!(count(), 4);
    let found = bench.ask(&once, async |who| token::lookup(&who, token::Which::Own).await).await;
    assert_eq!(found.unwrap().num_uses, 1);
    assert_eq!(count(), 2, "the root token and its accessor");
    let again = bench.ask(&once, async |who| token::lookup(&who, token::Which::Own).await).await;
    assert!(matches!(again, Err(OpError::Unauthenticated(_))));
}

/// A role that anybody with a secret id may have.
fn role(name: &str) -> AppRole {
    AppRole {
        name: RoleName::parse(name).unwrap(),
        role_id: "id".to_owned(),
        bind_secret_id: true,
        secret_id_bound_cidrs: Default::default(),
        secret_id_num_uses: 0,
        secret_id_ttl: 0,
        token: Default::default(),
    }
}

#[tokio::test]
async fn a_role_with_very_many_secret_ids_can_be_removed() {
    let bench = Bench::new().await;
    let mount = bench.session.mounts().secrets.0[0].clone();
    let role = role("r");
    let name = bench.add_role(&mount, &role).await;
    let ids = 5000;
    let record = |number: usize| {
        let record = role.secret_id(&Default::default(), number.to_string(), number.to_string(), 1).unwrap();
        let place = Place {
            tenant: TenantId::SYSTEM,
            table: SECRET_IDS,
            scope: mount.id,
            group: name.as_str(),
            name: &record.hash,
        };
        bench.session.rows.put(place, &record, Expect::Absent).unwrap()
    };
    for first in (0..ids).step_by(1000) {
        bench.commit((first..first + 1000).map(record).collect()).await;
    }
    let count = || bench.store.rows.rows().keys().filter(|key| key[16] == SECRET_IDS.number()).count();
    assert_eq!(count(), ids);
    bench.as_root(async |who| roles::delete_role::<AppRole>(&who, &mount, &name).await).await.unwrap();
    assert_eq!(count(), 0);
}

#[tokio::test]
async fn a_login_that_fails_leaves_an_entry() {
    let bench = Bench::new().await;
    let mount = bench.session.mounts().secrets.0[0].clone();
    let role = AppRole {
        bind_secret_id: false,
        secret_id_bound_cidrs: CidrList::parse(&["10.0.0.0/8".to_owned()]).unwrap(),
        token: TokenParams { token_type: TokenType::Batch, ..TokenParams::default() },
        ..role("r")
    };
    bench.add_role(&mount, &role).await;
    let before = bench.session.ledger().writer.size();
    let parameters = Map::new();
    let remote = Some("10.1.1.1".parse().unwrap());
    let who =
        Requester { token: None, request_id: "test", remote, parameters: &parameters, wrap_ttl_secs: 0 };
    let answer = auth::approle::login(&who.of(&bench.session), &mount, "id", "").await;
    assert!(answer.is_err(), "a machine token needs a key that does not open");
    assert_eq!(bench.session.ledger().writer.size(), before + 1);
}
