//! Forms as requests carry them (`application/x-www-form-urlencoded`), without copies that nobody wipes.

use crate::wiped::Wiped;

/// Encodes pairs of names and values.
pub(crate) fn encoded(pairs: &[(&str, &str)]) -> Wiped {
    let mut form = Wiped::default();
    for (index, (name, value)) in pairs.iter().enumerate() {
        form.extend(if index == 0 { b"" } else { b"&" });
        encode(&mut form, name);
        form.extend(b"=");
        encode(&mut form, value);
    }
    form
}

fn encode(form: &mut Wiped, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'*' | b'-' | b'.' | b'_' => form.extend(&[byte]),
            _ if byte.is_ascii_alphanumeric() => form.extend(&[byte]),
            b' ' => form.extend(b"+"),
            _ => form.extend(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The encoder of queries is that of forms too; only what it leaves in memory is not.
    #[test]
    fn forms_are_encoded_as_queries_are() {
        let all: String = (0..=0x17F).filter_map(char::from_u32).collect();
        let pairs = [("grant_type", "urn:ietf:params:oauth"), ("a b&=", all.as_str()), ("", "")];
        let mut url = reqwest::Url::parse("form:x").unwrap();
        url.query_pairs_mut().extend_pairs(pairs);
        assert_eq!(encoded(&pairs).as_ref(), url.query().unwrap().as_bytes());
    }
}
