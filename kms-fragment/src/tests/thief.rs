//! A thief who holds what lies on a node's disk, with the key that opens it, and everything that the broker
//! relayed.

use std::collections::BTreeMap;

use symbolon_proto::dkg::{Before, CertifiedShare, GroupKey, OFFER_BYTES, ReceiveKey, Roster, StaticKey};
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::frame::{GroupOp, GroupReply};
use symbolon_proto::group::Point;
use symbolon_proto::order::Action;
use symbolon_proto::proposal::Proposal;
use symbolon_proto::secret::Secret;

use super::by_hand;
use super::client::Fixture;
use super::club::{Club, Said};
use super::people::any;
use crate::Sealing;
use crate::sealing::SealKey;

const ALL: [usize; 3] = [0, 1, 2];

/// Files of a state directory, opened.
struct Loot(BTreeMap<String, Vec<u8>>);

impl Loot {
    /// Copies a state directory and its key file, and opens what opens.
    fn of(node: &Fixture) -> Self {
        let (state, key) = (node.state_dir(), node.state_dir().with_file_name("key"));
        let header = std::fs::read_to_string(state.join("sealing.toml")).unwrap();
        let seal = SealKey::open(&Sealing::KeyFile(key), &toml::from_str(&header).unwrap()).unwrap();
        let keys = node.service.dir.list("keys").unwrap().into_iter().map(|name| format!("keys/{name}"));
        let names = keys.chain(["identity", "tables"].map(str::to_owned));
        let open = |name: String| {
            let opened = seal.open_file(&name, &std::fs::read(state.join(&name)).unwrap()).unwrap();
            (name, opened.to_vec())
        };
        Self(names.map(open).collect())
    }

    /// Every number of 32 bytes that stands anywhere in it and is the private key of one of these points.
    fn private_keys(&self, points: &[Point]) -> Vec<[u8; 32]> {
        let windows = self.0.values().flat_map(|content| content.windows(32));
        let is_key = |window: &&[u8]| {
            let key = RemoteKey::from_secret(secret(window));
            key.is_ok_and(|key| points.contains(key.public_key().point()))
        };
        windows.filter(is_key).map(|window| window.try_into().unwrap()).collect()
    }
}

pub(super) fn secret(bytes: &[u8]) -> Secret<32> {
    Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(bytes))
}

/// What a thief knows of a run without any secret.
struct Public<'a> {
    roster: Roster,
    group: &'a Proposal,
    /// The sharing before, if it is a refresh.
    before: Option<&'a GroupKey>,
    said: &'a Said,
}

impl<'a> Public<'a> {
    fn new(group: &'a Proposal, before: Option<&'a GroupKey>, said: &'a Said) -> Self {
        let based = before.map(|key| Before { group, key });
        Self { roster: Roster::new(&said.run, group, based).unwrap(), group, before, said }
    }

    fn static_keys(&self) -> Vec<Point> {
        self.group.cards().iter().map(|card| card.card().dkg).collect()
    }

    fn receive_keys(&self) -> Vec<Point> {
        let point = |offer: &[u8; OFFER_BYTES]| Point::decode(offer[..32].try_into().unwrap()).unwrap();
        self.said.offers.iter().map(point).collect()
    }

    /// All points of which a private key could help: static keys, receive keys, shares until now.
    fn points(&self) -> Vec<Point> {
        let shares = (1..=3).filter_map(|index| Some(*self.before?.share(index)?.point()));
        [self.static_keys(), self.receive_keys(), shares.collect()].concat()
    }

    /// How many of the dealings of a refresh open for the first member, with whatever key.
    fn opened_by_hand(&self, loot: &[&Loot]) -> usize {
        let context = by_hand::context(&self.said.run, &self.receive_keys(), &self.static_keys());
        let keys: Vec<_> = loot.iter().flat_map(|loot| loot.private_keys(&self.points())).collect();
        let opens = |(dealer, dealing): &(Point, &Vec<u8>)| {
            let mut keys = keys.iter().map(|key| RemoteKey::from_secret(secret(key)).unwrap());
            keys.any(|key| by_hand::open_first(&key, dealer, dealing, &context).is_some())
        };
        self.static_keys().into_iter().zip(&self.said.dealings).filter(opens).count()
    }

    /// The share that member `index` has after the run, by trying every private key in every place.
    fn share_of(&self, index: u16, loot: &[&Loot]) -> Option<CertifiedShare> {
        let keys: Vec<_> = loot.iter().flat_map(|loot| loot.private_keys(&self.points())).collect();
        assert!(!keys.is_empty(), "at least its static key is there");
        let session = self.roster.session(&self.said.offers).unwrap();
        let own = self.group.member(index).unwrap().dkg;
        let fixed = keys.iter().map(|key| StaticKey::from_secret(secret(key)).unwrap());
        let fixed = fixed.into_iter().find(|key| *key.public() == own)?;
        let pending = keys.iter().find_map(|receive| {
            let receive = ReceiveKey::from_secret(secret(receive)).unwrap();
            let until_now = keys.iter().map(|share| Some(RemoteKey::from_secret(secret(share)).unwrap()));
            until_now
                .chain([None])
                .find_map(|share| session.receive(&fixed, &receive, share.as_ref(), &self.said.dealings).ok())
        });
        pending?.finish(&self.said.signatures).ok()
    }
}

