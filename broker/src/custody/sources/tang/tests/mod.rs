//! Against Debian's `tangd`, `clevis` and `jose`, and against servers that are none.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod hostile;
mod real;

use symbolon_proto::secret::Secret;

use super::{Device, SourceError, parse};

const PURPOSE: &[u8] = b"deployment and source";
/// Of no key.
const NOBODY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn key() -> Secret<32> {
    Secret::filled_by(|out| out.copy_from_slice(b"thirty-two bytes, but no text...."[..32].as_ref()))
}

fn settings(servers: &[(&str, &str)], rest: &str) -> crate::config::Raw {
    let one = |(url, thumbprint): &(&str, &str)| format!("{{ url = '{url}', thumbprint = '{thumbprint}' }}");
    let servers: Vec<_> = servers.iter().map(one).collect();
    let text = format!("servers = [{}]\n{rest}", servers.join(", "));
    toml::from_str::<toml::Table>(&text).unwrap().into()
}

fn device(servers: &[(&str, &str)]) -> Box<dyn Device> {
    parse(&settings(servers, "")).unwrap()
}

fn check_refused(servers: &[(&str, &str)], rest: &str, why: &str) {
    assert_eq!(parse(&settings(servers, rest)).err().unwrap(), why);
}

#[test]
fn settings_that_name_no_tang_servers_are_refused() {
    let twice = ("http://tang.example", NOBODY);
    check_refused(&[], "", "servers must list 1 to 8 servers");
    check_refused(&[twice; 9], "", "servers must list 1 to 8 servers");
    check_refused(&[twice; 2], "", "servers lists an url twice");
    check_refused(&[twice], "timeout_ms = 10", "timeout_ms must be from 100 to 60000");
    let scheme = "url must begin with http:// or https:// and name a host";
    check_refused(&[("file:///etc/passwd", NOBODY)], "", scheme);
    let credential = "a Tang server asks for no credential: url must have none";
    check_refused(&[("http://me:you@tang.example", NOBODY)], "", credential);
    let query = "url must end with the path below which /adv and /rec are";
    check_refused(&[("http://tang.example/?a=b", NOBODY)], "", query);
    let sha1 = "thumbprint: expected the 43 characters of a SHA-256 thumbprint, as `tang-show-keys` and `jose jwk \
                thp -a S256` print it";
    check_refused(&[("http://tang.example", "O0rM1PYNy3GHyB5CfWZHDOcSXNg")], "", sha1);
    assert!(parse(&settings(&[twice], "colour = 'red'")).err().unwrap().contains("unknown field"));
}
