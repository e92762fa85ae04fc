//! Initialisation: from nothing to a sealed deployment, in one commit.
//!
//! ```text
//! check the request ▶ network identity ▶ enrol (the remote's operator compares fingerprints) ▶
//! fragment, shares, drill ▶ keys with the remote, proven by a canary ▶
//! shares and root token answered ▶ their receipt comes ▶ one commit: everything, with its entry ▶ sealed
//! ```
//!
//! Nothing is written before everything has succeeded, so a failed `init` leaves an empty store. Neither is
//! anything before whoever asked has confirmed the answer: one that is lost on its way is worth nothing, and
//! the next `init` makes another under the same fingerprint, though not before whoever asked has had
//! `init.confirm_secs` for it. Vault's clients confirm nothing; for them the commit comes before the answer.

use std::sync::Arc;

use symbolon_core::audit::{self, Action, Detail, Draft, Outcome, Withheld};
use symbolon_core::seal::{
    FIRST_EPOCH, InitError, Recovery, SEAL_RECORD_FORMAT, SealRecord, Sealed, Unsealed,
};
use symbolon_core::token::{Caller, TokenClaims, new_service_token};
use symbolon_proto::Zeroizing;
use symbolon_proto::custody::escrow::EscrowKey;
use symbolon_proto::custody::receipt::Receipt;
use symbolon_proto::custody::transcript::{CeremonyType, Event, EventKind, Transcript};
use symbolon_proto::custody::{Parcel, ShareEnvelope};
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::id::{BrokerId, DeploymentId, TenantId};
use symbolon_proto::lease::FIRST_GENERATION;
use symbolon_proto::share::{Dealing, Holder, Share, ShareKind, ShareSetManifest, SignedShareSet, Threshold};
use tracing::{info, warn};

use super::ceremony::archive::{self, Archived};
use super::deployment::Deployment;
use super::enrolling::{enrol, put_into_escrow};
use super::initialising::{Attempt, Turn};
use super::made::Made;
use super::places::{GENERATION, Generation, SEAL_COPY, public_record};
use super::seal::View;
use super::sources::{SourceRefusal, initial};
use super::{App, enrolment_rows};
use crate::access::{Channel, Object, builtins, policies, tokens};
use crate::error::{OpError, Text};
use crate::keys::{Keys, SYSTEM_SLOT, TOKEN_SLOT};
use crate::random::os_rng;
use crate::remote::{Enrolled, Leases, Remote};
use crate::rows::{Rows, seal_record_key};
use crate::store::{Expect, Write};

/// The receipt of an answer that is none any more.
const NOTHING_AWAITED: OpError = OpError::Refused(Text::fixed(
    "no `init` waits for this receipt: the broker was started again, or somebody has run another `init` since; what that answer showed is worth nothing, run `init` again",
));

/// The receipt of an answer that was perhaps confirmed before this broker was started.
const CONFIRMED_UNKNOWN: OpError = OpError::Refused(Text::fixed(
    "the broker is initialised, and no longer knows by which answer: if a custodian's share of yours is accepted, it was yours",
));

/// What `init` needs from the operator.
#[derive(Clone, Debug)]
pub struct Init {
    /// Shares to make, 2 to 16.
    pub shares: u8,
    /// Shares needed to unseal.
    pub threshold: u8,
    /// One name per share; missing names become `custodian-1`, `custodian-2`, ….
    pub custodians: Vec<String>,
    /// One card per share, instead of names. Then no share is ever shown: each is sealed to its card.
    pub cards: Vec<symbolon_proto::custody::Card>,
    /// Sources that hold a share each beside the cards, by name; counted in `shares`.
    pub sources: Vec<String>,
    /// Recovery policy; `None` takes the one in the configuration, and there is no other default.
    pub recovery: Option<String>,
    /// How the connection is kept on which the answer goes.
    pub channel: Channel,
    /// Whether whoever asked will confirm the answer; nothing is in force before.
    pub awaits_receipt: bool,
}

/// What `init` gives back, once.
pub struct InitAnswer {
    /// One share per custodian, in order of x; none if they have cards.
    pub shares: Vec<CustodianShare>,
    /// One share per custodian with a card, in order of x: name, and the text form of the parcel.
    pub parcels: Vec<(String, String)>,
    /// The root token.
    pub root_token: String,
    /// Verifier key of the audit log (C2SP signed-note form).
    pub log_key: String,
}

