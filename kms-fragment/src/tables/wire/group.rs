//! Groups on disk.

use serde::{Deserialize, Serialize};
use symbolon_proto::codec::{Reader, Writer};
use symbolon_proto::dkg::GroupKey;
use symbolon_proto::id::SessionId;
use symbolon_proto::proposal::Proposal;

use crate::hex::Hex;
use crate::tables::{Group, PROPOSALS_KEPT, Sharing, TablesError};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireGroup {
    proposals: Vec<String>,
    sharings: Vec<WireSharing>,
    announced: Option<(u32, u32)>,
    signed: Option<(u64, Hex<32>)>,
    /// Key epoch, share epoch.
    #[serde(default)]
    floors: Vec<(u32, u32)>,
    #[serde(default)]
    spent: Vec<Hex<16>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSharing {
    key_epoch: u32,
    share_epoch: u32,
    run: Hex<32>,
    group: Hex<32>,
    index: u16,
    key: String,
}

impl From<&Group> for WireGroup {
    fn from(group: &Group) -> Self {
        let sharings = group.sharings.iter().map(|((key_epoch, share_epoch), sharing)| {
            let mut key = Writer::with_capacity(512);
            sharing.key.write(&mut key);
            WireSharing {
                key_epoch: *key_epoch,
                share_epoch: *share_epoch,
                run: Hex(sharing.run),
                group: Hex(sharing.group),
                index: sharing.index,
                key: crate::hex::encode(key.as_bytes()),
            }
        });
        Self {
            proposals: group
                .proposals
                .iter()
                .map(|proposal| crate::hex::encode(&proposal.to_bytes()))
                .collect(),
            sharings: sharings.collect(),
            announced: group.announced,
            signed: group.signed.map(|(seq, hash)| (seq, Hex(hash))),
            floors: group.floors.iter().map(|(key_epoch, floor)| (*key_epoch, *floor)).collect(),
            spent: group.spent.iter().map(|session| Hex(*session.as_bytes())).collect(),
        }
    }
}

impl WireGroup {
    pub(super) fn parse(self) -> Result<Group, TablesError> {
        let proposal = |text: &String| Proposal::parse(&crate::hex::decode(text)?).ok();
        let proposals: Vec<_> =
            self.proposals.iter().map(proposal).collect::<Option<_>>().ok_or(TablesError)?;
        if proposals.is_empty() || proposals.len() > PROPOSALS_KEPT {
            return Err(TablesError);
        }
        Ok(Group {
            proposals,
            sharings: self.sharings.into_iter().map(WireSharing::parse).collect::<Result<_, _>>()?,
            announced: self.announced,
            signed: self.signed.map(|(seq, hash)| (seq, hash.0)),
            floors: self.floors.into_iter().collect(),
            spent: self.spent.into_iter().map(|session| SessionId::from_bytes(session.0)).collect(),
        })
    }
}

impl WireSharing {
    fn parse(self) -> Result<((u32, u32), Sharing), TablesError> {
        let bytes = crate::hex::decode(&self.key).ok_or(TablesError)?;
        let mut reader = Reader::new(&bytes);
        let key = GroupKey::read(&mut reader).map_err(|_| TablesError)?;
        reader.finish().map_err(|_| TablesError)?;
        let sharing = Sharing { run: self.run.0, group: self.group.0, index: self.index, key };
        Ok(((self.key_epoch, self.share_epoch), sharing))
    }
}
