//! With swtpm, and tpm2-tools for comparison.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use data_encoding::HEXLOWER;
use symbolon_core::tpm::policy::{authorized, of_pcrs, reference};
use symbolon_core::tpm::{PcrSet, TpmBinding, objects};
use symbolon_proto::secret::Secret;
use symbolon_repository::swtpm::SwTpm;
use tempfile::TempDir;

use super::settings::Place;
use super::{KIND, commands, policies};
use crate::custody::sources::{Device, SourceError};

const PURPOSE: &[u8] = b"symbolon source of a deployment";

struct Bench {
    folder: TempDir,
    tpm: SwTpm,
}

fn bench() -> Option<Bench> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let tpm = SwTpm::start(&state).unwrap()?;
    Some(Bench { folder, tpm })
}

fn parsed(text: &str) -> Result<Box<dyn Device>, String> {
    (KIND.parse)(&toml::from_str::<toml::Table>(text).unwrap().into())
}

fn at(address: &str, more: &str) -> Box<dyn Device> {
    parsed(&format!("device = \"{address}\"\n{more}")).unwrap()
}

impl Bench {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn device(&self) -> Box<dyn Device> {
        at(&self.tpm.address(), "pcrs = [7, 16]")
    }

    fn signed(&self) -> Box<dyn Device> {
        let folder = self.path().display();
        let more = format!("signer_file = \"{folder}/signer.pub\"\npolicies_dir = \"{folder}/policies\"");
        at(&self.tpm.address(), &format!("pcrs = [16]\n{more}"))
    }

    fn tool(&self, line: &str) -> String {
        self.tpm.tool(self.path(), line).unwrap()
    }

    fn extend(&self, pcr: u8) {
        self.tool(&format!("tpm2_pcrextend {pcr}:sha256={}", "5a".repeat(32)));
    }

