//! Writes `seeds/<target>/*`: at least one valid message of each kind, so that fuzzing starts behind the
//! first check. Arguments name targets; without any, all are written.

use std::path::Path;
use std::{fs, io};

use getrandom::SysRng;
use rand_core::UnwrapErr;
use symbolon_core::policy::DEFAULT_POLICY;
use symbolon_core::token_binding::{GCM_BYTES, OaepHash, TokenBinding};
use symbolon_fuzz::callers::{NOW_SECS, seed_key_set};
use symbolon_fuzz::group::{
    seed_card, seed_group, seed_offers, seed_receive_key, seed_run, seed_share, seed_static_key,
};
use symbolon_fuzz::tang::{ADVERTISED, CLEVIS, POINT, ROTATED};
use symbolon_fuzz::tpm::seed_binding;
use symbolon_fuzz::{seed_key, seed_root};
use symbolon_proto::capsule::{EncapsulationKey, Kek, encapsulate};
use symbolon_proto::context::{CapsuleContext, RecordContext, RecordKind, Scope};
use symbolon_proto::dkg::{DkgFault, GroupKey};
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::frame::{
    AnchorAnswer, AnchorRequest, AnchorValue, Approval, Base, EnrolAnswer, EnrolRequest, Enrolment,
    EvaluateOutcome, EvaluateRequest, EvaluateResponse, FrameType, GroupAnswer, GroupOp, GroupReply,
    GroupRequest, Heartbeat, Hello, ManifestAnswer, ManifestRequest, PresenceAnswer, Status, Target,
};
use symbolon_proto::group::Point;
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::id::{
    BrokerId, CapsuleId, DeploymentId, KeyId, MountId, NodeId, RequestId, SecretId, TenantId,
};
use symbolon_proto::lease::{KeyState, Lease, LeaseHolder, LeaseTerms};
use symbolon_proto::log::tile::{encode_bundle, encode_hashes};
use symbolon_proto::log::{Action, Checkpoint, Entry, Frontier, NoteSigner, Outcome, Pruned};
use symbolon_proto::manifest::{Manifest, ManifestNode};
use symbolon_proto::share::{Dealing, Holder, ShareKind, Threshold};
use symbolon_proto::signing::SigningSeed;
use symbolon_proto::{record, sealedbox};

const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([1; 16]);
const BROKER: BrokerId = BrokerId::from_bytes([2; 16]);
const KEY: KeyId = KeyId::from_bytes([3; 16]);

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

fn main() -> io::Result<()> {
    let remote = RemoteKey::generate(&mut rng());
    protocol(&remote)?;
    group(&remote)?;
    capsules(&remote)?;
    shares()?;
    log()?;
    policies()?;
    requests()?;
    logins()?;
    tang()?;
    tpm()?;
    token_bindings()?;
    seed("texts", "id", DEPLOYMENT.to_string().as_bytes())
}

