//! With SoftHSM2. Its library finds its tokens by the environment of the process, and PINs and logins are
//! remembered for a process: each test runs again in one of its own.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use symbolon_core::token_binding::TokenBinding;
use symbolon_proto::secret::Secret;
use symbolon_repository::softhsm::SoftHsm;

use super::KIND;
use super::ciphers::parts;
use super::error::TokenError;
use super::settings::Token;
use super::tokens::{Flags, may_try};
use super::{modules, tokens};
use crate::custody::sources::{Device, SourceError};

const PIN: &str = "12345678";
const HSM: (&str, &str) = ("hsm", PIN);
const PURPOSE: &[u8] = b"symbolon source of a deployment";

/// A folder of tokens, with one of the label `hsm` that has a key of each kind.
struct Bench {
    hsm: SoftHsm,
    folder: PathBuf,
}

impl Bench {
    fn pin(&self, pin: &str) {
        std::fs::write(self.folder.join("pin"), pin).unwrap();
    }

    fn device(&self, changes: &[(&str, Option<&str>)]) -> Box<dyn Device> {
        let settings = Settings { library: self.hsm.library.clone(), folder: self.folder.clone() };
        settings.parsed(changes).unwrap_or_else(|why| panic!("{why}"))
    }

    fn rsa(&self) -> Box<dyn Device> {
        self.device(&RSA)
    }
}

struct Settings {
    library: PathBuf,
    folder: PathBuf,
}

