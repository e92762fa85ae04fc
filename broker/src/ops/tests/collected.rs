//! What ends is collected: by pages, whatever else is damaged, and nothing that somebody still has.

use std::sync::atomic::Ordering;

use symbolon_core::identity::approle::{SecretIdRecord, SecretIdRequest};
use symbolon_core::token::ServiceToken;
use symbolon_proto::id::MountId;

use super::tables::example;
use super::*;
use crate::access::mounts::first_write;
use crate::access::tokens::{Address, Pointer};
use crate::auth::approle::{NewSecretId, SECRET_ID_ACCESSORS};
use crate::rows::{NO_SCOPE, range_of};
use crate::store::memory::Failure;
use crate::upkeep::collect::{Collected, Pace, round};

const NOW: u64 = 1_709_210_096;
/// As many as a role may have.
const FULL: usize = 10_000;

/// A bench with a login mount, both lists in the store, and a clock that a test moves.
struct World {
    bench: Bench,
    clock: Arc<HandClock>,
    logins: Mount,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(HandClock(AtomicU64::new(NOW * 1000)));
        let bench =
            Bench::on(Arc::default(), Arc::new(unsealed()), Arc::clone(&clock) as _, with_example()).await;
        let spec = Enable { kind: "approle".to_owned(), ..Enable::default() };
        let logins = new_mount(MountPath::parse("approle").unwrap(), spec);
        bench.session.replace_mounts(Side::Logins, MountList(vec![logins.clone()]));
        let world = Self { bench, clock, logins };
        world.store_lists().await;
        world
    }

    async fn store_lists(&self) {
        let (rows, mounts) = (&self.bench.session.rows, self.bench.session.mounts());
        let lists = [(Side::Secrets, &mounts.secrets), (Side::Logins, &mounts.logins)];
        let lists = lists.map(|(side, list)| first_write(rows, side, list).unwrap());
        self.bench.commit(lists.to_vec()).await;
    }

    async fn round(&self) {
        round(&Arc::downgrade(&self.bench.session), Pace::FULL).await;
    }

    fn pass(&self, secs: u64) {
        self.clock.0.fetch_add(secs * 1000, Ordering::SeqCst);
    }

    async fn role(&self, name: &str) -> RoleName {
        self.bench.add_role(&self.logins, &role(name)).await
    }

    async fn secret_id(&self, role: &RoleName, ttl_secs: u64) -> Result<NewSecretId, OpError> {
        let wanted = SecretIdRequest { ttl_secs: Some(ttl_secs), ..SecretIdRequest::default() };
        let create = async |who: Asker<'_>| {
            auth::approle::create_secret_id(&who, &self.logins, role, &wanted, None).await
        };
        self.bench.as_root(create).await
    }

    fn secret_id_place<'a>(&self, role: &'a RoleName, hash: &'a str) -> Place<'a> {
        let (tenant, scope) = (TenantId::SYSTEM, self.logins.id);
        Place { tenant, table: SECRET_IDS, scope, group: role.as_str(), name: hash }
    }

    /// Rows of a table.
    fn count(&self, table: crate::rows::Table) -> usize {
        let [from, until] = range_of(table);
        self.bench.store.rows.rows().range(from..until).count()
    }

    fn damage(&self, key: &[u8]) {
        self.bench.store.rows.tamper(key, Some(b"damaged".to_vec()));
    }

    async fn token(&self, ttl_secs: u64) -> ServiceToken {
        let claims = TokenClaims {
            policies: vec![PolicyName::parse("tested").unwrap()],
            ttl_secs,
            ..TokenClaims::root(NOW)
        };
        let text = self.bench.token(claims).await;
        let hash = tokens::hash(&self.bench.session, &text);
        tokens::find(&self.bench.session, &hash).await.unwrap().unwrap().0
    }

    async fn is_there(&self, token: &ServiceToken) -> bool {
        self.bench.session.rows.revision(Address::token(&token.hash).place()).await.unwrap().is_some()
    }
}

fn role(name: &str) -> AppRole {
    AppRole {
        name: RoleName::parse(name).unwrap(),
        role_id: format!("id-of-{name}"),
        bind_secret_id: true,
        secret_id_bound_cidrs: CidrList::default(),
        secret_id_num_uses: 0,
        secret_id_ttl: 0,
        token: TokenParams::default(),
    }
}

