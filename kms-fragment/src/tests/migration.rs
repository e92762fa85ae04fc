//! A state directory of the first release, kept beside this file, opens and works.

use std::path::Path;

use symbolon_proto::evaluate::Answer;
use symbolon_proto::frame::Presence;
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

use super::client::{Broker, Fixture};
use crate::tables::Tables;
use crate::tls::TlsIdentity;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test]
async fn the_first_releases_state_goes_on() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/state-1");
    let dir = tempfile::tempdir().unwrap();
    copy(&sample, dir.path());
    for (path, mode) in [("state", 0o700), ("state/keys", 0o700), ("key", 0o600)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(dir.path().join(path), mode).unwrap();
    }
    let read = |name: &str| std::fs::read(sample.join("broker").join(name)).unwrap();
    let text = |name: &str| String::from_utf8(read(name)).unwrap();
    let fixture = Fixture::over(dir).await;
    let seed = read("signing");
    let mut broker = Broker {
        deployment: text("deployment").parse().unwrap(),
        id: text("id").parse().unwrap(),
        tls: TlsIdentity::from_pkcs8(&read("tls.pkcs8")).unwrap(),
        signing: SigningSeed::from_secret(Secret::filled_by(|out| out.copy_from_slice(&seed))),
        ..Broker::new()
    };
    broker.connect(fixture.address).await;
    broker.finish_enrolment(&fixture.root).await;
    assert_eq!(fixture.service.status().brokers[0].generation, 7);
    assert!(matches!(broker.hello(8).await, Presence::Lease(_)));
    assert!(matches!(broker.evaluate(8).await, Answer::Evaluated(..)));
    let service = &fixture.service;
    let sealed = service.dir.read("tables").unwrap().unwrap();
    let json = service.seal.open_file("tables", &sealed).unwrap();
    assert!(json.starts_with(br#"{"format":2,"#), "written again in the new format");
    assert_eq!(Tables::from_json(&json).unwrap().starts, service.live().tables.starts);
}