impl InitAnswer {
    /// The custodians, in order of x.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let shares = self.shares.iter().map(|share| share.name.as_str());
        shares.chain(self.parcels.iter().map(|(name, _)| name.as_str())).collect()
    }

    /// What proves that somebody holds all of it.
    fn receipt(&self) -> Receipt {
        let shares = self.shares.iter().map(|share| share.text.as_str());
        let all = shares.chain(self.parcels.iter().map(|(_, text)| text.as_str()));
        Receipt::of(&self.root_token, &self.log_key, all)
    }
}

/// A share on its way to its custodian.
pub struct CustodianShare {
    /// Name of the custodian.
    pub name: String,
    /// bech32m text.
    pub text: Zeroizing<String>,
    /// The same 44 bytes.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What the operator wants, checked.
struct Plan {
    threshold: Threshold,
    /// The people.
    holders: Vec<Holder>,
    /// Sources that hold a share each beside them.
    sources: Vec<String>,
    recovery: Recovery,
    /// Whom the nodes seal their shares to, with [`Recovery::CustomerEscrow`].
    escrow: Option<EscrowKey>,
    /// Whether the answer shows shares to whoever records it and has a quantum computer later.
    exposes: bool,
}

impl Plan {
    fn check(app: &App, request: &Init) -> Result<Self, InitError> {
        let lives = app.config.lives.now();
        let configured = &lives.init;
        let recovery =
            request.recovery.as_ref().or(configured.recovery.as_ref()).ok_or(InitError::RecoveryNotChosen)?;
        let recovery = Recovery::parse(recovery)?;
        let escrow = match (recovery, configured.escrow_key()) {
            (Recovery::None, None) => None,
            (Recovery::None, Some(_)) => return Err(InitError::EscrowKeyUnused),
            (Recovery::CustomerEscrow, None) => return Err(InitError::EscrowKeyMissing),
            (Recovery::CustomerEscrow, Some(None)) => return Err(InitError::EscrowKeyUnusable),
            (Recovery::CustomerEscrow, Some(key)) => key,
        };
        let threshold =
            Threshold::new(request.threshold, request.shares).map_err(|_| InitError::ShareNumbers)?;
        let holders = holders(request, &configured.custodians)?;
        let exposes = request.channel.is_classical() && request.cards.is_empty();
        let sources = request.sources.clone();
        Ok(Self { threshold, holders, sources, recovery, escrow, exposes })
    }
}

/// Who holds the shares: by cards, by the names of the request, by those of the configuration, or by number.
fn holders(request: &Init, configured: &[String]) -> Result<Vec<Holder>, InitError> {
    let shares = usize::from(request.shares).saturating_sub(request.sources.len());
    let holders: Vec<Holder> = match (request.cards.as_slice(), request.custodians.as_slice(), configured) {
        ([], [], []) => (1..=shares).map(|x| Holder::named(format!("custodian-{x}"))).collect(),
        ([], [], names) | ([], names, _) => names.iter().map(Holder::named).collect(),
        (cards, [], _) => cards.iter().map(Holder::from).collect(),
        (_, _, _) => return Err(InitError::NamesAndCards),
    };
    if holders.len() == shares { Ok(holders) } else { Err(InitError::CustodianNames) }
}

/// Initialises the deployment. Waits for the operator of the fragment service if it has not approved this
/// broker yet.
pub async fn init(app: &App, request: &Init) -> Result<InitAnswer, OpError> {
    let mut turn = app.init.begin(app.clock.now())?;
    if !matches!(app.seal.view(), View::Uninitialised) {
        return Err(OpError::refused("the broker is already initialised"));
    }
    let plan = Plan::check(app, request)?;
    if !plan.sources.is_empty() && plan.holders.iter().any(|holder| holder.keys.is_none()) {
        return Err(SourceRefusal::Cards.into());
    }
    let attempt = turn.attempt()?;
    let (made, answer) = make(app, &plan, attempt).await?;
    let receipt = answer.receipt();
    turn.await_receipt(receipt, made);
    if request.awaits_receipt {
        let kept_ms = app.config.lives.now().init.confirm_secs.saturating_mul(1000);
        turn.keep_until(app.clock.now().boot_ms.saturating_add(kept_ms));
        // No secret of a deployment yet: nothing is stored that it could open.
        info!("a deployment is made; it is in force when whoever asked for it has confirmed the answer");
        return Ok(answer);
    }
    let answer = Withheld::new(answer);
    Ok(answer.disclose(put_in_force(app, turn, receipt).await?))
}

/// Puts in force what was answered, for whoever proves to hold all of it, as often as they ask.
pub async fn confirm(app: &App, receipt: &Receipt) -> Result<(), OpError> {
    let turn = app.init.turn()?;
    if turn.is_confirmed(receipt) {
        return Ok(());
    }
    if !matches!(app.seal.view(), View::Uninitialised) {
        return Err(CONFIRMED_UNKNOWN);
    }
    let _ = put_in_force(app, turn, *receipt).await?; // the answer has left already
    Ok(())
}

/// Commits what waits for this receipt. To the end, even if whoever asked has gone: a deployment that is
/// stored while the broker takes itself for uninitialised would be one that its operators hold for void.
async fn put_in_force(app: &App, turn: Turn, receipt: Receipt) -> Result<audit::Receipt, OpError> {
    let (store, clock, seal) = (Arc::clone(&app.store), Arc::clone(&app.clock), app.seal.clone());
    let to_the_end = tokio::spawn(async move {
        let (made, deployment) = turn.awaiting(&receipt).ok_or(NOTHING_AWAITED)?;
        let committed = made.commit(&store, &clock, &deployment.log).await?;
        let sealed = made.sealed.clone();
        turn.succeeded(receipt);
        seal.adopt(sealed).await?;
        Ok(committed)
    });
    to_the_end.await.map_err(|_| OpError::bug("an initialisation ended before its end"))?
}

/// Everything of a deployment, and what its operator is told.
async fn make(app: &App, plan: &Plan, attempt: &mut Attempt) -> Result<(Made, InitAnswer), OpError> {
    let (id, broker) = (attempt.id, attempt.broker);
    let custody = app.config.lives.now().custody.clone();
    let mut sources = initial::enrol(&custody, &plan.sources, id).await?;
    let holders = initial::judged(&custody, &sources, plan.threshold, &plan.holders)?;
    let enrolled = enrol(app, attempt).await?;
    let deployment = &attempt.deployment;
    let fragment = Fragment::random(&mut os_rng());
    let (set, shares) = deal(app, plan.threshold, &holders, id, &fragment)?;
    let handed = hand_out(&holders, &set, &shares)?;
    initial::deal(&custody, &mut sources, &set, &handed.envelopes).await?;
    let record = seal_record(app, plan, &set, &enrolled, deployment, id, broker)?;
    let sealed = Sealed::open(record).map_err(|_| OpError::bug("the seal record could not be read back"))?;
    let unsealed = Arc::new(Unsealed::first(&fragment, &sealed));
    drop(fragment);
    let record = transcript(app, deployment, &set, &handed)?;
    let (leases, met) = (Leases::default(), sealed.broker());
    let remote = deployment.connect(&app.config.remote, met, enrolled.clone(), &leases, &app.clock)?;
    if let Err(error) = remote.hello(FIRST_GENERATION).await {
        attempt.denied(&error);
        return Err(error.problem().into());
    }
    let services = Services { remote, leases, enrolled };
    let (mut changes, token, root) =
        fill(app, plan, &sealed, &unsealed, deployment, services, &record).await?;
    changes.extend(initial::rows(&Rows::new(Arc::clone(&app.store), Arc::clone(&unsealed)), &sources)?);
    let Handed { shares, mut parcels, .. } = handed;
    parcels.truncate(plan.holders.len()); // those of sources stay here
    let log_key = sealed.record().log_key.clone();
    let answer = InitAnswer { shares, parcels, root_token: token.to_string(), log_key };
    Ok((Made { sealed, unsealed, changes, entry: entry(plan, &root) }, answer))
}

fn deal(
    app: &App,
    threshold: Threshold,
    holders: &[Holder],
    deployment: DeploymentId,
    fragment: &Fragment,
) -> Result<(ShareSetManifest, Vec<Share>), OpError> {
    let dealing = Dealing {
        kind: ShareKind::Fragment,
        deployment,
        frag_epoch: FIRST_EPOCH,
        created_ms: app.clock.now().unix_ms,
        threshold,
        holders,
        previous: None,
    };
    dealing.deal(fragment, &mut os_rng()).map_err(|_| InitError::CustodianNames.into())
}

fn seal_record(
    app: &App,
    plan: &Plan,
    set: &ShareSetManifest,
    enrolled: &Enrolled,
    secrets: &Deployment,
    deployment: DeploymentId,
    broker: BrokerId,
) -> Result<SealRecord, OpError> {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    Ok(SealRecord {
        format: SEAL_RECORD_FORMAT,
        deployment: deployment.to_string(),
        broker: broker.to_string(),
        created_ms: app.clock.now().unix_ms,
        recovery: plan.recovery,
        share_set: hex(&set.encode()),
        frag_epoch: set.frag_epoch(),
        service_root: hex(enrolled.root.as_bytes()),
        log_key: secrets.log.verifier_key(deployment)?,
    })
}

/// The fragment services that have answered a hello.
struct Services {
    remote: Arc<Remote>,
    leases: Leases,
    enrolled: Enrolled,
}

/// Proves the split with a canary. Everything that the store will hold, the root token, and whom it stands
/// for.
async fn fill(
    app: &App,
    plan: &Plan,
    sealed: &Sealed,
    unsealed: &Arc<Unsealed>,
    deployment: &Deployment,
    services: Services,
    ceremony: &Archived,
) -> Result<(Vec<Write>, Zeroizing<String>, Caller), OpError> {
    let Services { remote, leases, enrolled } = services;
    let store = Arc::clone(&app.store);
    let rows = Rows::new(Arc::clone(&store), Arc::clone(unsealed));
    let escrowed = match &plan.escrow {
        Some(key) => put_into_escrow(app, &rows, &remote, key).await?,
        None => Vec::new(),
    };
    let (clock, shares) = (Arc::clone(&app.clock), app.config.lives.now().high_tier);
    let keys = Keys::start(Arc::clone(unsealed), store, remote, leases, clock, shares);
    keys.canary().await?;
    let contents = contents(&rows, unsealed, &keys, app);
    keys.close();
    let Contents { token, root, mut changes } = contents?;
    changes.extend(escrowed);
    changes.extend(deployment.rows(unsealed)?);
    changes.extend(ceremony.rows(&rows)?);
    changes.push(rows.put(SEAL_COPY, sealed.record(), Expect::Absent)?);
    changes.extend(enrolment_rows::first_rows(&rows, &enrolled)?);
    let value = public_record(sealed)?;
    changes.push(Write::Put { key: seal_record_key(), value, expect: Expect::Absent });
    Ok((changes, token, root))
}

/// The first entry of the log.
fn entry(plan: &Plan, root: &Caller) -> Draft {
    let object = Object::token(root).text();
    let mut detail =
        Detail { role: format!("recovery policy {}", plan.recovery.as_str()), object, ..Detail::default() };
    if plan.exposes {
        warn!(
            "the shares are shown over TLS without X25519MLKEM768: a quantum computer reads them in a recording; rekey for custodians with cards, or set tls.hybrid_only before the next deployment"
        );
        detail.object.push_str(", shares shown over TLS without X25519MLKEM768");
    }
    Draft { action: Action::Init, outcome: Outcome::Allowed, detail }
}

/// What a new deployment begins with.
struct Contents {
    token: Zeroizing<String>,
    /// Whom the token stands for.
    root: Caller,
    changes: Vec<Write>,
}

/// Everything a new deployment holds: two keys of its own, the token-signing key, the default policy, mounts,
/// the root token.
fn contents(rows: &Rows, unsealed: &Unsealed, keys: &Keys, app: &App) -> Result<Contents, OpError> {
    let now = app.clock.now();
    let (system_capsule, system_kek) = keys.create(SYSTEM_SLOT)?;
    let (token_capsule, _) = keys.create(TOKEN_SLOT)?;
    let mut changes = vec![system_capsule, token_capsule];
    for first_rows in app.shape.first_rows() {
        changes.extend(first_rows(rows, unsealed, &system_kek, now)?);
    }
    let default = policies::default_policy();
    changes.push(rows.put(policies::place(&default.name), &default, Expect::Absent)?);
    changes.extend(builtins::first(rows, &app.shape)?);
    changes.push(rows.put(GENERATION, &Generation(FIRST_GENERATION), Expect::Absent)?);
    let token = new_service_token(&mut os_rng());
    let index = unsealed.names().secret();
    let (row, written) = tokens::service_rows(rows, index, &token, TokenClaims::root(now.unix_secs()))?;
    changes.extend(written);
    Ok(Contents { token, root: row.describe(TenantId::SYSTEM), changes })
}

/// The shares as they leave: to cards in envelopes, to everybody else as text.
struct Handed {
    shares: Vec<CustodianShare>,
    parcels: Vec<(String, String)>,
    envelopes: Vec<ShareEnvelope>,
}

fn hand_out(holders: &[Holder], set: &ShareSetManifest, shares: &[Share]) -> Result<Handed, OpError> {
    let (mut texts, mut parcels, mut envelopes) = (Vec::new(), Vec::new(), Vec::new());
    for (holder, share) in holders.iter().zip(shares) {
        let name = holder.name.clone();
        if holder.keys.is_none() {
            let bytes = Zeroizing::new(share.to_bytes().expose().to_vec());
            texts.push(CustodianShare { name, text: share.to_text(), bytes });
            continue;
        }
        let envelope = ShareEnvelope::seal(share, set, &mut os_rng()).map_err(|_| not_sealed())?;
        let parcel = Parcel::new(set.clone(), share.x(), envelope.clone()).map_err(|_| not_sealed())?;
        parcels.push((name, parcel.to_text()));
        envelopes.push(envelope);
    }
    Ok(Handed { shares: texts, parcels, envelopes })
}

/// Cards were checked when they were read.
fn not_sealed() -> OpError {
    OpError::bug("a share could not be sealed to the card of its custodian")
}

/// What happened, signed by the broker: nobody has given or proven a share yet, so nobody else signs.
fn transcript(
    app: &App,
    deployment: &Deployment,
    set: &ShareSetManifest,
    handed: &Handed,
) -> Result<Archived, OpError> {
    let now = app.clock.now();
    let mut transcript = Transcript::begin_fresh(CeremonyType::Init, set.deployment(), &mut os_rng());
    let whole = |kind, digest| Event::of_ceremony(kind, now.unix_ms, digest);
    let kind = if handed.envelopes.is_empty() { EventKind::Printed } else { EventKind::Dealt };
    let mut events = vec![whole(EventKind::Opened, [0; 32]), whole(EventKind::SetMade, set.hash())];
    for (index, custodian) in set.custodians().iter().enumerate() {
        let digest = handed.envelopes.get(index).map_or(custodian.digest, archive::digest_of);
        let (x, name) = (custodian.x, custodian.name.clone());
        events.push(Event { kind, at_ms: now.unix_ms, x, name, digest });
    }
    events.push(whole(EventKind::Committed, set.hash()));
    for event in events {
        transcript
            .record(event)
            .map_err(|_| OpError::bug("the transcript of the ceremony could not be written"))?;
    }
    let seed = deployment.log.signing_seed();
    transcript.sign_as_broker(&seed);
    let mut signed = SignedShareSet::new(set.clone());
    signed.sign_as_broker(&seed);
    Ok(Archived::new(&transcript, None, Some(&signed), &handed.envelopes, now))
}

impl From<InitError> for OpError {
    fn from(error: InitError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_core::token::{ServiceToken, hash_of};
    use symbolon_proto::secret::Secret;

    use super::*;

    #[test]
    fn shares_shown_over_a_classical_connection_are_in_the_first_entry() {
        let plan = |exposes| {
            let (threshold, holders) = (Threshold::new(2, 3).unwrap(), Vec::new());
            let sources = Vec::new();
            Plan { threshold, holders, sources, recovery: Recovery::None, escrow: None, exposes }
        };
        let index = Secret::filled_by(|bytes| bytes.fill(1));
        let row = ServiceToken::new(TokenClaims::root(1), hash_of(&index, "hvs.x"), "acc".to_owned());
        let root = row.describe(TenantId::SYSTEM);
        let object = |exposes| entry(&plan(exposes), &root).detail.object;
        assert_eq!(object(false), "token acc with policies root");
        assert_eq!(
            object(true),
            "token acc with policies root, shares shown over TLS without X25519MLKEM768"
        );
    }
}
