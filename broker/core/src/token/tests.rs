#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand_core::UnwrapErr;
use symbolon_proto::secret::Secret;

use super::ttl::{SYSTEM_TTL_SECS, TtlLimits, TtlRequest};
use super::*;

const NOW: u64 = 1_700_000_000;
const TENANT: TenantId = TenantId::from_bytes([1; 16]);

fn rng() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}

fn key(byte: u8) -> Secret<32> {
    Secret::filled_by(|bytes| bytes.fill(byte))
}

fn names(texts: &[&str]) -> Vec<PolicyName> {
    texts.iter().map(|text| PolicyName::parse(text).unwrap()).collect()
}

fn limits() -> TtlLimits {
    TtlLimits::of_mount(3600, 7200)
}

fn claims(policies: &[&str], ttl_secs: u64) -> TokenClaims {
    TokenClaims {
        policies: names(policies),
        ttl_secs,
        renewable: true,
        orphan: false,
        ..TokenClaims::root(NOW)
    }
}

fn service(claims: TokenClaims) -> ServiceToken {
    let text = new_service_token(&mut rng());
    ServiceToken::new(claims, hash_of(&key(1), &text), new_accessor(&mut rng()))
}

fn parent(policies: &[&str]) -> Caller {
    service(claims(policies, 3600)).caller(TENANT, None, NOW).unwrap()
}

#[test]
fn tokens_look_as_clients_expect() {
    let token = new_service_token(&mut rng());
    assert!(token.starts_with("hvs.") && token.len() == 28);
    assert_eq!(TokenShape::of(&token), Ok(TokenShape::Service));
    assert_eq!(TokenShape::of("hvb.x"), Ok(TokenShape::Batch));
    for bad in [
        "",
        "s.abc",
        "hvs",
        "hvs.a b",
        "hvs.\0",
        "hvs.\u{e4}",
        "HVS.x",
        &format!("hvb.{}", "a".repeat(20_000)),
    ] {
        assert_eq!(TokenShape::of(bad), Err(BadToken), "{bad:.20}");
    }
    let distinct: BTreeSet<_> = (0..100).map(|_| new_accessor(&mut rng())).collect();
    assert_eq!(distinct.len(), 100);
    let digits: BTreeSet<_> = random_base62(20_000, &mut rng()).chars().collect();
    assert_eq!(digits.len(), 62);
}

#[test]
fn rows_are_named_by_a_keyed_hash() {
    let hash = hash_of(&key(1), "hvs.a");
    assert_eq!(hash, hash_of(&key(1), "hvs.a"));
    assert_ne!(hash, hash_of(&key(2), "hvs.a"));
    assert_ne!(hash, hash_of(&key(1), "hvs.b"));
    assert_eq!(hash.to_string().parse::<TokenHash>().unwrap(), hash);
    assert!("00".parse::<TokenHash>().is_err());
}

