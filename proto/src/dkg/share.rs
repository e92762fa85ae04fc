//! Rounds 2 and 3 at a receiver: open, check, add up, certify; and only with everybody's certificate, keep.

use zeroize::Zeroizing;

use curve25519_dalek::scalar::Scalar as CurveScalar;

use super::certificate::{Certificate, TRANSCRIPT_BYTES_MAX};
use super::dealing::Dealing;
use super::run::RunKind;
use super::schnorr::SCHNORR_BYTES;
use super::session::Session;
use super::{DkgError, DkgFault, GroupKey, ReceiveKey, SetupError, StaticKey};
use crate::codec::{Reader, Writer};
use crate::group::{Point, SCALAR_BYTES, Scalar};
use crate::limits::NODES_MAX;
use crate::remote_key::RemoteKey;
use crate::secret::{self, Secret};

const FORMAT: u8 = 1;

/// A share that is not in use yet: this node accepted all dealings, the others may not have.
pub struct PendingShare {
    index: u16,
    share: Secret<SCALAR_BYTES>,
    key: GroupKey,
    transcript: Vec<u8>,
    signature: [u8; SCHNORR_BYTES],
    receivers: Vec<Point>,
}

/// A share of a key, certified by all who have one.
pub struct CertifiedShare {
    /// The index of this node, from 1.
    pub index: u16,
    /// k_i, with y_i.
    pub share: RemoteKey,
    /// The sharing: y, the commitments, every y_i.
    pub key: GroupKey,
    /// The certified transcript.
    pub certificate: Certificate,
}

impl Session {
    /// Checks the dealings, which stand in the order of their dealers, and computes the new share of the node
    /// with this static key and this key for the run. In a refresh `share` is its share until now; otherwise
    /// it is not looked at. Nothing is random here: the same dealings give the same result. Erase `receive`
    /// when that is stored.
    ///
    /// # Errors
    /// [`DkgError::Participant`] names the dealer whose dealing is wrong, or this node if the session is of
    /// another receive key; [`DkgError::NoPart`] if this node gets no share in this run; [`DkgError::Setup`]
    /// if its share until now is another one.
    pub fn receive(
        &self,
        key: &StaticKey,
        receive: &ReceiveKey,
        share: Option<&RemoteKey>,
        dealings: &[Vec<u8>],
    ) -> Result<PendingShare, DkgError> {
        secret::wiping(|| self.receive_unwiped(key, receive, share, dealings))
    }

    fn receive_unwiped(
        &self,
        key: &StaticKey,
        receive: &ReceiveKey,
        share: Option<&RemoteKey>,
        dealings: &[Vec<u8>],
    ) -> Result<PendingShare, DkgError> {
        let index = self.receiver_index(key.public()).ok_or(DkgError::NoPart)?;
        if self.receive_keys.get(usize::from(index) - 1) != Some(receive.public()) {
            return Err(DkgFault::ReceiveKey.by(index));
        }
        let start = self.start(index, share)?;
        let checked = self.check(dealings)?;
        let sum = self.add_up(start, index, receive, &checked)?;
        let outcome = self.combine(&checked, dealings)?;
        if outcome.key.share(index) != Some(sum.public_key()) {
            return Err(DkgError::Degenerate);
        }
        Ok(PendingShare {
            index,
            share: Secret::filled_by(|out| out.copy_from_slice(sum.element().as_bytes())),
            signature: key.sign(&[&outcome.transcript]),
            key: outcome.key,
            transcript: outcome.transcript,
            receivers: self.receivers.clone(),
        })
    }