async fn publish_and_acknowledge(club: &Club, proposal: &Proposal, share_epoch: u32) {
    let last = {
        let live = club.nodes[0].service.live();
        let bytes = live.tables.keys[&club.key].manifests.last().map(|(_, bytes)| bytes.clone());
        bytes.map(|bytes| {
            let root = club.nodes[0].service.identity.root.public_key();
            let deployment = club.links[0].deployment;
            symbolon_proto::manifest::VerifiedManifest::first(&bytes, &root, &deployment).unwrap()
        })
    };
    let sharing = club.sharing(0, 1, share_epoch);
    let manifest = club.manifest(&sharing, proposal, (1, share_epoch), last.as_ref());
    club.publish(&manifest, &ALL, &ALL).await;
    for node in ALL {
        let op = GroupOp::Acknowledge { key: club.key, key_epoch: 1, share_epoch };
        assert_eq!(club.ask(node, op).await, Ok(GroupReply::Done));
    }
}

fn loot(club: &Club) -> Vec<Loot> {
    club.nodes.iter().map(Loot::of).collect()
}

/// A whole run, and what a thief finds who comes while the receive keys wait.
async fn run(club: &Club, run: symbolon_proto::dkg::Run) -> (Said, Vec<Loot>) {
    let offers = club.offers(&run, None, &ALL).await;
    let during = loot(club);
    let dealings = club.deal(&run, None, &offers, &ALL).await;
    let said = Said { run, offers, dealings, signatures: Vec::new() };
    let signatures = club.verify(&said, None, &ALL).await;
    let said = Said { signatures, ..said };
    club.commit(&said, &ALL).await;
    (said, during)
}

#[tokio::test]
async fn a_state_from_before_a_refresh_and_all_its_messages_do_not_give_the_new_share() {
    let (club, proposal, _) = Club::founded().await;
    let sharing = club.sharing(0, 1, 1);
    let before = loot(&club);
    let (said, during) = run(&club, club.refresh(&proposal, &sharing, 2)).await;
    publish_and_acknowledge(&club, &proposal, 2).await;
    let refreshed = club.sharing(0, 1, 2);
    let public = Public::new(&proposal, Some(&sharing), &said);
    for (place, index) in (0..3).zip(1..) {
        assert!(public.share_of(index, &[&before[place]]).is_none(), "node {place}");
        let found = public.share_of(index, &[&before[place], &during[place]]);
        let found = found.expect("the control: with its receive key the share is followed");
        assert_eq!(*found.share.public_key(), refreshed.share(index).unwrap());
    }
    // Not even the states of all nodes from before.
    let all: Vec<_> = before.iter().collect();
    assert_eq!(public.opened_by_hand(&all), 0);
    assert_eq!(public.opened_by_hand(&[&during[0]]), 3, "the control: with its receive key all are opened");
    assert!((1..=3).all(|index| public.share_of(index, &all).is_none()));
}

#[tokio::test]
async fn recorded_dealings_and_later_states_do_not_give_a_key_back() {
    let club = Club::new(3).await;
    let proposal = club.proposal(2, &ALL, None).await;
    club.approve(&proposal, &ALL).await;
    let (said, during) = run(&club, club.first_run(&proposal)).await;
    publish_and_acknowledge(&club, &proposal, 1).await;
    let sharing = club.sharing(0, 1, 1);
    let public = Public::new(&proposal, None, &said);
    let found: Vec<_> =
        (1..=2).filter_map(|index| public.share_of(index, &[&during[usize::from(index) - 1]])).collect();
    assert_eq!(found.len(), 2, "the control: two receive keys give two shares, which are the key");
    for found in found {
        assert_eq!(Some(*found.share.public_key()), sharing.share(found.index));
    }
    let nothing = |when: &str| {
        let later = loot(&club);
        let all: Vec<_> = later.iter().collect();
        assert!((1..=3).all(|index| public.share_of(index, &all).is_none()), "{when}");
    };
    let refresh = run(&club, club.refresh(&proposal, &sharing, 2)).await;
    nothing("before the old shares are erased");
    publish_and_acknowledge(&club, &proposal, 2).await;
    nothing("after a refresh");
    for node in &club.nodes {
        let text = club.people.order(&node.service, Action::Destroy { key: club.key }, &[0, 1]);
        node.service.carry_out(&text, any).unwrap();
        node.clock.forward(14 * 86_400);
        node.service.tend_destructions().unwrap();
        assert!(node.service.dir.list("keys").unwrap().is_empty());
    }
    nothing("after its destruction");
    let refresh = Public::new(&proposal, Some(&sharing), &refresh.0);
    let later = loot(&club);
    let all: Vec<_> = later.iter().collect();
    assert!((1..=3).all(|index| refresh.share_of(index, &all).is_none()), "the refreshed shares");
}
