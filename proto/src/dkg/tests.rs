#![allow(clippy::unwrap_used)]

//! Honest runs of all three kinds, and what each kind of cheating leads to.

use std::ops::Deref;
use std::rc::Rc;

use super::*;
use crate::evaluate::RemoteKey;
use crate::id::SessionId;
use crate::lagrange::lagrange;
use crate::proposal::{Proposal, ProposalTerms};
use crate::testing::{TestMember, rng, test_proposal};

mod malicious;
mod offers;

/// A group with its private keys.
struct Group {
    proposal: Proposal,
    members: Vec<TestMember>,
}

/// What a run gave.
struct Held {
    key: GroupKey,
    shares: Vec<RemoteKey>,
}

/// A session, with the private receive keys of all receivers.
#[derive(Clone)]
struct Open {
    session: Session,
    keys: Rc<[ReceiveKey]>,
}

impl Deref for Open {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Open {
    /// Round 2 at the node with this static key, by its own receive key.
    fn receive(
        &self,
        key: &StaticKey,
        share: Option<&RemoteKey>,
        dealings: &[Vec<u8>],
    ) -> Result<PendingShare, DkgError> {
        let place = self.receiver_index(key.public()).map_or(0, |index| usize::from(index) - 1);
        self.session.receive(key, &self.keys[place], share, dealings)
    }
}

impl Group {
    fn new(threshold: u16, nodes: u8) -> Self {
        let (proposal, members) = test_proposal(threshold, nodes);
        Self { proposal, members }
    }

    /// Another group of fresh nodes that is to follow this one.
    fn successor(&self, threshold: u16, nodes: u8) -> Self {
        let (proposal, members) = test_proposal(threshold, nodes);
        Self { proposal: self.follow(&proposal, threshold), members }
    }

    /// The members of `next` as the group after this one.
    fn follow(&self, next: &Proposal, threshold: u16) -> Proposal {
        let number = self.proposal.terms().number + 1;
        let terms =
            ProposalTerms { number, previous: self.proposal.id(), threshold, ..*self.proposal.terms() };
        Proposal::new(terms, next.cards().to_vec()).unwrap()
    }

    fn generation(&self) -> Run {
        Run {
            kind: RunKind::Generate,
            session: SessionId::random(&mut rng()),
            key: self.proposal.terms().key,
            key_epoch: 1,
            share_epoch: 1,
            group: self.proposal.id(),
            previous: [0; 32],
            base: [0; 32],
            dealers: Dealers::all(self.proposal.nodes()).unwrap(),
        }
    }

    fn refresh(&self, key: &GroupKey) -> Run {
        let (kind, previous, base) = (RunKind::Refresh, self.proposal.id(), key.hash());
        Run { kind, share_epoch: 2, previous, base, ..self.generation() }
    }

    fn reshare(&self, key: &GroupKey, to: &Self, dealers: &[u16]) -> Run {
        let (kind, group) = (RunKind::Reshare, to.proposal.id());
        let dealers = Dealers::new(dealers.iter().copied()).unwrap();
        Run { kind, group, dealers, ..self.refresh(key) }
    }

    fn session(&self, run: &Run) -> Open {
        self.open(&Roster::new(run, &self.proposal, None).unwrap())
    }

    fn session_after(&self, run: &Run, group: &Self, key: &GroupKey) -> Open {
        let before = Before { group: &group.proposal, key };
        self.open(&Roster::new(run, &self.proposal, Some(before)).unwrap())
    }

    /// Every member shows a fresh receive key.
    fn open(&self, roster: &Roster) -> Open {
        let keys: Rc<[_]> = self.members.iter().map(|_| ReceiveKey::generate(&mut rng())).collect();
        Open { session: roster.session(&self.offers(roster, &keys)).unwrap(), keys }
    }

    fn offers(&self, roster: &Roster, keys: &[ReceiveKey]) -> Vec<[u8; OFFER_BYTES]> {
        let pairs = self.members.iter().zip(keys);
        pairs.map(|(member, receive)| roster.offer(&member.dkg, receive).unwrap()).collect()
    }

    /// Rounds 2 and 3 of all members, each with its share until now if there is one; the state between them
    /// is stored.
    fn receive(&self, session: &Open, shares: Option<&[RemoteKey]>, dealings: &[Vec<u8>]) -> Held {
        let old = |place: usize| shares.map(|shares| &shares[place]);
        let pending: Vec<_> = (0..self.members.len())
            .map(|place| {
                session.receive(&self.members[place].dkg, old(place), dealings).unwrap().to_secret_bytes()
            })
            .map(|stored| PendingShare::from_secret_bytes(&stored).unwrap())
            .collect();
        let signatures: Vec<_> = pending.iter().map(|pending| *pending.signature()).collect();
        let done: Vec<_> = pending.iter().map(|pending| pending.finish(&signatures).unwrap()).collect();
        let outcome = session.outcome(dealings).unwrap();
        let certificate = session.certify(&outcome, &signatures).unwrap();
        for (index, done) in (1..).zip(&done) {
            assert_eq!((done.index, &done.key, &done.certificate), (index, &outcome.key, &certificate));
            assert_eq!(done.key.share(index), Some(*done.share.public_key()));
        }
        let receivers: Vec<_> = self.members.iter().map(|member| *member.dkg.public()).collect();
        assert_eq!(Certificate::parse(&certificate.to_bytes(), &receivers), Ok(certificate));
        Held { key: outcome.key, shares: done.into_iter().map(|done| done.share).collect() }
    }

