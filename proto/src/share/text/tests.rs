#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::secret::Secret;
use crate::share::SetId;
use crate::share::shamir::{Point, Threshold, ThresholdError};

fn share(y: [u8; 32]) -> Share {
    let point = Point { x: 2, y: Secret::filled_by(|out| *out = y) };
    Share::new(ShareKind::Fragment, SetId::from_bytes(*b"8 bytes!"), Threshold::new(2, 3).unwrap(), point)
}

fn error(text: &str) -> ShareTextError {
    Share::parse(text).err().unwrap()
}

#[test]
fn all_forms_give_the_same_share() {
    // 0xfb and 0xff give the characters that differ between the two base64 alphabets.
    let original = share([0xfb; 32]);
    let bytes = original.to_bytes();
    let text = original.to_text();
    assert_eq!(text.len(), SHARE_TEXT_CHARS);
    let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes.expose());
    let forms = [
        text.to_string(),
        text.to_uppercase(),
        format!("  {} {}\n", &text[..40], &text[40..]),
        data_encoding::HEXLOWER.encode(bytes.expose()),
        data_encoding::HEXUPPER.encode(bytes.expose()),
        base64::engine::general_purpose::STANDARD.encode(bytes.expose()),
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes.expose()),
        base64::engine::general_purpose::URL_SAFE.encode(bytes.expose()),
        url,
    ];
    for form in forms {
        let found = Share::parse(&form).unwrap();
        assert!(found.to_bytes().same_as(&bytes), "{form}");
    }
}

#[test]
fn every_single_mistake_is_located() {
    let text = share([0x31; 32]).to_text();
    for index in 4..SHARE_TEXT_CHARS {
        let mut wrong = text.as_bytes().to_vec();
        wrong[index] = if wrong[index] == b'q' { b'p' } else { b'q' };
        let wrong = String::from_utf8(wrong).unwrap();
        assert_eq!(error(&wrong), ShareTextError::Mistyped { at: index + 1 });
    }
}

#[test]
fn an_escrow_share_says_what_it_is() {
    let point = Point { x: 2, y: Secret::filled_by(|out| out.fill(0x31)) };
    let escrow =
        Share::new(ShareKind::Escrow, SetId::from_bytes(*b"8 bytes!"), Threshold::new(2, 3).unwrap(), point);
    let text = escrow.to_text();
    assert!(text.starts_with("ske1"));
    let found = Share::parse(&text).unwrap();
    assert_eq!(found.kind(), ShareKind::Escrow);
    assert!(found.to_bytes().same_as(&escrow.to_bytes()));
    let mut wrong = text.to_string().into_bytes();
    wrong[40] = if wrong[40] == b'q' { b'p' } else { b'q' };
    assert_eq!(error(&String::from_utf8(wrong).unwrap()), ShareTextError::Mistyped { at: 41 });
    // The bytes of one kind under the letters of the other, with a right checksum.
    let hrp = ShareKind::Fragment.hrp();
    let dressed = bech32::encode::<Bech32m>(hrp, escrow.to_bytes().expose()).unwrap();
    assert_eq!(error(&dressed), ShareTextError::Version { found: 2 });
}

#[test]
fn what_is_no_share_is_explained() {
    let text = share([7; 32]).to_text().to_string();
    assert_eq!(error(""), ShareTextError::Length { found: 0 });
    assert_eq!(error("hunter2"), ShareTextError::Length { found: 7 });
    assert_eq!(error(&"x".repeat(1000)), ShareTextError::Length { found: 1000 });
    assert_eq!(error(&text[..80]), ShareTextError::TextLength { found: 80 });
    assert_eq!(error(&format!("{}q", &text)), ShareTextError::TextLength { found: 82 });
    assert_eq!(error(&text.replacen("skf1", "skg1", 1)), ShareTextError::Length { found: 81 });
    assert_eq!(error(&format!("{}b", &text[..80])), ShareTextError::Character { at: 81 });
    assert_eq!(error(&format!("SKF1{}", &text[4..])), ShareTextError::MixedCase);
    assert_eq!(error(&"é".repeat(44)), ShareTextError::Character { at: 1 });
    assert_eq!(error(&"zz".repeat(44)), ShareTextError::Encoding);
    assert_eq!(error(&"!".repeat(60)), ShareTextError::Encoding);
    let two_wrong = text.replacen(&text[10..12], if &text[10..12] == "qq" { "pp" } else { "qq" }, 1);
    assert!(matches!(error(&two_wrong), ShareTextError::Checksum | ShareTextError::Mistyped { .. }));
}

#[test]
fn fields_are_checked() {
    let bytes = *share([7; 32]).to_bytes().expose();
    let with = |index: usize, value: u8| {
        let mut changed = bytes;
        changed[index] = value;
        Share::from_bytes(&changed).err().unwrap()
    };
    assert_eq!(with(0, 3), ShareTextError::Version { found: 3 });
    assert_eq!(with(9, 0), ShareTextError::Number { x: 0, total: 3 });
    assert_eq!(with(9, 4), ShareTextError::Number { x: 4, total: 3 });
    assert_eq!(with(10, 1), ShareTextError::Threshold(ThresholdError { needed: 1, total: 3 }));
    assert_eq!(with(11, 1), ShareTextError::Threshold(ThresholdError { needed: 2, total: 1 }));
}

proptest! {
    #[test]
    fn any_text_gives_a_share_or_an_error(text in "(skf1)?[ -~]{0,90}") {
        let _ = Share::parse(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_checksum_failure_is_survived(data in "[qpzry9x8gf2tvdw0s3jn54khce6mua7l]{77}") {
        let refused = Share::parse(&["skf1", &data].concat()).is_err();
        prop_assert!(refused);
    }

    #[test]
    fn text_and_bytes_come_back(y: [u8; 32]) {
        let original = share(y);
        let found = Share::parse(&original.to_text()).unwrap();
        prop_assert!(found.to_bytes().same_as(&original.to_bytes()));
    }
}
