//! The form of a token request, before its meaning.

use percent_encoding::percent_decode_str;
use symbolon_proto::Zeroizing;

/// Parameters of one request; the shapes that are understood have at most ten.
const PARAMETERS_MAX: usize = 32;

/// A form that is none, or has too many parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadForm;

/// The parameters in order, repeated ones included: what a repetition means is decided by the rules, not
/// here. They hold credentials, so they are wiped.
pub fn parse(body: &[u8]) -> Result<Zeroizing<Vec<(String, String)>>, BadForm> {
    let text = std::str::from_utf8(body).map_err(|_| BadForm)?;
    let parts: Vec<&str> = text.split('&').filter(|part| !part.is_empty()).collect();
    if parts.len() > PARAMETERS_MAX {
        return Err(BadForm);
    }
    let mut pairs = Zeroizing::new(Vec::with_capacity(parts.len()));
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        pairs.push((decode(name)?, decode(value)?));
    }
    Ok(pairs)
}

fn decode(text: &str) -> Result<String, BadForm> {
    let spaced = Zeroizing::new(text.replace('+', " "));
    percent_decode_str(&spaced).decode_utf8().map(Into::into).map_err(|_| BadForm)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parameters_keep_order_and_repetition() {
        let got = parse(b"a=1&b=x%20y+z&a=&c").unwrap();
        let got: Vec<(&str, &str)> =
            got.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(got, [("a", "1"), ("b", "x y z"), ("a", ""), ("c", "")]);
    }

    #[test]
    fn forms_have_bounds() {
        assert_eq!(parse(b"a=%ff"), Err(BadForm));
        assert_eq!(parse("a=1&".repeat(33).as_bytes()), Err(BadForm));
        assert!(parse(b"").unwrap().is_empty());
    }
}
