//! Round 1: a dealer commits to a polynomial and sends each receiver its value, encrypted.
//!
//! ```text
//! dealing = C_1 … C_m ‖ PoP(64) ‖ E(32) ‖ n × { I2OSP(48, 8) ‖ ciphertext(48) } ‖ signature(64)
//! ```
//!
//! All but the last field is the first message of COCKTAIL-DKG. The signature by the dealer's static key
//! covers it with the context, so that the broker cannot change a message and have somebody else blamed.

use rand_core::CryptoRng;

use super::envelope::{self, Route, Secrets};
use super::polynomial::{Polynomial, evaluate_committed};
use super::roster::Dealer;
use super::run::RunKind;
use super::schnorr::{self, SCHNORR_BYTES};
use super::session::Session;
use super::{CIPHERTEXT_BYTES, DkgError, DkgFault, ReceiveKey, SetupError, StaticKey, dealing_bytes};
use crate::codec::{Reader, Writer};
use crate::group::{Point, Scalar};
use crate::label;
use crate::remote_key::RemoteKey;
use crate::secret;

impl Session {
    /// Deals, as the node with this static key. In a resharing `share` is the share that is passed on;
    /// otherwise it is not looked at. The result is public, and all that has to be kept: store it before
    /// sending it, and send the same again when asked again. Whoever lost it may deal again under a new
    /// session only.
    ///
    /// # Errors
    /// [`DkgError::NoPart`] if the node does not deal in this run, [`DkgError::Setup`] if its share is
    /// another one.
    pub fn deal(
        &self,
        key: &StaticKey,
        share: Option<&RemoteKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, DkgError> {
        secret::wiping(|| self.deal_unwiped(key, share, rng))
    }

    fn deal_unwiped(
        &self,
        key: &StaticKey,
        share: Option<&RemoteKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, DkgError> {
        let dealer = self.dealer(key.public()).ok_or(DkgError::NoPart)?;
        let polynomial = self.polynomial(dealer, share, rng)?;
        let ephemeral = Scalar::random(rng);
        let mut message = self.message(key, &polynomial, &ephemeral)?;
        let signature = key.sign(&[label::DEALING, &self.context, &message]);
        message.extend(signature);
        Ok(message)
    }

    fn polynomial(
        &self,
        dealer: &Dealer,
        share: Option<&RemoteKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Polynomial, DkgError> {
        match self.kind {
            RunKind::Generate => Ok(Polynomial::random(self.threshold, rng)),
            RunKind::Refresh => Ok(Polynomial::through_zero(self.threshold, rng)),
            RunKind::Reshare => {
                let own = |share: &&RemoteKey| Some(*share.public_key().point()) == dealer.share;
                let share = share.filter(own).ok_or(DkgError::Setup(SetupError::Base))?;
                let constant = Scalar::from_secret(share.secret()).expect("checked when the share was made");
                Ok(Polynomial::with_constant(constant, self.threshold, rng))
            }
        }
    }

    /// The first message of COCKTAIL-DKG.
    pub(super) fn message(
        &self,
        key: &StaticKey,
        polynomial: &Polynomial,
        ephemeral: &Scalar,
    ) -> Result<Vec<u8>, DkgError> {
        let commitments = polynomial.commitments();
        let public = *ephemeral.public_key().point();
        let mut writer = Writer::with_capacity(dealing_bytes(commitments.len(), self.receivers.len()));
        for commitment in &commitments {
            writer.bytes(commitment.as_bytes());
        }
        let possession = schnorr::sign(
            polynomial.lowest(),
            &commitments[0],
            &[&self.context, writer.as_bytes(), public.as_bytes()],
        );
        writer.bytes(&possession).bytes(public.as_bytes());
        let fixed = key.scalar();
        for (index, receiver) in (1..).zip(&self.receive_keys) {
            let share = polynomial.evaluate(index).ok_or(DkgError::Degenerate)?;
            let route = self.route(&public, key.public(), receiver);
            let sealed = envelope::seal(&Secrets::of_dealer(&route, &fixed, ephemeral), &route, &share);
            writer.u64(FRAMED_LEN).bytes(&sealed);
        }
        Ok(writer.finish())
    }

    pub(super) fn route<'a>(
        &'a self,
        ephemeral: &'a Point,
        dealer: &'a Point,
        receiver: &'a Point,
    ) -> Route<'a> {
        Route { ephemeral, dealer, receiver, context: &self.context }
    }
}

/// The length that stands before each ciphertext.
const FRAMED_LEN: u64 = 48;
const _: () = assert!(CIPHERTEXT_BYTES == 48);

/// A dealing whose public parts were all checked. What it says to each receiver only that receiver can check.
#[derive(Clone, Debug)]
pub(super) struct Dealing {
    pub(super) commitments: Vec<Point>,
    pub(super) possession: [u8; SCHNORR_BYTES],
    pub(super) ephemeral: Point,
    pub(super) ciphertexts: Vec<[u8; CIPHERTEXT_BYTES]>,
}

impl Dealing {
    /// Checks the dealing of `dealer`, in this order: length, signature, points, proof, constant term.
    pub(super) fn check(session: &Session, dealer: &Dealer, bytes: &[u8]) -> Result<Self, DkgFault> {
        if bytes.len() != dealing_bytes(session.commitments(), session.receivers.len()) {
            return Err(DkgFault::Length);
        }
        let (message, signature) = bytes.split_last_chunk::<SCHNORR_BYTES>().ok_or(DkgFault::Length)?;
        if !schnorr::verifies(&dealer.key, &[label::DEALING, &session.context, message], signature) {
            return Err(DkgFault::Signature);
        }
        let dealing = Self::read(session, message)?;
        dealing.check_possession(session, message)?;
        match dealer.share {
            Some(share) if share != dealing.commitments[0] => Err(DkgFault::OtherShare),
            _ => Ok(dealing),
        }
    }

