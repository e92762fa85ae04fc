//! The key of a node in one run: who shows it, who may replace it, and that it goes.

use symbolon_proto::dkg::{Before, DkgFault, OFFER_BYTES, ReceiveKey, Roster, Run};
use symbolon_proto::frame::{Blame, GroupOp, GroupReply, GroupRequest, Status};
use symbolon_proto::id::RequestId;
use symbolon_proto::proposal::Proposal;

use super::club::{Club, Offers, Said};
use crate::disk::fault::Fault;
use crate::rng::os_rng;

const ALL: [usize; 3] = [0, 1, 2];

fn files(club: &Club, node: usize) -> Vec<String> {
    let mut files = club.nodes[node].service.dir.list("keys").unwrap();
    files.sort();
    files
}

fn share_file(club: &Club) -> String {
    club.key.to_string()
}

fn file(club: &Club, what: &str) -> String {
    format!("{}-1-2.{what}", club.key)
}

/// What each file of a node says, to see that nothing has changed.
fn contents(club: &Club, node: usize) -> Vec<Option<Vec<u8>>> {
    let dir = &club.nodes[node].service.dir;
    let names = files(club, node).into_iter().map(|name| format!("keys/{name}"));
    names.chain(["tables".to_owned()]).map(|name| dir.read(&name).unwrap()).collect()
}

async fn refreshing() -> (Club, Proposal, Run) {
    let (club, proposal, _) = Club::founded().await;
    for node in ALL {
        let op = GroupOp::Acknowledge { key: club.key, key_epoch: 1, share_epoch: 1 };
        assert_eq!(club.ask(node, op).await, Ok(GroupReply::Done));
    }
    let run = club.refresh(&proposal, &club.sharing(0, 1, 1), 2);
    (club, proposal, run)
}

async fn blamed(club: &Club, node: usize, op: GroupOp) -> Option<Blame> {
    let before = contents(club, node);
    let refusal = club.ask(node, op).await.unwrap_err();
    assert_eq!(refusal.status, Status::ParticipantFault);
    assert_eq!(contents(club, node), before, "a refusal changes nothing");
    refusal.blame
}

const fn other_key(participant: u16) -> Option<Blame> {
    Some(Blame { participant, fault: DkgFault::ReceiveKey })
}

#[tokio::test]
async fn a_receive_key_is_there_until_the_dealings_are_opened() {
    let (club, _, run) = refreshing().await;
    assert_eq!(files(&club, 0), [share_file(&club)]);
    let offers = club.offers(&run, None, &ALL).await;
    assert_eq!(files(&club, 0), [share_file(&club), file(&club, "receive")]);
    let path = club.nodes[0].service.dir.path(&format!("keys/{}", file(&club, "receive")));
    let link = path.with_file_name("../link");
    std::fs::hard_link(&path, &link).unwrap();
    let sealed = std::fs::read(&link).unwrap();
    let dealings = club.deal(&run, None, &offers, &ALL).await;
    let said = Said { run, offers, dealings, signatures: Vec::new() };
    assert!(files(&club, 0).contains(&file(&club, "receive")));
    let signatures = club.verify(&said, None, &ALL).await;
    assert_eq!(files(&club, 0), [share_file(&club), file(&club, "run")]);
    let left = std::fs::read(&link).unwrap();
    assert!(left.len() == sealed.len() && left != sealed, "it was overwritten, too");
    // Asked again, the same, without the key.
    assert_eq!(club.offers(&run, None, &ALL).await, said.offers);
    club.commit(&Said { signatures, ..said }, &ALL).await;
}

#[tokio::test]
async fn a_broker_that_swaps_or_omits_a_receive_key_is_refused() {
    let (club, proposal, run) = refreshing().await;
    let earlier = club.refresh(&proposal, &club.sharing(0, 1, 1), 2);
    let replayed = club.offers(&earlier, None, &ALL).await;
    let offers = club.offers(&run, None, &ALL).await;
    let deal = |offers: &Offers| GroupOp::Deal { run, base: None, offers: offers.clone() };
    let with = |place: usize, offer: [u8; OFFER_BYTES]| {
        let mut changed = offers.clone();
        changed[place] = offer;
        changed
    };
    // The broker's own key, proven to be possessed, but not signed by the node.
    let sharing = club.sharing(0, 1, 1);
    let roster = Roster::new(&run, &proposal, Some(Before { group: &proposal, key: &sharing })).unwrap();
    let identity = &club.nodes[1].service.identity;
    let mut own = roster.offer(&identity.dkg, &ReceiveKey::generate(&mut os_rng())).unwrap();
    own[OFFER_BYTES - 32] ^= 1;
    for (swapped, what) in
        [(own, "the broker's own"), (replayed[1], "another run's"), (offers[2], "another's")]
    {
        assert_eq!(blamed(&club, 0, deal(&with(1, swapped))).await, other_key(2), "{what}");
    }
    assert_eq!(blamed(&club, 0, deal(&offers[..2].to_vec())).await, other_key(3), "omitted");
    assert_eq!(blamed(&club, 0, deal(&vec![offers[0], offers[2]])).await, other_key(2), "omitted");
    let extra = [offers.as_slice(), &offers[..1]].concat();
    assert_eq!(club.refused(0, deal(&extra)).await, Status::Malformed);
    // And later: what was shown once is what counts.
    let dealings = club.deal(&run, None, &offers, &ALL).await;
    let said = Said { run, offers: offers.clone(), dealings, signatures: Vec::new() };
    assert_eq!(blamed(&club, 0, deal(&with(1, replayed[1]))).await, other_key(2));
    let swapped =
        Said { offers: with(2, replayed[2]), ..Said { dealings: said.dealings.clone(), ..empty(run) } };
    assert_eq!(blamed(&club, 0, swapped.verify(None)).await, other_key(3));
    let signatures = club.verify(&said, None, &ALL).await;
    assert_eq!(blamed(&club, 0, swapped.verify(None)).await, other_key(3), "when it is certified");
    club.commit(&Said { signatures, ..said }, &ALL).await;
}