fn seed(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    if std::env::args().len() > 1 && std::env::args().skip(1).all(|only| only != target) {
        return Ok(());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

fn token_bindings() -> io::Result<()> {
    for iv in [12, 16] {
        let binding = TokenBinding::AesGcm { iv: vec![7; iv], sealed: vec![9; GCM_BYTES] };
        seed("token_binding", &format!("aes-gcm-{iv}"), &binding.encode())?;
    }
    let binding = TokenBinding::RsaOaep { hash: OaepHash::Sha256, sealed: vec![5; 256] };
    seed("token_binding", "rsa-oaep", &binding.encode())
}

const TARGET: Target = Target { key: KEY, key_epoch: 1, share_epoch: 1 };
const ANCHOR: AnchorValue = AnchorValue { counter: 3, value: [4; 32] };

fn protocol(remote: &RemoteKey) -> io::Result<()> {
    let node = SigningSeed::random(&mut rng());
    let manifest = manifest(remote, &node).sign(&seed_root(), &[&node]);
    seed("manifest", "first", &manifest)?;
    let holder = LeaseHolder { deployment: DEPLOYMENT, broker: BROKER, key: KEY, generation: 5 };
    let lease = lease(&holder, &node);
    seed("lease", "active", lease.as_bytes())?;

    let point = *remote.public_key().point();
    questions(&holder, point, &node)?;
    answers(&lease, point, &manifest)
}

fn questions(holder: &LeaseHolder, point: Point, node: &SigningSeed) -> io::Result<()> {
    let nonce = RequestId::from_bytes([9; 16]);
    let evaluate = EvaluateRequest::new(TARGET, nonce, vec![point; 2]).expect("two points");
    seed("request", "evaluate", &evaluate.to_bytes())?;
    seed("request", "hello", &Hello::new(*holder, nonce).to_bytes())?;
    seed("request", "heartbeat", &Heartbeat::new(*holder, nonce).to_bytes())?;
    seed("request", "manifest", &ManifestRequest { key: KEY, after_seq: 1, nonce }.to_bytes())?;
    let put = AnchorRequest { deployment: DEPLOYMENT, broker: BROKER, key: KEY, put: Some(ANCHOR), nonce };
    seed("request", "anchor", &put.to_bytes())?;
    let signing_key = node.public_key();
    let enrol = EnrolRequest { deployment: DEPLOYMENT, broker: BROKER, signing_key, nonce: [7; 32] };
    seed("request", "enrol", &enrol.to_bytes())
}

fn answers(lease: &Lease, point: Point, manifest: &[u8]) -> io::Result<()> {
    let done = EvaluateOutcome::Done { points: vec![point; 2], proof: None, lease: lease.clone() };
    let refused = EvaluateOutcome::Refused { status: Status::Suspended, lease: Some(lease.clone()) };
    for (name, outcome) in [("evaluate", done), ("evaluate-refused", refused)] {
        let response = EvaluateResponse {
            target: TARGET,
            node_index: 1,
            request_hash: [6; 32],
            quota_left: 9,
            time_secs: 1_790_000_000,
            outcome,
        };
        seed("answer", name, &response.to_bytes())?;
    }
    let presence = PresenceAnswer {
        frame_type: FrameType::Hello,
        status: Status::Ok,
        node_index: 1,
        request_hash: [6; 32],
        time_secs: 1_790_000_000,
        lease: Some(lease.clone()),
    };
    seed("answer", "hello", &presence.to_bytes())?;
    let chain =
        ManifestAnswer { status: Status::Ok, request_hash: [6; 32], manifests: vec![manifest.to_vec(); 2] };
    seed("answer", "manifest", &chain.to_bytes())?;
    let stored = AnchorAnswer { status: Status::Ok, request_hash: [6; 32], stored: Some(ANCHOR) };
    seed("answer", "anchor", &stored.to_bytes())?;
    let pending = EnrolAnswer { request_hash: [6; 32], enrolment: Enrolment::Pending };
    seed("answer", "enrol", &pending.to_bytes())
}

fn manifest(remote: &RemoteKey, node: &SigningSeed) -> Manifest {
    Manifest {
        deployment: DEPLOYMENT,
        key: KEY,
        state: KeyState::Active,
        key_epoch: 1,
        share_epoch: 1,
        public: *remote.public_key(),
        commitments: vec![],
        nodes: vec![ManifestNode {
            index: 1,
            node: NodeId::from_bytes([8; 16]),
            public: *remote.public_key(),
            signing: node.public_key(),
            spki_sha256: [6; 32],
        }],
        lease_ttl_secs: 3600,
        quota_burst: 64,
        quota_per_hour: 1000,
        grace_secs: 0,
        not_before_secs: 1_790_000_000,
        not_after_secs: 1_790_086_400,
        seq: 1,
        prev_hash: [0; 32],
    }
}

fn lease(holder: &LeaseHolder, node: &SigningSeed) -> Lease {
    let terms = LeaseTerms {
        deployment: holder.deployment,
        broker: holder.broker,
        key: holder.key,
        generation: holder.generation,
        seq: 1,
        issued_secs: 1_790_000_000,
        ttl_secs: 3600,
        status: KeyState::Active,
        node: 1,
    };
    Lease::sign(terms, node)
}

fn group(remote: &RemoteKey) -> io::Result<()> {
    let (run, roster) = seed_run();
    let offers = seed_offers(&roster);
    let session = roster.session(&offers).expect("offers of these nodes");
    let dealing =
        session.deal(&seed_static_key(1), Some(&seed_share()), &mut rng()).expect("the dealer's share");
    let pending = session
        .receive(&seed_static_key(2), &seed_receive_key(2), None, std::slice::from_ref(&dealing))
        .expect("it is honest");
    let proposal = seed_group(2, &[2, 3, 4], None).to_bytes();
    let body = manifest(remote, &SigningSeed::random(&mut rng())).signed_bytes();
    seed("card", "first", seed_card(1).as_bytes())?;
    seed("proposal", "two-of-three", &proposal)?;
    seed("dkg", "run", &run.to_bytes())?;
    seed("dkg", "offer", &offers[0])?;
    seed("dkg", "dealing", &dealing)?;
    seed("dkg", "pending", &pending.to_secret_bytes())?;
    seed("dkg", "manifest", &body)?;
    let key = GroupKey::new(vec![*seed_share().public_key().point()]).expect("one commitment");
    let base = Some(Base { group: seed_group(1, &[1], None).to_bytes(), key });
    let escrow = vec![7; symbolon_proto::frame::ESCROW_KEY_BYTES];
    let ops = [
        ("card", GroupOp::Card),
        ("propose", GroupOp::Propose { proposal }),
        ("offer", GroupOp::Offer { run, base: base.clone() }),
        ("deal", GroupOp::Deal { run, base: base.clone(), offers: offers.clone() }),
        ("verify", GroupOp::Verify { run, base, offers: offers.clone(), dealings: vec![dealing.clone()] }),
        ("commit", GroupOp::Commit { run, signatures: vec![*pending.signature(); 3] }),
        ("sign-manifest", GroupOp::SignManifest { body }),
        ("acknowledge", GroupOp::Acknowledge { key: KEY, key_epoch: 1, share_epoch: 2 }),
        ("retire", GroupOp::Retire { key: KEY, key_epoch: 1 }),
        ("set-escrow", GroupOp::SetEscrow { key: KEY, escrow }),
    ];
    for (name, op) in ops {
        let request = GroupRequest { nonce: RequestId::from_bytes([9; 16]), op };
        seed("request", &format!("group-{name}"), &request.to_bytes())?;
    }
    let outcomes = [
        ("approval", 2, Ok(GroupReply::Approval(Approval::Pending))),
        ("dealing", 3, Ok(GroupReply::Dealing(dealing))),
        ("offer", 13, Ok(GroupReply::Offer(offers[0]))),
        ("blame", 4, Err(DkgFault::Share.by(1).into())),
        ("signed", 6, Ok(GroupReply::ManifestSigned { node: [1; 64], root: Some([2; 64]) })),
        ("retired", 10, Ok(GroupReply::Retired(false))),
    ];
    for (name, op, outcome) in outcomes {
        let answer = GroupAnswer { request_hash: [6; 32], op, outcome };
        seed("answer", &format!("group-{name}"), &answer.to_bytes())?;
    }
    Ok(())
}

fn capsules(remote: &RemoteKey) -> io::Result<()> {
    let keys = Fragment::random(&mut rng()).root(&DEPLOYMENT).purposes(1);
    let kek = Kek::random(&mut rng());
    let (tenant, mount) = (TenantId::from_bytes([4; 16]), MountId::from_bytes([5; 16]));
    let id = CapsuleId::from_bytes([6; 16]);
    let context = CapsuleContext {
        scope: Scope::Bucket,
        deployment: DEPLOYMENT,
        tenant,
        mount,
        bucket: 0,
        kek_epoch: 1,
        capsule: id,
        key: KEY,
        fragment_epoch: 1,
    };
    let key = EncapsulationKey { key_epoch: 1, public: *remote.public_key() };
    let capsule = encapsulate(&context, &key, &keys, &kek, &mut rng()).expect("epochs fit");
    seed("capsule", "bucket", &capsule.to_bytes())?;
    let place = RecordContext {
        kind: RecordKind::Value,
        deployment: DEPLOYMENT,
        tenant,
        mount,
        secret: SecretId::from_bytes([7; 16]),
        version: 1,
    };
    let sealed = record::seal(&kek, &place, &id, b"hunter2", &mut rng()).expect("a short value");
    seed("record", "value", &sealed)?;
    seed(
        "sealedbox",
        "short",
        &sealedbox::seal(&seed_key(), b"seed", b"hunter2", &mut rng()).expect("short"),
    )?;
    seed("texts", "fingerprint", Fingerprint::of(seed_root().public_key().as_bytes()).to_string().as_bytes())
}

fn shares() -> io::Result<()> {
    let holders = ["Ann", "Bob", "Zoë"].map(Holder::named);
    let dealing = Dealing {
        kind: ShareKind::Fragment,
        deployment: DEPLOYMENT,
        frag_epoch: 1,
        created_ms: 1_790_000_000_000,
        threshold: Threshold::new(2, 3).expect("2 of 3"),
        holders: &holders,
        previous: None,
    };
    let (set, shares) = dealing.deal(&Fragment::random(&mut rng()), &mut rng()).expect("valid names");
    seed("share_set", "two-of-three", &set.encode())?;
    let text = shares[0].to_text();
    seed("share_text", "bech32m", text.as_bytes())?;
    seed(
        "share_text",
        "mistyped",
        text.replacen(&text[40..41], if &text[40..41] == "q" { "p" } else { "q" }, 1).as_bytes(),
    )?;
    let hex: String = shares[1].to_bytes().expose().iter().map(|byte| format!("{byte:02x}")).collect();
    seed("share_text", "hex", hex.as_bytes())?;
    seed("share_text", "base64", b"AQgHBgUEAwIBAgIDAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
}

fn log() -> io::Result<()> {
    let mut frontier = Frontier::new();
    let mut entries = Vec::new();
    for index in 0..3_u8 {
        let entry = Entry {
            index: index.into(),
            time_ms: 1_790_000_000_000,
            action: Action::SecretRead,
            outcome: Outcome::Allowed,
            broker: BROKER,
            detail: vec![index; 8],
        };
        let bytes = entry.encode().expect("a short detail");
        frontier.append(Entry::leaf_hash(&bytes));
        entries.push(bytes);
    }
    seed("entry", "read", &entries[0])?;
    seed("entry", "frontier", &frontier.to_bytes())?;
    seed("bundle", "three", &encode_bundle(entries.iter().map(Vec::as_slice)).expect("three entries"))?;
    let hashes: Vec<_> = entries.iter().map(|entry| Entry::leaf_hash(entry)).collect();
    seed("bundle", "hashes", &encode_hashes(&hashes))?;
    let signer = NoteSigner::new("symbolon.example/log", seed_root()).expect("a valid name");
    let note = Checkpoint::sign(frontier.size(), frontier.root(), &signer);
    seed("checkpoint", "signed", note.as_bytes())?;
    seed("checkpoint", "pruned", Pruned::default().text().as_bytes())?;
    seed(
        "checkpoint",
        "text",
        note.split("\n\n").next().map(|text| [text, "\n"].concat()).unwrap_or_default().as_bytes(),
    )?;
    seed("texts", "verifier-key", signer.verifier().to_string().as_bytes())?;
    seed("tile_path", "full", b"tile/0/x001/x234/067")?;
    seed("tile_path", "partial", b"tile/entries/005.p/17")
}

fn policies() -> io::Result<()> {
    seed("policy", "default", DEFAULT_POLICY.as_bytes())?;
    let hcl = b"# one\npath \"secret/data/+/app*\" {\n  capabilities = [\"create\", \"read\", \"sudo\"]\n  \
        allowed_parameters = { \"ttl\" = [\"1h\", 5], \"*\" = [] }\n  denied_parameters = { \"x\" = [true] }\n  \
        required_parameters = [\"ttl\"]\n  min_wrapping_ttl = \"1s\"\n}\npath \"sys/*\" { policy = \"deny\" }\n\0\
        secret/data/team/app1";
    seed("policy", "hcl", hcl)?;
    let json =
        br#"{"path":{"secret/data/app":{"capabilities":["read","list"],"denied_parameters":{"a":["b"]}}}}"#;
    seed("policy", "json", json)
}

fn requests() -> io::Result<()> {
    let body = br#"{"data":{"password":"hunter2","n":1.10,"big":1180591620717411303424,"l":[null,true,-1e5,"\u00e9\ud83d\ude00\n"]},
        "options":{"cas":0}}"#;
    seed("json", "write", body)?;
    seed("api_path", "data", b"secret/data/team%20a/app")?;
    seed("api_path", "list", b"secret/metadata/team/")?;
    for (name, text) in [
        ("duration", "1h30m0.5s"),
        ("days", "-768h"),
        ("cidr", "10.0.0.0/8"),
        ("cidr6", "2001:db8::/32"),
        ("token", "hvs.AAAAAAAAAAAAAAAAAAAAAAAA"),
        ("kind", "default-batch"),
    ] {
        seed("vault_texts", name, text.as_bytes())?;
    }
    let exchange = b"grant_type=urn:ietf:params:oauth:grant-type:token-exchange\n\
        subject_token_type=urn:ietf:params:oauth:token-type:jwt\nsubject_token=e30.e30.e30\n\
        requested_token_type=urn:ietf:params:oauth:token-type:access_token\naudience=api\nscope=read write";
    seed("oauth_form", "exchange", exchange)?;
    let bearer = b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer\nassertion=e30.e30.e30\n\
        resource=https://api.example/x";
    seed("oauth_form", "bearer", bearer)
}

fn logins() -> io::Result<()> {
    let (from, until) = (NOW_SECS - 5, NOW_SECS + 600);
    let claims = format!(
        r#"{{"iss":"https://issuer.test","sub":"alice","aud":["symbolon"],"iat":{from},"nbf":{from},"exp":{until}}}"#
    );
    let token = [r#"{"alg":"EdDSA","typ":"JWT","kid":"seed"}"#, "\n", &claims].concat();
    seed("jwt", "signed", token.as_bytes())?;
    seed("jwt", "unsigned", b"eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJ4IiwiZXhwIjoxNzkwMDAwNjAwfQ.AAAA")?;
    seed("key_set", "ed25519", seed_key_set().as_bytes())?;
    for (name, text) in [
        ("rsa", include_str!("../../broker/core/src/identity/testdata/rsa.pub.pem")),
        ("p256", include_str!("../../broker/core/src/identity/testdata/p256.pub.pem")),
        ("p384", include_str!("../../broker/core/src/identity/testdata/p384.pub.pem")),
        ("ed25519-pem", include_str!("../../broker/core/src/identity/testdata/ed25519.pub.pem")),
    ] {
        seed("key_set", name, text.as_bytes())?;
    }
    let point = "A".repeat(43);
    let ec = format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","alg":"ES256","kid":"e","x":"{point}","y":"{point}"}}]}}"#
    );
    seed("key_set", "ec", ec.as_bytes())
}

fn tang() -> io::Result<()> {
    let all = [("advertised", ADVERTISED), ("rotated", ROTATED), ("clevis", CLEVIS), ("answer", POINT)];
    all.into_iter().try_for_each(|(name, text)| seed("tang", name, text.as_bytes()))
}

fn tpm() -> io::Result<()> {
    let pcr = "7a".repeat(32);
    let policy = format!("symbolon-tpm-policy 1\npcr 7 {pcr}\nsignature 3006020101020101\n");
    seed("tpm", "policy", policy.as_bytes())?;
    seed("tpm", "answer", &[0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0])?;
    seed("tpm", "binding", &seed_binding().encode())
}