    fn read(session: &Session, message: &[u8]) -> Result<Self, DkgFault> {
        let mut reader = Reader::new(message);
        let commitments =
            (0..session.commitments()).map(|_| read_point(&mut reader)).collect::<Result<_, _>>()?;
        let possession = reader.array().map_err(|_| DkgFault::Length)?;
        let ephemeral = read_point(&mut reader)?;
        let ciphertexts =
            session.receivers.iter().map(|_| read_ciphertext(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish().map_err(|_| DkgFault::Length)?;
        Ok(Self { commitments, possession, ephemeral, ciphertexts })
    }

    fn check_possession(&self, session: &Session, message: &[u8]) -> Result<(), DkgFault> {
        let (commitments, _) = message.split_at(self.commitments.len() * crate::group::POINT_BYTES);
        let signed: [&[u8]; 3] = [&session.context, commitments, self.ephemeral.as_bytes()];
        match schnorr::verifies(&self.commitments[0], &signed, &self.possession) {
            true => Ok(()),
            false => Err(DkgFault::Possession),
        }
    }

    /// The share for the receiver with this index and key for the run.
    pub(super) fn open(
        &self,
        session: &Session,
        dealer: &Dealer,
        (index, key, opening): (u16, &ReceiveKey, &Scalar),
    ) -> Result<Scalar, DkgFault> {
        let route = session.route(&self.ephemeral, &dealer.key, key.public());
        let sealed = self.ciphertexts.get(usize::from(index) - 1).ok_or(DkgFault::Length)?;
        let mut opened = zeroize::Zeroizing::new([0; crate::group::SCALAR_BYTES]);
        if !envelope::open(&Secrets::of_receiver(&route, opening), &route, sealed, &mut opened) {
            return Err(DkgFault::Ciphertext);
        }
        let share = Scalar::decode(&opened).map_err(|_| DkgFault::Share)?;
        let expected = evaluate_committed(&self.commitments, session.without_constant(), index);
        match *share.public_key().point().element() == expected {
            true => Ok(share),
            false => Err(DkgFault::Share),
        }
    }
}

fn read_point(reader: &mut Reader<'_>) -> Result<Point, DkgFault> {
    let bytes = reader.array().map_err(|_| DkgFault::Length)?;
    Point::decode(&bytes).map_err(|_| DkgFault::Point)
}

fn read_ciphertext(reader: &mut Reader<'_>) -> Result<[u8; CIPHERTEXT_BYTES], DkgFault> {
    match reader.u64() {
        Ok(FRAMED_LEN) => reader.array().map_err(|_| DkgFault::Length),
        _ => Err(DkgFault::Length),
    }
}