    fn shell(&self, script: &str) {
        let done = Command::new("sh").arg("-ec").arg(script).current_dir(self.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn new_signer(&self, name: &str) {
        self.shell(&format!(
            "openssl ecparam -name prime256v1 -genkey -noout -out {name}.pem
             openssl ec -in {name}.pem -pubout -out {name}.pub"
        ));
    }

    /// A policy for the present state, made with openssl and the shell as the documentation has it.
    fn sign(&self, signer: &str, purpose: &[u8], file: &str) {
        self.tool("tpm2_pcrread sha256:16 -o values");
        let reference = HEXLOWER.encode(&reference(purpose));
        let script = include_str!("../../../../../docs/sign-tpm-policy.sh");
        std::fs::write(self.path().join("sign"), script).unwrap();
        self.shell(&format!("bash sign {signer}.pem {reference} 16 values > policies/{file}"));
    }
}

fn key() -> Secret<32> {
    Secret::filled_by(|out| out.fill(0x4b))
}

fn wait<T>(asked: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(asked)
}

fn bind(device: &dyn Device) -> Vec<u8> {
    wait(device.bind(&key(), PURPOSE)).unwrap()
}

fn recover(device: &dyn Device, binding: &[u8]) -> Result<Secret<32>, SourceError> {
    wait(device.recover(binding, PURPOSE))
}

fn opens(device: &dyn Device, binding: &[u8]) {
    assert!(recover(device, binding).unwrap().same_as(&key()));
}

fn refused(device: &dyn Device, binding: &[u8]) -> String {
    match recover(device, binding) {
        Err(SourceError::Refused(why)) => why,
        other => panic!("not refused: {:?}", other.err()),
    }
}

#[test]
fn a_key_is_sealed_and_unsealed_also_after_a_restart_and_for_its_purpose_only() {
    let Some(mut bench) = bench() else { return };
    let binding = bind(&*bench.device());
    assert!(!binding.windows(32).any(|bytes| bytes == key().expose()));
    opens(&*bench.device(), &binding);
    bench.tpm.stop();
    assert!(matches!(recover(&*bench.device(), &binding), Err(SourceError::Unreachable(_))));
    bench.tpm.resume().unwrap();
    opens(&*bench.device(), &binding);
    let other = wait(bench.device().recover(&binding, b"another source"));
    assert!(matches!(other, Err(SourceError::Kept)));
}

#[test]
fn a_pcr_that_changed_is_refused_by_its_number_and_nothing_is_left_in_the_tpm() {
    let Some(bench) = bench() else { return };
    let binding = bind(&*bench.device());
    bench.extend(16);
    for _ in 0..8 {
        assert!(refused(&*bench.device(), &binding).starts_with("PCR 16 has changed since"));
    }
    bench.extend(7);
    assert!(refused(&*bench.device(), &binding).starts_with("PCRs 7, 16 have changed since"));
    let left = ["handles-transient", "handles-loaded-session"];
    assert!(left.iter().all(|what| bench.tool(&format!("tpm2_getcap {what}")).is_empty()));
}

#[test]
fn many_recoveries_leave_no_handle_in_the_tpm() {
    let Some(bench) = bench() else { return };
    let (device, binding) = (bench.device(), bind(&*bench.device()));
    for _ in 0..20 {
        opens(&*device, &binding);
    }
}

#[test]
fn a_signed_policy_lets_another_state_through_and_no_unsigned_or_foreign_one() {
    let Some(bench) = bench() else { return };
    ["signer", "foreign"].iter().for_each(|name| bench.new_signer(name));
    let early = wait(bench.signed().bind(&key(), PURPOSE));
    assert!(matches!(early, Err(SourceError::Refused(why)) if why.contains("none of 0 policies")));
    bench.sign("signer", PURPOSE, "first");
    let binding = bind(&*bench.signed());
    opens(&*bench.signed(), &binding);
    bench.extend(16);
    assert!(refused(&*bench.signed(), &binding).starts_with("PCR 16 has changed, and none of 1 policies"));
    bench.sign("foreign", PURPOSE, "foreign");
    bench.sign("signer", b"another source", "other");
    assert!(refused(&*bench.signed(), &binding).contains("none of 1 policies"));
    bench.sign("signer", PURPOSE, "second");
    let second = bench.path().join("policies/second");
    let signed = std::fs::read_to_string(&second).unwrap();
    let (state, signature) = signed.trim_end().rsplit_once(' ').unwrap();
    let last = if signature.ends_with('0') { "1" } else { "0" };
    let forged = format!("{state} {}{last}\n", &signature[..signature.len() - 1]);
    std::fs::write(&second, forged).unwrap();
    assert!(refused(&*bench.signed(), &binding).contains("none of 1 policies"));
    std::fs::write(&second, signed).unwrap();
    opens(&*bench.signed(), &binding);
}

/// Whoever listens between broker and TPM hears neither the key nor what it is for.
#[test]
fn what_crosses_the_bus_is_ciphertext() {
    let Some(bench) = bench() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tpm = bench.tpm.address();
    let listening = std::thread::Builder::new().spawn(move || {
        let mut heard = Vec::new();
        for _ in 0..2 {
            let (broker, _) = listener.accept().unwrap();
            heard.extend(passed_on(broker, TcpStream::connect(&tpm).unwrap()));
        }
        heard
    });
    let device = at(&address, "");
    opens(&*device, &bind(&*device));
    let heard = listening.unwrap().join().unwrap();
    assert!(heard.len() > 1000, "{} bytes", heard.len());
    for secret in [*key().expose(), reference(PURPOSE)] {
        assert!(!heard.windows(16).any(|bytes| bytes == &secret[..16]));
    }
}

/// Command and answer, until the broker has no more. What was said.
fn passed_on(mut broker: TcpStream, mut tpm: TcpStream) -> Vec<u8> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        for (from, to) in [(0, 1), (1, 0)] {
            let sides = [&mut broker, &mut tpm];
            let count = sides[from].read(&mut buffer).unwrap_or(0);
            if count == 0 {
                return heard;
            }
            heard.extend_from_slice(&buffer[..count]);
            sides[to].write_all(&buffer[..count]).unwrap();
        }
    }
}

/// The object was sealed for the policies of one signer, and its own policy says so.
#[test]
fn a_binding_with_another_signer_in_it_opens_nothing() {
    let Some(bench) = bench() else { return };
    ["signer", "foreign"].iter().for_each(|name| bench.new_signer(name));
    bench.sign("signer", PURPOSE, "first");
    let mut binding = TpmBinding::decode(&bind(&*bench.signed())).unwrap();
    binding.signer = Some(policies::signer(&bench.path().join("foreign.pub")).unwrap());
    assert!(matches!(recover(&*bench.signed(), &binding.encode()), Err(SourceError::Kept)));
}

#[test]
fn another_tpm_and_a_cleared_one_are_refused_by_name() {
    let (Some(bench), Some(other)) = (bench(), bench()) else { return };
    let binding = bind(&*bench.device());
    assert!(refused(&*other.device(), &binding).starts_with("this is not the TPM"));
    bench.tool("tpm2_clear");
    assert!(refused(&*bench.device(), &binding).starts_with("this is not the TPM"));
}

#[test]
fn an_owner_with_a_password_is_told_to_take_it_away() {
    let Some(bench) = bench() else { return };
    let binding = bind(&*bench.device());
    bench.tool("tpm2_changeauth -c owner secret");
    assert!(refused(&*bench.device(), &binding).contains("has a password"));
}

