//! `sys/symbolon/ceremony` and `sys/symbolon/ceremonies`, as `docs/custody.md` has them.
//!
//! | Route | Token | Does |
//! |---|---|---|
//! | `GET ceremony` | none | what is under way, or awaits signatures |
//! | `PUT ceremony/submit` | none | a sealed share, or the proof of a new one |
//! | `PUT ceremony/sign` | none | a participant's signatures |
//! | `PUT ceremony/begin` | sudo | begins `drill`, `epoch`, `reshare` or `rekey` |
//! | `PUT ceremony/finish`, `cancel` | sudo | ends a drill early; gives a ceremony up |
//! | `GET ceremonies`, `ceremonies/<nonce>` | read | what was kept of those that are over |
//!
//! The routes of custodians are raw JSON without envelope.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Map, Value, json};
use symbolon_core::succession::Change;
use symbolon_proto::custody::Card;
use symbolon_proto::custody::transcript::{CeremonyType, Standing};
use symbolon_proto::log::VerifierKey;
use symbolon_proto::signing::SIGNATURE_BYTES;

use crate::custody::App;
use crate::custody::ceremony::archive::{Record, Signature};
use crate::custody::ceremony::{CeremonyRefusal, Notice, RootWish, Wanted};
use crate::dialect::time::rfc3339;
use crate::dialect::vault::error::{FaceError, VaultError};
use crate::dialect::vault::fields::Reader;
use crate::dialect::vault::{Answer, Reply, Status, VaultRequest, Verb, unsupported};
use crate::error::OpError;
use crate::ops::ceremony::{self, Wish};

/// Most cards that a request may hold; a share set has at most 16.
const CARDS_MAX: usize = 16;

/// Routes below `sys/symbolon/ceremony`.
pub(super) async fn route(app: &App, request: &VaultRequest, what: &[&str]) -> Answer {
    let (who, read) = (request.requester(), request.fields.reader());
    match (what, request.verb) {
        ([], Verb::Read) => Ok(answer(ceremony::state(app).await?.as_deref())),
        (["submit"], Verb::Write) => submit(app, request).await,
        (["sign"], Verb::Write) => sign(app, &read).await,
        (["begin"], Verb::Write) => {
            let wish = parse_wish(&read)?;
            let notice = ceremony::begin(app, &who, wish).await?;
            Ok(answer(notice.as_deref()))
        }
        (["finish"], Verb::Write) => {
            let notice = ceremony::finish(app, &who).await?;
            Ok(answer(notice.as_deref()))
        }
        (["cancel"], Verb::Write) => {
            ceremony::cancel(app, &who).await?;
            Ok(request.done("system", &read))
        }
        ([] | ["submit" | "sign" | "begin" | "finish" | "cancel"], _) => unsupported(),
        _ => super::super::unrouted(app, request).await,
    }
}

/// Routes at `sys/symbolon/ceremonies`.
pub(super) async fn kept(app: &App, request: &VaultRequest, what: &[&str]) -> Answer {
    let (who, read) = (request.requester(), request.fields.reader());
    let data = match (what, request.verb) {
        ([], Verb::Read | Verb::List) => {
            let (records, broker) = ceremony::list(app, &who).await?;
            let summaries: Vec<_> = records.iter().map(|record| summary(record, &broker)).collect();
            json!({ "ceremonies": summaries })
        }
        ([nonce], Verb::Read) => {
            let (record, broker) = ceremony::read(app, &who, nonce).await?;
            let mut facts = summary(&record, &broker);
            facts["transcript"] = json!(record.transcript().to_text());
            facts["share_set"] = json!(record.made().map(|set| BASE64.encode(&set.encode())));
            facts
        }
        ([] | [_], _) => return unsupported(),
        _ => return super::super::unrouted(app, request).await,
    };
    Ok(request.envelope("system", data, &read).into_reply())
}

async fn submit(app: &App, request: &VaultRequest) -> Answer {
    let sealed = request.fields.reader().string("submission")?;
    let sealed = sealed.and_then(|text| BASE64.decode(text.as_bytes()).ok());
    let sealed = sealed.ok_or(FaceError::Invalid("\"submission\" must be a sealed share in base64"))?;
    let notice = ceremony::submit(app, &sealed, request.requester().remote).await?;
    Ok(answer(notice.as_deref()))
}

async fn sign(app: &App, read: &Reader<'_>) -> Answer {
    let name = read.string("name")?.unwrap_or_default();
    let transcript = signature(read, "transcript")?
        .ok_or(FaceError::Invalid("\"transcript\" must be a signature of 64 bytes in base64"))?;
    let signature = Signature { name: &name, transcript, manifest: signature(read, "manifest")? };
    let notice = ceremony::sign(app, &signature).await?;
    Ok(answer(notice.as_deref()))
}

fn signature(read: &Reader<'_>, field: &'static str) -> Result<Option<[u8; SIGNATURE_BYTES]>, FaceError> {
    let Some(text) = read.string(field)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    let bytes = BASE64.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Some).ok_or(FaceError::Invalid("a signature must be 64 bytes in base64"))
}

