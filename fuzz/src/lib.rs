//! What each fuzz target does with its bytes.
//!
//! Nothing may panic. Beyond that, a format of ours has one spelling per message: what was read is written
//! again and must be the same bytes, or two parties could hash the same message differently.

pub mod callers;
pub mod group;
pub mod tang;
pub mod tpm;

use symbolon_core::token_binding::TokenBinding;
use symbolon_proto::capsule::Capsule;
use symbolon_proto::frame::{
    AnchorAnswer, EnrolAnswer, EvaluateResponse, FrameType, GroupAnswer, ManifestAnswer, PresenceAnswer,
    Request, request_type,
};
use symbolon_proto::id::DeploymentId;
use symbolon_proto::lease::Lease;
use symbolon_proto::log::tile::{decode_bundle, decode_hashes, encode_bundle, encode_hashes};
use symbolon_proto::log::{Checkpoint, Entry, Frontier, Pruned, SignedNote, Tile, VerifierKey};
use symbolon_proto::manifest::VerifiedManifest;
use symbolon_proto::secret::Secret;
use symbolon_proto::share::{Share, ShareSetManifest};
use symbolon_proto::signing::SigningSeed;
use symbolon_proto::{record as records, sealedbox as boxes};

/// Capsules.
pub fn capsule(data: &[u8]) {
    if let Ok(capsule) = Capsule::parse(data) {
        assert_eq!(capsule.to_bytes(), data);
    }
}

/// Record headers.
pub fn record(data: &[u8]) {
    let _ = records::capsule_of(data);
}

/// Requests to a fragment service.
pub fn request(data: &[u8]) {
    let _ = request_type(data);
    let Ok(request) = Request::parse(data) else { return };
    let written = match request {
        Request::Evaluate(request) => request.to_bytes(),
        Request::Hello(request) => request.to_bytes(),
        Request::Heartbeat(request) => request.to_bytes(),
        Request::Manifest(request) => request.to_bytes(),
        Request::Anchor(request) => request.to_bytes(),
        Request::Enrol(request) => request.to_bytes(),
        Request::Group(request) => request.to_bytes(),
    };
    assert_eq!(written, data);
}

/// Answers of a fragment service.
pub fn answer(data: &[u8]) {
    for written in [
        EvaluateResponse::parse(data).map(|answer| answer.to_bytes()),
        PresenceAnswer::parse(data, FrameType::Hello).map(|answer| answer.to_bytes()),
        PresenceAnswer::parse(data, FrameType::Heartbeat).map(|answer| answer.to_bytes()),
        ManifestAnswer::parse(data).map(|answer| answer.to_bytes()),
        AnchorAnswer::parse(data).map(|answer| answer.to_bytes()),
        EnrolAnswer::parse(data).map(|answer| answer.to_bytes()),
        GroupAnswer::parse(data).map(|answer| answer.to_bytes()),
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(written, data);
    }
}

/// Remote manifests. Signatures cannot be guessed, so what is behind them is reached by the seeds' root key
/// only.
pub fn manifest(data: &[u8]) {
    let root = seed_root();
    if let Ok(manifest) =
        VerifiedManifest::first(data, &root.public_key(), &DeploymentId::from_bytes([1; 16]))
    {
        assert_eq!(manifest.as_bytes(), data);
    }
}

/// The root key that signs the seeds of [`manifest`].
pub fn seed_root() -> SigningSeed {
    SigningSeed::from_secret(Secret::filled_by(|out| out.fill(0x52)))
}

/// Leases.
pub fn lease(data: &[u8]) {
    if let Ok(lease) = Lease::parse(data) {
        assert_eq!(lease.as_bytes(), data);
    }
}

/// Share texts in all forms.
pub fn share_text(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let Ok(share) = Share::parse(text) else { return };
    let again = Share::parse(&share.to_text()).expect("what we write can be read");
    assert!(again.to_bytes().same_as(&share.to_bytes()));
    let bytes = Share::from_bytes(share.to_bytes().expose()).expect("44 bytes of a share");
    assert!(bytes.to_bytes().same_as(&share.to_bytes()));
}

/// Share-set manifests.
pub fn share_set(data: &[u8]) {
    if let Ok(set) = ShareSetManifest::decode(data) {
        assert_eq!(set.encode(), data);
    }
}

/// Audit entries and frontiers.
pub fn entry(data: &[u8]) {
    if let Ok(entry) = Entry::decode(data) {
        assert_eq!(entry.encode().expect("it was not too long"), data);
    }
    if let Ok(frontier) = Frontier::from_bytes(data) {
        assert_eq!(frontier.to_bytes(), data);
        let _ = frontier.root();
    }
}

/// Signed notes, checkpoints, and what was pruned.
pub fn checkpoint(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Ok(checkpoint) = Checkpoint::parse_text(text) {
        assert_eq!(checkpoint.text(), text);
    }
    if let Ok(pruned) = Pruned::parse(text) {
        assert_eq!(pruned.text(), text);
    }
    if let Ok(note) = SignedNote::parse(text) {
        assert!(text.starts_with(note.unverified_text()));
        let _ = Checkpoint::parse_text(note.unverified_text());
    }
}

/// Entry bundles and hash tiles.
pub fn bundle(data: &[u8]) {
    if let Ok(entries) = decode_bundle(data) {
        assert_eq!(encode_bundle(entries).expect("it was no longer than a bundle"), data);
    }
    if let Ok(hashes) = decode_hashes(data, 2) {
        assert!(data.starts_with(&encode_hashes(&hashes)));
    }
}

/// Paths of tiles.
pub fn tile_path(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Ok(tile) = Tile::parse(text) {
        assert_eq!(tile.to_string(), text);
    }
}

/// What is kept of a key that a PKCS#11 token has encrypted.
pub fn token_binding(data: &[u8]) {
    if let Ok(binding) = TokenBinding::decode(data) {
        assert_eq!(binding.encode(), data);
    }
}

/// Sealed boxes under the key of the seeds: only boxes made with it open.
pub fn sealedbox(data: &[u8]) {
    let _ = boxes::open(&seed_key(), b"seed", data);
}

/// The key that seals the seeds of [`sealedbox`].
pub fn seed_key() -> Secret<32> {
    Secret::filled_by(|out| out.fill(0x53))
}

/// Short texts: ids, fingerprints, verifier keys.
pub fn texts(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Ok(id) = text.parse::<DeploymentId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Ok(fingerprint) = text.parse::<symbolon_proto::fingerprint::Fingerprint>() {
        let again = fingerprint.to_string().parse().expect("what we write can be read");
        assert!(fingerprint == again);
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
}
