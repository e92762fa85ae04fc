use std::collections::BTreeMap;
use std::net::IpAddr;

use rand_core::UnwrapErr;
use symbolon_proto::secret::Secret;

use crate::identity::OutOfBounds;
use crate::identity::approle::*;
use crate::identity::testing::NOW;
use crate::path::RoleName;
use crate::token::{CidrList, TokenParams};

fn key() -> Secret<32> {
    Secret::filled_by(|bytes| bytes.fill(4))
}

fn role() -> AppRole {
    AppRole {
        name: RoleName::parse("web").unwrap(),
        role_id: "the-role-id".into(),
        bind_secret_id: true,
        secret_id_bound_cidrs: CidrList::default(),
        secret_id_num_uses: 0,
        secret_id_ttl: 0,
        token: TokenParams::default(),
    }
}

fn cidrs(text: &str) -> CidrList {
    CidrList::parse(&[text]).unwrap()
}

fn record(role: &AppRole, request: &SecretIdRequest) -> SecretIdRecord {
    let hash = secret_id_hash(&key(), &role.name, "s3cret");
    role.secret_id(request, hash, "accessor".into(), NOW).unwrap()
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn ids_look_like_uuids_and_are_distinct() {
    let mut rng = UnwrapErr(getrandom::SysRng);
    let (a, b) = (new_id(&mut rng), new_id(&mut rng));
    assert_ne!(*a, *b);
    let lengths: Vec<_> = a.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12]);
    assert_eq!(&a[14..15], "4");
    for bad in ["", " x", "a\n", "a\0b", &"x".repeat(513)] {
        assert_eq!(check_id(bad), Err(AppRoleError::BadId));
    }
}

#[test]
fn the_hash_binds_role_and_secret() {
    let hash = |role: &str, secret: &str| secret_id_hash(&key(), &RoleName::parse(role).unwrap(), secret);
    assert_eq!(hash("web", "s"), hash("WEB", "s"));
    assert_ne!(hash("web", "s"), hash("web2", "s"));
    assert_ne!(hash("web", "2s"), hash("web2", "s"));
    assert!(!hash("web", "s3cret").contains("s3cret"));
    assert_eq!(hash("web", "s3cret\r\n"), hash("web", "s3cret"), "a file ends in a line feed");
    assert_ne!(hash("web", "s3 cret"), hash("web", "s3cret"));
}

#[test]
fn a_login_shows_its_metadata_and_spends_a_use() {
    let request = SecretIdRequest {
        metadata: BTreeMap::from([("env".into(), "prod".into()), ("role_name".into(), "admin".into())]),
        num_uses: Some(2),
        ..SecretIdRequest::default()
    };
    let record = record(&role(), &request);
    let (identity, usage) = role().admit(Some(&record), None, NOW).unwrap();
    assert_eq!(identity.alias(), "the-role-id");
    assert_eq!(identity.meta()["role_name"], "web", "metadata cannot name another role");
    assert_eq!(identity.meta()["env"], "prod");
    let SecretIdUse::Left(left) = usage else { panic!("one login must be left") };
    assert_eq!(role().admit(Some(&left), None, NOW).unwrap().1, SecretIdUse::Last);
    let spent = SecretIdRecord { uses_left: Some(0), ..record };
    assert_eq!(role().admit(Some(&spent), None, NOW).unwrap_err(), AppRoleRefusal::UsedUp);
}