    /// What the dealt shares are added to: the share until now in a refresh, otherwise zero.
    fn start(&self, index: u16, share: Option<&RemoteKey>) -> Result<Zeroizing<CurveScalar>, DkgError> {
        if self.kind != RunKind::Refresh {
            return Ok(Zeroizing::new(CurveScalar::ZERO));
        }
        let expected = self.base.as_ref().and_then(|base| base.share(index));
        let own = |share: &&RemoteKey| Some(*share.public_key()) == expected;
        let share = share.filter(own).ok_or(DkgError::Setup(SetupError::Base))?;
        let scalar = Scalar::from_secret(share.secret()).expect("checked when the share was made");
        Ok(Zeroizing::new(*scalar.element()))
    }

    fn add_up(
        &self,
        mut sum: Zeroizing<CurveScalar>,
        index: u16,
        receive: &ReceiveKey,
        checked: &[Dealing],
    ) -> Result<Scalar, DkgError> {
        let opening = receive.scalar();
        for ((dealer, dealing), weight) in self.dealers.iter().zip(checked).zip(self.weights()) {
            let dealt = dealing.open(self, dealer, (index, receive, &opening));
            let dealt = dealt.map_err(|fault| fault.by(dealer.index))?;
            *sum += dealt.element() * weight;
        }
        Scalar::from_element(*sum).ok_or(DkgError::Degenerate)
    }
}

impl PendingShare {
    /// This node's signature over the transcript, for everybody.
    pub const fn signature(&self) -> &[u8; SCHNORR_BYTES] {
        &self.signature
    }

    /// The sharing as it will be.
    pub const fn key(&self) -> &GroupKey {
        &self.key
    }

    /// The index of this node, from 1.
    pub const fn index(&self) -> u16 {
        self.index
    }

    /// The share, if all receivers signed the same transcript; their signatures stand in their order.
    ///
    /// # Errors
    /// [`DkgError::Participant`] names the receiver whose signature is wrong. The pending share stays as it
    /// is.
    pub fn finish(&self, signatures: &[[u8; SCHNORR_BYTES]]) -> Result<CertifiedShare, DkgError> {
        let certificate = Certificate::new(&self.transcript, &self.receivers, signatures)?;
        let secret = Secret::filled_by(|out| out.copy_from_slice(self.share.expose()));
        let share = RemoteKey::from_secret(secret).map_err(|_| DkgError::Degenerate)?;
        Ok(CertifiedShare { index: self.index, share, key: self.key.clone(), certificate })
    }

    /// The state between the rounds, secret: to be sealed.
    pub fn to_secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Room for everything at once, so that no smaller buffer with the share in it is left behind.
        let mut writer = Writer::with_capacity(self.transcript.len() + 2048);
        writer.u8(FORMAT).u16(self.index).bytes(self.share.expose()).bytes(&self.signature);
        self.key.write(&mut writer);
        writer.u8(u8::try_from(self.receivers.len()).expect("at most 16 receivers"));
        for receiver in &self.receivers {
            writer.bytes(receiver.as_bytes());
        }
        writer.lp32(&self.transcript);
        Zeroizing::new(writer.finish())
    }

    /// Reads the state between the rounds. What was sealed is trusted.
    ///
    /// # Errors
    /// [`DkgError::State`].
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, DkgError> {
        secret::wiping(|| Self::read(bytes)).ok_or(DkgError::State)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        reader.u8().ok().filter(|format| *format == FORMAT)?;
        let index = reader.u16().ok()?;
        let taken = reader.take(SCALAR_BYTES).ok()?;
        let share = Secret::filled_by(|out| out.copy_from_slice(taken));
        let signature = reader.array().ok()?;
        let key = GroupKey::read(&mut reader).ok()?;
        let count = reader.u8().ok().filter(|count| u16::from(*count) <= NODES_MAX)?;
        let mut receiver = |_| Point::decode(&reader.array().ok()?).ok();
        let receivers = (0..count).map(&mut receiver).collect::<Option<_>>()?;
        let transcript = reader.lp32(TRANSCRIPT_BYTES_MAX).ok()?.to_vec();
        reader.finish().ok()?;
        Some(Self { index, share, key, transcript, signature, receivers })
    }
}