#[tokio::test]
async fn a_role_full_of_expired_secret_ids_takes_new_ones() {
    let world = World::new().await;
    let name = world.role("ci").await;
    let first = world.secret_id(&name, 1).await.unwrap().record;
    let copy = |number: usize| {
        let (hash, accessor) = (format!("{number}"), format!("accessor {number}"));
        let record = SecretIdRecord { hash, accessor, ..first.clone() };
        let place = world.secret_id_place(&name, &record.hash);
        world.bench.session.rows.put(place, &record, Expect::Absent).unwrap()
    };
    world.bench.store.rows.commit((1..FULL).map(copy).collect()).await.unwrap();
    assert!(matches!(world.secret_id(&name, 1).await, Err(OpError::Invalid(_))), "they are good");
    world.pass(1);
    world.secret_id(&name, 1).await.unwrap();
    assert!(world.count(SECRET_IDS) < FULL);
    world.round().await;
    assert_eq!(world.count(SECRET_IDS), 1, "the new one");
    let told = world.bench.session.of::<Collected>().rows();
    assert!(told[SECRET_IDS.name] > 0, "{told:?}");
}

#[tokio::test]
async fn secret_ids_go_when_their_time_is_over_or_their_role_is_gone() {
    let world = World::new().await;
    let (name, other) = (world.role("ci").await, world.role("other").await);
    let stays = world.secret_id(&name, 3600).await.unwrap().record;
    let endless = world.secret_id(&name, 0).await.unwrap().record;
    let damaged = world.secret_id(&name, 60).await.unwrap().record;
    world.secret_id(&name, 60).await.unwrap();
    let orphan = world.secret_id(&other, 3600).await.unwrap().record;
    // one that came in while its role was removed
    let rows = &world.bench.session.rows;
    let remove = async |who: Asker<'_>| roles::delete_role::<AppRole>(&who, &world.logins, &other).await;
    world.bench.as_root(remove).await.unwrap();
    let late = rows.put(world.secret_id_place(&other, &orphan.hash), &orphan, Expect::Absent).unwrap();
    world.bench.commit(vec![late]).await;
    world.damage(rows.delete(world.secret_id_place(&name, &damaged.hash), Expect::Any).key());
    world.pass(60);
    world.round().await;
    for (role, record, left) in
        [(&name, &stays, true), (&name, &endless, true), (&name, &damaged, true), (&other, &orphan, false)]
    {
        let found = rows.revision(world.secret_id_place(role, &record.hash)).await.unwrap();
        assert_eq!(found.is_some(), left, "{}", record.accessor);
    }
    assert_eq!((world.count(SECRET_IDS), world.count(SECRET_ID_ACCESSORS)), (3, 3));
    let remove = async |who: Asker<'_>| roles::delete_role::<AppRole>(&who, &world.logins, &name).await;
    world.bench.as_root(remove).await.unwrap();
    assert_eq!((world.count(SECRET_IDS), world.count(SECRET_ID_ACCESSORS)), (0, 0), "the damaged one too");
}

#[tokio::test]
async fn a_walk_holds_a_page_and_passes_over_what_is_damaged() {
    let world = World::new().await;
    let mut brief = Vec::new();
    for _ in 0..600 {
        brief.push(world.token(60).await);
    }
    let (stays, damaged) = (world.token(3600).await, brief.swap_remove(0));
    let rows = &world.bench.session.rows;
    world.damage(rows.delete(Address::token(&damaged.hash).place(), Expect::Any).key());
    let pointer = rows.put(Address::accessor("left behind").place(), &Pointer(brief[0].hash), Expect::Absent);
    world.bench.commit(vec![pointer.unwrap()]).await;
    world.pass(60);
    world.bench.store.limit_max.store(0, Ordering::SeqCst);
    world.round().await;
    assert!(world.bench.store.limit_max.load(Ordering::SeqCst) <= 256, "rows that are read at once");
    // the root token and the damaged one stay too
    assert_eq!((world.count(TOKENS), world.count(ACCESSORS)), (3, 3));
    assert!(world.is_there(&stays).await && world.is_there(&damaged).await);
}