#[test]
fn bad_logins_are_refused_with_one_text() {
    let good = record(&role(), &SecretIdRequest::default());
    let refused = |role: &AppRole, record: Option<&SecretIdRecord>, remote, now| {
        role.admit(record, remote, now).unwrap_err()
    };
    assert_eq!(refused(&role(), None, None, NOW), AppRoleRefusal::UnknownSecretId);
    let other = AppRole { name: RoleName::parse("other").unwrap(), ..role() };
    assert_eq!(refused(&other, Some(&good), None, NOW), AppRoleRefusal::OtherRole);
    let brief = record(&role(), &SecretIdRequest { ttl_secs: Some(60), ..SecretIdRequest::default() });
    assert!(role().admit(Some(&brief), None, NOW + 59).is_ok());
    assert_eq!(refused(&role(), Some(&brief), None, NOW + 60), AppRoleRefusal::Expired);
    let here = SecretIdRequest { cidr_list: cidrs("10.0.0.0/8"), ..SecretIdRequest::default() };
    let here = record(&role(), &here);
    assert!(role().admit(Some(&here), address("10.1.1.1"), NOW).is_ok());
    assert_eq!(refused(&role(), Some(&here), address("11.1.1.1"), NOW), AppRoleRefusal::Address(OutOfBounds));
    assert_eq!(refused(&role(), Some(&here), None, NOW), AppRoleRefusal::Address(OutOfBounds));
    let bound = AppRole { secret_id_bound_cidrs: cidrs("10.0.0.0/8"), ..role() };
    assert_eq!(refused(&bound, Some(&good), address("11.1.1.1"), NOW), AppRoleRefusal::Address(OutOfBounds));
    assert_eq!(REFUSED, "invalid role or secret ID");
}

#[test]
fn without_secret_id_the_address_must_fit() {
    let open = AppRole { bind_secret_id: false, ..role() };
    assert_eq!(open.check(), Err(AppRoleError::Unbound));
    for everywhere in ["0.0.0.0/0", "::/0"] {
        let token = TokenParams { token_bound_cidrs: cidrs(everywhere), ..TokenParams::default() };
        assert_eq!(AppRole { token, ..open.clone() }.check(), Err(AppRoleError::Unbound), "{everywhere}");
        let login = AppRole { secret_id_bound_cidrs: cidrs(everywhere), ..open.clone() };
        assert_eq!(login.check(), Err(AppRoleError::Unbound), "{everywhere}");
    }
    let token = TokenParams { token_bound_cidrs: cidrs("10.0.0.0/8"), ..TokenParams::default() };
    let bound = AppRole { token, ..open };
    assert_eq!(bound.check(), Ok(()));
    assert!(bound.admit(None, address("10.1.1.1"), NOW).is_ok());
    assert_eq!(
        bound.admit(None, address("11.1.1.1"), NOW).unwrap_err(),
        AppRoleRefusal::Address(OutOfBounds)
    );
    let request = SecretIdRequest::default();
    assert_eq!(bound.secret_id(&request, String::new(), String::new(), NOW), Err(AppRoleError::NotBound));
}

#[test]
fn secret_ids_have_no_more_than_their_role_gives() {
    let strict = AppRole { secret_id_num_uses: 5, secret_id_ttl: 100, ..role() };
    let ask = |num_uses, ttl_secs| {
        let request = SecretIdRequest { num_uses, ttl_secs, ..SecretIdRequest::default() };
        strict
            .secret_id(&request, String::new(), String::new(), NOW)
            .map(|record| (record.uses_left, record.expires_at))
    };
    assert_eq!(ask(None, None), Ok((Some(5), Some(NOW + 100))));
    assert_eq!(ask(Some(2), Some(50)), Ok((Some(2), Some(NOW + 50))));
    assert_eq!(ask(Some(6), None), Err(AppRoleError::NumUses));
    assert_eq!(ask(Some(0), None), Err(AppRoleError::NumUses));
    assert_eq!(ask(None, Some(101)), Err(AppRoleError::Ttl));
    assert_eq!(ask(None, Some(0)), Err(AppRoleError::Ttl));
    let fat = SecretIdRequest {
        metadata: BTreeMap::from([("k".into(), "v".repeat(5000))]),
        ..SecretIdRequest::default()
    };
    assert_eq!(role().secret_id(&fat, String::new(), String::new(), NOW), Err(AppRoleError::Metadata));
    let made = record(&role(), &SecretIdRequest::default());
    let text = serde_json::to_string(&made).unwrap();
    assert_eq!(serde_json::from_str::<SecretIdRecord>(&text).unwrap(), made);
}