impl Settings {
    /// The usual ones, with some changed, added or taken away.
    fn parsed(&self, changes: &[(&str, Option<&str>)]) -> Result<Box<dyn Device>, String> {
        let usual = [
            ("module", self.library.to_str().unwrap()),
            ("token", "hsm"),
            ("key", "wrap"),
            ("mechanism", "aes-gcm"),
            ("pin_file", self.folder.join("pin").to_str().unwrap()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut settings: toml::Table = usual.into_iter().map(|(name, value)| (name, value.into())).collect();
        for (name, value) in changes {
            match value {
                Some(value) => drop(settings.insert((*name).to_owned(), (*value).into())),
                None => drop(settings.remove(*name)),
            }
        }
        settings.insert("timeout_ms".to_owned(), 60_000.into());
        (KIND.parse)(&settings.into())
    }
}

const RSA: [(&str, Option<&str>); 3] =
    [("mechanism", Some("rsa-oaep")), ("oaep_hash", Some("sha1")), ("key", Some("pair"))];

/// The test again, in a process that sees a folder of tokens.
fn alone(test: fn(&Bench)) {
    if let Some(hsm) = SoftHsm::of_this_process() {
        let folder = hsm.tokens().parent().unwrap().to_owned();
        return test(&Bench { hsm, folder });
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(hsm) = SoftHsm::in_folder(folder.path()) else { return };
    hsm.token("hsm", PIN);
    hsm.aes(HSM, "wrap", &["--sensitive"]);
    hsm.rsa(HSM, "pair", &[]);
    std::fs::write(folder.path().join("pin"), format!("{PIN}\n")).unwrap();
    let (name, value) = hsm.environment();
    let this = std::thread::current().name().unwrap().to_owned();
    let mut again = Command::new(std::env::current_exe().unwrap());
    let done = again.args([&this, "--exact", "--nocapture"]).env(name, value).output().unwrap();
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
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

fn refused_bind(device: &dyn Device) -> String {
    wait(device.bind(&key(), PURPOSE)).unwrap_err().to_string()
}

fn recover(device: &dyn Device, binding: &[u8]) -> Result<Secret<32>, SourceError> {
    wait(device.recover(binding, PURPOSE))
}

fn refused(device: &dyn Device, binding: &[u8]) -> SourceError {
    recover(device, binding).err().unwrap()
}

#[track_caller]
fn gives_the_key(device: &dyn Device, binding: &[u8]) {
    assert!(recover(device, binding).unwrap().same_as(&key()));
}

#[track_caller]
fn says(error: &impl ToString, expected: &TokenError) {
    assert!(error.to_string().contains(&expected.to_string()), "{} is not {expected}", error.to_string());
}

#[test]
fn a_key_is_bound_and_recovered_by_aes_gcm_and_by_rsa_oaep() {
    alone(|bench| {
        for device in [bench.device(&[]), bench.rsa()] {
            let binding = bind(device.as_ref());
            assert!(!binding.windows(8).any(|part| part == [0x4b; 8]), "the key shows in its binding");
            assert_ne!(binding, bind(device.as_ref()), "each is random");
            gives_the_key(device.as_ref(), &binding);
            assert!(wait(device.recover(&binding, b"another source")).is_err());
        }
    });
}

/// What OpenSC decrypts, beside us: the binding is what the standards say and nothing of our own.
#[test]
fn what_oaep_has_bound_is_opened_by_pkcs11_tool_too() {
    alone(|bench| {
        let TokenBinding::RsaOaep { sealed, .. } = TokenBinding::decode(&bind(bench.rsa().as_ref())).unwrap()
        else {
            panic!("it is of RSA")
        };
        let [sealed_at, opened_at] = ["sealed", "opened"].map(|name| bench.folder.join(name));
        std::fs::write(&sealed_at, sealed).unwrap();
        let [from, to] = [&sealed_at, &opened_at].map(|path| path.to_str().unwrap());
        let decrypt =
            ["--decrypt", "--mechanism", "RSA-PKCS-OAEP", "--hash-algorithm", "SHA-1", "--id", "b2"];
        bench.hsm.tool(HSM, &[&decrypt[..], &["--input-file", from, "--output-file", to]].concat());
        let opened = std::fs::read(opened_at).unwrap();
        assert_eq!((opened.len(), &opened[..32]), (64, &[0x4b; 32][..]));
    });
}

#[test]
fn a_token_is_found_by_its_serial_and_a_key_by_its_id() {
    alone(|bench| {
        let slots = bench.hsm.slots();
        let serial = slots.lines().find_map(|line| line.trim().strip_prefix("serial num")).unwrap();
        let serial = serial.trim_start_matches([' ', ':']);
        let changes = [("token", None), ("serial", Some(serial)), ("key", None), ("key_id", Some("A1"))];
        let device = bench.device(&changes);
        gives_the_key(bench.device(&[]).as_ref(), &bind(device.as_ref()));
    });
}

#[test]
fn a_binding_that_is_damaged_at_any_byte_opens_nothing() {
    alone(|bench| {
        for device in [bench.device(&[]), bench.rsa()] {
            let binding = bind(device.as_ref());
            for at in 0..binding.len() {
                let mut damaged = binding.clone();
                damaged[at] ^= 1 << (at % 8);
                assert!(recover(device.as_ref(), &damaged).is_err(), "byte {at} of {}", binding.len());
            }
            assert!(recover(device.as_ref(), &binding[..binding.len() - 1]).is_err());
            assert!(recover(device.as_ref(), &[&binding[..], &[0]].concat()).is_err());
        }
    });
}

/// SoftHSM2 counts wrong PINs by a flag, which a right one takes away.
#[test]
fn a_wrong_pin_is_tried_once_and_never_again_until_the_file_says_another() {
    alone(|bench| {
        let counted = || bench.hsm.slots().contains("user PIN count low");
        let device = bench.device(&[]);
        let binding = bind(device.as_ref());
        assert!(!counted());
        bench.pin("11111111");
        says(&refused(device.as_ref(), &binding), &TokenError::PinWrong);
        assert!(counted(), "it was tried");
        bench.hsm.tool(HSM, &["--list-objects"]);
        assert!(!counted(), "somebody logged in with the right one");
        for other in [bench.device(&[]), bench.rsa()] {
            says(&refused(other.as_ref(), &binding), &TokenError::PinNotTriedAgain);
            says(&refused_bind(other.as_ref()), &TokenError::PinNotTriedAgain);
        }
        std::fs::copy(bench.folder.join("pin"), bench.folder.join("other")).unwrap();
        let elsewhere = bench.device(&[("pin_file", bench.folder.join("other").to_str())]);
        says(&refused(elsewhere.as_ref(), &binding), &TokenError::PinNotTriedAgain);
        assert!(!counted(), "the refused PIN was tried again");
        bench.pin(PIN);
        gives_the_key(device.as_ref(), &binding);
    });
}

#[test]
fn the_last_try_and_a_locked_pin_are_left_to_a_person() {
    let flags = |locked, final_try, initialised| Flags { locked, final_try, initialised };
    assert!(may_try(&flags(false, false, true)).is_ok());
    assert!(matches!(may_try(&flags(true, true, true)), Err(TokenError::PinLocked)));
    assert!(matches!(may_try(&flags(false, true, true)), Err(TokenError::PinLastTry)));
    assert!(matches!(may_try(&flags(false, false, false)), Err(TokenError::NoPin)));
}

#[test]
fn a_token_that_is_removed_is_missed_and_works_when_it_is_back() {
    alone(|bench| {
        let device = bench.device(&[]);
        let binding = bind(device.as_ref());
        let away = bench.folder.join("away");
        std::fs::rename(bench.hsm.tokens(), &away).unwrap();
        std::fs::create_dir(bench.hsm.tokens()).unwrap();
        let missed = refused(device.as_ref(), &binding);
        assert!(matches!(&missed, SourceError::Unreachable(_)), "{missed}");
        says(&refused(device.as_ref(), &binding), &TokenError::NotThere);
        std::fs::remove_dir_all(bench.hsm.tokens()).unwrap();
        std::fs::rename(&away, bench.hsm.tokens()).unwrap();
        let _ = recover(device.as_ref(), &binding); // a library may need to begin again first
        gives_the_key(device.as_ref(), &binding);
    });
}

#[test]
fn a_key_that_is_deleted_replaced_or_there_twice_is_said_to_be() {
    alone(|bench| {
        let device = bench.device(&[]);
        let binding = bind(device.as_ref());
        bench.hsm.aes(HSM, "wrap", &["--sensitive"]);
        says(&refused(device.as_ref(), &binding), &TokenError::TwoKeys);
        for _ in 0..2 {
            bench.hsm.tool(HSM, &["--delete-object", "--type", "secrkey", "--label", "wrap"]);
        }
        says(&refused(device.as_ref(), &binding), &TokenError::NoKey);
        bench.hsm.aes(HSM, "wrap", &["--sensitive"]);
        says(&refused(device.as_ref(), &binding), &TokenError::DoesNotOpen);
    });
}

#[test]
fn a_key_that_may_leave_the_token_is_refused_before_it_is_used() {
    alone(|bench| {
        let [mechanism, hash, _] = RSA;
        bench.hsm.aes(HSM, "leaves", &["--sensitive", "--extractable"]);
        bench.hsm.aes(HSM, "shows", &[]);
        bench.hsm.rsa(HSM, "pair-leaves", &["--usage-decrypt", "--extractable"]);
        for key in ["leaves", "shows"] {
            says(&refused_bind(bench.device(&[("key", Some(key))]).as_ref()), &TokenError::KeyMayLeave);
        }
        let rsa = |key| bench.device(&[mechanism, hash, ("key", Some(key))]);
        says(&refused_bind(rsa("pair-leaves").as_ref()), &TokenError::KeyMayLeave);
        encrypts_only(&bench.hsm, "one-way");
        let one_way = bench.device(&[("key", Some("one-way"))]);
        says(&refused_bind(one_way.as_ref()), &TokenError::KeyMayNotDecrypt);
    });
}

/// What `pkcs11-tool` does not make: an AES key that may not decrypt.
fn encrypts_only(hsm: &SoftHsm, label: &str) {
    let template = [
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Token(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(false),
        Attribute::ValueLen(32.into()),
    ];
    let made = modules::with(&hsm.library, |library| {
        let (slot, _) = tokens::find(library, &Token::Label("hsm".to_owned()))?;
        let session = library.open_rw_session(slot).unwrap();
        session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
        Ok(session.generate_key(&Mechanism::AesKeyGen, &template).unwrap())
    });
    made.unwrap();
}

#[test]
fn two_tokens_of_one_label_none_and_no_mechanism_are_told_apart() {
    alone(|bench| {
        says(&refused_bind(bench.device(&[("token", Some("nobody"))]).as_ref()), &TokenError::NotThere);
        let [mechanism, _, key] = RSA;
        let sha256 = bench.device(&[mechanism, key]);
        says(&refused_bind(sha256.as_ref()), &TokenError::NoMechanism);
        bench.hsm.token("hsm", PIN);
        let missed = refused_bind(bench.device(&[("token", Some("nobody"))]).as_ref());
        says(&missed, &TokenError::NotThere);
        says(&refused_bind(bench.device(&[]).as_ref()), &TokenError::TwoTokens);
    });
}

#[test]
fn files_that_are_no_library_or_hold_no_pin_are_named() {
    alone(|bench| {
        let no_library = bench.folder.join("text.so");
        std::fs::write(&no_library, "not an ELF file").unwrap();
        let no_functions = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"];
        let no_functions = no_functions.iter().copied().find(|path| std::path::Path::new(path).exists());
        for module in [no_library.to_str(), Some("/nowhere/pkcs11.so"), no_functions].into_iter().flatten() {
            let device = bench.device(&[("module", Some(module))]);
            let error = wait(device.bind(&key(), PURPOSE)).unwrap_err();
            assert!(
                matches!(&error, SourceError::File { path, .. } if path.to_str() == Some(module)),
                "{error}"
            );
        }
        std::fs::remove_file(bench.folder.join("pin")).unwrap();
        let error = wait(bench.device(&[]).bind(&key(), PURPOSE)).unwrap_err();
        assert!(matches!(&error, SourceError::File { path, .. } if *path == bench.folder.join("pin")));
    });
}

/// Under two names of one library, too: whoever is logged in is so for the process.
#[test]
fn sources_on_one_library_at_once_take_turns() {
    alone(|bench| {
        let link = bench.folder.join("link.so");
        std::os::unix::fs::symlink(&bench.hsm.library, &link).unwrap();
        let devices = [bench.device(&[]), bench.rsa(), bench.device(&[("module", link.to_str())])];
        let bindings = devices.each_ref().map(|device| bind(device.as_ref()));
        let all = async {
            let mut asked = tokio::task::JoinSet::new();
            for (device, binding) in devices.into_iter().zip(bindings) {
                asked.spawn(async move {
                    for _ in 0..20 {
                        assert!(device.recover(&binding, PURPOSE).await.unwrap().same_as(&key()));
                    }
                });
            }
            while let Some(done) = asked.join_next().await {
                done.unwrap();
            }
        };
        wait(all);
    });
}

#[test]
fn an_iv_that_a_token_makes_itself_is_the_one_that_is_kept() {
    let (ours, sealed, theirs) = ([1; 12], [2; 48], [3; 16]);
    assert_eq!(parts(&ours, &sealed), Some((&ours[..], &sealed[..])));
    assert_eq!(parts(&ours, &[&sealed[..], &theirs].concat()), Some((&theirs[..], &sealed[..])));
    for wrong in [vec![2; 47], vec![2; 48 + 11], vec![2; 48 + 17]] {
        assert_eq!(parts(&ours, &wrong), None);
    }
}

#[test]
fn settings_that_name_nothing_or_two_things_are_refused() {
    let bench =
        Settings { library: PathBuf::from("/usr/lib/module.so"), folder: PathBuf::from("/run/credentials") };
    let wrong: [&[(&str, Option<&str>)]; 9] = [
        &[("token", None)],
        &[("serial", Some("1"))],
        &[("key", None)],
        &[("key_id", Some("a1"))],
        &[("key", None), ("key_id", Some("xyz"))],
        &[("mechanism", Some("aes-cbc"))],
        &[("oaep_hash", Some("sha256"))],
        &[("pin_file", Some("pin"))],
        &[("pin", Some("1234"))],
    ];
    for changes in wrong {
        assert!(bench.parsed(changes).is_err(), "{changes:?}");
    }
    assert!(bench.parsed(&[]).is_ok() && bench.parsed(&RSA).is_ok());
}
