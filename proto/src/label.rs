//! Every domain-separation label of the project, each used in exactly one place (`docs/skb1.md` 6.11).
//!
//! Within one primitive no label may equal another or begin with another, because what follows a label is
//! data: with `SKB1/a` and `SKB1/ab` the message "b…" under the first could be the message "…" under the
//! second. Across primitives the functions differ, so `SKB1/r` (hash to scalar) and `SKB1/root` (HKDF salt)
//! live side by side. To add one: put a line below, in the group of its primitive. The test does the rest.

/// The function a label feeds; labels only have to be told apart within one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Primitive {
    /// Start of an HKDF-Extract salt.
    HkdfExtractSalt,
    /// Start of an HKDF-Expand info.
    HkdfExpandInfo,
    /// Start of a HashToScalar message.
    HashToScalar,
    /// End of a HashToScalar message whose start is a fixed-length hash or a length prefix.
    HashToScalarSuffix,
    /// Domain separation tag of expand_message_xmd.
    ExpandTag,
    /// Start of a SHA-512 message.
    Sha512,
    /// Start of a SHA-256 message.
    Sha256,
    /// Start of an Ed25519 message.
    Ed25519,
    /// Start of an HMAC-SHA-512 message.
    Hmac,
    /// First field, with a length prefix, of an AEAD context.
    Context,
    /// Start of an HPKE info.
    HpkeInfo,
    /// Start of a message signed with a static DKG key or a receive key (`dkg::schnorr`).
    Schnorr,
    /// Start of the session id of a key generation, refresh or resharing.
    DkgSession,
}