const fn empty(run: Run) -> Said {
    Said { run, offers: Vec::new(), dealings: Vec::new(), signatures: Vec::new() }
}

#[tokio::test]
async fn a_stolen_identity_shows_no_key_in_the_place_of_its_owner() {
    let (club, proposal, run) = refreshing().await;
    let offers = club.offers(&run, None, &ALL).await;
    let sharing = club.sharing(0, 1, 1);
    let roster = Roster::new(&run, &proposal, Some(Before { group: &proposal, key: &sharing })).unwrap();
    let thief = ReceiveKey::generate(&mut os_rng());
    let stolen = roster.offer(&club.nodes[1].service.identity.dkg, &thief).unwrap();
    let shown = vec![offers[0], stolen, offers[2]];
    let deal = |offers: &Offers| GroupOp::Deal { run, base: None, offers: offers.clone() };
    // Nobody else can tell; its owner can, and without it nothing is certified.
    assert_eq!(blamed(&club, 1, deal(&shown)).await, other_key(2));
    club.deal(&run, None, &shown, &[0]).await;
    assert_eq!(blamed(&club, 0, deal(&offers)).await, other_key(2));
    let dealings = club.deal(&run, None, &offers, &[1, 2]).await;
    let both = [club.deal(&run, None, &shown, &[0]).await, dealings].concat();
    let said = Said { run, offers, dealings: both, signatures: Vec::new() };
    let refusal = club.ask(2, said.verify(None)).await.unwrap_err();
    assert_eq!(refusal.blame, Some(Blame { participant: 1, fault: DkgFault::Signature }));
    assert!(club.nodes.iter().all(|node| node.service.status().keys[0].epochs[0].share_epochs == [1]));
    let again = club.refresh(&proposal, &sharing, 2);
    club.run(&again, None, &ALL, &ALL).await;
}

#[tokio::test]
async fn a_receive_key_that_waits_too_long_is_erased() {
    let (mut club, _, run) = refreshing().await;
    let offers = club.offers(&run, None, &ALL).await;
    let dealings = club.deal(&run, None, &offers, &ALL).await;
    let said = Said { run, offers, dealings, signatures: Vec::new() };
    club.nodes[0].clock.forward(3599);
    club.nodes[0].service.tend_receive_keys().unwrap();
    assert!(files(&club, 0).contains(&file(&club, "receive")));
    club.nodes[0].clock.forward(1);
    // What a crash left of a write goes, too.
    std::fs::write(club.nodes[0].service.dir.path(&format!("keys/{}", file(&club, "new"))), b"rest").unwrap();
    club = club.restart().await;
    assert_eq!(files(&club, 0), [share_file(&club), file(&club, "run")]);
    assert_eq!(club.refused(0, said.verify(None)).await, Status::UnknownRun);
    club.nodes[1].clock.forward(3600);
    club.nodes[1].service.tend_receive_keys().unwrap();
    assert!(!files(&club, 1).contains(&file(&club, "receive")), "without a restart");
    let again = club.refresh(&proposal_of(&club), &club.sharing(0, 1, 1), 2);
    club.run(&again, None, &ALL, &ALL).await;
}

fn proposal_of(club: &Club) -> Proposal {
    let live = club.nodes[0].service.live();
    live.tables.keys[&club.key].group.as_ref().unwrap().proposals[0].clone()
}

#[tokio::test]
async fn another_run_takes_the_place_of_a_receive_key() {
    let (club, proposal, run) = refreshing().await;
    let offers = club.offers(&run, None, &ALL).await;
    let dealings = club.deal(&run, None, &offers, &ALL).await;
    let said = Said { run, offers, dealings, signatures: Vec::new() };
    let other = club.refresh(&proposal, &club.sharing(0, 1, 1), 2);
    let others = club.certify(&other, None, &ALL, &ALL).await;
    assert_eq!(club.refused(0, said.verify(None)).await, Status::UnknownRun, "its dealings stay closed");
    assert!(!files(&club, 0).contains(&file(&club, "receive")));
    // A third one is begun before the second is committed: its key goes with the commit.
    let third = club.refresh(&proposal, &club.sharing(0, 1, 1), 2);
    club.offers(&third, None, &[0]).await;
    club.commit(&others, &ALL).await;
    assert!(!files(&club, 0).contains(&file(&club, "receive")));
}