#[test]
fn machine_tokens_open_with_their_key_only_and_only_in_time() {
    let mut wanted = claims(&["eso", "root"], 600);
    wanted.meta.insert("role".into(), "eso".into());
    wanted.num_uses = 3;
    wanted.period_secs = 10;
    let machine = MachineToken::new(TENANT, wanted);
    let text = machine.seal(&key(9), &mut rng()).unwrap();
    assert!(text.starts_with("hvb."));
    let open = |key: &Secret<32>, text: &str, now| MachineToken::open(key, text, None, now);
    let caller = open(&key(9), &text, NOW + 599).unwrap();
    assert_eq!(caller, machine.caller());
    assert_eq!((caller.kind, caller.accessor.clone(), caller.num_uses), (TokenKind::Batch, None, 0));
    assert_eq!(caller.policies, names(&["eso"]), "a stateless token is never root");
    assert!(!caller.renewable && caller.ttl_left_secs(NOW + 500) == 100);
    assert_eq!(open(&key(9), &text, NOW + 600), Err(BadToken));
    assert_eq!(open(&key(8), &text, NOW), Err(BadToken));
    for at in 4..text.len() {
        let mut changed = text.to_string().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(open(&key(9), std::str::from_utf8(&changed).unwrap(), NOW), Err(BadToken), "{at}");
    }
    for bad in ["hvb.", "hvb.AQ", "hvb.!!", "hvs.x", "", &text[..text.len() - 1], &format!("{}=", *text)] {
        assert_eq!(open(&key(9), bad, NOW), Err(BadToken), "{bad:.20}");
    }
    let endless = MachineToken::new(TENANT, claims(&[], 0));
    assert_eq!(endless.claims().ttl_secs, MACHINE_TTL_SECS_DEFAULT);
    let long = MachineToken::new(TENANT, claims(&[], u64::MAX));
    assert_eq!(long.claims().ttl_secs, MACHINE_TTL_SECS_MAX);
    let mut fat = claims(&[], 60);
    fat.meta.insert("x".into(), "y".repeat(20_000));
    assert_eq!(MachineToken::new(TENANT, fat).seal(&key(9), &mut rng()).unwrap_err(), SealTokenError);
}

/// Addresses in and around the ranges that they begin.
fn some_addresses() -> Vec<std::net::IpAddr> {
    let v4 = ["0.0.0.0", "10.0.0.1", "10.1.0.1", "10.1.2.3", "10.2.0.1", "11.0.0.1", "255.255.255.255"];
    let v6 = ["::", "::1", "::ffff:10.1.2.3", "2001:db8::1", "2001:db8:1::1", "2001:db9::1"];
    v4.into_iter().chain(v6).map(|text| text.parse().unwrap()).collect()
}

fn some_list() -> impl Strategy<Value = CidrList> {
    let network = prop::sample::select(some_addresses());
    let range = (network, 0u8..=128).prop_map(|(network, bits)| {
        let bits = if network.is_ipv4() { bits.min(32) } else { bits };
        format!("{network}/{bits}")
    });
    prop::collection::vec(range, 0..4).prop_map(|texts| CidrList::parse(&texts).unwrap())
}

proptest! {
    /// Whatever a narrowed list admits, both admit, and the other way round.
    #[test]
    fn lists_narrow_each_other(one in some_list(), other in some_list()) {
        let both = one.narrowed_by(&other);
        for address in some_addresses() {
            let admits = both.as_ref().is_some_and(|both| both.admits(Some(address)));
            prop_assert_eq!(admits, one.admits(Some(address)) && other.admits(Some(address)), "{}", address);
            if one.is_within(&other) && one.admits(Some(address)) {
                prop_assert!(other.admits(Some(address)), "{}", address);
            }
        }
        if let Some(both) = &both {
            prop_assert!(both.is_within(&one) && both.is_within(&other));
        }
    }
}

#[test]
fn tokens_are_bound_to_addresses() {
    let mut bound = claims(&["a"], 600);
    bound.bound_cidrs = CidrList::parse(&["10.1.0.0/16", "2001:db8::1"]).unwrap();
    let token = service(bound.clone());
    let machine = MachineToken::new(TENANT, bound).seal(&key(9), &mut rng()).unwrap();
    let check = |remote: Option<&str>, good: bool| {
        let remote = remote.map(|text| text.parse().unwrap());
        assert_eq!(token.caller(TENANT, remote, NOW).is_ok(), good, "{remote:?}");
        assert_eq!(MachineToken::open(&key(9), &machine, remote, NOW).is_ok(), good, "{remote:?}");
    };
    check(Some("10.1.255.1"), true);
    check(Some("::ffff:10.1.2.3"), true);
    check(Some("2001:db8::1"), true);
    check(Some("10.2.0.1"), false);
    check(Some("2001:db8::2"), false);
    check(None, false);
    let all = CidrList::parse(&["0.0.0.0/0", "::/0"]).unwrap();
    assert!(all.contains("1.2.3.4".parse().unwrap()) && all.contains("::1".parse().unwrap()));
    for bad in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "::/129", "host/8", "10.0.0.0/8/8"]
    {
        assert_eq!(CidrList::parse(&[bad]), Err(BadCidr), "{bad}");
    }
    assert_eq!(CidrList::parse(&["10.0.0.0/8"; 65]), Err(BadCidr));
}