#[test]
fn a_tpm_binding_that_is_damaged_at_any_byte_opens_nothing() {
    let Some(bench) = bench() else { return };
    let (device, binding) = (bench.device(), bind(&*bench.device()));
    for place in 0..binding.len() {
        let mut damaged = binding.clone();
        damaged[place] ^= 1;
        assert!(matches!(recover(&*device, &damaged), Err(SourceError::Kept)), "byte {place}");
    }
    let whole = TpmBinding::decode(&binding).unwrap();
    for place in (0..whole.private.len()).step_by(16) {
        let mut damaged = whole.clone();
        damaged.private[place] ^= 1;
        assert!(recover(&*device, &damaged.encode()).is_err(), "byte {place} of the private part");
    }
    opens(&*device, &binding);
}

#[test]
fn a_server_that_answers_garbage_or_never_is_no_tpm() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let device = at(&address, "timeout_ms = 300");
    assert!(matches!(wait(device.bind(&key(), PURPOSE)), Err(SourceError::Silent { .. })));
    drop(listener.accept().unwrap());
    let answers = std::thread::Builder::new().spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let device = at(&address, "timeout_ms = 60000");
    assert!(matches!(wait(device.bind(&key(), PURPOSE)), Err(SourceError::Garbled { .. })));
    answers.unwrap().join().unwrap();
}

/// Digests, and the object itself, as tpm2-tools have them.
#[test]
fn policies_and_the_sealed_object_are_those_of_tpm2_tools() {
    let Some(bench) = bench() else { return };
    bench.extend(16);
    let place = Place::Tcp(bench.tpm.address().parse().unwrap());
    let set = PcrSet::new(&[7, 16]).unwrap();
    let after = std::time::Duration::from_secs(60);
    let values = commands::with((&place, after), |tpm| tpm.read(set)).unwrap();
    bench.tool("tpm2_createpolicy --policy-pcr -l sha256:7,16 -L pcr.policy");
    let policy = of_pcrs(set, &values.digest());
    assert_eq!(std::fs::read(bench.path().join("pcr.policy")).unwrap(), policy);

    bench.new_signer("signer");
    let signer = policies::signer(&bench.path().join("signer.pub")).unwrap();
    let name = objects::name(&objects::signer(&signer));
    std::fs::write(bench.path().join("name"), name).unwrap();
    std::fs::write(bench.path().join("reference"), reference(PURPOSE)).unwrap();
    bench.tool("tpm2_startauthsession -S session");
    bench.tool("tpm2_policyauthorize -S session -L signed.policy -i pcr.policy -q reference -n name");
    bench.tool("tpm2_flushcontext session");
    let signed = authorized(&name, &reference(PURPOSE));
    assert_eq!(std::fs::read(bench.path().join("signed.policy")).unwrap(), signed);

    let binding = TpmBinding::decode(&bind(&*bench.device())).unwrap();
    for (file, part) in [("private", &binding.private), ("public", &binding.public)] {
        std::fs::write(bench.path().join(file), symbolon_core::tpm::wire::sized(part)).unwrap();
    }
    // As the tool reads it: the coordinates of the template, each with its length in this machine's order.
    let coordinate = [&32_u16.to_ne_bytes()[..], &[0; 128]].concat();
    std::fs::write(bench.path().join("unique"), [coordinate.clone(), coordinate].concat()).unwrap();
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";
    let kind = "-C o -g sha256 -G ecc256:aes128cfb -u unique";
    bench.tool(&format!("tpm2_createprimary {kind} -a {attributes} -c storage"));
    bench.tool("tpm2_flushcontext -t");
    bench.tool("tpm2_load -C storage -r private -u public -c object");
    bench.tool("tpm2_flushcontext -t");
    bench.tool("tpm2_unseal -c object -p pcr:sha256:7,16 -o opened");
    let opened = std::fs::read(bench.path().join("opened")).unwrap();
    assert_eq!(opened, [*key().expose(), reference(PURPOSE)].concat());
}

#[test]
fn settings_that_are_unsafe_or_unknown_are_refused() {
    assert!(parsed("").is_ok() && parsed("device = \"[::1]:2321\"\npcrs = [0, 23]").is_ok());
    let wrong = [
        "device = \"192.0.2.1:2321\"",
        "device = \"tpm\"",
        "pcrs = []",
        "pcrs = [24]",
        "pcrs = [7, 7]",
        "signer_file = \"/a\"",
        "policies_dir = \"/a\"",
        "timeout_ms = 99",
        "pin = \"1\"",
    ];
    assert!(wrong.iter().all(|text| parsed(text).is_err()));
}