    fn generate(&self) -> Held {
        let session = self.session(&self.generation());
        let dealings: Vec<_> =
            self.members.iter().map(|member| session.deal(&member.dkg, None, &mut rng()).unwrap()).collect();
        self.receive(&session, None, &dealings)
    }

    fn refreshed(&self, before: &Held) -> Held {
        let session = self.session_after(&self.refresh(&before.key), self, &before.key);
        let dealings: Vec<_> =
            self.members.iter().map(|member| session.deal(&member.dkg, None, &mut rng()).unwrap()).collect();
        self.receive(&session, Some(&before.shares), &dealings)
    }

    fn reshared(&self, before: &Held, to: &Self, dealers: &[u16]) -> Held {
        let session = to.session_after(&self.reshare(&before.key, to, dealers), self, &before.key);
        let deal = |index: &u16| {
            let place = usize::from(*index) - 1;
            session.deal(&self.members[place].dkg, Some(&before.shares[place]), &mut rng()).unwrap()
        };
        let dealings: Vec<_> = dealers.iter().map(deal).collect();
        to.receive(&session, None, &dealings)
    }
}

/// The key that these shares give, by index from 1.
fn key_of(shares: &[(u16, &RemoteKey)]) -> [u8; 32] {
    let indices: Vec<_> = shares.iter().map(|(index, _)| *index).collect();
    let term = |(index, share): &(u16, &RemoteKey)| {
        let scalar = crate::group::Scalar::from_secret(share.secret()).unwrap();
        scalar.element() * lagrange(*index, &indices)
    };
    let key: curve25519_dalek::scalar::Scalar = shares.iter().map(term).sum();
    *crate::group::Scalar::from_element(key)
        .map(|key| *key.public_key().as_bytes())
        .as_ref()
        .unwrap_or(&[0; 32])
}

/// Every set of `size` indices out of 1 … `nodes`.
fn subsets(nodes: u16, size: u32) -> impl Iterator<Item = Vec<u16>> {
    (0_u32..1 << nodes)
        .filter(move |bits| bits.count_ones() == size)
        .map(move |bits| (1..=nodes).filter(|index| bits & (1 << (index - 1)) != 0).collect())
}

fn every_subset_opens(result: &Held, threshold: u16) {
    let nodes = u16::try_from(result.shares.len()).unwrap();
    for indices in subsets(nodes, threshold.into()) {
        let shares: Vec<_> =
            indices.iter().map(|index| (*index, &result.shares[usize::from(*index) - 1])).collect();
        assert_eq!(key_of(&shares), *result.key.public().as_bytes(), "{indices:?}");
        if threshold > 1 {
            assert_ne!(key_of(&shares[1..]), *result.key.public().as_bytes(), "one fewer of {indices:?}");
        }
    }
}

#[test]
fn any_t_of_n_hold_the_key() {
    for (t, n) in [(1, 1), (1, 3), (2, 2), (2, 3), (3, 5), (16, 16)] {
        let group = Group::new(t, n);
        let result = group.generate();
        assert_eq!(result.key.threshold(), t);
        every_subset_opens(&result, t);
    }
}

#[test]
fn a_refresh_changes_every_share_and_not_the_key() {
    let group = Group::new(3, 5);
    let old = group.generate();
    let new = group.refreshed(&old);
    assert_eq!(new.key.public(), old.key.public());
    every_subset_opens(&new, 3);
    for (old, new) in old.shares.iter().zip(&new.shares) {
        assert_ne!(old.public_key(), new.public_key());
    }
    for mixed in [[0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1]] {
        let share = |place: usize| if mixed[place] == 1 { &new.shares[place] } else { &old.shares[place] };
        let shares = [(1, share(0)), (2, share(1)), (3, share(2))];
        assert_ne!(key_of(&shares), *new.key.public().as_bytes(), "old and new shares together");
    }
}

#[test]
fn a_resharing_moves_the_key_to_another_group_and_threshold() {
    let group = Group::new(2, 3);
    let old = group.generate();
    for (t, n) in [(1, 1), (2, 3), (3, 5), (2, 2), (4, 4)] {
        for dealers in [[1, 2], [1, 3], [2, 3]] {
            let to = group.successor(t, n);
            let new = group.reshared(&old, &to, &dealers);
            assert_eq!(new.key.public(), old.key.public());
            assert_eq!(new.key.threshold(), t);
            every_subset_opens(&new, t);
        }
    }
}

#[test]
fn members_that_stay_may_get_another_index() {
    let group = Group::new(2, 3);
    let old = group.generate();
    let stays = [group.proposal.cards()[2], group.proposal.cards()[0]];
    let terms = ProposalTerms { number: 2, previous: group.proposal.id(), ..*group.proposal.terms() };
    let proposal = Proposal::new(terms, stays.to_vec()).unwrap();
    let keys = [2, 0].map(|place: usize| {
        let secret = crate::secret::Secret::filled_by(|out| {
            out.copy_from_slice(group.members[place].dkg.secret().expose());
        });
        let root = crate::signing::SigningSeed::random(&mut rng());
        TestMember { root, dkg: StaticKey::from_secret(secret).unwrap() }
    });
    let to = Group { proposal, members: keys.into() };
    let new = group.reshared(&old, &to, &[1, 3]);
    assert_eq!(new.key.public(), old.key.public());
    every_subset_opens(&new, 2);
    let mixed = [(1, &new.shares[0]), (2, &old.shares[1])];
    assert_ne!(key_of(&mixed), *new.key.public().as_bytes());
}

#[test]
fn refreshed_and_reshared_again_and_again() {
    let group = Group::new(2, 3);
    let mut held = group.generate();
    for _ in 0..3 {
        held = group.refreshed(&held);
    }
    let to = group.successor(3, 4);
    let moved = group.reshared(&held, &to, &[2, 3]);
    let last = to.refreshed(&moved);
    assert_eq!(last.key.public(), held.key.public());
    every_subset_opens(&last, 3);
}

#[test]
fn the_same_dealings_give_the_same_answer() {
    let group = Group::new(2, 3);
    let session = group.session(&group.generation());
    let dealings: Vec<_> =
        group.members.iter().map(|member| session.deal(&member.dkg, None, &mut rng()).unwrap()).collect();
    let receive = || session.receive(&group.members[1].dkg, None, &dealings).unwrap().to_secret_bytes();
    assert_eq!(*receive(), *receive());
}

#[test]
fn a_session_goes_with_its_run_only() {
    let (group, other) = (Group::new(2, 3), Group::new(2, 3));
    let held = group.generate();
    let (generation, refresh) = (group.generation(), group.refresh(&held.key));
    let before = Some(Before { group: &group.proposal, key: &held.key });
    let error = |run: &Run, to: &Group, before| match Roster::new(run, &to.proposal, before).unwrap_err() {
        DkgError::Setup(error) => error,
        other => panic!("{other}"),
    };
    assert_eq!(error(&generation, &other, None), SetupError::Group);
    assert_eq!(error(&generation, &group, before), SetupError::Previous);
    assert_eq!(error(&refresh, &group, None), SetupError::Previous);
    let stranger = other.generate();
    let foreign = Some(Before { group: &group.proposal, key: &stranger.key });
    assert_eq!(error(&refresh, &group, foreign), SetupError::Base);
    let few = Run { dealers: Dealers::all(2).unwrap(), ..refresh };
    assert_eq!(error(&few, &group, before), SetupError::Dealers);
    let to = group.successor(2, 3);
    for dealers in [&[1][..], &[1, 2, 3], &[1, 4]] {
        assert_eq!(error(&group.reshare(&held.key, &to, dealers), &to, before), SetupError::Dealers);
    }
    let unrelated = Run { group: other.proposal.id(), ..group.reshare(&held.key, &to, &[1, 2]) };
    assert_eq!(error(&unrelated, &other, before), SetupError::Previous);
    let alone = Group::new(1, 2);
    let held = alone.generate();
    let before = Some(Before { group: &alone.proposal, key: &held.key });
    assert_eq!(error(&alone.refresh(&held.key), &alone, before), SetupError::Threshold);
}

#[test]
fn a_stored_state_is_read_whole_or_not_at_all() {
    let group = Group::new(2, 2);
    let session = group.session(&group.generation());
    let dealings: Vec<_> =
        group.members.iter().map(|member| session.deal(&member.dkg, None, &mut rng()).unwrap()).collect();
    let stored = session.receive(&group.members[0].dkg, None, &dealings).unwrap().to_secret_bytes();
    for length in 0..stored.len() {
        assert!(PendingShare::from_secret_bytes(&stored[..length]).is_err(), "{length} bytes");
    }
    let long = [stored.as_slice(), &[0]].concat();
    assert_eq!(PendingShare::from_secret_bytes(&long).err(), Some(DkgError::State));
}
