//! Real servers, real clients.

use std::io::Write as _;
use std::process::{Command, Stdio};

use symbolon_repository::tang::Tang;

use super::super::client::Client;
use super::super::kept::Kept;
use super::super::settings::Settings;
use super::*;

/// A server and what a configuration says of it.
struct Served {
    tang: Tang,
    thumbprint: String,
    _keys: tempfile::TempDir,
}

impl Served {
    fn start() -> Option<Self> {
        let keys = tempfile::tempdir().unwrap();
        let tang = Tang::start(keys.path()).unwrap()?;
        Some(Self { thumbprint: tang.thumbprint().unwrap(), tang, _keys: keys })
    }

    fn device(&self) -> Box<dyn Device> {
        device(&[(&self.tang.url(), &self.thumbprint)])
    }
}

/// What `clevis` gives back for this.
fn clevis(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("clevis");
    child.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "clevis {arguments:?}");
    output.stdout
}

fn sealed(binding: &[u8]) -> String {
    let text = String::from_utf8(binding.to_vec()).unwrap();
    text.lines().nth(1).unwrap().split_once(' ').unwrap().1.to_owned()
}

async fn check_recovers(device: &dyn Device, binding: &[u8]) {
    assert!(device.recover(binding, PURPOSE).await.unwrap().same_as(&key()));
}

#[tokio::test]
async fn a_key_is_bound_and_given_back_while_the_server_is_there() {
    let Some(mut served) = Served::start() else { return };
    let device = served.device();
    let binding = device.bind(&key(), PURPOSE).await.unwrap();
    assert!(!binding.windows(8).any(|part| part == &key().expose()[..8]));
    check_recovers(&*device, &binding).await;
    assert!(!device.is_stale(&binding).await.unwrap());
    let other = device.recover(&binding, b"another source").await.err().unwrap();
    assert!(matches!(other, SourceError::Kept), "{other}");
    served.tang.stop();
    let error = device.recover(&binding, PURPOSE).await.err().unwrap();
    assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
    served.tang.resume().unwrap();
    check_recovers(&*device, &binding).await;
}

#[tokio::test]
async fn clevis_opens_what_is_bound_and_what_clevis_sealed_is_opened() {
    let Some(served) = Served::start() else { return };
    let binding = served.device().bind(&key(), PURPOSE).await.unwrap();
    assert_eq!(clevis(&["decrypt"], sealed(&binding).as_bytes()), key().expose());
    let config = format!(r#"{{"url":"{}","thp":"{}"}}"#, served.tang.url(), served.thumbprint);
    let theirs = String::from_utf8(clevis(&["encrypt", "tang", &config], b"of clevis")).unwrap();
    let settings = Settings::read(&settings(&[(&served.tang.url(), &served.thumbprint)], "")).unwrap();
    let binding = format!("tang-1\n{} {}\n", served.thumbprint, theirs.trim_end());
    let kept = Kept::read(binding.as_bytes()).unwrap();
    let client = Client::new(&settings).await.unwrap();
    let server = &settings.servers[0];
    let opened = server.opened(&client, kept.of(server).unwrap()).await.unwrap();
    assert_eq!(opened.as_slice(), b"of clevis");
}

#[tokio::test]
async fn rotated_keys_are_followed_and_deleted_ones_refused_by_name() {
    let Some(served) = Served::start() else { return };
    let device = served.device();
    let before = device.bind(&key(), PURPOSE).await.unwrap();
    served.tang.rotate().unwrap();
    check_recovers(&*device, &before).await;
    assert!(device.is_stale(&before).await.unwrap());
    let after = device.bind(&key(), PURPOSE).await.unwrap();
    assert!(!device.is_stale(&after).await.unwrap());
    // An operator trusts the new key: the server helps to bind with it, while it has the old one.
    let url = served.tang.url();
    let renewed = super::device(&[(&url, &served.tang.thumbprint().unwrap())]);
    assert!(renewed.is_stale(&after).await.unwrap());
    check_recovers(&*renewed, &before).await;
    served.tang.forget().unwrap();
    let error = device.recover(&before, PURPOSE).await.err().unwrap();
    assert!(matches!(error, SourceError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains("no longer has the key that this was sealed to"), "{error}");
    check_recovers(&*device, &after).await;
    check_recovers(&*renewed, &renewed.bind(&key(), PURPOSE).await.unwrap()).await;
    let error = device.bind(&key(), PURPOSE).await.err().unwrap();
    assert!(error.to_string().contains("no signing key with the configured thumbprint"), "{error}");
}

#[tokio::test]
async fn a_server_with_another_signing_key_is_not_trusted() {
    let (Some(served), Some(other)) = (Served::start(), Served::start()) else { return };
    let posing = device(&[(&other.tang.url(), &served.thumbprint)]);
    let error = posing.bind(&key(), PURPOSE).await.err().unwrap();
    assert!(matches!(error, SourceError::Refused(_)), "{error:?}");
    // Nor does it open what was sealed to the right one.
    let binding = served.device().bind(&key(), PURPOSE).await.unwrap();
    let error = posing.recover(&binding, PURPOSE).await.err().unwrap();
    assert!(matches!(error, SourceError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn any_of_several_servers_gives_the_key_and_all_are_there_at_the_binding() {
    let (Some(one), Some(mut two)) = (Served::start(), Served::start()) else { return };
    let both = device(&[(&one.tang.url(), &one.thumbprint), (&two.tang.url(), &two.thumbprint)]);
    let binding = both.bind(&key(), PURPOSE).await.unwrap();
    two.tang.stop();
    check_recovers(&*both, &binding).await;
    let error = both.bind(&key(), PURPOSE).await.err().unwrap();
    assert!(error.to_string().contains(&two.tang.url()), "{error}");
    assert!(!both.is_stale(&binding).await.unwrap());
    // Fewer servers, or others, are another binding.
    assert!(one.device().is_stale(&binding).await.unwrap());
    check_recovers(&*one.device(), &binding).await;
}

#[tokio::test]
async fn a_server_that_moved_is_still_asked_and_bound_anew() {
    let Some(served) = Served::start() else { return };
    let binding = served.device().bind(&key(), PURPOSE).await.unwrap();
    let moved = served.tang.url().replace("127.0.0.1", "localhost");
    let moved = device(&[(&moved, &served.thumbprint)]);
    check_recovers(&*moved, &binding).await;
    assert!(moved.is_stale(&binding).await.unwrap());
}

#[tokio::test]
async fn a_server_that_never_answers_keeps_no_other_waiting() {
    let Some(served) = Served::start() else { return };
    let binding = served.device().bind(&key(), PURPOSE).await.unwrap();
    let (silent, url) = (hostile::server(Vec::new()).await, served.tang.url());
    let servers = [(silent.as_str(), served.thumbprint.as_str()), (&url, &served.thumbprint)];
    let both = parse(&settings(&servers, "timeout_ms = 60000")).unwrap();
    let answer = both.recover(&binding, PURPOSE);
    let key_again = tokio::time::timeout(std::time::Duration::from_secs(30), answer).await;
    assert!(key_again.unwrap().unwrap().same_as(&key()));
}
