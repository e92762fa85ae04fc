//! The key to which dealers seal this node's share in one run (`docs/skb1.md` 16.13).
//!
//! Whoever has it and what the broker relayed has the share, so it lies here, sealed, in a file of its own
//! and for a short time: from the question for it until the dealings are opened. It is overwritten and
//! removed then, when another run takes its place, when any run of its share is committed or acknowledged,
//! and at the latest after [`RECEIVE_KEY_SECS`]; a run takes seconds. A resharing that came to nothing would
//! otherwise leave behind what opens the shares of those who dealt in it.
//!
//! ```text
//! format=1 run made_secs(8) r(32)
//! ```

use symbolon_proto::Zeroizing;
use symbolon_proto::codec::{DecodeError, Reader};
use symbolon_proto::dkg::{DkgFault, OFFER_BYTES, RUN_BYTES, ReceiveKey, Roster, Run};
use symbolon_proto::frame::{Base, GroupRefusal, GroupReply, Status};
use symbolon_proto::secret::Secret;

use super::state::share_of;
use super::{Step, busy};
use crate::disk::DiskError;
use crate::peer::Peer;
use crate::rng::os_rng;
use crate::state::{Live, Service};
use crate::tables::ShareId;

/// How long a receive key waits for its dealings.
const RECEIVE_KEY_SECS: u64 = 3600;

const FORMAT: u8 = 1;
const SUFFIX: &str = ".receive";
/// What a crash leaves of a file that was being written.
const UNFINISHED: &str = ".new";

/// A key that waits for the dealings of a run.
struct Held {
    run: Run,
    made_secs: u64,
    key: ReceiveKey,
}

impl Service {
    pub(super) fn offer(&self, peer: &Peer, run: &Run, base: Option<&Base>) -> Step {
        let live = self.live();
        self.allow(&live, peer, run.key)?;
        if let Some(offer) = self.offered(&live, run)? {
            return Ok(GroupReply::Offer(offer));
        }
        let roster = self.prepare(&live, run, base)?.roster;
        roster.receiver_index(self.identity.dkg.public()).ok_or(Status::Disagrees)?;
        let key = match self.receive_key(run)? {
            Some(key) => key,
            None => self.make_receive_key(run)?,
        };
        Ok(GroupReply::Offer(roster.offer(&self.identity.dkg, &key)?))
    }

    /// The key of this run, as it was offered; none if this node gets no share.
    pub(super) fn offered_key(
        &self,
        roster: &Roster,
        run: &Run,
        offers: &[[u8; OFFER_BYTES]],
    ) -> Result<Option<ReceiveKey>, GroupRefusal> {
        let Some(index) = roster.receiver_index(self.identity.dkg.public()) else { return Ok(None) };
        let key = self.receive_key(run)?.ok_or(Status::UnknownRun)?;
        match offers.get(usize::from(index) - 1) == Some(&roster.offer(&self.identity.dkg, &key)?) {
            true => Ok(Some(key)),
            false => Err(DkgFault::ReceiveKey.by(index).into()),
        }
    }

    /// The dealings of this run are opened: its key goes. One of another run stays.
    pub(super) fn forget_receive_key(&self, run: &Run) -> Result<(), Status> {
        match self.receive_key(run)? {
            Some(_) => self.erase_receive_key(&share_of(run)),
            None => Ok(()),
        }
    }

    /// No run can make this share here any more: the key goes, whatever run it is of.
    pub(super) fn erase_receive_key(&self, share: &ShareId) -> Result<(), Status> {
        self.dir.erase(&share.receive_file()).map_err(|error| busy(&error))
    }

    /// Erases keys of runs that came to nothing, and what crashes left of files.
    pub(crate) fn tend_receive_keys(&self) -> Result<(), DiskError> {
        // Every step holds this, so no file is being written.
        let _steps = self.live();
        for name in self.dir.list("keys")? {
            let path = format!("keys/{name}");
            let is_over =
                name.ends_with(UNFINISHED) || (name.ends_with(SUFFIX) && !self.is_awaited(&path)?);
            if is_over {
                tracing::info!(file = path, "erasing what is left of a group ceremony that did not go on");
                self.dir.erase(&path)?;
            }
        }
        Ok(())
    }

    fn is_awaited(&self, name: &str) -> Result<bool, DiskError> {
        let held = self.read_receive_key(name)?;
        let now_secs = self.now().unix_secs;
        // Both ways: a clock that was ahead must not keep a key longer.
        Ok(held.is_some_and(|held| held.made_secs.abs_diff(now_secs) < RECEIVE_KEY_SECS))
    }

    /// What this node has shown in a run whose dealings it has opened.
    fn offered(&self, live: &Live, run: &Run) -> Result<Option<[u8; OFFER_BYTES]>, Status> {
        let Some(state) = self.state_of(run)? else { return Ok(None) };
        let group = live.tables.keys.get(&run.key).and_then(|row| row.group.as_ref());
        let proposal = group.and_then(|group| group.proposal(&run.group));
        let index = proposal.and_then(|proposal| proposal.index_of(self.identity.card().card()));
        Ok(index.and_then(|index| state.offers.get(usize::from(index) - 1)).copied())
    }

    fn make_receive_key(&self, run: &Run) -> Result<ReceiveKey, Status> {
        let key = ReceiveKey::generate(&mut os_rng());
        let held = Held { run: *run, made_secs: self.now().unix_secs, key };
        let name = share_of(run).receive_file();
        let sealed = self.seal.seal(&name, &encode(&held));
        self.dir.write_over(&name, &sealed).map_err(|error| busy(&error))?;
        Ok(held.key)
    }

    /// The key that waits for the dealings of exactly this run.
    fn receive_key(&self, run: &Run) -> Result<Option<ReceiveKey>, Status> {
        let held = self.read_receive_key(&share_of(run).receive_file()).map_err(|error| busy(&error))?;
        Ok(held.filter(|held| held.run == *run).map(|held| held.key))
    }

    /// A file that does not open is one whose erasure was interrupted, or worth no more: the run begins
    /// again.
    fn read_receive_key(&self, name: &str) -> Result<Option<Held>, DiskError> {
        let Some(sealed) = self.dir.read(name)? else { return Ok(None) };
        let opened = self.seal.open_file(name, &sealed).ok();
        Ok(opened.and_then(|bytes| parse(&bytes).ok().flatten()))
    }
}

fn encode(held: &Held) -> Zeroizing<Vec<u8>> {
    // Reserved in full: growing would leave copies of the key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(1 + RUN_BYTES + 8 + 32));
    bytes.push(FORMAT);
    bytes.extend_from_slice(&held.run.to_bytes());
    bytes.extend_from_slice(&held.made_secs.to_be_bytes());
    bytes.extend_from_slice(held.key.secret().expose());
    bytes
}

fn parse(bytes: &[u8]) -> Result<Option<Held>, DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != FORMAT {
        return Ok(None);
    }
    let run = Run::parse(reader.take(RUN_BYTES)?).ok();
    let made_secs = reader.u64()?;
    let taken = reader.take(32)?;
    let key =
        ReceiveKey::from_secret(Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(taken))).ok();
    reader.finish()?;
    Ok(run.zip(key).map(|(run, key)| Held { run, made_secs, key }))
}
