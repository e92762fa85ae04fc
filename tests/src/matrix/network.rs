//! N: what goes over the wire between broker and fragment service, recorded by a proxy; and, with TLS broken,
//! the frames inside.

use std::sync::{Arc, Mutex};

use hkdf::Hkdf;
use sha2::Sha512;
use symbolon_kms_fragment::{Options, Sealing, Service};
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::Capsule;
use symbolon_proto::context::CapsuleContext;
use symbolon_proto::frame::{EvaluateRequest, EvaluateResponse, Target};
use symbolon_proto::hierarchy::CapsuleKey;
use symbolon_proto::id::BrokerId;
use symbolon_proto::label;
use symbolon_proto::lease::LeaseHolder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::attacker::capsules;
use super::victim::{CACHED, Victim, sealed};
use crate::selfplay;
use crate::site::{CALM, Site};

/// Everything that passed, both ways.
type Recording = Arc<Mutex<Vec<u8>>>;

/// Passes connections on from `listener` to `service` and records them.
async fn proxy(listener: TcpListener, service: std::net::SocketAddr, recording: Recording) {
    loop {
        let (broker, _) = listener.accept().await.unwrap();
        let (from_broker, to_broker) = broker.into_split();
        let (from_service, to_service) = TcpStream::connect(service).await.unwrap().into_split();
        tokio::spawn(pass(from_broker, to_service, Arc::clone(&recording)));
        tokio::spawn(pass(from_service, to_broker, Arc::clone(&recording)));
    }
}

async fn pass(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, recording: Recording) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        recording.lock().unwrap().extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn holds(recording: &[u8], needle: &[u8]) -> bool {
    recording.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_of_the_network_holds_nothing() {
    let mut site = Site::open(CALM).await;
    site.world.stop_fragment().await.unwrap();
    let sealing = Sealing::KeyFile(site.world.path("fragment.key"));
    let service = Service::open(&site.world.path("fragment"), &sealing, Options::default()).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let serving = tokio::spawn(async move { service.serve(socket, std::future::pending()).await });
    let public = site.world.fragment_url().replace("https://", "");
    let recording = Recording::default();
    let passing =
        tokio::spawn(proxy(TcpListener::bind(public).await.unwrap(), address, Arc::clone(&recording)));

    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    site.unseal().await;
    site.write("app/db", CACHED).await;
    site.wait_for_read("app/db", 200, &[503]).await;
    let deployment = site.client().seal_status().await.unwrap().cluster_id;
    site.world.stop_broker().await.unwrap();
    let rows = crate::rows::read(&site.world).await;
    let recorded = recording.lock().unwrap().clone();
    assert!(recorded.len() > 4000, "only {} bytes passed; the test has lost its subject", recorded.len());

    let deployment: symbolon_proto::id::DeploymentId = deployment.parse().unwrap();
    let mut needles: Vec<(&str, Vec<u8>)> = vec![
        ("the secret", CACHED.into()),
        ("its name", b"app/db".to_vec()),
        ("a frame", b"SKB1".to_vec()),
        ("the deployment", deployment.as_bytes().to_vec()),
    ];
    for (_, bytes) in crate::rows::of(&rows, symbolon_broker::keys::CAPSULES) {
        let capsule = Capsule::parse(bytes).unwrap();
        needles.push(("a capsule's point", capsule.w().as_bytes().to_vec()));
        needles.push(("the key's id", capsule.key().as_bytes().to_vec()));
    }
    for (what, needle) in &needles {
        assert!(!holds(&recorded, needle), "{what} is readable on the network");
    }
    // The search finds what is there: the hello of TLS 1.3 with its version and nothing but the hybrid group.
    assert!(holds(&recorded, &[0x03, 0x04]) && holds(&recorded, &[0x11, 0xec]));
    passing.abort();
    serving.abort();
}

/// Whether `candidate` is the S of a capsule: HKDF and the commitment, worked out by hand.
fn is_shared_secret(
    candidate: &[u8; 32],
    capsule: &Capsule,
    context: &CapsuleContext,
    key: &CapsuleKey,
) -> bool {
    let context = context.encode();
    let length = u16::try_from(context.len()).unwrap().to_be_bytes();
    let mut okm = [0; 64];
    let hkdf = Hkdf::<Sha512>::new(Some(key.secret().expose()), candidate);
    hkdf.expand_multi_info(&[label::CAPSULE, &length, &context], &mut okm).unwrap();
    capsule.to_bytes()[74..106] == okm[32..]
}

/// Even with the disk and the fragment, so that one more value would open everything: u and v are hidden by
/// ρ, which nobody kept. A wrong evaluation of the request *is* v; the recording has v itself, and it opens
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_without_tls_open_nothing() {
    let victim = Victim::robbed().await;
    let key = &victim.memory.capsule_key;
    let (k, deployment) = (&victim.broken_key, sealed(&victim.disk).deployment());
    let mut seen = 0;
    for (capsule, context) in capsules(&victim.disk) {
        let target = Target { key: capsule.key(), key_epoch: capsule.key_epoch(), share_epoch: 1 };
        let rng = &mut rand_core::UnwrapErr(getrandom::SysRng);
        let blinded = Blinded::blind(&[&capsule], target, rng).unwrap();
        let broker = BrokerId::from_bytes([1; 16]);
        let holder = LeaseHolder { deployment, broker, key: capsule.key(), generation: 1 };
        let (_, answer) = selfplay::answer(blinded.request(), &holder, k);
        let request = blinded.request().to_bytes();
        assert!(EvaluateRequest::parse(&request).is_ok() && EvaluateResponse::parse(&answer).is_ok());
        for frame in [&request, &answer] {
            for window in frame.windows(32) {
                let candidate = window.try_into().unwrap();
                assert!(!is_shared_secret(candidate, &capsule, &context, key));
                seen += 1;
            }
        }
        // The same search knows S when it sees it: without blinding, the answer to w itself would be S.
        let bare = EvaluateRequest::new(target, blinded.request().id(), vec![*capsule.w()]).unwrap();
        let shared = k.evaluate(&bare, rng).points[0];
        assert!(is_shared_secret(shared.as_bytes(), &capsule, &context, key));
    }
    assert!(seen > 500);
}