#[test]
fn service_tokens_end_and_are_used_up() {
    let mut token = service(TokenClaims { num_uses: 2, ..claims(&["a"], 60) });
    assert!(token.caller(TENANT, None, NOW + 59).is_ok());
    assert_eq!(token.caller(TENANT, None, NOW + 60), Err(BadToken));
    let Spent::Left(next) = token.spend().unwrap() else { panic!("one use must be left") };
    assert_eq!(next.uses_left, Some(1));
    assert_eq!(next.spend(), Ok(Spent::Last));
    token.uses_left = Some(0);
    assert_eq!(token.spend(), Err(BadToken));
    assert_eq!(token.caller(TENANT, None, NOW), Err(BadToken));
    let root = service(TokenClaims::root(NOW));
    assert_eq!(root.spend(), Ok(Spent::Unlimited));
    assert!(root.caller(TENANT, None, u64::MAX).unwrap().is_root());
    let text = serde_json::to_string(&root).unwrap();
    assert_eq!(serde_json::from_str::<ServiceToken>(&text).unwrap(), root);
}

#[test]
fn lifetimes_follow_vault() {
    let secs = |request, issued, now| {
        ttl::decide(request, limits(), issued, now).map(|ttl| (ttl.secs, ttl.capped.is_some()))
    };
    let request = TtlRequest::default();
    assert_eq!(secs(request, 0, 0), Ok((3600, false)));
    assert_eq!(secs(TtlRequest { role_secs: 60, ..request }, 0, 0), Ok((60, false)));
    assert_eq!(secs(TtlRequest { asked_secs: 30, role_secs: 60, ..request }, 0, 0), Ok((30, false)));
    assert_eq!(secs(TtlRequest { asked_secs: 9000, ..request }, 0, 0), Ok((7200, true)));
    assert_eq!(secs(TtlRequest { asked_secs: 900, role_max_secs: 600, ..request }, 0, 0), Ok((600, true)));
    assert_eq!(
        secs(TtlRequest { asked_secs: 900, explicit_max_secs: 500, ..request }, 0, 0),
        Ok((500, true))
    );
    assert_eq!(secs(request, 0, 7000), Ok((200, true)));
    assert_eq!(secs(request, 0, 7200), Err(ttl::PastMaxTtl));
    assert_eq!(
        secs(TtlRequest { asked_secs: u64::MAX, ..request }, u64::MAX, u64::MAX),
        Err(ttl::PastMaxTtl)
    );
    // A period is renewed for ever, but for the explicit maximum.
    let period = TtlRequest { period_secs: 100, ..request };
    assert_eq!(secs(period, 0, 1_000_000), Ok((100, false)));
    assert_eq!(secs(TtlRequest { explicit_max_secs: 50, ..period }, 0, 0), Ok((50, true)));
    assert_eq!(secs(TtlRequest { explicit_max_secs: 150, ..period }, 0, 100), Ok((50, true)));
    assert_eq!(secs(TtlRequest { period_secs: 9000, ..request }, 0, 0), Ok((7200, true)));
    // A clock that went back lengthens nothing.
    assert_eq!(secs(TtlRequest { asked_secs: 9000, ..request }, 10_000, 0), Ok((7200, true)));

    let warning =
        ttl::decide(TtlRequest { asked_secs: 9000, ..request }, limits(), 0, 0).unwrap().capped.unwrap();
    assert_eq!(
        warning.to_string(),
        "TTL of \"2h30m0s\" exceeded the effective max_ttl of \"2h0m0s\"; TTL value is capped accordingly"
    );
    let system = TtlLimits::of_mount(0, 0);
    assert_eq!((system.default_secs(), system.max_secs()), (SYSTEM_TTL_SECS, SYSTEM_TTL_SECS));
    assert_eq!(TtlLimits::of_mount(100, 50).default_secs(), 50);
}

