//! Nodes that made a key together, with every operation of theirs.

use symbolon_proto::card::NodeCard;
use symbolon_proto::dkg::{
    CertifiedShare, Dealers, PendingShare, ReceiveKey, Roster, Run, RunKind, StaticKey,
};
use symbolon_proto::id::{NodeId, SessionId};
use symbolon_proto::proposal::{Proposal, ProposalTerms};
use symbolon_proto::signing::SigningSeed;

use crate::world::World;

pub struct Group {
    pub threshold: u16,
    pub shares: Vec<CertifiedShare>,
}

impl Group {
    pub fn of(world: &mut World, nodes: u16) -> Self {
        let keys: Vec<_> = (0..nodes).map(|_| StaticKey::generate(world.rng())).collect();
        let threshold = nodes / 2 + 1;
        let group = proposal(world, &keys, threshold);
        let run = Run {
            kind: RunKind::Generate,
            session: SessionId::random(world.rng()),
            key: world.holder.key,
            key_epoch: 1,
            share_epoch: 1,
            group: group.id(),
            previous: [0; 32],
            base: [0; 32],
            dealers: Dealers::all(nodes).unwrap(),
        };
        let roster = Roster::new(&run, &group, None).unwrap();
        let receive: Vec<_> = keys.iter().map(|_| ReceiveKey::generate(world.rng())).collect();
        let offers: Vec<_> =
            keys.iter().zip(&receive).map(|(key, receive)| roster.offer(key, receive).unwrap()).collect();
        let session = roster.session(&offers).unwrap();
        let dealings: Vec<_> = keys.iter().map(|key| session.deal(key, None, world.rng()).unwrap()).collect();
        let pending = keys.iter().zip(&receive).map(|(key, receive)| {
            let pending = session.receive(key, receive, None, &dealings).unwrap();
            PendingShare::from_secret_bytes(&pending.to_secret_bytes()).unwrap()
        });
        let pending: Vec<_> = pending.collect();
        let signatures: Vec<_> = pending.iter().map(|pending| *pending.signature()).collect();
        let shares = pending.iter().map(|pending| pending.finish(&signatures).unwrap()).collect();
        Self { threshold, shares }
    }
}

fn proposal(world: &mut World, keys: &[StaticKey], threshold: u16) -> Proposal {
    let card = |(number, key): (u8, &StaticKey)| {
        let root = SigningSeed::random(world.rng());
        let card = NodeCard {
            node: NodeId::from_bytes([number; 16]),
            signing: SigningSeed::random(world.rng()).public_key(),
            spki_sha256: [number; 32],
            dkg: *key.public(),
            root: root.public_key(),
        };
        card.sign(&root)
    };
    let cards = (1..).zip(keys).map(card).collect();
    let terms = ProposalTerms {
        deployment: world.holder.deployment,
        key: world.holder.key,
        broker: world.holder.broker,
        broker_spki_sha256: [0; 32],
        broker_signing: world.node_seed.public_key(),
        number: 1,
        previous: [0; 32],
        threshold,
    };
    Proposal::new(terms, cards).unwrap()
}
