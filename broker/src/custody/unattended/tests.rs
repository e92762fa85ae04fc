#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use symbolon_core::clock::Now;
use symbolon_core::seal::Sealed;
use symbolon_core::succession::{Change, NewSet};
use symbolon_proto::custody::{
    Card, CeremonyBinding, DealtShare, KeyKind, KeyPair, Purpose, ShareEnvelope, SourceFile, Submission,
    XWingPublicKey,
};
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::secret::Secret;
use symbolon_proto::share::{Dealing, Holder, Share, ShareKind, Threshold};

use super::asking::asked;
use crate::access::Session;
use crate::access::mounts::Mounts;
use crate::access::shape::Shape;
use crate::clock::SystemClock;
use crate::custody::ceremony::{ChangeDesk, Desk, Notice};
use crate::custody::seal::View;
use crate::custody::sources::registry::{self, Registry};
use crate::error::Text;
use crate::random::os_rng;
use crate::remote::Leases;
use crate::store::memory::MemoryStore;
use crate::testing::{Away, DEPLOYMENT, Ground, seal_record, unsealed};

const NOW: Now = Now { unix_ms: 1_000_000, boot_ms: 1000 };

/// Two of ana, boris and attic, which is a source.
struct Home {
    sealed: Sealed,
    shares: Vec<Share>,
    registry: Registry,
    session: Arc<Session>,
}

fn source(name: &str) -> SourceFile {
    let key = Secret::filled_by(|out| out.fill(7));
    SourceFile::generate("tang", name, DEPLOYMENT, (&key, vec![1]), &mut os_rng()).unwrap()
}

fn card(name: &str) -> Card {
    KeyPair::generate(KeyKind::Custodian, &mut os_rng()).card(name).unwrap()
}

async fn session() -> Arc<Session> {
    let (store, shape) = (Arc::new(MemoryStore::new()), Arc::new(Shape::default()));
    let ground = Ground { store, clock: Arc::new(SystemClock), unsealed: Arc::new(unsealed()), shape };
    let keys = ground.keys(Arc::new(Away), Leases::default());
    ground.session(keys, Mounts::default()).await
}

impl Home {
    async fn new() -> Self {
        let mut attic = source("attic");
        let holders = [Holder::from(&card("ana")), Holder::from(&card("boris")), Holder::from(attic.card())];
        let dealing = Dealing {
            kind: ShareKind::Fragment,
            deployment: DEPLOYMENT,
            frag_epoch: 1,
            created_ms: 1000,
            threshold: Threshold::new(2, 3).unwrap(),
            holders: &holders,
            previous: None,
        };
        let (set, shares) = dealing.deal(&Fragment::random(&mut os_rng()), &mut os_rng()).unwrap();
        let seal = |share| ShareEnvelope::seal(share, &set, &mut os_rng()).unwrap();
        let envelopes: Vec<_> = shares.iter().map(seal).collect();
        registry::deal(&mut attic, &set, &envelopes);
        let expected = DealtShare { set: set.set_id(), x: 3, envelope: envelopes[2].clone() };
        assert_eq!(attic.dealt, Some(expected), "its own envelope and no other");
        let sealed = Sealed::open(seal_record(&set)).unwrap();
        let registry = Registry::from([("attic".to_owned(), attic)]);
        Self { sealed, shares, registry, session: session().await }
    }

    fn asked_of(&self, view: &View) -> Option<Purpose> {
        asked(view, &self.registry["attic"], &self.registry).map(|asked| asked.purpose)
    }

    fn open(&self, notice: Notice) -> View {
        let (sealed, session) = (Arc::new(self.sealed.clone()), Arc::clone(&self.session));
        View::Open { sealed, session, ceremony: Some(Arc::new(notice)) }
    }

    fn closed(&self, reason: Option<Text>) -> View {
        let notice = Desk::open(symbolon_proto::custody::transcript::CeremonyType::Unseal, &self.sealed, NOW);
        let (sealed, notice) = (Arc::new(self.sealed.clone()), Arc::new(notice.notice(NOW)));
        View::Sealed { sealed, ceremony: None, notice, reason }
    }