#[test]
fn renewal() {
    let token = service(claims(&["a"], 600));
    let renewed = token.renew(0, limits(), NOW + 500).unwrap();
    assert_eq!((renewed.ttl_secs, renewed.token.expires_at), (600, Some(NOW + 1100)));
    assert_eq!(renewed.token.last_renewal, Some(NOW + 500));
    assert_eq!(token.renew(9999, limits(), NOW + 7000).unwrap().ttl_secs, 200);
    assert_eq!(token.renew(0, limits(), NOW + 7200), Err(RenewError::PastMaxTtl(ttl::PastMaxTtl)));
    assert_eq!(service(TokenClaims::root(NOW)).renew(5, limits(), NOW), Err(RenewError::NotRenewable));
    let stiff = service(TokenClaims { renewable: false, ..claims(&["a"], 600) });
    assert_eq!(stiff.renew(5, limits(), NOW), Err(RenewError::NotRenewable));
}

fn create(parent: &Caller, request: &CreateRequest, sudo: bool) -> Result<TokenClaims, CreateError> {
    create_child(parent, request, sudo, "auth/token/create", limits(), NOW).map(|(claims, _)| claims)
}

fn asking(policies: &[&str]) -> CreateRequest {
    CreateRequest { policies: Some(names(policies)), ..CreateRequest::default() }
}