macro_rules! labels {
    ($($primitive:ident { $($(#[$doc:meta])* $name:ident = $text:literal;)* })*) => {
        $($($(#[$doc])* pub const $name: &[u8] = $text;)*)*

        /// The registry: every label with the primitive it belongs to.
        pub const ALL: &[(Primitive, &[u8])] = &[$($((Primitive::$primitive, $name),)*)*];
    };
}

labels! {
    HkdfExtractSalt {
        /// Root key from the fragment (6.2).
        ROOT = b"SKB1/root";
    }
    HkdfExpandInfo {
        /// Purpose key: KEK capsules (6.2).
        PURPOSE_CAPSULE = b"SKB1/purpose/capsule";
        /// Purpose key: metadata and path encryption.
        PURPOSE_INDEX = b"SKB1/purpose/index";
        /// Purpose key: MAC of local state.
        PURPOSE_STATE = b"SKB1/purpose/state";
        /// Purpose key: sealing of the network identity and the signing keys.
        PURPOSE_NETKEY = b"SKB1/purpose/netkey";
        /// Purpose key: the audit log.
        PURPOSE_AUDIT = b"SKB1/purpose/audit";
        /// Purpose key: hedging of randomness.
        PURPOSE_HEDGE = b"SKB1/purpose/hedge";
        /// Purpose key: fragment check value.
        PURPOSE_CHECK = b"SKB1/purpose/check";
        /// Capsule key and commitment (6.4).
        CAPSULE = b"SKB1/capsule";
        /// SealedBox key and commitment (6.5).
        SEAL = b"SKB1/seal";
    }
    HashToScalar {
        /// Capsule randomness r (6.4).
        CAPSULE_RANDOMNESS = b"SKB1/r";
        /// Proof nonce (6.6).
        PROOF_NONCE = b"SKB1/nonce";
        /// Proof of possession, challenge (6.7).
        POSSESSION_CHALLENGE = b"SKB1/pop/challenge";
        /// Proof of possession, nonce.
        POSSESSION_NONCE = b"SKB1/pop/nonce";
    }
    HashToScalarSuffix {
        /// Batch weights d_j (6.6).
        COMPOSITE = b"Composite";
        /// Proof challenge c (6.6).
        CHALLENGE = b"Challenge";
    }
    ExpandTag {
        /// HashToScalar (6.1).
        HASH_TO_SCALAR = b"HashToScalar-SKB1-V1-ristretto255-SHA512";
    }
    Sha512 {
        /// Seed of the batch weights (6.6).
        DLEQ_SEED = b"SKB1/dleq/seed";
        /// Fingerprint that two people compare (6.8).
        FINGERPRINT = b"SKB1/fingerprint";
        /// Key and nonce of an encrypted share: H6 of COCKTAIL-DKG (16.12).
        COCKTAIL_KEY = b"COCKTAIL-DKG-Ristretto255-SHA512-H6";
        /// Challenge of a signature of COCKTAIL-DKG.
        COCKTAIL_CHALLENGE = b"COCKTAIL-DKG-Ristretto255-SHA512-H7";
        /// Nonce of a signature of COCKTAIL-DKG.
        COCKTAIL_NONCE = b"COCKTAIL-DKG-Ristretto255-SHA512-NONCE";
        /// Context of a session of COCKTAIL-DKG.
        COCKTAIL_CONTEXT = b"COCKTAIL-DKG-CONTEXT";
    }
    Sha256 {
        /// Digest of a custodian share (7.3).
        SHARE_DIGEST = b"SKB1/share-digest";
        /// First transcript hash of a ceremony (7.6).
        CEREMONY = b"SKB1/ceremony";
        /// Group proposal (16.12).
        PROPOSAL = b"SKB1/proposal";
        /// Commitments of a shared key (16.13).
        GROUP_KEY = b"SKB1/group-key";
        /// Chain of the fragment service's evaluation log.
        EVALUATION_LOG = b"SKB1/evaluation-log";
        /// That the answer of `init` has arrived whole (`custody::receipt`).
        INIT_RECEIPT = b"SKB1/init-receipt";
    }
    Ed25519 {
        /// Lease (6.9).
        LEASE = b"SKB1/lease";
        /// Remote manifest (6.8).
        MANIFEST = b"SKB1/manifest";
        /// Node card (16.12).
        CARD = b"SKB1/card";
        /// Order of two officers (`order`).
        ORDER = b"SKB1/order";
        /// Certificate of destruction (`certificate`).
        DESTROYED = b"SKB1/destroyed";
        /// Card of a custodian (7.3).
        CUSTODIAN_CARD = b"SKB1/custodian-card";
        /// Share-set manifest (7.3).
        SHARE_SET = b"SKB1/share-set";
        /// Final hash of a ceremony's transcript (7.6).
        TRANSCRIPT = b"SKB1/transcript";
        /// A whole backup (16.80).
        BACKUP = b"SKB1/backup";
        /// A custodian's request for a root token (16.26).
        ROOT_REQUEST = b"SKB1/root-request";
    }
    Hmac {
        /// The key that hashes names, from the first K_index (16.60).
        NAME_KEY = b"SKB1/hashing-key";
        /// Names on disk (6.2).
        NAME = b"SKB1/name";
        /// Row of a token (broker, `token`).
        TOKEN = b"SKB1/token";
        /// Where a log ends (16.82).
        LOG_HEAD = b"SKB1/log-head";
        /// The key that hashes names for other systems, from K_audit (16.84).
        SINK_KEY = b"SKB1/sinks-key";
        /// A name as it leaves for other systems (16.84).
        SINK_NAME = b"SKB1/sink-name";
        /// Row of an AppRole secret id (broker, `identity::approle`).
        SECRET_ID = b"SKB1/secret-id";
    }
    Context {
        /// Capsule context (6.3).
        CONTEXT_CAPSULE = b"SKB1/ctx/capsule";
        /// Record context (6.3).
        CONTEXT_RECORD = b"SKB1/ctx/record";
        /// Context of a wrapped DEK (6.3).
        CONTEXT_WRAP = b"SKB1/ctx/wrap";
        /// File in the state directory of a fragment service.
        CONTEXT_FRAGMENT_FILE = b"SKB1/ctx/fragment-file";
        /// Key file of a custodian or an officer (7.4).
        CONTEXT_KEY_FILE = b"SKB1/ctx/key-file";
        /// Key file of a source (16.85).
        CONTEXT_SOURCE_FILE = b"SKB1/ctx/source-file";
        /// A piece of a backup (16.80).
        CONTEXT_BACKUP = b"SKB1/ctx/backup";
        /// Index of a segment of the log (16.83).
        CONTEXT_LOG_INDEX = b"SKB1/ctx/log-index";
        /// A stateless machine token (broker, `token::batch`).
        CONTEXT_MACHINE_TOKEN = b"SKB1/ctx/machine-token";
    }
    HpkeInfo {
        /// Share envelope (7.4).
        SHARE_ENVELOPE = b"SKB1/share-envelope";
        /// Share on its way to a ceremony (7.5).
        SHARE_SUBMISSION = b"SKB1/share-submission";
        /// Remote share in escrow (8).
        ESCROW_ENVELOPE = b"SKB1/escrow-envelope";
        /// Key of a backup for one of its recipients (16.80).
        BACKUP_KEY = b"SKB1/backup-key";
        /// A root token on its way to the custodian who asked for it (16.26).
        ROOT_TOKEN = b"SKB1/root-token";
    }
    Schnorr {
        /// A dealing on its way through the broker (16.13).
        DEALING = b"SKB1/dealing";
        /// A receiver's key for one run, on the same way (16.13).
        RECEIVE_KEY = b"SKB1/receive-key";
    }
    DkgSession {
        /// A run of the group ceremony (16.13).
        RUN = b"SKB1/run";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_begins_with_another_of_its_primitive() {
        for (i, (primitive, label)) in ALL.iter().enumerate() {
            assert!(!label.is_empty());
            for (other_primitive, other) in &ALL[i + 1..] {
                let clash = label.starts_with(other) || other.starts_with(label);
                assert!(
                    primitive != other_primitive || !clash,
                    "{primitive:?}: {} and {}",
                    String::from_utf8_lossy(label),
                    String::from_utf8_lossy(other)
                );
            }
        }
    }

    #[test]
    fn suffixes_do_not_end_with_one_another() {
        let suffixes: Vec<_> =
            ALL.iter().filter(|(p, _)| *p == Primitive::HashToScalarSuffix).map(|(_, l)| *l).collect();
        for (i, label) in suffixes.iter().enumerate() {
            assert!(suffixes.iter().enumerate().all(|(j, other)| i == j || !label.ends_with(other)));
        }
    }
}