#[tokio::test]
async fn a_row_that_changes_under_the_collector_stays_and_keeps_no_other() {
    let world = World::new().await;
    let (renewed, expired) = (world.token(60).await, world.token(60).await);
    world.pass(60);
    let mut longer = renewed.clone();
    longer.claims.ttl_secs = 7200;
    let rows = &world.bench.session.rows;
    let renewal = rows.put(Address::token(&renewed.hash).place(), &longer, Expect::Any).unwrap();
    let [first, _] = range_of(TOKENS);
    *world.bench.store.after.lock().unwrap() = Some((first, vec![renewal]));
    world.round().await;
    assert!(world.is_there(&renewed).await);
    assert!(!world.is_there(&expired).await);
}

/// The rows of a table in a scope, as an engine of it would have written them.
async fn write_examples(world: &World, scopes: &[MountId]) {
    let put = |scope: &_| world.bench.session.rows.put(example(*scope), &"x", Expect::Any).unwrap();
    world.bench.commit(scopes.iter().map(put).collect()).await;
}

async fn examples_left(world: &World, scopes: &[MountId]) -> Vec<bool> {
    let mut left = Vec::new();
    for scope in scopes {
        let row = world.bench.session.rows.revision(example(*scope)).await.unwrap();
        left.push(row.is_some());
    }
    left
}

#[tokio::test]
async fn an_erasure_that_was_interrupted_is_finished_by_the_rounds() {
    let world = World::new().await;
    let mount = world.bench.session.mounts().secrets.0[0].clone();
    let scopes = [mount.id, world.logins.id, NO_SCOPE];
    write_examples(&world, &scopes).await;
    world.bench.store.rows.fail_commit(1, Failure::LostRequest); // the list is written, and then it is over
    let disable = async |who: Asker<'_>| mount::disable(&who, Side::Secrets, &mount.path).await;
    world.bench.as_root(disable).await.unwrap_err();
    assert_eq!(examples_left(&world, &scopes).await, [true; 3]);
    world.round().await;
    assert_eq!(examples_left(&world, &scopes).await, [true; 3], "the disable may still be at it");
    write_examples(&world, &scopes[..1]).await; // a request that was under way
    world.round().await;
    assert_eq!(examples_left(&world, &scopes).await, [false, true, true]);
    write_examples(&world, &scopes[..1]).await; // and one that took its time
    world.round().await;
    world.round().await;
    assert_eq!(examples_left(&world, &scopes).await, [false, true, true]);
}

#[tokio::test]
async fn nothing_goes_while_the_lists_of_mounts_cannot_be_read() {
    let world = World::new().await;
    let strange = [MountId::from_bytes([9; 16])];
    write_examples(&world, &strange).await;
    let key = |side: Side| world.bench.session.rows.delete(side.row(), Expect::Any).key().to_vec();
    for damage in [None, Some(b"damaged".to_vec())] {
        for side in [Side::Secrets, Side::Logins] {
            world.bench.store.rows.tamper(&key(side), damage.clone());
            for _ in 0..3 {
                world.round().await;
            }
            assert_eq!(examples_left(&world, &strange).await, [true], "{side:?}");
            for side in [Side::Secrets, Side::Logins] {
                world.bench.store.rows.tamper(&key(side), None);
            }
            world.store_lists().await;
        }
    }
    for _ in 0..2 {
        world.round().await;
    }
    assert_eq!(examples_left(&world, &strange).await, [false]);
}

/// Which lists there are in memory is half a second old, and another broker may have made a mount.
#[tokio::test]
async fn a_mount_that_another_broker_has_made_keeps_its_rows() {
    let world = World::new().await;
    let theirs = kv_mount();
    write_examples(&world, &[theirs.id]).await;
    let mut list = world.bench.session.mounts().secrets.clone();
    list.0.push(theirs.clone());
    let rows = &world.bench.session.rows;
    world.bench.commit(vec![rows.put(Side::Secrets.row(), &list, Expect::Any).unwrap()]).await;
    for _ in 0..3 {
        world.round().await;
    }
    assert_eq!(examples_left(&world, &[theirs.id]).await, [true]);
}