#[test]
fn children_have_no_more_than_their_parents() {
    let caller = parent(&["a", "b", "default"]);
    let policies =
        |request: &CreateRequest, sudo| create(&caller, request, sudo).map(|claims| claims.policies);
    assert_eq!(policies(&asking(&[]), false), Ok(names(&["a", "b", "default"])));
    assert_eq!(policies(&asking(&["b", "b"]), false), Ok(names(&["b", "default"])));
    assert_eq!(policies(&asking(&["a", "c"]), false), Err(CreateError::NotSubset));
    assert_eq!(policies(&asking(&["c"]), true), Ok(names(&["c", "default"])));
    assert_eq!(policies(&asking(&["ROOT"]), false), Err(CreateError::RootNeedsRoot));
    assert_eq!(policies(&asking(&["a", " Root "]), true), Err(CreateError::RootNeedsRoot));
    assert_eq!(policies(&asking(&["response-wrapping"]), true), Err(CreateError::Reserved));
    let bare = CreateRequest { no_default_policy: true, ..asking(&["a"]) };
    assert_eq!(policies(&bare, false), Ok(names(&["a"])));
    let bare = CreateRequest { no_default_policy: true, ..asking(&[]) };
    assert_eq!(policies(&bare, false), Ok(names(&["a", "b"])));

    let without = parent(&["a"]);
    assert_eq!(create(&without, &asking(&["a"]), false).unwrap().policies, names(&["a"]));
    assert_eq!(create(&without, &asking(&["default"]), false), Err(CreateError::NotSubset));
    let many: Vec<_> = (0..300).map(|n| format!("p{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(create(&without, &asking(&many), true), Err(CreateError::TooManyPolicies));
}

#[test]
fn root_comes_from_root_only() {
    let root = service(TokenClaims::root(NOW)).caller(TENANT, None, NOW).unwrap();
    let child = create(&root, &asking(&[]), false).unwrap();
    assert_eq!((child.policies.clone(), child.ttl_secs, child.renewable), (names(&["root"]), 0, false));
    assert_eq!(create(&root, &asking(&["root", "a"]), false).unwrap().policies, names(&["root"]));
    assert_eq!(create(&root, &asking(&["a"]), false).unwrap().policies, names(&["a", "default"]));
    let brief = CreateRequest { ttl_secs: 60, ..asking(&["root"]) };
    let brief = service(create(&root, &brief, false).unwrap()).caller(TENANT, None, NOW).unwrap();
    assert_eq!(create(&brief, &asking(&["root"]), false), Err(CreateError::EndlessRoot));
    let batch = CreateRequest { kind: Some(TokenKind::Batch), ..asking(&["root"]) };
    assert_eq!(create(&root, &batch, false), Err(CreateError::BatchRoot));
}

#[test]
fn what_needs_sudo_needs_sudo() {
    let caller = parent(&["a"]);
    let orphan = CreateRequest { orphan: true, ..asking(&["a"]) };
    assert_eq!(create(&caller, &orphan, false), Err(CreateError::OrphanNeedsSudo));
    assert_eq!(create(&caller, &orphan, true).unwrap().parent, None);
    assert_eq!(create(&caller, &asking(&["a"]), false).unwrap().parent, caller.token);
    let periodic = CreateRequest { period_secs: 60, ..asking(&["a"]) };
    assert_eq!(create(&caller, &periodic, false), Err(CreateError::PeriodNeedsSudo));
    assert_eq!(create(&caller, &periodic, true).unwrap().ttl_secs, 60);
}

#[test]
fn children_are_bound_to_the_addresses_of_their_parents() {
    let bound_cidrs = CidrList::parse(&["10.0.0.0/8"]).unwrap();
    let bound = Caller { bound_cidrs: bound_cidrs.clone(), ..parent(&["a"]) };
    let orphan = CreateRequest { orphan: true, ..asking(&["a"]) };
    for (request, sudo) in [(&asking(&["a"]), false), (&asking(&["a"]), true), (&orphan, true)] {
        assert_eq!(create(&bound, request, sudo).unwrap().bound_cidrs, bound_cidrs, "sudo: {sudo}");
    }
}

#[test]
fn some_tokens_cannot_have_children() {
    let batch = MachineToken::new(TENANT, claims(&["a"], 60)).caller();
    assert_eq!(create(&batch, &asking(&[]), true), Err(CreateError::BatchParent));
    let limited =
        service(TokenClaims { num_uses: 5, ..claims(&["a"], 60) }).caller(TENANT, None, NOW).unwrap();
    assert_eq!(create(&limited, &asking(&[]), true), Err(CreateError::LimitedParent));
    let asked = CreateRequest { kind: Some(TokenKind::Batch), num_uses: 1, ..asking(&["a"]) };
    assert_eq!(create(&parent(&["a"]), &asked, false), Err(CreateError::BatchField("num_uses")));
    assert_eq!(CreateError::BatchField("period").to_string(), "batch tokens cannot have \"period\" set");
    let fat = CreateRequest { meta: BTreeMap::from([("k".into(), "v".repeat(5000))]), ..asking(&["a"]) };
    assert_eq!(create(&parent(&["a"]), &fat, false), Err(CreateError::TooMuchMeta));
}

#[test]
fn display_names_are_cleaned() {
    let name = |name: &str| {
        create(&parent(&["a"]), &CreateRequest { display_name: name.into(), ..asking(&["a"]) }, false)
            .unwrap()
            .display_name
    };
    assert_eq!(name(""), "token");
    assert_eq!(name("Deploy 1"), "token-Deploy-1");
    assert_eq!(name("a/b\n"), "token-a-b");
    assert_eq!(name(&"x".repeat(500)).len(), 134);
}

/// As OpenBao's router decides it for answers of login methods.
#[test]
fn mount_and_role_agree_on_a_kind_of_token() {
    use TokenKind::{Batch as B, Service as S};
    let roles = [
        TokenType::Default,
        TokenType::DefaultService,
        TokenType::DefaultBatch,
        TokenType::Service,
        TokenType::Batch,
    ];
    for (mount, kinds) in [
        (TokenType::DefaultService, [S, S, B, S, B]),
        (TokenType::DefaultBatch, [B, S, B, S, B]),
        (TokenType::Service, [S, S, S, S, S]),
        (TokenType::Batch, [B, B, B, B, B]),
    ] {
        let kind = |token_type| TokenParams { token_type, ..TokenParams::default() }.kind(mount).unwrap();
        assert_eq!(roles.map(kind), kinds, "{mount:?}");
    }
}

#[test]
fn role_parameters() {
    let good = TokenParams { token_policies: names(&["b", "a"]), token_ttl: 60, ..TokenParams::default() };
    assert_eq!(good.check(), Ok(()));
    assert_eq!(good.policies(), names(&["a", "b", "default"]));
    let check = |params: TokenParams| params.check().unwrap_err();
    assert_eq!(check(TokenParams { token_max_ttl: 30, ..good.clone() }), ParamsError::TtlOverMax);
    let batch = TokenParams { token_type: TokenType::Batch, ..good.clone() };
    assert_eq!(check(TokenParams { token_period: 1, ..batch.clone() }), ParamsError::BatchPeriodic);
    assert_eq!(check(TokenParams { token_num_uses: 1, ..batch.clone() }), ParamsError::BatchLimited);
    let reserved = TokenParams { token_policies: names(&["Root"]), ..good.clone() };
    assert_eq!(check(reserved.clone()), ParamsError::Reserved);
    assert!(!reserved.policies().iter().any(PolicyName::is_root), "even an unchecked role never gives root");
    assert_eq!(TokenType::parse("Batch"), Err(ParamsError::Type));
    let counted = TokenParams { token_num_uses: 1, ..good.clone() };
    assert_eq!(counted.kind(TokenType::DefaultBatch), Ok(TokenKind::Service));
    assert_eq!(counted.kind(TokenType::Batch), Err(BatchOnly), "no bound is dropped");

    let ttl = |params: &TokenParams, kind, evidence| {
        params.claims(kind, limits(), evidence, NOW).unwrap().0.ttl_secs
    };
    let silent = TokenParams::default();
    assert_eq!(ttl(&silent, TokenKind::Service, Some(NOW + 10)), 3600);
    assert_eq!(ttl(&silent, TokenKind::Batch, Some(NOW + 10)), 10);
    assert_eq!(ttl(&silent, TokenKind::Batch, None), MACHINE_TTL_SECS_DEFAULT);
    assert_eq!(ttl(&good, TokenKind::Batch, Some(NOW + 10)), 60);
    let json = r#"{"token_ttl":1,"audiences":["x"]}"#;
    assert!(serde_json::from_str::<TokenParams>(json).is_err(), "misspelt parameters are errors");
}

proptest! {
    #[test]
    fn a_life_never_exceeds_its_bounds(
        asked in any::<u64>(), role in 0u64..20_000, role_max in 0u64..20_000, explicit in 0u64..20_000,
        period in 0u64..20_000, issued in 0u64..1 << 40, age in 0u64..20_000,
    ) {
        let request = TtlRequest { asked_secs: asked, role_secs: role, role_max_secs: role_max, explicit_max_secs: explicit, period_secs: period };
        if let Ok(ttl) = ttl::decide(request, limits(), issued, issued + age) {
            prop_assert!(ttl.secs >= 1 && ttl.secs <= 7200);
            if explicit > 0 { prop_assert!(age + ttl.secs <= explicit); }
            if period == 0 {
                prop_assert!(age + ttl.secs <= 7200);
                if role_max > 0 { prop_assert!(age + ttl.secs <= role_max); }
            }
        }
    }

    #[test]
    fn children_are_subsets(mine in prop::collection::btree_set("[a-d]", 0..4), asked in prop::collection::btree_set("[a-d]", 0..4)) {
        let mine: Vec<_> = mine.iter().map(String::as_str).collect();
        let asked: Vec<_> = asked.iter().map(String::as_str).collect();
        let caller = parent(&mine);
        if let Ok(child) = create(&caller, &asking(&asked), false) {
            prop_assert!(child.policies.iter().all(|policy| caller.policies.contains(policy)));
        }
    }
}