#[tokio::test]
async fn an_erasure_that_was_interrupted_is_finished() {
    let (mut club, proposal, run) = refreshing().await;
    let said = club.certify(&run, None, &ALL, &ALL).await;
    let path = |club: &Club| club.nodes[0].service.dir.path(&format!("keys/{}", file(club, "receive")));
    // Overwritten, but not removed: noise of the same length.
    std::fs::write(path(&club), [7; 300]).unwrap();
    assert!(club.ask(0, said.verify(None)).await.is_ok());
    let other = club.refresh(&proposal, &club.sharing(0, 1, 1), 2);
    club.offers(&other, None, &[0]).await;
    std::fs::write(path(&club), [7; 300]).unwrap();
    club = club.restart().await;
    assert_eq!(files(&club, 0), [share_file(&club), file(&club, "run")]);
    club.commit(&said, &ALL).await;
}

/// The steps of node 0 in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Offer,
    Deal,
    Verify,
    Commit,
}

impl Club {
    /// Takes one step at node 0 with its disk failing at one write; after the crash it is asked again.
    /// Whether it failed at all.
    async fn crash_once(&mut self, op: GroupOp, fault: Fault) -> bool {
        let failed = self.crash(&op, fault).await.is_err();
        self.ask(0, op).await.unwrap();
        failed
    }

    /// A refresh up to round 2, or 3, in which node 0 crashes at this write of this step.
    async fn crash_in(&mut self, run: &Run, at: Step, fault: Fault) -> bool {
        let mut failed = false;
        if at == Step::Offer {
            failed |= self.crash_once(GroupOp::Offer { run: *run, base: None }, fault).await;
        }
        let offers = self.offers(run, None, &ALL).await;
        if at == Step::Deal {
            failed |=
                self.crash_once(GroupOp::Deal { run: *run, base: None, offers: offers.clone() }, fault).await;
        }
        let dealings = self.deal(run, None, &offers, &ALL).await;
        let said = Said { dealings, offers, ..empty(*run) };
        if at == Step::Verify {
            failed |= self.crash_once(said.verify(None), fault).await;
        }
        let signatures = self.verify(&said, None, &ALL).await;
        assert!(!files(self, 0).contains(&file(self, "receive")), "{at:?}");
        if at == Step::Commit {
            let commit = GroupOp::Commit { run: *run, signatures: signatures.clone() };
            failed |= self.crash_once(commit, fault).await;
            self.commit(&Said { signatures, ..said }, &ALL).await;
        }
        failed
    }
}

#[tokio::test]
async fn a_crash_at_each_write_of_a_run_is_made_good() {
    let (mut club, proposal, _) = refreshing().await;
    let sharing = club.sharing(0, 1, 1);
    for (step, least) in [(Step::Offer, 1), (Step::Deal, 1), (Step::Verify, 2)] {
        for reached in [false, true] {
            let mut at = 0;
            // Each time a run of its own, which takes the place of the one before.
            while club.crash_in(&club.refresh(&proposal, &sharing, 2), step, Fault(Some((at, reached)))).await
            {
                at += 1;
            }
            assert!(at >= least, "{step:?} makes {at} writes");
        }
    }
}

#[tokio::test]
async fn a_crash_at_each_write_of_a_commit_is_made_good() {
    for reached in [false, true] {
        for at in 0..4 {
            let (mut club, _, run) = refreshing().await;
            let failed = club.crash_in(&run, Step::Commit, Fault(Some((at, reached)))).await;
            assert_eq!(failed, at < 3, "the share, the tables, the key of a run that was begun since");
            assert_eq!(club.nodes[0].service.status().keys[0].epochs[0].share_epochs, [1, 2]);
        }
    }
}

#[tokio::test]
async fn a_state_of_another_format_is_refused_and_kept() {
    let (club, _, run) = refreshing().await;
    let offers = club.offers(&run, None, &ALL).await;
    club.deal(&run, None, &offers, &ALL).await;
    let service = &club.nodes[0].service;
    let name = format!("keys/{}", file(&club, "run"));
    let mut state = service.seal.open_file(&name, &service.dir.read(&name).unwrap().unwrap()).unwrap();
    state[0] = 1;
    service.dir.write(&name, &service.seal.seal(&name, &state)).unwrap();
    let before = contents(&club, 0);
    let deal = GroupOp::Deal { run, base: None, offers };
    assert_eq!(club.refused(0, deal.clone()).await, Status::Busy);
    assert_eq!(contents(&club, 0), before);
    // A broker of that version is not answered at all.
    let mut frame = GroupRequest { nonce: RequestId::random(&mut os_rng()), op: deal }.to_bytes();
    frame[6] = 1;
    assert_eq!(club.links[0].post(frame).await.0, hyper::StatusCode::BAD_REQUEST);
}
