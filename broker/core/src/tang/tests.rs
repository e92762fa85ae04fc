//! Against `tangd`, `jose` and `clevis`: what they made lies in `testdata`. Thumbprints are `*.s256`, and
//! `exchange.d` is the server's private exchange key.

#![allow(clippy::unwrap_used)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use getrandom::SysRng;
use p521::elliptic_curve::PrimeField;
use p521::{FieldBytes, PublicKey, Scalar};
use proptest::prelude::*;
use rand_core::UnwrapErr;
use symbolon_proto::secret::Secret;

use super::derive::round;
use super::key::{Key, Use, point};
use super::point::Point;
use super::thumbprint::is_named;
use super::*;
use crate::json::{Limits, parse};

const ADVERTISED: &[u8] = include_bytes!("testdata/adv.json");
const ROTATED: &[u8] = include_bytes!("testdata/rotated.json");
const RENEWED: &[u8] = include_bytes!("testdata/renewed.json");
const CLEVIS: &str = include_str!("testdata/clevis.jwe");
const PURPOSE: &[u8] = b"deployment and source";

fn pinned() -> Thumbprint {
    include_str!("testdata/signing.s256").parse().unwrap()
}

fn other() -> Thumbprint {
    include_str!("testdata/other.s256").parse().unwrap()
}

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

fn key() -> Secret<32> {
    Secret::filled_by(|out| out.fill(0x4b))
}

fn sealed() -> Jwe {
    let set = Advertisement::verify(ADVERTISED, &pinned()).unwrap();
    Jwe::parse(&seal(&set, "http://tang.example", PURPOSE, &key(), &mut rng()).unwrap()).unwrap()
}

/// What the server does.
fn answer(question: &Question) -> String {
    let d = URL_SAFE_NO_PAD.decode(include_str!("testdata/exchange.d")).unwrap();
    let s = Scalar::from_repr(FieldBytes::try_from(&d[..]).unwrap()).unwrap();
    let asked = point(&parse(question.body.as_bytes(), Limits::BODY).unwrap()).unwrap();
    let point = PublicKey::from_affine((asked.0.to_projective() * s).to_affine()).map(Point).unwrap();
    Key { usage: Use::Exchange, point }.to_json()
}

fn opened(jwe: &Jwe) -> Result<Vec<u8>, TangError> {
    let question = jwe.ask(&mut rng()).unwrap();
    jwe.open(&question, answer(&question).as_bytes()).map(|key| key.to_vec())
}

/// What this room does with keys, for the test of wiping.
pub(crate) fn key_work() {
    assert_eq!(opened(&sealed()).unwrap(), key().expose());
}

fn check_refused(advertised: &[u8], pinned: &Thumbprint, why: &str) {
    assert_eq!(Advertisement::verify(advertised, pinned).unwrap_err().to_string(), why);
}

