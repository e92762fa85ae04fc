//! Paths of requests: checked, encoded once, and below the address.

use reqwest::Url;

use crate::error::{Configuration, Error};

/// Longest path in bytes, as on the broker.
const PATH_BYTES_MAX: usize = 1024;

/// The URL of a path that is not encoded yet; a slash at its end is kept.
pub(crate) fn join(base: &Url, prefix: &str, path: &str) -> Result<Url, Error> {
    let (body, is_folder) = match path.strip_suffix('/') {
        Some(body) => (body, true),
        None => (path, false),
    };
    let sound = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.chars().any(char::is_control);
    if path.len() > PATH_BYTES_MAX || !body.split('/').all(sound) {
        return Err(Error::Path);
    }
    let mut url = base.clone();
    {
        let mut segments = url.path_segments_mut().map_err(|()| Configuration::Address)?;
        segments.pop_if_empty();
        if !prefix.is_empty() {
            segments.push(prefix);
        }
        segments.extend(body.split('/'));
        if is_folder {
            segments.push("");
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn url(path: &str) -> Result<String, Error> {
        join(&Url::parse("https://broker/compat/").unwrap(), "v1", path).map(String::from)
    }

    #[test]
    fn paths_are_encoded_once_and_below_the_prefix() {
        assert_eq!(url("secret/data/a b?%").unwrap(), "https://broker/compat/v1/secret/data/a%20b%3F%25");
        assert_eq!(url("secret/metadata/team/").unwrap(), "https://broker/compat/v1/secret/metadata/team/");
    }

    #[test]
    fn a_path_cannot_climb() {
        for path in ["secret/../sys/seal", "a//b", "/a", "", ".", "a/\u{7f}/b", &"a".repeat(1025)] {
            assert!(matches!(url(path), Err(Error::Path)), "{path}");
        }
    }
}