fn parse_wish(read: &Reader<'_>) -> Result<Wish, VaultError> {
    let kind = read.string("type")?.unwrap_or_default();
    match CeremonyType::from_name(&kind) {
        Some(CeremonyType::Drill) => Ok(Wish::Change(Change::Drill)),
        Some(CeremonyType::Epoch) => Ok(Wish::Change(Change::Epoch)),
        Some(CeremonyType::Root) => Err(OpError::from(CeremonyRefusal::NotByToken).into()),
        Some(CeremonyType::Reshare) => Ok(parse_deal(read, false)?),
        Some(CeremonyType::Rekey) => Ok(parse_deal(read, true)?),
        _ => Err(FaceError::Invalid("\"type\" must be drill, epoch, reshare or rekey").into()),
    }
}

fn parse_deal(read: &Reader<'_>, rekey: bool) -> Result<Wish, FaceError> {
    let threshold = read.count("threshold")?.and_then(|count| u8::try_from(count).ok());
    let threshold = threshold.ok_or(FaceError::Invalid("\"threshold\" must be a number from 2 to 16"))?;
    Ok(Wish::Deal { rekey, threshold, cards: parse_cards(read)?, sources: parse_sources(read)? })
}

/// The names in `sources`.
pub(super) fn parse_sources(read: &Reader<'_>) -> Result<Vec<String>, FaceError> {
    let names = read.string_list("sources")?.unwrap_or_default();
    if names.len() > CARDS_MAX {
        return Err(FaceError::Invalid("\"sources\" must be at most 16 names of sources"));
    }
    Ok(names)
}

/// The cards in `cards`, in the order of the shares.
pub(in crate::faces) fn parse_cards(read: &Reader<'_>) -> Result<Vec<Card>, FaceError> {
    const EXPECTED: FaceError =
        FaceError::Invalid("\"cards\" must be at most 16 cards as `symbolon custodian keygen` prints them");
    let texts = read.string_list("cards")?.unwrap_or_default();
    if texts.len() > CARDS_MAX {
        return Err(EXPECTED);
    }
    texts.iter().map(|text| Card::parse(text).map_err(|_| EXPECTED)).collect()
}

fn answer(notice: Option<&Notice>) -> Reply {
    Reply::json(Status::OK, &json!({ "ceremony": notice.map(body) }))
}

pub(super) fn body(notice: &Notice) -> Value {
    let refused = notice.refused.iter().map(|refused| {
        json!({
            "at_ms": refused.at_ms, "name": refused.name, "reason": refused.reason, "times": refused.times,
        })
    });
    let prove = notice.prove.as_ref().map(|prove| {
        let numbered = prove.envelopes.iter();
        let envelopes: Map<String, Value> =
            numbered.map(|(x, bytes)| (x.to_string(), json!(BASE64.encode(bytes)))).collect();
        json!({ "manifest": BASE64.encode(&prove.manifest), "names": prove.proven, "envelopes": envelopes })
    });
    json!({
        "type": notice.kind.name(),
        "stage": notice.stage.name(),
        "deployment": notice.deployment,
        "nonce": HEXLOWER.encode(&notice.nonce),
        "key": (!notice.key.is_empty()).then(|| BASE64.encode(&notice.key)),
        "fingerprint": (!notice.key.is_empty()).then_some(&notice.fingerprint),
        "opened_ms": notice.opened_ms,
        "expires_ms": notice.expires_ms,
        "threshold": notice.threshold,
        "give": { "manifest": BASE64.encode(&notice.manifest), "names": notice.given },
        "missing": notice.missing,
        "wanted": notice.wanted.as_ref().map(wanted),
        "root": notice.root.as_ref().map(root_wish),
        "prove": prove,
        "refused": refused.collect::<Vec<_>>(),
        "transcript": BASE64.encode(&notice.transcript),
    })
}

fn root_wish(wish: &RootWish) -> Value {
    json!({
        "name": wish.name,
        "fingerprint": wish.fingerprint,
        "ttl_secs": wish.ttl_secs,
        "request": HEXLOWER.encode(&wish.request),
    })
}

fn wanted(wanted: &Wanted) -> Value {
    let holders = wanted.holders.iter();
    let holders: Vec<_> =
        holders.map(|(name, fingerprint)| json!({ "name": name, "fingerprint": fingerprint })).collect();
    json!({ "threshold": wanted.threshold, "custodians": holders })
}

fn summary(record: &Record, broker: &VerifierKey) -> Value {
    let (transcript, report) = (record.transcript(), record.report(broker));
    let participants: Map<String, Value> =
        report.participants.iter().map(|(name, found)| (name.clone(), json!(standing(*found)))).collect();
    json!({
        "nonce": HEXLOWER.encode(transcript.nonce()),
        "request": record.asked(),
        "type": transcript.ceremony().name(),
        "ended": rfc3339(record.ended_ms()),
        "hash": HEXLOWER.encode(&report.hash),
        "broker": standing(report.broker),
        "participants": participants,
        "complete": report.is_complete(),
    })
}

const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Signed => "signed",
        Standing::Missing => "missing",
        Standing::Wrong => "wrong",
        Standing::NoKey => "no key",
    }
}
