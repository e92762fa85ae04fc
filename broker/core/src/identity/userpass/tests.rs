#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use rand_core::UnwrapErr;
use symbolon_proto::id::TenantId;

use super::*;
use crate::identity::{IssuedKind, testing::NOW};
use crate::path::{MountPath, PolicyName};
use crate::token::ttl::TtlLimits;
use crate::token::{CidrList, TokenType};

const PASSWORD: &str = "correct horse battery staple";

fn user() -> User {
    let password = PasswordHash::with_salt(PASSWORD, [7; 16], PasswordCost::default()).unwrap();
    let token =
        TokenParams { token_policies: vec![PolicyName::parse("reader").unwrap()], ..TokenParams::default() };
    User { name: UserName::parse("Alice").unwrap(), password, token }
}

fn refused(user: Option<&User>, password: &str, remote: Option<IpAddr>) -> UserRefusal {
    match admit(user, password, remote) {
        Err(LoginError::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// Computed with the reference implementation (libargon2, by argon2-cffi 25). Passwords that are stored once
/// must fit with every later version.
#[test]
fn a_hash_is_that_of_argon2id() {
    let vectors = [
        ((19456, 2, 1), "799f12b9e17710824482d829835acb69f5a9355bf774c4f07342823b11b90928"),
        ((47104, 1, 1), "f327ddb9d987647f50803b01fb3ac8b3939b984184c0db5ec92390d483bb7fb3"),
        ((7168, 5, 2), "ef32bafd3feaed1d0305f3c41b0f2be2e73bd1e40b0aacf55ff96a9b8306f6a3"),
    ];
    for ((memory_kib, passes, lanes), hash) in vectors {
        let cost = PasswordCost::new(memory_kib, passes, lanes).unwrap();
        let made = PasswordHash::with_salt(PASSWORD, [7; 16], cost).unwrap();
        let salt = "07".repeat(16);
        let stored = format!(
            r#"{{"memory_kib":{memory_kib},"passes":{passes},"lanes":{lanes},"salt":"{salt}","hash":"{hash}"}}"#
        );
        assert_eq!(serde_json::to_string(&made).unwrap(), stored);
        let read: PasswordHash = serde_json::from_str(&stored).unwrap();
        assert!(read == made && read.verify(PASSWORD).unwrap() && !read.verify("another").unwrap());
    }
}

#[test]
fn parameters_have_bounds_in_a_stored_hash_too() {
    let bad = [
        (7167, 10, 1),
        (7168, 4, 1),
        (19456, 1, 1),
        (47105, 1, 1),
        (u32::MAX, 2, 1),
        (19456, 11, 1),
        (19456, 2, 0),
        (19456, 2, 5),
    ];
    for (memory_kib, passes, lanes) in bad {
        assert_eq!(PasswordCost::new(memory_kib, passes, lanes), Err(PasswordError::Cost));
    }
    let good = serde_json::to_string(&user()).unwrap();
    assert_eq!(serde_json::from_str::<User>(&good).unwrap(), user());
    for (from, to) in [(r#""memory_kib":19456"#, r#""memory_kib":1"#), ("0707", "07"), ("0707", "xx07")] {
        let damaged = good.replacen(from, to, 1);
        assert!(damaged != good && serde_json::from_str::<User>(&damaged).is_err(), "{damaged}");
    }
}

#[test]
fn a_new_password_has_a_salt_of_its_own_and_bounds() {
    let mut rng = UnwrapErr(getrandom::SysRng);
    let mut hash = |password: &str| PasswordHash::of(password, PasswordCost::default(), &mut rng);
    let (first, second) = (hash(PASSWORD).unwrap(), hash(PASSWORD).unwrap());
    assert!(first != second && first.verify(PASSWORD).unwrap() && second.verify(PASSWORD).unwrap());
    assert_eq!(hash("").unwrap_err(), PasswordError::Length);
    assert_eq!(hash(&"x".repeat(PASSWORD_BYTES_MAX + 1)).unwrap_err(), PasswordError::Length);
    assert!(hash(&"x".repeat(PASSWORD_BYTES_MAX)).is_ok());
}

#[test]
fn the_right_password_gives_the_users_token() {
    let identity = admit(Some(&user()), PASSWORD, None).unwrap();
    assert_eq!((identity.subject(), identity.alias()), ("alice", "alice"));
    assert_eq!(identity.meta()["username"], "alice");
    let mount = MountPath::parse("userpass").unwrap();
    let limits = TtlLimits::of_mount(3600, 7200);
    let issued = identity.issue(TenantId::SYSTEM, &mount, TokenType::DefaultService, limits, NOW).unwrap();
    let IssuedKind::Service(claims) = issued.token else { panic!("expected a service token") };
    assert_eq!(claims.display_name, "userpass-alice");
    assert_eq!(claims.path, "auth/userpass/login/alice");
    assert!(claims.policies.contains(&PolicyName::parse("reader").unwrap()));
}

#[test]
fn bad_logins_are_refused_with_one_text() {
    let good = user();
    assert_eq!(refused(None, PASSWORD, None), UserRefusal::UnknownUser);
    assert_eq!(refused(Some(&good), "wrong", None), UserRefusal::WrongPassword);
    for impossible in ["", &"x".repeat(PASSWORD_BYTES_MAX + 1)] {
        assert_eq!(refused(Some(&good), impossible, None), UserRefusal::WrongPassword);
        assert_eq!(refused(None, impossible, None), UserRefusal::UnknownUser);
    }
    let token = TokenParams {
        token_bound_cidrs: CidrList::parse(&["10.0.0.0/8"]).unwrap(),
        ..TokenParams::default()
    };
    let bound = User { token, ..good };
    let address = |text: &str| Some(text.parse().unwrap());
    assert!(admit(Some(&bound), PASSWORD, address("10.1.1.1")).is_ok());
    assert_eq!(refused(Some(&bound), PASSWORD, address("11.1.1.1")), UserRefusal::Address(OutOfBounds));
    assert_eq!(refused(Some(&bound), PASSWORD, None), UserRefusal::Address(OutOfBounds));
    assert_eq!(REFUSED, "invalid username or password");
}

#[test]
fn an_unknown_user_costs_as_much_as_a_fresh_one() {
    assert_eq!(PasswordHash::nobodys().cost(), user().password.cost());
    assert!(!PasswordHash::nobodys().verify(PASSWORD).unwrap());
}

#[test]
fn no_hash_shows_in_debug() {
    let shown = format!("{:?}", user());
    assert!(shown.contains("19456") && !shown.contains("[7,") && !shown.contains("0707"), "{shown}");
}

#[test]
fn names_and_parameters_that_cannot_be_are_refused() {
    let token = TokenParams { token_ttl: 2, token_max_ttl: 1, ..TokenParams::default() };
    assert_eq!(User { token, ..user() }.check(), Err(ParamsError::TtlOverMax));
    for bad in ["", "  ", "a b", "a/b", "-a", "ä", &"x".repeat(129)] {
        assert!(UserName::parse(bad).is_err(), "{bad}");
    }
}