#[test]
fn thumbprints_are_those_of_rfc_7638_and_of_jose() {
    let rsa = r#"{"e":"AQAB","kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#;
    assert_eq!(Thumbprint::of(rsa).to_string(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert!(is_named(rsa, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
    assert!(!is_named(rsa, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9XA"));
    // A server and `jose` name the same key, by SHA-1 too. Nothing is pinned by SHA-1.
    let set = Advertisement::verify(ADVERTISED, &pinned()).unwrap();
    let old = include_str!("testdata/exchange.s1");
    assert!(set.offers(old) && set.offers(sealed().kid()));
    assert!(old.parse::<Thumbprint>().is_err());
}

#[test]
fn keys_are_derived_as_in_rfc_7518_appendix_c() {
    let shared = [
        158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110, 163, 218,
        128, 106, 72, 246, 218, 167, 121, 140, 254, 144, 196,
    ];
    let derived = round(&shared, "A128GCM", [b"Alice", b"Bob"], 128);
    assert_eq!(URL_SAFE_NO_PAD.encode(&derived.expose()[..16]), "VqqN6vgjbSBcIijNcacQGg");
}

#[test]
fn what_clevis_sealed_is_opened() {
    assert_eq!(opened(&Jwe::parse(CLEVIS).unwrap()).unwrap(), b"correct horse battery staple");
}

#[test]
fn what_is_sealed_is_opened_by_the_right_answer_only() {
    let jwe = sealed();
    assert_eq!(opened(&jwe).unwrap(), key().expose());
    assert!(jwe.is_for(PURPOSE) && !jwe.is_for(b"another"));
    assert_eq!(jwe.url(), "http://tang.example");
    let (question, another) = (jwe.ask(&mut rng()).unwrap(), jwe.ask(&mut rng()).unwrap());
    assert_ne!(question.body, another.body, "each question has a blinding of its own");
    let wrong = [answer(&another), question.body.clone()];
    for answer in wrong {
        assert_eq!(jwe.open(&question, answer.as_bytes()).unwrap_err(), TangError::Wrong);
    }
}

#[test]
fn an_answer_that_is_no_point_is_refused() {
    let jwe = sealed();
    let question = jwe.ask(&mut rng()).unwrap();
    let answer = answer(&question);
    let (head, y) = answer.split_once(r#""y":""#).unwrap();
    let turned = if y.starts_with("AA") { "AB" } else { "AA" };
    let zeros = "A".repeat(88);
    let refused = [
        format!(r#"{head}"y":"{turned}{}"#, &y[2..]), // not on the curve
        format!(r#"{{"kty":"EC","crv":"P-521","x":"{zeros}","y":"{zeros}"}}"#),
        r#"{"kty":"EC","crv":"P-521","x":"","y":""}"#.to_owned(),
        r#"{"kty":"EC","crv":"P-521"}"#.to_owned(),
        "[]".to_owned(),
        String::new(),
    ];
    for answer in refused {
        let error = jwe.open(&question, answer.as_bytes()).unwrap_err();
        assert_eq!(error, TangError::Malformed("a point on the curve P-521"), "{answer}");
    }
    let other = answer.replace("P-521", "P-256");
    let error = jwe.open(&question, other.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "expected a key on the curve P-521, found P-256");
}

#[test]
fn an_advertisement_that_the_pinned_key_did_not_sign_is_refused() {
    check_refused(
        ADVERTISED,
        &other(),
        "the key with the configured thumbprint did not sign the advertisement",
    );
    // Nor is one without the old key's signature, although it is of the same server.
    check_refused(
        RENEWED,
        &pinned(),
        "the key with the configured thumbprint did not sign the advertisement",
    );
}

#[test]
fn rotated_keys_are_followed_by_the_signature_of_the_key_before() {
    let text = String::from_utf8_lossy(ROTATED);
    assert!(text.contains(r#""signatures""#), "the general form");
    let set = Advertisement::verify(ROTATED, &pinned()).unwrap();
    assert!(!set.offers(sealed().kid()), "the exchange key was rotated, too");
}

#[test]
fn every_advertised_signing_key_must_have_signed() {
    let set = include_bytes!("testdata/unsigned.json");
    check_refused(set, &other(), "a signing key of the advertisement did not sign it");
}

#[test]
fn other_curves_and_algorithms_are_refused_by_name() {
    let es256 = include_bytes!("testdata/es256.json");
    check_refused(es256, &other(), "expected signatures by ES512, found ES256");
    let p256 = include_bytes!("testdata/p256.json");
    check_refused(p256, &other(), "expected a key on the curve P-521, found P-256");
    let bare = Advertisement::verify(include_bytes!("testdata/bare.json"), &other()).unwrap();
    let error = seal(&bare, "http://tang.example", PURPOSE, &key(), &mut rng()).unwrap_err();
    assert_eq!(error.to_string(), "the advertisement has no key for an exchange (ECMR)");
    let (head, rest) = CLEVIS.split_once('.').unwrap();
    let head = String::from_utf8(URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
    for (from, to, why) in [
        ("\"ECDH-ES\"", "\"ECDH-ES+A256KW\"", "expected ECDH-ES, found ECDH-ES+A256KW"),
        ("A256GCM", "A128GCM", "expected A256GCM, found A128GCM"),
        ("A256GCM", "<script>", "expected A256GCM, found no name that is known here"),
        (
            "\"tang\",",
            "\"tpm2\",",
            "expected the header of a key sealed to a Tang server, found something else",
        ),
    ] {
        let changed = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(head.replace(from, to)));
        assert_eq!(Jwe::parse(&changed).err().unwrap().to_string(), why);
    }
}

#[test]
fn whatever_is_changed_in_an_advertisement_or_a_sealed_key_is_noticed() {
    for at in (0..ADVERTISED.len()).step_by(7) {
        let mut changed = ADVERTISED.to_vec();
        changed[at] ^= 1;
        let same = |set: &Advertisement| set.offers(sealed().kid());
        assert!(Advertisement::verify(&changed, &pinned()).as_ref().map_or(true, same), "byte {at}");
    }
    for at in (0..CLEVIS.len()).step_by(29) {
        let mut changed = CLEVIS.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let jwe = Jwe::parse(std::str::from_utf8(&changed).unwrap());
        assert!(jwe.and_then(|jwe| opened(&jwe)).is_err(), "byte {at}");
    }
}

proptest! {
    #[test]
    fn reading_is_total(text in ".{0,200}") {
        let _ = Advertisement::verify(text.as_bytes(), &pinned());
        let _ = Jwe::parse(&text);
    }
}
