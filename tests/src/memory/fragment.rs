//! The fragment service's memory, searched in the same way for every key it has.
//!
//! The service is made in this process, with a broker that is enrolled at it; then it goes on in a process of
//! its own, on the same state. What to look for is worked out from its files.

use std::path::{Path, PathBuf};

use serde_json::json;
use symbolon_cli::demo::world::until;
use symbolon_kms_fragment::{Options, Sealing, Service};
use symbolon_proto::codec::{Reader, Writer};
use symbolon_proto::secret::Secret;
use symbolon_proto::{Zeroizing, label, sealedbox};

use super::scanner::{Needles, Scan};
use super::{READY, Separate, be_a_server, p256_scalar, report, scan};
use crate::site::{CALM, Site};

#[test]
#[ignore = "a fragment service for the tests of this module, which start it as a process of its own"]
fn a_service() {
    be_a_service(|_| ());
}

#[test]
#[ignore = "a leaky fragment service for the tests of this module, which start it as a process of its own"]
fn a_service_that_leaks() {
    be_a_service(|home| {
        std::fs::read(home.join("fragment.key")).unwrap().leak();
    });
}

/// Serves at the address that comes on the first line of standard input, with the state in the directory
/// after it.
fn be_a_service(beside: impl FnOnce(&Path)) {
    be_a_server(async |line, ended| {
        let (address, home) = line.split_once(' ').unwrap();
        let home = Path::new(home);
        let sealing = Sealing::KeyFile(home.join("fragment.key"));
        let service = Service::open(&home.join("fragment"), &sealing, Options::default()).unwrap();
        let socket = tokio::net::TcpListener::bind(address).await.unwrap();
        beside(home);
        println!("\n{READY}");
        service.serve(socket, ended).await.unwrap();
    });
}

/// A site whose fragment service is a process of its own.
async fn start(program: &str) -> (Site, Separate) {
    let mut site = Site::open(CALM).await;
    site.world.stop_fragment().await.unwrap();
    let address = site.world.fragment_url().replace("https://", "");
    let line = format!("{address} {}", site.world.path("").display());
    let program = program.to_owned();
    let service = tokio::task::spawn_blocking(move || Separate::start(&program, &line)).await.unwrap();
    (site, service)
}

/// Evaluations for keys that are made, and for keys that are opened again.
async fn work(site: &Site) {
    for number in 0..8 {
        let mount = format!("mount{number}");
        site.root_put(&format!("sys/mounts/{mount}"), &json!({ "type": "kv-v2" })).await.expect(204);
        let body = json!({ "data": { "value": "anything" } });
        site.root_put(&format!("{mount}/data/a"), &body).await.expect(200);
    }
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    site.unseal().await;
    for number in 0..8 {
        let read =
            async || Ok((site.root_get(&format!("mount{number}/data/a")).await.status == 200).then_some(()));
        until("a key that is opened again", read).await.unwrap();
    }
}

/// What a file of the state directory holds.
fn opened(home: &Path, seal: &Secret<32>, name: &str) -> Zeroizing<Vec<u8>> {
    let sealed = std::fs::read(home.join("fragment").join(name)).unwrap();
    let mut reader = Reader::new(&sealed);
    let boxed = reader.lp32(1 << 20).unwrap();
    let mut context = Writer::with_capacity(96);
    context.lp(label::CONTEXT_FRAGMENT_FILE).lp(name.as_bytes()).u64(0).u8(1);
    sealedbox::open(seal, &context.finish(), boxed).unwrap()
}

fn needles(site: &Site) -> Needles {
    let home: PathBuf = site.world.path("");
    let mut needles = Needles::default();
    let key = std::fs::read(home.join("fragment.key")).unwrap();
    needles.key("the key of its state", &key);
    let seal = Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(&key));
    let identity = opened(&home, &seal, "identity");
    // Format, node id, three keys, PKCS#8.
    for (name, at) in [("its root seed", 17), ("its signing seed", 49), ("its key of ceremonies", 81)] {
        needles.key(name, &identity[at..at + 32]);
    }
    needles.text("its TLS key", p256_scalar(&identity[115..]));
    let mut shares = 0;
    for entry in std::fs::read_dir(home.join("fragment/keys")).unwrap() {
        let name = format!("keys/{}", entry.unwrap().file_name().to_str().unwrap());
        needles.key("its half of a key", &opened(&home, &seal, &name));
        shares += 1;
    }
    assert!(shares > 0, "no key was made");
    needles
}

async fn scanned(program: &str) -> Scan {
    let (site, service) = start(program).await;
    work(&site).await;
    let (service, _, found) = scan(service, needles(&site)).await;
    report("the fragment service, after some work", &found);
    drop(service);
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_fragment_service_are_in_secret_pages_only() {
    assert_eq!(scanned("memory::fragment::a_service").await.found, Default::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fragment_service_that_keeps_a_copy_is_found_out() {
    let found = scanned("memory::fragment::a_service_that_leaks").await.found;
    let names: Vec<&str> = found.keys().map(|name| name.split(" in ").next().unwrap()).collect();
    assert_eq!(names, ["the key of its state"], "this, and nothing else");
}
