//! What the targets of caller input do: policies, JSON, paths, tokens and forms as a broker reads them.
//!
//! Nothing may panic or take long. Beyond that, whatever is let in must be in its one normal form (reading it
//! again changes nothing), and a strict reader may only accept what the ordinary one reads the same way.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use symbolon_core::identity::jwt::{self, JWT_BYTES_MAX, JwtRules};
use symbolon_core::identity::leeway::LEEWAY_SECS_DEFAULT;
use symbolon_core::identity::keys::{KEYS_MAX, KeySet};
use symbolon_core::json::{self as strict_json, Limits, Map};
use symbolon_core::oauth;
use symbolon_core::path::{ApiPath, FolderPath, MountPath, PolicyName, RoleName, SecretPath};
use symbolon_core::policy::{Acl, Operation, Policy};
use symbolon_core::token::{Cidr, TokenShape, TokenType, duration};

use crate::seed_root;

/// The time at which tokens are judged, Unix seconds.
pub const NOW_SECS: u64 = 1_790_000_000;

fn text(data: &[u8]) -> Option<&str> {
    core::str::from_utf8(data).ok()
}

/// A policy in HCL or JSON, then after a zero byte a path to judge with it.
pub fn policy(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (policy, path) = text.split_once('\0').unwrap_or((text, "secret/data/app"));
    let name = PolicyName::parse("fuzz").expect("a plain name");
    let Ok(policy) = Policy::parse(name, policy) else { return };
    let acl = Acl::new(&[policy]);
    let _ = acl.rules();
    let Ok(path) = ApiPath::parse(path) else { return };
    let capabilities = acl.capabilities(&path);
    let read = acl.authorise(Operation::Read, &path, &Map::new(), false, 0);
    assert!(read.is_err() || capabilities.has(Operation::Read.capability()), "granted what is not shown");
    assert!(read.is_err() || !capabilities.denies(), "granted against a deny");
}

/// One JSON object, as bodies and as parts of tokens are read.
pub fn json(data: &[u8]) {
    let _ = strict_json::parse(data, Limits::TOKEN);
    let _ = strict_json::parse(data, Limits::TOKEN_HEADER);
    let Ok(map) = strict_json::parse(data, Limits::BODY) else { return };
    let written = serde_json::to_vec(&map).expect("values can be written");
    // The ordinary reader spells exponents its own way, so both texts go through it before they are compared.
    let ordinary = |text: &[u8]| serde_json::from_slice::<Map>(text).expect("strict text is ordinary text");
    assert_eq!(ordinary(data), ordinary(&written));
    assert_eq!(strict_json::parse(&written, Limits::BODY).as_ref(), Ok(&map));
}

/// Paths and names.
pub fn api_path(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(path) = ApiPath::parse(text) {
        let slash = if path.is_list_form() { "/" } else { "" };
        assert_eq!(ApiPath::from_decoded(&format!("{path}{slash}")).as_ref(), Ok(&path));
        assert!(
            path.segments().all(|segment| !matches!(segment, "" | "." | "..") && !segment.contains('\0'))
        );
    }
    if let Ok(path) = SecretPath::parse(text) {
        assert_eq!(SecretPath::parse(path.as_str()).as_ref(), Ok(&path));
        assert_eq!(path.parent().secret(path.name()).as_ref(), Ok(&path));
        assert!(path.trail().all(|(folder, _)| FolderPath::parse(folder.as_str()).as_ref() == Ok(&folder)));
    }
    if let Ok(path) = FolderPath::parse(text) {
        assert_eq!(FolderPath::parse(path.as_str()).as_ref(), Ok(&path));
    }
    if let Ok(mount) = MountPath::parse(text) {
        assert_eq!(MountPath::parse(mount.as_str()).as_ref(), Ok(&mount));
        assert!(mount.overlaps(&mount));
    }
    if let Ok(name) = PolicyName::parse(text) {
        assert_eq!(PolicyName::parse(name.as_str()).as_ref(), Ok(&name));
    }
    if let Ok(name) = RoleName::parse(text) {
        assert_eq!(RoleName::parse(name.as_str()).as_ref(), Ok(&name));
    }
}

/// Short fields of Vault's requests: durations, address ranges, tokens, kinds of tokens.
pub fn vault_texts(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(secs) = duration::parse_signed_secs(text) {
        assert_eq!(duration::parse_signed_secs(&duration::to_go_text(secs)), Ok(secs));
    }
    let _ = duration::parse_secs(text);
    if let Ok(range) = text.parse::<Cidr>() {
        assert_eq!(range.to_string().parse(), Ok(range));
    }
    if let Ok(kind) = TokenType::parse(text) {
        assert_eq!(TokenType::parse(kind.as_str()).as_ref(), Ok(&kind));
    }
    let _ = TokenShape::of(text);
}

/// The key set that [`jwt`] verifies with: the root key of the seeds.
pub fn seed_key_set() -> String {
    let x = URL_SAFE_NO_PAD.encode(seed_root().public_key().as_bytes());
    format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","use":"sig","kid":"seed","x":"{x}"}}]}}"#)
}

/// A token as it came, and one whose header and claims (two lines) were signed, so that what is behind the
/// signature is reached.
pub fn jwt(data: &[u8]) {
    static KEYS: LazyLock<KeySet> =
        LazyLock::new(|| KeySet::from_jwks(seed_key_set().as_bytes()).expect("one good key"));
    let Some(text) = text(data) else { return };
    let _ = jwt::claimed_issuer(text);
    assert!(jwt::verify(text, &KEYS, &JwtRules::default(), NOW_SECS).is_err(), "a signature was guessed");
    let Some((header, claims)) = text.split_once('\n') else { return };
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    if signed.len() > JWT_BYTES_MAX {
        return;
    }
    let signature = seed_root().sign(signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let Ok(verified) = jwt::verify(&token, &KEYS, &JwtRules::default(), NOW_SECS) else { return };
    let expires_at = verified.expires_at().expect("endless tokens are refused");
    assert!(expires_at + LEEWAY_SECS_DEFAULT > NOW_SECS);
    assert_eq!(verified.issuer(), jwt::claimed_issuer(&token).expect("it was read before").as_deref());
}

/// JWK sets and PEM bundles.
pub fn key_set(data: &[u8]) {
    if let Ok(keys) = KeySet::from_jwks(data) {
        assert!(keys.len() <= KEYS_MAX);
    }
    let Some(text) = text(data) else { return };
    if let Ok(keys) = KeySet::from_pem(&[text]) {
        assert!((1..=KEYS_MAX).contains(&keys.len()));
    }
}

/// Decoded pairs of a token request, one `name=value` a line.
pub fn oauth_form(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let pairs: Vec<_> = text.lines().filter_map(pair).collect();
    let Ok(request) = oauth::parse(&pairs) else { return };
    assert!(!request.evidence().is_empty());
    assert!(!request.audience().is_empty() && request.audience().is_ascii());
    let mut scopes = request.scopes().to_vec();
    scopes.sort();
    scopes.dedup();
    assert_eq!(scopes.len(), request.scopes().len(), "a scope twice");
    assert!(oauth::evidence_is_for(&["other".to_owned()], "https://issuer.test").is_err());
}