    fn give(&self, desk: &mut ChangeDesk, share: usize) {
        let notice = desk.notice(NOW);
        let binding = CeremonyBinding { deployment: DEPLOYMENT, nonce: notice.nonce };
        let key = XWingPublicKey::from_bytes(&notice.key).unwrap();
        let given = Submission::seal(&self.shares[share], Purpose::Give, &binding, &key, &mut os_rng());
        let _ = desk.take(&given, NOW).unwrap();
    }
}

#[tokio::test]
async fn a_sealed_broker_asks_its_sources_unless_it_has_sealed_itself() {
    let home = Home::new().await;
    assert_eq!(home.asked_of(&home.closed(None)), Some(Purpose::Give));
    assert_eq!(home.asked_of(&home.closed(Some(Text::fixed("an alarm")))), None);
    assert_eq!(home.asked_of(&View::Uninitialised), None);
    let stranger = source("attic");
    assert!(asked(&home.closed(None), &stranger, &home.registry).is_none(), "a name is no key");
}

/// Whoever stole a token can begin a ceremony, and gets nothing out of machines.
#[tokio::test]
async fn sources_give_for_new_shares_and_keys_after_a_person_has() {
    let home = Home::new().await;
    let set = NewSet::new(2, &[card("dora"), card("emil")]).unwrap();
    for change in [Change::Reshare(set.clone()), Change::Rekey(set), Change::Epoch] {
        let mut desk = ChangeDesk::open(change, &home.sealed, NOW);
        assert_eq!(home.asked_of(&home.open(desk.notice(NOW))), None);
        home.give(&mut desk, 0);
        assert_eq!(home.asked_of(&home.open(desk.notice(NOW))), Some(Purpose::Give));
    }
    let mut by_source = ChangeDesk::open(Change::Epoch, &home.sealed, NOW);
    home.give(&mut by_source, 2);
    let mut another = home.registry.clone();
    let cellar = SourceFile::clone(&source("cellar"));
    another.insert("cellar".to_owned(), cellar);
    assert_eq!(home.asked_of(&home.open(by_source.notice(NOW))), None, "a source is no person, and it gave");
    let mut drill = ChangeDesk::open(Change::Drill, &home.sealed, NOW);
    assert_eq!(home.asked_of(&home.open(drill.notice(NOW))), Some(Purpose::Give));
    home.give(&mut drill, 2);
    assert_eq!(home.asked_of(&home.open(drill.notice(NOW))), None, "it has given");
}

#[tokio::test]
async fn sources_give_nothing_for_a_root_token() {
    use symbolon_proto::custody::transcript::CeremonyType;
    let home = Home::new().await;
    let mut notice = ChangeDesk::open(Change::Epoch, &home.sealed, NOW).notice(NOW);
    notice.given = vec!["ana".to_owned()];
    assert_eq!(home.asked_of(&home.open(notice.clone())), Some(Purpose::Give));
    notice.kind = CeremonyType::Root;
    assert_eq!(home.asked_of(&home.open(notice)), None);
}

/// Somebody who writes the store replaces the public row of a source by one with keys of their own.
#[tokio::test]
async fn a_card_that_was_put_into_the_store_is_dealt_nothing() {
    let session = session().await;
    let attic = source("attic");
    let draft = || symbolon_core::audit::Draft::by_broker(symbolon_core::audit::Action::Ceremony, "enrolled");
    drop(session.commit(registry::enrolled(&session.rows, &attic).unwrap(), draft()).await.unwrap());
    assert_eq!(&registry::card(&session.rows, "attic").await.unwrap(), attic.card());
    session.rows.store().commit(vec![registry::kept(&source("attic"))]).await.unwrap();
    let refused = registry::card(&session.rows, "attic").await.unwrap_err();
    assert!(format!("{refused:?}").contains("replaced since it was enrolled"), "{refused:?}");
    drop(session.commit(registry::forgotten(&session.rows, "attic"), draft()).await.unwrap());
    assert!(registry::read(session.rows.store()).await.unwrap().is_empty());
}
